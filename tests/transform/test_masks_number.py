"""Noise on numbers: near by, of the same form, and what the type holds."""

from __future__ import annotations

from decimal import Context, Decimal

import numpy as np
import psycopg
import pytest
from fix_masks import MANY_RUNS, assert_function_of_the_value, column_of, mask_of, masked
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from capture.model import Column, ServerFailed
from tests.fix_postgres import Server
from transform import floattext
from transform.masks.base import mask_kind

BITS = {"int2": 16, "int4": 32, "int8": 64}
RATIOS = st.floats(0.01, 0.99)
FREE = column_of("numeric")
EXACT = Context(prec=100)


def numeric(precision: int, scale: int) -> Column:
    return column_of("numeric", typmod=(precision << 16 | (scale & 0x7FF)) + 4, scale=scale)


def written(digits: int, scale: int) -> bytes:
    return f"{Decimal(digits).scaleb(-scale, EXACT):.{scale}f}".encode()


def significant(value: bytes) -> int:
    """How many digits there are after the zeros in front."""
    return len(value.replace(b".", b"").lstrip(b"-0"))


integers = st.sampled_from(sorted(BITS)).flatmap(
    lambda name: st.tuples(st.just(name), st.integers(-(2 ** (BITS[name] - 1)), 2 ** (BITS[name] - 1) - 1))
)
decimals = st.tuples(
    st.integers(-(10**45), 10**45) | st.integers(-(10**18) - 9, 10**18 + 9) | st.integers(-999, 999), st.integers(0, 30)
)
floats = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1000, 1000).map(lambda number: round(number, 3))


