"""Snapshots: ``tezcat clone`` beside ``psql COPY | psql COPY`` and then the same indexes."""

from __future__ import annotations

from collections.abc import Iterator

from bench import dataset
from bench.measure import Round, Sample
from bench.report import Figure, Goal
from bench.servers import Servers, execute, pipe, psql


def figures(most: float) -> tuple[Figure]:
    """The time of the whole command."""
    return (Figure("command", "s", lambda _, sample: sample.seconds, Goal("ratio", "most", most)),)


def masked(servers: Servers, rows: int, rounds: int) -> Iterator[Round]:
    """Six of twelve columns masked."""
    return _rounds(servers, rows, rounds, dataset.MASKED)


def plain(servers: Servers, rows: int, rounds: int) -> Iterator[Round]:
    """Every column as it is."""
    return _rounds(servers, rows, rounds, dataset.PLAIN)


def _rounds(servers: Servers, rows: int, rounds: int, rules: str) -> Iterator[Round]:
    servers.renew_production(dataset.TABLE, dataset.fill(rows), *dataset.INDEXES, rules=rules)
    for number in range(rounds):
        servers.renew_copies(dataset.TABLE)
        if number % 2:
            tezcat, reference = clone_once(servers), _pipe(servers)
        else:
            reference, tezcat = _pipe(servers), clone_once(servers)
        servers.check(servers.copy, servers.reference)
        execute(servers.production, "SELECT pg_drop_replication_slot('tezcat_test')")
        yield Round(rows, tezcat, reference)


def clone_once(servers: Servers) -> Sample:
    """The copy made by tezcat."""
    servers.settle()
    sample, _ = servers.tezcat("clone", "--target", "test", "--json")
    return sample


def _pipe(servers: Servers) -> Sample:
    out = psql(servers.production, "-c", "COPY public.people TO STDOUT")
    into = psql(servers.reference, "-c", "COPY public.people FROM STDIN")
    indexes = psql(servers.reference, *(part for index in dataset.INDEXES for part in ("-c", index)))
    servers.settle()
    sample, _ = servers.run(pipe(out, into, indexes))
    return sample
