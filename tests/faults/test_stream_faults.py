"""Whatever happens to the stream or to production, the stream goes on by itself where it can, and the copy is exact.

Production works at random all the time. Each test ends with the oracle, which trusts nothing that the product says.
"""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from capture.model import Interrupted
from capture.source import SourceAddress, connect
from tests.faults.conftest import Copy
from tests.faults.inject import Proxy
from tests.integration.conftest import PASSWORD

pytestmark = [pytest.mark.integration, pytest.mark.slow]


async def test_kill_at_any_moment(copy: Copy, chance: random.Random) -> None:
    """kill -9 loses nothing and applies nothing twice; the next stream starts at once, whatever the last one left."""
    async with copy.project.load(seed=chance.getrandbits(32)):
        for _ in range(3):
            stream = copy.project.start("stream", "--target", "test")
            await asyncio.sleep(chance.uniform(0.7, 2))
            ended = await stream.send(signal.SIGKILL)
            assert ended.code == -signal.SIGKILL, str(ended)
    await copy.assert_exact()


async def test_kill_between_the_copys_commit_and_production_knowing_of_it(copy: Copy, chance: random.Random) -> None:
    """What the copy holds and the slot does not know of comes again, and is skipped."""
    between = 0
    async with copy.project.load(seed=chance.getrandbits(32)):
        for _ in range(12):
            stream = await copy.begin_stream()
            await asyncio.sleep(chance.uniform(0, 0.5))
            await stream.until(lambda: _unacknowledged(copy) > 0, "the copy is ahead of the slot")
            await stream.send(signal.SIGKILL)
            # What was on its way to production when the signal was comes there yet.
            await copy.until_nobody_streams()
            between += _unacknowledged(copy) > 0
            if between == 2:
                break
    assert between == 2
    await copy.assert_exact()


def _unacknowledged(copy: Copy) -> int:
    """How many bytes of WAL the copy is ahead of the slot."""
    [[confirmed]] = copy.production("SELECT confirmed_flush_lsn::text FROM pg_replication_slots")
    [[ahead]] = copy.copied(f"SELECT applied_lsn - '{confirmed}' FROM tezcat.progress")
    return int(ahead)


async def test_twenty_clean_stops_under_load(copy: Copy, chance: random.Random) -> None:
    """SIGINT ends the stream with 0 after the transaction in hand, also when it has hardly begun."""
    async with copy.project.load(seed=chance.getrandbits(32), sessions=1, pause=0.03):
        for _ in range(20):
            stream = await copy.begin_stream()
            await asyncio.sleep(chance.choice((0, 0.05, 0.2)))
            ended = await stream.send(signal.SIGINT)
            assert ended.code == 0, str(ended)
            assert "stream interrupted" not in ended.err
    await copy.assert_exact()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_production_restarts(copy: Copy, chance: random.Random, mode: str) -> None:
    """Stopped or crashed: the stream waits for it, and goes on from the copy's position, not from the slot's."""
    async with copy.streaming() as stream:
        async with copy.project.load(seed=chance.getrandbits(32)):
            await asyncio.sleep(chance.uniform(0.3, 1))
        async with copy.source.down(mode):
            await asyncio.sleep(chance.uniform(0, 1))
        await copy.recovered(stream, "production")
    await copy.assert_exact()


async def test_starts_while_production_is_down(copy: Copy) -> None:
    """A stream that is started together with its servers waits for them."""
    async with copy.source.down("fast"):
        stream = copy.project.start("stream", "--target", "test")
        await stream.says("again_in_seconds")
    await copy.recovered(stream, "nothing answers")
    await stream.send(signal.SIGINT)
    await copy.assert_exact()


@pytest.mark.parametrize("what", ["walsender", "client backend"])
async def test_production_cuts_a_connection(copy: Copy, chance: random.Random, what: str) -> None:
    """pg_terminate_backend of either of our sessions there is one more interruption."""
    async with copy.streaming() as stream:
        async with copy.project.load(seed=chance.getrandbits(32)):
            for _ in range(2):
                await asyncio.sleep(chance.uniform(0, 0.5))
                await stream.until(lambda: copy.runs() and copy.cut(what) == 1, "the stream is there to be cut")
                # Until it has noticed, and is back.
                await asyncio.sleep(0.7)
        await copy.recovered(stream, "production")
    await copy.assert_exact()


@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])
async def test_production_falls_silent(copy: Copy, chance: random.Random, is_busy: bool) -> None:
    """Half-open connections, which nobody closes, are given up in bounded time, whether rows were under way or not."""
    source = copy.project.source
    async with Proxy(source.server.port) as proxy:
        direct = copy.project.environment["PRODUCTION_URL"]
        copy.project.environment["PRODUCTION_URL"] = proxy.through(direct, source.server.port)
        try:
            async with copy.streaming() as stream:
                async with copy.project.load(seed=chance.getrandbits(32)):
                    await asyncio.sleep(chance.uniform(0.5, 1))
                if not is_busy:
                    await copy.caught_up(stream)
                with proxy.silent():
                    if is_busy:
                        async with copy.project.load(seed=chance.getrandbits(32)):
                            await asyncio.sleep(0.5)
                    await stream.says("has not answered")
                await copy.recovered(stream, "has not answered")
        finally:
            copy.project.environment["PRODUCTION_URL"] = direct
    await copy.assert_exact()


async def test_a_question_to_production_is_not_waited_for_for_ever(copy: Copy) -> None:
    """The server answers within its statement_timeout, if only with an error; later, the connection is dead."""
    source = copy.project.source
    async with Proxy(source.server.port) as proxy:
        url = proxy.through(source.url_as(copy.project.role, PASSWORD), source.server.port)
        async with await connect(SourceAddress.parse(url), purpose="test", statement_timeout_ms=2000) as connection:
            with proxy.silent(), pytest.raises(Interrupted, match="has not answered"):
                await connection.fetch("SELECT 1")


async def test_timeouts_that_production_has_for_our_role(copy: Copy, chance: random.Random) -> None:
    """The role's and the database's own timeouts are not those of our sessions."""
    role = copy.project.role
    names = ("statement_timeout", "transaction_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout")
    copy.production(*(f'ALTER ROLE "{role}" SET {name} = 300' for name in names))
    try:
        async with copy.streaming() as stream:
            async with copy.project.load(seed=chance.getrandbits(32)):
                await asyncio.sleep(1.5)
            await asyncio.sleep(1)
            assert "stream interrupted" not in stream.err.read_text()
    finally:
        copy.production(f'ALTER ROLE "{role}" RESET ALL')
    await copy.assert_exact()
