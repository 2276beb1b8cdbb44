"""The one way to a writable connection.

``connect`` refuses any database that is registered as production, by (system identifier, database), whatever the
host name says. ``standing`` tells what a database is to us: empty, a copy of ours, or somebody else's; only the first
two may be written to. Errors of the target server become ``ServerFailed`` here, without any value of a row: a
server's message of a class that can quote values is left out, its table and constraint are named instead.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from capture.model import (
    BadInput,
    DatabaseIdentity,
    Interrupted,
    Refused,
    ServerFailed,
    TableName,
    quote_identifier,
    within,
)


class Connection(psycopg.AsyncConnection[TupleRow]):
    """A session on a target; a context manager that closes it. What was not committed the server undoes by itself: it
    is not asked to, since it may not answer any more."""

    async def __aexit__(self, *_: object) -> None:
        await self.close()


# How long a command that ends tries to put a target in order.
_LEAVE_SECONDS: Final = 5.0

# Half-open connections end within a minute, those with something on its way (tcp_user_timeout) and those without.
_PATIENCE_MS: Final = 60_000
_CONNECTION_DEFAULTS: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": _PATIENCE_MS,
}

# Text goes in and comes out as production's sessions print it, or the bytes would differ where the data do not. A
# commit is durable unless we say otherwise, whatever the server's or the role's default is: production is told so.
_SETTINGS: Final = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex"
    " -c xmlbinary=base64 -c lc_monetary=C -c search_path=pg_catalog -c row_security=off"
    " -c synchronous_commit=local -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
)

# What only some versions know. The server, too, notices within a minute that we are gone, also while we wait for a
# lock: until then what we left behind would keep the next runner out.
_LATER_SETTINGS: Final = """SELECT set_config(name, value, false) FROM pg_settings JOIN (VALUES
    ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('tcp_keepalives_idle', '30'),
    ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '60s'),
    ('client_connection_check_interval', '2s')) AS ours (name, value) USING (name)
  -- Where the platform cannot do it, the server refuses the setting.
  WHERE name <> 'client_connection_check_interval' OR version() ~ '(linux|darwin|bsd)'"""


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
        parameters = {**_CONNECTION_DEFAULTS, **parameters, "client_encoding": "UTF8", "options": options}
        return cls(name, make_conninfo("", **{key: value for key, value in parameters.items() if value is not None}))

    @property
    def label(self) -> str:
        """``test (localhost:5433/test)``, for messages."""
        parameters = conninfo_to_dict(self.conninfo)
        host = parameters.get("host") or parameters.get("hostaddr") or "localhost"
        return f"{self.name} ({host}:{parameters.get('port') or 5432}/{parameters.get('dbname') or ''})"

    @property
    def patience(self) -> float:
        """Seconds after which an answer that is due will not come: ``tcp_user_timeout``, here not of TCP alone."""
        return (int(conninfo_to_dict(self.conninfo)["tcp_user_timeout"] or 0) or _PATIENCE_MS) / 1000


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
        connection = await Connection.connect(address.conninfo, autocommit=True, application_name=f"tezcat {purpose}")
    except psycopg.Error as error:
        raise connection_failure(error, address) from None
    try:
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            await _pass_bytes(connection)
        identity = await read_identity(connection)
        if identity in productions:
            raise Refused(
                f"environment {address.name} leads to the production database {identity.database} "
                f"(system identifier {identity.system_identifier}): a copy never overwrites production.",
                hint="Correct the database_url of that environment.",
            )
        await fetch(connection, _LATER_SETTINGS)
        await connection.set_autocommit(autocommit)
    except BaseException:
        await connection.close()
        raise
    return connection


@asynccontextmanager
async def leaving() -> AsyncIterator[None]:
    """What is still done in a target when its work has ended, well or badly: a server that does not answer is not
    waited for. Raises ``Interrupted``; the connection is of no use then, and all that its session held is let go."""
    async with within(_LEAVE_SECONDS, Interrupted("the target does not answer.")):
        yield


@asynccontextmanager
async def answering(address: TargetAddress) -> AsyncIterator[None]:
    """What a target answers at once, if it answers at all. Raises ``Interrupted``; a connection that was waited for is
    of no use then."""
    late = Interrupted(
        f"environment {address.label} has not answered for {address.patience:.0f} seconds.",
        hint="Its server may be halted, or somebody has locked the tables of the schema tezcat there.",
    )
    async with within(address.patience, late):
        yield


class _Utf8(Loader):
    """Text of a database in SQL_ASCII: names, which are production's, and what we wrote ourselves."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "replace")


