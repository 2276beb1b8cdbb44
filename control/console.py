"""Terminals: progress on stderr, results on stdout.

``RichReport`` draws a bar per running task while stderr is a terminal, and leaves one plain line per finished task;
elsewhere it writes those lines only. Text from outside never goes through Rich's markup.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from capture.model import counted
from control.report import Advance


def stdout_console() -> Console:
    """Where results go; colours only on a terminal."""
    return _console(stderr=False)


def stderr_console() -> Console:
    """Where progress, questions and errors go; colours only on a terminal."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False)
    # People read whole words; programs read whole lines.
    console.soft_wrap = not console.is_terminal
    return console


def amount_text(amount: float, unit: str) -> str:
    """``1.2 MB`` for bytes, ``12,000 rows`` for the rest."""
    return decimal(round(amount)) if unit == "bytes" else counted(round(amount), unit.removesuffix("s"))


def duration_text(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


class _AmountColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        done = amount_text(task.completed, unit)
        return Text(done if task.total is None else f"{done} of {amount_text(task.total, unit)}", "progress.download")


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{amount_text(speed, task.fields['unit'])}/s" if speed else "", "progress.data.speed")


class RichReport:
    """The ``Report`` of the command line; see the module's contract."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None

    def say(self, text: str) -> None:
        """Write a line."""
        self._console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Write a line that stands out."""
        self._console.print(f"[yellow]warning:[/] {escape(text)}")

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Show a bar while the context is open, and a line when it ends well."""
        progress = self._open()
        row = progress.add_task(escape(name), total=total, unit=unit)
        done = 0

        def advance(amount: int) -> None:
            nonlocal done
            done += amount
            progress.advance(row, amount)

        began = time.monotonic()
        try:
            yield advance
        finally:
            progress.remove_task(row)
            self._close_if_idle()
        self.say(f"{name}: {amount_text(done, unit)} in {duration_text(time.monotonic() - began)}")

    def _open(self) -> Progress:
        """The live display that all running tasks share; it lives as long as one of them does."""
        if self._progress is None:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=28),
                _AmountColumn(),
                _RateColumn(),
                TimeRemainingColumn(compact=True),
                console=self._console,
                transient=True,
                disable=not self._console.is_terminal,
            )
            self._progress.start()
        return self._progress

    def _close_if_idle(self) -> None:
        if self._progress is not None and not self._progress.tasks:
            self._progress.stop()
            self._progress = None
