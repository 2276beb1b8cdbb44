"""Verify: is the copy exactly mask(production)? Without trusting the stream.

Production is read in the exported snapshot of a slot that lives for this command only, so its LSN is known exactly.
The copy is held at that LSN (a running stream stands there for a moment; otherwise one runs up to it here), its
snapshot is taken, and the hold is lifted: the comparison costs the stream nothing. Production's snapshot lives no
longer than ``snapshot.max_age``.

Rows are compared by keyed 128-bit digests of their whole text, summed per bucket, chunk by chunk on both sides at
once: no order, no index, bounded memory, and tables without a key work too. Only buckets that differ are read again,
to count and to name what differs.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from capture.catalog import read_catalog
from capture.model import Catalog, Lsn, TableName
from capture.replication import ReplicationSession, Slot
from capture.snapshot import Chunk, plan_chunks
from capture.source import identity
from control.copies import check_copy, followed, no_copy
from control.cut import no_longer_than, temporary_slot
from control.digests import Differences, Digest, DigestJob, Side, find_differences
from control.holding import bring_to
from control.membership import Membership, find_members
from control.project import Project, database_identity
from control.report import Report
from control.settings import Settings
from control.subset_folder import subset_folder
from control.workers import Surroundings, WorkerPool
from sink import hold, progress, target
from sink.columns import read_columns
from sink.progress import Progress
from sink.target import Connection, Standing, fetch
from transform.plan import Plan

_GIVEN_UP: Final = "the copy was not verified"


@dataclass(frozen=True, slots=True)
class TableResult:
    """One table: ``different`` rows stand under the same key with other values, ``missing`` ones lack in the copy,
    ``extra`` ones only it has. ``examples`` name some by the copy's key."""

    table: TableName
    rows_source: int
    rows_target: int
    different: int = 0
    missing: int = 0
    extra: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """``consistent`` says that both sides were read at ``lsn``; without a slot the copy stands where it was cloned."""

    lsn: Lsn
    consistent: bool
    tables: list[TableResult]

    @property
    def equal(self) -> bool:
        """Whether no row differs."""
        return not any(table.different or table.missing or table.extra for table in self.tables)


async def verify(settings: Settings, target_name: str, *, accept_writable_role: bool, report: Report) -> VerifyResult:
    """Compare the copy with masked production.

    Raises ``Refused`` where there is no copy that these rules and this key made, ``ServerFailed`` for the servers.
    """
    project = Project.of(settings, target_name)
    async with contextlib.AsyncExitStack() as stack:
        production = await project.open_source("verify", accept_writable_role=accept_writable_role)
        await stack.enter_async_context(production)
        found = database_identity(await identity(production))
        connection = await target.connect(project.target_address, productions={found}, purpose="verify")
        await stack.enter_async_context(connection)
        async with target.answering(project.target_address):
            if await target.standing(connection) is not Standing.OURS:
                raise no_copy(project)
            state = await progress.read(connection)
        check_copy(project, state, project.plan(await read_catalog(production), partial=True), found)
        assert state is not None
        session = await stack.enter_async_context(await ReplicationSession.open(project.source_address, "verify"))
        report.say("taking both snapshots at one LSN")
        async with _both_at_one_lsn(project, state, connection, session, accept_writable_role) as (slot, snapshot, at):
            await production.begin(snapshot=slot.snapshot)
            catalog = await read_catalog(production)
            await production.rollback()
            plan = project.plan(catalog, partial=True)
            # They may have changed, and the copy with them, while we waited for this moment.
            state = check_copy(project, await progress.read(connection), plan, found)
            catalog, left_out = followed(project, catalog, plan, await read_columns(connection))
            for what in left_out:
                report.warn(what)
            surroundings = Surroundings(
                source=project.source_address,
                source_snapshot=slot.snapshot,
                target=project.target_address,
                target_snapshot=snapshot,
                productions=frozenset({found}),
                plan=plan,
                purpose="verify",
            )
            sizes = await _target_sizes(connection)
            version = connection.info.server_version
            chunk_bytes = settings.snapshot.chunk_bytes
            with subset_folder() as folder:
                async with WorkerPool(surroundings, settings.snapshot.workers) as pool:
                    members: Membership | None = None
                    if plan.subset is not None:
                        members = await find_members(pool, plan, catalog, slot.snapshot, folder, chunk_bytes, report)
                    comparison = _Comparison(catalog, sizes, plan, members, chunk_bytes, version)
                    tables = await comparison.run(pool, report)
    return VerifyResult(slot.consistent_point, at == slot.consistent_point, tables)


