"""Numbers in ranges: rounded down to a band, or drawn between two bounds."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from functools import partial
from math import ceil, floor, isqrt
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from capture.model import BadInput, Column, ServerFailed, counted
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
    Uniqueness,
    lossy,
    register,
)
from transform.masks.choosing import merge
from transform.masks.decimals import NO_NUMBERS, TEN_TO, Flags, Integers, MoneyMask
from transform.masks.permutation import permute_range, walk

# The most digits of numbers that are computed with as integers of 64 bits.
_MOST_DIGITS: Final = 18
_BITS: Final = {"int2": 16, "int4": 32, "int8": 64}
_CENTS: Final = 2
# PostgreSQL's numeric has up to 147,455 digits; numbers of any size are exact.
_EXACT: Final = Context(prec=200_000)


def _scale(column: Column) -> int | None:
    """How many decimals the numbers of a column have; None if they may differ."""
    if column.base_type in _BITS:
        return 0
    return {"money": _CENTS, "numeric": column.scale}.get(column.base_type)


def _limits(column: Column) -> tuple[Decimal, Decimal] | None:
    """The least and the largest number of a column's type; None if there are none."""
    if column.base_type in _BITS or column.base_type == "money":
        half = 1 << (_BITS.get(column.base_type, 64) - 1)
        unit = _unit(_scale(column) or 0)
        return _EXACT.multiply(Decimal(-half), unit), _EXACT.multiply(Decimal(half - 1), unit)
    if column.base_type == "numeric":
        if column.scale is None or column.typmod < 0:  # the latter under a domain, which the server checks
            return None
        digits = (column.typmod - 4) >> 16 & 0xFFFF
        most = _EXACT.multiply(Decimal(10**digits - 1), _unit(column.scale))
    else:
        most = Decimal(float(np.finfo(np.float32 if column.base_type == "float4" else np.float64).max))
    return -most, most


def _unit(scale: int) -> Decimal:
    return Decimal(1).scaleb(-scale)


def _up(number: Decimal, unit: Decimal) -> int:
    """How many units it takes to reach a number."""
    return ceil(Fraction(number) / Fraction(unit))


def _down(number: Decimal, unit: Decimal) -> int:
    """How many units fit into a number."""
    return floor(Fraction(number) / Fraction(unit))


# ---------------------------------------------------------------------------------------------------------- band


class Band(Mask):
    """Replaces each number by the least one of its band: the next multiple of ``width`` at or below it. The decimals
    stay, and are at least those of the width. A band that begins below the type's range gives the least multiple in it.
    NaN and the infinities stay.
    """

    def __init__(self, width: Decimal, column: Column) -> None:
        self._base_type = column.base_type
        self._is_float = column.base_type in floattext.DIGITS
        sign, digits, exponent = width.normalize().as_tuple()
        assert isinstance(exponent, int)
        assert not sign
        self._width_scale = max(-exponent, 0)
        self._units = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
        self._spare = _MOST_DIGITS - len(str(self._units))
        room = floattext.DIGITS.get(column.base_type, _MOST_DIGITS)
        self._plain_digits = room - self._width_scale
        self._most = TEN_TO[room]
        limits = _limits(column)
        self._least = None if limits is None else _up(limits[0], width)

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        plain = decimals.find_plain(values, self._plain_digits)
        rows, others = np.flatnonzero(plain), np.flatnonzero(~plain)
        made = self._apply_plain(values if plain.all() else values.take(pa.array(rows)))
        if not others.size:
            return made
        return merge(len(values), (rows, made), (others, self._one_by_one(values.take(pa.array(others)))))

    def _apply_plain(self, values: pa.BinaryArray) -> pa.BinaryArray:
        numbers, scales = decimals.read(values)
        wider = np.maximum(scales, self._width_scale)
        more = wider - self._width_scale
        if not len(values) or int(more.max()) > self._spare:
            return self._one_by_one(values)
        units = TEN_TO[more].astype(np.int64) * self._units
        bands = numbers * TEN_TO[wider - scales].astype(np.int64) // units
        if self._least is not None:
            bands = np.maximum(bands, max(self._least, -(2**63)))
        floors = bands * units
        negative, sizes = pa.array(floors < 0), np.abs(floors).view(np.uint64)
        if not self._is_float:
            return decimals.write(negative, sizes, wider)
        if (sizes >= self._most).any():
            return self._one_by_one(values)
        return decimals.write_floats(negative, sizes, wider, self._base_type)

    def _one_by_one(self, values: pa.BinaryArray) -> pa.BinaryArray:
        known: dict[int, bytes] = {}
        return pa.array([self._one(value, known) for value in values.to_pylist()], type=pa.binary())

    def _one(self, value: bytes | None, floats: dict[int, bytes]) -> bytes | None:
        """The band of one number; ``floats`` holds the texts of bands by their number."""
        if value is None or value in NO_NUMBERS:
            return value
        try:
            number = Decimal(value.decode())
        except (InvalidOperation, UnicodeDecodeError):
            raise ServerFailed("a number did not arrive as PostgreSQL writes numbers.") from None
        exponent = number.as_tuple().exponent
        assert isinstance(exponent, int)
        scale = max(-exponent, self._width_scale)
        unit = self._units * 10 ** (scale - self._width_scale)
        band = int(number.scaleb(scale, _EXACT)) // unit
        if self._least is not None:
            band = max(band, self._least)
        if not self._is_float:
            return f"{Decimal(band * unit).scaleb(-scale, _EXACT):f}".encode()
        if band not in floats:
            least = Decimal(band * unit).scaleb(-scale, _EXACT)
            floats[band] = floattext.canonical(str(least), self._base_type)
        return floats[band]


