"""Applying masked windows to a copy: whole source transactions, in commit order, exactly once.

Many source transactions share one target transaction; none is split. Where many changes come, those of different rows
go at once (``sink.levels``): inserts by COPY, the rest by statements over arrays; few go by pipelined prepared
statements. An update or delete that does not find its row stops the stream: nothing is dropped
silently. Durability is told apart from acceptance: commits are asynchronous, and ``durable_lsn`` follows when the
target's own WAL is flushed; only that may be acknowledged to production.

    closed ──begin──▶ open ──apply──▶ open ──commit──▶ closed
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from capture.model import (
    Changes,
    Interrupted,
    Lsn,
    Numbers,
    OldImage,
    Operation,
    ServerFailed,
    TableName,
    Window,
)
from sink import statements
from sink.arrays import text_array
from sink.hold import ENTER_GATE, READ_HOLD, Held
from sink.levels import FEW, Step, steps
from sink.load import copy_in
from sink.pipeline import Pipeline, RowsMissed
from sink.sequences import SequenceMarks
from sink.statements import TableShape
from sink.target import Connection, fetch
from transform import copytext

# From so many rows on, COPY is worth the round trips that it takes.
_COPY_ROWS: Final = 500
_BLOCK_ROWS: Final = 4000

# A commit that is not known to be durable after so long is made so. Every commit tells what is flushed; beside that it
# is asked no more often than this.
_DURABLE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.05

# Typed, or Arrow would guess their types at every call.
_NO_KEY: Final = pa.scalar(-1, pa.int32())
_NUL: Final = pa.scalar(b"\0", pa.binary())

_PROGRESS: Final = "move of tezcat.progress"
_ADVANCE: Final = """UPDATE tezcat.progress SET applied_lsn = $1, source_time = $2::timestamptz, updated_at = now()
 WHERE applied_lsn = $3 AND runner = $4"""


_Row: TypeAlias = tuple[bytes | None, ...]


class _Change(NamedTuple):
    """One change as rows of values, in the table's columns; ``before`` is null in the columns that did not come."""

    operation: Operation
    before: _Row | None
    old_kind: int
    after: _Row | None
    unchanged: tuple[int, ...]

    def __repr__(self) -> str:
        return f"_Change({self.operation})"


class _Part:
    """Masked changes of one table, and how to get at them."""

    def __init__(self, shape: TableShape, changes: Changes) -> None:
        self.shape = shape
        self.changes = changes
        has_new = changes.operations != Operation.DELETE
        has_old = changes.old_kinds != OldImage.NONE
        # Where in ``new`` and ``old`` the images of each change are.
        self._new_at = np.where(has_new, np.cumsum(has_new) - 1, -1)
        self._old_at = np.where(has_old, np.cumsum(has_old) - 1, -1)

    def steps(self) -> list[Step]:
        """How the changes may be applied."""
        operations = self.changes.operations
        count = len(operations)
        if not operations.any() and count >= FEW:
            # Inserts alone need no key.
            return [Step(Operation.INSERT, np.arange(count))]
        if not self.shape.takes_many or count < FEW:
            return [Step(None, np.arange(count))]
        keys = [_joined(batch, self.shape) for batch in (self.changes.new, self.changes.old)]
        codes = pa.concat_arrays(keys).dictionary_encode().indices.fill_null(_NO_KEY).to_numpy()
        new_codes = codes[self._new_at]
        has_old = self._old_at >= 0
        old_codes = codes[np.where(has_old, len(keys[0]) + self._old_at, self._new_at)]
        moves = has_old & (operations == Operation.UPDATE) & (old_codes != new_codes)
        return steps(operations, np.where(has_old, old_codes, new_codes), moves)

    def new_rows(self, places: Numbers) -> pa.RecordBatch:
        """The new images of these changes."""
        return _rows(self.changes.new, self._new_at[places])

    def keys(self, places: Numbers) -> list[pa.Array]:
        """The key's columns of these changes' old images."""
        rows = _rows(self.changes.old, self._old_at[places])
        return [rows.column(self.shape.columns[position]) for position in self.shape.key]

    def by_pattern(self, places: Numbers) -> Iterator[tuple[tuple[int, ...], Numbers]]:
        """The changes that have the same columns unchanged, and those columns."""
        which = self.changes.unchanged[places]
        for number in np.unique(which).tolist():
            yield self.changes.patterns[number], places[which == number]

    def set_positions(self, pattern: tuple[int, ...]) -> tuple[int, ...]:
        """What an update of a row that keeps its key sets."""
        kept = {*pattern, *self.shape.key}
        return tuple(position for position in range(len(self.shape.columns)) if position not in kept)

    def in_rows(self, places: Numbers) -> Iterator[_Change]:
        """These changes, row by row."""
        changes, names = self.changes, self.shape.columns
        new_at, old_at = self._new_at[places], self._old_at[places]
        after = _tuples(_rows(changes.new, new_at[new_at >= 0]), names)
        before = _tuples(_rows(changes.old, old_at[old_at >= 0]), names)
        for operation, old_kind, unchanged, has_new, has_old in zip(
            changes.operations[places].tolist(),
            changes.old_kinds[places].tolist(),
            changes.unchanged[places].tolist(),
            (new_at >= 0).tolist(),
            (old_at >= 0).tolist(),
            strict=True,
        ):
            yield _Change(
                Operation(operation),
                next(before) if has_old else None,
                old_kind,
                next(after) if has_new else None,
                changes.patterns[unchanged],
            )


