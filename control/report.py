"""How an operation tells a person what it is doing, without knowing about terminals.

Operations take a ``Report`` and speak to it; ``control.console`` draws it, ``QuietReport`` keeps silent. Nothing said
here may hold a value of a row. Results are returned, never reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeAlias

Advance: TypeAlias = Callable[[int], None]


class Report(Protocol):
    """Where an operation's progress goes. All of it may be called from one event loop's thread only."""

    def say(self, text: str) -> None:
        """A step that was done or begins, as one sentence."""

    def warn(self, text: str) -> None:
        """Something the user should know about although the operation goes on, as one sentence."""

    def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        """A piece of long work, open while the context is; several may be at once.

        ``total`` is in ``unit`` ("bytes", "rows", "tables", ...); None when it is not known. The context's value
        advances the task by that many units.
        """


class QuietReport:
    """A ``Report`` that drops everything, for tests and for use as a library."""

    def say(self, text: str) -> None:
        """Drop it."""

    def warn(self, text: str) -> None:
        """Drop it."""

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Drop it."""
        yield lambda amount: None
