"""Every mask of the catalogue can be shown and described, and the manual's page says what the catalogue says."""

from __future__ import annotations

from pathlib import Path

import pytest
from fix_catalog import column

from transform import catalogue
from transform.masks.base import MASKS
from transform.rules import ColumnRule

PAGE = Path(__file__).parent.parent.parent / "docs" / "masks.md"
TYPES = {"integer": "int4", "bigint": "int8"}
NAMES = sorted(name for name in MASKS if not name.startswith("test."))


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_masked(name: str) -> None:
    """As a plan binds the rule; every one becomes something, and but for what is kept nothing stays as it was."""
    described = catalogue.describe(MASKS[name])
    assert described.examples
    assert all(shown.masked for shown in described.examples)
    assert name == "keep" or any(shown.masked != shown.value for shown in described.examples)
    assert described.apart


def test_the_page_is_what_the_catalogue_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/masks.md is written by the code."""
    # What other tests have registered is not the product's.
    for name in MASKS.keys() - set(NAMES):
        monkeypatch.delitem(MASKS, name)
    assert PAGE.read_text() == catalogue.markdown(), "write it again: tezcat masks --markdown > docs/masks.md"


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_is_described(name: str) -> None:
    """By a summary, by examples, and each parameter by a description."""
    kind = MASKS[name]
    assert kind.summary
    assert not kind.summary.endswith(".")
    assert kind.examples
    assert all(field.description for field in kind.params.model_fields.values())
    assert not kind.notes or kind.notes.endswith(".")
    assert all(kind.accepts(column("c", TYPES.get(one.type_name, one.type_name)).base_type) for one in kind.examples)

    # A column's rule reads these itself: a parameter of such a name would never reach its mask.
    assert not kind.params.model_fields.keys() & ColumnRule.model_fields.keys()
