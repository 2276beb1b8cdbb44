"""The printed SQL makes a role that can read and replicate, and two publications; psql runs it, twice."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from capture.dba import Looked, SourceTable, dba_sql, published_roots, render
from capture.model import TableName
from capture.privileges import audit
from capture.source import SourceAddress, connect
from tests.fix_postgres import Database

SCHEMA = (
    "CREATE SCHEMA hotel",
    "CREATE TABLE hotel.guests (id serial PRIMARY KEY)",
    "CREATE TABLE hotel.notes (text text)",
    "CREATE TABLE hotel.full_notes (text text)",
    "ALTER TABLE hotel.full_notes REPLICA IDENTITY FULL",
    "CREATE TABLE hotel.deferred (id int PRIMARY KEY DEFERRABLE)",
    "CREATE TABLE hotel.silent (id int PRIMARY KEY)",
    "ALTER TABLE hotel.silent REPLICA IDENTITY NOTHING",
    "CREATE UNLOGGED TABLE hotel.cache (id int PRIMARY KEY)",
    "CREATE TABLE hotel.parent (id int PRIMARY KEY)",
    "CREATE TABLE hotel.child () INHERITS (hotel.parent)",
    "CREATE TABLE hotel.events (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
    "CREATE TABLE hotel.events_1 PARTITION OF hotel.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
    "CREATE TABLE hotel.logs (day date) PARTITION BY RANGE (day)",
    "CREATE TABLE hotel.logs_1 PARTITION OF hotel.logs FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
    "CREATE TABLE hotel.computed_key (n int, id int GENERATED ALWAYS AS (n + 1) STORED PRIMARY KEY)",
    "CREATE TABLE hotel.computed (id int PRIMARY KEY, n int GENERATED ALWAYS AS (id + 1) STORED)",
    'CREATE SCHEMA "Odd ""Schema"',
    """CREATE TABLE "Odd ""Schema"."Sel'ect\\" (id int PRIMARY KEY)""",
)
MAIN = {
    "hotel.guests", "hotel.full_notes", "hotel.parent", "hotel.events", "hotel.computed",
    '"Odd ""Schema"."Sel\'ect\\"',
}  # fmt: skip
INSERT_ONLY = {"hotel.notes", "hotel.deferred", "hotel.silent", "hotel.child", "hotel.logs", "hotel.computed_key"}


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    """The name of a role that does not exist yet, with characters that need quotes."""
    name = f"{database.name} Reader's"
    database.execute(*SCHEMA)
    yield name
    if database.execute(f"SELECT 1 FROM pg_roles WHERE rolname = $${name}$$"):
        database.execute(f'DROP OWNED BY "{name}"', f'DROP ROLE "{name}"')


def address(database: Database, role: str) -> SourceAddress:
    return SourceAddress.parse(database.url_as(role, tcp=False))


def psql(database: Database, sql: str) -> subprocess.CompletedProcess[str]:
    """Run SQL as the DBA."""
    command = [str(database.server.programs / "psql"), "-X", "-v", "ON_ERROR_STOP=1", "-d", database.url, "-f", "-"]
    return subprocess.run(command, input=sql, capture_output=True, text=True, check=False)


def published(database: Database, name: str) -> set[str]:
    rows = database.execute(
        f"SELECT prrelid::regclass::text FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid "
        f"WHERE p.pubname = '{name}'"
    )
    return {row[0] for row in rows}


def state(database: Database, role: str) -> list[Any]:
    """All that the SQL may have made or changed."""
    return [
        database.execute(f"SELECT rolname, rolcanlogin, rolreplication, rolbypassrls, rolinherit, rolsuper, "
                         f"rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = $${role}$$"),
        database.execute("SELECT pubname, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot "
                         "FROM pg_publication ORDER BY 1"),
        published(database, "tezcat"),
        published(database, "tezcat_insert_only"),
        database.execute("SELECT oid::regclass::text, relacl::text FROM pg_class "
                         "WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg_%') "
                         "ORDER BY 1"),
        database.execute("SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname NOT LIKE 'pg_%' ORDER BY 1"),
        database.execute("SELECT datacl::text FROM pg_database WHERE datname = current_database()"),
    ]  # fmt: skip


async def test_it_works_before_the_role_exists_and_again_after(database: Database, role: str) -> None:
    """Looked up by psql or listed by name, once or twice: the outcome is the same."""
    place = address(database, role)
    blind = await dba_sql(place, publication="tezcat")
    assert "could not connect as this role yet" in blind
    assert "CREATE TEMPORARY VIEW" in blind
    first = psql(database, blind)
    assert first.returncode == 0, first.stderr
    expected = state(database, role)
    assert psql(database, blind).returncode == 0
    assert state(database, role) == expected

    listed = await dba_sql(place, publication="tezcat")
    assert "CREATE TEMPORARY VIEW" not in listed
    assert "tezcat will refuse" not in listed
    again = psql(database, listed)
    assert again.returncode == 0, again.stderr
    assert state(database, role) == expected
    assert "PASSWORD" not in blind + listed
    assert "FOR ALL TABLES" not in blind + listed


async def test_the_role_can_read_and_nothing_else(database: Database, role: str) -> None:
    """Every table, partition and sequence is readable; the audit finds nothing."""
    assert psql(database, await dba_sql(address(database, role), publication="tezcat")).returncode == 0
    async with await connect(address(database, role), purpose="test") as connection:
        assert await audit(connection) == []
        for table in ("hotel.events_1", "hotel.cache", "hotel.guests_id_seq", '"Odd ""Schema"."Sel\'ect\\"'):
            await connection.fetch(f"SELECT * FROM {table}")
    ((replicates, bypasses),) = database.execute(
        f"SELECT rolreplication, rolbypassrls FROM pg_roles WHERE rolname = $${role}$$"
    )
    assert (replicates, bypasses) == (True, False)


@pytest.mark.parametrize("known", [False, True], ids=["looked up by psql", "listed"])
async def test_publications_keep_production_writable(database: Database, role: str, known: bool) -> None:
    """Tables without a replica identity stand apart, so that their updates still work in production."""
    if known:
        database.execute(f'CREATE ROLE "{role}" LOGIN')
    assert psql(database, await dba_sql(address(database, role), publication="tezcat")).returncode == 0
    assert published(database, "tezcat") == MAIN
    assert published(database, "tezcat_insert_only") == INSERT_ONLY
    for table in ("notes", "silent", "deferred", "guests", "child", "logs", "events"):
        column = {"notes": "text", "logs": "day", "events": "day"}.get(table, "id")
        database.execute(f"UPDATE hotel.{table} SET {column} = {column}", f"DELETE FROM hotel.{table}")


async def test_whole_rows_that_are_partly_generated_are_not_published_where_that_would_break_updates(
    database: Database, role: str
) -> None:
    """From version 18 on, production refuses to update a table that publishes an identity with generated columns."""
    database.execute(
        "CREATE TABLE hotel.partly (n int, twice int GENERATED ALWAYS AS (n * 2) STORED)",
        "ALTER TABLE hotel.partly REPLICA IDENTITY FULL",
        "INSERT INTO hotel.partly VALUES (1)",
        "INSERT INTO hotel.computed_key VALUES (1)",
    )
    ended = psql(database, await dba_sql(address(database, role), publication="tezcat"))
    assert ended.returncode == 0, ended.stderr
    assert ("hotel.partly" in published(database, "tezcat")) is (database.server.version < 18)
    # Updates of a table that publishes inserts only are allowed, whatever its identity.
    database.execute("UPDATE hotel.partly SET n = 2", "DELETE FROM hotel.partly", "UPDATE hotel.computed_key SET n = 2")


async def test_row_security_asks_for_bypassrls(database: Database, role: str) -> None:
    """Only a table with row-level security makes it necessary."""
    database.execute("ALTER TABLE hotel.guests ENABLE ROW LEVEL SECURITY")
    assert psql(database, await dba_sql(address(database, role), publication="tezcat")).returncode == 0
    assert database.execute(f"SELECT rolbypassrls FROM pg_roles WHERE rolname = $${role}$$") == [(True,)]
    assert "BYPASSRLS" in await dba_sql(address(database, role), publication="tezcat")


@pytest.mark.parametrize("known", [False, True], ids=["looked up by psql", "listed"])
async def test_unpublished_tables_are_readable_and_not_published(database: Database, role: str, known: bool) -> None:
    """Their definition is copied, their rows are not; a partitioned table stands for its partitions."""
    if known:
        database.execute(f'CREATE ROLE "{role}" LOGIN')
    unpublished = {TableName("hotel", name) for name in ("events", "notes", "logs")}
    sql = await dba_sql(address(database, role), publication="tezcat", unpublished=unpublished)
    assert ("CREATE TEMPORARY VIEW" in sql) is not known
    done = psql(database, sql)
    assert done.returncode == 0, done.stderr
    everything = published(database, "tezcat") | published(database, "tezcat_insert_only")
    assert "hotel.guests" in everything
    assert everything.isdisjoint({"hotel.events", "hotel.events_1", "hotel.notes", "hotel.logs"})
    unreadable = database.execute(
        f"SELECT relname FROM pg_class WHERE relnamespace = 'hotel'::regnamespace AND relkind IN ('r', 'p') "
        f"AND NOT has_table_privilege($${role}$$, oid, 'SELECT')"
    )
    assert unreadable == []


@pytest.mark.parametrize("known", [False, True], ids=["looked up by psql", "listed"])
async def test_tables_that_are_no_longer_chosen_leave_the_publications(
    database: Database, role: str, known: bool
) -> None:
    """Running it again with another choice takes out what is not in it, down to nothing."""
    first = await dba_sql(address(database, role), publication="tezcat")
    assert psql(database, first).returncode == 0
    if not known:
        database.execute(f'ALTER ROLE "{role}" NOLOGIN')
    names = database.execute("SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace")
    everything = {TableName(*name) for name in names}
    second = psql(database, await dba_sql(address(database, role), publication="tezcat", unpublished=everything))
    assert second.returncode == 0, second.stderr
    assert published(database, "tezcat") == published(database, "tezcat_insert_only") == set()


@pytest.mark.parametrize("known", [False, True], ids=["looked up by psql", "listed"])
async def test_it_waits_for_autovacuum_without_a_deadlock(database: Database, role: str, known: bool) -> None:
    """Autovacuum locks a table for ANALYZE, and later writes into the row of the catalog that a GRANT writes into."""
    if known:
        database.execute(f'CREATE ROLE "{role}" LOGIN')
    sql = await dba_sql(address(database, role), publication="tezcat")
    with psycopg.connect(database.url) as other:
        other.execute("INSERT INTO hotel.silent VALUES (1)")
        other.commit()
        other.execute("LOCK TABLE hotel.silent IN SHARE UPDATE EXCLUSIVE MODE")
        running = asyncio.create_task(asyncio.to_thread(psql, database, sql))
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'hotel.silent'::regclass"
        await database.comes_to(waits, [(1,)])
        await asyncio.to_thread(other.execute, "ANALYZE hotel.silent")
        other.commit()
        done = await running
    assert done.returncode == 0, done.stderr
    assert published(database, "tezcat_insert_only") == INSERT_ONLY


async def test_run_in_another_database_it_changes_nothing(database: Database, role: str) -> None:
    """The SQL knows which database it is for."""
    sql = await dba_sql(SourceAddress.parse(database.server.url("other", role, tcp=False)), publication="tezcat")
    before = state(database, role)
    done = psql(database, sql)
    assert done.returncode != 0
    assert "this is for another database" in done.stderr
    assert state(database, role) == before


async def test_a_role_that_could_write_is_remarked_upon(database: Database, role: str) -> None:
    """The DBA learns at once that tezcat would refuse the role."""
    assert "-- tezcat will refuse this role" in await dba_sql(SourceAddress.parse(database.url), publication="tezcat")


def test_wal_level_is_remarked_upon() -> None:
    """A server that cannot decode its WAL needs a restart, and the DBA is told."""
    looked = Looked(tables=[], sequences=[], wal_level="replica")
    sql = render(role="r", database="d", publication="p", unpublished=(), looked=looked)
    assert "-- wal_level is replica. Tezcat needs: ALTER SYSTEM SET wal_level = logical;" in sql


def test_a_root_is_identified_when_all_its_partitions_are() -> None:
    """One partition without an identity sends the whole table to the other publication."""
    root, leaf = TableName("s", "root"), TableName("s", "leaf")

    def tables(*leaves: bool) -> list[SourceTable]:
        top = SourceTable(root, "p", None, True, False, False)
        return [top, *(SourceTable(leaf, "r", root, True, False, identified) for identified in leaves)]

    assert published_roots(tables()) == {root: False}
    assert published_roots(tables(True, True)) == {root: True}
    assert published_roots(tables(True, False)) == {root: False}
