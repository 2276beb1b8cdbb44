"""Bands of numbers, numbers between bounds, and money."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from math import floor

import numpy as np
import psycopg
import pytest
from fix_masks import (
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

from capture.model import BadInput, Column, ServerFailed
from tests.fix_postgres import Server
from transform import floattext
from transform.masks.base import Uniqueness, mask_kind

BITS = {"int2": 16, "int4": 32, "int8": 64}
FREE = column_of("numeric")
EXACT = Context(prec=100)
WIDTHS = st.sampled_from(["1", "5", "10", "250", "0.5", "0.25", "2.5", "1e6", "0.001"])
decimals = st.tuples(st.integers(-(10**30), 10**30) | st.integers(-99_999, 99_999), st.integers(0, 20))
floats = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1000, 1000).map(lambda number: round(number, 3))


def numeric(precision: int, scale: int) -> Column:
    return column_of("numeric", typmod=(precision << 16 | (scale & 0x7FF)) + 4, scale=scale)


def written(digits: int, scale: int) -> bytes:
    return f"{Decimal(digits).scaleb(-scale, EXACT):.{scale}f}".encode()


def dollars(cents: int) -> bytes:
    """Money as PostgreSQL prints it where lc_monetary is C."""
    whole, left = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}${whole:,}.{left:02d}".encode()


# --------------------------------------------------------------------------------------------------------- bands


@given(st.lists(st.none() | decimals.map(lambda one: written(*one)), max_size=10), WIDTHS)
@MANY_RUNS
def test_bands_depend_on_the_value_only(values: list[bytes | None], width: str) -> None:
    """A number gets the same band alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("number.band", FREE, rule={"width": width}), values)


@given(st.lists(st.none() | floats.map(lambda one: floattext.canonical(repr(one), "float8")), max_size=10), WIDTHS)
@MANY_RUNS
def test_bands_of_floats_depend_on_the_value_only(values: list[bytes | None], width: str) -> None:
    """So does a float."""
    assert_function_of_the_value(mask_of("number.band", column_of("float8"), rule={"width": width}), values)


@given(decimals, WIDTHS)
def test_a_band_is_the_multiple_below(decimal: tuple[int, int], width: str) -> None:
    """As exact arithmetic says, with at least the decimals that there were."""
    (out,) = masked(mask_of("number.band", FREE, rule={"width": width}), [written(*decimal)])
    value = Fraction(decimal[0], 10 ** decimal[1])
    assert out is not None
    assert Fraction(out.decode()) == floor(value / Fraction(width)) * Fraction(width)
    scale = max(decimal[1], len(f"{Decimal(width):f}".partition(".")[2]))
    assert len(out.partition(b".")[2]) == scale


@given(st.floats(-1e9, 1e9).map(lambda number: round(number, 2)), WIDTHS)
def test_a_band_of_a_float_is_exact(number: float, width: str) -> None:
    """It is that of the decimal number which the float shows: 0.3 in bands of 0.1 is 0.3."""
    text = floattext.canonical(repr(number), "float8")
    (out,) = masked(mask_of("number.band", column_of("float8"), rule={"width": width}), [text])
    expected = floor(Fraction(text.decode()) / Fraction(width)) * Fraction(width)
    assert out == floattext.canonical(str(Decimal(expected.numerator) / expected.denominator), "float8")


