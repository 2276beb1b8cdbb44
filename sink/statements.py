"""The statements that apply changes to one table, by the shape of the change. Pure text; nothing is sent here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from capture.model import Column, ReplicaIdentity, Table, TableName, quote_identifier

_STRINGS = frozenset({"text", "varchar", "bpchar", "name"})
_BITS = frozenset({"bit", "varbit"})


@dataclass(frozen=True, slots=True)
class TableShape:
    """What a statement must know of a table: its copied columns in order, which of them identify a row (positions),
    whether they do so uniquely, and which are GENERATED ALWAYS AS IDENTITY (an UPDATE may not set those).

    ``types`` are as ``format_type`` prints them; ``casts`` are ``::type``, or nothing where text is assigned as it is;
    ``key_casts`` are what a text is compared by.
    ``is_read_as_text`` tells that a cast from text reads every value as the type's own input does, so that values may
    come in arrays of text.
    """

    table: TableName
    columns: tuple[str, ...]
    types: tuple[str, ...]
    casts: tuple[str, ...]
    key_casts: tuple[str, ...]
    key: tuple[int, ...]
    key_is_unique: bool
    always_identity: frozenset[int]
    is_read_as_text: bool

    @classmethod
    def of(cls, table: Table, converted: frozenset[str]) -> Self:
        """The shape of a table of the catalog. ``converted`` are the types that a cast makes from text by a function
        of its own, by their ``typname``."""
        columns = table.copied_columns
        positions = {column.name: position for position, column in enumerate(columns)}
        key = table.identity_columns
        is_unique = bool(key) and (table.replica_identity is not ReplicaIdentity.FULL or bool(table.primary_key))
        if table.replica_identity is ReplicaIdentity.FULL:
            # A deferrable key may stand in two rows between two changes of one transaction.
            is_late = not all(index.is_immediate for index in table.indexes if index.is_primary)
            if is_late or not positions.keys() >= set(key):
                key, is_unique = tuple(positions), False
        elif not positions.keys() >= set(key):
            # What is generated does not come with the stream.
            key, is_unique = (), False
        return cls(
            table=table.name,
            columns=tuple(positions),
            types=tuple(column.type_name for column in columns),
            casts=tuple(map(_cast, columns)),
            # A text is no bpchar: what compares them would not use the index.
            key_casts=tuple(_cast(column) or _without_length(column) for column in columns),
            key=tuple(positions[name] for name in key),
            key_is_unique=is_unique,
            always_identity=frozenset(positions[column.name] for column in columns if column.identity == "a"),
            is_read_as_text=not any(column.base_type in converted for column in columns),
        )

    @property
    def takes_many(self) -> bool:
        """Whether changes of many rows may be one statement: a row must be found by its key, and an update must be able
        to set what it brings."""
        return self.key_is_unique and self.is_read_as_text and self.always_identity <= set(self.key)


def _cast(column: Column) -> str:
    """What makes a parameter, or a text, the column's type, and leaves its length to the assignment: a cast to the type
    with its length would cut a value that is too long, where it must be an error."""
    if column.base_type in _STRINGS and not column.is_array:
        return ""
    if column.base_type in _STRINGS | _BITS:
        return _without_length(column)
    return f"::{column.type_name}"


def _without_length(column: Column) -> str:
    return f'::pg_catalog."{column.base_type}"{"[]" if column.is_array else ""}'


def _names(shape: TableShape, positions: Sequence[int]) -> str:
    return ", ".join(quote_identifier(shape.columns[position]) for position in positions)


def _where(shape: TableShape, first: int) -> str:
    """The condition that finds the row of an old image whose key values are parameters from ``first`` on."""
    terms: list[str] = []
    for number, position in enumerate(shape.key, start=first):
        name = quote_identifier(shape.columns[position])
        if shape.key_is_unique:
            terms.append(f"{name} = ${number}")
        else:
            # By text: some types have no equality, and for others what is equal need not be the same (1.0 and 1.00).
            terms.append(f"{name}::text IS NOT DISTINCT FROM ${number}::{shape.types[position]}::text")
    condition = " AND ".join(terms)
    if shape.key_is_unique:
        return condition
    # Rows that are alike in every column may be many; a change is about one of them, whichever.
    return f"ctid = (SELECT ctid FROM ONLY {shape.table} WHERE {condition} LIMIT 1)"


@lru_cache(maxsize=4096)
def insert(shape: TableShape) -> str:
    """Parameters: all columns in order."""
    if not shape.columns:
        return f"INSERT INTO {shape.table} DEFAULT VALUES"
    values = ", ".join(f"${number}" for number in range(1, len(shape.columns) + 1))
    overriding = " OVERRIDING SYSTEM VALUE" if shape.always_identity else ""
    return f"INSERT INTO {shape.table} ({_names(shape, range(len(shape.columns)))}){overriding} VALUES ({values})"


@lru_cache(maxsize=4096)
def delete(shape: TableShape) -> str:
    """Parameters: the key's values."""
    return f"DELETE FROM ONLY {shape.table} WHERE {_where(shape, 1)}"


