"""Columns of PostgreSQL's text values as columns that can be compared.

Each type belongs to a ``Kind``, and each kind has one form in which it is compared:

    bool      booleans
    integer   int64
    decimal   numeric: tuples (is NaN, Decimal), since NaN is equal to itself and greater than all else
    float     float64; NaN is compared as above
    moment    date, timestamp, timestamptz: int64 microseconds since 1970-01-01 UTC, the infinities at its ends
    label     enum: the place of the label, int64
    text      bytes; citext in small letters, char(n) without the blanks that pad it, uuid as it is printed
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import Column, ServerFailed
from transform.masks.base import DATE, INTEGER, TEXT
from transform.masks.choosing import fold_case

Comparable: TypeAlias = pa.Array | list[Any]

_CYCLE: Final = 146_097  # days in 400 years
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAY: Final = 86_400_000_000
_FIRST, _LAST = -(2**63), 2**63 - 1
_USUAL: Final = r"^\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?(\+00)?)?$"
_MOMENT: Final = re.compile(
    rb"(\d{4,7})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:\+00)?)?( BC)?", re.ASCII
)


class Kind(StrEnum):
    """How values of a type are compared; see the module's contract. NONE: only with NULL."""

    BOOL = "boolean"
    INTEGER = "integer"
    DECIMAL = "numeric"
    FLOAT = "float"
    MOMENT = "date or time"
    LABEL = "enum"
    TEXT = "text"
    NONE = "none"


NUMBERS: Final = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT})


def kind_of(shape: Column) -> Kind:
    """The kind of a column's type."""
    if shape.is_array:
        return Kind.NONE
    if shape.kind == "e":
        return Kind.LABEL
    if shape.kind != "b":
        return Kind.NONE
    if shape.base_type in INTEGER:
        return Kind.INTEGER
    if shape.base_type in DATE:
        return Kind.MOMENT
    if shape.base_type in TEXT or shape.base_type == "uuid":
        return Kind.TEXT
    return _OTHERS.get(shape.base_type, Kind.NONE)


_OTHERS: Final = {"bool": Kind.BOOL, "numeric": Kind.DECIMAL, "float4": Kind.FLOAT, "float8": Kind.FLOAT}


@dataclass(slots=True)
class Rows:
    """The rows that a predicate is asked about: columns of text values by name, and what was made of them."""

    values: Mapping[str, pa.BinaryArray] = field(repr=False)
    count: int
    _read: dict[str, Comparable] = field(default_factory=dict, repr=False)

    def column(self, shape: Column) -> Comparable:
        """A column in the form in which it is compared."""
        if shape.name not in self._read:
            self._read[shape.name] = read(self.values[shape.name], shape)
        return self._read[shape.name]


def read(values: pa.BinaryArray, shape: Column) -> Comparable:
    """Values of a column in the form in which they are compared."""
    match kind_of(shape):
        case Kind.BOOL:
            return pc.equal(values, pa.scalar(b"t", pa.binary()))
        case Kind.INTEGER:
            return pc.cast(values.view(pa.string()), pa.int64())
        case Kind.DECIMAL:
            return [None if value is None else decimal(value.decode()) for value in values.to_pylist()]
        case Kind.FLOAT:
            return _floats(values, single=shape.base_type == "float4")
        case Kind.MOMENT:
            return moments(values)
        case Kind.LABEL:
            labels = pa.array([label.encode() for label in shape.enum_labels], pa.binary())
            return pc.cast(pc.index_in(values, labels), pa.int64())
        case _:
            return _texts(values, shape)


def decimal(text: str) -> tuple[bool, Decimal]:
    """A numeric in the form in which it is compared."""
    number = Decimal(text)
    return (True, Decimal()) if number.is_nan() else (False, number)


def _floats(values: pa.BinaryArray, *, single: bool) -> pa.DoubleArray:
    # Arrow reads inf and nan, which PostgreSQL spells otherwise.
    numbers = [None if value is None else float(value) for value in values.to_pylist()]
    array = pa.array(numbers, pa.float64())
    return pc.cast(pc.cast(array, pa.float32()), pa.float64()) if single else array


def _texts(values: pa.BinaryArray, shape: Column) -> pa.BinaryArray:
    if shape.base_type == "citext":
        return fold_case(values)
    if shape.base_type == "bpchar":
        return pc.ascii_rtrim(values.view(pa.string()), " ").view(pa.binary())
    return values


def moments(values: pa.BinaryArray) -> pa.Int64Array:
    """Dates and times as PostgreSQL prints them in UTC, in microseconds."""
    text = values.view(pa.string())
    usual = pc.match_substring_regex(text, _USUAL)
    if pc.all(usual, min_count=0).as_py():
        return _usual_moments(text)
    out = np.zeros(len(values), dtype=np.int64)
    flags = usual.fill_null(False).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(flags)
    out[rows] = _usual_moments(text.take(pa.array(rows))).to_numpy(zero_copy_only=False)
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    others = np.flatnonzero(~flags & valid)
    out[others] = [moment(value) for value in values.take(pa.array(others)).to_pylist()]
    return pa.array(out, pa.int64(), mask=~valid)


def _usual_moments(text: pa.StringArray) -> pa.Int64Array:
    plain = pc.replace_substring_regex(text, r"\+00$", "")
    has_time = pc.greater(pc.binary_length(plain), 10)
    whole = pc.if_else(has_time, plain, pc.binary_join_element_wise(plain, "00:00:00", " "))
    return pc.cast(pc.cast(whole, pa.timestamp("us")), pa.int64())


def moment(value: bytes) -> int:
    """One date or time, of any year, in microseconds. Raises ``ServerFailed``."""
    if value in (b"infinity", b"-infinity"):
        return _FIRST if value[:1] == b"-" else _LAST
    match = _MOMENT.fullmatch(value)
    if match is None:
        raise ServerFailed("a date did not arrive in ISO form.", hint="The session's DateStyle must be ISO.")
    year = 1 - int(match[1]) if match[8] else int(match[1])
    cycle, within = divmod(year, 400)
    # 2000 is a year like the first of every cycle.
    days = (cycle - 5) * _CYCLE + date(2000 + within, int(match[2]), int(match[3])).toordinal() - _EPOCH
    hours, minutes, seconds = (int(match[group] or 0) for group in (4, 5, 6))
    micros = int((match[7] or b"").ljust(6, b"0"))
    return max(_FIRST + 1, min(_LAST - 1, days * _DAY + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros))


def as_floats(values: Comparable) -> pa.DoubleArray:
    """Numbers of any kind as PostgreSQL makes them double precision to compare them with such."""
    if isinstance(values, list):
        return pa.array([None if each is None else (float("nan") if each[0] else float(each[1])) for each in values])
    return pc.cast(values, pa.float64(), safe=False)


def as_decimals(values: Comparable) -> list[Any]:
    """Integers or numerics as numerics."""
    if isinstance(values, list):
        return values
    return [None if each is None else (False, Decimal(each)) for each in values.to_pylist()]
