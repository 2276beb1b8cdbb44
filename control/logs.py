"""Logs: JSON lines on stderr, or on a terminal readable ones; never a value of a row.

Our own code logs through structlog with fields that it chose. Libraries log through ``logging``; of their records only
the first line of the template passes, without its arguments and without the text of an exception, for these may quote
data (asyncio prints the ``repr`` of what a task raised).
"""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import Final, NoReturn

import structlog
from rich.console import Console
from rich.markup import escape
from structlog.types import EventDict, Processor

# Fields that are sentences of ours, and need no name.
_SENTENCES: Final = frozenset({"what", "reason"})


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def number(self) -> int:
        """The level as ``logging`` counts."""
        return logging.getLevelNamesMapping()[self.name]


class _Stderr:
    """Writes to whatever ``sys.stderr`` is at that moment: a live display puts itself in its place."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _LibraryHandler(logging.Handler):
    """Passes on what a library logs, without anything that could be data."""

    def emit(self, record: logging.LogRecord) -> None:
        event = str(record.msg).partition("\n")[0]
        fields = {"logger": record.name}
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = record.exc_info[0].__qualname__
        structlog.get_logger().log(record.levelno, event, **fields)


class _ForPeople:
    """Shows an entry as one line in the colour of its level, among whatever the terminal shows already."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, _logger: object, _method: str, entry: EventDict) -> NoReturn:
        level, event = entry.pop("level"), entry.pop("event")
        fields = "; ".join(str(value) if name in _SENTENCES else f"{name} {value}" for name, value in entry.items())
        colour = "yellow" if level == "warning" else "red"
        self._console.print(f"[{colour}]{level}:[/] {escape(f'{event}: {fields}' if fields else str(event))}")
        raise structlog.DropEvent


def set_up(level: LogLevel, console: Console | None) -> None:
    """Send everything at ``level`` or above to ``console`` for people to read, or without one to stderr as JSON."""
    rendered: list[Processor] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *(rendered if console is None else [_ForPeople(console)]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level.number),
        logger_factory=structlog.WriteLoggerFactory(_Stderr()),  # type: ignore[arg-type]  # it writes and flushes
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=level.number, handlers=[_LibraryHandler()], force=True)
