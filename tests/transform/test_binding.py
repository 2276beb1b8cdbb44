"""What a production's encoding asks of masks: text that it has, and char(n) as long as it counts."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from fix_catalog import catalog, table

from capture.model import BadInput, Catalog, TableName
from transform.keyring import KeyRing
from transform.plan import compile_plan
from transform.rules import Rules

KEYS = KeyRing(bytes(range(32)), "test")
T = TableName("public", "t")


def one(column: str, encoding: str) -> Catalog:
    """A catalog of one table with one column, in that encoding."""
    return replace(catalog(table("public.t", column)), encoding=encoding)


def rules(column: str, **rule: object) -> Rules:
    return Rules.model_validate({"version": 1, "tables": {"public.t": {"columns": {column: rule}}}})


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("LATIN1", "é"), ("LATIN9", "€"), ("WIN1252", "€"), ("KOI8R", "Ж"), ("EUC_JP", "語"), ("UTF8", "🦜"),
     ("SQL_ASCII", "e"), ("MULE_INTERNAL", "e")],
)  # fmt: skip
def test_a_constant_of_the_encoding_is_taken(encoding: str, text: str) -> None:
    """Whatever PostgreSQL calls it."""
    plan = compile_plan(rules("c", mask="constant", value=text), one("c text", encoding), KEYS)
    assert plan.tables[T].masks["c"].apply(pa.array([b"x"])).to_pylist() == [text.encode()]


@pytest.mark.parametrize(
    ("encoding", "text"), [("LATIN1", "Ł"), ("LATIN1", "€"), ("KOI8R", "é"), ("SQL_ASCII", "é"), ("MULE_INTERNAL", "é")]
)
def test_a_constant_that_the_encoding_lacks_is_refused(encoding: str, text: str) -> None:
    """The message names the column and the encoding, and not the value."""
    with pytest.raises(BadInput) as caught:
        compile_plan(rules("c", mask="constant", value=text), one("c text", encoding), KEYS)
    assert "public.t.c" in str(caught.value)
    assert encoding in str(caught.value)
    assert text not in str(caught.value)


def test_a_parameter_deep_in_a_rule_is_looked_at_too() -> None:
    """A mask of a path in a document writes into the same database."""
    inner = {"$.a": {"mask": "constant", "value": "Ł"}}
    with pytest.raises(BadInput, match="LATIN1"):
        compile_plan(rules("c", mask="json", paths=inner), one("c jsonb", "LATIN1"), KEYS)


@pytest.mark.parametrize(("encoding", "length"), [("UTF8", 6), ("SQL_ASCII", 5)])
def test_char_is_padded_as_the_server_counts(encoding: str, length: int) -> None:
    """In characters, and in bytes where the server knows no characters; such bytes need not be UTF-8."""
    plan = compile_plan(rules("c", mask="address.postcode"), one("c char(5)", encoding), KEYS)
    (value,) = plan.tables[T].masks["c"].apply(pa.array(["é1".encode()])).to_pylist()
    assert len(value) == length
    assert value[:1] == "é".encode()[:1]
    assert value.endswith(b"  ")
    if encoding == "SQL_ASCII":
        (value,) = plan.tables[T].masks["c"].apply(pa.array([b"\xe91  "])).to_pylist()
        assert (len(value), value[2:]) == (5, b"   ")
