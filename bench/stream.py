"""Backlogs: ``tezcat stream --until-caught-up``, masks on, beside a subscription between the same two servers.

The backlog is written once, after both slots were made. Every round puts both copies back to what they were before it
and both slots back to where they stood, so each round reads the same WAL. Two clocks run for each side:

``reading``  from the moment in which the slot is read (its walsender has begun) until the backlog's last row is there
``command``  from the start of ``tezcat stream`` to its end; from ALTER SUBSCRIPTION ENABLE until the last row is there

The subscription has its defaults: asynchronous commit, and on PostgreSQL 18 ``streaming = parallel``.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import psycopg

from bench import dataset
from bench.measure import Round, Sample
from bench.report import Figure, Goal
from bench.servers import Servers, execute, psql

READING: Final = "reading"
_POLL_SECONDS: Final = 0.003
_TIMEOUT_SECONDS: Final = 600.0
_RULES: Final = dataset.MASKED + dataset.MARKER_RULES
TEZCAT_SLOT: Final = "tezcat_test"
REFERENCE_SLOT: Final = "bench_reference"
_SLOTS: Final = (TEZCAT_SLOT, REFERENCE_SLOT)


def figures(least: float) -> tuple[Figure, Figure]:
    """Both rates; the goal is the one's while the slot is read, for start-up does not grow with the backlog."""
    return (
        Figure(
            READING, "rows/s", lambda each, sample: each.rows / sample.values[READING], Goal("ratio", "least", least)
        ),
        Figure("command", "rows/s", lambda each, sample: each.rows / sample.seconds),
    )


def inserts(servers: Servers, rows: int, rounds: int) -> Iterator[Round]:
    """Rows inserted by one transaction."""
    prepare(servers, 0)
    execute(servers.production, dataset.fill(rows), dataset.END)
    return _rounds(servers, rows, rounds)


def updates(servers: Servers, rows: int, rounds: int) -> Iterator[Round]:
    """Rows updated by one transaction."""
    prepare(servers, rows)
    execute(servers.production, "UPDATE public.people SET amount = amount + 1, notes = notes || '.'", dataset.END)
    return _rounds(servers, rows, rounds)


def singles(servers: Servers, rows: int, rounds: int) -> Iterator[Round]:
    """Transactions of one row each: 60% insert, 30% update, 10% delete."""
    prepare(servers, rows)
    script = servers.script("singles.sql", "\n".join([*_single_statements(rows), dataset.END + ";"]))
    servers.run(psql(servers.production, "-f", str(script)))
    return _rounds(servers, rows, rounds)


def _single_statements(count: int) -> Iterator[str]:
    """Statements over the rows from 1 to ``count``: the lower half is updated, the upper half deleted."""
    choice = random.Random(7)
    kinds = ["insert"] * 6 + ["update"] * 3 + ["delete"]
    doomed = iter(range(count, 0, -1))
    yield "SET synchronous_commit = off;"
    yield f"PREPARE insert_one(bigint) AS INSERT INTO public.people {dataset.rows('$1', '$1')};"
    changed = "amount = amount + 1, active = NOT active"
    yield f"PREPARE update_one(bigint) AS UPDATE public.people SET {changed} WHERE id = $1;"
    yield "PREPARE delete_one(bigint) AS DELETE FROM public.people WHERE id = $1;"
    for number in range(count):
        if number % len(kinds) == 0:
            choice.shuffle(kinds)
        match kinds[number % len(kinds)]:
            case "insert":
                yield f"EXECUTE insert_one({count + 1 + number});"
            case "update":
                yield f"EXECUTE update_one({choice.randint(1, count // 2)});"
            case _:
                yield f"EXECUTE delete_one({next(doomed)});"


