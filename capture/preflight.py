"""Whether production is ready to be cloned and followed: one line per check, with what to do about it.

The checks run from the outside in, and stop early when what follows could only fail too: no connection. They change
nothing; the replication connection is opened and closed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from capture.dba import SourceTable, publication_names, published_roots, read_tables
from capture.model import Refused, ServerFailed, TableName, quote_identifier
from capture.privileges import audit
from capture.source import SourceAddress, SourceConnection, connect, open_replication

_STANDBY_SLOTS_SINCE: Final = 160000
_SQL: Final = "Have the DBA run the SQL that `tezcat source sql` prints."
_IDENTIFY: Final = "Give them a primary key of plain columns or, where no column is generated, REPLICA IDENTITY FULL."
_SHOWN: Final = 5


class Status(StrEnum):
    """What a check came to. With a problem the copy would fail or be wrong; a warning is for a person to weigh."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. ``remedy`` is empty when nothing is to be done."""

    name: str
    status: Status
    message: str
    remedy: str = ""


def _ok(name: str, message: str) -> Check:
    return Check(name, Status.OK, message)


def _warning(name: str, message: str, remedy: str) -> Check:
    return Check(name, Status.WARNING, message, remedy)


def _problem(name: str, message: str, remedy: str) -> Check:
    return Check(name, Status.PROBLEM, message, remedy)


async def preflight(
    address: SourceAddress,
    *,
    publication: str,
    unpublished: Collection[TableName] = frozenset(),
    slot: str | None = None,
) -> list[Check]:
    """Check production for a copy of all permanent tables through ``publication`` and, if named, ``slot``. The rows of
    ``unpublished`` tables stay there; a partitioned table stands for its partitions."""
    try:
        connection = await connect(address, purpose="source check")
    except (ServerFailed, Refused) as error:
        return [_problem("connection", error.message, error.hint)]
    async with connection:
        checks = [_ok("connection", f"{address.label} answers role {quote_identifier(address.user)}.")]
        try:
            await _check_all(connection, checks, publication, unpublished, slot)
        except ServerFailed as error:
            checks.append(_problem("queries", error.message, error.hint))
    return checks


async def _check_all(
    connection: SourceConnection,
    checks: list[Check],
    publication: str,
    unpublished: Collection[TableName],
    slot: str | None,
) -> None:
    version = connection.server_version
    checks.append(_ok("version", f"PostgreSQL {version // 10000}.{version % 10000}."))
    checks += await _server(connection)
    checks += await _role(connection)
    checks.append(await _replication(connection.address))
    tables = await read_tables(connection)
    permanent = [table for table in tables if table.permanent]
    chosen = [table for table in permanent if {table.name, table.root}.isdisjoint(unpublished)]
    checks += await _readable(connection, permanent)
    checks += await _publications(connection, publication, chosen)
    checks += await _left_out(connection, tables)
    if slot is not None:
        checks.append(await _slot(connection, slot))


def _named(tables: Collection[TableName]) -> str:
    shown = ", ".join(str(table) for table in sorted(tables)[:_SHOWN])
    return shown if len(tables) <= _SHOWN else f"{shown} and {len(tables) - _SHOWN} more"


# ------------------------------------------------------------------------------------------------- the server


_SERVER: Final = """
SELECT current_setting('wal_level') AS wal_level, pg_is_in_recovery() AS in_recovery,
       current_setting('max_replication_slots')::int AS slots,
       (SELECT count(*) FROM pg_replication_slots) AS slots_used,
       current_setting('max_wal_senders')::int AS senders,
       (SELECT count(*) FROM pg_stat_activity AS a WHERE a.backend_type = 'walsender') AS senders_used,
       current_setting('max_slot_wal_keep_size') AS keep_size"""


async def _server(connection: SourceConnection) -> Iterator[Check]:
    (row,) = await connection.fetch(_SERVER)
    return _judged_server(row, connection.server_version)


