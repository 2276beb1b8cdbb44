"""Progress at the terminal and away from it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from control.console import RichReport, amount_text, duration_text, stdout_console


def _console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=120, soft_wrap=True, highlight=False), out


def test_away_from_a_terminal_a_finished_task_is_one_line() -> None:
    """No bars, no control codes; the line holds what was done, not what was planned."""
    console, out = _console(terminal=False)
    report = RichReport(console)
    with report.task("public.guests", 5_000, "rows") as advance:
        advance(1_200)
        advance(34)
        assert out.getvalue() == ""
    assert out.getvalue().startswith("public.guests: 1,234 rows in 0.")
    assert out.getvalue().count("\n") == 1


def test_a_task_that_fails_does_not_claim_to_be_done() -> None:
    """Its bar goes, and its error tells the rest."""
    console, out = _console(terminal=True)
    report = RichReport(console)
    with pytest.raises(LookupError), report.task("rows", None, "bytes"):
        raise LookupError
    assert "rows:" not in out.getvalue()


def test_several_tasks_share_one_display() -> None:
    """Which ends with the last of them; what is said meanwhile stands above it."""
    console, out = _console(terminal=True)
    report = RichReport(console)
    with report.task("one", 100, "bytes") as first, report.task("two", None, "rows") as second:
        first(100)
        second(7)
        report.warn("a [bracket] is no markup")
    assert "two: 7 rows" in out.getvalue()
    assert "one: 100 bytes" in out.getvalue()
    assert "a [bracket] is no markup" in out.getvalue()
    with report.task("three", 1, "tables") as third:
        third(1)
    assert "three: 1 table " in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    """Two units at most."""
    assert duration_text(seconds) == text


def test_amounts_carry_their_unit() -> None:
    """Bytes by thousands, as the disk counts them."""
    assert amount_text(1_500_000, "bytes") == "1.5 MB"
    assert amount_text(12_000, "rows") == "12,000 rows"
    assert amount_text(1, "rows") == "1 row"


@pytest.mark.parametrize(("terminal", "lines"), [("1", ["one two", "three four"]), ("", ["one two three four"])])
def test_lines_break_between_words_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: str, lines: list[str]
) -> None:
    """A person reads words; a program that reads a pipe gets whole lines."""
    monkeypatch.setenv("FORCE_COLOR", terminal)
    monkeypatch.setenv("COLUMNS", "11")
    stdout_console().print("one two three four")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == lines
