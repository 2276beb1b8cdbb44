"""Keep, null, constant and redact."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from fix_masks import AWKWARD_TEXTS, MANY_RUNS, column_of, mask_of, masked
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capture.model import BadInput, Column
from tests.fix_postgres import Server
from transform.masks.base import mask_kind

VALUES = st.lists(st.sampled_from(AWKWARD_TEXTS), max_size=8)


@given(VALUES)
@MANY_RUNS
def test_each_does_what_its_name_says(values: list[bytes | None]) -> None:
    """keep changes nothing, null leaves nothing, constant and redact leave one value; NULL stays NULL."""
    assert masked(mask_of("keep"), values) == values
    assert masked(mask_of("null"), values) == [None] * len(values)
    assert masked(mask_of("constant", value="x"), values) == [
        (value and b"x") or (b"x" if value == b"" else None) for value in values
    ]
    assert masked(mask_of("redact"), values) == [None if value is None else b"[redacted]" for value in values]


@pytest.mark.parametrize(
    ("column", "word"),
    [
        (column_of("varchar", max_length=4), b"[red"),
        (column_of("bpchar", max_length=12), b"[redacted]  "),
        (column_of("bytea"), b"\\x"),
    ],
)
def test_redact_fits_the_column(column: Column, word: bytes) -> None:
    """The word is cut or padded to the column, and no bytes are left of bytea."""
    assert masked(mask_of("redact", column), [b"a", b""]) == [word, word]


CONSTANTS: list[tuple[Any, Column, str]] = [
    (True, column_of("bool"), "t"),
    ("no", column_of("bool"), "f"),
    (True, column_of("text"), "true"),
    (7, column_of("int2"), "7"),
    ("+07", column_of("int8"), "7"),
    (5, column_of("numeric", typmod=(10 << 16 | 2) + 4, scale=2), "5.00"),
    (2.005, column_of("numeric", scale=2), "2.01"),
    ("-0", column_of("numeric"), "0"),
    (1e20, column_of("numeric"), "100000000000000000000"),
    ("NaN", column_of("numeric"), "NaN"),
    (1e20, column_of("float8"), "1e+20"),
    (0.1, column_of("float4"), "0.1"),
    ("ABC", column_of("bpchar", max_length=5), "ABC  "),
    ("2024-01-31", column_of("date"), "2024-01-31"),
    ("2024-01-31", column_of("timestamp"), "2024-01-31 00:00:00"),
    ("2024-01-31T10:00:00.500+02:00", column_of("timestamptz"), "2024-01-31 08:00:00.5+00"),
    ("infinity", column_of("timestamptz"), "infinity"),
    ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", column_of("uuid"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ('{"bb":1e2,"a":[true,null],"c":-0.0}', column_of("jsonb"), '{"a": [true, null], "c": 0.0, "bb": 100}'),
    ('{"ä":"\\u00e4\\n"}', column_of("jsonb"), '{"ä": "ä\\n"}'),
    ('{"a" : 1}', column_of("json"), '{"a" : 1}'),
    (7, column_of("money"), "$7.00"),
    ("-$1,234,567.895", column_of("money"), "-$1,234,567.90"),
    ("secret é", column_of("bytea"), "\\x73656372657420c3a9"),
    ("\\xAB00", column_of("bytea"), "\\xab00"),
    ("10.0.0.1", column_of("inet"), "10.0.0.1"),
    ("10.0.0.1/32", column_of("inet"), "10.0.0.1"),
    ("2001:DB8::0001/64", column_of("inet"), "2001:db8::1/64"),
    ("::ffff:1.2.3.4", column_of("inet"), "::ffff:1.2.3.4"),
    ("10.0.0.0/8", column_of("cidr"), "10.0.0.0/8"),
    ("10.0.0.1", column_of("cidr"), "10.0.0.1/32"),
    ("08-00-2B-01-02-03", column_of("macaddr"), "08:00:2b:01:02:03"),
    ("0800.2b01.0203", column_of("macaddr8"), "08:00:2b:ff:fe:01:02:03"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "column", "text"), CONSTANTS)
def test_a_constant_is_written_as_the_server_prints_it(value: Any, column: Column, text: str) -> None:
    """What the rules say becomes the column's own text."""
    assert masked(mask_of("constant", column, value=value), [b"x", None]) == [text.encode(), None]


@pytest.mark.integration
def test_constants_come_back_from_the_server_as_they_are(server18: Server) -> None:
    """The server prints for each constant what the mask gave."""
    with psycopg.connect(server18.url(), options="-c TimeZone=UTC") as connection:
        for value, column, _ in CONSTANTS:
            (text,) = masked(mask_of("constant", column, value=value), [b"x"])
            name = "numeric(10,2)" if column.typmod > 0 else column.type_name.replace("bpchar", "char")
            assert text is not None
            assert (
                connection.execute(f"SELECT %s::{name}", [text.decode()], binary=False).pgresult.get_value(0, 0) == text
            )


@pytest.mark.parametrize(
    ("value", "column"),
    [
        (1000, column_of("numeric", typmod=(5 << 16 | 2) + 4, scale=2)),
        ("secret", column_of("money")),
        (1e17, column_of("money")),
        ("\\xsecret", column_of("bytea")),
        ("10.0.0", column_of("inet")),
        ("10.0.0.1/8", column_of("cidr")),
        ("08:00:2b:01:02", column_of("macaddr")),
        ("secret", column_of("int4")),
        (40_000, column_of("int2")),
        ("secret", column_of("bool")),
        ("secret", column_of("numeric")),
        ("secret", column_of("float8")),
        ("2024-13-01", column_of("date")),
        ("secret", column_of("uuid")),
        ("{secret", column_of("jsonb")),
        ("NaN", column_of("json")),
        ("secret", column_of("varchar", max_length=3)),
        ("a\0b", column_of()),
    ],
)
def test_a_constant_that_the_column_cannot_hold_is_refused(value: Any, column: Column) -> None:
    """It is the rules' mistake, told without the value."""
    with pytest.raises(BadInput) as caught:
        mask_of("constant", column, value=value)
    assert "secret" not in str(caught.value)


def test_a_constant_needs_a_value() -> None:
    """There is no default that would suit."""
    with pytest.raises(ValidationError):
        mask_kind("constant").params.model_validate({})


def test_a_constant_is_not_shown() -> None:
    """The repr of a mask holds no value."""
    assert "secret" not in repr(mask_of("constant", value="secret"))


@pytest.mark.parametrize(
    "values", [[], {}, "one", {"a": 0}, {"a": -1}, {"a": "often"}, {"a": float("inf")}, {"a": True}]
)
def test_a_choice_is_among_some_and_their_weights_are_numbers_above_0(values: Any) -> None:
    """What is wrong is said in words, not in those of a validator."""
    with pytest.raises(ValidationError) as caught:
        mask_kind("choice").params.model_validate({"values": values})
    (error,) = caught.value.errors()
    assert error["loc"] == ("values",)
    assert error["type"] == "value_error"
