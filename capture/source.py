"""The one way to a production connection.

Every session that is opened here is read-only, has timeouts, names itself in ``application_name``, verifies TLS
outside loopback, and prints values in the one form that all of tezcat works with (UTC, ISO dates, hex bytea, exact
floats, names qualified). Every statement passes ``capture.statements.check``. Errors are ours, in words for an
operator; see ``capture.errors``.

A connection that does not talk to the server itself is refused: a pooler drops the session's settings, read-only
among them, and cannot pass on snapshots or replication.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import psycopg
from psycopg import pq
from psycopg.adapt import Buffer, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import namedtuple_row, tuple_row

from capture.errors import map_error, silent
from capture.model import BadInput, Interrupted, Refused, ServerFailed, within
from capture.statements import check

__all__ = [
    "SourceAddress",
    "SourceConnection",
    "SourceIdentity",
    "answering",
    "connect",
    "identity",
    "map_error",
    "open_replication",
    "silent",
]

# The oldest server that is read, as server_version_num has it.
_OLDEST: Final = 130000

# Catalog queries take milliseconds; one that takes a minute is in trouble, and so is the server.
CATALOG_TIMEOUT_MS: Final = 60_000

_BLOCK_BYTES: Final = 2 << 20

# How values are printed, by backends and WAL senders alike: a row masks to the same bytes whichever way it came.
_SETTINGS: Final[Mapping[str, str]] = {
    "default_transaction_read_only": "on",
    # A snapshot stays open for as long as its workers copy; snapshot.max_age bounds it.
    "idle_in_transaction_session_timeout": "0",
    # A policy must raise an error, not silently leave rows out.
    "row_security": "off",
    # Names print qualified, and nobody else's function or operator can stand in for PostgreSQL's own.
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "lc_monetary": "C",
}
# Timeouts that a server-wide setting may hold, by the version that brought them.
_LATER_TIMEOUTS: Final = ((140000, "idle_session_timeout"), (170000, "transaction_timeout"))

# Half-open connections end within a minute, those with something on its way (tcp_user_timeout) and those without.
_PATIENCE_MS: Final = 60_000
_CONNECTION_DEFAULTS: Final[Mapping[str, str]] = {
    "connect_timeout": "10",
    "gssencmode": "disable",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": str(_PATIENCE_MS),
}
# The same for production's side, so that what we left behind (a slot in use) is free again as soon.
_KEEPALIVES: Final[Mapping[str, str]] = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": str(_PATIENCE_MS),
}


@dataclass(frozen=True, slots=True, repr=False)
class SourceAddress:
    """Where a production database is, and as whom. ``str`` and ``repr`` show no password.

    ``name`` is the environment's. Outside loopback and Unix sockets ``sslmode`` is ``verify-full`` unless the URL
    says otherwise.
    """

    name: str
    parameters: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, url: str, name: str = "production") -> Self:
        """Read a ``postgresql://`` URL or a ``key=value`` string. Raises ``BadInput``, without repeating it."""
        try:
            given = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
        except psycopg.ProgrammingError:
            raise BadInput(
                f"the database_url of environment {name} cannot be read.",
                hint="It is written as postgresql://user:password@host:port/database; a special character in the "
                "password is percent-encoded.",
            ) from None
        parameters = {**_CONNECTION_DEFAULTS, **given}
        if "sslmode" not in given and not _is_local(given):
            parameters["sslmode"] = "verify-full"
        return cls(name, tuple(parameters.items()))

    def _parameter(self, key: str) -> str:
        """What libpq will use: the URL's value, or the default that it takes from its PG* variables."""
        value = dict(self.parameters).get(key)
        return _libpq_defaults().get(key, "") if value is None else value

    @property
    def host(self) -> str:
        return self._parameter("host") or self._parameter("hostaddr") or "local socket"

    @property
    def port(self) -> str:
        return self._parameter("port")

    @property
    def user(self) -> str:
        return self._parameter("user")

    @property
    def database(self) -> str:
        return self._parameter("dbname") or self.user

    @property
    def patience(self) -> float:
        """Seconds after which an answer that is due will not come: ``tcp_user_timeout``, here not of TCP alone. A proxy
        between may go on acknowledging what nobody reads."""
        return (int(self._parameter("tcp_user_timeout")) or _PATIENCE_MS) / 1000

    @property
    def label(self) -> str:
        """How errors call it: ``production (host:port/database)``."""
        return f"{self.name} ({self.host}:{self.port}/{self.database})"

    @property
    def is_free_of_gss(self) -> bool:
        """Whether GSSAPI does not encrypt the connection."""
        return self._parameter("gssencmode") == "disable"

    @property
    def conninfo(self) -> str:
        """What libpq connects by, password included: for pg_dump, which is its own connection."""
        return make_conninfo("", **dict(self.parameters))

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        return f"SourceAddress({self.label})"


