"""Having the copy stand at one LSN: what verify and a re-copy need of the stream."""

from __future__ import annotations

import asyncio
from typing import Final

from capture.model import Lsn, TableName
from control.project import Project
from control.stream import stream
from sink import hold, progress
from sink.target import Connection

# How often one looks again when a stream begins or ends just then.
_ATTEMPTS: Final = 10
_ATTEMPT_SECONDS: Final = 0.5


async def bring_to(
    project: Project,
    holder: Connection,
    lsn: Lsn,
    *,
    accept_writable_role: bool,
    without: frozenset[TableName] = frozenset(),
) -> None:
    """Have the copy stand at ``lsn``, where ``holder`` holds it: by the stream that runs, or by one of our own where
    none does, which leaves the tables of ``without`` as they are.

    Either may change while we look: a stream begins, ends, or begins a session again.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            if await progress.is_running(holder):
                await hold.reached(holder, lsn)
            else:
                await stream(
                    project.settings,
                    project.target.name,
                    until=lsn,
                    until_caught_up=False,
                    accept_writable_role=accept_writable_role,
                    stop=asyncio.Event(),
                    on_progress=lambda _: None,
                    without=without,
                )
            await hold.check(holder)
        except (hold.Ended, progress.Occupied):
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(_ATTEMPT_SECONDS)
        else:
            return
