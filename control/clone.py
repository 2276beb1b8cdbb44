"""Cloning: production's schema and masked rows into a target, as of one LSN.

    checks ─▶ slot ─▶ schema ─▶ rows, chunk by chunk ─▶ indexes and constraints ─▶ sequences, statistics ─▶ idle

Nothing is made or changed before all checks have passed. When anything fails after that, the slot is dropped, because
one that nobody reads makes production keep WAL, and the target is marked as failed: the next clone starts it over.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from capture.catalog import read_catalog
from capture.model import Catalog, DatabaseIdentity, Interrupted, Lsn, Refused, ServerFailed, TezcatError
from capture.preflight import Status, preflight
from capture.publications import published_as
from capture.replication import ReplicationSession, Slot
from capture.slots import drop_slot_if_there, slot_state
from capture.snapshot import Chunk, dump_schema, plan_chunks, read_chunk, read_sequences
from capture.source import SourceConnection, identity
from capture.source import connect as source_connect
from capture.unfollowed import unfollowed_changes
from control.project import Project, database_identity, program
from control.report import Report
from control.settings import Settings, process_environment
from control.workers import Surroundings, Worker, WorkerPool
from sink import load, progress, restore, target
from sink.progress import Progress
from sink.target import Connection, Standing, fetch
from transform import copytext
from transform.plan import Plan


@dataclass(frozen=True, slots=True)
class CloneResult:
    """What a clone made. ``consistent_lsn`` is where the copy is exactly mask(production); ``bytes`` are of COPY text
    as it left production; ``slot`` is None where none was kept."""

    source: str
    target: str
    consistent_lsn: Lsn
    tables: int
    rows: int
    bytes: int
    seconds: float
    slot: str | None
    left_out: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CopyChunk:
    """The job of one chunk: COPY out, mask, COPY in. Its result is (chunk, rows, bytes)."""

    chunk: Chunk

    async def run(self, worker: Worker) -> tuple[Chunk, int, int]:
        """Copy the chunk in a transaction of its own on either side."""
        production = await worker.source()
        copy = await worker.target()
        await load.as_replica(copy)
        plan = worker.plan.tables[self.chunk.table]
        size = 0

        async def masked() -> AsyncIterator[bytes | pa.Buffer]:
            nonlocal size
            async with contextlib.aclosing(read_chunk(production, self.chunk, worker.source_snapshot)) as blocks:
                async for block in blocks:
                    size += len(block)
                    if plan.is_raw:
                        yield block
                    else:
                        yield copytext.join(plan.mask(copytext.split(block, self.chunk.columns), escaped=True))

        rows = await load.copy_in(copy, self.chunk.table, self.chunk.columns, masked())
        return self.chunk, rows, size


async def needs_confirmation(settings: Settings, target_name: str) -> str | None:
    """Why the clone asks for the environment's name first; None where it may go ahead."""
    project = Project.of(settings, target_name)
    connection = await target.connect(project.target_address, productions=(), purpose="clone")
    async with connection:
        return await _reason_to_ask(connection, project)


async def _reason_to_ask(connection: Connection, project: Project) -> str | None:
    match await target.standing(connection):
        case Standing.EMPTY:
            return None
        case Standing.FOREIGN:
            raise Refused(
                f"environment {project.target_address.label} holds tables and bears no mark of tezcat: "
                "it may be somebody's work.",
                hint="Name an empty database, or empty this one yourself.",
            )
        case Standing.OURS:
            try:
                found = await progress.read(connection)
            except progress.OtherLayout:
                return f"environment {project.target.name} holds a copy that another version of tezcat made."
            if found is None or found.consistent_lsn is None:
                return None
            return f"environment {project.target.name} holds a finished copy of {found.source}, which a clone replaces."


async def clone(
    settings: Settings,
    source: str,
    target_name: str,
    *,
    once: bool,
    confirm: str | None,
    accept_writable_role: bool,
    report: Report,
) -> CloneResult:
    """Clone ``source`` into ``target_name``; with ``once`` no slot is kept, so no stream can follow.

    Raises ``Refused`` when the target is not ours to replace or ``confirm`` does not name it, ``BadInput`` and
    ``Problem`` for rules and settings, ``ServerFailed`` for what the servers answer.
    """
    began = time.monotonic()
    project = Project.of(settings, target_name, source)
    async with contextlib.AsyncExitStack() as stack:
        production = await project.open_source("clone", accept_writable_role=accept_writable_role)
        await stack.enter_async_context(production)
        found = await identity(production)
        productions = frozenset({database_identity(found)})
        connection = await target.connect(project.target_address, productions=productions, purpose="clone")
        await stack.enter_async_context(connection)
        reason = await _reason_to_ask(connection, project)
        if reason is not None and confirm != project.target.name:
            raise Refused(reason, hint=f"Say so with --confirm {project.target.name}.")
        await progress.acquire(connection, project.target.name)
        catalog = await read_catalog(production)
        plan = project.plan(catalog)
        _refuse_older_target(project, catalog, connection)
        await _refuse_unready(project, plan, accept_writable_role=accept_writable_role, once=once, report=report)
        dump = await program("pg_dump", catalog.server_version)
        session = await stack.enter_async_context(await ReplicationSession.open(project.source_address, "clone"))
        if not once:
            await _replace_slot(project, production, connection, session, confirm)
        report.say(f"making the slot {project.slot} at {project.source.name}")
        slot: Slot | None = None
        try:
            slot = await session.create_slot(project.slot, temporary=once)
            work = _Clone(project, production, connection, session, slot, productions, dump, once=once, report=report)
            made = await work.run(found.timeline)
        except BaseException as error:
            # A slot that production refused to make is not ours to drop; one whose answer was cut off may be there.
            refused = slot is None and isinstance(error, ServerFailed) and not isinstance(error, Interrupted)
            if not refused:
                await _give_up(project, connection, once=once, report=report)
            raise
    return CloneResult(
        source=project.source.name,
        target=project.target.name,
        consistent_lsn=slot.consistent_point,
        tables=made.tables,
        rows=made.rows,
        bytes=made.bytes,
        seconds=time.monotonic() - began,
        slot=None if once else slot.name,
        left_out=made.left_out,
        warnings=made.warnings,
    )


