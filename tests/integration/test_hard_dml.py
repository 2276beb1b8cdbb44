"""Keys and unique values that wander between rows, in every order in which a transaction may do it.

The applier takes the changes of many transactions together. So the same operations come alone, while a stream runs,
and hundreds of them interleaved in one window, after a stream was away. Each test ends with ``verify`` and the oracle.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable
from typing import Final

import psycopg
import pytest

from tests.fix_postgres import Database, Server
from tests.integration.conftest import MakeProject, Project, Running
from tests.integration.hard_dml import KEYED, KEYS, MASKS, OPERATIONS, SCHEMA, Session, work
from tests.integration.scenes import cloned

pytestmark = [pytest.mark.integration, pytest.mark.slow]


async def _copy(make_project: MakeProject, server: Server, make_database: Callable[..., Database]) -> Project:
    production = make_database(server)
    project = await cloned(make_project, production, make_database(server), SCHEMA, MASKS)
    with psycopg.connect(production.url) as connection:
        session = Session(connection, random.Random("first rows"))
        for table in (*KEYED, "always"):
            for key in range(1, KEYS, 2):
                session.insert(table, key)
    return project


async def _follow(copy: Project) -> Running:
    """Start a stream, and wait until it follows."""
    stream = copy.start("stream", "--target", "test")
    slots = "SELECT active FROM pg_replication_slots WHERE slot_name = 'tezcat_test'"
    await stream.until(lambda: copy.source.execute(slots) == [(True,)], "the stream follows")
    return stream


# ------------------------------------------------------------------------------------------------------- tests


async def test_many_transactions_in_one_window(
    make_project: MakeProject, server18: Server, make_database: Callable[..., Database]
) -> None:
    """Hundreds of transactions that wait for the stream, and are applied together."""
    copy = await _copy(make_project, server18, make_database)
    committed = work(copy.source, "window", 500)
    assert committed.keys() == {operation.__name__ for operation in OPERATIONS}
    await copy.assert_exact()


async def test_transactions_while_the_stream_follows(
    make_project: MakeProject, server16: Server, make_database: Callable[..., Database]
) -> None:
    """The same, applied as they come: alone, or a few together."""
    copy = await _copy(make_project, server16, make_database)
    stream = await _follow(copy)
    for part in range(15):
        await asyncio.to_thread(work, copy.source, f"following {part}", 12)
        await asyncio.sleep(0.1)
    ended = await stream.send(signal.SIGINT)
    assert ended.code == 0, str(ended)
    await copy.assert_exact()


_NUMBERS: Final = """
CREATE TABLE public.numbers (id integer PRIMARY KEY, word text CONSTRAINT numbers_word UNIQUE, n integer DEFAULT 0);
INSERT INTO public.numbers SELECT n, 'word ' || n FROM generate_series(1, 20) n;
"""
# Each turn of the loop is a subtransaction; every other one is undone.
_SUBTRANSACTIONS: Final = """
DO $$
BEGIN
  FOR i IN 1..10000 LOOP
    BEGIN
      INSERT INTO public.numbers VALUES (1000 + i, 'sub ' || i);
      UPDATE public.numbers SET n = n + 1 WHERE id = i % 20 + 1;
      DELETE FROM public.numbers WHERE id = 1000 + i - 50;
      IF i % 2 = 0 THEN
        RAISE EXCEPTION 'undone';
      END IF;
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
  END LOOP;
END $$"""


async def test_subtransactions_and_large_transactions_that_are_undone(
    make_project: MakeProject, server18: Server, make_database: Callable[..., Database]
) -> None:
    """10,000 subtransactions, half of them undone, and transactions that outgrow production's memory for decoding
    while the stream follows: of what is rolled back nothing is seen, and what commits is whole."""
    copy = await cloned(make_project, make_database(server18), make_database(server18), _NUMBERS)
    copy.source.execute(f"ALTER ROLE {copy.role} SET logical_decoding_work_mem = '64kB'")
    copy.source.execute(_SUBTRANSACTIONS)
    await copy.catch_up()
    stream = await _follow(copy)
    with psycopg.connect(copy.source.url) as large, psycopg.connect(copy.source.url) as undone:
        for connection, start in ((large, 100_000), (undone, 200_000)):
            connection.execute(
                "INSERT INTO public.numbers SELECT %s + n, 'large ' || %s + n FROM generate_series(1, 5000) n",
                (start, start),
            )
            connection.execute("UPDATE public.numbers SET n = n + 1 WHERE id > %s", (start,))
        copy.source.execute("UPDATE public.numbers SET word = 'meanwhile' WHERE id = 1")
        await asyncio.sleep(1)
        undone.rollback()
        large.execute("SAVEPOINT one")
        large.execute("DELETE FROM public.numbers WHERE id > 100000")
        large.execute("ROLLBACK TO one")
        large.execute("DELETE FROM public.numbers WHERE id > 102000")
        large.commit()
    await asyncio.sleep(1)
    ended = await stream.send(signal.SIGINT)
    assert ended.code == 0, str(ended)
    await copy.assert_exact()


async def test_a_row_that_somebody_wrote_by_hand_stops_the_stream(
    make_project: MakeProject, server18: Server, make_database: Callable[..., Database]
) -> None:
    """Exit code 4, with table and constraint and never the value; nothing of the transaction is applied, and when the
    row is gone the stream goes on. So whether one row comes or many."""
    copy = await cloned(make_project, make_database(server18), make_database(server18), _NUMBERS)
    for start, count in ((1000, 1), (2000, 200)):
        copy.target.execute(f"INSERT INTO public.numbers VALUES (-1, 'Kan4r1e {start + 1}')")
        copy.source.execute(
            "INSERT INTO public.numbers "
            f"SELECT {start} + n, 'Kan4r1e ' || {start} + n FROM generate_series(1, {count}) n"
        )
        before = copy.target.execute("SELECT id, word, n FROM public.numbers ORDER BY id")
        ended = await copy.run("stream", "--target", "test", "--until-caught-up")
        assert ended.code == 4, str(ended)
        assert "public.numbers" in ended.err
        assert "numbers_word" in ended.err
        assert "Kan4r1e" not in ended.err
        assert copy.target.execute("SELECT id, word, n FROM public.numbers ORDER BY id") == before
        copy.target.execute("DELETE FROM public.numbers WHERE id = -1")
        await copy.catch_up()
        assert copy.target.execute("SELECT max(id) FROM public.numbers") == [(start + count,)]
