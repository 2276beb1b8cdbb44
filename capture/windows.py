"""Events to windows: what the stream brought while the last window was applied, in columns.

``WindowBuilder`` takes decoded events in order and keeps the rows of each table together, so that masking costs calls
per table and not per row; ``close`` hands over a ``Window`` and starts the next. It holds the relation cache of one
session and compares every announced relation with the catalog that the plan was made for: a table that the plan does
not know or that was made anew, a column that is gone, renamed or of another type, or rows that are identified by other
columns, stop the stream with ``Drifted``; a new column is left out and reported, because nobody has decided how to mask
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from capture import events
from capture.model import (
    UNCHANGED,
    Catalog,
    Drifted,
    Item,
    Lsn,
    Operation,
    Relation,
    Run,
    Table,
    TableName,
    TransactionEnd,
    TransactionStart,
    Truncation,
    Value,
    Window,
    quote_identifier,
)
from capture.pgoutput import ProtocolViolation
from capture.replication_protocol import to_datetime

Row = tuple[Value, ...]


@dataclass(slots=True)
class _Stream:
    """One announced relation: where its rows go and how its columns map to the table's copied ones."""

    table: TableName
    names: tuple[str, ...]
    # How many columns arrive.
    width: int
    # Positions of the copied columns in what arrives; None when they are the same.
    projection: tuple[int, ...] | None
    # Its rows stay in production (rows: none).
    is_dropped: bool


@dataclass(slots=True)
class _Rows:
    names: tuple[str, ...]
    rows: list[Row] = field(default_factory=list, repr=False)

    def batch(self) -> pa.RecordBatch:
        columns = zip(*self.rows, strict=True) if self.names else ()
        arrays = [pa.array(_sent(column), type=pa.binary()) for column in columns]
        if not arrays:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * len(self.rows), type=pa.struct([])))
        return pa.RecordBatch.from_arrays(arrays, names=list(self.names))


def _sent(column: tuple[Value, ...]) -> tuple[Value, ...] | list[bytes | None]:
    if UNCHANGED in column:
        return [None if value is UNCHANGED else value for value in column]
    return column


