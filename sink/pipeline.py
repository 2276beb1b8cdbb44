"""Many prepared statements in one round trip, at the ``pq`` layer.

``Pipeline`` queues statements and sends them together; the server works on the first while the last are being sent.
psycopg's own pipeline makes a cursor for each statement, which costs ten times what the send does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import NamedTuple

import psycopg
from psycopg import pq
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from sink.target import Connection, failure, result_failure

# So many results, and so many bytes of parameters, are held in memory before they are sent and checked.
_BATCH = 2000
_BATCH_BYTES = 16 << 20


class Pipeline:
    """A queue of statements for one connection. ``expect`` is the number of rows that a statement must touch, or
    None where any number is right."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._prepared: dict[str, bytes] = {}
        self._names = 0
        self._queue: list[_Queued] = []
        self._queued_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to ``flush``."""
        return len(self._queue) >= _BATCH or self._queued_bytes >= _BATCH_BYTES

    def execute(
        self,
        statement: str,
        parameters: Sequence[bytes | None] = (),
        *,
        is_binary: bool = False,
        expect: int | None = None,
        what: str = "",
    ) -> None:
        """Queue a statement with its parameters, all in text format or all binary; it is prepared at its first use."""
        self._queue.append(_Queued(statement, parameters, is_binary, expect, what))
        self._queued_bytes += sum(map(len, filter(None, parameters)))

    def clear(self) -> None:
        """Forget what is queued."""
        self._queue, self._queued_bytes = [], 0

    async def flush(self) -> list[PGresult]:
        """Send what is queued; the statements' results in order.

        Raises ``ServerFailed`` at the first statement that failed, and ``RowsMissed`` at the first that did not touch
        as many rows as expected. The transaction is then the caller's to roll back.
        """
        if not self._queue:
            return []
        queue, self._queue, self._queued_bytes = self._queue, [], 0
        pgconn = self._pgconn
        sent: list[_Queued | bytes] = []
        preparing: dict[bytes, str] = {}
        try:
            pgconn.enter_pipeline_mode()
            for queued in queue:
                name = self._prepared.get(queued.statement)
                if name is None:
                    # Never the same twice: one whose preparation failed, or was not awaited, may be there or not.
                    self._names += 1
                    name = b"tezcat_%d" % self._names
                    self._prepared[queued.statement] = name
                    preparing[name] = queued.statement
                    pgconn.send_prepare(name, queued.statement.encode())
                    sent.append(name)
                formats = [pq.Format.BINARY] * len(queued.parameters) if queued.is_binary else None
                pgconn.send_query_prepared(name, queued.parameters, formats)
                sent.append(queued)
            pgconn.pipeline_sync()
            try:
                results = await self._connection.wait(_exchange(pgconn))
            finally:
                # When cancelled too: psycopg has then read all results. It fails only where the connection is lost.
                with contextlib.suppress(psycopg.Error):
                    pgconn.exit_pipeline_mode()
            for result, what in zip(results, sent, strict=True):
                if isinstance(what, bytes) and result.status == ExecStatus.COMMAND_OK:
                    del preparing[what]
        except psycopg.Error as error:
            raise failure(error) from None
        finally:
            for statement in preparing.values():
                del self._prepared[statement]
        for result, what in zip(results, sent, strict=True):
            _check(result, what)
        return [result for result, what in zip(results, sent, strict=True) if not isinstance(what, bytes)]


class _Queued(NamedTuple):
    statement: str
    parameters: Sequence[bytes | None]
    is_binary: bool
    expect: int | None
    what: str

    def __repr__(self) -> str:
        return f"_Queued({self.what!r}, {len(self.parameters)} parameters)"


def _check(result: PGresult, sent: _Queued | bytes) -> None:
    if result.status in (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED):
        raise result_failure(result)
    if isinstance(sent, _Queued) and sent.expect is not None and result.command_tuples != sent.expect:
        raise RowsMissed(sent.what, sent.expect, result.command_tuples or 0)


def _exchange(pgconn: PGconn) -> Generator[Wait, Ready | int, list[PGresult]]:
    """Flush what was sent and read one result a statement, up to the pipeline's end."""
    results: list[PGresult] = []
    unsent = True
    while True:
        ready = yield (Wait.RW if unsent else Wait.R)
        if not ready:
            # psycopg begins to wait anew, for the results of a query that it has cancelled.
            continue
        if ready & Ready.W:
            unsent = bool(pgconn.flush())
        if not ready & Ready.R:
            continue
        pgconn.consume_input()
        pauses = 0
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                # One None ends a statement; a second in a row says that nothing more has come.
                pauses += 1
                if pauses == 2:
                    break
                continue
            pauses = 0
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)


class RowsMissed(Exception):
    """A statement touched another number of rows than it had to. ``what`` names operation and table."""

    def __init__(self, what: str, expected: int, touched: int) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.touched = touched