async def _replace_slot(
    project: Project,
    production: SourceConnection,
    connection: Connection,
    session: ReplicationSession,
    confirm: str | None,
) -> None:
    """Drop the slot of this target's last copy. Raises ``Refused`` for one that another copy may need."""
    ours = await target.standing(connection) is Standing.OURS
    if not ours and confirm != project.target.name and await slot_state(production, project.slot) is not None:
        raise Refused(
            f"production has a slot {project.slot} already, and environment {project.target_address.label} is empty: "
            "the slot may belong to another copy, whose environment has the same name.",
            hint=f"Rename this environment; or, if nobody needs the slot, --confirm {project.target.name} replaces it.",
        )
    await drop_slot_if_there(production, session, project.slot)


def _too_old(max_age: timedelta) -> ServerFailed:
    return ServerFailed(
        f"the snapshot grew older than snapshot.max_age ({max_age}), and production comes first: "
        "the clone was given up.",
        hint="Raise snapshot.max_age or snapshot.workers, or clone when production is quieter.",
    )


def _refuse_older_target(project: Project, catalog: Catalog, connection: Connection) -> None:
    theirs = connection.info.server_version // 10000
    ours = catalog.server_version // 10000
    if theirs < ours:
        raise ServerFailed(
            f"environment {project.target_address.label} runs PostgreSQL {theirs}, production PostgreSQL {ours}: "
            "an older server may not take a newer one's schema.",
            hint=f"Use a target of version {ours} or later.",
        )


async def _refuse_unready(
    project: Project, plan: Plan, *, accept_writable_role: bool, once: bool, report: Report
) -> None:
    """Hold production against the same checks as ``source check``, before anything is made there."""
    checks = await preflight(
        project.source_address,
        publication=project.settings.publication,
        unpublished=[name for name, table in plan.tables.items() if table.rows == "none"],
    )
    # Without a stream no publication is needed; a writable role was judged, and accepted, when it connected.
    passed = {"publication", "published tables", "replica identity"} if once else set()
    if accept_writable_role:
        passed.add("role")
    judged = [check for check in checks if check.name not in passed]
    problems = [check for check in judged if check.status is Status.PROBLEM]
    if problems:
        raise ServerFailed(
            f"{project.source_address.label} is not ready: {' '.join(check.message for check in problems)}",
            hint=" ".join(dict.fromkeys(check.remedy for check in problems)),
        )
    for check in judged:
        if check.status is Status.WARNING:
            report.warn(f"{check.message} {check.remedy}".rstrip())


async def _give_up(project: Project, connection: Connection, *, once: bool, report: Report) -> None:
    """Leave nothing behind that harms production, and no copy that looks whole."""
    with contextlib.suppress(TezcatError):
        if await target.standing(connection) is Standing.OURS:
            await progress.set_state(connection, "failed", last_error="the last clone did not finish")
    if once:
        return
    try:
        # The session that made the slot may be in the middle of anything, and so may the one that asks.
        async with (
            await source_connect(project.source_address, purpose="clone") as asking,
            await ReplicationSession.open(project.source_address, "clone") as session,
        ):
            await drop_slot_if_there(asking, session, project.slot)
    except TezcatError as error:
        report.warn(
            f"the slot {project.slot} could not be dropped ({error}) and production may keep WAL for it. "
            f"As its DBA: SELECT pg_drop_replication_slot('{project.slot}');"
        )


@dataclass(frozen=True, slots=True)
class _Made:
    tables: int
    rows: int
    bytes: int
    left_out: dict[str, str]
    warnings: list[str]


