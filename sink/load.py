"""Loading the snapshot: blocks of COPY text into a table, and what follows when all rows are there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import psycopg
import pyarrow as pa

from capture.model import ServerFailed, TableName, quote_identifier
from sink.target import Connection, failure, fetch


async def as_replica(connection: Connection) -> None:
    """Keep triggers and foreign keys quiet in this session: what production did has happened already.

    Raises ``ServerFailed`` when the user may not.
    """
    try:
        await connection.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        user = quote_identifier(connection.info.user)
        raise ServerFailed(
            "the target's user may not set session_replication_role, so triggers would fire again in the copy.",
            hint=f"As a superuser of the target: GRANT SET ON PARAMETER session_replication_role TO {user}.",
        ) from None


def copy_in_statement(table: TableName, columns: Sequence[str]) -> str:
    """COPY of those columns, in that order."""
    listed = f" ({', '.join(quote_identifier(name) for name in columns)})" if columns else ""
    return f"COPY {table}{listed} FROM STDIN"


async def copy_in(
    connection: Connection, table: TableName, columns: Sequence[str], blocks: AsyncIterator[bytes | pa.Buffer]
) -> int:
    """Write blocks of COPY text into a table; the number of rows. Raises ``ServerFailed``.

    Inside a transaction of the caller's it is part of that; otherwise it is one of its own.
    """
    try:
        async with connection.cursor() as cursor:
            async with cursor.copy(copy_in_statement(table, columns).encode()) as copy:
                async for block in blocks:
                    await copy.write(memoryview(block))
            return cursor.rowcount
    except psycopg.Error as error:
        raise failure(error) from None


async def settle(connection: Connection) -> list[str]:
    """After the rows and the indexes: make triggers right for a copy, fill materialised views, take statistics.

    A trigger that production fires ALWAYS would fire again for every change that the stream brings; here it fires
    for the copy's own users only. One that fires in a REPLICA only is for production's replicas, not for a copy.
    Returns warnings.
    """
    await fetch(
        connection,
        """DO $$
        DECLARE t record;
        BEGIN
          FOR t IN
            SELECT g.tgrelid::regclass AS relation, g.tgname, g.tgenabled FROM pg_trigger g
              JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgenabled IN ('A', 'R') AND n.nspname <> 'tezcat'
          LOOP
            EXECUTE format('ALTER TABLE %s %s TRIGGER %I', t.relation,
                           CASE t.tgenabled WHEN 'A' THEN 'ENABLE' ELSE 'DISABLE' END, t.tgname);
          END LOOP;
        END $$""",
    )
    warnings = await _refresh_views(connection)
    await fetch(connection, "ANALYZE")
    return warnings


async def _refresh_views(connection: Connection) -> list[str]:
    """Refresh materialised views, those that read others after them."""
    rows = await fetch(
        connection,
        """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'm' AND NOT c.relispopulated ORDER BY c.oid""",
    )
    waiting = [TableName(*row) for row in rows]
    while waiting:
        failed: list[TableName] = []
        for view in waiting:
            try:
                await fetch(connection, f"REFRESH MATERIALIZED VIEW {view}")
            except ServerFailed:
                failed.append(view)
        if len(failed) == len(waiting):
            return [f"the materialised view {view} could not be refreshed" for view in failed]
        waiting = failed
    return []


async def clear(connection: Connection) -> None:
    """Empty a database of ours: every schema, then our mark, in one transaction.

    What belongs to extensions goes with their schemas; the extensions come again with the schema.
    """
    async with connection.transaction():
        rows = await fetch(
            connection,
            """SELECT quote_ident(nspname) FROM pg_namespace
                WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND nspname <> 'tezcat'""",
        )
        extensions = await fetch(connection, "SELECT quote_ident(extname) FROM pg_extension WHERE extname <> 'plpgsql'")
        publications = await fetch(connection, "SELECT quote_ident(pubname) FROM pg_publication")
        triggers = await fetch(connection, "SELECT quote_ident(evtname) FROM pg_event_trigger")
        for kind, names in (("EVENT TRIGGER", triggers), ("PUBLICATION", publications), ("EXTENSION", extensions)):
            for (name,) in names:
                await fetch(connection, f"DROP {kind} IF EXISTS {name} CASCADE")
        for (name,) in rows:
            await fetch(connection, f"DROP SCHEMA {name} CASCADE")
        await fetch(connection, "CREATE SCHEMA public")
        await fetch(connection, "DROP SCHEMA tezcat CASCADE")
