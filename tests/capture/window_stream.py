"""A stream of events into windows, and what happened, read back from those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa

from capture import events
from capture.model import (
    UNCHANGED,
    Catalog,
    Changes,
    Lsn,
    OldImage,
    Operation,
    Relation,
    ReplicaIdentity,
    Table,
    TableName,
    Window,
)
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
