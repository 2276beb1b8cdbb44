"""From a slot's messages to a copy: reading and applying, one beside the other.

One task reads and decodes; the other takes whatever came meanwhile as one window, masks it table by table and applies
it in commit order. The window is bounded: when it is full, reading stops and production's walsender waits. A
transaction larger than a window is applied as it comes, in one target transaction.

    read ─▶ decode ─▶ window ─▶ mask ─▶ apply ─▶ durable ─▶ acknowledge

The copy never passes a limit: the goal, or the LSN at which somebody holds the copy. A limit L lets through the
transactions whose commit record starts before L, which are those that a snapshot with consistent point L shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import structlog

from capture.events import Event
from capture.model import (
    Catalog,
    Lsn,
    Run,
    ServerFailed,
    TableName,
    TransactionEnd,
    TransactionStart,
    Truncation,
    Window,
)
from capture.pgoutput import Decoder
from capture.publications import published_as
from capture.replication import ReplicationStream
from capture.replication_protocol import XLogData, parse_copy_data
from capture.snapshot import read_sequences
from capture.source import SourceConnection
from capture.unfollowed import unfollowed_changes
from capture.windows import WindowBuilder
from control.copies import check_published, clone_again
from control.project import Project
from sink import hold
from sink.apply import Applier, Images
from sink.progress import Progress
from sink.sequences import move
from sink.target import Connection
from transform.plan import Plan

log = structlog.get_logger()

# A window is closed when it holds so many bytes; reading waits until it was taken.
_WINDOW_BYTES: Final = 16 << 20
# How often a session without work looks whether it is held, durable, or at its goal.
_TICK_SECONDS: Final = 0.2
# How often production's position is written down though no transaction came, and free sequences are looked at.
_WATCH_SECONDS: Final = 5.0
# How long a stop waits for the end of a transaction before it is given up (it comes again later).
_STOP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """How a stream stands. ``state`` is streaming, held, waiting (for a server to come back) or stopped; the counts are
    of source transactions and of rows since the command began."""

    state: str
    applied_lsn: Lsn
    transactions: int
    changes: int
    lag_bytes: int
    lag_seconds: float
    consistent: bool


class Finished(Exception):
    """The stream came as far as it was asked to, or was asked to stop."""


@dataclass(slots=True)
class Goal:
    """How far to go. ``lsn`` is a limit; with ``caught_up`` it is set to production's position when first asked."""

    lsn: Lsn | None
    caught_up: bool


class Counters:
    """What a stream did, over all its sessions."""

    def __init__(self, on_progress: Callable[[StreamProgress], None]) -> None:
        self._on_progress = on_progress
        self.has_streamed = False
        self.applied_lsn = Lsn(0)
        self.server_lsn = Lsn(0)
        self.source_time: datetime | None = None
        self.transactions = 0
        self.changes = 0

    def tell(self, state: str) -> StreamProgress:
        """Report, and return what was reported."""
        behind = max(self.server_lsn - self.applied_lsn, 0)
        seconds = 0.0
        if behind and self.source_time is not None:
            seconds = max((datetime.now(UTC) - self.source_time).total_seconds(), 0.0)
        now = StreamProgress(
            applied_lsn=self.applied_lsn,
            transactions=self.transactions,
            changes=self.changes,
            lag_bytes=behind,
            lag_seconds=seconds,
            consistent=True,
            state=state,
        )
        self._on_progress(now)
        return now


