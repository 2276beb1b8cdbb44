"""Chunks cover every row of a snapshot exactly once, whatever production does meanwhile, or say that they cannot."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.rows import TupleRow

from capture.catalog import read_catalog
from capture.model import Sequence, ServerFailed, Table, TableName
from capture.snapshot import (
    Chunk,
    Pages,
    TableRewritten,
    dump_schema,
    plan_chunks,
    read_chunk,
    read_files,
    read_sequences,
    remaining_chunks,
)
from capture.source import SourceAddress, SourceConnection, connect
from control.programs import run
from tests.fix_catalog import table
from tests.fix_postgres import Database, Server
from tests.fix_source import source_address
from tests.waiting import eventually

PG16 = 160000


@pytest.fixture
async def exporter(production: Database) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
    """A session whose snapshot others adopt."""
    async with await psycopg.AsyncConnection.connect(production.url) as connection:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield connection


async def export(exporter: psycopg.AsyncConnection[TupleRow]) -> str:
    [(name,)] = await (await exporter.execute("SELECT pg_export_snapshot()")).fetchall()
    return str(name)


async def rows(source: SourceConnection, chunk: Chunk, snapshot: str) -> list[bytes]:
    async with aclosing(read_chunk(source, chunk, snapshot)) as blocks:
        return b"".join([block async for block in blocks]).splitlines()


# -------------------------------------------------------------------------------------------------------- chunks


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 1 << 40)), max_size=5),
    st.integers(1, 1 << 32),
    st.sampled_from([130000, 140000, 180000]),
)
def test_chunks_part_the_pages_of_each_table(sizes: list[tuple[int, int]], chunk_bytes: int, version: int) -> None:
    """They follow each other without gap or overlap, the last has no end, and none is empty by plan."""
    tables = [
        replace(table(f"public.t{number}", "id int8"), pages=pages, bytes=size)
        for number, (pages, size) in enumerate(sizes)
    ]
    chunks = plan_chunks(tables, chunk_bytes, version)
    assert [chunk.bytes for chunk in chunks] == sorted((chunk.bytes for chunk in chunks), reverse=True)
    for one in tables:
        own = sorted((chunk for chunk in chunks if chunk.table == one.name), key=lambda chunk: chunk.first_page)
        assert own[0].first_page == 0
        assert [chunk.end_page for chunk in own] == [*(chunk.first_page for chunk in own[1:]), None]
        assert all(chunk.first_page < max(one.pages, 1) for chunk in own)
        if version < 140000:
            assert len(own) == 1


@given(
    st.integers(0, 500),
    st.lists(st.tuples(st.integers(0, 600), st.integers(1, 80)), max_size=8),
    st.integers(1, 200),
    st.sampled_from([130000, 140000, 180000]),
)
def test_what_remains_is_what_is_not_finished(
    pages: int, finished: list[tuple[int, int]], chunks: int, version: int
) -> None:
    """Each page that lies in the table and in no finished range is in one chunk, and no other is in any."""
    one = replace(table("public.t", "id int8"), pages=pages, bytes=pages * 8192)
    done = [Pages(first, first + count) for first, count in finished]
    remaining = remaining_chunks([one], {one.name: done}, max(1, one.bytes // chunks), version)
    found = Counter(page for chunk in remaining for page in range(chunk.first_page, chunk.end_page or 0))
    expected = set(range(max(pages, 1))) - {page for each in done for page in range(each.first, each.end)}
    assert found == Counter(expected)


def test_a_chunk_is_about_as_large_as_asked_for() -> None:
    """TOAST counts, so few pages may make many chunks."""
    big = replace(table("public.t", "id int8"), pages=1000, bytes=64 << 20)
    assert len(plan_chunks([big], 16 << 20, PG16)) == 4
    assert len(plan_chunks([replace(big, bytes=1 << 40)], 16 << 20, PG16)) == 1000


def test_only_tables_that_hold_rows_have_chunks() -> None:
    """A partitioned table's rows lie in its partitions; an empty table is read all the same, for it may have grown."""
    root, empty = table("public.root", "id int8", kind="p"), table("public.empty", "id int8", "g text generated")
    [chunk] = plan_chunks([root, empty], 1000, PG16)
    assert chunk == Chunk(empty.name, ("id",), 0, None, 0)


def test_a_chunks_statement_names_its_columns_and_pages() -> None:
    """Quoted where needed; ONLY, because children have chunks of their own."""
    chunk = Chunk(TableName("Odd", "select"), ("a", 'B"c'), 3, 9, 1)
    assert chunk.statement == (
        """COPY (SELECT a, "B""c" FROM ONLY "Odd"."select" WHERE ctid >= '(3,0)'::tid AND ctid < '(9,0)'::tid)"""
        " TO STDOUT"
    )


# ---------------------------------------------------------------------------------------------------------- rows

