"""Rules, a key or the user's own code that change while a copy is followed: it is seen, and the stream goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from tests.fix_postgres import Database, Server
from tests.integration.conftest import MakeProject, Project, Running

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SCHEMA = """
CREATE TABLE people (id serial PRIMARY KEY, name text, email text UNIQUE, code text, note text);
CREATE TABLE orders (id int PRIMARY KEY, person int REFERENCES people, memo text);
CREATE TABLE plain (id int PRIMARY KEY, v text);
INSERT INTO people (name, email, code, note) SELECT 'N' || n, n || '@x.org', 'C' || n, 'note'
  FROM generate_series(1, 90) n;
INSERT INTO orders SELECT n, n, 'memo ' || n FROM generate_series(1, 90) n;
INSERT INTO plain SELECT n, 'v' || n FROM generate_series(1, 90) n;
"""
RULES = """\
version: 1
tables:
  public.people:
    columns:
      id: id.int
      name: name.full
      email: email
      code: {mask: custom, function: "own_masks:tagged"}
      note: keep
  public.orders: {columns: {id: keep, person: id.int, memo: text.lorem}}
  public.plain: {columns: {id: keep, v: keep}}
"""
_OWN_SLOT = "FROM pg_replication_slots WHERE temporary AND database = current_database()"
FUNCTION = "def tagged(values, key):\n    return [value and 'A' + key.tag(value).hex()[:8] for value in values]\n"


@pytest.fixture
async def copy(
    server18: Server, make_database: Callable[..., Database], make_project: MakeProject
) -> AsyncIterator[Project]:
    """A copy of a small production."""
    source, target = make_database(server18), make_database(server18)
    with psycopg.connect(source.url) as connection:
        connection.execute(SCHEMA.encode())
    made = make_project(source, target)
    made.rules.write_text(RULES)
    (made.folder / "own_masks.py").write_text(FUNCTION)
    await made.prepare_production()
    await made.succeed("clone", "--source", "production", "--target", "test")
    yield made
    made.kill()


async def _assert_followed(project: Project, stream: Running) -> None:
    """The stream that ran all the time brings what comes now, by today's rules."""
    project.source.execute("INSERT INTO people (name, code) SELECT 'new ' || n, 'new' FROM generate_series(1, 9) n")
    people = "SELECT count(*) FROM people"
    await stream.until(lambda: project.target.execute(people) == [(99,)], "all rows are there")
    assert (await project.succeed("rules", "diff", "--target", "test", "--json")).json["tables"] == []
    assert (await project.succeed("verify", "--target", "test", "--json")).json["equal"] is True


async def test_changed_code_is_seen_and_followed(copy: Project) -> None:
    """A stream tells that a function was changed, and goes on by the old code until all was copied again."""
    stream = copy.start("stream", "--target", "test")
    await stream.streams()
    copy.replace("own_masks.py", "'A'", "'B'")
    await stream.says("rules changed")
    copy.source.execute("UPDATE people SET code = 'changed' WHERE id < 9")
    told = await copy.run("rules", "diff", "--target", "test", "--json")
    assert told.code == 1, str(told)
    assert [(each["table"], each["columns"]) for each in told.json["tables"]] == [
        ("public.people", {"code": "masked otherwise"})
    ]
    assert copy.target.execute("SELECT DISTINCT left(code, 1) FROM people") == [("A",)]
    await copy.succeed("clone", "--resync", "--target", "test")
    await _assert_followed(copy, stream)
    assert copy.target.execute("SELECT DISTINCT left(code, 1) FROM people") == [("B",)]


