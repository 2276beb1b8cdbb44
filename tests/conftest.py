"""Fixtures live in plugins named fix_*.py, one for each thing that tests need running."""

pytest_plugins = ["tests.fix_postgres"]
