"""Identifiers of a fixed form, permuted by FF1."""

from __future__ import annotations

import re
from math import prod
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from capture.model import BadInput, counted
from transform.cmac import Bytes, Prf, binary_buffers
from transform.masks.base import TEXT, Build, Example, Form, Group, Mask, MaskKind, Params, injective, register
from transform.masks.choosing import fixed_width, fold_case, merge, room
from transform.masks.ff1 import Ff1
from transform.masks.permutation import Characters, walk

Rows: TypeAlias = npt.NDArray[np.int64]

# The standard's least size of what FF1 permutes.
_LEAST_SIZE: Final = 100
_MOST_RADIX_BITS: Final = 16
_NONE: Final = 255
_DIGITS: Final = "0123456789"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_NAMED: Final = {"9": _DIGITS, "A": _LETTERS.upper(), "a": _LETTERS}
_PIECE: Final = re.compile(
    r"(?:\\(?P<escaped>.)|\[(?P<listed>(?:\\.|[^\]\\])+)\]|(?P<plain>[^\[\]{}\\]))(?:\{(?P<count>\d{1,3})\})?",
    re.DOTALL,
)
_RANGE: Final = re.compile(r"\\?(.)(?:-\\?(.))?", re.DOTALL)


def parse_pattern(pattern: str) -> list[str]:
    """The characters that may stand at each place; one alone is a literal. Raises ``ValueError``."""
    places: list[str] = []
    position = 0
    while position < len(pattern):
        match = _PIECE.match(pattern, position)
        if match is None:
            raise ValueError("is not understood: brackets and braces are written in pairs, or after a backslash")
        position = match.end()
        characters = match["escaped"] or (
            _listed(match["listed"]) if match["listed"] else _NAMED.get(match["plain"], match["plain"])
        )
        places += [characters] * int(match["count"] or 1)
    return places


def _listed(text: str) -> str:
    found: dict[str, None] = {}
    for first, last in _RANGE.findall(text):
        if last and last < first:
            raise ValueError(f"the range {first}-{last} ends before it begins")
        for code in range(ord(first), ord(last or first) + 1):
            found[chr(code)] = None
    if not all(character.isascii() for character in found):
        raise ValueError("a list in brackets holds ASCII characters only")
    return "".join(found)


class PatternMask(Mask):
    """Permutes what is written by a pattern: the characters that may vary count as one number, which FF1 encrypts, and
    literals stay.

    Where all places have the same number of characters, FF1's radix is that number. Else it is the least whose power
    holds all of the pattern's values, and what leaves them is encrypted again. A value of another form has its digits
    and letters permuted until it is of another form again, so that it meets none of the pattern's.
    """

    def __init__(self, prf: Prf, pattern: str, encoding: str, *, ignores_case: bool) -> None:
        self._prf = prf
        self._encoding = encoding
        self._folded = ignores_case
        places = parse_pattern(pattern)
        if ignores_case:
            places = ["".join({one.lower(): one for one in reversed(place)}.values())[::-1] for place in places]
        template: list[int] = []
        self._varying: list[int] = []
        self._alphabets: list[Bytes] = []
        tables: list[Bytes] = []
        for characters in places:
            if len(characters) > 1:
                self._varying.append(len(template))
                self._alphabets.append(np.frombuffer(characters.encode(), dtype=np.uint8))
                template.append(0)
                tables.append(_table(characters.lower() if ignores_case else characters))
            else:
                literal = characters.lower() if ignores_case else characters
                # Beyond ASCII, the small letter may be longer.
                template += (characters if characters.isascii() else literal).encode()
                tables += [_table(chr(byte)) for byte in literal.encode()]
        self._template = np.array(template, dtype=np.uint8)
        self._tables = np.array(tables).reshape(-1, 256)
        self._radixes = [len(alphabet) for alphabet in self._alphabets]
        self.size = prod(self._radixes)
        self._ff1 = _ff1(prf, self._radixes, self.size) if self.size >= _LEAST_SIZE else None

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        if self._folded:
            values = fold_case(values)
        rows, indexes = self._match(values)
        assert self._ff1 is not None
        made = self._write(self._permute(self._ff1, indexes))
        if len(rows) == len(values):
            return made
        others = np.setdiff1d(np.arange(len(values)), rows, assume_unique=True)
        return merge(len(values), (rows, made), (others, self._scramble(values.take(pa.array(others)))))

    def _match(self, values: pa.BinaryArray) -> tuple[Rows, list[Bytes]]:
        """The rows written by the pattern, and for each place that varies the numbers of their characters."""
        offsets, data = binary_buffers(values)
        sized = np.diff(offsets) == len(self._template)
        if values.null_count:
            sized &= values.is_valid().to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(sized)
        text = np.ascontiguousarray(data[offsets[rows][:, None] + np.arange(len(self._template))].T)
        found = [table.take(column) for table, column in zip(self._tables, text, strict=True)]
        well = np.ones(len(rows), dtype=np.bool_)
        for place in found:
            well &= place != _NONE
        return rows[well], [found[place][well] for place in self._varying]

    def _permute(self, ff1: Ff1, indexes: list[Bytes]) -> list[Bytes]:
        if ff1.is_small:
            number = np.zeros(len(indexes[0]), dtype=np.uint64)
            for index, radix in zip(indexes, self._radixes, strict=True):
                number = number * np.uint64(radix) + index
            number = walk(number, ff1.permute_array, 0, self.size - 1)
            return self._cut(number)
        numbers = [0] * len(indexes[0])
        for index, radix in zip(indexes, self._radixes, strict=True):
            numbers = [before * radix + one for before, one in zip(numbers, index.tolist(), strict=True)]
        numbers = ff1.permute(numbers)
        while outside := [row for row, encrypted in enumerate(numbers) if encrypted >= self.size]:
            again = ff1.permute([numbers[row] for row in outside])
            for row, encrypted in zip(outside, again, strict=True):
                numbers[row] = encrypted
        return self._cut(np.array(numbers, dtype=object))

    def _cut(self, number: npt.NDArray[Any]) -> list[Bytes]:
        indexes: list[Bytes] = []
        for radix in reversed(self._radixes):
            size = radix if number.dtype == object else np.uint64(radix)
            rest = number // size
            indexes.append((number - rest * size).astype(np.uint8))
            number = rest
        return indexes[::-1]

    def _write(self, indexes: list[Bytes]) -> pa.BinaryArray:
        text = np.tile(self._template, (len(indexes[0]), 1))
        for place, alphabet, index in zip(self._varying, self._alphabets, indexes, strict=True):
            text[:, place] = alphabet.take(index)
        return fixed_width(text)

    def _scramble(self, values: pa.BinaryArray) -> pa.BinaryArray:
        out = self._permuted_characters(values)
        while (rows := self._match(out)[0]).size:
            parts = np.setdiff1d(np.arange(len(out)), rows, assume_unique=True)
            again = self._permuted_characters(out.take(pa.array(rows)))
            out = merge(len(out), (parts, out.take(pa.array(parts))), (rows, again))
        return out

    def _permuted_characters(self, values: pa.BinaryArray) -> pa.BinaryArray:
        characters = Characters(values, self._encoding)
        characters.permute(self._prf)
        return characters.column()


