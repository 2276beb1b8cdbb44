"""The process that workers are forked by.

It has imported what they need and nothing else: there is no connection, no key and no thread of ours that could leak
into them, they start in no time, and they share the memory that the imports take. Importing takes it a second; who
starts it first and then imports and connects gets that second for nothing. It ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
from multiprocessing import forkserver, resource_tracker, util
from typing import Final

CONTEXT: Final = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["control.workers"])

# The address of a Unix socket has room for 107 bytes; what is made below the folder for temporary files takes 32.
_MOST_BYTES: Final = 107 - 32
_SHORT_FOLDER: Final = "/tmp"  # noqa: S108 - multiprocessing makes a folder of its own in it, for this user alone


def start() -> None:
    """Start it and do not wait for it; without this the first worker does."""
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) > _MOST_BYTES:
        # Python asks for the place once, and keeps to it.
        tempfile.tempdir = _SHORT_FOLDER
        util.get_temp_dir()
        tempfile.tempdir = folder
    # Ctrl-C reaches the whole process group. The process begins with it blocked, or would complain of it while it
    # imports; for this process it only waits. The tracker, which starts with the server, would lift that.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill() -> None:
    """Kill it; the next worker starts another. What it had to tell of its processes is taken as told."""
    # The library tells it nowhere else.
    pid: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            # Who starts the next looks whether this one has ended; that it ends is a matter of a moment.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
