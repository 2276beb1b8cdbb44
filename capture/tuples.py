"""Cuts the rows of many pgoutput messages at once: a few NumPy passes a column instead of Python a value.

It takes only what is regular. Whatever is not raises ``Irregular`` before anything is built, and is decoded message by
message (``capture.pgoutput``), which says what is wrong, or finds that all is well.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capture.model import Codes, Numbers

_NULL: Final = ord("n")
_UNCHANGED: Final = ord("u")
_TEXT: Final = ord("t")

# Offsets into a block are 32 bits wide.
_LONGEST_BLOCK: Final = 2**31 - 1


class Irregular(Exception):
    """The messages are not all of the shape that can be cut at once."""


class Fields:
    """Reads big-endian numbers of a block at many places; a place may lie up to the end of the block's data."""

    def __init__(self, data: bytes) -> None:
        """``data`` ends with at least 8 bytes of padding."""
        if len(data) > _LONGEST_BLOCK:
            raise Irregular
        self.data = data
        self.bytes: Codes = np.frombuffer(data, np.uint8)
        # Every place is the start of a number: overlapping, unaligned views cost nothing.
        self._words = np.ndarray((len(data) - 3,), np.uint32, data, strides=(1,))
        self._longs = np.ndarray((len(data) - 7,), np.int64, data, strides=(1,))

    def uint16(self, at: Numbers) -> Numbers:
        """Two bytes at each place."""
        return self.bytes[at].astype(np.int64) << 8 | self.bytes[at + 1]

    def uint32(self, at: Numbers) -> Numbers:
        """Four bytes at each place."""
        return self._words[at].byteswap().astype(np.int64)

    def int64(self, at: Numbers) -> Numbers:
        """Eight bytes at each place."""
        return self._longs[at].byteswap()


@dataclass(frozen=True, slots=True)
class Rows:
    """Images of rows: a binary column for each that was wanted, None for the others; null for NULL and for what was not
    sent. ``unchanged`` (rows, columns) tells what was not sent, or is None if all was. ``ends`` are the places after
    each image."""

    columns: list[pa.BinaryArray | None] = field(repr=False)
    unchanged: npt.NDArray[np.bool_] | None
    ends: Numbers


def cut_rows(fields: Fields, at: Numbers, limits: Numbers, width: int, wanted: Collection[int] | None = None) -> Rows:
    """Cut the images that begin ``at`` ascending places and end at or before ``limits``, of ``width`` columns each.

    ``wanted`` are the columns to build, all if None. Raises ``Irregular``.
    """
    if (fields.uint16(at) != width).any():
        raise Irregular
    edges: list[tuple[Numbers, Numbers, npt.NDArray[np.bool_] | None]] = []
    unchanged: npt.NDArray[np.bool_] | None = None
    position = at + 2
    try:
        for column in range(width):
            kinds = fields.bytes[position]
            is_text = kinds == _TEXT
            if is_text.all():
                start = position + 5
                end = start + fields.uint32(position + 1)
                edges.append((start, end, None))
            else:
                is_unchanged = kinds == _UNCHANGED
                if not (is_text | is_unchanged | (kinds == _NULL)).all():
                    raise Irregular
                if is_unchanged.any():
                    if unchanged is None:
                        unchanged = np.zeros((len(at), width), np.bool_)
                    unchanged[:, column] = is_unchanged
                start = position + np.where(is_text, 5, 1)
                end = start + np.where(is_text, fields.uint32(position + 1), 0)
                edges.append((start, end, ~is_text))
            position = end
    except IndexError:
        raise Irregular from None
    # Places only grow, so a value that runs out of its message is seen here, whatever was read after it.
    if (position > limits).any():
        raise Irregular
    buffer = pa.py_buffer(fields.data)
    columns = [
        _gather(buffer, *edge) if wanted is None or column in wanted else None for column, edge in enumerate(edges)
    ]
    return Rows(columns, unchanged, position)


def _gather(buffer: pa.Buffer, starts: Numbers, ends: Numbers, absent: npt.NDArray[np.bool_] | None) -> pa.BinaryArray:
    """The values between starts and ends, as an array of their own.

    The whole block is looked at as one array in which values and what lies between them take turns.
    """
    if not len(starts):
        return pa.array([], pa.binary())
    offsets = np.empty(2 * len(starts), np.int32)
    offsets[0::2] = starts
    offsets[1::2] = ends
    turns = pa.BinaryArray.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), buffer])
    return turns.take(pa.array(np.arange(0, len(offsets), 2), mask=absent))
