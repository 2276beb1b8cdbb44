"""Jobs run in other processes, and whatever happens there comes back as a result or as an error of ours."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import re
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path

import psycopg
import pytest

from capture.model import BadInput, Interrupted, ServerFailed, TezcatError
from control import workers
from control.workers import Surroundings, Worker, WorkerPool, WorkersLost
from sink.target import fetch
from tests.fix_copy import target_address
from tests.fix_postgres import Database, Server
from tests.fix_source import source_address
from tests.waiting import eventually, is_running
from transform.plan import Plan

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Square:
    number: int

    async def run(self, worker: Worker) -> tuple[int, int]:
        return self.number**2, os.getpid()


@dataclass(frozen=True)
class Fail:
    kind: type[Exception]

    async def run(self, worker: Worker) -> None:
        if issubclass(self.kind, TezcatError):
            raise self.kind("what went wrong.", hint="What to do.")
        raise self.kind("what went wrong.")


@dataclass(frozen=True)
class Die:
    async def run(self, worker: Worker) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Sleep:
    async def run(self, worker: Worker) -> None:
        await asyncio.sleep(60)


@dataclass(frozen=True)
class LoseItself:
    """Begin to give a long result, and get no further."""

    number: signal.Signals

    async def run(self, worker: Worker) -> bytes:
        threading.Thread(target=self._wait, args=(threading.get_ident(),), daemon=True).start()
        return bytes(1 << 28)

    def _wait(self, thread: int) -> None:
        while (frame := sys._current_frames()[thread]).f_code.co_name != "_send" or len(
            frame.f_locals["buf"]
        ) < 1 << 20:
            time.sleep(0.001)
        os.kill(os.getpid(), self.number)


@dataclass(frozen=True)
class UseBoth:
    """Tell which sessions a worker has, and see that the target's is in the snapshot."""

    async def run(self, worker: Worker) -> tuple[int, int, int]:
        [[source_pid]] = await (await worker.source()).fetch("SELECT pg_backend_pid()")
        [[target_pid]] = await fetch(await worker.target(), "SELECT pg_backend_pid()")
        [[count]] = await fetch(await worker.target(), "SELECT count(*) FROM public.t")
        assert worker.source_snapshot == "nobody asks"
        return source_pid, target_pid, count


@pytest.fixture
def surroundings(shared: Database) -> Callable[..., Surroundings]:
    def make(target_snapshot: str | None = None) -> Surroundings:
        return Surroundings(
            source=source_address(shared),
            source_snapshot="nobody asks",
            target=target_address(shared),
            target_snapshot=target_snapshot,
            productions=frozenset(),
            plan=Plan({}, "", "", {}, {}),
            purpose="worker test",
        )

    return make


async def test_results_come_from_other_processes(surroundings: Callable[..., Surroundings]) -> None:
    """All of them, in no order, from as many processes as were asked for at most."""
    async with WorkerPool(surroundings(), 2) as pool:
        found = [result async for result in pool.run(Square(number) for number in range(40))]
        again = [result async for result in pool.run([Square(7)])]
        assert [result async for result in pool.run([])] == []
    assert sorted(square for square, _ in found) == [number**2 for number in range(40)]
    assert os.getpid() not in {pid for _, pid in found}
    assert len({pid for _, pid in found}) <= 2
    assert again[0][0] == 49


@pytest.mark.parametrize("kind", [BadInput, Interrupted])
async def test_an_error_crosses_the_process_border(
    surroundings: Callable[..., Surroundings], kind: type[TezcatError]
) -> None:
    """Its kind, its words and its hint, and it ends the work of the others."""

    async def run() -> None:
        async with WorkerPool(surroundings(), 2) as pool:
            async for _ in pool.run([*[Fail(kind)] * 6, Sleep(), Sleep()]):
                pass

    async with asyncio.timeout(30):
        with pytest.raises(kind, match="what went wrong") as caught:
            await run()
    assert type(caught.value) is kind
    assert caught.value.hint == "What to do."


