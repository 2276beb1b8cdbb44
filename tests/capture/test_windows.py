"""What the stream brings comes out in commit order, row by row, and drift stops it before a value goes astray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import events
from capture.model import (
    UNCHANGED,
    Catalog,
    Lsn,
    Operation,
    Relation,
    RelationColumn,
    ReplicaIdentity,
    Run,
    Table,
    TableName,
    TransactionEnd,
    TransactionStart,
    Truncation,
    Window,
)
from capture.pgoutput import ProtocolViolation
from capture.windows import Drifted, WindowBuilder
from tests.fix_catalog import catalog, column, table

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
START = Lsn(1000)
GUESTS = replace(table("public.guests", "id int8 pk", "name text", "notes text"), oid=1)
ROOMS = replace(table("public.rooms", "id int8 pk", "name text"), oid=2, replica_identity=ReplicaIdentity.FULL)
SESSIONS = replace(table("public.sessions", "id int8 pk", "token text"), oid=3)
ROOT = replace(table("public.logs", "id int8 pk", kind="p"), oid=4)
PART = replace(table("public.logs_1", "id int8 pk", root="public.logs"), oid=5)
BARE = replace(table("public.bare"), oid=6)
CATALOG = catalog(GUESTS, ROOMS, SESSIONS, ROOT, PART, BARE)
INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE


def announced(of: Table, **changes: Any) -> Relation:
    """The Relation message of a table as the catalog has it."""
    keys = of.primary_key if of.replica_identity is ReplicaIdentity.DEFAULT else [one.name for one in of.columns]
    columns = [RelationColumn(one.name, one.type_oid, one.typmod, one.name in keys) for one in of.copied_columns]
    relation = Relation(of.oid, of.name, of.replica_identity, tuple(columns))
    return replace(relation, **changes)


class Stream:
    """Feeds events to a builder, with positions that go on."""

    def __init__(self, of: Catalog = CATALOG, applied_lsn: Lsn = START) -> None:
        self.drift: list[str] = []
        dropped = frozenset({SESSIONS.name})
        self.builder = WindowBuilder(of, dropped, applied_lsn, EPOCH, self.drift.append)

    def feed(self, *fed: events.Event) -> None:
        for event in fed:
            self.builder.feed(event, 10)

    def begin(self, commit_lsn: int) -> None:
        self.feed(events.Begin(Lsn(commit_lsn), 0, 7))

    def commit(self, commit_lsn: int, end_lsn: int, seconds: int = 0) -> None:
        self.feed(events.Commit(Lsn(commit_lsn), Lsn(end_lsn), seconds * 1_000_000))

    def relations(self, *tables: Table) -> None:
        self.feed(*map(announced, tables))


@pytest.fixture
def stream() -> Stream:
    return Stream()


def rows(batch: pa.RecordBatch) -> list[tuple[bytes | None, ...]]:
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


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
    window = stream.builder.close()
    assert window.items == [
        TransactionStart(Lsn(1000)),
        Run(GUESTS.name, INSERT, 0, -1, False, (), 2),
        Run(ROOMS.name, INSERT, 0, -1, False, (), 1),
        Run(GUESTS.name, INSERT, 2, -1, False, (), 1),
        TransactionEnd(Lsn(1000), Lsn(1050), EPOCH + timedelta(seconds=60)),
    ]
    assert rows(window.new[GUESTS.name]) == [(b"1", b"Ann", None), (b"2", b"Bea", b""), (b"3", b"Cat", None)]
    assert window.new[GUESTS.name].schema == pa.schema([(name, pa.binary()) for name in ("id", "name", "notes")])
    assert (window.old, window.position) == ({}, Lsn(1050))
    assert window.source_time == EPOCH + timedelta(seconds=60)


def test_runs_end_where_the_shape_of_the_change_does(stream: Stream) -> None:
    """Another operation, an old image, other unchanged values: each begins a run."""
    stream.relations(GUESTS)
    stream.begin(1000)
    key = (b"1", None, None)
    stream.feed(
        events.Update(1, None, False, (b"1", b"a", UNCHANGED)),
        events.Update(1, None, False, (b"2", b"b", UNCHANGED)),
        events.Update(1, None, False, (b"3", b"c", b"sent")),
        events.Update(1, None, False, (b"3", UNCHANGED, UNCHANGED)),
        events.Update(1, key, False, (b"4", b"d", b"x")),
        events.Update(1, key, False, (b"5", b"e", b"x")),
        events.Update(1, (b"5", b"e", b"x"), True, (b"6", b"e", b"x")),
        events.Delete(1, key, False),
        events.Insert(1, (b"1", b"a", b"n")),
    )
    window = stream.builder.close()
    assert window.items[1:] == [
        Run(GUESTS.name, UPDATE, 0, -1, False, (2,), 2),
        Run(GUESTS.name, UPDATE, 2, -1, False, (), 1),
        Run(GUESTS.name, UPDATE, 3, -1, False, (1, 2), 1),
        Run(GUESTS.name, UPDATE, 4, 0, False, (), 2),
        Run(GUESTS.name, UPDATE, 6, 2, True, (), 1),
        Run(GUESTS.name, DELETE, -1, 3, False, (), 1),
        Run(GUESTS.name, INSERT, 7, -1, False, (), 1),
    ]
    assert rows(window.old[GUESTS.name]) == [key, key, (b"5", b"e", b"x"), key]
    assert rows(window.new[GUESTS.name])[0] == (b"1", b"a", None)


def test_a_transaction_may_lie_in_many_windows(stream: Stream) -> None:
    """Each window's runs point into its own rows; the relations are still known; the position waits for the end."""
    stream.relations(GUESTS)
    stream.begin(1000)
    stream.feed(events.Insert(1, (b"1", b"a", None)))
    first = stream.builder.close()
    stream.builder.keepalive(Lsn(9999), 0)
    stream.feed(events.Insert(1, (b"2", b"b", None)))
    second = stream.builder.close()
    stream.commit(1000, 1050)
    third = stream.builder.close()
    run = Run(GUESTS.name, INSERT, 0, -1, False, (), 1)
    assert first.items == [TransactionStart(Lsn(1000)), run]
    assert second.items == [run]
    assert rows(second.new[GUESTS.name]) == [(b"2", b"b", None)]
    assert third.items == [TransactionEnd(Lsn(1000), Lsn(1050), EPOCH)]
    assert [window.position for window in (first, second, third)] == [START, START, Lsn(1050)]
    assert stream.builder.is_empty
    assert stream.builder.close() == Window([], {}, {}, Lsn(1050), EPOCH)


