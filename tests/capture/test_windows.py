"""What the stream brings comes out in commit order, in columns, however the bytes arrive and are decoded."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import events, windows
from capture.model import (
    UNCHANGED,
    Begins,
    Catalog,
    Changes,
    Ends,
    Lsn,
    OldImage,
    Operation,
    Relation,
    RelationColumn,
    ReplicaIdentity,
    Table,
    TableName,
    Truncation,
    Window,
)
from capture.pgoutput import ProtocolViolation
from capture.replication_protocol import Block
from capture.windows import WindowBuilder
from tests.capture.pgoutput_encoder import encode, keepalive, xlog_data
from tests.capture.test_relations import announced
from tests.fix_catalog import catalog, table

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
START = Lsn(1000)
GUESTS = replace(table("public.guests", "id int8 pk", "name text", "notes text"), oid=1)
ROOMS = replace(table("public.rooms", "id int8 pk", "name text"), oid=2, replica_identity=ReplicaIdentity.FULL)
SESSIONS = replace(table("public.sessions", "id int8 pk", "token text"), oid=3)
ROOT = replace(table("public.logs", "id int8 pk", kind="p"), oid=4)
PART = replace(table("public.logs_1", "id int8 pk", root="public.logs"), oid=5)
BARE = replace(table("public.bare"), oid=6)
WIDE = replace(table("public.wide", "a int8 pk", *[f"c{n} text" for n in range(9)], "z int8 pk"), oid=7)
CATALOG = catalog(GUESTS, ROOMS, SESSIONS, ROOT, PART, BARE, WIDE)
INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE


def applied(*relations: Relation) -> list[events.Event | Relation]:
    """A transaction that only announces, and lies before all others."""
    return [events.Begin(Lsn(1), 0, 7), *relations, events.Commit(Lsn(1), Lsn(2), 0)]


class Stream:
    """Feeds events to a builder, with positions that go on."""

    def __init__(self, of: Catalog = CATALOG, applied_lsn: Lsn = START, protocol_version: int = 1) -> None:
        self.drift: list[str] = []
        dropped = frozenset({SESSIONS.name})
        self.builder = WindowBuilder(of, dropped, applied_lsn, EPOCH, protocol_version, self.drift.append)

    def feed(self, *fed: events.Event | Relation) -> None:
        """All in one block."""
        self.builder.take(Block.of([xlog_data(0, 0, 0, encode(event)) for event in fed]))

    def keepalive(self, wal_end: int, seconds: int = 0, *, reply_requested: bool = False) -> bool:
        payload = keepalive(wal_end, seconds * 1_000_000, reply_requested=reply_requested)
        return self.builder.take(Block.of([payload]))

    def begin(self, commit_lsn: int) -> None:
        self.feed(events.Begin(Lsn(commit_lsn), 0, 7))

    def commit(self, commit_lsn: int, end_lsn: int, seconds: int = 0) -> None:
        self.feed(events.Commit(Lsn(commit_lsn), Lsn(end_lsn), seconds * 1_000_000))

    def relations(self, *tables: Table) -> None:
        """Announce tables, in a transaction that was applied in an earlier session."""
        self.feed(*applied(*map(announced, tables)))


@pytest.fixture
def stream() -> Stream:
    return Stream()


def rows(batch: pa.RecordBatch) -> list[tuple[bytes | None, ...]]:
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


class Change(NamedTuple):
    """A change as it can be read from a window; ``old`` has the columns that it names."""

    table: TableName
    operation: Operation
    new: tuple[object, ...] | None
    old_kind: OldImage
    old: tuple[tuple[str, object], ...] | None


def changes_of(name: TableName, changes: Changes) -> Iterator[Change]:
    """The changes of a table, row by row, with what was not sent."""
    new, old = rows_of(changes.new), rows_of(changes.old)
    for operation, old_kind, number in zip(changes.operations, changes.old_kinds, changes.unchanged, strict=True):
        after = before = None
        pattern = changes.patterns[number]
        if operation != DELETE:
            after = next(new)
            assert all(after[position] is None for position in pattern)
            after = tuple(UNCHANGED if position in pattern else value for position, value in enumerate(after))
        if old_kind != OldImage.NONE:
            before = tuple(zip(changes.old.schema.names, next(old), strict=True))
        yield Change(name, Operation(operation), after, OldImage(old_kind), before)
    assert [*new, *old] == []


def rows_of(batch: pa.RecordBatch) -> Iterator[tuple[object, ...]]:
    return iter(rows(batch) if batch.num_columns else [()] * batch.num_rows)


Told = tuple[object, ...]


def read_back(closed: Sequence[Window]) -> list[Told]:
    """What happened, from windows that follow each other: begins, changes, truncations and ends, in order.

    A place that no table has a change for was taken by a row that is not copied.
    """
    told: list[Told] = []
    open_lsn: int | None = None
    for window in closed:
        at: dict[int, Told] = {}
        for truncation in window.truncations:
            assert truncation.order not in at
            at[truncation.order] = ("truncate", truncation.tables)
        for name, changes in window.changes.items():
            assert len(changes) == len(changes.order) > 0
            assert sorted(changes.order.tolist()) == changes.order.tolist()
            for place, change in zip(changes.order.tolist(), changes_of(name, changes), strict=True):
                assert place not in at
                at[place] = change
        assert all(0 <= place < window.count for place in at)
        begins, ends = window.begins, window.ends
        assert len(begins.orders) == len(begins.commit_lsns)
        assert len(ends.orders) == len(ends.end_lsns) == len(ends.commit_times)
        assert len(begins.orders) - len(ends.orders) in (0, 1)
        place = 0
        for number, (start, lsn) in enumerate(zip(begins.orders, begins.commit_lsns, strict=True)):
            assert start == place
            if lsn != open_lsn:
                assert open_lsn is None
                told.append(("begin", lsn))
            is_whole = number < len(ends.orders)
            stop = ends.orders[number] if is_whole else window.count
            told += [at.get(order, ("left out",)) for order in range(start, stop)]
            place, open_lsn = stop, None if is_whole else lsn
            if is_whole:
                told.append(("end", ends.end_lsns[number], ends.commit_times[number]))
        assert place == window.count
    return told


# ---------------------------------------------------------------------------------------------------- windows


def test_a_transaction_comes_out_in_order(stream: Stream) -> None:
    """Its start, its changes, its end; the rows of a table stand together, in the catalog's columns."""
    stream.relations(GUESTS, ROOMS)
    stream.begin(1000)
    stream.feed(
        events.Insert(1, (b"1", b"Ann", None)),
        events.Insert(1, (b"2", b"Bea", b"")),
        events.Insert(2, (b"7", b"Blue")),
        events.Insert(1, (b"3", b"Cat", None)),
    )
    stream.commit(1000, 1050, 60)
    assert not stream.builder.is_empty
    window = stream.builder.close()
    guests, rooms = window.changes[GUESTS.name], window.changes[ROOMS.name]
    assert window.count == 4
    assert (guests.order.tolist(), rooms.order.tolist()) == ([0, 1, 3], [2])
    assert guests.operations.tolist() == [INSERT] * 3
    assert guests.old_kinds.tolist() == [OldImage.NONE] * 3
    assert (guests.unchanged.tolist(), guests.patterns) == ([0] * 3, ((),))
    assert rows(guests.new) == [(b"1", b"Ann", None), (b"2", b"Bea", b""), (b"3", b"Cat", None)]
    assert guests.new.schema == pa.schema([(name, pa.binary()) for name in ("id", "name", "notes")])
    assert guests.old.num_rows == 0
    assert window.begins == Begins([0], [1000])
    assert window.ends == Ends([4], [1050], [60_000_000])
    assert (window.truncations, window.position) == ([], Lsn(1050))
    assert window.source_time == EPOCH + timedelta(seconds=60)


