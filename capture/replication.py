"""The replication connection: slots, and the stream of one slot.

``create_slot`` makes a slot whose exported snapshot and consistent point are one cut. ``ReplicationStream`` reads
payloads as they arrive, without a task switch a message, and sends feedback from a task of its own, so that a slow
target never looks like a dead client; it acknowledges only what ``acknowledge`` was told. Back-pressure is not
calling ``read``.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

import psycopg
from psycopg import pq
from psycopg.generators import execute
from psycopg.rows import TupleRow

from capture.model import Lsn, ServerFailed
from capture.replication_protocol import from_datetime, status_update
from capture.source import SourceAddress, map_error, open_replication
from capture.statements import check_replication

_FEEDBACK_SECONDS: Final = 1.0
_LOOK_AGAIN_SECONDS: Final = 0.1
# So many bytes are taken per turn before the other tasks get theirs.
_TURN_BYTES: Final = 4 << 20


class Slot(NamedTuple):
    """A slot as it was made: every transaction that commits at or after ``consistent_point`` comes through it, all
    earlier ones are visible in ``snapshot``. The snapshot lives until the session ends or runs another command."""

    name: str
    consistent_point: Lsn
    snapshot: str


class ReplicationSession:
    """A connection in replication mode, before streaming starts."""

    def __init__(self, address: SourceAddress, connection: psycopg.AsyncConnection[TupleRow]) -> None:
        self._address = address
        self._connection = connection

    @classmethod
    async def open(cls, address: SourceAddress, purpose: str) -> Self:
        """Connect. Raises ``ServerFailed``."""
        return cls(address, await open_replication(address, purpose=purpose))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session, and with it the snapshot of a slot that it made, and the slot if that is temporary."""
        await self._connection.close()

    async def _command(self, command: str) -> list[TupleRow]:
        check_replication(command)
        try:
            cursor = await self._connection.execute(command.encode())
            return await cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise map_error(error, self._address) from None

    async def create_slot(self, name: str, *, temporary: bool) -> Slot:
        """Make a logical slot with an exported snapshot.

        The server waits for the transactions that are open at this moment. Raises ``ServerFailed``.
        """
        kind = "TEMPORARY " if temporary else ""
        rows = await self._command(f"CREATE_REPLICATION_SLOT {name} {kind}LOGICAL pgoutput EXPORT_SNAPSHOT")
        return Slot(name, Lsn.parse(rows[0][1]), rows[0][2])

    async def drop_slot(self, name: str) -> None:
        """Drop one of our slots. Raises ``ServerFailed``."""
        await self._command(f"DROP_REPLICATION_SLOT {name}")

    async def start(self, slot: str, start_lsn: Lsn, publications: tuple[str, ...], protocol: int) -> ReplicationStream:
        """Begin to stream from the first transaction that commits at or after ``start_lsn``."""
        listed = ",".join('"' + name.replace('"', '""') + '"' for name in publications).replace("'", "''")
        command = (
            f"START_REPLICATION SLOT {slot} LOGICAL {start_lsn}"
            f" (proto_version '{protocol}', publication_names '{listed}')"
        )
        check_replication(command)
        pgconn = self._connection.pgconn
        try:
            pgconn.send_query(command.encode())
            results = await self._connection.wait(execute(pgconn))
        except psycopg.Error as error:
            raise map_error(error, self._address) from None
        if results[-1].status != pq.ExecStatus.COPY_BOTH:
            raise map_error(psycopg.errors.error_from_result(results[-1]), self._address)
        return ReplicationStream(self._address, self._connection, start_lsn)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class ReplicationStream:
    """The stream of one slot; an async context manager that keeps the feedback going."""

    def __init__(self, address: SourceAddress, connection: psycopg.AsyncConnection[TupleRow], start_lsn: Lsn) -> None:
        self._address = address
        self._pgconn = connection.pgconn
        self._durable = start_lsn
        self._feedback: asyncio.Task[None] | None = None
        self._telling = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._feedback = asyncio.create_task(self._keep_telling())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._feedback is not None:
            self._feedback.cancel()
            with contextlib.suppress(asyncio.CancelledError, ServerFailed):
                await self._feedback
        with contextlib.suppress(ServerFailed):
            await self._tell(ask=False)

    def acknowledge(self, durable: Lsn) -> None:
        """Every transaction that ends at or before ``durable`` is held durably by every sink."""
        self._durable = max(self._durable, durable)

    async def answer(self, *, ask: bool = False) -> None:
        """Tell the position now; with ``ask`` the server tells its own at once."""
        await self._tell(ask=ask)

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(_FEEDBACK_SECONDS)
            await self._tell(ask=False)

    async def _tell(self, *, ask: bool) -> None:
        message = status_update(
            written=self._durable,
            flushed=self._durable,
            applied=self._durable,
            client_time=from_datetime(datetime.now(UTC)),
            reply_requested=ask,
        )
        try:
            # An event loop knows one writer a socket, and several tasks tell.
            async with self._telling:
                self._pgconn.put_copy_data(message)
                while self._pgconn.flush():
                    await self._ready(writable=True)
        except psycopg.Error as error:
            raise map_error(error, self._address) from None

    async def read(self) -> list[bytes]:
        """The payloads that have arrived; waits for at least one.

        Raises ``ServerFailed`` when the server ends the stream or the connection is lost.
        """
        while True:
            payloads = self._drain()
            if payloads:
                return payloads
            self._check_feedback()
            await self._ready(writable=False)
            try:
                self._pgconn.consume_input()
            except psycopg.Error as error:
                raise map_error(error, self._address) from None

    def _drain(self) -> list[bytes]:
        payloads: list[bytes] = []
        size = 0
        take = self._pgconn.get_copy_data
        while size < _TURN_BYTES:
            try:
                count, data = take(1)
            except psycopg.Error as error:
                raise map_error(error, self._address) from None
            if count == 0:
                break
            if count < 0:
                if payloads:
                    break
                raise self._ended()
            payloads.append(bytes(data))
            size += count
        return payloads

    def _ended(self) -> ServerFailed:
        result = self._pgconn.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            return map_error(psycopg.errors.error_from_result(result), self._address)
        return ServerFailed(
            f"{self._address.label} ended the stream.", hint="It may be shutting down; the stream can go on later."
        )

    def _check_feedback(self) -> None:
        if self._feedback is not None and self._feedback.done() and not self._feedback.cancelled():
            error = self._feedback.exception()
            if error is not None:
                raise error

    async def _ready(self, *, writable: bool) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        socket = self._pgconn.socket
        add, remove = (loop.add_writer, loop.remove_writer) if writable else (loop.add_reader, loop.remove_reader)
        # TLS may hold decrypted bytes that the socket does not show, so it is looked at again now and then.
        timer = loop.call_later(_LOOK_AGAIN_SECONDS, _settle, ready) if self._pgconn.ssl_in_use else None
        add(socket, _settle, ready)
        try:
            await ready
        finally:
            remove(socket)
            if timer is not None:
                timer.cancel()
