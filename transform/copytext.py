"""COPY text blocks to columns and back.

A *block* is whole rows of PostgreSQL's COPY text format: values parted by a tab, each row ended by a newline, ``\\N``
for NULL. COPY escapes tab, newline, carriage return and backslash inside values, so a block can be cut at raw tabs and
newlines without looking at escapes. ``Cut``, ``split`` and ``join`` therefore leave values *escaped*: what is kept
passes through as it came. Only a column that a mask looks at goes through ``unescape`` and ``escape``.

All columns are ``pa.binary()``; NULL is Arrow's null. No function here does a Python step for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import ServerFailed
from transform.cmac import Bytes, binary_buffers

Flags: TypeAlias = npt.NDArray[np.bool_]

_MOST_BYTES: Final = 2**31 - 1  # what int32 offsets can address
# Made once: to turn bytes into a scalar takes longer than to join a small batch.
_NOTHING: Final = pa.scalar(b"")
_TAB: Final = pa.scalar(b"\t")
_NEWLINE: Final = pa.scalar(b"\n")
_REPLACE_NULL: Final = pc.JoinOptions(null_handling="replace", null_replacement="\\N")
_NULL: Final = pa.array([b"\\N"], pa.binary())

_BACKSLASH: Final = ord("\\")
# Of the control characters those from 8 to 13 are escaped, so that values hold no tab (9) and no newline (10).
_FIRST_ESCAPED, _LAST_ESCAPED = 8, 13
# What follows the backslash of an escaped byte, by that byte; and back. Every byte not listed stands for itself.
_LETTERS: Final = np.arange(256, dtype=np.uint8)
_LETTERS[list(b"\b\t\n\v\f\r")] = list(b"btnvfr")
_MEANINGS: Final = np.arange(256, dtype=np.uint8)
_MEANINGS[list(b"btnvfr")] = list(b"\b\t\n\v\f\r")


class Cut:
    """A block of at most 2 GiB with some columns cut out of it: ``batch`` holds them, escaped.

    The block is looked at as one array of runs, in which what is kept and what is cut out take turns, so the columns
    that are kept are never taken apart. ``names`` are those of all columns of the block, ``wanted`` of those to cut
    out. Raises ``ServerFailed`` if a row does not have as many values as there are ``names``.
    """

    def __init__(self, block: bytes | memoryview | pa.Buffer, names: Sequence[str], wanted: Sequence[str]) -> None:
        buffer = pa.py_buffer(block)
        data = np.frombuffer(buffer, dtype=np.uint8)
        ends = _value_ends(data, len(names))
        starts = np.concatenate((np.zeros(1, np.int32), ends + np.int32(1)))[:-1]
        place_of = {name: place for place, name in enumerate(names)}
        places = sorted(place_of[name] for name in wanted)
        edges = np.empty((len(ends) // len(names), len(places), 2), dtype=np.int32)
        edges[:, :, 0] = starts.reshape(-1, len(names))[:, places]
        edges[:, :, 1] = ends.reshape(-1, len(names))[:, places]
        self._shape = edges.shape
        offsets = np.concatenate((np.zeros(1, np.int32), edges.reshape(-1), np.array([data.size], np.int32)))
        self._runs = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), buffer])
        columns = [self._column(data, edges, turn) for turn in range(len(places))]
        self.batch: pa.RecordBatch = pa.RecordBatch.from_arrays(columns, names=[names[place] for place in places])

    def _column(self, data: Bytes, edges: npt.NDArray[np.int32], turn: int) -> pa.BinaryArray:
        starts, ends = edges[:, turn, 0], edges[:, turn, 1]
        # Nothing else begins with a backslash and an N: such a value has both escaped.
        short = np.flatnonzero(ends - starts == 2)
        nulls = short[(data[starts[short]] == _BACKSLASH) & (data[starts[short] + 1] == ord("N"))]
        absent = None
        if nulls.size:
            absent = np.zeros(len(edges), dtype=np.bool_)
            absent[nulls] = True
        turns = np.arange(2 * turn + 1, len(self._runs) - 1, 2 * edges.shape[1], dtype=np.int32)
        return self._runs.take(pa.array(turns, mask=absent))

    def filled(self, columns: Sequence[pa.BinaryArray]) -> pa.Buffer:
        """The block with other columns, escaped, in place of those of ``batch``."""
        # All that the new block is made of lies in one array, and is taken from there in the order of the block.
        sizes = [len(self._runs), *map(len, columns)]
        *first, null = np.cumsum(sizes, dtype=np.int32).tolist()
        order = np.empty(self._shape, dtype=np.int32)
        order[:, :, 0] = np.arange(0, len(self._runs) - 1, 2, dtype=np.int32).reshape(self._shape[:2])
        for turn, (start, column) in enumerate(zip(first, columns, strict=True)):
            order[:, turn, 1] = np.arange(start, start + len(column), dtype=np.int32)
            if column.null_count:
                order[column.is_null().to_numpy(zero_copy_only=False), turn, 1] = null
        pieces = [self._runs, *columns, _NULL]
        is_large = sum(piece.nbytes for piece in pieces) > _MOST_BYTES
        if is_large:
            pieces = [piece.cast(pa.large_binary()) for piece in pieces]
        last = np.array([len(self._runs) - 1], np.int32)
        made = pa.concat_arrays(pieces).take(pa.array(np.concatenate((order.reshape(-1), last))))
        size = np.frombuffer(made.buffers()[1], np.int64 if is_large else np.int32)[len(made)]
        return made.buffers()[2].slice(0, int(size))


def _value_ends(data: Bytes, width: int) -> npt.NDArray[np.int32]:
    """Where each value of each row ends. Raises ``ServerFailed``."""
    is_end = data - np.uint8(ord("\t"))
    np.less(is_end, 2, out=is_end.view(np.bool_))  # the newline is next to the tab; what lies below wraps
    ends = np.flatnonzero(is_end.view(np.bool_)).astype(np.int32)
    rows, rest = divmod(ends.size, width)
    newlines = data[ends] == ord("\n")
    is_whole = data.size == (int(ends[-1]) + 1 if rows else 0)
    if rest or not is_whole or np.count_nonzero(newlines) != rows or not newlines[width - 1 :: width].all():
        raise ServerFailed(
            f"a block of COPY text could not be cut into rows of {width} values.",
            hint="The table may have changed while it was read; run the command again.",
        )
    return ends


def split(block: bytes | memoryview | pa.Buffer, columns: Sequence[str]) -> pa.RecordBatch:
    """Cut a block of at most 2 GiB into one batch of escaped columns.

    Raises ``ServerFailed`` if a row does not have as many values as there are ``columns``.
    """
    if not columns:
        newlines = np.frombuffer(pa.py_buffer(block), dtype=np.uint8) == ord("\n")
        return _rows_without_columns(int(np.count_nonzero(newlines)))
    return Cut(block, columns, columns).batch


def keep_rows(block: bytes | memoryview | pa.Buffer, flags: Flags) -> bytes | pa.Buffer:
    """The block without the rows (n) whose flag is not set."""
    if flags.all():
        return block if isinstance(block, bytes) else pa.py_buffer(block)
    buffer = pa.py_buffer(block)
    ends = np.flatnonzero(np.frombuffer(buffer, dtype=np.uint8) == ord("\n")) + 1
    offsets = np.concatenate((np.zeros(1, np.int32), ends.astype(np.int32)))
    rows = pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), buffer])
    kept = rows.filter(pa.array(flags))
    starts, _ = binary_buffers(kept)
    return kept.buffers()[2].slice(int(starts[0]), int(starts[-1] - starts[0])) if len(kept) else b""


def _rows_without_columns(count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))


def join(batch: pa.RecordBatch) -> pa.Buffer:
    """The block that ``batch`` came from: escaped columns as rows of COPY text."""
    if not batch.num_columns:
        return pa.py_buffer(b"\n" * batch.num_rows)
    if not batch.num_rows:
        return pa.py_buffer(b"")
    # An upper bound: four bytes of offset for each value are more than a separator and the two of \N.
    if batch.num_rows > 1 and batch.nbytes > _MOST_BYTES:
        half = batch.num_rows // 2
        return pa.py_buffer(b"".join((join(batch.slice(0, half)), join(batch.slice(half)))))
    *first, last = batch.columns
    # The row's newline goes to the end of its last value: a join of that value with nothing.
    ends = pc.binary_join_element_wise(last, _NOTHING, _NEWLINE, options=_REPLACE_NULL)
    rows = pc.binary_join_element_wise(*first, ends, _TAB, options=_REPLACE_NULL)
    offsets, _ = binary_buffers(rows)
    return rows.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0]))


def escape(values: pa.BinaryArray) -> pa.BinaryArray:
    """Escape as COPY TO does: backslash, and the control characters that have a letter."""
    offsets, data = _used_buffers(values)
    if not data.size or (data.min() > _LAST_ESCAPED and not (data == _BACKSLASH).any()):
        return values
    # uint8 wraps below.
    escaped = (data - np.uint8(_FIRST_ESCAPED)) <= _LAST_ESCAPED - _FIRST_ESCAPED
    special = np.flatnonzero(escaped | (data == _BACKSLASH))
    if not special.size:
        return values
    letters = data.copy()
    letters[special] = _LETTERS[data[special]]
    return _rebuild(
        offsets + np.searchsorted(special, offsets), np.insert(letters, special, np.uint8(_BACKSLASH)), values
    )


def unescape(values: pa.BinaryArray) -> pa.BinaryArray:
    """Undo ``escape``. A backslash before any other character stands for that character."""
    offsets, data = _used_buffers(values)
    backslashes = np.flatnonzero(data == _BACKSLASH)
    if not backslashes.size:
        return values
    # In a run of backslashes every other one, from the first, starts an escape. Runs of neighbouring values may
    # touch, but a value never ends inside an escape, so the count stays even.
    order = np.arange(backslashes.size)
    starts_run = np.diff(backslashes, prepend=-2) != 1
    in_run = order - np.maximum.accumulate(np.where(starts_run, order, 0))
    starts = backslashes[in_run % 2 == 0]
    meant = starts + 1
    letters = data.copy()
    letters[meant] = _MEANINGS[data[meant]]
    return _rebuild(offsets - np.searchsorted(starts, offsets), np.delete(letters, starts), values)


def _used_buffers(values: pa.BinaryArray) -> tuple[npt.NDArray[np.int32], Bytes]:
    """Offsets from zero and just the data between them: what a slice of a larger array uses."""
    offsets, data = binary_buffers(values)
    return offsets - offsets[0], data[offsets[0] : offsets[-1]]


def _rebuild(offsets: npt.NDArray[np.int64], data: Bytes, like: pa.BinaryArray) -> pa.BinaryArray:
    """A binary array of these buffers that is null where ``like`` is."""
    valid = like.is_valid().buffers()[1] if like.null_count else None
    buffers = [valid, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(like), buffers)
