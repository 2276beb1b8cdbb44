"""A production connection reads, verifies, names itself, and explains its failures; it cannot write."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, suppress

import psycopg
import pytest

from capture.model import BadInput, Interrupted, Refused, ServerFailed
from capture.source import SourceAddress, connect, identity, map_error, open_replication
from capture.statements import check_replication
from tests.fix_postgres import Database, Server


def address(url: str) -> SourceAddress:
    return SourceAddress.parse(url)


# --------------------------------------------------------------------------------------------------- addresses


def test_an_address_never_shows_its_password() -> None:
    """Neither str, repr nor label holds the password; the conninfo does."""
    parsed = address("postgresql://reader:s3cret@db.example.com:5433/hotel")
    assert "s3cret" not in f"{parsed} {parsed!r} {parsed.label} {[parsed]}"
    assert parsed.label == "production (db.example.com:5433/hotel)"
    assert "s3cret" in parsed.conninfo


def test_an_address_crosses_process_borders() -> None:
    """Snapshot workers get the same address."""
    parsed = address("postgresql://reader:s3cret@db.example.com:5433/hotel")
    assert pickle.loads(pickle.dumps(parsed)) == parsed


@pytest.mark.parametrize(
    "url", ["hunter2 hunter2", "postgresql://u:hunter2@h/db?nope=1", "postgresql://u:hunter2%zz@h"]
)
def test_an_unreadable_url_is_bad_input_and_not_repeated(url: str) -> None:
    """A broken URL may hold the password, so the error does not quote it."""
    with pytest.raises(BadInput, match="database_url of environment production") as caught:
        address(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "sslmode"),
    [
        ("postgresql://db.example.com/hotel", "verify-full"),
        ("postgresql://10.0.0.1/hotel", "verify-full"),
        ("postgresql://db.example.com/hotel?sslmode=require", "require"),
        ("postgresql://db.example.com/hotel?sslmode=disable", "disable"),
        ("postgresql://localhost,db.example.com/hotel", "verify-full"),
        ("host=localhost hostaddr=10.0.0.1", "verify-full"),
        ("service=production", "verify-full"),
        ("postgresql://localhost/hotel", None),
        ("postgresql://127.0.0.2/hotel", None),
        ("postgresql://[::1]/hotel", None),
        ("host=/var/run/postgresql", None),
        ("dbname=hotel", None),
    ],
)
def test_tls_is_verified_unless_the_server_is_here(
    url: str, sslmode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only loopback and Unix sockets go without TLS by default; what the URL says is kept."""
    monkeypatch.delenv("PGHOST", raising=False)
    assert dict(address(url).parameters).get("sslmode") == sslmode


def test_a_host_that_libpq_takes_from_its_variables_is_verified_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGHOST decides where libpq connects to, so it decides about TLS."""
    monkeypatch.setenv("PGHOST", "db.example.com")
    parsed = address("dbname=hotel")
    assert dict(parsed.parameters)["sslmode"] == "verify-full"
    assert parsed.host == "db.example.com"


# ----------------------------------------------------------------------------------------------------- sessions


async def test_a_session_is_read_only_and_prints_values_one_way(database: Database) -> None:
    """Whatever the URL, the role or the database set, the session's settings are ours."""
    database.execute(f"ALTER DATABASE {database.name} SET timezone = 'Asia/Tokyo'")
    url = database.url + "?options=-c%20timezone%3DEurope/Berlin%20-c%20work_mem%3D5MB&application_name=other"
    async with await connect(address(url), purpose="test run", statement_timeout_ms=1234) as connection:
        settings = {row.name: row.setting for row in await connection.fetch("SELECT name, setting FROM pg_settings")}
    expected = {
        "default_transaction_read_only": "on",
        "transaction_read_only": "on",
        "statement_timeout": "1234",
        "lock_timeout": "5000",
        "idle_in_transaction_session_timeout": "0",
        "row_security": "off",
        "search_path": "pg_catalog",
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        "client_encoding": "UTF8",
        "application_name": "tezcat test run",
        "work_mem": "5120",
    }
    assert {name: settings[name] for name in expected} == expected


async def test_a_statement_off_the_list_never_leaves(database: Database) -> None:
    """The allow-list stands before every way to send a statement."""
    database.execute("CREATE TABLE public.t (a int)")
    async with await connect(address(database.url), purpose="test") as connection:
        with pytest.raises(Refused):
            await connection.fetch("INSERT INTO public.t VALUES (1)")
        with pytest.raises(Refused):
            await connection.begin("x'; DELETE FROM public.t; --")
        with pytest.raises(Refused):
            await anext(connection.copy_out("COPY public.t TO STDOUT"))
    assert database.execute("SELECT count(*) FROM public.t") == [(0,)]


