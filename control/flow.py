"""From a slot's messages to a copy: reading and applying, one beside the other.

One task reads and decodes, one takes whatever came meanwhile as one window and masks it table by table, one applies
windows in commit order. All are bounded: when a window is full, reading stops and production's walsender waits. A
transaction larger than a window is applied as it comes, in one target transaction.

    read ─▶ decode ─▶ window ─▶ mask ─▶ apply ─▶ durable ─▶ acknowledge

The copy never passes a limit: the goal, or the LSN at which somebody holds the copy. A limit L lets through the
transactions whose commit record starts before L, which are those that a snapshot with consistent point L shows.

Changes of tables whose rows hang on each other set a limit too, where those are settled (``control.refetch``): until
then nothing is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from capture.model import (
    Catalog,
    Changes,
    Interrupted,
    Lsn,
    Sequence,
    ServerFailed,
    TableName,
    TezcatError,
    Truncation,
    Window,
)
from capture.publications import published_as
from capture.replication import ReplicationStream
from capture.replication_protocol import to_datetime
from capture.snapshot import read_sequences
from capture.source import SourceConnection
from capture.unfollowed import unfollowed_changes
from capture.windows import WindowBuilder
from control.copies import check_published, clone_again, copy_again
from control.project import Project
from control.refetch import Moment, Refetch, Unreadable
from sink import hold, progress
from sink.apply import Applier
from sink.progress import Progress
from sink.sequences import move
from sink.target import Connection
from transform.changes import mask_changes
from transform.plan import Plan

log = structlog.get_logger()

# A window is closed when it holds so many bytes; reading waits until it was taken.
_WINDOW_BYTES: Final = 4 << 20
# Less than this gathers: it is masked when nothing else is applied, and reading waits until then.
_LITTLE_BYTES: Final = 64 << 10
# A larger window is masked in a thread, so that others may be read and applied meanwhile.
_THREAD_ROWS: Final = 1000
# How often a session without work looks whether it is held, durable, or at its goal.
_TICK_SECONDS: Final = 0.2
# How often production's position is written down though no transaction came, and free sequences are looked at.
_WATCH_SECONDS: Final = 5.0
# Who waits for a position asks production this often where it is: asked again at each answer, it would do little else.
_ASK_SECONDS: Final = 0.02


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


class CopiedAgain(Interrupted):
    """The rules that this session masks by are no longer the copy's."""


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


@dataclass(frozen=True, slots=True)
class _Masked:
    """A window with masked changes. ``touched`` are those of the tables that take part in the plan's subset: their keys
    alone, as production has them; ``emptied`` those of them that were truncated, and when."""

    window: Window
    touched: dict[TableName, Changes]
    emptied: list[Truncation]

    def is_touched(self, start: int, stop: int) -> bool:
        """Whether any of those changes is from ``start`` to before ``stop``."""
        return any(len(changes.between(start, stop)) for changes in self.touched.values()) or any(
            start <= truncation.order < stop for truncation in self.emptied
        )


