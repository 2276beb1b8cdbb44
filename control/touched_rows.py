"""Bringing copied rows to a later cut: those that production touched meanwhile are deleted and read again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection

import pyarrow as pa

from capture.model import TableName
from capture.snapshot import was_rewritten
from capture.source import SourceConnection
from capture.touched import Followed, Key, Located, read_rows
from sink import heal, load
from sink.target import Connection
from transform import copytext
from transform.plan import TablePlan


async def replace_touched(
    production: SourceConnection,
    snapshot: str,
    followed: Followed,
    keys: Collection[Key],
    writer: Connection,
    plan: TablePlan,
    *,
    into: TableName,
    wanted: Callable[[Located], bool],
) -> int | None:
    """Make the rows of these keys in ``into`` what the wanted ones of them are in the snapshot, masked; how many more
    rows there are then, and None where that cannot be known. ``writer`` is in a transaction.

    Production is read in a transaction for this table alone: whoever holds the locks of several could deadlock.
    """
    if not all(_is_text(value) for key in keys for value in key):
        return None
    ordered = list(keys)
    columns = [pa.array(column, pa.binary()) for column in zip(*ordered, strict=True)]
    masked = plan.mask(pa.RecordBatch.from_arrays(columns, names=list(followed.key)), escaped=False)

    async def blocks() -> AsyncIterator[pa.Buffer]:
        names = [column.name for column in followed.table.copied_columns]
        async for rows in read_rows(production, followed, ordered):
            here = [row.values for row in rows if wanted(row)]
            if here:
                values = [pa.array(column, pa.binary()) for column in zip(*here, strict=True)]
                batch = pa.RecordBatch.from_arrays(values, names=names)
                batch = plan.mask(batch.filter(pa.array(plan.is_chosen(batch, escaped=False))), escaped=False)
                escaped = [copytext.escape(column) for column in batch.columns]
                yield copytext.join(pa.RecordBatch.from_arrays(escaped, schema=batch.schema))

    await production.begin(snapshot=snapshot)
    await production.fetch("SET LOCAL statement_timeout = 0")
    deleted = await heal.delete_rows(
        writer,
        into,
        [followed.table.column(name) for name in followed.key],
        [masked.column(name) for name in followed.key],
    )
    inserted = await load.copy_in(writer, into, plan.columns, blocks())
    is_whole = not await was_rewritten(production, followed.table.name)
    await production.rollback()
    return inserted - deleted if is_whole else None


def _is_text(value: bytes) -> bool:
    """Whether a value can be a parameter of a statement; in a database without an encoding it may be any bytes."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
