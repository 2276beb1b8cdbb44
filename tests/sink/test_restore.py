"""A schema that pg_dump wrote is made in the target, and what stands in its way is named without values."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from capture.model import Refused, ServerFailed
from sink.restore import Section, make_roles, restore
from sink.target import TargetAddress, connect, fetch
from tests.fix_copy import OpenTarget, target_address
from tests.fix_postgres import Database

ENVIRONMENT = {"PATH": os.environ["PATH"]}
CANARY = "canary-7f3a"


def dump(database: Database, archive: Path) -> Path:
    """The schema's archive, as ``clone`` makes it."""
    program = database.server.programs / "pg_dump"
    subprocess.run([program, "--schema-only", "-Fc", f"--file={archive}", f"--dbname={database.url}"], check=True)
    return archive


async def bring(archive: Path, copy: Database, section: Section, jobs: int = 1) -> None:
    binary = copy.server.programs / "pg_restore"
    await restore(binary, archive, target_address(copy), section, jobs, ENVIRONMENT)


async def test_what_slows_the_load_comes_after_the_rows(shared: Database, empty: Database, tmp_path: Path) -> None:
    """Types, functions and tables first; then, in several connections, indexes, constraints and triggers."""
    shared.execute(
        "CREATE TYPE public.mood AS ENUM ('glad')",
        "CREATE TABLE public.a (id int PRIMARY KEY, m public.mood)",
        "CREATE TABLE public.b (id int REFERENCES public.a)",
        "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER t AFTER INSERT ON public.b EXECUTE FUNCTION public.f()",
        "CREATE PUBLICATION p FOR TABLE public.a",
    )
    archive = dump(shared, tmp_path / "schema")
    later = """SELECT (SELECT count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
      AND contype IN ('p', 'f')), (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal)"""
    await bring(archive, empty, Section.BEFORE_ROWS)
    assert empty.execute("SELECT count(*) FROM public.b, public.a WHERE m = 'glad'") == [(0,)]
    assert empty.execute(later) == [(0, 0)]
    await bring(archive, empty, Section.AFTER_ROWS, jobs=2)
    assert empty.execute(later) == [(2, 1)]
    assert empty.execute("SELECT count(*) FROM pg_publication") == [(0,)]


async def test_what_cannot_be_made_is_named(empty: Database, shared: Database, tmp_path: Path) -> None:
    """The object and the reason, in one paragraph, from the first error."""
    empty.execute("CREATE TABLE public.there (id int)")
    archive = dump(empty, tmp_path / "schema")
    with pytest.raises(ServerFailed, match=r'relation "there" already exists \(at TABLE there postgres\)') as caught:
        await bring(archive, empty, Section.BEFORE_ROWS)
    assert "environment test (" in caught.value.message
    assert "\n" not in caught.value.message


async def test_rows_that_do_not_fit_are_not_quoted(empty: Database, tmp_path: Path) -> None:
    """An index or a constraint is built over rows, and its failure may tell one."""
    values = f"('{CANARY}'), ('{CANARY}')"
    cases = {
        "CREATE UNIQUE INDEX broken ON public.t (a)": 'could not create unique index "broken" (at INDEX broken',
        "CREATE INDEX broken ON public.t ((a::int))": "the rows do not fit; the target's own log says why (at INDEX",
        "CREATE INDEX broken ON public.t (public.shout(a))": "the rows do not fit; the target's own log says why",
        "ALTER TABLE public.t ADD CONSTRAINT broken CHECK (a::int > 0) NOT VALID": "",
        "ALTER TABLE public.t ADD CONSTRAINT broken FOREIGN KEY (a) REFERENCES public.r": (
            'insert or update on table "t" violates foreign key constraint "broken"'
        ),
    }
    empty.execute(
        "CREATE TABLE public.t (a text)",
        "CREATE TABLE public.r (a text PRIMARY KEY)",
        "CREATE FUNCTION public.shout(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'never %', $1; END $$",
    )
    for number, (statement, says) in enumerate(cases.items()):
        empty.execute("TRUNCATE public.t", statement)
        archive = dump(empty, tmp_path / f"schema{number}")
        empty.execute("DROP INDEX IF EXISTS public.broken", "ALTER TABLE public.t DROP CONSTRAINT IF EXISTS broken")
        empty.execute(f"INSERT INTO public.t VALUES {values}", "ALTER TABLE public.r DROP CONSTRAINT r_pkey CASCADE")
        if says:
            with pytest.raises(ServerFailed) as caught:
                await bring(archive, empty, Section.AFTER_ROWS)
            assert says in caught.value.message
            assert CANARY not in str(caught.value)
        else:
            await bring(archive, empty, Section.AFTER_ROWS)
        empty.execute(
            "ALTER TABLE public.t DROP CONSTRAINT IF EXISTS broken",
            "ALTER TABLE public.r DROP CONSTRAINT IF EXISTS r_pkey CASCADE",
            "ALTER TABLE public.r ADD CONSTRAINT r_pkey PRIMARY KEY (a)",
        )


