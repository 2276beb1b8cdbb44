"""Canaries in every column of production are nowhere in what tezcat writes: not in the copy, in no file, output or log,
whatever is asked of it and whatever goes wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import random
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fix_postgres import Database, Server
from tests.integration.conftest import Project, make_folder

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CANARY = "Q7kanarZ9vogelX4"
# As text, folded as by citext, as bytea is printed, and as documents may hold it.
_FORMS = (
    CANARY.encode(),
    CANARY.lower().encode(),
    CANARY.encode().hex().encode(),
    base64.b64encode(CANARY.encode())[:18],
)
SCHEMA = f"""
CREATE TYPE tier AS ENUM ('gold', 'tin');
CREATE TABLE people (id int PRIMARY KEY, name text, email varchar(120) UNIQUE, phone text, bio text, prefs jsonb,
  raw json, tags text[], token bytea, code numeric, born date, tier tier, born_at timestamptz, address text,
  notes char(60), staff boolean, search tsvector, CHECK (name <> ''));
CREATE TABLE audit (id bigserial PRIMARY KEY, table_schema text, table_name text, old_row jsonb, new_row jsonb,
  statement text);
CREATE TABLE orders (id int PRIMARY KEY, person int REFERENCES people, memo text, country text);
ALTER TABLE orders REPLICA IDENTITY FULL;
INSERT INTO people SELECT n, '{CANARY} ' || n, '{CANARY}' || n || '@mail.example.com', '+49 30 {CANARY}' || n,
  repeat('{CANARY} ', n), jsonb_build_object('{CANARY}key', '{CANARY}', 'list', jsonb_build_array('{CANARY}', n)),
  json_build_object('name', '{CANARY}'), ARRAY['{CANARY}', NULL, '"{CANARY}"'], convert_to('{CANARY}', 'UTF8'), n,
  date '1980-01-01' + n, 'gold', now(), '{CANARY} street ' || n, '{CANARY}', n % 4 = 0,
  to_tsvector('simple', '{CANARY}')
  FROM generate_series(1, 60) n;
INSERT INTO audit (table_schema, table_name, old_row, new_row, statement) SELECT 'public', 'people', to_jsonb(p),
  jsonb_build_object('unknown', '{CANARY}'), 'UPDATE people SET name = ''{CANARY}''' FROM people p;
INSERT INTO orders SELECT n, n, '{CANARY} order', CASE WHEN n % 2 = 0 THEN 'DE' ELSE '{CANARY}' END
  FROM generate_series(1, 60) n;
"""
RULES = """\
version: 1
tables:
  public.people:
    columns:
      id: id.int
      name: {mask: name.full, when: NOT staff, otherwise: redact}
      email: email
      phone: {mask: phone, preserve_format: true}
      bio: text.lorem
      prefs: {mask: json, keys: {"$": email}}
      raw: {mask: json, paths: {"$.name": name.full}}
      tags: text.scramble
      token: redact
      code: number.noise
      born: {mask: date.shift, days: 30}
      tier: keep
      born_at: {mask: date.truncate, to: year}
      address: address.full
      notes: {mask: custom, function: "own_masks:shout"}
      staff: keep
      search: {mask: tsvector, from: [bio]}
  public.audit:
    columns: {id: keep, table_schema: keep, table_name: keep, old_row: row_image, new_row: row_image, statement: redact}
  public.orders:
    rows: {where: "country = 'DE'"}
    columns: {id: keep, person: id.int, memo: text.scramble, country: keep}
"""
GOOD_FUNCTION = """\
def shout(values, key):
    if any(value and value.startswith('fail') for value in values):
        raise ValueError(f'cannot shout {values}')
    return [None if value is None else key.tag(value).hex()[:8].upper() for value in values]
