"""A clone that is killed or held up anywhere is finished by the next one, and exact.

Each test ends with the stream, ``verify`` and the oracle. A seed fixes when the clone is killed, in steps of its own
progress; the servers' timing is theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest

from tests.integration import conftest as integration
from tests.integration.conftest import Ended, Project, Running

# Servers that no other test stops or crashes.
make_project, production, project, target, versions = (
    integration.make_project,
    integration.production,
    integration.project,
    integration.target,
    integration.versions,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CLONE = ("clone", "--source", "production", "--target", "test")
GIVE_UP_SECONDS = 60
WAITING = "FROM pg_locks JOIN pg_database d ON d.oid = database AND datname = current_database() WHERE NOT granted"


class Observer:
    """Sees in the target how far a clone has come."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._connection = psycopg.connect(project.target.url, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _one(self, statement: str) -> Any:
        try:
            row = self._connection.execute(statement.encode()).fetchone()
        except psycopg.Error:  # the schema tezcat is not there, or being made anew
            return None
        return row[0] if row is not None else None

    def phase(self) -> str | None:
        return self._one("SELECT phase FROM tezcat.clone")

    def chunks(self) -> int:
        return self._one("SELECT count(*) FROM tezcat.chunks") or 0

    def rows(self) -> int:
        return self._one("SELECT sum(rows)::bigint FROM tezcat.chunks")

    def inserted(self) -> int:
        """Into tables, whether it was committed or not."""
        return self._one(
            "SELECT sum(n_tup_ins)::bigint FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid"
            " WHERE relkind = 'r' AND schemaname <> 'tezcat'"
        )

    async def until_alone(self) -> None:
        """Wait until the sessions of a clone have ended, and have counted what they did."""
        await self._project.target.comes_to(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tezcat clone'",
            [],
        )

    def is_copying(self) -> bool:
        return bool(self._one("SELECT count(*) > 0 FROM pg_stat_progress_copy WHERE command = 'COPY FROM'"))

    def waits_for_a_lock(self) -> bool:
        return bool(self._one(f"SELECT count(*) > 0 {WAITING}"))

    def waits_for_the_parent(self) -> bool:
        """Whether the foreign key of ``a_child`` is made. Others may wait for ``a_parent`` too."""
        return bool(
            self._one(
                "SELECT count(*) > 0 FROM pg_locks waits JOIN pg_locks holds USING (pid)"
                " WHERE waits.relation = to_regclass('public.a_parent') AND NOT waits.granted"
                " AND holds.relation = to_regclass('public.a_child') AND holds.mode = 'ShareRowExclusiveLock'"
            )
        )

    def has_relation(self, name: str) -> bool:
        return bool(self._one(f"SELECT to_regclass('{name}') IS NOT NULL"))

    def wait_for(self, name: str) -> int:
        """How many sessions wait for a table."""
        return self._one(f"SELECT count(*) FROM pg_locks WHERE relation = to_regclass('{name}') AND NOT granted") or 0

    def indexes(self) -> int:
        return self._one("SELECT count(*) FROM pg_index WHERE indrelid >= 16384") or 0


async def until(condition: Callable[[], bool], clone: Running) -> None:
    """Wait for a moment in a clone's life."""
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not condition():
            assert clone.process.poll() is None, str(await clone.wait())
            await asyncio.sleep(0.002)


def _keep_ids(project: Project, *tables: str) -> None:
    """Rules for tables that have an id and no more."""
    lines = "".join(f"  public.{table}: {{columns: {{id: keep}}}}\n" for table in tables)
    project.replace("rules.yaml", "tables:\n", f"tables:\n{lines}")


def _are_there(seen: Observer, chunks: int) -> bool:
    return seen.chunks() >= chunks


async def kill(clone: Running) -> Ended:
    killed = await clone.send(signal.SIGKILL)
    assert killed.code == -signal.SIGKILL, str(killed)
    return killed


def moments(rng: random.Random) -> dict[str, Callable[[Observer], bool]]:
    """When a clone is killed, by name."""
    few = rng.randint(2, 8)
    return {
        "mid-chunk": lambda seen: seen.chunks() >= few and seen.is_copying(),
        "between chunks": lambda seen: seen.chunks() >= few,
        "before the indexes": lambda seen: seen.phase() == "indexes",
        "among the indexes": lambda seen: seen.phase() == "indexes" and seen.indexes() > 5 * few,
        "before the stream": lambda seen: seen.phase() == "settling",
    }


