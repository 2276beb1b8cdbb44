"""Keeping a subset true while streaming: rows that production touched are read again, at an LSN that is known exactly.

    keys that the stream names ─▶ a slot, for its cut ─▶ stream up to there ─▶ rows, and what they bring ─▶ commit

Which rows belong to a subset hangs on rows that did not change and that the copy may not have, so the stream's own
images do not tell enough. Its changes of the tables that take part are taken as keys alone. As soon as one comes, a
slot is made that lives for the moment; the copy goes on to its consistent point in one transaction, and there the rows
of those keys are read in its snapshot, with the rows that they bring along (``sink.membership`` knows who is needed).
So what is committed is always exactly the subset as of one LSN. Where somebody holds the copy, the LSN and the snapshot
are the holder's. A snapshot lives no longer than ``snapshot.max_age``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import Catalog, Changes, Interrupted, Lsn, ServerFailed, Table, TableName
from capture.replication import ReplicationSession
from capture.snapshot import was_rewritten
from capture.source import SourceConnection
from capture.source import connect as source_connect
from capture.touched import Followed, read_rows
from control.cut import temporary_slot
from control.project import Project
from sink.membership import CONDITION, NUMBER, SubsetRows
from sink.sequences import SequenceMarks
from sink.target import Connection
from transform import copytext
from transform.plan import Plan
from transform.subset import Reference, Subset

_PURPOSE: Final = "stream"
# Keys gather up to so many bytes before those that came again are dropped, and up to so many in all.
_GATHERED_BYTES: Final = 64 << 20
_KEYS_BUDGET: Final = 1 << 30
_TAB: Final = pa.scalar(b"\t", pa.binary())


class Moment(NamedTuple):
    """A snapshot of production, and the LSN that it shows."""

    lsn: Lsn
    snapshot: str


class Unreadable(Interrupted):
    """The snapshot is gone, or does not show the rows of a table any more."""


class _Wanted(NamedTuple):
    """The rows of a root table that have these original values in these columns."""

    table: TableName
    columns: tuple[str, ...]
    values: list[pa.RecordBatch]

    def __repr__(self) -> str:
        return f"_Wanted({self.table})"


class _Keys:
    """Keys of one table or partition: batches of its key's columns, each key at least once."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self.size = 0
        self._gathered = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self.size += batch.nbytes
        self._gathered += batch.nbytes
        if self._gathered > _GATHERED_BYTES:
            self._batches = self.distinct()
            self.size = sum(each.nbytes for each in self._batches)
            self._gathered = 0

    def distinct(self) -> list[pa.RecordBatch]:
        """Each key once."""
        return _distinct(self._batches)


