"""The commands that need only production, one after the other as the next steps of ``init`` say."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from control.cli import app
from tests.fix_postgres import Database, Server

pytestmark = pytest.mark.integration

CANARY = "canary-7f3a"
PASSWORD = "reader-password"


@pytest.fixture
def production(server18: Server, make_database: Callable[..., Database]) -> Iterator[Database]:
    """A database with people in it, a column that nobody can judge, and a table without a key."""
    database = make_database(server18)
    database.execute(
        "CREATE TABLE guests (id int PRIMARY KEY, email text UNIQUE, full_name text, status text, code text)",
        f"""INSERT INTO guests SELECT n, 'g' || n || '@{CANARY}.example', 'Ann Miller', 'in',
                     'c' || n || CASE n % 50 WHEN 0 THEN '@{CANARY}.example' ELSE '' END
              FROM generate_series(1, 400) n""",
        "CREATE TABLE visits (guest_id int REFERENCES guests, at timestamptz)",
        "ANALYZE",
    )
    yield database
    role = f"reader_{database.name}"
    if database.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
        database.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.fixture
def run(production: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in a folder that ``init`` filled."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRODUCTION_URL", production.url_as(f"reader_{production.name}", PASSWORD))

    def command(*arguments: str) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert CANARY not in result.output
        assert PASSWORD not in result.output
        return result

    command("init", "--production-url", "env:PRODUCTION_URL", "--target", "test=test=postgresql://127.0.0.1:1/test")
    return command


def _as_dba(database: Database, sql: str) -> None:
    program = database.server.programs / "psql"
    arguments = [program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.url, "-f", "-"]
    ended = subprocess.run(arguments, input=sql, text=True, check=False, capture_output=True)
    assert ended.returncode == 0, ended.stderr
    database.execute(f"ALTER ROLE reader_{database.name} PASSWORD '{PASSWORD}'")


def _levels(checks: list[dict[str, Any]]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in checks}


def test_from_an_unknown_role_to_rules_that_can_be_cloned_with(
    production: Database, run: Callable[..., Result]
) -> None:
    """The DBA's SQL makes the role; then the checks pass, and suggested rules wait for what only a person can tell."""
    refused = run("source", "check")
    assert refused.exit_code == 4
    assert refused.stderr.startswith("error: production (")

    printed = run("source", "sql")
    assert printed.exit_code == 0
    assert json.loads(run("source", "sql", "--json").stdout)["sql"] == printed.stdout
    _as_dba(production, printed.stdout)
    checked = run("source", "check", "--json")
    assert checked.exit_code == 0, checked.output
    assert set(_levels(json.loads(checked.stdout)).values()) <= {"ok", "warning"}

    suggested = run("rules", "suggest", "--json")
    assert suggested.exit_code == 0, suggested.output
    document = json.loads(suggested.stdout)
    assert document["todo"] == ["public.guests.code"]
    assert document["masks"]["email"] == 1
    rules = Path("rules.yaml")
    assert CANARY not in rules.read_text()

    undecided = run("rules", "check")
    assert undecided.exit_code == 1
    assert "public.guests.code" in undecided.stderr
    rules.write_text(rules.read_text().replace("code: todo", "code: redact"))
    assert run("rules", "check").exit_code == 0

    rules.write_text(rules.read_text().replace("code: redact", "code: redcat"))
    wrong = run("rules", "check", "--json")
    assert wrong.exit_code == 2
    assert json.loads(wrong.stdout)[0]["severity"] == "error"
    assert "redcat" in wrong.stderr


def test_suggest_keeps_decisions_and_refuses_what_it_cannot_read(
    production: Database, run: Callable[..., Result]
) -> None:
    """A file that is no rules file is left as it is."""
    _as_dba(production, run("source", "sql").stdout)
    rules = Path("rules.yaml")
    written = "version: 1 # as agreed\ntables:\n  public.guests: {columns: {code: redact, full_name: keep}}\n"
    rules.write_text(written + "  public.gone:  # long ago\n    {rows: none}\n")
    suggested = run("rules", "suggest")
    assert suggested.exit_code == 0
    assert "# long ago" in suggested.output
    assert "code: redact" in rules.read_text()
    assert "full_name: keep" in rules.read_text()
    assert "# as agreed" in rules.read_text()

    nowhere = run("rules", "suggest", "-o", "nowhere/rules.yaml")
    assert nowhere.exit_code == 2
    assert "there is no folder nowhere to write rules.yaml into" in nowhere.stderr

    rules.write_text("")
    assert run("rules", "suggest").exit_code == 0
    assert rules.read_text().startswith("# Rules for every column")

    rules.write_text("a list of things to buy\n")
    assert run("rules", "suggest").exit_code == 2
    assert rules.read_text() == "a list of things to buy\n"


