"""Decimal numbers of a whole column, read as integers with a scale and written back as PostgreSQL prints them.

A number is *plain* when it is written without an exponent and its digits make an integer that fits into int8. Those
are computed with at once; a mask handles the few others one by one. ``money`` arrives and leaves as lc_monetary C
prints it, ``-$1,234.56``, and is a number with two decimals in between.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import ServerFailed
from transform import floattext
from transform.cmac import binary_buffers
from transform.masks.base import Mask
from transform.masks.choosing import merge, per_value

Integers: TypeAlias = npt.NDArray[np.int64]
Magnitudes: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]

TEN_TO: Final = np.array([10**power for power in range(20)], dtype=np.uint64)
NO_NUMBERS: Final = frozenset({b"NaN", b"Infinity", b"-Infinity"})

# Typed, or Arrow would guess their types at every call.
_MINUS: Final = pa.scalar("-", pa.string())
_POINT: Final = pa.scalar(".", pa.string())
_NOTHING: Final = pa.scalar("", pa.string())


def find_plain(values: pa.BinaryArray, most_digits: int) -> Flags:
    """Which values are plain and have at most so many digits."""
    offsets, data = binary_buffers(values)
    data = data[int(offsets[0]) : int(offsets[-1])]
    starts = (offsets - offsets[0]).astype(np.int64)
    digits = per_value((data >= ord("0")) & (data <= ord("9")), starts)
    others = per_value((data != ord("-")) & (data != ord(".")), starts) - digits
    plain: Flags = (digits > 0) & (digits <= most_digits) & (others == 0)
    plain &= values.is_valid().to_numpy(zero_copy_only=False)
    return plain


def read(values: pa.BinaryArray) -> tuple[Integers, Integers]:
    """Plain numbers as integers, and how many of the digits are decimals."""
    text = values.view(pa.string())
    points = pc.find_substring(text, ".").to_numpy(zero_copy_only=False)
    scales = np.where(points < 0, 0, pc.binary_length(text).to_numpy(zero_copy_only=False) - points - 1)
    whole = pc.replace_substring(text, ".", "") if (scales > 0).any() else text
    return pc.cast(whole, pa.int64()).to_numpy(), scales.astype(np.int64)


def write(negative: pa.BooleanArray, sizes: Magnitudes, scales: Integers) -> pa.BinaryArray:
    """The numbers ±sizes / 10**scales, with as many decimals."""
    return _write(negative, *_split(sizes, scales)).view(pa.binary())


def _split(sizes: Magnitudes, scales: Integers) -> tuple[Magnitudes, Magnitudes, Integers]:
    """What stands before the point, what behind it after a 1 that keeps the zeros it starts with, and the scales."""
    unit = TEN_TO[scales]
    whole = sizes // unit
    return whole, sizes - whole * unit + unit, scales


def _write(negative: pa.BooleanArray, whole: Magnitudes, decimals: Magnitudes, scales: Integers) -> pa.StringArray:
    # The sign is written apart, or it would be lost where the part before the point is 0.
    sign, before = pc.if_else(negative, _MINUS, _NOTHING), pc.cast(pa.array(whole), pa.string())
    if not (scales > 0).any():
        return pc.binary_join_element_wise(sign, before, _NOTHING)
    behind = pc.utf8_slice_codeunits(pc.cast(pa.array(decimals), pa.string()), 1)
    point = pc.if_else(pa.array(scales > 0), _POINT, _NOTHING)
    return pc.binary_join_element_wise(sign, before, point, behind, _NOTHING)


def write_floats(negative: pa.BooleanArray, sizes: Magnitudes, scales: Integers, base_type: str) -> pa.BinaryArray:
    """The same as floats, whose text has no zeros at its end; no size has more digits than the type surely holds."""
    whole, decimals, scales = _split(sizes, scales)
    written = _write(negative, whole, decimals, scales)
    trimmed = pc.ascii_rtrim(pc.ascii_rtrim(written, "0"), ".")
    shortest = pc.if_else(pa.array(scales > 0), trimmed, written).view(pa.binary())
    # Perhaps so small, or so large, that it takes an exponent.
    unusual = ((whole == 0) & (scales > 3)) | (whole >= TEN_TO[floattext.DIGITS[base_type]])
    rows = np.flatnonzero(unusual)
    if not rows.size:
        return shortest
    parts = zip(negative.take(pa.array(rows)).to_pylist(), sizes[rows].tolist(), scales[rows].tolist(), strict=True)
    again = [floattext.write(sign, size, -scale, base_type) for sign, size, scale in parts]
    others = np.flatnonzero(~unusual)
    return merge(len(sizes), (others, shortest.take(pa.array(others))), (rows, pa.array(again, type=pa.binary())))


# -------------------------------------------------------------------------------------------------------- money

_MONEY: Final = r"^-?\$\d{1,3}(?:,\d{3})*\.\d\d$"
# -$92,233,720,368,547,758.08
_WIDEST: Final = 27
_CENTS: Final = 2


class MoneyMask(Mask):
    """Shows money to ``inner`` as numbers with two decimals, of which at most 2**63 - 1 cents may come back."""

    def __init__(self, inner: Mask) -> None:
        self._inner = inner

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        text = values.view(pa.string())
        if not pc.all(pc.match_substring_regex(text, _MONEY), min_count=0).as_py():
            raise ServerFailed(
                "an amount of money did not arrive as $1,234.56.", hint="The session's lc_monetary must be C."
            )
        plain = pc.replace_substring(pc.replace_substring(text, "$", ""), ",", "")
        masked = self._inner.apply(plain.view(pa.binary()))
        cents, _ = read(masked.fill_null(pa.scalar(b"0.00", pa.binary())))
        negative = pc.starts_with(masked.view(pa.string()), "-").fill_null(pa.scalar(False, pa.bool_()))
        return _write_money(negative.to_numpy(zero_copy_only=False), np.abs(cents).view(np.uint64), masked)


def _write_money(negative: Flags, cents: Magnitudes, validity: pa.BinaryArray) -> pa.BinaryArray:
    """Write each amount at the right end of a row, a sign in front of it, and leave out what is before that."""
    text = np.full((len(cents), _WIDEST), ord("0"), dtype=np.uint8)
    whole, left = np.divmod(cents, np.uint64(100))
    text[:, -1], text[:, -2] = left % np.uint64(10) + np.uint64(ord("0")), left // np.uint64(10) + np.uint64(ord("0"))
    text[:, -3] = ord(".")
    digits = np.maximum(np.searchsorted(TEN_TO, whole, side="right"), 1)
    most = int(digits.max(initial=1))
    place = _WIDEST - 4
    for digit in range(most):
        if digit and digit % 3 == 0:
            text[:, place] = ord(",")
            place -= 1
        rest = whole // np.uint64(10)
        text[:, place] = whole - rest * np.uint64(10) + np.uint64(ord("0"))
        whole = rest
        place -= 1
    starts = _WIDEST - (digits + (digits - 1) // 3 + 3) - 1
    rows = np.arange(len(cents))
    text[rows, starts] = ord("$")
    text[rows[negative], starts[negative] - 1] = ord("-")
    starts = starts - negative
    offsets = np.concatenate([[0], np.cumsum(_WIDEST - starts)]).astype(np.int32)
    kept = text.reshape(-1)[np.flatnonzero(np.arange(_WIDEST) >= starts[:, None])]
    made = pa.BinaryArray.from_buffers(pa.binary(), len(cents), [None, pa.py_buffer(offsets), pa.py_buffer(kept)])
    return pc.if_else(validity.is_valid(), made, pa.scalar(None, pa.binary())) if validity.null_count else made