def prepare(servers: Servers, rows: int) -> None:
    """Production with that many rows, the copy and the reference alike, and a slot for each of the two."""
    tables = (dataset.TABLE, dataset.MARKER, dataset.fill(rows), *dataset.INDEXES)
    servers.renew_copies(*tables)
    servers.renew_production(
        *tables, "CREATE PUBLICATION bench FOR TABLE public.people, public.backlog_end", rules=_RULES
    )
    servers.tezcat("clone", "--target", "test", "--json")
    execute(servers.production, f"SELECT pg_create_logical_replication_slot('{REFERENCE_SLOT}', 'pgoutput')")
    for slot in _SLOTS:
        execute(servers.production, f"SELECT pg_copy_logical_replication_slot('{slot}', 'kept_{slot}')")
    servers.keep_copies()


def _rounds(servers: Servers, rows: int, rounds: int) -> Iterator[Round]:
    for number in range(rounds):
        put_back(servers)
        if number % 2:
            tezcat, reference = stream_backlog(servers, rows), _apply_backlog(servers)
        else:
            reference, tezcat = _apply_backlog(servers), stream_backlog(servers, rows)
        servers.check(servers.copy, servers.reference)
        yield Round(rows, tezcat, reference)


def put_back(servers: Servers) -> None:
    """Everything as it was when the backlog was written."""
    servers.restore_copies()
    for slot in _SLOTS:
        execute(
            servers.production,
            f"SELECT pg_drop_replication_slot('{slot}')",
            f"SELECT pg_copy_logical_replication_slot('kept_{slot}', '{slot}')",
        )
    subscribe(servers)


def subscribe(servers: Servers) -> None:
    """Make the subscription, which does nothing yet."""
    execute(
        servers.reference,
        f"CREATE SUBSCRIPTION bench CONNECTION '{servers.production}' PUBLICATION bench "
        f"WITH (enabled = false, create_slot = false, copy_data = false, slot_name = '{REFERENCE_SLOT}')",
    )


def stream_backlog(servers: Servers, rows: int) -> Sample:
    """tezcat from the backlog's begin to its end."""
    servers.settle()
    with _reading(servers, servers.copy, TEZCAT_SLOT) as seconds:
        sample, output = servers.tezcat("stream", "--target", "test", "--until-caught-up", "--json")
        changes = json.loads(output)["changes"]
        if changes != rows + 1:  # and the marker
            raise SystemExit(f"The stream brought {changes} changes where production made {rows + 1}.")
        return replace(sample, values={READING: seconds.result()})


def _apply_backlog(servers: Servers) -> Sample:
    servers.settle()
    with (
        psycopg.connect(servers.reference, autocommit=True) as connection,
        _reading(servers, servers.reference, REFERENCE_SLOT) as seconds,
    ):
        watch = servers.stopwatch()
        connection.execute("ALTER SUBSCRIPTION bench ENABLE")
        reading = seconds.result()
        sample = watch.stop()
        connection.execute("ALTER SUBSCRIPTION bench DISABLE")
    return replace(sample, values={READING: reading})


@contextlib.contextmanager
def _reading(servers: Servers, copy: str, slot: str) -> Iterator[Future[float]]:
    """How many seconds pass from the slot's being read to the marker's being there, watched from a thread."""
    is_abandoned = threading.Event()
    deadline = time.monotonic() + _TIMEOUT_SECONDS

    def wait_for(url: str, query: str) -> float:
        with psycopg.connect(url, autocommit=True) as connection:
            while connection.execute(query.encode(), prepare=True).fetchone() is None:
                if is_abandoned.wait(_POLL_SECONDS) or time.monotonic() > deadline:
                    raise SystemExit("The backlog was not brought to its end; the servers' logs may say why.")
            return time.perf_counter()

    def watch() -> float:
        began = wait_for(servers.production, f"SELECT FROM pg_replication_slots WHERE slot_name = '{slot}' AND active")
        return wait_for(copy, "SELECT FROM public.backlog_end") - began

    with ThreadPoolExecutor(1) as executor:
        try:
            yield executor.submit(watch)
        finally:
            is_abandoned.set()
