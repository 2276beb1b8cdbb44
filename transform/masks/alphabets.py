"""Letters beyond ASCII: which may stand for one another, so that text keeps its form and no letter says what it was.

An *alphabet* is a list of letters of one script, or of its digits, marks or pictures, that UTF-8 writes in as many
bytes and that production's encoding holds. Letters that differ by case stand at the same number of two alphabets, that
of capitals and that of small letters: what is done to numbers is done alike to both. Punctuation, blanks and what
controls the way of text are in none.

Unicode's data is that of version 3.2, which every Python brings beside its own: another release must not change what a
value becomes. Characters that are newer, or private, stand in alphabets of 64 neighbours.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterator
from functools import cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from transform.cmac import Bytes
from transform.encodings import codec_of

Numbers: TypeAlias = npt.NDArray[np.int64]

# A letter's number in its alphabet is written in up to three digits of this radix, the highest of a smaller one. Each
# has one of the letter's last bytes for its place.
MOST_RADIX: Final = 64
_DIGIT_BITS: Final = 6
_UNICODE: Final = unicodedata.ucd_3_2_0
# Ideographs end here; what follows is not for writing.
_END: Final = 0x32400
_MOST_BYTES: Final = 4
# The ideographs that are in use, and Korean's syllables; other signs of their scripts stand apart.
_MAIN: Final = frozenset([*range(0x4E00, 0xA000), *range(0xAC00, 0xD7A4)])
# Letters and marks that are not seen: fillers of Korean's, selectors of variants.
_UNSEEN: Final = frozenset([0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10)])
# Letters, marks, numbers and pictures; and what Unicode 3.2 does not know.
_NEIGHBOURS: Final = frozenset({"Cn", "Co"})
_MOVING: Final = _NEIGHBOURS | {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "So"}


class _Table(NamedTuple):
    """``alphabet`` and ``number`` are by code point; alphabet 0 holds those that stay. ``letters`` are all alphabets'
    one after the other, from ``starts`` on; ``radixes`` (n, 3) are those of a number's digits, the last first."""

    alphabet: npt.NDArray[np.uint16]
    number: npt.NDArray[np.uint16]
    letters: npt.NDArray[np.uint32]
    starts: Numbers
    radixes: Bytes


@cache
def _table(encoding: str) -> _Table:
    codec = codec_of(encoding)
    if codec == "ascii":  # bytes that may be any text, or an encoding that Python does not know
        codec = "utf-8"
    alphabet, number = np.zeros(_END, dtype=np.uint16), np.zeros(_END, dtype=np.uint16)
    listed: list[list[int]] = [[]]
    radixes = [(1, 1, 1)]
    for column in _columns(codec):
        start = 0
        for cut in _cuts(len(column)):
            size = cut[0] * cut[1] * cut[2]
            part = column[start : start + size]
            start += size
            if size > 1:
                alphabet[part], number[part] = len(listed), np.arange(size)
                listed.append(part)
                radixes.append(cut)
    sizes = np.array([len(part) for part in listed])
    letters = np.concatenate([np.array(part, dtype=np.uint32) for part in listed])
    return _Table(alphabet, number, letters, np.cumsum(sizes) - sizes, np.array(radixes, dtype=np.uint8))


