"""A stream ends when it is asked to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from control import stream as module
from control.settings import load_settings
from control.stream import stream
from tests.fix_project import write_settings


class _Halted:
    """A session that waits for a server which says nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    async def run(self) -> None:
        await asyncio.sleep(600)


async def test_a_session_that_waits_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it waits for, also before it has begun to stream."""
    monkeypatch.setattr(module, "Session", _Halted)
    monkeypatch.setattr(module, "_STOP_SECONDS", 0.1)
    url = "postgresql://127.0.0.1:1/app"
    write_settings(tmp_path, url, {"test": url})
    stop = asyncio.Event()
    task = asyncio.create_task(
        stream(
            load_settings(tmp_path / "tezcat.yaml"),
            "test",
            until=None,
            until_caught_up=False,
            accept_writable_role=False,
            stop=stop,
            on_progress=lambda _: None,
        )
    )
    await asyncio.sleep(0.2)
    assert not task.done()
    stop.set()
    assert (await asyncio.wait_for(task, 30)).state == "stopped"