@pytest.mark.parametrize("base_type", BITS)
def test_integers_stay_in_range(base_type: str) -> None:
    """The band below the least integer begins at the least multiple there is."""
    low = -(2 ** (BITS[base_type] - 1))
    out = masked(
        mask_of("number.band", column_of(base_type), rule={"width": 1000}), [b"%d" % low, b"%d" % (low + 1500), b"-1"]
    )
    assert all(low <= int(value or b"") for value in out)
    assert int(out[0] or b"") == -(-low // -1000) * -1000 or int(out[0] or b"") == -((-low) // 1000) * 1000
    assert out[2] == b"-1000"


def test_a_limited_decimal_gains_no_digit() -> None:
    """numeric(4,2) holds no -100, so the lowest band begins at -90."""
    mask = mask_of("number.band", numeric(4, 2), rule={"width": 10})
    assert masked(mask, [b"-99.95", b"-85.00", b"99.99"]) == [b"-90.00", b"-90.00", b"90.00"]


@pytest.mark.parametrize(("column", "width"), [(column_of("int4"), 2.5), (numeric(6, 1), 0.25), (numeric(6, -2), 50)])
def test_a_width_that_the_type_does_not_hold_is_refused(column: Column, width: float) -> None:
    """A band has to begin at a number of the column."""
    with pytest.raises(BadInput, match="does not hold"):
        mask_of("number.band", column, rule={"width": width})


@pytest.mark.parametrize("params", [{}, {"width": 0}, {"width": -1}, {"width": "NaN"}])
def test_the_width_is_required(params: dict[str, object]) -> None:
    """And is a number above zero."""
    with pytest.raises(ValidationError):
        mask_kind("number.band").params.model_validate(params)


# -------------------------------------------------------------------------------------------------------- within


@given(st.lists(st.none() | decimals.map(lambda one: written(*one)), max_size=10), st.integers(-50, 50))
@MANY_RUNS
def test_draws_depend_on_the_value_only(values: list[bytes | None], low: int) -> None:
    """A number masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("number.within", FREE, min=low, max=low + 1000), values)


@given(st.lists(st.none() | st.floats(width=32).map(lambda one: floattext.canonical(repr(one), "float4")), max_size=10))
@MANY_RUNS
def test_draws_of_floats_depend_on_the_value_only(values: list[bytes | None]) -> None:
    """So does a float."""
    assert_function_of_the_value(mask_of("number.within", column_of("float4"), min=0.2, max=0.7), values)


@given(decimals, st.decimals(-1000, 1000, places=2), st.decimals(0, 100, places=2))
def test_what_comes_out_is_within_the_bounds(decimal: tuple[int, int], low: Decimal, more: Decimal) -> None:
    """Whatever went in, in decimals and in floats."""
    value = written(*decimal)
    (out,) = masked(mask_of("number.within", FREE, min=low, max=low + more), [value])
    assert low <= Decimal((out or b"").decode()) <= low + more
    (out,) = masked(mask_of("number.within", column_of("float8"), min=low, max=low + more), [value])
    assert low <= Decimal((out or b"").decode()) <= low + more


def test_all_numbers_between_the_bounds_come_about() -> None:
    """Those that are there already change places; others may be drawn to any."""
    mask = mask_of("number.within", column_of("int4"), min=-3, max=8)
    inside = range(-3, 9)
    assert sorted(int(out or b"") for out in masked(mask, [b"%d" % n for n in inside])) == [*inside]
    outside = masked(mask, [b"%d" % n for n in range(1000, 3000)])
    assert {int(out or b"") for out in outside} == {*inside}


def test_numbers_of_a_whole_type_do_not_meet() -> None:
    """With the type's own bounds the mask is a permutation, and says so; with others it does not."""
    column = column_of("int2")
    bounds = {"min": -(2**15), "max": 2**15 - 1}
    values = [b"%d" % n for n in range(-(2**15), 2**15)]
    assert_injective(values, masked(mask_of("number.within", column, **bounds), [*values]))
    assert uniqueness_of("number.within", column, **bounds) is Uniqueness.INJECTIVE
    assert uniqueness_of("number.within", column, min=0, max=2**15 - 1) is Uniqueness.LOSSY
    assert uniqueness_of("number.within", FREE, **bounds) is Uniqueness.LOSSY
    limited = numeric(6, 2)
    values = [written(n, 2) for n in range(-100_000, 100_000)]
    whole = {"min": Decimal("-9999.99"), "max": Decimal("9999.99")}
    assert_injective(values, masked(mask_of("number.within", limited, **whole), [*values]))
    assert uniqueness_of("number.within", limited, **whole) is Uniqueness.INJECTIVE


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [
        (column_of("int2"), 0, 40_000),
        (column_of("int4"), 0.2, 0.8),
        (numeric(4, 2), 0, 100),
        (FREE, 0, 10**18),
        (numeric(25, 15), 0, 10**5),
        (column_of("float4"), 0, 10**7),
    ],
)
def test_bounds_that_the_type_does_not_hold_are_refused(column: Column, low: float, high: float) -> None:
    """At once, and not by the first number."""
    with pytest.raises(BadInput):
        mask_of("number.within", column, min=low, max=high)


def test_bounds_are_in_order() -> None:
    """A range from 5 to 1 is a mistake."""
    with pytest.raises(ValidationError):
        mask_kind("number.within").params.model_validate({"min": 5, "max": 1})


