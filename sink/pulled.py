"""What the copy knows of rows that it has only because others refer to them.

When the last of those leaves, such a row leaves too; a row that was chosen stays. Production could tell them apart, but
the copy knows the masked keys alone. So each table of a subset has a table beside it with the keys of those rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from capture.model import TableName, quote_identifier
from sink.target import Connection, fetch
from transform.subset import Subset, SubsetTable

_NAME: Final = "pulled_"


def pulled_table(table: TableName) -> TableName:
    """The table beside a root table of the subset."""
    return TableName("tezcat", _NAME + blake2b(str(table).encode(), digest_size=12).hexdigest())


def chosen_tables(subset: Subset | None) -> list[SubsetTable]:
    """The tables of which not every row is copied: those that have one beside them."""
    return [table for table in subset.tables.values() if not table.is_whole] if subset is not None else []


async def make(connection: Connection, subset: Subset | None) -> None:
    """Make the tables for this subset, empty, in place of those that there may be of another."""
    rows = await fetch(
        connection,
        """SELECT relname FROM pg_class
            WHERE relnamespace = 'tezcat'::regnamespace AND relkind = 'r' AND starts_with(relname, %s)""",
        (_NAME,),
    )
    for (name,) in rows:
        await fetch(connection, f"DROP TABLE {TableName('tezcat', name)}")
    for table in chosen_tables(subset):
        listed = ", ".join(map(quote_identifier, table.key))
        beside = pulled_table(table.table)
        await fetch(connection, f"CREATE TABLE {beside} AS SELECT {listed} FROM {table.table} WITH NO DATA")
        await fetch(connection, f"ALTER TABLE {beside} ADD PRIMARY KEY ({listed})")


async def empty(connection: Connection, tables: Iterable[SubsetTable]) -> None:
    """Forget all."""
    for table in tables:
        await fetch(connection, f"TRUNCATE {pulled_table(table.table)}")
