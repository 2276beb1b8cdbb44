"""Permuted digits and letters: masks that keep the form of a number or a text, and of which no two outputs meet."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capture.model import BadInput
from transform.cmac import Prf
from transform.encodings import NO_ENCODING
from transform.masks.base import INTEGER, Build, Mask
from transform.masks.permutation import Characters
from transform.masks.slices import in_slices

Rows = npt.NDArray[np.int64]

# The types whose text is a sign, digits, and perhaps a point.
WHOLE: Final = INTEGER | {"numeric"}
_WIDEST: Final = 64
# The bytes that an integer of 64 bits may take: 19 digits and a sign.
_MOST_DIGITS: Final = 20


class DigitsMask(Mask):
    """Permutes the digits of numbers: sign, decimals and the count of digits stay, and so does a first digit 0, which
    no other becomes. Integers of ``width`` bits stay such, and so do those of 64; NaN and the infinities stay as they
    are. ``width`` is that of the domain, so that a number masks alike in all its columns."""

    def __init__(self, prf: Prf, width: int) -> None:
        self._prf = prf
        self._width = width
        self._longest = len(str(2 ** (width - 1)))

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        numbers = Characters(values, NO_ENCODING)
        rows = np.flatnonzero(np.diff(numbers.offsets) >= self._longest)
        if values.null_count:  # which may lie over bytes
            rows = rows[np.asarray(values.is_valid())[rows]]
        meant = self._classes(numbers, rows)
        self._permute(numbers)
        # To leave the integers of a width is to leave the form; walk on until they are met again.
        while (left := self._classes(numbers, rows) != meant).any():
            rows, meant = rows[left], meant[left]
            few = Characters(numbers.column().take(pa.array(rows)), NO_ENCODING)
            self._permute(few)
            places = np.repeat(numbers.offsets[rows] - few.offsets[:-1], np.diff(few.offsets))
            numbers.data[places + np.arange(len(few.data))] = few.data
        return numbers.column()

    def _classes(self, numbers: Characters, rows: Rows) -> Rows:
        """The narrower of the two widths that holds the integer in each of the rows; 0 where neither does, and where
        there is none."""
        starts, ends = numbers.offsets[rows], numbers.offsets[rows + 1]
        if not len(rows):
            return rows
        is_negative = (numbers.data[starts] == ord("-")) & (ends > starts)
        places = ends[:, None] + np.arange(-_MOST_DIGITS, 0)
        inside = places >= (starts + is_negative)[:, None]
        digits = np.where(inside, numbers.data[np.maximum(places, 0)], np.uint8(ord("0")))
        is_whole = (ends - starts <= _MOST_DIGITS) & inside[:, -1]
        is_whole &= ((digits >= ord("0")) & (digits <= ord("9"))).all(axis=1)
        # With zeros in front, texts order as their numbers do.
        magnitudes = np.ascontiguousarray(digits).view(f"S{_MOST_DIGITS}")[:, 0]
        found = np.zeros(len(rows), dtype=np.int64)
        for width in (_WIDEST, self._width):
            limit = 1 << width - 1
            most = np.where(is_negative, _padded(limit), _padded(limit - 1))
            found[is_whole & (magnitudes <= most)] = width
        return found

    def _permute(self, numbers: Characters) -> None:
        numbers.radix *= numbers.digits  # NaN is no number
        digits = np.flatnonzero(numbers.digits)
        bounds = np.searchsorted(digits, numbers.offsets)
        first = digits[bounds[:-1][np.diff(bounds) > 0]]
        numbers.radix[first] = np.where(numbers.data[first] == ord("0"), 0, 9)
        numbers.first[first] = ord("1")
        numbers.permute(self._prf)


def _padded(number: int) -> bytes:
    return b"%0*d" % (_MOST_DIGITS, number)


def build_digits(build: Build) -> Mask:
    """The mask for a column of whole numbers or numeric. Raises ``BadInput`` where not all digits of a number may be
    any: those left of the point are zeros in numeric(3,-2), as those right of it are in numeric(2,5)."""
    column = build.column
    scale = column.scale or 0
    digits = (column.typmod - 4) >> 16 & 0xFFFF if column.typmod >= 4 else scale
    if scale < 0 or digits < scale:
        raise BadInput(f"not every digit of {column.type_name} may be any, so they cannot be permuted.")
    return DigitsMask(build.prf, build.width)


class CharactersMask(Mask):
    """Permutes the digits and letters of text; what is neither stays."""

    def __init__(self, prf: Prf, encoding: str) -> None:
        self._prf = prf
        self._encoding = encoding

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return in_slices(values, self._apply)

    def _apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        characters = Characters(values, self._encoding)
        characters.permute(self._prf)
        return characters.column()