def _table(characters: str) -> Bytes:
    """The number of each character of a place by its byte."""
    table = np.full(256, _NONE, dtype=np.uint8)
    for number, character in enumerate(characters):
        table[ord(character)] = number
    return table


def _ff1(prf: Prf, radixes: list[int], size: int) -> Ff1:
    if len(set(radixes)) == 1 and len(radixes) > 1:
        return Ff1(prf, radixes[0], len(radixes))
    length = max(2, -(-(size - 1).bit_length() // _MOST_RADIX_BITS))
    radix = 2
    while radix**length < size:
        radix *= 2
    step = radix // 2
    while step := step // 2:
        if (radix - step) ** length >= size:
            radix -= step
    return Ff1(prf, radix, length)


class PatternParams(Params):
    """The form."""

    pattern: str = Field(
        min_length=1,
        description="The form of the values: 9 stands for a digit, A for a capital letter, a for a small one, [A-F0-9] "
        "for a character of a list, and {4} repeats what is before it. What else there is stays, and so does a "
        "character after a backslash.",
    )

    @model_validator(mode="after")
    def _varies(self) -> Self:
        places = parse_pattern(self.pattern)
        size = prod(map(len, places))
        if size < _LEAST_SIZE:
            raise ValueError(f"has {counted(size, 'value')}, and below {_LEAST_SIZE} there is nothing to hide among")
        return self


def _build_pattern(params: PatternParams, build: Build) -> Mask:
    limit, length = room(build.column), len(parse_pattern(params.pattern))
    if limit is not None and limit < length:
        raise BadInput(f"the pattern has {length} characters, and {build.column.type_name} holds {limit}.")
    return PatternMask(build.prf, params.pattern, build.encoding, ignores_case=build.column.base_type == "citext")


register(
    MaskKind(
        name="id.pattern",
        group=Group.IDS,
        summary="another value of the same pattern (FF1); no two meet",
        types=TEXT,
        params=PatternParams,
        build=_build_pattern,
        uniqueness=injective,
        form=Form.KEPT,
        examples=(
            Example("KD-4711-3", {"pattern": "AA-9999-9"}),
            Example("ORDER-00C47D", {"pattern": "ORDER-[0-9A-F]{6}"}),
        ),
        notes="FF1 is the format-preserving encryption of NIST SP 800-38G. The fewer values a pattern has, the less it "
        "hides: below a million, look for another mask. Digits and letters of other values are permuted. Patterns of "
        "more than 62 bits cost some 7 microseconds a value.",
    )
)