@pytest.mark.parametrize("name", ["number.band", "number.within"])
def test_what_is_no_number_stays(name: str) -> None:
    """NaN and the infinities say nothing of anyone."""
    values: list[bytes | None] = [b"NaN", b"Infinity", b"-Infinity", None]
    params: dict[str, object] = {"width": 5} if name == "number.band" else {"min": 0, "max": 9}
    for base_type in ("numeric", "float8"):
        assert masked(mask_of(name, column_of(base_type), rule=params), values) == values


# --------------------------------------------------------------------------------------------------------- money

MONEY = [
    ("number.noise", {"ratio": 0.3}),
    ("number.band", {"width": 25}),
    ("number.within", {"min": -50, "max": 10**7}),
]


@pytest.mark.parametrize(("name", "params"), MONEY)
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1).map(dollars), min_size=1, max_size=10))
@MANY_RUNS
def test_money_depends_on_the_value_only(name: str, params: dict[str, object], values: list[bytes | None]) -> None:
    """An amount masks alike alone and in a batch, and NULL stays NULL."""
    mask = mask_of(name, column_of("money"), rule=params)
    out = masked(mask, values)
    assert [value is None for value in out] == [value is None for value in values]
    assert [masked(mask, [value])[0] for value in values] == out
    assert masked(mask, values[::-1]) == out[::-1]


def test_money_is_masked_as_the_number_that_it_is() -> None:
    """Grouping and sign are only how it is written."""
    mask = mask_of("number.band", column_of("money"), rule={"width": 1000})
    values: list[bytes | None] = [b"$1,234,567.89", b"-$0.01", b"$999.99", b"-$92,233,720,368,547,758.08"]
    assert masked(mask, values) == [b"$1,234,000.00", b"-$1,000.00", b"$0.00", b"-$92,233,720,368,547,000.00"]


@pytest.mark.parametrize("value", [b"1.234,56 \xe2\x82\xac", b"$12", b"1234.56", b"$1.5"])
def test_money_of_another_locale_stops_the_run(value: bytes) -> None:
    """A session that prints it otherwise is found out, and the value is not told."""
    with pytest.raises(ServerFailed) as caught:
        masked(mask_of("number.noise", column_of("money")), [value])
    assert "12" not in str(caught.value).replace("$1,234.56", "")


# -------------------------------------------------------------------------------------------------- the server


@pytest.mark.integration
@pytest.mark.parametrize("base_type", ["int8", "numeric", "numeric(14,4)", "float4", "float8", "money"])
def test_the_server_prints_what_the_mask_gives(server18: Server, base_type: str) -> None:
    """Each number, cast to the type and back, is the same text."""
    rng = np.random.default_rng(5)
    texts = [repr(float(number)) for number in [*rng.normal(0, 500, 500).round(2), *rng.normal(0, 1e4, 500)]]
    texts += ["0", "-0.01", "0.00004", "99999.99", "-1"]
    column = numeric(14, 4) if "(" in base_type else column_of(base_type)
    match base_type:
        case "float4" | "float8":
            texts += ["1e15", "-1e6", "1e-7", "-0", "NaN", "Infinity", "3e38", "-3.4e38"]
        case "numeric":
            texts += ["1" * 40, "-0." + "0" * 20 + "123456789" * 3, "9" * 18, "1" + "0" * 5000 + ".50"]
        case "int8":
            texts = [str(number) for number in rng.integers(-(2**63), 2**63 - 1, 500)] + ["0", "-1"]
        case "money":
            texts += ["-92233720368547758.08", "92233720368547758.07", "1000", "-100000"]
    rules = [("number.band", {"width": 50}), ("number.within", {"min": 0, "max": 5}), ("number.noise", {})]
    if base_type not in ("int8", "money"):
        rules += [("number.band", {"width": 0.0005}), ("number.within", {"min": -0.2, "max": 0.3})]
    with psycopg.connect(server18.url(), options="-c lc_monetary=C") as connection:
        statement = (
            f"SELECT array_agg((v::{base_type})::text ORDER BY n) FROM unnest(%s::text[]) WITH ORDINALITY AS t(v, n)"
        )
        (values,) = connection.execute(statement, [texts]).fetchone() or ((),)
        for name, params in rules:
            out = masked(mask_of(name, column, rule=params), [value.encode() for value in values])
            shown = [(value or b"").decode() for value in out]
            (printed,) = connection.execute(statement, [shown]).fetchone() or ((),)
            assert [(name, one, two) for one, two in zip(shown, printed, strict=True) if one != two] == []
