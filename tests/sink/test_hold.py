"""A reader makes the stream stand at one position, and nothing that dies keeps it there."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from capture.model import Interrupted, Lsn, ServerFailed
from sink import hold, progress
from sink.apply import Applier
from sink.sequences import SequenceMarks
from sink.target import Connection, fetch
from tests.fix_copy import CLONED, CLONED_AT, OpenTarget
from tests.fix_postgres import Database

L = Lsn(CLONED + 0x100)
HELD = hold.Held(L, "00000003-0000001B-1")
SECONDS = 60  # for what happens at once, on however busy a machine
PATIENCE = timedelta(seconds=SECONDS)


async def applier_on(connection: Connection) -> Applier:
    """A stream's target side, as its session sets it up."""
    await progress.acquire(connection, "test")
    await progress.become_runner(connection, "runner")
    return Applier(connection, {}, SequenceMarks((), {}, set()), applied_lsn=CLONED, runner="runner")


async def waits(task: asyncio.Task[object]) -> bool:
    """Whether the task waits for another session, and does not end soon."""
    done, _ = await asyncio.wait([task], timeout=0.3)
    return not done


async def test_a_closed_gate_lets_an_open_transaction_end_and_none_begin(
    marked: Database, open_target: OpenTarget
) -> None:
    """What is being applied is finished first; then the copy does not move until the gate opens."""
    applier, reader = await applier_on(await open_target(marked)), await open_target(marked)
    await applier.begin()
    gate = hold.closed_gate(reader, PATIENCE)
    closing = asyncio.create_task(gate.__aenter__())
    assert await waits(closing)
    await applier.commit(L, CLONED_AT)
    await asyncio.wait_for(closing, SECONDS)
    beginning = asyncio.create_task(applier.begin())
    assert await waits(beginning)
    await gate.__aexit__(None, None, None)
    assert await asyncio.wait_for(beginning, SECONDS) is None
    await applier.rollback()


async def test_a_stream_that_halts_in_a_transaction_is_not_waited_for(
    marked: Database, open_target: OpenTarget
) -> None:
    """Nor a reader who never ends; and who gave up and went stands in nobody's way."""
    applier, first, second = (
        await applier_on(await open_target(marked)),
        await open_target(marked),
        await open_target(marked),
    )
    await applier.begin()
    soon = timedelta(milliseconds=300)
    with pytest.raises(Interrupted, match="in one transaction"):
        async with hold.closed_gate(first, soon):
            pass
    await applier.commit(L, CLONED_AT)
    assert await asyncio.wait_for(applier.begin(), SECONDS) is None
    await applier.rollback()
    with pytest.raises(Interrupted, match="another command"):
        async with hold.closed_gate(second, soon):
            pass
    await first.close()
    async with hold.closed_gate(await open_target(marked), PATIENCE):
        pass


async def test_a_transaction_that_waited_at_the_gate_sees_the_hold(marked: Database, open_target: OpenTarget) -> None:
    """The hold is set behind the gate, after the waiting transaction had begun."""
    applier, reader = await applier_on(await open_target(marked)), await open_target(marked)
    async with hold.closed_gate(reader, PATIENCE):
        beginning = asyncio.create_task(applier.begin())
        assert await waits(beginning)
        await hold.set_hold(reader, HELD)
    assert await asyncio.wait_for(beginning, SECONDS) == HELD
    await applier.rollback()


async def test_a_held_stream_waits_until_it_is_let_go(marked: Database, open_target: OpenTarget) -> None:
    """The reader learns that the stream stands at the position; the stream learns that it may go on."""
    connection = await open_target(marked)
    applier, reader = await applier_on(connection), await open_target(marked)
    async with hold.closed_gate(reader, PATIENCE):
        await hold.set_hold(reader, HELD)
    reaching = asyncio.create_task(hold.reached(reader, L))
    assert await waits(reaching)
    assert await applier.begin() == HELD
    await applier.commit(L, CLONED_AT)
    await asyncio.wait_for(reaching, SECONDS)
    waiting = asyncio.create_task(hold.wait_until_lifted(connection, L))
    assert await waits(waiting)
    await hold.lift(reader)
    await asyncio.wait_for(waiting, SECONDS)
    assert await applier.begin() is None
    await applier.rollback()


