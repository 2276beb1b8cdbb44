"""A schema that pg_dump wrote is made in the target, and what stands in its way is named without values."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from capture.model import ProgramEnd, Refused, ServerFailed
from control.programs import run
from sink.entries import Entry, list_entries, remaining, stages
from sink.restore import Section, make_roles, restore
from sink.target import Connection, TargetAddress, connect, fetch
from tests.fix_copy import OpenTarget, target_address
from tests.fix_postgres import Database, Server
from tests.waiting import eventually

CANARY = "canary-7f3a"


def dump(database: Database, archive: Path) -> Path:
    """The schema's archive, as ``clone`` makes it."""
    program = database.server.programs / "pg_dump"
    subprocess.run([program, "--schema-only", "-Fc", f"--file={archive}", f"--dbname={database.url}"], check=True)
    return archive


async def bring(archive: Path, copy: Database, section: Section, jobs: int = 1) -> None:
    binary = copy.server.programs / "pg_restore"
    await restore(binary, archive, target_address(copy), section, jobs, run)


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


AFTER_ROWS = """
CREATE TABLE public.m (id int, day date, n int, PRIMARY KEY (id, day, n), UNIQUE (day, n)) PARTITION BY RANGE (day);
CREATE TABLE public.m_1 PARTITION OF public.m FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE public.m_2 PARTITION OF public.m DEFAULT PARTITION BY LIST (n);
CREATE TABLE public.m_2_1 PARTITION OF public.m_2 DEFAULT;
CREATE INDEX m_n ON public.m (n);
CREATE INDEX m_1_own ON public.m_1 (n, id);
CREATE TABLE public.k (id int PRIMARY KEY, name text, m_id int, m_day date, m_n int, span int4range, mood text NOT NULL,
  FOREIGN KEY (m_id, m_day, m_n) REFERENCES public.m, EXCLUDE USING gist (span WITH &&));
ALTER TABLE public.k REPLICA IDENTITY USING INDEX k_pkey, CLUSTER ON k_pkey;
ALTER TABLE public.k ADD CONSTRAINT late CHECK (id > 0) NOT VALID;
CREATE INDEX ON public.k (lower(name));
CREATE INDEX "two\nlines" ON public.k (name);
ALTER TABLE public.k ADD CONSTRAINT "two\nlines of it" UNIQUE (id, name);
CREATE STATISTICS public.k_stats ON name, mood FROM public.k;
CREATE VIEW public.grouped AS SELECT k.id, k.name, count(*) FROM public.k JOIN public.m ON m.id = k.m_id GROUP BY k.id;
CREATE VIEW public.over AS SELECT * FROM public.grouped;
CREATE MATERIALIZED VIEW public.kept AS SELECT k.id, k.name, count(*) FROM public.k GROUP BY k.id;
CREATE UNIQUE INDEX ON public.kept (id);
CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER t AFTER INSERT ON public.m FOR EACH ROW EXECUTE FUNCTION public.f();
CREATE TRIGGER t AFTER INSERT ON public.k EXECUTE FUNCTION public.f();
CREATE RULE r AS ON INSERT TO public.over DO INSTEAD NOTHING;
ALTER TABLE public.k ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON public.k USING (id > 1);
COMMENT ON INDEX public.k_pkey IS 'c';
CREATE TABLE public.told (what text);
CREATE FUNCTION public.tell() RETURNS event_trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.told VALUES (tg_tag); END $$;
CREATE EVENT TRIGGER tells ON ddl_command_end EXECUTE FUNCTION public.tell();
COMMENT ON EVENT TRIGGER tells IS 'c';
"""
MADE = """
SELECT 'index', pg_get_indexdef(indexrelid) || indisreplident || indisclustered || indisvalid FROM pg_index
 WHERE indrelid >= 16384 AND indrelid::regclass::text NOT LIKE 'pg\\_toast%'
UNION ALL SELECT 'constraint', conrelid::regclass || conname || pg_get_constraintdef(oid) FROM pg_constraint
 WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'rule', pg_get_ruledef(oid) FROM pg_rewrite WHERE ev_class >= 16384
UNION ALL SELECT 'policy', polname || polrelid::regclass || relrowsecurity
  FROM pg_policy JOIN pg_class c ON c.oid = polrelid
UNION ALL SELECT 'statistics', stxname FROM pg_statistic_ext
UNION ALL SELECT 'attached', inhrelid::regclass || ' ' || inhparent::regclass FROM pg_inherits
UNION ALL SELECT 'comment', description FROM pg_description WHERE objoid >= 16384
UNION ALL SELECT 'event trigger', evtname FROM pg_event_trigger
UNION ALL SELECT 'told of what was made', what FROM public.told
ORDER BY 1, 2"""


def restore_first(archive: Path, copy: Database, count: int) -> int:
    """Make the first so many entries of what comes after the rows, as far as a killed clone came; how many there
    are."""
    program = copy.server.programs / "pg_restore"
    listed = subprocess.run(
        [program, "--list", archive, f"--section={Section.AFTER_ROWS}"], check=True, capture_output=True, text=True
    )
    entries = [line for line in listed.stdout.splitlines() if not line.startswith(";")]
    chosen = archive.with_name("chosen")
    chosen.write_text("\n".join(entries[:count]))
    subprocess.run(
        [
            program,
            f"--use-list={chosen}",
            f"--section={Section.AFTER_ROWS}",
            "--exit-on-error",
            "--no-owner",
            f"--dbname={copy.url}",
            archive,
        ],
        check=True,
    )
    return len(entries)


