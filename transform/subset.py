"""Subsets: which rows are copied where foreign keys are followed.

A row is *chosen* where its table's condition is true and, if the table asks ``with`` others, it refers to a copied row
of one of those. It is *needed* where a copied row refers to it. Copied is what is chosen or needed, and no more: the
least set of rows that fits, so that rows which only hold each other up are not among them.

``find_subset`` tells which tables take part: those of which some rows are copied, if others refer to them or they ask
``with`` others, and every table that refers to one of these. A table whose rows hang on nothing but a condition of its
own is none of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from capture.model import Catalog, Column, ForeignKey, Table, TableName, quote_identifier
from transform.copytext import Flags
from transform.coverage import Finding, FindingKind, Severity, near_table
from transform.domains import root_of
from transform.predicates import Predicate, hold_true
from transform.rules import Rules, SomeRows

_INTEGERS: Final = frozenset({"int2", "int4", "int8", "oid"})
_TEXTS: Final = frozenset({"text", "varchar", "name"})
# Two values of these are equal just where their texts are.
_BY_TEXT: Final = frozenset(
    "bool bytea char cidr date inet macaddr macaddr8 pg_lsn time timestamp timestamptz uuid".split()
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key to a table of which some rows are copied: ``columns`` of ``table`` refer to ``referenced_columns``
    of ``referenced_table``, pairwise; both are root tables. With ``asks``, rows come with those that they refer to."""

    name: str
    table: TableName
    columns: tuple[str, ...]
    referenced_table: TableName
    referenced_columns: tuple[str, ...]
    asks: bool


@dataclass(frozen=True, slots=True, eq=False)
class SubsetTable:
    """A root table that takes part. ``key`` are columns that identify a row; ``condition`` is None where none is asked;
    ``asks`` tells that a row is chosen only with one that it refers to. ``groups`` are the key, then the other columns
    by which rows refer to each other, each group as a foreign key lists it."""

    table: TableName
    key: tuple[str, ...]
    condition: Predicate | None
    asks: bool
    is_whole: bool
    groups: tuple[tuple[str, ...], ...]

    @property
    def read(self) -> tuple[str, ...]:
        """All columns that tell whether a row is copied."""
        names = [name for group in self.groups for name in group]
        return tuple(dict.fromkeys([*names, *(self.condition.columns if self.condition is not None else ())]))

    def is_true(self, batch: pa.RecordBatch, *, escaped: bool) -> Flags:
        """Of which rows of a batch the condition is true, which must hold the columns that it reads."""
        return hold_true(self.condition, batch, escaped=escaped)


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """The tables that take part, and how their rows refer to each other. ``identity`` tells whether two subsets choose
    alike."""

    tables: Mapping[TableName, SubsetTable]
    references: tuple[Reference, ...]
    identity: str


def find_subset(
    rules: Rules, catalog: Catalog, conditions: Mapping[TableName, Predicate]
) -> tuple[Subset | None, list[Finding]]:
    """The subset that rules ask for, None where none is; and what is wrong with it. ``conditions`` are the rules' own,
    compiled, by root table."""
    some = {
        name: own.rows
        for name, own in rules.tables.items()
        if isinstance(own.rows, SomeRows) and name in catalog.tables and root_of(catalog, name) == name
    }
    references = [
        reference for reference in _references(rules, catalog, some) if _is_copied(rules, catalog, reference.table)
    ]
    findings = [
        *_misasked(rules, catalog, some, references),
        *_to_parts(rules, catalog, some),
        *_unindexed(rules, catalog, references),
    ]
    followed = {name for name, rows in some.items() if rows.with_}
    followed |= {reference.referenced_table for reference in references}
    names = sorted(followed | {reference.table for reference in references})
    if not names:
        return None, findings
    tables: dict[TableName, SubsetTable] = {}
    for name in names:
        table = catalog.tables[name]
        groups = [reference.columns for reference in references if reference.table == name]
        groups += [reference.referenced_columns for reference in references if reference.referenced_table == name]
        key = _key(table)
        findings += _unfit(rules, table, key)
        rows = some.get(name)
        tables[name] = SubsetTable(
            table=name,
            key=key,
            condition=conditions.get(name),
            asks=rows is not None and bool(rows.with_),
            is_whole=rows is None,
            groups=tuple(dict.fromkeys([key, *groups])),
        )
    for reference in references:
        findings += _unlike(rules, catalog, reference)
    described = [(str(name), chosen.model_dump(mode="json")) for name, chosen in some.items()]
    content = [sorted(described, key=lambda each: each[0]), sorted(map(repr, references))]
    identity = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Subset(tables, tuple(references), identity), findings


def _is_copied(rules: Rules, catalog: Catalog, table: TableName) -> bool:
    own = rules.tables.get(table)
    return table in catalog.tables and not (own is not None and own.rows == "none")


def _references(rules: Rules, catalog: Catalog, some: Mapping[TableName, SomeRows]) -> Iterator[Reference]:
    """The foreign keys to tables of which some rows are copied, but for those that are masked to NULL."""
    for key in catalog.foreign_keys:
        table, referenced = root_of(catalog, key.table), root_of(catalog, key.referenced_table)
        if referenced in some and not _is_cut(rules, table, key):
            asks = table in some and referenced in some[table].with_
            yield Reference(key.name, table, key.columns, referenced, key.referenced_columns, asks)


def _is_cut(rules: Rules, table: TableName, key: ForeignKey) -> bool:
    written = rules.tables[table].columns if table in rules.tables else {}
    return any(name in written and written[name].empties for name in key.columns)


