"""What production's errors mean to an operator: one paragraph each, and what to do.

``map_error`` is the one place where an error of the driver becomes one of ours. A server's DETAIL, CONTEXT and most
of its messages can hold values of rows, so nothing of them passes, save the first line of messages of SQLSTATEs
that only ever name objects. Errors while connecting carry no SQLSTATE and come before any row is read; they are
told apart by their text, and passed on whole where that is not known. What may pass by itself is ``Interrupted``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg

from capture.model import Interrupted, ServerFailed

if TYPE_CHECKING:
    from capture.source import SourceAddress


class _Meaning(NamedTuple):
    pattern: str
    message: str
    hint: str
    passes: bool = False


# What is said while connecting. ``{0}``, ``{1}`` are the pattern's groups.
_CONNECTING: Final = (
    _Meaning(
        r"password authentication failed for user \"(.+?)\"",
        "the password of role {0} is wrong.",
        "Correct it in the environment's database_url, or in the variable that it points to.",
    ),
    _Meaning(
        r"no password supplied",
        "the server asks for a password and none was given.",
        "Write it into the environment's database_url, or into a password file (~/.pgpass).",
    ),
    _Meaning(
        r"database \"(.+?)\" does not exist",
        "there is no database named {0} on that server.",
        "Correct the name at the end of the environment's database_url.",
    ),
    _Meaning(
        r"role \"(.+?)\" (?:does not exist|is not permitted to log in)",
        "the role {0} does not exist there, or must not log in.",
        "`tezcat source sql` prints the SQL with which the DBA creates it.",
    ),
    _Meaning(
        r"no pg_hba\.conf entry for .*(?:no encryption|SSL off)",
        "the server has no pg_hba.conf entry for this role, database and address without TLS.",
        "Ask for TLS with sslmode=verify-full in the database_url, or ask the DBA for an entry in pg_hba.conf.",
    ),
    _Meaning(
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "the server's pg_hba.conf does not let this role connect to this database from here.",
        "Ask the DBA for an entry in pg_hba.conf. Logical replication uses the same entry as other connections.",
    ),
    _Meaning(
        r"server does not support SSL",
        "TLS is demanded and the server does not offer it.",
        "Ask the DBA to turn ssl on. Where the network is trusted, say sslmode=disable in the database_url.",
    ),
    _Meaning(
        r"root certificate file|certificate verify failed|server certificate for|self.signed certificate"
        r"|signature failure|unable to get local issuer",
        "the server's TLS certificate could not be verified.",
        "Give the authority's certificate with sslrootcert=PATH in the database_url (sslrootcert=system for the "
        "system's own), and the host by the name that the certificate bears.",
    ),
    _Meaning(
        r"SSL error: (.+)|(SSL SYSCALL error.*)",
        "the TLS connection could not be made.",
        "See that both sides know a common version of TLS, and that nothing between them cuts it off.",
    ),
    _Meaning(
        r"could not translate host name|[Nn]ame or service not known|failed to resolve host|No address associated",
        "the host's name cannot be resolved.",
        "Correct the host in the environment's database_url.",
    ),
    _Meaning(
        r"Connection refused|No route to host|Network is unreachable|No such file or directory|timeout expired"
        r"|timed out",
        "nothing answers at that address.",
        "See that the server runs, listens there, and that no firewall stands between.",
        True,
    ),
    _Meaning(
        r"server closed the connection unexpectedly|received invalid response to SSL negotiation"
        r"|expected authentication request",
        "what answers at that address hangs up, or is no PostgreSQL server.",
        "Correct host and port in the environment's database_url; a server that is in trouble says why in its log.",
        True,
    ),
    _Meaning(
        r"too many clients|remaining connection slots|too many connections for|sorry, too many",
        "the server takes no more connections.",
        "Wait, or ask the DBA to raise max_connections or the role's connection limit.",
        True,
    ),
    _Meaning(
        r"max_wal_senders",
        "all of the server's WAL senders are in use.",
        "Ask the DBA to raise max_wal_senders, or stop a replication connection that is not needed.",
        True,
    ),
    _Meaning(
        r"superuser or replication role|permission denied to start WAL sender",
        "the role may not replicate.",
        "Ask the DBA for ALTER ROLE ... REPLICATION; `tezcat source sql` prints it.",
    ),
    _Meaning(
        r"unsupported startup parameter|unrecognized configuration parameter \"replication\"|no such database:",
        "a connection pooler answers at that address.",
        "Give the server's own address in the database_url: replication and snapshots do not pass a pooler.",
    ),
    _Meaning(
        r"permission denied for database \"(.+?)\"",
        "the role may not connect to database {0}.",
        "`tezcat source sql` prints the GRANT CONNECT that is missing.",
    ),
    _Meaning(
        r"database system is (?:starting up|shutting down|in recovery mode|not yet accepting|not accepting)",
        "the server is starting or stopping.",
        "Try again when it is up.",
        True,
    ),
)

# What is said later, by SQLSTATE; the pattern picks among messages of one SQLSTATE, and its groups are names.
_BY_SQLSTATE: Final[dict[str, tuple[_Meaning, ...]]] = {
    "42501": (
        _Meaning(
            r"row-level security policy for table \"(.+?)\"",
            "row-level security would hide rows of {0} from the role.",
            "Ask the DBA for ALTER ROLE ... BYPASSRLS; `tezcat source sql` prints it.",
        ),
        _Meaning(
            r"permission denied for (.+)",
            "permission denied for {0}.",
            "`tezcat source sql` prints the grants that are needed.",
        ),
        _Meaning(
            r"WAL sender|replication slots|superuser or replication role",
            "the role may not replicate.",
            "Ask the DBA for ALTER ROLE ... REPLICATION; `tezcat source sql` prints it.",
        ),
    ),
    "42704": (
        _Meaning(
            r"replication slot \"(.+?)\" does not exist",
            "the replication slot {0} does not exist any more.",
            "The copy cannot be followed without it: clone again.",
        ),
        _Meaning(
            r"publication \"(.+?)\" does not exist",
            "the publication {0} does not exist.",
            "`tezcat source sql` prints the SQL with which the DBA creates it.",
        ),
        _Meaning(
            r"snapshot \".+?\" does not exist",
            "the snapshot is gone: the connection that exported it has ended.",
            "Start the operation again.",
        ),
    ),
    "42710": (
        _Meaning(
            r"replication slot \"(.+?)\" already exists",
            "the replication slot {0} exists already.",
            "`tezcat status` shows who uses it; a clone with --confirm replaces it.",
        ),
    ),
    "55006": (
        _Meaning(
            r"replication slot \"(.+?)\" is active for PID (\d+)",
            "the replication slot {0} is in use by the server's process {1}.",
            "Another stream reads it: stop that one. After a crash the server frees it within wal_sender_timeout.",
            True,
        ),
    ),
    "53100": (_Meaning(r"", "the server's disk is full.", "Large transactions need room there to be decoded.", True),),
    "53200": (_Meaning(r"", "the server is out of memory.", "Tell the DBA, and try again.", True),),
    "53400": (
        _Meaning(
            r"replication slots",
            "all of the server's replication slots are in use.",
            "Ask the DBA to raise max_replication_slots, or to drop a slot that is not needed.",
        ),
    ),
    "55000": (
        _Meaning(
            r"wal_level",
            "the server's wal_level is not logical.",
            "Ask the DBA for ALTER SYSTEM SET wal_level = logical and a restart of the server.",
        ),
        _Meaning(
            r"snapshot",
            "the snapshot is gone: the connection that exported it has ended.",
            "Start the operation again.",
        ),
        _Meaning(
            r"replication slot \"(.+?)\"",
            "changes can no longer be read from the replication slot {0}: the server has removed WAL that it needs.",
            "Clone again; a larger max_slot_wal_keep_size lets the stream pause for longer.",
        ),
    ),
    "22023": (
        _Meaning(
            r"snapshot",
            "the snapshot is gone: the connection that exported it has ended.",
            "Start the operation again.",
        ),
    ),
    "57014": (
        _Meaning(
            r"statement timeout",
            "a statement ran into the session's statement_timeout.",
            "The server may be under load: try again.",
            True,
        ),
        _Meaning(r"", "a statement was cancelled on the server.", "Ask the DBA who cancelled it, and try again.", True),
    ),
    "25P04": (
        _Meaning(
            r"",
            "a transaction ran into the server's transaction_timeout.",
            "Ask the DBA for ALTER ROLE ... SET transaction_timeout = 0.",
        ),
    ),
    "55P03": (
        _Meaning(
            r"",
            "a table was locked for longer than the session's lock_timeout.",
            "Somebody changes its structure: try again when that is done.",
            True,
        ),
    ),
    "40001": (
        _Meaning(
            r"recovery",
            "the standby cancelled a statement that stood in the way of replaying WAL.",
            "Raise max_standby_streaming_delay there, or turn hot_standby_feedback on.",
            True,
        ),
    ),
    # A statement does not hold a lock on all that it looks up in the catalog; someone changed it in between.
    "XX000": (
        _Meaning(
            r"^(cache lookup failed for [a-z ]+[a-z]|could not open relation with OID|could not map filenode"
            r"|could not map filenumber|unexpected duplicate for tablespace|tuple concurrently (?:updated|deleted))",
            "the server lost track of a table or another object that was being changed ({0} ...).",
            "It is over when the change is: try again.",
            True,
        ),
    ),
    "42P01": (_Meaning(r"(relation \".+?\") does not exist", "the {0} does not exist.", "The schema has changed."),),
    "42703": (_Meaning(r"(column .+?) does not exist", "the {0} does not exist.", "The schema has changed."),),
    "3F000": (_Meaning(r"(schema \".+?\") does not exist", "the {0} does not exist.", "The schema has changed."),),
    "25006": (
        _Meaning(
            r"cannot execute ([A-Z ]+)",
            "the read-only session refused {0}.",
            "Nothing was changed. Please report this: no such statement should have been sent.",
        ),
    ),
}
_ENDED: Final = _Meaning(
    r"",
    "the server ended the connection: it was restarted, or an administrator ended it.",
    "Try again when the server is up.",
    True,
)
_BY_SQLSTATE.update(dict.fromkeys(("57P01", "57P02", "57P03", "57P05", "25P03"), (_ENDED,)))

# Only ever names of parameters, roles and databases.
_SAME_AS_CONNECTING: Final = frozenset({"28000", "28P01", "3D000", "53300", "08P01", "08001", "08004", "08006"})


def map_error(error: psycopg.Error, address: SourceAddress) -> ServerFailed:
    """The operator's words for an error of the driver. Raise it ``from None``: the driver's own text holds more."""
    state = error.sqlstate
    text = error.diag.message_primary or ""
    if state is None and isinstance(error, psycopg.ProgrammingError | psycopg.DataError):
        return ServerFailed(f"{address.label}: the driver failed with {type(error).__name__}.")
    if state is None:
        return _without_row(text or str(error), address)
    return map_answer(state, text or str(error), address, named=_named(error.diag))


def map_answer(sqlstate: str, text: str, address: SourceAddress, *, named: str = "") -> ServerFailed:
    """The operator's words for an error that the server answered with; ``text`` is its message, ``named`` the objects
    that it names apart."""
    if sqlstate in _SAME_AS_CONNECTING:
        return _without_row(text, address)
    for meaning in _BY_SQLSTATE.get(sqlstate, ()):
        if match := re.search(meaning.pattern, text):
            return _said(meaning, match, address)
    return ServerFailed(
        f"{address.label} answered with an error: SQLSTATE {sqlstate}{named}.",
        hint="The server's log holds the whole message.",
    )


def connection_lost(address: SourceAddress) -> Interrupted:
    """A connection ended without a word."""
    return Interrupted(
        f"the connection to {address.label} was lost.", hint="See that the server and the network are up; try again."
    )


def silent(address: SourceAddress) -> Interrupted:
    """The server owes an answer, or a sign of life, and gives none."""
    return Interrupted(
        f"{address.label} has not answered for {address.patience:.0f} seconds: the connection is taken for dead.",
        hint="See that the server and the network are up; try again.",
    )


def _without_row(text: str, address: SourceAddress) -> ServerFailed:
    for meaning in _CONNECTING:
        if match := re.search(meaning.pattern, text):
            return _said(meaning, match, address)
    if re.search(r"^connection failed|^connection to server|^invalid connection option|^connection timeout", text):
        reason = text.strip().splitlines()[-1]
        return ServerFailed(f"{address.label} cannot be reached: {reason}.")
    return connection_lost(address)


def _said(meaning: _Meaning, match: re.Match[str], address: SourceAddress) -> ServerFailed:
    kind = Interrupted if meaning.passes else ServerFailed
    return kind(f"{address.label}: {meaning.message.format(*match.groups())}", hint=meaning.hint)


def _named(diagnostic: psycopg.errors.Diagnostic) -> str:
    """The objects that an error names in fields of their own, which never hold values, and what raised it."""
    fields = {
        "table": ".".join(filter(None, (diagnostic.schema_name, diagnostic.table_name))),
        "column": diagnostic.column_name,
        "type": diagnostic.datatype_name,
        "constraint": diagnostic.constraint_name,
        "raised in": diagnostic.source_function,
    }
    return "".join(f", {kind} {name}" for kind, name in fields.items() if name)
