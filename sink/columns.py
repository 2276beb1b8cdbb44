"""Which columns a copy has: what the plan is held against before changes are applied to it."""

from __future__ import annotations

from typing import NamedTuple

from capture.model import TableName
from sink.target import Connection, fetch


class CopyColumn(NamedTuple):
    """A column of the copy; ``type_name`` is what ``format_type`` prints."""

    type_name: str
    is_generated: bool


async def read_columns(connection: Connection) -> dict[TableName, dict[str, CopyColumn]]:
    """The columns of every table and partitioned root of the copy, by name. Raises ``ServerFailed``."""
    rows = await fetch(
        connection,
        """SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'tezcat')""",
    )
    tables: dict[TableName, dict[str, CopyColumn]] = {}
    for schema, table, column, type_name, is_generated in rows:
        columns = tables.setdefault(TableName(schema, table), {})
        if column is not None:
            columns[column] = CopyColumn(type_name, is_generated)
    return tables


async def read_converted_types(connection: Connection) -> frozenset[str]:
    """The types (``typname``, of an array its element's) that a cast makes from text by a function of its own, which
    need not read what the type's input reads. Raises ``ServerFailed``."""
    rows = await fetch(
        connection,
        """SELECT DISTINCT coalesce(e.typname, t.typname)
             FROM pg_cast c JOIN pg_type t ON t.oid = c.casttarget
             LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
            WHERE c.castsource = 'text'::regtype AND c.castmethod = 'f'""",
    )
    return frozenset(name for (name,) in rows)
