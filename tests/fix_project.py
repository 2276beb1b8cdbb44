"""A production, a copy of it and the settings that name both, for tests of what composes the two sides.

``project`` holds two fresh databases on server 18, for all tests of a module. The role that reads production was made
by the SQL that ``tezcat source sql`` prints; it needs no password over the Unix socket.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from capture.dba import dba_sql
from capture.source import SourceAddress
from control.settings import Settings, load_settings
from tests.fix_postgres import Database, Server

SCHEMA = """
CREATE TABLE public.guests (id bigint PRIMARY KEY, email text UNIQUE, notes text);
CREATE TABLE public.events (kind text, n int);
ALTER TABLE public.events REPLICA IDENTITY FULL;
CREATE TABLE public.logs (id int, day date, who text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE public.logs_1 PARTITION OF public.logs FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE public.sessions (id int PRIMARY KEY, token text);
CREATE TABLE public.empty (id int PRIMARY KEY);
INSERT INTO public.guests SELECT n, 'canary-' || n || '@example.com', repeat('note ', n % 40)
  FROM generate_series(1, 2000) n;
INSERT INTO public.events SELECT 'kind ' || n % 3, n % 5 FROM generate_series(1, 300) n;
INSERT INTO public.logs SELECT n, date '2025-01-01' + n, 'canary ' || n FROM generate_series(1, 100) n;
INSERT INTO public.sessions VALUES (1, 'canary-token');
"""
RULES = """\
version: 1
tables:
  public.guests: {columns: {id: keep, email: {mask: email}, notes: {mask: text.lorem}}}
  public.events: {columns: {kind: keep, n: keep}}
  public.logs: {columns: {id: keep, day: keep, who: {mask: name.full}}}
  public.sessions: {rows: none}
  public.empty: {columns: {id: keep}}
"""


@dataclass(frozen=True)
class Project:
    """Two databases and the folder with the settings."""

    source: Database
    target: Database
    folder: Path

    @property
    def role(self) -> str:
        return f"{self.source.name}_reader"

    @property
    def settings(self) -> Settings:
        return load_settings(self.folder / "tezcat.yaml")


def write_settings(folder: Path, source: str, targets: dict[str, str]) -> None:
    """tezcat.yaml, the rules and a key, for one production and any targets by name."""
    lines = [f"  {name}: {{type: test, database_url: '{url}'}}" for name, url in targets.items()]
    (folder / "tezcat.yaml").write_text(
        "\n".join(
            [
                "environments:",
                f"  production: {{type: production, database_url: '{source}'}}",
                *lines,
                "key: file:tezcat.key",
                "snapshot: {workers: 2, chunk_bytes: 64KiB}",
                "",
            ]
        )
    )
    key = folder / "tezcat.key"
    key.touch(0o600)
    key.write_text("5e" * 32)
    (folder / "rules.yaml").write_text(RULES)


@pytest.fixture(scope="module")
def project(
    server18: Server, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    name = request.module.__name__.rpartition(".")[2]
    source, target = (Database(server18, f"{name}_{side}") for side in ("source", "target"))
    server18.execute(f"CREATE DATABASE {source.name}", f"CREATE DATABASE {target.name}")
    made = Project(source, target, tmp_path_factory.mktemp(name))
    url = source.url_as(made.role, tcp=False)
    write_settings(made.folder, url, {"test": target.url})
    source.execute(SCHEMA)
    printed = asyncio.run(dba_sql(SourceAddress.parse(url), publication="tezcat"))
    psql = [server18.programs / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", source.url, "-f", "-"]
    subprocess.run(psql, input=printed.encode(), check=True, stdout=subprocess.DEVNULL)
    yield made
    for database in (source, target):
        server18.drop(database.name)
    server18.execute(f"DROP ROLE {made.role}")