async def test_the_session_itself_refuses_to_write(database: Database) -> None:
    """Past the allow-list the server still says no."""
    async with await connect(address(database.url), purpose="test") as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await connection._connection.execute("CREATE TABLE public.t (a int)")


async def test_sessions_that_adopt_a_snapshot_see_the_same_rows(database: Database) -> None:
    """A row that is added after the export is seen by neither."""
    database.execute("CREATE TABLE public.t (a int)", "INSERT INTO public.t VALUES (1)")
    place = address(database.url)
    async with await connect(place, purpose="a") as first, await connect(place, purpose="b") as second:
        await first.begin()
        ((snapshot,),) = await first.fetch("SELECT pg_export_snapshot()")
        database.execute("INSERT INTO public.t VALUES (2)")
        await second.begin(snapshot)
        assert await second.fetch("SELECT a FROM public.t WHERE a = ANY(%s)", ([1, 2],)) == [(1,)]
        await second.rollback()
        assert len(await second.fetch("SELECT a FROM public.t WHERE a <= %(most)s", {"most": 2})) == 2


async def test_identity_is_the_servers_not_the_hosts(database: Database) -> None:
    """The same database by another road has the same identity."""
    async with await connect(address(database.url), purpose="test") as connection:
        over_tcp = await identity(connection)
    async with await connect(address(database.url_as("postgres", tcp=False)), purpose="test") as connection:
        over_socket = await identity(connection)
    assert over_tcp == over_socket
    assert over_tcp.database == database.name
    assert over_tcp.server_version // 10000 == database.server.version
    assert (over_tcp.timeline, over_tcp.in_recovery) == (1, False)
    assert int(over_tcp.system_identifier) > 0


async def test_a_replication_session_makes_slots_and_is_read_only(database: Database) -> None:
    """It speaks the replication protocol and SQL, and cannot write."""
    session = await open_replication(address(database.url), "stream")
    async with session:
        command = "CREATE_REPLICATION_SLOT tezcat_source_test TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT"
        check_replication(command)
        slot = await (await session.execute(command)).fetchone()
        assert slot is not None
        async with await connect(address(database.url), purpose="worker") as worker:
            await worker.begin(slot[2])
            assert await worker.fetch("SELECT 1 AS one") == [(1,)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await session.execute("CREATE TABLE public.t (a int)")


# --------------------------------------------------------------------------------------------------------- COPY


async def test_copy_out_yields_every_row_in_blocks_of_whole_rows(database: Database) -> None:
    """The blocks put together are the table; each ends at a row's end and is about 2 MiB."""
    database.execute(
        "CREATE TABLE public.t AS SELECT g AS id, repeat('x', g % 300) AS text, NULL::int AS nothing "
        "FROM generate_series(1, 40000) AS g"
    )
    async with await connect(address(database.url), purpose="test", statement_timeout_ms=0) as connection:
        blocks = [block async for block in connection.copy_out("COPY (SELECT * FROM ONLY public.t) TO STDOUT")]
        assert await connection.fetch("SELECT 1 AS one") == [(1,)]
    expected = [f"{number}\t{'x' * (number % 300)}\t\\N" for number in range(1, 40001)]
    assert b"".join(blocks).decode().splitlines() == expected
    assert len(blocks) > 2
    assert all(block.endswith(b"\n") for block in blocks)
    assert all(2 << 20 <= len(block) < (2 << 20) + 1000 for block in blocks[:-1])


async def test_copy_out_of_nothing_yields_nothing(database: Database) -> None:
    """An empty table has no block."""
    database.execute("CREATE TABLE public.t (a int)")
    async with await connect(address(database.url), purpose="test") as connection:
        assert [block async for block in connection.copy_out("COPY (SELECT a FROM public.t) TO STDOUT")] == []


async def test_a_row_larger_than_a_block_comes_whole(database: Database) -> None:
    """The block size is no limit on a row's."""
    async with await connect(address(database.url), purpose="test") as connection:
        statement = "COPY (SELECT repeat('x', 9000000)) TO STDOUT"
        assert [len(block) async for block in connection.copy_out(statement)] == [9000001]


async def test_an_error_before_the_first_row_is_ours(database: Database) -> None:
    """A table that is not there is named, and the session goes on."""
    async with await connect(address(database.url), purpose="test") as connection:
        with pytest.raises(ServerFailed, match=r'the relation "public.absent" does not exist'):
            await anext(connection.copy_out("COPY (SELECT 1 FROM public.absent) TO STDOUT"))


async def test_an_error_among_the_rows_is_ours_and_holds_no_value(database: Database) -> None:
    """A cast that fails at a late row ends the copy, and its value is not repeated."""
    database.execute(
        "CREATE TABLE public.t AS SELECT CASE WHEN g < 9000 THEN '1' ELSE 'canary' END AS a "
        "FROM generate_series(1, 9000) AS g"
    )
    async with await connect(address(database.url), purpose="test") as connection:
        with pytest.raises(ServerFailed, match="SQLSTATE 22P02") as caught:
            async for _ in connection.copy_out("COPY (SELECT a::int FROM public.t) TO STDOUT"):
                pass
        assert "canary" not in str(caught.value)
        assert caught.value.__suppress_context__
        assert await connection.fetch("SELECT 1 AS one") == [(1,)]


async def test_a_copy_that_is_left_ends_on_the_server(database: Database) -> None:
    """Walking away in the middle closes the session, so that production stops sending."""
    connection = await connect(address(database.url), purpose="leaver", statement_timeout_ms=0)
    statement = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 10000000)) TO STDOUT"
    async with aclosing(connection.copy_out(statement)) as blocks:
        await anext(blocks)
    with pytest.raises(Interrupted):
        await connection.fetch("SELECT 1")
    await database.comes_to("SELECT 1 FROM pg_stat_activity WHERE application_name = 'tezcat leaver'", [])


