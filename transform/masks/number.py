"""Numbers: noise in proportion."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from capture.model import Column, ServerFailed
from transform import floattext
from transform.cmac import Bytes, Prf
from transform.masks import decimals
from transform.masks.base import (
    NUMBER,
    Build,
    Example,
    Form,
    Group,
    Mask,
    MaskKind,
    Params,
    lossy,
    register,
)
from transform.masks.choosing import merge
from transform.masks.decimals import NO_NUMBERS, TEN_TO, Magnitudes, MoneyMask

# So many digits of a number are changed as one; what stands behind them in a longer one is replaced by the tag's.
_HEAD: Final = 18
_MOST: Final = {
    "int2": 2**15 - 1,
    "int4": 2**31 - 1,
    "int8": 2**63 - 1,
    "money": 2**63 - 1,
    "numeric": 2**64 - 1,
    **{name: 10**digits - 1 for name, digits in floattext.DIGITS.items()},
}
_LAST_POWER: Final = {"float4": 38, "float8": 308}
_WRITTEN: Final = re.compile(rb"(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?")


class _Parts(NamedTuple):
    """A number that is handled by itself: the digits of ``head`` and ``tail`` more, times ten to the ``exponent``."""

    negative: bool
    head: int
    tail: int
    exponent: int
    limit: int


class Noise(Mask):
    """Moves each number by up to ``ratio`` of itself, as far as its digits allow; sign and decimals stay.

    A number is its digits as an integer and a scale. The digits move by a keyed amount other than zero, so that a
    number stays as it is only where the ratio of it is less than its last digit: zero always does. Integers stay in
    the range of their type, and numeric(p,s) never gains a digit. NaN and the infinities stay.
    """

    def __init__(self, prf: Prf, ratio: float, column: Column) -> None:
        self._prf = prf
        self._ratio = ratio
        self._base_type = column.base_type
        self._is_float = column.base_type in floattext.DIGITS
        self._scale = column.scale if column.base_type == "numeric" else None
        self._plain_digits = _HEAD if column.base_type == "numeric" else _HEAD + 1

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        tags = self._prf.tags(values)
        plain = self._plain(values)
        if plain.all():
            return self._apply_plain(values, tags)
        rows, others = np.flatnonzero(plain), np.flatnonzero(~plain)
        masked = self._apply_plain(values.take(pa.array(rows)), tags[rows])
        rest = self._apply_others(values.take(pa.array(others)).to_pylist(), tags[others])
        return merge(len(values), (rows, masked), (others, pa.array(rest, pa.binary())))

    def _plain(self, values: pa.BinaryArray) -> npt.NDArray[np.bool_]:
        """Which values are computed with at once."""
        plain = decimals.find_plain(values, self._plain_digits)
        return plain & (self._scale is None or self._scale >= 0)

    def _apply_plain(self, values: pa.BinaryArray, tags: Bytes) -> pa.BinaryArray:
        numbers, scales = decimals.read(values)
        signs = pc.starts_with(values.view(pa.string()), "-")
        sizes = np.abs(numbers).view(np.uint64)  # right for -2**63 too
        if not self._is_float:
            return decimals.write(signs, self._move(sizes, self._limits(sizes), tags), scales)
        # Digits past those that any number of the type holds are dropped; they are decimals.
        surplus = np.maximum(_count_digits(sizes) - floattext.DIGITS[self._base_type], 0)
        sizes, scales = sizes // TEN_TO[surplus], scales - surplus
        return decimals.write_floats(signs, self._move(sizes, self._limits(sizes), tags), scales, self._base_type)

    def _limits(self, sizes: Magnitudes) -> Magnitudes:
        if self._scale is None:
            return np.full(len(sizes), _MOST[self._base_type], dtype=np.uint64)
        limits: Magnitudes = TEN_TO[_count_digits(sizes)] - np.uint64(1)
        return limits

    def _move(self, sizes: Magnitudes, limits: Magnitudes, tags: Bytes) -> Magnitudes:
        """Each size moved by a keyed amount other than zero, of at most the ratio, to no less than 1."""
        most = (sizes * self._ratio).astype(np.uint64)
        down = np.minimum(most, sizes - np.minimum(sizes, np.uint64(1)))
        up = np.minimum(most, limits - np.minimum(sizes, limits))
        ways = down + up
        picked = np.ascontiguousarray(tags).view("<u8")[:, 0] % np.maximum(ways, np.uint64(1))
        moved: Magnitudes = sizes - down + picked
        moved += (moved >= sizes) & (ways > 0)
        return moved

    # ------------------------------------------------------------------------------ numbers handled one by one

    def _apply_others(self, values: list[bytes | None], tags: Bytes) -> list[bytes | None]:
        parts = [self._parts(value) for value in values]
        sizes = np.array([0 if part is None else part.head for part in parts], dtype=np.uint64)
        limits = np.array([0 if part is None else part.limit for part in parts], dtype=np.uint64)
        moved = self._move(sizes, limits, tags).tolist()
        return [
            value if part is None else self._write(part, head, tag)
            for value, part, head, tag in zip(values, parts, moved, tags, strict=True)
        ]

    def _parts(self, value: bytes | None) -> _Parts | None:
        if value is None or value in NO_NUMBERS:
            return None
        match = _WRITTEN.fullmatch(value)
        if match is None:
            raise ServerFailed("a number did not arrive as PostgreSQL writes numbers.")
        decimals = match[3] or b""
        exponent = int(match[4] or 0) - len(decimals)
        digits = (match[2] + decimals).lstrip(b"0")
        if not digits:
            return None
        if self._scale is not None and self._scale < 0:  # numeric(3,-2) holds hundreds
            digits, exponent = digits[: self._scale], exponent - self._scale
        if self._is_float:
            # An exponent tells the magnitude only: the digits that are not written are zeros as good as any.
            room = floattext.DIGITS[self._base_type]
            exponent += len(digits) - room
            digits = digits[:room].ljust(room, b"0")
            at_the_end = len(digits) - 1 + exponent >= _LAST_POWER[self._base_type]
            limit = int(digits) if at_the_end else _MOST[self._base_type]
            return _Parts(match[1] == b"-", int(digits), 0, exponent, limit)
        head, tail = digits[:_HEAD], len(digits) - _HEAD
        limit = 10 ** len(head) - 1 if self._scale is not None else _MOST["numeric"]
        return _Parts(match[1] == b"-", int(head), max(tail, 0), exponent, limit)

    def _write(self, part: _Parts, head: int, tag: Any) -> bytes:
        if self._is_float:
            # Far from zero and right beside it, a few of these digits are not how the nearest float is written.
            sign = "-" if part.negative else ""
            return floattext.canonical(f"{sign}{head}e{part.exponent}", self._base_type)
        noise = b"%038d" % int.from_bytes(tag.tobytes(), "big")
        digits = b"%d%s" % (head, (noise * (part.tail // len(noise) + 1))[: part.tail])
        if part.exponent >= 0:
            written = digits + b"0" * part.exponent
        else:
            digits = digits.rjust(1 - part.exponent, b"0")
            written = digits[: part.exponent] + b"." + digits[part.exponent :]
        return b"-" + written if part.negative else written


def _count_digits(sizes: Magnitudes) -> npt.NDArray[np.int64]:
    return np.searchsorted(TEN_TO, sizes, side="right")


class NoiseParams(Params):
    """How far."""

    ratio: float = Field(default=0.1, gt=0, lt=1, description="By what part of itself a number moves at most.")


def build_noise(params: NoiseParams, build: Build) -> Mask:
    """The mask for a column of any type of numbers."""
    noise = Noise(build.prf, params.ratio, build.column)
    return MoneyMask(noise) if build.column.base_type == "money" else noise


register(
    MaskKind(
        name="number.noise",
        group=Group.NUMBERS,
        summary="a number near by, with the same sign and decimals",
        types=NUMBER,
        params=NoiseParams,
        build=build_noise,
        uniqueness=lossy,
        form=Form.KEPT,
        examples=(Example("1249.50", type_name="numeric"),),
    )
)
