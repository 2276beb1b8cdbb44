"""Backlogs: ``tezcat stream --until-caught-up``, masks on, beside a subscription between the same two servers.

Both slots are there before production writes the backlog, and both sides begin with nothing of it applied. tezcat's
time is that of its command, start-up and end included. The subscription's begins with ENABLE and ends when the
backlog's last row is there.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Final

import psycopg

from bench import dataset
from bench.measure import Round, Sample
from bench.servers import Servers, execute, psql

_POLL_SECONDS: Final = 0.002
_TIMEOUT_SECONDS: Final = 600.0
_RULES: Final = dataset.MASKED + dataset.MARKER_RULES
_END: Final = "INSERT INTO public.backlog_end VALUES (1)"
_SLOT: Final = "bench_reference"


def inserts(servers: Servers, scale: float, rounds: int) -> Iterator[Round]:
    """300,000 rows inserted by one transaction."""
    count = round(300_000 * scale)
    for number in range(rounds):
        _prepare(servers, rows=0)
        execute(servers.production, dataset.fill(count), _END)
        yield _measure(servers, count, tezcat_first=bool(number % 2))


def updates(servers: Servers, scale: float, rounds: int) -> Iterator[Round]:
    """200,000 rows updated by one transaction."""
    count = round(200_000 * scale)
    for number in range(rounds):
        _prepare(servers, rows=count)
        execute(servers.production, "UPDATE public.people SET amount = amount + 1, notes = notes || '.'", _END)
        yield _measure(servers, count, tezcat_first=bool(number % 2))


def singles(servers: Servers, scale: float, rounds: int) -> Iterator[Round]:
    """20,000 transactions of one row each: 60% insert, 30% update, 10% delete."""
    count = round(20_000 * scale)
    for number in range(rounds):
        _prepare(servers, rows=count)
        script = servers.script("singles.sql", "\n".join([*_single_statements(count), _END + ";"]))
        servers.run(psql(servers.production, "-f", str(script)))
        yield _measure(servers, count, tezcat_first=bool(number % 2))


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


def _prepare(servers: Servers, rows: int) -> None:
    """Production with that many rows, the copy and the reference alike, and a slot for each of the two."""
    tables = (dataset.TABLE, *dataset.INDEXES, dataset.MARKER, dataset.fill(rows))
    servers.renew_copies(*tables, "VACUUM ANALYZE")
    servers.renew_production(
        *tables, "CREATE PUBLICATION bench FOR TABLE public.people, public.backlog_end", rules=_RULES
    )
    servers.tezcat("clone", "--target", "test", "--json")
    execute(servers.production, f"SELECT pg_create_logical_replication_slot('{_SLOT}', 'pgoutput')")
    execute(
        servers.reference,
        f"CREATE SUBSCRIPTION bench CONNECTION '{servers.production}' PUBLICATION bench "
        f"WITH (enabled = false, create_slot = false, copy_data = false, slot_name = '{_SLOT}')",
    )


def _measure(servers: Servers, count: int, *, tezcat_first: bool) -> Round:
    if tezcat_first:
        tezcat, reference = _stream(servers, count), _subscribe(servers)
    else:
        reference, tezcat = _subscribe(servers), _stream(servers, count)
    servers.check(servers.copy, servers.reference)
    idle, _ = servers.tezcat("stream", "--target", "test", "--until-caught-up", "--json")
    return Round(count, tezcat, reference, idle.seconds)


def _stream(servers: Servers, count: int) -> Sample:
    servers.settle()
    sample, output = servers.tezcat("stream", "--target", "test", "--until-caught-up", "--json")
    changes = json.loads(output)["changes"]
    if changes != count + 1:  # and the marker
        raise SystemExit(f"The stream brought {changes} changes where production made {count + 1}.")
    return sample


def _subscribe(servers: Servers) -> Sample:
    servers.settle()
    with psycopg.connect(servers.reference, autocommit=True) as connection:
        watch = servers.stopwatch()
        connection.execute("ALTER SUBSCRIPTION bench ENABLE")
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while connection.execute("SELECT FROM public.backlog_end").fetchone() is None:
            if time.monotonic() > deadline:
                raise SystemExit("The subscription did not catch up; the test server's log says why.")
            time.sleep(_POLL_SECONDS)
        sample = watch.stop()
        connection.execute("ALTER SUBSCRIPTION bench DISABLE")
    return sample
