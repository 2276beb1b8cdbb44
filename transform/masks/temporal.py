"""Dates and times: shifted by a keyed number of days."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from capture.model import ServerFailed
from transform.cmac import Prf, binary_buffers
from transform.masks.base import (
    DATE,
    TEXT,
    AnyMask,
    Build,
    Example,
    Form,
    Group,
    Mask,
    MaskKind,
    Params,
    RowMask,
    lossy,
    register,
)
from transform.masks.choosing import below, fold_case, lanes, merge

Days = npt.NDArray[np.int64]  # since 1970-01-01, in the Gregorian calendar also before 1582

YEAR_PLACES: Final = np.array([1000, 100, 10, 1])
# Of a date with a year of four digits.
DATE_WIDTH: Final = len("2024-01-31")
_FIRST_DAY: Final = int(np.datetime64("0001-01-01", "D").astype(np.int64))
_LAST_DAY: Final = int(np.datetime64("9999-12-31", "D").astype(np.int64))

# Year, month, day, time of day and era of any date in ISO form.
UNUSUAL: Final = re.compile(rb"(\d{4,})-(\d\d)-(\d\d)( [^B]+?)?( BC)?")
ENDLESS: Final = frozenset({b"infinity", b"-infinity"})
_DAYS_IN_CYCLE: Final = 146_097  # 400 years, after which the calendar repeats itself
_CYCLE_START: Final = date(2000, 1, 1).toordinal()


class DateShift(Mask):
    """Shifts each date by between 1 and ``days`` days, to the past or to the future; its time of day stays.

    Years of four digits keep four, so that clients which know no others can read the copy: the shift ends at
    0001-01-01 and at 9999-12-31. Other dates end at the limits of the type. Infinity stays. Values are in DateStyle
    ISO, which is canonical with the time zone UTC.
    """

    def __init__(self, prf: Prf, days: int, base_type: str) -> None:
        self._prf = prf
        self._days = days
        self._limits = day_limits(base_type)

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return self.shift(values, self.shifts(self._prf, values))

    def shifts(self, prf: Prf, texts: pa.BinaryArray) -> Days:
        """By how many days the texts (n,) shift a date, (n,)."""
        shifts = below(lanes(prf.tags(texts))[0], 2 * self._days) - self._days
        shifts += shifts >= 0
        return shifts

    def shift(self, values: pa.BinaryArray, shifts: Days) -> pa.BinaryArray:
        """Shift each value by its own number of days."""
        usual = find_usual(values)
        if usual.all():
            return _shift_usual(values, shifts)
        rows, others = np.flatnonzero(usual), np.flatnonzero(~usual)
        shifted = _shift_usual(values.take(pa.array(rows)), shifts[rows])
        rest = [
            None if value is None else self._shift_one(value, shift)
            for value, shift in zip(values.take(pa.array(others)).to_pylist(), shifts[others].tolist(), strict=True)
        ]
        return merge(len(values), (rows, shifted), (others, pa.array(rest, pa.binary())))

    def _shift_one(self, value: bytes, shift: int) -> bytes:
        if value in ENDLESS:
            return value
        match = UNUSUAL.fullmatch(value)
        if match is None:
            raise ServerFailed("a date did not arrive in ISO form.", hint="The session's DateStyle must be ISO.")
        year = 1 - int(match[1]) if match[5] else int(match[1])
        first, last = self._limits
        day = min(max(day_number(year, int(match[2]), int(match[3])) + shift, first), last)
        cycle, rest = divmod(day, _DAYS_IN_CYCLE)
        within = date.fromordinal(_CYCLE_START + rest)
        year = within.year + 400 * cycle
        era = b" BC" if year < 1 else b""
        written = b"%04d-%02d-%02d" % (1 - year if year < 1 else year, within.month, within.day)
        return written + (match[4] or b"") + era


def day_number(year: int, month: int, day: int) -> int:
    """Days since 2000-01-01 for any year; year 0 is 1 BC."""
    cycle, within = divmod(year, 400)
    return (cycle - 5) * _DAYS_IN_CYCLE + date(2000 + within, month, day).toordinal() - _CYCLE_START


def day_limits(base_type: str) -> tuple[int, int]:
    """The first and the last day of a type, as ``day_number`` counts."""
    last_year = 5_874_897 if base_type == "date" else 294_276
    return day_number(1 - 4714, 11, 24), day_number(last_year, 12, 31)


def find_usual(values: pa.BinaryArray) -> npt.NDArray[np.bool_]:
    """Which values are dates with a year of four digits after Christ."""
    offsets, data = binary_buffers(values)
    lengths = np.diff(offsets)
    usual: npt.NDArray[np.bool_] = (lengths >= DATE_WIDTH) & values.is_valid().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(usual)
    starts, ends = offsets[rows], offsets[rows + 1]
    after = data[np.minimum(starts + DATE_WIDTH, ends - 1)]
    usual[rows] = (
        (data[starts + 4] == ord("-"))
        & (data[starts + 7] == ord("-"))
        & ((lengths[rows] == DATE_WIDTH) | (after == ord(" ")))
        & (data[ends - 1] != ord("C"))
    )
    return usual


def _shift_usual(values: pa.BinaryArray, shifts: Days) -> pa.BinaryArray:
    """Shift dates with years of four digits: only the first ten bytes of each change."""
    offsets, data = binary_buffers(values)
    data = data[int(offsets[0]) : int(offsets[-1])].copy()
    offsets = offsets - offsets[0]
    positions = offsets[:-1, None] + np.arange(DATE_WIDTH, dtype=np.int32)
    text = data[positions]
    digits = (text - np.uint8(ord("0"))).astype(np.int64)
    months = (digits[:, :4] @ YEAR_PLACES - 1970) * 12 + digits[:, 5] * 10 + digits[:, 6] - 1
    days = months.astype("M8[M]").astype("M8[D]").astype(np.int64) + digits[:, 8] * 10 + digits[:, 9] - 1
    days = np.clip(days + shifts, _FIRST_DAY, _LAST_DAY)
    months_after = days.astype("M8[D]").astype("M8[M]")
    year, month = np.divmod(months_after.astype(np.int64), 12)
    day = days - months_after.astype("M8[D]").astype(np.int64)
    text[:, :4] = (year + 1970)[:, None] // YEAR_PLACES % 10 + ord("0")
    for column, number in ((5, month + 1), (8, day + 1)):
        text[:, column], text[:, column + 1] = number // 10 + ord("0"), number % 10 + ord("0")
    data[positions] = text
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)


class SubjectShift(RowMask):
    """Shifts all dates of a subject by the same number of days; without a subject a date is shifted by its own value.

    The subject's key counts as it reads in any type: without the blanks of char(n), the decimals that numeric(p,s)
    adds, and the case of its letters, so that no column of another type tells two subjects of one.
    """

    def __init__(self, by_value: DateShift, column: str, base_type: str, prf: Prf) -> None:
        self.needs = (column,)
        self._by_value = by_value
        self._base_type = base_type
        self._prf = prf

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        keys = siblings[self.needs[0]]
        shifts = self._by_value.shifts(self._prf, self._read(keys))
        if not keys.null_count:
            return self._by_value.shift(values, shifts)
        without = pc.is_null(keys)
        rows = without.to_numpy(zero_copy_only=False)
        alone = self._by_value.apply(values.filter(without))
        shifted = self._by_value.shift(values.filter(pc.invert(without)), shifts[~rows])
        return merge(len(values), (np.flatnonzero(rows), alone), (np.flatnonzero(~rows), shifted))

    def _read(self, keys: pa.BinaryArray) -> pa.BinaryArray:
        if self._base_type == "numeric":
            text = pc.replace_substring_regex(keys.view(pa.string()), r"(\.\d*[1-9])0+$|\.0+$", r"\1")
            return text.view(pa.binary())
        if self._base_type in TEXT:
            return fold_case(pc.ascii_rtrim(keys.view(pa.string()), " ").view(pa.binary()))
        return keys


class DateShiftParams(Params):
    """How far."""

    days: int = Field(ge=1, le=36_500, description="By how many days a date moves at most.")


def _build_date_shift(params: DateShiftParams, build: Build) -> AnyMask:
    by_value = DateShift(build.prf, params.days, build.column.base_type)
    if build.subject is None:
        return by_value
    column, prf = build.subject
    return SubjectShift(by_value, column, build.row[column].base_type, prf)


register(
    MaskKind(
        name="date.shift",
        group=Group.DATES,
        summary="a date up to so many days away; the time of day stays",
        types=DATE,
        params=DateShiftParams,
        build=_build_date_shift,
        uniqueness=lossy,
        form=Form.KEPT,
        examples=(Example("1984-02-29", {"days": 180}, "date"),),
        notes="With subject: at the table, or at one that it refers to by foreign keys, all dates of one person move "
        "by the same number of days, in every table and column with the same days, so that the time between them "
        "stays. Otherwise, and where the person's key is NULL, equal dates move alike. Dates stop at the years 1 and "
        "9999 if they were within.",
        follows_subject=True,
    )
)
