"""Cloning: production's schema and masked rows into a target, as of one LSN.

    checks ─▶ slot ─▶ schema ─▶ rows, chunk by chunk ─▶ indexes and constraints ─▶ sequences, statistics ─▶ idle

Nothing is made or changed before all checks have passed. From then on the target knows how far the clone came
(``sink.unfinished``). One that was killed, or failed in a way that passes, keeps its slot and is gone on with when it
is begun again, if what it needs is as it was (``control.resume``). When it failed otherwise the slot is dropped,
because one that nobody reads makes production keep WAL, and the next clone starts over.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from capture.catalog import read_catalog
from capture.model import Catalog, Interrupted, Lsn, Refused, ServerFailed, TezcatError
from capture.replication import ReplicationSession
from capture.slots import drop_slot_if_there
from capture.snapshot import dump_schema, read_sequences
from capture.source import connect as source_connect
from capture.source import identity
from control import outcome, resume
from control.copies import go_on, refuse_unknown_rows
from control.cut import Cut, fingerprint, no_longer_than, patience
from control.programs import dump_program, run
from control.project import Project, database_identity
from control.readiness import reason_to_ask, refuse_older_target, refuse_unready, replace_slot
from control.report import Report
from control.rows import Rows
from control.settings import Settings
from control.workers import Surroundings, WorkerPool, WorkersLost
from sink import entries, load, progress, pulled, restore, target, unfinished
from sink.progress import Progress
from sink.rights import check_rights
from sink.sequences import put
from sink.target import Standing
from sink.unfinished import Phase, Unfinished
from transform.plan import Plan

_AFTER_ROWS: Final = (Phase.INDEXES, Phase.SETTLING)
# How production and the target know the sessions of a clone.
_PURPOSE: Final = "clone"
# After a failure that passes, a clone goes on by itself when so many seconds have gone by, one after the other.
_PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)


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


async def needs_confirmation(settings: Settings, target_name: str) -> str | None:
    """Why the clone asks for the environment's name first; None where it may go ahead."""
    project = Project.of(settings, target_name)
    connection = await target.connect(project.target_address, productions=(), purpose="clone")
    async with connection:
        return await reason_to_ask(connection, project)


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
    """Clone ``source`` into ``target_name``, or finish a clone that was begun; with ``once`` no slot is kept, so no
    stream can follow, and a clone that is killed starts over.

    Raises ``Refused`` when the target is not ours to replace or ``confirm`` does not name it, ``BadInput`` and
    ``Problem`` for rules and settings, ``ServerFailed`` for what the servers answer.
    """
    attempt = _Attempt(
        Project.of(settings, target_name, source),
        once=once,
        confirm=confirm,
        accept_writable_role=accept_writable_role,
        report=report,
    )
    chunks = 0
    pauses = iter(_PAUSES)
    while True:
        try:
            return await attempt.run()
        except BaseException as error:
            if not attempt.can_go_on:
                raise
            if attempt.chunks > chunks:
                chunks, pauses = attempt.chunks, iter(_PAUSES)
            # Who was asked to end does not go on, whatever failed in consequence.
            passes = isinstance(error, Interrupted) and not outcome.is_asked_to_end()
            pause = next(pauses, None) if passes else None
            if pause is None:
                project = attempt.project
                report.warn(
                    f"the clone is not finished, and production keeps WAL in its slot {project.slot} so that it "
                    f"can be. {go_on(project)}"
                )
                raise
            report.warn(f"{error} The clone goes on in {pause:.0f} s.")
        await asyncio.sleep(pause)


async def _drop_slot(project: Project, report: Report) -> None:
    """Leave nothing behind that harms production."""
    try:
        # The session that made the slot may be in the middle of anything, and so may the one that asks.
        async with (
            await source_connect(project.source_address, purpose=_PURPOSE) as asking,
            await ReplicationSession.open(project.source_address, _PURPOSE) as session,
        ):
            await drop_slot_if_there(asking, session, project.slot)
    except TezcatError as error:
        report.warn(
            f"the slot {project.slot} could not be dropped ({error}) and production may keep WAL for it. "
            f"As its DBA: SELECT pg_drop_replication_slot('{project.slot}');"
        )


