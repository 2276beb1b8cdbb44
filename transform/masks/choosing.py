"""Building blocks of masks that make new text from a tag: pick words, draw digits, fit the column.

A *lane* is one of the four 32-bit numbers of a tag (n,) as ``uint32``. Everything here is vectorised over a column.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cache, partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import Column
from transform.cmac import Bytes, Prf, binary_buffers
from transform.masks.base import Mask

Lane = npt.NDArray[np.uint32]

# The limit of the type ``name`` in bytes; what masks make is ASCII.
_NAME_LENGTH: Final = 63

# Crockford's base 32: without i, l, o and u, so that nothing is misread and few words come about.
_BASE32: Final = np.frombuffer(b"0123456789abcdefghjkmnpqrstvwxyz" * 8, dtype=np.uint8)
_HEX: Final = np.frombuffer(bytes(ord(digit) for n in range(256) for digit in f"{n:02x}"), dtype=np.uint8).reshape(
    256, 2
)


def room(column: Column) -> int | None:
    """How many characters fit into a text column; None if there is no limit."""
    return _NAME_LENGTH if column.base_type == "name" else column.max_length


# ---------------------------------------------------------------------------------------- from tags to pieces


def lanes(tags: Bytes) -> tuple[Lane, Lane, Lane, Lane]:
    """The four lanes of an (n, 16) matrix of tags."""
    numbers = np.ascontiguousarray(tags).view("<u4")
    return numbers[:, 0], numbers[:, 1], numbers[:, 2], numbers[:, 3]


def below(lane: Lane, size: int) -> npt.NDArray[np.int64]:
    """A number in [0, size) for each of the lane; ``size`` is far below 2**32."""
    return (lane.astype(np.uint64) * np.uint64(size) >> np.uint64(32)).astype(np.int64)


def pick(words: pa.BinaryArray, lane: Lane) -> pa.BinaryArray:
    """A word for each number of the lane."""
    return words.take(pa.array(below(lane, len(words))))


def numbers(lane: Lane, low: int, high: int) -> pa.BinaryArray:
    """A decimal number in [low, high) for each of the lane."""
    return pc.cast(pa.array(below(lane, high - low) + low), pa.string()).view(pa.binary())


def padded_numbers(lane: Lane, digits: int) -> pa.BinaryArray:
    """A string of so many decimal digits (at most 9) for each number of the lane."""
    number = below(lane, 10**digits)
    places = 10 ** np.arange(digits - 1, -1, -1)
    return fixed_width((number[:, None] // places % 10 + ord("0")).astype(np.uint8))


def base32(tags: Bytes, length: int) -> pa.BinaryArray:
    """``length`` (at most 16) characters with 5 bits of the tag each."""
    return fixed_width(_BASE32[tags[:, :length]])


def hexadecimal(tags: Bytes, length: int) -> pa.BinaryArray:
    """``length`` (at most 32) characters with 4 bits of the tag each."""
    return fixed_width(_HEX[tags].reshape(-1, 32)[:, :length])


def fixed_width(characters: Bytes) -> pa.BinaryArray:
    """The rows of an (n, width) matrix as values."""
    count, width = characters.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    return pa.BinaryArray.from_buffers(
        pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(characters))]
    )


# Arrow guesses the type of a Python value, which takes it longer than masking ten; so scalars are made once, typed.
_scalar = cache(partial(pa.scalar, type=pa.binary()))
_ZERO: Final = pa.scalar(0, pa.int32())


def join(*pieces: pa.BinaryArray | bytes) -> pa.BinaryArray:
    """The pieces one after the other, value by value."""
    typed = (_scalar(piece) if isinstance(piece, bytes) else piece for piece in pieces)
    return pc.binary_join_element_wise(*typed, _scalar(b""))


# ------------------------------------------------------------------------------------- from pieces to a column


def merge(count: int, *parts: tuple[npt.NDArray[np.int64], pa.BinaryArray]) -> pa.BinaryArray:
    """One array of ``count`` values out of several, each with the rows where its values belong; rows of no part
    are NULL."""
    source = np.full(count, -1, dtype=np.int64)
    total = 0
    for rows, values in parts:
        source[rows] = np.arange(total, total + len(values))
        total += len(values)
    joined = pa.concat_arrays([values for _, values in parts])
    return joined.take(pa.array(source, mask=source < 0))


def per_value(flags: npt.NDArray[np.bool_], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many flags are set in each value; there is one for each byte, and ``offsets`` (n + 1) start at 0."""
    running = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
    counts: npt.NDArray[np.int64] = running[offsets[1:]] - running[offsets[:-1]]
    return counts


