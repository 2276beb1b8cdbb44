"""Verify sees production and copy at one moment and counts what differs exactly, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from capture.model import Index, Interrupted, Refused, ServerFailed, Table, TableName
from control import cut
from control.clone import clone
from control.report import QuietReport
from control.stream import StreamProgress, stream
from control.verify import VerifyResult, _Comparison, verify
from tests.fix_catalog import table
from tests.fix_project import RULES, Project


@pytest.fixture(scope="module")
def copy(project: Project) -> Project:
    asyncio.run(clone_into(project))
    return project


async def clone_into(project: Project) -> None:
    await clone(
        project.settings,
        "production",
        "test",
        once=False,
        confirm="test",
        accept_writable_role=False,
        report=QuietReport(),
    )


async def check(project: Project) -> VerifyResult:
    async with asyncio.timeout(60):
        return await verify(project.settings, "test", accept_writable_role=False, report=QuietReport())


def counts(result: VerifyResult) -> dict[str, tuple[int, int, int]]:
    """different, missing and extra of the tables that differ."""
    return {
        str(one.table): (one.different, one.missing, one.extra)
        for one in result.tables
        if one.different or one.missing or one.extra
    }


async def nothing_is_left(project: Project) -> None:
    """No slot beside the copy's own, and no hold of a session that lives."""
    await project.source.comes_to("SELECT 1 FROM pg_replication_slots WHERE slot_name LIKE 'tezcat_verify%'", [])
    await project.target.comes_to("SELECT lsn::text FROM tezcat.hold", [])


@contextlib.asynccontextmanager
async def streaming(project: Project) -> AsyncIterator[asyncio.Queue[StreamProgress]]:
    """A stream that runs beside the block, and has begun; what it tells."""
    stop, told = asyncio.Event(), asyncio.Queue[StreamProgress]()
    task = asyncio.create_task(
        stream(
            project.settings,
            "test",
            until=None,
            until_caught_up=False,
            accept_writable_role=False,
            stop=stop,
            on_progress=told.put_nowait,
        )
    )
    try:
        await asyncio.wait_for(told.get(), 60)
        yield told
    finally:
        stop.set()
        await task


async def test_a_copy_that_is_exact_is_equal_where_it_was_brought_to(copy: Project) -> None:
    """Without a stream, verify runs one up to the position at which it looks; rows that were left out are none."""
    copy.source.execute(
        "INSERT INTO public.guests VALUES (3001, 'canary-new@example.com', NULL)",
        "UPDATE public.guests SET id = 3002 WHERE id = 1",
        "DELETE FROM public.events WHERE ctid = (SELECT min(ctid) FROM public.events)",
        "UPDATE public.logs SET id = 5000 WHERE id = 1",
    )
    result = await check(copy)
    assert result.equal
    assert result.consistent
    rows = {str(one.table): (one.rows_source, one.rows_target) for one in result.tables}
    assert rows == {
        "public.empty": (0, 0),
        "public.events": (299, 299),
        "public.guests": (2001, 2001),
        "public.logs_1": (100, 100),
        "public.sessions": (0, 0),
    }
    await nothing_is_left(copy)


async def test_every_kind_of_difference_is_counted_and_named(copy: Project) -> None:
    """By key where there is one, as a multiset where there is none; rows that should not be there at all are extra."""
    undo = [
        "CREATE TABLE public.saved AS SELECT * FROM public.guests",
        "CREATE TABLE public.saved_events AS SELECT * FROM public.events",
    ]
    try:
        copy.target.execute(
            *undo,
            "UPDATE public.guests SET notes = 'by hand' WHERE id IN (10, 11)",
            "UPDATE public.guests SET notes = NULL, email = 'x@example.com' WHERE id = 12",
            "DELETE FROM public.guests WHERE id IN (20, 21, 22)",
            "INSERT INTO public.guests VALUES (9001, 'y@example.com')",
            "DELETE FROM public.events WHERE ctid IN (SELECT min(ctid) FROM public.events GROUP BY n LIMIT 2)",
            "INSERT INTO public.events VALUES ('kind 0', 77)",
            "INSERT INTO public.sessions VALUES (1, 'should not be here')",
        )
        result = await check(copy)
    finally:
        copy.target.execute(
            "TRUNCATE public.guests, public.events, public.sessions",
            "INSERT INTO public.guests SELECT * FROM public.saved",
            "INSERT INTO public.events SELECT * FROM public.saved_events",
            "DROP TABLE public.saved, public.saved_events",
        )
    assert not result.equal
    assert counts(result) == {
        "public.guests": (3, 3, 1),
        "public.events": (0, 2, 1),
        "public.sessions": (0, 0, 1),
    }
    [guests] = [one for one in result.tables if str(one.table) == "public.guests"]
    assert guests.examples == [
        "id = 10: notes differs",
        "id = 11: notes differs",
        "id = 12: email, notes differ",
        "id = 20: the copy lacks it",
        "id = 21: the copy lacks it",
        "id = 22: the copy lacks it",
        "id = 9001: only the copy has it",
    ]
    assert "canary" not in repr(result)