class Flow:
    """The two tasks, and what they share."""

    def __init__(
        self,
        project: Project,
        counters: Counters,
        goal: Goal,
        stop: asyncio.Event,
        production: SourceConnection,
        replication: ReplicationStream,
        connection: Connection,
        applier: Applier,
    ) -> None:
        self._project = project
        self._counters = counters
        self._goal = goal
        self._stop = stop
        self._production = production
        self._replication = replication
        self._connection = connection
        self._applier = applier
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._last_end: TransactionEnd | None = None
        self._watched_at = 0.0

    async def run(self, catalog: Catalog, plan: Plan, state: Progress, protocol: int) -> None:
        """Run both tasks until one ends, which it does by raising."""
        self._plan = plan
        assert state.source_time is not None
        self._source_time = state.source_time
        self._state = state
        self._catalog = catalog
        self._builder = WindowBuilder(
            catalog,
            frozenset(name for name, table_plan in plan.tables.items() if table_plan.rows == "none"),
            self._applier.applied_lsn,
            self._source_time,
            lambda text: log.warning("drift", what=text),
        )
        self._free_sequences = [sequence for sequence in catalog.sequences if not sequence.feeds]
        decoder = Decoder(protocol)
        tasks = [asyncio.create_task(self._read(decoder.decode)), asyncio.create_task(self._apply())]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                self._arrived.set()
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=_STOP_SECONDS)
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        # The one that ended by itself says why; the other was cancelled.
        failures.sort(key=lambda failure: isinstance(failure, asyncio.CancelledError))
        if isinstance(failures[0], asyncio.CancelledError):
            raise Finished
        raise failures[0]

    # ------------------------------------------------------------------------------------------------- reading

    async def _read(self, decode: Callable[[bytes], Event]) -> None:
        feed = self._builder.feed
        while True:
            for payload in await self._replication.read():
                message = parse_copy_data(payload)
                if isinstance(message, XLogData):
                    feed(decode(message.payload), len(payload))
                else:
                    self._builder.keepalive(message.wal_end, message.server_time)
                    if message.reply_requested:
                        await self._replication.answer()
                self._counters.server_lsn = max(self._counters.server_lsn, message.wal_end)
            self._arrived.set()
            while self._builder.size >= _WINDOW_BYTES:
                self._taken.clear()
                await self._taken.wait()

    # ------------------------------------------------------------------------------------------------ applying

    async def _apply(self) -> None:
        while True:
            if self._builder.is_empty:
                self._arrived.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), _TICK_SECONDS)
            if self._stop.is_set():
                await self._finish()
            window = self._builder.close()
            self._taken.set()
            if window.items:
                await self._apply_window(window)
            elif not self._applier.is_open:
                await self._advance(window)
            await self._tend()

    async def _apply_window(self, window: Window) -> None:
        new = self._masked(window.new)
        old = self._masked(window.old)
        self._applier.observe(new)
        ends = [index for index, item in enumerate(window.items) if isinstance(item, TransactionEnd)]
        for index, item in enumerate(window.items):
            match item:
                case Run():
                    await self._applier.run(item, new.get(item.table), old.get(item.table))
                    self._counters.changes += item.count
                case TransactionStart():
                    await self._begin(item.commit_lsn)
                case TransactionEnd():
                    self._last_end = item
                    self._counters.transactions += 1
                    # What follows in this window is unfinished, and may be long.
                    if index == ends[-1]:
                        await self._commit()
                case Truncation():
                    await self._applier.truncate(item)

    def _masked(self, batches: Mapping[TableName, pa.RecordBatch]) -> dict[TableName, Images]:
        return {name: Images(self._plan.tables[name].mask(batch, escaped=False)) for name, batch in batches.items()}

    async def _begin(self, commit_lsn: Lsn) -> None:
        """Have a target transaction open that may hold a source transaction which commits at ``commit_lsn``."""
        while True:
            if not self._applier.is_open:
                self._limit = await self._applier.begin()
            limits = [lsn for lsn in (self._limit, self._goal.lsn) if lsn is not None]
            if not limits or commit_lsn < min(limits):
                return
            await self._commit()
            await self._stand(min(limits))
            if self._goal.lsn == min(limits):
                await self._finish()
            self._counters.tell("held")
            await hold.wait_until_lifted(self._connection, min(limits))

    async def _commit(self) -> None:
        """Commit the source transactions that are complete in the open target transaction, if there are any."""
        if self._last_end is None:
            await self._applier.rollback()
            return
        end, self._last_end = self._last_end, None
        await self._applier.commit(end.end_lsn, end.commit_time)
        self._counters.applied_lsn = end.end_lsn
        self._counters.source_time = self._source_time = end.commit_time
        self._counters.tell("streaming")

    async def _stand(self, lsn: Lsn) -> None:
        """Say that the copy is exactly at ``lsn``, when everything before it has been applied."""
        if lsn > self._applier.applied_lsn:
            await self._applier.begin()
            await self._applier.commit(lsn, self._source_time)
            self._counters.applied_lsn = lsn

    async def _advance(self, window: Window) -> None:
        """Nothing came: move on with production's position, stand where the copy is held, end at the goal."""
        limit = await self._applier.begin()
        await self._applier.rollback()
        goal = self._goal.lsn
        reached = window.position
        self._counters.source_time = self._source_time = max(self._source_time, window.source_time)
        if goal is not None and reached >= goal and (limit is None or limit >= goal):
            await self._stand(goal)
            await self._finish()
        if limit is not None:
            if reached >= limit:
                await self._stand(limit)
                self._counters.tell("held")
                await hold.wait_until_lifted(self._connection, limit)
            else:
                await self._replication.answer(ask=True)
        elif goal is not None:
            await self._replication.answer(ask=True)
        elif reached > self._applier.applied_lsn and self._is_due():
            await self._stand(reached)
        self._counters.tell("streaming")

    def _is_due(self) -> bool:
        return time.monotonic() - self._watched_at >= _WATCH_SECONDS

    async def _tend(self) -> None:
        """Acknowledge what is durable; now and then, look after what the stream does not carry."""
        await self._applier.check_durable()
        self._replication.acknowledge(self._applier.durable_lsn)
        if not self._is_due() or self._applier.is_open:
            return
        self._watched_at = time.monotonic()
        await self._replication.answer(ask=True)
        await self._check_published()
        await self._check_unfollowed()
        values = await read_sequences(self._production, self._free_sequences)
        for sequence in self._free_sequences:
            value = values[sequence.name]
            if value is not None:
                await move(self._connection, sequence, value)

    async def _check_published(self) -> None:
        now = await published_as(self._production, self._project.publications, self._catalog)
        check_published(self._project, self._catalog, self._plan, self._state, now)

    async def _check_unfollowed(self) -> None:
        now = await unfollowed_changes(self._production, self._project.publications)
        changed = [name for name, count in now.items() if count > self._state.unfollowed.get(name, 0)]
        if changed:
            raise ServerFailed(
                f"rows of {', '.join(changed)} were updated or deleted in production, which has no replica identity "
                "there, so the stream cannot bring it: the copy is no longer what production is.",
                hint="Give the table a primary key or REPLICA IDENTITY FULL, run the SQL of tezcat source sql again. "
                f"{clone_again(self._project)}",
            )

    async def _finish(self) -> None:
        """Leave at a transaction's end, everything applied made durable and acknowledged."""
        if self._applier.is_open:
            await self._applier.rollback()
        await self._applier.make_durable()
        self._replication.acknowledge(self._applier.durable_lsn)
        raise Finished
