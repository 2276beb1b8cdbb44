"""The command line: help, exit codes, and errors that are one paragraph and hold no secret."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner, Result

import control
from capture.model import BadInput, Problem, Refused, ServerFailed, TezcatError
from control import outcome
from control.cli import app
from control.logs import LogLevel
from control.outcome import ExitCode, explain
from transform.masks.base import MASKS

ROOT = Path(__file__).resolve().parents[2]
KEY = "00112233445566778899aabbccddeeff" * 2
CANARY = "correct-horse-battery"
COMMANDS = [
    "init",
    "demo",
    "source sql",
    "source check",
    "masks",
    "rules suggest",
    "rules check",
    "rules preview",
    "rules explain",
    "rules diff",
    "rules import",
    "clone",
    "stream",
    "status",
    "verify",
]
GOOD = f"""\
environments:
  production: {{type: production, database_url: env:PRODUCTION_URL}}
  test: {{type: test, database_url: "postgresql://tezcat:{CANARY}@127.0.0.1:1/test"}}
key: file:tezcat.key
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, without a production URL, with settings only where a test writes them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRODUCTION_URL", raising=False)
    return tmp_path


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings, a key and rules; production answers on no port."""
    (folder / "tezcat.yaml").write_text(GOOD)
    (folder / "tezcat.key").write_text(KEY)
    (folder / "tezcat.key").chmod(0o600)
    (folder / "rules.yaml").write_text("version: 1\n")
    monkeypatch.setenv("PRODUCTION_URL", f"postgresql://reader:{CANARY}@127.0.0.1:1/app")
    return folder


def run(*arguments: str) -> Result:
    """One command; nothing it prints may hold the password or the key."""
    result = CliRunner().invoke(app, list(arguments))
    assert CANARY not in result.output
    assert KEY not in result.output
    assert "Traceback" not in result.output
    return result


def words(text: str) -> str:
    """Without line breaks and frames."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


# ---------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    """One that begins with the command itself, and the options that all commands share."""
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"Example: tezcat {command}" in words(result.output)
    # A preview is for people only.
    assert ("--json" in result.output) is (command != "rules preview")
    assert "--log-level" in result.output
    assert "…" not in result.output, "no name is cut off on a terminal of 80 columns"


def test_the_list_of_commands_is_complete() -> None:
    """What this module checks is what there is."""
    group = typer.main.get_command(app)
    found = []
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        found += [f"{name} {inner}" for inner in getattr(command, "commands", {})] or [name]
    assert sorted(found) == sorted(COMMANDS)


def test_the_version_is_the_distributions() -> None:
    """What a bug report asks for first."""
    result = run("--version")
    assert result.exit_code == 0
    assert result.output == f"tezcat {tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}\n"


def test_help_needs_none_of_the_heavy_packages() -> None:
    """It is instant because the driver, the parsers and the word lists are loaded by commands only."""
    script = (
        "import sys, control.cli; print([name for name in ('psycopg', 'sqlglot', 'faker', 'pydantic') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ----------------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Problem("found"), 1),
        (BadInput("wrong"), 2),
        (Refused("no"), 3),
        (ServerFailed("gone"), 4),
        (TezcatError("other"), 4),
        (KeyboardInterrupt(), 130),
        (asyncio.CancelledError(), 130),
        (FileNotFoundError(2, "No such file or directory", "x.yaml"), 2),
        (OSError(28, "No space left on device"), 4),
        (ValueError("a row's value"), 4),
        (ExceptionGroup("tasks", [ValueError("a row's value"), ExceptionGroup("", [Refused("no")])]), 3),
    ],
)
def test_every_error_has_its_exit_code(error: BaseException, code: int) -> None:
    """Also inside of a group that several tasks raised."""
    failure = explain(error)
    assert failure.code == code
    assert "a row's value" not in failure.message + failure.hint


def _fail_with(value: str) -> None:
    try:
        raise LookupError(value)
    except LookupError as error:
        raise RuntimeError(value) from error


@pytest.mark.parametrize("level", list(LogLevel))
def test_a_defect_is_told_by_type_and_place(level: LogLevel, capsys: pytest.CaptureFixture[str]) -> None:
    """Never by its message, which could quote a row; the way there is printed with --log-level debug."""
    with pytest.raises(typer.Exit) as ended, outcome.running(as_json=False, log_level=level) as terminal:
        terminal.result({1, CANARY})  # json raises, and its frame is not ours: the innermost of ours is named
    assert ended.value.exit_code == ExitCode.FAILED
    written = words(capsys.readouterr().err)
    assert re.search(r"defect in tezcat: TypeError at control/outcome\.py:\d+\.", written)
    assert ("in result" in written) == (level is LogLevel.DEBUG)


