"""The replication connection: slots, and the stream of one slot.

``create_slot`` makes a slot whose exported snapshot and consistent point are one cut. ``ReplicationStream`` reads
blocks of payloads as they arrive and sends feedback from a task of its own, so that a slow target never looks like a
dead client; it acknowledges only what ``acknowledge`` was told. Back-pressure is not calling ``read``.
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

from capture.errors import connection_lost, map_answer, silent
from capture.model import Interrupted, Lsn, ServerFailed
from capture.replication_protocol import Block, StreamEnded, from_datetime, status_update
from capture.source import SourceAddress, answering, map_error, open_replication
from capture.statements import check_replication
from capture.transport import ConnectionLost, LibpqTransport, Transport, take_over

_FEEDBACK_SECONDS: Final = 1.0


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
        async with answering(self._address):
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
        transport: Transport | None = None
        try:
            async with answering(self._address):
                pgconn.send_query(command.encode())
                if not pgconn.ssl_in_use and self._address.is_free_of_gss:
                    transport = await take_over(pgconn)
                if transport is None:
                    results = await self._connection.wait(execute(pgconn))
                    if results[-1].status != pq.ExecStatus.COPY_BOTH:
                        raise psycopg.errors.error_from_result(results[-1])
                    transport = LibpqTransport(pgconn)
        except psycopg.Error as error:
            raise map_error(error, self._address) from None
        return ReplicationStream(self._address, transport, start_lsn)


class ReplicationStream:
    """The stream of one slot; an async context manager that keeps the feedback going."""

    def __init__(self, address: SourceAddress, transport: Transport, start_lsn: Lsn) -> None:
        self._address = address
        self._transport = transport
        self._durable = start_lsn
        self._feedback: asyncio.Task[None] | None = None
        # A socket has one writer at a time, and several tasks tell.
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
        await self._transport.close()

    def acknowledge(self, durable: Lsn) -> None:
        """Every transaction that ends at or before ``durable`` is held durably by every sink."""
        self._durable = max(self._durable, durable)

    async def answer(self, *, ask: bool = False) -> None:
        """Tell the position now; with ``ask`` the server tells its own at once."""
        await self._tell(ask=ask)

    async def read(self) -> Block:
        """What has arrived; waits for at least one payload.

        Raises ``ServerFailed`` when the server ends the stream, says nothing for long, or the connection is lost.
        """
        reading = asyncio.ensure_future(self._transport.receive())
        try:
            assert self._feedback is not None
            await asyncio.wait((reading, self._feedback), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                # What the server said last is a better reason than that it no longer listens.
                await asyncio.wait((reading,), timeout=_FEEDBACK_SECONDS)
                if not reading.done():
                    self._feedback.result()
            return await reading
        except StreamEnded as ended:
            if ended.sqlstate:
                raise map_answer(ended.sqlstate, ended.text, self._address) from None
            raise Interrupted(
                f"{self._address.label} ended the stream.", hint="It may be shutting down; the stream can go on later."
            ) from None
        except ConnectionLost:
            raise connection_lost(self._address) from None
        finally:
            reading.cancel()

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(_FEEDBACK_SECONDS)
            # A server that is asked answers at once; one that decodes something long says so half way to its
            # wal_sender_timeout, which is our patience.
            silence, patience = self._transport.silence, self._address.patience
            if silence > patience:
                raise silent(self._address)
            await self._tell(ask=silence > patience / 3)

    async def _tell(self, *, ask: bool) -> None:
        message = status_update(
            written=self._durable,
            flushed=self._durable,
            applied=self._durable,
            client_time=from_datetime(datetime.now(UTC)),
            reply_requested=ask,
        )
        try:
            async with self._telling:
                await self._transport.send(message)
        except ConnectionLost:
            raise connection_lost(self._address) from None
