"""Sample rows of production for ``rules suggest``: the text form of every column, through the guarded connection.

A sample is seen by the suggestion only; nothing of it is kept or shown. Random pages are read where a table is large
(TABLESAMPLE), its first rows where it is small. Each table has a time limit; one that cannot be read in it, or not at
all, is left out with a warning, and is then judged by names and types alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from capture import source
from capture.model import Catalog, ColumnName, ServerFailed, Table, quote_identifier
from capture.source import SourceAddress, SourceConnection
from control.report import Report
from transform import copytext

SAMPLE_ROWS: Final = 1_000
_STATEMENT_TIMEOUT_MS: Final = 15_000
# Wider values are left out of a sample, so that it stays small whatever a table holds.
_WIDEST_VALUE_BYTES: Final = 64 * 1024
# A random page holds rows of similar age, so ask for a few times as many as are needed.
_OVERSAMPLING: Final = 3
# Against figures of the planner that are far too low.
_MOST_ROWS: Final = 20 * SAMPLE_ROWS


async def sample(address: SourceAddress, catalog: Catalog, report: Report) -> dict[ColumnName, list[bytes]]:
    """The values, without NULLs, of ``SAMPLE_ROWS`` rows of every table that has so many, else of all its rows.

    Partitioned tables are sampled as a whole, their partitions not. Raises ``ServerFailed`` when production cannot be
    reached.
    """
    tables = [table for table in catalog.tables.values() if table.root is None and table.copied_columns]
    samples: dict[ColumnName, list[bytes]] = {}
    connection = await _connect(address)
    try:
        with report.task("sampling", len(tables), "tables") as advance:
            for table in tables:
                try:
                    batch = await _sample_table(connection, catalog, table)
                except ServerFailed as error:
                    report.warn(f"{table.name} was not sampled. {error}")
                    # A COPY that fails ends its connection.
                    await connection.close()
                    connection = await _connect(address)
                else:
                    for column, values in zip(batch.schema.names, batch.columns, strict=True):
                        samples[ColumnName(table.name, column)] = values.drop_null().to_pylist()
                advance(1)
    finally:
        await connection.close()
    return samples


async def _connect(address: SourceAddress) -> SourceConnection:
    return await source.connect(address, purpose="rules suggest", statement_timeout_ms=_STATEMENT_TIMEOUT_MS)


async def _sample_table(connection: SourceConnection, catalog: Catalog, table: Table) -> pa.RecordBatch:
    rows = _estimated_rows(catalog, table)
    if rows > SAMPLE_ROWS * _OVERSAMPLING * 2:
        percent = 100 * SAMPLE_ROWS * _OVERSAMPLING / rows
        batch = await _read(connection, table, f"TABLESAMPLE SYSTEM ({percent:.6f}) LIMIT {_MOST_ROWS}")
        if batch.num_rows >= SAMPLE_ROWS:
            # Spread over all that came, for it came in the order of the pages.
            return batch.take([row * batch.num_rows // SAMPLE_ROWS for row in range(SAMPLE_ROWS)])
    # Small, or not as large as the planner's figures say.
    return await _read(connection, table, f"LIMIT {SAMPLE_ROWS}")


def _estimated_rows(catalog: Catalog, table: Table) -> int:
    """The planner's figure; for a partitioned table the sum over its partitions, which alone have one surely."""
    members: Iterable[Table] = (table,)
    if table.kind == "p":
        members = (each for each in catalog.tables.values() if each.root == table.name and each.kind == "r")
    return sum(max(each.estimated_rows, 0) for each in members)


async def _read(connection: SourceConnection, table: Table, how: str) -> pa.RecordBatch:
    names = [column.name for column in table.copied_columns]
    # The type stays, so that the value is printed as the snapshot prints it.
    values = ", ".join(
        f"CASE WHEN pg_column_size({quoted}) <= {_WIDEST_VALUE_BYTES} THEN {quoted} END"
        for quoted in map(quote_identifier, names)
    )
    only = "" if table.kind == "p" else "ONLY "
    block = bytearray()
    copy = connection.copy_out(f"COPY (SELECT {values} FROM {only}{table.name} {how}) TO STDOUT")
    async with contextlib.aclosing(copy) as parts:
        async for part in parts:
            block += part
    escaped = copytext.split(bytes(block), names)
    return pa.RecordBatch.from_arrays([copytext.unescape(column) for column in escaped.columns], names=names)
