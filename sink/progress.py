"""The durable position of a copy, and who may move it.

``tezcat.progress`` holds one row. It is changed in the very transaction whose effect it tells, by compare-and-swap on
the position and the runner: a transaction that was applied is never applied again, and a runner that lost the copy to
another cannot commit any more. A session lock on the target keeps a second runner out while the first one lives.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Final

from psycopg.types.json import Jsonb

from capture.model import DatabaseIdentity, Lsn, Refused
from sink.target import Connection, fetch

# Keys of advisory locks in the target database. RUNNER is held by a session as long as it may write the copy; GATE
# is shared by every transaction that applies, and exclusive while somebody sets a hold; READER is held by the one who
# may do that.
RUNNER: Final = 0x74657A01
GATE: Final = 0x74657A02
READER: Final = 0x74657A03

_ASK_AGAIN_SECONDS: Final = 0.2

# Counts the forms that schema.sql has had.
LAYOUT: Final = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """The row of ``tezcat.progress``; its SQL says what each field means."""

    environment: str
    source: str
    system_identifier: str
    database: str
    timeline: int
    slot: str | None
    rules_fingerprint: str
    rules: dict[str, dict[str, str]]
    key_check: str
    state: str
    consistent_lsn: Lsn | None
    applied_lsn: Lsn | None
    source_time: datetime | None
    published: dict[str, str]
    unfollowed: dict[str, int]
    runner: str | None
    last_error: str | None

    @property
    def production(self) -> DatabaseIdentity:
        """The database that this is a copy of."""
        return DatabaseIdentity(self.system_identifier, self.database)


_COLUMNS: Final = ", ".join(
    f"{name}::text" if name.endswith("_lsn") else name for name in Progress.__dataclass_fields__
)


class Occupied(Refused):
    """Another runner is at work on the copy."""


class OtherLayout(Refused):
    """The copy was made by a version of tezcat that kept its progress in another form."""


async def read(connection: Connection) -> Progress | None:
    """The progress row, or None when no clone has begun. Raises ``OtherLayout``."""
    # Read as JSON, the row may lack any column.
    found = await fetch(connection, "SELECT (to_jsonb(p) ->> 'layout')::int FROM tezcat.progress p")
    if found and found[0][0] != LAYOUT:
        raise OtherLayout(
            "the copy was made by another version of tezcat, which this one cannot follow.",
            hint="Use that version, or clone again.",
        )
    rows = await fetch(connection, f"SELECT {_COLUMNS} FROM tezcat.progress")  # names of our own fields
    if not rows:
        return None
    values = dict(zip(Progress.__dataclass_fields__, rows[0], strict=True))
    for name in ("consistent_lsn", "applied_lsn"):
        values[name] = Lsn.parse(values[name]) if values[name] is not None else None
    return Progress(**values)


async def install(connection: Connection) -> None:
    """Mark an empty database as ours."""
    statements = files("sink").joinpath("schema.sql").read_text(encoding="utf-8")
    async with connection.transaction():
        await fetch(connection, statements)


async def begin_clone(connection: Connection, progress: Progress) -> None:
    """Write the first row: a copy that is being made, and is not consistent."""
    await fetch(
        connection,
        """INSERT INTO tezcat.progress (layout, environment, source, system_identifier, database, timeline, slot,
             rules_fingerprint, rules, key_check, state, published, unfollowed)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'cloning', %s, %s)""",
        (
            LAYOUT,
            progress.environment,
            progress.source,
            progress.system_identifier,
            progress.database,
            progress.timeline,
            progress.slot,
            progress.rules_fingerprint,
            Jsonb(progress.rules),
            progress.key_check,
            Jsonb(progress.published),
            Jsonb(progress.unfollowed),
        ),
    )


async def finish_clone(connection: Connection, consistent_lsn: Lsn, source_time: datetime) -> None:
    """The copy is whole: it is exactly production at ``consistent_lsn``."""
    await fetch(
        connection,
        """UPDATE tezcat.progress SET state = 'idle', consistent_lsn = %s, applied_lsn = %s, source_time = %s,
             last_error = NULL, updated_at = now()""",
        (str(consistent_lsn), str(consistent_lsn), source_time),
    )


async def set_state(
    connection: Connection, state: str, *, runner: str | None = None, last_error: str | None = None
) -> None:
    """Tell what is done with the copy; ``last_error`` is a message of ours, without values. With ``runner``, only if
    that one has not been replaced."""
    await fetch(
        connection,
        """UPDATE tezcat.progress SET state = %s, last_error = %s, updated_at = now()
            WHERE %s::text IS NULL OR runner = %s""",
        (state, last_error, runner, runner),
    )


async def acquire(connection: Connection, environment: str, *, patience: float = 0) -> None:
    """Take the runner's lock for the life of this session. Raises ``Occupied`` while another runner has it, after
    ``patience`` in seconds: the server may notice late that a runner was killed."""
    deadline = time.monotonic() + patience
    while True:
        rows = await fetch(connection, "SELECT pg_try_advisory_lock(%s)", (RUNNER,))
        if rows[0][0]:
            return
        if time.monotonic() >= deadline:
            break
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
    rows = await fetch(
        connection,
        """SELECT coalesce(nullif(a.application_name, ''), 'a session'), a.pid
             FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE l.locktype = 'advisory' AND l.classid = 0 AND l.objid::bigint = %s AND l.granted
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
        (RUNNER,),
    )
    who = f"{rows[0][0]} (pid {rows[0][1]})" if rows else "another runner"
    raise Occupied(
        f"{who} is at work on environment {environment}; a copy has one runner at a time.",
        hint="Stop that one first, or wait until it ends.",
    )


async def is_running(connection: Connection) -> bool:
    """Whether some session holds the runner's lock."""
    rows = await fetch(
        connection,
        """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid::bigint = %s
             AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))""",
        (RUNNER,),
    )
    return bool(rows[0][0])


async def become_runner(connection: Connection, runner: str) -> None:
    """Put our name on the row: whoever was there before is fenced from now on."""
    await fetch(
        connection,
        "UPDATE tezcat.progress SET runner = %s, state = 'streaming', last_error = NULL, updated_at = now()",
        (runner,),
    )
