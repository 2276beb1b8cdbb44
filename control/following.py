"""``tezcat stream`` at the terminal: signals that end it cleanly, and one live line while it runs.

The first SIGINT or SIGTERM lets the stream end after the transaction in hand; the second interrupts it, which loses
nothing either, since what was not committed is read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.text import Text

from capture.model import Lsn
from control.outcome import Terminal
from control.results import stream_line

if TYPE_CHECKING:
    from control.settings import Settings
    from control.stream import StreamProgress

_RATE_SECONDS = 5.0


async def follow(
    settings: Settings,
    target: str,
    *,
    until: Lsn | None,
    until_caught_up: bool,
    accept_writable_role: bool,
    terminal: Terminal,
) -> StreamProgress:
    """Stream until it ends by itself or a signal ends it; where it then stands."""
    with _stopping_on_signals(terminal) as stop, _Line(terminal) as line:
        # Imported now, because it takes a while in which a signal must already count.
        from control.stream import stream

        return await stream(
            settings,
            target,
            until=until,
            until_caught_up=until_caught_up,
            accept_writable_role=accept_writable_role,
            stop=stop,
            on_progress=line.show,
        )


@contextlib.contextmanager
def _stopping_on_signals(terminal: Terminal) -> Iterator[asyncio.Event]:
    stop = asyncio.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        else:
            terminal.report.say("ending after the transaction in hand; once more interrupts it.")
            stop.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


class _Line:
    """Shows the latest progress: in place on a terminal, elsewhere a line whenever the state changes."""

    def __init__(self, terminal: Terminal) -> None:
        self._report = terminal.report
        self._live = Live(console=terminal.err, transient=True) if terminal.err.is_terminal else None
        self._state = ""
        self._seen: deque[tuple[float, int]] = deque()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: StreamProgress) -> None:
        """Take note of a progress."""
        line = stream_line(progress, self._rate(progress.transactions))
        if self._live is not None:
            self._live.update(Text(line))
        elif progress.state != self._state:
            self._report.say(line)
        self._state = progress.state

    def _rate(self, transactions: int) -> float:
        """Transactions per second over the last few seconds."""
        now = time.monotonic()
        self._seen.append((now, transactions))
        while now - self._seen[0][0] > _RATE_SECONDS:
            self._seen.popleft()
        first_time, first = self._seen[0]
        return (transactions - first) / (now - first_time) if now > first_time else 0.0