def recase(masked: pa.BinaryArray, original: pa.BinaryArray) -> pa.BinaryArray:
    """``masked`` (ASCII) in capitals where the original has ASCII capitals only, in small letters where it has
    only those, and as it is elsewhere."""
    offsets, data = binary_buffers(original)
    within = data[offsets[0] : offsets[-1]]
    starts = (offsets - offsets[0]).astype(np.int64)
    capitals = per_value((within >= ord("A")) & (within <= ord("Z")), starts)
    small = per_value((within >= ord("a")) & (within <= ord("z")), starts)
    text = masked.view(pa.string())
    if (only := (capitals > 0) & (small == 0)).any():
        text = pc.if_else(pa.array(only), pc.ascii_upper(text), text)
    if (only := (small > 0) & (capitals == 0)).any():
        text = pc.if_else(pa.array(only), pc.ascii_lower(text), text)
    return text.view(pa.binary())


def fold_case(values: pa.BinaryArray) -> pa.BinaryArray:
    """The values in lower case, so that what citext holds equal is equal. Bytes that are not UTF-8 stay."""
    _, data = binary_buffers(values)
    if not (data >= 0x80).any():
        return pc.ascii_lower(values.view(pa.string())).view(pa.binary())
    folded = [
        None if value is None else value.decode("utf-8", "surrogateescape").lower().encode("utf-8", "surrogateescape")
        for value in values.to_pylist()
    ]
    return pa.array(folded, type=pa.binary())


class TextMask(Mask):
    """A mask that makes new ASCII text: NULL stays NULL and an empty value stays empty, since neither says anything
    of anyone. The blanks that pad char(n) are no part of a value; the plan takes them off and puts them back."""

    def __init__(self, prf: Prf, column: Column) -> None:
        self._prf = prf
        self._room = room(column)
        self._folded = column.base_type == "citext"

    @abstractmethod
    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        """New text for each value, which fits the column. What it gives for NULL and for an empty value is not
        looked at."""

    def tags(self, values: pa.BinaryArray) -> Bytes:
        """The values' tags; for citext, those of the values in lower case."""
        return self._prf.tags(fold_case(values) if self._folded else values)

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        lengths = pc.binary_length(values)
        made = self.make(values)
        if not values.null_count and pc.min(lengths).as_py() != 0:
            return made
        # A comparison with NULL is NULL, and gives NULL.
        return pc.if_else(pc.equal(lengths, _ZERO), _scalar(b""), made)


class Composed(TextMask):
    """Text composed from the tag alone, cut to the column's length, in the original's case where asked. ``compose``
    is a module's function, so that the mask pickles."""

    def __init__(
        self, prf: Prf, column: Column, compose: Callable[[Bytes], pa.BinaryArray], *, preserve_case: bool
    ) -> None:
        super().__init__(prf, column)
        self._compose = compose
        self._preserve_case = preserve_case

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        made = self._compose(self.tags(values))
        if self._room is not None:
            cut = pc.binary_slice(made, 0, self._room).view(pa.string())
            made = pc.ascii_rtrim(cut, " ").view(pa.binary())
        return recase(made, values) if self._preserve_case else made
