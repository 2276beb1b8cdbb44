"""A copy, and appliers that work on it."""

from __future__ import annotations

from typing import Any

import pytest

from capture.model import (
    ColumnName,
    Lsn,
    Sequence,
    Table,
    TableName,
)
from sink import apply as apply_module
from sink import load, progress, statements
from sink.apply import Applier
from sink.columns import read_converted_types
from sink.sequences import SequenceMarks
from sink.statements import TableShape
from tests.fix_copy import OpenTarget
from tests.fix_postgres import Database
from tests.sink.made_windows import (
    ALWAYS,
    BARE,
    FULL,
    KEYED,
    Begin,
)


@pytest.fixture
def copy(marked: Database) -> Database:
    marked.execute(
        "CREATE TABLE public.keyed (id bigint PRIMARY KEY, a text, b text DEFAULT 'of the copy')",
        "CREATE TABLE public.fully (id bigint, a text, b text)",
        "CREATE TABLE public.always (id bigint PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY, a text)",
        "CREATE TABLE public.bare ()",
        "CREATE SEQUENCE public.ids",
        "INSERT INTO public.keyed VALUES (1, 'one', 'toast'), (2, 'two', 'toast')",
        "INSERT INTO public.fully VALUES (1, NULL, 'x'), (1, NULL, 'x'), (2, 'two', 'y')",
        "INSERT INTO public.always OVERRIDING SYSTEM VALUE VALUES (1, 11, 'one'), (2, 12, 'two')",
    )
    return marked


@pytest.fixture
def applier(copy: Database, open_target: OpenTarget) -> Begin:
    """Make appliers as a session does, each on a connection of its own; for tables that a test brings, too."""

    async def make(runner: str = "runner", *tables: Table, takes_over: bool = True) -> Applier:
        connection = await open_target(copy)
        await load.as_replica(connection)
        if takes_over:
            await progress.become_runner(connection, runner)
        converted = await read_converted_types(connection)
        shapes = {table.name: TableShape.of(table, converted) for table in (KEYED, FULL, ALWAYS, BARE, *tables)}
        ids = Sequence(TableName("public", "ids"), "bigint", 1, 1, 2**31, (ColumnName(KEYED.name, "id"),))
        marks = SequenceMarks((ids,), {}, {ColumnName(KEYED.name, "id")})
        [[now]] = copy.execute("SELECT applied_lsn::text FROM tezcat.progress")
        return Applier(connection, shapes, marks, applied_lsn=Lsn.parse(now), runner=runner)

    return make


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """By which statements changes were applied."""
    used: set[str] = set()

    def spy(module: Any, name: str) -> None:
        real = getattr(module, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            used.add(name)
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, wrapped)

    for name in ("insert", "update", "delete", "find", "replace", "insert_many", "update_many", "delete_many"):
        spy(statements, name)
    spy(apply_module, "copy_in")
    return used
