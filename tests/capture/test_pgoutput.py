"""The decoder against an encoder of its own, against what a server sent, and against everything else."""

from __future__ import annotations

import dataclasses
import pickle
import typing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.events import (
    Begin,
    BeginPrepare,
    ChangeEvent,
    Commit,
    CommitPrepared,
    ControlEvent,
    Delete,
    Event,
    Insert,
    Message,
    Origin,
    Prepare,
    RollbackPrepared,
    StreamAbort,
    StreamCommit,
    StreamPrepare,
    StreamStart,
    StreamStop,
    Truncate,
    Type,
    Update,
)
from capture.model import UNCHANGED, Lsn, Relation, RelationColumn, ReplicaIdentity, ServerFailed, TableName
from capture.pgoutput import Decoder, ProtocolViolation
from tests.capture.pgoutput_encoder import encode, int16, int32, int64, string, tuple_data
from tests.capture.pgoutput_strategies import versions_and_sessions

LSN = Lsn.parse("16/B374D848")
CANARY = "ajolote-7341"

STREAM_START = StreamStart(700, first_segment=True)
BEGIN = Begin(LSN, 0, 700)
BEGIN_PREPARE = BeginPrepare(LSN, LSN, 0, 700, "gid")

# How to get there from between transactions.
PLACES: dict[str, Event | None] = {
    "between": None,
    "transaction": BEGIN,
    "preparing": BEGIN_PREPARE,
    "stream": STREAM_START,
}

# One event of each kind, the places where the documentation has it, and the first protocol version that does.
KINDS: list[tuple[Event, set[str], int]] = [
    (BEGIN, {"between"}, 1),
    (Commit(LSN, LSN, 0), {"transaction"}, 1),
    (Origin(LSN, "elsewhere"), {"transaction", "preparing", "stream"}, 1),
    (
        Relation(1, TableName("s", "t"), ReplicaIdentity.FULL, (RelationColumn("a", 23, -1, is_key=True),)),
        {"transaction", "preparing", "stream"},
        1,
    ),
    (Type(1, "s", "t"), {"transaction", "preparing", "stream"}, 1),
    (Insert(1, (b"a",)), {"transaction", "preparing", "stream"}, 1),
    (Update(1, None, False, (b"a",)), {"transaction", "preparing", "stream"}, 1),
    (Delete(1, (b"a",), False), {"transaction", "preparing", "stream"}, 1),
    (Truncate((1,), False, False), {"transaction", "preparing", "stream"}, 1),
    (Message(False, LSN, "p", b"c"), {"between", "transaction", "preparing", "stream"}, 1),
    (STREAM_START, {"between"}, 2),
    (StreamStop(), {"stream"}, 2),
    (StreamCommit(1, LSN, LSN, 0), {"between"}, 2),
    (StreamAbort(1, 2), {"between"}, 1),
    (StreamAbort(1, 2, LSN, 0), {"between"}, 4),
    (BEGIN_PREPARE, {"between"}, 3),
    (Prepare(LSN, LSN, 0, 1, "gid"), {"preparing"}, 3),
    (CommitPrepared(LSN, LSN, 0, 1, "gid"), {"between"}, 3),
    (RollbackPrepared(LSN, LSN, 0, 0, 1, "gid"), {"between"}, 3),
    (StreamPrepare(LSN, LSN, 0, 1, "gid"), {"between"}, 3),
]

EVENT_TYPES = typing.get_args(ChangeEvent) + typing.get_args(ControlEvent)
TAGS = sorted({encode(event)[:1] for event, _, _ in KINDS})


def decoder_at(place: str, version: int = 4) -> Decoder:
    decoder = Decoder(version)
    start = PLACES[place]
    if start is not None:
        decoder.decode(encode(start))
    return decoder


def streamed(event: Event) -> Event:
    """The event as it comes in a streamed block, where changes carry an xid."""
    if isinstance(event, Relation):
        return dataclasses.replace(event, xid=701)
    if isinstance(event, Type | Insert | Update | Delete | Truncate | Message):
        return event._replace(xid=701)
    return event


def typed(event: Event) -> tuple[type, Event]:
    """Named tuples of different types can be equal; these cannot."""
    return type(event), event


# A streamed transaction's abort is the one message of which a part is whole too: its long form starts as its short one.
def is_long_abort(event: Event) -> bool:
    return isinstance(event, StreamAbort) and event.abort_lsn is not None


@given(versions_and_sessions)
def test_round_trip(version_and_session: tuple[int, list[Event]]) -> None:
    """Whatever the server says in whatever order it may, each message gives the event that it was made of."""
    version, session = version_and_session
    decoder = Decoder(version)
    assert [typed(decoder.decode(encode(event))) for event in session] == [typed(event) for event in session]