# A moment may be over before it is seen. These locks, which nothing that comes before has to wait for, make it last.
KEYED = "public.a_keyed IN ACCESS SHARE MODE"  # its primary key waits
BARE = "public.a_bare IN SHARE UPDATE EXCLUSIVE MODE"  # its statistics wait
LASTING = {"before the indexes": KEYED, "among the indexes": KEYED, "before the stream": BARE}


@pytest.mark.parametrize("moment", moments(random.Random(0)))
async def test_a_killed_clone_is_finished_by_the_next(project: Project, moment: str) -> None:
    """kill -9 at every stage, while production works."""
    project.source.execute(
        "CREATE TABLE public.a_keyed (id integer PRIMARY KEY)",
        "CREATE TABLE public.a_bare (id integer)",
        "ALTER TABLE public.a_bare REPLICA IDENTITY FULL",
    )
    _keep_ids(project, "a_keyed", "a_bare")
    await project.prepare_production()
    condition = moments(random.Random(moment))[moment]
    async with project.load(seed=51, pause=0.1):
        with Observer(project) as seen, psycopg.connect(project.target.url) as other:
            clone = project.start(*CLONE)
            if moment in LASTING:
                await until(lambda: seen.has_relation("public.a_bare") and seen.has_relation("public.a_keyed"), clone)
                other.execute(f"LOCK TABLE {LASTING[moment]}")
            await until(lambda: condition(seen), clone)
            await kill(clone)
            await asyncio.sleep(1)
        finished = await project.succeed(*CLONE)
    assert "resuming" in finished.err, str(finished)
    await project.assert_exact()


async def test_a_clone_that_was_killed_before_any_chunk_was_there_is_exact(project: Project) -> None:
    """It is as of another LSN than the one that it began with, although there is nothing to move there."""
    await project.prepare_production()
    # A table that is truncated makes the clone move once more.
    async with project.load(seed=52, pause=0.1, truncates=False):
        with Observer(project) as seen, psycopg.connect(project.target.url) as other:
            with psycopg.connect(project.target.url) as first:
                first.execute("LOCK TABLE pg_proc IN SHARE MODE")  # so that the schema is not made before we are there
                clone = project.start(*CLONE)
                await until(lambda: seen.phase() == "schema", clone)
                other.execute("LOCK TABLE tezcat.chunks IN SHARE MODE")
            await until(seen.waits_for_a_lock, clone)
            await kill(clone)
            project.target.execute(f"SELECT pg_terminate_backend(pid) {WAITING}")
        assert project.target.execute("SELECT phase, (SELECT count(*) FROM tezcat.chunks) FROM tezcat.clone") == [
            ("rows", 0)
        ]
        await asyncio.sleep(1)
        finished = await project.succeed(*CLONE)
    assert "resuming" in finished.err, str(finished)
    await project.assert_exact()


@pytest.mark.parametrize("seed", [61, 62])
async def test_a_clone_that_is_killed_again_and_again_is_exact(project: Project, seed: int) -> None:
    """At random moments, resumed each time, while production truncates, updates keys and moves rows."""
    await project.prepare_production()
    # So many chunks that there are always more to come.
    project.replace("tezcat.yaml", "chunk_bytes: 256KiB", "chunk_bytes: 16KiB")
    rng = random.Random(seed)
    async with project.load(seed=seed, pause=0.1):
        with Observer(project) as seen:
            for _ in range(3):
                more = seen.chunks() + rng.randint(2, 10)
                clone = project.start(*CLONE)
                await until(partial(_are_there, seen, more), clone)
                await asyncio.sleep(rng.uniform(0, 0.3))
                assert clone.process.poll() is None, str(await clone.wait())
                await kill(clone)
        finished = await project.succeed(*CLONE)
    assert "resuming" in finished.err, str(finished)
    await project.assert_exact()


async def test_finished_chunks_are_not_copied_again(project: Project) -> None:
    """What the target's own statistics count: after the kill those rows came that were not there, and no other."""
    await project.prepare_production()
    project.replace("tezcat.yaml", "chunk_bytes: 256KiB", "chunk_bytes: 32KiB")
    with Observer(project) as seen:
        clone = project.start(*CLONE)
        await until(lambda: seen.chunks() >= 20, clone)
        await kill(clone)
        await seen.until_alone()
        there, rows_there, inserted = seen.chunks(), seen.rows(), seen.inserted()
        finished = await project.succeed(*CLONE, "--json")
        await seen.until_alone()
        came = seen.inserted() - inserted
    told = re.search(r"going on at \S+: (\d+) of (\d+) chunks are there", finished.err)
    assert told is not None, str(finished)
    assert int(told[1]) == there < int(told[2])
    assert came == finished.json["rows"] - rows_there > 0
    await project.assert_exact()