async def test_a_copy_can_be_cancelled_while_it_waits(database: Database) -> None:
    """Cancelling a task that waits for a row ends at once."""
    database.execute("CREATE TABLE public.t (a int)")
    with psycopg.connect(database.url) as blocker:
        blocker.execute("LOCK TABLE public.t")
        async with await connect(address(database.url), purpose="test", statement_timeout_ms=0) as connection:
            task = asyncio.ensure_future(anext(connection.copy_out("COPY (SELECT a FROM public.t) TO STDOUT")))
            await database.comes_to(
                "SELECT 1 FROM pg_locks WHERE relation = 'public.t'::regclass AND NOT granted", [(1,)]
            )
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


# ------------------------------------------------------------------------------------------------------- errors


async def failure_of(url: str, *, replication: bool = False) -> ServerFailed:
    """How opening a connection fails."""
    opening = open_replication(address(url), "test") if replication else connect(address(url), purpose="test")
    with pytest.raises(ServerFailed) as caught:
        await opening
    assert caught.value.message.startswith("production (")
    return caught.value


async def test_failures_to_connect_say_why(database: Database, server: Server) -> None:
    """Each usual mistake has its own sentence and its own remedy, and no password in either."""
    reader = f"{database.name}_reader"
    server.execute(f"CREATE ROLE {reader} LOGIN PASSWORD 'right'")
    try:
        wrong = await failure_of(database.url_as(reader, "wr0ng"))
        assert f"the password of role {reader} is wrong" in wrong.message
        assert "wr0ng" not in str(wrong)
        assert "asks for a password" in (await failure_of(database.url_as(reader))).message
        assert "there is no database named absent" in (await failure_of(server.url("absent"))).message
        assert (
            "the role nobody_here does not exist"
            in (await failure_of(database.url_as("nobody_here", tcp=False))).message
        )
        assert "pg_hba.conf" in (await failure_of(server.url("no_entry"))).message
        assert "TLS is demanded" in (await failure_of(database.url + "?sslmode=verify-full")).message
        assert "may not replicate" in (await failure_of(database.url_as(reader, "right"), replication=True)).message
        refused = await failure_of(f"postgresql://postgres@127.0.0.1:{_free_port()}/x")
        assert isinstance(refused, Interrupted)
        assert "nothing answers" in refused.message
        unresolved = await failure_of("postgresql://postgres@absent.invalid/x")
        assert "host's name cannot be resolved" in unresolved.message
    finally:
        server.execute(f"DROP ROLE {reader}")


