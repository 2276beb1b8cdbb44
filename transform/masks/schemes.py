"""Numbers that authorities give out: how one kind is permuted so that valid ones stay valid and no two meet.

A scheme says how the signs of a number stand (digits and letters, whatever parts them), which numbers are well formed,
and how its check signs follow from the rest. The well-formed are permuted among themselves, and all others of the same
signs among themselves; what a check sign was off by, it is off by again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from math import factorial, prod
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from transform.cmac import Bytes, Prf
from transform.masks.permutation import Numbers, permute_range

# The signs of n numbers, one row for each place, in capitals; and what is computed of them.
Signs: TypeAlias = Bytes
Values: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

DIGITS: Final = "0123456789"
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALPHABETS: Final = {"9": DIGITS, "A": _LETTERS}


class Field(NamedTuple):
    """``width`` signs from ``start`` on, read as a number in [low, low + size) over an alphabet."""

    start: int
    width: int
    low: int
    size: int
    alphabet: str = DIGITS

    def read(self, signs: Signs) -> Values:
        """The number; -1 where a sign is not of the alphabet."""
        values = values_of(self.alphabet)[signs[self.start : self.start + self.width]]
        if self.width == 1:
            only: Values = values[0]
            return only
        number: Values = len(self.alphabet) ** np.arange(self.width - 1, -1, -1) @ values
        return np.where((values < 0).any(axis=0), -1, number)

    def write(self, signs: Signs, number: Values) -> None:
        """Write the number."""
        alphabet = np.frombuffer(self.alphabet.encode(), dtype=np.uint8)
        for row in range(self.start + self.width - 1, self.start - 1, -1):
            number, value = np.divmod(number, len(alphabet))
            signs[row] = alphabet[value]


@cache
def values_of(alphabet: str) -> Values:
    """Each byte's place in the alphabet; -1 for those that are not in it."""
    table = np.full(256, -1, dtype=np.int64)
    table[np.frombuffer(alphabet.encode(), dtype=np.uint8)] = range(len(alphabet))
    return table


class Check(NamedTuple):
    """Check signs, and what they should be: a number in the field's range, of the signs before."""

    field: Field
    expected: Callable[[Signs], Values]


class Scheme(ABC):
    """One kind of number. ``pattern`` has 9 for a digit and A for a letter; ``checks`` stand behind what they check."""

    def __init__(self, pattern: str, checks: Sequence[Check] = ()) -> None:
        self.pattern = pattern
        self.size = 0
        self._checks = checks
        checking = {row for check in checks for row in range(check.field.start, check.field.start + check.field.width)}
        self._body = [row for row in range(len(pattern)) if row not in checking]

    @abstractmethod
    def well_formed(self, signs: Signs) -> Flags:
        """Which numbers are, whatever their check signs. Both kinds are many, since numbers are permuted until they
        are of their own kind again."""

    @abstractmethod
    def rank(self, signs: Signs) -> Values:
        """Which of ``size`` numbers each well-formed one is. Some of [0, size) may be no well-formed number's."""

    @abstractmethod
    def unrank(self, signs: Signs, number: Values) -> Flags:
        """Write the number's signs, but the check signs; tells which numbers are not well formed."""

    def permute(self, prf: Prf, signs: Signs, tweak: int) -> None:
        """Permute numbers in place. ``tweak`` is the scheme's, below 2**54."""
        amiss = []
        for field, expected in self._checks:
            found = field.read(signs) - field.low
            off = (found - expected(signs) + field.low) % field.size
            amiss.append((off, (found >= 0) & (found < field.size)))
        well = self.well_formed(signs)
        self._permute_well_formed(prf, signs, np.flatnonzero(well), 2 * tweak)
        self._permute_others(prf, signs, np.flatnonzero(~well), 2 * tweak + 1)
        for (field, expected), (off, checks) in zip(self._checks, amiss, strict=True):
            written = signs.copy()
            field.write(written, (expected(signs) - field.low + off) % field.size + field.low)
            signs[:, checks] = written[:, checks]

    def _permute_well_formed(self, prf: Prf, signs: Signs, columns: Values, tweak: int) -> None:
        left, right = self._halves()
        rank = self.rank(signs[:, columns])
        while columns.size:
            rank = _permuted(prf, rank, left, right, tweak)
            some = signs[:, columns]
            again = self.unrank(some, rank)
            signs[:, columns] = some
            columns, rank = columns[again], rank[again]

    def _permute_others(self, prf: Prf, signs: Signs, columns: Values, tweak: int) -> None:
        alphabets = [ALPHABETS[self.pattern[row]] for row in self._body]
        fields = [Field(row, 1, 0, len(each), each) for row, each in zip(self._body, alphabets, strict=True)]
        half = len(fields) // 2
        left, right = (prod(field.size for field in part) for part in (fields[:half], fields[half:]))
        while columns.size:
            some = signs[:, columns]
            _write_all(fields, some, _permuted(prf, _read_all(fields, some), left, right, tweak))
            signs[:, columns] = some
            columns = columns[self.well_formed(some)]

    @abstractmethod
    def _halves(self) -> tuple[int, int]:
        """Two factors of ``size``, near each other in size."""


