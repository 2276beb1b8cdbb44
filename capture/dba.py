"""The DBA's part, as SQL to print: a role that can only read, its grants, and two publications.

Nothing here is executed by tezcat. The SQL is for psql, in one transaction, and safe to run again, which is also how
tables that were added later come in. Tables are listed one by one, never FOR ALL TABLES: a publication of everything
would make updates of a table without replica identity fail in production. Such tables go into a second publication,
``<publication>_insert_only``, of inserts and truncates. A partitioned table is listed by its root, and its partitions
are published as themselves. Publications come first: they lock their tables against autovacuum, which otherwise could
have one in work, wait for what a GRANT has written about it, and so deadlock with the publication that wants it.

When production can be reached as the role (which the SQL may be there to create), the tables are looked up now and
listed; otherwise the SQL looks them up when the DBA runs it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from capture.model import Refused, ServerFailed, TableName, quote_identifier
from capture.privileges import Finding, audit
from capture.source import SourceAddress, SourceConnection, connect

_NOT_SYSTEM: Final = """n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg|_%' ESCAPE '|'
  AND NOT EXISTS (SELECT 1 FROM pg_depend e
                  WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')"""

# "identified": updates and deletes can be published; a deferrable or invalid index does not identify. Nor do generated
# columns, which are not sent: from version 18 on, production itself would refuse every update of a table that is
# published with such an identity.
_TABLES: Final = f"""
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       rn.nspname::text AS root_schema, rc.relname::text AS root_name,
       c.relpersistence = 'p' AS permanent, c.relrowsecurity AS row_security,
       CASE c.relreplident WHEN 'f' THEN current_setting('server_version_num')::int < 180000 OR NOT EXISTS (
         SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped)
       ELSE EXISTS (
         SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
         AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
         AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated <> ''
                         AND a.attnum = ANY (i.indkey))
       ) END AS identified
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class rc ON c.relispartition AND rc.oid = pg_partition_root(c.oid)
LEFT JOIN pg_namespace rn ON rn.oid = rc.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {_NOT_SYSTEM}"""

_SEQUENCES: Final = f"""
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {_NOT_SYSTEM}"""

_ACTIONS: Final = {True: "insert, update, delete, truncate", False: "insert, truncate"}

_MAY_READ: Final = """\
-- What it may read. The definition of every table is copied, and reading that needs SELECT, also where the rows stay
-- in production (unlogged tables, rows: none)."""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """What the DBA's SQL must know of a table. ``kind`` is r or p; ``root`` the partitioned table that a partition
    belongs to; ``identified`` tells that updates and deletes can be published."""

    name: TableName
    kind: str
    root: TableName | None
    permanent: bool
    row_security: bool
    identified: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """What could be looked up on production. ``findings`` are what the role could change there."""

    tables: Sequence[SourceTable]
    sequences: Sequence[TableName]
    wal_level: str
    findings: Sequence[Finding] = ()


async def read_tables(connection: SourceConnection) -> list[SourceTable]:
    """All tables but the system's, extensions' and temporary ones, by name."""
    rows = await connection.fetch(f"{_TABLES} ORDER BY n.nspname, c.relname")
    return [
        SourceTable(
            name=TableName(row.schema, row.name),
            kind=row.kind,
            root=TableName(row.root_schema, row.root_name) if row.root_name is not None else None,
            permanent=row.permanent,
            row_security=row.row_security,
            identified=row.identified,
        )
        for row in rows
    ]


def publication_names(publication: str) -> tuple[str, str]:
    """The publication of tables with a replica identity, and the one of those without."""
    return publication, f"{publication}_insert_only"


def published_roots(tables: Iterable[SourceTable]) -> dict[TableName, bool]:
    """What a publication lists: plain tables and partitioned roots, each with whether all below it is identified."""
    members: dict[TableName, list[SourceTable]] = {}
    for table in tables:
        if table.permanent:
            members.setdefault(table.root or table.name, []).append(table)
    # A root holds no rows; its own identity counts only while it has no partition that does.
    return {
        root: all(table.identified for table in [m for m in below if m.kind == "r"] or below)
        for root, below in members.items()
    }


async def dba_sql(
    address: SourceAddress,
    *,
    publication: str,
    unpublished: Collection[TableName] = frozenset(),
) -> str:
    """The SQL for the role and database that ``address`` names. Rows of ``unpublished`` tables stay in production; a
    partitioned table stands for its partitions."""
    looked: Looked | None = None
    reason = ""
    try:
        async with await connect(address, purpose="source sql") as connection:
            looked = Looked(
                tables=await read_tables(connection),
                sequences=[TableName(*row) for row in await connection.fetch(f"{_SEQUENCES} ORDER BY 1, 2")],
                wal_level=(await connection.fetch("SELECT current_setting('wal_level')"))[0][0],
                findings=await audit(connection),
            )
    except (ServerFailed, Refused) as error:
        reason = error.message
    return render(
        role=address.user,
        database=address.database,
        publication=publication,
        unpublished=unpublished,
        looked=looked,
        reason=reason,
    )


def render(
    *,
    role: str,
    database: str,
    publication: str,
    unpublished: Collection[TableName],
    looked: Looked | None,
    reason: str = "",
) -> str:
    """Write the SQL; pure. Without ``looked`` it looks the tables up itself, and says that ``reason`` is why."""
    parts = [_head(role, database), *_role(role, database)]
    if looked is not None:
        parts += _listed(role, publication, looked, unpublished)
    else:
        parts += _looked_up_later(role, publication, unpublished)
    parts += ["COMMIT;", *_remarks(role, looked, reason)]
    return "\n\n".join(parts) + "\n"


# ------------------------------------------------------------------------------------------------ common parts


def _head(role: str, database: str) -> str:
    return f"""\
-- What tezcat needs on production. For the DBA to read, and to run with
--   psql -v ON_ERROR_STOP=1 -d {_comment(database)} -f FILE
-- as a superuser, or as a role that owns the tables and may create roles and publications.
-- It makes role {_comment(role)} able to read and to replicate, and to change nothing. Safe to run again.

SET client_encoding = 'UTF8'; -- as this is written, whatever the database's encoding
BEGIN;

DO $tezcat$
BEGIN
  IF current_database() <> {_literal(database)} THEN
    RAISE EXCEPTION 'this is for another database than %', current_database();
  END IF;
END
$tezcat$;"""


def _role(role: str, database: str) -> list[str]:
    name, text = quote_identifier(role), _literal(role)
    return [
        f"-- The role. It gets no password here: set one with \\password {_comment(name)}",
        _if(f"CREATE ROLE {name} LOGIN REPLICATION", f"NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {text})"),
        _if(
            f"ALTER ROLE {name} LOGIN REPLICATION",
            f"EXISTS (SELECT FROM pg_roles WHERE rolname = {text} AND NOT (rolcanlogin AND rolreplication))",
        ),
        f"GRANT CONNECT ON DATABASE {quote_identifier(database)} TO {name};",
    ]


def _publication(name: str, *, identified: bool) -> list[str]:
    purpose = "with a replica identity" if identified else "without one: their updates and deletes cannot be published"
    options = f"publish = '{_ACTIONS[identified]}', publish_via_partition_root = false"
    return [
        f"-- The publication of tables {purpose}.",
        _if(
            f"CREATE PUBLICATION {quote_identifier(name)}",
            f"NOT EXISTS (SELECT FROM pg_publication WHERE pubname = {_literal(name)})",
        ),
        f"ALTER PUBLICATION {quote_identifier(name)} SET ({options});",
    ]


def _emptied(name: str, condition: str) -> str:
    """Take every table out of a publication, if it has any: SET TABLE needs at least one."""
    return f"""\
SELECT format('ALTER PUBLICATION %I DROP TABLE %s', p.pubname, string_agg('ONLY ' || r.prrelid::regclass, ', '))
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
WHERE p.pubname = {_literal(name)} AND {condition} GROUP BY p.pubname
\\gexec"""


def _remarks(role: str, looked: Looked | None, reason: str) -> list[str]:
    need = "tezcat needs: ALTER SYSTEM SET wal_level = logical; and a restart of the server."
    if looked is None:
        return [
            f"""\
-- Not looked up, because tezcat could not connect as this role yet:
--   {_comment(reason)}
-- which tables there are: the SQL above finds them when it runs.
-- wal_level: unless SHOW wal_level says logical, {need}
-- what else the role may do: `tezcat source check` tells, once it can connect."""
        ]
    remarks = []
    if looked.wal_level != "logical":
        remarks.append(f"-- wal_level is {looked.wal_level}. {need[0].upper()}{need[1:]}")
    remarks += [
        f"-- tezcat will refuse this role as it is: {_comment(f'{finding.message} {finding.remedy}')}"
        for finding in looked.findings
    ]
    return remarks


# ----------------------------------------------------------------------------------------- tables listed by name


def _listed(role: str, publication: str, looked: Looked, unpublished: Collection[TableName]) -> list[str]:
    name = quote_identifier(role)
    tables, sequences = looked.tables, looked.sequences
    schemas = sorted({table.name.schema for table in tables} | {sequence.schema for sequence in sequences})
    parts = []
    roots = published_roots(table for table in tables if {table.name, table.root}.isdisjoint(unpublished))
    for publication_name, identified in zip(publication_names(publication), (True, False), strict=True):
        parts += _publication(publication_name, identified=identified)
        listed = [f"ONLY {root}" for root, is_identified in sorted(roots.items()) if is_identified is identified]
        if listed:
            parts.append(f"ALTER PUBLICATION {quote_identifier(publication_name)} SET TABLE{_lines(listed)};")
        else:
            parts.append(_emptied(publication_name, "true"))
    parts.append(_MAY_READ)
    if schemas:
        parts.append(f"GRANT USAGE ON SCHEMA {', '.join(map(quote_identifier, schemas))} TO {name};")
    if tables:
        parts.append(f"GRANT SELECT ON TABLE{_lines(str(table.name) for table in tables)}\nTO {name};")
    if sequences:
        parts.append(f"GRANT SELECT ON SEQUENCE{_lines(map(str, sequences))}\nTO {name};")
    if any(table.row_security for table in tables):
        parts.append(_bypass(role, "true"))
    return parts


def _bypass(role: str, condition: str) -> str:
    return "-- Row-level security would hide rows from it.\n" + _if(
        f"ALTER ROLE {quote_identifier(role)} BYPASSRLS",
        f"{condition} AND EXISTS (SELECT FROM pg_roles WHERE rolname = {_literal(role)} AND NOT rolbypassrls)",
    )


# ------------------------------------------------------------------------------------ tables looked up when it runs


def _looked_up_later(role: str, publication: str, unpublished: Collection[TableName]) -> list[str]:
    name = _literal(role)
    published = f" AND NOT {_names_one_of(unpublished)}" if unpublished else ""
    parts = [
        "-- The tables, looked up now.",
        f"CREATE TEMPORARY VIEW tezcat_tables AS\nSELECT t.* FROM ({_TABLES}\n) AS t;",
        f"CREATE TEMPORARY VIEW tezcat_sequences AS{_SEQUENCES};",
        f"""\
CREATE TEMPORARY VIEW tezcat_roots AS
SELECT coalesce(root_schema, schema) AS schema, coalesce(root_name, name) AS name,
       coalesce(bool_and(identified) FILTER (WHERE kind = 'r'), bool_and(identified)) AS identified
FROM tezcat_tables AS t WHERE permanent{published} GROUP BY 1, 2;""",
    ]
    for publication_name, identified in zip(publication_names(publication), (True, False), strict=True):
        chosen = "identified" if identified else "NOT identified"
        parts += _publication(publication_name, identified=identified)
        parts.append(
            f"""\
SELECT format('ALTER PUBLICATION %I SET TABLE %s', {_literal(publication_name)},
              string_agg(format('ONLY %I.%I', schema, name), ', ' ORDER BY schema, name))
FROM tezcat_roots WHERE {chosen} HAVING count(*) > 0
\\gexec"""
        )
        parts.append(_emptied(publication_name, f"NOT EXISTS (SELECT FROM tezcat_roots WHERE {chosen})"))
    parts += [
        _MAY_READ,
        f"""\
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', schema, {name})
FROM (SELECT schema FROM tezcat_tables UNION SELECT schema FROM tezcat_sequences) AS s ORDER BY schema
\\gexec""",
        f"""\
SELECT format('GRANT SELECT ON TABLE %I.%I TO %I', schema, name, {name}) FROM tezcat_tables ORDER BY schema, name
\\gexec""",
        f"""\
SELECT format('GRANT SELECT ON SEQUENCE %I.%I TO %I', schema, name, {name}) FROM tezcat_sequences
ORDER BY schema, name
\\gexec""",
        _bypass(role, "EXISTS (SELECT FROM tezcat_tables WHERE row_security)"),
        "DROP VIEW tezcat_roots, tezcat_sequences, tezcat_tables;",
    ]
    return parts


def _names_one_of(names: Collection[TableName]) -> str:
    listed = ", ".join(f"({_literal(name.schema)}, {_literal(name.name)})" for name in sorted(names))
    return f"((t.schema, t.name) IN ({listed}) OR coalesce((t.root_schema, t.root_name) IN ({listed}), false))"


# ---------------------------------------------------------------------------------------------------- SQL text


def _if(statement: str, condition: str) -> str:
    """Have psql run a statement where a condition holds."""
    return f"SELECT {_literal(statement)} WHERE {condition}\n\\gexec"


def _literal(text: str) -> str:
    quoted = "'" + text.replace("'", "''") + "'"
    return f"E{quoted.replace(chr(92), chr(92) * 2)}" if "\\" in text else quoted


def _comment(text: str) -> str:
    """Text that stays in its comment's line."""
    return " ".join(text.split())


def _lines(items: Iterable[str]) -> str:
    return "".join(f"\n    {item}," for item in items).removesuffix(",")