"""
BAD_FUNCTION = "def shout(values, key):\n    raise ValueError(f'cannot shout {values}')\n"
_CHANGES = [
    f"UPDATE people SET name = '{CANARY} ' || %(n)s, bio = repeat('{CANARY} new ', %(n)s) WHERE id = %(id)s",
    f"UPDATE people SET email = '{CANARY}' || random() || '@mail.example.com' WHERE id = %(id)s",
    f"UPDATE people SET prefs = prefs || jsonb_build_object('{CANARY}' || %(n)s, '{CANARY}') WHERE id = %(id)s",
    f"UPDATE orders SET memo = '{CANARY}', country = nullif('DE', country) WHERE id = %(id)s",
    "INSERT INTO audit (table_name, new_row) SELECT 'people', to_jsonb(p) FROM people p WHERE id = %(id)s",
]


@pytest.fixture
def project(server16: Server, server18: Server, make_database: Callable[..., Database], tmp_path: Path) -> Project:
    """Production on one server and the copy on another, whose log must hold no canary."""
    source, target = make_database(server16), make_database(server18)
    with psycopg.connect(source.url) as connection:
        connection.execute(SCHEMA.encode())
    made = make_folder(tmp_path / "project", source, target)
    made.environment["TMPDIR"] = str(tmp_path / "temporary")
    (tmp_path / "temporary").mkdir()
    # What the sessions on the target run is logged there, with its parameters.
    target.execute(f"ALTER DATABASE {target.name} SET log_min_duration_statement = 0")
    made.rules.write_text(RULES)
    (made.folder / "own_masks.py").write_text(GOOD_FUNCTION)
    return made


@contextlib.contextmanager
def _watched(project: Project, *folders: Path) -> Iterator[set[str]]:
    """What had a canary in it, if only for a while: files, and the statements of sessions on the target."""
    found: set[str] = set()
    has_ended = threading.Event()

    def watch() -> None:
        with psycopg.connect(project.target.server.url(), autocommit=True) as connection:
            while not has_ended.wait(0.02):
                rows = connection.execute(
                    "SELECT application_name, query FROM pg_stat_activity"
                    " WHERE application_name LIKE 'tezcat%' OR application_name LIKE 'pg_%'"
                ).fetchall()
                found.update(f"a statement of {name}" for name, query in rows if _has_canary(query.encode()))
                found.update(_files_with_canary(*folders))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        has_ended.set()
        thread.join()


@contextlib.asynccontextmanager
async def _load(database: Database) -> AsyncIterator[None]:
    stop = asyncio.Event()

    async def work() -> None:
        rng = random.Random(1)
        async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
            while not stop.is_set():
                values = {"id": rng.randrange(1, 61), "n": rng.randrange(1000)}
                await connection.execute(rng.choice(_CHANGES).encode(), values)
                await asyncio.sleep(0.005)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        stop.set()
        await task


async def test_no_canary_is_in_anything_that_tezcat_wrote(project: Project, tmp_path: Path) -> None:
    """Every command, with the most talkative log, when all goes well and when it does not."""
    with _watched(project, project.folder, tmp_path / "temporary") as found:
        await _do_everything(project, tmp_path)
    assert not found, found


async def _do_everything(project: Project, tmp_path: Path) -> None:
    log = Path(project.target.server.folder) / "log"
    before = log.stat().st_size
    talkative = ("--log-level", "debug")
    await project.prepare_production()
    suggested = await project.run("rules", "suggest", "-o", "suggested.yaml", *talkative)
    assert suggested.code == 0, str(suggested)
    checked = await project.run("rules", "check", *talkative)
    assert checked.code == 0, str(checked)

    async with _load(project.source):
        await project.succeed("clone", "--source", "production", "--target", "test", *talkative)
        stream = project.start("stream", "--target", "test", *talkative)
        await stream.streams()
        await asyncio.sleep(2)
        await stream.send(signal.SIGKILL)
        project.replace("rules.yaml", "memo: text.scramble", "memo: text.lorem")
        again = await project.run("clone", "--resync", "--target", "test", *talkative)
        assert again.code == 0, str(again)
    ended = await project.run("stream", "--target", "test", "--until-caught-up", *talkative)
    assert ended.code == 0, str(ended)
    verified = await project.run("verify", "--target", "test", *talkative)
    assert verified.code == 0, str(verified)
    assert project.target.execute("SELECT count(*) FROM people")[0][0] == 60
    _assert_no_canary(project, tmp_path, log, before)

    # What goes wrong: constraints, a copy that was tampered with, a function that fails, a value that no mask takes.
    follow = ("stream", "--target", "test", "--until-caught-up", *talkative)
    project.target.execute("ALTER TABLE people ADD CONSTRAINT short CHECK (length(bio) < 9) NOT VALID")
    project.source.execute(f"UPDATE people SET bio = '{CANARY} checked' WHERE id = 7")
    assert (await project.run(*follow)).code == 4
    project.target.execute("ALTER TABLE people DROP CONSTRAINT short")
    assert (await project.run(*follow)).code == 0
    project.source.execute(f"UPDATE people SET notes = 'fail {CANARY}' WHERE id = 7")
    assert (await project.run(*follow)).code == 4
    project.source.execute(f"UPDATE people SET notes = '{CANARY}' WHERE id = 7")
    await project.run("status", "--json", *talkative)
    _assert_no_canary(project, tmp_path, log, before)
    clone = ("clone", "--source", "production", "--target", "test", "--confirm", "test", *talkative)
    assert (await project.run(*clone)).code == 0
    project.target.execute("UPDATE people SET notes = 'X' WHERE id = (SELECT min(id) FROM people)")
    project.target.execute("DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)")
    assert (await project.run("verify", "--target", "test", "--json", *talkative)).code == 1
    project.target.execute("SET session_replication_role = replica", "DELETE FROM people")
    project.source.execute(f"UPDATE people SET bio = '{CANARY} lost' WHERE id = 7")
    assert (await project.run(*follow)).code == 4
    (project.folder / "own_masks.py").write_text(BAD_FUNCTION)
    integers = RULES.replace("code: number.noise", "code: id.int")
    for rules in (RULES, integers.replace('{mask: custom, function: "own_masks:shout"}', "redact")):
        project.source.execute("UPDATE people SET code = 0.5")
        project.rules.write_text(rules)
        failed = await project.run(*clone)
        assert failed.code in (2, 4), str(failed)
    await project.run("status", *talkative)
    _assert_no_canary(project, tmp_path, log, before)


def _has_canary(content: bytes) -> bool:
    return any(form in content or form in content.lower() for form in _FORMS)


def _files_with_canary(*folders: Path) -> list[str]:
    found = []
    for parent, _, names in itertools.chain.from_iterable(map(os.walk, folders)):
        for path in (Path(parent, name) for name in names):
            with contextlib.suppress(OSError):  # it may go while we look
                if path.is_file() and _has_canary(path.read_bytes()):
                    found.append(str(path))
    return found


def _assert_no_canary(project: Project, tmp_path: Path, log: Path, since: int) -> None:
    found = _files_with_canary(project.folder, tmp_path / "temporary")
    with log.open("rb") as file:
        file.seek(since)
        if _has_canary(file.read()):
            found.append("the target's log")
    names = project.target.execute(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON"
        " n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND n.nspname IN ('public', 'tezcat')"
    )
    with psycopg.connect(project.target.url) as connection:
        for (name,) in names:
            with connection.cursor().copy(f"COPY {name} TO STDOUT".encode()) as copy:
                if _has_canary(b"".join(bytes(part) for part in copy)):
                    found.append(name)
    assert not found, found