async def test_of_several_errors_one_is_raised_and_no_other_complained_about(
    surroundings: Callable[..., Surroundings], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that lose the same server fail at the same time."""

    def failed(*_: object) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ServerFailed("what went wrong."))
        return future

    async def run() -> None:
        pool = WorkerPool(surroundings(), 2)
        monkeypatch.setattr(pool, "_submit", failed)
        with pytest.raises(ServerFailed):
            await anext(pool.run([Square(1), Square(2)]))

    await run()
    gc.collect()
    assert caplog.records == []


async def test_a_killed_worker_fails_the_work(surroundings: Callable[..., Surroundings]) -> None:
    """The kernel does that when memory runs out; nothing waits for ever."""

    async def run() -> None:
        async with WorkerPool(surroundings(), 2) as pool:
            async for _ in pool.run([Sleep(), Die(), Square(1), Sleep()]):
                pass

    async with asyncio.timeout(30):
        with pytest.raises(ServerFailed, match="worker process was killed"):
            await run()


async def test_a_pool_that_lost_a_worker_can_be_started_again(surroundings: Callable[..., Surroundings]) -> None:
    """The loss is told apart from a failure of a job, and what is done then is done by new processes."""

    async def run() -> list[tuple[int, int]]:
        async with WorkerPool(surroundings(), 2) as pool:
            await pool.ready()
            with pytest.raises(WorkersLost):
                [result async for result in pool.run([Die(), Sleep()])]
            await pool.restart()
            return [result async for result in pool.run([Square(3), Square(4)])]

    async with asyncio.timeout(60):
        assert sorted(square for square, _ in await run()) == [9, 16]


async def test_a_pool_is_started_again_whatever_it_does(surroundings: Callable[..., Surroundings]) -> None:
    """Work that takes too long is cut off."""

    async def run() -> list[tuple[int, int]]:
        async with WorkerPool(surroundings(), 2) as pool:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), aclosing(pool.run([Sleep(), Sleep()])) as results:
                    await anext(results)
            await pool.restart()
            return [result async for result in pool.run([Square(5)])]

    async with asyncio.timeout(50):
        assert [square for square, _ in await run()] == [25]


async def test_workers_may_be_killed_when_their_work_was_given_up(surroundings: Callable[..., Surroundings]) -> None:
    """What still waited for its turn does not hinder the pool from clearing up."""

    async def run() -> list[tuple[int, int]]:
        async with WorkerPool(surroundings(), 2) as pool:
            await pool.ready()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), aclosing(pool.run([Sleep()] * 4)) as results:
                    await anext(results)
            for process in multiprocessing.active_children():
                process.kill()
            await eventually(lambda: not multiprocessing.active_children(), "they are gone")
            await pool.restart()
            return [result async for result in pool.run([Square(6)])]

    async with asyncio.timeout(50):
        assert [square for square, _ in await run()] == [36]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_worker_that_is_lost_within_a_result_is_not_waited_for(
    surroundings: Callable[..., Surroundings], number: signal.Signals
) -> None:
    """Half of a result has come, and the rest never will, though another worker lives."""

    async def run() -> None:
        async with WorkerPool(surroundings(), 2) as pool, aclosing(pool.run([Sleep(), LoseItself(number)])) as results:
            await pool.ready()
            # Who was killed is told as soon as it can be; nobody tells of the other.
            async with asyncio.timeout(45 if number is signal.SIGKILL else 5):
                await anext(results)

    async with asyncio.timeout(60):
        with pytest.raises(WorkersLost if number is signal.SIGKILL else TimeoutError):
            await run()


async def test_a_halted_worker_does_not_keep_the_pool_from_ending(
    surroundings: Callable[..., Surroundings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though all of its work is done."""
    monkeypatch.setattr(workers, "_END_SECONDS", 0.5)
    async with asyncio.timeout(30):
        async with WorkerPool(surroundings(), 1) as pool:
            [(_, pid)] = [result async for result in pool.run([Square(1)])]
            os.kill(pid, signal.SIGSTOP)
    await eventually(lambda: not is_running(pid), "it was killed")


async def test_a_halted_fork_server_does_not_keep_the_pool_from_ending(
    surroundings: Callable[..., Surroundings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the interpreter, which waits for its children; and the next pool has another."""
    monkeypatch.setattr(workers, "_END_SECONDS", 0.5)
    async with asyncio.timeout(60):
        async with WorkerPool(surroundings(), 1) as pool:
            await pool.ready()
            os.kill(getattr(forkserver, "_forkserver")._forkserver_pid, signal.SIGSTOP)  # noqa: B009
        await eventually(lambda: not multiprocessing.active_children(), "there are none")
        async with WorkerPool(surroundings(), 1) as pool:
            assert [square async for square, _ in pool.run([Square(3)])] == [9]


async def test_a_worker_keeps_its_connections_and_takes_leave_of_the_servers(
    surroundings: Callable[..., Surroundings], shared: Database, server18: Server
) -> None:
    """One to either side for all its jobs, the target's in the shared snapshot; none is torn off at the end."""
    shared.execute("CREATE TABLE public.t AS SELECT 1 AS a")
    async with await psycopg.AsyncConnection.connect(shared.url) as exporter:
        await exporter.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        [[snapshot]] = await (await exporter.execute("SELECT pg_export_snapshot()")).fetchall()
        shared.execute("INSERT INTO public.t VALUES (2)")
        async with WorkerPool(surroundings(snapshot), 1) as pool:
            found = [result async for result in pool.run([UseBoth()] * 3)]
        await shared.comes_to("SELECT 1 FROM pg_stat_activity WHERE application_name = 'tezcat worker test'", [])
    assert len(set(found)) == 1
    assert found[0][2] == 1
    source_pid, target_pid, _ = found[0]
    said = re.findall(r"\[(\d+)\] LOG:  unexpected EOF", (server18.folder / "log").read_text(errors="replace"))
    assert not {str(source_pid), str(target_pid)} & set(said)


async def test_leaving_early_does_not_wait_for_the_work(surroundings: Callable[..., Surroundings]) -> None:
    """Ctrl-C ends what runs in the workers."""

    async def run(began: asyncio.Event) -> None:
        async with WorkerPool(surroundings(), 2) as pool:
            async for _ in pool.run([Square(1), Sleep(), Sleep()]):
                began.set()

    began = asyncio.Event()
    task = asyncio.create_task(run(began))
    async with asyncio.timeout(30):
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_workers_die_with_the_process_that_started_them(tmp_path: Path, shared: Database) -> None:
    """kill -9 of a clone leaves nothing that goes on reading production."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            import asyncio, os
            from control.workers import Surroundings, WorkerPool
            from tests.control.test_workers import Sleep, Square, source_address, target_address
            from tests.fix_postgres import Database
            from transform.plan import Plan

            class There:
                url = {shared.url!r}

            async def main():
                around = Surroundings(source_address(There), "", target_address(There), None, frozenset(),
                                      Plan({{}}, "", "", {{}}, {{}}), "test")
                async with WorkerPool(around, 1) as pool:
                    async for _, pid in pool.run([Square(1)]):
                        print(pid, flush=True)
                    async for _ in pool.run([Sleep()]):
                        pass

            if __name__ == "__main__":
                asyncio.run(main())
        """)
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, script, stdout=asyncio.subprocess.PIPE, env=environment, cwd=ROOT
    )
    assert parent.stdout is not None
    worker = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await eventually(lambda: not is_running(worker), "the worker has ended")