def test_the_causes_of_a_defect_stay_unquoted(capsys: pytest.CaptureFixture[str]) -> None:
    """The printed way shows the types of all exceptions of a chain, and the text of none."""
    with pytest.raises(typer.Exit), outcome.running(as_json=True, log_level=LogLevel.DEBUG):
        _fail_with(CANARY)
    written = capsys.readouterr()
    assert "LookupError" in written.err
    assert "RuntimeError" in written.err
    assert CANARY not in written.err
    assert CANARY not in written.out
    assert json.loads(written.out)["error"]["kind"] == "defect"


def test_libraries_log_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    """A log record of a library passes as its template, without arguments and without the exception's text."""
    import logging

    with outcome.running(as_json=False, log_level=LogLevel.INFO):
        logging.getLogger("asyncio").error("it failed\nfuture: %s", CANARY, exc_info=ValueError(CANARY))
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "it failed"
    assert line["exception"] == "ValueError"
    assert CANARY not in json.dumps(line)


@pytest.mark.parametrize("before", ["SIG_DFL", "SIG_IGN"])
def test_sigterm_ends_a_command_as_ctrl_c_does(folder: Path, before: str) -> None:
    """With exit code 130, after what is open was closed; also where a shell started it with SIGINT ignored."""
    script = (
        f"import time, sys, signal\nsignal.signal(signal.SIGINT, signal.{before})\n"
        "from control import outcome\nfrom control.logs import LogLevel\n"
        "with outcome.running(as_json=False, log_level=LogLevel.WARNING):\n"
        "    try:\n        print('ready', flush=True)\n        time.sleep(60)\n"
        "    finally:\n        print('closed', flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    runner = f"import typer\ntry:\n    exec({script!r})\nexcept typer.Exit as e:\n    raise SystemExit(e.exit_code)"
    with subprocess.Popen(
        [sys.executable, "-c", runner], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == "closed\n"
    assert err == "interrupted.\n"


def test_an_interrupt_while_the_command_line_is_imported_is_no_traceback() -> None:
    """It takes a moment, in which a person may have thought better of it."""
    finder = "find_spec=lambda name, *_: os.kill(os.getpid(), signal.SIGINT) if name == 'control.cli' else None"
    code = f"import os, signal, sys, types; sys.meta_path.insert(0, types.SimpleNamespace({finder}))"
    command = [sys.executable, "-c", f"{code}; from control.__main__ import main; main()"]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


# ------------------------------------------------------------------------------------------------------- bad input


def test_missing_settings_are_named() -> None:
    """With what makes them."""
    result = run("status", "-c", "elsewhere.yaml")
    assert result.exit_code == 2
    assert "there is no file elsewhere.yaml" in words(result.stderr)
    assert "tezcat init" in words(result.stderr)


def test_malformed_yaml_is_told_by_line_and_column(folder: Path) -> None:
    """The place of the error, not a traceback."""
    (folder / "tezcat.yaml").write_text("environments:\n  test: {type: [\nkey: x\n")
    result = run("status")
    assert result.exit_code == 2
    assert re.search(r"error: tezcat\.yaml:\d+:\d+: this is not valid YAML", words(result.stderr))


def test_an_error_is_also_json(project: Path) -> None:
    """With --json, stdout holds an object that a script can read."""
    result = run("verify", "--target", "tset", "--json")
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert error["kind"] == "bad_input"
    assert error["exit_code"] == 2
    assert "tset" in error["message"]
    assert "production, test" in error["hint"]


@pytest.mark.parametrize("command", ["clone", "stream", "verify"])
def test_production_is_refused_as_a_target(project: Path, command: str) -> None:
    """Before anything is connected."""
    result = run(command, "--target", "production")
    assert result.exit_code == 3
    assert "never written to" in words(result.stderr)


@pytest.mark.parametrize("command", ["clone", "stream", "verify"])
def test_an_unknown_target_is_bad_input(project: Path, command: str) -> None:
    """With the names that there are."""
    result = run(command, "--target", "tset")
    assert result.exit_code == 2
    assert "It has: production, test." in words(result.stderr)


def test_a_copy_is_no_source(project: Path) -> None:
    """Cloning from it is refused as bad input."""
    result = run("clone", "--source", "test", "--target", "test")
    assert result.exit_code == 2
    assert "only one of type production can be a source" in words(result.stderr)


def test_an_unset_variable_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that asks for it."""
    monkeypatch.delenv("PRODUCTION_URL")
    result = run("source", "check")
    assert result.exit_code == 2
    assert re.search(r"tezcat\.yaml:2:\d+: the environment variable PRODUCTION_URL is not set", words(result.stderr))


def test_unmasked_copies_are_refused(project: Path) -> None:
    """There is no way to clone without masks."""
    result = run("clone", "--target", "test", "--no-anonymize")
    assert result.exit_code == 3
    assert "always masked" in words(result.stderr)


@pytest.mark.parametrize(("typed", "flags", "given"), [("test\n", [], "test"), ("", ["--confirm", "x"], "x")])
def test_replacing_a_copy_asks_for_its_name(
    project: Path, monkeypatch: pytest.MonkeyPatch, typed: str, flags: list[str], given: str
) -> None:
    """At a terminal, unless --confirm answers; what was said is judged by the clone itself."""

    async def needs_confirmation(*_: object) -> str:
        return "environment test holds a finished copy."

    async def clone(*_: object, confirm: str | None, **__: object) -> None:
        raise Refused(f"confirmed with {confirm}")

    module = ModuleType("control.clone")
    module.__dict__.update(clone=clone, needs_confirmation=needs_confirmation)
    monkeypatch.setitem(sys.modules, "control.clone", module)
    monkeypatch.setattr(control, "clone", module, raising=False)
    monkeypatch.setattr("control.cli._is_interactive", lambda: True)
    result = CliRunner().invoke(app, ["clone", "--target", "test", *flags], input=typed)
    assert result.exit_code == 3
    assert f"confirmed with {given}" in result.stderr
    assert ("holds a finished copy" in result.stderr) == (not flags)


def test_a_server_that_does_not_answer_is_told(project: Path) -> None:
    """With exit code 4 and the environment's name, without its password."""
    result = run("source", "check")
    assert result.exit_code == 4
    assert "production" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["clone"], ["stream", "--until-lsn"], ["nonsense"], ["status", "--log-level", "x"]]
)
def test_bad_usage_is_exit_code_2(arguments: list[str]) -> None:
    """Missing, unknown and malformed options."""
    assert run(*arguments).exit_code == 2


