"""Tables of which only some rows are copied: a condition on production's values stays true while rows change."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from tests.fix_postgres import Database, Server
from tests.integration.conftest import Project

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SCHEMA = """
CREATE TABLE guests (id int PRIMARY KEY, name text);
CREATE TABLE orders (id int PRIMARY KEY, guest int REFERENCES guests, country text, total numeric(8,2), note text,
  n bigserial);
CREATE TABLE events (day date, kind text, who text, PRIMARY KEY (day, kind)) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE events_2 PARTITION OF events DEFAULT;
ALTER TABLE orders ALTER note SET STORAGE EXTERNAL;
INSERT INTO guests SELECT n, 'Guest ' || n FROM generate_series(1, 50) n;
INSERT INTO orders SELECT n, n % 50 + 1, (ARRAY['DE', 'FR', NULL])[n % 3 + 1], n, repeat('note ' || n, n % 600)
  FROM generate_series(1, 400) n;
INSERT INTO events SELECT date '2023-06-01' + n, 'kind ' || n % 3, 'Who ' || n FROM generate_series(1, 600) n;
"""
FULL = "ALTER TABLE orders REPLICA IDENTITY FULL"
RULES = """\
version: 1
tables:
  public.guests: {columns: {id: id.int, name: name.full}}
  public.orders:
    rows: {where: "country = 'DE' OR total > 300"}
    columns: {id: id.int, guest: id.int, country: keep, total: keep, note: text.lorem, n: keep}
  public.events:
    rows: {where: "day >= '2024-01-01'"}
    columns: {day: keep, kind: keep, who: name.full}
"""
CHOSEN = {
    "orders": ("n, country, total", "country = 'DE' OR total > 300"),
    "events": ("day, kind", "day >= '2024-01-01'"),
}
_CHANGES = [
    "UPDATE orders SET country = 'DE' WHERE id = %(id)s",
    "UPDATE orders SET country = 'FR' WHERE id = %(id)s",
    "UPDATE orders SET country = NULL, total = 1000 - total WHERE id = %(id)s",
    "UPDATE orders SET total = total + 1 WHERE id = %(id)s",
    "UPDATE orders SET id = -id WHERE id = %(id)s",
    "UPDATE orders SET note = repeat('new ', 2000) WHERE id %% 7 = %(id)s %% 7",
    "DELETE FROM orders WHERE id = %(id)s",
    "INSERT INTO orders SELECT %(id)s, 1, 'DE', 1, repeat('x', %(id)s * 9) ON CONFLICT DO NOTHING",
    "INSERT INTO orders SELECT %(id)s, 2, 'FR', 1, NULL ON CONFLICT DO NOTHING",
    "UPDATE events SET day = day + 400 WHERE day = date '2023-06-01' + %(id)s",
    "UPDATE events SET who = who || '!' WHERE day = date '2023-06-01' + %(id)s",
    "DELETE FROM events WHERE day = date '2023-06-01' + %(id)s",
    "INSERT INTO events VALUES (date '2023-09-01' + %(id)s, 'new', 'Somebody') ON CONFLICT DO NOTHING",
]
# What sessions that meet may get. A row that another session moves to another partition cannot be waited for.
_CONFLICTS = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


@pytest.fixture
def production(server18: Server, make_database: Callable[..., Database]) -> Database:
    database = make_database(server18)
    database.execute(*filter(None, map(str.strip, SCHEMA.split(";"))))
    return database


@pytest.fixture
async def chosen(project: Project) -> Project:
    """A project whose rules choose rows, and a production that sends what that hangs on."""
    project.source.execute(FULL)
    project.rules.write_text(RULES)
    await project.prepare_production()
    return project


@contextlib.asynccontextmanager
async def _load(database: Database, seed: int) -> AsyncIterator[None]:
    stop = asyncio.Event()

    async def work(seed: int) -> None:
        rng = random.Random(seed)
        async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
            while not stop.is_set():
                with contextlib.suppress(*_CONFLICTS):
                    async with connection.transaction():
                        for _ in range(rng.randrange(1, 6)):
                            await connection.execute(rng.choice(_CHANGES).encode(), {"id": rng.randrange(1, 450)})
                await asyncio.sleep(0.002)

    tasks = [asyncio.create_task(work(seed * 10 + number)) for number in range(2)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


def _assert_chosen(project: Project) -> None:
    """The copy has just the rows that production's own server chooses."""
    for table, (columns, condition) in CHOSEN.items():
        there = project.source.execute(f"SELECT {columns} FROM {table} WHERE {condition} ORDER BY {columns}")
        here = project.target.execute(f"SELECT {columns} FROM {table} ORDER BY {columns}")
        assert there == here, table
        assert project.source.execute(f"SELECT count(*) FROM {table} WHERE ({condition}) IS NOT TRUE")[0][0] > 20


