"""Fixtures live in plugins named fix_*.py, one for each thing that tests need running."""

from hypothesis import settings

pytest_plugins = ["tests.fix_postgres", "tests.fix_source", "tests.fix_copy", "tests.fix_project"]

# How long an example takes is the machine's matter, not the test's.
settings.register_profile("tezcat", deadline=None)
settings.load_profile("tezcat")
