"""How a command ends: its exit code, and one paragraph when it ends badly.

``running`` is the frame around every command. The exit code tells whose turn it is: 1 a check found something, 2 the
user's input is wrong, 3 refused for safety, 4 a server or the program failed, 130 interrupted. The text of an
exception that is not ours is never shown, for it may quote a value of a row; a defect is named by its type and place.
"""

from __future__ import annotations

import asyncio
import json
import signal
import traceback
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from capture.model import BadInput, Problem, Refused, ServerFailed, TezcatError
from control import logs
from control.console import RichReport, stderr_console, stdout_console

ResultT = TypeVar("ResultT")

_ROOT: Final = Path(__file__).resolve().parent.parent
_PACKAGES: Final = frozenset({"capture", "transform", "sink", "control"})


class ExitCode(IntEnum):
    """What a script may rely on."""

    DONE = 0
    PROBLEM = 1
    BAD_INPUT = 2
    REFUSED = 3
    FAILED = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a command ended badly, in words for its user."""

    kind: str
    code: ExitCode
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where one command reads from and writes to. With ``as_json`` its result is one JSON document on stdout."""

    out: Console
    err: Console
    report: RichReport
    as_json: bool

    def result(self, document: Any) -> None:
        """Write the result as JSON, in the document's own order."""
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@contextmanager
def running(*, as_json: bool, log_level: logs.LogLevel) -> Iterator[Terminal]:
    """Run a command's body: whatever it raises becomes a paragraph on stderr and ``typer.Exit`` with a code.

    With ``as_json`` the error is also the result, ``{"error": {kind, exit_code, message, hint}}``.
    """
    # A shell without job control starts what runs in the background with SIGINT ignored, and asyncio then leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _as_interrupt)
    err = stderr_console()
    # Who asks for more than warnings, or for JSON, has a program read it.
    is_read = err.is_terminal and not as_json and log_level.number >= logs.LogLevel.WARNING.number
    logs.set_up(log_level, err if is_read else None)
    terminal = Terminal(stdout_console(), err, RichReport(err), as_json)
    try:
        yield terminal
    except (typer.Exit, BrokenPipeError, SystemExit):
        raise
    except BaseException as error:
        failure = explain(error)
        tell(terminal, failure)
        if as_json:
            terminal.result(
                {
                    "error": {
                        "kind": failure.kind,
                        "exit_code": int(failure.code),
                        "message": failure.message,
                        "hint": failure.hint,
                    }
                }
            )
        if log_level is logs.LogLevel.DEBUG:
            err.print(_frames(error), markup=False, style="dim")
        raise typer.Exit(failure.code) from None


def run(operation: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a command's operation to its end. Who was asked to end was interrupted, whatever failed in consequence."""

    async def main() -> ResultT:
        try:
            return await operation
        except Exception:
            if is_asked_to_end():
                raise asyncio.CancelledError from None
            raise

    return asyncio.run(main())


def is_asked_to_end() -> bool:
    """Whether the running task has been cancelled, as by Ctrl-C."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def explain(error: BaseException) -> Failure:
    """The one place that maps errors to exit codes and words."""
    error = _cause(error)
    match error:
        case Problem():
            return Failure("problem", ExitCode.PROBLEM, error.message, error.hint)
        case BadInput():
            return Failure("bad_input", ExitCode.BAD_INPUT, error.message, error.hint)
        case Refused():
            return Failure("refused", ExitCode.REFUSED, error.message, error.hint)
        case ServerFailed() | TezcatError():
            return Failure("failed", ExitCode.FAILED, error.message, error.hint)
        case KeyboardInterrupt() | asyncio.CancelledError() | typer.Abort() | EOFError():
            return Failure("interrupted", ExitCode.INTERRUPTED, "interrupted.")
        case OSError(errno=int(), filename=str() | bytes() as filename):
            name = filename if isinstance(filename, str) else filename.decode(errors="replace")
            return Failure("bad_input", ExitCode.BAD_INPUT, f"the file {name} cannot be used: {error.strerror}.")
        case OSError(errno=int()):
            return Failure("failed", ExitCode.FAILED, f"the operating system refused: {error.strerror}.")
        case _:
            kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
            message = f"this is a defect in tezcat: {kind} at {_place(error.__traceback__)}."
            hint = "Nothing more is shown, because it might quote data; --log-level debug prints the way there."
            return Failure("defect", ExitCode.FAILED, message, hint)


def tell(terminal: Terminal, failure: Failure) -> None:
    """One paragraph on stderr."""
    text = f"{failure.message} {failure.hint}".rstrip()
    if failure.code is ExitCode.INTERRUPTED:
        terminal.err.print(text, markup=False)
    else:
        terminal.err.print(f"[bold red]error:[/] {escape(text)}")


def _cause(error: BaseException) -> BaseException:
    """Of what several tasks raised together, the error that tells the user most."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [_cause(each) for each in error.exceptions]
    return next((each for each in causes if isinstance(each, TezcatError)), causes[0])


def _place(trace: TracebackType | None) -> str:
    """``sink/apply.py:120``, the innermost frame of our own code."""
    place = "an unknown place"
    for frame, line in traceback.walk_tb(trace):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in _PACKAGES:
            place = f"{path.relative_to(_ROOT)}:{line}"
    return place


def _frames(error: BaseException) -> str:
    """The traceback without the exceptions' texts, causes first."""
    inner = error.__cause__ or error.__context__
    lines = [_frames(inner)] if inner is not None else []
    lines += [line.rstrip() for line in traceback.format_tb(error.__traceback__)]
    lines.append(f"{type(error).__module__}.{type(error).__qualname__}")
    if isinstance(error, BaseExceptionGroup):
        lines += [_frames(each) for each in error.exceptions]
    return "\n".join(lines)


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a command as Ctrl-C does, so that what it opened is closed."""
    signal.raise_signal(signal.SIGINT)
