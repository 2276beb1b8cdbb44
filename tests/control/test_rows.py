"""Chunks of a clone are grouped so that small tables share a transaction and large chunks have their own; and what is
in a group is there or not for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, pairwise

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.model import TableName
from capture.snapshot import Chunk
from control.rows import _MOST_SMALL, _SMALL_BYTES, CopyChunks, _together
from control.workers import Surroundings, Worker
from sink import progress, unfinished
from sink.target import Connection
from sink.unfinished import FinishedChunk, Phase, Unfinished
from tests.fix_copy import CLONED, FIRST_PROGRESS, OpenTarget, target_address
from tests.fix_postgres import Database
from tests.fix_source import source_address
from transform.plan import Plan, TablePlan

SIZES = st.one_of(st.integers(0, 1000), st.integers(0, 2 * _SMALL_BYTES))


@given(st.lists(SIZES, max_size=300), st.integers(1, 4))
def test_every_chunk_is_in_one_group_and_only_small_ones_of_many_share(sizes: list[int], workers: int) -> None:
    """In their order; as many together as there may be."""
    chunks = [Chunk(TableName("public", f"t{place}"), ("a",), 0, 1, size) for place, size in enumerate(sizes)]
    groups = list(_together(chunks, workers))
    most = max(1, min(_MOST_SMALL, len(chunks) // (8 * workers)))
    assert list(chain(*groups)) == chunks
    for group in groups:
        assert len(group) == 1 or sum(chunk.bytes for chunk in group) <= _SMALL_BYTES
        assert len(group) <= most
    for group, following in pairwise(groups):
        assert len(group) == most or sum(chunk.bytes for chunk in (*group, following[0])) > _SMALL_BYTES


TABLES = [TableName("public", name) for name in ("first", "second", "third")]


@dataclass
class Group:
    """A job of three tables of two rows each, which a worker does in a snapshot; and who looks on."""

    job: CopyChunks
    worker: Worker
    copy: Connection


@pytest.fixture
async def group(production: Database, empty: Database, open_target: OpenTarget) -> AsyncIterator[Group]:
    made = [f"CREATE TABLE {table} (a integer)" for table in TABLES]
    production.execute(
        "DROP SCHEMA public CASCADE", "CREATE SCHEMA public", *made,
        *(f"INSERT INTO {table} VALUES (1), (2)" for table in TABLES),
    )  # fmt: skip
    empty.execute(*made)
    copy = await open_target(empty)
    await progress.install(copy)
    await progress.begin_clone(copy, FIRST_PROGRESS)
    begun = Unfinished("first", Phase.ROWS, CLONED, datetime(2026, 3, 1, tzinfo=UTC), "0" * 64)
    await unfinished.begin(copy, begun, b"")
    plan = Plan({table: TablePlan(table, ("a",), {}) for table in TABLES}, "", "", {}, {})
    worker = Worker(
        Surroundings(source_address(production), None, target_address(empty), None, frozenset(), plan, purpose="clone")
    )
    with psycopg.connect(production.url) as exporter:
        exporter.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        [[snapshot]] = exporter.execute("SELECT pg_export_snapshot()").fetchall()
        chunks = tuple(Chunk(table, ("a",), 0, 1, 8192) for table in TABLES)
        yield Group(CopyChunks(chunks, snapshot, dict.fromkeys(TABLES, 7), "first", CLONED), worker, copy)
    await worker.close()


async def test_a_rewritten_table_does_not_keep_its_neighbours_away(
    production: Database, empty: Database, group: Group
) -> None:
    """Of a group all others are there, exactly once."""
    production.execute("TRUNCATE public.second")
    there, rewritten = await group.job.run(group.worker)
    assert [chunk.table for chunk in there] == [TABLES[0], TABLES[2]]
    assert rewritten == {TABLES[1]}
    assert await unfinished.finished_chunks(group.copy) == [FinishedChunk(c.table, 0, 1, 7, 2, 4) for c in there]
    for table, rows in zip(TABLES, ([(1,), (2,)], [], [(1,), (2,)]), strict=True):
        assert empty.execute(f"SELECT a FROM {table}") == rows


async def test_production_is_not_locked_where_it_was_read(production: Database, group: Group) -> None:
    """Who waits for one table holds no other: a transaction of production that wants both would be a deadlock."""
    with psycopg.connect(production.url) as other:
        other.execute("LOCK TABLE public.third")
        running = asyncio.create_task(group.job.run(group.worker))
        waiting = "SELECT 1 FROM pg_locks WHERE relation = 'public.third'::regclass AND NOT granted"
        await production.comes_to(waiting, [(1,)])
        other.execute("SET lock_timeout = '10s'")
        other.execute("LOCK TABLE public.first, public.second")
    there, rewritten = await running
    assert ([chunk.table for chunk in there], rewritten) == (TABLES, set())
