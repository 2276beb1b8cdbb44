"""One session of a stream: a connection to production, one to the copy, from START_REPLICATION to an end or a failure.

It holds production, the slot, the rules and the key against what the copy was made with, and refuses to go on with
anything else; then ``control.flow`` brings the changes. However it ends, the copy tells why.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import socket
from collections.abc import Coroutine, Iterator

import structlog
from psycopg.pq import TransactionStatus

from capture.catalog import read_catalog
from capture.model import BadInput, Catalog, ColumnName, Interrupted, Lsn, Refused, ServerFailed, TableName, TezcatError
from capture.publications import published_as
from capture.replication import ReplicationSession
from capture.slots import slot_state
from capture.source import SourceConnection, SourceIdentity, identity
from control.copies import (
    changes,
    check_copy,
    check_published,
    clone_again,
    copy_again,
    followed,
    no_copy,
    refuse_unknown_rows,
)
from control.flow import Counters, Finished, Flow, Goal
from control.project import Masking, Project, database_identity
from control.refetch import Refetch
from sink import liveness, load, progress, target
from sink.apply import Applier
from sink.columns import read_columns, read_converted_types
from sink.progress import Progress
from sink.sequences import SequenceMarks
from sink.statements import TableShape
from sink.target import Backend, Connection, fetch
from transform.plan import Plan

log = structlog.get_logger()


class Session:
    """See the module's contract. Afterwards ``has_connected`` tells whether both servers answered, ``has_streamed``
    whether production began to send, ``has_applied`` whether the copy was moved; ``backend`` is its session on the
    target, and ``masking`` the rules and keys that it streamed by. Those of the session before are ``left``, whom the
    target may still keep where a connection was given up, and ``before``."""

    def __init__(
        self,
        project: Project,
        counters: Counters,
        goal: Goal,
        stop: asyncio.Event,
        *,
        accept_writable_role: bool,
        left: Backend | None,
        before: Masking | None,
        without: frozenset[TableName],
    ) -> None:
        self._project = project
        self._counters = counters
        self._goal = goal
        self._stop = stop
        self._accept_writable_role = accept_writable_role
        self._without = without
        self.backend = left
        self.masking = before
        self.has_connected = False
        self.has_streamed = False
        self.has_applied = False

    async def run(self) -> None:
        """Stream. It always ends by raising, ``Finished`` when all is well."""
        project = self._project
        async with contextlib.AsyncExitStack() as stack:
            production = await project.open_source("stream", accept_writable_role=self._accept_writable_role)
            await stack.enter_async_context(production)
            found = await identity(production)
            connection = await target.connect(
                project.target_address, productions={database_identity(found)}, purpose="stream"
            )
            # Not as its own context manager, which would wait for an answer to ROLLBACK from a server that may be gone.
            stack.push_async_callback(connection.close)
            stack.enter_context(_running(liveness.watch(connection, project.target_address)))
            self.has_connected = True
            if self.backend is not None:
                await target.end_backend(connection, self.backend)
            self.backend = await target.backend(connection)
            if await target.standing(connection) is not target.Standing.OURS:
                raise no_copy(project)
            await progress.acquire(connection, project.target.name)
            runner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
            try:
                await self._follow(stack, production, connection, found, runner)
            except BaseException as error:
                await _leave(connection, runner, error)
                raise

    async def _follow(
        self,
        stack: contextlib.AsyncExitStack,
        production: SourceConnection,
        connection: Connection,
        found: SourceIdentity,
        runner: str,
    ) -> None:
        """Hold everything against what the copy was made with, then stream."""
        project = self._project
        catalog = await read_catalog(production)
        written = project.written()
        kept = await progress.read(connection)
        plan = self._plan(catalog, kept)
        # Of the user's code it is known now where it is.
        written = project.written() | written
        state = check_copy(project, kept, plan, database_identity(found), without=self._without)
        if state.slot is None or state.applied_lsn is None or state.source_time is None:
            raise Refused(
                f"the copy in {project.target.name} was cloned with --once and has no slot.",
                hint=clone_again(project),
            )
        if found.timeline != state.timeline:
            raise ServerFailed(
                f"production is on timeline {found.timeline} of its WAL, and the copy was made on {state.timeline}: it "
                "failed over or was restored, and the copy may hold what never happened there.",
                hint=clone_again(project),
            )
        await progress.become_runner(connection, runner)
        catalog, left_out = followed(project, catalog, plan, await read_columns(connection))
        for what in left_out:
            log.warning("drift", what=what)
        refuse_unknown_rows(catalog, plan)
        published = await published_as(production, project.publications, catalog)
        check_published(project, catalog, plan, state, published, without=self._without)
        current = await _check_slot(project, production, state.applied_lsn)
        if self._goal.caught_up and self._goal.lsn is None:
            self._goal.lsn = current
        await load.as_replica(connection)
        converted = await read_converted_types(connection)
        marks = _marks(catalog, plan)
        refetch: Refetch | None = None
        if plan.subset is not None and not self._without.issuperset(plan.subset.tables):
            beside = await target.read_identity(connection)
            refetch = Refetch(
                project,
                catalog,
                plan,
                plan.subset,
                connection,
                marks,
                shares_server=beside.system_identifier == found.system_identifier,
            )
            await stack.enter_async_context(refetch)
        applier = Applier(
            connection,
            {name: TableShape.of(table, converted) for name, table in catalog.tables.items()},
            marks,
            applied_lsn=state.applied_lsn,
            runner=runner,
        )
        self._counters.applied_lsn = state.applied_lsn
        self._counters.source_time = state.source_time
        # Modules, catalog and plan stay. To look at them again and again would stop the stream for a tenth of a second.
        gc.collect()
        gc.freeze()
        session = await stack.enter_async_context(await ReplicationSession.open(project.source_address, "stream"))
        protocol = _protocol(catalog.server_version)
        replication = await session.start(project.slot, state.applied_lsn, project.publications, protocol)
        # Only now is the slot ours; before, somebody else could still have moved it.
        await _check_slot(project, production, state.applied_lsn)
        self.has_streamed = self._counters.has_streamed = True
        await stack.enter_async_context(replication)
        flow = Flow(
            project, self._counters, self._goal, self._stop, production, replication, connection, applier, refetch
        )
        try:
            await flow.run(catalog, plan, state, protocol, written=written, without=self._without)
        finally:
            self.has_applied = applier.applied_lsn > state.applied_lsn

    def _plan(self, catalog: Catalog, kept: Progress | None) -> Plan:
        """By what the files say now; where that is another than the copy's, by what they said in the session before."""
        before = self.masking
        try:
            masking = self._project.reread().masking()
            plan = masking.plan(catalog, partial=True)
        except BadInput as error:
            if before is None:
                raise
            log.warning("rules changed", problem=str(error))
        else:
            if before is None or kept is None or not changes(kept, plan):
                self.masking = masking
                return plan
            log.warning("rules changed", what_to_do=copy_again(self._project))
        return before.plan(catalog, partial=True)