@lru_cache(maxsize=4096)
def update(shape: TableShape, positions: tuple[int, ...]) -> str:
    """Parameters: the values of the columns at ``positions``, then the old key's values."""
    assignments = ", ".join(
        f"{quote_identifier(shape.columns[position])} = ${number}" for number, position in enumerate(positions, start=1)
    )
    return f"UPDATE ONLY {shape.table} SET {assignments} WHERE {_where(shape, len(positions) + 1)}"


@lru_cache(maxsize=4096)
def find(shape: TableShape) -> str:
    """For an update that changed nothing that the copy holds: the row must be there. Parameters: the key's values."""
    return f"SELECT FROM ONLY {shape.table} WHERE {_where(shape, 1)}"


@lru_cache(maxsize=4096)
def replace(shape: TableShape, positions: tuple[int, ...]) -> str:
    """An update that changes an identity column which no UPDATE may set: the row is made anew, its other columns
    (TOAST values that were not sent) taken over. Parameters as for ``update``."""
    sent = {position: number for number, position in enumerate(positions, start=1)}
    values = ", ".join(
        f"${sent[position]}{shape.casts[position]}" if position in sent else f"gone.{quote_identifier(name)}"
        for position, name in enumerate(shape.columns)
    )
    return (
        f"WITH gone AS (DELETE FROM ONLY {shape.table} WHERE {_where(shape, len(positions) + 1)} RETURNING *)"
        f" INSERT INTO {shape.table} ({_names(shape, range(len(shape.columns)))}) OVERRIDING SYSTEM VALUE"
        f" SELECT {values} FROM gone"
    )


# The statements over many rows take one text[] a column. An assignment from text to a string type checks its length; a
# cast to it would cut.


def _unnested(positions: Sequence[int]) -> str:
    arrays = ", ".join(f"${number}::text[]" for number in range(1, len(positions) + 1))
    return f"unnest({arrays}) AS given({', '.join(f'c{position}' for position in positions)})"


def _matched(shape: TableShape) -> str:
    return " AND ".join(
        f"held.{quote_identifier(shape.columns[position])} = given.c{position}{shape.key_casts[position]}"
        for position in shape.key
    )


@lru_cache(maxsize=4096)
def insert_many(shape: TableShape) -> str:
    """Parameters: all columns in order."""
    positions = range(len(shape.columns))
    overriding = " OVERRIDING SYSTEM VALUE" if shape.always_identity else ""
    values = ", ".join(f"given.c{position}{shape.casts[position]}" for position in positions)
    into = f"{shape.table} ({_names(shape, positions)}){overriding}"
    return f"INSERT INTO {into} SELECT {values} FROM {_unnested(positions)}"


@lru_cache(maxsize=4096)
def update_many(shape: TableShape, positions: tuple[int, ...]) -> str:
    """Parameters: the values of the columns at ``positions``, none of the key, then the key's values."""
    assignments = ", ".join(
        f"{quote_identifier(shape.columns[position])} = given.c{position}{shape.casts[position]}"
        for position in positions
    )
    unnested = _unnested((*positions, *shape.key))
    return f"UPDATE ONLY {shape.table} AS held SET {assignments} FROM {unnested} WHERE {_matched(shape)}"


@lru_cache(maxsize=4096)
def delete_many(shape: TableShape) -> str:
    """Parameters: the key's values."""
    return f"DELETE FROM ONLY {shape.table} AS held USING {_unnested(shape.key)} WHERE {_matched(shape)}"


def delete_all(table: TableName) -> str:
    """Empty a table, and no other."""
    return f"DELETE FROM ONLY {table}"


def truncate(tables: Sequence[TableName]) -> str:
    """CASCADE reaches only tables that production truncated too, or whose rows are left out: production could not
    have truncated a table without those that refer to it.

    Sequences are not restarted, whatever production did: in the copy they stay ahead of every id that there was, and
    of those that masks make.
    """
    return f"TRUNCATE {', '.join(f'ONLY {table}' for table in tables)} CASCADE"
