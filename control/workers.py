"""Worker processes for work that is CPU-bound: masking the snapshot, digesting rows for verify.

A worker keeps one connection to production, which adopts the exported snapshot anew for each piece of work (so that
it holds no lock on a table that is done), and one to the target. Jobs are small picklable objects; a job's result or
``TezcatError`` comes back to the event loop. Workers die with the process that started them; a pool that lost one can
be started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any, Final, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import pyarrow as pa

from capture import source
from capture.model import DatabaseIdentity, ServerFailed
from capture.source import SourceAddress, SourceConnection
from control import fork_server
from sink import load, target
from sink.target import Connection, TargetAddress
from transform.plan import Plan

ResultT_co = TypeVar("ResultT_co", covariant=True)

# How long processes may take to end: first by themselves, then when they were killed.
_END_SECONDS: Final = 5.0


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


def _work(pipe: Pipe, surroundings: Surroundings) -> None:
    """A worker process: do the jobs that come, until no more do."""
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    pa.set_cpu_count(1)
    # What was imported stays; looking at it again and again was a tenth of a worker's time.
    gc.freeze()
    worker = Worker(surroundings)
    with asyncio.Runner() as runner:
        pipe.send(None)  # it is there
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                job: Job[object] = pipe.recv()
                try:
                    pipe.send(runner.run(job.run(worker)))
                except Exception as error:
                    pipe.send(_Failed(error))
        runner.run(worker.close())


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Failed(NamedTuple):
    """How a job ended that has no result."""

    error: Exception


class WorkersLost(ServerFailed):
    """A worker process was killed; its pool can do nothing more until it is started again."""


def _lost() -> WorkersLost:
    return WorkersLost(
        "a worker process was killed before it had finished.",
        hint="See whether the machine ran out of memory, then run the command again.",
    )


def _forget(future: asyncio.Future[Any]) -> None:
    """Look at how it ended, which nobody else will; it would complain."""
    if not future.cancelled():
        future.exception()


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, _Failed):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome)


class _Task(NamedTuple):
    """A job, and who waits for its result."""

    job: Job[Any]
    result: asyncio.Future[Any]


_Tasks: TypeAlias = "queue.SimpleQueue[_Task | None]"  # None for each process that is to end


class _Process:
    """A worker process from the outside, and the thread of ours that starts it and talks to it.

    The two ends of its pipe are theirs alone, so wherever the process is when it dies, in the middle of a result too,
    the thread sees the pipe's end and is not kept waiting by anybody else. ``is_there`` is when it can take a job, and
    ``ended`` when it has gone.
    """

    def __init__(self, surroundings: Surroundings, tasks: _Tasks) -> None:
        self._loop = asyncio.get_running_loop()
        self._surroundings = surroundings
        self._tasks = tasks
        self._pid: int | None = None
        self._is_killed = False
        self.is_there: asyncio.Future[None] = self._loop.create_future()
        self.is_there.add_done_callback(_forget)
        self.ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon, so that a process that cannot even be killed does not keep ours.
        threading.Thread(target=self._talk, name="tezcat worker", daemon=True).start()

    def kill(self) -> None:
        """Kill it, whatever it does, if it has not ended."""
        self._is_killed = True
        if self._pid is not None and not self.ended.done():
            # Not by multiprocessing, which takes it for dead when the process that forked it is.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def _talk(self) -> None:
        """The thread: from the start of the process to its end. A process that is lost loses all that comes later,
        too."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody listens
            task: _Task | None = None
            try:
                ours, theirs = fork_server.CONTEXT.Pipe()
                with ours:
                    with theirs:
                        process = fork_server.CONTEXT.Process(
                            target=_work, args=(theirs, self._surroundings), daemon=True
                        )
                        process.start()
                    self._pid = process.pid
                    if self._is_killed:
                        self.kill()
                    self._tell(self.is_there, ours.recv())
                    while (task := self._tasks.get()) is not None:
                        if not task.result.done():
                            self._tell(task.result, _ask(ours, task.job))
                process.join()
            except Exception as error:
                failed = _Failed(_lost() if isinstance(error, EOFError | ConnectionError) else error)
                self._tell(self.is_there, failed)
                while task is not None or (task := self._tasks.get()) is not None:
                    self._tell(task.result, failed)
                    task = None
            self._tell(self.ended, None)

    def _tell(self, future: asyncio.Future[Any], outcome: object) -> None:
        self._loop.call_soon_threadsafe(_settle, future, outcome)


def _ask(pipe: Pipe, job: Job[Any]) -> object:
    try:
        pipe.send(job)
        return pipe.recv()
    except (EOFError, OSError):
        raise EOFError from None
    except Exception as error:  # the job or its result cannot be pickled
        return _Failed(error)


class WorkerPool:
    """A pool of worker processes; an async context manager. They start, which takes a second, when it is entered, and
    whoever has other things to do first enters it before those."""

    def __init__(self, surroundings: Surroundings, workers: int) -> None:
        self._surroundings = surroundings
        self._workers = workers

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    def _begin(self) -> None:
        self._tasks: _Tasks = queue.SimpleQueue()
        self._processes = [_Process(self._surroundings, self._tasks) for _ in range(self._workers)]

    async def ready(self) -> None:
        """Wait until there is a process that can take a job. Raises ``WorkersLost``."""
        there = [process.is_there for process in self._processes]
        done, _ = await asyncio.wait(there, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            future.result()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._end(at_once=kind is not None)

    async def _end(self, *, at_once: bool) -> None:
        """Let the processes end by themselves, or do not wait for what runs now, which is of no use any more."""
        for _ in self._processes:
            self._tasks.put(None)
        try:
            if not at_once:
                await self._until_ended()
        finally:
            for process in self._processes:
                process.kill()
        if not await self._until_ended():
            # Who forked them tells of their end, and is halted itself.
            fork_server.kill()
            await self._until_ended()

    async def _until_ended(self) -> bool:
        _, left = await asyncio.wait([process.ended for process in self._processes], timeout=_END_SECONDS)
        return not left

    async def restart(self) -> None:
        """Kill the processes, whatever they do, and start new ones. Nothing may be running through ``run``."""
        await self._end(at_once=True)
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
                    running.add(self._submit(job))
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                    running.discard(future)
        finally:
            for future in running:
                future.add_done_callback(_forget)
                future.cancel()

    def _submit(self, job: Job[ResultT_co]) -> asyncio.Future[ResultT_co]:
        task = _Task(job, asyncio.get_running_loop().create_future())
        self._tasks.put(task)
        return task.result
