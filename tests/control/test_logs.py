"""What is logged reaches its reader: lines of JSON for a program, sentences for a person at a terminal."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from rich.console import Console

from control import logs
from control.logs import LogLevel


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Other tests find logging as they know it."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    structlog.reset_defaults()
    logging.basicConfig(level=level, handlers=handlers, force=True)


def test_a_program_reads_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with level and time."""
    logs.set_up(LogLevel.WARNING, None)
    structlog.get_logger().warning("drift", what="production has a new table public.pets.")
    structlog.get_logger().info("too little to tell")
    entry = json.loads(capsys.readouterr().err)
    assert (entry["event"], entry["level"]) == ("drift", "warning")
    assert entry["what"] == "production has a new table public.pets."
    assert "timestamp" in entry


def test_a_person_reads_a_sentence() -> None:
    """Coloured by its level; what a name holds is never taken for markup."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system="standard", width=200, highlight=False)
    logs.set_up(LogLevel.WARNING, console)
    structlog.get_logger().warning("drift", what='production has a new table public."[red]".')
    structlog.get_logger().warning("stream interrupted", reason="the server went away.", again_in_seconds=2.0)
    logging.getLogger("asyncio").error("a task raised %s", "a secret")
    first, second, third = written.getvalue().splitlines()
    assert first == '\x1b[33mwarning:\x1b[0m drift: production has a new table public."[red]".'
    assert second.endswith("stream interrupted: the server went away.; again_in_seconds 2.0")
    assert third.startswith("\x1b[31merror:")
    assert "secret" not in third
