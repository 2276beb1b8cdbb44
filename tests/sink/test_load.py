"""Rows are loaded as they come, and what would make the copy something else than a copy is made quiet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import psycopg
import pyarrow as pa
import pytest

from capture.model import Interrupted, ServerFailed, TableName
from sink import load, progress
from sink.target import Connection, Standing, TargetAddress, connect, fetch, standing
from tests.fix_copy import OpenTarget
from tests.fix_postgres import Database, Server

T = TableName("public", "t")
CANARY = "canary-7f3a"


async def blocks(*texts: str | pa.Buffer | BaseException) -> AsyncIterator[bytes | pa.Buffer]:
    for text in texts:
        if isinstance(text, BaseException):
            raise text
        yield text.encode() if isinstance(text, str) else text


@pytest.fixture
async def connection(marked: Database, open_target: OpenTarget) -> Connection:
    opened = await open_target(marked)
    await fetch(opened, 'CREATE TABLE public.t (id int PRIMARY KEY, "select" text)')
    return opened


# ------------------------------------------------------------------------------------------------------- copy_in


async def test_blocks_of_any_kind_become_rows(connection: Connection) -> None:
    """Bytes and Arrow buffers, of the columns named, in their order; the count is of all blocks."""
    rows = blocks("a\t1\n\\N\t2\n", "", pa.py_buffer(b"tab\\t\t3\n"), "x" * 300_000 + "\t4\n")
    assert await load.copy_in(connection, T, ("select", "id"), rows) == 4
    found = await fetch(connection, 'SELECT id, left("select", 4) FROM public.t ORDER BY id')
    assert found == [(1, "a"), (2, None), (3, "tab\t"), (4, "xxxx")]


async def test_no_blocks_are_no_rows(connection: Connection) -> None:
    """An empty table is loaded too."""
    assert await load.copy_in(connection, T, ("id",), blocks()) == 0


async def test_rows_that_do_not_fit_are_refused_without_their_values(connection: Connection) -> None:
    """PostgreSQL quotes the whole line in its CONTEXT; of the chunk nothing stays."""
    for text in (f"1\t{CANARY}\n1\t{CANARY}\n", f"{CANARY}\tx\n", f"1\t{CANARY}\t{CANARY}\n"):
        with pytest.raises(ServerFailed, match="SQLSTATE") as caught:
            await load.copy_in(connection, T, ("id", "select"), blocks(text))
        assert CANARY not in f"{caught.value!r} {caught.value}"
        assert " at public.t" in caught.value.message
        assert caught.value.__suppress_context__
    assert await fetch(connection, "SELECT count(*) FROM public.t") == [(0,)]


async def test_the_column_of_a_value_that_is_none_is_named(connection: Connection) -> None:
    """A value that reads like the server's words about another column is not taken for them."""
    for text in (f", line 2, column {CANARY}: x\tx\n", f"1\tx, line 2, column {CANARY}: x\tx\n"):
        with pytest.raises(ServerFailed, match=r" at public\.t") as caught:
            await load.copy_in(connection, T, ("id", "select"), blocks(text))
        assert CANARY not in f"{caught.value!r} {caught.value}"
        assert ("column id. A masked value is none of its column's type" in str(caught.value)) == (text[0] == ",")


async def test_a_failure_to_make_rows_is_raised_as_it_was(connection: Connection) -> None:
    """The load is given up, nothing stays, and the connection can go on."""
    with pytest.raises(ServerFailed, match="production went away"):
        await load.copy_in(connection, T, ("id",), blocks("1\n", ServerFailed("production went away")))
    with pytest.raises(ValueError, match="a defect"):
        await load.copy_in(connection, T, ("id",), blocks("1\n", ValueError("a defect")))
    assert await fetch(connection, "SELECT count(*) FROM public.t") == [(0,)]


async def test_the_servers_log_does_not_learn_why_rows_could_not_be_made(
    connection: Connection, server18: Server
) -> None:
    """A library's exception may quote a value, and psycopg sends its text along."""
    with pytest.raises(ValueError, match=CANARY):
        await load.copy_in(connection, T, ("id",), blocks("1\n", ValueError(f"cannot read '{CANARY}-logged'")))
    log = (server18.folder / "log").read_text()
    assert "COPY from stdin failed" in log
    assert f"{CANARY}-logged" not in log