class Flow:
    """The tasks, and what they share."""

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
        refetch: Refetch | None,
    ) -> None:
        self._project = project
        self._counters = counters
        self._goal = goal
        self._stop = stop
        self._production = production
        self._replication = replication
        self._connection = connection
        self._applier = applier
        self._refetch = refetch
        # Where the rows of the subset are settled that were touched since the last commit.
        self._moment: Moment | None = None
        self._held: hold.Held | None = None
        # Something arrived, or the applier came to wait for a window.
        self._stirred = asyncio.Event()
        self._is_idle = False
        self._is_hungry = asyncio.Event()
        self._taken = asyncio.Event()
        # One window is applied, one waits, one is masked.
        self._windows: asyncio.Queue[_Masked] = asyncio.Queue(1)
        # Whether production's position may be written down though no transaction came.
        self._may_stand = False
        self._sequence_values: dict[Sequence, int] = {}
        self._has_watched = asyncio.Event()

    async def run(
        self,
        catalog: Catalog,
        plan: Plan,
        state: Progress,
        protocol: int,
        *,
        written: dict[Path, int],
        without: frozenset[TableName],
    ) -> None:
        """Run the tasks until one ends, which it does by raising. ``written`` is when the files were written that
        ``plan`` comes from. Changes of the tables of ``without`` are left out."""
        self._plan = plan
        self._without = without
        self._written = written
        assert state.source_time is not None
        self._source_time = state.source_time
        self._state = state
        self._catalog = catalog
        self._builder = WindowBuilder(
            catalog,
            without | {name for name, table_plan in plan.tables.items() if table_plan.rows == "none"},
            self._applier.applied_lsn,
            self._source_time,
            protocol,
            lambda text: log.warning("drift", what=text),
        )
        self._free_sequences = [sequence for sequence in catalog.sequences if not sequence.feeds]
        tasks = [asyncio.create_task(part) for part in (self._read(), self._mask(), self._apply(), self._watch())]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                self._stirred.set()
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A query that a dead server does not answer is not worth the wait for its cancellation.
            await self._production.close()
            for task in (*tasks, stopping):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        # The one that ended by itself says why; the others were cancelled.
        failures.sort(key=lambda failure: isinstance(failure, asyncio.CancelledError))
        if isinstance(failures[0], asyncio.CancelledError):
            raise Finished
        raise failures[0]

    # ------------------------------------------------------------------------------------------------- reading

    async def _read(self) -> None:
        while True:
            block = await self._replication.read()
            if self._builder.take(block):
                await self._replication.answer()
            self._counters.server_lsn = max(self._counters.server_lsn, self._builder.server_lsn)
            self._stirred.set()
            self._is_hungry.clear()
            while self._builder.size >= _WINDOW_BYTES:
                self._taken.clear()
                await self._taken.wait()
            if block.size < _LITTLE_BYTES:
                # Of a trickle each drop would cost as much as all that has gathered when the next window begins.
                await self._is_hungry.wait()

    # ------------------------------------------------------------------------------------------------- masking

    async def _mask(self) -> None:
        """Mask one window while another is applied. An empty one tells that nothing came.

        Little is masked when it can be applied at once: until then more may come, and what came waits no longer.
        """
        while True:
            while not self._is_idle and self._builder.size < _LITTLE_BYTES:
                await self._stirring()
            if self._builder.is_empty:
                self._is_hungry.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TICK_SECONDS):
                        await self._stirring()
            window = self._builder.close()
            self._taken.set()
            if window.count > _THREAD_ROWS:
                masked = await asyncio.to_thread(self._masked, window)
            else:
                masked = self._masked(window)
            await self._windows.put(masked)
            self._is_idle = False

    async def _stirring(self) -> None:
        self._stirred.clear()
        await self._stirred.wait()

    def _masked(self, window: Window) -> _Masked:
        plans, refetch = self._plan.tables, self._refetch
        masked: dict[TableName, Changes] = {}
        touched: dict[TableName, Changes] = {}
        for table, changes in window.changes.items():
            if refetch is not None and self._plan.takes_part(table):
                touched[table] = refetch.keys_only(table, changes)
            else:
                masked[table] = mask_changes(plans[table], changes)
        emptied: list[Truncation] = []
        truncations: list[Truncation] = []
        for truncation in window.truncations:
            of_subset = tuple(table for table in truncation.tables if self._plan.takes_part(table))
            others = tuple(table for table in truncation.tables if table not in of_subset)
            if not of_subset:
                truncations.append(truncation)
                continue
            emptied.append(replace(truncation, tables=of_subset))
            truncations.append(replace(truncation, tables=others, is_alone=True))
        return _Masked(replace(window, changes=masked, truncations=truncations), touched, emptied)

    # ------------------------------------------------------------------------------------------------ applying

    async def _apply(self) -> None:
        while True:
            if self._windows.empty():
                self._is_idle = True
                self._stirred.set()
            masked = await self._windows.get()
            if self._stop.is_set():
                await self._finish()
            if not masked.window.is_empty:
                await self._apply_window(masked)
            elif not self._applier.is_open:
                await self._advance(masked.window)
            elif self._moment is not None:
                if masked.window.position >= self._moment.lsn:
                    await self._hold(self._moment.lsn)
                else:
                    await self._ask()
            await self._tend()

    async def _apply_window(self, masked: _Masked) -> None:
        window = masked.window
        begins, ends = window.begins, window.ends
        done = ended = 0
        while done < window.count or ended < len(ends.orders):
            limit = await self._open()
            allowed = len(begins.orders) if limit is None else bisect_left(begins.commit_lsns, limit)
            complete = min(allowed, len(ends.orders))
            if limit is not None and allowed <= ended:
                await self._hold(limit)
                continue
            # What is left after the last end is unfinished, and may be long.
            stop = ends.orders[complete - 1] if complete > ended else window.count
            if self._moment is None and (masked.is_touched(done, stop) or self._has_to_ask_first(complete > ended)):
                await self._set_moment()
                continue
            await self._applier.apply(window, done, stop)
            self._note(masked, done, stop)
            if complete > ended:
                commit_time = to_datetime(ends.commit_times[complete - 1])
                if self._moment is None:
                    await self._commit(Lsn(ends.end_lsns[complete - 1]), commit_time)
                else:
                    self._source_time = commit_time
                self._counters.transactions += complete - ended
                ended = complete
            if self._applier.is_open:
                await self._applier.settle()
            done = stop
        self._counters.changes += sum(map(len, [*window.changes.values(), *masked.touched.values()]))

    async def _open(self) -> Lsn | None:
        """Have a target transaction open; the LSN at or after which no source transaction may commit into it."""
        if not self._applier.is_open:
            self._held = await self._applier.begin()
        if self._moment is not None:
            return self._moment.lsn
        held = self._held.lsn if self._held is not None else None
        return min((lsn for lsn in (held, self._goal.lsn) if lsn is not None), default=None)

    def _has_to_ask_first(self, is_complete: bool) -> bool:
        """Whether a transaction of production, of which the rest may touch the subset, cannot be begun without a
        moment: where the copy is on production's own server, a slot would wait for what the copy has written."""
        return not is_complete and self._refetch is not None and self._refetch.shares_server

    async def _set_moment(self) -> None:
        """Decide where touched rows of the subset are settled: where the copy is held, or right after what production
        has sent. Nobody can hold the copy while its transaction is open."""
        assert self._refetch is not None
        if self._held is not None:
            self._moment = Moment(*self._held)
        else:
            self._moment = await self._refetch.moment()

    def _note(self, masked: _Masked, start: int, stop: int) -> None:
        if self._refetch is not None:
            for truncation in masked.emptied:
                if start <= truncation.order < stop:
                    for table in truncation.tables:
                        self._refetch.note_emptied(table)
            for table, changes in masked.touched.items():
                self._refetch.note(table, changes.between(start, stop))

    async def _hold(self, limit: Lsn) -> None:
        """Stand at the limit, with nothing open, until it is lifted; or end there."""
        if self._moment is not None:
            assert self._refetch is not None
            if self._held is None and self._refetch.has_let_go:
                self._moment = await self._refetch.moment()
                return
            try:
                await self._refetch.settle(self._moment.snapshot)
            except Unreadable:
                # The next session begins at the last commit, and finds another moment.
                if self._held is not None:
                    await self._applier.rollback()
                    await hold.give_up(self._connection, self._held)
                raise
            await self._refetch.forget()
            await self._commit(limit, self._source_time)
            self._moment = None
        else:
            await self._applier.rollback()
            await self._stand(limit)
        if self._goal.lsn is not None and limit >= self._goal.lsn:
            await self._finish()
        if self._held is not None and limit == self._held.lsn:
            await self._wait(limit)

    async def _wait(self, limit: Lsn) -> None:
        """Wait until the hold is lifted. Raises ``CopiedAgain`` when the copy follows other rules from then on."""
        self._counters.tell("held")
        await hold.wait_until_lifted(self._connection, limit)
        now = await progress.read(self._connection)
        if (
            now is None
            or now.rules_fingerprint != self._state.rules_fingerprint
            or now.key_check != self._state.key_check
        ):
            raise CopiedAgain("tables of the copy were copied again by other rules; the stream begins anew with those.")

    async def _commit(self, end_lsn: Lsn, commit_time: datetime) -> None:
        await self._applier.commit(end_lsn, commit_time)
        self._counters.applied_lsn = end_lsn
        self._counters.source_time = self._source_time = commit_time
        self._counters.tell("streaming")

    async def _stand(self, lsn: Lsn) -> None:
        """Say that the copy is exactly at ``lsn``, when everything before it has been applied."""
        if lsn > self._applier.applied_lsn:
            await self._applier.begin()
            await self._applier.commit(lsn, self._source_time)
            self._counters.applied_lsn = lsn

    async def _advance(self, window: Window) -> None:
        """Nothing came: move on with production's position, stand where the copy is held, end at the goal."""
        held = await self._applier.begin()
        await self._applier.rollback()
        limit = held.lsn if held is not None else None
        goal = self._goal.lsn
        reached = window.position
        self._counters.source_time = self._source_time = max(self._source_time, window.source_time)
        if goal is not None and reached >= goal and (limit is None or limit >= goal):
            await self._stand(goal)
            await self._finish()
        if limit is not None:
            if reached >= limit:
                await self._stand(limit)
                await self._wait(limit)
            else:
                await self._ask()
        elif goal is not None:
            await self._ask()
        elif reached > self._applier.applied_lsn and self._may_stand:
            self._may_stand = False
            await self._stand(reached)
        self._counters.tell("streaming")

    async def _ask(self) -> None:
        await asyncio.sleep(_ASK_SECONDS)
        await self._replication.answer(ask=True)

    async def _tend(self) -> None:
        """Acknowledge what is durable; take free sequences along."""
        await self._applier.check_durable()
        self._replication.acknowledge(self._applier.durable_lsn)
        if not self._applier.is_open:
            await self._move_sequences()

    async def _move_sequences(self) -> None:
        values, self._sequence_values = self._sequence_values, {}
        for sequence, value in values.items():
            await move(self._connection, sequence, value)

    # ------------------------------------------------------------------------------------------------ watching

    async def _watch(self) -> None:
        """Look now and then after what the stream does not carry. Production's answers keep no row waiting."""
        while True:
            self._may_stand = True
            if self._refetch is not None:
                await self._refetch.let_go_when_old()
            await self._replication.answer(ask=True)
            await self._check_published()
            await self._check_unfollowed()
            await self._look_at_rules()
            values = await read_sequences(self._production, self._free_sequences)
            for sequence in self._free_sequences:
                value = values[sequence.name]
                if value is not None:
                    self._sequence_values[sequence] = value
            self._has_watched.set()
            await asyncio.sleep(_WATCH_SECONDS)

    async def _check_published(self) -> None:
        now = await published_as(self._production, self._project.publications, self._catalog)
        check_published(self._project, self._catalog, self._plan, self._state, now, without=self._without)

    async def _look_at_rules(self) -> None:
        """Tell when the rules or the key changed; the stream goes on by those that the copy was made by."""
        written, before = self._project.written(), self._written
        if written == before:
            return
        self._written = written
        files = [str(path) for path in sorted(written.keys() | before.keys()) if written.get(path) != before.get(path)]
        try:
            project = self._project.reread()
            plan = await asyncio.to_thread(project.plan, self._catalog, partial=True)
        except TezcatError as error:
            log.warning("rules changed", files=files, problem=str(error))
            return
        # There may be more of the user's code.
        self._written = self._project.written() | written
        if plan.key_check != self._plan.key_check:
            log.warning("key changed", files=files, what_to_do=copy_again(self._project))
        elif (plan.fingerprint, _columns(plan)) != (self._plan.fingerprint, _columns(self._plan)):
            log.warning("rules changed", files=files, what_to_do=copy_again(self._project))

    async def _check_unfollowed(self) -> None:
        now = await unfollowed_changes(self._production, self._project.publications)
        without = set(map(str, self._without))
        before = self._state.unfollowed
        changed = [name for name, count in now.items() if name not in without and count > before.get(name, 0)]
        if changed:
            raise ServerFailed(
                f"rows of {', '.join(changed)} were updated or deleted in production, which has no replica identity "
                "there, so the stream cannot bring it: the copy is no longer what production is.",
                hint="Give the table a primary key or, where no column is generated, REPLICA IDENTITY FULL, run the "
                f"SQL of tezcat source sql again. {clone_again(self._project)}",
            )

    async def _finish(self) -> None:
        """Leave at a transaction's end, everything applied made durable and acknowledged."""
        if self._applier.is_open:
            await self._applier.rollback()
        if not self._stop.is_set():
            # However short the stream was, production was looked at once.
            await self._has_watched.wait()
        await self._move_sequences()
        await self._applier.make_durable()
        self._replication.acknowledge(self._applier.durable_lsn)
        raise Finished


def _columns(plan: Plan) -> dict[TableName, tuple[str, ...]]:
    return {name: table.columns for name, table in plan.tables.items()}
