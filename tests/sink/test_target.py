"""A writable connection is refused where production is, and no error of a target tells a value."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable

import pytest

from capture.model import BadInput, DatabaseIdentity, Interrupted, Refused, ServerFailed
from sink import progress
from sink.target import (
    Standing,
    TargetAddress,
    connect,
    describe,
    fetch,
    read_identity,
    standing,
)
from tests.fix_copy import OpenTarget, target_address
from tests.fix_postgres import Database, Server

CANARY = "canary-7f3a"


# --------------------------------------------------------------------------------------------------- addresses


def test_an_address_shows_no_password() -> None:
    """Neither repr nor label; the conninfo has it."""
    address = TargetAddress.parse("postgresql://tezcat:s3cret@db.example.com:5433/test", name="test")
    assert "s3cret" not in f"{address!r} {address.label}"
    assert address.label == "test (db.example.com:5433/test)"
    assert "s3cret" in address.conninfo


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    """It may hold the password."""
    with pytest.raises(BadInput, match="environment test") as caught:
        TargetAddress.parse("hunter2 hunter2", name="test")
    assert "hunter2" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------- sessions


async def test_a_session_takes_and_gives_text_as_production_does(shared: Database) -> None:
    """Whatever the URL, the role or the database say, or bytes would differ where the data do not."""
    shared.execute(f"ALTER DATABASE {shared.name} SET datestyle = 'German'")
    url = f"{shared.url}?client_encoding=latin1&options=-c%20timezone%3DEurope/Berlin%20-c%20work_mem%3D5MB"
    async with await connect(TargetAddress.parse(url, name="test"), productions=(), purpose="stream") as connection:
        settings = dict(await fetch(connection, "SELECT name, setting FROM pg_settings"))
    expected = {
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "extra_float_digits": "1",
        "bytea_output": "hex",
        "client_encoding": "UTF8",
        "search_path": "pg_catalog",
        "row_security": "off",
        "statement_timeout": "0",
        "application_name": "tezcat stream",
        "work_mem": "5120",
    }
    assert {name: settings[name] for name in expected} == expected


# -------------------------------------------------------------------------------------------------------- guard


async def test_production_is_refused_by_whatever_name_it_is_reached(server: Server, database: Database) -> None:
    """The cluster and the database say who they are, not the host's name."""
    async with await connect(target_address(database), productions=(), purpose="tests") as connection:
        production = await read_identity(connection)
    port, folder = server.port, server.folder
    for url in (
        database.url,
        f"postgresql://postgres@localhost:{port}/{database.name}",
        f"host={folder} port={port} user=postgres dbname={database.name}",
    ):
        with pytest.raises(Refused, match=f"test leads to the production database {database.name}") as caught:
            await connect(TargetAddress.parse(url, name="test"), productions={production}, purpose="clone")
        assert production.system_identifier in caught.value.message
    await database.comes_to(
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tezcat%'", []
    )


async def test_another_database_of_productions_server_is_not_production(
    shared: Database, open_target: OpenTarget
) -> None:
    """A copy may live beside production; on another server a database may have production's name."""
    identity = await read_identity(await open_target(shared))
    others = {DatabaseIdentity(identity.system_identifier, "other"), DatabaseIdentity("1", identity.database)}
    async with await connect(target_address(shared), productions=others, purpose="clone") as connection:
        assert await read_identity(connection) == identity


async def test_a_database_is_empty_ours_or_somebody_elses(empty: Database, open_target: OpenTarget) -> None:
    """What an extension brings is nobody's work; one table, view or sequence is."""
    connection = await open_target(empty)
    await fetch(connection, "CREATE EXTENSION vector SCHEMA public")
    assert await standing(connection) is Standing.EMPTY
    for make, drop in (
        ("CREATE TABLE public.t ()", "DROP TABLE public.t"),
        ("CREATE SEQUENCE public.s", "DROP SEQUENCE public.s"),
        ("CREATE VIEW public.v AS SELECT 1 AS a", "DROP VIEW public.v"),
        ("CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS a", "DROP MATERIALIZED VIEW public.m"),
    ):
        await fetch(connection, make)
        assert await standing(connection) is Standing.FOREIGN, make
        await fetch(connection, drop)
    assert await standing(connection) is Standing.EMPTY
    await progress.install(connection)
    await fetch(connection, "CREATE TABLE public.t ()")
    assert await standing(connection) is Standing.OURS


# ------------------------------------------------------------------------------------------------------- errors


