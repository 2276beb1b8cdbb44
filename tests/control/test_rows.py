"""Chunks of a clone are grouped so that small tables share a transaction and large chunks have their own; and what is
in a group is there or not for itself."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain, pairwise

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from capture.model import TableName
from capture.snapshot import Chunk
from control.rows import _MOST_SMALL, _SMALL_BYTES, CopyChunks, _together
from control.workers import Surroundings, Worker
from sink import progress, unfinished
from sink.unfinished import FinishedChunk, Phase, Unfinished
from tests.fix_copy import CLONED, FIRST_PROGRESS, OpenTarget, target_address
from tests.fix_postgres import Database
from tests.fix_source import source_address
from transform.plan import Plan, TablePlan

SIZES = st.one_of(st.integers(0, 1000), st.integers(0, 2 * _SMALL_BYTES))


@given(st.lists(SIZES, max_size=100))
def test_every_chunk_is_in_one_group_and_only_small_ones_share(sizes: list[int]) -> None:
    """In their order; as many together as there may be."""
    chunks = [Chunk(TableName("public", f"t{place}"), ("a",), 0, 1, size) for place, size in enumerate(sizes)]
    groups = list(_together(chunks))
    assert list(chain(*groups)) == chunks
    for group in groups:
        assert len(group) == 1 or sum(chunk.bytes for chunk in group) <= _SMALL_BYTES
        assert len(group) <= _MOST_SMALL
    for group, following in pairwise(groups):
        assert len(group) == _MOST_SMALL or sum(chunk.bytes for chunk in (*group, following[0])) > _SMALL_BYTES


async def test_a_rewritten_table_does_not_keep_its_neighbours_away(
    production: Database, empty: Database, open_target: OpenTarget
) -> None:
    """Of a group all others are there, exactly once."""
    tables = [TableName("public", name) for name in ("first", "second", "third")]
    made = [f"CREATE TABLE {table} (a integer)" for table in tables]
    production.execute(*made, *(f"INSERT INTO {table} VALUES (1), (2)" for table in tables))
    empty.execute(*made)
    copy = await open_target(empty)
    await progress.install(copy)
    await progress.begin_clone(copy, FIRST_PROGRESS)
    begun = Unfinished("first", Phase.ROWS, CLONED, datetime(2026, 3, 1, tzinfo=UTC), "0" * 64)
    await unfinished.begin(copy, begun, b"")
    plan = Plan({table: TablePlan(table, ("a",), {}) for table in tables}, "", "", {}, {})
    around = Surroundings(
        source_address(production), None, target_address(empty), None, frozenset(), plan, purpose="clone"
    )
    worker = Worker(around)
    chunks = tuple(Chunk(table, ("a",), 0, 1, 8192) for table in tables)
    with psycopg.connect(production.url) as exporter:
        exporter.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        [[snapshot]] = exporter.execute("SELECT pg_export_snapshot()").fetchall()
        production.execute("TRUNCATE public.second")
        job = CopyChunks(chunks, snapshot, dict.fromkeys(tables, 7), "first", CLONED)
        there, rewritten = await job.run(worker)
    await worker.close()
    assert [chunk.table for chunk in there] == [tables[0], tables[2]]
    assert rewritten == {tables[1]}
    assert await unfinished.finished_chunks(copy) == [FinishedChunk(c.table, 0, 1, 7, 2, 4) for c in there]
    for table, rows in zip(tables, ([(1,), (2,)], [], [(1,), (2,)]), strict=True):
        assert empty.execute(f"SELECT a FROM {table}") == rows
