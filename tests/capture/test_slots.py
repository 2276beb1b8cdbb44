"""A slot is known by what production says of it, and nobody else's is dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from capture.model import Lsn, Refused, ServerFailed
from capture.replication import ReplicationSession
from capture.slots import drop_slot_if_there, slot_state
from capture.source import SourceConnection
from tests.fix_postgres import Database
from tests.fix_source import source_address

NAME = "tezcat_slots"


@pytest.fixture
async def session(production: Database) -> AsyncIterator[ReplicationSession]:
    async with await ReplicationSession.open(source_address(production), "tests") as opened:
        yield opened
    production.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'tezcat_slots%'"
    )


async def test_a_slot_tells_where_it_stands(
    production: Database, source: SourceConnection, session: ReplicationSession
) -> None:
    """Its position, what production keeps for it, and where production writes."""
    assert await slot_state(source, NAME) is None
    slot = await session.create_slot(NAME, temporary=False)
    before = await slot_state(source, NAME)
    assert before is not None
    assert before.active_pid is None
    assert not before.is_lost
    assert before.confirmed_flush_lsn == slot.consistent_point
    production.execute("CREATE TABLE public.wal AS SELECT repeat('x', 100) FROM generate_series(1, 5000)")
    after = await slot_state(source, NAME)
    assert after is not None
    assert after.current_lsn > before.current_lsn
    assert after.retained_wal_bytes - before.retained_wal_bytes == after.current_lsn - before.current_lsn


async def test_a_slot_in_use_says_by_whom_and_is_not_dropped(
    production: Database, source: SourceConnection, session: ReplicationSession
) -> None:
    """An earlier stream still reads it."""
    slot = await session.create_slot(NAME, temporary=False)
    production.execute("CREATE PUBLICATION slots")
    async with (
        await ReplicationSession.open(source_address(production), "stream") as other,
        await other.start(NAME, slot.consistent_point, ("slots",), 1),
    ):
        state = await slot_state(source, NAME)
        assert state is not None
        assert isinstance(state.active_pid, int)
        with pytest.raises(Refused, match=rf"in use at production \(pid {state.active_pid}\)"):
            await drop_slot_if_there(source, session, NAME)
    production.execute("DROP PUBLICATION slots", f"SELECT pg_terminate_backend({state.active_pid}, 60000)")
    await drop_slot_if_there(source, session, NAME)
    assert await slot_state(source, NAME) is None
    await drop_slot_if_there(source, session, NAME)


async def test_a_slot_whose_wal_is_gone_is_lost(
    production: Database, source: SourceConnection, session: ReplicationSession
) -> None:
    """Production put a limit to what it keeps."""
    await session.create_slot(NAME, temporary=False)
    try:
        production.execute(
            "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'",
            "SELECT pg_reload_conf()",
            "SELECT pg_switch_wal() FROM (SELECT pg_logical_emit_message(false, '', 'x')) m",
            "SELECT pg_logical_emit_message(false, '', 'x')",
            "SELECT pg_switch_wal()",
            "SELECT pg_logical_emit_message(false, '', 'x')",
            "SELECT pg_switch_wal()",
            "CHECKPOINT",
        )
        state = await slot_state(source, NAME)
    finally:
        production.execute("ALTER SYSTEM RESET max_slot_wal_keep_size", "SELECT pg_reload_conf()")
    assert state is not None
    assert state.is_lost
    assert state.current_lsn > Lsn(0)


@pytest.mark.parametrize("whose", ["another database", "physical"])
async def test_a_slot_that_is_not_this_copys_is_left_alone(
    production: Database,
    source: SourceConnection,
    session: ReplicationSession,
    make_database: Callable[..., Database],
    whose: str,
) -> None:
    """Slots belong to the whole server, where another project may have a target of the same name."""
    if whose == "physical":
        production.execute(f"SELECT pg_create_physical_replication_slot('{NAME}')")
    else:
        other = make_database(production.server)
        other.execute(f"SELECT pg_create_logical_replication_slot('{NAME}', 'pgoutput')")
    with pytest.raises(ServerFailed, match=f"slot named {NAME} that is not this copy's"):
        await drop_slot_if_there(source, session, NAME)
    assert production.execute(f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{NAME}'") == [(1,)]
