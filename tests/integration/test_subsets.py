"""Subsets that are followed along foreign keys, in circles too: what is copied at first, and what enters and leaves."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import psycopg
import pytest

from capture.replication import ReplicationSession
from sink import hold
from sink.target import connect
from tests.fix_copy import target_address
from tests.fix_postgres import Database, Server
from tests.fix_source import source_address
from tests.integration.conftest import Project
from tests.integration.subset_oracle import Rows, judge

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SCHEMA = """
CREATE TABLE hotels (code text PRIMARY KEY, country text, n bigserial UNIQUE);
CREATE TABLE guests (id int PRIMARY KEY, name text, country text, best_friend int, n bigserial UNIQUE);
ALTER TABLE guests ADD FOREIGN KEY (best_friend) REFERENCES guests ON UPDATE CASCADE ON DELETE SET NULL;
CREATE TABLE orders (guest int REFERENCES guests ON UPDATE CASCADE ON DELETE CASCADE, number int, total int,
  hotel text REFERENCES hotels ON UPDATE CASCADE ON DELETE SET NULL, note text, n bigserial UNIQUE,
  PRIMARY KEY (guest, number));
CREATE TABLE items (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), guest int, number int, amount int,
  n bigserial UNIQUE, FOREIGN KEY (guest, number) REFERENCES orders ON UPDATE CASCADE ON DELETE CASCADE);
CREATE TABLE teams (id int PRIMARY KEY, lead int, size int, n bigserial UNIQUE);
CREATE TABLE staff (id int PRIMARY KEY, name text, team int REFERENCES teams ON DELETE SET NULL,
  manager int REFERENCES staff ON DELETE SET NULL, grade int, n bigserial UNIQUE);
ALTER TABLE teams ADD FOREIGN KEY (lead) REFERENCES staff ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE visits (day date, place int, host int REFERENCES staff ON DELETE CASCADE, n bigserial,
  PRIMARY KEY (day, place)) PARTITION BY RANGE (day);
CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE visits_2 PARTITION OF visits DEFAULT;
CREATE TABLE notes (id int PRIMARY KEY, guest int REFERENCES guests ON UPDATE CASCADE ON DELETE CASCADE, text text,
  n bigserial UNIQUE);
CREATE TABLE logs (id int PRIMARY KEY, guest int REFERENCES guests ON UPDATE CASCADE ON DELETE CASCADE,
  n bigserial UNIQUE);
CREATE TABLE rates (id int PRIMARY KEY, price numeric, n bigserial UNIQUE);
INSERT INTO hotels SELECT 'H' || n, (ARRAY['DE', 'FR', 'PT'])[n % 3 + 1] FROM generate_series(1, 30) n;
INSERT INTO guests SELECT n, 'Guest ' || n, (ARRAY['DE', 'FR', 'PT', NULL])[n % 4 + 1] FROM generate_series(1, 80) n;
UPDATE guests SET best_friend = id * 7 % 80 + 1 WHERE id % 5 = 0;
INSERT INTO orders SELECT n % 80 + 1, n / 80, n % 100, nullif('H' || (n % 31), 'H0'), repeat('x', n * 7)
  FROM generate_series(0, 399) n;
