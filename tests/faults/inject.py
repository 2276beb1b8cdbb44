"""What can go wrong, to be done at will: servers that stop and crash, connections that are cut or go silent.

``Cluster`` controls a running server. ``Proxy`` stands between a client and a server and can stop to forward without
closing anything, which is what a half-open connection looks like. Moments are drawn from a ``random.Random``.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.fix_postgres import Server


@dataclass(frozen=True)
class Cluster:
    """A server as its operating system sees it. ``mode`` is pg_ctl's: fast is a clean stop, immediate is a crash."""

    server: Server

    async def stop(self, mode: str) -> None:
        """Stop the server."""
        await asyncio.to_thread(self._control, "stop", "-m", mode)

    async def start(self) -> None:
        """Start it; it accepts connections when this returns."""
        await asyncio.to_thread(self._control, "start", "-l", str(self.server.folder / "log"))

    @contextlib.asynccontextmanager
    async def down(self, mode: str) -> AsyncIterator[None]:
        """Be down for the length of a block."""
        await self.stop(mode)
        try:
            yield
        finally:
            await self.start()

    def _control(self, *arguments: str) -> None:
        data = self.server.folder / "data"
        owner = data.stat()
        subprocess.run(
            [self.server.programs / "pg_ctl", *arguments, "-w", "-D", data],
            cwd=self.server.folder,
            user=owner.st_uid,
            group=owner.st_gid,
            extra_groups=[],
            stdout=subprocess.DEVNULL,
            check=True,
        )


class Proxy:
    """Forwards TCP to one port of this machine, as long as it is not silenced."""

    def __init__(self, port: int) -> None:
        self._to = port
        # What is opened after a silence passes, what was open in it never does again.
        self._silenced: asyncio.Event = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # The loop closes aborted connections in its next turns.
        await asyncio.sleep(0.05)

    def through(self, url: str, port: int) -> str:
        """The URL of a server by way of this proxy, with a patience of five seconds; a busy machine answers in that."""
        assert url.count(f":{port}/") == 1
        return url.replace(f":{port}/", f":{self.port}/") + "?tcp_user_timeout=5000&connect_timeout=5"

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Forward nothing and close nothing for the length of a block."""
        self._silenced.set()
        try:
            yield
        finally:
            self._silenced = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            # Ended by either side, or cancelled with the proxy.
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await self._connect(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silenced = self._silenced
        if silenced.is_set():
            await asyncio.Event().wait()
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._to)
        ways = [
            asyncio.create_task(_forward(reader, other_writer, silenced)),
            asyncio.create_task(_forward(other_reader, writer, silenced)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            other_writer.transport.abort()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silenced: asyncio.Event) -> None:
    """Pass on what comes until one side ends."""
    while data := await reader.read(1 << 16):
        if silenced.is_set():
            await asyncio.Event().wait()
        writer.write(data)
        await writer.drain()
    if silenced.is_set():
        await asyncio.Event().wait()
