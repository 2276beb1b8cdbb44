"""What an unfinished clone has is recorded with the rows, and by nobody but its runner."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from capture.model import Lsn, TableName
from sink import progress, target, unfinished
from sink.target import Connection, fetch
from sink.unfinished import Fenced, FinishedChunk, Phase, Unfinished
from tests.fix_copy import CLONED, CLONED_AT, FIRST_PROGRESS, OpenTarget
from tests.fix_postgres import Database

BEGUN = Unfinished("first", Phase.SCHEMA, CLONED, CLONED_AT, "c" * 64)
T = TableName("public", "t")
CHUNK = FinishedChunk(T, 0, 4, 99, 3, 30)


@pytest.fixture
async def clone(empty: Database, open_target: OpenTarget) -> Connection:
    """A clone that has begun, and a table."""
    connection = await open_target(empty)
    await progress.install(connection)
    await progress.begin_clone(connection, FIRST_PROGRESS)
    await unfinished.begin(connection, BEGUN, b"PGDMP\x00")
    await fetch(connection, "CREATE TABLE public.t (id int)")
    return connection


async def test_how_far_it_came_is_kept(clone: Connection) -> None:
    """Phase by phase, with the schema's archive, until nothing is left to go on with."""
    assert await unfinished.read(clone) == BEGUN
    assert await unfinished.read_archive(clone) == b"PGDMP\x00"
    for phase in Phase:
        await unfinished.enter(clone, phase)
        assert await unfinished.read(clone) == replace(BEGUN, phase=phase)
    await unfinished.record(clone, [CHUNK], "first", CLONED)
    await unfinished.forget(clone)
    assert await unfinished.read(clone) is None
    assert await unfinished.finished_chunks(clone) == []


async def test_a_chunk_is_there_with_its_rows_or_not_at_all(clone: Connection) -> None:
    """It is recorded in their transaction."""

    async def bring(divisor: int) -> None:
        async with target.transaction(clone):
            await fetch(clone, "INSERT INTO public.t VALUES (1)")
            await unfinished.record(clone, [CHUNK], "first", CLONED)
            assert 1 / divisor

    with pytest.raises(ZeroDivisionError):
        await bring(0)
    assert await unfinished.finished_chunks(clone) == []
    await bring(1)
    assert await unfinished.finished_chunks(clone) == [CHUNK]
    assert await fetch(clone, "SELECT id FROM public.t") == [(1,)]


@pytest.mark.parametrize(("runner", "base"), [("second", CLONED), ("first", Lsn(5))])
async def test_a_worker_that_outlived_its_clone_records_nothing(clone: Connection, runner: str, base: Lsn) -> None:
    """Neither one of another runner, nor one that copied another snapshot."""
    with pytest.raises(Fenced):
        await unfinished.record(clone, [CHUNK], runner, base)
    assert await unfinished.finished_chunks(clone) == []


async def test_a_successor_waits_for_what_is_just_being_recorded(
    clone: Connection, empty: Database, open_target: OpenTarget
) -> None:
    """After that it knows all that will ever be there of the one before."""
    worker = await open_target(empty)
    async with target.transaction(worker):
        await unfinished.record(worker, [CHUNK], "first", CLONED)
        taking = asyncio.create_task(unfinished.take_over(clone))
        done, _ = await asyncio.wait([taking], timeout=0.2)
        assert not done
    state = await taking
    assert state.runner != "first"
    assert await unfinished.finished_chunks(clone) == [CHUNK]
    with pytest.raises(Fenced):
        await unfinished.record(worker, [replace(CHUNK, first_page=4)], "first", CLONED)


async def test_the_base_moves_for_its_runner_only(clone: Connection) -> None:
    """From where it was believed to be."""
    later = CLONED_AT + timedelta(seconds=1)
    await unfinished.move_base(clone, BEGUN, Lsn(9), later, {"public.u": 3})
    assert await unfinished.read(clone) == replace(BEGUN, base_lsn=Lsn(9), base_time=later)
    found = await progress.read(clone)
    assert found is not None
    assert found.unfollowed == {"public.u": 3}
    with pytest.raises(Fenced):
        await unfinished.move_base(clone, BEGUN, Lsn(10), later, {})


async def test_a_table_that_is_emptied_has_no_chunks(clone: Connection) -> None:
    """The others keep theirs, and count their rows."""
    other = replace(CHUNK, table=TableName("public", 'u "'))
    await fetch(clone, 'CREATE TABLE public."u """ (id int)')
    await fetch(clone, "INSERT INTO public.t VALUES (1)")
    for chunk in (CHUNK, replace(CHUNK, first_page=4, end_page=8), other):
        await unfinished.record(clone, [chunk], "first", CLONED)
    await unfinished.empty(clone, [])
    await unfinished.empty(clone, [T])
    assert await unfinished.finished_chunks(clone) == [other]
    assert await fetch(clone, "SELECT id FROM public.t") == []
    await unfinished.count_rows(clone, other.table, -2)
    assert await unfinished.finished_chunks(clone) == [replace(other, rows=1)]


async def test_sessions_that_a_killed_clone_left_are_ended(
    clone: Connection, empty: Database, open_target: OpenTarget
) -> None:
    """Those of that name only."""
    orphan, other = await open_target(empty, "clone"), await open_target(empty, "stream")
    await unfinished.stop_orphans(clone, "tezcat clone")
    with pytest.raises(target.ServerFailed):
        await fetch(orphan, "SELECT 1")
    assert await fetch(other, "SELECT 1") == [(1,)]
