"""``tezcat demo``: the whole way of the data on two embedded servers, as a user would go it.

Servers, a hotel's production, the DBA's SQL, clone, stream under live traffic, the same rows side by side, verify.
Everything lies in one folder and is removed at the end, unless ``serve`` keeps it running until Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pyarrow as pa
from psycopg import sql
from rich.console import Console
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table

from capture.catalog import read_catalog
from capture.dba import dba_sql
from capture.model import ServerFailed, TableName
from capture.preflight import preflight
from capture.source import SourceAddress
from control import results
from control.clone import clone
from control.demo import RULES, SCHEMA, dataset
from control.demo.traffic import traffic
from control.embedded import EmbeddedServer, binaries
from control.outcome import Terminal
from control.project import Project
from control.settings import Settings, load_settings, process_environment
from control.stream import StreamProgress, stream
from control.verify import verify
from transform.keyring import generate_key

_VERSION: Final = 18
_TRAFFIC_SECONDS: Final = 20.0
_TRAFFIC_PAUSE_SECONDS: Final = 60.0
_SHOWN: Final = (
    (TableName("public", "guests"), ("id", "email", "first_name", "last_name", "phone", "born_on")),
    (TableName("public", "reservations"), ("id", "guest_id", "room_id", "check_in", "total", "special_requests")),
)


def demo(terminal: Terminal, *, serve: bool) -> None:
    """Run the demo. Raises ``TezcatError``, and ``ServerFailed`` when the copy differs at the end."""
    asyncio.run(_demo(terminal, serve=serve))


async def _demo(terminal: Terminal, *, serve: bool) -> None:
    began = time.monotonic()
    out = terminal.out
    folder = Path(tempfile.mkdtemp(prefix="tezcat-demo-"))
    try:
        async with contextlib.AsyncExitStack() as stack:
            _title(out, f"Two embedded PostgreSQL {_VERSION} servers")
            production, test = await _start_servers(stack, folder)
            await _fill_production(out, production)
            settings = await _prepare(out, folder, production, test)
            _title(out, "tezcat clone --source production --target test")
            report = terminal.report
            result = await clone(
                settings, "production", "test", once=False, confirm=None, accept_writable_role=False, report=report
            )
            results.show_clone(terminal, result)
            _title(out, f"tezcat stream --target test, while the hotel works for {_TRAFFIC_SECONDS:.0f} seconds")
            async with _streaming(settings) as latest:
                await _live_traffic(out, production, latest, _TRAFFIC_SECONDS)
                _title(out, "The same rows in both")
                await _wait_until_caught_up(latest)
                await _show_rows(out, settings, production, test)
                _title(out, "tezcat verify --target test, while the stream runs")
                verified = await verify(settings, "test", accept_writable_role=False, report=report)
                results.show_verify(terminal, verified)
                if not verified.equal:
                    raise ServerFailed("the copy differs from masked production.", hint="Please report this.")
                out.print(f"Done in {time.monotonic() - began:.0f} seconds.")
                if serve:
                    await _serve(out, folder, production, test, latest)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _title(out: Console, text: str) -> None:
    out.print()
    out.print(Rule(text, align="left", style="cyan"), width=min(out.width, 110))


async def _start_servers(stack: contextlib.AsyncExitStack, folder: Path) -> tuple[EmbeddedServer, EmbeddedServer]:
    production = EmbeddedServer(folder / "production", _VERSION, durable=False)
    test = EmbeddedServer(folder / "test", _VERSION, durable=False)
    for server, database in ((production, "hotel"), (test, "hotel_test")):
        # Called after the server has stopped; only a started one knows where its directory is.
        stack.callback(_remove, server)
        await stack.enter_async_context(server)
        async with await _connect(server, "postgres") as connection:
            await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    return production, test


def _remove(server: EmbeddedServer) -> None:
    shutil.rmtree(server.directory, ignore_errors=True)


async def _connect(server: EmbeddedServer, database: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(server.url(database), autocommit=True)


async def _fill_production(out: Console, production: EmbeddedServer) -> None:
    async with await _connect(production, "hotel") as connection:
        await connection.execute(SCHEMA.read_bytes())
        counts = await dataset.load(connection)
    out.print(f"production at {production.url('hotel', 'dba')}: {len(counts)} tables, {sum(counts.values()):,} rows")


async def _prepare(out: Console, folder: Path, production: EmbeddedServer, test: EmbeddedServer) -> Settings:
    """What ``init`` and the DBA do: settings, key, rules, and the role that may only read."""
    password = generate_key()[:32]
    url = production.url("hotel", "tezcat", password)
    # JSON strings are YAML strings, whatever they hold.
    (folder / "tezcat.yaml").write_text(
        "environments:\n"
        f'  production: {{type: production, database_url: "{url}"}}\n'
        f'  test: {{type: test, database_url: "{test.url("hotel_test")}"}}\n'
        "key: file:tezcat.key\n",
        encoding="utf-8",
    )
    key = folder / "tezcat.key"
    key.touch(mode=0o600)
    key.write_text(generate_key() + "\n", encoding="ascii")
    shutil.copy(RULES, folder / "rules.yaml")
    settings = load_settings(folder / "tezcat.yaml")
    _title(out, "tezcat source sql --environment production, for the DBA")
    address = SourceAddress.parse(url, name="production")
    sessions = {TableName("public", "sessions")}
    statements = await dba_sql(address, publication=settings.publication, unpublished=sessions)
    out.print(Syntax(statements, "sql", background_color="default", word_wrap=True))
    await _as_dba(production, statements)
    # psql's \password, which the SQL asks the DBA for, is interactive.
    async with await _connect(production, "hotel") as connection:
        await connection.execute(sql.SQL("ALTER ROLE tezcat PASSWORD {}").format(sql.Literal(password)))
    out.print("applied by the DBA: psql -v ON_ERROR_STOP=1 -f -")
    _title(out, "tezcat source check --environment production")
    checks = await preflight(address, publication=settings.publication, unpublished=sessions)
    for check in checks:
        out.print(f"{check.status:8} {check.name}: {check.message}", markup=False)
    return settings


async def _as_dba(production: EmbeddedServer, statements: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(binaries(_VERSION) / "psql"),
        *("-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", "-d", production.url("hotel")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=process_environment(),
    )
    _, complaint = await process.communicate(statements.encode())
    if process.returncode:
        raise ServerFailed(f"the DBA's SQL failed: {complaint.decode('utf-8', 'replace').strip()}")


class _Latest:
    """The stream's last word."""

    progress: StreamProgress | None = None

    def take(self, progress: StreamProgress) -> None:
        self.progress = progress