@pytest.fixture(scope="module")
def strict(shared: Database) -> Database:
    shared.execute(
        "CREATE DOMAIN public.lower AS text CONSTRAINT is_lower CHECK (value = lower(value))",
        "CREATE TYPE public.mood AS ENUM ('glad')",
        """CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'no %', NEW.t; END $$""",
        """CREATE TABLE public.strict (
             t text PRIMARY KEY CONSTRAINT not_this CHECK (t <> 'canary-7f3a-checked'), n int, j jsonb, d date, u uuid,
             v varchar(3), l public.lower, m public.mood, z int NOT NULL DEFAULT 0,
             x int GENERATED ALWAYS AS (CASE WHEN t LIKE '%cast' THEN t::int END) STORED
           )""",
        "CREATE TABLE public.refusing (t text)",
        "CREATE TRIGGER refuse BEFORE INSERT ON public.refusing FOR EACH ROW EXECUTE FUNCTION public.refuse()",
        f"INSERT INTO public.strict (t) VALUES ('{CANARY}')",
    )
    return shared


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (f"INSERT INTO public.strict (t) VALUES ('{CANARY}')", "23505 at public.strict, constraint strict_pkey"),
        (
            f"INSERT INTO public.strict (t) VALUES ('{CANARY}-checked')",
            "23514 at public.strict, constraint not_this.*NOT VALID",
        ),
        (f"INSERT INTO public.strict (t, n) VALUES ('a', '{CANARY}')", "22P02"),
        (f"INSERT INTO public.strict (t, j) VALUES ('a', '{CANARY}')", "22P02"),
        (f"INSERT INTO public.strict (t, d) VALUES ('a', '{CANARY}')", "22007"),
        (f"INSERT INTO public.strict (t, u) VALUES ('a', '{CANARY}')", "22P02"),
        (f"INSERT INTO public.strict (t, v) VALUES ('a', '{CANARY}')", "22001"),
        (f"INSERT INTO public.strict (t, l) VALUES ('a', upper('{CANARY}'))", "23514"),
        (f"INSERT INTO public.strict (t, m) VALUES ('a', '{CANARY}')", "22P02"),
        (f"INSERT INTO public.strict (t, z) VALUES ('{CANARY}-2', NULL)", "23502 at public.strict, column z"),
        (f"INSERT INTO public.strict (t) VALUES ('{CANARY}-cast')", "22P02"),
        (f"INSERT INTO public.refusing VALUES ('{CANARY}')", "P0001"),
    ],
)
async def test_an_error_names_the_place_and_never_the_value(
    strict: Database, open_target: OpenTarget, statement: str, says: str
) -> None:
    """PostgreSQL quotes values in messages, details and contexts; ours has SQLSTATE, table, column, constraint."""
    with pytest.raises(ServerFailed, match=says) as caught:
        await fetch(await open_target(strict), statement)
    told = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert CANARY not in told.lower()
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT * FROM public.nowhere", 'relation "public.nowhere" does not exist'),
        ("CREATE EXTENSION nothing_like_it", 'extension "nothing_like_it" is not available'),
    ],
)
async def test_what_is_missing_is_named(shared: Database, open_target: OpenTarget, statement: str, says: str) -> None:
    """Messages that only ever name objects are passed on."""
    with pytest.raises(ServerFailed, match=says):
        await fetch(await open_target(shared), statement)


def test_what_passes_by_itself_is_told_apart() -> None:
    """A deadlock, a full disk, a shutdown, a lost connection may be tried again; a broken constraint may not."""
    for sqlstate in ("40P01", "40001", "53100", "57P01", "08006", None):
        assert isinstance(describe(sqlstate, "message"), Interrupted), sqlstate
    for sqlstate in ("23505", "22P02", "42P01", "XX000"):
        assert not isinstance(describe(sqlstate, "message"), Interrupted), sqlstate
    assert "full" in describe("53100", "could not extend file").hint


# --------------------------------------------------------------------------------------------------- connecting


@pytest.fixture
def make_role(server18: Server) -> Callable[[str], str]:
    def make(name: str) -> str:
        server18.execute(f"DROP ROLE IF EXISTS {name}", f"CREATE ROLE {name} LOGIN PASSWORD 'right'")
        return name

    return make


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_why_a_connection_could_not_be_made(server18: Server, make_role: Callable[[str], str]) -> None:
    """Password, database, role, pg_hba.conf and address are told apart; the password is never shown."""
    role = make_role("target_reader")
    failures = {
        server18.url("postgres", role, "wr0ng"): "refused the password",
        server18.url("postgres", role): "refused the password",
        server18.url("nothing_here"): "no such database",
        server18.url("postgres", "nobody_here", tcp=False): "no such role",
        server18.url("no_entry"): "pg_hba.conf",
        f"{server18.url()}?sslmode=require": "offers no TLS",
        f"postgresql://postgres@127.0.0.1:{free_port()}/x": "cannot be reached",
    }
    for url, says in failures.items():
        with pytest.raises(ServerFailed, match=says) as caught:
            await connect(TargetAddress.parse(url, name="test"), productions=(), purpose="tests")
        assert "environment test (" in caught.value.message
        assert caught.value.hint
        assert "wr0ng" not in str(caught.value)
        assert isinstance(caught.value, Interrupted) == (says == "cannot be reached")


async def test_a_closed_connection_is_told_as_lost(shared: Database, open_target: OpenTarget) -> None:
    """What the driver says without a SQLSTATE means that the server is gone."""
    connection = await open_target(shared)
    await connection.close()
    with pytest.raises(Interrupted, match="connection to the target was lost"):
        await fetch(connection, "SELECT 1")


async def test_who_leaves_a_halted_server_does_not_wait_for_it(empty: Database, open_target: OpenTarget) -> None:
    """Not in the middle of a transaction either, which the server undoes when it comes to itself."""
    connection = await open_target(empty)
    pid = connection.info.backend_pid
    await fetch(connection, "BEGIN")
    await fetch(connection, "CREATE TABLE public.t (a int)")
    os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(30), connection:
            pass
    finally:
        os.kill(pid, signal.SIGCONT)
    await empty.comes_to("SELECT to_regclass('public.t')", [(None,)])
