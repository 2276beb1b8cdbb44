"""Holding a copy at one LSN, so that a reader sees exactly mask(production) as of then.

The reader first closes the gate: the stream finishes its transaction and begins no other. Then nothing that the
reader does to learn an LSN from production can race with the stream. With that LSN it sets a hold and opens the gate:
the stream goes on up to the LSN, stands, and goes on again when the hold is lifted or its owner's session is gone.
The reader has a snapshot of production there, in which the stream may have to read rows too.
Readers take turns: the next one closes the gate when the hold before it is lifted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final, NamedTuple

from capture.model import Interrupted, Lsn, ServerFailed, within
from sink.progress import GATE, READER, is_running, read
from sink.target import Connection, fetch, leaving

_POLL: Final = 0.02

# What every applying transaction runs first, as two statements: the second must see what was committed while the
# first waited.
ENTER_GATE: Final = f"SELECT pg_advisory_xact_lock_shared({GATE})"
READ_HOLD: Final = """SELECT h.lsn::text, h.snapshot FROM tezcat.hold h
  JOIN pg_stat_get_activity(h.pid) a ON a.backend_start = h.started"""


@asynccontextmanager
async def closed_gate(connection: Connection, patience: timedelta) -> AsyncIterator[None]:
    """No transaction of the stream is open, and none begins, until the block ends; no other reader until ``lift``.

    Raises ``Interrupted`` when the stream does not end its transaction, or the reader before us, in that time;
    the connection is of no use then.
    """
    late = Interrupted(
        f"for {patience} (snapshot.max_age) the stream has been in one transaction, or another command has held it.",
        hint="See whether the process of the stream still runs: a halted one keeps the copy for itself.",
    )
    async with within(patience.total_seconds(), late):
        await fetch(connection, "SELECT pg_advisory_lock(%s)", (READER,))
        await fetch(connection, "SELECT pg_advisory_lock(%s)", (GATE,))
    try:
        yield
    except BaseException:
        # Where the session is lost, so is the lock, and what ended us says more.
        with contextlib.suppress(ServerFailed):
            await _open_gate(connection)
        raise
    await _open_gate(connection)


async def _open_gate(connection: Connection) -> None:
    async with leaving():
        await fetch(connection, "SELECT pg_advisory_unlock(%s)", (GATE,))


class Held(NamedTuple):
    """The LSN that the copy must not pass, and production's snapshot there, exported by the holder."""

    lsn: Lsn
    snapshot: str


async def set_hold(connection: Connection, held: Held) -> None:
    """Forbid the stream to pass an LSN. Call it behind a closed gate."""
    await fetch(
        connection,
        """INSERT INTO tezcat.hold (lsn, snapshot, pid, started)
           SELECT %s, %s, pid, backend_start FROM pg_stat_get_activity(pg_backend_pid())
           ON CONFLICT (one) DO UPDATE SET lsn = excluded.lsn, snapshot = excluded.snapshot, pid = excluded.pid,
             started = excluded.started""",
        (str(held.lsn), held.snapshot),
    )


class Ended(ServerFailed):
    """The stream is not there any more."""


class Broken(Interrupted):
    """The stream could not stand where it was held."""


async def reached(connection: Connection, lsn: Lsn) -> None:
    """Wait until the held stream stands at ``lsn``. Raises ``Ended`` when the stream ends before, and ``Broken``."""
    while True:
        await check(connection)
        progress = await read(connection)
        if progress is not None and progress.applied_lsn is not None and progress.applied_lsn >= lsn:
            return
        if not await is_running(connection):
            raise Ended(
                f"the stream ended at {progress.applied_lsn if progress else None}, before it reached {lsn}.",
                hint="See tezcat status for the reason.",
            )
        await asyncio.sleep(_POLL)


async def check(connection: Connection) -> None:
    """Whether our hold is still there. Raises ``Broken``."""
    if not await fetch(connection, "SELECT 1 FROM tezcat.hold WHERE pid = pg_backend_pid()"):
        raise Broken(
            "production truncated or rewrote a table while the copy was held, and the snapshot does not show its rows "
            "any more.",
            hint="Run the command again.",
        )


async def give_up(connection: Connection, held: Held) -> None:
    """The stream's side: it cannot stand there, and goes on without. The holder finds out by ``check``."""
    await fetch(connection, "DELETE FROM tezcat.hold WHERE lsn = %s AND snapshot = %s", (str(held.lsn), held.snapshot))


async def lift(connection: Connection) -> None:
    """Let the stream go on, and the next reader begin."""
    await fetch(connection, "DELETE FROM tezcat.hold WHERE pid = pg_backend_pid()")
    await fetch(connection, "SELECT pg_advisory_unlock(%s)", (READER,))


async def wait_until_lifted(connection: Connection, lsn: Lsn) -> None:
    """The stream's side: wait as long as somebody who lives holds the copy at ``lsn``."""
    while True:
        rows = await fetch(connection, READ_HOLD)
        if not rows or Lsn.parse(rows[0][0]) != lsn:
            return
        await asyncio.sleep(_POLL)
