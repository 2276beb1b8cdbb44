"""The demo, smaller: what its people would be recognised by is nowhere in the copy."""

from __future__ import annotations

from functools import partial
from io import StringIO

import psycopg
import pytest
from psycopg import sql
from rich.console import Console

from control.console import RichReport
from control.demo import dataset, run
from control.embedded import EmbeddedServer
from control.outcome import Terminal

CANARIES = [canary.encode() for canary in dataset.CANARIES]


async def found_in(url: str) -> dict[bytes, list[str]]:
    """Which tables hold each canary, in any column of any schema that is not the system's."""
    found: dict[bytes, list[str]] = {}
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        tables = await connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
        )
        for name in await tables.fetchall():
            rows = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(sql.Identifier(*name))
            async with connection.cursor() as cursor, cursor.copy(rows) as copy:
                text = b"".join([bytes(row) async for row in copy])
            for canary in CANARIES:
                if canary in text:
                    found.setdefault(canary, []).append(".".join(name))
    return found


def test_the_demo_ends_equal_and_shows_no_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    """All canaries are in production, none is in the copy, and verify finds no difference."""
    seen: list[dict[bytes, list[str]]] = []

    async def look(out: Console, settings: object, production: EmbeddedServer, test: EmbeddedServer) -> None:
        seen.extend([await found_in(production.url("hotel")), await found_in(test.url("hotel_test"))])

    monkeypatch.setattr(run, "_show_rows", look)
    monkeypatch.setattr(run, "_TRAFFIC_SECONDS", 3.0)
    monkeypatch.setattr(dataset, "load", partial(dataset.load, scale=0.02))
    paper = StringIO()
    out, err = Console(file=paper, width=120), Console(file=paper, width=120)
    run.demo(Terminal(out, err, RichReport(err), as_json=False), serve=False)
    in_production, in_copy = seen
    assert set(in_production) == set(CANARIES)
    assert in_copy == {}
    printed = paper.getvalue()
    assert ", 0 differences." in printed
    assert not [canary for canary in dataset.CANARIES if canary in printed]