async def test_failures_of_statements_say_why(database: Database, server: Server) -> None:
    """What a role lacks, a timeout, and a snapshot that is gone are told apart."""
    reader = f"{database.name}_reader"
    database.execute(
        "CREATE TABLE public.secret (a int)",
        "CREATE TABLE public.guarded (a int)",
        "ALTER TABLE public.guarded ENABLE ROW LEVEL SECURITY",
        f"CREATE ROLE {reader} LOGIN",
        f"GRANT SELECT ON public.guarded TO {reader}",
    )
    place = address(database.url_as(reader, tcp=False))
    try:
        async with await connect(place, purpose="test") as connection:
            with pytest.raises(ServerFailed, match="permission denied for table secret"):
                await connection.fetch("SELECT a FROM public.secret")
            with pytest.raises(ServerFailed, match="row-level security would hide rows of guarded"):
                await connection.fetch("SELECT a FROM public.guarded")
            with pytest.raises(ServerFailed, match="the snapshot is gone"):
                await connection.begin("00000003-0000001B-1")
            await connection.rollback()
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tezcat test'"
            )
            with pytest.raises(Interrupted):
                await connection.fetch("SELECT 1")
        async with await connect(place, purpose="test", statement_timeout_ms=1000) as connection:
            with pytest.raises(Interrupted, match="statement_timeout"):
                await connection.fetch("SELECT count(*) FROM generate_series(1, 1000000000)")
    finally:
        database.execute(f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT pg_create_logical_replication_slot('tezcat_twice', 'pgoutput')", "slot tezcat_twice exists already"),
        ("SELECT pg_drop_replication_slot('tezcat_absent')", "slot tezcat_absent does not exist any more"),
        ("SELECT 'canary'::int", "SQLSTATE 22P02"),
        ("INSERT INTO public.t VALUES ('canary'), ('canary')", "SQLSTATE 23505, table public.t, constraint t_pkey"),
    ],
)
def test_no_error_repeats_a_value(database: Database, statement: str, said: str) -> None:
    """Slots, tables and constraints are named; DETAIL, CONTEXT and values are not."""
    database.execute(
        "CREATE TABLE public.t (a text PRIMARY KEY)",
        "SELECT pg_create_logical_replication_slot('tezcat_twice', 'pgoutput')",
    )
    with pytest.raises(psycopg.Error) as caught:
        database.execute(statement)
    mapped = map_error(caught.value, address(database.url))
    assert said in mapped.message
    assert "canary" not in str(mapped)


def test_an_object_that_changes_while_it_is_looked_up_is_no_end(database: Database) -> None:
    """Such errors pass; what else goes wrong inside the server does not, and is told without its words."""
    raised = "DO $$ BEGIN RAISE EXCEPTION '{}' USING ERRCODE = 'XX000'; END $$"
    for text, passes in (
        ("cache lookup failed for type 4711", True),
        ("invalid memory alloc request size 4711", False),
    ):
        with pytest.raises(psycopg.Error) as caught:
            database.execute(raised.format(text))
        mapped = map_error(caught.value, address(database.url))
        assert isinstance(mapped, Interrupted) is passes
        assert "4711" not in mapped.message


# ------------------------------------------------------------------------------------------------------ poolers


@pytest.fixture
def pooler(server18: Server) -> Iterator[Callable[[], str]]:
    """A go-between that hands its clients a process id of its own, as poolers do."""

    def pump(source: socket.socket, sink: socket.socket, *, disguise: bool) -> None:
        # Either side may be gone first.
        with suppress(OSError):
            while data := source.recv(65536):
                if disguise and (at := data.find(b"K\x00\x00\x00")) >= 0:
                    data = data[: at + 5] + b"\x00\x00\x00\x07" + data[at + 9 :]
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        upstream = socket.create_connection(("127.0.0.1", server18.port))
        with closing(client), closing(upstream):
            back = threading.Thread(target=pump, args=(upstream, client), kwargs={"disguise": True})
            back.start()
            pump(client, upstream, disguise=False)
            back.join()

    thread = threading.Thread(target=serve)
    thread.start()
    yield (
        lambda: (
            f"postgresql://postgres@127.0.0.1:{listener.getsockname()[1]}/postgres?sslmode=disable&gssencmode=disable"
        )
    )
    thread.join(timeout=10)
    listener.close()


async def test_a_pooler_is_noticed_and_refused(pooler: Callable[[], str]) -> None:
    """A connection that does not end at the server is not used."""
    assert "a connection pooler answers" in (await failure_of(pooler())).message


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_server_that_halts_while_rows_come_is_not_waited_for(database: Database) -> None:
    """Where a statement may take so long and no longer, neither may its rows."""
    patient = address(f"{database.url}?tcp_user_timeout=1000")
    async with await connect(patient, purpose="tests", statement_timeout_ms=500) as source:
        [[pid]] = await source.fetch("SELECT pg_backend_pid()")
        query = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT"
        async with asyncio.timeout(30), aclosing(source.copy_out(query)) as blocks:
            await anext(blocks)
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(Interrupted, match="has not answered"):
                    async for _ in blocks:
                        pass
            finally:
                os.kill(pid, signal.SIGCONT)
