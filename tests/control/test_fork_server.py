"""The process that workers are forked by starts wherever temporary files are kept, and minds no Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
from concurrent.futures import ProcessPoolExecutor
from control import fork_server
fork_server.start()
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=fork_server.CONTEXT) as pool:
        print(pool.submit(abs, -7).result())
"""


@pytest.mark.parametrize("more", [0, 150])
def test_a_long_path_for_temporary_files_is_no_obstacle(tmp_path: Path, more: int) -> None:
    """A Unix socket's address has room for little more than a hundred bytes."""
    folder = tmp_path / ("f" * more or "f")
    folder.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (0, "7\n"), ended.stderr
    assert not list(folder.iterdir())


_INTERRUPTED = """
import os, signal, sys, time
from multiprocessing import forkserver
from concurrent.futures import ProcessPoolExecutor
from control import fork_server
if __name__ == "__main__":
    fork_server.start()
    process = forkserver._forkserver._forkserver_pid
    for _ in range(50):
        os.kill(process, signal.SIGINT)
        time.sleep(0.02)
    with ProcessPoolExecutor(1, mp_context=fork_server.CONTEXT) as pool:
        print(pool.submit(abs, -7).result(), forkserver._forkserver._forkserver_pid == process)
    signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_is_for_the_process_that_started_it() -> None:
    """While it imports, too: it goes on and writes nothing, and whoever started it hears of Ctrl-C as before."""
    ended = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stdout == "7 True\n"
    assert ended.stderr.count("Traceback") == 1
    assert "raise_signal(signal.SIGINT)" not in ended.stderr.split("KeyboardInterrupt", maxsplit=1)[1]
