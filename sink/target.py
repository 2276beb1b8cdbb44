"""The one way to a writable connection.

``connect`` refuses any database that is registered as production, by (system identifier, database), whatever the
host name says. ``standing`` tells what a database is to us: empty, a copy of ours, or somebody else's; only the first
two may be written to. Errors of the target server become ``ServerFailed`` here, without any value of a row: a
server's message of a class that can quote values is left out, its table and constraint are named instead.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from capture.model import BadInput, DatabaseIdentity, Interrupted, Refused, ServerFailed, TableName, quote_identifier

Connection = psycopg.AsyncConnection[TupleRow]

# Text goes in and comes out as production's sessions print it, or the bytes would differ where the data do not. A
# commit is durable unless we say otherwise, whatever the server's or the role's default is: production is told so.
_SETTINGS: Final = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex"
    " -c xmlbinary=base64 -c lc_monetary=C -c search_path=pg_catalog -c row_security=off"
    " -c synchronous_commit=local -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
)


@dataclass(frozen=True, slots=True)
class TargetAddress:
    """Where a copy lives. The ``repr`` shows no password."""

    name: str
    conninfo: str = field(repr=False)

    @classmethod
    def parse(cls, url: str, *, name: str) -> Self:
        """Take a URL or a libpq connection string. Raises ``BadInput``."""
        try:
            parameters = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise BadInput(
                f"the database_url of environment {name} is not a PostgreSQL connection string.",
                hint="Write it as postgresql://user@host:port/database.",
            ) from None
        # Of two options for one setting the server takes the later.
        options = f"{parameters.get('options') or ''} {_SETTINGS}".strip()
        parameters = {"connect_timeout": 10, **parameters, "client_encoding": "UTF8", "options": options}
        return cls(name, make_conninfo("", **{key: value for key, value in parameters.items() if value is not None}))

    @property
    def label(self) -> str:
        """``test (localhost:5433/test)``, for messages."""
        parameters = conninfo_to_dict(self.conninfo)
        host = parameters.get("host") or parameters.get("hostaddr") or "localhost"
        return f"{self.name} ({host}:{parameters.get('port') or 5432}/{parameters.get('dbname') or ''})"


class Standing(StrEnum):
    """What a target database is to us."""

    EMPTY = "empty"
    OURS = "ours"
    FOREIGN = "foreign"


async def connect(
    address: TargetAddress, *, productions: Collection[DatabaseIdentity], purpose: str, autocommit: bool = True
) -> Connection:
    """Open a guarded connection to a target.

    Raises ``Refused`` when the database is one of ``productions``, ``ServerFailed`` when it cannot be reached.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(
            address.conninfo, autocommit=True, application_name=f"tezcat {purpose}"
        )
    except psycopg.Error as error:
        raise connection_failure(error, address) from None
    try:
        identity = await read_identity(connection)
        if identity in productions:
            raise Refused(
                f"environment {address.name} leads to the production database {identity.database} "
                f"(system identifier {identity.system_identifier}): a copy never overwrites production.",
                hint="Correct the database_url of that environment.",
            )
        await connection.set_autocommit(autocommit)
    except BaseException:
        await connection.close()
        raise
    return connection


async def read_identity(connection: Connection) -> DatabaseIdentity:
    """Which database of which cluster this is."""
    rows = await fetch(connection, "SELECT system_identifier::text, current_database() FROM pg_control_system()")
    return DatabaseIdentity(*rows[0])


async def fetch(connection: Connection, statement: str, parameters: tuple[Any, ...] = ()) -> list[TupleRow]:
    """Run one statement; its rows, or none. Raises ``ServerFailed``."""
    try:
        cursor = await connection.execute(statement.encode(), parameters or None)
        return await cursor.fetchall() if cursor.description else []
    except psycopg.Error as error:
        raise failure(error) from None


async def standing(connection: Connection) -> Standing:
    """Whether the database is empty, bears our mark, or is somebody else's."""
    rows = await fetch(connection, "SELECT to_regclass('tezcat.progress') IS NOT NULL")
    if rows[0][0]:
        return Standing.OURS
    rows = await fetch(
        connection,
        """SELECT EXISTS (
             SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
                AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'))""",
    )
    return Standing.FOREIGN if rows[0][0] else Standing.EMPTY


