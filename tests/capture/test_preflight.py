"""Preflight says that a prepared production is ready, and names each thing that is not, with its remedy."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from capture.dba import dba_sql
from capture.model import TableName
from capture.preflight import Check, Status, _judged_server, preflight
from capture.source import SourceAddress
from tests.fix_postgres import Database

EXPECTED_WARNING = "max_slot_wal_keep_size"


@pytest.fixture
async def role(database: Database) -> AsyncIterator[str]:
    """A role that the printed SQL has prepared, on a database with a few tables."""
    name = f"{database.name}_reader"
    database.execute(
        "CREATE SCHEMA hotel",
        "CREATE TABLE hotel.guests (id serial PRIMARY KEY, name text)",
        "CREATE TABLE hotel.events (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE hotel.events_1 PARTITION OF hotel.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
    )
    await prepare(database, name)
    yield name
    database.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def prepare(database: Database, role: str) -> None:
    sql = await dba_sql(address(database, role), publication="tezcat")
    program = database.server.programs / "psql"
    options = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.url]
    psql = await asyncio.create_subprocess_exec(program, *options, stdin=PIPE, stdout=DEVNULL, stderr=PIPE)
    _, complaint = await psql.communicate(sql.encode())
    assert psql.returncode == 0, complaint.decode()


def address(database: Database, role: str) -> SourceAddress:
    return SourceAddress.parse(database.url_as(role, tcp=False))


async def findings(database: Database, role: str, **options: Any) -> list[Check]:
    """All that is not well, but for the unlimited WAL that every fresh server has."""
    checks = await preflight(address(database, role), publication="tezcat", **options)
    assert all(check.remedy for check in checks if check.status is not Status.OK)
    return [check for check in checks if check.status is not Status.OK and check.name != EXPECTED_WARNING]


async def test_what_the_printed_sql_makes_is_ready(database: Database, role: str) -> None:
    """After the DBA's part nothing is left to do, and every line says what was found."""
    assert await findings(database, role) == []
    checks = await preflight(address(database, role), publication="tezcat", slot="tezcat_none")
    assert {check.name for check in checks} == {
        "connection", "version", "wal_level", "max_replication_slots", "max_wal_senders", EXPECTED_WARNING, "role",
        "replication attribute", "replication connection", "select", "publication", "published tables", "slot",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("statements", "name", "status", "said"),
    [
        ("REVOKE SELECT ON hotel.events_1 FROM {role}", "select", "problem", "may not read hotel.events_1."),
        ("REVOKE USAGE ON SCHEMA hotel FROM {role}", "select", "problem", "may not read hotel.events, "),
        ("GRANT INSERT ON hotel.guests TO {role}", "role", "problem", "may change hotel.guests."),
        ("ALTER TABLE hotel.guests ENABLE ROW LEVEL SECURITY", "row security", "problem", "in hotel.guests."),
        ("DROP PUBLICATION tezcat", "publication", "problem", "there is no publication tezcat."),
        ("DROP PUBLICATION tezcat_insert_only", "publication", "problem", "no publication tezcat_insert_only."),
        ("ALTER PUBLICATION tezcat DROP TABLE hotel.events", "published tables", "problem", "lists hotel.events_1."),
        ("ALTER PUBLICATION tezcat SET (publish_via_partition_root = true)", "publication", "problem", "as their root"),
        ("ALTER PUBLICATION tezcat SET (publish = 'insert')", "publication", "problem", "does not publish exactly"),
        ("ALTER PUBLICATION tezcat_insert_only SET (publish = 'insert, update, truncate')", "publication", "problem",
         "publication tezcat_insert_only does not publish exactly: insert, truncate."),
        ("DROP PUBLICATION tezcat; CREATE PUBLICATION tezcat FOR ALL TABLES", "publication", "problem",
         "is FOR ALL TABLES"),
        ("ALTER PUBLICATION tezcat ADD TABLES IN SCHEMA public", "publication", "problem",
         "all tables of schema public"),
        ("ALTER PUBLICATION tezcat SET TABLE hotel.events, hotel.guests WHERE (id > 3)", "publication", "problem",
         "narrows hotel.guests"),
        ("ALTER PUBLICATION tezcat SET TABLE hotel.events, hotel.guests (id)", "publication", "problem",
         "narrows hotel.guests"),
        ("ALTER TABLE hotel.guests REPLICA IDENTITY NOTHING", "replica identity", "problem",
         "updates and deletes of hotel.guests fail in production"),
        ("CREATE TABLE hotel.extra (id int PRIMARY KEY)", "published tables", "problem", "lists hotel.extra."),
        ("CREATE UNLOGGED TABLE hotel.cache (id int)", "left out", "warning", "hotel.cache."),
        ("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER f FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE far () SERVER f",
         "left out", "warning", "public.far."),
        ("SELECT lo_create(0)", "left out", "warning", "1 large objects are left out"),
    ],
)  # fmt: skip
async def test_each_thing_that_is_not_ready_is_named(
    database: Database, role: str, statements: str, name: str, status: str, said: str
) -> None:
    """One change to a prepared production gives a line that names it."""
    database.execute(*statements.format(role=role).split("; "))
    found = await findings(database, role)
    assert any((check.name, check.status) == (name, status) and said in check.message for check in found), found


