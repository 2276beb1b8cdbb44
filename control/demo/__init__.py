"""A hotel's production database for ``tezcat demo``: its schema, its data, the traffic on it, and rules to mask it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SCHEMA: Final = Path(__file__).with_name("schema.sql")
RULES: Final = Path(__file__).with_name("rules.yaml")