def _judged_server(row: Any, version: int) -> Iterator[Check]:
    if row.in_recovery:
        if version < _STANDBY_SLOTS_SINCE:
            yield _problem(
                "standby",
                "this is a standby, which can be followed only since PostgreSQL 16.",
                "Give the primary's address.",
            )
        else:
            yield _ok("standby", "this is a standby; the primary is not touched.")
    if row.wal_level == "logical":
        yield _ok("wal_level", "wal_level is logical.")
    else:
        yield _problem(
            "wal_level",
            f"wal_level is {row.wal_level}, which leaves out what logical replication needs.",
            "Ask the DBA for ALTER SYSTEM SET wal_level = logical; and a restart of the server.",
        )
    yield _room("max_replication_slots", row.slots, row.slots_used, "replication slots")
    yield _room("max_wal_senders", row.senders, row.senders_used, "WAL senders")
    if row.keep_size == "-1":
        yield _warning(
            "max_slot_wal_keep_size",
            "WAL is kept for a slot without limit: a stream that stays away could fill production's disk.",
            "Ask the DBA for ALTER SYSTEM SET max_slot_wal_keep_size to what the disk can spare, and a reload.",
        )
    else:
        yield _ok("max_slot_wal_keep_size", f"at most {row.keep_size} of WAL is kept for a slot.")


def _room(setting: str, most: int, used: int, what: str) -> Check:
    if used < most:
        return _ok(setting, f"{used} of {most} {what} are in use.")
    return _problem(
        setting, f"all of the {most} {what} are in use.", f"Ask the DBA to raise {setting} (needs a restart)."
    )


# --------------------------------------------------------------------------------------------------- the role


async def _role(connection: SourceConnection) -> list[Check]:
    findings = await audit(connection)
    checks = [_problem("role", finding.message, finding.remedy) for finding in findings]
    if not checks:
        checks.append(_ok("role", "the role can change nothing."))
    ((replicates, role),) = await connection.fetch(
        "SELECT r.rolreplication OR r.rolsuper, quote_ident(r.rolname) FROM pg_roles r WHERE r.rolname = current_user"
    )
    if replicates:
        checks.append(_ok("replication attribute", "the role has REPLICATION."))
    else:
        checks.append(
            _problem(
                "replication attribute",
                f"role {role} does not have REPLICATION.",
                f"ALTER ROLE {role} REPLICATION; hosted services may have a role to grant instead (rds_replication).",
            )
        )
    return checks


async def _replication(address: SourceAddress) -> Check:
    try:
        await (await open_replication(address, "source check")).close()
    except (ServerFailed, Refused) as error:
        return _problem("replication connection", error.message, error.hint)
    return _ok("replication connection", "a replication connection can be opened.")


# ------------------------------------------------------------------------------------------------- the tables


async def _readable(connection: SourceConnection, chosen: Collection[SourceTable]) -> list[Check]:
    rows = await connection.fetch(
        """
        SELECT n.nspname::text AS schema, c.relname::text AS name,
               has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable,
               row_security_active(c.oid) AS filtered
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')
        """
    )
    names = {table.name for table in chosen}
    unreadable = {TableName(row.schema, row.name) for row in rows if not row.readable} & names
    filtered = {TableName(row.schema, row.name) for row in rows if row.filtered} & names
    checks = []
    if unreadable:
        checks.append(_problem("select", f"the role may not read {_named(unreadable)}.", _SQL))
    else:
        checks.append(_ok("select", f"the role may read all {len(names)} tables."))
    if filtered:
        checks.append(
            _problem(
                "row security",
                f"row-level security hides rows from the role in {_named(filtered)}.",
                f"Ask the DBA for ALTER ROLE {quote_identifier(connection.address.user)} BYPASSRLS;",
            )
        )
    return checks


