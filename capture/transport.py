"""How the bytes of a stream come in and feedback goes out, once production streams.

libpq makes the connection and answers for passwords and TLS. It gives one message a call, which costs more than all of
its decoding, so where nothing lies between it and the socket the stream takes that over (``SocketTransport``); what TLS
or GSSAPI encrypt goes on through libpq (``LibpqTransport``). Both give ``Block``s and the same errors: ``StreamEnded``,
and ``ConnectionLost`` where nothing was said.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from typing import Final, Protocol

import psycopg
from psycopg import pq

from capture.replication_protocol import Block, Framer, StreamEnded

# A piece is handed over when so much has come, or nothing more is there; so many pieces may wait.
_PIECE_BYTES: Final = 1 << 20
_PIECES: Final = 4
_LITTLE_BYTES: Final = 64 << 10
_LOOK_AGAIN_SECONDS: Final = 0.1

_HEADER: Final = struct.Struct("!cI")


class ConnectionLost(Exception):
    """The connection ended in the middle of the stream."""


class Transport(Protocol):
    """One stream's bytes."""

    @property
    def silence(self) -> float:
        """For how many seconds the server has said nothing, though we listen."""

    async def receive(self) -> Block:
        """What has arrived; waits for something. Raises ``StreamEnded`` and ``ConnectionLost``."""

    async def send(self, payload: bytes) -> None:
        """Send one CopyData payload; one task at a time. Raises ``ConnectionLost``."""

    async def close(self) -> None:
        """Read no more."""


class SocketTransport:
    """The socket itself. A thread of its own reads ahead, so that production's walsender need not wait while rows are
    masked; when enough waits, it stops reading, and TCP makes the walsender stop. Where little came, there is nothing
    to be ahead of: what follows is left to gather until it is asked for, and wakes nobody before."""

    def __init__(self, own: socket.socket) -> None:
        self._socket = own
        self._framer = Framer()
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._room = threading.Semaphore(_PIECES)
        self._is_wanted = threading.Event()
        self._is_closing = False
        self._listening_since: float | None = None
        self._thread = threading.Thread(target=self._read, name="tezcat receiver", daemon=True)
        self._thread.start()

    @property
    def silence(self) -> float:
        """See ``Transport``."""
        since = self._listening_since
        return time.monotonic() - since if since is not None else 0.0

    async def receive(self) -> Block:
        """See ``Transport``."""
        while True:
            if self._framer.failure is not None:
                raise self._framer.failure
            while not self._pieces:
                self._arrived.clear()
                self._is_wanted.set()
                await self._arrived.wait()
            if not self._pieces[0]:
                raise ConnectionLost
            piece = self._pieces.popleft()
            self._room.release()
            block = self._framer.feed(piece)
            if block.starts.size:
                return block

    async def send(self, payload: bytes) -> None:
        """See ``Transport``."""
        try:
            await self._loop.sock_sendall(self._socket, _HEADER.pack(b"d", len(payload) + 4) + payload)
        except OSError:
            raise ConnectionLost from None

    async def close(self) -> None:
        """See ``Transport``."""
        self._is_closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        self._room.release()
        self._is_wanted.set()
        await asyncio.to_thread(self._thread.join)
        self._socket.close()

    def _read(self) -> None:
        """The thread: hand pieces over until the connection ends, which an empty piece tells."""
        buffer = memoryview(bytearray(_PIECE_BYTES))
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        size: int | None = _PIECE_BYTES
        while size:
            self._room.acquire()
            # In this order: closing, too, is told by what was just cleared.
            if size < _LITTLE_BYTES and not self._is_closing:
                self._is_wanted.wait()
            if self._is_closing:
                return
            self._listening_since = time.monotonic()
            size = None
            while size is None:
                waiting.poll()
                size = self._fill(buffer)
            self._listening_since = None
            self._is_wanted.clear()
            self._pieces.append(bytes(buffer[:size]))
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody listens
                self._loop.call_soon_threadsafe(self._arrived.set)

    def _fill(self, buffer: memoryview) -> int | None:
        """The number of bytes that were there, as many as fit; 0 at the end of the connection, None without either."""
        size = 0
        try:
            while size < len(buffer):
                count = self._socket.recv_into(buffer[size:])
                if not count:
                    return size
                size += count
        except BlockingIOError:
            return size or None
        except OSError:
            pass
        return size


