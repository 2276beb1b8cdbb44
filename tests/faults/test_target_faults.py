"""Whatever happens to the copy's server, the stream goes on by itself where it can, and the copy is exact.

There is no spill folder whose disk could be full: large transactions are applied as they come (decision 0002).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.conftest import Copy
from tests.faults.inject import Proxy
from tests.integration.conftest import Running

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_WAITS = """SELECT pid FROM pg_stat_activity
   WHERE application_name = 'tezcat stream' AND wait_event_type = 'Lock' AND datname = '{}'"""


async def test_the_target_crashes(copy: Copy, chance: random.Random) -> None:
    """What it had not written to its disk is gone from it, and comes again."""
    async with copy.streaming() as stream:
        for _ in range(2):
            async with copy.project.load(seed=chance.getrandbits(32)):
                await asyncio.sleep(chance.uniform(0.5, 1.5))
                async with copy.target.down("immediate"):
                    await asyncio.sleep(chance.uniform(0, 1))
            await copy.recovered(stream, "target")
    await copy.assert_exact()


async def test_the_target_cuts_the_connection(copy: Copy, chance: random.Random) -> None:
    """pg_terminate_backend in the middle of applying rolls that back, and it is done again."""
    async with copy.streaming() as stream:
        async with copy.project.load(seed=chance.getrandbits(32)):
            for _ in range(3):
                await asyncio.sleep(chance.uniform(0, 0.5))
                await stream.until(lambda: copy.runs() and copy.cut_target() == 1, "the stream is there to be cut")
                await asyncio.sleep(0.7)
        await copy.recovered(stream, "target")
    await copy.assert_exact()


@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])
async def test_the_target_falls_silent(copy: Copy, chance: random.Random, is_busy: bool) -> None:
    """A half-open connection is given up in bounded time, also by the target, so that the next one gets its turn."""
    project = copy.project
    async with Proxy(project.target.server.port) as proxy:
        direct = project.target.url
        project.replace("tezcat.yaml", direct, proxy.through(direct, project.target.server.port))
        try:
            async with copy.streaming() as stream:
                async with project.load(seed=chance.getrandbits(32)):
                    await asyncio.sleep(chance.uniform(0.3, 0.8))
                    if is_busy:
                        with proxy.silent():
                            await stream.says("stream interrupted")
                if not is_busy:
                    await copy.caught_up(stream)
                    with proxy.silent():
                        await stream.says("stream interrupted")
                await copy.recovered(stream, "target")
        finally:
            project.replace("tezcat.yaml", proxy.through(direct, project.target.server.port), direct)
    await copy.assert_exact()


@contextlib.contextmanager
def _session(copy: Copy) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Somebody who works with the copy, in one transaction that is rolled back."""
    with psycopg.connect(copy.project.target.url) as connection:
        connection.execute("SET transaction_timeout = 0; SET lock_timeout = 0; SET statement_timeout = 0")
        yield connection
        connection.rollback()


def _waits_for_a_lock(copy: Copy) -> list[tuple[int]]:
    """The stream's session in the target, if it waits for a lock. The copy's database may have short timeouts."""
    return copy.target.server.execute(_WAITS.format(copy.project.target.name))


async def _until_it_waits(copy: Copy, stream: Running) -> list[tuple[int]]:
    await stream.until(lambda: _waits_for_a_lock(copy) != [], "the stream waits for a lock")
    return _waits_for_a_lock(copy)


async def test_somebody_locks_a_table_of_the_copy(copy: Copy, chance: random.Random) -> None:
    """The stream waits as long as it takes, whatever timeouts the copy's database has, and goes on."""
    name = copy.project.target.name
    timeouts = ("lock_timeout", "statement_timeout", "transaction_timeout", "idle_session_timeout")
    copy.copied(*(f"ALTER DATABASE {name} SET {timeout} = 300" for timeout in timeouts))
    try:
        async with copy.streaming() as stream:
            with _session(copy) as other:
                other.execute("LOCK TABLE public.guests, public.page_views IN ACCESS EXCLUSIVE MODE")
                async with copy.project.load(seed=chance.getrandbits(32)):
                    session = await _until_it_waits(copy, stream)
                    await asyncio.sleep(1)
                assert _waits_for_a_lock(copy) == session
            await copy.caught_up(stream)
            assert "stream interrupted" not in stream.err.read_text()
    finally:
        copy.target.server.execute(*(f"ALTER DATABASE {name} RESET {timeout}" for timeout in timeouts))
    await copy.assert_exact()