def test_a_change_says_what_came_with_it(stream: Stream) -> None:
    """Its operation, an old image, values that were not sent."""
    stream.relations(GUESTS)
    stream.begin(1000)
    key = (b"1", None, None)
    stream.feed(
        events.Update(1, None, False, (b"1", b"a", UNCHANGED)),
        events.Update(1, None, False, (b"2", b"b", UNCHANGED)),
        events.Update(1, None, False, (b"3", b"c", b"sent")),
        events.Update(1, None, False, (b"3", UNCHANGED, UNCHANGED)),
        events.Update(1, key, False, (b"4", b"d", b"x")),
        events.Update(1, (b"5", b"e", b"x"), True, (b"6", b"e", b"x")),
        events.Delete(1, key, False),
        events.Insert(1, (b"1", b"a", b"n")),
    )
    changes = stream.builder.close().changes[GUESTS.name]
    assert changes.operations.tolist() == [UPDATE] * 6 + [DELETE, INSERT]
    none, some, full = OldImage.NONE, OldImage.KEY, OldImage.FULL
    assert changes.old_kinds.tolist() == [none] * 4 + [some, full, some, none]
    patterns = [changes.patterns[number] for number in changes.unchanged.tolist()]
    assert patterns == [(2,), (2,), (), (1, 2), (), (), (), ()]
    assert rows(changes.old) == [key, (b"5", b"e", b"x"), key]
    assert [row[0] for row in rows(changes.new)] == [b"1", b"2", b"3", b"3", b"4", b"6", b"1"]
    assert rows(changes.new)[0] == (b"1", b"a", None)


