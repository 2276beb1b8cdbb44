"""A preview shows real values: on a terminal, beside their masks, and nowhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from control.cli import app
from control.rules_results import _shortened
from tests.fix_postgres import Database
from tests.fix_project import write_settings

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-7f3a"
RULES = """\
version: 1
tables:
  public.guests: {columns: {id: keep, email: email, note: {mask: redact, when: "id <> 2"}, odd: keep, code: todo}}
  public.visits: {rows: {where: "id > 3"}, columns: {id: keep, who: username}}
  public.hidden: {rows: none}
"""


@pytest.fixture
def folder(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose production has values that would steer a terminal."""
    database.execute(
        "CREATE TABLE guests (id int PRIMARY KEY, email text UNIQUE, note text, odd text, code text)",
        f"INSERT INTO guests SELECT n, '{CANARY}' || n || '@x.example', 'note ' || n, E'\\x1b[31mred\\n', NULL "
        "FROM generate_series(1, 3) n",
        "CREATE TABLE visits (id int PRIMARY KEY, who text)",
        "INSERT INTO visits SELECT n, 'who' || n FROM generate_series(1, 6) n",
        "CREATE TABLE hidden (id int)",
    )
    monkeypatch.chdir(tmp_path)
    write_settings(tmp_path, database.url, {"test": "postgresql://127.0.0.1:1/test"})
    (tmp_path / "rules.yaml").write_text(RULES)
    return tmp_path


def on_a_terminal(folder: Path, *arguments: str, width: int = 100) -> tuple[int, str, str]:
    """Run a preview with a pseudo-terminal as stdout: its exit code, what the terminal got without styles, stderr."""
    own, shown = os.openpty()
    termios.tcsetwinsize(shown, (40, width))
    command = [sys.executable, "-m", "control", "rules", "preview", "--accept-writable-role", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        command, cwd=folder, stdin=shown, stdout=shown, stderr=subprocess.PIPE, env=environment
    ) as running:
        os.close(shown)
        parts = []
        # Linux tells the end of a pseudo-terminal by an error.
        try:
            while part := os.read(own, 65536):
                parts.append(part)
        except OSError:
            pass
        os.close(own)
        _, errors = running.communicate(timeout=60)
    text = re.sub(r"\x1b\[[0-9;]*m", "", b"".join(parts).decode())
    return running.returncode, text, errors.decode()


def test_rows_stand_beside_their_masks(folder: Path) -> None:
    """With the mask of each column; what is kept is shown once, and what is no printable character is written out."""
    code, shown, errors = on_a_terminal(folder, "--table", "public.guests", "--log-level", "info", width=160)
    assert code == 0, errors
    assert f"{CANARY}1@x.example" in shown
    assert "as test would have it: 3 rows" in shown
    assert re.search(r"id +email +email +note +redact with|redact under a condition", shown)
    first, second = (next(line for line in shown.splitlines() if f"note {n}" in line) for n in (1, 2))
    assert re.search(r"@\S+\.(example|test)", first)
    assert first.count("note 1") == 1
    assert second.count("note 2") == 2
    assert "\\x1b[31mred\\n" in shown
    assert "not copied: undecided" in shown
    # Of values, nothing is in the log.
    assert "rows were previewed" in errors
    assert CANARY not in errors


def test_a_wide_table_is_shown_record_by_record(folder: Path) -> None:
    """Values are shortened, so that no line is longer than the terminal."""
    code, shown, errors = on_a_terminal(folder, "--table", "public.guests", "-n", "2", width=70)
    assert code == 0, errors
    lines = shown.splitlines()
    assert [line.strip() for line in lines if line.startswith("row")] == ["row 1", "row 2"]
    assert max(map(len, lines[1:])) <= 70
    assert any(re.match(r"email +email +canary", line) for line in lines)


def test_wide_characters_take_two_columns() -> None:
    """Of the terminal, so that the lines of a table in Japanese are no longer than others."""
    shown = _shortened("東京都千代田区" * 9, 20)
    assert shown.endswith("…")
    assert cell_len(shown) == 20
    assert _shortened("東京", 4) == "東京"


def test_columns_and_rows_are_chosen(folder: Path) -> None:
    """Those that are asked for, of the rows that are copied."""
    code, shown, errors = on_a_terminal(folder, "--table", "public.visits", "--columns", "who")
    assert code == 0, errors
    assert set(re.findall(r"who\d", shown)) == {"who4", "who5", "who6"}
    assert "id" not in shown.splitlines()[1].split()


def test_values_of_chosen_columns_are_shown_whole(folder: Path, database: Database) -> None:
    """A document shows only at its end whether all of it is masked; without a choice it is shortened."""
    database.execute(f"UPDATE guests SET odd = repeat('{CANARY} ', 20) || 'closing'")
    code, shown, errors = on_a_terminal(folder, "--table", "public.guests", "--columns", "odd,id", "-n", "1", width=70)
    assert code == 0, errors
    assert max(map(len, shown.splitlines())) <= 70
    assert shown.count(CANARY) >= 20
    assert "closing" in shown
    assert "would have it: 1 row." in shown
    _, shortened, _ = on_a_terminal(folder, "--table", "public.guests", "-n", "1", width=70)
    assert "closing" not in shortened


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--table", "public.hidden"), "rows: none"),
        (("--table", "public.nothing"), "no table public.nothing"),
        (("--table", "public.guest"), "Did you mean public.guests?"),
        (("--table", "public.guests", "--columns", "emial"), "no column emial"),
        (("--table", "guests"), "schema.table"),
    ],
)
def test_what_cannot_be_shown_is_told(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    """As wrong input."""
    code, shown, errors = on_a_terminal(folder, *arguments)
    assert code == 2
    assert words in errors
    assert CANARY not in shown + errors


def test_several_targets_must_be_told_apart(folder: Path, database: Database) -> None:
    """Each has a key of its own, so that the masks differ."""
    targets = {"test": "postgresql://127.0.0.1:1/test", "other": "postgresql://127.0.0.1:1/other"}
    write_settings(folder, database.url, targets)
    (folder / "rules.yaml").write_text(RULES)
    code, _, errors = on_a_terminal(folder, "--table", "public.visits")
    assert code == 2
    assert "test, other" in errors
    of_test, of_other = (on_a_terminal(folder, "--table", "public.visits", "--target", name)[1] for name in targets)
    assert of_test.splitlines()[2:] != of_other.splitlines()[2:]


def test_nothing_is_written_to_a_file_or_a_pipe(folder: Path) -> None:
    """It is refused before production is asked."""
    refused = CliRunner().invoke(app, ["rules", "preview", "--accept-writable-role", "--table", "public.guests"])
    assert refused.exit_code == 3
    assert CANARY not in refused.output
    assert "terminal only" in refused.stderr
