"""The rows of a clone: chunks copied by worker processes, under as many snapshots as it takes.

    cut ─▶ chunks that are not there ─▶ workers ─┬─▶ all there
     ▲                                           │
     └── rebase ◀── too old, or a table rewritten┘

A snapshot lives no longer than ``snapshot.max_age``: no chunk begins in its last quarter, and what runs at its end is
stopped. What is there then is moved to a new cut (``control.rebase``), and the rest is copied in that one. The same
helps when a table was truncated or rewritten under the snapshot, and when a killed clone is resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from capture.model import Catalog, DatabaseIdentity, Lsn, ServerFailed, TableName, counted
from capture.snapshot import Chunk, Pages, TableRewritten, read_chunk, remaining_chunks
from capture.source import SourceConnection
from control.cut import Cut
from control.membership import Membership, Sieve, find_members
from control.project import Project
from control.rebase import Rebase
from control.report import Report
from control.subset_folder import subset_folder
from control.workers import Worker, WorkerPool, WorkersLost
from sink import load, target, unfinished
from sink.target import Connection
from sink.unfinished import FinishedChunk, Unfinished
from transform.plan import Plan

# So many snapshots in a row may fail to bring the end nearer, and so many times workers may be lost.
_PATIENCE: Final = 10
_LOSSES: Final = 5

# Of many chunks those that together are so small, and so few, are brought in one transaction of the target: it takes
# longer to commit one than to copy a small table. Each worker gets so many groups: where few chunks are left, what
# counts is that each is read soon after the snapshot was taken, before its table is truncated again.
_SMALL_BYTES: Final = 2**20
_MOST_SMALL: Final = 32
_GROUPS_A_WORKER: Final = 8


@dataclass(frozen=True, slots=True)
class CopyChunks:
    """The job of some chunks that have an end: COPY out, mask, COPY in, of one after the other. Its result are those
    that are there then, and the tables of all others, which were rewritten.

    ``files`` are the tables' in the snapshot; ``runner`` and ``base_lsn`` are whose and of which base the chunks are;
    ``members`` are the snapshot's.
    """

    chunks: tuple[Chunk, ...]
    snapshot: str
    files: Mapping[TableName, int]
    runner: str
    base_lsn: Lsn
    members: Membership | None = None

    async def run(self, worker: Worker) -> tuple[list[Chunk], set[TableName]]:
        """Copy the chunks in one transaction of the target."""
        copy = await worker.target()
        there: list[Chunk] = []
        finished: list[FinishedChunk] = []
        rewritten: set[TableName] = set()
        async with target.transaction(copy):
            for chunk in self.chunks:
                try:
                    async with target.savepoint(copy):
                        finished.append(await self._copy(chunk, worker, copy))
                    there.append(chunk)
                except TableRewritten:
                    rewritten.add(chunk.table)
            if finished:
                await unfinished.record(copy, finished, self.runner, self.base_lsn)
        return there, rewritten

    async def _copy(self, chunk: Chunk, worker: Worker, copy: Connection) -> FinishedChunk:
        assert chunk.end_page is not None
        production = await worker.source()
        sieve = Sieve(worker.plan, self.members, chunk)
        size = 0

        async def masked() -> AsyncIterator[bytes | pa.Buffer]:
            nonlocal size
            async with contextlib.aclosing(read_chunk(production, chunk, self.snapshot)) as blocks:
                async for block in blocks:
                    size += len(block)
                    yield sieve.mask(block)

        rows = await load.copy_in(copy, chunk.table, chunk.columns, masked())
        await sieve.write_pulled(copy)
        return FinishedChunk(chunk.table, chunk.first_page, chunk.end_page, self.files[chunk.table], rows, size)


def _together(chunks: Sequence[Chunk], workers: int) -> Iterator[tuple[Chunk, ...]]:
    """The same chunks in the same order, small ones in groups."""
    most = min(_MOST_SMALL, len(chunks) // (_GROUPS_A_WORKER * workers))
    group: list[Chunk] = []
    size = 0
    for chunk in chunks:
        if group and (size + chunk.bytes > _SMALL_BYTES or len(group) >= most):
            yield tuple(group)
            group, size = [], 0
        group.append(chunk)
        size += chunk.bytes
    if group:
        yield tuple(group)


class Rows:
    """See the module's contract. ``catalog`` and ``plan`` are those that the clone was begun with; ``pool`` has no
    work; ``once`` says that there is no slot to rebase with."""

    def __init__(
        self,
        project: Project,
        production: SourceConnection,
        connection: Connection,
        productions: frozenset[DatabaseIdentity],
        catalog: Catalog,
        plan: Plan,
        pool: WorkerPool,
        report: Report,
        *,
        once: bool,
    ) -> None:
        self._project = project
        self._plan = plan
        self._connection = connection
        self._pool = pool
        self._report = report
        self._once = once
        self._rebase = Rebase(project, production, connection, productions, catalog, plan)
        self._max_age = project.settings.snapshot.max_age
        self._copied = [
            table.name
            for table in catalog.tables.values()
            if table.kind == "r" and plan.tables[table.name].rows == "all"
        ]

    async def copy(self, state: Unfinished, cut: Cut | None) -> Unfinished:
        """Copy what is not there; without a ``cut``, in one that is made first. Returns what has become of ``state``:
        every chunk is there as of its base. Raises ``ServerFailed``."""
        patience = _Patience()
        rewritten: set[TableName] = set()
        try:
            while True:
                if cut is None:
                    await self._pool.ready()
                    cut = await self._rebase.run(state)
                    state = await unfinished.take_over(self._connection)
                finished = await unfinished.finished_chunks(self._connection)
                chunks = self._remaining(cut, finished, rewritten)
                if not chunks:
                    return state
                if finished:
                    together = len(finished) + len(chunks)
                    self._report.say(f"going on at {cut.lsn}: {len(finished)} of {together} chunks are there")
                patience.look(sum(chunk.end_page - chunk.first_page for chunk in finished), chunks)
                try:
                    rewritten = await self._copy_in(state, cut, chunks)
                except (TimeoutError, WorkersLost) as error:
                    if isinstance(error, WorkersLost):
                        patience.bear(error)
                        self._report.warn("a worker process was killed; what it was copying is copied again.")
                    await self._pool.restart()
                    state = await unfinished.take_over(self._connection)
                    await self._pool.ready()
                    rewritten = set()
                if rewritten or cut.is_old(self._max_age):
                    if self._once:
                        raise self._too_old(rewritten)
                    await cut.close()
                    cut = None
        finally:
            if cut is not None:
                await cut.close()

    def _remaining(self, cut: Cut, finished: list[FinishedChunk], rewritten: set[TableName]) -> list[Chunk]:
        """The chunks that are not there: first those of tables that were rewritten just now, before it happens again;
        then those that a later rebase can keep."""
        settings = self._project.settings.snapshot
        pages: dict[TableName, list[Pages]] = {}
        for chunk in finished:
            pages.setdefault(chunk.table, []).append(Pages(chunk.first_page, chunk.end_page))
        tables = [cut.catalog.tables[name] for name in self._copied]
        chunks = remaining_chunks(tables, pages, settings.chunk_bytes, cut.catalog.server_version)
        return sorted(
            chunks, key=lambda each: (each.table not in rewritten, not self._rebase.key(each.table, cut.unfollowed))
        )

    async def _copy_in(self, state: Unfinished, cut: Cut, chunks: list[Chunk]) -> set[TableName]:
        """Copy chunks for as long as the cut may be used; the tables that it no longer shows.

        Raises ``TimeoutError`` when its time is over and some are still being copied.
        """
        rewritten: set[TableName] = set()

        def jobs(members: Membership | None) -> Iterator[CopyChunks]:
            for group in _together(chunks, self._project.settings.snapshot.workers):
                if cut.is_old(self._max_age):
                    return
                wanted = tuple(chunk for chunk in group if chunk.table not in rewritten)
                files = {chunk.table: cut.files[chunk.table] for chunk in wanted}
                if wanted:
                    yield CopyChunks(wanted, cut.snapshot, files, state.runner, state.base_lsn, members)

        async with asyncio.timeout(cut.remaining(self._max_age)):
            with subset_folder() as folder:
                try:
                    members = await self._members(cut, chunks, folder)
                except TableRewritten:
                    if self._once:
                        raise
                    return {chunk.table for chunk in chunks if self._plan.takes_part(chunk.table)}
                with self._report.task("rows", sum(chunk.bytes for chunk in chunks), "bytes") as advance:
                    async with contextlib.aclosing(self._pool.run(jobs(members))) as results:
                        async for there, tables in results:
                            rewritten.update(tables)
                            advance(sum(chunk.bytes for chunk in there))
        return rewritten

    async def _members(self, cut: Cut, chunks: list[Chunk], folder: Path) -> Membership | None:
        """Which rows of the cut are copied, where that hangs on other tables."""
        if not any(self._plan.takes_part(chunk.table) for chunk in chunks):
            return None
        size = self._project.settings.snapshot.chunk_bytes
        return await find_members(self._pool, self._plan, cut.catalog, cut.snapshot, folder, size, self._report)

    def _too_old(self, rewritten: set[TableName]) -> ServerFailed:
        if rewritten:
            return ServerFailed(
                f"production rewrote or truncated {', '.join(map(str, sorted(rewritten)))} while it was read: the "
                "snapshot no longer shows its rows.",
                hint="Run the command again when that is done; without --once a clone goes on by itself.",
            )
        return ServerFailed(
            f"the snapshot grew older than snapshot.max_age ({self._max_age}), and production comes first: "
            "the clone was given up.",
            hint="Raise snapshot.max_age or snapshot.workers, or clone when production is quieter; without --once a "
            "clone goes on by itself.",
        )


class _Patience:
    """Whether it makes sense to go on: a clone that gets no further is stopped."""

    def __init__(self) -> None:
        self._most = -1
        self._least: int | None = None
        self._rounds = 0
        self._losses = 0

    def look(self, there: int, chunks: list[Chunk]) -> None:
        """So many pages are there, and these chunks are still to be copied. Raises ``ServerFailed``."""
        pages = sum((chunk.end_page or 0) - chunk.first_page for chunk in chunks)
        if there > self._most or self._least is None or pages < self._least:
            self._most = max(there, self._most)
            self._least = pages if self._least is None else min(pages, self._least)
            self._rounds = 0
            return
        self._rounds += 1
        if self._rounds > _PATIENCE:
            tables = sorted({str(chunk.table) for chunk in chunks})
            more = f" and {counted(len(tables) - 5, 'more table')}" if len(tables) > 5 else ""
            shown = ", ".join(tables[:5]) + more
            raise ServerFailed(
                f"the clone got no further in {_PATIENCE} snapshots: {shown} cannot be copied within snapshot.max_age, "
                "or production truncates or rewrites them all the time.",
                hint="Raise snapshot.max_age or snapshot.workers, give tables without one a primary key, or clone when "
                "production is quieter.",
            )

    def bear(self, lost: WorkersLost) -> None:
        """A worker was lost. Raises it when too many were."""
        self._losses += 1
        if self._losses > _LOSSES:
            raise lost