def test_an_lsn_is_checked(project: Path) -> None:
    """Before anything is connected."""
    result = run("stream", "--target", "test", "--until-lsn", "nonsense")
    assert result.exit_code == 2
    assert "16/B374D848" in result.stderr


# ----------------------------------------------------------------------------------------------------------- init


def test_init_writes_settings_that_can_be_read(folder: Path) -> None:
    """And a key for its owner only, which is shown nowhere."""
    url = "postgresql://tezcat@localhost:5433/test?sslmode=require"
    result = run("init", "--production-url", "env:PRODUCTION_URL", "--target", f"test=test={url}")
    assert result.exit_code == 0
    key = folder / "tezcat.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", key.read_text())
    assert key.read_text().strip() not in result.output

    from control.settings import load_settings

    settings = load_settings(folder / "tezcat.yaml")
    assert settings.target("test").database_url.get_secret_value() == url
    assert settings.root_key() == bytes.fromhex(key.read_text())
    assert "export PRODUCTION_URL=" in result.stdout


def test_init_keeps_passwords_out_of_the_file(folder: Path) -> None:
    """A URL with a password becomes a variable that the next steps name."""
    result = run(
        "init",
        *("--production-url", f"postgresql://reader:{CANARY}@db/app"),
        *("--target", f"qa-1=test=host=db2 user=tezcat password={CANARY} dbname=qa"),
    )
    assert result.exit_code == 0
    written = (folder / "tezcat.yaml").read_text()
    assert CANARY not in written
    assert "env:PRODUCTION_URL" in written
    assert "env:QA_1_URL" in written
    assert "export QA_1_URL=" in result.stdout


