"""Worker processes for work that is CPU-bound: masking the snapshot, digesting rows for verify.

A worker keeps one connection to production, which adopts the exported snapshot anew for each piece of work (so that
it holds no lock on a table that is done), and one to the target. Jobs are small picklable objects; a job's result or
``TezcatError`` comes back to the event loop. Workers die with the process that started them; a pool that lost one can
be started again.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncGenerator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import util
from typing import Protocol, Self, TypeVar

import pyarrow as pa

from capture import source
from capture.model import DatabaseIdentity, ServerFailed
from capture.source import SourceAddress, SourceConnection
from control import fork_server
from sink import load, target
from sink.target import Connection, TargetAddress
from transform.plan import Plan

ResultT_co = TypeVar("ResultT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every worker of a pool works with. ``source_snapshot`` is None where each job brings its own;
    ``target_snapshot`` is set where the target is only read, and None where it is written, as a replica."""

    source: SourceAddress
    source_snapshot: str | None
    target: TargetAddress
    target_snapshot: str | None
    productions: frozenset[DatabaseIdentity]
    plan: Plan
    purpose: str


class Job(Protocol[ResultT_co]):
    """A piece of work; it is pickled to a worker."""

    async def run(self, worker: Worker) -> ResultT_co:
        """Do it. What it raises must be a ``TezcatError``, or it counts as a defect."""


class Worker:
    """One worker process from the inside."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.plan = surroundings.plan
        self._surroundings = surroundings
        self._source: SourceConnection | None = None
        self._target: Connection | None = None

    async def source(self) -> SourceConnection:
        """Production, connected once, outside of a transaction."""
        if self._source is None:
            self._source = await source.connect(
                self._surroundings.source, purpose=self._surroundings.purpose, statement_timeout_ms=0
            )
        return self._source

    @property
    def source_snapshot(self) -> str:
        """The snapshot to read production in, where it is one for all jobs."""
        assert self._surroundings.source_snapshot is not None
        return self._surroundings.source_snapshot

    async def target(self) -> Connection:
        """The target, connected once; as a replica, or in the shared snapshot where there is one."""
        if self._target is None:
            surroundings = self._surroundings
            connection = await target.connect(
                surroundings.target, productions=surroundings.productions, purpose=surroundings.purpose
            )
            if surroundings.target_snapshot is None:
                await load.as_replica(connection)
            else:
                await target.fetch(connection, "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                await target.fetch(connection, f"SET TRANSACTION SNAPSHOT '{surroundings.target_snapshot}'")
            self._target = connection
        return self._target

    async def close(self) -> None:
        """Take leave of both servers."""
        if self._source is not None:
            await self._source.close()
        if self._target is not None:
            await self._target.close()


_runner: asyncio.Runner | None = None
_worker: Worker | None = None


def _start(surroundings: Surroundings) -> None:
    global _runner, _worker  # noqa: PLW0603  # a worker process has one, made when it starts
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    pa.set_cpu_count(1)
    # What was imported stays; looking at it again and again was a tenth of a worker's time.
    gc.freeze()
    _runner = asyncio.Runner()
    _worker = Worker(surroundings)
    # atexit does not work in a process of multiprocessing.
    util.Finalize(None, _stop, exitpriority=0)


def _stop() -> None:
    assert _runner is not None
    assert _worker is not None
    with _runner:
        _runner.run(_worker.close())


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(job: Job[ResultT_co]) -> ResultT_co:
    assert _runner is not None
    assert _worker is not None
    return _runner.run(job.run(_worker))


def _begin() -> None:
    """The first job of a process: to be there."""


class WorkersLost(ServerFailed):
    """A worker process was killed; its pool can do nothing more until it is started again."""


def _lost() -> WorkersLost:
    return WorkersLost(
        "a worker process was killed before it had finished.",
        hint="See whether the machine ran out of memory, then run the command again.",
    )


def _forget(future: asyncio.Future[ResultT_co]) -> None:
    """Look at how it ended, which nobody else will; it would complain."""
    if not future.cancelled():
        future.exception()


class WorkerPool:
    """A pool of worker processes; an async context manager. They start, which takes a second, when it is entered, and
    whoever has other things to do first enters it before those."""

    def __init__(self, surroundings: Surroundings, workers: int) -> None:
        self._surroundings = surroundings
        self._workers = workers
        self._executor = self._make()

    def _make(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=self._workers,
            mp_context=fork_server.CONTEXT,
            initializer=_start,
            initargs=(self._surroundings,),
        )

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    def _begin(self) -> None:
        self._started = [self._executor.submit(_begin) for _ in range(self._workers)]

    async def ready(self) -> None:
        """Wait until there is a process that can take a job. Raises ``WorkersLost``."""
        try:
            await asyncio.shield(asyncio.wrap_future(self._started[0]))
        except BrokenProcessPool:
            raise _lost() from None

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._end(at_once=kind is not None)

    async def _end(self, *, at_once: bool) -> None:
        if at_once:
            # What runs now is of no use any more; do not wait for it. One that lived on would wait for ever for a lock
            # of the executor's queue that another had when it died, and we for it.
            for process in list((getattr(self._executor, "_processes", None) or {}).values()):
                process.kill()
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)

    async def restart(self) -> None:
        """Kill the processes, whatever they do, and start new ones. Nothing may be running through ``run``."""
        await self._end(at_once=True)
        self._executor = self._make()
        self._begin()

    async def run(self, jobs: Iterable[Job[ResultT_co]]) -> AsyncGenerator[ResultT_co, None]:
        """Results as they come, in no order. The first error ends it.

        Raises ``TezcatError`` of a job, and ``WorkersLost``.
        """
        waiting = iter(jobs)
        running: set[asyncio.Future[ResultT_co]] = set()
        try:
            while True:
                while len(running) < 2 * self._workers and (job := next(waiting, None)) is not None:
                    running.add(asyncio.wrap_future(self._executor.submit(_run, job)))
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                    running.discard(future)
        except BrokenProcessPool:
            raise _lost() from None
        finally:
            for future in running:
                # It is not cancelled: an executor that breaks later would stumble over it, and leave its processes.
                future.add_done_callback(_forget)
