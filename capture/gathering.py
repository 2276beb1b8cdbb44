"""The changes of one table in a window, as they come: some row by row, some many at once; ``Changes`` in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa

from capture.model import (
    UNCHANGED,
    Changes,
    Codes,
    Numbers,
    OldImage,
    Operation,
    Value,
)
from capture.relations import Announced
from capture.tuples import Rows

Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive changes of one table, as in ``Changes``. The columns are the table's copied ones; an old column that
    nobody needs is None. ``patterns`` are what ``unchanged`` refers to."""

    orders: Numbers
    operations: Codes
    old_kinds: Codes
    unchanged: Numbers
    patterns: list[tuple[int, ...]]
    new: list[pa.Array] = field(repr=False)
    old: list[pa.Array | None] = field(repr=False)

    @classmethod
    def of(
        cls, announced: Announced, orders: Numbers, operations: Codes, old_kinds: Codes, new: Rows, old: Rows | None
    ) -> Self:
        """From images that were cut at once, in the columns that arrive."""
        unchanged = np.zeros(len(orders), np.int64)
        patterns: list[tuple[int, ...]] = [()]
        if new.unchanged is not None:
            found, which = np.unique(new.unchanged[:, announced.projection], axis=0, return_inverse=True)
            patterns = [tuple(np.flatnonzero(row).tolist()) for row in found]
            unchanged[operations != Operation.DELETE] = which.reshape(-1)
        return cls(
            orders,
            operations,
            old_kinds,
            unchanged,
            patterns,
            [new.columns[position] for position in announced.projection],
            [None if old is None else old.columns[position] for position in announced.projection],
        )


class Gathered:
    """See the module's contract. ``names`` are the table's copied columns, ``key`` those that identify its rows."""

    def __init__(self, names: tuple[str, ...], key: tuple[str, ...]) -> None:
        self._names = names
        self._key = key
        self._pieces: list[Piece] = []
        self._start_rows()

    def _start_rows(self) -> None:
        self._orders: list[int] = []
        self._operations: list[int] = []
        self._old_kinds: list[int] = []
        self._unchanged: list[int] = []
        self._patterns: dict[tuple[int, ...], int] = {(): 0}
        self._new: list[Row] = []
        self._old: list[Row] = []

    def add(
        self,
        announced: Announced,
        order: int,
        operation: Operation,
        new: Row | None,
        old: Row | None,
        old_kind: OldImage,
    ) -> None:
        """Take one change; its images have the columns that arrive."""
        self._orders.append(order)
        self._operations.append(operation)
        self._old_kinds.append(old_kind)
        pattern: tuple[int, ...] = ()
        if new is not None:
            row = tuple([new[position] for position in announced.projection])
            if UNCHANGED in row:
                pattern = tuple([position for position, value in enumerate(row) if value is UNCHANGED])
            self._new.append(row)
        self._unchanged.append(self._patterns.setdefault(pattern, len(self._patterns)))
        if old is not None:
            self._old.append(tuple([old[position] for position in announced.projection]))

    def add_piece(self, piece: Piece) -> None:
        """Take what follows, cut already."""
        self._end_rows()
        self._pieces.append(piece)

    def _end_rows(self) -> None:
        if not self._orders:
            return
        piece = Piece(
            np.array(self._orders, np.int64),
            np.array(self._operations, np.uint8),
            np.array(self._old_kinds, np.uint8),
            np.array(self._unchanged, np.int64),
            list(self._patterns),
            _columns(self._new, len(self._names)),
            list(_columns(self._old, len(self._names))),
        )
        self._start_rows()
        self._pieces.append(piece)

    def changes(self) -> Changes:
        """All that was taken."""
        self._end_rows()
        operations = np.concatenate([piece.operations for piece in self._pieces])
        old_kinds = np.concatenate([piece.old_kinds for piece in self._pieces])
        unchanged, patterns = _merged_patterns(self._pieces)
        new = [_joined([piece.new[position] for piece in self._pieces]) for position in range(len(self._names))]
        # A key says nothing of the other columns, and what is null there costs as much to mask as what is not.
        kept = self._names if (old_kinds == OldImage.FULL).any() else self._key
        old = [self._old_column(position) for position, name in enumerate(self._names) if name in kept]
        return Changes(
            order=np.concatenate([piece.orders for piece in self._pieces]),
            operations=operations,
            old_kinds=old_kinds,
            unchanged=unchanged,
            patterns=patterns,
            new=_batch(self._names, new, int(np.count_nonzero(operations != Operation.DELETE))),
            old=_batch([name for name in self._names if name in kept], old, int(np.count_nonzero(old_kinds))),
        )

    def _old_column(self, position: int) -> pa.Array:
        columns = []
        for piece in self._pieces:
            column = piece.old[position]
            columns.append(pa.nulls(int(np.count_nonzero(piece.old_kinds)), pa.binary()) if column is None else column)
        return _joined(columns)


def _columns(rows: list[Row], width: int) -> list[pa.Array]:
    """The columns of rows, null where nothing was sent."""
    if not rows:
        return [pa.nulls(0, pa.binary())] * width
    return [
        pa.array([None if value is UNCHANGED else value for value in column], pa.binary())
        for column in zip(*rows, strict=True)
    ]


def _merged_patterns(pieces: Sequence[Piece]) -> tuple[Numbers, tuple[tuple[int, ...], ...]]:
    """The pieces' ``unchanged`` in one numbering, and what it refers to."""
    patterns: dict[tuple[int, ...], int] = {(): 0}
    merged = []
    for piece in pieces:
        numbers = np.array([patterns.setdefault(pattern, len(patterns)) for pattern in piece.patterns], np.int64)
        merged.append(numbers[piece.unchanged])
    return np.concatenate(merged), tuple(patterns)


def _joined(columns: list[pa.Array]) -> pa.Array:
    return columns[0] if len(columns) == 1 else pa.concat_arrays(columns)


def _batch(names: Sequence[str], columns: list[pa.Array], count: int) -> pa.RecordBatch:
    if not columns:
        # Rows without columns are rows.
        return pa.RecordBatch.from_struct_array(pa.array([{}] * count, type=pa.struct([])))
    return pa.RecordBatch.from_arrays(columns, names=list(names))