class _Clone:
    """The part of a clone that changes things: from the slot on."""

    def __init__(
        self,
        project: Project,
        production: SourceConnection,
        connection: Connection,
        session: ReplicationSession,
        slot: Slot,
        productions: frozenset[DatabaseIdentity],
        dump: Path,
        *,
        once: bool,
        report: Report,
    ) -> None:
        self._project = project
        self._production = production
        self._connection = connection
        self._session = session
        self._slot = slot
        self._productions = productions
        self._dump = dump
        self._once = once
        self._report = report
        self._archive = project.settings.state / f"{project.target.name}.schema"

    async def run(self, timeline: int) -> _Made:
        """Make the copy."""
        project, report = self._project, self._report
        max_age = project.settings.snapshot.max_age
        await self._production.begin(snapshot=self._slot.snapshot)
        catalog = await read_catalog(self._production)
        clock = await self._production.fetch("SELECT transaction_timestamp()")
        await self._production.rollback()
        published = await published_as(self._production, project.publications, catalog)
        unfollowed = await unfollowed_changes(self._production, project.publications)
        plan = project.plan(catalog)
        first = self._first_progress(catalog, plan, timeline, published, unfollowed)
        try:
            try:
                async with asyncio.timeout(max_age.total_seconds()), self._workers(plan) as pool:
                    warnings = await self._bring_schema(catalog, first)
                    rows, size, tables = await self._copy_rows(pool, catalog, plan)
            except TimeoutError:
                raise _too_old(max_age) from None
            # The rows are here; production need not keep what the snapshot shows any more.
            await self._session.close()
            report.say("building indexes and constraints")
            await self._restore(restore.Section.AFTER_ROWS, project.settings.snapshot.workers)
        finally:
            self._archive.unlink(missing_ok=True)
        report.say("setting sequences, refreshing views, taking statistics")
        await self._set_sequences(catalog, plan)
        warnings += await load.settle(self._connection)
        await progress.finish_clone(self._connection, self._slot.consistent_point, clock[0][0])
        left_out = {str(name): reason for name, reason in catalog.left_out.items()}
        return _Made(tables, rows, size, left_out, warnings)

    def _workers(self, plan: Plan) -> WorkerPool:
        surroundings = Surroundings(
            source=self._project.source_address,
            source_snapshot=self._slot.snapshot,
            target=self._project.target_address,
            target_snapshot=None,
            productions=self._productions,
            plan=plan,
            purpose="clone",
        )
        return WorkerPool(surroundings, self._project.settings.snapshot.workers)

    async def _bring_schema(self, catalog: Catalog, first: Progress) -> list[str]:
        """Mark the target as ours and make what must be there before rows can come; warnings."""
        project = self._project
        self._archive.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await dump_schema(self._dump, project.source_address, self._slot.snapshot, self._archive, process_environment())
        if await target.standing(self._connection) is Standing.OURS:
            await load.clear(self._connection)
        await progress.install(self._connection)
        await progress.begin_clone(self._connection, first)
        made = await restore.make_roles(self._connection, catalog.roles)
        self._report.say("bringing the schema")
        await self._restore(restore.Section.BEFORE_ROWS, 1)
        return [f"the role {name} was made on the target, without login, because the schema names it" for name in made]

    async def _restore(self, section: restore.Section, jobs: int) -> None:
        binary = self._dump.with_name("pg_restore")
        address = self._project.target_address
        await restore.restore(binary, self._archive, address, section, jobs, process_environment())

    def _first_progress(
        self, catalog: Catalog, plan: Plan, timeline: int, published: dict[str, str], unfollowed: dict[str, int]
    ) -> Progress:
        return Progress(
            environment=self._project.target.name,
            source=self._project.source.name,
            system_identifier=catalog.system_identifier,
            database=catalog.database,
            timeline=timeline,
            slot=None if self._once else self._slot.name,
            rules_fingerprint=plan.fingerprint,
            key_check=plan.key_check,
            state="cloning",
            consistent_lsn=None,
            applied_lsn=None,
            source_time=None,
            published=published,
            unfollowed=unfollowed,
            runner=None,
            last_error=None,
        )

    async def _copy_rows(self, pool: WorkerPool, catalog: Catalog, plan: Plan) -> tuple[int, int, int]:
        settings = self._project.settings.snapshot
        copied = [table for table in catalog.tables.values() if plan.tables[table.name].rows == "all"]
        chunks = plan_chunks(copied, settings.chunk_bytes, catalog.server_version)
        rows = size = 0
        with contextlib.ExitStack() as bars:
            total = sum(chunk.bytes for chunk in chunks)
            advance = bars.enter_context(self._report.task("rows", total, "bytes"))
            async for chunk, count, copied_bytes in pool.run(CopyChunk(chunk) for chunk in chunks):
                rows += count
                size += copied_bytes
                advance(chunk.bytes)
        return rows, size, len({chunk.table for chunk in chunks})

    async def _set_sequences(self, catalog: Catalog, plan: Plan) -> None:
        values = await read_sequences(self._production, catalog.sequences)
        for sequence in catalog.sequences:
            value = values[sequence.name]
            floors = [floor for fed in sequence.feeds if (floor := plan.sequence_floor(fed)) is not None]
            if floors and sequence.increment > 0:
                value = max(floors)
            if value is not None:
                await fetch(self._connection, "SELECT setval(%s::regclass, %s)", (str(sequence.name), value))