def test_recorded_messages() -> None:
    """Every kind of message that PostgreSQL 18 sent is decoded, and the encoder of these tests writes it alike."""
    lines = Path(__file__).with_name("pgoutput_18.hex").read_text().splitlines()
    messages = [bytes.fromhex(line) for line in lines if not line.startswith("#")]
    decoder = Decoder(4)
    decoded = [decoder.decode(message) for message in messages]
    assert [encode(event) for event in decoded] == messages
    assert {type(event) for event in decoded} == set(EVENT_TYPES)
    assert {event.abort_lsn is None for event in decoded if isinstance(event, StreamAbort)} == {True, False}


def test_recorded_values() -> None:
    """Rows that PostgreSQL 18 sent have the values that were written: text, NULL, empty, unchanged, keys and rows."""
    lines = Path(__file__).with_name("pgoutput_18.hex").read_text().splitlines()
    decoder = Decoder(4)
    decoded = [decoder.decode(bytes.fromhex(line)) for line in lines if not line.startswith("#")]
    inserts = [event for event in decoded if isinstance(event, Insert)]
    updates = [event for event in decoded if isinstance(event, Update)]
    deletes = [event for event in decoded if isinstance(event, Delete)]
    assert inserts[0].new == (b"1", b"Ann", b"calm", b"x" * 2100, b"1980-01-01")
    assert inserts[1].new == (b"2", None, b"wild", b"", b"1990-02-03")
    assert updates[0][1:4] == (None, False, (b"1", b"Anna", b"calm", UNCHANGED, b"1980-01-01"))
    assert updates[1][1:3] == ((b"2", None, None, None, None), False)
    assert deletes[0][1:3] == ((b"3", None, None, None, None), False)
    assert updates[2][1:4] == ((b"1", "é".encode()), True, (b"1", b"z"))
    assert TableName("Odd Schema", "Sélect") in {event.table for event in decoded if isinstance(event, Relation)}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("event", "places", "since"), KINDS, ids=[f"{type(kind[0]).__name__}-{kind[2]}" for kind in KINDS]
)
def test_each_kind_has_its_places_and_versions(event: Event, places: set[str], since: int, place: str) -> None:
    """A message is decoded where its version of the protocol has it, and a violation everywhere else."""
    if place == "stream":
        event = streamed(event)
    first = {"between": 1, "transaction": 1, "stream": 2, "preparing": 3}[place]
    for version in range(first, 5):
        decoder = decoder_at(place, version)
        if place in places and version >= since:
            assert typed(decoder.decode(encode(event))) == typed(event)
        else:
            with pytest.raises(ProtocolViolation):
                decoder.decode(encode(event))


@given(versions_and_sessions, st.data())
def test_errors_leave_the_decoder_unchanged(version_and_session: tuple[int, list[Event]], data: st.DataObject) -> None:
    """Messages cut short or too long are violations, and the stream can go on after them as if they had not come."""
    version, session = version_and_session
    decoder = Decoder(version)
    for event in session:
        message = encode(event)
        cut = data.draw(st.integers(0, len(message) - 1))
        if not (is_long_abort(event) and cut == 9):
            with pytest.raises(ProtocolViolation):
                decoder.decode(message[:cut])
        with pytest.raises(ProtocolViolation):
            decoder.decode(message + data.draw(st.binary(min_size=1, max_size=9)))
        assert typed(decoder.decode(message)) == typed(event)


@given(st.sampled_from(sorted(PLACES)), st.sampled_from(TAGS), st.binary(max_size=80))
def test_garbage(place: str, tag: bytes, garbage: bytes) -> None:
    """Any bytes give an event or a violation."""
    for message in (garbage, tag + garbage):
        try:
            event = decoder_at(place).decode(message)
        except ProtocolViolation:
            continue
        assert isinstance(event, EVENT_TYPES)


@given(versions_and_sessions, st.data())
def test_mutated_messages(version_and_session: tuple[int, list[Event]], data: st.DataObject) -> None:
    """A message with some bytes replaced gives an event or a violation, and so does all that follows it."""
    version, session = version_and_session
    decoder = Decoder(version)
    for event in session:
        message = bytearray(encode(event))
        for _ in range(data.draw(st.integers(0, 3))):
            # Most of what can break lies in the first bytes, before the values.
            position = data.draw(st.integers(0, min(len(message) - 1, 40)))
            message[position] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, *b"ntubKON"]) | st.integers(0, 255))
        try:
            mutated = decoder.decode(bytes(message))
        except ProtocolViolation:
            continue
        assert isinstance(mutated, EVENT_TYPES)


INSERT = b"I" + int32(1) + b"N"
RELATION = b"R" + int32(1) + string("s") + string("t")
COLUMN = b"\0" + string("a") + int32(23) + int32(-1)
VALUE = b"t" + int32(len(CANARY)) + CANARY.encode()