async def test_a_killed_worker_is_replaced(project: Project) -> None:
    """The clone starts its workers again and goes on with the chunks that are not there."""
    await project.prepare_production()
    project.replace("tezcat.yaml", "chunk_bytes: 256KiB", "chunk_bytes: 32KiB")
    with Observer(project) as seen, psycopg.connect(project.target.url) as other:
        clone = project.start(*CLONE)
        await until(lambda: seen.chunks() >= 5, clone)
        # Until this is let go, chunks are left for the one in its place.
        other.execute("LOCK TABLE tezcat.chunks IN SHARE MODE")
        await until(seen.waits_for_a_lock, clone)
        os.kill(worker_of(clone), signal.SIGKILL)
        other.rollback()
        ended = await clone.wait()
    assert ended.code == 0, str(ended)
    assert "a worker process was killed" in ended.err
    await project.assert_exact()


def worker_of(clone: Running) -> int:
    """The process id of one of the clone's snapshot workers, which its fork server started."""
    for server in children(clone.process.pid):
        for worker in children(server):
            return worker
    pytest.fail("there is no worker")


def children(parent: int) -> list[int]:
    """The process ids of all threads' children."""
    return [int(pid) for each in Path(f"/proc/{parent}/task").glob("*/children") for pid in each.read_text().split()]


async def test_a_clone_outlives_its_snapshot(project: Project) -> None:
    """Past snapshot.max_age it goes on with another snapshot, as often as it takes."""
    await project.prepare_production()
    project.replace("tezcat.yaml", "max_age: 1h", "max_age: 4s")
    project.replace("tezcat.yaml", "chunk_bytes: 256KiB", "chunk_bytes: 32KiB")
    project.source.execute(
        "INSERT INTO public.audit_logs (table_schema, table_name, operation)"
        " SELECT 'public', 'guests', 'DELETE' FROM generate_series(1, 60000)"
    )
    async with project.load(seed=71, sessions=1, pause=0.2, truncates=False):
        with Observer(project) as seen, psycopg.connect(project.source.url) as other:
            clone = project.start(*CLONE)
            await until(lambda: seen.chunks() >= 1, clone)
            # However fast the machine is, the first snapshot is too old for the chunks that wait for this. The load,
            # which is beside us, may have to end a transaction first.
            await asyncio.to_thread(other.execute, "LOCK TABLE public.audit_logs")
            await asyncio.sleep(5)
        cloned = await clone.wait(240)
    assert cloned.code == 0, str(cloned)
    assert "chunks are there" in cloned.err, str(cloned)
    # verify, too, holds a snapshot.
    project.replace("tezcat.yaml", "max_age: 4s", "max_age: 1h")
    await project.assert_exact()


async def test_whoever_locks_the_copy_does_not_keep_a_snapshot_of_production(project: Project) -> None:
    """A clone that waits until it may replace a copy lets go of its snapshot, and copies in a later one."""
    await project.prepare_production()
    await project.succeed(*CLONE)
    project.replace("tezcat.yaml", "max_age: 1h", "max_age: 5s")
    snapshots = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tezcat clone'"
        " AND backend_xmin IS NOT NULL"
    )
    with psycopg.connect(project.target.url) as other, Observer(project) as seen:
        other.execute("SELECT FROM public.guests")
        clone = project.start(*CLONE, "--confirm", "test")
        await until(seen.waits_for_a_lock, clone)
        await project.source.comes_to(snapshots, [])
        assert seen.waits_for_a_lock()
        other.rollback()
        # What follows may take its time.
        await until(lambda: not seen.waits_for_a_lock(), clone)
    cloned = await clone.wait(240)
    assert cloned.code == 0, str(cloned)
    project.replace("tezcat.yaml", "max_age: 5s", "max_age: 1h")
    await project.assert_exact()


async def test_a_clone_interrupted_among_its_chunks_is_gone_on_with(project: Project) -> None:
    """Ctrl-C keeps what is there and the slot, and says so; the next clone resumes."""
    await project.prepare_production()
    with Observer(project) as seen:
        clone = project.start(*CLONE)
        await until(lambda: seen.chunks() >= 5, clone)
        ended = await clone.send(signal.SIGINT)
        await seen.until_alone()
    assert ended.code == 130, str(ended)
    assert "production keeps WAL in its slot tezcat_test" in re.sub(r"\s+", " ", ended.err)
    (status,) = (await project.succeed("status", "--json")).json
    assert status["state"] == "unfinished"
    assert "production keeps WAL" in status["last_error"]
    finished = await project.succeed(*CLONE)
    assert "resuming" in finished.err
    await project.assert_exact()


