"""A reader of the copy never sees half a transaction of production."""

from __future__ import annotations

import asyncio
import itertools
import random
import time

import psycopg
import pytest

from tests.faults.conftest import Copy

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_READS = 10_000
_STATES = 20
_MOST_SECONDS = 120
_ONE = "SELECT sum(n), count(*) FROM public.pair_one"
_TWO = "SELECT sum(n), count(*) FROM public.pair_two"


async def test_two_tables_that_change_together_are_never_seen_apart(copy: Copy, chance: random.Random) -> None:
    """10,000 reads of both or more, by one statement or by two in one snapshot, while the stream applies as fast as it
    can."""
    stop = asyncio.Event()
    copy.production("UPDATE public.pair_one o SET n = t.n FROM public.pair_two t WHERE o.id = t.id")
    await copy.project.catch_up()
    async with copy.streaming() as stream:
        async with copy.project.load(seed=chance.getrandbits(32), sessions=1, pause=0.02):
            writing = asyncio.create_task(_change_together(copy, chance, stop))
            torn, states = await asyncio.to_thread(_read_together, copy)
            stop.set()
            await writing
        await copy.caught_up(stream)
    assert torn == 0
    assert states > _STATES, "the copy hardly moved while it was read"
    await copy.assert_exact()


async def _change_together(copy: Copy, chance: random.Random, stop: asyncio.Event) -> None:
    """Change both tables alike in each transaction: by rows, all of them, by deleting and inserting."""
    async with await psycopg.AsyncConnection.connect(copy.project.source.url) as connection:
        while not stop.is_set():
            number, one_by_one = chance.randint(1, 20), chance.random() < 0.8
            for table in chance.sample(("public.pair_one", "public.pair_two"), 2):
                where = f"WHERE id = {number}" if one_by_one else ""
                await connection.execute(f"UPDATE {table} SET n = n + 1 {where}".encode())
                if number % 5 == 0:
                    await connection.execute(f"DELETE FROM {table} WHERE id > 20".encode())
                    await connection.execute(f"INSERT INTO {table} VALUES (20 + {number}, {number})".encode())
            await connection.commit()
            await asyncio.sleep(0)


def _read_together(copy: Copy) -> tuple[int, int]:
    """How many reads saw the tables apart, and how many different states were seen."""
    torn, seen = 0, set()
    deadline = time.monotonic() + _MOST_SECONDS
    with psycopg.connect(copy.project.target.url, autocommit=True) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for number in itertools.count():
            # The stream may have had little of the machine meanwhile.
            if number >= _READS and (len(seen) > _STATES or time.monotonic() > deadline):
                break
            if number % 2:
                [one, two] = connection.execute(f"{_ONE} UNION ALL {_TWO}").fetchall()
            else:
                with connection.transaction():
                    one, two = connection.execute(_ONE).fetchone(), connection.execute(_TWO).fetchone()
            torn += one != two
            seen.add(one)
    return torn, len(seen)