async def test_what_rows_are_read_from_is_let_go_when_the_target_fails(
    marked: Database, connection: Connection
) -> None:
    """A generator that was left in the middle would keep its connection to production, and a worker with it."""
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"1\tx\n"
            marked.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 60000)")
            while True:
                yield b"2\tx\n" * 100_000
        finally:
            closed.set()

    with pytest.raises(Interrupted):
        await load.copy_in(connection, T, ("id", "select"), endless())
    assert closed.is_set()


# ---------------------------------------------------------------------------------------------------- as_replica


async def test_a_session_that_ends_before_it_is_quiet_is_interrupted(
    marked: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between one statement and the next, too: that passes, and a stream begins again."""

    async def fetch_and_end(*arguments: str) -> list[tuple[object, ...]]:
        found = await fetch(connection, *arguments[1:])
        marked.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 60000)")
        return found

    monkeypatch.setattr(load, "fetch", fetch_and_end)
    with pytest.raises(Interrupted):
        await load.as_replica(connection)


async def test_a_replica_session_fires_nothing(connection: Connection) -> None:
    """Neither triggers nor foreign keys."""
    for statement in (
        "CREATE TABLE public.u (id int REFERENCES public.t)",
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON public.u FOR EACH ROW EXECUTE FUNCTION public.refuse()",
    ):
        await fetch(connection, statement)
    await load.as_replica(connection)
    assert await load.copy_in(connection, TableName("public", "u"), ("id",), blocks("7\n")) == 1


async def test_a_replica_session_knows_how_extensions_compare(connection: Connection) -> None:
    """The key of a table may be of an extension's type, whose equality stands in the extension's schema."""
    for statement in (
        'CREATE SCHEMA "Odd Extensions"',
        'CREATE EXTENSION vector SCHEMA "Odd Extensions"',
        'CREATE TABLE public.v (id "Odd Extensions".vector(2) PRIMARY KEY)',
        "INSERT INTO public.v VALUES ('[1,2]')",
    ):
        await fetch(connection, statement)
    await load.as_replica(connection)
    result = connection.pgconn.exec_params(b"DELETE FROM ONLY public.v WHERE id = $1", [b"[1,2]"])
    assert result.command_tuples == 1
    await fetch(connection, 'DROP SCHEMA "Odd Extensions" CASCADE')


async def test_a_user_who_may_not_be_a_replica_is_told_the_grant(marked: Database) -> None:
    """The statement is ready to be copied."""
    marked.execute("DROP ROLE IF EXISTS plain_owner", "CREATE ROLE plain_owner LOGIN")
    address = TargetAddress.parse(marked.url_as("plain_owner", tcp=False), name="test")
    async with await connect(address, productions=(), purpose="clone") as connection:
        with pytest.raises(ServerFailed, match="may not set session_replication_role") as caught:
            await load.as_replica(connection)
    assert "GRANT SET ON PARAMETER session_replication_role TO plain_owner" in caught.value.hint


# -------------------------------------------------------------------------------------------------------- settle

TRIGGERS = """
CREATE TABLE public.logged (id int);
CREATE TABLE public.log (what text);
CREATE TABLE public.parted (id int) PARTITION BY LIST (id);
CREATE TABLE public.parted_1 PARTITION OF public.parted FOR VALUES IN (1);
CREATE TABLE public.parted_2 PARTITION OF public.parted FOR VALUES IN (2);
CREATE FUNCTION public.write() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.log VALUES (TG_NAME || ' on ' || TG_TABLE_NAME); RETURN NULL; END $$;
CREATE TRIGGER "Always" AFTER INSERT ON public.logged FOR EACH ROW EXECUTE FUNCTION public.write();
CREATE TRIGGER origin AFTER INSERT ON public.logged FOR EACH ROW EXECUTE FUNCTION public.write();
CREATE TRIGGER replica AFTER INSERT ON public.logged FOR EACH ROW EXECUTE FUNCTION public.write();
CREATE TRIGGER off AFTER INSERT ON public.logged FOR EACH ROW EXECUTE FUNCTION public.write();
ALTER TABLE public.logged ENABLE ALWAYS TRIGGER "Always", ENABLE REPLICA TRIGGER replica, DISABLE TRIGGER off;
CREATE RULE always AS ON INSERT TO public.logged DO ALSO INSERT INTO public.log VALUES ('rule');
ALTER TABLE public.logged ENABLE ALWAYS RULE always;
CREATE TRIGGER parted AFTER INSERT ON public.parted FOR EACH ROW EXECUTE FUNCTION public.write();
ALTER TABLE public.parted ENABLE ALWAYS TRIGGER parted;
ALTER TABLE public.parted_2 DISABLE TRIGGER parted;
CREATE TABLE public.child (id int) PARTITION BY LIST (id);
CREATE TABLE public.child_1 PARTITION OF public.child FOR VALUES IN (1);
CREATE TRIGGER child AFTER INSERT ON public.child FOR EACH ROW EXECUTE FUNCTION public.write();
ALTER TABLE public.child_1 ENABLE ALWAYS TRIGGER child;
"""
INSERTS = """
INSERT INTO public.logged VALUES (1);
INSERT INTO public.parted_1 VALUES (1);
INSERT INTO public.parted_2 VALUES (2);
INSERT INTO public.child_1 VALUES (1);
"""


async def test_what_fires_always_fires_for_the_copys_users_only(connection: Connection) -> None:
    """The stream brings what it did in production; what only replicas fire is not for a copy, and off stays off."""
    await connection.execute(TRIGGERS.encode())
    assert await load.settle(connection) == []
    await load.as_replica(connection)
    await connection.execute(INSERTS.encode())
    assert await fetch(connection, "SELECT what FROM public.log") == []
    await fetch(connection, "SET session_replication_role = origin")
    await connection.execute(INSERTS.encode())
    told = [what for (what,) in await fetch(connection, "SELECT what FROM public.log ORDER BY what")]
    assert sorted(told) == sorted(
        ["Always on logged", "origin on logged", "rule", "parted on parted_1", "child on child_1"]
    )


EVENT_TRIGGERS = """
CREATE TABLE public.told (what text);
CREATE FUNCTION public.tell() RETURNS event_trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.told VALUES (tg_tag); END $$;
CREATE TRIGGER always AFTER INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
ALTER TABLE public.t ENABLE ALWAYS TRIGGER always;
CREATE MATERIALIZED VIEW public.counted AS SELECT count(*) FROM public.t WITH NO DATA;
CREATE EVENT TRIGGER "Origin" ON ddl_command_end EXECUTE FUNCTION public.tell();
CREATE EVENT TRIGGER "Always" ON ddl_command_end EXECUTE FUNCTION public.tell();
CREATE EVENT TRIGGER replica ON ddl_command_end EXECUTE FUNCTION public.tell();
CREATE EVENT TRIGGER off ON ddl_command_end EXECUTE FUNCTION public.tell();
ALTER EVENT TRIGGER "Always" ENABLE ALWAYS;
ALTER EVENT TRIGGER replica ENABLE REPLICA;
ALTER EVENT TRIGGER off DISABLE;
"""


async def test_event_triggers_fire_for_the_copys_users_only(connection: Connection) -> None:
    """Not for what we make: one that keeps a log would add rows that production has not."""
    await connection.execute(EVENT_TRIGGERS.encode())
    try:
        assert await load.settle(connection) == []
        await fetch(connection, "CREATE TABLE tezcat.made ()")
        assert await fetch(connection, "SELECT what FROM public.told") == []
        await fetch(connection, "SET session_replication_role = origin")
        await fetch(connection, "CREATE TABLE public.made ()")
        assert await fetch(connection, "SELECT what FROM public.told") == [("CREATE TABLE",)] * 2
    finally:
        for name in ('"Origin"', '"Always"', "replica", "off"):
            await fetch(connection, f"DROP EVENT TRIGGER {name}")


async def test_materialised_views_are_filled_in_the_order_of_what_they_read(connection: Connection) -> None:
    """The first was made to read the second; one that cannot be filled is a warning."""
    for statement in (
        "CREATE MATERIALIZED VIEW public.first AS SELECT 1 AS a WITH NO DATA",
        "CREATE MATERIALIZED VIEW public.second AS SELECT id AS a FROM public.t WITH NO DATA",
        "DROP MATERIALIZED VIEW public.first",
        "CREATE MATERIALIZED VIEW public.broken AS SELECT 1 / (id - 1) AS a FROM public.t WITH NO DATA",
        "CREATE VIEW public.between AS SELECT 0 AS a",
        "CREATE MATERIALIZED VIEW public.first AS SELECT a FROM public.between WITH NO DATA",
        "CREATE MATERIALIZED VIEW public.third AS SELECT 5 AS a WITH NO DATA",
        "CREATE OR REPLACE VIEW public.between AS SELECT a FROM public.third",
        "INSERT INTO public.t VALUES (1)",
    ):
        await fetch(connection, statement)
    assert await load.settle(connection) == ["the materialised view public.broken could not be refreshed"]
    assert await fetch(connection, "SELECT a FROM public.second") == [(1,)]
    assert await fetch(connection, "SELECT a FROM public.first") == [(5,)]


async def test_statistics_are_taken(connection: Connection) -> None:
    """A copy that was just loaded plans as production does."""
    await fetch(connection, "INSERT INTO public.t SELECT generate_series(1, 500)")
    await load.settle(connection)
    assert await fetch(connection, "SELECT reltuples FROM pg_class WHERE oid = 'public.t'::regclass") == [(500,)]


# --------------------------------------------------------------------------------------------------------- clear


async def test_a_cleared_database_is_empty_and_takes_the_same_schema_again(
    empty: Database, open_target: OpenTarget
) -> None:
    """Also what stands outside of schemas, and a schema that goes with its extension."""
    schema = (
        'CREATE SCHEMA "Odd Schema"',
        "CREATE SCHEMA vectors",
        "CREATE EXTENSION vector SCHEMA public",
        "ALTER EXTENSION vector ADD SCHEMA vectors",
        'CREATE TABLE "Odd Schema"."Select" (id serial PRIMARY KEY, v public.vector)',
        'CREATE VIEW public.v AS SELECT * FROM "Odd Schema"."Select"',
        'CREATE PUBLICATION "Odd" FOR TABLE "Odd Schema"."Select"',
        "CREATE FUNCTION public.f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$",
        'CREATE EVENT TRIGGER "Odd" ON sql_drop EXECUTE FUNCTION public.f()',
        'CREATE FOREIGN DATA WRAPPER "Odd"',
        'CREATE SERVER far FOREIGN DATA WRAPPER "Odd"',
        "CREATE CAST (text AS integer) WITH INOUT",
        'CREATE TYPE "Odd Schema".pair AS (a int, b int)',
        'CREATE CAST ("Odd Schema".pair AS text) WITH INOUT AS ASSIGNMENT',
        'CREATE ACCESS METHOD "Heap" TYPE TABLE HANDLER heap_tableam_handler',
        'CREATE TABLE public.other (id int) USING "Heap"',
    )
    connection = await open_target(empty)
    for _ in range(2):
        await progress.install(connection)
        for statement in schema:
            await fetch(connection, statement)
        assert await standing(connection) is Standing.OURS
        await load.clear(connection)
        assert await standing(connection) is Standing.EMPTY
    await fetch(connection, "CREATE TABLE public.t ()")


async def test_the_schema_public_is_made_again_as_databases_have_it(
    make_database: Callable[..., Database], server: Server, open_target: OpenTarget
) -> None:
    """Else nobody but the target's user could use what stands there, whatever was granted: a dump tells of the schema
    only where it is otherwise."""
    query = """SELECT n.nspname, obj_description(n.oid), a.grantee, a.privilege_type
                 FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'public' AND a.grantee <> n.nspowner"""
    made = make_database(server)
    fresh = made.execute(query)
    connection = await open_target(made)
    await progress.install(connection)
    await load.clear(connection)
    assert made.execute(query) == fresh != []


async def test_clearing_is_all_or_nothing(marked: Database, connection: Connection) -> None:
    """What cannot be dropped leaves the old copy whole, mark and all."""
    async with await psycopg.AsyncConnection.connect(marked.url) as user:
        await user.execute("SELECT FROM public.t")
        await fetch(connection, "SET lock_timeout = '200ms'")
        with pytest.raises(ServerFailed, match="55P03"):
            await load.clear(connection)
    assert await standing(connection) is Standing.OURS
    assert await progress.read(connection) is not None
    assert await fetch(connection, "SELECT count(*) FROM public.t") == [(0,)]
