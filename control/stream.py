"""Streaming: production's slot into one copy, masked, exactly once, for as long as it is wanted.

A session (``control.session``) that fails in a way that passes (a lost connection, a restart, a deadlock) is begun
again from the progress in the target, after a growing pause. Anything else stops the stream with the reason, which
``status`` then shows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from capture.model import Interrupted, Lsn
from control.flow import Counters, Finished, Goal, StreamProgress
from control.project import Project
from control.session import Session
from control.settings import Settings

__all__ = ["StreamProgress", "stream"]

log = structlog.get_logger()

_PAUSES: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


async def stream(
    settings: Settings,
    target: str,
    *,
    until: Lsn | None,
    until_caught_up: bool,
    accept_writable_role: bool,
    stop: asyncio.Event,
    on_progress: Callable[[StreamProgress], None],
) -> StreamProgress:
    """Follow production until ``stop`` is set, until every transaction that ends at or before ``until`` is applied,
    or (``until_caught_up``) all that production had written at the start.

    Raises ``Refused`` for a target that is not a copy of this production, or was made with other rules or another
    key; ``ServerFailed`` for what cannot be applied. Either way the copy stands at a transaction's end.
    """
    project = Project.of(settings, target)
    counters = Counters(on_progress)
    goal = Goal(until, until_caught_up)
    failures = 0
    while True:
        session = Session(project, counters, goal, stop, accept_writable_role=accept_writable_role)
        try:
            await session.run()
        except Finished:
            return counters.tell("stopped")
        except Interrupted as error:
            if not counters.has_streamed:
                # It never worked: the address or the server is wrong, and waiting would only hide that.
                raise
            failures = 0 if session.has_applied else failures + 1
            pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
            log.warning("stream interrupted", reason=str(error), again_in_seconds=pause)
            counters.tell("waiting")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            if stop.is_set():
                return counters.tell("stopped")