async def bring_entries(archive: Path, copy: Database, chosen: list[Entry], jobs: int = 1) -> None:
    file = archive.with_name("entries")
    file.write_text("".join(f"{entry.number};\n" for entry in chosen))
    binary = copy.server.programs / "pg_restore"
    await restore(binary, archive, target_address(copy), Section.AFTER_ROWS, jobs, run, entries=file)


async def bring_rest(archive: Path, copy: Database, connection: Connection) -> None:
    listed = await list_entries(copy.server.programs / "pg_restore", archive, run)
    # In one connection: two can deadlock over a partitioned table.
    await bring_entries(archive, copy, await remaining(connection, listed))


async def made_at_once(
    make_database: Callable[..., Database], server: Server, tmp_path: Path
) -> tuple[Path, int, list[tuple[object, ...]]]:
    """An archive with all that comes after the rows, how many entries that is, and what they make in one
    connection."""
    shop = make_database(server)
    shop.execute(*AFTER_ROWS.strip().removesuffix(";").split(";\n"))
    archive = dump(shop, tmp_path / "schema")
    copy = make_database(server)
    await bring(archive, copy, Section.BEFORE_ROWS)
    return archive, restore_first(archive, copy, 10**6), copy.execute(MADE)


async def test_what_was_made_in_part_is_made_again(
    make_database: Callable[..., Database], server: Server, open_target: OpenTarget, tmp_path: Path
) -> None:
    """Wherever it was cut off, also between an index of a partition and its attachment."""
    archive, total, expected = await made_at_once(make_database, server, tmp_path)
    for count in (*range(1, total, 3), total):
        copy = make_database(server)
        await bring(archive, copy, Section.BEFORE_ROWS)
        restore_first(archive, copy, count)
        await bring_rest(archive, copy, await open_target(copy))
        assert copy.execute(MADE) == expected, count
    # And when nothing is left to be made.
    await bring_rest(archive, copy, await open_target(copy))
    assert copy.execute(MADE) == expected


async def test_an_entry_that_is_not_understood_is_not_left_out(tmp_path: Path) -> None:
    """What is not listed would not be made, without a word."""
    known = "-- TOC entry 3 (class 1259 OID 5)\n-- Name: a; Type: INDEX; Schema: public; Owner: o\n"
    unknown = "-- TOC entry 4 (class 1259 OID 6)\n-- Named otherwise\n"

    async def says(output: str) -> list[Entry]:
        async def run_program(*_: object) -> ProgramEnd:
            return ProgramEnd(0, output, "")

        return await list_entries(tmp_path / "pg_restore", tmp_path / "schema", run_program)

    assert await says(known) == [Entry(3, "INDEX", "public", "a")]
    with pytest.raises(ServerFailed, match="in a way that is not known"):
        await says(known + unknown)


async def test_several_connections_make_the_same_as_one(
    make_database: Callable[..., Database], server: Server, tmp_path: Path
) -> None:
    """Also of a partitioned index: two that attach to it at the same time would leave it invalid."""
    archive, _, expected = await made_at_once(make_database, server, tmp_path)
    listed = await list_entries(server.programs / "pg_restore", archive, run)
    staged = stages(listed)
    assert [stage.alone for stage in staged] == [False, True, False]
    assert sorted(entry for stage in staged for entry in stage.entries) == sorted(listed)
    assert {entry.kind for entry in staged[1].entries} == {"INDEX ATTACH"}
    copy = make_database(server)
    await bring(archive, copy, Section.BEFORE_ROWS)
    for stage in staged:
        await bring_entries(archive, copy, stage.entries, jobs=1 if stage.alone else 4)
    assert copy.execute(MADE) == expected


async def test_without_partitions_all_is_made_at_once(empty: Database, tmp_path: Path) -> None:
    """There is nothing to wait for."""
    empty.execute("CREATE TABLE public.a (id int PRIMARY KEY)", "CREATE TABLE public.b (id int REFERENCES public.a)")
    listed = await list_entries(empty.server.programs / "pg_restore", dump(empty, tmp_path / "schema"), run)
    assert stages(listed) == [(listed, False)]


async def test_what_cannot_be_made_is_named(empty: Database, shared: Database, tmp_path: Path) -> None:
    """The object and the reason, in one paragraph, from the first error."""
    empty.execute("CREATE TABLE public.there (id int)")
    archive = dump(empty, tmp_path / "schema")
    with pytest.raises(ServerFailed, match=r'relation "there" already exists \(at TABLE there postgres\)') as caught:
        await bring(archive, empty, Section.BEFORE_ROWS)
    assert "environment test (" in caught.value.message
    assert "an extension, a role, a version" in caught.value.hint
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
            assert "choose others for the columns" in caught.value.hint
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
    await restore(program, tmp_path / "schema", address, Section.BEFORE_ROWS, 1, run)
    arguments, environment = recorded.read_text().splitlines()
    assert "s3cret" not in arguments
    assert environment == "password is s3cret"


async def test_a_cancelled_restore_leaves_no_process(empty: Database, tmp_path: Path) -> None:
    """Ctrl-C ends the child too."""
    started = tmp_path / "started"
    program = tmp_path / "pg_restore"
    program.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 60\n")
    program.chmod(0o700)
    task = asyncio.create_task(restore(program, tmp_path / "schema", target_address(empty), Section.AFTER_ROWS, 1, run))
    await eventually(lambda: started.exists() and bool(started.read_text().strip()), "the program has begun")
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
