"""Loading the snapshot: blocks of COPY text into a table, and what follows when all rows are there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

import psycopg
import pyarrow as pa

from capture.model import ServerFailed, TableName, quote_identifier
from sink.target import Connection, failure, fetch

# Neither the server's, which have lower oids (FirstNormalObjectId), nor an extension's.
_OWN: Final = """x.oid >= 16384
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE (d.classid, d.objid) = (x.tableoid, x.oid) AND d.deptype = 'e')"""
_OWN_CASTS: Final = f"""SELECT format('(%s AS %s)', castsource::regtype, casttarget::regtype) FROM pg_cast x
 WHERE {_OWN}"""
_OWN_METHODS: Final = f"SELECT quote_ident(amname) FROM pg_am x WHERE {_OWN}"
_OWN_LANGUAGES: Final = f"SELECT quote_ident(lanname) FROM pg_language x WHERE {_OWN}"
_PUBLIC_IS_CLOSED_SINCE: Final = 150000  # from then on not everybody may make tables there
# How long users of a copy may keep it from being replaced.
_LOCK_SECONDS: Final = 60


async def as_replica(connection: Connection) -> None:
    """Make this session ``quiet``; the schemas of extensions join its search path, for that is where the equality of
    their types is found. Raises ``ServerFailed`` when the user may not.
    """
    await fetch(
        connection,
        """SELECT set_config('search_path', concat_ws(', ', 'pg_catalog', string_agg(DISTINCT quote_ident(n.nspname),
                  ', ')), false)
             FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname <> 'pg_catalog'""",
    )
    await quiet(connection)


async def quiet(connection: Connection) -> None:
    """Keep triggers, event triggers too, and foreign keys quiet in this session: what production did has happened
    already, and what we make in a copy is no news there. Raises ``ServerFailed`` when the user may not.
    """
    try:
        await connection.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        user = quote_identifier(connection.info.user)
        raise ServerFailed(
            "the target's user may not set session_replication_role, so triggers would fire again in the copy.",
            hint=f"As a superuser of the target: GRANT SET ON PARAMETER session_replication_role TO {user}.",
        ) from None
    except psycopg.Error as error:
        raise failure(error) from None


def copy_in_statement(table: TableName, columns: Sequence[str]) -> str:
    """COPY of those columns, in that order."""
    listed = f" ({', '.join(quote_identifier(name) for name in columns)})" if columns else ""
    return f"COPY {table}{listed} FROM STDIN"


async def copy_in(
    connection: Connection, table: TableName, columns: Sequence[str], blocks: AsyncIterator[bytes | pa.Buffer]
) -> int:
    """Write blocks of COPY text into a table; the number of rows. Raises ``ServerFailed``, and what ``blocks`` raises.

    Inside a transaction of the caller's it is part of that; otherwise it is one of its own. A generator is closed.
    """
    given_up: Exception | None = None
    try:
        async with connection.cursor() as cursor:
            async with cursor.copy(copy_in_statement(table, columns).encode()) as copy:
                while True:
                    try:
                        block = await anext(blocks)
                    except StopAsyncIteration:
                        break
                    except Exception as error:
                        # psycopg tells the server, and so its log, the text of what is raised here.
                        given_up = error
                        raise _GivenUp from None
                    await copy.write(memoryview(block))
            return cursor.rowcount
    except _GivenUp:
        assert given_up is not None
        raise given_up from None
    except psycopg.Error as error:
        raise failure(error, into=table) from None
    finally:
        # Left in the middle, it would keep the connection that it reads from.
        if isinstance(blocks, AsyncGenerator):
            await blocks.aclose()


class _GivenUp(Exception):
    """The rows could not be made."""


async def settle(connection: Connection) -> list[str]:
    """After the rows and the indexes: make triggers right for a copy, fill materialised views, take statistics.

    A trigger or a rule that production fires ALWAYS would fire again for every change that the stream brings, and an
    event trigger for what we make; here it fires for the copy's own users only. One that fires in a REPLICA only is for
    production's replicas, not for a copy. The session is ``quiet`` from then on. Returns warnings.
    """
    await quiet(connection)
    await fetch(
        connection,
        """DO $$
        DECLARE t record;
        BEGIN
          FOR t IN SELECT evtname, evtenabled FROM pg_event_trigger WHERE evtenabled IN ('A', 'R') LOOP
            EXECUTE format('ALTER EVENT TRIGGER %I %s', t.evtname,
                           CASE t.evtenabled WHEN 'A' THEN 'ENABLE' ELSE 'DISABLE' END);
          END LOOP;
          FOR t IN
            SELECT f.* FROM (
              SELECT tgrelid, 'TRIGGER', tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal
              UNION ALL SELECT ev_class, 'RULE', rulename, ev_enabled FROM pg_rewrite
            ) f(relation, kind, name, fires) JOIN pg_class c ON c.oid = f.relation
              JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE f.fires IN ('A', 'R') AND n.nspname NOT IN ('tezcat', 'pg_catalog', 'information_schema')
          LOOP
            EXECUTE format('ALTER TABLE ONLY %s %s %s %I', t.relation::regclass,
                           CASE t.fires WHEN 'A' THEN 'ENABLE' ELSE 'DISABLE' END, t.kind, t.name);
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
    """Empty a database of ours: what stands outside of schemas, every schema, then our mark, in one transaction.

    Raises ``Interrupted`` when somebody who uses it does not let go of what they have locked.
    """
    async with connection.transaction():
        await fetch(connection, f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        schemas = await fetch(
            connection,
            """SELECT quote_ident(nspname) FROM pg_namespace
                WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND nspname <> 'tezcat'""",
        )
        extensions = await fetch(connection, "SELECT quote_ident(extname) FROM pg_extension WHERE extname <> 'plpgsql'")
        publications = await fetch(connection, "SELECT quote_ident(pubname) FROM pg_publication")
        triggers = await fetch(connection, "SELECT quote_ident(evtname) FROM pg_event_trigger")
        wrappers = await fetch(connection, "SELECT quote_ident(fdwname) FROM pg_foreign_data_wrapper")
        casts = await fetch(connection, _OWN_CASTS)
        methods = await fetch(connection, _OWN_METHODS)
        languages = await fetch(connection, _OWN_LANGUAGES)
        # What one brings along is gone with it, hence IF EXISTS.
        for kind, names in (
            ("EVENT TRIGGER", triggers),
            ("PUBLICATION", publications),
            ("EXTENSION", extensions),
            ("FOREIGN DATA WRAPPER", wrappers),
            ("CAST", casts),
            ("SCHEMA", schemas),
            ("ACCESS METHOD", methods),
            ("LANGUAGE", languages),
        ):
            for (name,) in names:
                await fetch(connection, f"DROP {kind} IF EXISTS {name} CASCADE")
        # As initdb makes it: pg_dump tells only what a database has otherwise.
        await fetch(connection, "CREATE SCHEMA public")
        rights = "USAGE" if connection.info.server_version >= _PUBLIC_IS_CLOSED_SINCE else "ALL"
        await fetch(connection, f"GRANT {rights} ON SCHEMA public TO PUBLIC")
        await fetch(connection, "COMMENT ON SCHEMA public IS 'standard public schema'")
        await fetch(connection, "DROP SCHEMA tezcat CASCADE")