def _distinct(batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Each row without a NULL once."""
    if not batches:
        return []
    table = pa.Table.from_batches(batches).combine_chunks()
    columns = [column.combine_chunks() for column in table.columns]
    # Escaped, no value holds a tab.
    joined = columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*map(copytext.escape, columns), _TAB)
    codes = joined.dictionary_encode().indices
    _, first = np.unique(codes.drop_null().to_numpy(), return_index=True)
    places = np.flatnonzero(joined.is_valid().to_numpy(zero_copy_only=False))[first]
    found: list[pa.RecordBatch] = table.take(pa.array(np.sort(places))).to_batches()
    return found


class Refetch:
    """See the module's contract, for one session of a stream. ``catalog`` is what the stream follows; the copy's
    ``connection`` is idle between transactions, or in the one that what was noted belongs to. With ``shares_server``
    the copy is on production's own server."""

    def __init__(
        self,
        project: Project,
        catalog: Catalog,
        plan: Plan,
        subset: Subset,
        connection: Connection,
        marks: SequenceMarks,
        *,
        shares_server: bool,
    ) -> None:
        self.shares_server = shares_server
        self._project = project
        self._plan = plan
        self._subset = subset
        self._marks = marks
        self._members: dict[TableName, list[Table]] = {name: [] for name in subset.tables}
        for table in catalog.tables.values():
            if table.kind == "r" and plan.takes_part(table.name):
                self._members[plan.root(table.name)].append(table)
        self._columns = {
            name: [column.name for column in catalog.tables[name].copied_columns] for name in subset.tables
        }
        partitioned = frozenset(name for name in subset.tables if catalog.tables[name].kind == "p")
        self._rows = SubsetRows(connection, subset, self._columns, partitioned)
        self._max_age = project.settings.snapshot.max_age.total_seconds()
        self._taken: float | None = None
        self.has_let_go = False
        self._production: SourceConnection | None = None
        self._session: ReplicationSession | None = None
        self._slot: str | None = None
        self._keys: dict[TableName, _Keys] = {}
        self._emptied: set[TableName] = set()
        self._read: dict[TableName, list[pa.RecordBatch]] = {name: [] for name in subset.tables}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        for connection in (self._production, self._session):
            if connection is not None:
                await connection.close()
        self._production = self._session = self._slot = None

    # --------------------------------------------------------------------------------------------------- gathering

    def keys_only(self, table: TableName, changes: Changes) -> Changes:
        """The changes of a table that takes part, without what is not needed of them."""
        key = self._subset.tables[self._plan.root(table)].key
        names = set(changes.old.schema.names)
        if changes.old.num_rows and not names.issuperset(key):
            raise ServerFailed(
                f"a change of {table} came without the key that its rows are followed by.",
                hint=f"In production, have the replica identity of {table} hold {', '.join(key)}.",
            )
        old = changes.old.select(key) if names.issuperset(key) else changes.old
        return replace(changes, new=changes.new.select(key), old=old, patterns=((),), unchanged=changes.unchanged * 0)

    def note(self, table: TableName, changes: Changes) -> None:
        """Rows of a table were changed."""
        keys = self._keys.setdefault(table, _Keys())
        for batch in (changes.new, changes.old):
            if batch.num_rows:
                keys.add(batch)
        if sum(each.size for each in self._keys.values()) > _KEYS_BUDGET:
            raise ServerFailed(
                f"production changed so many rows of {table} at once that their keys take more than "
                f"{_KEYS_BUDGET >> 30} GiB.",
                hint="Clone again.",
            )

    def note_emptied(self, table: TableName) -> None:
        """A table was truncated: none of the rows that the copy has of it are in production any more, but for those
        that were changed since."""
        self._emptied.add(table)

    # ---------------------------------------------------------------------------------------------------- settling

    async def moment(self) -> Moment:
        """A cut of production, later than all that it has sent. Raises ``ServerFailed``."""
        if self.has_let_go and self.shares_server:
            # A slot would wait for our own transaction.
            raise Unreadable("the snapshot in which rows were to be read grew too old; they are read in another.")
        if self._session is None:
            self._session = await ReplicationSession.open(self._project.source_address, _PURPOSE)
        made = await temporary_slot(self._session, _PURPOSE)
        self._slot = made.name
        self._taken = time.monotonic()
        self.has_let_go = False
        return Moment(made.consistent_point, made.snapshot)

    async def let_go_when_old(self) -> None:
        """Have production forget a snapshot that has lived as long as it may, whatever we wait for. Who reads it then
        fails, as by a lost connection; else another moment has to be found, which ``has_let_go`` tells."""
        if self._taken is not None and time.monotonic() - self._taken > self._max_age:
            self._taken = None
            self.has_let_go = True
            await self._close()

    async def settle(self, snapshot: str) -> None:
        """Make the copy's rows of the subset what they are in the snapshot, in its open transaction.

        Raises ``Unreadable``.
        """
        if self._taken is None:
            self._taken = time.monotonic()
        for table in self._emptied:
            await self._rows.touch_all(self._plan.root(table), table)
        for table, keys in self._keys.items():
            await self._touch(snapshot, table, keys.distinct())
        await self._rows.take_out()
        while entered := await self._rows.bring_in():
            missing = await self._rows.missing()
            for wanted in [*self._parents(entered, missing), *self._children(entered)]:
                await self._fetch(snapshot, wanted)
        await self._rows.finish()

    async def forget(self) -> None:
        """What was noted is settled."""
        self._keys.clear()
        self._emptied.clear()
        for batches in self._read.values():
            batches.clear()
        self._taken = None
        self.has_let_go = False
        if self._slot is not None:
            # Production keeps WAL for it.
            assert self._session is not None
            slot, self._slot = self._slot, None
            await self._session.drop_slot(slot)

    async def _touch(self, snapshot: str, name: TableName, keys: list[pa.RecordBatch]) -> None:
        root = self._plan.root(name)
        key = self._subset.tables[root].key
        masked = [self._plan.tables[name].mask(batch, escaped=False).select(key) for batch in keys]
        await self._rows.touch(root, masked)
        (table,) = (member for member in self._members[root] if member.name == name)
        await self._load(snapshot, table, key, keys)

    def _parents(
        self, entered: Mapping[TableName, Sequence[int]], missing: Sequence[tuple[Reference, list[int]]]
    ) -> Iterator[_Wanted]:
        """What rows that entered refer to, and nobody has."""
        for reference, numbers in missing:
            # What another one lacks was looked for before, and is not there.
            new = set(entered.get(reference.table, ())).intersection(numbers)
            values = self._values(reference.table, sorted(new), reference.columns)
            yield _Wanted(reference.referenced_table, reference.referenced_columns, values)

    def _children(self, entered: Mapping[TableName, Sequence[int]]) -> Iterator[_Wanted]:
        """What comes with rows that entered."""
        for reference in self._subset.references:
            if reference.asks and reference.referenced_table in entered:
                numbers = entered[reference.referenced_table]
                values = self._values(reference.referenced_table, numbers, reference.referenced_columns)
                yield _Wanted(reference.table, reference.columns, values)

    def _values(self, table: TableName, numbers: Sequence[int], columns: Sequence[str]) -> list[pa.RecordBatch]:
        """The original values of rows that were read, each once."""
        read = pa.Table.from_batches(self._read[table]).select(list(columns))
        return _distinct(read.take(pa.array(numbers, pa.int64())).to_batches())

    async def _fetch(self, snapshot: str, wanted: _Wanted) -> None:
        for table in self._members[wanted.table]:
            await self._load(snapshot, table, wanted.columns, wanted.values)

    async def _load(self, snapshot: str, table: Table, columns: Sequence[str], values: list[pa.RecordBatch]) -> None:
        """Read the rows of a table, or a partition, that have these values, and give them to the copy, masked.

        Production is read in a transaction for this table alone: whoever holds the locks of several could deadlock.
        """
        if not values:
            return
        if self._production is None:
            address = self._project.source_address
            self._production = await source_connect(address, purpose=_PURPOSE, statement_timeout_ms=0)
        production = self._production
        try:
            await production.begin(snapshot=snapshot)
        except Interrupted:
            raise
        except ServerFailed:
            await production.rollback()
            raise Unreadable("the snapshot in which rows were to be read is gone; they are read in another.") from None
        keys = [key for batch in values for key in zip(*(column.to_pylist() for column in batch.columns), strict=True)]
        try:
            async for rows in read_rows(production, Followed(table, tuple(columns)), keys):
                if rows:
                    await self._give(table, [row.values for row in rows])
        except UnicodeDecodeError:
            raise ServerFailed(
                f"a key of {table.name} is no text in production's encoding, so its row cannot be asked for.",
                hint="Copy all rows of the tables that it refers to, or none.",
            ) from None
        rewritten = await was_rewritten(production, table.name)
        await production.rollback()
        if rewritten:
            raise Unreadable(
                f"production truncated or rewrote {table.name} just now; its rows are read in another snapshot."
            )

    async def _give(self, table: Table, rows: list[tuple[bytes | None, ...]]) -> None:
        root = self._plan.root(table.name)
        subset = self._subset.tables[root]
        columns = [pa.array(column, pa.binary()) for column in zip(*rows, strict=True)]
        batch = pa.RecordBatch.from_arrays(columns, names=[column.name for column in table.copied_columns])
        flags = np.where(subset.is_true(batch, escaped=False), b"t", b"f")
        masked = self._plan.tables[table.name].mask(batch, escaped=False)
        self._marks.observe(table.name, masked)
        read = self._read[root]
        first = sum(each.num_rows for each in read)
        read.append(batch.select(list(dict.fromkeys(name for group in subset.groups for name in group))))
        numbers = pa.array([b"%d" % number for number in range(first, first + len(rows))], pa.binary())
        names = self._columns[root]
        given = [*masked.select(names).columns, pa.array(flags.tolist(), pa.binary()), numbers]
        await self._rows.load(root, [pa.RecordBatch.from_arrays(given, names=[*names, CONDITION, NUMBER])])