@contextlib.contextmanager
def _running(work: Coroutine[None, None, None]) -> Iterator[None]:
    """Let ``work`` run beside a block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


async def _leave(connection: Connection, runner: str, error: BaseException) -> None:
    """Tell in the copy why the session ended, as far as the copy can still be told."""
    with contextlib.suppress(TezcatError):
        async with target.leaving():
            await _tell(connection, runner, error)


async def _tell(connection: Connection, runner: str, error: BaseException) -> None:
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        await fetch(connection, "ROLLBACK")
    match error:
        case Interrupted():
            # Nobody has to do anything about it: the stream goes on, now or when it is started again.
            await progress.set_state(connection, "idle", runner=runner, last_error=str(error))
        case TezcatError():
            await progress.set_state(connection, "failed", runner=runner, last_error=str(error))
        case Finished() | asyncio.CancelledError():
            await progress.set_state(connection, "idle", runner=runner)
        case _:
            await progress.set_state(
                connection, "failed", runner=runner, last_error=f"a defect ({type(error).__name__})"
            )


async def _check_slot(project: Project, production: SourceConnection, applied: Lsn) -> Lsn:
    """Whether the slot still has all that the copy lacks; production's current position. Raises ``ServerFailed``."""
    name = project.slot
    slot = await slot_state(production, name)
    if slot is None:
        raise ServerFailed(
            f"the slot {name} is gone from production, and with it what the copy has not seen.",
            hint=clone_again(project),
        )
    if slot.is_lost:
        raise ServerFailed(
            f"production has removed WAL that the slot {name} still needed.",
            hint=f"{clone_again(project)} A larger max_slot_wal_keep_size gives the stream more time.",
        )
    if slot.confirmed_flush_lsn is None or slot.confirmed_flush_lsn > applied:
        raise ServerFailed(
            f"the slot {name} stands at {slot.confirmed_flush_lsn}, after the copy's {applied}: it was made anew or "
            "advanced by somebody, and what lies between is lost to the copy.",
            hint=clone_again(project),
        )
    if slot.current_lsn < applied:
        raise ServerFailed(
            f"production stands at {slot.current_lsn}, before the copy's {applied}: it was restored from a backup or "
            "has lost transactions, which the copy still holds.",
            hint=clone_again(project),
        )
    return slot.current_lsn


def _protocol(server_version: int) -> int:
    """The newest protocol that the server speaks; it is a matter of the server's major version."""
    if server_version >= 160000:
        return 4
    if server_version >= 150000:
        return 3
    return 2 if server_version >= 140000 else 1


def _marks(catalog: Catalog, plan: Plan) -> SequenceMarks:
    roots = {table.name: table.root for table in catalog.tables.values() if table.root is not None}
    kept = {
        ColumnName(name, column)
        for name, table_plan in plan.tables.items()
        for column in table_plan.columns
        if column not in table_plan.masked_columns
    }
    return SequenceMarks(catalog.sequences, roots, kept)
