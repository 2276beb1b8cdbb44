"""Whether a clone that did not finish can be gone on with: the same production, rules and tables, and a slot that
still holds everything since."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from capture.model import Catalog, Drifted
from capture.publications import published_as
from capture.slots import slot_state
from capture.source import SourceConnection, SourceIdentity
from control.copies import check_published
from control.cut import fingerprint
from control.project import Project, database_identity
from sink import progress, target, unfinished
from sink.progress import OtherLayout, Progress
from sink.target import Connection, Standing
from sink.unfinished import Phase, Unfinished
from transform.plan import Plan

# For so many seconds the servers may not have noticed that a clone was killed.
PATIENCE: Final = 10.0
_LOOK_AGAIN_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Found:
    """What an earlier clone left: something to go on with, or the reason why there is none, as a part of a sentence.
    Both are None where no clone was begun and not finished."""

    state: Unfinished | None = None
    obstacle: str | None = None


async def find(
    project: Project,
    production: SourceConnection,
    connection: Connection,
    identity: SourceIdentity,
    catalog: Catalog,
    plan: Plan,
) -> Found:
    """Look for an unfinished clone in the target; changes nothing. Raises ``ServerFailed``."""
    if await target.standing(connection) is not Standing.OURS:
        return Found()
    try:
        first = await progress.read(connection)
    except OtherLayout:
        return Found()
    if first is None or first.consistent_lsn is not None:
        return Found()
    state = await unfinished.read(connection)
    if state is None:
        return Found()
    obstacle = _unlike(project, first, state, identity, catalog, plan)
    obstacle = obstacle or await _unpublished(project, production, catalog, plan, first)
    obstacle = obstacle or await _slot(project, production, state)
    return Found(obstacle=obstacle) if obstacle else Found(state)


def _unlike(
    project: Project, first: Progress, state: Unfinished, identity: SourceIdentity, catalog: Catalog, plan: Plan
) -> str | None:
    if first.slot is None:
        return "it was made with --once, and its snapshot is gone"
    if first.production != database_identity(identity) or first.timeline != identity.timeline:
        return f"it was made from another database than {project.source.name} is now"
    if first.slot != project.slot:
        return "it had another slot"
    if first.key_check != plan.key_check:
        return "it was masked with another key"
    if first.rules_fingerprint != plan.fingerprint:
        return "the rules have changed"
    if state.catalog != fingerprint(catalog):
        return "production's tables, columns or keys have changed"
    if state.phase is Phase.SCHEMA:
        return "it had not got beyond the schema"
    return None


async def _unpublished(
    project: Project, production: SourceConnection, catalog: Catalog, plan: Plan, first: Progress
) -> str | None:
    try:
        check_published(project, catalog, plan, first, await published_as(production, project.publications, catalog))
    except Drifted:
        return "production publishes its tables in another way now"
    return None


async def _slot(project: Project, production: SourceConnection, state: Unfinished) -> str | None:
    deadline = time.monotonic() + PATIENCE
    while True:
        slot = await slot_state(production, project.slot)
        if slot is None:
            return f"the slot {project.slot} is gone from production"
        if slot.is_lost:
            return f"production has removed WAL that the slot {project.slot} still needed"
        if slot.confirmed_flush_lsn is None or slot.confirmed_flush_lsn > state.base_lsn:
            return f"the slot {project.slot} has moved on without it"
        if slot.active_pid is None or time.monotonic() >= deadline:
            return None
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
