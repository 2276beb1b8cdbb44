"""Text of which parts stay, text made from other columns, and one of a few values."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from fix_catalog import catalog, table
from fix_masks import (
    AWKWARD_TEXTS,
    MANY_RUNS,
    assert_function_of_the_value,
    assert_injective,
    column_of,
    mask_of,
    masked,
    uniqueness_of,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capture.model import BadInput, Column, TableName
from tests.fix_postgres import Server
from transform.keyring import KeyRing
from transform.masks import base
from transform.plan import compile_plan
from transform.rules import Rules

KEYS = KeyRing(bytes(range(32)), "test")
T = TableName("public", "t")
texts = st.lists(st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=30).map(str.encode), max_size=10)
ROOM = {"pattern": r"^Room (\d+), .*$", "replacement": r"Room \1, Doe"}
MASKS: list[tuple[str, dict[str, Any]]] = [
    ("text.partial", {"keep_first": 2, "keep_last": 1}),
    ("text.partial", {"character": "#"}),
    ("text.regex", {"pattern": "[a-z]+", "replacement": "x"}),
    ("text.regex", {"pattern": "ü", "replacement": "", "unmatched": "keep"}),
    ("text.scramble", {}),
    ("choice", {"values": ["one", "two", "three"]}),
]


@pytest.mark.parametrize("base_type", ["text", "citext"])
@pytest.mark.parametrize(("name", "params"), MASKS)
@given(values=texts)
@MANY_RUNS
def test_text_depends_on_the_value_only(
    name: str, params: dict[str, Any], base_type: str, values: list[bytes | None]
) -> None:
    """A value masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of(name, column_of(base_type), **params), values)


# ------------------------------------------------------------------------------------------------------- partial


@given(st.text(max_size=40), st.integers(0, 5), st.integers(0, 5))
def test_the_ends_stay_and_half_is_hidden(value: str, first: int, last: int) -> None:
    """The length stays, and so do the ends of a value that is twice as long as they are."""
    (out,) = masked(mask_of("text.partial", keep_first=first, keep_last=last), [value.encode()])
    if 2 * (first + last) > len(value):
        assert out == b"*" * len(value)
    else:
        hidden = "*" * (len(value) - first - last)
        assert out == (value[:first] + hidden + value[len(value) - last :]).encode()


@pytest.mark.parametrize("params", [{"character": "**"}, {"character": ""}, {"character": "é"}, {"keep_last": -1}])
def test_partial_parameters_are_checked(params: dict[str, Any]) -> None:
    """One ASCII character, which takes no more room than any other."""
    with pytest.raises(ValidationError):
        base.mask_kind("text.partial").params.model_validate(params)


# --------------------------------------------------------------------------------------------------------- regex


def test_what_matches_is_replaced_and_the_rest_redacted() -> None:
    """So that nothing passes by accident; unless it is said to."""
    values: list[bytes | None] = [b"Room 12, Keller", b"Keller", None, b""]
    assert masked(mask_of("text.regex", **ROOM), values) == [b"Room 12, Doe", b"[redacted]", None, b""]
    kept = masked(mask_of("text.regex", unmatched="keep", **ROOM), values)
    assert kept == [b"Room 12, Doe", b"Keller", None, b""]


def test_a_replacement_is_cut_to_the_column() -> None:
    """At a character's end."""
    mask = mask_of("text.regex", column_of("varchar", max_length=5), pattern="a", replacement="ü")
    assert masked(mask, [b"aaaaa", b"baaaa", b"no"]) == ["üüüüü".encode(), "büüüü".encode(), b"[reda"]
    mask = mask_of("text.regex", column_of("varchar", max_length=5), pattern="a", replacement="üu")
    assert masked(mask, [b"aaaaa"]) == ["üuüuü".encode()]


@pytest.mark.parametrize(("pattern", "replacement"), [("(", ""), ("a", r"\2"), ("", ""), ("(?=a)", "")])
def test_expressions_are_checked(pattern: str, replacement: str) -> None:
    """When the rules are read, and not by the first value."""
    with pytest.raises(ValidationError):
        base.mask_kind("text.regex").params.model_validate({"pattern": pattern, "replacement": replacement})


def test_no_value_takes_long() -> None:
    """An expression that others backtrack on for years is done with at once."""
    mask = mask_of("text.regex", pattern="^(a+)+$", replacement="x")
    assert masked(mask, [b"a" * 5000 + b"b"]) == [b"[redacted]"]


# ------------------------------------------------------------------------------------------------------ scramble


def test_scrambled_texts_do_not_meet() -> None:
    """Within a form they are permuted."""
    values = [b"Room %05d, Wing %c" % (n, 65 + n % 26) for n in range(100_000)]
    assert_injective(values, masked(mask_of("text.scramble"), [*values]))
    assert uniqueness_of("text.scramble") is base.Uniqueness.INJECTIVE