def _key(table: Table) -> tuple[str, ...]:
    """Columns that identify a row and are never NULL, the primary key if there is one; () for none."""
    copied = {column.name: column for column in table.copied_columns}
    for index in sorted(table.indexes, key=lambda each: not each.is_primary):
        is_plain = index.is_unique and not index.is_exclusion and not index.expressions and index.predicate is None
        if is_plain and index.columns and all(name in copied and copied[name].not_null for name in index.columns):
            return index.columns
    return ()


# ----------------------------------------------------------------------------------------------------- findings


def _error(rules: Rules, table: TableName, message: str, hint: str, at: str = "") -> Finding:
    return Finding(Severity.ERROR, FindingKind.SUBSET, str(table), message, hint, at or rules.at_table(table))


def _misasked(
    rules: Rules, catalog: Catalog, some: Mapping[TableName, SomeRows], references: Iterable[Reference]
) -> Iterator[Finding]:
    """Tables under ``with`` that no row can come with."""
    asked = {(reference.table, reference.referenced_table) for reference in references if reference.asks}
    for name, rows in some.items():
        at = rules.at_rows(name, "with")
        for other in rows.with_:
            if (name, other) in asked:
                continue
            if other not in catalog.tables:
                hint = near_table(other, catalog) or "Check how it is written."
                yield _error(rules, name, f"rows: there is no table {other} to come with.", hint, at)
            elif other not in some:
                own = rules.tables.get(other)
                which = "no row is" if own is not None and own.rows == "none" else "all rows are"
                hint = f"Leave it away, or choose rows of {other} too."
                yield _error(rules, name, f"rows: with names {other}, of which {which} copied.", hint, at)
            else:
                message = f"rows: with names {other}, which no foreign key of this table refers to."
                yield _error(rules, name, message, "Name a table that this one refers to, without the mask null.", at)


def _to_parts(rules: Rules, catalog: Catalog, some: Mapping[TableName, SomeRows]) -> Iterator[Finding]:
    """Foreign keys to one partition: what they refer to is unique there, and need not be in the whole table."""
    for key in catalog.foreign_keys:
        table, referenced = root_of(catalog, key.table), root_of(catalog, key.referenced_table)
        if referenced in some and referenced != key.referenced_table and not _is_cut(rules, table, key):
            message = f"the foreign key {key.name} refers to {key.referenced_table}, which is a part of {referenced}."
            yield _error(rules, table, message, f"Copy all rows of {referenced}, or none.")


def _unindexed(rules: Rules, catalog: Catalog, references: Iterable[Reference]) -> Iterator[Finding]:
    """Tables whose rows come with others and are looked for one by one without an index."""
    asked = {(reference.table, reference.name) for reference in references if reference.asks}
    for key in catalog.foreign_keys:
        table = root_of(catalog, key.table)
        if (table, key.name) in asked and not key.is_indexed:
            listed = ", ".join(map(quote_identifier, key.columns))
            message = (
                f"rows: production has no index on {listed}, and reads all of {key.table} whenever rows of "
                f"{key.referenced_table} enter the copy."
            )
            hint = f"In production: CREATE INDEX CONCURRENTLY ON {key.table} ({listed});"
            at = rules.at_rows(table, "with")
            yield Finding(Severity.NOTE, FindingKind.SUBSET, str(table), message, hint, at)


def _unfit(rules: Rules, table: Table, key: tuple[str, ...]) -> Iterator[Finding]:
    """Why a table's rows cannot be told apart."""
    if not key:
        message = "which of its rows are copied hangs on other tables, and it has no primary key to find rows by."
        yield _error(rules, table.name, message, "Give it one in production, or copy all rows of what it refers to.")
    for name in key:
        if _family(table.column(name)) is None:
            yield _unclear(rules, table, name)


def _unclear(rules: Rules, table: Table, name: str) -> Finding:
    column = table.column(name)
    message = (
        f"references are followed by {quote_identifier(name)}, and values of its type {column.type_name} may be equal "
        "though they are written differently."
    )
    return _error(rules, table.name, message, "Copy all rows of the tables that are referred to by it, or none.")


def _unlike(rules: Rules, catalog: Catalog, reference: Reference) -> Iterator[Finding]:
    """Columns that refer to each other by other texts."""
    table, referenced = catalog.tables[reference.table], catalog.tables[reference.referenced_table]
    for own, other in zip(reference.columns, reference.referenced_columns, strict=True):
        first, second = _family(table.column(own)), _family(referenced.column(other))
        if first is None:
            yield _unclear(rules, table, own)
        elif second is None:
            yield _unclear(rules, referenced, other)
        elif first != second:
            message = (
                f"the foreign key {reference.name} refers from {table.column(own).type_name} to "
                f"{referenced.column(other).type_name}, whose equal values are written differently."
            )
            yield _error(rules, reference.table, message, f"Copy all rows of {reference.referenced_table}, or none.")


def _family(column: Column) -> object:
    """The same for columns whose equal values have the same text; None where that does not hold for its own."""
    base = column.base_type
    if column.is_array or column.generated or not column.deterministic:
        return None
    if column.kind == "e":
        return column.type_name
    if base in _INTEGERS:
        return "integer"
    if base in _TEXTS:
        return "text"
    if base == "bpchar":
        return (base, column.max_length) if column.max_length is not None else None
    if base == "numeric":
        return (base, column.scale) if column.scale is not None else None
    return base if base in _BY_TEXT else None
