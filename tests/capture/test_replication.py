"""A slot and its snapshot are one cut, and the stream brings all that follows, once it is acknowledged never again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import psycopg
import pytest

from capture import events, replication
from capture.model import Interrupted, Lsn, ServerFailed
from capture.pgoutput import Decoder
from capture.replication import ReplicationSession, ReplicationStream
from capture.replication_protocol import Keepalive, XLogData, parse_copy_data
from capture.slots import slot_state
from capture.source import SourceAddress, SourceConnection
from tests.faults.inject import Cluster
from tests.fix_postgres import Database, Server
from tests.fix_source import source_address

NAME = "tezcat_replication"
SECONDS = 60  # for what happens at once, on however busy a machine


@pytest.fixture
async def session(production: Database) -> AsyncIterator[ReplicationSession]:
    production.execute(
        "DROP TABLE IF EXISTS public.streamed CASCADE",
        "CREATE TABLE public.streamed (id int PRIMARY KEY, a text)",
        "DROP PUBLICATION IF EXISTS p",
        'DROP PUBLICATION IF EXISTS "Odd, \'Name"',
        "CREATE PUBLICATION p FOR TABLE public.streamed",
        'CREATE PUBLICATION "Odd, \'Name"',
    )
    async with await ReplicationSession.open(source_address(production), "tests") as opened:
        yield opened
    production.server.drop_slots(production.name)


async def inserts(stream: ReplicationStream, decoder: Decoder, count: int) -> list[bytes]:
    """The ids of the next inserts; the stream is acknowledged to the end of the last transaction."""
    found: list[bytes] = []
    end = Lsn(0)
    async with asyncio.timeout(SECONDS):
        while len(found) < count or not end:
            for payload in await stream.read():
                message = parse_copy_data(payload)
                if not isinstance(message, XLogData):
                    continue
                event = decoder.decode(message.payload)
                if isinstance(event, events.Insert):
                    assert isinstance(event.new[0], bytes)
                    found.append(event.new[0])
                end = event.end_lsn if isinstance(event, events.Commit) else Lsn(0)
    stream.acknowledge(end)
    return found


async def _read_to_the_end(stream: ReplicationStream) -> None:
    """Acknowledge whatever comes; does not return, but may raise."""
    async with asyncio.timeout(SECONDS):
        while True:
            for payload in await stream.read():
                stream.acknowledge(parse_copy_data(payload).wal_end)
            await stream.answer()


async def test_a_snapshot_shows_what_the_stream_does_not_bring(
    production: Database, source: SourceConnection, session: ReplicationSession
) -> None:
    """What committed before the consistent point is in the snapshot, the rest comes, and nothing twice."""
    production.execute("INSERT INTO public.streamed VALUES (1)")
    slot = await session.create_slot(NAME, temporary=False)
    production.execute("INSERT INTO public.streamed VALUES (2)", "INSERT INTO public.streamed VALUES (3)")
    await source.begin(snapshot=slot.snapshot)
    assert await source.fetch("SELECT id FROM public.streamed") == [(1,)]
    await source.rollback()
    async with await session.start(slot.name, slot.consistent_point, ("p", "Odd, 'Name"), 1) as stream:
        assert await inserts(stream, Decoder(1), 2) == [b"2", b"3"]


async def test_what_was_acknowledged_is_not_sent_again_and_the_rest_is(
    production: Database, source: SourceConnection, session: ReplicationSession
) -> None:
    """Leaving the stream tells the position once more."""
    slot = await session.create_slot(NAME, temporary=False)
    production.execute("INSERT INTO public.streamed VALUES (1)")
    async with (
        await ReplicationSession.open(source_address(production), "first") as first,
        await first.start(NAME, slot.consistent_point, ("p",), 1) as stream,
    ):
        assert await inserts(stream, Decoder(1), 1) == [b"1"]
        production.execute("INSERT INTO public.streamed VALUES (2)")
        payloads = await stream.read()
        assert payloads
    # It reads what it was told last before it sees that nobody is there any more.
    await production.comes_to(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{NAME}'", [(False,)])
    state = await slot_state(source, NAME)
    assert state is not None
    assert state.confirmed_flush_lsn is not None
    assert state.confirmed_flush_lsn > slot.consistent_point
    async with await session.start(NAME, state.confirmed_flush_lsn, ("p",), 1) as stream:
        assert await inserts(stream, Decoder(1), 1) == [b"2"]


async def test_feedback_goes_on_while_nobody_reads(
    production: Database, source: SourceConnection, session: ReplicationSession
) -> None:
    """A slow target does not look like a dead client, and its progress is told all the same."""
    slot = await session.create_slot(NAME, temporary=False)
    async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
        production.execute("INSERT INTO public.streamed VALUES (1)")
        state = await slot_state(source, NAME)
        assert state is not None
        acknowledged = state.current_lsn
        stream.acknowledge(acknowledged)
        stream.acknowledge(slot.consistent_point)
        await production.comes_to(
            f"SELECT confirmed_flush_lsn = '{acknowledged}' FROM pg_replication_slots WHERE slot_name = '{NAME}'",
            [(True,)],
        )


async def test_the_server_answers_when_it_is_asked(session: ReplicationSession) -> None:
    """By a keepalive with its position; several tasks may ask at the same time."""
    slot = await session.create_slot(NAME, temporary=False)
    async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
        await asyncio.gather(*(stream.answer(ask=True) for _ in range(50)))
        async with asyncio.timeout(SECONDS):
            messages = [parse_copy_data(payload) for payload in await stream.read()]
    assert all(isinstance(message, Keepalive) for message in messages)


async def test_a_large_value_arrives_whole(production: Database, session: ReplicationSession) -> None:
    """Larger than any buffer, with small ones behind it."""
    slot = await session.create_slot(NAME, temporary=False)
    production.execute(
        "INSERT INTO public.streamed SELECT 1, string_agg(md5(n::text), '') FROM generate_series(1, 300000) n",
        "INSERT INTO public.streamed SELECT n FROM generate_series(2, 1000) n",
    )
    async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
        assert await inserts(stream, Decoder(1), 1000) == [b"%d" % number for number in range(1, 1001)]


async def test_a_stream_that_the_server_ends_passes_by_itself(
    production: Database, session: ReplicationSession
) -> None:
    """A restart of production: the stream may try again."""
    slot = await session.create_slot(NAME, temporary=False)
    async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
        production.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        with pytest.raises(Interrupted):
            await inserts(stream, Decoder(1), 1)


async def test_a_server_that_says_nothing_is_given_up(
    production: Database, session: ReplicationSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked first; only one that does not answer is taken for dead, and the stream may try again."""
    monkeypatch.setattr(replication, "_FEEDBACK_SECONDS", 0.1)
    monkeypatch.setattr(SourceAddress, "patience", property(lambda _: 3.0))
    slot = await session.create_slot(NAME, temporary=False)
    async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
        for _ in range(3):
            assert all(isinstance(parse_copy_data(one), Keepalive) for one in await stream.read())
        [[pid]] = production.execute(f"SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{NAME}'")
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(Interrupted):
                await _read_to_the_end(stream)
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_whoever_does_not_read_does_not_take_the_server_for_dead(
    production: Database, session: ReplicationSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that is held for long keeps the stream."""
    monkeypatch.setattr(replication, "_FEEDBACK_SECONDS", 0.05)
    monkeypatch.setattr(SourceAddress, "patience", property(lambda _: 2.0))
    slot = await session.create_slot(NAME, temporary=False)
    production.execute(
        "INSERT INTO public.streamed SELECT n, repeat('x', 1000) FROM generate_series(1, 30000) n",
    )
    async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
        await asyncio.sleep(5)
        assert len(await inserts(stream, Decoder(1), 30000)) == 30000


async def test_a_server_that_shuts_down_says_so(server16: Server) -> None:
    """The stream ended in good order, and may go on later; what was sent before is read."""
    cluster, database = Cluster(server16), Database(server16, "shut_down")
    server16.execute("CREATE DATABASE shut_down")
    try:
        database.execute(
            "CREATE TABLE public.streamed (id int PRIMARY KEY, a text)", "CREATE PUBLICATION p FOR ALL TABLES"
        )
        async with await ReplicationSession.open(source_address(database), "tests") as session:
            slot = await session.create_slot(NAME, temporary=False)
            async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
                database.execute("INSERT INTO public.streamed VALUES (1)")
                stopping = asyncio.create_task(cluster.stop("fast"))
                assert await inserts(stream, Decoder(1), 1) == [b"1"]
                with pytest.raises(Interrupted, match="ended the stream"):
                    await _read_to_the_end(stream)
                await stopping
    finally:
        await cluster.start()
        server16.drop("shut_down")


async def test_a_slot_that_is_gone_is_named(session: ReplicationSession) -> None:
    """Whoever dropped it, the copy cannot be followed any more."""
    with pytest.raises(ServerFailed, match="slot tezcat_nothing does not exist") as caught:
        await session.start("tezcat_nothing", Lsn(0), ("p",), 1)
    assert "clone again" in caught.value.hint


async def test_a_temporary_slot_goes_with_its_session(production: Database, source: SourceConnection) -> None:
    """Verify leaves nothing behind, whatever happens to it."""
    async with await ReplicationSession.open(source_address(production), "verify") as session:
        await session.create_slot(NAME, temporary=True)
        assert await slot_state(source, NAME) is not None
    await production.comes_to("SELECT slot_name FROM pg_replication_slots WHERE temporary", [])


async def test_making_a_slot_can_be_given_up(production: Database) -> None:
    """It waits for open transactions; cancelled, it leaves no slot."""
    async with await ReplicationSession.open(source_address(production), "verify") as session:
        with psycopg.connect(production.url) as busy:
            busy.execute("CREATE TABLE public.uncommitted (id int)")
            making = asyncio.create_task(session.create_slot(NAME, temporary=False))
            await production.comes_to(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{NAME}'", [(1,)])
            making.cancel()
            with pytest.raises(asyncio.CancelledError):
                await making
            busy.rollback()
    await production.comes_to(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{NAME}'", [])