def test_old_images_of_keys_have_the_columns_of_the_key_only(stream: Stream) -> None:
    """The others are null in every row, and would cost as much to mask."""
    stream.relations(GUESTS, WIDE)
    stream.begin(1000)
    stream.feed(
        events.Delete(1, (b"1", None, None), False),
        events.Delete(7, (b"1", *[None] * 9, b"2"), False),
    )
    window = stream.builder.close()
    assert window.changes[GUESTS.name].old.to_pydict() == {"id": [b"1"]}
    assert window.changes[WIDE.name].old.to_pydict() == {"a": [b"1"], "z": [b"2"]}


def test_a_transaction_may_lie_in_many_windows(stream: Stream) -> None:
    """Each window counts its own places; the relations are still known; the position waits for the end."""
    stream.relations(GUESTS)
    stream.begin(1000)
    stream.feed(events.Insert(1, (b"1", b"a", None)))
    first = stream.builder.close()
    stream.keepalive(9999)
    stream.feed(events.Insert(1, (b"2", b"b", None)))
    second = stream.builder.close()
    stream.commit(1000, 1050)
    third = stream.builder.close()
    for window, row in ((first, (b"1", b"a", None)), (second, (b"2", b"b", None))):
        assert (window.begins, window.ends) == (Begins([0], [1000]), Ends())
        assert window.changes[GUESTS.name].order.tolist() == [0]
        assert rows(window.changes[GUESTS.name].new) == [row]
    assert (third.count, third.changes) == (0, {})
    assert (third.begins, third.ends) == (Begins([0], [1000]), Ends([0], [1050], [0]))
    assert not third.is_empty
    assert [window.position for window in (first, second, third)] == [START, START, Lsn(1050)]
    assert stream.builder.is_empty
    nothing = stream.builder.close()
    assert nothing == Window(0, {}, [], Begins(), Ends(), Lsn(1050), EPOCH)
    assert nothing.is_empty


def test_a_transaction_that_only_began_is_nothing_yet(stream: Stream) -> None:
    """There is nothing to apply; the next window says where it began."""
    stream.relations(GUESTS)
    stream.begin(1000)
    assert stream.builder.is_empty
    assert stream.builder.close().is_empty
    stream.feed(events.Insert(1, (b"1", b"a", None)))
    stream.commit(1000, 1050)
    window = stream.builder.close()
    assert (window.begins, window.ends) == (Begins([0], [1000]), Ends([1], [1050], [0]))


def test_an_empty_transaction_moves_the_position(stream: Stream) -> None:
    """It begins and ends at one place."""
    for lsn in (1000, 1100):
        stream.begin(lsn)
        stream.commit(lsn, lsn + 50, 5)
    window = stream.builder.close()
    assert (window.count, window.is_empty) == (0, False)
    assert window.begins == Begins([0, 0], [1000, 1100])
    assert window.ends == Ends([0, 0], [1050, 1150], [5_000_000] * 2)
    assert (window.position, window.source_time) == (Lsn(1150), EPOCH + timedelta(seconds=5))


def test_size_counts_the_bytes_of_the_window(stream: Stream) -> None:
    """By it the reader knows when to pause."""
    payloads = [xlog_data(0, 0, 0, encode(event)) for event in (events.Begin(Lsn(1000), 0, 7), announced(GUESTS))]
    stream.builder.take(Block.of(payloads))
    assert stream.builder.size == sum(map(len, payloads))
    stream.builder.close()
    assert stream.builder.size == 0


def test_keepalives_move_position_and_clock_between_transactions(stream: Stream) -> None:
    """Never backwards."""
    stream.keepalive(1500, 5)
    stream.keepalive(1400, 6)
    window = stream.builder.close()
    assert (window.position, window.source_time) == (Lsn(1500), EPOCH + timedelta(seconds=6))
    assert window.is_empty
    assert stream.builder.server_lsn == 1500


def test_a_keepalive_may_want_an_answer(stream: Stream) -> None:
    """Wherever it stands in a block."""
    assert not stream.keepalive(1500)
    assert stream.keepalive(1500, reply_requested=True)
    asking = [keepalive(1500, 0, reply_requested=number == 1) for number in range(3)]
    assert stream.builder.take(Block.of(asking))


@pytest.mark.parametrize(("commit_lsn", "passes"), [(999, False), (1000, True), (1001, True)])
def test_what_was_applied_is_passed_over(stream: Stream, commit_lsn: int, passes: bool) -> None:
    """A transaction that commits before the applied position came in an earlier session; at it, it did not."""
    stream.begin(commit_lsn)
    stream.feed(
        announced(GUESTS),
        events.Insert(1, (b"1", b"a", None)),
        events.Update(1, None, False, (b"1", b"a", None)),
        events.Delete(1, (b"1", None, None), False),
        events.Truncate((1,), False, False),
    )
    stream.commit(commit_lsn, 1050)
    stream.begin(2000)
    stream.feed(events.Insert(1, (b"2", b"b", None)))
    window = stream.builder.close()
    assert window.begins.commit_lsns == ([commit_lsn] if passes else []) + [2000]
    assert window.ends.end_lsns == ([1050] if passes else [])
    assert rows(window.changes[GUESTS.name].new)[-1] == (b"2", b"b", None)
    assert window.count == (5 if passes else 1)
    assert len(window.truncations) == passes
    assert window.position == 1050