class WindowBuilder:
    """Builds windows for a catalog. ``dropped`` are tables whose rows are not copied."""

    def __init__(
        self,
        catalog: Catalog,
        dropped: frozenset[TableName],
        applied_lsn: Lsn,
        source_time: datetime,
        on_drift: Callable[[str], None],
    ) -> None:
        """A transaction that commits before ``applied_lsn`` was applied in an earlier session and is passed over;
        ``source_time`` was production's clock there."""
        self._catalog = catalog
        self._applied_lsn = applied_lsn
        self._position = applied_lsn
        self._source_time = source_time
        self._dropped = dropped
        self._on_drift = on_drift
        self._streams: dict[int, _Stream] = {}
        self._reported: set[str] = set()
        self._in_transaction = False
        self._skipping = False
        self._reset()

    def _reset(self) -> None:
        self._items: list[Item] = []
        self._new: dict[TableName, _Rows] = {}
        self._old: dict[TableName, _Rows] = {}
        self.size = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is waiting."""
        return not self._items

    def close(self) -> Window:
        """What has come since the last call."""
        window = Window(
            items=self._items,
            new={table: rows.batch() for table, rows in self._new.items()},
            old={table: rows.batch() for table, rows in self._old.items()},
            position=self._position,
            source_time=self._source_time,
        )
        self._reset()
        return window

    def keepalive(self, wal_end: Lsn, server_time: int) -> None:
        """The server has sent everything that it decoded up to ``wal_end``."""
        if not self._in_transaction:
            self._position = max(self._position, wal_end)
            self._source_time = to_datetime(server_time)

    def feed(self, event: events.Event, size: int) -> None:
        """Take one event of ``size`` bytes.

        Raises ``Drifted``, and ``ProtocolViolation`` for an event that this session did not ask for.
        """
        match event:
            case events.Insert():
                if not self._skipping:
                    self._change(event.relation_id, Operation.INSERT, event.new, None, old_is_full=False)
            case events.Update():
                if not self._skipping:
                    self._change(
                        event.relation_id, Operation.UPDATE, event.new, event.old, old_is_full=event.old_is_full
                    )
            case events.Delete():
                if not self._skipping:
                    self._change(event.relation_id, Operation.DELETE, None, event.old, old_is_full=event.old_is_full)
            case events.Begin():
                self._in_transaction = True
                self._skipping = event.final_lsn < self._applied_lsn
                if not self._skipping:
                    self._items.append(TransactionStart(event.final_lsn))
            case events.Commit():
                self._in_transaction = False
                self._position = max(self._position, event.end_lsn)
                self._source_time = to_datetime(event.commit_time)
                if not self._skipping:
                    self._items.append(TransactionEnd(event.commit_lsn, event.end_lsn, self._source_time))
                self._skipping = False
            case Relation():
                self._streams[event.oid] = self._announce(event)
            case events.Truncate():
                if not self._skipping:
                    self._truncate(event)
            case events.Type() | events.Origin() | events.Message():
                pass
            case _:
                raise ProtocolViolation(f"a {type(event).__name__} message came, which was not asked for.")
        self.size += size

    def _change(
        self, relation_id: int, operation: Operation, new: Row | None, old: Row | None, *, old_is_full: bool
    ) -> None:
        stream = self._stream(relation_id)
        if stream.is_dropped:
            return
        new_start = old_start = -1
        unchanged: tuple[int, ...] = ()
        if new is not None:
            new_start, new = self._keep(self._new, stream, new)
            if UNCHANGED in new:
                unchanged = tuple(position for position, value in enumerate(new) if value is UNCHANGED)
        if old is not None:
            old_start, _ = self._keep(self._old, stream, old)
        last = self._items[-1] if self._items else None
        if (
            type(last) is Run
            and last.table == stream.table
            and last.operation is operation
            and last.unchanged == unchanged
            and (last.old_start < 0) == (old_start < 0)
            and last.old_is_full == old_is_full
        ):
            last.count += 1
        else:
            self._items.append(Run(stream.table, operation, new_start, old_start, old_is_full, unchanged))

    @staticmethod
    def _keep(images: dict[TableName, _Rows], stream: _Stream, row: Row) -> tuple[int, Row]:
        if len(row) != stream.width:
            raise ProtocolViolation(f"a row of {stream.table} came with another width than was announced.")
        rows = images.get(stream.table)
        if rows is None:
            rows = images[stream.table] = _Rows(stream.names)
        if stream.projection is not None:
            row = tuple(row[position] for position in stream.projection)
        rows.rows.append(row)
        return len(rows.rows) - 1, row

    def _truncate(self, event: events.Truncate) -> None:
        streams = [self._stream(relation_id) for relation_id in event.relation_ids]
        tables = tuple(stream.table for stream in streams if not stream.is_dropped)
        # A partitioned table is announced beside its partitions, which hold the rows.
        tables = tuple(table for table in tables if self._catalog.tables[table].kind == "r")
        if tables:
            self._items.append(Truncation(tables))

    def _stream(self, relation_id: int) -> _Stream:
        try:
            return self._streams[relation_id]
        except KeyError:
            raise ProtocolViolation("a change came before its relation was announced.") from None

    def _announce(self, relation: Relation) -> _Stream:
        table = self._catalog.tables.get(relation.table)
        if table is None:
            raise Drifted(
                f"production publishes {relation.table}, which was not there when the copy was made.",
                hint="Decide its columns in the rules, then clone again.",
            )
        names = tuple(column.name for column in table.copied_columns)
        arriving = tuple(column.name for column in relation.columns)
        if table.name not in self._dropped:
            self._compare(table, relation)
        positions = {name: position for position, name in enumerate(arriving)}
        same = arriving == names
        return _Stream(
            table=table.name,
            names=names,
            width=len(arriving),
            projection=None if same else tuple(positions[name] for name in names if name in positions),
            is_dropped=table.name in self._dropped,
        )

    def _compare(self, table: Table, relation: Relation) -> None:
        if relation.oid != table.oid:
            raise Drifted(
                f"{table.name} is another table in production than it was: it was made anew, or renamed.",
                hint="Clone again.",
            )
        known = {column.name: column for column in table.copied_columns}
        arriving = {column.name: column for column in relation.columns}
        for name, column in known.items():
            if name not in arriving:
                raise Drifted(
                    f"column {quote_identifier(name)} of {table.name} is gone or renamed in production.",
                    hint="Bring the rules up to date, then clone again.",
                )
            if (arriving[name].type_oid, arriving[name].typmod) != (column.type_oid, column.typmod):
                raise Drifted(
                    f"column {quote_identifier(name)} of {table.name} has another type in production now.",
                    hint="Bring the rules up to date, then clone again.",
                )
        identity = {name for name, announced in arriving.items() if announced.is_key}
        if identity and not identity.issuperset(name for name in table.identity_columns if name in known):
            raise Drifted(
                f"the rows of {table.name} were identified by other columns (REPLICA IDENTITY) when they were changed.",
                hint="Clone again.",
            )
        present = {column.name for column in table.columns}
        for name, announced in arriving.items():
            if name in present:
                continue
            if announced.is_key:
                raise Drifted(
                    f"the new column {quote_identifier(name)} of {table.name} identifies its rows in production.",
                    hint="Decide it in the rules, then clone again.",
                )
            told = f"{table.name}.{quote_identifier(name)}"
            if told not in self._reported:
                self._reported.add(told)
                self._on_drift(
                    f"production has a new column {told}; it is left out of the copy until the rules decide it "
                    "and the copy is cloned again."
                )
