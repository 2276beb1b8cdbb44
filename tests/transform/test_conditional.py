"""Masks for some rows: where a condition is surely false, another mask, or none."""

from __future__ import annotations

import pyarrow as pa
import pytest

from capture.model import BadInput, TableName
from tests.fix_catalog import catalog, foreign_key, table
from transform.coverage import Severity
from transform.keyring import KeyRing
from transform.plan import check, compile_plan
from transform.rules import Rules

KEYS = KeyRing(bytes(32), "test")
PEOPLE = catalog(
    table("public.people", "id int8 pk", "name text", "email text unique", "staff bool", "tags text array")
)
BESIDE = {"id": "keep", "name": "keep", "email": "email", "staff": "keep", "tags": "keep"}


def rules(**columns: object) -> Rules:
    return Rules.model_validate({"version": 1, "tables": {"public.people": {"columns": BESIDE | columns}}})


def masked(rule: object, *, column: str = "name") -> list[bytes | None]:
    """What becomes of three people: one of the staff, one not, one of whom it is not known."""
    values = {
        "id": [b"1", b"2", b"3"],
        "name": [b"Grace"] * 3,
        "email": [b"a", b"b", b"c"],
        "staff": [b"t", b"f", None],
        "tags": [b"{Grace}"] * 3,
    }
    rows = pa.record_batch([pa.array(column, pa.binary()) for column in values.values()], names=list(values))
    plan = compile_plan(rules(**{column: rule}), PEOPLE, KEYS).tables[TableName("public", "people")]
    out: list[bytes | None] = plan.mask(rows, escaped=False).column(column).to_pylist()
    return out


def test_a_value_passes_only_where_the_condition_is_surely_false() -> None:
    """Unknown is masked: a value must not pass because something beside it is NULL."""
    unconditional = masked("name.first")[0]
    assert masked({"mask": "name.first", "when": "NOT staff"}) == [b"Grace", unconditional, unconditional]


def test_otherwise_is_another_mask() -> None:
    """Both masks stand in one column."""
    unconditional = masked("name.first")[0]
    assert masked({"mask": "name.first", "when": "staff", "otherwise": "redact"}) == [
        unconditional,
        b"[redacted]",
        unconditional,
    ]


def test_all_elements_of_an_array_follow_their_row() -> None:
    """The condition is on the row, whatever the column holds."""
    assert masked({"mask": "redact", "when": "staff"}, column="tags") == [b"{[redacted]}", b"{Grace}", b"{[redacted]}"]


def test_a_condition_may_be_on_the_value_itself() -> None:
    """It is asked of the original."""
    assert masked({"mask": "redact", "when": "name <> 'Grace'"}) == [b"Grace"] * 3
    assert masked({"mask": "redact", "when": "name LIKE 'G%'"}) == [b"[redacted]"] * 3


MADE = {"mask": "text.template", "template": "{email}"}


@pytest.mark.parametrize(
    ("column", "rule", "words"),
    [
        ("email", {"mask": "email", "when": "staff"}, "in a unique index"),
        ("name", {"mask": "redact", "when": "stuff"}, "no column of the table that has a rule. Did you mean staff?"),
        ("name", {"mask": "redact", "when": "age(now()) > 3"}, "is not supported"),
        ("name", {"mask": "redact", "when": "staff", "otherwise": "id.uuids"}, "no mask named"),
        ("name", {"mask": "redact", "when": "name = 7"}, "compared"),
        (
            "name",
            {"mask": "redact", "when": "staff", "otherwise": MADE},
            "the mask text.template with template is made",
        ),
        ("name", {**MADE, "when": "staff"}, "the mask text.template is made from masked columns"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(column: str, rule: object, words: str) -> None:
    """The plan says why, and where."""
    errors = [str(each) for each in check(rules(**{column: rule}), PEOPLE) if each.severity is Severity.ERROR]
    assert any(words in error for error in errors), errors


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"mask": "keep", "when": "staff"}, "takes no condition"),
        ({"mask": "redact", "otherwise": "keep"}, "add when"),
        ({"mask": "redact", "when": "staff", "otherwise": {"mask": "null", "when": "staff"}}, "without a condition"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: object, words: str) -> None:
    """Already the file is wrong."""
    with pytest.raises(ValueError, match=words):
        rules(name=rule)


def test_linked_columns_take_no_condition() -> None:
    """What is masked alike elsewhere cannot hang on a row that is only here."""
    linked = catalog(
        table("public.people", "id int8 pk", "boss int8", "staff bool"),
        foreign_keys=(foreign_key("public.people(boss)", "public.people(id)"),),
    )
    written = {"columns": {"id": "id.int", "boss": {"mask": "id.int", "when": "staff"}, "staff": "keep"}}
    with pytest.raises(BadInput, match=r"must be masked alike|has the rule"):
        compile_plan(Rules.model_validate({"version": 1, "tables": {"public.people": written}}), linked, KEYS)