async def _left_out(connection: SourceConnection, tables: Collection[SourceTable]) -> list[Check]:
    checks = []
    unlogged = {table.name for table in tables if not table.permanent}
    if unlogged:
        message = f"unlogged tables are copied empty, because their changes are in no WAL: {_named(unlogged)}."
        checks.append(_warning("left out", message, "ALTER TABLE ... SET LOGGED where a copy needs their rows."))
    foreign = await connection.fetch(
        "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'f'"
    )
    if foreign:
        message = f"foreign tables are left out: {_named({TableName(*row) for row in foreign})}."
        checks.append(_warning("left out", message, "Their rows live on another server: copy them from there."))
    ((objects,),) = await connection.fetch("SELECT count(*) FROM pg_largeobject_metadata")
    if objects:
        message = f"{objects} large objects are left out: logical replication does not carry them."
        checks.append(_warning("left out", message, "Keep such data in bytea columns where a copy needs it."))
    return checks


# ------------------------------------------------------------------------------------------------ publications

_PUBLICATIONS: Final = """
SELECT p.oid, p.pubname::text AS name, p.puballtables AS all_tables, p.pubviaroot AS via_root,
       p.pubinsert AS inserts, p.pubupdate AS updates, p.pubdelete AS deletes, p.pubtruncate AS truncates
FROM pg_publication p WHERE p.pubname = ANY(%s)"""

_PUBLISHED: Final = """
SELECT p.pubname::text AS publication, p.schemaname::text AS schema, p.tablename::text AS name
FROM pg_publication_tables p WHERE p.pubname = ANY(%s)"""

# Since PostgreSQL 15 a publication can list schemas, columns and conditions.
_NARROWED: Final = """
SELECT p.pubname::text AS publication, n.nspname::text AS schema, c.relname::text AS name
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = ANY(%s) AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL)"""

_WHOLE_SCHEMAS: Final = """
SELECT p.pubname::text AS publication, quote_ident(n.nspname) AS schema FROM pg_publication_namespace s
JOIN pg_publication p ON p.oid = s.pnpubid JOIN pg_namespace n ON n.oid = s.pnnspid WHERE p.pubname = ANY(%s)"""

_CHANGED: Final = """
SELECT s.schemaname::text AS schema, s.relname::text AS name FROM pg_stat_user_tables s
WHERE s.n_tup_upd + s.n_tup_del > 0"""


async def _publications(connection: SourceConnection, publication: str, chosen: Collection[SourceTable]) -> list[Check]:
    names = list(publication_names(publication))
    found = {row.name: row for row in await connection.fetch(_PUBLICATIONS, (names,))}
    checks = []
    for name in names:
        if name not in found:
            checks.append(_problem("publication", f"there is no publication {quote_identifier(name)}.", _SQL))
        else:
            wrong = list(_judged_publication(found[name], whole=name == publication))
            checks += wrong or [
                _ok("publication", f"publication {quote_identifier(name)} exists and is as it must be.")
            ]
    if connection.server_version >= 150000:
        for row in await connection.fetch(_NARROWED, (names,)):
            message = (
                f"publication {row.publication} narrows {TableName(row.schema, row.name)} to some rows or columns."
            )
            checks.append(_problem("publication", message, f"What it leaves out would be missing in the copy. {_SQL}"))
        for row in await connection.fetch(_WHOLE_SCHEMAS, (names,)):
            message = f"publication {row.publication} publishes all tables of schema {row.schema}."
            checks.append(_problem("publication", message, _recreate(row.publication)))
    published: dict[str, set[TableName]] = {name: set() for name in names}
    for row in await connection.fetch(_PUBLISHED, (names,)):
        published[row.publication].add(TableName(row.schema, row.name))
    changed = {TableName(row.schema, row.name) for row in await connection.fetch(_CHANGED)}
    checks += _judged_members(chosen, published[names[0]], published[names[1]], changed)
    return checks


def _recreate(publication: str) -> str:
    return f"DROP PUBLICATION {quote_identifier(publication)}; then {_SQL[0].lower()}{_SQL[1:]}"


