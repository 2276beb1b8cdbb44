"""Identifiers that stay identifiers: keyed permutations of integers and of UUIDs.

An integer maps to the same integer whether its column is int4, int8, numeric or text, so joins across types hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from math import isqrt
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, StrictInt

from capture.model import BadInput, Column, ServerFailed, counted
from transform.cmac import Prf, binary_buffers
from transform.encodings import NO_ENCODING
from transform.masks.base import (
    INTEGER,
    TEXT,
    Build,
    Example,
    Form,
    Group,
    Mask,
    MaskKind,
    NoParams,
    Params,
    Uniqueness,
    register,
)
from transform.masks.choosing import TextMask, fixed_width, join, merge, room
from transform.masks.opaque import opaque, opaque_or_fail
from transform.masks.permutation import Characters, Numbers, feistel, permute_range, walk

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


def text_tagged(params: Params, column: Column) -> Uniqueness:
    """For masks that permute what is of their kind, and give other text a tag."""
    return Uniqueness.TAGGED if column.base_type in TEXT else Uniqueness.INJECTIVE


# ------------------------------------------------------------------------------------------------------ integers

_TYPE_WIDTH: Final = {"int2": 16, "int4": 32, "int8": 64}
# Decimal digits of the largest integer of each width.
_DIGITS: Final = {64: 19, 32: 10, 16: 5}
_CANONICAL: Final = r"^(0|-?[1-9][0-9]*)$"
# Typed once: Arrow takes long to guess the type of a Python value.
_ZERO: Final = pa.scalar(0, pa.int64())
_FALSE: Final = pa.scalar(False, pa.bool_())
_LEAST_INT8, _MOST_INT8 = -(2**63), 2**63 - 1

# Tweaks: each class of integers has a permutation of its own. Wide ones add their count of digits.
_LOWER, _UPPER, _NEGATIVE, _WIDE, _WIDE_NEGATIVE, _BEYOND = 0, 1, 2, 0x100, 0x200, 3
_UUID: Final = 4
_LOWER_DECLARED, _UPPER_DECLARED, _BELOW, _ABOVE = 5, 6, 7, 8

# A range of fewer integers is no place to hide in.
_LEAST_DECLARED: Final = 100
# The least and the greatest integer that the rules declare, both of the range.
Declared: TypeAlias = tuple[int, int]


class IntegerParams(Params):
    """Which integers there are."""

    range: tuple[StrictInt, StrictInt] | None = Field(
        default=None,
        description="The least and the greatest integer that the column may hold, as [1, 999999], where that is less "
        "than its type holds: a CHECK constraint, or a sequence that ends.",
    )


def lower_half(width: int) -> int:
    """Integers from 0 up to this, of columns ``width`` (16, 32 or 64) bits wide, are permuted among themselves: a
    sequence that starts here in a copy makes no key that production's rows will take."""
    return 1 << (width - 2)


def sequence_floor(params: Mapping[str, Any], width: int) -> int:
    """Where a copy's sequence may start, for valid parameters of id.int: at the upper half of what is permuted."""
    declared = IntegerParams.model_validate(params).range
    return lower_half(width) if declared is None else _middle(declared)


def permutes_to(params: Mapping[str, Any], width: int, integer: int) -> bool:
    """Whether the integer is one of those that id.int gives to the ids that there are, for valid parameters: from 0 up,
    or of the declared range."""
    declared = IntegerParams.model_validate(params).range
    low, high = (0, 2 * lower_half(width) - 1) if declared is None else declared
    return low <= integer <= high


def reach(params: Mapping[str, Any], width: int, integer: int) -> tuple[int, ...]:
    """The least and the greatest integer that id.int may make of one, for valid parameters; none if it is wider than
    ``width``."""
    for start, end, _ in _classes(width, IntegerParams.model_validate(params).range):
        if start <= integer < end:
            return start, end - 1
    return ()


def _middle(declared: Declared) -> int:
    low, high = declared
    return low + (high - low + 1) // 2


def _classes(width: int, declared: Declared | None) -> tuple[tuple[int, int, int], ...]:
    """The first integer, the end and the tweak of each set that is permuted within itself."""
    half = lower_half(width)
    if declared is None:
        return (0, half, _LOWER), (half, 2 * half, _UPPER), (-2 * half, 0, _NEGATIVE)
    low, high = declared
    middle = _middle(declared)
    return (
        (low, middle, _LOWER_DECLARED),
        (middle, high + 1, _UPPER_DECLARED),
        (-2 * half, low, _BELOW),
        (high + 1, 2 * half, _ABOVE),
    )


