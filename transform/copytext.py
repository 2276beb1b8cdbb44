"""COPY text blocks to record batches and back.

A *block* is whole rows of PostgreSQL's COPY text format: values parted by a tab, each row ended by a newline, ``\\N``
for NULL. COPY escapes tab, newline, carriage return and backslash inside values, so a block can be cut at raw tabs and
newlines without looking at escapes. ``split`` and ``join`` therefore leave values *escaped*: a column that is kept
passes through as it came. Only a column that a mask looks at goes through ``unescape`` and ``escape``.

All columns are ``pa.binary()``; NULL is Arrow's null. No function here does a Python step for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from capture.model import ServerFailed
from transform.cmac import Bytes, binary_buffers

_PARSE: Final = csv.ParseOptions(
    delimiter="\t",
    quote_char=False,
    double_quote=False,
    escape_char=False,
    newlines_in_values=False,
    ignore_empty_lines=False,  # an empty line is the empty string of a table with one column
)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MOST_BYTES: Final = 2**31 - 1  # what int32 offsets can address
# Made once: to turn bytes into a scalar takes longer than to join a small batch.
_NOTHING: Final = pa.scalar(b"")
_TAB: Final = pa.scalar(b"\t")
_NEWLINE: Final = pa.scalar(b"\n")
_REPLACE_NULL: Final = pc.JoinOptions(null_handling="replace", null_replacement="\\N")

_BACKSLASH: Final = ord("\\")
# What follows the backslash of an escaped byte, by that byte; and back. Every byte not listed stands for itself.
_LETTERS: Final = np.arange(256, dtype=np.uint8)
_LETTERS[list(b"\b\t\n\v\f\r")] = list(b"btnvfr")
_MEANINGS: Final = np.arange(256, dtype=np.uint8)
_MEANINGS[list(b"btnvfr")] = list(b"\b\t\n\v\f\r")


def split(block: bytes | memoryview | pa.Buffer, columns: Sequence[str]) -> pa.RecordBatch:
    """Cut a block of at most 2 GiB into one batch of escaped columns.

    Raises ``ServerFailed`` if a row does not have as many values as there are ``columns``.
    """
    buffer = pa.py_buffer(block)
    size = buffer.size
    if not columns:
        return _rows_without_columns(int(np.count_nonzero(np.frombuffer(buffer, dtype=np.uint8) == ord("\n"))))
    schema, convert = _options(tuple(columns))
    if size == 0:
        return pa.RecordBatch.from_arrays([pa.array([], pa.binary()) for _ in columns], schema=schema)
    if buffer[:3].to_pybytes() == _BYTE_ORDER_MARK:
        # The reader drops a mark at the start of its input; here it is data. Give it one to drop.
        buffer = pa.py_buffer(_BYTE_ORDER_MARK + buffer.to_pybytes())
    read = csv.ReadOptions(column_names=list(columns), block_size=buffer.size, use_threads=False)
    try:
        batches = csv.read_csv(pa.BufferReader(buffer), read, _PARSE, convert).combine_chunks().to_batches()
    except pa.ArrowInvalid:
        batches = []  # raised below, outside this block: the reader's message quotes the row
    # The reader takes an empty line for a row of empty values, so it also counts whether all bytes are accounted for.
    if len(batches) != 1 or _joined_bytes(batches[0]) != size:
        raise ServerFailed(
            f"a block of COPY text could not be cut into rows of {len(columns)} values.",
            hint="The table may have changed while it was read; run the command again.",
        )
    return batches[0]


@lru_cache(maxsize=1024)
def _options(columns: tuple[str, ...]) -> tuple[pa.Schema, csv.ConvertOptions]:
    schema = pa.schema([(name, pa.binary()) for name in columns])
    return schema, csv.ConvertOptions(
        check_utf8=False, column_types=schema, null_values=["\\N"], strings_can_be_null=True
    )


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


def _joined_bytes(batch: pa.RecordBatch) -> int:
    """The size of the block that the batch joins to."""
    size: int = batch.num_rows * batch.num_columns
    for column in batch.columns:
        offsets, _ = binary_buffers(column)
        size += int(offsets[-1]) - int(offsets[0]) + 2 * column.null_count
    return size


def escape(values: pa.BinaryArray) -> pa.BinaryArray:
    """Escape as COPY TO does: backslash, and the control characters that have a letter."""
    offsets, data = _used_buffers(values)
    # The six control characters are neighbours, 8 to 13; uint8 wraps below.
    special = np.flatnonzero(((data - np.uint8(8)) < 6) | (data == _BACKSLASH))
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


def _used_buffers(values: pa.BinaryArray) -> tuple[npt.NDArray[np.int64], Bytes]:
    """Offsets from zero and just the data between them: what a slice of a larger array uses."""
    offsets, data = binary_buffers(values)
    return (offsets - offsets[0]).astype(np.int64), data[int(offsets[0]) : int(offsets[-1])]


def _rebuild(offsets: npt.NDArray[np.int64], data: Bytes, like: pa.BinaryArray) -> pa.BinaryArray:
    """A binary array of these buffers that is null where ``like`` is."""
    valid = like.is_valid().buffers()[1] if like.null_count else None
    buffers = [valid, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(like), buffers)