# -------------------------------------------------------------------------------------------------------- choice


def test_values_come_up_by_their_weights() -> None:
    """Nine of ten times the one that counts nine times as much, and all alike without weights."""
    originals: list[bytes | None] = [b"%d" % n for n in range(20_000)]
    counts = Counter(masked(mask_of("choice", values={"basic": 9, "gold": 1}), originals))
    assert abs(counts[b"basic"] - 18_000) < 300
    assert counts[b"gold"] == 20_000 - counts[b"basic"]
    counts = Counter(masked(mask_of("choice", values=["a", "b", "c", "d"]), originals))
    assert all(abs(count - 5000) < 400 for count in counts.values())
    assert len(counts) == 4


def test_values_are_brought_into_the_columns_form() -> None:
    """As PostgreSQL prints them; NULL stays NULL."""
    column = column_of("numeric", typmod=(10 << 16 | 2) + 4, scale=2)
    assert set(masked(mask_of("choice", column, values=[5, 7.5]), [b"1.00", b"2.00", b"9.99", None])) <= {
        b"5.00", b"7.50", None,
    }  # fmt: skip
    enum = Column("c", 1, 0, -1, "mood", "mood", kind="e", enum_labels=("sad", "ok"))
    assert set(masked(mask_of("choice", enum, values=["sad", "ok"]), [b"sad", b"ok"])) <= {b"sad", b"ok"}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (column_of("int4"), ["many"]),
        (column_of("varchar", max_length=3), ["long"]),
        (Column("c", 1, 0, -1, "mood", "mood", kind="e", enum_labels=("sad", "ok")), ["sad", "glad"]),
    ],
)
def test_values_that_the_column_does_not_hold_are_refused(column: Column, values: list[str]) -> None:
    """And are not told."""
    with pytest.raises(BadInput) as caught:
        mask_of("choice", column, values=values)
    assert values[-1] not in str(caught.value)


@pytest.mark.parametrize("values", [[], {}, {"a": 0}, {"a": -1}, "a"])
def test_choices_are_checked(values: Any) -> None:
    """There is something to choose, and all of it comes up."""
    with pytest.raises(ValidationError):
        base.mask_kind("choice").params.model_validate({"values": values})


# ------------------------------------------------------------------------------------------------------ template


def template_of(template: str, column: Column | None = None, **row: Column) -> base.DerivedMask:
    kind = base.mask_kind("text.template")
    build = base.Build(KEYS.prf("domain"), column or column_of(), row=row)
    mask = kind.build(kind.params(template=template), build)
    assert isinstance(mask, base.DerivedMask)
    return mask


def derived(mask: base.DerivedMask, values: list[bytes | None], **masked: list[bytes | None]) -> list[bytes | None]:
    sources = {name: pa.array(column, pa.binary()) for name, column in masked.items()}
    out: list[bytes | None] = mask.derive(pa.array(values, pa.binary()), sources).to_pylist()
    return out


def test_a_template_is_filled_from_the_row() -> None:
    """NULL stays NULL, an empty value stays empty, and a source that is NULL counts as empty."""
    mask = template_of("{first}.{last}@{{example}}.com", first=column_of(), last=column_of())
    assert mask.sources == ("first", "last")
    out = derived(
        mask, [b"a", b"b", None, b""], first=[b"Anna", None, b"Max", b"Eva"], last=[b"Roe", b"Doe", b"X", b"Y"]
    )
    assert out == [b"Anna.Roe@{example}.com", b".Doe@{example}.com", None, b""]
    assert derived(template_of("guest"), [b"a", None]) == [b"guest", None]


@given(texts)
@MANY_RUNS
def test_a_tagged_template_depends_on_its_row_only(values: list[bytes | None]) -> None:
    """On the value by its tag, and on the sources by what they show."""
    mask = template_of("{first}-{#}", first=column_of())
    firsts: list[bytes | None] = [b"%d" % (len(value or b"") % 3) for value in values]
    out = derived(mask, values, first=firsts)
    assert derived(mask, values[::-1], first=firsts[::-1]) == out[::-1]
    assert derived(pickle.loads(pickle.dumps(mask)), values, first=firsts) == out
    for row, value in enumerate(values):
        assert derived(mask, [value], first=firsts[row : row + 1]) == out[row : row + 1]
        assert (out[row] is None) == (value is None)


def test_a_tag_keeps_values_apart() -> None:
    """Whatever the sources say."""
    values: list[bytes | None] = [b"%d" % n for n in range(100_000)]
    out = derived(template_of("{first}.{#}@a.test", first=column_of()), values, first=[b"Anna"] * len(values))
    assert len(set(out)) == len(values)
    assert re.fullmatch(rb"Anna\.[0-9a-z]{13}@a\.test", out[0] or b"")
    assert uniqueness_of("text.template", template="{#}") is base.Uniqueness.TAGGED
    assert uniqueness_of("text.template", template="{a}") is base.Uniqueness.LOSSY