@contextlib.asynccontextmanager
async def among_the_indexes(project: Project) -> AsyncIterator[tuple[Running, psycopg.Connection]]:
    """A clone whose pg_restore waits, with ``a_child`` locked, for ``a_parent``, which another session has locked."""
    project.source.execute(
        "CREATE TABLE public.a_parent (id integer PRIMARY KEY)",
        "CREATE TABLE public.a_child (id integer PRIMARY KEY REFERENCES public.a_parent)",
        "INSERT INTO public.a_parent SELECT generate_series(1, 100)",
        "INSERT INTO public.a_child SELECT generate_series(1, 100)",
    )
    _keep_ids(project, "a_parent", "a_child")
    await project.prepare_production()
    # The clone's part of a deadlock is found first, but not before there is one.
    project.target.execute(f"ALTER DATABASE {project.target.name} SET deadlock_timeout = '3s'")
    with Observer(project) as seen, psycopg.connect(project.target.url) as other:
        other.execute("SET deadlock_timeout = '1min'")
        clone = project.start(*CLONE)
        # Who waits for a table gets it in the order of asking: pg_restore for the primary key, which has to be there
        # first, then we, and then pg_restore for the foreign key.
        with psycopg.connect(project.target.url) as first:
            await until(lambda: seen.has_relation("public.a_parent"), clone)
            first.execute("LOCK TABLE public.a_parent IN ACCESS SHARE MODE")
            await until(lambda: seen.wait_for("public.a_parent") == 1, clone)
            locking = asyncio.create_task(asyncio.to_thread(other.execute, "LOCK TABLE public.a_parent IN SHARE MODE"))
            await until(lambda: seen.wait_for("public.a_parent") == 2, clone)
        await locking
        await until(seen.waits_for_the_parent, clone)
        yield clone, other


async def test_a_deadlock_among_the_indexes(project: Project) -> None:
    """What is left is made in one connection: pg_restore's own ones can deadlock over a partitioned table."""
    async with among_the_indexes(project) as (clone, other):
        await asyncio.to_thread(other.execute, "LOCK TABLE public.a_child IN ROW EXCLUSIVE MODE")
    ended = await clone.wait(GIVE_UP_SECONDS)
    assert ended.code == 0, str(ended)
    assert "deadlock detected (at FK CONSTRAINT a_child" in " ".join(ended.err.split()), str(ended)
    await project.assert_exact()


async def test_a_connection_is_cut_among_the_indexes(project: Project) -> None:
    """The clone goes on by itself, and makes what is left."""
    async with among_the_indexes(project) as (clone, _):
        project.target.execute(f"SELECT pg_terminate_backend(pid) {WAITING}")
    ended = await clone.wait(GIVE_UP_SECONDS)
    assert ended.code == 0, str(ended)
    assert re.search("terminating connection .+ goes on in 1 s.+resuming", " ".join(ended.err.split())), str(ended)
    await project.assert_exact()


Change = Callable[[Project], Awaitable[None]]


async def _change_rules(project: Project) -> None:
    project.replace("rules.yaml", "passport: {mask: redact}", "passport: {mask: text.lorem}")


async def _change_key(project: Project) -> None:
    (project.folder / "tezcat.key").write_text("6f" * 32)


async def _drop_slot(project: Project) -> None:
    await project.source.comes_to("SELECT active FROM pg_replication_slots WHERE slot_name = 'tezcat_test'", [(False,)])
    project.source.execute("SELECT pg_drop_replication_slot('tezcat_test')")


async def _change_table(project: Project) -> None:
    project.source.execute("ALTER TABLE public.one_column ADD COLUMN n integer")
    project.replace("rules.yaml", "columns: {word: keep}", "columns: {word: keep, n: keep}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_change_rules, "the rules have changed"),
        (_change_key, "masked with another key"),
        (_drop_slot, "is gone from production"),
        (_change_table, "tables, columns or keys have changed"),
    ],
    ids=["rules", "key", "slot", "table"],
)
async def test_what_cannot_be_gone_on_with_is_begun_again(project: Project, change: Change, reason: str) -> None:
    """It starts over by itself and says why."""
    await project.prepare_production()
    with Observer(project) as seen:
        clone = project.start(*CLONE)
        await until(lambda: seen.chunks() >= 5, clone)
        await kill(clone)
    await change(project)
    finished = await project.succeed(*CLONE)
    text = re.sub(r"\s+", " ", finished.err)
    assert "starting over" in text, str(finished)
    assert reason in text, str(finished)
    await project.assert_exact()