async def test_the_password_is_on_no_command_line(empty: Database, tmp_path: Path) -> None:
    """Every user of the machine can read command lines; the child's environment only its owner can."""
    recorded = tmp_path / "recorded"
    program = tmp_path / "pg_restore"
    program.write_text(f'#!/bin/sh\necho "$@" > {recorded}\necho "password is $PGPASSWORD" >> {recorded}\n')
    program.chmod(0o700)
    address = TargetAddress.parse(empty.url_as("postgres", "s3cret"), name="test")
    await restore(program, tmp_path / "schema", address, Section.BEFORE_ROWS, 1, ENVIRONMENT)
    arguments, environment = recorded.read_text().splitlines()
    assert "s3cret" not in arguments
    assert environment == "password is s3cret"


async def test_a_cancelled_restore_leaves_no_process(empty: Database, tmp_path: Path) -> None:
    """Ctrl-C ends the child too."""
    started = tmp_path / "started"
    program = tmp_path / "pg_restore"
    program.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 60\n")
    program.chmod(0o700)
    task = asyncio.create_task(
        restore(program, tmp_path / "schema", target_address(empty), Section.AFTER_ROWS, 1, ENVIRONMENT)
    )
    async with asyncio.timeout(10):
        while not (started.exists() and started.read_text().strip()):  # noqa: ASYNC110 - a process cannot set an event
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


# --------------------------------------------------------------------------------------------------------- roles


async def test_roles_that_lack_are_made_without_login(shared: Database, open_target: OpenTarget) -> None:
    """Policies and privileges name them; nobody can log in by them."""
    connection = await open_target(shared)
    await fetch(connection, 'DROP ROLE IF EXISTS restored_one, "Restored Two"')
    wanted = ("restored_one", "postgres", "Restored Two")
    assert await make_roles(connection, wanted) == ["Restored Two", "restored_one"]
    assert await make_roles(connection, wanted) == []
    logins = await fetch(connection, "SELECT rolcanlogin FROM pg_roles WHERE rolname ILIKE 'restored%'")
    assert logins == [(False,), (False,)]
    await fetch(connection, 'DROP ROLE restored_one, "Restored Two"')


async def test_a_user_who_may_not_make_roles_is_told_the_statements(shared: Database) -> None:
    """They are complete, and nothing was made."""
    shared.execute("DROP ROLE IF EXISTS plain_user", "CREATE ROLE plain_user LOGIN")
    address = TargetAddress.parse(shared.url_as("plain_user", tcp=False), name="test")
    async with await connect(address, productions=(), purpose="clone") as connection:
        assert await make_roles(connection, ("postgres",)) == []
        with pytest.raises(Refused, match="1 role") as caught:
            await make_roles(connection, ("Not There",))
    assert 'CREATE ROLE "Not There" NOLOGIN;' in caught.value.hint
    assert shared.execute("SELECT 1 FROM pg_roles WHERE rolname = 'Not There'") == []