INSERT INTO items (guest, number, amount) SELECT guest, number, total % 10 FROM orders, generate_series(1, 2);
INSERT INTO teams SELECT n, NULL, n % 7 FROM generate_series(1, 20) n;
INSERT INTO staff SELECT n, 'Name ' || n, nullif(n % 21, 0), nullif(n / 2, 0), n % 9 FROM generate_series(1, 120) n;
UPDATE teams SET lead = id * 5;
INSERT INTO visits SELECT date '2024-06-01' + n * 3, n % 4, n % 120 + 1 FROM generate_series(1, 200) n;
INSERT INTO notes SELECT n, n * 11 % 80 + 1, 'Note ' || n FROM generate_series(1, 12) n;
INSERT INTO logs SELECT n, n FROM generate_series(1, 80) n
"""
RULES = """\
version: 1
tables:
  public.hotels:
    rows: {where: "country = 'PT'"}
    columns: {code: id.secret, country: keep, n: keep}
  public.guests:
    rows: {where: "country = 'DE'"}
    columns: {id: id.int, name: name.full, country: keep, best_friend: id.int, n: keep}
  public.orders:
    rows: {with: public.guests}
    columns: {guest: id.int, number: keep, total: keep, hotel: id.secret, note: text.lorem, n: keep}
  public.items:
    rows: {where: "amount > 3", with: [public.orders]}
    columns: {id: id.uuid, guest: id.int, number: keep, amount: keep, n: keep}
  public.teams:
    rows: {with: public.staff}
    columns: {id: keep, lead: id.int, size: keep, n: keep}
  public.staff:
    rows: {where: "grade = 8"}
    columns: {id: id.int, name: name.full, team: keep, manager: id.int, grade: keep, n: keep}
  public.visits:
    rows: {where: "place <> 2", with: public.staff}
    columns: {day: keep, place: keep, host: id.int, n: keep}
  public.notes: {columns: {id: id.int, guest: id.int, text: text.lorem, n: keep}}
  public.logs: {rows: none}
  public.rates: {columns: {id: keep, price: keep, n: keep}}
