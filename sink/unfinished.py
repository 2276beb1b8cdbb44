"""A clone that is not finished: how far it came, which chunks are there, and who may go on with it.

A chunk is recorded in the transaction that brings its rows, and only by the runner and for the base that
``tezcat.clone`` names: it is there whole or not at all, and a worker that outlives its clone changes nothing. All
finished chunks together are exactly production at the base LSN, on the pages that they name.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg.types.json import Jsonb

from capture.model import Lsn, ServerFailed, TableName
from sink.target import Connection, fetch


class Phase(StrEnum):
    """What a clone was about to do, or was doing: make what comes before the rows, copy them, make what comes after
    them, take statistics and the like. Each is entered when the one before is done, and may be begun again."""

    SCHEMA = "schema"
    ROWS = "rows"
    INDEXES = "indexes"
    SETTLING = "settling"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The row of ``tezcat.clone`` but for the archive; its SQL says what each field means."""

    runner: str
    phase: Phase
    base_lsn: Lsn
    base_time: datetime
    catalog: str


@dataclass(frozen=True, slots=True)
class FinishedChunk:
    """Pages [first_page, end_page) of a table, as ``file`` held them; ``bytes`` are of COPY text."""

    table: TableName
    first_page: int
    end_page: int
    file: int
    rows: int
    bytes: int


class Fenced(ServerFailed):
    """Another clone has taken this one's place."""


def _fenced() -> Fenced:
    return Fenced(
        "another clone has taken this one's place; this one stops and has written nothing more.",
        hint="Run one clone for a target.",
    )


def new_runner() -> str:
    """A name that nobody had before."""
    return secrets.token_hex(8)


async def begin(connection: Connection, unfinished: Unfinished, archive: bytes) -> None:
    """Write the first row."""
    await fetch(
        connection,
        """INSERT INTO tezcat.clone (runner, phase, base_lsn, base_time, catalog, archive)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (
            unfinished.runner,
            unfinished.phase,
            str(unfinished.base_lsn),
            unfinished.base_time,
            unfinished.catalog,
            archive,
        ),
    )


async def read(connection: Connection) -> Unfinished | None:
    """The unfinished clone, if there is one."""
    rows = await fetch(connection, "SELECT runner, phase, base_lsn::text, base_time, catalog FROM tezcat.clone")
    if not rows:
        return None
    runner, phase, base_lsn, base_time, catalog = rows[0]
    return Unfinished(runner, Phase(phase), Lsn.parse(base_lsn), base_time, catalog)


async def read_archive(connection: Connection) -> bytes:
    """The schema's archive."""
    rows = await fetch(connection, "SELECT archive FROM tezcat.clone")
    return bytes(rows[0][0])


async def take_over(connection: Connection) -> Unfinished:
    """Become the one who may go on, under a new name. Waits for chunks that are just being recorded; no other of a
    runner before can be any more."""
    await fetch(connection, "UPDATE tezcat.clone SET runner = %s", (new_runner(),))
    state = await read(connection)
    if state is None:
        raise _fenced()
    return state


async def stop_orphans(connection: Connection, application: str) -> None:
    """End the sessions of workers and programs that a killed clone left behind, and wait until they are gone. Only
    for the holder of the runner's lock, whose own other sessions have not begun."""
    while await fetch(
        connection,
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND usename = current_user AND application_name = %s
              AND pid <> pg_backend_pid()""",
        (application,),
    ):
        await fetch(connection, "SELECT pg_sleep(0.05)")


async def enter(connection: Connection, phase: Phase) -> None:
    """The phase before is done."""
    await fetch(connection, "UPDATE tezcat.clone SET phase = %s", (phase,))


async def record(connection: Connection, chunks: Sequence[FinishedChunk], runner: str, base_lsn: Lsn) -> None:
    """In the transaction that brought the chunks' rows: they are there. Raises ``Fenced``."""
    columns = zip(
        *((*chunk.table, chunk.first_page, chunk.end_page, chunk.file, chunk.rows, chunk.bytes) for chunk in chunks),
        strict=True,
    )
    recorded = await fetch(
        connection,
        """WITH clone AS (SELECT FROM tezcat.clone WHERE runner = %s AND base_lsn = %s FOR SHARE)
           INSERT INTO tezcat.chunks (schema_name, table_name, first_page, end_page, file, rows, bytes)
           SELECT made.* FROM clone, unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
                                            %s::bigint[], %s::bigint[]) AS made
           RETURNING 1""",
        (runner, str(base_lsn), *map(list, columns)),
    )
    if not recorded:
        raise _fenced()


async def finished_chunks(connection: Connection) -> list[FinishedChunk]:
    """The chunks that are there."""
    rows = await fetch(
        connection,
        "SELECT schema_name, table_name, first_page, end_page, file, rows, bytes FROM tezcat.chunks",
    )
    return [FinishedChunk(TableName(schema, name), *rest) for schema, name, *rest in rows]


# ------------------------------------------------------------------------------------------ in a rebase's transaction


async def empty(connection: Connection, tables: Collection[TableName]) -> None:
    """Empty tables; none of their chunks is there any more."""
    if not tables:
        return
    await fetch(connection, f"TRUNCATE {', '.join(f'ONLY {table}' for table in sorted(tables))}")
    await fetch(
        connection,
        """DELETE FROM tezcat.chunks c USING unnest(%s::text[], %s::text[]) AS gone(schema_name, table_name)
            WHERE (c.schema_name, c.table_name) = (gone.schema_name, gone.table_name)""",
        ([table.schema for table in tables], [table.name for table in tables]),
    )


async def count_rows(connection: Connection, table: TableName, more: int) -> None:
    """A table's finished chunks hold so many more rows; fewer, when it is negative."""
    await fetch(
        connection,
        """UPDATE tezcat.chunks SET rows = rows + %s
            WHERE (schema_name, table_name) = (%s, %s) AND first_page = (SELECT min(first_page) FROM tezcat.chunks
             WHERE (schema_name, table_name) = (%s, %s))""",
        (more, *table, *table),
    )


async def move_base(
    connection: Connection, unfinished: Unfinished, base_lsn: Lsn, base_time: datetime, unfollowed: dict[str, int]
) -> None:
    """The finished chunks are exactly production at another LSN now; ``unfollowed`` as in ``tezcat.progress``.

    Raises ``Fenced`` when somebody else moved them.
    """
    moved = await fetch(
        connection,
        "UPDATE tezcat.clone SET base_lsn = %s, base_time = %s WHERE runner = %s AND base_lsn = %s RETURNING 1",
        (str(base_lsn), base_time, unfinished.runner, str(unfinished.base_lsn)),
    )
    if not moved:
        raise _fenced()
    await fetch(connection, "UPDATE tezcat.progress SET unfollowed = %s", (Jsonb(unfollowed),))


async def forget(connection: Connection) -> None:
    """There is nothing to go on with."""
    await fetch(connection, "DELETE FROM tezcat.chunks")
    await fetch(connection, "DELETE FROM tezcat.clone")