def _permuted(prf: Prf, numbers: Values, left: int, right: int, tweak: int) -> Values:
    permuted: Numbers = permute_range(prf, numbers.astype(np.uint64), left, right, tweak)
    return permuted.astype(np.int64)


def _read_all(fields: Sequence[Field], signs: Signs) -> Values:
    number = np.zeros(signs.shape[1], dtype=np.int64)
    for field in fields:
        number = number * field.size + field.read(signs) - field.low
    return number


def _write_all(fields: Sequence[Field], signs: Signs, number: Values) -> None:
    for field in reversed(fields):
        number, value = np.divmod(number, field.size)
        field.write(signs, value + field.low)


class Fields(Scheme):
    """Numbers whose parts have ranges of their own. ``refused`` tells a few that are not well formed for all that."""

    def __init__(
        self,
        pattern: str,
        *fields: Field,
        checks: Sequence[Check] = (),
        refused: Callable[[Signs], Flags] | None = None,
    ) -> None:
        super().__init__(pattern, checks)
        self._fields = fields
        self._refused = refused
        self.size = prod(field.size for field in fields)

    def well_formed(self, signs: Signs) -> Flags:
        well = np.ones(signs.shape[1], dtype=np.bool_)
        for field in self._fields:
            value = field.read(signs) - field.low
            well &= (value >= 0) & (value < field.size)
        return well if self._refused is None else well & ~self._refused(signs)

    def rank(self, signs: Signs) -> Values:
        return _read_all(self._fields, signs)

    def unrank(self, signs: Signs, number: Values) -> Flags:
        _write_all(self._fields, signs, number)
        return np.zeros(len(number), dtype=np.bool_) if self._refused is None else self._refused(signs)

    def _halves(self) -> tuple[int, int]:
        sizes = [field.size for field in self._fields]
        if len(sizes) == 1:  # a power of ten
            left = 10 ** (len(str(sizes[0])) // 2)
            return left, sizes[0] // left
        return min(
            ((prod(sizes[:cut]), prod(sizes[cut:])) for cut in range(1, len(sizes))), key=lambda pair: max(*pair)
        )


# Sets of digits, or of places, are numbers with a bit for each; what there is to know of each set of ten.
_COUNT: Final = np.array([number.bit_count() for number in range(1 << 10)], dtype=np.int64)
_LOWEST: Final = np.array([(number & -number).bit_length() - 1 for number in range(1 << 10)], dtype=np.int64)


@cache
def _members() -> npt.NDArray[np.int64]:
    """The n-th of each set, in order, at 10 * set + n."""
    table = np.zeros((1 << 10, 10), dtype=np.int64)
    for number in range(1 << 10):
        members = [bit for bit in range(10) if number >> bit & 1]
        table[number, : len(members)] = members
    return table.reshape(-1)


class RepeatedDigit(Scheme):
    """Ten digits of which one stands there twice or three times, not three in a row, and no other more than once; the
    first is not 0. A number is: the digit, its places, and in which order which others come."""

    _TWICE: Final = tuple(combinations(range(10), 2))
    _THRICE: Final = tuple(combinations(range(10), 3))
    # So many orders of seven or eight of nine digits there are.
    _OF_SEVEN: Final = factorial(9) // 2
    _OF_EIGHT: Final = factorial(9)

    def __init__(self, *checks: Check) -> None:
        super().__init__("9" * 11, checks)
        self._twice = 10 * len(self._TWICE) * self._OF_EIGHT
        self.size = self._twice + 10 * len(self._THRICE) * self._OF_SEVEN
        self._sets = np.array([sum(1 << place for place in places) for places in (*self._TWICE, *self._THRICE)])
        self._number_of = np.zeros(1 << 10, dtype=np.int64)
        self._number_of[self._sets] = [*range(len(self._TWICE)), *range(len(self._THRICE))]

    def _halves(self) -> tuple[int, int]:
        return self._OF_SEVEN, self.size // self._OF_SEVEN

    @staticmethod
    def _read(signs: Signs) -> tuple[Values, Values, Values, Values]:
        """The digits as sets of one, all of them, those that come again, and the places of the latter."""
        bits = np.int64(1) << (signs[:10].astype(np.int64) - ord("0"))
        every, again = np.zeros_like(bits[0]), np.zeros_like(bits[0])
        for bit in bits:
            again |= every & bit
            every |= bit
        places = np.zeros_like(again)
        for row, bit in enumerate(bits):
            places |= (bit == again).astype(np.int64) << row
        return bits, every, again, places

    @staticmethod
    def _unfit(first: Values, places: Values) -> Flags:
        flags: Flags = (first == 1) | (places & places >> 1 & places >> 2 > 0)
        return flags

    def well_formed(self, signs: Signs) -> Flags:
        bits, every, again, places = self._read(signs)
        # Of two digits that come again, none is the set of both.
        flags: Flags = (_COUNT[again] == 1) & (_COUNT[every] + _COUNT[places] == 11) & ~self._unfit(bits[0], places)
        return flags & (_COUNT[places] <= 3)

    def rank(self, signs: Signs) -> Values:
        bits, _, again, places = self._read(signs)
        left = again ^ 0b11_1111_1111  # the digits that may come yet
        order, choices = np.zeros(len(left), dtype=np.int64), np.full(len(left), 9)
        for bit in bits:
            own = (bit != again).astype(np.int64)
            order = np.where(own, order * choices + _COUNT[left & (bit - 1)], order)
            choices -= own
            left &= ~bit
        repeated, place = _LOWEST[again], self._number_of[places]
        of_twice = (repeated * len(self._TWICE) + place) * self._OF_EIGHT + order
        of_thrice = (repeated * len(self._THRICE) + place) * self._OF_SEVEN + order
        return np.where(_COUNT[places] == 2, of_twice, self._twice + of_thrice)

    def unrank(self, signs: Signs, number: Values) -> Flags:
        twice = number < self._twice
        rest, order = np.divmod(number - self._twice * ~twice, np.where(twice, self._OF_EIGHT, self._OF_SEVEN))
        repeated, place = np.divmod(rest, np.where(twice, len(self._TWICE), len(self._THRICE)))
        places = self._sets[np.where(twice, place, place + len(self._TWICE))]
        left = (np.int64(1) << repeated) ^ 0b11_1111_1111
        choices = np.full(len(number), 9)
        weight = np.where(twice, self._OF_EIGHT, self._OF_SEVEN)
        for row in range(10):
            own = places >> row & 1 == 0
            weight = np.where(own, weight // choices, weight)
            pick, order = np.where(own, order // weight, 0), np.where(own, order % weight, order)
            digit = np.where(own, _members()[10 * left + pick], repeated)
            left &= ~(np.int64(1) << digit)
            choices -= own
            signs[row] = digit + ord("0")
        return self._unfit(np.int64(1) << (signs[0].astype(np.int64) - ord("0")), places)
