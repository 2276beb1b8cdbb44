"""What becomes of the slot and the publication: what passes is waited for, what loses changes stops the stream.

A stream that stops says what to do, and its copy stands at a transaction's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import pq

from tests.faults.conftest import Copy

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_SLOT = "tezcat_test"


@contextlib.asynccontextmanager
async def _somebody_streams(copy: Copy) -> AsyncIterator[None]:
    """Somebody else reads from our slot, and acknowledges nothing, for the length of a block."""
    await copy.until_nobody_streams()
    connection = pq.PGconn.connect(f"{copy.project.source.url}?replication=database".encode())
    command = f"START_REPLICATION SLOT {_SLOT} LOGICAL 0/0 (proto_version '1', publication_names 'tezcat')"
    try:
        assert connection.exec_(command.encode()).status == pq.ExecStatus.COPY_BOTH, connection.error_message
        yield
    finally:
        connection.finish()


async def test_somebody_else_streams_from_the_slot(copy: Copy, chance: random.Random) -> None:
    """It may be what a killed stream left, so it is waited for, and told."""
    async with copy.project.load(seed=chance.getrandbits(32)), _somebody_streams(copy):
        await asyncio.sleep(0.5)
        stream = copy.project.start("stream", "--target", "test")
        await stream.says("in use by the server's process")
    await copy.recovered(stream, "in use by the server's process")
    assert (await stream.send(signal.SIGINT)).code == 0
    await copy.assert_exact()


async def test_the_slot_is_dropped_and_made_again(copy: Copy, chance: random.Random) -> None:
    """Gone, or made again at a later position: either way changes are lost, and the stream does not go on."""
    stream = await copy.begin_stream()
    async with copy.project.load(seed=chance.getrandbits(32)):
        await asyncio.sleep(chance.uniform(0.3, 1))
        await stream.until(lambda: _drop_slot(copy), "the slot is dropped")
        ended = await copy.fails(stream, _SLOT)
    assert "clone again" in " ".join(ended.err.split()).lower()
    copy.production(f"SELECT pg_create_logical_replication_slot('{_SLOT}', 'pgoutput')")
    ended = await copy.fails(copy.project.start("stream", "--target", "test"), _SLOT, "made anew")
    assert "tezcat clone --source production --target test" in " ".join(ended.err.split())
    await copy.clone_again()
    await copy.assert_exact()


def _drop_slot(copy: Copy) -> bool:
    """Whether the slot could be dropped before the stream had it again."""
    copy.cut("walsender")
    with contextlib.suppress(psycopg.errors.ObjectInUse):
        copy.production(f"SELECT pg_drop_replication_slot('{_SLOT}')")
        return True
    return False


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["DROP PUBLICATION tezcat"], "publi"),
        (
            [
                "ALTER PUBLICATION tezcat DROP TABLE ONLY public.pair_two",
                "UPDATE public.pair_two SET n = n + 1",
                "ALTER PUBLICATION tezcat ADD TABLE ONLY public.pair_two",
            ],
            "no longer publishes public.pair_two",
        ),
    ],
    ids=["dropped", "without a table for a while"],
)
async def test_the_publication_changes_while_the_stream_runs(
    copy: Copy, chance: random.Random, statements: list[str], says: str
) -> None:
    """Production says nothing of what it does not send; the stream notices, and stops."""
    stream = await copy.begin_stream()
    async with copy.project.load(seed=chance.getrandbits(32)):
        await asyncio.sleep(chance.uniform(0, 0.5))
        copy.production(*statements)
        ended = await copy.fails(stream, says)
    assert "tezcat source sql" in " ".join(ended.err.split())