class _Attempt:
    """A clone, begun or gone on with. ``can_go_on`` tells after a failure whether it is worth another attempt, and
    ``chunks`` how many were there at its end."""

    def __init__(
        self, project: Project, *, once: bool, confirm: str | None, accept_writable_role: bool, report: Report
    ) -> None:
        self.project = project
        self.can_go_on = False
        self.chunks = 0
        self._once = once
        self._confirm = confirm
        self._accept_writable_role = accept_writable_role
        self._report = report
        self._max_age = project.settings.snapshot.max_age
        self._archive = project.settings.state / f"{project.target.name}.schema"

    async def run(self) -> CloneResult:
        """Make the copy, or what lacks of it."""
        began = time.monotonic()
        project = self.project
        async with contextlib.AsyncExitStack() as stack:
            production = await project.open_source(_PURPOSE, accept_writable_role=self._accept_writable_role)
            await stack.enter_async_context(production)
            found = await identity(production)
            productions = frozenset({database_identity(found)})
            connection = await target.connect(project.target_address, productions=productions, purpose=_PURPOSE)
            await stack.enter_async_context(connection)
            reason = await reason_to_ask(connection, project)
            if reason is not None and self._confirm != project.target.name:
                raise Refused(reason, hint=f"Say so with --confirm {project.target.name}.")
            await check_rights(connection, project.target_address)
            await progress.acquire(connection, project.target.name, patience=resume.PATIENCE)
            catalog = await read_catalog(production)
            plan = project.plan(catalog)
            refuse_older_target(project, catalog, connection)
            await target.refuse_other_encoding(connection, project.target_address, catalog.encoding)
            await refuse_unready(
                project, plan, accept_writable_role=self._accept_writable_role, once=self._once, report=self._report
            )
            if not self._once:
                refuse_unknown_rows(catalog, plan)
            tls = production.is_encrypted or connection.pgconn.ssl_in_use
            self._dump = await dump_program(catalog.server_version, tls=tls)
            project.check_state_folder()
            self._production = production
            self._connection = connection
            self._productions = productions
            left = await resume.find(project, production, connection, found, catalog, plan)
            if left.obstacle is not None:
                self._report.say(f"starting over: an earlier clone cannot be gone on with, because {left.obstacle}")
            try:
                if left.state is not None and not self._once:
                    return await self._go_on(catalog, plan, began)
                return await self._begin(stack, catalog, plan, found.timeline, began)
            finally:
                self._archive.unlink(missing_ok=True)
                self._archive.with_suffix(".entries").unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------ beginnings, and the end

    async def _begin(
        self, stack: contextlib.AsyncExitStack, catalog: Catalog, plan: Plan, timeline: int, began: float
    ) -> CloneResult:
        project = self.project
        self.can_go_on = False
        session = await stack.enter_async_context(await ReplicationSession.open(project.source_address, _PURPOSE))
        if not self._once:
            await replace_slot(project, self._production, self._connection, session, self._confirm)
        if await target.standing(self._connection) is Standing.EMPTY:
            # Whoever finds the slot after we were killed here must see whose it is.
            await progress.install(self._connection)
        self._report.say(
            f"making the slot {project.slot} at {project.source.name}, when the transactions that are open there have "
            "ended"
        )
        cut: Cut | None = None
        try:
            async with patience(_PURPOSE, self._max_age):
                cut = await Cut.take(project, self._production, session, project.slot, temporary=self._once)
            schema = fingerprint(cut.catalog)
            if schema != fingerprint(catalog):
                plan = project.plan(cut.catalog)
            async with self._workers(plan) as pool:
                state, warnings = await self._bring_schema(cut, schema, plan, timeline)
                state = await self._rows(cut.catalog, plan, pool).copy(state, cut)
            return await self._finish(cut.catalog, plan, state, warnings, began)
        except BaseException as error:
            # A slot that production refused to make is not ours to drop; one whose answer was cut off may be there.
            refused = cut is None and isinstance(error, ServerFailed) and not isinstance(error, Interrupted)
            if not refused:
                await self._leave(error)
            raise

    async def _go_on(self, catalog: Catalog, plan: Plan, began: float) -> CloneResult:
        # Until something says otherwise, what was kept stays.
        self.can_go_on = True
        try:
            await unfinished.stop_orphans(self._connection, f"tezcat {_PURPOSE}")
            state = await unfinished.take_over(self._connection)
            await progress.set_state(self._connection, "cloning")
            self._report.say(f"resuming a clone that was not finished (its {state.phase} stood at {state.base_lsn})")
            self._archive.touch(0o600)
            self._archive.write_bytes(await unfinished.read_archive(self._connection))
            if state.phase is Phase.ROWS:
                async with self._workers(plan) as pool:
                    state = await self._rows(catalog, plan, pool).copy(state, None)
            return await self._finish(catalog, plan, state, [], began)
        except BaseException as error:
            await self._leave(error)
            raise

    async def _finish(
        self, catalog: Catalog, plan: Plan, state: Unfinished, warnings: list[str], began: float
    ) -> CloneResult:
        """All that follows the rows; production need not keep what a snapshot shows any more."""
        if state.phase is not Phase.SETTLING:
            listed = await entries.list_entries(self._restore_program, self._archive, run)
            if state.phase is Phase.INDEXES:
                listed = await self._remaining(listed)
            else:
                await unfinished.enter(self._connection, Phase.INDEXES)
            self._report.say("building indexes and constraints")
            await self._restore_after_rows(listed)
            await unfinished.enter(self._connection, Phase.SETTLING)
        self._report.say("setting sequences, refreshing views, taking statistics")
        await self._set_sequences(catalog, plan)
        warnings = warnings + await load.settle(self._connection)
        chunks = await unfinished.finished_chunks(self._connection)
        async with target.transaction(self._connection):
            await progress.finish_clone(self._connection, state.base_lsn, state.base_time)
            await unfinished.forget(self._connection)
        return CloneResult(
            source=self.project.source.name,
            target=self.project.target.name,
            consistent_lsn=state.base_lsn,
            tables=len({chunk.table for chunk in chunks}),
            rows=sum(chunk.rows for chunk in chunks),
            bytes=sum(chunk.bytes for chunk in chunks),
            seconds=time.monotonic() - began,
            slot=None if self._once else self.project.slot,
            left_out={str(name): reason for name, reason in catalog.left_out.items()},
            warnings=warnings,
        )

    async def _leave(self, error: BaseException) -> None:
        """Keep what can be gone on with after a failure that passes; else leave no slot, and no copy that looks whole.

        What the sessions of the clone are in the middle of is not known, so others do it.
        """
        passes = isinstance(error, Interrupted | WorkersLost | asyncio.CancelledError | KeyboardInterrupt)
        reason = str(error) if isinstance(error, TezcatError) else "the last clone did not finish."
        self.can_go_on = self.can_go_on and passes and not self._once
        with contextlib.suppress(TezcatError):
            async with (
                await target.connect(
                    self.project.target_address, productions=self._productions, purpose=_PURPOSE
                ) as connection,
                target.leaving(),
            ):
                if await target.standing(connection) is Standing.OURS:
                    state = await unfinished.read(connection)
                    self.chunks = len(await unfinished.finished_chunks(connection))
                    has_begun = state is not None and (self.chunks > 0 or state.phase in _AFTER_ROWS)
                    self.can_go_on = passes and not self._once and has_begun
                    if not self.can_go_on:
                        await unfinished.forget(connection)
                    await progress.set_state(connection, "failed", last_error=reason)
        if not self.can_go_on and not self._once:
            await _drop_slot(self.project, self._report)

    # --------------------------------------------------------------------------------------------------------- steps

    def _workers(self, plan: Plan) -> WorkerPool:
        surroundings = Surroundings(
            source=self.project.source_address,
            source_snapshot=None,
            target=self.project.target_address,
            target_snapshot=None,
            productions=self._productions,
            plan=plan,
            purpose=_PURPOSE,
        )
        return WorkerPool(surroundings, self.project.settings.snapshot.workers)

    def _rows(self, catalog: Catalog, plan: Plan, pool: WorkerPool) -> Rows:
        return Rows(
            self.project,
            self._production,
            self._connection,
            self._productions,
            catalog,
            plan,
            pool,
            self._report,
            once=self._once,
        )

    async def _bring_schema(self, cut: Cut, schema: str, plan: Plan, timeline: int) -> tuple[Unfinished, list[str]]:
        """Mark the target as ours and make what must be there before rows can come; warnings."""
        project = self.project
        async with no_longer_than(self._max_age, cut.taken, "the schema was not read"):
            await dump_schema(self._dump, project.source_address, cut.snapshot, self._archive, run)
        async with cut.closed_when_old(self._max_age):
            return await self._make_schema(cut, schema, plan, timeline)

    async def _make_schema(self, cut: Cut, schema: str, plan: Plan, timeline: int) -> tuple[Unfinished, list[str]]:
        await unfinished.stop_orphans(self._connection, f"tezcat {_PURPOSE}")
        await load.clear(self._connection)
        await progress.install(self._connection)
        state = Unfinished(unfinished.new_runner(), Phase.SCHEMA, cut.lsn, cut.time, schema)
        async with target.transaction(self._connection):
            await progress.begin_clone(self._connection, self._first_progress(cut, plan, timeline))
            await unfinished.begin(self._connection, state, self._archive.read_bytes())
        made = await restore.make_roles(self._connection, cut.catalog.roles)
        self._report.say("bringing the schema")
        await self._restore(restore.Section.BEFORE_ROWS, 1)
        await pulled.make(self._connection, plan.subset)
        await unfinished.enter(self._connection, Phase.ROWS)
        state = await unfinished.take_over(self._connection)
        return state, [
            f"the role {name} was made on the target, without login, because the schema names it" for name in made
        ]

    @property
    def _restore_program(self) -> Path:
        return self._dump.with_name("pg_restore")

    async def _restore(
        self, section: restore.Section, jobs: int, chosen: Sequence[entries.Entry] | None = None
    ) -> None:
        """Make a section of the schema, or the chosen entries of it."""
        file: Path | None = None
        if chosen is not None:
            file = self._archive.with_suffix(".entries")
            file.write_text("".join(f"{entry.number};\n" for entry in chosen))
        address = self.project.target_address
        await restore.restore(self._restore_program, self._archive, address, section, jobs, run, entries=file)

    async def _restore_after_rows(self, listed: Sequence[entries.Entry]) -> None:
        try:
            for stage in entries.stages(listed):
                jobs = 1 if stage.alone else self.project.settings.snapshot.workers
                await self._restore(restore.Section.AFTER_ROWS, jobs, stage.entries)
        except restore.Deadlocked as error:
            self._report.say(f"{error} Going on with the rest in one connection.")
            await self._restore(restore.Section.AFTER_ROWS, 1, await self._remaining(listed))

    async def _remaining(self, listed: Sequence[entries.Entry]) -> list[entries.Entry]:
        """What is not made yet of what follows the rows, when those who were making it are gone, or were killed."""
        await unfinished.stop_orphans(self._connection, f"tezcat {_PURPOSE}")
        return await entries.remaining(self._connection, listed)

    def _first_progress(self, cut: Cut, plan: Plan, timeline: int) -> Progress:
        return Progress(
            environment=self.project.target.name,
            source=self.project.source.name,
            system_identifier=cut.catalog.system_identifier,
            database=cut.catalog.database,
            timeline=timeline,
            slot=None if self._once else self.project.slot,
            rules_fingerprint=plan.fingerprint,
            rules=plan.identities,
            key_check=plan.key_check,
            state="cloning",
            consistent_lsn=None,
            applied_lsn=None,
            source_time=None,
            published=cut.published,
            unfollowed=cut.unfollowed,
            runner=None,
            last_error=None,
        )

    async def _set_sequences(self, catalog: Catalog, plan: Plan) -> None:
        values = await read_sequences(self._production, catalog.sequences)
        for sequence in catalog.sequences:
            overtaken = plan.overtaken(sequence, values[sequence.name])
            if overtaken is not None:
                self._report.warn(str(overtaken))
            start = plan.start(sequence)
            value = start if start is not None else values[sequence.name]
            if value is not None:
                await put(self._connection, sequence, value)
