"""``tezcat`` without the second that it takes to import it: a process that has, and that every command is forked from.
So are the processes that a command starts for its workers.

A command is a process of its own all the same, with its own id, arguments, environment, folder and files. It takes
signals, and ends, as any other does; only whoever waits for it asks the process that forked it. ``Nursery`` is that
process from the outside. From the inside it is this module as a program: it listens on a Unix socket, takes a command
and two files from each connection, and answers with the process's id, and with its exit code when it has ended.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import itertools
import json
import multiprocessing.util
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What commands and the workers of a clone import when they run.
_IMPORTED = "cli clone following resync rules_commands rules_diff source_commands status verify workers".split()
_MOST_BYTES = 1 << 20
_ROOT = Path(__file__).parent.parent.parent


class Forked:
    """A command's process; what tests need of ``subprocess.Popen``."""

    def __init__(self, connection: socket.socket) -> None:
        self._answers = connection
        self._lock = threading.Lock()
        self.pid = int(self._answer(None))
        self.returncode: int | None = None

    def _answer(self, seconds: float | None) -> str:
        self._answers.settimeout(seconds)
        line = self._answers.recv(16)
        assert line, "the process that commands are forked from has ended"
        return line.decode()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code, or minus the signal's number. Raises ``subprocess.TimeoutExpired``."""
        with self._lock:
            if self.returncode is None:
                try:
                    self.returncode = int(self._answer(timeout))
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired("tezcat", timeout or 0) from None
                self._answers.close()
            return self.returncode

    def poll(self) -> int | None:
        """The same where it has ended, else None."""
        if not self._lock.acquire(blocking=False):
            return None
        self._lock.release()
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that commands are forked from. It ends with this one."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tezcat-test-")
        self._address = str(Path(self._folder.name) / "socket")
        command = [sys.executable, "-m", "tests.integration.forked", self._address]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        atexit.register(self._end)

    def _end(self) -> None:
        with self._process:  # which closes its stdin
            pass
        self._folder.cleanup()

    def start(
        self, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], out: Path, err: Path
    ) -> Forked:
        """Start ``tezcat`` with these arguments, in this folder, with nothing to read."""
        asked = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self._address)
        with Path(os.devnull).open("rb") as nothing, out.open("wb") as out_file, err.open("wb") as err_file:
            files = [file.fileno() for file in (nothing, out_file, err_file)]
            socket.send_fds(connection, [json.dumps(asked).encode()], files)
            return Forked(connection)


@functools.cache
def nursery() -> Nursery:
    """The one of this test process, begun when first asked for."""
    return Nursery()


# ------------------------------------------------------------------------------------------------------- inside


def _serve(listener: socket.socket) -> dict[str, Any] | None:
    """Fork a process for each command. Returns what was asked for in such a process, and None in the one that forks
    them, when its stdin has ended."""
    children: dict[int, tuple[int, socket.socket]] = {}  # by a descriptor that is readable when the process has ended
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is not listener:
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    pid, connection = children.pop(key.fd)
                    with connection, contextlib.suppress(BrokenPipeError):  # who asked may have gone
                        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
                    continue
                connection, _ = listener.accept()
                message, files, _, _ = socket.recv_fds(connection, _MOST_BYTES, 3)
                if (pid := os.fork()) == 0:
                    for number, file in enumerate(files):
                        os.dup2(file, number)
                    for file in (*files, *children):
                        os.close(file)
                    for _, other in (*children.values(), (0, connection)):
                        other.close()
                    asked: dict[str, Any] = json.loads(message)
                    return asked
                for file in files:
                    os.close(file)
                connection.send(str(pid).encode())
                descriptor = os.pidfd_open(pid)
                children[descriptor] = (pid, connection)
                selector.register(descriptor, selectors.EVENT_READ)


def _fork_program(path: str, arguments: Sequence[str], passed: Sequence[int]) -> int:
    """Take the place of ``multiprocessing.util.spawnv_passfds``: fork what it starts as ``python -c``, which are the
    process that forks a clone's workers, and the one that removes what these left. Gives the process's id."""
    sys.stdout.flush()
    if (pid := os.fork()) != 0:
        return pid
    try:
        # A program that is executed does not inherit handlers.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for below, above in itertools.pairwise((2, *sorted(passed), 1 << 10)):
            os.closerange(below + 1, above)
        exec(arguments[-1], {})
    finally:
        os._exit(0)


def _main(address: str) -> None:
    for name in _IMPORTED:
        importlib.import_module(f"control.{name}")
    # What was imported is not written to when somebody collects, and so stays shared.
    gc.freeze()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        os.write(1, b"ready\n")
        asked = _serve(listener)
    if asked is not None:
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv[1:] = asked["arguments"]
        multiprocessing.util.spawnv_passfds = _fork_program
        runpy.run_module("control", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(sys.argv[1])
