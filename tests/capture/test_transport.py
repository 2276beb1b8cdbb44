"""What the server sends comes in, whichever way it is read, and how a stream ended is told."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from capture import replication, transport
from capture.events import Commit, Insert
from capture.model import Interrupted, Lsn, ServerFailed
from capture.pgoutput import Decoder, ProtocolViolation
from capture.replication import ReplicationSession
from capture.replication_protocol import Keepalive, StreamEnded, XLogData, parse_copy_data
from capture.transport import ConnectionLost, LibpqTransport, SocketTransport
from tests.capture.pgoutput_encoder import copy_data, int32, keepalive
from tests.fix_postgres import Database
from tests.fix_source import source_address
from tests.waiting import eventually

NAME = "tezcat_transport"
PIECE = 1 << 20
SECONDS = 60  # for what happens at once, on however busy a machine

Pair = tuple[SocketTransport, socket.socket]


def frame(tag: bytes, body: bytes) -> bytes:
    return tag + int32(4 + len(body)) + body


def error(sqlstate: str, text: str) -> bytes:
    return frame(b"E", b"SFATAL\0VFATAL\0C" + sqlstate.encode() + b"\0M" + text.encode() + b"\0\0")


NOTICE = frame(b"N", b"SNOTICE\0C00000\0Mcanary\0\0")
PARAMETER = frame(b"S", b"TimeZone\0UTC\0")
NOTIFICATION = frame(b"A", int32(7) + b"channel\0text\0")
READY = frame(b"Z", b"I")


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A transport, and the server's end of its socket."""
    own, server = socket.socketpair()
    own.setblocking(False)
    opened = SocketTransport(own)
    yield opened, server
    async with asyncio.timeout(SECONDS):
        await opened.close()
    server.close()


async def received(of: SocketTransport | LibpqTransport, count: int) -> list[bytes]:
    """The next payloads, so many."""
    found: list[bytes] = []
    async with asyncio.timeout(SECONDS):
        while len(found) < count:
            found += await of.receive()
    return found


async def ending(of: SocketTransport | LibpqTransport) -> Exception:
    """What the next look says."""
    async with asyncio.timeout(SECONDS):
        with pytest.raises((StreamEnded, ConnectionLost, ProtocolViolation)) as caught:
            await of.receive()
    return caught.value


# ------------------------------------------------------------------------------------------------- on a socket


async def test_payloads_come_in_whatever_pieces(pair: Pair) -> None:
    """A payload is there when its last byte is, and several at once are one block."""
    opened, server = pair
    waiting = asyncio.create_task(opened.receive())
    for byte in copy_data(b"one"):
        assert not waiting.done()
        server.sendall(bytes([byte]))
        await asyncio.sleep(0.01)
    async with asyncio.timeout(SECONDS):
        assert list(await waiting) == [b"one"]
    server.sendall(copy_data(b"two") + copy_data(b"") + copy_data(b"three")[:-1])
    assert await received(opened, 2) == [b"two", b""]
    server.sendall(b"e")
    assert await received(opened, 1) == [b"three"]


@pytest.mark.parametrize(
    "between",
    [NOTICE, PARAMETER, NOTIFICATION, NOTICE + PARAMETER + NOTIFICATION],
    ids=["notice", "parameter", "notification", "all"],
)
async def test_what_has_nothing_to_do_with_the_stream_is_passed_over(pair: Pair, between: bytes) -> None:
    """What stands behind it in the same piece comes at once, not when the server speaks next."""
    opened, server = pair
    server.sendall(copy_data(b"one") + between + copy_data(b"two") + between + between + copy_data(b"three") + between)
    assert await received(opened, 3) == [b"one", b"two", b"three"]


@pytest.mark.parametrize("before", [b"", copy_data(b"last"), copy_data(b"last") + NOTICE], ids=["alone", "data", "all"])
@pytest.mark.parametrize("after", ["silence", "end"])
async def test_an_error_that_ends_the_stream_is_told(pair: Pair, before: bytes, after: str) -> None:
    """Also if it comes in one piece with the last payloads, and whether or not the connection ends with it."""
    opened, server = pair
    server.sendall(before + error("42704", "publication does not exist") + READY)
    if after == "end":
        server.close()
    if before:
        assert await received(opened, 1) == [b"last"]
    told = await ending(opened)
    assert isinstance(told, StreamEnded)
    assert (told.sqlstate, told.text) == ("42704", "publication does not exist")
    assert "publication" not in str(told) + repr(told)


