"""A user's mistake gives one clear paragraph and the right exit code, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests import fix_postgres
from tests.fix_postgres import Database, Server
from tests.integration.conftest import PASSWORD, MakeProject, Project, psql
from tests.integration.explained import CHECK, CLONE, assert_explained

pytestmark = pytest.mark.integration


@pytest.fixture
def project(make_project: MakeProject, prepared: Database, target: Database) -> Project:
    return make_project(prepared, target)


# ----------------------------------------------------------------------------------------------------- servers


@pytest.mark.parametrize("command", [CHECK, CLONE], ids=["check", "clone"])
async def test_wrong_password(project: Project, command: tuple[str, ...]) -> None:
    """Production refuses the password."""
    project.environment["PRODUCTION_URL"] = project.source.url_as(project.role, "ss/word2")
    assert_explained(await project.run(*command), 4, "production", "password")


async def test_wrong_password_of_the_target(project: Project) -> None:
    """The target refuses the password."""
    project.replace("tezcat.yaml", project.target.url, project.target.url_as(project.role, "ss/word2"))
    assert_explained(await project.run(*CLONE), 4, "test", "password")


async def test_no_such_database(project: Project) -> None:
    """Neither production nor the target may be a database that does not exist."""
    project.environment["PRODUCTION_URL"] = project.source.server.url("nowhere_db", project.role, PASSWORD)
    assert_explained(await project.run(*CHECK), 4, "production", "nowhere_db", "database_url")
    project.environment["PRODUCTION_URL"] = project.source.url_as(project.role, PASSWORD)
    project.replace("tezcat.yaml", project.target.url, project.target.server.url("nowhere_db"))
    assert_explained(await project.run(*CLONE), 4, "test", "nowhere_db", "database")


async def test_server_that_cannot_be_reached(project: Project) -> None:
    """Nobody listens."""
    project.environment["PRODUCTION_URL"] = "postgresql://reader:ss%2Fword@127.0.0.1:1/shop"
    assert_explained(await project.run(*CLONE), 4, "production", "127.0.0.1:1", "server runs")


@pytest.fixture(scope="module")
def server_without_logical() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        settings = [setting.replace("wal_level=logical", "wal_level=replica") for setting in fix_postgres._SETTINGS]
        patch.setattr(fix_postgres, "_SETTINGS", settings)
        yield from fix_postgres._start(18)


async def test_wal_level_is_not_logical(
    make_project: MakeProject, make_database: Callable[..., Database], server_without_logical: Server, target: Database
) -> None:
    """The preflight finds it, and a clone does not begin."""
    production = make_database(server_without_logical)
    psql(production, "CREATE TABLE public.nothing (id integer PRIMARY KEY, what text)")
    project = make_project(production, target)
    project.rules.write_text("version: 1\ntables: {public.nothing: {columns: {id: keep, what: redact}}}\n")
    await project.prepare_production()
    checked = await project.run(*CHECK)
    assert checked.code == 1, str(checked)
    assert "wal_level" in checked.out
    assert_explained(await project.run(*CLONE), {1, 4}, "wal_level", "logical")
    assert target.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []


async def test_missing_publication(
    make_project: MakeProject,
    filled: Callable[[Server], str],
    make_database: Callable[..., Database],
    server18: Server,
    target: Database,
) -> None:
    """The preflight finds it, and a clone says what makes it."""
    project = make_project(make_database(server18, filled(server18)), target)
    await project.prepare_production()
    for [name] in project.source.execute("SELECT quote_ident(pubname) FROM pg_publication"):
        project.source.execute(f"DROP PUBLICATION {name}")
    checked = await project.run(*CHECK)
    assert checked.code == 1, str(checked)
    assert "publication" in checked.out
    assert_explained(await project.run(*CLONE), {1, 4}, "publication", "tezcat source sql")
    await project.source.comes_to("SELECT 1 FROM pg_replication_slots WHERE database = current_database()", [])


# ------------------------------------------------------------------------------------------------------- rules


@pytest.mark.parametrize("command", [("rules", "check"), CLONE], ids=["check", "clone"])
async def test_undecided_column_or_table(project: Project, command: tuple[str, ...]) -> None:
    """What nobody has decided about blocks the run: a column left out, one marked todo, a table left out."""
    project.replace("rules.yaml", "      passport: {mask: redact}\n", "")
    project.replace("rules.yaml", '      religion: {mask: "null"}\n', "      religion: todo\n")
    project.replace("rules.yaml", "  public.one_column:\n    columns: {word: keep}\n", "")
    ended = await project.run(*command)
    assert_explained(ended, 1, "public.guests.passport", "public.guests.religion", "public.one_column")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("passport: {mask: redact}", "passport: {mask: redacted}", ("redacted", "redact", "passport")),
        ("passport: {mask: redact}", "passport: {mask: date.shift, days: 3}", ("date.shift", "text", "passport")),
        ("passport: {mask: redact}", "passport: {mask: redact, wiht: x}", ("wiht", "passport")),
        ("last_seen: {mask: date.shift, days: 30}", "last_seen: {mask: date.shift, days: x}", ("days", "last_seen")),
        ("code: keep", "code: {mask: redact}", ("redact", "unique", "public.reservations.code")),
        ("passport: {mask: redact}", "pasport: {mask: redact}", ("pasport", "did you mean passport")),
        ("guest_id: {mask: id.int}\n      status", "guest_id: keep\n      status", ("guest_id", "public.guests.id")),
    ],
    ids=["unknown mask", "wrong type", "unknown parameter", "wrong parameter", "unique", "unknown column", "conflict"],
)
async def test_rules_that_cannot_work(project: Project, old: str, new: str, words: tuple[str, ...]) -> None:
    """The paragraph names the column, what is wrong with it, and the line in the file."""
    project.replace("rules.yaml", old, new)
    before = project.rules.read_text().partition(new)[0]
    line = before.count("\n") + 1
    ended = await project.run("rules", "check")
    assert_explained(ended, 2, *words)
    assert f"rules.yaml:{line}" in ended.err.replace("\n", ""), str(ended)


@pytest.mark.parametrize("name", ["tezcat.yaml", "rules.yaml"])
async def test_malformed_yaml(project: Project, name: str) -> None:
    """Line and column are named."""
    text = (project.folder / name).read_text().rstrip()
    (project.folder / name).write_text(f"{text}\nunclosed: [1, 2\nnext: 3\n")
    ended = await project.run(*CLONE)
    assert_explained(ended, 2, name)
    line = text.count("\n") + 2
    assert re.search(rf"{name}:({line}|{line + 1}):\d+", ended.err.replace("\n", ""))


@pytest.mark.parametrize("name", ["tezcat.yaml", "rules.yaml"])
async def test_missing_file(project: Project, name: str) -> None:
    """The file and what would make it are named."""
    (project.folder / name).unlink()
    assert_explained(await project.run(*CLONE), 2, name, "tezcat init" if name == "tezcat.yaml" else "rules suggest")


# --------------------------------------------------------------------------------------------------------- key


async def test_missing_key(project: Project) -> None:
    """A key file that is not there."""
    (project.folder / "tezcat.key").unlink()
    assert_explained(await project.run(*CLONE), 2, "tezcat.key")


@pytest.mark.parametrize("key", ["", "5e" * 31, "5e" * 33, "xy" * 32], ids=["empty", "short", "long", "no hex"])
async def test_key_that_is_none(project: Project, key: str) -> None:
    """A key is 64 hex digits."""
    (project.folder / "tezcat.key").write_text(key)
    assert_explained(await project.run(*CLONE), 2, "key", "64 hex")


async def test_unset_variable(project: Project) -> None:
    """env:NAME without such a variable."""
    del project.environment["PRODUCTION_URL"]
    assert_explained(await project.run(*CLONE), 2, "PRODUCTION_URL", "tezcat.yaml")


# ----------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "socket"])
async def test_target_that_is_production(project: Project, host: str) -> None:
    """Whatever name leads there."""
    url = project.source.server.url(project.source.name, tcp=host != "socket")
    project.replace("tezcat.yaml", project.target.url, url.replace("127.0.0.1", host))
    assert_explained(await project.run(*CLONE), 3, "production")
    assert_explained(await project.run("stream", "--target", "test"), 3, "production")
    assert project.source.execute("SELECT count(*) > 0 FROM public.guests") == [(True,)]


async def test_production_as_the_target_s_name(project: Project) -> None:
    """An environment of type production is no target."""
    ended = await project.run("clone", "--source", "production", "--target", "production")
    assert_explained(ended, 3, "production")


@pytest.mark.parametrize("confirm", [(), ("--confirm", "test")], ids=["bare", "confirmed"])
async def test_target_that_is_somebody_else_s(project: Project, confirm: tuple[str, ...]) -> None:
    """A database that is not empty and bears no mark of ours keeps what it has."""
    project.target.execute("CREATE TABLE precious (id integer)", "INSERT INTO precious VALUES (1)")
    ended = await project.run(*CLONE, *confirm)
    assert_explained(ended, 3, "test", "no mark of tezcat")
    assert project.target.execute("SELECT id FROM precious") == [(1,)]


async def test_no_anonymize(project: Project) -> None:
    """There is no way to clone unmasked."""
    assert_explained(await project.run(*CLONE, "--no-anonymize"), 3, "masked")


async def test_role_that_could_write(project: Project) -> None:
    """A reader that could write is refused, unless that is accepted in so many words."""
    project.environment["PRODUCTION_URL"] = project.source.url
    assert_explained(await project.run(*CLONE), 3, "--accept-writable-role")


async def test_another_key_or_other_rules_do_not_resume(project: Project) -> None:
    """A stream goes on only with what the copy was made with."""
    await project.succeed(*CLONE)
    key = project.folder / "tezcat.key"
    key.write_text("6f" * 32)
    assert_explained(await project.run("stream", "--target", "test", "--until-caught-up"), {2, 3}, "key")
    key.write_text("5e" * 32)
    project.replace("rules.yaml", "passport: {mask: redact}", "passport: {mask: text.lorem}")
    assert_explained(await project.run("stream", "--target", "test", "--until-caught-up"), {2, 3}, "rules")


# ----------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize("command", [("stream",), ("verify",)])
async def test_nothing_to_follow_or_compare(project: Project, command: tuple[str, ...]) -> None:
    """A target that no clone was made in is named, with the command that makes one."""
    ended = await project.run(*command, "--target", "test")
    assert_explained(ended, {1, 2, 3}, "tezcat clone")


async def test_unknown_environment(project: Project) -> None:
    """The known ones are named."""
    ended = await project.run("clone", "--source", "production", "--target", "tset")
    assert_explained(ended, 2, "tset", "test")


async def test_lsn_that_is_none(project: Project) -> None:
    """A position is written X/Y."""
    assert_explained(await project.run("stream", "--target", "test", "--until-lsn", "12"), 2, "--until-lsn")