def test_size_counts_the_bytes_of_the_window(stream: Stream) -> None:
    """By it the reader knows when to pause."""
    stream.relations(GUESTS)
    stream.begin(1000)
    assert stream.builder.size == 20
    stream.builder.close()
    assert stream.builder.size == 0


def test_keepalives_move_position_and_clock_between_transactions(stream: Stream) -> None:
    """Never backwards."""
    stream.builder.keepalive(Lsn(1500), 5_000_000)
    stream.builder.keepalive(Lsn(1400), 6_000_000)
    window = stream.builder.close()
    assert (window.position, window.source_time) == (Lsn(1500), EPOCH + timedelta(seconds=6))


@pytest.mark.parametrize(("commit_lsn", "passes"), [(999, False), (1000, True), (1001, True)])
def test_what_was_applied_is_passed_over(stream: Stream, commit_lsn: int, passes: bool) -> None:
    """A transaction that commits before the applied position came in an earlier session; at it, it did not."""
    stream.begin(commit_lsn)
    stream.relations(GUESTS)
    stream.feed(
        events.Insert(1, (b"1", b"a", None)),
        events.Update(1, None, False, (b"1", b"a", None)),
        events.Delete(1, (b"1", None, None), False),
        events.Truncate((1,), False, False),
    )
    stream.commit(commit_lsn, 1050)
    stream.begin(2000)
    stream.feed(events.Insert(1, (b"2", b"b", None)))
    window = stream.builder.close()
    commits = [item.commit_lsn for item in window.items if isinstance(item, TransactionStart)]
    assert commits == ([commit_lsn] if passes else []) + [2000]
    assert rows(window.new[GUESTS.name])[-1] == (b"2", b"b", None)
    assert len(window.items) == (8 if passes else 2)