@contextlib.asynccontextmanager
async def _both_at_one_lsn(
    project: Project,
    state: Progress,
    connection: Connection,
    session: ReplicationSession,
    accept_writable_role: bool,  # passed on
) -> AsyncIterator[tuple[Slot, str, Lsn | None]]:
    """Production's snapshot and the copy's, and where the copy stood in it; ``connection`` keeps the latter open."""
    holder = await target.connect(project.target_address, productions={state.production}, purpose="verify")
    max_age = project.settings.snapshot.max_age
    async with holder:
        async with hold.closed_gate(holder, max_age):
            slot = await temporary_slot(session, "verify")
            taken = time.monotonic()
            if state.slot is not None:
                async with no_longer_than(max_age, taken, _GIVEN_UP):
                    await hold.set_hold(holder, hold.Held(slot.consistent_point, slot.snapshot))
        async with no_longer_than(max_age, taken, _GIVEN_UP):
            if state.slot is not None:
                await bring_to(project, holder, slot.consistent_point, accept_writable_role=accept_writable_role)
            await fetch(connection, "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            exported = await fetch(connection, "SELECT pg_export_snapshot()")
            at = await progress.read(connection)
            await hold.lift(holder)
            yield slot, exported[0][0], at.applied_lsn if at is not None else None
            await fetch(connection, "ROLLBACK")


async def _target_sizes(connection: Connection) -> dict[TableName, tuple[int, int]]:
    """Pages and bytes of each table in the copy."""
    rows = await fetch(
        connection,
        """SELECT n.nspname, c.relname, pg_relation_size(c.oid) / current_setting('block_size')::bigint,
                  pg_table_size(c.oid)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'""",
    )
    return {TableName(schema, name): (pages, size) for schema, name, pages, size in rows}


class _Comparison:
    """All tables, both sides."""

    def __init__(
        self,
        catalog: Catalog,
        sizes: dict[TableName, tuple[int, int]],
        plan: Plan,
        members: Membership | None,
        chunk_bytes: int,
        target_version: int,
    ) -> None:
        self._members = members
        self._key = secrets.token_bytes(32)
        self._tables = {name: table for name, table in catalog.tables.items() if table.kind == "r"}
        copies = [replace(table, pages=sizes[name][0], bytes=sizes[name][1]) for name, table in self._tables.items()]
        # Rows that are left out are not in the copy, whatever production holds.
        sources = [table for name, table in self._tables.items() if plan.tables[name].rows == "all"]
        self._chunks: list[tuple[Side, Chunk]] = [
            *((Side.SOURCE, chunk) for chunk in plan_chunks(sources, chunk_bytes, catalog.server_version)),
            *((Side.TARGET, chunk) for chunk in plan_chunks(copies, chunk_bytes, target_version)),
        ]
        self._chunks.sort(key=lambda each: -each[1].bytes)

    async def run(self, pool: WorkerPool, report: Report) -> list[TableResult]:
        """Compare; the tables in the order of their names."""
        sums: dict[tuple[Side, TableName], Digest] = {}
        with report.task("comparing", sum(chunk.bytes for _, chunk in self._chunks), "bytes") as advance:
            jobs = (
                DigestJob(side, chunk, self._buckets(chunk.table), self._key, self._members)
                for side, chunk in self._chunks
            )
            async for job, digest in pool.run(jobs):
                place = (job.side, job.chunk.table)
                sums[place] = digest if place not in sums else sums[place] + digest
                advance(job.chunk.bytes)
        results: list[TableResult] = []
        for name in sorted(self._tables):
            empty = Digest.empty(self._buckets(name))
            source, copy = sums.get((Side.SOURCE, name), empty), sums.get((Side.TARGET, name), empty)
            differences = Differences()
            if source != copy:
                chunks = [(side, chunk) for side, chunk in self._chunks if chunk.table == name]
                report.say(f"looking at what differs in {name}")
                differences = await find_differences(
                    pool, chunks, source, copy, self._match(name), self._key, self._members
                )
            results.append(
                TableResult(
                    table=name,
                    rows_source=source.rows,
                    rows_target=copy.rows,
                    different=differences.different,
                    missing=differences.missing,
                    extra=differences.extra,
                    examples=differences.examples,
                )
            )
        return results

    def _buckets(self, name: TableName) -> int:
        """About sixteen rows a bucket, so that reading a differing one again is cheap; a power of two."""
        table = self._tables[name]
        return 1 << min(max((table.estimated_rows // 16).bit_length(), 6), 16)

    def _match(self, name: TableName) -> tuple[str, ...]:
        """The columns by which a row of one side finds its counterpart; () where rows have no key."""
        table = self._tables[name]
        not_null = {column.name for column in table.copied_columns if column.not_null}
        keys: Iterable[tuple[str, ...]] = (
            index.columns
            for index in sorted(table.indexes, key=lambda index: not index.is_primary)
            if index.is_unique and not index.expressions and not index.predicate
        )
        return next((key for key in keys if key and not_null.issuperset(key)), ())
