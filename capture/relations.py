"""The relation cache of one session, and the watch for drift.

Every announced relation is held against the catalog that the plan was made for: a table that the plan does not know or
that was made anew, a column that is gone, renamed or of another type, or rows that are identified by other columns,
stop the stream with ``Drifted``; a new column is left out and reported, because nobody has decided how to mask it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from capture.model import Catalog, Drifted, Relation, Table, TableName, quote_identifier
from capture.pgoutput import ProtocolViolation


@dataclass(frozen=True, slots=True)
class Announced:
    """One announced relation: where its rows go and how its columns map to the table's copied ones, ``names``.

    ``width`` columns arrive, and ``projection`` are the positions in them of the copied ones. With ``is_dropped`` its
    rows stay in production (rows: none).
    """

    table: TableName
    names: tuple[str, ...]
    key: tuple[str, ...]
    width: int
    projection: tuple[int, ...]
    is_dropped: bool

    @property
    def key_positions(self) -> tuple[int, ...]:
        """Where the columns that identify a row stand among those that arrive."""
        return tuple(position for name, position in zip(self.names, self.projection, strict=True) if name in self.key)


class RelationCache:
    """The relations that this session has announced. ``dropped`` are tables whose rows are not copied."""

    def __init__(self, catalog: Catalog, dropped: frozenset[TableName], on_drift: Callable[[str], None]) -> None:
        self._catalog = catalog
        self._dropped = dropped
        self._on_drift = on_drift
        self._announced: dict[int, Announced] = {}
        self._reported: set[str] = set()

    def __getitem__(self, relation_id: int) -> Announced:
        """Raises ``ProtocolViolation`` for a relation that was not announced."""
        try:
            return self._announced[relation_id]
        except KeyError:
            raise ProtocolViolation("a change came before its relation was announced.") from None

    def get(self, relation_id: int) -> Announced | None:
        """None for a relation that was not announced."""
        return self._announced.get(relation_id)

    def truncated(self, relation_ids: tuple[int, ...]) -> tuple[TableName, ...]:
        """The tables of a TRUNCATE that the copy has to empty."""
        announced = [self[relation_id] for relation_id in relation_ids]
        # A partitioned table is announced beside its partitions, which hold the rows.
        return tuple(
            each.table for each in announced if not each.is_dropped and self._catalog.tables[each.table].kind == "r"
        )

    def announce(self, relation: Relation) -> None:
        """Take a relation's shape. Raises ``Drifted``."""
        table = self._catalog.tables.get(relation.table)
        if table is None:
            raise Drifted(
                f"production publishes {relation.table}, which was not there when the copy was made.",
                hint="Decide its columns in the rules, then clone again.",
            )
        names = tuple(column.name for column in table.copied_columns)
        if table.name not in self._dropped:
            self._compare(table, relation)
        positions = {column.name: position for position, column in enumerate(relation.columns)}
        self._announced[relation.oid] = Announced(
            table=table.name,
            names=names,
            key=tuple(name for name in table.identity_columns if name in names),
            width=len(relation.columns),
            projection=tuple(positions[name] for name in names if name in positions),
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
