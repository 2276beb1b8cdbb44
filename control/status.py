"""How every copy stands: its own progress beside what production knows of its slot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from capture import source
from capture.catalog import read_catalog
from capture.model import Lsn, TableName, TezcatError, counted
from capture.slots import SlotState, slot_state
from capture.source import SourceConnection
from control.copies import changes, go_on
from control.project import Project
from control.settings import Settings
from sink import progress, target, unfinished
from sink.progress import Progress
from sink.target import Standing


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One environment. ``state`` is what the progress says (cloning, idle, streaming, failed), ``unfinished`` where a
    clone ended before the copy was whole and production keeps WAL for it, ``stale`` where a runner died without a
    word, ``none`` where there is no copy, ``unreachable`` where the copy's server does not answer.
    ``consistent`` says that at ``applied_lsn`` the copy is exactly what production was there, as far as is known: not
    after a failure, which may be the sign that it differs. ``changed_tables`` are those that today's rules and key
    would mask otherwise than the copy was, or copy other rows of. What is not known is None."""

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
    changed_tables: list[TableName] | None = None


async def status(settings: Settings) -> list[StreamStatus]:
    """Ask each target, and production about its slot. What cannot be reached is told in its place, not raised."""
    return [await _one(settings, name) for name in settings.targets]


async def _one(settings: Settings, name: str) -> StreamStatus:
    try:
        project = Project.of(settings, name)
        connection = await target.connect(project.target_address, productions=(), purpose="status")
        async with connection, target.answering(project.target_address):
            if await target.standing(connection) is not Standing.OURS:
                return StreamStatus(name, "none")
            found = await progress.read(connection)
            running = await progress.is_running(connection)
            chunks = len(await unfinished.finished_chunks(connection))
    except TezcatError as error:
        return StreamStatus(name, "unreachable", last_error=str(error))
    # A clone that was killed early has a slot, and no progress yet.
    slot_name = found.slot if found is not None else project.slot
    slot: SlotState | None = None
    changed: list[TableName] | None = None
    complaint = found.last_error if found is not None else None
    try:
        async with await source.connect(project.source_address, purpose="status") as production:
            if slot_name is not None:
                slot = await slot_state(production, slot_name)
            if found is not None and found.consistent_lsn is not None:
                if slot_name is not None and slot is None:
                    complaint = complaint or f"the slot {slot_name} is gone from production; clone again"
                changed = await _changed(project, production, found)
    except TezcatError as error:
        if slot_name is not None:
            complaint = complaint or str(error)
    if slot is not None and not running and (found is None or found.consistent_lsn is None):
        complaint = _unfinished(project, slot, complaint, chunks)
    if found is None:
        return _begun(name, project.slot, slot, complaint, running=running)
    return replace(_combine(name, found, slot, complaint, running=running), changed_tables=changed)


async def _changed(project: Project, production: SourceConnection, found: Progress) -> list[TableName] | None:
    """What ``rules diff`` would name; None where today's rules, the key or production's catalog cannot be read, and
    where the rules do not fit."""
    try:
        plan = project.plan(await read_catalog(production), partial=True)
    except TezcatError:
        return None
    return [each.table for each in changes(found, plan)]


def _unfinished(project: Project, slot: SlotState, complaint: str | None, chunks: int) -> str:
    said = f"{complaint} " if complaint else ""
    return (
        f"{said}The clone is not finished (of it there {'is' if chunks == 1 else 'are'} {counted(chunks, 'chunk')}), "
        f"and production keeps WAL in its slot {project.slot} ({slot.retained_wal_bytes / 1e6:.1f} MB by now) until it "
        f"is. {go_on(project)}"
    )


def _begun(name: str, slot_name: str, slot: SlotState | None, complaint: str | None, *, running: bool) -> StreamStatus:
    if running or slot is None:
        return StreamStatus(name, "cloning" if running else "none")
    return StreamStatus(
        name,
        "unfinished",
        slot=slot_name,
        confirmed_flush_lsn=slot.confirmed_flush_lsn,
        retained_wal_bytes=slot.retained_wal_bytes,
        last_error=complaint,
    )


def _combine(
    name: str, found: Progress, slot: SlotState | None, complaint: str | None, *, running: bool
) -> StreamStatus:
    state = found.state
    if not running and slot is not None and found.consistent_lsn is None:
        state = "unfinished"
    elif state in ("cloning", "streaming") and not running:
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
        consistent=found.consistent_lsn is not None and state != "failed",
        lag_bytes=lag_bytes,
        lag_seconds=lag_seconds,
        retained_wal_bytes=slot.retained_wal_bytes if slot is not None else None,
        last_error=complaint,
    )