def _libpq_defaults() -> dict[str, str]:
    return {option.keyword.decode(): (option.val or b"").decode() for option in pq.Conninfo.get_defaults()}


def _is_local(given: Mapping[str, str]) -> bool:
    if "service" in given and not given.keys() & {"host", "hostaddr"}:
        return False
    defaults = _libpq_defaults()
    hosts = given.get("hostaddr") or given.get("host") or defaults.get("hostaddr") or defaults.get("host") or ""
    return all(_is_loopback(host) for host in hosts.split(","))


def _is_loopback(host: str) -> bool:
    if host in {"", "localhost"} or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _session_conninfo(address: SourceAddress, settings: Mapping[str, str], **overrides: str) -> str:
    """The address with ``settings`` as the session's; of two options for one setting the server takes the later."""
    parameters = {**dict(address.parameters), **overrides}
    ours = " ".join(f"-c {key}={_escape_option(value)}" for key, value in settings.items())
    parameters["options"] = f"{parameters.get('options', '')} {ours}".strip()
    return make_conninfo("", **parameters)


def _escape_option(value: str) -> str:
    return re.sub(r"([\\\s])", r"\\\1", value)


@contextmanager
def _mapped_errors(address: SourceAddress) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise map_error(error, address) from None


class SourceConnection:
    """A read-only session on production; an async context manager that closes it. Not for use by two tasks at once.

    Outside ``begin`` and ``rollback`` each statement is a transaction of its own. All methods raise ``Refused``
    for a statement that is not on the allow-list and ``ServerFailed`` for what the server or the network says.
    """

    def __init__(
        self, connection: psycopg.AsyncConnection[Any], address: SourceAddress, *, statement_timeout_ms: int
    ) -> None:
        self.address = address
        self._connection = connection
        # The server answers by then, if only that the statement timed out.
        self._answer_seconds = statement_timeout_ms / 1000 + address.patience if statement_timeout_ms else None

    @property
    def server_version(self) -> int:
        """As ``server_version_num`` has it: 160004."""
        return self._connection.info.server_version

    @property
    def is_encrypted(self) -> bool:
        """Whether the session is under TLS."""
        return self._connection.pgconn.ssl_in_use

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session; whatever is running ends with it."""
        await self._connection.close()

    async def fetch(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[Any]:
        """The rows of a statement, as named tuples; ``[]`` when it returns none. Parameters are ``%s`` or ``%(a)s``."""
        check(sql)
        with self._not_silent(), _mapped_errors(self.address):
            cursor = await self._connection.execute(sql.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def fetch_text(self, sql: str, parameters: Sequence[Any] | None = None) -> list[tuple[bytes | None, ...]]:
        """The rows of a statement that may take long, each value in PostgreSQL's text format as it came."""
        check(sql)
        with _mapped_errors(self.address):
            # Not as named tuples: a column may have a name that no attribute can have.
            cursor = self._connection.cursor(row_factory=tuple_row)
            await cursor.execute(sql.encode(), parameters)
        result = cursor.pgresult
        assert result is not None
        places = range(result.nfields)
        return [tuple([result.get_value(row, place) for place in places]) for row in range(result.ntuples)]

    @contextmanager
    def _not_silent(self) -> Iterator[None]:
        """One statement; a server that does not even say that its time is over is taken for dead."""
        if self._answer_seconds is None:
            yield
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._answer_seconds, self._break)
        try:
            yield
        except Interrupted:
            if loop.time() >= timer.when():
                raise silent(self.address) from None
            raise
        finally:
            timer.cancel()

    def _break(self) -> None:
        """End the connection at once, so that whoever waits for it gets an error: to cancel would wait for it too."""
        with socket.socket(fileno=os.dup(self._connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    async def begin(self, snapshot: str | None = None) -> None:
        """Begin a REPEATABLE READ, READ ONLY transaction, on ``snapshot`` (an exported one's name) if it is given."""
        await self.fetch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot is not None:
            await self.fetch(f"SET TRANSACTION SNAPSHOT '{snapshot}'")

    async def rollback(self) -> None:
        """End the transaction; there is nothing to commit."""
        await self.fetch("ROLLBACK")

    async def copy_out(self, sql: str) -> AsyncGenerator[bytes, None]:
        """Run ``COPY (...) TO STDOUT``; yield blocks of whole rows in COPY text format, each about 2 MiB.

        Left before its end, the connection is closed: the server stops sending only then. Iterate within
        ``contextlib.aclosing`` so that this happens at once.
        """
        check(sql)
        connection = self._connection
        with self._not_silent():
            async with connection.lock:
                try:
                    with _mapped_errors(self.address):
                        await _start_copy(connection.pgconn, sql)
                    more = True
                    while more:
                        block = bytearray()
                        with _mapped_errors(self.address):
                            more = await _gather_rows(connection.pgconn, block)
                        if block:
                            yield bytes(block)
                finally:
                    if connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                        await connection.close()


async def _start_copy(pgconn: pq.abc.PGconn, sql: str) -> None:
    pgconn.send_query(sql.encode())
    while pgconn.flush():
        await _until_ready(pgconn, writable=True)
    result = await _next_result(pgconn)
    if result is not None and result.status != pq.ExecStatus.COPY_OUT:
        await _next_result(pgconn)
        raise psycopg.errors.error_from_result(result)


async def _gather_rows(pgconn: pq.abc.PGconn, block: bytearray) -> bool:
    """Append rows to ``block`` until it is full; False at the end of the data.

    There is no await per row, and none at all while data keeps arriving: a row costs half a microsecond.
    """
    get_copy_data = pgconn.get_copy_data
    filled = 0
    drained = False
    while filled < _BLOCK_BYTES:
        size, row = get_copy_data(1)
        if size > 0:
            block += row
            filled += size
            drained = False
        elif size < 0:
            result = await _next_result(pgconn)
            await _next_result(pgconn)
            if result is not None and result.status != pq.ExecStatus.COMMAND_OK:
                raise psycopg.errors.error_from_result(result)
            return False
        else:
            if drained:
                await _until_ready(pgconn)
            pgconn.consume_input()
            drained = not drained
    # Other tasks get their turn once a block, even when the server is always ahead.
    await asyncio.sleep(0)
    return True


async def _next_result(pgconn: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """The next result; None after the last one, which must be asked for before the connection is free again."""
    while pgconn.is_busy():
        await _until_ready(pgconn)
        pgconn.consume_input()
    return pgconn.get_result()


async def _until_ready(pgconn: pq.abc.PGconn, *, writable: bool = False) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    # TLS may hold decrypted bytes that the socket does not show, so it is looked at again now and then.
    timer = loop.call_later(0.1, ready.set)
    descriptor = pgconn.socket
    loop.add_reader(descriptor, ready.set)
    if writable:
        loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        timer.cancel()
        loop.remove_reader(descriptor)
        if writable:
            loop.remove_writer(descriptor)


async def connect(
    address: SourceAddress, *, purpose: str, statement_timeout_ms: int = CATALOG_TIMEOUT_MS
) -> SourceConnection:
    """Open a read-only session; ``application_name`` is ``tezcat <purpose>``. 0 means no statement timeout (COPY).

    Raises ``ServerFailed`` when the server cannot be reached, is too old or is not spoken to directly. The role's
    privileges are judged by ``capture.privileges``, once an operation.
    """
    settings = {**_SETTINGS, **_KEEPALIVES, "statement_timeout": str(statement_timeout_ms), "lock_timeout": "5000"}
    connection = await _open(address, purpose, settings)
    return SourceConnection(connection, address, statement_timeout_ms=statement_timeout_ms)


async def open_replication(address: SourceAddress, purpose: str) -> psycopg.AsyncConnection[Any]:
    """Open a logical replication session (autocommit). It speaks SQL too, and is as read-only as the others.

    The caller passes commands by ``capture.statements.check_replication`` and errors through ``map_error``.
    """
    settings = {
        **_SETTINGS,
        **_KEEPALIVES,
        # Making a slot waits for every transaction that runs, which looks like a lock to the server.
        "statement_timeout": "0",
        "lock_timeout": "0",
        # Whatever the server's own is: by it the server notices that we are gone, and half way it says that it lives.
        "wal_sender_timeout": str(int(address.patience * 1000)),
    }
    return await _open(address, purpose, settings, replication="database")


async def _open(
    address: SourceAddress, purpose: str, settings: Mapping[str, str], **overrides: str
) -> psycopg.AsyncConnection[Any]:
    identified = {"application_name": f"tezcat {purpose}", "client_encoding": "UTF8"}
    conninfo = _session_conninfo(address, settings, **identified, **overrides)
    with _mapped_errors(address):
        connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True, row_factory=namedtuple_row)
    try:
        async with answering(address):
            with _mapped_errors(address):
                await _confirm_session(connection, address)
    except BaseException:
        await connection.close()
        raise
    return connection


@asynccontextmanager
async def answering(address: SourceAddress) -> AsyncIterator[None]:
    """What production answers at once, if it answers at all. Raises ``Interrupted``."""
    async with within(address.patience, silent(address)):
        yield


class _Utf8(Loader):
    """A name or comment of a database in SQL_ASCII, where bytes mean what its users agreed on: UTF-8, or nothing."""

    def load(self, data: Buffer) -> str:
        try:
            return bytes(data).decode()
        except UnicodeDecodeError:
            raise ServerFailed(
                "production's encoding is SQL_ASCII, and a name or a comment in its catalog is not UTF-8.",
                hint="Rename it in UTF-8. Rows may hold any bytes.",
            ) from None


async def _confirm_session(connection: psycopg.AsyncConnection[Any], address: SourceAddress) -> None:
    """See that the session is a known server's own and read-only, and lift timeouts that only later versions know."""
    if connection.info.server_version < _OLDEST:
        found = connection.info.parameter_status("server_version")
        raise ServerFailed(
            f"{address.label}: PostgreSQL {found} is too old.",
            hint=f"PostgreSQL {_OLDEST // 10000} is the oldest that tezcat reads.",
        )
    # Text comes as UTF-8, which PostgreSQL makes of any other encoding and back without loss. SQL_ASCII is none: its
    # bytes come as they are.
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        await connection.execute("SET client_encoding = 'SQL_ASCII'")
        for name in ("text", "name", "varchar", "bpchar"):
            connection.adapters.register_loader(name, _Utf8)
    for version, timeout in _LATER_TIMEOUTS:
        if connection.info.server_version >= version:
            await connection.execute(f"SET {timeout} = 0".encode())
    cursor = await connection.execute("SELECT pg_backend_pid(), current_setting('default_transaction_read_only')")
    row = await cursor.fetchone()
    pid, read_only = row if row is not None else (0, "off")
    # A pooler makes up the process id that it gives to its clients.
    if pid != connection.info.backend_pid:
        raise ServerFailed(
            f"{address.label}: a connection pooler answers at that address.",
            hint="Give the server's own address in the database_url: replication and snapshots do not pass a pooler.",
        )
    if read_only != "on":
        raise Refused(
            f"{address.label}: the session could not be made read-only.",
            hint="Something between here and the server drops the session's settings. Give the server's own address.",
        )


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Which database this is, whatever its host is called. ``server_version`` is ``server_version_num``."""

    system_identifier: str
    database: str
    timeline: int
    server_version: int
    in_recovery: bool


async def identity(connection: SourceConnection) -> SourceIdentity:
    """Ask the server who it is. Raises ``ServerFailed``."""
    (row,) = await connection.fetch(
        """
        SELECT s.system_identifier::text AS system_identifier, current_database()::text AS database,
               c.timeline_id AS timeline, pg_is_in_recovery() AS in_recovery
        FROM pg_control_system() AS s, pg_control_checkpoint() AS c
        """
    )
    return SourceIdentity(row.system_identifier, row.database, row.timeline, connection.server_version, row.in_recovery)
