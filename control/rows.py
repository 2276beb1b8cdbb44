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
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from capture.model import Catalog, DatabaseIdentity, Lsn, ServerFailed, TableName
from capture.snapshot import Chunk, Pages, TableRewritten, reading, remaining_chunks
from capture.source import SourceConnection
from control.cut import Cut
from control.project import Project
from control.rebase import Rebase
from control.report import Report
from control.workers import Worker, WorkerPool, WorkersLost
from sink import load, target, unfinished
from sink.target import Connection
from sink.unfinished import FinishedChunk, Unfinished
from transform.plan import Plan, TablePlan

# So many snapshots in a row may fail to bring the end nearer, and so many times workers may be lost.
_PATIENCE: Final = 10
_LOSSES: Final = 5

# Chunks that together are so small, and so few, are copied in one transaction: it takes longer to begin and to end one
# than to copy a small table. The tables are locked on production, against ALTER and TRUNCATE, for as long as it lasts.
_SMALL_BYTES: Final = 2**20
_MOST_SMALL: Final = 32


@dataclass(frozen=True, slots=True)
class CopyChunks:
    """The job of some chunks that have an end: COPY out, mask, COPY in, of one after the other. Its result are those
    that are there then, and the tables of all others, which were rewritten.

    ``files`` are the tables' in the snapshot; ``runner`` and ``base_lsn`` are whose and of which base the chunks are.
    """

    chunks: tuple[Chunk, ...]
    snapshot: str
    files: Mapping[TableName, int]
    runner: str
    base_lsn: Lsn

    async def run(self, worker: Worker) -> tuple[tuple[Chunk, ...], set[TableName]]:
        """Copy the chunks in one transaction on either side; in another without those of rewritten tables, so that a
        table that is truncated all the time does not keep its neighbours away."""
        production = await worker.source()
        copy = await worker.target()
        wanted = self.chunks
        rewritten: set[TableName] = set()
        while wanted:
            try:
                async with target.transaction(copy):
                    async with reading(production, self.snapshot, wanted) as read:
                        finished = [
                            await _copy(chunk, self.files[chunk.table], read, copy, worker.plan.tables[chunk.table])
                            for chunk in wanted
                        ]
                    await unfinished.record(copy, finished, self.runner, self.base_lsn)
                break
            except TableRewritten as error:
                rewritten.update(error.tables)
                wanted = tuple(chunk for chunk in wanted if chunk.table not in rewritten)
        return wanted, rewritten


async def _copy(
    chunk: Chunk,
    file: int,
    read: Callable[[Chunk], AsyncGenerator[bytes, None]],
    copy: Connection,
    plan: TablePlan,
) -> FinishedChunk:
    assert chunk.end_page is not None
    size = 0

    async def masked() -> AsyncIterator[bytes | pa.Buffer]:
        nonlocal size
        async with contextlib.aclosing(read(chunk)) as blocks:
            async for block in blocks:
                size += len(block)
                yield plan.mask_block(block, chunk.columns)

    rows = await load.copy_in(copy, chunk.table, chunk.columns, masked())
    return FinishedChunk(chunk.table, chunk.first_page, chunk.end_page, file, rows, size)


def _together(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, ...]]:
    """The same chunks in the same order, small ones in groups."""
    group: list[Chunk] = []
    size = 0
    for chunk in chunks:
        if group and (size + chunk.bytes > _SMALL_BYTES or len(group) == _MOST_SMALL):
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
        try:
            while True:
                if cut is None:
                    await self._pool.ready()
                    cut = await self._rebase.run(state)
                    state = await unfinished.take_over(self._connection)
                finished = await unfinished.finished_chunks(self._connection)
                chunks = self._remaining(cut, finished)
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

    def _remaining(self, cut: Cut, finished: list[FinishedChunk]) -> list[Chunk]:
        """The chunks that are not there, those first that a later rebase can keep."""
        settings = self._project.settings.snapshot
        pages: dict[TableName, list[Pages]] = {}
        for chunk in finished:
            pages.setdefault(chunk.table, []).append(Pages(chunk.first_page, chunk.end_page))
        tables = [cut.catalog.tables[name] for name in self._copied]
        chunks = remaining_chunks(tables, pages, settings.chunk_bytes, cut.catalog.server_version)
        return sorted(chunks, key=lambda chunk: not self._rebase.key(chunk.table, cut.unfollowed))

    async def _copy_in(self, state: Unfinished, cut: Cut, chunks: list[Chunk]) -> set[TableName]:
        """Copy chunks for as long as the cut may be used; the tables that it no longer shows.

        Raises ``TimeoutError`` when its time is over and some are still being copied.
        """
        rewritten: set[TableName] = set()

        def jobs() -> Iterator[CopyChunks]:
            for group in _together(chunks):
                if cut.is_old(self._max_age):
                    return
                wanted = tuple(chunk for chunk in group if chunk.table not in rewritten)
                files = {chunk.table: cut.files[chunk.table] for chunk in wanted}
                if wanted:
                    yield CopyChunks(wanted, cut.snapshot, files, state.runner, state.base_lsn)

        with self._report.task("rows", sum(chunk.bytes for chunk in chunks), "bytes") as advance:
            async with (
                asyncio.timeout(cut.remaining(self._max_age)),
                contextlib.aclosing(self._pool.run(jobs())) as results,
            ):
                async for there, tables in results:
                    rewritten.update(tables)
                    advance(sum(chunk.bytes for chunk in there))
        return rewritten

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
            shown = ", ".join(tables[:5]) + (f" and {len(tables) - 5} more tables" if len(tables) > 5 else "")
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