def test_what_has_no_room_is_cut_and_a_tag_is_not() -> None:
    """With a tag in it, the sources are left out."""
    short = column_of("varchar", max_length=22)
    mask = template_of("{first}.{#}@a.test", short, first=column_of())
    out = derived(mask, [b"a", b"b"], first=[b"Maximiliane", b"A"])
    assert re.fullmatch(rb"\.[0-9a-z]{13}@a\.test", out[0] or b"")
    assert re.fullmatch(rb"A\.[0-9a-z]{13}@a\.test", out[1] or b"")
    assert derived(
        template_of("{a}ü!", column_of("varchar", max_length=4), a=column_of()), [b"x"], a=["Müß".encode()]
    ) == ["Müßü".encode()]
    with pytest.raises(BadInput):
        template_of("{#}@example.com", column_of("varchar", max_length=20))


@pytest.mark.parametrize("template", ["", "{", "a}", "{}", "{a{b}}"])
def test_templates_are_checked(template: str) -> None:
    """Braces come in pairs around a name."""
    with pytest.raises(ValidationError):
        base.mask_kind("text.template").params.model_validate({"template": template})


def plan_of(columns: dict[str, Any], *shapes: str) -> Any:
    rules = Rules.model_validate({"version": 1, "tables": {"public.t": {"columns": columns}}})
    return compile_plan(rules, catalog(table("public.t", *shapes)), KEYS)


def test_a_template_reads_what_the_copy_has() -> None:
    """Blanks of char(n) are no part of it."""
    plan = plan_of({"name": "redact", "mail": {"mask": "text.template", "template": "{name}@example.com"}},
                   "name char(12)", "mail text")  # fmt: skip
    batch = pa.RecordBatch.from_pydict(
        {"name": pa.array([b"Keller      "], pa.binary()), "mail": pa.array([b"keller@navy.mil"], pa.binary())}
    )
    out = plan.tables[T].mask(batch, escaped=False)
    assert out.column("mail").to_pylist() == [b"[redacted]@example.com"]


def test_a_template_of_templates_is_refused() -> None:
    """What is made from others is not there yet when others are made from it."""
    columns = {
        "a": {"mask": "text.template", "template": "{b}"},
        "b": {"mask": "text.template", "template": "{c}"},
        "c": "redact",
    }
    with pytest.raises(BadInput, match="made from other columns"):
        plan_of(columns, "a text", "b text", "c text")
    with pytest.raises(BadInput, match="the column that it is for"):
        plan_of({"a": {"mask": "text.template", "template": "{a}"}}, "a text")


@pytest.mark.parametrize(("name", "params"), MASKS)
def test_bytes_that_are_no_text_do_no_harm(name: str, params: dict[str, Any]) -> None:
    """A production in SQL_ASCII counts bytes, and may hold any."""
    kind, column = base.mask_kind(name), column_of("varchar", max_length=9)
    mask = kind.build(kind.params(**params), base.Build(KEYS.prf("domain"), column, encoding="SQL_ASCII"))
    assert isinstance(mask, base.Mask)
    values: list[bytes | None] = [b"\xff\xfe name", b"\xe9t\xe9", b"\x80" * 9, None, b"plain"]
    assert all(value is None or len(value) <= 9 for value in assert_function_of_the_value(mask, values))


# -------------------------------------------------------------------------------------------------- the server


@pytest.mark.integration
@pytest.mark.parametrize(
    ("type_name", "column", "values"),
    [
        ("timestamptz", column_of("timestamptz"), ["2024-05-17 10:00:00+02", "infinity"]),
        ("jsonb", column_of("jsonb"), ['{"b": 1.50, "a": [true, null]}']),
        ("float4", column_of("float4"), [0.1, 1e20]),
        ("uuid", column_of("uuid"), ["5F3C6A1E-0B7D-4C2A-9E51-7D8A90B1C2D3"]),
        ("bool", column_of("bool"), [True, "off"]),
    ],
)
def test_the_server_prints_the_choices(server18: Server, type_name: str, column: Column, values: list[Any]) -> None:
    """Each, cast to the type and back, is the same text."""
    out = masked(mask_of("choice", column, values=values), [b"%d" % n for n in range(20)])
    shown = [(value or b"").decode() for value in out]
    with psycopg.connect(server18.url(), options="-c TimeZone=UTC -c DateStyle=ISO") as connection:
        statement = (
            f"SELECT array_agg(format('%%s', v::{type_name}) ORDER BY n) "
            "FROM unnest(%s::text[]) WITH ORDINALITY AS t(v, n)"
        )
        assert connection.execute(statement, [shown]).fetchone() == (shown,)
