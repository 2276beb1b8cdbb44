"""Two embedded servers, fresh databases on them, and the commands that are measured against them.

``production`` holds the database ``production``; ``test`` holds ``copy``, which tezcat writes, and ``reference``, which
PostgreSQL's own means write. Both servers run without fsync: what is compared is work, not disks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from bench import dataset
from bench.measure import Sample, Stopwatch, run
from control.embedded import EmbeddedServer, binaries

VERSION: Final = 18
_ROOT: Final = Path(__file__).parent.parent
_PASSWORD: Final = "bench"
_KEY: Final = "5e" * 32
_COPIES: Final = ("copy", "reference")


@dataclass(frozen=True, slots=True)
class Servers:
    """Both servers, started, and the folder of tezcat's settings."""

    _production: EmbeddedServer
    _test: EmbeddedServer
    _folder: Path

    @property
    def production(self) -> str:
        """The URL of production, as its superuser."""
        return self._production.url("production")

    @property
    def copy(self) -> str:
        """The URL of tezcat's copy."""
        return self._test.url("copy")

    @property
    def reference(self) -> str:
        """The URL of what tezcat is compared with."""
        return self._test.url("reference")

    @property
    def rules(self) -> Path:
        """The file of tezcat's rules."""
        return self._folder / "rules.yaml"

    def renew_production(self, *statements: str, rules: str, load: Callable[[str], None] | None = None) -> None:
        """Make ``production`` anew with these statements, and whatever else ``load`` does with its URL, and prepare
        tezcat and its role for it."""
        _renew(self._production, "production")
        if load is not None:
            load(self.production)
        execute(self.production, *statements, "VACUUM ANALYZE")
        login = self._production.url("production", "tezcat", _PASSWORD)
        (self._folder / "tezcat.yaml").write_text(
            "environments:\n"
            f"  production: {{type: production, database_url: {json.dumps(login)}}}\n"
            f"  test: {{type: test, database_url: {json.dumps(self.copy)}}}\n"
            "key: file:tezcat.key\n"
        )
        self.rules.write_text(rules)
        key = self._folder / "tezcat.key"
        key.touch(mode=0o600)
        key.write_text(_KEY)
        _, grants = self.tezcat("source", "sql")
        script = self.script("grants.sql", f"{grants}\nALTER ROLE tezcat PASSWORD '{_PASSWORD}';\n")
        self.run(psql(self.production, "-f", str(script)))

    def renew_copies(self, *statements: str) -> None:
        """Make ``copy`` anew, empty, and ``reference``, with these statements."""
        for name in _COPIES:
            _renew(self._test, name)
        execute(self.reference, *statements)

    def keep_copies(self) -> None:
        """Keep both as they are now, for ``restore_copies``."""
        for name in _COPIES:
            execute(self._test.url(name), "VACUUM ANALYZE")
            _renew(self._test, f"kept_{name}", template=name)

    def restore_copies(self) -> None:
        """Both as they were when they were kept, and none of it in the server's buffers."""
        for name in _COPIES:
            _renew(self._test, name, template=f"kept_{name}")

    def script(self, name: str, text: str) -> Path:
        """Write a file for ``psql -f``."""
        path = self._folder / name
        path.write_text(text)
        return path

    def tezcat(
        self, *arguments: str, meanwhile: Callable[[subprocess.Popen[bytes]], None] | None = None
    ) -> tuple[Sample, str]:
        """Run a command of tezcat as a user would; ``meanwhile`` with its process."""
        config = ("-c", str(self._folder / "tezcat.yaml"))
        command = (sys.executable, "-m", "control", *arguments, *config)
        return run(command, servers=self._pids, cwd=_ROOT, meanwhile=meanwhile)

    def try_tezcat(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of tezcat that may fail."""
        command = [sys.executable, "-m", "control", *arguments, "-c", str(self._folder / "tezcat.yaml")]
        return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)

    def run(self, command: Sequence[str]) -> tuple[Sample, str]:
        """Run any other program."""
        return run(command, servers=self._pids, cwd=_ROOT)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for a while."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            yield Path(folder)

    def stopwatch(self) -> Stopwatch:
        """For what the servers do by themselves."""
        return Stopwatch(self._pids)

    def settle(self) -> None:
        """Write out what earlier work left in memory, so that nobody pays for it in what is measured next."""
        for server in (self._production, self._test):
            execute(server.url(), "CHECKPOINT")

    def check(self, *copies: str, query: str = dataset.CHECKSUM) -> None:
        """``SystemExit`` unless these databases answer as production does: a figure for half the work is none."""
        expected = fetch(self.production, query)
        for url in copies:
            if fetch(url, query) != expected:
                name = "copy" if url == self.copy else "reference"
                raise SystemExit(f"The {name} does not hold what production holds, so there is nothing to compare.")

    @property
    def _pids(self) -> list[int]:
        return [server.pid for server in (self._production, self._test) if server.pid is not None]


@contextlib.contextmanager
def two_servers() -> Iterator[Servers]:
    """Start both, and remove every trace of them at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tezcat-bench-"))
    servers = [EmbeddedServer(folder / name, VERSION, durable=False) for name in ("production", "test")]
    with asyncio.Runner() as runner:
        try:
            for server in servers:
                runner.run(server.start())
            yield Servers(servers[0], servers[1], folder)
        finally:
            for server in servers:
                runner.run(server.stop())
                shutil.rmtree(server.directory, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)


def binary(name: str) -> str:
    """One of the servers' own programs."""
    return str(binaries(VERSION) / name)


def psql(url: str, *arguments: str) -> list[str]:
    """A psql that stops at the first error."""
    return [binary("psql"), "-Xq", "-v", "ON_ERROR_STOP=1", "-d", url, *arguments]


def pipe(first: Sequence[str], second: Sequence[str], then: Sequence[str]) -> list[str]:
    """The shell's ``first | second && then``."""
    return ["/bin/sh", "-c", f"{shlex.join(first)} | {shlex.join(second)} && {shlex.join(then)}"]


def then(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The shell's ``first && second``."""
    return ["/bin/sh", "-c", f"{shlex.join(first)} && {shlex.join(second)}"]


def execute(url: str, *statements: str) -> None:
    """Execute each statement as a transaction of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def fetch(url: str, query: str) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def _renew(server: EmbeddedServer, database: str, template: str = "template1") -> None:
    """Make a database from a template; an earlier one of that name goes, with its subscriptions and slots."""
    name = sql.Identifier(database)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone()
        if found is not None:
            _drop_subscriptions(server.url(database))
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (database,)
            )
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(name, sql.Identifier(template))
        )


def _drop_subscriptions(url: str) -> None:
    here = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    for (name,) in fetch(url, f"SELECT subname FROM pg_subscription WHERE subdbid = {here}"):
        # The slot is not the subscription's to drop: it goes with its own database.
        execute(
            url,
            f"ALTER SUBSCRIPTION {name} DISABLE",
            f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)",
            f"DROP SUBSCRIPTION {name}",
        )