def _judged_publication(row: Any, *, whole: bool) -> Iterator[Check]:
    name = quote_identifier(row.name)
    if row.all_tables:
        message = (
            f"publication {name} is FOR ALL TABLES: updates of tables without replica identity fail in production."
        )
        yield _problem("publication", message, _recreate(row.name))
    if row.via_root:
        message = f"publication {name} publishes partitions as their root; partitions are copied as themselves."
        yield _problem("publication", message, f"ALTER PUBLICATION {name} SET (publish_via_partition_root = false);")
    actions = "insert, update, delete, truncate" if whole else "insert, truncate"
    published = [row.inserts, row.updates, row.deletes, row.truncates]
    if published != [True, whole, whole, True]:
        yield _problem(
            "publication",
            f"publication {name} does not publish exactly: {actions}.",
            f"ALTER PUBLICATION {name} SET (publish = '{actions}');",
        )


def _judged_members(
    chosen: Collection[SourceTable],
    whole: Collection[TableName],
    insert_only: Collection[TableName],
    changed: Collection[TableName],
) -> Iterator[Check]:
    """Judge who is in which publication. Rows are published by plain tables and partitions, never by a root."""
    holding_rows = [table for table in chosen if table.kind == "r"]
    missing = {table.name for table in holding_rows} - {*whole, *insert_only}
    if missing:
        yield _problem("published tables", f"no publication lists {_named(missing)}.", _SQL)
    else:
        yield _ok("published tables", f"all {len(holding_rows)} tables that hold rows are published.")
    breaking = {table.name for table in holding_rows if not table.identified}.intersection(whole)
    if breaking:
        yield _problem(
            "replica identity",
            f"updates and deletes of {_named(breaking)} fail in production, because they are published without a "
            "replica identity, or with one that holds generated columns.",
            f"{_IDENTIFY} {_SQL}",
        )
    kept_back = {table.name for table in holding_rows}.intersection(insert_only).difference(whole)
    if kept_back & set(changed):
        # When they happened, or whether they were rolled back, is not known; a stream stops when there are more.
        yield _warning(
            "replica identity",
            f"updates and deletes of {_named(kept_back & set(changed))} have happened, and are not published: the "
            "stream stops at the next ones.",
            f"{_IDENTIFY} {_SQL}",
        )
    if kept_back - set(changed):
        yield _warning(
            "replica identity",
            f"only inserts of {_named(kept_back - set(changed))} are followed; so far there were no others.",
            f"If there may be: {_IDENTIFY[0].lower()}{_IDENTIFY[1:]} {_SQL}",
        )
    roots = published_roots(chosen)
    improvable = {table.name for table in holding_rows if table.name in kept_back and roots[table.root or table.name]}
    if improvable:
        yield _warning(
            "published tables",
            f"{_named(improvable)} could be followed whole by now.",
            _SQL,
        )


# ---------------------------------------------------------------------------------------------------- the slot


async def _slot(connection: SourceConnection, slot: str) -> Check:
    rows = await connection.fetch(
        "SELECT s.plugin::text AS plugin, s.database::text AS database, s.active_pid, s.wal_status, "
        "current_database()::text AS here FROM pg_replication_slots s WHERE s.slot_name = %s",
        (slot,),
    )
    if not rows:
        return _ok("slot", f"there is no slot {slot} yet; a clone makes it.")
    (row,) = rows
    if row.plugin != "pgoutput" or row.database != row.here:
        return _problem(
            "slot", f"the slot {slot} is not tezcat's: it belongs to another program or database.", "Rename the target."
        )
    if row.wal_status == "lost":
        return _problem(
            "slot", f"the server has removed WAL that the slot {slot} still needed.", "Clone again; that replaces it."
        )
    if row.active_pid is not None:
        return _ok("slot", f"a stream reads the slot {slot} (process {row.active_pid}).")
    return _warning(
        "slot",
        f"nobody reads the slot {slot}, and production keeps WAL for it.",
        "Start `tezcat stream`, or drop the slot if the copy is no longer wanted.",
    )