MALFORMED = [
    ("binary", INSERT + int16(2) + VALUE + b"b" + VALUE[1:], "insert", 25, "binary format"),
    ("column kind", INSERT + int16(2) + VALUE + b"x" + VALUE[1:], "insert", 25, "unknown kind"),
    ("negative length", INSERT + int16(2) + VALUE + b"t" + int32(-1) + CANARY.encode(), "insert", 26, "longer"),
    ("length too long", INSERT + int16(2) + VALUE + b"t" + int32(13) + CANARY.encode(), "insert", 26, "longer"),
    ("columns missing", INSERT + int16(3) + VALUE + b"n", "insert", 26, "ends early"),
    ("length cut", INSERT + int16(1) + b"t\0\0", "insert", 11, "ends early"),
    ("negative columns", INSERT + int16(0xFFFF) + VALUE, "insert", 6, "negative"),
    ("surplus column", INSERT + int16(1) + VALUE + VALUE, "insert", 25, "bytes follow"),
    ("no new row", b"I" + int32(1) + b"K" + tuple_data((CANARY.encode(),)), "insert", 5, "no new row"),
    ("no new row", b"U" + int32(1) + b"K" + int16(1) + VALUE + b"K" + int16(0), "update", 25, "no new row"),
    ("only an old row", b"U" + int32(1) + b"O" + int16(1) + VALUE, "update", 25, "ends early"),
    ("no old row", b"D" + int32(1) + b"N" + tuple_data((CANARY.encode(),)), "delete", 5, "no old row"),
    ("replica identity", RELATION + b"x" + int16(1) + COLUMN, "relation", 9, "replica identity"),
    ("negative columns", RELATION + b"d" + int16(0xFFFF) + COLUMN, "relation", 10, "negative"),
    ("columns missing", RELATION + b"d" + int16(2) + COLUMN, "relation", 23, "ends early"),
    ("column flags", RELATION + b"d" + int16(1) + b"\2" + COLUMN[1:], "relation", 12, "unknown flags"),
    ("not UTF-8", b"Y" + int32(1) + CANARY.encode() + b"\xff\0" + string("t"), "type", 5, "not UTF-8"),
    ("endless name", b"Y" + int32(1) + string("s") + CANARY.encode(), "type", 19, "ends early"),
    ("negative tables", b"T" + int32(-1) + b"\0", "truncate", 1, "negative"),
    ("too many tables", b"T" + int32(2**31 - 1) + b"\0" + int32(1), "truncate", 10, "ends early"),
    ("options", b"T" + int32(1) + b"\4" + int32(1), "truncate", 5, "unknown flags"),
    ("flags", b"M\2" + int64(1) + string("p") + int32(0), "logical decoding", 1, "unknown flags"),
    ("content", b"M\0" + int64(1) + string("p") + int32(13) + CANARY.encode(), "logical decoding", 12, "longer"),
    ("flags", b"C\1" + int64(1) * 3, "commit", 1, "unknown flags"),
    ("end too early", b"C\0" + int64(1), "commit", 10, "ends early"),
    ("no such kind", b"Z" + CANARY.encode(), "unknown", 0, "no such kind"),
    ("misplaced", b"B" + int64(1) * 2 + int32(1), "begin", 0, "inside a transaction"),
    ("empty", b"", "an empty", 0, "no kind"),
]


@pytest.mark.parametrize(
    ("message", "kind", "offset", "what"),
    [case[1:] for case in MALFORMED],
    ids=[f"{case[2]}: {case[0]}" for case in MALFORMED],
)
def test_violations_tell_where_and_never_what(message: bytes, kind: str, offset: int, what: str) -> None:
    """A violation names the kind of message, the byte and the reason; nothing in it or behind it holds content."""
    with pytest.raises(ProtocolViolation) as caught:
        decoder_at("transaction").decode(message)
    assert f"{kind} message, byte {offset}: " in caught.value.message
    assert what in caught.value.message
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in repr(error) + str(error) + repr(vars(error))
        assert not isinstance(error, UnicodeDecodeError)
        error = error.__context__


def test_empty_schema_is_pg_catalog() -> None:
    """The protocol saves space where a name is in pg_catalog."""
    assert decoder_at("transaction").decode(b"Y" + int32(1) + b"\0" + string("t")) == Type(1, "pg_catalog", "t")


@pytest.mark.parametrize("version", [0, 5])
def test_unknown_protocol_version(version: int) -> None:
    """A decoder cannot be made for a version that it does not know."""
    with pytest.raises(ValueError, match="1 to 4"):
        Decoder(version)


@pytest.mark.parametrize(
    "event",
    [
        Insert(1, (CANARY.encode(),)),
        Update(1, (CANARY.encode(),), True, (CANARY.encode(),)),
        Delete(1, (CANARY.encode(),), True),
        Message(True, LSN, "p", CANARY.encode()),
    ],
    ids=lambda event: type(event).__name__,
)
def test_repr_shows_no_value(event: Event) -> None:
    """What an event holds of a row does not reach a log by way of its repr."""
    assert CANARY not in repr(event) + str(event) + f"{event}"


def test_violation_crosses_processes() -> None:
    """A violation is the server's failure, and survives pickling with its message and its hint."""
    with pytest.raises(ProtocolViolation) as caught:
        Decoder(4).decode(b"Z")
    assert isinstance(caught.value, ServerFailed)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.message, copy.hint) == (ProtocolViolation, caught.value.message, caught.value.hint)
