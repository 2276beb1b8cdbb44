"""What the stream brings comes out in commit order, in columns, however the bytes arrive and are decoded."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from capture import events
from capture.model import (
    UNCHANGED,
    Begins,
    Ends,
    Lsn,
    OldImage,
    RelationColumn,
    Truncation,
    Window,
)
from capture.pgoutput import ProtocolViolation
from capture.replication_protocol import Block
from tests.capture.pgoutput_encoder import encode, keepalive, xlog_data
from tests.capture.test_relations import announced
from tests.capture.window_stream import (
    BARE,
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
    Stream,
    rows,
)


@pytest.fixture
def stream() -> Stream:
    return Stream()


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


def test_what_was_rolled_back_unsent_is_passed_over(stream: Stream) -> None:
    """PostgreSQL 18 tells of subtransactions that it gave up, though this session never asked to see any."""
    stream.relations(GUESTS)
    stream.feed(events.StreamAbort(700, 702))
    stream.begin(1000)
    stream.feed(events.Insert(1, (b"1", b"Ann", None)), events.Commit(Lsn(1000), Lsn(1008), 0))
    window = stream.builder.close()
    assert len(window.changes[GUESTS.name]) == 1


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
