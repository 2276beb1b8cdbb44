"""float4 and float8 as PostgreSQL prints them: the shortest text that reads back to the same number."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Final

import numpy as np

# The significant digits that any number of the type holds; numbers from ten to this power on get an exponent.
DIGITS: Final = {"float4": 6, "float8": 15}

# Halfway between two smaller numbers, the text has more digits than the shortest of either.
_MAY_BE_HALFWAY: Final = 2**24


def write(negative: bool, digits: int, exponent: int, base_type: str) -> bytes:
    """The number ±digits * 10**exponent, where ``digits`` is the shortest for it, but for zeros at its end."""
    sign = "-" if negative else ""
    written = str(digits).rstrip("0")
    if not written:
        return f"{sign}0".encode()
    magnitude = len(str(digits)) - 1 + exponent
    if not -4 <= magnitude < DIGITS[base_type]:
        fraction = f".{written[1:]}" if len(written) > 1 else ""
        return f"{sign}{written[0]}{fraction}e{magnitude:+03d}".encode()
    if magnitude < 0:
        return f"{sign}0.{'0' * (-magnitude - 1)}{written}".encode()
    whole, fraction = written[: magnitude + 1].ljust(magnitude + 1, "0"), written[magnitude + 1 :]
    return f"{sign}{whole}.{fraction}".encode() if fraction else f"{sign}{whole}".encode()


def canonical(text: str, base_type: str) -> bytes:
    """The text of the number nearest to a decimal number, NaN or infinity. Raises ``ValueError`` if it is none."""
    number: np.float32 | np.float64 = np.float32(text) if base_type == "float4" else np.float64(text)
    if np.isnan(number):
        return b"NaN"
    if np.isinf(number):
        return b"-Infinity" if number < 0 else b"Infinity"
    shortest = Decimal(np.format_float_scientific(number))
    precision = len(shortest.as_tuple().digits)
    while abs(float(number)) >= _MAY_BE_HALFWAY and _is_halfway(shortest, number):
        shortest = Decimal(np.format_float_scientific(number, precision=precision, unique=False))
        precision += 1
    sign, digits, exponent = shortest.as_tuple()
    assert isinstance(exponent, int)
    return write(bool(sign), int("".join(map(str, digits))), exponent, base_type)


def _is_halfway(text: Decimal, number: np.float32 | np.float64) -> bool:
    """Whether a number's text is exactly between it and one of its neighbours, so that a reader has to choose.
    PostgreSQL then prints more digits."""
    twice = 2 * Fraction(text) - Fraction(float(number))
    # The largest number's upper neighbour is infinity, which no text is halfway to.
    with np.errstate(over="ignore"):
        neighbours = [float(np.nextafter(number, number.dtype.type(end))) for end in ("-inf", "inf")]
    return any(math.isfinite(neighbour) and twice == Fraction(neighbour) for neighbour in neighbours)
