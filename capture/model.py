"""The shared vocabulary: positions, names, shapes, values and errors.

The only module of ``capture`` that ``transform`` and ``sink`` may import. It does no I/O and knows no bytes of
any protocol. Values are PostgreSQL's text format as ``bytes``; ``None`` is NULL; ``UNCHANGED`` is a TOAST value
that the stream did not send, which is not NULL.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, IntEnum, StrEnum
from typing import Final, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# ---------------------------------------------------------------------------------------------------- errors


class TezcatError(Exception):
    """What went wrong, where, and what to do, in words fit for the operator's terminal.

    ``message`` and ``hint`` never hold a value of a row. The subclass says whose fault it is, and with that the
    exit code; ``control.cli`` maps it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (snapshot workers); the default pickling loses keyword arguments.
        return (_rebuild_error, (type(self), self.message, self.hint))


def _rebuild_error(kind: type[TezcatError], message: str, hint: str) -> TezcatError:
    return kind(message, hint=hint)


class Problem(TezcatError):
    """A check did its work and found something: exit code 1."""


class BadInput(TezcatError):
    """The user's command, configuration, rules or key is wrong: exit code 2."""


class Refused(TezcatError):
    """Going on would endanger production or a database that is not ours: exit code 3."""


class ServerFailed(TezcatError):
    """A server cannot be reached, answered with an error, or sent what must not be applied: exit code 4."""


class Interrupted(ServerFailed):
    """A server failed in a way that passes: a lost connection, a restart, a deadlock. Starting again may help."""


class Drifted(ServerFailed):
    """Production's schema is no longer the one that the copy was made from."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """So many things, as errors and findings say it: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


@asynccontextmanager
async def within(seconds: float | None, late: Exception) -> AsyncIterator[asyncio.Timeout]:
    """What may take so many seconds and no longer; the limit may be rescheduled. Raises ``late`` when they are over; a
    timeout of something inside stays what it is."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield limit
    except TimeoutError:
        if not limit.expired():
            raise
        raise late from None


# ------------------------------------------------------------------------------------------------- positions


class Lsn(int):
    """A WAL position; printed as PostgreSQL prints it, ``16/B374D848``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``X/Y``. Raises ``ValueError`` on anything else."""
        match = re.fullmatch(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", text.strip())
        if match is None:
            raise ValueError("an LSN is written as two hexadecimal numbers, like 16/B374D848")
        return cls((int(match[1], 16) << 32) | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({self})"


# ----------------------------------------------------------------------------------------------------- names

# Quoting a word that needs no quotes is harmless, so this holds only what is reserved in PostgreSQL 13-18.
_RESERVED: Final = frozenset(
    """all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate
    collation column concurrently constraint create cross current_catalog current_date current_role current_schema
    current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for
    foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral
    leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps
    placing primary references returning right select session_user similar some symmetric system_user table
    tablesample then to trailing true union unique user using variadic verbose when where window with""".split()
)
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_$]*")
_PART: Final = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')


def quote_identifier(name: str) -> str:
    """``name`` as SQL writes it: in double quotes only where they are needed."""
    if _PLAIN.fullmatch(name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def parse_identifiers(text: str) -> tuple[str, ...]:
    """Split ``a."B c".d`` into its parts; unquoted parts fold to lower case. Raises ``ValueError``."""
    parts: list[str] = []
    position = 0
    while True:
        match = _PART.match(text, position)
        if match is None:
            raise ValueError("a name is written as SQL writes it, in double quotes where they are needed")
        parts.append(match[1].replace('""', '"') if match[1] is not None else match[2].lower())
        position = match.end()
        if position == len(text):
            return tuple(parts)
        if text[position] != ".":
            raise ValueError("a name is written as SQL writes it, in double quotes where they are needed")
        position += 1


class TableName(NamedTuple):
    """A schema-qualified table. ``str()`` writes it as SQL does, and is safe inside a statement."""

    schema: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``schema.table``. Raises ``ValueError``."""
        parts = parse_identifiers(text)
        if len(parts) != 2:
            raise ValueError("a table is written as schema.table")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.name)}"