class BandParams(Params):
    """How wide."""

    width: Decimal = Field(gt=0, max_digits=15, allow_inf_nan=False, description="How wide a band is.")


def _build_band(params: BandParams, build: Build) -> Mask:
    column = build.column
    scale = _scale(column)
    if scale is not None and params.width % _unit(scale):
        raise BadInput(f"bands of {params.width} begin at numbers that {column.type_name} does not hold.")
    band = Band(params.width, column)
    return MoneyMask(band) if column.base_type == "money" else band


register(
    MaskKind(
        name="number.band",
        group=Group.NUMBERS,
        summary="the least number of the value's band, such as 40 for 40 to 49",
        types=NUMBER,
        params=BandParams,
        build=_build_band,
        uniqueness=lossy,
        examples=(
            Example("47", {"width": 10}, "integer"),
            Example("1249.50", {"width": 500}, "numeric"),
        ),
        notes="There is no key in it: everybody can tell a number's band. A number that is alone in its band stays "
        "recognisable, so choose bands that hold many.",
    )
)

# -------------------------------------------------------------------------------------------------------- within

_NOT_MASKED: Final = pa.array([None, *sorted(NO_NUMBERS)], pa.binary())


class Within(Mask):
    """Replaces each number by one from ``low`` to ``high``, both included.

    Numbers that lie there already are permuted among themselves, so that those of one scale stay apart; the others
    are drawn by their tag. Floats are all drawn. Decimals stay as many as they were, as far as 18 digits go. NaN and
    the infinities stay.
    """

    def __init__(self, prf: Prf, low: Decimal, high: Decimal, column: Column) -> None:
        self._prf = prf
        self._low, self._high = low, high
        self._base_type = column.base_type
        self._is_float = column.base_type in floattext.DIGITS
        whole = max(abs(low), abs(high)).adjusted() + 1
        most = floattext.DIGITS.get(column.base_type, _MOST_DIGITS)
        self._most = 10**most
        self._most_scale = max(min(most - whole, _MOST_DIGITS), 0)
        self._scale = self._most_scale if self._is_float else _scale(column)

    def bounds(self, scale: int) -> tuple[int, int]:
        """The least and the largest number in units of 10**-scale; none is in between if they cross."""
        unit = _unit(scale)
        return _up(self._low, unit), _down(self._high, unit)

    def check(self) -> None:
        """Raises ``BadInput`` if the bounds have too many digits to be computed with, or nothing lies between them."""
        scale = self._most_scale if self._scale is None else self._scale
        low, high = self.bounds(scale)
        if max(abs(low), abs(high)) >= self._most:
            raise BadInput(
                f"the bounds have more than {counted(len(str(self._most)) - 1, 'digit')} with the column's decimals."
            )
        if low > high:
            raise BadInput("the column's type holds no number from min to max.")

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        plain = decimals.find_plain(values, _MOST_DIGITS)
        tags = np.ascontiguousarray(self._prf.tags(values))
        numbers, scales = self._read(values, plain)
        parts = []
        for scale in [self._scale] if self._scale is not None else (np.unique(scales).tolist() or [0]):
            rows = np.flatnonzero(scales == scale) if self._scale is None else np.arange(len(values))
            parts.append((rows, self._within(numbers[rows], plain[rows], tags[rows], scale)))
        made = parts[0][1] if len(parts) == 1 else merge(len(values), *parts)
        return made if plain.all() else pc.if_else(pc.is_in(values, _NOT_MASKED), values, made)

    def _read(self, values: pa.BinaryArray, plain: Flags) -> tuple[Integers, Integers]:
        """Numbers in units of their own scale, which is that of the column where there is one, and 0 for those that
        are not plain."""
        numbers, scales = np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=np.int64)
        if not self._is_float:
            rows = np.flatnonzero(plain)
            numbers[rows], scales[rows] = decimals.read(values if plain.all() else values.take(pa.array(rows)))
        if self._scale is None:
            surplus = np.maximum(scales - self._most_scale, 0)
            return numbers // TEN_TO[surplus].astype(np.int64), scales - surplus
        return numbers // 10 ** max(-self._scale, 0), scales

    def _within(self, numbers: Integers, plain: Flags, tags: Bytes, scale: int) -> pa.BinaryArray:
        low, high = self.bounds(scale)
        if low > high:  # the bounds are closer than whole numbers; say it in more decimals
            scale = self._most_scale
            low, high = self.bounds(scale)
            plain = np.zeros(len(plain), dtype=np.bool_)
        count = high - low + 1
        out = (tags.view("<u8")[:, 0] % np.uint64(count)).astype(np.int64) + low
        if not self._is_float:
            inside = np.flatnonzero(plain & (numbers >= low) & (numbers <= high))
            root = isqrt(count - 1) + 1
            step = partial(permute_range, self._prf, left_size=root, right_size=-(-count // root), tweak=abs(scale))
            offsets = (numbers[inside] - low).view(np.uint64)
            out[inside] = walk(offsets, step, 0, count - 1).view(np.int64) + low
        negative, sizes = pa.array(out < 0), np.abs(out).view(np.uint64)
        scales = np.full(len(out), max(scale, 0), dtype=np.int64)
        if self._is_float:
            return decimals.write_floats(negative, sizes, scales, self._base_type)
        return decimals.write(negative, sizes * np.uint64(10 ** max(-scale, 0)), scales)


class WithinParams(Params):
    """The bounds."""

    min: Decimal = Field(allow_inf_nan=False, description="The least number that may come out.")
    max: Decimal = Field(allow_inf_nan=False, description="The largest number that may come out.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is more than max")
        return self


def _build_within(params: WithinParams, build: Build) -> Mask:
    column = build.column
    limits = _limits(column)
    if limits is not None and not limits[0] <= params.min <= params.max <= limits[1]:
        raise BadInput(f"{column.type_name} does not hold all numbers from min to max.")
    within = Within(build.prf, params.min, params.max, column)
    within.check()
    return MoneyMask(within) if column.base_type == "money" else within


def _within_uniqueness(params: WithinParams, column: Column) -> Uniqueness:
    """Numbers of one scale are permuted if none can lie outside."""
    limits = _limits(column) if _scale(column) is not None and column.base_type != "money" else None
    covers = limits is not None and params.min <= limits[0] and limits[1] <= params.max
    return Uniqueness.INJECTIVE if covers else Uniqueness.LOSSY


_SCORE: Final[Mapping[str, int]] = {"min": 300, "max": 850}

register(
    MaskKind(
        name="number.within",
        group=Group.NUMBERS,
        summary="a number between two bounds",
        types=NUMBER,
        params=WithinParams,
        build=_build_within,
        uniqueness=_within_uniqueness,
        form=Form.KEPT,
        examples=(Example("712", _SCORE, "integer"), Example("4.5", {"min": 1, "max": 5}, "numeric")),
        notes="Numbers that are within the bounds change places with each other, and others are drawn; so where the "
        "bounds are those of the type itself, no two numbers meet.",
    )
)