def test_rows_that_stay_in_production_are_left_there(stream: Stream) -> None:
    """A table with ``rows: none`` leaves no trace in a window, and its drift is nobody's matter."""
    relation = announced(SESSIONS, oid=33, columns=(RelationColumn("new", 25, -1, True),))
    stream.feed(relation)
    stream.relations(GUESTS)
    stream.begin(1000)
    stream.feed(
        events.Insert(33, (b"secret",)),
        events.Delete(33, (b"secret",), True),
        events.Truncate((33,), False, False),
        events.Truncate((33, 1), False, False),
    )
    window = stream.builder.close()
    assert window.items[1:] == [Truncation((GUESTS.name,))]
    assert not window.new
    assert not window.old


def test_a_truncation_names_the_tables_that_hold_rows(stream: Stream) -> None:
    """A partitioned table is announced beside its partitions."""
    stream.relations(ROOT, PART, GUESTS)
    stream.begin(1000)
    stream.feed(events.Truncate((4, 5, 1), True, True), events.Truncate((4,), False, False))
    window = stream.builder.close()
    assert window.items[1:] == [Truncation((PART.name, GUESTS.name))]


def test_a_table_without_columns_has_rows(stream: Stream) -> None:
    """The batch counts them."""
    stream.relations(BARE)
    stream.begin(1000)
    stream.feed(events.Insert(6, ()), events.Insert(6, ()))
    window = stream.builder.close()
    assert window.items[1:] == [Run(BARE.name, INSERT, 0, -1, False, (), 2)]
    assert (window.new[BARE.name].num_rows, window.new[BARE.name].num_columns) == (2, 0)


def test_what_is_no_change_is_passed_over(stream: Stream) -> None:
    """Types, origins and messages."""
    stream.begin(1000)
    stream.feed(
        events.Type(99, "public", "mood"),
        events.Origin(Lsn(1), "elsewhere"),
        events.Message(True, Lsn(1), "app", b"text"),
    )
    assert stream.builder.close().items == [TransactionStart(Lsn(1000))]


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
def test_what_this_session_did_not_ask_for_is_a_violation(stream: Stream, event: events.Event) -> None:
    """Transactions in progress or prepared, unknown relations, rows of another width; no value is told."""
    stream.relations(GUESTS)
    with pytest.raises(ProtocolViolation) as caught:
        stream.feed(event)
    assert "canary" not in str(caught.value)


# -------------------------------------------------------------------------------------------------------- drift


def drifted(**changes: Any) -> Relation:
    return announced(GUESTS, **changes)


ID, NAME, NOTES = announced(GUESTS).columns


@pytest.mark.parametrize(
    ("relation", "says"),
    [
        (drifted(table=TableName("public", "new")), "public.new, which was not there"),
        (drifted(oid=77), "public.guests is another table"),
        (drifted(columns=(ID, NAME)), "column notes of public.guests is gone or renamed"),
        (drifted(columns=(ID, NAME, NOTES._replace(name="Notes"))), "column notes of public.guests is gone"),
        (drifted(columns=(ID, NAME._replace(type_oid=1043), NOTES)), "column name of public.guests has another type"),
        (drifted(columns=(ID, NAME._replace(typmod=44), NOTES)), "column name of public.guests has another type"),
        (
            drifted(columns=(ID._replace(is_key=False), NAME._replace(is_key=True), NOTES)),
            "identified by other columns",
        ),
        (
            drifted(columns=(ID, NAME, NOTES, RelationColumn("Code", 25, -1, True))),
            'the new column "Code" of public.guests identifies',
        ),
    ],
)
def test_drift_stops_the_stream(stream: Stream, relation: Relation, says: str) -> None:
    """The copy has no place for what comes, or nobody has decided it; what to do is told."""
    with pytest.raises(Drifted, match=says) as caught:
        stream.feed(relation)
    assert "clone again" in caught.value.hint.lower()


def test_a_new_column_is_left_out_and_told_once(stream: Stream) -> None:
    """Nobody has decided how to mask it; the others go on, in the copy's order."""
    extra = RelationColumn("Extra", 25, -1, False)
    stream.feed(drifted(columns=(extra, NOTES, ID, NAME)), drifted(columns=(extra, NOTES, ID, NAME)))
    stream.begin(1000)
    stream.feed(events.Update(1, None, False, (b"canary", UNCHANGED, b"1", b"Ann")))
    window = stream.builder.close()
    assert rows(window.new[GUESTS.name]) == [(b"1", b"Ann", None)]
    assert window.items[1:] == [Run(GUESTS.name, UPDATE, 0, -1, False, (2,), 1)]
    [told] = stream.drift
    assert 'public.guests."Extra"' in told


