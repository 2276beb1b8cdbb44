"""Statements that are sent together give their results in order, and the first that went wrong stops them."""

from __future__ import annotations

import asyncio

import pytest
from psycopg.pq import PipelineStatus, TransactionStatus

from capture.model import Interrupted, ServerFailed
from sink import pipeline as pipeline_module
from sink.pipeline import Pipeline, RowsMissed
from sink.target import Connection, fetch
from tests.fix_copy import OpenTarget
from tests.fix_postgres import Database


@pytest.fixture
async def connection(shared: Database, open_target: OpenTarget) -> Connection:
    opened = await open_target(shared)
    await fetch(opened, "CREATE TEMPORARY TABLE t (id int PRIMARY KEY, a text)")
    return opened


async def rows(connection: Connection) -> list[tuple[object, ...]]:
    return await fetch(connection, "SELECT id, a FROM t ORDER BY id")


async def test_results_come_in_the_order_of_the_statements(connection: Connection) -> None:
    """One result a statement, also for those that were prepared on the way."""
    pipeline = Pipeline(connection)
    for number in (3, 1, 2):
        pipeline.execute("SELECT $1::int * 10", (b"%d" % number,))
        pipeline.execute("SELECT 'between'")
    results = await pipeline.flush()
    assert [result.get_value(0, 0) for result in results] == [b"30", b"between", b"10", b"between", b"20", b"between"]
    assert await pipeline.flush() == []


async def test_many_statements_go_through_at_once(connection: Connection) -> None:
    """More than are ever queued before ``is_full`` says so; none waits for another's result."""
    pipeline = Pipeline(connection)
    pipeline.execute("BEGIN")
    for number in range(5000):
        pipeline.execute("INSERT INTO t VALUES ($1, $2)", (b"%d" % number, b"x" * 100), expect=1)
    pipeline.execute("COMMIT")
    assert pipeline.is_full
    assert len(await pipeline.flush()) == 5002
    assert not pipeline.is_full
    assert await fetch(connection, "SELECT count(*) FROM t") == [(5000,)]


async def test_large_parameters_and_large_results_do_not_block_each_other(connection: Connection) -> None:
    """Both sides send more than a socket holds, at the same time; NULL and the empty string stay apart."""
    pipeline = Pipeline(connection)
    big = b"x" * (3 << 20)
    for number in range(6):
        pipeline.execute("INSERT INTO t VALUES ($1, $2) RETURNING a", (b"%d" % number, big), expect=1)
    pipeline.execute("INSERT INTO t VALUES (7, $1), (8, $2)", (None, b""), expect=2)
    results = await pipeline.flush()
    assert all(result.get_value(0, 0) == big for result in results[:6])
    assert (await rows(connection))[6:] == [(7, None), (8, "")]