async def test_rows_enter_and_leave_while_production_works(chosen: Project) -> None:
    """Cloned under load, streamed, killed and streamed on: the copy is the chosen rows at every end."""
    async with _load(chosen.source, seed=1):
        await chosen.succeed("clone", "--source", "production", "--target", "test")
        stream = chosen.start("stream", "--target", "test")
        await stream.streams()
        await asyncio.sleep(2)
        await stream.send(signal.SIGKILL)
        stream = chosen.start("stream", "--target", "test")
        await stream.streams()
        await asyncio.sleep(2)
    await stream.send(signal.SIGTERM)
    await chosen.catch_up()
    _assert_chosen(chosen)
    verified = await chosen.run("verify", "--target", "test", "--json")
    assert verified.code == 0, str(verified)
    assert verified.json["equal"] is True


async def test_verify_finds_a_row_that_was_not_chosen(chosen: Project) -> None:
    """One that is too many, and one that lacks."""
    await chosen.succeed("clone", "--source", "production", "--target", "test")
    chosen.target.execute(
        "SET session_replication_role = replica",
        "INSERT INTO orders (id, country, total, n) VALUES (-7, 'FR', 1, -7)",
        "DELETE FROM orders WHERE n = (SELECT min(n) FROM orders WHERE n > 0)",
    )
    verified = await chosen.run("verify", "--target", "test", "--json")
    assert verified.code == 1, str(verified)
    (found,) = [each for each in verified.json["tables"] if each["table"] == "public.orders"]
    assert (found["missing"], found["extra"]) == (1, 1)


async def test_another_condition_is_copied_again(chosen: Project) -> None:
    """A changed choice is a changed rule: the diff names it, and just that table is copied again."""
    await chosen.succeed("clone", "--source", "production", "--target", "test")
    chosen.replace("rules.yaml", "country = 'DE' OR total > 300", "country = 'FR'")
    told = await chosen.run("rules", "diff", "--target", "test", "--json")
    assert [(each["table"], each["rows_changed"]) for each in told.json["tables"]] == [("public.orders", True)]
    async with _load(chosen.source, seed=2):
        await chosen.succeed("clone", "--resync", "--target", "test")
    await chosen.catch_up()
    assert chosen.target.execute("SELECT DISTINCT country FROM orders") == [("FR",)]
    verified = await chosen.run("verify", "--target", "test", "--json")
    assert verified.code == 0, str(verified)


async def test_what_a_stream_could_not_tell_is_refused_first(project: Project) -> None:
    """Without the row before an update, nobody knows whether it was copied; without a stream nobody needs to."""
    project.rules.write_text(RULES)
    await project.prepare_production()
    refused = await project.run("clone", "--source", "production", "--target", "test")
    assert refused.code == 4, str(refused)
    assert "ALTER TABLE public.orders REPLICA IDENTITY FULL;" in refused.err
    assert "public.events" not in refused.err
    # Published with such an identity, generated columns would have production refuse every update.
    project.source.execute("ALTER TABLE orders ADD doubled numeric GENERATED ALWAYS AS (total * 2) STORED")
    refused = await project.run("clone", "--source", "production", "--target", "test")
    assert refused.code == 4, str(refused)
    assert "ALTER TABLE" not in refused.err
    assert "generated columns rule out FULL" in " ".join(refused.err.split())
    await project.succeed("clone", "--source", "production", "--target", "test", "--once")
    _assert_chosen(project)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("country = 'DE' OR total > 300", "contry = 'DE'", "Did you mean country?"),
        ("country = 'DE' OR total > 300", "total > now()", "is not supported"),
    ],
)
async def test_bad_conditions_are_refused(chosen: Project, old: str, new: str, words: str) -> None:
    """One clear error with its place, before anything is made."""
    chosen.replace("rules.yaml", old, new)
    refused = await chosen.run("clone", "--source", "production", "--target", "test")
    assert refused.code == 2, str(refused)
    assert words in refused.err
    assert "rules.yaml:" in refused.err
