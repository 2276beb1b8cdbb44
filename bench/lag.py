"""Lag: how long after it was written in production a row is there to be read in the copy, at a steady load.

A writer commits one inserted row a millisecond; the row holds production's ``clock_timestamp()`` in a column that no
mask touches. A reader asks the copy again and again for rows that it has not seen, and for the copy's own clock.
Both servers run on one machine, so the clocks are one. The reader's pause, and so the error, is half a millisecond at
most, and the same for the subscription, which is measured in the same way: synchronous replication of neither.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import psycopg

from bench import dataset
from bench.measure import Round, Sample
from bench.report import Figure, Goal
from bench.servers import Servers, execute, fetch
from bench.stream import REFERENCE_SLOT, TEZCAT_SLOT, prepare, subscribe

_PERIOD_SECONDS: Final = 0.001
_PAUSE_SECONDS: Final = 0.0005
_TIMEOUT_SECONDS: Final = 120.0
# Caches, plans and connections are warm after so many rows.
_WARM_UP: Final = 2_000

FIGURES: Final = (
    Figure("median", "ms", lambda _, sample: sample.values["median"], Goal("value", "most", 10)),
    Figure("99 of 100", "ms", lambda _, sample: sample.values["99 of 100"], Goal("value", "most", 30)),
)


def steady(servers: Servers, rows: int, rounds: int) -> Iterator[Round]:
    """That many transactions of one inserted row, a thousand a second, after two seconds that do not count."""
    prepare(servers, 0)
    subscribe(servers)
    for number in range(rounds):
        if number % 2:
            tezcat, reference = _tezcat(servers, rows), _subscription(servers, rows)
        else:
            reference, tezcat = _subscription(servers, rows), _tezcat(servers, rows)
        yield Round(rows, tezcat, reference)
        # What one side did not follow comes to it now.
        servers.tezcat("stream", "--target", "test", "--until-caught-up", "--json")


def _tezcat(servers: Servers, rows: int) -> Sample:
    values: dict[str, float] = {}

    def meanwhile(process: subprocess.Popen[bytes]) -> None:
        values.update(_load(servers, servers.copy, TEZCAT_SLOT, rows))
        process.send_signal(signal.SIGINT)

    servers.settle()
    sample, _ = servers.tezcat("stream", "--target", "test", "--json", meanwhile=meanwhile)
    return replace(sample, values=values)


def _subscription(servers: Servers, rows: int) -> Sample:
    servers.settle()
    watch = servers.stopwatch()
    execute(servers.reference, "ALTER SUBSCRIPTION bench ENABLE")
    try:
        values = _load(servers, servers.reference, REFERENCE_SLOT, rows)
    finally:
        execute(servers.reference, "ALTER SUBSCRIPTION bench DISABLE")
    return replace(watch.stop(), values=values)


def _load(servers: Servers, copy: str, slot: str, rows: int) -> dict[str, float]:
    """Write once the slot is read and the copy has all that came before; the figures, in milliseconds."""
    active = f"SELECT FROM pg_replication_slots WHERE slot_name = '{slot}' AND active"
    _wait_until(lambda: fetch(servers.production, active) != [])
    ((last,),) = fetch(servers.production, "SELECT coalesce(max(id), 0) FROM public.people")
    _wait_until(lambda: fetch(copy, "SELECT coalesce(max(id), 0) FROM public.people") == [(last,)])
    is_abandoned = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        lags = executor.submit(_read, copy, last, last + _WARM_UP + rows, is_abandoned)
        try:
            _write(servers.production, last, _WARM_UP + rows)
            found = lags.result(_TIMEOUT_SECONDS)[_WARM_UP:]
        finally:
            is_abandoned.set()
    return {"median": statistics.median(found), "99 of 100": statistics.quantiles(found, n=100)[98]}


def _write(url: str, last: int, count: int) -> None:
    """Insert the rows after ``last``, each in a transaction of its own and in its own millisecond."""
    with psycopg.connect(url, autocommit=True) as connection:
        one = f"INSERT INTO public.people {dataset.rows('$1', '$1', created_at='clock_timestamp()')}"
        connection.execute(f"PREPARE insert_one(bigint) AS {one}".encode())
        began = time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, began + number * _PERIOD_SECONDS - time.perf_counter()))
            connection.execute(f"EXECUTE insert_one({last + 1 + number})".encode())


def _read(url: str, last: int, end: int, is_abandoned: threading.Event) -> list[float]:
    """The lag of each row after ``last`` up to ``end``, in milliseconds, in the order in which they were seen."""
    query = (
        "SELECT id, 1000 * extract(epoch FROM clock_timestamp() - created_at)::float8 FROM public.people"
        " WHERE id > %s ORDER BY id"
    )
    lags: list[float] = []
    with psycopg.connect(url, autocommit=True) as connection:
        # A plan for the empty table that it was would read all of it each time, and take the time from what it watches.
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET enable_bitmapscan = off")
        while last < end and not is_abandoned.wait(_PAUSE_SECONDS):
            for number, lag in connection.execute(query, (last,), prepare=True):
                last = number
                lags.append(lag)
    return lags


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("The copy did not catch up; the servers' logs may say why.")
        time.sleep(0.05)
