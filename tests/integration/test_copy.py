"""A copy that is cloned and streamed while production works is exact, whatever interrupts it.

Each test ends with ``verify``, and with the oracle, which trusts nothing that the product says.
"""

from __future__ import annotations

import asyncio
import random
import signal

import psycopg
import pytest

from tests.fix_postgres import Database
from tests.integration.conftest import MakeProject, Project, psql

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# A newer target is as good as one of the same version.
on_newer = pytest.mark.parametrize("versions", [(16, 18), (18, 18)], ids=["16to18", "18to18"])
on_both = pytest.mark.parametrize("versions", [(16, 16), (18, 18)], ids=["pg16", "pg18"])


@on_newer
async def test_is_exact_after_a_clone_and_a_stream_under_load(project: Project) -> None:
    """Production works all the time: while its rows are copied, and while the stream follows."""
    await project.prepare_production()
    await project.succeed("source", "check", "--environment", "production")
    await project.succeed("rules", "check")
    async with project.load(seed=11, truncates=False):
        await project.succeed("clone", "--source", "production", "--target", "test")
    async with project.load(seed=12):
        stream = project.start("stream", "--target", "test")
        await stream.streams()
        await asyncio.sleep(3)
    ended = await stream.send(signal.SIGTERM)
    assert ended.code == 0, str(ended)
    await project.assert_exact()


@on_both
async def test_a_table_truncated_while_it_is_cloned_is_exact(project: Project) -> None:
    """TRUNCATE knows no snapshot: a table that is emptied between the slot's snapshot and its COPY comes empty, so the
    clone takes another snapshot and copies it again."""
    await project.prepare_production()
    # A production that truncates something all the time is never cloned; how often, is not the machine's matter.
    async with project.load(seed=13, pause=0.03):
        await project.succeed("clone", "--source", "production", "--target", "test")
    await project.assert_exact()


@on_both
async def test_is_exact_after_the_stream_was_killed(copy: Project) -> None:
    """kill -9 at any moment neither loses a change nor applies one twice."""
    seed = copy.source.server.version
    rng = random.Random(seed)
    async with copy.load(seed=seed):
        for _ in range(3):
            stream = copy.start("stream", "--target", "test")
            await asyncio.sleep(rng.uniform(1, 2.5))
            killed = await stream.send(signal.SIGKILL)
            assert killed.code == -signal.SIGKILL, str(killed)
    await copy.assert_exact()


async def test_is_exact_after_the_stream_was_stopped(copy: Project) -> None:
    """SIGTERM and SIGINT end the stream with 0 at the end of a transaction, and the next one goes on from there."""
    async with copy.load(seed=21):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            stream = copy.start("stream", "--target", "test")
            await stream.streams()
            await asyncio.sleep(1)
            ended = await stream.send(number)
            assert ended.code == 0, str(ended)
            assert "Traceback" not in ended.err
    await copy.assert_exact()


async def test_verify_compares_at_one_position_while_the_stream_runs(copy: Project) -> None:
    """The load goes on, and yet production and copy are seen at the same moment."""
    stream = copy.start("stream", "--target", "test")
    await stream.streams()
    async with copy.load(seed=31, truncates=False, sessions=2, pause=0.02):
        verified = await copy.run("verify", "--target", "test", "--json")
        assert verified.code == 0, str(verified)
        assert verified.json["equal"] is True
        assert stream.process.poll() is None, str(await stream.wait())
    await stream.send(signal.SIGINT)
    await copy.assert_exact()


async def test_verify_names_what_was_tampered_with(copy: Project) -> None:
    """One row changed, one deleted, one inserted, one of two equal rows deleted: just these four are named."""
    copy.source.execute("INSERT INTO public.door_events (kind) VALUES ('twice'), ('twice')")
    await copy.catch_up()
    copy.target.execute(
        "SET session_replication_role = replica",
        "UPDATE public.guests SET credit = 77 WHERE seq = (SELECT min(seq) FROM public.guests)",
        "DELETE FROM public.messages WHERE id = (SELECT min(id) FROM public.messages)",
        "INSERT INTO public.one_column VALUES ('a word that production never had')",
        "DELETE FROM public.door_events WHERE ctid = (SELECT min(ctid) FROM public.door_events WHERE kind = 'twice')",
    )
    expected = {
        "public.guests": (1, 0, 0),
        "public.messages": (0, 1, 0),
        "public.one_column": (0, 0, 1),
        "public.door_events": (0, 1, 0),
    }
    as_json = await copy.run("verify", "--target", "test", "--json")
    assert as_json.code == 1, str(as_json)
    assert as_json.json["equal"] is False
    found = {
        table["table"]: counts
        for table in as_json.json["tables"]
        if any(counts := (table["different"], table["missing"], table["extra"]))
    }
    assert _by_root(found, copy.source) == expected

    as_text = await copy.run("verify", "--target", "test")
    assert as_text.code == 1
    for table in found:
        assert table in as_text.out
    assert "4 differences" in as_text.out