def test_rows_that_stay_in_production_are_left_there(stream: Stream) -> None:
    """A table with ``rows: none`` leaves no trace in a window, and its drift is nobody's matter."""
    relation = announced(SESSIONS, oid=33, columns=(RelationColumn("new", 25, -1, True),))
    stream.relations(GUESTS)
    stream.begin(1000)
    stream.feed(
        relation,
        events.Insert(33, (b"secret",)),
        events.Delete(33, (b"secret",), True),
        events.Truncate((33,), False, False),
        events.Truncate((33, 1), False, False),
    )
    window = stream.builder.close()
    assert window.truncations == [Truncation(window.count - 1, (GUESTS.name,))]
    assert window.changes == {}


def test_a_truncation_names_the_tables_that_hold_rows(stream: Stream) -> None:
    """A partitioned table is announced beside its partitions."""
    stream.relations(ROOT, PART, GUESTS)
    stream.begin(1000)
    stream.feed(events.Truncate((4, 5, 1), True, True), events.Truncate((4,), False, False))
    window = stream.builder.close()
    assert window.truncations == [Truncation(0, (PART.name, GUESTS.name))]
    assert window.count == 1


def test_a_table_without_columns_has_rows(stream: Stream) -> None:
    """The batch counts them."""
    stream.relations(BARE)
    stream.begin(1000)
    stream.feed(events.Insert(6, ()), events.Insert(6, ()))
    changes = stream.builder.close().changes[BARE.name]
    assert len(changes) == 2
    assert (changes.new.num_rows, changes.new.num_columns) == (2, 0)


def test_what_is_no_change_is_passed_over(stream: Stream) -> None:
    """Types, origins and messages."""
    stream.begin(1000)
    stream.feed(
        events.Type(99, "public", "mood"),
        events.Origin(Lsn(1), "elsewhere"),
        events.Message(True, Lsn(1), "app", b"text"),
    )
    assert stream.builder.is_empty


def test_a_new_column_is_left_out(stream: Stream) -> None:
    """Nobody has decided how to mask it; the others go on, in the copy's order, with what was not sent of them."""
    columns = announced(GUESTS).columns
    stream.begin(1000)
    stream.feed(announced(GUESTS, columns=(RelationColumn("extra", 25, -1, False), columns[2], *columns[:2])))
    stream.feed(events.Update(1, None, False, (b"canary", UNCHANGED, b"1", b"Ann")))
    stream.feed(events.Update(1, None, False, (UNCHANGED, b"n", b"1", b"Ann")))
    changes = stream.builder.close().changes[GUESTS.name]
    assert rows(changes.new) == [(b"1", b"Ann", None), (b"1", b"Ann", b"n")]
    assert [changes.patterns[number] for number in changes.unchanged.tolist()] == [(2,), ()]
    assert len(stream.drift) == 1


def test_no_repr_shows_a_row(stream: Stream) -> None:
    """What a window holds does not reach a log by that way."""
    stream.relations(GUESTS)
    stream.begin(1000)
    stream.feed(*[events.Insert(1, (b"1", b"canary", None))] * 100, events.Delete(1, (b"canary", None, None), True))
    assert "canary" not in repr(stream.builder) + repr(stream.builder._gathered)
    assert "canary" not in repr(stream.builder.close())


# --------------------------------------------------------------------------------------------------- violations


@pytest.mark.parametrize(
    "event",
    [
        events.StreamStart(7, True),
        events.StreamCommit(7, Lsn(1), Lsn(2), 0),
        events.BeginPrepare(Lsn(1), Lsn(2), 0, 7, "gid"),
        events.CommitPrepared(Lsn(1), Lsn(2), 0, 7, "gid"),
        events.Insert(99, (b"1",)),
        events.Truncate((99,), False, False),
        events.Insert(1, (b"1", b"canary")),
        events.Delete(1, (b"canary",), True),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_this_session_did_not_ask_for_is_a_violation(event: events.Event) -> None:
    """Transactions in progress or prepared, unknown relations, rows of another width; no value is told."""
    stream = Stream(protocol_version=4)
    stream.relations(GUESTS)
    if isinstance(event, events.Insert | events.Delete | events.Truncate):
        stream.begin(1000)
    with pytest.raises(ProtocolViolation) as caught:
        stream.feed(event)
    assert "canary" not in str(caught.value)


# --------------------------------------------------------------------------------- two ways, and any cut of them


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