class ColumnName(NamedTuple):
    """A column of a table; ``str()`` writes ``schema.table.column``."""

    table: TableName
    column: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``schema.table.column``. Raises ``ValueError``."""
        parts = parse_identifiers(text)
        if len(parts) != 3:
            raise ValueError("a column is written as schema.table.column")
        return cls(TableName(parts[0], parts[1]), parts[2])

    def __str__(self) -> str:
        return f"{self.table}.{quote_identifier(self.column)}"


# ---------------------------------------------------------------------------------------------------- values


class Unchanged(Enum):
    """The type of ``UNCHANGED``: a TOAST value that an update did not touch and so did not send."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
Value: TypeAlias = bytes | Unchanged | None


class Operation(IntEnum):
    """What a change does to a row; a code in arrays of many."""

    INSERT = 0
    UPDATE = 1
    DELETE = 2

    def __str__(self) -> str:
        return self.name.lower()


# ----------------------------------------------------------------------------------------------- the catalog


class ReplicaIdentity(StrEnum):
    """Which old columns an update or delete sends; the letters of ``pg_class.relreplident``."""

    DEFAULT = "d"
    NOTHING = "n"
    FULL = "f"
    INDEX = "i"


@dataclass(frozen=True, slots=True)
class Check:
    """A CHECK constraint that the server enforces, as SQL; ``columns`` are those that it reads. That of a domain reads
    VALUE, and has none."""

    name: str
    expression: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the catalog describes it.

    ``type_name`` is what ``format_type`` prints, for people and for casts. ``base_type`` is the ``typname`` under
    domains and, for arrays, of the element (``is_array`` tells); masks accept or refuse by it. ``kind`` is its
    ``typtype``: b(ase), c(omposite), e(num), r(ange), m(ultirange). ``max_length`` is n of varchar(n) and char(n),
    also under a domain. ``generated`` is '' or s(tored) or v(irtual), and ``expression`` what it is computed by;
    ``identity`` is '' or a(lways) or d(efault). ``not_null`` and ``checks`` hold of the type's domains too, ``checks``
    of them only. Where the collation is not ``deterministic``, different texts may be equal.
    ``anon_label`` is the security label that PostgreSQL Anonymizer reads.
    """

    name: str
    attnum: int
    type_oid: int
    typmod: int
    type_name: str
    base_type: str
    kind: str = "b"
    is_array: bool = False
    max_length: int | None = None
    scale: int | None = None
    not_null: bool = False
    has_default: bool = False
    generated: str = ""
    identity: str = ""
    enum_labels: tuple[str, ...] = ()
    comment: str | None = None
    expression: str | None = None
    checks: tuple[Check, ...] = ()
    deterministic: bool = True
    anon_label: str | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """A unique, primary or exclusion index. ``columns`` names its plain key columns, ``expressions`` are its other
    keys as SQL; ``predicate`` tells that it is partial. ``operators`` are those by which an exclusion compares the
    columns, then the expressions. Without ``nulls_distinct`` NULL is one value among others. An index may have a
    collation of its own; where it is not ``deterministic``, different texts may be equal."""

    name: str
    columns: tuple[str, ...]
    is_primary: bool = False
    is_unique: bool = True
    is_exclusion: bool = False
    is_replica_identity: bool = False
    is_immediate: bool = True
    expressions: tuple[str, ...] = ()
    predicate: str | None = None
    operators: tuple[str, ...] = ()
    nulls_distinct: bool = True
    deterministic: bool = True


@dataclass(frozen=True, slots=True)
class Computed:
    """An expression or a predicate that an index computes of each row, as SQL."""

    index: str
    expression: str


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``columns`` of ``table`` point to ``referenced_columns`` of ``referenced_table``, pairwise. ``is_indexed`` tells
    that an index leads from the latter to the rows that refer to it, ``is_full`` that the columns are NULL together
    (MATCH FULL)."""

    name: str
    table: TableName
    columns: tuple[str, ...]
    referenced_table: TableName
    referenced_columns: tuple[str, ...]
    is_indexed: bool = True
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A permanent table (kind r) or a partitioned root or branch (kind p), with its columns in attnum order.

    ``root`` is the topmost partitioned table of a partition, else None; rules are looked up under it.
    ``partition_key`` is how a partitioned table's rows are divided, as in ``RANGE (day)``. ``computed`` is what all its
    indexes compute, also those that are not unique and so none of ``indexes``. ``pages`` is its size,
    ``estimated_rows`` a guess from that and the last statistics; ``bytes`` includes TOAST, not indexes.
    """

    oid: int
    name: TableName
    kind: str
    columns: tuple[Column, ...]
    replica_identity: ReplicaIdentity = ReplicaIdentity.DEFAULT
    indexes: tuple[Index, ...] = ()
    root: TableName | None = None
    inherits: tuple[TableName, ...] = ()
    pages: int = 0
    bytes: int = 0
    estimated_rows: int = 0
    row_security: bool = False
    comment: str | None = None
    checks: tuple[Check, ...] = ()
    partition_key: str | None = None
    computed: tuple[Computed, ...] = ()

    @property
    def copied_columns(self) -> tuple[Column, ...]:
        """The columns that hold data of their own: all but the generated ones."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The primary key's columns, or () if there is none."""
        return next((index.columns for index in self.indexes if index.is_primary), ())

    @property
    def identity_columns(self) -> tuple[str, ...]:
        """The columns that an old image identifies a row by; () when updates and deletes cannot be published.

        With FULL it is the primary key if there is one, else every copied column.
        """
        match self.replica_identity:
            case ReplicaIdentity.NOTHING:
                return ()
            case ReplicaIdentity.INDEX:
                return next((index.columns for index in self.indexes if index.is_replica_identity), ())
            case ReplicaIdentity.FULL:
                return self.primary_key or tuple(column.name for column in self.copied_columns)
            case ReplicaIdentity.DEFAULT:
                return self.primary_key

    def column(self, name: str) -> Column:
        """The column of that name. Raises ``KeyError``."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence; ``feeds`` are the columns that take their default from it or own it."""

    name: TableName
    type_name: str
    increment: int
    minimum: int
    maximum: int
    feeds: tuple[ColumnName, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """What one database holds, read in one snapshot. ``tables`` excludes what is in ``left_out`` (name to reason:
    unlogged, foreign, ...), which no copy brings data of."""

    system_identifier: str
    database: str
    server_version: int
    encoding: str
    tables: dict[TableName, Table]
    foreign_keys: tuple[ForeignKey, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    left_out: dict[TableName, str] = field(default_factory=dict)
    roles: tuple[str, ...] = ()


# ----------------------------------------------------------------------------- what the stream announces


class RelationColumn(NamedTuple):
    """A column as a Relation message describes it; ``is_key`` says that it is part of the replica identity."""

    name: str
    type_oid: int
    typmod: int
    is_key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """One version of a table's shape as the stream announces it. ``xid`` is set inside a streamed transaction."""

    oid: int
    table: TableName
    replica_identity: ReplicaIdentity
    columns: tuple[RelationColumn, ...]
    xid: int | None = None


# ------------------------------------------------------------------------------------ what the stream brings


class DatabaseIdentity(NamedTuple):
    """One database of one cluster, whatever host name leads there."""

    system_identifier: str
    database: str


@dataclass(frozen=True, slots=True)
class Truncation:
    """Tables that one TRUNCATE emptied. ``order`` is its place among the changes of the window. With ``is_alone`` it
    emptied others too, which are not told here and may refer to these."""

    order: int
    tables: tuple[TableName, ...]
    is_alone: bool = False


class OldImage(IntEnum):
    """What an update or delete says of the row before it: nothing (the key did not change), its key, all of it."""

    NONE = 0
    KEY = 1
    FULL = 2


Numbers: TypeAlias = npt.NDArray[np.int64]
Codes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of one table in a window, n of them, in order and in columns.

    ``order`` (n, ascending) is the place of each among all changes and truncations of the window; ``operations`` (n)
    are codes of ``Operation``, ``old_kinds`` (n) of ``OldImage``. ``unchanged`` (n) tells by its place in ``patterns``
    which columns of an update have a TOAST value that was not sent, as positions in the table's copied columns; those
    are null in ``new``. ``new`` has a row for every insert and update and ``old`` one for every change with an old
    image, in order; their columns are binary and named. While no old image is FULL, ``old`` has the columns of the key
    only.
    """

    order: Numbers = field(repr=False)
    operations: Codes = field(repr=False)
    old_kinds: Codes = field(repr=False)
    unchanged: Numbers = field(repr=False)
    patterns: tuple[tuple[int, ...], ...]
    new: pa.RecordBatch = field(repr=False)
    old: pa.RecordBatch = field(repr=False)

    def __len__(self) -> int:
        return len(self.order)

    def between(self, start: int, stop: int) -> Self:
        """The changes whose order is from ``start`` to before ``stop``."""
        first, last = (int(place) for place in np.searchsorted(self.order, (start, stop)))
        if (first, last) == (0, len(self.order)):
            return self
        has_new, has_old = self.operations != Operation.DELETE, self.old_kinds != OldImage.NONE

        def rows(has: npt.NDArray[np.bool_], batch: pa.RecordBatch) -> pa.RecordBatch:
            begin = int(np.count_nonzero(has[:first]))
            return batch.slice(begin, int(np.count_nonzero(has[first:last])))

        part = slice(first, last)
        return replace(
            self,
            order=self.order[part],
            operations=self.operations[part],
            old_kinds=self.old_kinds[part],
            unchanged=self.unchanged[part],
            new=rows(has_new, self.new),
            old=rows(has_old, self.old),
        )


@dataclass(frozen=True, slots=True)
class Begins:
    """The source transactions of a window. ``orders`` are the places of the first change of each, 0 for one that began
    in an earlier window; ``commit_lsns`` are where their commit records start, ascending: known in advance, because
    only committed transactions are sent, in the order of their commits."""

    orders: list[int] = field(default_factory=list)
    commit_lsns: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ends:
    """The source transactions that end in a window: all that ``Begins`` names, or all but the last.

    ``orders`` are the places after the last change of each; ``end_lsns`` where the next record starts, the position to
    resume from; ``commit_times`` production's clock, in microseconds since 2000-01-01 UTC.
    """

    orders: list[int] = field(default_factory=list)
    end_lsns: list[int] = field(default_factory=list)
    commit_times: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Window:
    """What arrived while the last window was applied: the changes of each table, and the transactions they lie in.

    ``count`` is the number of changes and truncations; each has a place, from 0 on. The last transaction may be
    unfinished; the next window goes on with it. ``position`` and ``source_time`` say up to where, and until when on the
    server's clock, the stream was read.
    """

    count: int
    changes: dict[TableName, Changes]
    truncations: list[Truncation]
    begins: Begins
    ends: Ends
    position: Lsn
    source_time: datetime

    @property
    def is_empty(self) -> bool:
        """Whether nothing came."""
        return not (self.count or self.ends.orders)


# ------------------------------------------------------------------------------------------------- programs


class ProgramEnd(NamedTuple):
    """How a program ended: its exit code, and what it wrote to stdout and stderr."""

    exit_code: int
    output: str
    complaint: str


# Runs a command with these environment variables beside those that it inherits; cancelled, it ends the program.
RunProgram: TypeAlias = Callable[[list[str], Mapping[str, str]], Awaitable[ProgramEnd]]