def _by_root(counts: dict[str, tuple[int, int, int]], database: Database) -> dict[str, tuple[int, int, int]]:
    """``verify`` may name a partition or its root; the rules name roots."""
    roots = {
        name: database.execute(f"SELECT coalesce(pg_partition_root('{name}'), '{name}')::regclass::text")[0][0]
        for name in counts
    }
    return {f"public.{roots[name].removeprefix('public.')}": found for name, found in counts.items()}


async def test_what_the_dba_runs_does_not_break_production(project: Project) -> None:
    """It can be run twice, before and after the role can connect; updates without replica identity go on working."""
    await project.prepare_production()
    await project.prepare_production()
    project.source.execute("UPDATE public.page_views SET path = 'changed'", "DELETE FROM public.page_views")


async def test_status_tells_position_and_lag(copy: Project) -> None:
    """What scripts read from status --json, before and after the stream has caught up."""
    copy.source.execute("INSERT INTO public.page_views (path) SELECT 'x' FROM generate_series(1, 1000)")
    [behind] = (await copy.succeed("status", "--json")).json
    await copy.catch_up()
    [caught_up] = (await copy.succeed("status", "--json")).json
    assert set(behind) == {
        "environment", "state", "slot", "confirmed_flush_lsn", "applied_lsn", "consistent", "lag_bytes",
        "lag_seconds", "retained_wal_bytes", "last_error", "changed_tables",
    }  # fmt: skip
    assert behind["environment"] == "test"
    assert behind["consistent"] is True
    assert behind["last_error"] is None
    assert behind["changed_tables"] == []
    assert behind["lag_bytes"] > 50_000
    assert caught_up["lag_bytes"] < behind["lag_bytes"]
    slots = copy.source.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
    assert slots == [(behind["slot"],)]


async def test_stream_ends_at_the_position_asked_for(copy: Project) -> None:
    """--until-lsn applies what was committed up to there, and nothing that came later."""
    copy.source.execute("INSERT INTO public.page_views (path) VALUES ('before')")
    [[position]] = copy.source.execute("SELECT pg_current_wal_insert_lsn()::text")
    copy.source.execute("INSERT INTO public.page_views (path) VALUES ('after')")
    await copy.succeed("stream", "--target", "test", "--until-lsn", position)
    seen = copy.target.execute("SELECT path FROM public.page_views WHERE path IN ('before', 'after')")
    assert seen == [("before",)]


async def test_clone_once_keeps_nothing_on_production(project: Project) -> None:
    """--once leaves no slot behind, and so a stream cannot follow."""
    await project.prepare_production()
    await project.succeed("clone", "--source", "production", "--target", "test", "--once")
    await project.source.comes_to("SELECT 1 FROM pg_replication_slots WHERE database = current_database()", [])
    verdict = project.judge()
    assert not verdict.findings, str(verdict)
    stream = await project.run("stream", "--target", "test")
    assert stream.code in {2, 3}, str(stream)


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP PUBLICATION tezcat"],
        ["ALTER PUBLICATION tezcat DROP TABLE ONLY public.one_column"],
        [
            "ALTER PUBLICATION tezcat DROP TABLE ONLY public.one_column",
            "INSERT INTO public.one_column VALUES ('unseen')",
            "ALTER PUBLICATION tezcat ADD TABLE ONLY public.one_column",
        ],
        ["ALTER PUBLICATION tezcat SET (publish = 'insert')"],
    ],
    ids=["dropped", "without a table", "without it for a while", "inserts only"],
)
async def test_a_publication_that_was_changed_stops_the_stream(copy: Project, statements: list[str]) -> None:
    """The server sends nothing of what is not published, and says nothing of it either."""
    copy.source.execute(*statements)
    ended = await copy.run("stream", "--target", "test", "--until-caught-up")
    assert ended.code == 4, str(ended)
    assert "no longer publishes" in ended.err
    (status,) = (await copy.succeed("status", "--json")).json
    assert status["state"] == "failed"
    assert "no longer publishes" in status["last_error"]


async def test_an_update_that_no_stream_can_bring_stops_the_stream(copy: Project) -> None:
    """A table without replica identity publishes inserts only; its updates are seen in the statistics."""
    (table,) = copy.source.execute(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_publication_tables"
        " WHERE pubname = 'tezcat_insert_only' ORDER BY 1 LIMIT 1"
    )[0]
    running = copy.start("stream", "--target", "test")
    copy.source.execute(f"DELETE FROM {table}", "SELECT pg_stat_force_next_flush()")
    ended = await running.wait()
    assert ended.code == 4, str(ended)
    assert f"rows of {table} were updated or deleted" in ended.err


async def test_a_slot_that_may_be_another_copys_is_not_dropped(project: Project) -> None:
    """An empty target made no slot; one of its name may be that of somebody else's copy."""
    await project.prepare_production()
    project.source.execute("SELECT pg_create_logical_replication_slot('tezcat_test', 'pgoutput')")
    arguments = ("clone", "--source", "production", "--target", "test")
    refused = await project.run(*arguments)
    assert refused.code == 3, str(refused)
    assert "may belong to another copy" in refused.err
    assert project.source.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'tezcat_test'") == [(1,)]
    await project.succeed(*arguments, "--confirm", "test")
    await project.assert_exact()


