"""Snapshots: ``tezcat clone`` beside ``psql COPY | psql COPY`` and then the same indexes."""

from __future__ import annotations

from collections.abc import Iterator

from bench import dataset
from bench.measure import Round, Sample
from bench.servers import Servers, execute, pipe, psql


def masked(servers: Servers, scale: float, rounds: int) -> Iterator[Round]:
    """A million rows, six of twelve columns masked."""
    return _rounds(servers, scale, rounds, dataset.MASKED)


def plain(servers: Servers, scale: float, rounds: int) -> Iterator[Round]:
    """A million rows as they are."""
    return _rounds(servers, scale, rounds, dataset.PLAIN)


def _rounds(servers: Servers, scale: float, rounds: int, rules: str) -> Iterator[Round]:
    count = round(1_000_000 * scale)
    servers.renew_production(dataset.TABLE, dataset.fill(count), *dataset.INDEXES, rules=rules)
    for number in range(rounds):
        servers.renew_copies(dataset.TABLE)
        if number % 2:
            tezcat, reference = _clone(servers), _pipe(servers)
        else:
            reference, tezcat = _pipe(servers), _clone(servers)
        servers.check(servers.copy, servers.reference)
        execute(servers.production, "SELECT pg_drop_replication_slot('tezcat_test')")
        yield Round(count, tezcat, reference)


def _clone(servers: Servers) -> Sample:
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
