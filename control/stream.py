"""Streaming: production's slot into one copy, masked, exactly once, for as long as it is wanted.

A session (``control.session``) that fails in a way that passes (a lost connection, a restart, a deadlock) is begun
again from the progress in the target, after a growing pause, for as long as it takes. Until the first one has streamed
the patience is short: an address may be wrong, a slot or a copy in somebody else's hands, and waiting would only hide
that. Anything else stops the stream with the reason, which ``status`` then shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog

from capture.model import Interrupted, Lsn, TableName, TezcatError, within
from control.flow import Counters, Finished, Goal, StreamProgress
from control.project import Masking, Project
from control.session import Session
from control.settings import Settings
from sink.progress import Occupied
from sink.target import Backend

__all__ = ["StreamProgress", "stream"]

log = structlog.get_logger()

_PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

# How long a stop waits for the end of a transaction before it is given up (it comes again later).
_STOP_SECONDS: Final = 10.0

# How long in seconds a stream that has not streamed yet waits: for servers to answer (they may be restarting), for what
# they refuse (what a killed stream left holds the slot up to wal_sender_timeout), and for another runner to go (what a
# killed stream left in the target ends within seconds). Once it has streamed, another runner is waited for that long
# too: it may be our own session that the target has not given up yet.
_UNANSWERED_SECONDS: Final = 30.0
_REFUSED_SECONDS: Final = 90.0
_OCCUPIED_SECONDS: Final = 5.0


async def stream(
    settings: Settings,
    target: str,
    *,
    until: Lsn | None,
    until_caught_up: bool,
    accept_writable_role: bool,
    stop: asyncio.Event,
    on_progress: Callable[[StreamProgress], None],
    without: frozenset[TableName] = frozenset(),
) -> StreamProgress:
    """Follow production until ``stop`` is set, until every transaction that ends at or before ``until`` is applied,
    or (``until_caught_up``) all that production had written at the start. The tables of ``without``, which are about to
    be copied again, are left as they are; the rules and the key may have changed for them alone.

    Raises ``Refused`` for a target that is not a copy of this production, or was made with other rules or another
    key; ``ServerFailed`` for what cannot be applied. Either way the copy stands at a transaction's end.
    """
    project = Project.of(settings, target)
    counters = Counters(on_progress)
    goal = Goal(until, until_caught_up)
    failures = 0
    left: Backend | None = None
    masking: Masking | None = None
    worked_at = time.monotonic()
    while True:
        session = Session(
            project,
            counters,
            goal,
            stop,
            accept_writable_role=accept_writable_role,
            left=left,
            before=masking,
            without=without,
        )
        try:
            async with _in_time(stop):
                await session.run()
        except (Finished, _GivenUp):
            return counters.tell("stopped")
        except (Interrupted, Occupied) as error:
            left, masking = session.backend, session.masking
            if session.has_streamed:
                worked_at = time.monotonic()
            if time.monotonic() - worked_at > _patience(error, session, counters):
                raise
            failures = 0 if session.has_applied else failures + 1
            pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
            log.warning("stream interrupted", reason=str(error), again_in_seconds=pause)
            counters.tell("waiting")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()
            if stop.is_set():
                return counters.tell("stopped")


class _GivenUp(Exception):
    """The stream was asked to stop, and did not in time."""


@contextlib.asynccontextmanager
async def _in_time(stop: asyncio.Event) -> AsyncIterator[None]:
    """Give a session up that does not end soon when it is asked to, whatever it waits for. Raises ``_GivenUp``."""

    async def watch(limit: asyncio.Timeout) -> None:
        await stop.wait()
        limit.reschedule(asyncio.get_running_loop().time() + _STOP_SECONDS)

    async with within(None, _GivenUp()) as limit:
        watching = asyncio.create_task(watch(limit))
        try:
            yield
        finally:
            watching.cancel()


def _patience(error: TezcatError, session: Session, counters: Counters) -> float:
    """How many seconds after it last worked a stream may still fail like this."""
    if isinstance(error, Occupied):
        return _REFUSED_SECONDS if counters.has_streamed else _OCCUPIED_SECONDS
    if counters.has_streamed:
        return math.inf
    return _REFUSED_SECONDS if session.has_connected else _UNANSWERED_SECONDS
