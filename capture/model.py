"""The shared vocabulary: positions, names, shapes, values and errors.

The only module of ``capture`` that ``transform`` and ``sink`` may import. It does no I/O and knows no bytes of
any protocol. Values are PostgreSQL's text format as ``bytes``; ``None`` is NULL; ``UNCHANGED`` is a TOAST value
that the stream did not send, which is not NULL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Final, NamedTuple, Self, TypeAlias

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


class Operation(StrEnum):
    """What a change does to a row."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


# ----------------------------------------------------------------------------------------------- the catalog


class ReplicaIdentity(StrEnum):
    """Which old columns an update or delete sends; the letters of ``pg_class.relreplident``."""

    DEFAULT = "d"
    NOTHING = "n"
    FULL = "f"
    INDEX = "i"


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the catalog describes it.

    ``type_name`` is what ``format_type`` prints, for people and for casts. ``base_type`` is the ``typname`` under
    domains and, for arrays, of the element (``is_array`` tells); masks accept or refuse by it. ``kind`` is its
    ``typtype``: b(ase), c(omposite), e(num), r(ange), m(ultirange). ``max_length`` is n of varchar(n) and char(n),
    also under a domain. ``generated`` is '' or s(tored) or v(irtual); ``identity`` is '' or a(lways) or d(efault).
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


@dataclass(frozen=True, slots=True)
class Index:
    """A unique, primary or exclusion index. ``columns`` names its plain key columns; ``expressions`` tells that
    there are others; ``predicate`` that it is partial."""

    name: str
    columns: tuple[str, ...]
    is_primary: bool = False
    is_unique: bool = True
    is_exclusion: bool = False
    is_replica_identity: bool = False
    is_immediate: bool = True
    expressions: str | None = None
    predicate: str | None = None


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``columns`` of ``table`` point to ``referenced_columns`` of ``referenced_table``, pairwise."""

    name: str
    table: TableName
    columns: tuple[str, ...]
    referenced_table: TableName
    referenced_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A permanent table (kind r) or a partitioned root or branch (kind p), with its columns in attnum order.

    ``root`` is the topmost partitioned table of a partition, else None; rules are looked up under it. ``pages`` and
    ``estimated_rows`` are the planner's figures; ``bytes`` includes TOAST, not indexes.
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
class TransactionStart:
    """A source transaction begins. ``commit_lsn`` is where its commit record starts: known in advance, because only
    committed transactions are sent."""

    commit_lsn: Lsn


@dataclass(frozen=True, slots=True)
class TransactionEnd:
    """All of a source transaction has come. ``end_lsn`` is where the next record starts, the position to resume from;
    ``commit_time`` is production's clock."""

    commit_lsn: Lsn
    end_lsn: Lsn
    commit_time: datetime


@dataclass(frozen=True, slots=True)
class Truncation:
    """Tables that one TRUNCATE emptied."""

    tables: tuple[TableName, ...]


@dataclass(slots=True)
class Run:
    """Consecutive changes of one transaction that have one table, one operation and one shape.

    Row i of the run is row ``new_start + i`` of the window's new images of the table and row ``old_start + i`` of its
    old images. ``old_start`` is -1 where no old image came: the key did not change. ``old_is_full`` tells a whole old
    row from a key. ``unchanged`` are positions of columns whose TOAST value was not sent.
    """

    table: TableName
    operation: Operation
    new_start: int
    old_start: int
    old_is_full: bool
    unchanged: tuple[int, ...]
    count: int = 1


Item: TypeAlias = TransactionStart | TransactionEnd | Truncation | Run


@dataclass(frozen=True, slots=True)
class Window:
    """What arrived while the last window was applied: items in commit order, and all row images by table.

    ``new`` and ``old`` hold one record batch a table, all columns binary, in the order of the table's copied columns;
    a key image is null outside the key. The last transaction may be unfinished; the next window goes on with it.
    ``position`` and ``source_time`` say up to where, and until when on the server's clock, the stream was read.
    """

    items: list[Item]
    new: dict[TableName, pa.RecordBatch] = field(repr=False)
    old: dict[TableName, pa.RecordBatch] = field(repr=False)
    position: Lsn
    source_time: datetime
