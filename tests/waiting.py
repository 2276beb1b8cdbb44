"""Servers and processes take their time. A test waits for what it needs of them, and never for a while instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path


async def eventually(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until something holds; fail when it does not in time, which is far beyond what a busy machine needs."""
    try:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - a server tells nobody
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not in {seconds} s: {what}") from None


def is_running(pid: int) -> bool:
    """A process that has ended and was not waited for yet does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False