@pytest.mark.parametrize("name", ["tezcat.yaml", "tezcat.key"])
def test_init_overwrites_nothing(folder: Path, name: str) -> None:
    """Neither file, and it writes none then."""
    (folder / name).write_text("mine")
    result = run("init", "--production-url", "env:P", "--target", "test=test=env:T")
    assert result.exit_code == 2
    assert "is there already" in words(result.stderr)
    assert (folder / name).read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == [name]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no terminal"),
        (["--production-url", "env:P"], "needs both"),
        (["--target", "test=test=env:T"], "needs both"),
        (["--production-url", "env:P", "--target", "test=env:T"], "NAME=TYPE=URL"),
        (["--production-url", "env:P", "--target", "x=production=env:T"], "must be one of"),
        (["--production-url", "env:P", "--target", "production=test=env:T"], "cannot be a copy's name"),
        (["--production-url", f"postgresql//x:{CANARY}@y", "--target", "test=test=env:T"], "not a PostgreSQL"),
        (["--production-url", "env:", "--target", "test=test=env:T"], "must follow env:"),
    ],
)
def test_init_refuses_what_makes_no_settings(folder: Path, arguments: list[str], says: str) -> None:
    """And leaves no file behind."""
    result = run("init", *arguments)
    assert result.exit_code == 2
    assert says in words(result.stderr)
    assert list(folder.iterdir()) == []


def test_masks_are_listed_and_explained() -> None:
    """All of them, or one with its examples; for machines too; and a name that is near."""
    listed = run("masks", "--json")
    assert listed.exit_code == 0
    names = [each["name"] for each in json.loads(listed.output)]
    assert {"keep", "email", "id.pattern", "json", "custom"} <= set(names)
    one = json.loads(run("masks", "email", "--json").output)
    assert one["keeps_apart"] == {"all its types": "tagged", "all its types, with preserve_format": "injective"}
    assert one["examples"][0]["masked"].endswith(("@example.com", "@example.net", "@example.org"))
    assert "reaches no one" in words(run("masks", "email").output)
    wrong = run("masks", "emial")
    assert wrong.exit_code == 2
    assert "Did you mean email?" in wrong.stderr


def test_masks_fit_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are broken, not cut, and no mask's name is."""
    monkeypatch.setenv("COLUMNS", "80")
    listed, one = run("masks").output, run("masks", "json").output
    assert max(map(len, [*listed.splitlines(), *one.splitlines()])) <= 80
    assert "…" not in listed + one
    assert all(re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", listed) for name in MASKS)
    assert words(MASKS["json"].notes) in words(one)


def test_the_page_of_masks_goes_to_stdout_alone() -> None:
    """So that it can be written to a file."""
    assert run("masks", "--markdown").stdout.startswith("# The masks\n")


def test_rules_of_other_tools_are_imported(tmp_path: Path) -> None:
    """The file is written, what has no equal is listed, and bad input leaves the file as it was."""
    sql, path = tmp_path / "labels.sql", tmp_path / "rules.yaml"
    label = "SECURITY LABEL FOR anon ON COLUMN people.{} IS 'MASKED WITH FUNCTION {}';"
    sql.write_text(label.format("email", "anon.fake_email()") + label.format("odd", "my.own()"))
    done = run("rules", "import", str(sql), "--from", "anon", "-o", str(path), "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["decided"], found["todo"]) == (1, 1)
    assert found["unequal"][0]["where"] == "public.people.odd"
    before = path.read_text()
    nowhere = run("rules", "import", str(sql), "--from", "anon", "-o", str(tmp_path / "nowhere" / "rules.yaml"))
    assert nowhere.exit_code == 2
    assert "there is no folder" in nowhere.stderr
    missing = run("rules", "import", "greenmask.yml", "--from", "greenmask", "-o", str(path))
    assert "Write it with" not in missing.stderr
    for arguments in (("--from", "neosync"), ("--from", "greenmask")):
        wrong = run("rules", "import", str(sql), *arguments, "-o", str(path))
        assert wrong.exit_code == 2
        assert "Traceback" not in wrong.stderr
    assert path.read_text() == before


async def _is_cancelled_and_fails() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.sleep(60)
    finally:
        raise ServerFailed("the connection was lost.")


def test_who_was_interrupted_is_not_told_what_failed_in_consequence() -> None:
    """The exit code is 130, as for every command that was."""
    with pytest.raises(asyncio.CancelledError):
        outcome.run(_is_cancelled_and_fails())