CHURN = """
CREATE TABLE public.churned (id serial PRIMARY KEY, a text) WITH (fillfactor = 50);
INSERT INTO public.churned (a) SELECT repeat('x', 300) FROM generate_series(1, 400);
DELETE FROM public.churned WHERE id % 7 = 0;
UPDATE public.churned SET a = repeat('y', 200) WHERE id % 5 = 0;
CREATE TABLE public.churned_child () INHERITS (public.churned);
INSERT INTO public.churned_child (a) VALUES ('of the child');
"""


@pytest.fixture(scope="module")
def churned(production: Database) -> Database:
    production.execute(CHURN)
    return production


async def table_of(source: SourceConnection, name: str) -> Table:
    return (await read_catalog(source)).tables[TableName("public", name)]


@settings(max_examples=5)
@given(parts=st.integers(1, 12))
def test_every_row_is_in_one_chunk(churned: Database, parts: int) -> None:
    """In tables with holes and dead rows, while production goes on changing them."""

    async def read() -> None:
        async with (
            await connect(source_address(churned), purpose="tests") as source,
            await psycopg.AsyncConnection.connect(churned.url) as exporter,
        ):
            await exporter.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            snapshot = await export(exporter)
            cursor = await exporter.execute("SELECT id::text FROM ONLY public.churned")
            expected = Counter(key.encode() for (key,) in await cursor.fetchall())
            churned_table = await table_of(source, "churned")
            found: Counter[bytes] = Counter()
            for chunk in plan_chunks([churned_table], churned_table.bytes // parts, source.server_version):
                found.update(row.partition(b"\t")[0] for row in await rows(source, chunk, snapshot))
                churned.execute(
                    "UPDATE public.churned SET a = repeat('z', 400) WHERE id % 11 = 1",
                    "INSERT INTO public.churned (a) SELECT repeat('n', 300) FROM generate_series(1, 20)",
                    "DELETE FROM public.churned WHERE id IN (SELECT id FROM public.churned ORDER BY id DESC LIMIT 10)",
                )
            assert found == expected
            # The root alone, without what a child holds.
            assert len(expected) > 300

    asyncio.run(read())


async def test_rows_that_lie_beyond_the_planned_pages_are_read(
    production: Database, source: SourceConnection, exporter: psycopg.AsyncConnection[TupleRow]
) -> None:
    """The table may have grown between planning and the snapshot."""
    production.execute("CREATE TABLE public.grown (id int, a text)", "INSERT INTO public.grown VALUES (1, 'x')")
    [chunk] = plan_chunks([await table_of(source, "grown")], 1 << 20, PG16)
    production.execute("INSERT INTO public.grown SELECT n, repeat('x', 1000) FROM generate_series(2, 50) n")
    assert len(await rows(source, chunk, await export(exporter))) == 50


async def test_generated_columns_are_not_read(
    production: Database, source: SourceConnection, exporter: psycopg.AsyncConnection[TupleRow]
) -> None:
    """The copy makes its own."""
    production.execute(
        "CREATE TABLE public.made (a text, g text GENERATED ALWAYS AS (a || '!') STORED, b int)",
        "INSERT INTO public.made VALUES ('x', DEFAULT, 1)",
    )
    [chunk] = plan_chunks([await table_of(source, "made")], 1 << 20, PG16)
    assert await rows(source, chunk, await export(exporter)) == [b"x\t1"]


@pytest.mark.parametrize(
    "rewrite",
    [
        "VACUUM FULL public.rewritten",
        "TRUNCATE public.rewritten",
        "CLUSTER public.rewritten USING rewritten_pkey",
        "ALTER TABLE public.rewritten ALTER COLUMN n TYPE numeric(12,4)",
        "DROP TABLE public.rewritten; CREATE TABLE public.rewritten (id int, n int, a text)",
    ],
)
async def test_a_table_that_was_rewritten_under_the_snapshot_is_not_read(
    production: Database, source: SourceConnection, exporter: psycopg.AsyncConnection[TupleRow], rewrite: str
) -> None:
    """Its rows lie on other pages now, or no snapshot shows them any more: chunks would lose or repeat some."""
    production.execute(
        "DROP TABLE IF EXISTS public.rewritten",
        "CREATE TABLE public.rewritten (id int PRIMARY KEY, n numeric(10,2), a text)",
        "INSERT INTO public.rewritten SELECT n, n, repeat('x', 500) FROM generate_series(1, 100) n",
        "DELETE FROM public.rewritten WHERE id < 50",
    )
    snapshot = await export(exporter)
    first, *others = plan_chunks([await table_of(source, "rewritten")], 16384, PG16)
    assert others
    await rows(source, first, snapshot)
    name = TableName("public", "rewritten")
    before = (await read_files(source))[name]
    production.execute(rewrite)
    assert (await read_files(source))[name] != before
    with pytest.raises(TableRewritten, match=r"rewrote or truncated public\.rewritten"):
        await rows(source, others[0], snapshot)
    # The session is free for the next chunk.
    assert await source.fetch("SELECT 1") == [(1,)]


async def test_a_chunk_that_is_not_read_to_its_end_closes_the_session(
    churned: Database, exporter: psycopg.AsyncConnection[TupleRow]
) -> None:
    """The server would go on sending."""
    async with await connect(source_address(churned), purpose="tests") as source:
        [chunk] = plan_chunks([await table_of(source, "churned")], 1 << 30, PG16)
        chunk = replace(chunk, columns=("id", *["a"] * 200))
        async with aclosing(read_chunk(source, chunk, await export(exporter))) as blocks:
            async for _ in blocks:
                break
        with pytest.raises(ServerFailed):
            await source.fetch("SELECT 1")


# ----------------------------------------------------------------------------------------------------- sequences


async def test_a_sequence_that_never_gave_a_value_has_none(production: Database, source: SourceConnection) -> None:
    """Its last_value is then the first that it will give."""
    production.execute(
        'CREATE SEQUENCE public."Used"', "SELECT nextval('public.\"Used\"')", "CREATE SEQUENCE public.fresh"
    )
    names = TableName("public", "Used"), TableName("public", "fresh")
    sequences = [Sequence(name, "bigint", 1, 1, 100) for name in names]
    assert await read_sequences(source, sequences) == {names[0]: 1, names[1]: None}


async def test_a_sequence_that_was_set_goes_on_from_there(production: Database, source: SourceConnection) -> None:
    """Restores and bulk loads set the next value, of which none is called yet: the one before is as good as given."""
    production.execute(
        "CREATE SEQUENCE public.set INCREMENT 10",
        "SELECT setval('public.set', 501, false)",
        "CREATE SEQUENCE public.restarted START 5",
        "ALTER SEQUENCE public.restarted RESTART 700",
        "CREATE SEQUENCE public.down INCREMENT -1",
        "SELECT setval('public.down', -51, false)",
    )
    up, restarted, down = (TableName("public", name) for name in ("set", "restarted", "down"))
    sequences = [
        Sequence(up, "bigint", 10, 1, 1000),
        Sequence(restarted, "bigint", 1, 1, 1000),
        Sequence(down, "bigint", -1, -1000, -1),
    ]
    assert await read_sequences(source, sequences) == {up: 491, restarted: 699, down: -50}


# -------------------------------------------------------------------------------------------------------- schema


async def test_the_schema_is_dumped_as_of_the_snapshot(
    production: Database, exporter: psycopg.AsyncConnection[TupleRow], tmp_path: Path
) -> None:
    """What was made later is not in it, and no row is."""
    production.execute("CREATE TABLE public.dumped AS SELECT 'canary-7f3a' AS a")
    snapshot = await export(exporter)
    production.execute("CREATE TABLE public.made_later (id int)")
    archive = tmp_path / "schema"
    binary = production.server.programs / "pg_dump"
    await dump_schema(binary, source_address(production), snapshot, archive, run)
    production.execute("DROP TABLE public.made_later")
    listed = await listing(production.server, archive)
    assert "dumped" in listed
    assert "made_later" not in listed
    assert "TABLE DATA" not in listed
    assert b"canary-7f3a" not in archive.read_bytes()


async def listing(server: Server, archive: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        server.programs / "pg_restore", "--list", archive, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode()


async def test_why_the_schema_could_not_be_dumped_is_told(production: Database, tmp_path: Path) -> None:
    """The first error of pg_dump, where, and what to do; the password is on no command line."""
    recorded = tmp_path / "recorded"
    program = tmp_path / "pg_dump"
    program.write_text(
        f'#!/bin/sh\necho "$@" "$PGPASSWORD" > {recorded}\n'
        'echo "pg_dump: warning: w\npg_dump: error: query failed\npg_dump: detail: d" >&2\nexit 1\n'
    )
    program.chmod(0o700)
    address = SourceAddress.parse(production.url_as("postgres", "s3cret"))
    with pytest.raises(ServerFailed, match="could not be read: query failed") as caught:
        await dump_schema(program, address, "00000003-1", tmp_path / "schema", run)
    assert "source check" in caught.value.hint
    arguments = recorded.read_text().split()
    assert arguments.pop() == "s3cret"
    assert "s3cret" not in " ".join(arguments)
    assert "default_transaction_read_only=on" in " ".join(arguments)


async def test_a_cancelled_dump_leaves_no_process(production: Database, tmp_path: Path) -> None:
    """Ctrl-C ends the child too."""
    started = tmp_path / "started"
    program = tmp_path / "pg_dump"
    program.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 60\n")
    program.chmod(0o700)
    task = asyncio.create_task(dump_schema(program, source_address(production), "s", tmp_path / "schema", run))
    await eventually(lambda: started.exists() and bool(started.read_text().strip()), "the program has begun")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
