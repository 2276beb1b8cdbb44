"""Whether the role on production could write there.

A READ ONLY transaction is no proof of harmlessness: a session can end it. What counts is what the role may do, by
itself, through PUBLIC, or as any role that it may become. ``audit`` lists what is too much; ``refuse_writable_role``
stops an operation over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from capture.model import Refused
from capture.source import SourceConnection

_SHOWN: Final = 3

# Roles of PostgreSQL itself that write, run programs, or disturb other sessions.
_POWERS: Final = [
    "pg_write_all_data",
    "pg_write_server_files",
    "pg_execute_server_program",
    "pg_maintain",
    "pg_create_subscription",
    "pg_checkpoint",
    "pg_signal_backend",
    "pg_signal_autovacuum_worker",
]

# All that the session could become by SET ROLE counts, whether it inherits from it or not.
_ROLES: Final = "roles AS (SELECT r.oid, r.rolname FROM pg_roles r WHERE pg_has_role(r.oid, 'MEMBER'))"
_NOT_SYSTEM: Final = "n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg|_%%' ESCAPE '|'"

_ATTRIBUTES: Final = """
SELECT quote_ident(r.rolname) AS through, r.rolsuper, r.rolcreaterole, r.rolcreatedb
FROM pg_roles r WHERE pg_has_role(r.oid, 'MEMBER') AND (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb)
ORDER BY r.rolname <> current_user, r.rolname"""

_MEMBERSHIPS: Final = """
SELECT quote_ident(r.rolname) AS name FROM pg_roles r WHERE r.rolname = ANY(%(powers)s) AND pg_has_role(r.oid, 'MEMBER')
ORDER BY r.rolname"""

_TABLES: Final = f"""
WITH {_ROLES}
SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_NOT_SYSTEM}
  AND EXISTS (SELECT 1 FROM roles r WHERE has_table_privilege(r.oid, c.oid, %(privileges)s)
              OR has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE, REFERENCES'))
ORDER BY c.oid::regclass::text"""

_SEQUENCES: Final = f"""
WITH {_ROLES}
SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND {_NOT_SYSTEM}
  AND EXISTS (SELECT 1 FROM roles r WHERE has_sequence_privilege(r.oid, c.oid, 'USAGE, UPDATE'))
ORDER BY c.oid::regclass::text"""

_SCHEMAS: Final = f"""
WITH {_ROLES}
SELECT quote_ident(n.nspname) AS name, has_schema_privilege('public', n.oid, 'CREATE') AS everybody
FROM pg_namespace n
WHERE {_NOT_SYSTEM} AND EXISTS (SELECT 1 FROM roles r WHERE has_schema_privilege(r.oid, n.oid, 'CREATE'))
ORDER BY n.nspname"""

_DATABASE: Final = f"""
WITH {_ROLES}
SELECT quote_ident(current_database()) AS name
WHERE EXISTS (SELECT 1 FROM roles r WHERE has_database_privilege(r.oid, current_database(), 'CREATE'))"""

_OWNED: Final = f"""
WITH {_ROLES}
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS name
FROM pg_shdepend d
WHERE d.deptype = 'o' AND d.refclassid = 'pg_authid'::regclass AND d.refobjid IN (SELECT r.oid FROM roles r)
  AND d.dbid IN (0, (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()))
ORDER BY d.classid = 'pg_class'::regclass DESC, d.objid"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One power that a reader does not need: what it is, and the SQL or advice that takes it away."""

    name: str
    message: str
    remedy: str


async def audit(connection: SourceConnection) -> list[Finding]:
    """What the session's role could change on production; ``[]`` for a role that can only read."""
    ((role,),) = await connection.fetch("SELECT quote_ident(current_user)")
    attributes = await connection.fetch(_ATTRIBUTES)
    if any(row.rolsuper for row in attributes):
        # A superuser has every other power as well; naming them adds nothing.
        return [Finding("superuser", f"role {role} is, or can become, a superuser.", _OTHER_ROLE)]
    findings: list[Finding] = []

    def note(name: str, what: str, found: list[str], remedy: str) -> None:
        if found:
            findings.append(Finding(name, f"role {role} {what} {_enumerated(found)}.", remedy))

    for attribute, keyword in (("rolcreaterole", "CREATEROLE"), ("rolcreatedb", "CREATEDB")):
        through = [row.through for row in attributes if getattr(row, attribute)]
        note(
            keyword.lower(), f"has {keyword} as", through, f"ALTER ROLE {through[0] if through else role} NO{keyword};"
        )
    memberships = [row.name for row in await connection.fetch(_MEMBERSHIPS, {"powers": _POWERS})]
    note("membership", "is a member of", memberships, f"REVOKE {', '.join(memberships)} FROM {role};")
    owned = [row.name for row in await connection.fetch(_OWNED)]
    note("ownership", "owns", owned, f"{_OTHER_ROLE} Or REASSIGN OWNED BY {role} TO another role.")

    privileges = "INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
    if connection.server_version >= 170000:
        privileges += ", MAINTAIN"
    tables = [row.name for row in await connection.fetch(_TABLES, {"privileges": privileges})]
    note("tables", "may change", tables, f"REVOKE {privileges} ON those tables FROM {role}, {_FROM_WHOM}")
    sequences = [row.name for row in await connection.fetch(_SEQUENCES)]
    note("sequences", "may advance", sequences, f"REVOKE USAGE, UPDATE ON those sequences FROM {role}, {_FROM_WHOM}")

    schemas = await connection.fetch(_SCHEMAS)
    everybody = [row.name for row in schemas if row.everybody]
    alone = [row.name for row in schemas if not row.everybody]
    note(
        "schemas",
        "may, as everybody may (the default before PostgreSQL 15), create objects in schema",
        everybody,
        f"REVOKE CREATE ON SCHEMA {', '.join(everybody)} FROM PUBLIC; see first that nothing else counts on it.",
    )
    note(
        "schemas",
        "may create objects in schema",
        alone,
        f"REVOKE CREATE ON SCHEMA {', '.join(alone)} FROM {role}, {_FROM_WHOM}",
    )
    databases = [row.name for row in await connection.fetch(_DATABASE)]
    note(
        "database",
        "may create schemas in database",
        databases,
        f"REVOKE CREATE ON DATABASE {', '.join(databases)} FROM {role}, {_FROM_WHOM}",
    )
    return findings


_OTHER_ROLE: Final = "Use a role of its own: `tezcat source sql` prints one that can only read."
_FROM_WHOM: Final = "from PUBLIC, or from the group that it has it through."


def _enumerated(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


async def refuse_writable_role(connection: SourceConnection, *, accept: bool) -> list[Finding]:
    """Stop unless the role can only read, or ``accept`` says to go on; then return what the audit trail must hold.

    Raises ``Refused`` with everything that was found.
    """
    findings = await audit(connection)
    if findings and not accept:
        raise Refused(
            f"{connection.address.label}: the role could change production. "
            + " ".join(f"{finding.message} {finding.remedy}" for finding in findings),
            hint="Take these rights away, or say --accept-writable-role, which the audit trail will show.",
        )
    return findings