async def test_a_running_stream_is_held_for_a_moment_only(copy: Project) -> None:
    """Production changes all the time; two readers at once both see one moment, and the stream goes on."""
    busy = asyncio.Event()

    async def change() -> None:
        async with await psycopg.AsyncConnection.connect(copy.source.url, autocommit=True) as connection:
            number = 10_000
            while not busy.is_set():
                number += 1
                await connection.execute("INSERT INTO public.guests VALUES (%s, %s)", (number, f"{number}@x.org"))
                await connection.execute(
                    "UPDATE public.events SET n = n + 1 WHERE ctid = (SELECT min(ctid) FROM public.events)"
                )
                await connection.execute("DELETE FROM public.guests WHERE id = %s", (number - 5,))

    async with streaming(copy) as told:
        changing = asyncio.create_task(change())
        first, second = await asyncio.gather(check(copy), check(copy))
        applied = max(first.lsn, second.lsn)
        async with asyncio.timeout(60):
            while (await told.get()).applied_lsn <= applied:
                pass
        busy.set()
        await changing
    for result in (first, second):
        assert counts(result) == {}
        assert result.consistent
    assert first.lsn != second.lsn
    await nothing_is_left(copy)


async def test_nothing_is_left_behind_when_it_is_given_up(copy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither slot nor hold; a transaction that stays open in production is given up in words."""
    monkeypatch.setattr(cut, "_SLOT_PATIENCE", timedelta(seconds=0.5))
    async with await psycopg.AsyncConnection.connect(copy.source.url) as open_transaction:
        await open_transaction.execute("CREATE TABLE public.uncommitted (id int)")
        async with streaming(copy) as told:
            with pytest.raises(ServerFailed, match="had a transaction open"):
                await check(copy)
            # The gate is open again.
            while not told.empty():
                told.get_nowait()
            await asyncio.wait_for(told.get(), 60)
        await open_transaction.rollback()
    await nothing_is_left(copy)


async def test_whoever_locks_our_tables_does_not_keep_the_snapshot(copy: Project, tmp_path: Path) -> None:
    """Nor the command: it is given up when the snapshot is too old."""
    shutil.copytree(copy.folder, tmp_path, dirs_exist_ok=True)
    settings = tmp_path / "tezcat.yaml"
    settings.write_text(settings.read_text().replace("snapshot: {", "snapshot: {max_age: 2s, "))
    hasty = replace(copy, folder=tmp_path)
    async with await psycopg.AsyncConnection.connect(copy.target.url) as other:
        await other.execute("LOCK TABLE tezcat.hold IN SHARE MODE")
        with pytest.raises(Interrupted, match=r"older than snapshot\.max_age"):
            await check(hasty)
        await copy.source.comes_to("SELECT 1 FROM pg_replication_slots WHERE slot_name LIKE 'tezcat_verify%'", [])
        await other.rollback()
    await nothing_is_left(copy)


async def test_what_is_not_a_copy_made_so_is_refused(copy: Project, tmp_path: Path) -> None:
    """Other rules, another key: rows would differ, and nobody would learn why."""
    rules, key = copy.folder / "rules.yaml", copy.folder / "tezcat.key"
    for path, text, says in (
        (rules, RULES.replace("text.lorem", "redact"), "rules have changed"),
        (key, "6f" * 32, "another key"),
    ):
        was = path.read_text()
        path.write_text(text)
        try:
            with pytest.raises(Refused, match=says):
                await check(copy)
        finally:
            path.write_text(was)
    await nothing_is_left(copy)


async def test_a_table_that_production_rewrote_meanwhile_is_not_called_different(
    copy: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot no longer shows its rows, which says nothing about the copy."""
    run = _Comparison.run

    async def after_a_rewrite(*arguments: Any) -> object:
        copy.source.execute("VACUUM FULL public.guests")
        return await run(*arguments)

    monkeypatch.setattr(_Comparison, "run", after_a_rewrite)
    with pytest.raises(ServerFailed, match=r"rewrote or truncated public\.guests"):
        await check(copy)
    await nothing_is_left(copy)


# ------------------------------------------------------------------------------------------------- by which key

GUESTS = table("public.t", "id int8 notnull", "code text notnull", "name text", "made text generated")
CODE = Index("t_code_key", ("code",))


@pytest.mark.parametrize(
    ("indexes", "key"),
    [
        ((), ()),
        ((CODE,), ("code",)),
        ((CODE, Index("t_pkey", ("id",), is_primary=True)), ("id",)),
        ((Index("t_name_key", ("name",)), CODE), ("code",)),
        ((Index("t_made_key", ("made",), is_primary=True), CODE), ("code",)),
        ((replace(CODE, predicate="(id > 0)"),), ()),
        ((replace(CODE, expressions=("lower(name)",)),), ()),
        ((replace(CODE, is_unique=False, is_exclusion=True),), ()),
    ],
)
def test_rows_find_each_other_by_a_key_that_each_has(indexes: tuple[Index, ...], key: tuple[str, ...]) -> None:
    """The primary key, else a unique one that is never NULL, whole, and of columns that are copied."""
    one: Table = replace(GUESTS, indexes=indexes)
    comparison = _Comparison.__new__(_Comparison)
    comparison._tables = {one.name: one}
    assert comparison._match(TableName("public", "t")) == key
