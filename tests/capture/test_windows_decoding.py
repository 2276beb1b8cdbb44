"""However the stream is cut, and whether messages are decoded one by one or many at once, the same windows come out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import events, windows
from capture.model import (
    UNCHANGED,
    Begins,
    Ends,
    Lsn,
    OldImage,
    Operation,
    Relation,
    RelationColumn,
    ReplicaIdentity,
    Table,
    Window,
)
from capture.pgoutput import ProtocolViolation
from capture.replication_protocol import Block
from capture.windows import WindowBuilder
from tests.capture.pgoutput_encoder import encode, keepalive, xlog_data
from tests.capture.test_relations import announced
from tests.capture.window_stream import (
    BARE,
    CATALOG,
    DELETE,
    EPOCH,
    GUESTS,
    INSERT,
    PART,
    ROOMS,
    ROOT,
    SESSIONS,
    START,
    UPDATE,
    WIDE,
    Change,
    Stream,
    Told,
    changes_of,
    read_back,
)
from tests.fix_catalog import catalog, table


@dataclass
class Session:
    """What a server sends, as payloads; ``told`` is what has to come of it, ``position`` and ``time`` what is known at
    its end."""

    payloads: list[bytes] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    position: int = START
    seconds: int = 0
    wal_end: int = START


EXTRA = RelationColumn("extra", 25, -1, False)


def shapes(of: Table) -> list[Relation]:
    """In which shapes a table may be announced: as it is; with a column that is left out, in another order; with
    whole old rows."""
    plain = announced(of)
    shuffled = replace(plain, columns=(*plain.columns[1:2], EXTRA, *plain.columns[2:], *plain.columns[:1]))
    full = replace(
        plain, replica_identity=ReplicaIdentity.FULL, columns=tuple(c._replace(is_key=True) for c in plain.columns)
    )
    return [plain, shuffled, full]


SHAPES = {one.oid: shapes(one) for one in (GUESTS, ROOMS, SESSIONS, PART, BARE, WIDE)}

values = st.none() | st.sampled_from([b"", b"N", b"a", b"bc"]) | st.binary(max_size=3)
keys = st.binary(max_size=2)


@st.composite
def changes_to(draw: st.DrawFn, relation: Relation, of: Table) -> events.Insert | events.Update | events.Delete:
    """A change that the relation allows."""

    def row(sent: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(draw(keys if column.name in of.primary_key else sent) for column in relation.columns)

    kinds = [INSERT, UPDATE, DELETE] if any(column.is_key for column in relation.columns) else [INSERT]
    operation = draw(st.sampled_from(kinds))
    if operation is INSERT:
        return events.Insert(relation.oid, row(values))
    is_full = relation.replica_identity is ReplicaIdentity.FULL
    old = row(values)
    if not is_full:
        old = tuple(
            value if column.name in of.primary_key else None
            for column, value in zip(relation.columns, old, strict=True)
        )
    if operation is DELETE:
        return events.Delete(relation.oid, old, is_full)
    new = row(values | st.just(UNCHANGED))
    if not is_full and draw(st.booleans()):
        return events.Update(relation.oid, None, False, new)
    return events.Update(relation.oid, old, is_full, new)


def as_told(change: Any, relation: Relation, of: Table) -> Told:
    """A change as it has to be read back."""
    names = [column.name for column in relation.columns]
    order = [names.index(column.name) for column in of.copied_columns]
    new = None if isinstance(change, events.Delete) else tuple(change.new[place] for place in order)
    old, kind = None, OldImage.NONE
    if not isinstance(change, events.Insert) and change.old is not None:
        kind = OldImage.FULL if change.old_is_full else OldImage.KEY
        old = tuple((names[place], change.old[place]) for place in order)
    operation = {events.Insert: INSERT, events.Update: UPDATE, events.Delete: DELETE}[type(change)]
    return Change(of.name, operation, new, kind, old)


def settled(told: Sequence[Told]) -> list[Told]:
    """With the columns of a key image that are not sent left away: a window may hold them as null, or not at all."""
    keys = {one.name: set(one.primary_key) for one in CATALOG.tables.values()}
    return [
        one._replace(old=tuple((name, value) for name, value in one.old if name in keys[one.table]))
        if isinstance(one, Change) and one.old is not None and one.old_kind is OldImage.KEY
        else one
        for one in told
    ]


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """Transactions of several tables: some applied already, some empty, with all that may lie in them and between."""
    session = Session()
    of = {one.oid: one for one in CATALOG.tables.values()}
    current: dict[int, Relation] = {}

    def send(event: events.Event | Relation) -> None:
        session.wal_end += draw(st.integers(-3, 10))
        session.payloads.append(xlog_data(1, session.wal_end, 1, encode(event)))

    def announce(oid: int, shape: int = 0) -> None:
        current[oid] = SHAPES[oid][shape]
        send(current[oid])

    send(events.Begin(Lsn(1), 0, 7))
    send(announced(ROOT))
    for oid in SHAPES:
        announce(oid)
    send(events.Commit(Lsn(1), Lsn(2), 0))
    first = draw(st.integers(-2, 0))
    for number in range(first, first + draw(st.integers(1, 5))):
        lsn, end, seconds = 1000 + 100 * number, 1050 + 100 * number, 10 + number
        skipped = lsn < START
        told: list[Told] = []
        send(events.Begin(Lsn(lsn), 0, 7))
        for _ in range(draw(st.integers(0, 14))):
            match draw(st.sampled_from(["change"] * 12 + ["relation", "truncate", "other", "keepalive"])):
                case "change":
                    oid = draw(st.sampled_from([1, 1, 1, 2, 2, 3, 5, 6, 7, 7]))
                    change = draw(changes_to(current[oid], of[oid]))
                    send(change)
                    told.append(("left out",) if oid == 3 else as_told(change, current[oid], of[oid]))
                case "relation":
                    announce(draw(st.sampled_from([1, 1, 3, 7])), draw(st.integers(0, 2)))
                case "truncate":
                    oids = draw(st.lists(st.sampled_from([1, 2, 3, 4, 5]), min_size=1, max_size=3, unique=True))
                    send(events.Truncate(tuple(oids), False, False))
                    if tables := tuple(of[oid].name for oid in oids if oid not in (3, 4)):
                        told.append(("truncate", tables))
                case "other":
                    send(
                        draw(
                            st.sampled_from(
                                [
                                    events.Origin(Lsn(1), "o"),
                                    events.Type(9, "a", "b"),
                                    events.Message(True, 1, "p", b""),
                                ]
                            )
                        )
                    )
                case "keepalive":
                    session.payloads.append(keepalive(lsn + 1, 999_000_000, reply_requested=draw(st.booleans())))
                    session.wal_end = max(session.wal_end, lsn + 1)
        send(events.Commit(Lsn(lsn), Lsn(end), seconds * 1_000_000))
        session.position, session.seconds = max(session.position, end), seconds
        if not skipped:
            session.told += [("begin", lsn), *told, ("end", end, seconds * 1_000_000)]
        if draw(st.booleans()):
            at = end + draw(st.integers(-60, 40))
            session.payloads.append(keepalive(at, (seconds + 1) * 1_000_000, reply_requested=False))
            session.position, session.seconds = max(session.position, at), seconds + 1
    return session


@dataclass
class Came:
    """What a builder made of a session."""

    windows: list[Window]
    answers: list[bool]
    sizes: list[int]
    server_lsn: int
    bulk: int  # messages that were cut many at once


class Counting(WindowBuilder):
    """Knows how often the way by many was gone to its end."""

    bulk = 0

    def _take_many(self, block: Block, first: int, last: int) -> None:
        super()._take_many(block, first, last)
        self.bulk += last - first


def build(payloads: Sequence[bytes], edges: Sequence[int], closes: Sequence[bool], many: int) -> Came:
    """Feed blocks that end at ``edges``; after each the window is closed, or not."""
    came = Came([], [], [], 0, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "_MANY", many)
        builder = Counting(CATALOG, frozenset({SESSIONS.name}), START, EPOCH, 1, lambda _: None)
        start = 0
        for edge, close in zip([*edges, len(payloads)], [*closes, True], strict=True):
            if edge > start:
                came.answers.append(builder.take(Block.of(payloads[start:edge])))
            start = max(start, edge)
            came.sizes.append(builder.size)
            if close:
                came.windows.append(builder.close())
        came.server_lsn, came.bulk = builder.server_lsn, builder.bulk
    return came


def plainly(window: Window) -> object:
    """A window as plain values, so that two can be compared."""
    return (
        window.count,
        {
            name: (
                changes.order.tolist(),
                list(changes_of(name, changes)),
                changes.new.schema,
                changes.old.schema,
                changes.new.num_rows,
                changes.old.num_rows,
            )
            for name, changes in window.changes.items()
        },
        window.truncations,
        window.begins,
        window.ends,
        window.position,
        window.source_time,
    )


layouts = st.lists(st.tuples(st.integers(0, 120), st.booleans()), max_size=5).map(sorted)


@given(sessions(), layouts, st.integers(1, 4))
def test_however_the_stream_is_cut_and_decoded_the_same_comes_out(
    session: Session, layout: list[tuple[int, bool]], many: int
) -> None:
    """Read back row by row, the windows are what production did; one by one and many at once give equal windows."""
    edges = [min(edge, len(session.payloads)) for edge, _ in layout]
    closes = [close for _, close in layout]
    slow, fast = (build(session.payloads, edges, closes, threshold) for threshold in (10**9, many))
    assert slow.bulk == 0
    assert settled(read_back(slow.windows)) == settled(session.told)
    assert [plainly(window) for window in fast.windows] == [plainly(window) for window in slow.windows]
    assert (fast.answers, fast.sizes) == (slow.answers, slow.sizes)
    assert fast.windows[-1].position == session.position
    assert fast.windows[-1].source_time == EPOCH + timedelta(seconds=session.seconds)
    for window in fast.windows:
        for changes in window.changes.values():
            assert {one.type for one in (*changes.new.schema, *changes.old.schema)} <= {pa.binary()}


@given(sessions(), st.integers(1, 4))
def test_how_far_the_server_is_does_not_depend_on_the_way(session: Session, many: int) -> None:
    """Messages of a transaction lie before the commit of the one that was sent before it."""
    slow, fast = (build(session.payloads, [], [], threshold) for threshold in (10**9, many))
    assert fast.server_lsn == slow.server_lsn


@given(sessions(), st.integers(1, 4), st.data())
def test_a_broken_message_is_never_read_in_another_way(session: Session, many: int, data: st.DataObject) -> None:
    """Whatever its bytes are: it is refused both ways, or both bring the same windows."""
    payloads = list(session.payloads)
    places = [place for place, payload in enumerate(payloads) if payload[25:26] in (b"I", b"U", b"D")]
    if not places:
        return
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(places))
        broken = bytearray(payloads[place])
        # The relation stays: what is wrong in rows that are not copied is nobody's matter.
        at = data.draw(st.sampled_from([at for at in (25, *range(30, len(broken))) if at < len(broken)]))
        broken[at] = data.draw(st.sampled_from(b"tnuNKOIUDBC\0\1\2\3\4\5\xff"))
        if data.draw(st.integers(0, 4)) == 0:
            broken = broken[: data.draw(st.integers(26, len(broken)))]
        if data.draw(st.integers(0, 4)) == 0:
            broken += data.draw(st.binary(max_size=4))
        if broken[26:30] == b"\0\0\0\3":
            return
        payloads[place] = bytes(broken)
    results: list[object] = []
    for threshold in (10**9, many):
        try:
            results.append([plainly(window) for window in build(payloads, [], [], threshold).windows])
        except ProtocolViolation as violation:
            results.append(type(violation))
    assert results[0] == results[1]


@pytest.mark.parametrize("operation", [INSERT, UPDATE, DELETE], ids=str)
@pytest.mark.parametrize("of", [GUESTS, ROOMS, WIDE, BARE], ids=lambda one: one.name.name)
def test_many_changes_of_one_kind_are_cut_at_once(of: Table, operation: Operation) -> None:
    """A table that only grows, changes, or loses rows."""
    relation = announced(of)
    width, is_full = len(relation.columns), of.replica_identity is ReplicaIdentity.FULL
    if of is BARE and operation is not INSERT:
        relation = replace(relation, replica_identity=ReplicaIdentity.FULL)
        is_full = True

    def row(number: int) -> tuple[bytes, ...]:
        return tuple(b"%d" % (number + place) for place in range(width))

    def key(number: int) -> tuple[bytes | None, ...]:
        row_ = row(number)
        return (
            row_
            if is_full
            else tuple(value if column.is_key else None for value, column in zip(row_, relation.columns, strict=True))
        )

    made: list[events.Event] = []
    for number in range(200):
        match operation:
            case Operation.INSERT:
                made.append(events.Insert(of.oid, row(number)))
            case Operation.UPDATE:
                made.append(events.Update(of.oid, key(number), is_full, row(number + 1)))
            case Operation.DELETE:
                made.append(events.Delete(of.oid, key(number), is_full))
    sent = [events.Begin(Lsn(1000), 0, 7), relation, *made, events.Commit(Lsn(1000), Lsn(1050), 0)]
    payloads = [xlog_data(0, 0, 0, encode(event)) for event in sent]
    # Something was sent before, or nothing is cut at once yet.
    came = build(payloads, [2], [False], 64)
    assert came.bulk == 201
    assert [plainly(window) for window in came.windows] == [
        plainly(window) for window in build(payloads, [2], [False], 10**9).windows
    ]
    wanted = [("begin", 1000), *(as_told(change, relation, of) for change in made), ("end", 1050, 0)]
    assert settled(read_back(came.windows)) == settled(wanted)


def test_most_of_a_long_stream_is_cut_at_once() -> None:
    """Small transactions of two tables in turn, as an application makes them; only what is rare goes one by one."""
    draw = random.Random(7)
    sent: list[Any] = [events.Begin(Lsn(1000), 0, 7), announced(GUESTS), announced(ROOMS)]
    for number in range(2000):
        lsn = 1000 + 100 * number
        if number:
            sent.append(events.Begin(Lsn(lsn), 0, 7))
        key = b"%d" % number
        notes = draw.choice([None, UNCHANGED, b"x" * draw.randrange(50)])
        sent.append(
            draw.choice(
                [
                    events.Insert(1, (key, b"name", None)),
                    events.Update(1, None, False, (key, b"new", notes)),
                    events.Delete(1, (key, None, None), False),
                    events.Delete(2, (key, b"name"), True),
                ]
            )
        )
        sent.append(events.Commit(Lsn(lsn), Lsn(lsn + 50), number))
    payloads = [xlog_data(0, 0, 0, encode(event)) for event in sent]
    edges, closes = [3, 1000, 3000, 3010, 5000], [False, True, False, True, False]
    fast, slow = (build(payloads, edges, closes, threshold) for threshold in (64, 10**9))
    assert fast.bulk > len(payloads) * 0.9
    assert [plainly(window) for window in fast.windows] == [plainly(window) for window in slow.windows]
    assert [told[0] for told in read_back(fast.windows)].count("end") == 2000


@pytest.mark.parametrize("what", ["keepalives", "relations", "types", "truncations"])
def test_many_messages_that_change_no_row_are_none_the_worse(what: str) -> None:
    """After a long hold keepalives have gathered; a truncation of many tables is led in by their relations."""
    tables = [replace(table(f"public.t{number}", "id int8 pk"), oid=100 + number) for number in range(100)]
    stream = Stream(catalog(GUESTS, *tables))
    stream.relations(GUESTS)
    stream.begin(1000)
    stream.feed(events.Insert(1, (b"1", b"a", None)))
    relations = [announced(one) for one in tables]
    match what:
        case "keepalives":
            stream.builder.take(Block.of([keepalive(2000 + n, 0, reply_requested=False) for n in range(100)]))
            assert stream.builder.server_lsn == 2099
        case "relations":
            stream.feed(*relations, events.Truncate(tuple(one.oid for one in relations), False, False))
        case "types":
            stream.feed(*[events.Type(number, "public", "mood") for number in range(100)])
        case "truncations":
            stream.feed(*[events.Truncate((1,), False, False)] * 100)
    stream.commit(1000, 1050)
    window = stream.builder.close()
    assert len(window.truncations) == {"relations": 1, "truncations": 100}.get(what, 0)
    assert window.count == 1 + len(window.truncations)
    assert window.ends.orders == [window.count]


def test_what_follows_a_cut_is_decoded_in_its_place() -> None:
    """Whether a transaction is open then, and which: the next message finds the decoder where it has to be."""
    change = events.Insert(1, (b"1", b"a", None))
    sent = [events.Begin(Lsn(1000), 0, 7), announced(GUESTS)]
    sent += [change] * 10
    sent += [events.Commit(Lsn(1000), Lsn(1050), 0), events.Begin(Lsn(1100), 0, 7), change]
    payloads = [xlog_data(0, 0, 0, encode(event)) for event in sent]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "_MANY", 4)
        stream = Stream()
        stream.builder.take(Block.of(payloads[:2]))
        stream.builder.take(Block.of(payloads[2:]))
        stream.keepalive(9999)
        first = stream.builder.close()
        with pytest.raises(ProtocolViolation):
            stream.begin(1200)
        stream.feed(change)
        stream.commit(1100, 1150)
        stream.keepalive(2000)
        second = stream.builder.close()
        with pytest.raises(ProtocolViolation):
            stream.feed(change)
    assert (first.position, second.position) == (Lsn(1050), Lsn(2000))
    assert first.begins == Begins([0, 10], [1000, 1100])
    assert second.begins == Begins([0], [1100])
    assert second.ends == Ends([1], [1150], [0])


GOOD = [
    events.Insert(1, (b"1", b"a", None)),
    events.Update(1, None, False, (b"1", b"a", UNCHANGED)),
    events.Update(1, (b"1", None, None), False, (b"2", b"a", b"b")),
    events.Delete(1, (b"1", None, None), False),
    events.Delete(1, (b"1", b"a", b"b"), True),
    events.Begin(Lsn(1100), 0, 7),
    events.Commit(Lsn(1000), Lsn(1050), 0),
]


@pytest.mark.parametrize("many", [2, 10**9], ids=["many", "one by one"])
@pytest.mark.parametrize("changed", [-1, 1, "flags"])
@pytest.mark.parametrize("event", GOOD, ids=lambda one: type(one).__name__)
def test_a_message_of_another_length_is_a_violation(event: events.Event, changed: int | str, many: int) -> None:
    """A byte too many or too few, or a commit with flags that nobody knows, among many that are right."""
    message = encode(event)
    match changed:
        case -1:
            message = message[:-1]
        case 1:
            message += b"n"
        case _ if not isinstance(event, events.Commit):
            return
        case _:
            message = message[:1] + b"\1" + message[2:]
    sent: list[Any] = [events.Begin(Lsn(1000), 0, 7), announced(GUESTS), *[events.Insert(1, (b"1", b"a", None))] * 3]
    payloads = [xlog_data(0, 0, 0, encode(one)) for one in sent]
    if isinstance(event, events.Begin):
        payloads.append(xlog_data(0, 0, 0, encode(events.Commit(Lsn(1000), Lsn(1050), 0))))
    after = [] if isinstance(event, events.Commit) else payloads[2:5]
    with pytest.raises(ProtocolViolation):
        build([*payloads, xlog_data(0, 0, 0, message), *after], [2], [False], many)


@pytest.mark.parametrize("many", [2, 10**9], ids=["many", "one by one"])
@pytest.mark.parametrize(
    "broken",
    [
        [events.Insert(1, (b"1", b"canary"))],
        [events.Insert(99, (b"canary",))],
        [events.Update(1, (b"canary",), False, (b"1", b"a", None))],
        [events.Commit(Lsn(1000), Lsn(1050), 0), events.Insert(1, (b"1", b"canary", None))],
        [events.Commit(Lsn(1000), Lsn(1050), 0)] * 2,
        [events.Begin(Lsn(1100), 0, 7)],
    ],
    ids=["narrow", "unknown", "narrow key", "outside", "commit twice", "begin twice"],
)
def test_a_violation_among_many_is_one(many: int, broken: list[events.Event]) -> None:
    """It stops the stream, and tells no value."""
    good: list[Any] = [events.Begin(Lsn(1000), 0, 7), announced(GUESTS)]
    sent = [*good, *[events.Insert(1, (b"1", b"a", None))] * 5, *broken, *[events.Insert(1, (b"1", b"a", None))] * 5]
    payloads = [xlog_data(0, 0, 0, encode(event)) for event in sent]
    with pytest.raises(ProtocolViolation) as caught:
        build(payloads, [2], [False], many)
    assert "canary" not in str(caught.value)
