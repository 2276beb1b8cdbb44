"""Copying tables again that other rules or another key ask for, while the stream goes on with all.

    cut A ─▶ rows by the new rules, into tables aside ─▶ hold at cut B ─▶ rows touched since A ─▶ replace ─▶ lift

The copy's own tables stay as they are until one transaction replaces their rows, at an LSN at which the copy stands and
production is read. The stream waits for that moment only: for the rows that were touched meanwhile, and for the
replacing. Then it begins anew with the new rules; where none runs, the other tables are brought to that LSN here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from capture.catalog import read_catalog
from capture.model import Catalog, DatabaseIdentity, Drifted, Lsn, Refused, ServerFailed, Table, TableName
from capture.replication import ReplicationSession
from capture.slots import slot_state
from capture.snapshot import Chunk, TableRewritten, plan_chunks, read_chunk, read_sequences
from capture.source import SourceConnection, identity
from capture.touched import Followed, SlotReader, Touched
from control.copies import changes, check_copy, clone_again, followed, no_copy, refuse_unknown_rows
from control.cut import Cut, fingerprint, no_longer_than, temporary_cut
from control.holding import bring_to
from control.membership import Membership, Sieve, find_members
from control.project import Project, database_identity
from control.readiness import refuse_unready
from control.report import Report
from control.settings import Settings
from control.subset_folder import subset_folder
from control.touched_rows import replace_touched
from control.workers import Surroundings, Worker, WorkerPool
from sink import aside, hold, load, progress, pulled, target
from sink.columns import read_columns
from sink.progress import Progress
from sink.sequences import move, put
from sink.statements import TableShape
from sink.target import Connection, Standing, fetch
from transform.plan import Plan
from transform.subset import SubsetTable

_PURPOSE: Final = "resync"
# Bytes of touched keys that are held at once; a table that was touched in more places is read again at the end.
_KEYS_BUDGET: Final = 64 << 20
# How long users of the copy may keep a table from being replaced, while the stream is held.
_LOCK_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class ResyncResult:
    """What was copied again, by table, with the rows that it has now, and the LSN of all. ``held_seconds`` is how long
    the stream stood for it. Without a table there was nothing to do."""

    source: str
    target: str
    lsn: Lsn
    tables: dict[TableName, int]
    seconds: float
    held_seconds: float


@dataclass(frozen=True, slots=True)
class CopyAside:
    """The job of one chunk: COPY out, mask, COPY into the table aside. Its result is the chunk. ``members`` are the
    snapshot's; the keys of rows that are only needed go into ``pulled``. Where it is not ``is_last``, a later snapshot
    tells that the table was rewritten or truncated meanwhile, and it is read again."""

    chunk: Chunk
    snapshot: str
    into: TableName
    is_last: bool
    members: Membership | None = None
    pulled: TableName | None = None

    async def run(self, worker: Worker) -> Chunk:
        """Copy the chunk."""
        production, copy = await worker.source(), await worker.target()
        sieve = Sieve(worker.plan, self.members, self.chunk)

        async def masked() -> AsyncIterator[bytes | pa.Buffer]:
            async with contextlib.aclosing(read_chunk(production, self.chunk, self.snapshot)) as blocks:
                async for block in blocks:
                    yield sieve.mask(block)

        try:
            await load.copy_in(copy, self.into, self.chunk.columns, masked())
        except TableRewritten:
            if self.is_last:
                raise
        if self.pulled is not None:
            await sieve.write_pulled(copy, self.pulled)
        return self.chunk


async def resync(
    settings: Settings, source: str, target_name: str, *, accept_writable_role: bool, report: Report
) -> ResyncResult:
    """Copy again what the copy's rules or key of today would mask otherwise.

    Raises ``Refused`` where there is no whole copy of this production with a slot, or somebody else is at it,
    ``Drifted`` where production's tables are no longer the copy's, ``BadInput`` and ``Undecided`` for the rules,
    ``ServerFailed`` for the servers. The copy is then what it was.
    """
    began = time.monotonic()
    project = Project.of(settings, target_name, source)
    async with contextlib.AsyncExitStack() as stack:
        production = await project.open_source(_PURPOSE, accept_writable_role=accept_writable_role)
        await stack.enter_async_context(production)
        found = database_identity(await identity(production))
        connection = await target.connect(project.target_address, productions={found}, purpose=_PURPOSE)
        await stack.enter_async_context(connection)
        async with target.answering(project.target_address):
            if await target.standing(connection) is not Standing.OURS:
                raise no_copy(project)
            await load.quiet(connection)
            await aside.acquire(connection)
            state = await progress.read(connection)
        catalog = await read_catalog(production)
        plan = project.plan(catalog, partial=True)
        state = check_copy(project, state, plan, found, without=frozenset(plan.tables))
        followed(project, catalog, plan, await read_columns(connection))
        if state.slot is None:
            raise Refused(
                f"the copy in {project.target.name} was cloned with --once, and nothing tells what changed since.",
                hint=clone_again(project),
            )
        if not changes(state, plan):
            assert state.applied_lsn is not None
            return ResyncResult(source, target_name, state.applied_lsn, {}, time.monotonic() - began, 0.0)
        await refuse_unready(project, plan, accept_writable_role=accept_writable_role, once=False, report=report)
        work = _Resync(project, production, connection, found, state, accept_writable_role, report)
        return await work.run(began)


class _Resync:
    """One re-copy; see the module's contract."""

    def __init__(
        self,
        project: Project,
        production: SourceConnection,
        connection: Connection,
        found: DatabaseIdentity,
        state: Progress,
        accept_writable_role: bool,  # passed on
        report: Report,
    ) -> None:
        self._project = project
        self._production = production
        self._connection = connection
        self._found = found
        self._state = state
        self._roots: set[TableName] = set()
        self._accept_writable_role = accept_writable_role
        self._report = report
        self._pulled: dict[TableName, TableName] = {}

    async def run(self, began: float) -> ResyncResult:
        """Do it."""
        project = self._project
        session = await ReplicationSession.open(project.source_address, _PURPOSE)
        try:
            first, slot = await temporary_cut(project, self._production, session, _PURPOSE)
        except BaseException:
            await session.close()
            raise
        try:
            # The rules, and production's keys, may have changed while the cut was waited for.
            plan = project.plan(first.catalog, partial=True)
            self._roots |= {each.table for each in changes(self._state, plan)}
            copied = await read_columns(self._connection)
            catalog, left_out = followed(project, first.catalog, plan, copied)
            for what in left_out:
                self._report.warn(what)
            refuse_unknown_rows(catalog, plan)
            if plan.subset is not None and self._roots & plan.subset.tables.keys():
                # Which rows one of these has hangs on all.
                self._roots |= plan.subset.tables.keys()
            tables = self._tables(catalog, plan)
            filled = {name: table for name, table in tables.items() if plan.tables[name].rows != "none"}
            listed = {name: tuple(column.name for column in table.copied_columns) for name, table in filled.items()}
            # Which rows of a subset are copied is known where the stream is held, and no earlier.
            early = [table for name, table in filled.items() if not plan.takes_part(name)]
            async with self._workers(plan) as pool:
                async with self._bounded(first):
                    into = await aside.make(self._connection, listed)
                    self._pulled = await aside.make_pulled(self._connection, self._chosen(plan))
                    await self._copy(pool, first, plan, early, into, None, is_last=False)
                watched = [self._followed(table, first.unfollowed) for table in early]
                touched = Touched(watched, first.lsn, budget=_KEYS_BUDGET)
                publications = project.publications
                reader = SlotReader(project.source_address, slot, first.lsn, publications, touched, session)
                async with reader:
                    lsn, rows, held = await self._replace(pool, reader, touched, first, plan, tables, into)
            await aside.vacuum(self._connection, tables)
            return ResyncResult(project.source.name, project.target.name, lsn, rows, time.monotonic() - began, held)
        finally:
            await first.close()
            with contextlib.suppress(ServerFailed):
                async with target.leaving():
                    await aside.drop(self._connection)

    def _tables(self, catalog: Catalog, plan: Plan) -> dict[TableName, Table]:
        """What is copied again: tables and partitions that hold rows themselves."""
        return {
            name: table
            for name, table in catalog.tables.items()
            if table.kind == "r" and name in plan.tables and (table.root or name) in self._roots
        }

    def _chosen(self, plan: Plan) -> list[SubsetTable]:
        """The tables of the subset of which not every row is copied, if it is copied again."""
        return [table for table in pulled.chosen_tables(plan.subset) if table.table in self._roots]

    def _workers(self, plan: Plan) -> WorkerPool:
        surroundings = Surroundings(
            source=self._project.source_address,
            source_snapshot=None,
            target=self._project.target_address,
            target_snapshot=None,
            productions=frozenset({self._found}),
            plan=plan,
            purpose=_PURPOSE,
        )
        return WorkerPool(surroundings, self._project.settings.snapshot.workers)

    async def _copy(
        self,
        pool: WorkerPool,
        cut: Cut,
        plan: Plan,
        tables: Collection[Table],
        into: Mapping[TableName, TableName],
        members: Membership | None,
        *,
        is_last: bool,
    ) -> None:
        settings = self._project.settings.snapshot
        chunks = plan_chunks(tables, settings.chunk_bytes, cut.catalog.server_version)
        jobs = (
            CopyAside(
                chunk, cut.snapshot, into[chunk.table], is_last, members, self._pulled.get(plan.root(chunk.table))
            )
            for chunk in chunks
        )
        with self._report.task("rows", sum(chunk.bytes for chunk in chunks), "bytes") as advance:
            async with contextlib.aclosing(pool.run(jobs)) as results:
                async for chunk in results:
                    advance(chunk.bytes)

    def _bounded(self, cut: Cut) -> AbstractAsyncContextManager[None]:
        max_age = self._project.settings.snapshot.max_age
        return no_longer_than(max_age, cut.taken, "the tables were not copied again")

    def _followed(self, table: Table, unfollowed: Collection[str]) -> Followed:
        shape = TableShape.of(table, frozenset())
        has_key = shape.key_is_unique and str(table.name) not in unfollowed
        return Followed(table, tuple(shape.columns[position] for position in shape.key) if has_key else ())

    async def _replace(
        self,
        pool: WorkerPool,
        reader: SlotReader,
        touched: Touched,
        first: Cut,
        plan: Plan,
        tables: Mapping[TableName, Table],
        into: Mapping[TableName, TableName],
    ) -> tuple[Lsn, dict[TableName, int], float]:
        """From the hold to its end: the LSN, the rows of each table, and the seconds that it took."""
        project = self._project
        slot = await slot_state(self._production, project.slot)
        if slot is not None:
            # Most of it before the stream has to wait.
            await reader.advance(slot.current_lsn)
        holder = await self._connect()
        async with holder:
            began = time.monotonic()
            self._report.say("holding the stream, and replacing the rows")
            cut = await self._hold(holder)
            try:
                if fingerprint(cut.catalog) != fingerprint(first.catalog):
                    raise Drifted(
                        "production's tables, columns or keys were changed while they were copied.", hint="Try again."
                    )
                self._check_published(cut, into)
                without = frozenset(tables) | self._roots
                async with self._bounded(cut):
                    await bring_to(
                        project, holder, cut.lsn, accept_writable_role=self._accept_writable_role, without=without
                    )
                    await reader.finish(cut.lsn)
                    whole = await self._catch_up(cut, first, touched, plan, tables, into)
                    await self._copy_whole(pool, cut, plan, [tables[name] for name in whole], into)
                    rows = await self._exchange(cut, plan, tables, into)
            finally:
                await cut.close()
                # Where its session is lost, so is the hold, and what ended us says more.
                with contextlib.suppress(ServerFailed):
                    async with target.leaving():
                        await hold.lift(holder)
            return cut.lsn, rows, time.monotonic() - began

    async def _copy_whole(
        self, pool: WorkerPool, cut: Cut, plan: Plan, tables: Collection[Table], into: Mapping[TableName, TableName]
    ) -> None:
        """Copy these from the beginning, while the stream is held."""
        for table in tables:
            await aside.empty(self._connection, into[table.name])
        with subset_folder() as folder:
            members: Membership | None = None
            if any(plan.takes_part(table.name) for table in tables):
                chunk_bytes = self._project.settings.snapshot.chunk_bytes
                members = await find_members(pool, plan, cut.catalog, cut.snapshot, folder, chunk_bytes, self._report)
            await self._copy(pool, cut, plan, tables, into, members, is_last=True)

    async def _hold(self, holder: Connection) -> Cut:
        session = await ReplicationSession.open(self._project.source_address, _PURPOSE)
        try:
            async with hold.closed_gate(holder, self._project.settings.snapshot.max_age):
                cut, _ = await temporary_cut(self._project, self._production, session, _PURPOSE)
                async with self._bounded(cut):
                    await hold.set_hold(holder, hold.Held(cut.lsn, cut.snapshot))
        except BaseException:
            await session.close()
            raise
        return cut

    async def _catch_up(
        self,
        cut: Cut,
        first: Cut,
        touched: Touched,
        plan: Plan,
        tables: Mapping[TableName, Table],
        into: Mapping[TableName, TableName],
    ) -> set[TableName]:
        """Bring the touched rows in the tables aside to the cut; the tables of which more has to be read again."""
        whole = {name for name in into if name in touched.whole or cut.files.get(name) != first.files.get(name)}
        # What happened to these beside inserts is in no stream.
        whole |= {name for name in into if str(name) in cut.unfollowed or plan.takes_part(name)}
        async with await self._connect() as writer:
            for name, keys in touched.keys.items():
                if name in whole:
                    continue
                async with target.transaction(writer):
                    grown = await replace_touched(
                        self._production,
                        cut.snapshot,
                        self._followed(tables[name], ()),
                        keys,
                        writer,
                        plan.tables[name],
                        into=into[name],
                        wanted=lambda _: True,
                    )
                if grown is None:
                    whole.add(name)
        return whole

    async def _exchange(
        self, cut: Cut, plan: Plan, tables: Mapping[TableName, Table], into: Mapping[TableName, TableName]
    ) -> dict[TableName, int]:
        """All that changes the copy, in one transaction; how many rows each table has then."""
        state = self._state
        rows: dict[TableName, int] = {}
        published, unfollowed = dict(state.published), dict(state.unfollowed)
        async with await self._connect() as writer, target.transaction(writer):
            # Whoever uses the copy may have locked a table, and all that waits for us would wait for them.
            await fetch(writer, f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
            for name, table in tables.items():
                columns = [column.name for column in table.copied_columns]
                rows[name] = await aside.replace_rows(writer, name, into.get(name), columns)
                if str(name) in cut.published:
                    published[str(name)] = cut.published[str(name)]
                unfollowed.pop(str(name), None)
                if str(name) in cut.unfollowed:
                    unfollowed[str(name)] = cut.unfollowed[str(name)]
            chosen = self._chosen(plan)
            if chosen or plan.subset is None:
                await pulled.make(writer, plan.subset)
            for each in chosen:
                beside = pulled.pulled_table(each.table)
                await aside.replace_rows(writer, beside, self._pulled[each.table], each.key)
            for warning in await aside.refresh_views(writer):
                self._report.warn(warning)
            for sequence in cut.catalog.sequences:
                start = plan.start(sequence)
                if start is not None:
                    await move(writer, sequence, start)
            await aside.move_rules(
                writer, cut.lsn, plan.fingerprint, plan.identities, plan.key_check, published, unfollowed
            )
        await self._set_free_sequences(cut.catalog, plan)
        return rows

    async def _set_free_sequences(self, catalog: Catalog, plan: Plan) -> None:
        """Where ids are kept that were masked, let the sequence go on from production's: no id is above it any more."""
        free = [
            sequence
            for sequence in catalog.sequences
            if sequence.feeds
            and all(plan.root(fed.table) in self._roots and plan.sequence_floor(fed) is None for fed in sequence.feeds)
        ]
        values = await read_sequences(self._production, free)
        for sequence in free:
            if (value := values[sequence.name]) is not None:
                await put(self._connection, sequence, value)

    def _check_published(self, cut: Cut, filled: Collection[TableName]) -> None:
        missing = [name for name in filled if str(name) not in cut.published]
        if missing:
            raise Refused(
                f"production does not publish {', '.join(map(str, missing))}: the stream would not bring its changes.",
                hint="Run the SQL of tezcat source sql there first.",
            )

    async def _connect(self) -> Connection:
        connection = await target.connect(
            self._project.target_address, productions=frozenset({self._found}), purpose=_PURPOSE
        )
        try:
            await load.as_replica(connection)
        except BaseException:
            await connection.close()
            raise
        return connection
