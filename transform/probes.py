"""Values to try masks on: of every type, near what a constraint speaks of, and spread over what the type holds.

They are the same at every call, so that a plan that compiles today compiles tomorrow.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext
from functools import cache
from typing import Final

import numpy as np

from capture.model import Column
from transform.conditions import TODAY
from transform.masks.base import INTEGER, TEXT

_BITS: Final = {"int2": 15, "int4": 31, "int8": 63}
_NUMERIC: Final = INTEGER | {"numeric", "float4", "float8"}
_DATES: Final = frozenset({"date", "timestamp", "timestamptz"})
_SPREAD: Final = 60
_LONGEST: Final = 300
_TEXTS: Final = (
    "a", "Anna", "ANNA", "anna keller", "Anna Maria Keller", "anna@example.com", "A.Keller+x@mail.example.org",
    "+49 30 1234567", "(030) 123-4567", "0301234567", "12345", "12345-6789", "AB-1234", "AB12 3CD", "ABC", "DE",
    "X1Y2Z3", "GB82WEST12345698765432", "4111111111111111", "https://example.com/a", "10.0.0.1", "a_b-c.d",
    "Hello, world!", "007", "5f3c6a1e-0b7d-4c2a-9e51-7d8a90b1c2d3", "0x1f", " padded ", "",
)  # fmt: skip
_NUMBERS: Final = (0, 1, 2, 3, 5, 10, 17, 42, 99, 100, 101, 500, 999, 1000, 12_345, 99_999, 10**6, 10**9, -1, -5, -100)
_SHARES: Final = tuple(map(Decimal, ("0", "0.5", "0.9", "1.1", "2")))
_CLOSE: Final = 17
# Of a number; a limit that is longer is not tried from nearby.
_DIGITS: Final = 300
_DAYS: Final = (-36_500, -10_000, -400, -60, *range(1 - _CLOSE, _CLOSE), 60, 400)
_OTHER: Final = {
    "bool": ("t", "f"),
    "json": ('{"a": "x"}', "{}", "[1, 2]", '"x"', "1", "null"),
    "jsonb": ('{"a": "x"}', "{}", "[1, 2]", '"x"', "1", "null"),
    "inet": ("10.0.0.1", "192.168.1.0/24", "::1"),
    "cidr": ("10.0.0.0/8", "192.168.1.0/24"),
    "macaddr": ("08:00:2b:01:02:03",),
    "bytea": ("\\x", "\\x00ff"),
    "time": ("00:00:00", "12:34:56"),
    "interval": ("1 day", "02:00:00"),
}


@dataclass(frozen=True, slots=True)
class Hints:
    """What a constraint speaks of: its texts, and its numbers."""

    texts: tuple[str, ...]
    numbers: tuple[Decimal, ...]


def probes(shape: Column, hints: Hints) -> tuple[list[bytes], list[bytes]]:
    """Values of the column near the hints, and all over its type; none of a type that is not known here."""
    if shape.is_array:
        return [], []
    if shape.kind == "e":
        return _encoded(text for text in hints.texts if text in shape.enum_labels), _encoded(shape.enum_labels)
    if shape.kind != "b":
        return [], []
    if shape.base_type in TEXT:
        near, spread = _texts_near(hints), _texts_all_over()
        return _fitting(near, shape), _fitting(spread, shape)
    if shape.base_type in _NUMERIC:
        with localcontext(prec=_DIGITS):
            return _numbers(_numbers_near(hints), shape), _numbers(_numbers_all_over(), shape)
    if shape.base_type in _DATES:
        return _dates(_dates_near(hints), shape.base_type), _dates(_dates_all_over(), shape.base_type)
    if shape.base_type == "uuid":
        rng = np.random.default_rng(4)
        return _encoded(text for text in hints.texts if len(text) == 36), _encoded(
            f"{head:08x}-0b7d-4c2a-9e51-7d8a90b1c2d3" for head in rng.integers(0, 2**32, _SPREAD).tolist()
        )
    return [], _encoded(_OTHER.get(shape.base_type, ()))


def neighbours(value: bytes, shape: Column) -> list[bytes]:
    """Values of a column of the same type that a constraint between the two is likely to tell apart from, or to hold
    equal to, a value."""
    if shape.base_type in _DATES:
        day = date.fromisoformat(value[:10].decode())
        return _dates(_around(day, (-10, -2, -1, 0, 1, 2, 10)), shape.base_type)
    if shape.base_type in _NUMERIC:
        number = Decimal(value.decode())
        with localcontext(prec=_DIGITS):
            return _numbers((number + step for step in (-1, 0, 1)), shape)
    return _fitting([value.decode()], shape) if shape.base_type in TEXT else [value]


def _encoded(texts: Iterable[str]) -> list[bytes]:
    return [text.encode() for text in dict.fromkeys(texts)]


def _texts_near(hints: Hints) -> Iterator[str]:
    yield from hints.texts
    for number in hints.numbers:
        if 0 <= number <= _LONGEST and number == int(number):
            for length in {max(int(number) + more, 0) for more in (-1, 0, 1)}:
                for cycle in ("abcdefgh", "ABCDEFGH", "1234567890", "Anna 1234 "):
                    yield (cycle * _LONGEST)[:length]


@cache
def _texts_all_over() -> tuple[str, ...]:
    rng = np.random.default_rng(1)
    alike = ("".join(_of_its_class(character, rng) for character in text) for text in _TEXTS * (_SPREAD // 6))
    return *_TEXTS, *alike


def _of_its_class(character: str, rng: np.random.Generator) -> str:
    for some in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
        if character in some:
            return some[int(rng.integers(len(some)))]
    return character


def _fitting(texts: Iterable[str], shape: Column) -> list[bytes]:
    fitting = (text for text in texts if shape.max_length is None or len(text) <= shape.max_length)
    if shape.base_type == "bpchar" and shape.max_length is not None:
        fitting = (text.ljust(shape.max_length) for text in fitting)
    return _encoded(fitting)


def _numbers_near(hints: Hints) -> Iterator[Decimal]:
    for number in hints.numbers:
        if number.adjusted() > _DIGITS // 2:
            continue
        yield from (number + step for step in (0, Decimal("-0.5"), Decimal("0.5")))
        # Many, since a mask moves each its own way, and half of them away from the limit.
        for step in range(1, _CLOSE):
            yield from (number - step, number + step)
            yield from (number * (1 - Decimal(step) / 256), number * (1 + Decimal(step) / 256))
        yield from (number * share for share in _SHARES)


@cache
def _numbers_all_over() -> tuple[Decimal, ...]:
    rng = np.random.default_rng(2)
    whole = [number for digits in range(1, 13) for number in rng.integers(0, 10**digits, _SPREAD // 6).tolist()]
    return *map(Decimal, _NUMBERS), *map(Decimal, whole), *(Decimal(number) / 100 for number in whole)


def _numbers(numbers: Iterable[Decimal], shape: Column) -> list[bytes]:
    found = []
    scale = 0 if shape.base_type in INTEGER else shape.scale
    whole = None if shape.base_type != "numeric" or shape.typmod < 4 else (shape.typmod - 4 >> 16) - (scale or 0)
    bits = _BITS.get(shape.base_type)
    for number in numbers:
        exact = number.normalize() if scale is None else round(number, max(scale, 0))
        if (bits is None or -(2**bits) <= exact < 2**bits) and (whole is None or abs(exact) < 10**whole):
            found.append(f"{exact:f}".replace("-0", "0") if not exact else f"{exact:f}")
    return _encoded(found)


def _dates_near(hints: Hints) -> Iterator[date]:
    for text in hints.texts:
        try:
            day = date.fromisoformat(text[:10])
        except ValueError:
            continue
        yield from _around(day, _DAYS)


def _around(day: date, steps: Iterable[int]) -> Iterator[date]:
    """Days so many days away, of those that Python has: a constraint may well speak of its last one."""
    for step in steps:
        if 0 < day.toordinal() + step <= date.max.toordinal():
            yield day + timedelta(step)


@cache
def _dates_all_over() -> tuple[date, ...]:
    rng = np.random.default_rng(3)
    return tuple(TODAY + timedelta(days) for days in (*_DAYS, *rng.integers(-30_000, 10_000, 2 * _SPREAD).tolist()))


def _dates(days: Iterable[date], base_type: str) -> list[bytes]:
    after = {"date": "", "timestamp": " 12:34:56", "timestamptz": " 12:34:56+00"}[base_type]
    return _encoded(f"{day}{after}" for day in days)
