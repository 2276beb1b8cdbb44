"""A production and a target, each on a server of its own that may be stopped and crashed, and one copy for all tests.

``copy`` is that copy, as the test before left it: caught up, or made anew where the test before ended it. Every test
draws its moments from ``chance``, whose seed is printed when it fails; TEZCAT_FAULT_SEED=... repeats them.

Production has two tables more than the workload's, which are always changed together: ``pair_one`` and ``pair_two``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.inject import Cluster
from tests.fix_postgres import Database, Server, _start
from tests.integration.conftest import Ended, Project, Running, filled, make_folder

__all__ = ["filled"]

_PAIRS = """
CREATE TABLE public.pair_one (id integer PRIMARY KEY, n bigint NOT NULL);
CREATE TABLE public.pair_two (id integer PRIMARY KEY, n bigint NOT NULL);
INSERT INTO public.pair_one SELECT g, 0 FROM generate_series(1, 20) g;
INSERT INTO public.pair_two SELECT g, 0 FROM generate_series(1, 20) g;
"""
_RULES = """
  public.pair_one: {columns: {id: keep, n: keep}}
  public.pair_two: {columns: {id: keep, n: keep}}
"""
_SLOT = "tezcat_test"


@dataclass
class Copy:
    """A project whose copy can be broken, and what both its servers say of it."""

    project: Project
    source: Cluster
    target: Cluster

    def production(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.project.source.execute(*statements)

    def copied(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.project.target.execute(*statements)

    # What goes on.

    @contextlib.asynccontextmanager
    async def streaming(self) -> AsyncIterator[Running]:
        """A stream that has begun, and that a SIGINT ends well when the block is over."""
        stream = await self.begin_stream()
        yield stream
        ended = await stream.send(signal.SIGINT)
        assert ended.code == 0, str(ended)
        assert "Traceback" not in ended.err, str(ended)

    async def begin_stream(self) -> Running:
        """Start a stream when nobody else is at work any more, and wait until it streams."""
        await self.until_nobody_streams()
        stream = self.project.start("stream", "--target", "test")
        await stream.until(self.runs, "the stream has begun")
        return stream

    async def caught_up(self, stream: Running) -> None:
        """The stream has come to where production is now."""
        await self.project.caught_up(stream)

    async def recovered(self, stream: Running, *words: str) -> None:
        """The stream has said that it was interrupted, with these words, and has caught up."""
        await self.caught_up(stream)
        said = [line for line in stream.err.read_text().splitlines() if "stream interrupted" in line]
        assert said, f"it said nothing of an interruption: {stream.err.read_text()}"
        assert all("again_in_seconds" in json.loads(line) for line in said)
        for word in words:
            assert any(word in line for line in said), f"{word!r} is not in {said}"

    async def until_nobody_streams(self) -> None:
        """Both servers have seen that whoever was at work has gone, and production has read what it was told last."""
        slots = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{_SLOT}'"
        await self.project.source.comes_to(slots, [(False,)])
        sessions = "SELECT 1 FROM pg_stat_activity WHERE application_name ~ '^tezcat ' AND datname = current_database()"
        await self.project.target.comes_to(sessions, [])

    def runs(self) -> bool:
        """A walsender sends from the slot, and the copy's progress names a runner that streams."""
        [[active]] = self.production(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{_SLOT}'")
        [[state]] = self.copied("SELECT state FROM tezcat.progress")
        return bool(active and state == "streaming")

    async def fails(self, stream: Running, *words: str) -> Ended:
        """The stream stops by itself with 3 or 4, says these words, and status says them too."""
        ended = await stream.wait()
        assert ended.code in {3, 4}, str(ended)
        assert "Traceback" not in ended.err, str(ended)
        [status] = (await self.project.succeed("status", "--json")).json
        assert status["state"] == "failed", status
        assert status["consistent"] is False
        for word in words:
            assert word in " ".join(ended.err.split()), str(ended)
            assert word in status["last_error"], status
        return ended

    async def assert_exact(self) -> None:
        """The stream catches up, the oracle finds the copy equal, and nothing is left of any complaint."""
        await self.project.catch_up()
        verdict = self.project.judge()
        assert not verdict.findings, str(verdict)
        [[state, error]] = self.copied("SELECT state, last_error FROM tezcat.progress")
        assert (state, error) == ("idle", None)

    # What breaks it.

    def cut(self, what: str) -> int:
        """Have production end its connections of ours: ``walsender`` or ``client backend``; how many there were."""
        [[count]] = self.production(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            f" WHERE application_name = 'tezcat stream' AND backend_type = '{what}' AND datname = current_database()"
        )
        return int(count)

    def cut_target(self) -> int:
        """The same of the target."""
        [[count]] = self.copied(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'tezcat stream' AND datname = current_database()"
        )
        return int(count)

    async def clone_again(self) -> None:
        """Make copy and slot anew, whatever became of them."""
        await self.project.prepare_production()
        await self.project.succeed("clone", "--source", "production", "--target", "test", "--confirm", "test")


@pytest.fixture(scope="session")
def source_server() -> Iterator[Server]:
    yield from _start(18)


@pytest.fixture(scope="session")
def target_server() -> Iterator[Server]:
    yield from _start(18)


@pytest.fixture(scope="session")
def _copy(
    source_server: Server,
    target_server: Server,
    filled: Callable[[Server], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Copy]:
    source, target = Database(source_server, "production"), Database(target_server, "target")
    source_server.execute(f"CREATE DATABASE production {filled(source_server)}")
    target_server.execute("CREATE DATABASE target")
    source.execute(*filter(str.strip, _PAIRS.split(";")))
    project = make_folder(tmp_path_factory.mktemp("faults") / "project", source, target)
    project.replace("rules.yaml", "tables:\n", f"tables:{_RULES}")

    async def make() -> None:
        await project.prepare_production()
        await project.succeed("clone", "--source", "production", "--target", "test")

    asyncio.run(make())
    yield Copy(project, Cluster(source_server), Cluster(target_server))
    project.kill()


@pytest.fixture
async def copy(_copy: Copy) -> AsyncIterator[Copy]:
    [[state]] = _copy.copied("SELECT state FROM tezcat.progress")
    if state != "idle":
        await _copy.clone_again()
    yield _copy
    _copy.project.kill()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """The test's own dice."""
    seed = os.environ.get("TEZCAT_FAULT_SEED") or str(random.randrange(1 << 32))
    sys.stdout.write(f"TEZCAT_FAULT_SEED={seed}\n")
    return random.Random(f"{seed} {request.node.name}")
