"""The progress row tells exactly what a copy holds, and only one runner may move it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from capture.model import Lsn, Refused, ServerFailed
from sink import progress
from sink.target import fetch
from tests.fix_copy import CLONED, CLONED_AT, FIRST_PROGRESS, OpenTarget
from tests.fix_postgres import Database


async def test_a_clone_begins_and_is_finished(empty: Database, open_target: OpenTarget) -> None:
    """Until the clone is whole there is no position; then it is consistent where it was cloned."""
    connection = await open_target(empty)
    await progress.install(connection)
    assert await progress.read(connection) is None
    first = replace(FIRST_PROGRESS, unfollowed={"public.t": 3})
    await progress.begin_clone(connection, first)
    assert await progress.read(connection) == first
    await progress.finish_clone(connection, CLONED, CLONED_AT)
    finished = replace(first, state="idle", consistent_lsn=CLONED, applied_lsn=CLONED, source_time=CLONED_AT)
    assert await progress.read(connection) == finished


async def test_there_is_one_row(marked: Database, open_target: OpenTarget) -> None:
    """A second clone into the same copy cannot stand beside the first."""
    with pytest.raises(ServerFailed, match="progress_pkey"):
        await progress.begin_clone(await open_target(marked), FIRST_PROGRESS)


async def test_a_state_is_told_by_whom_has_not_been_replaced(marked: Database, open_target: OpenTarget) -> None:
    """A runner that lost the copy does not overwrite what its successor says."""
    connection = await open_target(marked)
    await progress.set_state(connection, "failed", last_error="the disk is full")
    assert await state_of(marked, open_target) == ("failed", "the disk is full", None)
    await progress.become_runner(connection, "first")
    assert await state_of(marked, open_target) == ("streaming", None, "first")
    await progress.become_runner(connection, "second")
    await progress.set_state(connection, "failed", runner="first", last_error="never mind")
    assert await state_of(marked, open_target) == ("streaming", None, "second")
    await progress.set_state(connection, "idle", runner="second")
    assert await state_of(marked, open_target) == ("idle", None, "second")


async def state_of(database: Database, open_target: OpenTarget) -> tuple[str, str | None, str | None]:
    found = await progress.read(await open_target(database))
    assert found is not None
    return found.state, found.last_error, found.runner


async def test_a_copy_has_one_runner_while_it_lives(marked: Database, open_target: OpenTarget) -> None:
    """The second is refused and told who is at work; when the first one's session ends, it may."""
    first, second = await open_target(marked, "stream"), await open_target(marked)
    assert not await progress.is_running(second)
    await progress.acquire(first, "test")
    assert await progress.is_running(second)
    with pytest.raises(Refused, match=rf"tezcat stream \(pid {first.info.backend_pid}\).* environment test"):
        await progress.acquire(second, "test")
    marked.execute(f"SELECT pg_terminate_backend({first.info.backend_pid}, 60000)")
    assert not await progress.is_running(second)
    await progress.acquire(second, "test")


async def test_runners_of_other_copies_on_the_server_do_not_count(
    marked: Database, empty: Database, open_target: OpenTarget
) -> None:
    """Advisory locks belong to a database; other locks of this one are not the runner's."""
    elsewhere, here = await open_target(empty), await open_target(marked)
    await progress.acquire(elsewhere, "training")
    await fetch(here, "SELECT pg_advisory_lock(1, %s)", (progress.RUNNER,))
    await fetch(here, "SELECT pg_advisory_lock(%s)", (progress.GATE,))
    assert not await progress.is_running(here)
    await progress.acquire(await open_target(marked), "test")


async def test_positions_and_times_come_back_as_they_were(marked: Database, open_target: OpenTarget) -> None:
    """High halves of positions and microseconds of times are kept."""
    connection = await open_target(marked)
    far, moment = Lsn.parse("FFFFFFFF/FFFFFFFE"), CLONED_AT + timedelta(microseconds=1)
    await progress.finish_clone(connection, far, moment)
    found = await progress.read(connection)
    assert found is not None
    assert (found.consistent_lsn, found.source_time) == (far, moment)
    assert found.production == FIRST_PROGRESS.production
