"""Masks that read the row, where updates leave large values out: with the row before all is known, without it the
stream stops rather than guess."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from tests.fix_postgres import Database, Server
from tests.integration.conftest import Project

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SCHEMA = """
CREATE TABLE people (id int PRIMARY KEY, staff boolean, name text, bio text, visits int DEFAULT 0);
ALTER TABLE people ALTER bio SET STORAGE EXTERNAL;
INSERT INTO people SELECT n, n % 3 = 0, 'Person ' || n, repeat('life ' || n || ' ', 100 * (n % 8))
  FROM generate_series(1, 200) n;
"""
RULES = """\
version: 1
tables:
  public.people:
    columns:
      id: keep
      staff: keep
      name: {mask: name.full, when: "bio IS NOT NULL AND length(bio) > 1000"}
      bio: {mask: text.lorem, when: NOT staff}
      visits: keep
"""
_CHANGES = [
    "UPDATE people SET visits = visits + 1 WHERE id = %s",
    "UPDATE people SET staff = NOT staff WHERE id = %s",
    "UPDATE people SET staff = NULL WHERE id = %s",
    "UPDATE people SET name = name || '!' WHERE id = %s",
    "UPDATE people SET bio = repeat('other RANDOM ', 400) WHERE id = %s",
    "UPDATE people SET bio = 'short RANDOM' WHERE id = %s",
    "UPDATE people SET bio = NULL WHERE id = %s",
    "DELETE FROM people WHERE id = %s",
    "INSERT INTO people SELECT i, i %% 2 = 0, 'P', repeat('x ', 999) FROM (VALUES (%s)) v(i) ON CONFLICT DO NOTHING",
]


@pytest.fixture
def production(server18: Server, make_database: Callable[..., Database]) -> Database:
    database = make_database(server18)
    database.execute(*filter(None, map(str.strip, SCHEMA.split(";"))))
    return database


@contextlib.asynccontextmanager
async def _load(database: Database, seed: int) -> AsyncIterator[None]:
    stop = asyncio.Event()

    async def work() -> None:
        rng = random.Random(seed)
        async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
            while not stop.is_set():
                person = rng.randrange(1, 240)
                changed = rng.choice(_CHANGES).replace("RANDOM", f"{rng.random()}")
                await connection.execute(changed.encode(), (person,))

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        stop.set()
        await task


async def test_the_row_before_fills_what_was_not_sent(project: Project) -> None:
    """Values that pass are just those of rows of which the condition is false; masked ones are the same for all equal
    values, whether the snapshot or an update brought them."""
    project.source.execute("ALTER TABLE people REPLICA IDENTITY FULL")
    project.rules.write_text(RULES)
    await project.prepare_production()
    async with _load(project.source, seed=1):
        await project.succeed("clone", "--source", "production", "--target", "test")
        await asyncio.sleep(2)
    await project.catch_up()
    before, after = (
        {row[0]: row[1:] for row in database.execute("SELECT id, staff, name, bio, visits FROM people")}
        for database in (project.source, project.target)
    )
    assert before.keys() == after.keys()
    masked: dict[str, set[str]] = {}
    for key, (staff, name, bio, visits) in before.items():
        copied = after[key]
        assert (copied[0], copied[3]) == (staff, visits)
        keeps_name = bio is None or len(bio) <= 1000
        assert (copied[1] == name) is keeps_name
        if staff or not bio:
            assert copied[2] == bio
        else:
            assert copied[2] != bio
            masked.setdefault(bio, set()).add(copied[2])
    assert len(masked) > 20
    assert all(len(values) == 1 for values in masked.values())
    verified = await project.run("verify", "--target", "test", "--json")
    assert verified.code == 0, str(verified)


async def test_without_the_row_before_the_stream_stops(project: Project) -> None:
    """It names the table, the column and what to do, and nothing wrong was applied."""
    project.rules.write_text(RULES)
    await project.prepare_production()
    await project.succeed("clone", "--source", "production", "--target", "test")
    project.source.execute("UPDATE people SET visits = 7 WHERE id = 1", "UPDATE people SET visits = 8 WHERE id = 7")
    ended = await project.run("stream", "--target", "test", "--until-caught-up")
    assert ended.code == 4, str(ended)
    assert "public.people did not send bio" in ended.err
    assert "REPLICA IDENTITY FULL" in ended.err
    assert project.target.execute("SELECT visits FROM people WHERE id = 7") == [(0,)]
