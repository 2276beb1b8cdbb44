"""Sample rows of production for the commands about rules: every column in its text form, by the guarded connection.

A sample is seen by the suggestion and the check only; nothing of it is kept or shown. ``few_rows`` is for the preview,
which shows them to the person at the terminal. Random pages are read where a table is large (TABLESAMPLE), its first
rows where it is small. More rows are read than are sampled: of the rest, the longest texts, those that came only once,
and those with the marks of an address or a long number are sampled too, for what is rare is what a share does not show.
Each statement has a time limit; a table that cannot be read in it, or not at all, is left out with a warning, and is
then judged by names and types alone. Of what is wide the beginning is sampled, and of a row no more than that is read.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterable
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from capture import source
from capture.model import Catalog, Column, ColumnName, Sequence, ServerFailed, Table, TableName, quote_identifier
from capture.snapshot import read_sequences
from capture.source import SourceAddress, SourceConnection
from control.report import Report
from transform import copytext, jsontext
from transform.masks.base import DATE, JSON, NUMBER, TEXT
from transform.suggest.overlaps import Overlaps

SAMPLE_ROWS: Final = 1_000
_STATEMENT_TIMEOUT_MS: Final = 15_000
# Wider values are cut off in a sample, so that it stays small whatever a table holds; those that make no sense then
# are left out. Nor does production read more of a text than is sent.
_WIDEST_VALUE_BYTES: Final = 64 * 1024
_CUT_AT: Final = 8 * 1024
_CUT_TYPES: Final = frozenset({"text", "varchar", "bytea"})
# Production writes all of a document to cut it off. Where all are wide, so many are asked for, and none that is wider.
_WIDE_DOCUMENTS: Final = 20
_WIDEST_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
# How many rows are read, and the bytes that they should stay below; a random page holds rows of similar age.
_READ_ROWS: Final = 10 * SAMPLE_ROWS
_READ_BYTES: Final = 32 * 1024 * 1024
_EXTREMES: Final = 50
# What e-mail addresses, cards, accounts and numbers of people have, wherever they stand; a detector judges them later.
_MARKS: Final = r"@[^@\s]+\.|[0-9][0-9 -]{8,}[0-9]|[A-Z]{2}[0-9]{2}[ A-Z0-9]{11,}"
# Of these, the longest and the rarest values are no others than the rest.
_EVEN_TYPES: Final = NUMBER | DATE | {"bool", "uuid"}


async def sample(
    address: SourceAddress, catalog: Catalog, report: Report
) -> tuple[dict[ColumnName, list[bytes]], Overlaps]:
    """The values, without NULLs, of ``SAMPLE_ROWS`` rows of every table that has so many, else of all its
    rows; of texts also up to a hundred and fifty that are long, rare, or marked. What texts have in common is told of
    all that was read.

    Raises ``ServerFailed`` when production cannot be reached.
    """
    samples: dict[ColumnName, list[bytes]] = {}
    overlaps = Overlaps()
    async with contextlib.aclosing(_tables(address, catalog, report)) as found:
        async for table, batch in found:
            for shape in table.copied_columns:
                column, values = ColumnName(table.name, shape.name), batch.column(shape.name).drop_null()
                samples[column] = _pick(batch.column(shape.name), shape)
                if shape.kind == "b" and shape.base_type in {*TEXT, "uuid"}:
                    overlaps.add(column, values.to_pylist())
    return samples, overlaps


async def sample_rows(
    address: SourceAddress, catalog: Catalog, report: Report
) -> AsyncGenerator[tuple[Table, pa.RecordBatch], None]:
    """Whole rows, ``SAMPLE_ROWS`` at the most, of one table after the other; a value too wide to look at is cut off, or
    NULL.

    Raises ``ServerFailed`` when production cannot be reached.
    """
    async with contextlib.aclosing(_tables(address, catalog, report)) as found:
        async for table, batch in found:
            yield table, batch.take(pa.array(_spread(batch.num_rows), pa.int64()))


async def last_values(
    address: SourceAddress, sequences: Collection[Sequence], report: Report
) -> dict[TableName, int | None]:
    """The last value of each sequence, without those that cannot be read, with a warning.

    Raises ``ServerFailed`` when production cannot be reached.
    """
    values: dict[TableName, int | None] = {}
    if not sequences:
        return values  # production is not asked for nothing
    async with await _connect(address) as connection:
        for sequence in sequences:
            try:
                values |= await read_sequences(connection, [sequence])
            except ServerFailed as error:
                report.warn(f"{sequence.name} was not read. {error}")
    return values


async def few_rows(address: SourceAddress, catalog: Catalog, table: Table, count: int) -> pa.RecordBatch:
    """Some ``count`` rows of a table, or all if it has fewer; of a large one, of random pages.

    Raises ``ServerFailed`` when production cannot be reached, or the table not be read.
    """
    async with await _connect(address) as connection:
        rows = _estimated_rows(catalog, table)
        if rows > 2 * SAMPLE_ROWS:
            percent = 100 * max(SAMPLE_ROWS, count) / rows
            batch = await _read(connection, table, f"{_random_pages(min(percent, 100))} LIMIT {count}")
            if batch.num_rows == count:
                return batch
        return await _read(connection, table, f"LIMIT {count}")


async def _tables(
    address: SourceAddress, catalog: Catalog, report: Report
) -> AsyncGenerator[tuple[Table, pa.RecordBatch], None]:
    """All tables with the rows that were read of them; a table that cannot be read is warned of and left out.

    Partitioned tables are sampled as a whole, their partitions not.
    """
    tables = [table for table in catalog.tables.values() if table.root is None and table.copied_columns]
    connection = await _connect(address)
    try:
        with report.task("sampling", len(tables), "tables") as advance:
            for table in tables:
                batch = None
                try:
                    batch, how = await _sample_table(connection, catalog, table)
                    batch = await _with_wide_documents(connection, table, how, batch)
                except ServerFailed as error:
                    what = f"{table.name} was" if batch is None else f"wide documents of {table.name} were"
                    report.warn(f"{what} not sampled. {error}")
                    # A COPY that fails ends its connection.
                    await connection.close()
                    connection = await _connect(address)
                if batch is not None:
                    yield table, batch
                advance(1)
    finally:
        await connection.close()


async def _connect(address: SourceAddress) -> SourceConnection:
    return await source.connect(address, purpose="rules", statement_timeout_ms=_STATEMENT_TIMEOUT_MS)


async def _sample_table(connection: SourceConnection, catalog: Catalog, table: Table) -> tuple[pa.RecordBatch, str]:
    """Rows of a table, and how they were chosen."""
    rows = _estimated_rows(catalog, table)
    wanted = _wanted_rows(catalog, table, rows)
    if rows > 2 * wanted:
        percent = 100 * wanted / rows
        # The limit is against figures of the planner that are far too low.
        how = f"{_random_pages(percent)} LIMIT {2 * _READ_ROWS}"
        batch = await _read(connection, table, how, cut_off=True)
        if batch.num_rows >= SAMPLE_ROWS:
            return batch, how
    # Small, or not as large as the planner's figures say.
    how = f"LIMIT {wanted}"
    return await _read(connection, table, how, cut_off=True), how


async def _with_wide_documents(
    connection: SourceConnection, table: Table, how: str, batch: pa.RecordBatch
) -> pa.RecordBatch:
    """The rows that were read, where a column of documents has no value with the beginnings of wide ones."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for shape in table.copied_columns:
        if _is_document(shape) and batch.num_rows and columns[shape.name].null_count == batch.num_rows:
            quoted = quote_identifier(shape.name)
            size = f"pg_column_size({quoted})"
            rows = f"(SELECT {quoted} FROM {_rows_of(table)} {how}) AS sampled"
            wide = f"{size} > {_WIDEST_VALUE_BYTES} AND {size} <= {_WIDEST_DOCUMENT_BYTES} LIMIT {_WIDE_DOCUMENTS}"
            beginning = f"left({quoted}::text, {_WIDEST_VALUE_BYTES})"
            found = await _copy(connection, f"SELECT {beginning} FROM {rows} WHERE {wide}", [shape.name])
            values = [*map(_whole, found.column(0).to_pylist()), *[None] * batch.num_rows]
            columns[shape.name] = pa.array(values[: batch.num_rows], pa.binary())
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _wanted_rows(catalog: Catalog, table: Table, rows: int) -> int:
    """How many rows to read: fewer, but never fewer than are sampled, of a table whose rows are wide."""
    width = sum(each.bytes for each in _members(catalog, table)) // max(rows, 1)
    return max(SAMPLE_ROWS, min(_READ_ROWS, _READ_BYTES // max(width, 1)))


def _pick(values: pa.BinaryArray, column: Column) -> list[bytes]:
    """The sample of one column: rows spread over all that came, which is in the order of the pages, and extremes."""
    count = len(values)
    if count <= SAMPLE_ROWS:
        return values.drop_null().to_pylist()  # type: ignore[no-any-return]  # PyArrow comes without types
    picked: list[bytes] = values.take(pa.array(_spread(count))).drop_null().to_pylist()
    if column.kind != "b" or column.base_type in _EVEN_TYPES:
        return picked
    times = Counter(values.drop_null().to_pylist())
    longest = sorted(times, key=len)[-_EXTREMES:]
    rarest = [value for value, number in times.items() if number == 1][:: max(1, len(times) // _EXTREMES)]
    marked = list(dict.fromkeys(values.filter(pc.match_substring_regex(values, _MARKS)).to_pylist()))
    marked = marked[:: max(1, len(marked) // _EXTREMES)]
    seen = set(picked)
    extremes = dict.fromkeys([*longest, *rarest[:_EXTREMES], *marked[:_EXTREMES]])
    return [*picked, *(value for value in extremes if value not in seen)]


def _spread(count: int) -> list[int]:
    """Which of so many rows are sampled."""
    wanted = min(count, SAMPLE_ROWS)
    return [row * count // wanted for row in range(wanted)]


def _random_pages(percent: float) -> str:
    """The same ones each time, so that who asks twice about what has not changed is told the same."""
    return f"TABLESAMPLE SYSTEM ({percent:.6f}) REPEATABLE (0)"


def _estimated_rows(catalog: Catalog, table: Table) -> int:
    """The planner's figure; for a partitioned table the sum over its partitions, which alone have one surely."""
    return sum(each.estimated_rows for each in _members(catalog, table))


def _members(catalog: Catalog, table: Table) -> Iterable[Table]:
    """The tables that hold the rows."""
    if table.kind != "p":
        return (table,)
    return [each for each in catalog.tables.values() if each.root == table.name and each.kind == "r"]


async def _read(connection: SourceConnection, table: Table, how: str, *, cut_off: bool = False) -> pa.RecordBatch:
    """Rows of a table. Values too wide are NULL; if ``cut_off``, texts and documents are their beginnings."""
    values = ", ".join(_narrow(shape, cut_off=cut_off) for shape in table.copied_columns)
    names = [column.name for column in table.copied_columns]
    batch = await _copy(connection, f"SELECT {values} FROM {_rows_of(table)} {how}", names)
    if not cut_off:
        return batch
    columns = [
        pa.array(map(_whole, batch.column(shape.name).to_pylist()), pa.binary())
        if _is_document(shape)
        else batch.column(shape.name)
        for shape in table.copied_columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=names)


async def _copy(connection: SourceConnection, select: str, names: list[str]) -> pa.RecordBatch:
    block = bytearray()
    async with contextlib.aclosing(connection.copy_out(f"COPY ({select}) TO STDOUT")) as parts:
        async for part in parts:
            block += part
    escaped = copytext.split(bytes(block), names)
    return pa.RecordBatch.from_arrays([copytext.unescape(column) for column in escaped.columns], names=names)


def _rows_of(table: Table) -> str:
    return f"{'' if table.kind == 'p' else 'ONLY '}{table.name}"


def _narrow(shape: Column, *, cut_off: bool) -> str:
    """A column in a query, without what is too wide. The type of others stays, so that a value is printed as the
    snapshot prints it."""
    quoted = quote_identifier(shape.name)
    fits = f"pg_column_size({quoted}) <= {_WIDEST_VALUE_BYTES}"
    if cut_off and _is_document(shape):
        # What is small when it is compressed may be large.
        return f"CASE WHEN {fits} THEN left({quoted}::text, {_WIDEST_VALUE_BYTES}) END"
    if cut_off and not shape.is_array and shape.kind == "b" and shape.base_type in _CUT_TYPES:
        whole = f"octet_length({quoted}) <= {_WIDEST_VALUE_BYTES}"
        return f"CASE WHEN {whole} THEN {quoted} ELSE substr({quoted}, 1, {_CUT_AT}) END"
    return f"CASE WHEN {fits} THEN {quoted} END"


def _is_document(shape: Column) -> bool:
    return not shape.is_array and shape.kind == "b" and shape.base_type in JSON


def _whole(document: bytes | None) -> bytes | None:
    """A document, or the beginning of one that was cut off."""
    if document is None or len(document) < _WIDEST_VALUE_BYTES:
        return document
    return jsontext.closed(document) or None