@given(
    st.lists(st.none() | decimals.map(lambda one: written(*one)), max_size=10), st.sampled_from([FREE, numeric(60, 30)])
)
@MANY_RUNS
def test_decimals_depend_on_the_value_only(values: list[bytes | None], column: Column) -> None:
    """A number masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("number.noise", column), values)


@given(st.lists(st.none() | floats.map(lambda one: floattext.canonical(repr(one), "float8")), max_size=10))
@MANY_RUNS
def test_floats_depend_on_the_value_only(values: list[bytes | None]) -> None:
    """So does a float."""
    assert_function_of_the_value(mask_of("number.noise", column_of("float8")), values)


@given(integers, RATIOS)
@example(("int8", -(2**63)), 0.99)
@example(("int8", 2**63 - 1), 0.99)
@MANY_RUNS
def test_integers_stay_near_and_in_range(integer: tuple[str, int], ratio: float) -> None:
    """The noise is at most the ratio, keeps the sign, and moves whatever is large enough to be moved."""
    base_type, number = integer
    (out,) = map(int, masked(mask_of("number.noise", column_of(base_type), ratio=ratio), [b"%d" % number]))
    assert abs(out - number) <= abs(number) * Decimal(ratio) + 1024 * (abs(number) > 2**52)
    assert -(2 ** (BITS[base_type] - 1)) < out < 2 ** (BITS[base_type] - 1)
    assert (out > 0) - (out < 0) == (number > 0) - (number < 0)
    assert (out == number) == (int(abs(number) * ratio) == 0 or abs(number) == 1)


@given(decimals, RATIOS)
@example((0, 25), 0.5)
@example((10**18 - 1, 3), 0.99)
@MANY_RUNS
def test_decimals_keep_their_form(decimal: tuple[int, int], ratio: float) -> None:
    """There are as many decimals as before, and the noise is at most the ratio."""
    value = written(*decimal)
    (out,) = masked(mask_of("number.noise", FREE, ratio=ratio), [value])
    assert out is not None
    assert out.partition(b".")[2].__len__() == decimal[1]
    before, after = Decimal(value.decode()), Decimal(out.decode())
    assert abs(after - before) <= abs(before) * (Decimal(ratio) + Decimal("1e-15"))
    assert (after > 0, after < 0) == (before > 0, before < 0)


@given(st.integers(-(10**30), 10**30), st.integers(0, 30), RATIOS)
@MANY_RUNS
def test_a_limited_decimal_never_gains_a_digit(digits: int, scale: int, ratio: float) -> None:
    """numeric(p,s) has room for as many digits as the value had."""
    value = written(digits, scale)
    (out,) = masked(mask_of("number.noise", numeric(31, scale), ratio=ratio), [value])
    assert significant(out or b"") <= significant(value)


def test_a_negative_scale_keeps_its_zeros() -> None:
    """numeric(4,-2) holds hundreds."""
    out = masked(mask_of("number.noise", numeric(4, -2), ratio=0.5), [b"123400", b"-100", b"0"])
    assert all((value or b"").endswith(b"0") and int(value or b"") % 100 == 0 for value in out)
    assert out[0] != b"123400"
    assert out[1:] == [b"-100", b"0"]


@pytest.mark.parametrize("base_type", ["numeric", "float4", "float8"])
def test_what_is_no_number_stays(base_type: str) -> None:
    """NaN and the infinities say nothing that noise could hide; zero stays zero."""
    values: list[bytes | None] = [b"NaN", b"Infinity", b"-Infinity", b"0", None]
    assert masked(mask_of("number.noise", column_of(base_type)), values) == values


def test_numbers_that_are_not_written_as_the_server_writes_them_stop_the_run() -> None:
    """The value is not told."""
    with pytest.raises(ServerFailed) as caught:
        masked(mask_of("number.noise", FREE), [b"12,5secret"])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("ratio", [0, 1, -0.5, 2])
def test_the_ratio_is_between_none_and_all(ratio: float) -> None:
    """At 1 a number could vanish."""
    with pytest.raises(ValidationError):
        mask_kind("number.noise").params.model_validate({"ratio": ratio})


@pytest.mark.integration
@pytest.mark.parametrize("base_type", ["float4", "float8", "numeric", "numeric(12,4)", "int8"])
def test_the_server_prints_what_the_mask_gives(server18: Server, base_type: str) -> None:
    """Each noisy number, cast to the type and back, is the same text."""
    rng = np.random.default_rng(5)
    bits = 32 if base_type == "float4" else 64
    texts = [repr(float(number)) for number in [*rng.normal(0, 500, 2000).round(2), *rng.normal(0, 1e4, 1000)]]
    match base_type:
        case "float4" | "float8":
            wild = rng.integers(0, 2**bits, 3000, dtype=np.uint64).astype(f"u{bits // 8}").view(f"f{bits // 8}")
            tiny = np.arange(1, 300, dtype=f"u{bits // 8}").view(wild.dtype)
            wild = np.concatenate(
                [wild[np.isfinite(wild)], tiny, -tiny, [np.finfo(wild.dtype).max, np.finfo(wild.dtype).tiny]]
            )
            texts += [str(number) for number in wild] + [
                "1e15",
                "-1e6",
                "0.0001",
                "0.00009999",
                "-0",
                "NaN",
                "Infinity",
            ]
        case "numeric":
            texts += [
                "1" * 40,
                "-0." + "0" * 20 + "123456789" * 3,
                "0.000",
                "9" * 18,
                "9" * 19,
                "1" + "0" * 5000 + ".50",
            ]
        case "int8":
            texts = [str(number) for number in rng.integers(-(2**63), 2**63 - 1, 3000)]
    column = numeric(12, 4) if "(" in base_type else column_of(base_type)
    with psycopg.connect(server18.url()) as connection:
        statement = (
            f"SELECT array_agg((v::{base_type})::text ORDER BY n) FROM unnest(%s::text[]) WITH ORDINALITY AS t(v, n)"
        )
        (values,) = connection.execute(statement, [texts]).fetchone() or ((),)
        for ratio in (0.1, 0.999):
            out = masked(mask_of("number.noise", column, ratio=ratio), [value.encode() for value in values])
            noisy = [(value or b"").decode() for value in out]
            (printed,) = connection.execute(statement, [noisy]).fetchone() or ((),)
            assert [(one, two) for one, two in zip(noisy, printed, strict=True) if one != two] == []
            assert sum(one == two for one, two in zip(noisy, values, strict=True)) < len(values) / 5
