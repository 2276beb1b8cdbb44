"""Applying masked windows to a copy: whole source transactions, in commit order, exactly once.

Many source transactions share one target transaction; none is split. A run of inserts goes by COPY, the rest by
pipelined prepared statements. An update or delete that does not find its row stops the stream: nothing is dropped
silently. Durability is told apart from acceptance: commits are asynchronous, and ``durable_lsn`` follows when the
target's own WAL is flushed; only that may be acknowledged to production.

    closed ──begin──▶ open ──apply──▶ open ──commit──▶ closed
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import pyarrow as pa
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from capture.model import Lsn, Operation, Run, ServerFailed, TableName, Truncation
from sink import statements
from sink.hold import ENTER_GATE, READ_HOLD
from sink.load import copy_in
from sink.pipeline import Pipeline, RowsMissed
from sink.sequences import SequenceMarks
from sink.statements import TableShape
from sink.target import Connection, fetch
from transform import copytext

# From so many rows on, COPY costs less than as many statements; below, starting it costs more.
_COPY_ROWS: Final = 50

# A commit that is not known to be durable after so long is made so.
_DURABLE_SECONDS: Final = 1.0

_PROGRESS: Final = "move of tezcat.progress"
_ADVANCE: Final = """UPDATE tezcat.progress SET applied_lsn = $1, source_time = $2::timestamptz, updated_at = now()
 WHERE applied_lsn = $3 AND runner = $4"""


@dataclass(slots=True)
class Images:
    """One table's images of a window, as columns (for COPY) and as rows of values (for statements)."""

    batch: pa.RecordBatch = field(repr=False)
    rows: list[tuple[bytes | None, ...]] | None = field(default=None, repr=False)

    def row(self, index: int) -> tuple[bytes | None, ...]:
        if self.rows is None:
            self.rows = list(zip(*(column.to_pylist() for column in self.batch.columns), strict=True))
        return self.rows[index] if self.rows else ()


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

    @property
    def is_open(self) -> bool:
        """Whether a target transaction is open."""
        return self._connection.info.transaction_status != TransactionStatus.IDLE

    async def begin(self) -> Lsn | None:
        """Open a target transaction; where somebody holds the copy, the LSN that it must not pass."""
        self._pipeline.execute("BEGIN")
        self._pipeline.execute("SET LOCAL synchronous_commit = off")
        self._pipeline.execute(ENTER_GATE)
        self._pipeline.execute(READ_HOLD)
        held = (await self._exchange())[-1]
        value = held.get_value(0, 0) if held.ntuples else None
        return Lsn.parse(value.decode()) if value is not None else None

    async def run(self, run: Run, new: Images | None, old: Images | None) -> None:
        """Apply one run of changes."""
        shape = self._shapes[run.table]
        if run.operation is Operation.INSERT and new is not None and run.count >= _COPY_ROWS:
            await self.flush()
            await copy_in(
                self._connection, run.table, shape.columns, _blocks(new.batch.slice(run.new_start, run.count))
            )
            return
        what = f"{run.operation} of {run.table}"
        for offset in range(run.count):
            self._queue(shape, run, new, old, offset, what)
            if self._pipeline.is_full:
                await self.flush()

    def _queue(
        self, shape: TableShape, run: Run, new: Images | None, old: Images | None, offset: int, what: str
    ) -> None:
        after = new.row(run.new_start + offset) if new is not None and run.new_start >= 0 else None
        before = old.row(run.old_start + offset) if old is not None and run.old_start >= 0 else after
        if run.operation is Operation.INSERT and after is not None:
            self._pipeline.execute(statements.insert(shape), after, expect=1, what=what)
            return
        if before is None or not shape.key:
            raise ServerFailed(
                f"the stream brought the {what}, which has no replica identity to find the row by.",
                hint="Give the table a primary key or REPLICA IDENTITY FULL in production, then clone again.",
            )
        key = tuple(before[position] for position in shape.key)
        if run.operation is Operation.DELETE:
            self._pipeline.execute(statements.delete(shape), key, expect=1, what=what)
        elif after is not None:
            moved = before is not after
            positions = tuple(
                position
                for position in range(len(shape.columns))
                if position not in run.unchanged
                # An identity column that may not be set is left alone where it is known that it did not change.
                and not (
                    position in shape.always_identity
                    and after[position] == before[position]
                    and (position in shape.key or run.old_is_full)
                )
                # The key is the row's address; setting it to itself would touch its indexes for nothing.
                and not (position in shape.key and shape.key_is_unique and not moved)
            )
            if not positions:
                statement = statements.find(shape)
            elif any(position in shape.always_identity for position in positions):
                statement = statements.replace(shape, positions)
            else:
                statement = statements.update(shape, positions)
            values = tuple(after[position] for position in positions)
            self._pipeline.execute(statement, values + key, expect=1, what=what)

    async def truncate(self, truncation: Truncation) -> None:
        """Empty tables as production did."""
        self._pipeline.execute(statements.truncate(truncation.tables))

    async def flush(self) -> None:
        """Send what is queued and check it. Raises ``ServerFailed``."""
        await self._exchange()

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

    def observe(self, new: Mapping[TableName, Images]) -> None:
        """Let the sequences know which values a masked window brings."""
        for table, images in new.items():
            self._marks.observe(table, images.batch)

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
        if not self._accepted or self.is_open:
            return
        rows = await fetch(self._connection, "SELECT pg_current_wal_flush_lsn()::text")
        self._flushed(Lsn.parse(rows[0][0]))
        if self._accepted and time.monotonic() - self._accepted[0].at > _DURABLE_SECONDS:
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
    escaped = (
        pa.RecordBatch.from_arrays([copytext.escape(column) for column in batch.columns], schema=batch.schema)
        if batch.num_columns
        else batch
    )
    yield copytext.join(escaped)


def _lsn(value: bytes | None) -> Lsn:
    return Lsn.parse((value or b"").decode())