def integer_width(column: Column) -> int | None:
    """The widest integers in bits (16, 32 or 64) that all fit into the column; None if not even int2's do, or no
    integers belong there. Of a domain's columns the smallest counts (``Build.width``)."""
    if column.base_type in _TYPE_WIDTH:
        return _TYPE_WIDTH[column.base_type]
    if column.base_type == "numeric":
        digits = _precision(column)
    elif column.base_type in TEXT:
        limit = room(column)
        digits = None if limit is None else limit - 1  # a sign
    else:
        return None
    return next((width for width, least in _DIGITS.items() if digits is None or digits >= least), None)


def _precision(column: Column) -> int | None:
    return None if column.typmod < 4 else (column.typmod - 4) >> 16 & 0xFFFF


def permute_integers(prf: Prf, integers: Integers, width: int, declared: Declared | None = None) -> Integers:
    """Permute int8 values so that those of ``width`` bits stay so.

    With ``half = lower_half(width)``, each of [0, half), [half, 2 * half) and [-2 * half, 0) is permuted within
    itself; with a declared range its lower half, its upper half, and what is below and above it. What is wider keeps
    its sign and its count of decimal digits.
    """
    out = np.empty_like(integers)
    wide = np.ones(len(integers), dtype=bool)
    for start, end, tweak in _classes(width, declared):
        rows = np.flatnonzero((integers >= start) & (integers <= end - 1))
        if rows.size:
            offsets = (integers[rows] - start).view(np.uint64)  # wraps where start is int8's least: still the offset
            out[rows] = _permute_below(prf, offsets, end - start, tweak).view(np.int64) + start
            wide[rows] = False
    rows = np.flatnonzero(wide)
    if rows.size:
        out[rows] = _permute_wide(prf, integers[rows], width)
    return out