"""
ROWS = {
    "hotels": Rows("country = 'PT'"),
    "guests": Rows("country = 'DE'"),
    "orders": Rows(comes_with=("guests",)),
    "items": Rows("amount > 3", ("orders",)),
    "teams": Rows(comes_with=("staff",)),
    "staff": Rows("grade = 8"),
    "visits": Rows("place <> 2", ("staff",)),
    "notes": Rows(is_whole=True),
    "logs": Rows(is_empty=True),
    "rates": Rows(is_whole=True),
}
_CHANGES = [
    "UPDATE guests SET country = 'DE' WHERE id = %(id)s",
    "UPDATE guests SET country = 'FR' WHERE id %% 9 = %(id)s %% 9",
    "UPDATE guests SET name = name || '!' WHERE id %% 5 = %(id)s %% 5",
    "UPDATE guests SET best_friend = %(other)s WHERE id = %(id)s",
    "UPDATE guests SET id = id + 1000 * (CASE WHEN id < 1000 THEN 1 ELSE -1 END) WHERE id = %(id)s",
    "DELETE FROM guests WHERE id = %(id)s",
    "INSERT INTO guests VALUES (%(id)s, 'New', 'DE', NULL) ON CONFLICT DO NOTHING",
    "INSERT INTO orders VALUES (%(id)s, %(other)s, 7, 'H3', 'new') ON CONFLICT DO NOTHING",
    "UPDATE orders SET guest = %(other)s WHERE guest = %(id)s AND number = 2",
    "UPDATE orders SET hotel = 'H' || %(other)s %% 30 + 1 WHERE guest = %(id)s",
    "UPDATE orders SET total = total + 1 WHERE number = %(id)s %% 5",
    "DELETE FROM orders WHERE guest = %(id)s AND number < 3",
    "INSERT INTO items (guest, number, amount) SELECT guest, number, 5 FROM orders WHERE guest = %(id)s LIMIT 2",
    "UPDATE items SET amount = 9 - amount WHERE guest = %(id)s",
    "UPDATE items SET guest = NULL WHERE guest = %(id)s AND number = 1",
    "UPDATE hotels SET country = (ARRAY['PT', 'DE'])[%(id)s %% 2 + 1] WHERE code = 'H' || %(id)s %% 30 + 1",
    "UPDATE hotels SET code = 'H' || 100 + %(id)s WHERE code = 'H' || %(other)s %% 30 + 1",
    "INSERT INTO hotels VALUES ('H' || %(id)s, 'DE') ON CONFLICT DO NOTHING",
    "UPDATE staff SET grade = %(other)s %% 9 WHERE id = %(id)s",
    "UPDATE staff SET manager = %(other)s WHERE id = %(id)s",
    "UPDATE staff SET team = %(other)s %% 20 + 1 WHERE id = %(id)s",
    "UPDATE teams SET lead = %(id)s WHERE id = %(other)s %% 20 + 1",
    "UPDATE teams SET lead = NULL WHERE id = %(id)s %% 20 + 1",
    "DELETE FROM staff WHERE id = %(id)s",
    "INSERT INTO staff VALUES (%(id)s, 'New', %(other)s %% 20 + 1, NULL, 8) ON CONFLICT DO NOTHING",
    "DELETE FROM visits WHERE host = %(id)s",
    "UPDATE visits SET day = day + 300 WHERE host = %(id)s",
    "UPDATE visits SET place = (place + 1) %% 4 WHERE host = %(id)s",
    "INSERT INTO visits VALUES (date '2025-01-01' + %(other)s, 9, %(id)s) ON CONFLICT DO NOTHING",
    "UPDATE notes SET guest = %(id)s WHERE id = %(other)s %% 12 + 1",
    "DELETE FROM notes WHERE id = %(id)s",
    "INSERT INTO notes VALUES (%(id)s, %(other)s, 'new') ON CONFLICT DO NOTHING",
    "UPDATE rates SET price = 1",
    "TRUNCATE items, rates",
    "INSERT INTO rates VALUES (%(id)s, %(other)s) ON CONFLICT DO NOTHING",
]
# What sessions that meet may get.
_CONFLICTS = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.ForeignKeyViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


@pytest.fixture
def production(server18: Server, make_database: Callable[..., Database]) -> Database:
    database = make_database(server18)
    database.execute(*SCHEMA.split(";"))
    return database


@pytest.fixture
async def chosen(project: Project) -> Project:
    """A project whose rules choose a subset, and a production that a stream may follow."""
    project.rules.write_text(RULES)
    await project.prepare_production()
    return project


@contextlib.asynccontextmanager
async def _load(database: Database, seed: int, *, truncates: bool = True) -> AsyncIterator[None]:
    stop = asyncio.Event()
    often = [change for change in _CHANGES if not change.startswith("TRUNCATE")]
    # A table that is truncated all the time cannot be read in any snapshot.
    changes = often * 100 + (_CHANGES if truncates else [])

    async def work(seed: int) -> None:
        rng = random.Random(seed)
        async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
            while not stop.is_set():
                with contextlib.suppress(*_CONFLICTS):
                    async with connection.transaction():
                        for _ in range(rng.randrange(1, 6)):
                            values = {"id": rng.randrange(1, 121), "other": rng.randrange(1, 121)}
                            await connection.execute(rng.choice(changes).encode(), values)
                await asyncio.sleep(0.005)

    tasks = [asyncio.create_task(work(seed * 10 + number)) for number in range(2)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


def _assert_subset(project: Project, rows: dict[str, Rows] | None = None, after: str = "") -> None:
    """The copy has just the rows that the oracle tells, knows which of them it only needs, and nothing dangles."""
    judged = judge(project.source, rows or ROWS)
    for table, numbers in judged.members.items():
        assert {n for (n,) in project.target.execute(f"SELECT n FROM {table}")} == numbers, (table, after)
    noted = {}
    for (name,) in project.target.execute(
        "SELECT relname FROM pg_class WHERE relname LIKE 'pulled_%' AND relkind = 'r'"
    ):
        key = [column for (column,) in project.target.execute(
            f"SELECT attname FROM pg_attribute WHERE attrelid = 'tezcat.{name}'::regclass AND attnum > 0"
        )]  # fmt: skip
        noted[tuple(key)] = (
            noted.get(tuple(key), 0) + project.target.execute(f"SELECT count(*) FROM tezcat.{name}")[0][0]
        )
    assert sum(noted.values()) == sum(map(len, judged.pulled.values())), (noted, after)
    for (constraint,) in project.target.execute(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND NOT convalidated"
    ):
        pytest.fail(f"{constraint} is not valid")


async def _assert_equal(project: Project, after: str = "") -> None:
    for _ in range(50):
        verified = await project.run("verify", "--target", "test", "--json")
        # No snapshot shows the rows of a table that was truncated since, so that verify has to be asked again.
        if "truncated" not in verified.err:
            break
    assert verified.code == 0, f"{after}: {verified}"
    assert verified.json["equal"] is True


@pytest.mark.parametrize("seed", [1, 2])
async def test_rows_enter_and_leave_while_production_works(chosen: Project, seed: int) -> None:
    """Cloned under load, streamed, verified meanwhile, killed and streamed on: the copy is the subset at every end."""
    async with _load(chosen.source, seed):
        await chosen.succeed("clone", "--source", "production", "--target", "test")
        stream = chosen.start("stream", "--target", "test")
        await stream.streams()
        await asyncio.sleep(2)
        await _assert_equal(chosen, "while it streams")
        await stream.send(signal.SIGKILL)
        stream = chosen.start("stream", "--target", "test")
        await stream.streams()
        await asyncio.sleep(2)
    await stream.send(signal.SIGTERM)
    await chosen.catch_up()
    _assert_subset(chosen)
    await _assert_equal(chosen)
    await chosen.source.comes_to("SELECT 1 FROM pg_replication_slots WHERE temporary", [])


# Each is one transaction; the copy is looked at after each.
_SCENES = [
    # Who is only needed leaves with the last who needs it; who is chosen too stays.
    "DELETE FROM notes WHERE id = 4",
    "UPDATE notes SET guest = 3 WHERE id = 5",
    # Needed becomes chosen, and needed again.
    "UPDATE guests SET country = 'DE' WHERE id IN (SELECT guest FROM notes)",
    "UPDATE guests SET country = 'FR' WHERE id IN (SELECT guest FROM notes)",
    # Whoever enters brings those that come with it, which nobody touched; whoever leaves takes them along.
    "UPDATE guests SET country = 'DE' WHERE id = 41",
    "UPDATE guests SET country = 'FR' WHERE id = 41",
    "UPDATE guests SET country = NULL",
    "UPDATE guests SET country = 'DE' WHERE id < 9",
    # In and out again in one transaction, and under another key.
    "UPDATE guests SET country = 'DE' WHERE id = 42; UPDATE guests SET country = 'FR' WHERE id = 42",
    "UPDATE guests SET id = id + 500 WHERE id IN (4, 43)",
    # A circle that one row from outside holds, until it lets go.
    "UPDATE staff SET grade = 1; UPDATE staff SET manager = NULL; UPDATE teams SET lead = NULL",
    "UPDATE staff SET manager = id % 3 + 10 WHERE id BETWEEN 10 AND 12",
    "UPDATE staff SET grade = 8, manager = 10 WHERE id = 50",
    "UPDATE staff SET manager = NULL WHERE id = 50",
    "UPDATE teams SET lead = 50 WHERE id = 7; UPDATE staff SET team = 7 WHERE id = 50",
    "UPDATE staff SET team = 9 WHERE id = 60; UPDATE teams SET lead = 60 WHERE id = 9",
    "UPDATE staff SET grade = 2 WHERE id = 50",
    # Long chains, at once.
    "UPDATE staff SET manager = id - 1 WHERE id > 60; UPDATE staff SET grade = 8 WHERE id = 120",
    "UPDATE staff SET manager = NULL WHERE id = 119",
    "UPDATE staff SET grade = 1 WHERE id = 120",
    # More than a window holds, and at its end a change that the subset hangs on.
    "INSERT INTO rates SELECT n, n FROM generate_series(999, 150000) n; UPDATE guests SET country = 'FR' WHERE id = 5",
    "DELETE FROM rates; UPDATE guests SET country = 'DE' WHERE id = 5",
    # Everything at once.
    "UPDATE staff SET grade = 8 WHERE id < 20",
    "TRUNCATE visits_1",
    "TRUNCATE notes, items",
    "INSERT INTO notes VALUES (1, 30, 'x'); INSERT INTO items (guest, number, amount) VALUES (1, 1, 9)",
    "TRUNCATE guests CASCADE",
    "INSERT INTO guests VALUES (1, 'a', 'DE', NULL), (2, 'b', NULL, 1), (3, 'c', 'DE', 2)",
]


async def test_each_change_is_followed(chosen: Project) -> None:
    """One after the other, with the copy looked at after each by the oracle, and by ``verify`` at the end."""
    await chosen.succeed("clone", "--source", "production", "--target", "test")
    _assert_subset(chosen, after="clone")
    await _assert_equal(chosen, "clone")
    stream = chosen.start("stream", "--target", "test")
    await stream.streams()
    for scene in _SCENES:
        with psycopg.connect(chosen.source.url) as connection:
            connection.execute(scene.encode())
        await chosen.caught_up(stream)
        _assert_subset(chosen, after=scene)
    await _assert_equal(chosen)
    await stream.send(signal.SIGTERM)


@pytest.mark.parametrize("versions", [(18, 18), (16, 18)], ids=["one server", "two servers"])
async def test_whoever_locks_the_copy_does_not_keep_a_snapshot_of_production(chosen: Project) -> None:
    """A stream that waits for them lets go of the snapshot that it was to read in, and finds another later."""
    chosen.replace("tezcat.yaml", "max_age: 1h", "max_age: 2s")
    await chosen.succeed("clone", "--source", "production", "--target", "test")
    stream = chosen.start("stream", "--target", "test")
    await stream.streams()
    slots = "SELECT count(*) FROM pg_replication_slots WHERE temporary AND database = current_database()"
    snapshots = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tezcat stream'"
        " AND backend_xmin IS NOT NULL"
    )
    waits = "SELECT 1 FROM pg_locks WHERE relation = 'rates'::regclass AND NOT granted"
    with psycopg.connect(chosen.target.url) as other:
        other.execute("LOCK TABLE rates IN SHARE MODE")
        # The rate waits for the lock, when a moment has been found for the guests.
        with psycopg.connect(chosen.source.url) as one:
            one.execute("UPDATE guests SET country = 'DE' WHERE id = 3")
            one.execute("INSERT INTO rates VALUES (1, 2)")
        await stream.until(lambda: chosen.target.execute(waits) != [], "it waits")
        await stream.until(lambda: chosen.source.execute(slots) == [(0,)], "the slot is gone")
        assert chosen.source.execute(snapshots) == []
        assert chosen.target.execute(waits) != []
        other.rollback()
    await chosen.caught_up(stream)
    _assert_subset(chosen)
    assert chosen.target.execute("SELECT price FROM rates") == [(2,)]
    ended = await stream.send(signal.SIGTERM)
    assert ended.code == 0, str(ended)


async def test_a_hold_is_given_up_where_rows_cannot_be_read(chosen: Project) -> None:
    """Production truncates a table, of which the copy needs a row, after the snapshot that the copy is held at. The
    holder is told, and the stream goes on without."""
    await chosen.succeed("clone", "--source", "production", "--target", "test")
    stream = chosen.start("stream", "--target", "test")
    await stream.streams()
    async with contextlib.AsyncExitStack() as stack:
        holder = await connect(target_address(chosen.target), productions=(), purpose="test")
        await stack.enter_async_context(holder)
        session = await ReplicationSession.open(source_address(chosen.source), "test")
        stack.push_async_callback(session.close)
        async with hold.closed_gate(holder, timedelta(minutes=1)):
            chosen.source.execute("UPDATE notes SET guest = 30 WHERE id = 4")
            slot = await session.create_slot("tezcat_held", temporary=True)
            chosen.source.execute("TRUNCATE notes")
            await hold.set_hold(holder, hold.Held(slot.consistent_point, slot.snapshot))
        with pytest.raises(hold.Broken, match="truncated or rewrote a table"):
            await asyncio.wait_for(hold.reached(holder, slot.consistent_point), 60)
        await hold.lift(holder)
    chosen.source.execute("INSERT INTO notes VALUES (4, 31, 'x')")
    await _assert_equal(chosen)
    _assert_subset(chosen)
    ended = await stream.send(signal.SIGTERM)
    assert ended.code == 0, str(ended)
    assert "production truncated or rewrote public.notes just now" in ended.err


async def test_verify_finds_what_does_not_belong(chosen: Project) -> None:
    """A row that is too many, and one that lacks."""
    await chosen.succeed("clone", "--source", "production", "--target", "test", "--once")
    _assert_subset(chosen)
    chosen.target.execute(
        "SET session_replication_role = replica",
        "INSERT INTO staff (id, name, grade, n) VALUES (-7, 'Nobody', 1, -7)",
        "DELETE FROM staff WHERE n = (SELECT min(n) FROM staff WHERE n > 0)",
    )
    verified = await chosen.run("verify", "--target", "test", "--json")
    assert verified.code == 1, str(verified)
    (found,) = [each for each in verified.json["tables"] if each["missing"] or each["extra"]]
    assert (found["table"], found["missing"], found["extra"]) == ("public.staff", 1, 1)


async def test_another_choice_is_copied_again(chosen: Project) -> None:
    """All that takes part is copied again when one choice changes, while production works; the rest stays."""
    await chosen.succeed("clone", "--source", "production", "--target", "test")
    chosen.replace("rules.yaml", "country = 'DE'", "country = 'FR'")
    told = await chosen.run("rules", "diff", "--target", "test", "--json")
    changed = {each["table"] for each in told.json["tables"] if each["rows_changed"]}
    assert changed == {f"public.{name}" for name in ROWS} - {"public.logs", "public.rates"}
    async with _load(chosen.source, seed=3, truncates=False):
        await chosen.succeed("clone", "--resync", "--target", "test")
    await chosen.catch_up()
    _assert_subset(chosen, ROWS | {"guests": Rows("country = 'FR'")})
    await _assert_equal(chosen)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{with: public.guests}", "{with: public.gusts}", "there is no table public.gusts"),
        ("{with: public.guests}", "{with: public.staff}", "no foreign key of this table refers to"),
        ("{with: public.guests}", "{with: public.notes}", "of which all rows are copied"),
        ("{with: public.guests}", "{with: public.logs}", "of which no row is copied"),
        ("{with: public.guests}", "{with: []}", "with names tables"),
        ("{with: public.guests}", "{without: public.guests}", "is not known here"),
    ],
)
async def test_a_choice_that_cannot_be_is_refused(chosen: Project, old: str, new: str, words: str) -> None:
    """Before anything is made, with the place."""
    chosen.replace("rules.yaml", old, new)
    refused = await chosen.run("rules", "check")
    assert refused.code != 0
    said = " ".join((refused.out + refused.err).split())
    assert words in said, str(refused)
    assert "rules.yaml" in said


async def test_keys_that_a_damaged_index_let_in_twice_are_told(chosen: Project) -> None:
    """The clone ends with what to do, where no tag of theirs would ever tell the rows apart."""
    index = "WHERE indexrelid = 'hotels_pkey'::regclass"
    chosen.source.execute(
        f"UPDATE pg_index SET indisready = false {index}",
        "INSERT INTO hotels VALUES ('H1', 'PT')",
        f"UPDATE pg_index SET indisready = true {index}",
    )
    refused = await chosen.run("clone", "--source", "production", "--target", "test", "--once")
    assert refused.code != 0
    assert "several rows of public.hotels have one key" in " ".join(refused.err.split()), str(refused)


async def test_a_stream_needs_keys(chosen: Project) -> None:
    """Without a replica identity nobody knows which row an update was about; without a stream nobody needs to."""
    chosen.source.execute("ALTER TABLE items REPLICA IDENTITY NOTHING")
    await chosen.prepare_production()
    refused = await chosen.run("clone", "--source", "production", "--target", "test")
    assert refused.code == 4, str(refused)
    assert "public.items" in refused.err
    assert "replica identity" in refused.err
    await chosen.succeed("clone", "--source", "production", "--target", "test", "--once")
    _assert_subset(chosen)