@contextlib.asynccontextmanager
async def _streaming(settings: Settings) -> AsyncIterator[_Latest]:
    """A stream as long as the block; its failure is the block's."""
    stop = asyncio.Event()
    latest = _Latest()
    task = asyncio.create_task(
        stream(
            settings,
            "test",
            until=None,
            until_caught_up=False,
            accept_writable_role=False,
            stop=stop,
            on_progress=latest.take,
        )
    )
    try:
        yield latest
    finally:
        stop.set()
        await task


async def _live_traffic(out: Console, production: EmbeddedServer, latest: _Latest, seconds: float) -> None:
    work = asyncio.create_task(traffic(production.url("hotel"), seconds=seconds, seed=11))
    worst = 0.0
    while not work.done():
        await asyncio.sleep(0.25)
        if latest.progress is not None:
            worst = max(worst, latest.progress.lag_seconds)
            if out.is_terminal:
                out.print(results.stream_line(latest.progress, 0.0), end="\r", markup=False)
    counts = await work
    shown = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    out.print(f"production did: {shown}", markup=False)
    if latest.progress is not None:
        out.print(
            f"the copy followed: {latest.progress.transactions:,} transactions, {latest.progress.changes:,} changes; "
            f"lag at most {worst:.2f} s"
        )


async def _wait_until_caught_up(latest: _Latest) -> None:
    """Until the stream has nothing left of what production did; traffic has ended."""
    deadline = time.monotonic() + 30
    while latest.progress is None or latest.progress.lag_bytes:
        if time.monotonic() > deadline:
            raise ServerFailed("the stream did not catch up within 30 seconds.")
        await asyncio.sleep(0.1)


async def _show_rows(out: Console, settings: Settings, production: EmbeddedServer, test: EmbeddedServer) -> None:
    """The newest rows, each beside its counterpart in the copy, which the plan's masks of its key find.

    This shows originals: it is the demo's own terminal, and its people are made up.
    """
    project = Project.of(settings, "test")
    async with await project.open_source("demo", accept_writable_role=False) as source:
        plan = project.plan(await read_catalog(source))
    async with await _connect(production, "hotel") as source_rows, await _connect(test, "hotel_test") as copy_rows:
        for name, columns in _SHOWN:
            table = Table(title=str(name), title_justify="left", box=None, pad_edge=False, title_style="bold")
            for column in ("", *columns):
                table.add_column(column, overflow="fold")
            query = f"SELECT {', '.join(f'{column}::text' for column in columns)} FROM {name}"
            newest = await source_rows.execute(f"{query} ORDER BY created_at DESC LIMIT 3".encode())
            for row in await newest.fetchall():
                key = pa.RecordBatch.from_arrays([pa.array([row[0].encode()], pa.binary())], names=[columns[0]])
                masked = plan.tables[name].mask(key, escaped=False).column(0)[0].as_py().decode()
                found = await copy_rows.execute(f"{query} WHERE {columns[0]}::text = %s".encode(), (masked,))
                table.add_row("production", *(value or "" for value in row), style="red")
                table.add_row("test", *(value or "" for value in await found.fetchone() or ()), style="green")
            out.print(table)


async def _serve(out: Console, folder: Path, production: EmbeddedServer, test: EmbeddedServer, latest: _Latest) -> None:
    """Go on with calm traffic until Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _title(out, "Serving; Ctrl-C ends it and removes everything")
    out.print(f"production  {production.url('hotel')}", markup=False)
    out.print(f"test        {test.url('hotel_test')}", markup=False)
    out.print(f"settings    {folder / 'tezcat.yaml'} (try: tezcat status -c ...)", markup=False)
    sys.stdout.flush()
    seed = 12
    while not stop.is_set():
        work = asyncio.create_task(
            traffic(production.url("hotel"), seconds=_TRAFFIC_PAUSE_SECONDS, seed=seed, sessions=1)
        )
        ended = asyncio.create_task(stop.wait())
        await asyncio.wait([work, ended], return_when=asyncio.FIRST_COMPLETED)
        for task in (work, ended):
            task.cancel()
        await asyncio.gather(work, ended, return_exceptions=True)
        seed += 1