async def test_a_deadlock_with_somebody_who_works_with_the_copy(copy: Copy, chance: random.Random) -> None:
    """The server picks the stream as the victim; it begins the transaction again."""
    async with copy.streaming() as stream:
        with _session(copy) as other, _session(copy) as third:
            other.execute("SET deadlock_timeout = '1min'")  # so that the stream is the one who finds it
            other.execute("LOCK TABLE public.pair_two IN ACCESS EXCLUSIVE MODE")
            third.execute("LOCK TABLE public.nothing IN ACCESS EXCLUSIVE MODE")
            with psycopg.connect(copy.project.source.url) as production:
                production.execute("UPDATE public.pair_one SET n = n + 1")
                production.execute("INSERT INTO public.nothing VALUES (1, 'x')")
                production.execute("UPDATE public.pair_two SET n = n + 1")
            await _until_it_waits(copy, stream)
            locking = asyncio.create_task(
                asyncio.to_thread(other.execute, "LOCK TABLE public.pair_one IN ACCESS EXCLUSIVE MODE")
            )
            await copy.project.target.comes_to(
                "SELECT count(*) FROM pg_locks WHERE relation = 'public.pair_one'::regclass AND NOT granted", [(1,)]
            )
            # A session looks for a deadlock once a wait. So the stream must begin to wait when the other one does.
            third.rollback()
            await locking
        async with copy.project.load(seed=chance.getrandbits(32)):
            await asyncio.sleep(0.5)
        await copy.recovered(stream, "deadlock")
    await copy.assert_exact()


async def test_a_second_runner(copy: Copy, chance: random.Random) -> None:
    """It is refused while the first one lives, and the first one is not disturbed."""
    async with copy.streaming() as stream:
        async with copy.project.load(seed=chance.getrandbits(32)):
            second = await copy.project.run("stream", "--target", "test")
        assert second.code == 3, str(second)
        assert "one runner at a time" in " ".join(second.err.split())
        await copy.caught_up(stream)
    await copy.assert_exact()


async def test_what_a_killed_stream_left_in_the_target(copy: Copy) -> None:
    """Its session there waits for a lock, and does not see that nobody is left; the next stream is not kept out."""
    stream = await copy.begin_stream()
    with _session(copy) as other:
        other.execute("LOCK TABLE public.pair_one IN ACCESS EXCLUSIVE MODE")
        copy.production("UPDATE public.pair_one SET n = n + 1", "UPDATE public.pair_two SET n = n + 1")
        left = await _until_it_waits(copy, stream)
        await stream.send(signal.SIGKILL)
        stream = copy.project.start("stream", "--target", "test")
        await stream.until(
            lambda: _waits_for_a_lock(copy) not in ([], left), "the next stream waits for the lock instead"
        )
    await copy.caught_up(stream)
    assert (await stream.send(signal.SIGINT)).code == 0
    await copy.assert_exact()


# ------------------------------------------------------------------------------------------------------ disk full


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 24 MB that PostgreSQL may write to."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = Path(tempfile.mkdtemp(prefix="tezcat-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


@pytest.fixture
async def on_small_disk(copy: Copy, small_disk: Path) -> AsyncIterator[Copy]:
    """The copy, with one table that lies on the small disk."""
    place = small_disk / "space"
    place.mkdir()
    owner = (copy.target.server.folder / "data").stat()
    os.chown(place, owner.st_uid, owner.st_gid)
    copy.copied(f"CREATE TABLESPACE small LOCATION '{place}'", "ALTER TABLE public.page_views SET TABLESPACE small")
    yield copy
    copy.copied("ALTER TABLE public.page_views SET TABLESPACE pg_default", "DROP TABLESPACE small")


async def test_the_targets_disk_is_full(on_small_disk: Copy, chance: random.Random) -> None:
    """The stream says so, keeps the copy at a transaction's end, and goes on when there is room again."""
    copy = on_small_disk
    # Outside the tablespace's folder, but on its disk.
    [[place]] = copy.copied("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'small'")
    ballast = Path(place).parent / "ballast"
    ballast.write_bytes(bytes(20 << 20))
    before = copy.copied("SELECT sum(n) FROM public.pair_one")
    async with copy.streaming() as stream:
        with psycopg.connect(copy.project.source.url) as production:
            production.execute("UPDATE public.pair_one SET n = n + 1")
            production.execute(
                "INSERT INTO public.page_views (path) SELECT repeat(md5(g::text), 10) FROM generate_series(1, 20000) g"
            )
        await stream.says("SQLSTATE 53100")
        assert copy.copied("SELECT sum(n) FROM public.pair_one") == before
        async with copy.project.load(seed=chance.getrandbits(32), truncates=False):
            await asyncio.sleep(0.5)
        ballast.unlink()
        await copy.recovered(stream, "disk is full")
        copy.production("TRUNCATE public.page_views")
    await copy.assert_exact()
