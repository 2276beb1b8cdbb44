"""Fixtures live in plugins named fix_*.py, one for each thing that tests need running."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.fix_postgres", "tests.fix_source", "tests.fix_copy", "tests.fix_project"]

# How long an example takes is the machine's matter, not the test's. A developer's run looks at new examples each time;
# continuous integration looks at the same ones, so that what it says is about the change.
settings.register_profile(
    "tezcat", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("tezcat")
