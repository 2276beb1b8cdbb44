"""What the target's user must be allowed before a clone makes anything there."""

from __future__ import annotations

import psycopg

from capture.model import ServerFailed
from sink.target import Connection, TargetAddress, failure, fetch

_RIGHTS = """
SELECT quote_ident(current_user), quote_ident(current_database()),
       has_database_privilege(current_database(), 'CREATE')
         AND coalesce(bool_and(has_schema_privilege(oid, 'CREATE')), true)
  FROM pg_namespace WHERE nspname = 'public'"""
_PARAMETERS_SINCE = 150000


async def check_rights(connection: Connection, address: TargetAddress) -> None:
    """Raise ``ServerFailed`` with the SQL that gives the user what it lacks: to make schemas and tables, and to keep
    triggers and foreign keys quiet while rows are written."""
    ((user, database, may_create),) = await fetch(connection, _RIGHTS)
    lacks: list[str] = []
    grants: list[str] = []
    if not may_create:
        lacks.append("make schemas and tables")
        grants.append(f"ALTER DATABASE {database} OWNER TO {user};")
    if not await _may_quiet_triggers(connection):
        lacks.append("set session_replication_role, without which triggers would fire again in the copy")
        if connection.info.server_version >= _PARAMETERS_SINCE:
            grants.append(f"GRANT SET ON PARAMETER session_replication_role TO {user};")
        else:
            grants.append(f"ALTER ROLE {user} SUPERUSER;")
    if lacks:
        raise ServerFailed(
            f"environment {address.label}: its user {user} may not {', nor '.join(lacks)}.",
            hint=f"As a superuser of the target: {' '.join(grants)}",
        )


async def _may_quiet_triggers(connection: Connection) -> bool:
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.Error as error:
        raise failure(error) from None
    return True