async def test_a_dead_readers_hold_is_ignored(marked: Database, open_target: OpenTarget) -> None:
    """Neither a session that is gone nor one that has its process id now keeps the stream."""
    connection = await open_target(marked)
    applier, reader = await applier_on(connection), await open_target(marked)
    async with hold.closed_gate(reader, PATIENCE):
        await hold.set_hold(reader, HELD)
    waiting = asyncio.create_task(hold.wait_until_lifted(connection, L))
    assert await waits(waiting)
    await reader.close()
    assert await asyncio.wait_for(waiting, SECONDS) is None
    other = await open_target(marked)
    [[left]] = await fetch(other, "SELECT count(*) FROM tezcat.hold")
    assert left == 1
    assert await applier.begin() is None
    await applier.rollback()
    await fetch(other, "UPDATE tezcat.hold SET pid = pg_backend_pid()")
    assert await applier.begin() is None
    await applier.rollback()


async def test_a_reader_that_died_with_the_gate_closed_leaves_it_open(
    marked: Database, open_target: OpenTarget
) -> None:
    """The gate belongs to its session."""
    applier, reader = await applier_on(await open_target(marked)), await open_target(marked)
    gate = hold.closed_gate(reader, PATIENCE)
    await gate.__aenter__()
    beginning = asyncio.create_task(applier.begin())
    assert await waits(beginning)
    await reader.close()
    assert await asyncio.wait_for(beginning, SECONDS) is None
    with pytest.raises(ServerFailed):
        await gate.__aexit__(None, None, None)
    await applier.rollback()


async def test_readers_take_turns(marked: Database, open_target: OpenTarget) -> None:
    """A second reader must not move the first one's hold before that has taken its snapshot."""
    first, second = await open_target(marked), await open_target(marked)
    async with hold.closed_gate(first, PATIENCE):
        await hold.set_hold(first, HELD)
    gate = hold.closed_gate(second, PATIENCE)
    closing = asyncio.create_task(gate.__aenter__())
    assert await waits(closing)
    assert await fetch(first, "SELECT lsn::text FROM tezcat.hold") == [(str(L),)]
    await hold.lift(first)
    await asyncio.wait_for(closing, SECONDS)
    await hold.set_hold(second, HELD._replace(lsn=Lsn(L + 1)))
    await gate.__aexit__(None, None, None)


async def test_a_stream_that_ends_before_it_comes_there_is_not_waited_for(
    marked: Database, open_target: OpenTarget
) -> None:
    """The reader says so and where the stream stood."""
    connection, reader = await open_target(marked), await open_target(marked)
    await applier_on(connection)
    await hold.set_hold(reader, HELD)
    reaching = asyncio.create_task(hold.reached(reader, L))
    assert await waits(reaching)
    await connection.close()
    with pytest.raises(ServerFailed, match=f"ended at {CLONED}, before it reached {L}"):
        await asyncio.wait_for(reaching, SECONDS)


async def test_a_stream_may_give_a_hold_up(marked: Database, open_target: OpenTarget) -> None:
    """The reader finds out, and the stream passes; the hold of another reader stays."""
    applier, reader = await applier_on(await open_target(marked)), await open_target(marked)
    async with hold.closed_gate(reader, PATIENCE):
        await hold.set_hold(reader, HELD)
    stream = await open_target(marked)
    await hold.give_up(stream, HELD._replace(snapshot="00000003-0000001C-1"))
    await hold.check(reader)
    await hold.give_up(stream, HELD)
    with pytest.raises(hold.Broken):
        await hold.check(reader)
    with pytest.raises(hold.Broken):
        await hold.reached(reader, L)
    assert await applier.begin() is None
    await applier.rollback()
