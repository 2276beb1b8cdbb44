"""Frames in any pieces, the payloads inside them, and what goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.events import Event
from capture.model import Lsn
from capture.pgoutput import Decoder, ProtocolViolation
from capture.replication_protocol import (
    PADDING,
    Block,
    Framer,
    Keepalive,
    StreamEnded,
    XLogData,
    from_datetime,
    parse_copy_data,
    status_update,
    to_datetime,
)
from tests.capture.pgoutput_encoder import copy_data, encode, int32, keepalive, xlog_data
from tests.capture.pgoutput_strategies import lsns, times, versions_and_sessions

payloads = st.lists(st.binary(max_size=30), max_size=6)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """``stream`` cut at the given positions."""
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


cuts = st.lists(st.integers(0, 2**20), max_size=20)


@given(versions_and_sessions, cuts)
def test_any_split_gives_the_same_events(version_and_session: tuple[int, list[Event]], cuts: list[int]) -> None:
    """However the network cuts a stream, the same events come out of it in the same order."""
    version, session = version_and_session
    stream = b"".join(copy_data(xlog_data(1, 2, 3, encode(event))) for event in session)
    framer, decoder = Framer(), Decoder(version)
    decoded = []
    for piece in pieces(stream, cuts):
        for payload in framer.feed(piece):
            parsed = parse_copy_data(payload)
            assert isinstance(parsed, XLogData)
            decoded.append(decoder.decode(parsed.payload))
    assert [(type(event), event) for event in decoded] == [(type(event), event) for event in session]


@given(payloads)
def test_byte_by_byte(wanted: list[bytes]) -> None:
    """A payload comes out with the last byte of its frame, not earlier and not later."""
    framer = Framer()
    for payload in wanted:
        frame = copy_data(payload)
        came = [list(framer.feed(frame[position : position + 1])) for position in range(len(frame))]
        assert came == [[]] * (len(frame) - 1) + [[payload]]


@pytest.mark.parametrize(
    "broken",
    [b"G" + int32(8) + b"\0\0\0\0", b"d" + int32(3), b"d" + int32(-1), b"d" + int32(2**30 + 4)],
    ids=["another frame", "too short", "negative", "too long"],
)
@given(wanted=payloads, cuts=cuts)
def test_a_broken_frame_ends_the_stream(broken: bytes, wanted: list[bytes], cuts: list[int]) -> None:
    """However the stream is cut, the payloads before a broken frame come, then the same violation again and again."""
    framer = Framer()
    stream = b"".join(map(copy_data, wanted))
    came, violations = [], []
    for piece in [*pieces(stream + broken, cuts), b"", copy_data(b"later")]:
        try:
            for payload in framer.feed(piece):
                came.append(payload)  # noqa: PERF402 - what came before the violation must be kept
        except ProtocolViolation as error:
            violations.append(error.message)
    assert came == wanted
    assert len(violations) >= 2
    assert len(set(violations)) == 1
    assert f"byte {len(stream)}" in violations[0] or f"byte {len(stream) + 1}" in violations[0]


def other(tag: bytes, body: bytes) -> bytes:
    """A frame that is not CopyData."""
    return tag + int32(4 + len(body)) + body


OTHERS = [other(b"N", b"SNOTICE\0Mcanary\0\0"), other(b"S", b"a\0b\0"), other(b"A", int32(1) + b"a\0b\0")]


@given(st.lists(st.binary(max_size=10).map(copy_data) | st.sampled_from(OTHERS), max_size=8), cuts)
def test_what_has_nothing_to_do_with_the_stream_is_passed_over(frames: list[bytes], cuts: list[int]) -> None:
    """Notices, parameters and notifications may come anywhere; nothing more is needed to get all payloads."""
    framer = Framer()
    came = [payload for piece in pieces(b"".join(frames), cuts) for payload in framer.feed(piece)]
    while more := list(framer.feed(b"")):
        came += more
    assert came == [frame[5:] for frame in frames if frame not in OTHERS]


ERROR_FIELDS = b"SERROR\0VERROR\0C42704\0Mthe canary\0Fx.c\0L1\0Rf\0\0"


@pytest.mark.parametrize(
    ("ending", "sqlstate", "text"),
    [
        (other(b"c", b""), "", ""),
        (other(b"C", b"COPY 0\0"), "", ""),
        (other(b"E", ERROR_FIELDS), "42704", "the canary"),
        (other(b"E", b"C57P01\0\0"), "57P01", ""),
        (other(b"E", b"C57P01\0M\xff\0\0"), "57P01", "\N{REPLACEMENT CHARACTER}"),
        (other(b"E", b""), "", ""),
    ],
    ids=["CopyDone", "CommandComplete", "error", "no text", "no UTF-8", "no fields"],
)
@given(wanted=payloads, cuts=cuts)
def test_the_end_of_a_stream_is_told_after_its_payloads(
    ending: bytes, sqlstate: str, text: str, wanted: list[bytes], cuts: list[int]
) -> None:
    """However it is cut; then again and again; the server's words are not in the exception's own."""
    framer = Framer()
    came, ends, said = [], [], ""
    for piece in [*pieces(b"".join(map(copy_data, wanted)) + ending, cuts), b"", copy_data(b"later")]:
        try:
            for payload in framer.feed(piece):
                came.append(payload)  # noqa: PERF402 - what came before the end must be kept
        except StreamEnded as ended:
            ends.append((ended.sqlstate, ended.text))
            said += str(ended) + repr(ended)
    assert came == wanted
    assert "canary" not in said
    assert len(ends) >= 2
    assert set(ends) == {(sqlstate, text)}


@given(payloads, st.data())
def test_a_block_gives_its_payloads(wanted: list[bytes], data: st.DataObject) -> None:
    """All, or some; and room behind the last one to read a field that may not be whole."""
    block = Block.of(wanted)
    assert list(block) == wanted
    assert len(block) == len(wanted)
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(wanted))] * 2)))
    assert list(block.between(first, last)) == wanted[first:last]
    cut = Framer().feed(b"".join(map(copy_data, wanted)))
    assert list(cut.between(first, last)) == wanted[first:last]
    for made in (block, cut):
        assert len(made.data) - (made.ends[-1] if len(made) else 0) >= PADDING
        assert made.starts.tolist() == sorted(made.starts.tolist())


def test_a_block_shows_no_payload() -> None:
    """In a repr."""
    assert "canary" not in repr(Block.of([b"canary"]))


def test_a_length_reserves_no_memory() -> None:
    """A frame that announces a gigabyte costs only what has arrived of it."""
    framer = Framer()
    assert list(framer.feed(b"d" + int32(2**30 + 3) + b"x" * 100)) == []
    assert sum(map(len, framer._pending)) == 105


@given(lsns, lsns, times, st.binary(max_size=50))
def test_xlog_data(start_lsn: Lsn, wal_end: Lsn, server_time: int, message: bytes) -> None:
    """XLogData is read as it was written."""
    parsed = parse_copy_data(xlog_data(start_lsn, wal_end, server_time, message))
    assert parsed == XLogData(start_lsn, wal_end, server_time, message)
    assert type(parsed) is XLogData
    assert (str(parsed.start_lsn), str(parsed.wal_end)) == (str(start_lsn), str(wal_end))


@given(lsns, times, st.booleans())
def test_keepalive(wal_end: Lsn, server_time: int, reply_requested: bool) -> None:
    """A keepalive is read as it was written."""
    parsed = parse_copy_data(keepalive(wal_end, server_time, reply_requested=reply_requested))
    assert parsed == Keepalive(wal_end, server_time, reply_requested)
    assert type(parsed) is Keepalive


@given(st.sampled_from([b"", b"w", b"k", b"r"]), st.binary(max_size=30))
def test_garbage_payload(tag: bytes, garbage: bytes) -> None:
    """Any payload is an XLogData, a keepalive or a violation."""
    try:
        parsed = parse_copy_data(tag + garbage)
    except ProtocolViolation:
        return
    assert isinstance(parsed, XLogData | Keepalive)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "unknown message, byte 0"),
        (b"z", "unknown message, byte 0"),
        (xlog_data(1, 2, 3, b"")[:-1], "XLogData message, byte 24"),
        (keepalive(1, 2, reply_requested=True)[:-1], "keepalive message, byte 17"),
        (keepalive(1, 2, reply_requested=True) + b"\0", "keepalive message, byte 18"),
        (keepalive(1, 2, reply_requested=True)[:-1] + b"\2", "keepalive message, byte 17"),
    ],
)
def test_malformed_payload(payload: bytes, told: str) -> None:
    """A violation names the kind of payload and the byte."""
    with pytest.raises(ProtocolViolation, match=told):
        parse_copy_data(payload)


def test_repr_shows_no_payload() -> None:
    """What XLogData holds does not reach a log by way of its repr."""
    assert "secret" not in repr(XLogData(Lsn(1), Lsn(2), 3, b"secret"))


def test_status_update() -> None:
    """A status update is 34 bytes: tag, three positions, time, flag."""
    message = status_update(
        written=Lsn.parse("16/B374D848"), flushed=Lsn(2), applied=Lsn(1), client_time=-1, reply_requested=True
    )
    assert message == bytes.fromhex("72 00000016b374d848 0000000000000002 0000000000000001 ffffffffffffffff 01")


@given(st.datetimes(timezones=st.just(UTC)))
def test_time_round_trip(moment: datetime) -> None:
    """A time of the protocol loses nothing on its way."""
    assert to_datetime(from_datetime(moment)) == moment


def test_time_counts_from_2000() -> None:
    """The epoch is 2000-01-01 UTC and the unit a microsecond."""
    assert to_datetime(0) == datetime(2000, 1, 1, tzinfo=UTC)
    assert to_datetime(-1) == datetime(2000, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)


@pytest.mark.parametrize("microseconds", [-(2**63), 2**63 - 1])
def test_impossible_time(microseconds: int) -> None:
    """A time that no calendar holds is a violation."""
    with pytest.raises(ProtocolViolation, match="years 1 to 9999"):
        to_datetime(microseconds)
