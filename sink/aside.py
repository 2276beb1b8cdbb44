"""Tables beside the copy's own: what is copied again gathers there, and replaces the rows all at once.

A table aside has the columns of the copy's that hold data, and nothing else: no index, no constraint, no WAL. It stands
in our own schema, where nobody looks for it. What a killed command left there is dropped by the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from psycopg.types.json import Jsonb

from capture.model import Lsn, Refused, ServerFailed, TableName, quote_identifier
from sink.target import Connection, fetch, savepoint
from transform.subset import SubsetTable

# Beside the keys in sink.progress: one command copies again at a time.
_COPYING_AGAIN: Final = 0x74657A04
_NAME: Final = "aside_"


async def acquire(connection: Connection) -> None:
    """Be the only one who copies again, for the life of this session. Raises ``Refused``."""
    rows = await fetch(connection, "SELECT pg_try_advisory_lock(%s)", (_COPYING_AGAIN,))
    if not rows[0][0]:
        raise Refused("tables of this copy are being copied again already.", hint="Wait until that has ended.")


async def make(connection: Connection, tables: Mapping[TableName, Sequence[str]]) -> dict[TableName, TableName]:
    """An empty table aside for each of these, with those columns."""
    await drop(connection)
    made: dict[TableName, TableName] = {}
    for number, (table, columns) in enumerate(tables.items()):
        made[table] = TableName("tezcat", f"{_NAME}{number}")
        listed = ", ".join(map(quote_identifier, columns))
        await fetch(connection, f"CREATE UNLOGGED TABLE {made[table]} AS SELECT {listed} FROM {table} WITH NO DATA")
    return made


async def make_pulled(connection: Connection, tables: Sequence[SubsetTable]) -> dict[TableName, TableName]:
    """An empty table aside for the keys that ``sink.pulled`` keeps of each of these."""
    made: dict[TableName, TableName] = {}
    for number, table in enumerate(tables):
        made[table.table] = TableName("tezcat", f"{_NAME}pulled_{number}")
        listed = ", ".join(map(quote_identifier, table.key))
        query = f"SELECT {listed} FROM {table.table} WITH NO DATA"
        await fetch(connection, f"CREATE UNLOGGED TABLE {made[table.table]} AS {query}")
    return made


async def drop(connection: Connection) -> None:
    """Drop all tables aside."""
    rows = await fetch(
        connection,
        """SELECT relname FROM pg_class
            WHERE relnamespace = 'tezcat'::regnamespace AND relkind = 'r' AND starts_with(relname, %s)""",
        (_NAME,),
    )
    for (name,) in rows:
        await fetch(connection, f"DROP TABLE {TableName('tezcat', name)}")


async def empty(connection: Connection, table: TableName) -> None:
    """Take all rows out of a table aside."""
    await fetch(connection, f"TRUNCATE {table}")


async def replace_rows(
    connection: Connection, table: TableName, aside: TableName | None, columns: Sequence[str]
) -> int:
    """In the caller's transaction: the table's rows are those of the one aside, or none; how many there are.

    Whoever reads the copy sees the old rows until the transaction ends, which TRUNCATE would not grant.
    """
    await fetch(connection, f"DELETE FROM ONLY {table}")
    if aside is None:
        return 0
    listed = ", ".join(map(quote_identifier, columns))
    into = f" ({listed}) OVERRIDING SYSTEM VALUE" if columns else ""
    rows = await fetch(
        connection,
        f"WITH made AS (INSERT INTO {table}{into} SELECT {listed} FROM {aside} RETURNING 1) SELECT count(*) FROM made",
    )
    return int(rows[0][0])


async def refresh_views(connection: Connection) -> list[str]:
    """In the caller's transaction: fill the materialised views anew, which show what the tables held; one that cannot
    be filled is emptied. Returns warnings."""
    rows = await fetch(
        connection,
        """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid""",
    )
    warnings = []
    for view in (TableName(*row) for row in rows):
        try:
            async with savepoint(connection):
                await fetch(connection, f"REFRESH MATERIALIZED VIEW {view}")
        except ServerFailed:
            await fetch(connection, f"REFRESH MATERIALIZED VIEW {view} WITH NO DATA")
            warnings.append(f"the materialised view {view} could not be refreshed, and is empty")
    return warnings


async def move_rules(
    connection: Connection,
    lsn: Lsn,
    fingerprint: str,
    rules: Mapping[str, Mapping[str, str]],
    key_check: str,
    published: Mapping[str, str],
    unfollowed: Mapping[str, int],
) -> None:
    """In the caller's transaction: the copy, which stands at ``lsn``, follows these rules and this key now. A stream
    that masks by others is fenced. Raises ``ServerFailed`` when the copy stands elsewhere."""
    moved = await fetch(
        connection,
        """UPDATE tezcat.progress SET rules_fingerprint = %s, rules = %s, key_check = %s, published = %s,
             unfollowed = %s, runner = NULL, updated_at = now() WHERE applied_lsn = %s RETURNING 1""",
        (fingerprint, Jsonb(rules), key_check, Jsonb(published), Jsonb(unfollowed), str(lsn)),
    )
    if not moved:
        raise ServerFailed("the copy has moved on from where it was held; nothing was replaced.", hint="Try again.")


async def vacuum(connection: Connection, tables: Collection[TableName]) -> None:
    """Remove what was replaced from the tables' pages, and take statistics."""
    for table in tables:
        await fetch(connection, f"VACUUM (ANALYZE) {table}")