async def test_a_role_without_replication_is_told_twice(database: Database, role: str) -> None:
    """The attribute is missing, and so the connection fails."""
    database.execute(f"ALTER ROLE {role} NOREPLICATION")
    assert [check.name for check in await findings(database, role)] == [
        "replication attribute", "replication connection",
    ]  # fmt: skip


async def test_without_a_connection_there_is_one_line(database: Database) -> None:
    """What cannot be asked is not guessed at."""
    (check,) = await preflight(address(database, "nobody_here"), publication="tezcat")
    assert (check.name, check.status) == ("connection", Status.PROBLEM)
    assert "the role nobody_here does not exist" in check.message
    assert "tezcat source sql" in check.remedy


async def test_an_unpublished_table_needs_no_publication(database: Database, role: str) -> None:
    """A table whose rows stay in production must be readable, for its definition, and need not be published."""
    database.execute("CREATE TABLE hotel.extra (id int)")
    extra = {TableName("hotel", "extra")}
    assert [check.name for check in await findings(database, role, unpublished=extra)] == ["select"]
    database.execute(f"GRANT SELECT ON hotel.extra TO {role}")
    assert await findings(database, role, unpublished=extra) == []
    assert "hotel.extra" in (await findings(database, role))[0].message


async def test_a_table_that_publishes_inserts_only_is_warned_about(database: Database, role: str) -> None:
    """It is fine while it only grows; past updates may be years old, and the stream stops at the next one."""
    database.execute("CREATE TABLE hotel.notes (text text)", "INSERT INTO hotel.notes VALUES ('a')")
    await prepare(database, role)
    (check,) = await findings(database, role)
    assert (check.name, check.status) == ("replica identity", Status.WARNING)
    assert "only inserts of hotel.notes" in check.message
    database.execute("UPDATE hotel.notes SET text = 'b'")
    await database.comes_to("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'notes'", [(1,)])
    (check,) = await findings(database, role)
    assert "updates and deletes of hotel.notes have happened" in check.message
    assert check.status is Status.WARNING
    database.execute("ALTER TABLE hotel.notes REPLICA IDENTITY FULL")
    assert "could be followed whole by now" in (await findings(database, role))[-1].message


async def test_a_slot_is_absent_idle_or_not_ours(database: Database, role: str) -> None:
    """An idle slot keeps WAL; another plugin's slot is not touched."""
    absent = (await preflight(address(database, role), publication="tezcat", slot="tezcat_a"))[-1]
    assert (absent.name, absent.status) == ("slot", Status.OK)
    database.execute(
        f"SELECT pg_create_logical_replication_slot('tezcat_{database.name}', 'pgoutput')",
        f"SELECT pg_create_physical_replication_slot('tezcat_{database.name}_p')",
    )
    (idle,) = await findings(database, role, slot=f"tezcat_{database.name}")
    assert idle.status is Status.WARNING
    assert "nobody reads the slot" in idle.message
    (foreign,) = await findings(database, role, slot=f"tezcat_{database.name}_p")
    database.execute(f"SELECT pg_drop_replication_slot('tezcat_{database.name}_p')")
    assert foreign.status is Status.PROBLEM


def test_a_server_without_room_or_logical_wal_is_a_problem() -> None:
    """What a fresh test server cannot show: no room, no logical WAL, a standby that is too old."""
    row = SimpleNamespace(
        in_recovery=True, wal_level="replica", slots=3, slots_used=3, senders=2, senders_used=2, keep_size="1GB"
    )
    judged = {check.name: check.status for check in _judged_server(row, 150000)}
    assert judged == {
        "standby": Status.PROBLEM,
        "wal_level": Status.PROBLEM,
        "max_replication_slots": Status.PROBLEM,
        "max_wal_senders": Status.PROBLEM,
        "max_slot_wal_keep_size": Status.OK,
    }
    assert next(iter(_judged_server(row, 160000))).status is Status.OK