async def test_bytes_fill_a_pipeline_as_statements_do(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction of few large rows is not gathered in memory as a whole."""
    monkeypatch.setattr(pipeline_module, "_BATCH_BYTES", 1000)
    pipeline = Pipeline(connection)
    pipeline.execute("SELECT $1::text, $2::text", (b"x" * 999, None))
    assert not pipeline.is_full
    pipeline.execute("SELECT $1::text, $2::text", (b"x", None))
    assert pipeline.is_full
    await pipeline.flush()
    assert not pipeline.is_full


async def test_rows_that_were_missed_are_named(connection: Connection) -> None:
    """The first statement that touched another number of rows than it had to; nothing is committed by then."""
    await fetch(connection, "INSERT INTO t VALUES (1, 'old')")
    pipeline = Pipeline(connection)
    pipeline.execute("BEGIN")
    pipeline.execute("UPDATE t SET a = $1 WHERE id = $2", (b"new", b"1"), expect=1, what="update of one")
    pipeline.execute("UPDATE t SET a = $1 WHERE id = $2", (b"new", b"2"), expect=1, what="update of two")
    pipeline.execute("DELETE FROM t WHERE id = $1", (b"3",), expect=1, what="delete of three")
    with pytest.raises(RowsMissed, match="update of two") as caught:
        await pipeline.flush()
    assert (caught.value.expected, caught.value.touched) == (1, 0)
    assert connection.info.transaction_status is TransactionStatus.INTRANS
    pipeline.execute("ROLLBACK")
    await pipeline.flush()
    assert await rows(connection) == [(1, "old")]


async def test_a_failed_statement_is_told_without_its_values(connection: Connection) -> None:
    """The error names SQLSTATE and constraint; the connection can be used after a rollback."""
    pipeline = Pipeline(connection)
    pipeline.execute("BEGIN")
    pipeline.execute("INSERT INTO t VALUES ($1, 'canary')", (b"1",), expect=1)
    pipeline.execute("INSERT INTO t VALUES ($1, 'canary')", (b"1",), expect=1)
    pipeline.execute("SELECT 'never reached'")
    with pytest.raises(ServerFailed, match=r"SQLSTATE 23505.*t_pkey") as caught:
        await pipeline.flush()
    assert "canary" not in str(caught.value)
    assert connection.info.transaction_status is TransactionStatus.INERROR
    pipeline.execute("ROLLBACK")
    pipeline.execute("SELECT 'again'")
    assert [result.get_value(0, 0) for result in (await pipeline.flush())[1:]] == [b"again"]
    assert await rows(connection) == []


async def test_a_failed_preparation_is_not_taken_for_prepared(connection: Connection) -> None:
    """After a rollback to a savepoint the same statement is prepared anew, and so is what stood behind it."""
    pipeline = Pipeline(connection)
    late, behind = "INSERT INTO late VALUES ($1)", "INSERT INTO t VALUES ($1, 'behind')"
    pipeline.execute("BEGIN")
    pipeline.execute("SAVEPOINT s")
    await pipeline.flush()
    for _ in range(2):
        pipeline.execute("INSERT INTO t VALUES ($1, 'before')", (b"1",), expect=1)
        pipeline.execute(late, (b"7",), expect=1)
        pipeline.execute(behind, (b"2",), expect=1)
        with pytest.raises(ServerFailed, match="SQLSTATE 42P01"):
            await pipeline.flush()
        pipeline.execute("ROLLBACK TO SAVEPOINT s")
        await pipeline.flush()
    pipeline.execute("CREATE TEMPORARY TABLE late (id int)")
    pipeline.execute(late, (b"7",), expect=1)
    pipeline.execute(behind, (b"2",), expect=1)
    pipeline.execute("COMMIT")
    await pipeline.flush()
    assert await rows(connection) == [(2, "behind")]
    assert await fetch(connection, "SELECT id FROM late") == [(7,)]


async def test_a_statement_is_prepared_once(connection: Connection) -> None:
    """However often it is used, also when another one failed meanwhile."""
    pipeline = Pipeline(connection)
    for number in range(3):
        pipeline.execute("INSERT INTO t VALUES ($1, 'same')", (b"%d" % number,), expect=1)
        await pipeline.flush()
        pipeline.execute("SELECT 1 / $1::int", (b"0",))
        with pytest.raises(ServerFailed, match="22012"):
            await pipeline.flush()
    found = await fetch(connection, "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT%'")
    assert found == [(1,)]


async def test_parameters_may_be_binary(connection: Connection) -> None:
    """All of a statement, or none; NULL is NULL either way."""
    pipeline = Pipeline(connection)
    pipeline.execute("SELECT $1::int + 1, $2::text", (b"\0\0\1\0", None), is_binary=True)
    pipeline.execute("SELECT $1::int + 1, $2::text", (b"256", None))
    [binary, text] = await pipeline.flush()
    assert [binary.get_value(0, 0), text.get_value(0, 0)] == [b"257", b"257"]
    assert [binary.get_value(0, 1), text.get_value(0, 1)] == [None, None]


async def test_what_is_queued_can_be_forgotten(connection: Connection) -> None:
    """Nothing of it is sent, and the pipeline is empty."""
    pipeline = Pipeline(connection)
    for number in range(5000):
        pipeline.execute("INSERT INTO t VALUES ($1, 'forgotten')", (b"%d" % number,))
    assert pipeline.is_full
    pipeline.clear()
    assert not pipeline.is_full
    assert await pipeline.flush() == []
    assert await rows(connection) == []


def test_what_is_queued_shows_no_value() -> None:
    """In a repr."""
    queued = pipeline_module._Queued("INSERT", (b"canary",), False, 1, "insert of t")
    assert "canary" not in repr(queued)


async def test_a_lost_connection_passes_by_itself(
    connection: Connection, open_target: OpenTarget, shared: Database
) -> None:
    """``Interrupted`` lets the stream try again."""
    other = await open_target(shared)
    await fetch(other, "SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
    pipeline = Pipeline(connection)
    pipeline.execute("SELECT 1")
    with pytest.raises(Interrupted):
        await pipeline.flush()


async def test_a_cancelled_flush_leaves_the_connection_usable(connection: Connection, shared: Database) -> None:
    """A stream that is told to stop while the server works can still write down that it stopped."""
    pipeline = Pipeline(connection)
    pipeline.execute("BEGIN")
    pipeline.execute("SELECT pg_sleep(60)")
    pipeline.execute("SELECT 'never reached'")
    flushing = asyncio.create_task(pipeline.flush())
    sleeps = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {connection.info.backend_pid}"
    await shared.comes_to(sleeps, [("PgSleep",)])
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    assert connection.pgconn.pipeline_status == PipelineStatus.OFF
    await fetch(connection, "ROLLBACK")
    assert await rows(connection) == []
    for _ in range(2):
        pipeline.execute("SELECT 'never reached'")
        [result] = await pipeline.flush()
        assert result.get_value(0, 0) == b"never reached"
