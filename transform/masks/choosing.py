"""Building blocks of masks that make new text from a tag: pick words, draw characters, fit the column.

A *lane* is one of the four 32-bit numbers of a tag (n,) as ``uint32``. Everything here is vectorised over a column.
A call into NumPy or Arrow costs microseconds however few the values, and the stream's batches may be small, so what
can be made once (lists, their sizes, scalars) is, and the calls for a batch are few.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cache, partial
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import Column
from transform.cmac import Bytes, Prf, binary_buffers
from transform.masks.base import Mask

Lane = npt.NDArray[np.uint32]

# For each value, the number of the variant that is meant; None where there is but one.
Which: TypeAlias = npt.NDArray[np.int64] | None

# The limit of the type ``name`` in bytes, of which a character may take several.
_NAME_LENGTH: Final = 63

# Up to so many words, to fetch one at a time costs less than the calls that fetch them all.
_FEW: Final = 16

# Crockford's base 32: without i, l, o and u, so that nothing is misread and few words come about.
_BASE32: Final = b"0123456789abcdefghjkmnpqrstvwxyz" * 8


def room(column: Column) -> int | None:
    """How many characters fit into a text column (bytes, for the type ``name``); None if there is no limit."""
    if column.base_type != "name":
        return column.max_length
    return _NAME_LENGTH if column.max_length is None else min(column.max_length, _NAME_LENGTH)


# ---------------------------------------------------------------------------------------- from tags to pieces


def lanes(tags: Bytes) -> tuple[Lane, Lane, Lane, Lane]:
    """The four lanes of an (n, 16) matrix of tags."""
    numbers = np.ascontiguousarray(tags).view("<u4")
    return numbers[:, 0], numbers[:, 1], numbers[:, 2], numbers[:, 3]


def below(lane: Lane, size: int) -> npt.NDArray[np.int64]:
    """A number in [0, size) for each of the lane; ``size`` is far below 2**32."""
    return (lane.astype(np.uint64) * np.uint64(size) >> np.uint64(32)).view(np.int64)


# Words and the lane that picks one of them, for each part of a text.
Lists: TypeAlias = tuple[tuple[pa.BinaryArray, int], ...]
_NO_WORDS: Final = pa.array([b""], type=pa.binary())


class Phrases:
    """Texts of a few words: each list gives one, picked by a lane, and they stand one after the other.

    ``lists`` are pairs of words and the lane's number; ``variants`` are other such texts, of another locale, say.
    ``longest`` is the most bytes that a text can have. Masks of many columns share one object, which travels to a
    worker once: what makes one is cached.
    """

    def __init__(self, *lists: tuple[pa.BinaryArray, int], variants: Sequence[Lists] = ()) -> None:
        every = [lists, *variants]
        # All variants have as many lists, so that one ``take`` writes the words of all texts next to each other.
        count = max(map(len, every))
        every = [(*own, *[(_NO_WORDS, 0)] * (count - len(own))) for own in every]
        self._words = pa.concat_arrays([words for own in every for words, _ in own])
        self._lanes = np.array([[lane for _, lane in own] for own in every])
        sizes = np.array([[len(words) for words, _ in own] for own in every])
        self._sizes = sizes.astype(np.uint64)
        self._starts = (np.cumsum(sizes) - sizes.reshape(-1)).reshape(sizes.shape).astype(np.uint64)
        self.longest: int = max(sum(pc.max(pc.binary_length(words)).as_py() for words, _ in own) for own in every)

    def __len__(self) -> int:
        """How many lists there are."""
        return int(self._lanes.shape[1])

    def write(self, tags: Bytes, which: Which = None) -> pa.BinaryArray:
        """The text of each tag, in the variant that ``which`` says, or in the first."""
        numbers = tags.view("<u4")
        if which is None:
            numbers, sizes, starts = numbers.take(self._lanes[0], axis=1), self._sizes[0], self._starts[0]
        else:
            numbers = np.take_along_axis(numbers, self._lanes[which], axis=1)
            sizes, starts = self._sizes[which], self._starts[which]
        picked = (numbers.astype(np.uint64) * sizes >> np.uint64(32)) + starts
        if picked.size <= _FEW:
            texts = [b"".join([self._words[place].as_py() for place in row]) for row in picked.tolist()]
            return pa.array(texts, type=pa.binary())
        words = self._words.take(pa.array(picked.reshape(-1)))
        if len(self) == 1:
            return words
        # A text is its words without what parts them: of their offsets, those that begin a text are its own.
        _, offsets, data = words.buffers()
        starts = np.frombuffer(offsets, dtype=np.int32)[: len(words) + 1 : len(self)].copy()
        return pa.Array.from_buffers(pa.binary(), len(tags), [None, pa.py_buffer(starts), data])


def base32(tags: Bytes, length: int) -> Bytes:
    """``length`` (at most 16) characters with 5 bits of the tag each, as a matrix."""
    return np.frombuffer(tags.tobytes().translate(_BASE32), dtype=np.uint8).reshape(-1, 16)[:, :length]


def hexadecimal(tags: Bytes, length: int) -> Bytes:
    """``length`` (at most 32) characters with 4 bits of the tag each, as a matrix."""
    return np.frombuffer(tags.tobytes().hex().encode(), dtype=np.uint8).reshape(-1, 32)[:, :length]


def fixed_width(characters: Bytes) -> pa.BinaryArray:
    """The rows of an (n, width) matrix as values."""
    count, width = characters.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32) if width else np.zeros(count + 1, dtype=np.int32)
    return pa.BinaryArray.from_buffers(
        pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(characters))]
    )


# Arrow guesses the type of a Python value, which takes it longer than masking ten; so scalars are made once, typed.
scalar = cache(partial(pa.scalar, type=pa.binary()))


def join(*pieces: pa.BinaryArray | bytes) -> pa.BinaryArray:
    """The pieces one after the other, value by value."""
    typed = (scalar(piece) if isinstance(piece, bytes) else piece for piece in pieces)
    return pc.binary_join_element_wise(*typed, scalar(b""))


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
    running = np.zeros(len(flags) + 1, dtype=np.int64)
    np.cumsum(flags.astype(np.int64), out=running[1:])  # flags as they are take ten times as long
    counts: npt.NDArray[np.int64] = running[offsets[1:]] - running[offsets[:-1]]
    return counts


def recase(masked: pa.BinaryArray, original: pa.BinaryArray) -> pa.BinaryArray:
    """``masked`` (UTF-8) in capitals where the original has capitals only, in small letters where it has only those,
    and as it is elsewhere. Of an original that is not ASCII, all letters count that have a case."""
    offsets, data = binary_buffers(original)
    within = data[offsets[0] : offsets[-1]]
    starts = (offsets - offsets[0]).astype(np.int64)
    capitals = per_value((within >= ord("A")) & (within <= ord("Z")), starts)
    small = per_value((within >= ord("a")) & (within <= ord("z")), starts)
    upper, lower = (capitals > 0) & (small == 0), (small > 0) & (capitals == 0)
    beyond = np.flatnonzero(per_value(within >= 0x80, starts)) if (within >= 0x80).any() else ()
    for row in beyond:
        text = original[row].as_py()
        if text is not None:
            letters = text.decode(errors="replace")
            upper[row], lower[row] = letters.isupper(), letters.islower()
    text = masked.view(pa.string())
    if upper.any():
        # Arrow knows a capital ß, which hardly any encoding has.
        text = pc.if_else(pa.array(upper), pc.replace_substring(pc.utf8_upper(text), "\u1e9e", "SS"), text)
    if lower.any():
        text = pc.if_else(pa.array(lower), pc.utf8_lower(text), text)
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
    """A mask that makes new text (UTF-8): NULL stays NULL and an empty value stays empty, since neither says anything
    of anyone. The blanks that pad char(n) are no part of a value; the plan takes them off and puts them back."""

    def __init__(self, prf: Prf, column: Column) -> None:
        self._prf = prf
        self._room = room(column)
        self._counts_bytes = column.base_type == "name"
        self._folded = column.base_type == "citext"

    @abstractmethod
    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        """New text for each value, which fits the column. What it gives for NULL and for an empty value is not
        looked at."""

    def tags(self, values: pa.BinaryArray) -> Bytes:
        """The values' tags; for citext, those of the values in lower case."""
        return self._prf.tags(fold_case(values) if self._folded else values)

    def fit(self, made: pa.BinaryArray, longest: int) -> pa.BinaryArray:
        """The texts, none over ``longest`` bytes, cut to what the column holds; no blank is left at a cut."""
        if self._room is None or self._room >= longest:
            return made
        if not self._counts_bytes:
            cut = pc.utf8_slice_codeunits(made.view(pa.string()), 0, self._room)
            return pc.ascii_rtrim(cut, " ").view(pa.binary())
        # A character that the cut would part goes as a whole.
        texts = (text if text is None else text[: self._room].decode(errors="ignore") for text in made.to_pylist())
        return pa.array([text if text is None else text.rstrip(" ").encode() for text in texts], type=pa.binary())

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return self.filled(values, self.make(values))

    def filled(self, values: pa.BinaryArray, made: pa.BinaryArray) -> pa.BinaryArray:
        """What was made, but for the values that stay as they are."""
        offsets, _ = binary_buffers(values)
        lengths = offsets[1:] - offsets[:-1]
        if not values.null_count and lengths.all():
            return made
        nulls = values.is_null().to_numpy(zero_copy_only=False)
        # A condition that is NULL gives NULL.
        return pc.if_else(pa.array(lengths > 0, mask=nulls), made, scalar(b""))