async def _pass_bytes(connection: Connection) -> None:
    """SQL_ASCII is no encoding: rows go in and come out byte by byte, and production's do too."""
    await fetch(connection, "SET client_encoding = 'SQL_ASCII'")
    for name in ("text", "name", "varchar", "bpchar"):
        connection.adapters.register_loader(name, _Utf8)


async def refuse_other_encoding(connection: Connection, address: TargetAddress, encoding: str) -> None:
    """Raise ``Refused`` where the target cannot hold every text of a production in ``encoding`` as it is there.

    UTF8 holds what any other encoding does. SQL_ASCII tells nobody what its bytes mean, so they fit only itself.
    """
    theirs = connection.info.parameter_status("server_encoding")
    if theirs == encoding or (theirs == "UTF8" and encoding != "SQL_ASCII"):
        return
    fitting = "SQL_ASCII" if encoding == "SQL_ASCII" else " or ".join(dict.fromkeys((encoding, "UTF8")))
    raise Refused(
        f"production's encoding is {encoding}, and environment {address.label} has {theirs}, which cannot hold all of "
        "its text as it is.",
        hint=f"Make the target's database with an encoding that can, {fitting}: CREATE DATABASE ... "
        f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0;",
    )


async def read_identity(connection: Connection) -> DatabaseIdentity:
    """Which database of which cluster this is."""
    rows = await fetch(connection, "SELECT system_identifier::text, current_database() FROM pg_control_system()")
    return DatabaseIdentity(*rows[0])


class Backend(NamedTuple):
    """A session as the server knows it; pids come again, so it has its start beside it."""

    pid: int
    started: datetime


async def backend(connection: Connection) -> Backend:
    """The server's side of a connection."""
    rows = await fetch(connection, "SELECT pid, backend_start FROM pg_stat_get_activity(pg_backend_pid())")
    return Backend(*rows[0])


async def end_backend(connection: Connection, left: Backend) -> None:
    """Have the server end a session of ours that it has not given up, though we have."""
    await fetch(
        connection, "SELECT pg_terminate_backend(pid) FROM pg_stat_get_activity(%s) WHERE backend_start = %s", left
    )


async def fetch(connection: Connection, statement: str, parameters: tuple[Any, ...] = ()) -> list[TupleRow]:
    """Run one statement; its rows, or none. Raises ``ServerFailed``."""
    try:
        cursor = await connection.execute(statement.encode(), parameters or None)
        return await cursor.fetchall() if cursor.description else []
    except psycopg.Error as error:
        raise failure(error) from None


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """A transaction, committed when the block ends well and rolled back when it raises. Raises ``ServerFailed``."""
    await fetch(connection, "BEGIN")
    try:
        yield
        await fetch(connection, "COMMIT")
    except BaseException:
        with contextlib.suppress(ServerFailed):
            await fetch(connection, "ROLLBACK")
        raise


@contextlib.asynccontextmanager
async def savepoint(connection: Connection) -> AsyncIterator[None]:
    """A part of a transaction, undone alone when the block raises. Raises ``ServerFailed``."""
    await fetch(connection, "SAVEPOINT tezcat_part")
    try:
        yield
        await fetch(connection, "RELEASE SAVEPOINT tezcat_part")
    except BaseException:
        with contextlib.suppress(ServerFailed):
            await fetch(connection, "ROLLBACK TO SAVEPOINT tezcat_part")
        raise


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


class _Refusal(NamedTuple):
    """What a server, or the way to it, says of a connection that it does not take."""

    pattern: str
    message: str
    hint: str
    passes: bool = False


