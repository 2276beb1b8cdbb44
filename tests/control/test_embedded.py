"""Embedded servers: that they start, keep their data and their doors shut, and never outlive who started them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from capture.model import BadInput, Refused, ServerFailed
from control import embedded
from control.embedded import EmbeddedServer, binaries
from tests.waiting import eventually

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user may enter; pytest's own are private."""
    made = Path(tempfile.mkdtemp(prefix="tezcat-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


async def query(server: EmbeddedServer, statement: str) -> Any:
    async with await psycopg.AsyncConnection.connect(server.url(), autocommit=True) as connection:
        cursor = await connection.execute(statement.encode())
        row = await cursor.fetchone() if cursor.description else None
        return row[0] if row is not None else None


@pytest.mark.parametrize("version", [16, 18])
async def test_a_server_runs_and_keeps_its_data(folder: Path, version: int) -> None:
    """A started server is of the version asked for, decodes logically, and has its data again after a restart."""
    server = EmbeddedServer(folder / "server", version, durable=False)
    async with server:
        assert int(await query(server, "SHOW server_version_num")) // 10000 == version
        assert await query(server, "SHOW wal_level") == "logical"
        assert await query(server, "SHOW server_encoding") == "UTF8"
        assert await query(server, "SHOW fsync") == "off"
        await query(server, "CREATE TABLE kept AS SELECT 42 AS n")
    assert server.pid is None
    async with EmbeddedServer(folder / "server", version) as again:
        assert await query(again, "SELECT n FROM kept") == 42
        assert await query(again, "SHOW fsync") == "on"


async def test_nobody_enters_without_the_password(folder: Path) -> None:
    """The superuser needs a password, which lies in a private file; there is no Unix socket to go round it."""
    async with EmbeddedServer(folder / "server", durable=False) as server:
        for wrong in ("", "guess"):
            with pytest.raises(psycopg.OperationalError):
                await psycopg.AsyncConnection.connect(server.url(password=wrong), passfile=os.devnull)
        assert await query(server, "SHOW unix_socket_directories") == ""
        assert await query(server, "SHOW listen_addresses") == "127.0.0.1"
        password = server.directory / "password"
        assert stat.S_IMODE(password.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
        assert password.read_text().strip() not in repr(server)


async def test_an_immediate_stop_is_recovered_from(folder: Path) -> None:
    """What was committed before an immediate stop is there after the next start."""
    server = EmbeddedServer(folder / "server", durable=False)
    await server.start()
    await query(server, "CREATE TABLE kept AS SELECT 42 AS n")
    await server.stop("immediate")
    async with server:
        assert await query(server, "SELECT n FROM kept") == 42


async def test_a_server_ends_with_the_process_that_started_it(folder: Path) -> None:
    """kill -9 of the process that started a server stops the server, too."""
    script = f"""
import asyncio, os, pathlib, signal
from control.embedded import EmbeddedServer
async def main():
    server = EmbeddedServer(pathlib.Path({str(folder / "server")!r}), durable=False)
    await server.start()
    print(server.port, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == -signal.SIGKILL
    lock = folder / "server" / "data" / "postmaster.pid"
    await eventually(lambda: not lock.exists(), "the server has ended")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        await psycopg.AsyncConnection.connect(f"host=127.0.0.1 port={int(output)} user=postgres")
    async with EmbeddedServer(folder / "server", durable=False) as server:
        assert await query(server, "SELECT 1") == 1


async def test_two_servers_do_not_share_a_directory(folder: Path) -> None:
    """A directory in which a server runs is refused, and that server goes on."""
    async with EmbeddedServer(folder / "server", durable=False) as server:
        with pytest.raises(Refused, match=str(server.pid)):
            await EmbeddedServer(folder / "server", durable=False).start()
        assert await query(server, "SELECT 1") == 1


async def test_the_lock_of_a_server_that_is_gone_is_no_obstacle(folder: Path) -> None:
    """A lock that names a process which is no server of this directory is cleared away."""
    server = EmbeddedServer(folder / "server", durable=False)
    async with server:
        lock = (folder / "server" / "data" / "postmaster.pid").read_text()
    (folder / "server" / "data" / "postmaster.pid").write_text(lock.replace(lock.split("\n")[0], "1", 1))
    async with server:
        assert await query(server, "SELECT 1") == 1


async def test_a_failed_start_tells_why(folder: Path) -> None:
    """A server that cannot start, because its port is taken, is an error with the end of its log."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = EmbeddedServer(folder / "server", port=taken.getsockname()[1], durable=False)
        with pytest.raises(ServerFailed, match="Address already in use"):
            await server.start()
    assert server.pid is None
    async with server:
        assert await query(server, "SELECT 1") == 1


async def test_a_port_that_is_taken_before_the_server_has_it_is_no_obstacle(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that chooses its port itself takes another one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1], embedded._free_port()]
        monkeypatch.setattr(embedded, "_free_port", lambda: ports.pop(0))
        async with EmbeddedServer(folder / "server", durable=False) as server:
            assert ports == []
            assert await query(server, "SELECT 1") == 1


async def test_a_cluster_of_another_version_is_left_alone(folder: Path) -> None:
    """PostgreSQL 18 is not started over the data of 16."""
    async with EmbeddedServer(folder / "server", 16, durable=False):
        pass
    with pytest.raises(BadInput, match="PostgreSQL 16, not 18"):
        await EmbeddedServer(folder / "server", 18).start()


def test_an_unknown_version_is_the_users_mistake() -> None:
    """A version that the wheel does not hold is refused, and those that it holds are named."""
    with pytest.raises(BadInput, match="16 and 18"):
        binaries(9)


@as_root
async def test_a_private_directory_is_moved_to_where_the_server_may_go(folder: Path) -> None:
    """Under root, a server whose parent directory is private to root lies elsewhere, and finds its data there again."""
    _make_private(folder)
    server = EmbeddedServer(folder / "server", durable=False)
    try:
        async with server:
            assert folder not in server.directory.parents
            await query(server, "CREATE TABLE kept AS SELECT 42 AS n")
        async with EmbeddedServer(folder / "server", durable=False) as again:
            assert await query(again, "SELECT n FROM kept") == 42
    finally:
        shutil.rmtree(server.directory, ignore_errors=True)


@as_root
async def test_private_programs_are_copied_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under root, programs that the server's user cannot run are copied to where it can, libraries included."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(embedded, "_reaches", _reaches_only(folder))
    inodes = set()
    for _ in range(2):
        async with EmbeddedServer(folder / "server", durable=False) as server:
            # The encoding's conversion is a library that the server loads from beside its programs.
            assert await query(server, "SELECT convert('e', 'UTF8', 'LATIN1')") == b"e"
            program = _program_of(server)
            assert str(program).startswith(f"{folder}/tezcat-postgresql-18-")
            inodes.add(program.stat().st_ino)
    assert len(inodes) == 1


def _make_private(folder: Path) -> None:
    folder.chmod(0o700)


def _program_of(server: EmbeddedServer) -> Path:
    return Path(f"/proc/{server.pid}/exe").resolve()


def _reaches_only(folder: Path) -> Any:
    async def reaches(account: object, path: Path) -> bool:
        return path == folder or folder in path.parents

    return reaches


@as_root
async def test_a_directory_that_others_may_write_to_is_refused(folder: Path) -> None:
    """Data are not put where another user could change them."""
    (folder / "server").mkdir()
    (folder / "server").chmod(0o777)
    with pytest.raises(Refused):
        await EmbeddedServer(folder / "server").start()
