"""Clocks: seconds, CPU seconds, peak memory, and what becomes of several rounds of them.

A program's CPU seconds are those of it and of all its descendants, each as it was seen last, a tenth of a second before
its end at most. Its peak memory is the
resident memory of it and all its descendants at the worst moment; a page that several of them share counts once (Linux
tells each process its part of it: Pss). The servers' CPU seconds are counted apart, for both sides of a comparison.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # it comes without types

_SAMPLE_SECONDS: Final = 0.1
_KIBIBYTE: Final = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run. ``cpu_seconds`` and ``peak_bytes`` are of programs, None where the servers did it all
    themselves. ``values`` holds what a benchmark measures besides, by the name of the figure."""

    seconds: float
    server_cpu_seconds: float
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Round:
    """tezcat and its reference, doing the same work on ``rows`` rows."""

    rows: int
    tezcat: Sample
    reference: Sample


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


def run(
    command: Sequence[str],
    *,
    servers: Sequence[int],
    cwd: Path,
    meanwhile: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> tuple[Sample, str]:
    """Run a program to its end, and ``meanwhile`` with it: its sample and what it wrote to stdout.

    ``SystemExit`` with its stderr if it fails.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        watch = Stopwatch(servers)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=cwd)
        with _watched(process.pid) as costs:
            if meanwhile is not None:
                try:
                    meanwhile(process)
                except BaseException:
                    process.kill()
                    raise
            _, status, usage = os.wait4(process.pid, 0)
        # Children that it did not wait for are missing from its own account; short-lived ones from what was seen.
        cpu_seconds = max(usage.ru_utime + usage.ru_stime, sum(costs.cpu_seconds.values()))
        sample = watch.stop(cpu_seconds=cpu_seconds, peak_bytes=costs.peak_bytes)
        # wait4 took the exit code before Popen could.
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            complaint = errors.read().decode(errors="replace")
            raise SystemExit(f"{command[0]} ended with exit code {process.returncode}:\n{complaint}")
        return sample, output.read().decode()


@dataclass(slots=True)
class _Costs:
    """What was seen of a process tree: CPU seconds by process, and the most memory at once."""

    cpu_seconds: dict[int, float] = field(default_factory=dict)
    peak_bytes: int = 0

    def look(self, pid: int) -> None:
        """Look at the tree now."""
        memory = 0
        for process in _tree(pid):
            with contextlib.suppress(OSError, psutil.Error):  # it ended meanwhile
                times = process.cpu_times()
                self.cpu_seconds[process.pid] = times.user + times.system
                memory += _memory(process.pid)
        self.peak_bytes = max(self.peak_bytes, memory)


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[_Costs]:
    """Note what a process tree costs while the block runs."""
    costs = _Costs()
    ended = threading.Event()

    def watch() -> None:
        costs.look(pid)
        while not ended.wait(_SAMPLE_SECONDS):
            costs.look(pid)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield costs
    finally:
        ended.set()
        thread.join()


def _tree(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def _memory(pid: int) -> int:
    rolled_up = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rolled_up.splitlines() if line.startswith("Pss:")) * _KIBIBYTE


def _tree_cpu_seconds(pid: int) -> float:
    """Of a server with all its processes; those that ended are in the account of the one that waited for them."""
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
