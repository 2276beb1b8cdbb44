"""Windows of changes made by hand, and how an applier takes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from capture.catalog import read_catalog
from capture.model import (
    Begins,
    Changes,
    Ends,
    Lsn,
    OldImage,
    Operation,
    ReplicaIdentity,
    Table,
    TableName,
    Truncation,
    Window,
)
from capture.source import connect as connect_source
from sink.apply import Applier
from tests.fix_copy import CLONED, CLONED_AT, table_of
from tests.fix_postgres import Database
from tests.fix_source import source_address

INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE
COLUMNS = {"id": "bigint", "a": "text", "b": "text"}
KEYED = table_of("keyed", COLUMNS, key=("id",))
FULL = table_of("fully", COLUMNS, identity=ReplicaIdentity.FULL)
ALWAYS = table_of("always", {"id": "bigint", "n": "bigint", "a": "text"}, key=("id",), always=("n",))
BARE = table_of("bare", {})
LATER = Lsn(CLONED + 0x100)

Row = tuple[bytes | None, ...]
Begin = Callable[..., Awaitable[Applier]]


@dataclass(frozen=True)
class Change:
    """One change of a table: images in its columns; a key image is NULL outside of the key."""

    table: Table
    operation: Operation
    new: Row | None = None
    old: Row | None = None
    old_is_full: bool = False
    unchanged: tuple[int, ...] = ()


def insert(table: Table, *new: bytes | None) -> Change:
    return Change(table, INSERT, new)


def update(table: Table, *new: bytes | None, old: Row | None = None, unchanged: tuple[int, ...] = ()) -> Change:
    return Change(table, UPDATE, new, old, table.replica_identity is ReplicaIdentity.FULL, unchanged)


def delete(table: Table, *old: bytes | None) -> Change:
    return Change(table, DELETE, None, old, table.replica_identity is ReplicaIdentity.FULL)


def batch(names: list[str], rows: list[Row]) -> pa.RecordBatch:
    if not names:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), type=pa.struct([])))
    columns = [pa.array([row[place] for row in rows], pa.binary()) for place in range(len(names))]
    return pa.RecordBatch.from_arrays(columns, names=names)


def changes_of(table: Table, placed: list[tuple[int, Change]]) -> Changes:
    """The changes of one table, as a window has them."""
    names = [column.name for column in table.copied_columns]
    kinds = [
        OldImage.NONE if one.old is None else OldImage.FULL if one.old_is_full else OldImage.KEY for _, one in placed
    ]
    kept = names if OldImage.FULL in kinds else [name for name in names if name in table.identity_columns]
    patterns = sorted({(), *(one.unchanged for _, one in placed)})
    old = [tuple(one.old[names.index(name)] for name in kept) for _, one in placed if one.old is not None]
    return Changes(
        order=np.array([place for place, _ in placed], np.int64),
        operations=np.array([one.operation for _, one in placed], np.uint8),
        old_kinds=np.array(kinds, np.uint8),
        unchanged=np.array([patterns.index(one.unchanged) for _, one in placed], np.int64),
        patterns=tuple(patterns),
        new=batch(names, [one.new for _, one in placed if one.new is not None]),
        old=batch(kept, old),
    )


def window(*items: Change | tuple[Table, ...]) -> Window:
    """A window of changes, and of truncations of tables."""
    placed: dict[TableName, list[tuple[int, Change]]] = {}
    truncations: list[Truncation] = []
    tables: dict[TableName, Table] = {}
    for place, item in enumerate(items):
        if isinstance(item, Change):
            placed.setdefault(item.table.name, []).append((place, item))
            tables[item.table.name] = item.table
        else:
            truncations.append(Truncation(place, tuple(table.name for table in item)))
    return Window(
        count=len(items),
        changes={name: changes_of(tables[name], of) for name, of in placed.items()},
        truncations=truncations,
        begins=Begins(),
        ends=Ends(),
        position=LATER,
        source_time=CLONED_AT,
    )


async def apply(applier: Applier, *items: Change | tuple[Table, ...]) -> None:
    """What happened, as one whole source transaction."""
    await applier.begin()
    await apply_open(applier, *items)
    await applier.commit(LATER, CLONED_AT)


async def apply_open(applier: Applier, *items: Change | tuple[Table, ...]) -> None:
    made = window(*items)
    await applier.apply(made, 0, made.count)
    await applier.settle()


async def tables_of(database: Database, *names: str) -> list[Table]:
    """Tables as production's catalog would have them."""
    async with await connect_source(source_address(database), purpose="tests") as source:
        read = await read_catalog(source)
    return [read.tables[TableName("public", name)] for name in names]


def rows(database: Database, table: Table) -> list[tuple[object, ...]]:
    return sorted(database.execute(f"SELECT * FROM {table.name}"), key=repr)


def applied(database: Database) -> Lsn:
    return Lsn.parse(database.execute("SELECT applied_lsn::text FROM tezcat.progress")[0][0])