async def test_another_epoch_is_seen_and_followed(copy: Project) -> None:
    """A stream reads the settings again when the copy was masked anew by another key."""
    stream = copy.start("stream", "--target", "test")
    await stream.streams()
    copy.replace("tezcat.yaml", "type: test", "type: test\n    epoch: 2")
    await stream.says("key changed")
    await copy.succeed("clone", "--resync", "--target", "test")
    await _assert_followed(copy, stream)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("rules.yaml", "memo: text.lorem", "memo: redact"),
        ("rules.yaml", "memo: text.lorem", "memo: {no mask"),
        ("tezcat.yaml", "type: test", "type: test\n    epoch: 2"),
        ("tezcat.key", "", "6f" * 32),
    ],
    ids=["other rules", "half written", "another epoch", "another key"],
)
async def test_a_stream_that_lost_a_connection_meanwhile(copy: Project, file: str, old: str, new: str) -> None:
    """It goes on by the rules and the key that it has, for the copy is of those still."""
    stream = copy.start("stream", "--target", "test")
    await stream.streams()
    copy.replace(file, old or (copy.folder / file).read_text().strip(), new)
    copy.source.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'tezcat_test'"
    )
    copy.target.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'tezcat stream' AND datname = current_database()"
    )
    copy.source.execute("INSERT INTO orders VALUES (91, 1, 'new')")
    await stream.until(lambda: copy.target.execute("SELECT 1 FROM orders WHERE id = 91") != [], "the row is there")
    assert copy.target.execute("SELECT count(*) FROM orders o JOIN people p ON p.id = o.person") == [(91,)]
    if "no mask" in new:
        copy.replace(file, new, old)
    else:
        await copy.succeed("clone", "--resync", "--target", "test")
    await _assert_followed(copy, stream)


@pytest.mark.parametrize("command", ["stream", "verify"])
@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("rules.yaml", "memo: text.lorem", "memo: redact", "the rules have changed since"),
        ("own_masks.py", "'A'", "'B'", "the rules have changed since"),
        ("tezcat.key", "", "6f" * 32, "masked with another key"),
    ],
    ids=["other rules", "other code", "another key"],
)
async def test_what_is_started_by_others_is_refused(
    copy: Project, command: str, file: str, old: str, new: str, words: str
) -> None:
    """Old rows and new ones would be masked differently; the hint says how to go on."""
    copy.replace(file, old or (copy.folder / file).read_text().strip(), new)
    refused = await copy.run(command, "--target", "test")
    assert refused.code == 3, str(refused)
    said = " ".join(refused.err.split())
    assert words in said
    assert "tezcat clone --resync" in said


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("  public.plain: {columns: {id: keep, v: keep}}\n", "public.plain"),
        ("      note: keep\n", "public.people.note"),
        ("      name: name.full\n", "public.people.name"),
    ],
)
async def test_what_the_rules_decide_no_more_is_named(copy: Project, gone: str, named: str) -> None:
    """The copy holds it, and no stream would bring it: nothing goes on until it is decided."""
    copy.replace("rules.yaml", gone, "")
    for command in (("rules", "diff"), ("stream", "--until-caught-up"), ("verify",), ("clone", "--resync")):
        ended = await copy.run(*command, "--target", "test")
        assert ended.code == 3, str(ended)
        if "have changed since" not in ended.err:
            assert f"decide {named} no more" in " ".join(ended.err.split())


async def test_rules_that_change_while_a_re_copy_waits_for_production(copy: Project) -> None:
    """Copied again is what differs by the rules of the moment at which the tables are read."""
    with psycopg.connect(copy.source.url) as waited_for:
        waited_for.execute("SELECT pg_current_xact_id()")
        copy.replace("rules.yaml", "memo: text.lorem", "memo: redact")
        command = copy.start("clone", "--resync", "--target", "test", "--json")
        await copy.source.comes_to(f"SELECT 1 {_OWN_SLOT}", [(1,)])
        copy.replace("rules.yaml", "name: name.full", "name: redact")
    ended = await command.wait()
    assert ended.code == 0, str(ended)
    assert ended.json["tables"].keys() == {"public.orders", "public.people"}
    assert (await copy.succeed("verify", "--target", "test", "--json")).json["equal"] is True