def _permute_below(prf: Prf, offsets: Numbers, size: int, tweak: int) -> Numbers:
    """Permute the numbers of [0, size)."""
    is_power = size.bit_count() == 1
    left = 1 << (size.bit_length() - 1) // 2 if is_power else isqrt(size - 1) + 1
    right = -(-size // left)
    step = partial(permute_range, prf, left_size=left, right_size=right, tweak=tweak)
    return step(offsets) if left * right == size else walk(offsets, step, 0, size - 1)


def _permute_wide(prf: Prf, integers: Integers, width: int) -> Integers:
    out = np.empty_like(integers)
    negative = integers < 0
    magnitudes = np.where(negative, 0 - integers, integers).view(np.uint64)
    bounds = np.array([10**digits for digits in range(1, 20)], dtype=np.uint64)
    digits = np.searchsorted(bounds, magnitudes, side="right") + 1
    for sign, base in ((False, _WIDE), (True, _WIDE_NEGATIVE)):
        for count in np.unique(digits[negative == sign]).tolist():
            rows = np.flatnonzero((digits == count) & (negative == sign))
            # A number of that many digits is its first digits, of which there are 9 * 10**k, and the others.
            least, right = 10 ** (count - 1), 10 ** (count // 2)
            step = partial(_permute_from, prf, least, 9 * least // right, right, base + count)
            low = max(least, 2 ** (width - 1) + sign)
            high = min(10 * least - 1, 2**63 - 1 + sign)
            permuted = walk(magnitudes[rows], step, low, high).view(np.int64)
            out[rows] = 0 - permuted if sign else permuted
    return out


def _permute_from(prf: Prf, start: int, left_size: int, right_size: int, tweak: int, numbers: Numbers) -> Numbers:
    first = np.uint64(start)
    return permute_range(prf, numbers - first, left_size, right_size, tweak) + first


def _permute_beyond(prf: Prf, texts: list[bytes]) -> list[bytes]:
    """Permute integers that int8 does not hold, among those of the same sign and count of digits."""
    out = list(texts)
    rows = list(range(len(out)))
    while rows:
        numbers = Characters(pa.array([out[row] for row in rows], type=pa.binary()), NO_ENCODING)
        first = numbers.offsets[:-1] + (numbers.data[numbers.offsets[:-1]] == ord("-"))
        numbers.radix[first], numbers.first[first] = 9, ord("1")
        numbers.permute(prf, tweak=_BEYOND)
        for row, text in zip(rows, numbers.column().to_pylist(), strict=True):
            out[row] = text
        rows = [row for row in rows if _LEAST_INT8 <= int(out[row]) <= _MOST_INT8]
    return out


_WITH_ZEROS: Final = re.compile(rb"(-?[0-9]+)(\.0+)")


def _whole(numeric: bytes) -> tuple[bytes, bytes]:
    """An integer that a numeric is, and the decimals with which it is written."""
    found = _WITH_ZEROS.fullmatch(numeric)
    if found is None:
        raise ServerFailed("the mask id.int met a numeric value that is no integer.")
    return found[1], found[2]


def _as_text(integers: pa.Int64Array) -> pa.BinaryArray:
    return pc.cast(integers, pa.string()).view(pa.binary())


class IntegerColumn(Mask):
    """Permutes a column of int2, int4 or int8."""

    def __init__(self, prf: Prf, width: int, declared: Declared | None) -> None:
        self._prf = prf
        self._width = width
        self._declared = declared

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        integers = pc.cast(values.view(pa.string()), pa.int64())
        nulls = integers.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
        permuted = permute_integers(self._prf, integers.fill_null(_ZERO).to_numpy(), self._width, self._declared)
        return _as_text(pa.array(permuted, mask=nulls))


class IntegerText(TextMask):
    """Permutes the integers in a column of text or numeric. Other text becomes ``x`` and a tag; another
    numeric, but for an integer written with decimals, or text without room for a tag, raises ``ServerFailed``."""

    def __init__(self, prf: Prf, column: Column, width: int, declared: Declared | None) -> None:
        super().__init__(prf, column)
        self._width = width
        self._declared = declared
        self._numeric = column.base_type == "numeric"

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        canonical = pc.match_substring_regex(values, _CANONICAL).fill_null(_FALSE).to_numpy(zero_copy_only=False)
        # Up to 18 characters are surely an int8; the few longer ones are looked at one by one.
        short = canonical & (np.diff(binary_buffers(values)[0]) <= 18)
        rows = np.flatnonzero(short)
        integers = pc.cast(values.take(pa.array(rows)).view(pa.string()), pa.int64()).to_numpy()
        parts: list[tuple[Rows, pa.BinaryArray]] = []
        if rows.size < len(values):
            long = np.flatnonzero(canonical & ~short)
            texts = values.take(pa.array(long)).to_pylist()
            fits = np.fromiter((_LEAST_INT8 <= int(text) <= _MOST_INT8 for text in texts), dtype=bool, count=len(texts))
            more = np.array([int(text) for text, fit in zip(texts, fits, strict=True) if fit], dtype=np.int64)
            rows, integers = np.concatenate([rows, long[fits]]), np.concatenate([integers, more])
            beyond = _permute_beyond(self._prf, [text for text, fit in zip(texts, fits, strict=True) if not fit])
            other = np.flatnonzero(valid & ~canonical)
            parts = [
                (long[~fits], pa.array(beyond, type=pa.binary())),
                (other, self._others(values.take(pa.array(other)))),
            ]
        permuted = _as_text(pa.array(permute_integers(self._prf, integers, self._width, self._declared)))
        return merge(len(values), (rows, permuted), *parts)

    def _others(self, values: pa.BinaryArray) -> pa.BinaryArray:
        if self._numeric and len(values):
            # 7.00 is the integer 7, and keeps its decimals.
            parts = [_whole(value) for value in values.to_pylist()]
            whole = self.make(pa.array([integer for integer, _ in parts], pa.binary()))
            return join(whole, pa.array([decimals for _, decimals in parts], pa.binary()))
        return opaque_or_fail("id.int", "integer", self, values, self._room)


def _build_int(params: IntegerParams, build: Build) -> Mask:
    column = build.column
    if params.range is not None:
        _check_range(params.range, build.width)
    if column.base_type in INTEGER:
        return IntegerColumn(build.prf, min(build.width, _TYPE_WIDTH[column.base_type]), params.range)
    if column.base_type == "numeric" and column.scale:
        raise BadInput(f"{column.type_name} is no type of integers, and only integers can be permuted.")
    width = integer_width(column)
    if width is None or width < build.width:
        raise BadInput(
            f"permuted integers of {build.width} bits do not fit into {column.type_name}.",
            hint="Widen the column, or choose a mask that keeps the length.",
        )
    return IntegerText(build.prf, column, build.width, params.range)


def _check_range(declared: Declared, width: int) -> None:
    low, high = declared
    if high - low < _LEAST_DECLARED - 1:
        raise BadInput(
            f"a range of {counted(max(high - low + 1, 0), 'integer')} hides nothing.",
            hint=f"Declare [least, greatest] with {_LEAST_DECLARED} integers or more, or use keep.",
        )
    if low < -2 * lower_half(width) or high >= 2 * lower_half(width):
        raise BadInput(
            f"the range is wider than integers of {width} bits, which is what all columns masked alike can hold.",
            hint=f"Stay within [{-2 * lower_half(width)}, {2 * lower_half(width) - 1}].",
        )


register(
    MaskKind(
        name="id.int",
        group=Group.IDS,
        summary="another integer of the same width; no two meet",
        types=INTEGER | {"numeric"} | TEXT,
        params=IntegerParams,
        build=_build_int,
        uniqueness=text_tagged,
        examples=(
            Example("17", type_name="integer"),
            Example("17", type_name="bigint"),
            Example("17", {"range": [1, 999_999]}, "integer"),
        ),
        notes="The lower half of a type's range is permuted within itself, and the copy's own sequences begin above "
        "it. With a range of your own the same is done with its two halves; an integer outside of it stays outside, "
        "on its side. An integer masks alike in columns of any type that a foreign key or a domain unites.",
    )
)

# --------------------------------------------------------------------------------------------------------- UUIDs

# The value of a hexadecimal digit by its byte; 255 for what is none.
HEX_VALUE: Final = np.full(256, 255, dtype=np.uint8)
for _digit, _nibble in zip(b"0123456789abcdefABCDEF", [*range(16), *range(10, 16)], strict=True):
    HEX_VALUE[_digit] = _nibble
_HYPHENS: Final = [8, 13, 18, 23]
_HEX_PLACES: Final = [place for place in range(36) if place not in _HYPHENS]
LOWER_HEX: Final = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_LOW_FREE: Final = np.uint64(2**62 - 1)
UPPER_HEX: Final = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)


class Uuid(TextMask):
    """Permutes 122 of a UUID's bits; version and variant stay. Text in capitals stays in capitals. Text that is no
    UUID, or mixes cases, becomes ``x`` and a tag."""

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        offsets, data = binary_buffers(values)
        sized = np.flatnonzero(np.diff(offsets) == 36)
        text = data[offsets[sized][:, None] + np.arange(36)] if sized.size < len(values) else data[
            offsets[0] : offsets[-1]
        ].reshape(-1, 36)  # fmt: skip
        nibbles = HEX_VALUE[text[:, _HEX_PLACES]]
        capital: Flags = np.asarray(((text >= ord("A")) & (text <= ord("F"))).any(axis=1))
        small: Flags = np.asarray(((text >= ord("a")) & (text <= ord("f"))).any(axis=1))
        well = (nibbles < 16).all(axis=1) & (text[:, _HYPHENS] == ord("-")).all(axis=1)
        # Under citext the cases are equal, so a mix of them is a UUID like any other.
        if not self._folded:
            well &= ~(capital & small)
        rows = sized[well]
        permuted = self._permute(nibbles[well])
        out = np.full((len(rows), 36), ord("-"), dtype=np.uint8)
        out[:, _HEX_PLACES] = LOWER_HEX[permuted]
        if (upper := (capital & ~small)[well]).any():
            out[np.ix_(upper, _HEX_PLACES)] = UPPER_HEX[permuted[upper]]
        made = fixed_width(out)
        if len(rows) == len(values):
            return made
        other = np.setdiff1d(np.arange(len(values)), rows, assume_unique=True)
        return merge(len(values), (rows, made), (other, opaque(self, values.take(pa.array(other)), self._room)))

    def _permute(self, nibbles: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Permute UUIDs given as an (n, 32) matrix of their hexadecimal digits."""
        halves = (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).view(">u8").astype(np.uint64)
        high, low = halves[:, 0], halves[:, 1]
        # The version is 4 bits inside the high half, the variant the first 2 of the low half.
        left = high >> np.uint64(16) << np.uint64(12) | high & np.uint64(0xFFF)
        left, right = feistel(self._prf, left, low & _LOW_FREE, 1 << 60, 1 << 62, _UUID)
        high = left >> np.uint64(12) << np.uint64(16) | high & np.uint64(0xF000) | left & np.uint64(0xFFF)
        low = low & ~_LOW_FREE | right
        permuted = np.column_stack([high, low]).astype(">u8").view(np.uint8)
        return np.stack([permuted >> 4, permuted & 15], axis=2).reshape(-1, 32)


def _build_uuid(params: NoParams, build: Build) -> Mask:
    limit = room(build.column)
    if limit is not None and limit < 36:
        raise BadInput(f"a UUID has 36 characters, and {build.column.type_name} holds {limit}.")
    return Uuid(build.prf, build.column)


register(
    MaskKind(
        name="id.uuid",
        group=Group.IDS,
        summary="another UUID of the same version; no two meet",
        types=TEXT | {"uuid"},
        params=NoParams,
        build=_build_uuid,
        uniqueness=text_tagged,
        form=Form.KEPT,
        examples=(Example("5f3c6a1e-0b7d-4c2a-9e51-7d8a90b1c2d3", type_name="uuid"),),
        notes="Version and variant stay, and nothing else: also the time that versions 1, 6 and 7 hold is hidden.",
    )
)
