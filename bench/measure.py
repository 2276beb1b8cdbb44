"""Clocks: seconds, CPU seconds, peak memory, and what becomes of several rounds of them.

A program's CPU seconds are those of it and of all programs that it started and waited for. Its peak memory is the
resident memory of it and its descendants at the worst moment, added up; pages that they share count several times, so
it errs upwards. The servers' CPU seconds are counted apart, for both sides of a comparison.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # it comes without types

_SAMPLE_SECONDS: Final = 0.1
# What ru_maxrss counts in, on Linux.
_MAXRSS_UNIT: Final = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run. ``cpu_seconds`` and ``peak_bytes`` are None where the servers did it all themselves."""

    seconds: float
    server_cpu_seconds: float
    cpu_seconds: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """tezcat and its reference, doing the same work. ``idle_seconds`` is the same command with nothing left to do."""

    rows: int
    tezcat: Sample
    reference: Sample
    idle_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """The lowest, the middle and the highest of several values."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values))


class Stopwatch:
    """Seconds, and CPU seconds of the servers, since it was made."""

    def __init__(self, servers: Sequence[int]) -> None:
        self._servers = servers
        self._server_cpu = self._read()
        self._began = time.perf_counter()

    def stop(self, *, cpu_seconds: float | None = None, peak_bytes: int | None = None) -> Sample:
        """The sample up to now, with what is known of the program."""
        seconds = time.perf_counter() - self._began
        return Sample(seconds, self._read() - self._server_cpu, cpu_seconds, peak_bytes)

    def _read(self) -> float:
        return sum(map(_tree_cpu_seconds, self._servers))


def run(command: Sequence[str], *, servers: Sequence[int], cwd: Path) -> tuple[Sample, str]:
    """Run a program to its end: its sample and what it wrote to stdout. ``SystemExit`` with its stderr if it fails."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        watch = Stopwatch(servers)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=cwd)
        with _watched(process.pid) as peak:
            _, status, usage = os.wait4(process.pid, 0)
        peak_bytes = max(peak[0], usage.ru_maxrss * _MAXRSS_UNIT)
        sample = watch.stop(cpu_seconds=usage.ru_utime + usage.ru_stime, peak_bytes=peak_bytes)
        # wait4 took the exit code before Popen could.
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            complaint = errors.read().decode(errors="replace")
            raise SystemExit(f"{command[0]} ended with exit code {process.returncode}:\n{complaint}")
        return sample, output.read().decode()


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """Note the peak memory of a process tree, in bytes, while the block runs."""
    peak = [0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            peak[0] = max(peak[0], _tree_memory(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _tree(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def _tree_memory(pid: int) -> int:
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            total += process.memory_info().rss
    return total


def _tree_cpu_seconds(pid: int) -> float:
    """Of a server with all its processes; those that ended are in the account of the one that waited for them."""
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