# ---------------------------------------------------------------------------------------------------- errors


def connection_failure(error: psycopg.Error, address: TargetAddress) -> ServerFailed:
    """Why a connection could not be made, and what to do."""
    text = str(error)
    where = f"environment {address.label}"
    if "password authentication failed" in text or "no password supplied" in text:
        return ServerFailed(
            f"{where} refused the password.", hint="Correct the password in that environment's database_url."
        )
    if 'database "' in text and "does not exist" in text:
        return ServerFailed(f"{where}: there is no such database.", hint="Create it first: CREATE DATABASE ...")
    if 'role "' in text and "does not exist" in text:
        return ServerFailed(f"{where}: there is no such role.", hint="Create the role or correct the database_url.")
    if "no pg_hba.conf entry" in text or "pg_hba.conf rejects" in text:
        return ServerFailed(
            f"{where} lets this user in from here by no line of its pg_hba.conf.", hint="Ask its administrator."
        )
    if "does not support SSL" in text:
        return ServerFailed(
            f"{where} offers no TLS, which its database_url demands.", hint="Correct sslmode or the server."
        )
    return Interrupted(
        f"{where} cannot be reached.", hint="Check that the server runs, and the host and port in database_url."
    )


# Of these SQLSTATE classes the primary message names objects only: syntax and access (42), resources (53), limits
# (54), prerequisite state (55), intervention (57), system (58), configuration (F0), features (0A).
_SPEAKABLE: Final = frozenset({"42", "53", "54", "55", "57", "58", "F0", "0A", "25", "08", "40", "3F", "3D", "28"})
_RECOVERABLE: Final = frozenset({"08", "40", "53", "57"})


def failure(error: psycopg.Error) -> ServerFailed:
    """A target server's error without values."""
    diagnostic = error.diag
    return describe(
        error.sqlstate,
        diagnostic.message_primary,
        schema=diagnostic.schema_name,
        table=diagnostic.table_name,
        constraint=diagnostic.constraint_name,
        column=diagnostic.column_name,
    )


def result_failure(result: PGresult) -> ServerFailed:
    """The same for a result of the ``pq`` layer."""
    from psycopg.pq import DiagnosticField as Field

    def text(field_name: Field) -> str | None:
        value = result.error_field(field_name)
        return value.decode("utf-8", "replace") if value is not None else None

    return describe(
        text(Field.SQLSTATE),
        text(Field.MESSAGE_PRIMARY),
        schema=text(Field.SCHEMA_NAME),
        table=text(Field.TABLE_NAME),
        constraint=text(Field.CONSTRAINT_NAME),
        column=text(Field.COLUMN_NAME),
    )


def describe(
    sqlstate: str | None,
    message: str | None,
    *,
    schema: str | None = None,
    table: str | None = None,
    constraint: str | None = None,
    column: str | None = None,
) -> ServerFailed:
    """One paragraph from an error's fields."""
    if sqlstate is None:
        return Interrupted("the connection to the target was lost.", hint="Check that its server runs, then go on.")
    where = f" at {TableName(schema, table)}" if schema and table else ""
    if column:
        where += f", column {quote_identifier(column)}"
    if constraint:
        where += f", constraint {quote_identifier(constraint)}"
    said = f": {message}" if message and sqlstate[:2] in _SPEAKABLE else ""
    kind = Interrupted if sqlstate[:2] in _RECOVERABLE else ServerFailed
    return kind(f"the target failed with SQLSTATE {sqlstate}{where}{said}.", hint=_HINTS.get(sqlstate, ""))


_HINTS: Final = {
    "23505": "A row that was written into the copy by hand may stand in the way; remove it, or clone again.",
    "23514": "A masked value breaks a CHECK constraint; choose another mask for its column.",
    "22001": "A masked value is too long for its column; choose another mask.",
    "53100": "The target's disk is full; make room, then go on.",
    "42501": "Grant the target's user what it lacks; it must own its database.",
    "42704": "Install what is missing on the target's server, or create it there.",
    "0A000": "Install what is missing on the target's server.",
}
