"""Memory, and cost per row, beside the same work on a part of the rows: both shall be flat.

Large, so they run only when they are named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bench import dataset
from bench.measure import Round, Sample
from bench.report import Figure, Goal
from bench.servers import Servers, execute
from bench.snapshot import clone_once
from bench.stream import READING, prepare, put_back, stream_backlog

_COST: Final = "cost"
SNAPSHOT_PART: Final = 10
STREAM_PART: Final = 5


def figures(most_megabytes: float) -> tuple[Figure, Figure]:
    """Peak memory, and microseconds a row."""
    return (
        Figure("peak", "MB", lambda _, sample: (sample.peak_bytes or 0) / 1e6, Goal("value", "most", most_megabytes)),
        Figure(_COST, "us/row", lambda _, sample: sample.values[_COST], Goal("ratio", "most", 1.05)),
    )


def snapshot(servers: Servers, rows: int, rounds: int) -> Iterator[Round]:
    """A masked clone of all the rows, beside one of a tenth."""
    for _ in range(rounds):
        part = _clone(servers, max(rows // SNAPSHOT_PART, 1))
        yield Round(rows, _clone(servers, rows), part)


def stream(servers: Servers, rows: int, rounds: int) -> Iterator[Round]:
    """A transaction that inserts all the rows, beside one that inserts a fifth."""
    for _ in range(rounds):
        part = _stream(servers, max(rows // STREAM_PART, 1))
        yield Round(rows, _stream(servers, rows), part)


def _clone(servers: Servers, rows: int) -> Sample:
    servers.renew_copies()
    servers.renew_production(dataset.TABLE, dataset.fill(rows), *dataset.INDEXES, rules=dataset.MASKED)
    sample = clone_once(servers)
    servers.check(servers.copy)
    return replace(sample, values={_COST: sample.seconds / rows * 1e6})


def _stream(servers: Servers, rows: int) -> Sample:
    prepare(servers, 0)
    execute(servers.production, dataset.fill(rows), dataset.END)
    put_back(servers)
    sample = stream_backlog(servers, rows)
    servers.check(servers.copy)
    return replace(sample, values={_COST: sample.values[READING] / rows * 1e6})
