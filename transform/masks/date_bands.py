"""Dates at the start of what they lie in: a year, a month, an hour, a band of years. Nothing of them is keyed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from capture.model import BadInput, ServerFailed
from transform.cmac import binary_buffers
from transform.masks.base import DATE, Build, Example, Group, Mask, MaskKind, Params, lossy, register
from transform.masks.choosing import fixed_width, merge
from transform.masks.temporal import DATE_WIDTH, ENDLESS, UNUSUAL, YEAR_PLACES, day_limits, day_number, find_usual

Numbers: TypeAlias = npt.NDArray[np.int64]

_MONDAY: Final = 4  # 1970-01-05, in days since 1970-01-01


class DateStart(Mask):
    """Replaces each date by an earlier one, or one close by, at midnight unless the mask says otherwise.

    A start that the type or years of four digits do not hold gives the first or the last that they do. Infinity stays.
    Values are in DateStyle ISO and, with a time zone, in UTC.
    """

    def __init__(self, base_type: str) -> None:
        self._limits = day_limits(base_type)
        self._ending = {"date": b"", "timestamp": b" 00:00:00", "timestamptz": b" 00:00:00+00"}[base_type]

    @abstractmethod
    def start(self, years: Numbers, months: Numbers, days: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Year, month and day of each start; year 0 is 1 BC."""

    #: Whether the hour of the day stays.
    keeps_hour = False

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        usual = find_usual(values)
        rows, others = np.flatnonzero(usual), np.flatnonzero(~usual)
        made = self._apply_usual(values, rows)
        if not others.size:
            return made
        rest = [None if value is None else self._one(value) for value in values.take(pa.array(others)).to_pylist()]
        return merge(len(values), (rows, made), (others, pa.array(rest, pa.binary())))

    def _apply_usual(self, values: pa.BinaryArray, rows: Numbers) -> pa.BinaryArray:
        offsets, data = binary_buffers(values)
        read = DATE_WIDTH + 3 * self.keeps_hour  # with a blank and two digits of the hour
        text = data[offsets[rows][:, None] + np.arange(read, dtype=np.int32)]
        digits = text.astype(np.int64) - ord("0")
        years = digits[:, :4] @ YEAR_PLACES
        months, days = digits[:, 5] * 10 + digits[:, 6], digits[:, 8] * 10 + digits[:, 9]
        years, months, days = self.start(years, months, days)
        out = np.empty((len(rows), DATE_WIDTH + len(self._ending)), dtype=np.uint8)
        out[:, DATE_WIDTH:] = np.frombuffer(self._ending, dtype=np.uint8)
        before, after = years < 1, years > 9999
        years = np.clip(years, 1, 9999)
        out[:, :4] = years[:, None] // YEAR_PLACES % 10 + ord("0")
        out[:, 4] = out[:, 7] = ord("-")
        for place, number, first, last in ((5, months, 1, 12), (8, days, 1, 31)):
            held = np.where(before, first, np.where(after, last, number))
            out[:, place], out[:, place + 1] = held // 10 + ord("0"), held % 10 + ord("0")
        if self.keeps_hour:
            out[:, DATE_WIDTH:read] = text[:, DATE_WIDTH:]
        return fixed_width(out)

    def _one(self, value: bytes) -> bytes:
        if value in ENDLESS:
            return value
        match = UNUSUAL.fullmatch(value)
        if match is None:
            raise ServerFailed("a date did not arrive in ISO form.", hint="The session's DateStyle must be ISO.")
        year = 1 - int(match[1]) if match[5] else int(match[1])
        started = self.start(*(np.array([number]) for number in (year, int(match[2]), int(match[3]))))
        year, month, day = (int(number[0]) for number in started)
        first, last = self._limits
        if day_number(year, month, day) < first:
            year, month, day = 1 - 4714, 11, 24
        elif day_number(year, month, day) > last:
            year, month, day = int(match[1]), 12, 31
        ending = self._ending
        if self.keeps_hour:
            ending = (match[4] or b"")[:3] + ending[3:]
        era = b" BC" if year < 1 else b""
        return b"%04d-%02d-%02d%s%s" % (1 - year if year < 1 else year, month, day, ending, era)


# ------------------------------------------------------------------------------------------------------ truncate