def _joined(batch: pa.RecordBatch, shape: TableShape) -> pa.Array:
    """The key of each row as one value; no value of PostgreSQL's holds a NUL."""
    if not batch.num_rows:
        return pa.array([], pa.binary())
    columns = [batch.column(shape.columns[position]) for position in shape.key]
    return columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, _NUL)


def _rows(batch: pa.RecordBatch, at: Numbers) -> pa.RecordBatch:
    """These rows of a batch, which are ascending; without copying where they follow each other."""
    if len(at) and at[-1] - at[0] + 1 == len(at):
        return batch.slice(int(at[0]), len(at))
    return batch.take(pa.array(at))


def _tuples(rows: pa.RecordBatch, names: Sequence[str]) -> Iterator[_Row]:
    """Rows of values in the order of ``names``; null where the batch lacks a column."""
    if not names:
        return iter([()] * rows.num_rows)
    held = set(rows.schema.names)
    return zip(
        *(rows.column(name).to_pylist() if name in held else [None] * rows.num_rows for name in names), strict=True
    )


class _Accepted(NamedTuple):
    """A commit that is not yet known to be durable: the target's WAL position, the source's, and when it was."""

    position: Lsn
    end_lsn: Lsn
    at: float


class Applier:
    """Applies to one copy over one connection, which is its alone and in replica mode."""

    def __init__(
        self,
        connection: Connection,
        shapes: Mapping[TableName, TableShape],
        marks: SequenceMarks,
        *,
        applied_lsn: Lsn,
        runner: str,
    ) -> None:
        self._connection = connection
        self._pipeline = Pipeline(connection)
        self._shapes = shapes
        self._marks = marks
        self._runner = runner.encode()
        self.applied_lsn = applied_lsn
        self.durable_lsn = applied_lsn
        self._accepted: deque[_Accepted] = deque()
        self._looked_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether a target transaction is open."""
        return self._connection.info.transaction_status != TransactionStatus.IDLE

    async def begin(self) -> Held | None:
        """Open a target transaction; where somebody holds the copy, what it must not pass."""
        self._pipeline.execute("BEGIN")
        self._pipeline.execute("SET LOCAL synchronous_commit = off")
        self._pipeline.execute(ENTER_GATE)
        self._pipeline.execute(READ_HOLD)
        held = (await self._exchange())[-1]
        if not held.ntuples:
            return None
        return Held(_lsn(held.get_value(0, 0)), (held.get_value(0, 1) or b"").decode())

    async def apply(self, window: Window, start: int, stop: int) -> None:
        """Apply the changes and truncations of a masked window whose places are from ``start`` to before ``stop``.

        What fails may be told only by the ``settle`` or ``commit`` that follows: the last statements go with it.
        Raises ``ServerFailed``, and the transaction is then the caller's to give up.
        """
        for truncation in window.truncations:
            if start <= truncation.order < stop:
                await self._apply_changes(window, start, truncation.order)
                if truncation.is_alone:
                    for table in truncation.tables:
                        self._pipeline.execute(statements.delete_all(table))
                else:
                    self._pipeline.execute(statements.truncate(truncation.tables))
                start = truncation.order + 1
        await self._apply_changes(window, start, stop)

    async def settle(self) -> None:
        """Know that what was applied is applied. Raises ``ServerFailed``."""
        await self._exchange()

    async def _apply_changes(self, window: Window, start: int, stop: int) -> None:
        """Tables have no order among each other: nothing in the copy looks from one to another (replica mode)."""
        parts = {table: changes.between(start, stop) for table, changes in window.changes.items()}
        found = [_Part(self._shapes[table], changes) for table, changes in parts.items() if len(changes)]
        for part in found:
            self._marks.observe(part.shape.table, part.changes.new)
        steps = [(part, part.steps()) for part in found]
        if any(step.operation is not None for _, planned in steps for step in planned):
            if await self._tried_at_once(steps):
                return
            steps = [(part, [Step(None, np.arange(len(part.changes)))]) for part in found]
        for part, planned in steps:
            for step in planned:
                await self._one_by_one(part, step.places)

    async def _tried_at_once(self, steps: list[tuple[_Part, list[Step]]]) -> bool:
        """Apply steps, or nothing if they clash: a unique value may move between rows, which only the changes' own
        order can follow. What is truly wrong fails there again, and is told from there."""
        await self._exchange()
        self._pipeline.execute("SAVEPOINT tezcat_steps")
        try:
            for part, planned in steps:
                for step in planned:
                    if step.operation is None:
                        await self._one_by_one(part, step.places)
                    else:
                        await self._at_once(part, step.operation, step.places)
            # Before the release: that a row was missed is no error to the server.
            await self._pipeline.flush()
        except Interrupted:
            raise
        except (RowsMissed, ServerFailed):
            self._pipeline.clear()
            self._pipeline.execute("ROLLBACK TO SAVEPOINT tezcat_steps")
            await self._exchange()
            return False
        self._pipeline.execute("RELEASE SAVEPOINT tezcat_steps")
        return True

    async def _at_once(self, part: _Part, operation: Operation, places: Numbers) -> None:
        """Changes of different rows, all of one operation."""
        shape, what = part.shape, f"{operation} of {part.shape.table}"
        if operation is Operation.INSERT:
            rows = part.new_rows(places)
            if len(places) >= _COPY_ROWS or not shape.columns or not shape.is_read_as_text:
                await self._pipeline.flush()
                await copy_in(self._connection, shape.table, shape.columns, _blocks(rows))
            else:
                self._send(statements.insert_many(shape), rows.columns, what)
        elif operation is Operation.DELETE:
            self._send(statements.delete_many(shape), part.keys(places), what)
        else:
            # An update without an old image is found by its new key.
            for pattern, same in part.by_pattern(places):
                positions = part.set_positions(pattern)
                if not positions:
                    await self._one_by_one(part, same)
                    continue
                rows = part.new_rows(same)
                columns = [rows.column(position) for position in (*positions, *shape.key)]
                self._send(statements.update_many(shape, positions), columns, what)
        if self._pipeline.is_full:
            await self._pipeline.flush()

    def _send(self, statement: str, columns: Sequence[pa.Array], what: str) -> None:
        arrays = [text_array(column) for column in columns]
        self._pipeline.execute(statement, arrays, is_binary=True, expect=len(columns[0]), what=what)

    async def _one_by_one(self, part: _Part, places: Numbers) -> None:
        for change in part.in_rows(places):
            self._queue(part.shape, change)
            if self._pipeline.is_full:
                await self._exchange()

    def _queue(self, shape: TableShape, change: _Change) -> None:
        what = f"{change.operation} of {shape.table}"
        after = change.after
        if change.operation is Operation.INSERT and after is not None:
            self._pipeline.execute(statements.insert(shape), after, expect=1, what=what)
            return
        before = change.before if change.before is not None else after
        if before is None or not shape.key:
            raise ServerFailed(
                f"the stream brought the {what}, which has no replica identity to find the row by.",
                hint="Give the table a primary key or, where no column is generated, REPLICA IDENTITY FULL in "
                "production, then clone again.",
            )
        key = tuple(before[position] for position in shape.key)
        if change.operation is Operation.DELETE:
            self._pipeline.execute(statements.delete(shape), key, expect=1, what=what)
        elif after is not None:
            positions = tuple(
                position
                for position in range(len(shape.columns))
                if position not in change.unchanged
                # An identity column that may not be set is left alone where it is known that it did not change.
                and not (
                    position in shape.always_identity
                    and after[position] == before[position]
                    and (position in shape.key or change.old_kind == OldImage.FULL)
                )
                # The key is the row's address; setting it to itself would touch its indexes for nothing.
                and not (position in shape.key and shape.key_is_unique and before is after)
            )
            if not positions:
                statement = statements.find(shape)
            elif any(position in shape.always_identity for position in positions):
                statement = statements.replace(shape, positions)
            else:
                statement = statements.update(shape, positions)
            values = tuple(after[position] for position in positions)
            self._pipeline.execute(statement, values + key, expect=1, what=what)

    async def _exchange(self) -> list[PGresult]:
        try:
            return await self._pipeline.flush()
        except RowsMissed as missed:
            if missed.what == _PROGRESS:
                raise ServerFailed(
                    "another runner has taken this copy over; this one stops and has applied nothing more.",
                    hint="Run one stream for a target.",
                ) from None
            raise ServerFailed(
                f"the {missed.what} touched {missed.touched} rows of the copy instead of {missed.expected}: "
                "the copy is no longer what production was.",
                hint="Something else writes to the copy, or it was changed by hand; clone again.",
            ) from None

    async def commit(self, end_lsn: Lsn, source_time: datetime) -> None:
        """Move the progress and commit, all or nothing. Raises ``ServerFailed`` when another runner took over."""
        for statement, parameters in self._marks.statements():
            self._pipeline.execute(statement, parameters)
        self._pipeline.execute(
            _ADVANCE,
            (
                str(end_lsn).encode(),
                source_time.isoformat().encode(),
                str(self.applied_lsn).encode(),
                self._runner,
            ),
            expect=1,
            what=_PROGRESS,
        )
        await self._exchange()
        self._pipeline.execute("COMMIT")
        self._pipeline.execute("SELECT pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn()")
        positions = (await self._exchange())[-1]
        self.applied_lsn = end_lsn
        self._accepted.append(_Accepted(_lsn(positions.get_value(0, 0)), end_lsn, time.monotonic()))
        self._flushed(_lsn(positions.get_value(0, 1)))

    async def rollback(self) -> None:
        """Give up the open target transaction."""
        self._pipeline.execute("ROLLBACK")
        await self._exchange()

    async def check_durable(self) -> None:
        """Learn how far the target's WAL is flushed; nothing to do when all is durable.

        The position asked for at a commit may lie behind WAL of another session that nothing flushes for long.
        """
        now = time.monotonic()
        if not self._accepted or self.is_open or now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        rows = await fetch(self._connection, "SELECT pg_current_wal_flush_lsn()::text")
        self._flushed(Lsn.parse(rows[0][0]))
        if self._accepted and now - self._accepted[0].at > _DURABLE_SECONDS:
            await self.make_durable()

    async def make_durable(self) -> None:
        """Have the target flush its WAL now: a commit that waits for that takes the earlier ones along."""
        if self._accepted:
            self._pipeline.execute("BEGIN")
            self._pipeline.execute("SET LOCAL synchronous_commit = local")
            self._pipeline.execute("UPDATE tezcat.progress SET updated_at = now()")
            self._pipeline.execute("COMMIT")
            await self._exchange()
            self._accepted.clear()
            self.durable_lsn = self.applied_lsn

    def _flushed(self, position: Lsn) -> None:
        while self._accepted and self._accepted[0].position <= position:
            self.durable_lsn = self._accepted.popleft().end_lsn


async def _blocks(batch: pa.RecordBatch) -> AsyncIterator[pa.Buffer]:
    """Rows as COPY text, made in a thread while the server works on those before."""
    for start in range(0, batch.num_rows, _BLOCK_ROWS):
        yield await asyncio.to_thread(_copy_text, batch.slice(start, _BLOCK_ROWS))


def _copy_text(batch: pa.RecordBatch) -> pa.Buffer:
    if not batch.num_columns:
        return copytext.join(batch)
    escaped = [copytext.escape(column) for column in batch.columns]
    return copytext.join(pa.RecordBatch.from_arrays(escaped, schema=batch.schema))


def _lsn(value: bytes | None) -> Lsn:
    return Lsn.parse((value or b"").decode())