_REFUSALS: Final = (
    _Refusal(
        r"password authentication failed|no password supplied",
        "refused the password",
        "Correct the password in that environment's database_url.",
    ),
    _Refusal(r'database ".*" does not exist', "has no such database", "Create it first: CREATE DATABASE ..."),
    _Refusal(r'role ".*" does not exist', "has no such role", "Create the role or correct the database_url."),
    _Refusal(
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "lets this user in from here by no line of its pg_hba.conf",
        "Ask its administrator.",
    ),
    _Refusal(
        r"does not support SSL",
        "offers no TLS, which its database_url demands",
        "Correct sslmode, or have the server's ssl turned on.",
    ),
    _Refusal(
        r"certificate|signature failure|unable to get local issuer",
        "has a TLS certificate that could not be verified",
        "Give the authority's certificate with sslrootcert=PATH in the database_url, and the host by the name that "
        "the certificate bears.",
    ),
    _Refusal(
        r"could not translate host name|[Nn]ame or service not known|failed to resolve host|No address associated",
        "has a host whose name cannot be resolved",
        "Correct the host in that environment's database_url.",
    ),
    _Refusal(
        r"server closed the connection unexpectedly|received invalid response to SSL negotiation"
        r"|expected authentication request",
        "hangs up, or is no PostgreSQL server",
        "Correct host and port in that environment's database_url; a server that is in trouble says why in its log.",
        passes=True,
    ),
    _Refusal(
        r"too many clients|remaining connection slots|too many connections",
        "takes no more connections",
        "Wait, or raise max_connections there.",
        passes=True,
    ),
    _Refusal(
        r"database system is (?:starting up|shutting down|in recovery mode|not yet accepting|not accepting)",
        "is starting or stopping",
        "Try again when it is up.",
        passes=True,
    ),
)


def connection_failure(error: psycopg.Error, address: TargetAddress) -> ServerFailed:
    """Why a connection could not be made, and what to do."""
    where = f"environment {address.label}"
    for refusal in _REFUSALS:
        if re.search(refusal.pattern, str(error)):
            kind = Interrupted if refusal.passes else ServerFailed
            return kind(f"{where} {refusal.message}.", hint=refusal.hint)
    return Interrupted(
        f"{where} cannot be reached.", hint="Check that the server runs, and the host and port in database_url."
    )


# Of these SQLSTATE classes the primary message names objects only: syntax and access (42), resources (53), limits
# (54), prerequisite state (55), intervention (57), system (58), configuration (F0), features (0A).
_SPEAKABLE: Final = frozenset({"42", "53", "54", "55", "57", "58", "F0", "0A", "25", "08", "40", "3F", "3D", "28"})
_RECOVERABLE: Final = ("08", "40", "53", "57", "55P03")  # and a lock that was not to be had in time


def failure(error: psycopg.Error, *, into: TableName | None = None) -> ServerFailed:
    """A target server's error without values. ``into`` is the table of a COPY, which the server names in words only."""
    diagnostic = error.diag
    schema, table, column = diagnostic.schema_name, diagnostic.table_name, diagnostic.column_name
    if into is not None and table is None:
        schema, table = into
        # No more is taken from there: the value follows.
        said = re.match(rf"COPY {re.escape(table)}, line \d+, column (.+?): ", diagnostic.context or "")
        column = said[1] if said is not None else None
    return describe(
        error.sqlstate,
        diagnostic.message_primary,
        schema=schema,
        table=table,
        constraint=diagnostic.constraint_name,
        column=column,
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
    kind = Interrupted if sqlstate.startswith(_RECOVERABLE) else ServerFailed
    return kind(f"the target failed with SQLSTATE {sqlstate}{where}{said}.", hint=_HINTS.get(sqlstate, ""))


_NO_VALUE: Final = (
    "A masked value is none of its column's type; if a constant stands there, write it as PostgreSQL does."
)
_NOT_VALID: Final = (
    "If the constraint is NOT VALID in production, an old row breaks it there too: mend the row, or drop the "
    "constraint in the copy."
)
_HINTS: Final = {
    "22003": _NO_VALUE,
    "22007": _NO_VALUE,
    "22008": _NO_VALUE,
    "22026": _NO_VALUE,
    "22P02": _NO_VALUE,
    "22P05": "A masked value holds a character that the target's encoding lacks; clone into a database in UTF8.",
    "23505": "A row that was written into the copy by hand may stand in the way; remove it, or clone again.",
    "23502": f"A masked value is NULL where none may be; choose another mask for its column. {_NOT_VALID}",
    "23514": f"A masked value breaks a CHECK constraint; choose another mask for its column. {_NOT_VALID}",
    "22001": "A masked value is too long for its column; choose another mask.",
    "53100": "The target's disk is full; make room, then go on.",
    "55P03": "Somebody who uses the copy has locked the table; try again when they are done.",
    "42501": "Grant the target's user what it lacks; it must own its database.",
    "42704": "Install what is missing on the target's server, or create it there.",
    "0A000": "Install what is missing on the target's server.",
}
