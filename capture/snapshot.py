"""The snapshot: chunks of tables, the COPY that reads one, the schema archive and the sequences' values.

A chunk is a range of pages of one table, so many can be read at once and none needs an index. Partitions and children
by inheritance are tables of their own (``FROM ONLY``). Pages are those of one file: a table that is rewritten or
truncated gets another, and what was known of its pages means nothing any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from capture.model import BadInput, RunProgram, Sequence, ServerFailed, Table, TableName, quote_identifier
from capture.source import SourceAddress, SourceConnection

# pg_class is read as of the transaction's snapshot, the function tells what is there now: NULL for a table that was
# dropped, whose name may be another's by then.
_REWRITTEN = """
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)"""

_FILES = """
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relfilenode::bigint AS file
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'"""

# Before version 14 a range of ctid reads the whole table, so a table is one chunk there.
_RANGE_SCANS_SINCE = 140000


class TableRewritten(ServerFailed):
    """A table was rewritten or truncated after the snapshot was taken: its rows lie on other pages now, or no snapshot
    shows them any more."""


class Pages(NamedTuple):
    """Pages [first, end) of a table."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Pages [first_page, end_page) of a table; ``end_page`` None reads to its end, whatever was added since.

    ``bytes`` is an estimate that includes the chunk's share of TOAST.
    """

    table: TableName
    columns: tuple[str, ...]
    first_page: int
    end_page: int | None
    bytes: int

    @property
    def statement(self) -> str:
        """The COPY that reads the chunk."""
        columns = ", ".join(quote_identifier(name) for name in self.columns)
        conditions = []
        if self.first_page:
            conditions.append(f"ctid >= '({self.first_page},0)'::tid")
        if self.end_page is not None:
            conditions.append(f"ctid < '({self.end_page},0)'::tid")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"COPY (SELECT {columns} FROM ONLY {self.table}{where}) TO STDOUT"


def plan_chunks(tables: Iterable[Table], chunk_bytes: int, server_version: int) -> list[Chunk]:
    """Cut tables into chunks of about ``chunk_bytes``, the largest first, so that the last to finish is small.

    A table's last chunk has no end: the table may have grown since its pages were counted.
    """
    chunks: list[Chunk] = []
    for table in tables:
        if table.kind == "r":
            *parts, last = _cut(table, Pages(0, max(table.pages, 1)), chunk_bytes, server_version)
            chunks += [_chunk(table, part.first, part.end, part) for part in parts]
            chunks.append(_chunk(table, last.first, None, last))
    return _largest_first(chunks)


def remaining_chunks(
    tables: Iterable[Table], finished: Mapping[TableName, Collection[Pages]], chunk_bytes: int, server_version: int
) -> list[Chunk]:
    """The same for what is not ``finished``, by table and in any order.

    Every chunk has an end, so the tables' pages must have been counted after the snapshot was taken that they will be
    read in: no row that it shows lies beyond them. A table that is empty has a chunk of one page, unless that is
    finished: it may have been truncated since.
    """
    chunks: list[Chunk] = []
    for table in tables:
        if table.kind == "r":
            for gap in _gaps(table, finished.get(table.name, ())):
                parts = _cut(table, gap, chunk_bytes, server_version)
                chunks += [_chunk(table, part.first, part.end, part) for part in parts]
    return _largest_first(chunks)


def _gaps(table: Table, finished: Collection[Pages]) -> Iterator[Pages]:
    end = max(table.pages, 1)
    first = 0
    for done in sorted(finished):
        if first < min(done.first, end):
            yield Pages(first, min(done.first, end))
        first = max(first, done.end)
    if first < end:
        yield Pages(first, end)