class LibpqTransport:
    """libpq, one message a call."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        self._pgconn = pgconn
        self._listening_since: float | None = None
        self._ending: StreamEnded | None = None  # how the stream ended, once it has

    @property
    def silence(self) -> float:
        """See ``Transport``."""
        return time.monotonic() - self._listening_since if self._listening_since is not None else 0.0

    async def receive(self) -> Block:
        """See ``Transport``."""
        is_lost = False
        try:
            while not (payloads := self._drain()):
                if self._ending is not None:
                    raise self._ending
                if is_lost:
                    raise ConnectionLost
                self._listening_since = time.monotonic()
                await until_ready(self._pgconn)
                self._listening_since = None
                try:
                    self._pgconn.consume_input()
                except psycopg.Error:
                    # The server's last words may lie before the connection's end.
                    is_lost = True
        except psycopg.Error:
            raise ConnectionLost from None
        return Block.of(payloads)

    async def send(self, payload: bytes) -> None:
        """See ``Transport``."""
        try:
            self._pgconn.put_copy_data(payload)
            while self._pgconn.flush():
                await until_ready(self._pgconn, writable=True)
        except psycopg.Error:
            raise ConnectionLost from None

    async def close(self) -> None:
        """See ``Transport``."""

    def _drain(self) -> list[bytes]:
        payloads: list[bytes] = []
        if self._ending is not None:
            return payloads
        size = 0
        take = self._pgconn.get_copy_data
        while size < _PIECE_BYTES:
            count, data = take(1)
            if count == 0:
                break
            if count < 0:
                self._ending = self._ended()
                break
            payloads.append(bytes(data))
            size += count
        return payloads

    def _ended(self) -> StreamEnded:
        result = self._pgconn.get_result()
        if result is None or result.status != pq.ExecStatus.FATAL_ERROR:
            return StreamEnded("", "")
        fields = (pq.DiagnosticField.SQLSTATE, pq.DiagnosticField.MESSAGE_PRIMARY)
        return StreamEnded(*((result.error_field(field) or b"").decode(errors="replace") for field in fields))


async def take_over(pgconn: pq.abc.PGconn) -> SocketTransport | None:
    """The transport of a connection to which START_REPLICATION has been sent, on a socket of its own.

    None if the server did not answer with CopyBothResponse; the answer is then there for libpq to read.
    """
    while pgconn.flush():
        await until_ready(pgconn, writable=True)
    own = socket.socket(fileno=os.dup(pgconn.socket))
    own.setblocking(False)
    try:
        while (tag := await _skip(pgconn, own)) in (b"N", b"S"):
            pass
    except BaseException:
        own.close()
        raise
    if tag == b"W":
        return SocketTransport(own)
    own.close()
    return None


async def _skip(pgconn: pq.abc.PGconn, own: socket.socket) -> bytes:
    """Read past the next message if it is a notice or CopyBothResponse; its tag, or nothing at the connection's end."""
    while True:
        await until_ready(pgconn)
        with contextlib.suppress(BlockingIOError):
            header = own.recv(_HEADER.size, socket.MSG_PEEK)
            if not header:
                return b""
            if len(header) == _HEADER.size:
                tag: bytes
                tag, length = _HEADER.unpack(header)
                if tag not in (b"N", b"S", b"W"):
                    return tag
                if len(own.recv(length + 1, socket.MSG_PEEK)) > length:
                    own.recv(length + 1)
                    return tag
        # The rest of the message is on its way, and the socket stays readable meanwhile.
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def until_ready(pgconn: pq.abc.PGconn, *, writable: bool = False) -> None:
    """Wait until the connection's socket can be read or written."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    descriptor = pgconn.socket
    add, remove = (loop.add_writer, loop.remove_writer) if writable else (loop.add_reader, loop.remove_reader)
    # TLS may hold decrypted bytes that the socket does not show, so it is looked at again now and then.
    timer = loop.call_later(_LOOK_AGAIN_SECONDS, _settle, ready) if pgconn.ssl_in_use else None
    add(descriptor, _settle, ready)
    try:
        await ready
    finally:
        remove(descriptor)
        if timer is not None:
            timer.cancel()
