"""Floats are printed as the server prints them."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from tests.fix_postgres import Server
from transform import floattext


@pytest.mark.parametrize(
    ("text", "base_type", "printed"),
    [
        ("1e15", "float8", b"1e+15"),
        ("123456789012345", "float8", b"123456789012345"),
        ("1e6", "float4", b"1e+06"),
        ("123456", "float4", b"123456"),
        ("0.0001", "float8", b"0.0001"),
        ("0.00001", "float8", b"1e-05"),
        ("-0", "float8", b"-0"),
        ("1.50", "float8", b"1.5"),
        ("100", "float8", b"100"),
        ("1e-300", "float8", b"1e-300"),
        ("nan", "float4", b"NaN"),
        ("-inf", "float8", b"-Infinity"),
    ],
)
def test_examples(text: str, base_type: str, printed: bytes) -> None:
    """Numbers from 0.0001 up to the type's digits are written plainly, others with an exponent."""
    assert floattext.canonical(text, base_type) == printed


@pytest.mark.integration
@pytest.mark.parametrize(("base_type", "bits"), [("float8", 64), ("float4", 32)])
def test_the_server_prints_the_same(server18: Server, base_type: str, bits: int) -> None:
    """Numbers of every magnitude are printed alike."""
    rng = np.random.default_rng(11)
    raw = rng.integers(0, 2**bits, 20_000, dtype=np.uint64).astype(f"u{bits // 8}").view(f"f{bits // 8}")
    plain = rng.normal(0, 1000, 5_000).round(3).astype(raw.dtype)
    small = np.arange(1, 200, dtype=f"u{bits // 8}").view(raw.dtype)
    # The shortest text of a power of two, whose neighbours are not equally far, is what programs differ in.
    powers = 2.0 ** np.arange(-120, 120).astype(raw.dtype)
    texts = [repr(float(number)) for number in np.concatenate([raw[np.isfinite(raw)], plain, small, powers])]
    with psycopg.connect(server18.url()) as connection:
        statement = (
            f"SELECT array_agg((v::{base_type})::text ORDER BY n) FROM unnest(%s::text[]) WITH ORDINALITY AS t(v, n)"
        )
        (printed,) = connection.execute(statement, [texts]).fetchone() or ((),)
    assert [floattext.canonical(text, base_type).decode() for text in texts] == printed


def test_the_largest_numbers_have_a_neighbour_on_one_side_only() -> None:
    """They print as they are read, and nothing overflows."""
    assert floattext.canonical("1.7976931348623157e+308", "float8") == b"1.7976931348623157e+308"
    assert floattext.canonical("-1.7976931348623157e+308", "float8") == b"-1.7976931348623157e+308"
    assert floattext.canonical("3.4028235e+38", "float4") == b"3.4028235e+38"