Unit: TypeAlias = Literal["year", "quarter", "month", "week", "day", "hour"]


def _year(years: Numbers, months: Numbers, days: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    return years, np.ones_like(months), np.ones_like(days)


def _quarter(years: Numbers, months: Numbers, days: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    return years, (months - 1) // 3 * 3 + 1, np.ones_like(days)


def _month(years: Numbers, months: Numbers, days: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    return years, months, np.ones_like(days)


def _week(years: Numbers, months: Numbers, days: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    since = ((years - 1970) * 12 + months - 1).astype("M8[M]").astype("M8[D]").astype(np.int64) + days - 1
    monday = (since - _MONDAY) // 7 * 7 + _MONDAY
    month = monday.astype("M8[D]").astype("M8[M]")
    year, number = np.divmod(month.astype(np.int64), 12)
    return year + 1970, number + 1, monday - month.astype("M8[D]").astype(np.int64) + 1


def _day(years: Numbers, months: Numbers, days: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    return years, months, days


_STARTS: Final[dict[str, Callable[[Numbers, Numbers, Numbers], tuple[Numbers, Numbers, Numbers]]]] = {
    "year": _year,
    "quarter": _quarter,
    "month": _month,
    "week": _week,
    "day": _day,
    "hour": _day,
}


class DateTruncate(DateStart):
    """The start of the year, quarter, month, week (Monday), day or hour."""

    def __init__(self, unit: Unit, base_type: str) -> None:
        super().__init__(base_type)
        self._start = _STARTS[unit]
        self.keeps_hour = unit == "hour"

    def start(self, years: Numbers, months: Numbers, days: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        return self._start(years, months, days)


class TruncateParams(Params):
    """To what."""

    to: Unit = Field(description="Of what the start is taken; a week starts on Monday.")


def _build_truncate(params: TruncateParams, build: Build) -> Mask:
    if build.column.base_type == "date" and params.to in ("day", "hour"):
        raise BadInput(
            f"a date truncated to the {params.to} is what it was.", hint="Choose week, month, quarter or year, or keep."
        )
    return DateTruncate(params.to, build.column.base_type)


register(
    MaskKind(
        name="date.truncate",
        group=Group.DATES,
        summary="the start of the date's year, quarter, month, week, day or hour",
        types=DATE,
        params=TruncateParams,
        build=_build_truncate,
        uniqueness=lossy,
        examples=(
            Example("1984-02-29", {"to": "month"}, "date"),
            Example("2024-05-17 16:20:11.5", {"to": "hour"}, "timestamp"),
        ),
        notes="There is no key in it: it shows as much of the date as it says. With a time zone, days begin in UTC.",
    )
)

# ------------------------------------------------------------------------------------------------------ age bands


class AgeBand(DateStart):
    """A day of the band of ``width`` calendar years that the date lies in: its first day, or the one in its middle."""

    def __init__(self, width: int, at: str, base_type: str) -> None:
        super().__init__(base_type)
        self._width = width
        self._years, months = divmod(6 * width, 12) if at == "middle" else (0, 0)
        self._month = months + 1

    def start(self, years: Numbers, months: Numbers, days: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        first = years // self._width * self._width
        return first + self._years, np.full_like(months, self._month), np.ones_like(days)


class AgeBandParams(Params):
    """How coarse."""

    width: int = Field(default=5, ge=1, le=100, description="How many years there are in a band.")
    at: Literal["first", "middle"] = Field(
        default="first", description="Which day of the band stands for it: the first, or the one in the middle."
    )


def _build_age_band(params: AgeBandParams, build: Build) -> Mask:
    return AgeBand(params.width, params.at, build.column.base_type)


_BIRTH: Final = "1984-02-29"

register(
    MaskKind(
        name="date.age_band",
        group=Group.DATES,
        summary="one day for all dates of a band of years, so that ages stay about right",
        types=DATE,
        params=AgeBandParams,
        build=_build_age_band,
        uniqueness=lossy,
        examples=(Example(_BIRTH, type_name="date"), Example(_BIRTH, {"width": 10, "at": "middle"}, "date")),
        notes="Bands are of calendar years that the width divides: 1980 to 1984, 1985 to 1989. There is no key in it.",
    )
)
