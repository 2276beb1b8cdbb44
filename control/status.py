"""How every copy stands: its own progress beside what production knows of its slot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from capture import source
from capture.model import Lsn, TezcatError
from capture.slots import SlotState, slot_state
from control.project import Project
from control.settings import Settings
from sink import progress, target
from sink.progress import Progress
from sink.target import Standing


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One environment. ``state`` is what the progress says (cloning, idle, streaming, failed), ``stale`` where a runner
    died without a word, ``none`` where there is no copy, ``unreachable`` where the copy's server does not answer.
    Positions and lags are None where they are not known."""

    environment: str
    state: str
    slot: str | None = None
    confirmed_flush_lsn: Lsn | None = None
    applied_lsn: Lsn | None = None
    consistent: bool = False
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    retained_wal_bytes: int | None = None
    last_error: str | None = None


async def status(settings: Settings) -> list[StreamStatus]:
    """Ask each target, and production about its slot. What cannot be reached is told in its place, not raised."""
    return [await _one(settings, name) for name in settings.targets]


async def _one(settings: Settings, name: str) -> StreamStatus:
    try:
        project = Project.of(settings, name)
        connection = await target.connect(project.target_address, productions=(), purpose="status")
        async with connection:
            if await target.standing(connection) is not Standing.OURS:
                return StreamStatus(name, "none")
            found = await progress.read(connection)
            running = await progress.is_running(connection)
    except TezcatError as error:
        return StreamStatus(name, "unreachable", last_error=str(error))
    if found is None:
        return StreamStatus(name, "none")
    slot: SlotState | None = None
    complaint = found.last_error
    if found.slot is not None:
        try:
            async with await source.connect(project.source_address, purpose="status") as production:
                slot = await slot_state(production, found.slot)
            if slot is None and found.consistent_lsn is not None:
                complaint = complaint or f"the slot {found.slot} is gone from production; clone again"
        except TezcatError as error:
            complaint = complaint or str(error)
    return _combine(name, found, slot, complaint, running=running)


def _combine(
    name: str, found: Progress, slot: SlotState | None, complaint: str | None, *, running: bool
) -> StreamStatus:
    state = found.state
    if state in ("cloning", "streaming") and not running:
        state = "stale"
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    if slot is not None and found.applied_lsn is not None:
        lag_bytes = max(slot.current_lsn - found.applied_lsn, 0)
        if not lag_bytes:
            lag_seconds = 0.0
        elif found.source_time is not None:
            lag_seconds = max((datetime.now(UTC) - found.source_time).total_seconds(), 0.0)
    return StreamStatus(
        environment=name,
        state=state,
        slot=found.slot,
        confirmed_flush_lsn=slot.confirmed_flush_lsn if slot is not None else None,
        applied_lsn=found.applied_lsn,
        consistent=found.consistent_lsn is not None,
        lag_bytes=lag_bytes,
        lag_seconds=lag_seconds,
        retained_wal_bytes=slot.retained_wal_bytes if slot is not None else None,
        last_error=complaint,
    )
