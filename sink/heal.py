"""Replacing rows of a table that has no index yet: what a clone does when its snapshot becomes another one."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from capture.model import Column, TableName, quote_identifier
from sink.target import Connection, fetch


async def delete_rows(
    connection: Connection, table: TableName, key: Sequence[Column], values: Sequence[pa.BinaryArray]
) -> int:
    """Delete the rows whose key is among the given ones, all with one look at the table; how many there were.

    ``values`` holds masked values in text format, an array a key column, pairwise. Raises ``ServerFailed``, and
    ``UnicodeDecodeError`` for a value that is no text in the client's encoding.
    """
    arrays = ", ".join("%s::text[]" for _ in key)
    names = ", ".join(f"k{number}" for number in range(len(key)))
    # By text, which every type can be joined by; the cast gives the value the form that the column gave it.
    terms = " AND ".join(
        f"t.{quote_identifier(column.name)}::text = u.k{number}::{column.type_name}::text"
        for number, column in enumerate(key)
    )
    statement = (
        f"WITH gone AS (DELETE FROM ONLY {_literal(table)} AS t USING unnest({arrays}) AS u({names})"
        f" WHERE {_literal(terms)} RETURNING 1) SELECT count(*) FROM gone"
    )
    texts = tuple([value.decode() for value in column.to_pylist()] for column in values)
    rows = await fetch(connection, statement, texts)
    return int(rows[0][0])


def _literal(sql: object) -> str:
    """SQL that holds no parameter."""
    return str(sql).replace("%", "%%")
