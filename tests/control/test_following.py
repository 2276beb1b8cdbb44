"""How signals end ``tezcat stream``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from capture.model import Lsn
from control.cli import app

PROGRESS = SimpleNamespace(
    state="streaming",
    applied_lsn=Lsn.parse("16/B374D848"),
    transactions=3,
    changes=7,
    lag_bytes=1_500,
    lag_seconds=0.25,
    consistent=True,
)
SETTINGS = """\
environments:
  production: {type: production, database_url: "postgresql://127.0.0.1:1/app"}
  test: {type: test, database_url: "postgresql://127.0.0.1:1/test"}
key: file:tezcat.key
"""


async def _until_stopped(stop: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await stop.wait()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the command on a stream that gets these signals, one after the other, while it works."""
    monkeypatch.chdir(tmp_path)
    Path("tezcat.yaml").write_text(SETTINGS)

    def with_signals(*numbers: signal.Signals, arguments: tuple[str, ...] = ()) -> Any:
        async def stream(*_: Any, stop: asyncio.Event, on_progress: Callable[[Any], None], **__: Any) -> Any:
            on_progress(PROGRESS)
            for number in numbers:
                os.kill(os.getpid(), number)
                await _until_stopped(stop)
            if len(numbers) > 1:
                await asyncio.sleep(10)  # a transaction that does not end soon
            return PROGRESS

        module = ModuleType("control.stream")
        vars(module)["stream"] = stream
        monkeypatch.setitem(sys.modules, "control.stream", module)
        return CliRunner().invoke(app, ["stream", "--target", "test", *arguments])

    return with_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_it_cleanly(run: Callable[..., Any], number: signal.Signals) -> None:
    """The stream comes to a transaction's end by itself, and the command succeeds."""
    result = run(number)
    assert result.exit_code == 0
    assert "test is at 16/B374D848: 3 transactions, 7 changes applied." in result.stdout
    assert "ending after the transaction in hand" in result.stderr


def test_the_second_signal_interrupts_it(run: Callable[..., Any]) -> None:
    """Whatever transaction is in hand."""
    result = run(signal.SIGINT, signal.SIGTERM)
    assert result.exit_code == 130
    assert "interrupted." in result.stderr


def test_where_it_ended_is_json(run: Callable[..., Any]) -> None:
    """On stdout alone; progress goes to stderr."""
    document = json.loads(run(arguments=("--json",)).stdout)
    assert document["environment"] == "test"
    assert document["applied_lsn"] == "16/B374D848"
    assert document["lag_seconds"] == 0.25


def test_away_from_a_terminal_each_new_state_is_a_line(run: Callable[..., Any]) -> None:
    """With position and lag in words."""
    result = run()
    assert "streaming  applied 16/B374D848" in result.stderr
    assert "lag 1.5 kB, 0.2 s" in result.stderr