async def test_without_a_slot_a_snapshot_that_grows_too_old_is_given_up(project: Project) -> None:
    """Past snapshot.max_age nothing is left on production, and the target says that the copy is not whole."""
    await project.prepare_production()
    settings = project.folder / "tezcat.yaml"
    settings.write_text(settings.read_text().replace("max_age: 1h", "max_age: 1s"))
    # pg_dump locks all tables before it reads the first.
    dumps = (
        "SELECT pid FROM pg_locks JOIN pg_class c ON c.oid = relation JOIN pg_database d ON d.oid = database"
        " WHERE datname = current_database() AND relkind = 'r' AND relnamespace = 'public'::regnamespace AND granted"
        " GROUP BY pid HAVING count(*) > 9"
    )
    with psycopg.connect(project.source.url) as holds, psycopg.connect(project.source.url, autocommit=True) as looks:
        clone = project.start("clone", "--source", "production", "--target", "test", "--once")
        await clone.until(lambda: looks.execute(dumps).fetchone() is not None, "pg_dump reads")
        # It comes after pg_dump, and before the rows, which wait until the snapshot is too old.
        holds.execute("LOCK TABLE page_views")
        ended = await clone.wait()
    assert ended.code == 4, str(ended)
    assert "snapshot.max_age" in ended.err
    await project.source.comes_to("SELECT 1 FROM pg_replication_slots WHERE database = current_database()", [])
    (status,) = (await project.succeed("status", "--json")).json
    assert status["consistent"] is False


async def test_a_clone_interrupted_at_its_beginning_leaves_no_slot(project: Project) -> None:
    """Ctrl-C before any chunk is there: exit code 130, no slot that makes production keep WAL, and the next clone just
    works."""
    await project.prepare_production()
    with psycopg.connect(project.target.url) as other:
        other.execute("LOCK TABLE pg_proc IN SHARE MODE")  # so that no schema is made, and no chunk
        clone = project.start("clone", "--source", "production", "--target", "test")
        slots = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'tezcat_test'"
        await clone.until(lambda: project.source.execute(slots) != [], "the slot is there")
        ended = await clone.send(signal.SIGINT)
    assert ended.code == 130, str(ended)
    await project.source.comes_to("SELECT 1 FROM pg_replication_slots WHERE database = current_database()", [])
    await project.succeed("clone", "--source", "production", "--target", "test")
    await project.assert_exact()


async def test_a_finished_copy_is_replaced_only_when_its_name_is_confirmed(copy: Project) -> None:
    """Without --confirm the copy stays as it was; with it, copy and slot are made anew."""
    copy.source.execute("DELETE FROM public.one_column", "INSERT INTO public.one_column VALUES ('new')")
    for arguments in ([], ["--confirm", "tset"]):
        refused = await copy.run("clone", "--source", "production", "--target", "test", *arguments)
        assert refused.code == 3, str(refused)
        assert "--confirm test" in refused.err
    assert copy.target.execute("SELECT 1 FROM public.one_column WHERE word = 'new'") == []
    await copy.succeed("clone", "--source", "production", "--target", "test", "--confirm", "test")
    assert copy.target.execute("SELECT word FROM public.one_column") == [("new",)]
    copy.source.execute("INSERT INTO public.one_column VALUES ('newer')")
    await copy.assert_exact()


@on_both
async def test_truncate_empties_the_same_tables(copy: Project) -> None:
    """TRUNCATE in all its forms, with rows before and after it in the same transaction and later."""
    for truncated in (
        "public.page_views",
        "public.devices, public.one_column RESTART IDENTITY",
        'ONLY "Odd Schema"."messages 2025 rest"',
        "public.messages_2024",
        "public.conversations CASCADE",
        "public.sessions, public.door_events",
    ):
        insert = f"INSERT INTO public.page_views (path) VALUES ($$ {truncated} $$);"
        psql(copy.source, f"BEGIN; {insert} TRUNCATE {truncated}; {insert} COMMIT; {insert}")
    await copy.assert_exact()


async def test_the_target_role_need_not_be_superuser(
    make_project: MakeProject, production: Database, target: Database
) -> None:
    """The owner of the target database can keep a copy, although triggers and cascades must not fire again there."""
    role = f"owner_{target.name}"
    target.server.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'",
        f"ALTER DATABASE {target.name} OWNER TO {role}",
        f"GRANT SET ON PARAMETER session_replication_role TO {role}",
    )
    project = make_project(production, target)
    project.replace("tezcat.yaml", target.url, target.url_as(role, "secret"))
    await project.prepare_production()
    await project.succeed("clone", "--source", "production", "--target", "test")
    async with project.load(seed=41):
        stream = project.start("stream", "--target", "test")
        await asyncio.sleep(3)
    await stream.send(signal.SIGTERM)
    await project.assert_exact()
