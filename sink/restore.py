"""Bringing the schema: ``pg_restore`` of a schema-only archive, before the rows and after them.

Owners are not brought (the copy belongs to the target's user); roles that privileges and policies name are made
without login where they lack, because a policy cannot be made without them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from capture.model import Interrupted, Refused, RunProgram, ServerFailed, quote_identifier
from sink.target import Connection, TargetAddress, fetch

_LEFT_OUT: Final = ("--no-owner", "--no-publications", "--no-subscriptions", "--no-tablespaces", "--no-security-labels")

_FAILURE: Final = re.compile(
    r"^pg_restore: error: (?:could not execute query: )?(?:(?:ERROR|FATAL): +)?(.+)$", re.MULTILINE
)
_DEADLOCK: Final = "deadlock detected"
_PASSES: Final = re.compile(
    rf"{_DEADLOCK}$|terminating connection |server closed the connection |connection to server .+ failed: "
    r"|could not .+: No space left on device$"
)
# What PostgreSQL says of rows that do not fit, and of what the target lacks, without quoting rows. All else that is
# said while rows are there may.
_ABOUT_ROWS: Final = re.compile(
    r"could not create (?:unique index|exclusion constraint) |check constraint \"|insert or update on table \""
    r"|column \".+?\" of relation \".+?\" contains null values|index row (?:size|requires) "
)
_ABOUT_THE_TARGET: Final = re.compile(
    r"permission denied |must be (?:owner|able to) "
    r"|(?:role|type|function|schema|extension|operator class|access method|relation) .+ (?:does not|already) exists?$"
)
_NO_FIT: Final = "the rows do not fit; the target's own log says why"


class Deadlocked(Interrupted):
    """Two sessions waited for each other. Both may have been pg_restore's own, which knows nothing of the locks that
    partitions and foreign keys to their table have in common."""


class Section(StrEnum):
    """What comes before the rows (types, functions, tables, views), and after (indexes, constraints, triggers)."""

    BEFORE_ROWS = "pre-data"
    AFTER_ROWS = "post-data"


async def restore(
    binary: Path,
    archive: Path,
    address: TargetAddress,
    section: Section,
    jobs: int,
    run: RunProgram,
    *,
    entries: Path | None = None,
) -> None:
    """Make one section of the archive's schema, in ``jobs`` connections.

    ``entries`` is a file with the numbers of those to make, where that is not all of them. Raises ``Deadlocked`` and
    ``Interrupted``, after which what is ``remaining`` may be made, and ``ServerFailed``.
    """
    parameters = conninfo_to_dict(address.conninfo)
    password = parameters.pop("password", None)
    # pg_restore sets its own search_path and timeouts; ours in `options` would only stand in their way.
    parameters.pop("options", None)
    variables = {"PGAPPNAME": "tezcat clone"}
    if password is not None:
        variables["PGPASSWORD"] = str(password)
    command = [
        str(binary),
        f"--section={section}",
        f"--jobs={jobs}",
        "--exit-on-error",
        "--verbose",  # names the entry that failed
        *((f"--use-list={entries}",) if entries is not None else ()),
        *_LEFT_OUT,
        f"--dbname={make_conninfo('', **parameters)}",
        str(archive),
    ]
    ended = await run(command, variables)
    if ended.exit_code:
        raise _failure(ended.complaint, section, address)


def _failure(complaint: str, section: Section, address: TargetAddress) -> ServerFailed:
    found = _FAILURE.search(complaint)
    reason = found[1] if found else "pg_restore failed."
    told = _told(reason, section)
    entry = re.search(r"from TOC entry \d+; \d+ \d+ (.+)$", complaint, re.MULTILINE)
    at = f" (at {entry[1]})" if entry else ""
    what = f"the schema could not be made in environment {address.label}: {told.rstrip('.')}{at}."
    if reason == _DEADLOCK:
        return Deadlocked(what)
    if _PASSES.match(reason):
        return Interrupted(what)
    if told == _NO_FIT or _ABOUT_ROWS.match(told):
        return ServerFailed(what, hint="If masks made the rows so, choose others for the columns that it reads.")
    return ServerFailed(
        what, hint="Make that possible on the target (an extension, a role, a version), then clone again."
    )


def _told(reason: str, section: Section) -> str:
    """The first error of pg_restore in one line, without what can quote values of rows."""
    knows_rows = section is Section.AFTER_ROWS
    if knows_rows and not any(known.match(reason) for known in (_PASSES, _ABOUT_ROWS, _ABOUT_THE_TARGET)):
        return _NO_FIT
    return reason


async def make_roles(connection: Connection, names: Sequence[str]) -> list[str]:
    """Make the roles that the schema names and the target lacks, without login; the names of those made.

    Raises ``Refused`` with the statements when the user may not.
    """
    rows = await fetch(
        connection,
        "SELECT name FROM unnest(%s::text[]) AS wanted(name) WHERE NOT EXISTS"
        " (SELECT FROM pg_roles WHERE rolname = name) ORDER BY name",
        (list(names),),
    )
    missing = [row[0] for row in rows]
    if not missing:
        return []
    statements = [f"CREATE ROLE {quote_identifier(name)} NOLOGIN" for name in missing]
    rights = await fetch(connection, "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
    if not rights[0][0]:
        raise Refused(
            f"the schema grants rights to {len(missing)} roles that the target's server lacks.",
            hint=f"As its administrator: {'; '.join(statements)};",
        )
    for statement in statements:
        await fetch(connection, statement)
    return missing