async def test_a_table_that_is_truncated_before_it_was_read(copy: Project) -> None:
    """Its rows of the first snapshot are gone; it is read when the stream is held."""
    copy.rules.write_text(RULES.replace("v: keep", "v: redact").replace("name: name.full", "name: redact"))
    with psycopg.connect(copy.target.url) as other:
        # Where no table can be made aside, none is read, though the snapshot is there.
        other.execute("LOCK TABLE pg_class IN SHARE MODE")
        command = copy.start("clone", "--resync", "--target", "test", "--json")
        # Autovacuum writes there too, and the other databases of the server have locks of that name.
        makes = (
            "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE relation = 'pg_class'::regclass"
            f" AND NOT granted AND datname = '{copy.target.name}' AND application_name LIKE 'tezcat%'"
        )
        await command.until(lambda: copy.target.server.execute(makes) != [], "it makes a table aside")
        assert copy.source.execute(f"SELECT 1 {_OWN_SLOT}") == [(1,)]
        copy.source.execute("TRUNCATE plain", "INSERT INTO plain VALUES (1, 'new')")
    ended = await command.wait()
    assert ended.code == 0, str(ended)
    assert ended.json["tables"] == {"public.people": 90, "public.plain": 1}
    assert (await copy.succeed("verify", "--target", "test", "--json")).json["equal"] is True


async def test_a_table_that_somebody_locked(copy: Project) -> None:
    """The stream does not stand for as long as a user of the copy likes; the copy stays what it was."""
    copy.replace("rules.yaml", "memo: text.lorem", "memo: redact")
    with psycopg.connect(copy.target.url) as user:
        user.execute("LOCK TABLE orders IN SHARE MODE")
        refused = await copy.run("clone", "--resync", "--target", "test")
    assert refused.code == 4, str(refused)
    assert "locked the table" in refused.err
    assert copy.target.execute("SELECT count(*) FROM orders WHERE memo = '[redacted]'") == [(0,)]
    await copy.succeed("clone", "--resync", "--target", "test")
    assert (await copy.succeed("verify", "--target", "test", "--json")).json["equal"] is True


@pytest.mark.parametrize("command", [("clone", "--resync"), ("verify",)], ids=["a re-copy", "verify"])
async def test_a_stream_that_does_not_come_to_where_it_is_held(copy: Project, command: tuple[str, ...]) -> None:
    """Production's snapshot is waited with for as long as it may live, and no longer."""
    stream = copy.start("stream", "--target", "test")
    await stream.streams()
    if "--resync" in command:
        copy.replace("rules.yaml", "memo: text.lorem", "memo: redact")
    copy.replace("tezcat.yaml", "max_age: 1h", "max_age: 5s")
    os.kill(stream.process.pid, signal.SIGSTOP)
    try:
        refused = await copy.run(*command, "--target", "test")
    finally:
        os.kill(stream.process.pid, signal.SIGCONT)
    assert refused.code == 4, str(refused)
    assert "snapshot.max_age" in refused.err
    copy.replace("tezcat.yaml", "max_age: 5s", "max_age: 1h")
    await copy.succeed(*command, "--target", "test")
    await _assert_followed(copy, stream)


async def test_sequences_of_ids_that_are_kept_now(copy: Project) -> None:
    """Masked ids need a sequence above them; kept ones go on from production's."""
    assert copy.target.execute("SELECT last_value >= 1 << 30 FROM people_id_seq") == [(True,)]
    copy.rules.write_text(RULES.replace("id.int", "keep"))
    await copy.succeed("clone", "--resync", "--target", "test")
    assert copy.target.execute("SELECT nextval('people_id_seq')") == [(91,)]
    copy.rules.write_text(RULES)
    await copy.succeed("clone", "--resync", "--target", "test")
    assert copy.target.execute("SELECT nextval('people_id_seq') > 1 << 30") == [(True,)]
    assert (await copy.succeed("verify", "--target", "test", "--json")).json["equal"] is True
