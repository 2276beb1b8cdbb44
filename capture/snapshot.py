"""The snapshot: chunks of tables, the COPY that reads one, the schema archive and the sequences' values.

A chunk is a range of pages of one table, so many can be read at once and none needs an index. Partitions and children
by inheritance are tables of their own (``FROM ONLY``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from capture.model import Sequence, ServerFailed, Table, TableName, quote_identifier
from capture.source import SourceAddress, SourceConnection

# pg_class is read as of the transaction's snapshot, the function tells what is there now.
_REWRITTEN = """
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s AND c.relfilenode <> pg_relation_filenode(c.oid)"""

# Before version 14 a range of ctid reads the whole table, so a table is one chunk there.
_RANGE_SCANS_SINCE = 140000


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
    """Cut tables into chunks of about ``chunk_bytes``, the largest first, so that the last to finish is small."""
    chunks: list[Chunk] = []
    for table in tables:
        if table.kind != "r":
            continue
        columns = tuple(column.name for column in table.copied_columns)
        count = max(1, -(-table.bytes // chunk_bytes)) if server_version >= _RANGE_SCANS_SINCE else 1
        step = max(1, -(-table.pages // count))
        starts = list(range(0, max(table.pages, 1), step))
        share = table.bytes // len(starts)
        for start in starts:
            end = start + step if start != starts[-1] else None
            chunks.append(Chunk(table.name, columns, start, end, share))
    return sorted(chunks, key=lambda chunk: -chunk.bytes)


async def read_chunk(connection: SourceConnection, chunk: Chunk, snapshot: str) -> AsyncGenerator[bytes, None]:
    """The chunk's rows as of an exported snapshot, in blocks of COPY text; in a transaction of its own.

    Raises ``ServerFailed``, also when the table was rewritten or truncated after the snapshot was taken: its rows lie
    on other pages then, or are gone for every snapshot. Left before its end, the connection is closed.
    """
    await connection.begin(snapshot=snapshot)
    async with contextlib.aclosing(connection.copy_out(chunk.statement)) as blocks:
        async for block in blocks:
            yield block
    # COPY's lock is held until the transaction's end, so it was not rewritten meanwhile, if it was not before.
    rewritten = await connection.fetch(_REWRITTEN, chunk.table)
    await connection.rollback()
    if rewritten:
        raise ServerFailed(
            f"production rewrote or truncated {chunk.table} (TRUNCATE, VACUUM FULL, CLUSTER, ALTER TABLE) while it was "
            "read: the snapshot no longer shows its rows.",
            hint="Run the command again when that is done.",
        )


async def read_sequences(connection: SourceConnection, sequences: Collection[Sequence]) -> dict[TableName, int | None]:
    """Each sequence's last value; None where it never gave one. Sequences are not part of a snapshot: what is read is
    at or ahead of what the snapshot's rows hold."""
    values: dict[TableName, int | None] = {}
    for sequence in sequences:
        rows = await connection.fetch(f"SELECT last_value, is_called FROM {sequence.name}")  # quoted
        values[sequence.name] = rows[0][0] if rows[0][1] else None
    return values


async def dump_schema(
    binary: Path, address: SourceAddress, snapshot: str, archive: Path, environment: Mapping[str, str]
) -> None:
    """Write the schema as of ``snapshot`` to ``archive`` with pg_dump, which only reads. Raises ``ServerFailed``."""
    parameters = conninfo_to_dict(address.conninfo)
    read_only = "-c default_transaction_read_only=on -c statement_timeout=0"
    parameters |= {
        "application_name": "tezcat clone",
        "options": f"{parameters.get('options') or ''} {read_only}".strip(),
    }
    # A command line can be read by every user of the machine.
    password = parameters.pop("password", None)
    environment = dict(environment)
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    process = await asyncio.create_subprocess_exec(
        str(binary),
        "--schema-only",
        "--format=custom",
        f"--snapshot={snapshot}",
        "--lock-wait-timeout=10s",
        f"--file={archive}",
        f"--dbname={make_conninfo('', **parameters)}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        _, complaint = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = [
            line for line in complaint.decode("utf-8", "replace").splitlines() if line.startswith("pg_dump: error")
        ]
        reason = lines[0].removeprefix("pg_dump: error: ") if lines else "pg_dump failed"
        raise ServerFailed(
            f"the schema of {address.label} could not be read: {reason}",
            hint="tezcat source check tells what the role lacks.",
        )