def _cut(table: Table, pages: Pages, chunk_bytes: int, server_version: int) -> Iterator[Pages]:
    count = max(1, -(-table.bytes // chunk_bytes)) if server_version >= _RANGE_SCANS_SINCE else 1
    step = max(1, -(-table.pages // count)) if count > 1 else pages.end - pages.first
    for first in range(pages.first, pages.end, step):
        yield Pages(first, min(first + step, pages.end))


def _chunk(table: Table, first: int, end: int | None, pages: Pages) -> Chunk:
    columns = tuple(column.name for column in table.copied_columns)
    share = table.bytes * (pages.end - pages.first) // max(table.pages, 1)
    return Chunk(table.name, columns, first, end, share)


def _largest_first(chunks: list[Chunk]) -> list[Chunk]:
    return sorted(chunks, key=lambda chunk: -chunk.bytes)


async def read_files(connection: SourceConnection) -> dict[TableName, int]:
    """Which file holds each table's rows (relfilenode), as of the transaction's snapshot."""
    rows = await connection.fetch(_FILES)
    return {TableName(row.schema, row.name): row.file for row in rows}


async def was_rewritten(connection: SourceConnection, table: TableName) -> bool:
    """Whether the table has another file now than in the transaction's snapshot. Ask after reading it: the reading
    keeps a lock until the transaction's end, so it is not rewritten later if it was not before."""
    return bool(await connection.fetch(_REWRITTEN, table))


async def read_chunk(connection: SourceConnection, chunk: Chunk, snapshot: str) -> AsyncGenerator[bytes, None]:
    """The chunk's rows as of an exported snapshot, in blocks of COPY text; in a transaction of its own: whoever holds
    the locks of several tables could deadlock with production.

    Raises ``ServerFailed``, and ``TableRewritten`` when its blocks are worth nothing. Left before its end, the
    connection is closed.
    """
    await connection.begin(snapshot=snapshot)
    async with contextlib.aclosing(connection.copy_out(chunk.statement)) as blocks:
        async for block in blocks:
            yield block
    rewritten = await was_rewritten(connection, chunk.table)
    await connection.rollback()
    if rewritten:
        raise TableRewritten(
            f"production rewrote or truncated {chunk.table} (TRUNCATE, VACUUM FULL, CLUSTER, ALTER TABLE) while it was "
            "read: the snapshot no longer shows its rows.",
            hint="Run the command again when that is done.",
        )


async def read_sequences(connection: SourceConnection, sequences: Collection[Sequence]) -> dict[TableName, int | None]:
    """The value after which each sequence goes on, whether it gave that one or was set so; None where it begins at its
    bound. Sequences are not part of a snapshot: what is read is at or ahead of what the snapshot's rows hold."""
    values: dict[TableName, int | None] = {}
    for sequence in sequences:
        [(value, is_called)] = await connection.fetch(f"SELECT last_value, is_called FROM {sequence.name}")  # quoted
        last = value if is_called else value - sequence.increment
        values[sequence.name] = last if sequence.minimum <= last <= sequence.maximum else None
    return values


async def dump_schema(binary: Path, address: SourceAddress, snapshot: str, archive: Path, run: RunProgram) -> None:
    """Write the schema as of ``snapshot`` to ``archive`` with pg_dump, which only reads.

    Raises ``ServerFailed``, and ``BadInput`` when the archive cannot be written.
    """
    parameters = conninfo_to_dict(address.conninfo)
    read_only = "-c default_transaction_read_only=on -c statement_timeout=0"
    parameters |= {
        "application_name": "tezcat clone",
        "options": f"{parameters.get('options') or ''} {read_only}".strip(),
    }
    # A command line can be read by every user of the machine.
    password = parameters.pop("password", None)
    variables = {"PGPASSWORD": str(password)} if password is not None else {}
    command = [
        str(binary),
        "--schema-only",
        "--format=custom",
        f"--snapshot={snapshot}",
        "--lock-wait-timeout=10s",
        f"--file={archive}",
        f"--dbname={make_conninfo('', **parameters)}",
    ]
    ended = await run(command, variables)
    if ended.exit_code:
        lines = [line for line in ended.complaint.splitlines() if line.startswith("pg_dump: error")]
        reason = lines[0].removeprefix("pg_dump: error: ") if lines else "pg_dump failed"
        if "output file" in reason:
            raise BadInput(
                f"the schema could not be written to {archive}: {reason}.",
                hint="Make room there, or name another state folder in the settings.",
            )
        raise ServerFailed(
            f"the schema of {address.label} could not be read: {reason}",
            hint="tezcat source check tells what the role lacks.",
        )