@pytest.mark.parametrize("identity", [ReplicaIdentity.FULL, ReplicaIdentity.NOTHING])
def test_another_replica_identity_that_still_names_the_key_is_no_drift(
    stream: Stream, identity: ReplicaIdentity
) -> None:
    """FULL sends more than is needed; with NOTHING there are inserts only."""
    keys = identity is ReplicaIdentity.FULL
    columns = tuple(one._replace(is_key=keys) for one in (ID, NAME, NOTES))
    stream.feed(drifted(replica_identity=identity, columns=columns))
    stream.begin(1000)
    stream.feed(events.Insert(1, (b"1", b"a", None)))
    assert len(stream.builder.close().items) == 2


def test_a_generated_column_is_not_taken_for_a_new_one() -> None:
    """A publication may send it; the copy makes its own."""
    made = replace(GUESTS, columns=(*GUESTS.columns, replace(column("search", "text", "generated"), attnum=4)))
    stream = Stream(catalog(made))
    stream.feed(announced(GUESTS, columns=(ID, NAME, NOTES, RelationColumn("search", 25, -1, False))))
    stream.begin(1000)
    stream.feed(events.Insert(1, (b"1", b"a", None, b"generated")))
    assert rows(stream.builder.close().new[GUESTS.name]) == [(b"1", b"a", None)]
    assert stream.drift == []


# ----------------------------------------------------------------------------------------------------- property

values = st.one_of(st.none(), st.binary(max_size=3))
sent = st.one_of(values, st.just(UNCHANGED))
guests = st.tuples(st.binary(max_size=2), sent, sent)
keys = st.tuples(st.binary(max_size=2), st.none(), st.none())
changes = st.one_of(
    st.builds(events.Insert, st.just(1), st.tuples(values, values, values)),
    st.builds(events.Insert, st.just(2), st.tuples(values, values)),
    st.builds(events.Update, st.just(1), st.none() | keys, st.just(False), guests),
    st.builds(events.Delete, st.just(1), keys, st.just(False)),
    st.builds(lambda old: events.Delete(2, old, True), st.tuples(values, values)),
    st.just(events.Truncate((1, 2), False, False)),
)


@given(st.lists(st.lists(changes, max_size=8), max_size=6), st.data())
def test_however_the_stream_is_cut_into_windows_the_same_changes_come_out(
    transactions: list[list[events.Event]], data: st.DataObject
) -> None:
    """Read back row by row, the windows are the events."""
    stream = Stream()
    stream.relations(GUESTS, ROOMS)
    told: list[object] = []
    windows: list[Window] = []
    for number, transaction in enumerate(transactions):
        commit_lsn = 1000 + number * 100
        stream.begin(commit_lsn)
        for event in transaction:
            stream.feed(event)
            if data.draw(st.booleans()):
                windows.append(stream.builder.close())
        stream.commit(commit_lsn, commit_lsn + 50)
        told += ["begin", *map(plain, transaction), "end"]
    windows.append(stream.builder.close())
    assert [change for window in windows for change in read_back(window)] == told


def plain(event: Any) -> object:
    """An event as ``read_back`` gives it."""
    match event:
        case events.Insert():
            return (INSERT, event.relation_id, event.new, None)
        case events.Update():
            return (UPDATE, event.relation_id, event.new, event.old)
        case events.Delete():
            return (DELETE, event.relation_id, None, event.old)
    return "truncate"


def read_back(window: Window) -> Iterator[object]:
    for item in window.items:
        match item:
            case TransactionStart():
                yield "begin"
            case TransactionEnd():
                yield "end"
            case Truncation():
                yield "truncate"
            case Run():
                oid = 1 if item.table == GUESTS.name else 2
                new = image_at(window.new, item, item.new_start)
                old = image_at(window.old, item, item.old_start)
                for offset in range(item.count):
                    after = new(offset)
                    if after is not None:
                        after = tuple(UNCHANGED if n in item.unchanged else one for n, one in enumerate(after))
                    yield (item.operation, oid, after, old(offset))


def image_at(
    images: dict[TableName, pa.RecordBatch], run: Run, start: int
) -> Callable[[int], tuple[object, ...] | None]:
    if start < 0:
        return lambda _: None
    found = rows(images[run.table])
    return lambda offset: found[start + offset]