@pytest.mark.parametrize("said", [frame(b"c", b""), frame(b"C", b"COPY 0\0")], ids=["CopyDone", "CommandComplete"])
@pytest.mark.parametrize("before", [b"", copy_data(b"last")], ids=["alone", "data"])
async def test_a_stream_that_ends_in_good_order_has_no_error(pair: Pair, said: bytes, before: bytes) -> None:
    """A server that shuts down says goodbye."""
    opened, server = pair
    server.sendall(before + said)
    server.close()
    if before:
        assert await received(opened, 1) == [b"last"]
    told = await ending(opened)
    assert isinstance(told, StreamEnded)
    assert (told.sqlstate, told.text) == ("", "")


async def test_a_broken_frame_is_told_at_once(pair: Pair) -> None:
    """Behind good ones too."""
    opened, server = pair
    server.sendall(copy_data(b"last") + b"d" + int32(3) + b"x")
    assert await received(opened, 1) == [b"last"]
    assert isinstance(await ending(opened), ProtocolViolation)


@pytest.mark.parametrize("half", [b"", copy_data(b"half")[:-1]], ids=["nothing", "half"])
async def test_a_connection_that_ends_without_a_word_is_lost(pair: Pair, half: bytes) -> None:
    """Whatever came whole is given first; then it stays lost."""
    opened, server = pair
    server.sendall(copy_data(b"whole") + half)
    server.close()
    assert await received(opened, 1) == [b"whole"]
    for _ in range(2):
        assert isinstance(await ending(opened), ConnectionLost)
    with pytest.raises(ConnectionLost):
        await opened.send(b"anything")


