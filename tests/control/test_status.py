"""Status tells of every copy how it stands, also of those that cannot answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb

import control.project
from capture import source
from capture.catalog import read_catalog
from capture.model import Lsn, TableName
from capture.replication import ReplicationSession
from capture.slots import SlotState
from capture.source import SourceAddress
from control.settings import load_settings
from control.status import StreamStatus, _combine, status
from sink import progress
from sink.progress import Progress
from sink.target import Connection
from tests.fix_copy import FIRST_PROGRESS, OpenTarget
from tests.fix_project import Project, write_settings

AT = Lsn(1000)
SLOT = SlotState(active_pid=None, confirmed_flush_lsn=AT, is_lost=False, retained_wal_bytes=70, current_lsn=Lsn(1500))
IDLE = replace(FIRST_PROGRESS, state="idle", consistent_lsn=AT, applied_lsn=AT, source_time=datetime.now(UTC))


@pytest.fixture
async def copy(project: Project, open_target: OpenTarget) -> AsyncIterator[Connection]:
    """A finished copy, followed through a slot, with nobody at work on it."""
    project.target.execute("DROP SCHEMA IF EXISTS tezcat CASCADE")
    address = SourceAddress.parse(project.source.url_as(project.role, tcp=False))
    async with await ReplicationSession.open(address, "tests") as session:
        slot = await session.create_slot("tezcat_test", temporary=False)
    connection = await open_target(project.target)
    await progress.install(connection)
    await progress.begin_clone(connection, FIRST_PROGRESS)
    await progress.finish_clone(connection, slot.consistent_point, datetime.now(UTC))
    yield connection
    project.source.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'tezcat_test'"
    )


async def told(project: Project) -> StreamStatus:
    [one] = await status(project.settings)
    return one


async def test_a_copy_that_has_caught_up(copy: Connection, project: Project) -> None:
    """Position and lag, from the copy and from production."""
    one = await told(project)
    assert (one.environment, one.state, one.slot, one.consistent) == ("test", "idle", "tezcat_test", True)
    assert one.applied_lsn == one.confirmed_flush_lsn
    assert one.last_error is None
    assert one.retained_wal_bytes is not None
    project.source.execute("INSERT INTO public.events SELECT 'x', n FROM generate_series(1, 5000) n")
    behind = await told(project)
    assert behind.lag_bytes is not None
    assert behind.lag_bytes > 100_000
    assert behind.lag_seconds is not None
    assert 0 < behind.lag_seconds < 600


async def test_a_runner_that_died_without_a_word_is_stale(
    copy: Connection, project: Project, open_target: OpenTarget
) -> None:
    """The row says streaming, and nobody holds the lock."""
    runner = await open_target(project.target)
    await progress.acquire(runner, "test")
    await progress.become_runner(runner, "runner")
    assert (await told(project)).state == "streaming"
    project.target.execute(f"SELECT pg_terminate_backend({runner.info.backend_pid}, 60000)")
    assert (await told(project)).state == "stale"


async def test_why_a_copy_stands_still_is_told(copy: Connection, project: Project) -> None:
    """What its stream said last, or that its slot is gone."""
    project.source.execute("SELECT pg_drop_replication_slot('tezcat_test')")
    assert "slot tezcat_test is gone" in str((await told(project)).last_error)
    await progress.set_state(copy, "failed", last_error="the disk is full")
    one = await told(project)
    assert (one.state, one.last_error, one.lag_bytes) == ("failed", "the disk is full", None)


async def test_a_copy_that_failed_is_not_called_consistent(copy: Connection, project: Project) -> None:
    """What stopped the stream may be that the copy differs; once a stream goes on, it is believed again."""
    await progress.set_state(copy, "failed", last_error="production no longer publishes public.guests")
    assert not (await told(project)).consistent
    await progress.become_runner(copy, "runner")
    assert (await told(project)).consistent


async def test_tables_that_the_rules_would_mask_otherwise(copy: Connection, project: Project) -> None:
    """As rules diff names them; nothing is known where the rules cannot be read or do not fit."""
    here = control.project.Project.of(project.settings, "test")
    async with await source.connect(here.source_address, purpose="tests") as production:
        plan = here.plan(await read_catalog(production))
    made_by = (Jsonb(plan.identities), plan.key_check)
    await copy.execute("UPDATE tezcat.progress SET rules = %s, key_check = %s", made_by)
    assert (await told(project)).changed_tables == []
    rules = project.folder / "rules.yaml"
    original = rules.read_text()
    try:
        rules.write_text(original.replace("notes: {mask: text.lorem}", "notes: redact"))
        assert (await told(project)).changed_tables == [TableName("public", "guests")]
        for unreadable in ("tables: [", original.replace("text.lorem", "date.shift")):
            rules.write_text(unreadable)
            one = await told(project)
            assert (one.changed_tables, one.last_error) == (None, None)
    finally:
        rules.write_text(original)


async def test_a_database_without_a_copy(copy: Connection, project: Project) -> None:
    """Never cloned."""
    await copy.execute("DROP SCHEMA tezcat CASCADE")
    assert await told(project) == StreamStatus("test", "none")


async def test_a_clone_that_is_not_finished(copy: Connection, project: Project) -> None:
    """Killed as soon as it had its slot, or later: production keeps WAL for it, and what to do is said."""
    await copy.execute("UPDATE tezcat.progress SET state = 'cloning', consistent_lsn = NULL, applied_lsn = NULL")
    for statement in ("SELECT 1", "DELETE FROM tezcat.progress"):
        await copy.execute(statement)
        one = await told(project)
        assert (one.state, one.slot, one.consistent) == ("unfinished", "tezcat_test", False)
        assert one.retained_wal_bytes is not None
        for words in ("production keeps WAL in its slot", "tezcat clone --source", "pg_drop_replication_slot"):
            assert words in str(one.last_error)
    project.source.execute("SELECT pg_drop_replication_slot('tezcat_test')")
    assert await told(project) == StreamStatus("test", "none")


async def test_what_cannot_be_reached_is_told_in_its_place(copy: Connection, project: Project, tmp_path: Path) -> None:
    """One server that is down hides nothing of the others; without production the copy still says what it is."""
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    write_settings(tmp_path, nowhere, {"test": project.target.url, "training": nowhere})
    async with asyncio.timeout(30):
        test, training = await status(load_settings(tmp_path / "tezcat.yaml"))
    assert (test.state, test.consistent, test.lag_bytes, test.changed_tables) == ("idle", True, None, None)
    assert "nothing answers" in str(test.last_error)
    assert training.state == "unreachable"
    assert "training" in str(training.last_error)


@pytest.mark.parametrize(
    ("found", "running", "state"),
    [
        (IDLE, False, "idle"),
        (replace(IDLE, state="streaming"), True, "streaming"),
        (replace(IDLE, state="streaming"), False, "stale"),
        (FIRST_PROGRESS, True, "cloning"),
        (FIRST_PROGRESS, False, "unfinished"),
        (replace(FIRST_PROGRESS, state="failed"), False, "unfinished"),
        (replace(IDLE, state="failed"), False, "failed"),
    ],
)
def test_the_state_is_what_the_row_says_while_somebody_is_at_work(found: Progress, running: bool, state: str) -> None:
    """What is being done is believed only as long as its runner lives."""
    assert _combine("test", found, SLOT, None, running=running).state == state


def test_lag_is_never_negative_and_unknown_where_it_cannot_be_known() -> None:
    """Clocks differ, and a copy that was cloned once has no slot."""
    behind = _combine("test", IDLE, SLOT, None, running=False)
    assert (behind.lag_bytes, behind.retained_wal_bytes) == (500, 70)
    future = replace(IDLE, source_time=datetime.now(UTC) + timedelta(hours=1))
    assert _combine("test", future, SLOT, None, running=False).lag_seconds == 0
    ahead = replace(SLOT, current_lsn=Lsn(900))
    assert _combine("test", IDLE, ahead, None, running=False).lag_bytes == 0
    once = _combine("test", replace(IDLE, slot=None), None, None, running=False)
    assert (once.lag_bytes, once.lag_seconds, once.slot, once.consistent) == (None, None, None, True)
    begun = _combine("test", FIRST_PROGRESS, SLOT, None, running=False)
    assert (begun.consistent, begun.lag_bytes) == (False, None)


async def test_a_copy_whose_tables_are_locked_is_not_waited_for(
    copy: Connection, project: Project, tmp_path: Path
) -> None:
    """Nor one whose server says nothing: it is told in its place."""
    write_settings(tmp_path, project.source.url, {"test": f"{project.target.url}?tcp_user_timeout=1000"})
    async with copy.transaction():
        await copy.execute("LOCK TABLE tezcat.progress")
        [one] = await status(load_settings(tmp_path / "tezcat.yaml"))
    assert one.state == "unreachable"
    assert "has not answered for 1 seconds" in (one.last_error or "")