def test_a_role_that_could_write_is_refused(
    production: Database, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For rules as for copies, unless it is accepted."""
    monkeypatch.setenv("PRODUCTION_URL", production.url)
    refused = run("rules", "suggest")
    assert refused.exit_code == 3
    assert "--accept-writable-role" in refused.stderr
    assert not Path("rules.yaml").exists()
    assert run("rules", "suggest", "--accept-writable-role").exit_code == 0


def test_a_server_that_is_not_ready_is_a_problem(production: Database, run: Callable[..., Result]) -> None:
    """With the line that says what to do."""
    _as_dba(production, run("source", "sql").stdout)
    production.execute("DROP PUBLICATION tezcat")
    checked = run("source", "check")
    assert checked.exit_code == 1
    assert "problem  publication: there is no publication tezcat." in checked.stdout
    assert "tezcat source sql" in checked.stdout


def test_rules_are_explained(production: Database, run: Callable[..., Result]) -> None:
    """For people and for scripts: where the rule stands, what asks for uniqueness, whose keys there are."""
    _as_dba(production, run("source", "sql").stdout)
    Path("rules.yaml").write_text(
        "version: 1\ntables:\n  public.guests: {columns: {id: id.int, email: email}}\n"
        "  public.visits: {columns: {at: keep}}\n"
    )
    told = run("rules", "explain", "public.guests.email")
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("public.guests.email text: masked")
    assert "test (epoch 1)" in told.stdout
    document = json.loads(run("rules", "explain", "public.visits.guest_id", "--json").stdout)
    assert document["taken_over_from"] == "public.guests.id"
    assert document["links"] == [
        {
            "source": "public.visits.guest_id",
            "target": "public.guests.id",
            "reason": "the foreign key visits_guest_id_fkey",
        }
    ]
    assert document["unique"] == ["the primary key guests_pkey of public.guests"]
    assert document["keys"] == {"test": 1}
    unknown = run("rules", "explain", "public.guests.mail")
    assert unknown.exit_code == 2
    assert "Did you mean email?" in unknown.stderr


def test_risks_are_told_and_strict_refuses_them(production: Database, run: Callable[..., Result]) -> None:
    """By looking at rows, unless only the schema is to be looked at; a risk alone is no failure."""
    production.execute(f"UPDATE guests SET status = '{CANARY}' WHERE id < 4", "ANALYZE")
    _as_dba(production, run("source", "sql").stdout)
    Path("rules.yaml").write_text(
        "version: 1\ntables:\n  public.guests:\n    columns:\n      id: keep\n      email: email\n"
        "      full_name: name.full\n      status: keep\n      code: keep\n  public.visits: {columns: {at: keep}}\n"
    )
    told = run("rules", "check")
    assert told.exit_code == 0, told.output
    assert "risk: " in told.stdout
    assert "rules.yaml:8:7: public.guests.status: 1 of 2 values come fewer than 5 times in 400" in told.stdout
    assert told.stdout.index("in 400") < told.stdout.index("  Use null, redact, or a mask that joins values")
    assert "3 risks, 2 notes." in told.stdout
    document = json.loads(run("rules", "check", "--json").stdout)
    assert {(each["severity"], each["kind"], each["where"]) for each in document} == {
        ("risk", "frequency", "public.guests.status"),
        ("risk", "linkable", "public.guests"),
        ("risk", "personal", "public.guests.code"),
        ("note", "inherited", "public.visits.guest_id"),
        ("note", "cost", production.name),
    }
    strict = run("rules", "check", "--strict")
    assert strict.exit_code == 1
    assert "3 risks" in strict.stderr
    unsampled = run("rules", "check", "--no-samples", "--strict", "--json")
    assert unsampled.exit_code == 0
    assert [each["kind"] for each in json.loads(unsampled.stdout)] == ["inherited"]