async def test_readiness_without_bytes_is_not_the_end(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket may be said to be readable when it is not."""
    opened, server = pair
    server.sendall(copy_data(b"one"))
    assert await received(opened, 1) == [b"one"]
    real = opened._fill
    spurious = threading.Event()

    def fill(buffer: memoryview) -> int:
        if not spurious.is_set():
            spurious.set()
            opened._socket.recv_into(buffer)  # somebody else took them
        return real(buffer)

    monkeypatch.setattr(opened, "_fill", fill)
    following = asyncio.create_task(received(opened, 1))
    server.sendall(copy_data(b"lost"))
    await eventually(spurious.is_set, "the thread has read")
    server.sendall(copy_data(b"two"))
    assert await following == [b"two"]


async def test_a_trickle_gathers_until_it_is_asked_for(pair: Pair) -> None:
    """Then all of it comes at once."""
    opened, server = pair
    is_asked = True
    while is_asked:  # once more where the thread was asked for more in the very moment in which it handed this over
        server.sendall(copy_data(b"first"))
        assert await received(opened, 1) == [b"first"]
        is_asked = opened._is_wanted.is_set()
    for number in range(20):
        server.sendall(copy_data(b"%d" % number))
        await asyncio.sleep(0.01)
    assert not opened._pieces
    assert list(await opened.receive()) == [b"%d" % number for number in range(20)]


async def test_back_pressure_stops_the_reading(pair: Pair) -> None:
    """While nobody takes what came, a bounded part of it is held, and the server has to wait; nothing is lost."""
    opened, server = pair
    server.setblocking(False)
    payload = bytes(64 << 10)
    sent = taken = 0
    loop = asyncio.get_running_loop()

    async def send(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            await loop.sock_sendall(server, copy_data(payload))
            sent += 1

    sending = asyncio.create_task(send(1000))
    before = -1
    # The thread may be slow; it has stopped when it listens no more.
    while sent != before or opened.silence:
        before = sent
        await asyncio.sleep(0.3)
    assert not sending.done()
    assert sum(map(len, opened._pieces)) <= (transport._PIECES + 1) * PIECE
    assert opened.silence == 0
    while taken < 1000:
        taken += len(await received(opened, 1))
    await sending
    assert taken == 1000


async def test_silence_is_counted_while_listening(pair: Pair) -> None:
    """From the last bytes on."""
    opened, server = pair
    await eventually(lambda: opened.silence >= 0.1, "a tenth of a second is counted")
    before = time.monotonic()
    server.sendall(copy_data(b"one"))
    await received(opened, 1)
    assert opened.silence <= time.monotonic() - before


async def test_what_is_sent_is_one_frame(pair: Pair) -> None:
    """As CopyData."""
    opened, server = pair
    await opened.send(b"status")
    assert server.recv(100) == copy_data(b"status")


@pytest.mark.parametrize("filled", [False, True], ids=["waiting for bytes", "waiting for room"])
async def test_closing_ends_the_thread(filled: bool) -> None:
    """Whatever it waits for; the descriptor is given back."""
    own, server = socket.socketpair()
    own.setblocking(False)
    opened = SocketTransport(own)
    if filled:
        server.setblocking(False)
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(server, bytes(64 * PIECE)))
        await asyncio.sleep(0.5)
        sending.cancel()
    async with asyncio.timeout(SECONDS):
        await opened.close()
    assert not opened._thread.is_alive()
    assert own.fileno() == -1
    server.close()


@settings(phases=[Phase.generate], max_examples=30)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20), st.data())
async def test_other_messages_never_change_the_payloads(payloads: list[bytes], data: st.DataObject) -> None:
    """Wherever they stand and however the bytes are cut, all payloads of what came are given."""
    others = st.sampled_from([b"", b"", NOTICE, PARAMETER, NOTIFICATION])
    stream = b"".join(data.draw(others) + copy_data(payload) + data.draw(others) for payload in payloads)
    cut = data.draw(st.integers(0, len(stream)))
    own, server = socket.socketpair()
    own.setblocking(False)
    opened = SocketTransport(own)
    try:
        server.sendall(stream[:cut])
        await asyncio.sleep(0)
        server.sendall(stream[cut:])
        assert await received(opened, len(payloads)) == payloads
    finally:
        await opened.close()
        server.close()


# --------------------------------------------------------------------------------------------- to a real server


@pytest.fixture
async def session(production: Database) -> AsyncIterator[ReplicationSession]:
    production.execute(
        "DROP TABLE IF EXISTS public.streamed CASCADE",
        "CREATE TABLE public.streamed (id int PRIMARY KEY, a text)",
        "DROP PUBLICATION IF EXISTS p",
        "CREATE PUBLICATION p FOR TABLE public.streamed",
    )
    async with await ReplicationSession.open(source_address(production), "tests") as opened:
        yield opened
    production.server.drop_slots(production.name)


@pytest.fixture(params=[SocketTransport, LibpqTransport])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Any]]:
    """Each of the transports in turn; what is used is what was meant."""
    used: list[type[Any]] = []
    real = transport.take_over

    async def take_over(pgconn: psycopg.pq.abc.PGconn) -> SocketTransport | None:
        return await real(pgconn) if request.param is SocketTransport else None

    class Stream(replication.ReplicationStream):
        def __init__(self, address: Any, given: Any, start_lsn: Lsn) -> None:
            used.append(type(given))
            super().__init__(address, given, start_lsn)

    monkeypatch.setattr(replication, "take_over", take_over)
    monkeypatch.setattr(replication, "ReplicationStream", Stream)
    yield request.param
    assert set(used) <= {request.param}


async def brought(stream: replication.ReplicationStream, transactions: int) -> list[object]:
    """The inserted rows of the next transactions."""
    decoder, found, ended = Decoder(1), [], 0
    async with asyncio.timeout(SECONDS):
        while ended < transactions:
            for payload in await stream.read():
                message = parse_copy_data(payload)
                if isinstance(message, XLogData):
                    event = decoder.decode(message.payload)
                    ended += isinstance(event, Commit)
                    if isinstance(event, Insert):
                        found.append(event.new)
    return found


async def test_each_transport_brings_every_row(
    production: Database, session: ReplicationSession, kind: type[Any]
) -> None:
    """Small ones in great number, and one that is larger than any buffer."""
    slot = await session.create_slot(NAME, temporary=False)
    production.execute(
        "INSERT INTO public.streamed SELECT n, NULLIF(n % 3, 0)::text FROM generate_series(1, 20000) n",
        "INSERT INTO public.streamed SELECT 0, string_agg(md5(n::text), '') FROM generate_series(1, 200000) n",
        "INSERT INTO public.streamed VALUES (-1, '')",
    )
    async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
        rows = await brought(stream, 3)
    assert rows[:20000] == [(b"%d" % n, b"%d" % (n % 3) if n % 3 else None) for n in range(1, 20001)]
    [[large]] = production.execute("SELECT a FROM public.streamed WHERE id = 0")
    assert rows[20000:] == [(b"0", large.encode()), (b"-1", b"")]


async def test_each_transport_asks_and_is_answered(session: ReplicationSession, kind: type[Any]) -> None:
    """What goes out arrives."""
    slot = await session.create_slot(NAME, temporary=False)
    async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
        await stream.answer(ask=True)
        async with asyncio.timeout(SECONDS):
            [*messages] = await stream.read()
    assert all(isinstance(parse_copy_data(message), Keepalive) for message in messages)


async def test_each_transport_tells_that_the_session_was_ended(
    production: Database, session: ReplicationSession, kind: type[Any]
) -> None:
    """By the server's administrator: its own words, not those for a lost connection."""
    slot = await session.create_slot(NAME, temporary=False)
    async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
        production.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        told = await _first_ending(stream._transport)
    assert isinstance(told, StreamEnded)
    assert told.sqlstate == "57P01"


async def _first_ending(of: Any) -> Exception:
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await of.receive()
            except (StreamEnded, ConnectionLost) as ended:
                return ended


async def test_each_transport_tells_an_error_in_the_middle(
    production: Database, session: ReplicationSession, kind: type[Any]
) -> None:
    """A row filter that fails stops the stream with the server's code, and not as if the connection was lost."""
    slot = await session.create_slot(NAME, temporary=False)
    production.execute(
        "DROP PUBLICATION p",
        "CREATE PUBLICATION p FOR TABLE public.streamed WHERE (1 / id > 0) WITH (publish = 'insert')",
        "INSERT INTO public.streamed VALUES (0)",
    )
    async with await session.start(NAME, slot.consistent_point, ("p",), 1) as stream:
        with pytest.raises(ServerFailed) as caught:
            await brought(stream, 1)
    assert not isinstance(caught.value, Interrupted)
    assert "SQLSTATE 22012" in caught.value.message


async def test_each_transport_reports_a_refused_start(session: ReplicationSession, kind: type[Any]) -> None:
    """The server's answer is told in the operator's words, and the session can go on."""
    for _ in range(2):
        with pytest.raises(ServerFailed, match="slot tezcat_nothing does not exist"):
            await session.start("tezcat_nothing", Lsn(0), ("p",), 1)
    slot = await session.create_slot(NAME, temporary=True)
    assert slot.name == NAME


async def test_no_thread_is_left(production: Database, session: ReplicationSession, kind: type[Any]) -> None:
    """Of a stream that was left, in good order or not."""
    slot = await session.create_slot(NAME, temporary=False)
    with pytest.raises(KeyError):
        async with await session.start(NAME, slot.consistent_point, ("p",), 1):
            raise KeyError
    assert not [thread for thread in threading.enumerate() if thread.name == "tezcat receiver"]


# --------------------------------------------------------------------------------- before the stream begins


class Pgconn:
    """What ``take_over`` uses of libpq's connection."""

    ssl_in_use = False

    def __init__(self, own: socket.socket) -> None:
        self._own = own
        self.socket = own.fileno()

    def flush(self) -> int:
        return 0


COPY_BOTH = frame(b"W", b"\0" + b"\0\0")


@pytest.mark.parametrize("before", [b"", NOTICE, PARAMETER + NOTICE], ids=["nothing", "notice", "both"])
async def test_the_socket_is_taken_over_where_the_stream_begins(before: bytes) -> None:
    """However the bytes arrive, not one of the stream is lost and none before it is taken for it."""
    client, server = socket.socketpair()
    client.setblocking(False)
    taking = asyncio.create_task(transport.take_over(Pgconn(client)))
    said = before + COPY_BOTH + copy_data(keepalive(1, 2, reply_requested=False))
    for start in range(0, len(said), 7):
        server.sendall(said[start : start + 7])
        await asyncio.sleep(0.01)
    async with asyncio.timeout(SECONDS):
        opened = await taking
    assert opened is not None
    assert await received(opened, 1) == [keepalive(1, 2, reply_requested=False)]
    await opened.close()
    client.close()
    server.close()


@pytest.mark.parametrize("answer", [error("42704", "no slot") + READY, b""], ids=["an error", "the end"])
async def test_another_answer_is_left_for_libpq(answer: bytes) -> None:
    """Not a byte of it is read."""
    client, server = socket.socketpair()
    client.setblocking(False)
    server.sendall(answer)
    if not answer:
        server.close()
    async with asyncio.timeout(SECONDS):
        assert await transport.take_over(Pgconn(client)) is None
    assert client.recv(1000) == answer
    client.close()
    server.close()