def _columns(codec: str) -> Iterator[list[int]]:
    """Letters that may stand for one another; capitals next to the small letters that they are of."""
    alone: dict[Hashable, list[int]] = defaultdict(list)
    cased: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for point in range(0x80, _END):
        letter = chr(point)
        category = _UNICODE.category(letter)
        if category not in _MOVING or point in _UNSEEN or not _is_held(letter, codec):
            continue
        if category in _NEIGHBOURS:
            alone[point // MOST_RADIX].append(point)
            continue
        script, size = _UNICODE.name(letter).partition(" ")[0], length_of(point)
        capital, small = letter.upper(), letter.lower()
        if capital != small and _is_pair(capital, small, codec):
            if letter == small:
                # Of two bytes, those of one script are many; its everyday letters stand together.
                capitals, smalls = cased[script, size, size == 2 and point >> 8]
                capitals.append(ord(capital))
                smalls.append(point)
        elif category == "So":
            alone["picture", point >> 8].append(point)
        else:
            kind = "digit" if category == "Nd" else category[0]
            alone[kind, script, size, point in _MAIN].append(point)
    yield from alone.values()
    for pair in cased.values():
        yield from pair


def _is_held(letter: str, codec: str) -> bool:
    if codec == "utf-8":
        return True
    try:
        # Python's EUC_KR spells syllables that PostgreSQL's has not, in eight bytes.
        return len(letter.encode(codec)) < _MOST_BYTES
    except UnicodeEncodeError:
        return False


def _is_pair(capital: str, small: str, codec: str) -> bool:
    """Whether these are each other's forms, and as long."""
    return (
        (capital.lower(), small.upper()) == (small, capital)
        and min(len(capital), len(small)) == max(len(capital), len(small)) == 1
        and min(capital, small) >= "\x80"
        and length_of(ord(capital)) == length_of(ord(small))
        and "Cn" not in {_UNICODE.category(capital), _UNICODE.category(small)}
        and _is_held(capital, codec)
        and _is_held(small, codec)
    )


def _cuts(size: int) -> Iterator[tuple[int, int, int]]:
    """Radixes of the alphabets that so many letters are cut into, all but the last the largest; no alphabet is small if
    it need not be."""
    while size:
        if size >= MOST_RADIX**2:
            cut = MOST_RADIX, MOST_RADIX, min(size // MOST_RADIX**2, MOST_RADIX)
        elif size >= 2 * MOST_RADIX:
            cut = MOST_RADIX, size // MOST_RADIX - 1, 1
        else:
            cut = (size if size <= MOST_RADIX else -(-size // 2)), 1, 1
        yield cut
        size -= cut[0] * cut[1] * cut[2]


def length_of(point: int) -> int:
    """How many bytes UTF-8 writes a character in, of those beyond ASCII."""
    return 2 if point < 0x800 else 3 if point < 0x10000 else _MOST_BYTES


# ---------------------------------------------------------------------------------------------- letters of a column

_LENGTH: Final = np.zeros(256, dtype=np.int64)
_LENGTH[0xC2:0xE0], _LENGTH[0xE0:0xF0], _LENGTH[0xF0:0xF5] = 2, 3, 4
_LEAST_POINT: Final = np.array([0, 0, 0x80, 0x800, 0x10000])


class Letters:
    """The letters beyond ASCII in a column's bytes. ``places`` are bytes, in order, that stand for a digit each of a
    letter's number; ``radix`` says of which radix. ``lay`` writes the digits into these bytes, where they may be
    changed, and ``write`` makes letters of them again.

    Bytes that are no UTF-8, as a production without an encoding may have them, count by themselves among 64, where
    that cannot make a character of them.
    """

    def __init__(self, data: Bytes, offsets: Numbers, high: Numbers, encoding: str) -> None:
        self._table = _table(encoding)
        ends = offsets[np.searchsorted(offsets, high, side="right")]
        starts, points, covered = _read(data, high, ends)
        within = np.flatnonzero(points < _END)
        found = np.zeros(len(points), dtype=np.int64)
        found[within] = self._table.alphabet[points[within]]
        moving = np.flatnonzero(found)
        self._starts, self._alphabets = starts[moving], found[moving]
        self._lengths = _LENGTH[data[self._starts]]
        radixes = self._table.radixes[self._alphabets]
        number = self._table.number[points[moving]]
        # Of each byte, the digit that it stands for, and its radix; 0 for those that stand for none.
        radix, digits = np.zeros_like(data), np.zeros_like(data)
        # For each digit, the letters that have it, and where it stands.
        self._turns: list[tuple[Numbers, Numbers]] = []
        rows = np.arange(len(moving))
        for turn in range(radixes.shape[1]):
            rows = rows[radixes[rows, turn] > 1]
            places = self._starts[rows] + self._lengths[rows] - 1 - turn
            radix[places], digits[places] = radixes[rows, turn], number[rows] >> _DIGIT_BITS * turn & MOST_RADIX - 1
            self._turns.append((rows, places))
        self._lone = high[_lone(data, high, ends) & ~covered] if not covered.all() else high[:0]
        self._kinds = data[self._lone] & 0xC0
        radix[self._lone], digits[self._lone] = MOST_RADIX, data[self._lone] & 0x3F
        self.places: Numbers = np.flatnonzero(radix)
        self.radix: Bytes = radix[self.places]
        self._digits = digits[self.places]

    def lay(self, data: Bytes) -> None:
        """Let the digits stand for the letters."""
        data[self.places] = self._digits

    def write(self, data: Bytes) -> None:
        """Let letters stand for the digits."""
        number = np.zeros(len(self._starts), dtype=np.int64)
        for turn, (rows, places) in enumerate(self._turns):
            number[rows] |= data[places].astype(np.int64) << _DIGIT_BITS * turn
        points = self._table.letters[self._table.starts[self._alphabets] + number]
        for size in range(2, _MOST_BYTES + 1):
            rows = np.flatnonzero(self._lengths == size)
            if not rows.size:
                continue
            starts, left = self._starts[rows], points[rows]
            for place in range(size - 1, 0, -1):
                data[starts + place] = 0x80 | left & 0x3F
                left = left >> 6
            data[starts] = (0xF00 >> size & 0xFF) | left
        data[self._lone] = self._kinds | data[self._lone]


def _read(data: Bytes, high: Numbers, ends: Numbers) -> tuple[Numbers, Numbers, npt.NDArray[np.bool_]]:
    """Where characters begin and which they are; and which of the bytes from 0x80 on are part of one."""
    leads = np.flatnonzero(_LENGTH[data[high]])
    starts, lengths = high[leads], _LENGTH[data[high[leads]]]
    well = starts + lengths <= ends[leads]
    points = data[starts].astype(np.int64) & (0x7F >> lengths)
    for turn in range(1, _MOST_BYTES):
        more = lengths > turn
        after = data[np.minimum(starts + turn, len(data) - 1)].astype(np.int64)
        well &= ~more | (after & 0xC0 == 0x80)
        points = np.where(more, points << 6 | after & 0x3F, points)
    well &= (points >= _LEAST_POINT[lengths]) & (points < 0x110000) & (points >> 11 != 0xD800 >> 11)
    starts, points, lengths, leads = starts[well], points[well], lengths[well], leads[well]
    # A character's bytes follow each other, here too.
    covered = np.zeros(len(high) + 1, dtype=np.int64)
    covered[leads] += 1
    covered[leads + lengths] -= 1
    return starts, points, np.cumsum(covered)[:-1] > 0


def _lone(data: Bytes, high: Numbers, ends: Numbers) -> npt.NDArray[np.bool_]:
    """Which bytes can be part of no character: those that go on with none, and those with which none goes on."""
    begins = data[high] >= 0xC0
    apart = np.ones(len(high), dtype=np.bool_)
    apart[1:] = (np.diff(high) > 1) | (np.diff(ends) > 0)
    begun = np.cumsum(begins)
    before: Numbers = (begun - begins)[np.maximum.accumulate(np.where(apart, np.arange(len(high)), 0))]
    goes_on = np.zeros(len(high), dtype=np.bool_)
    goes_on[:-1] = ~apart[1:] & ~begins[1:]
    flags: npt.NDArray[np.bool_] = np.where(begins, ~goes_on, begun == before)
    return flags
