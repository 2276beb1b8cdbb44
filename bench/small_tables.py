"""Many small tables: ``tezcat clone``, masks on, beside ``pg_dump`` into a directory and ``pg_restore``, two jobs each.

Each table has a primary key, a unique index and a foreign key to the table before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bench.measure import Round, Sample
from bench.servers import Servers, binary, execute, then
from bench.snapshot import clone_once

TABLES: Final = 500
# The schema grants rights to production's reader, which both sides bring.
_READER: Final = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tezcat') THEN CREATE ROLE tezcat; END IF;
END $$"""


def tables(servers: Servers, rows: int, rounds: int) -> Iterator[Round]:
    """``TABLES`` tables that together have about that many rows."""
    each = max(rows // TABLES, 1)
    names = [f"small_{number:03}" for number in range(TABLES)]
    statements = [statement for number in range(TABLES) for statement in _statements(names, number, each)]
    rules = "version: 1\ntables:\n" + "".join(
        f"  public.{name}:\n    columns: {{id: keep, email: {{mask: email}}, name: {{mask: name.full}}, note: keep, "
        "earlier: keep}\n"
        for name in names
    )
    servers.renew_production(*statements, rules=rules)
    counts = (f"SELECT '{name}', count(*), sum(id), sum(earlier) FROM public.{name}" for name in names)
    counted = " UNION ALL ".join(counts) + " ORDER BY 1"
    for number in range(rounds):
        servers.renew_copies(_READER)
        if number % 2:
            tezcat, reference = clone_once(servers), _dump_and_restore(servers)
        else:
            reference, tezcat = _dump_and_restore(servers), clone_once(servers)
        servers.check(servers.copy, servers.reference, query=counted)
        execute(servers.production, "SELECT pg_drop_replication_slot('tezcat_test')")
        yield Round(each * TABLES, tezcat, reference)


def _statements(names: list[str], number: int, rows: int) -> Iterator[str]:
    name = names[number]
    yield (
        f"CREATE TABLE public.{name} (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, name text, note text, "
        f"earlier bigint REFERENCES public.{names[max(number - 1, 0)]} (id))"
    )
    people = "'person.' || n || '@mail.example.com', 'First' || n || ' Last' || n % 97"
    yield (
        f"INSERT INTO public.{name} SELECT n, {people}, md5(n::text), 1 + n % {rows} FROM generate_series(1, {rows}) n"
    )


def _dump_and_restore(servers: Servers) -> Sample:
    with servers.scratch() as folder:
        dump = [binary("pg_dump"), "-Fd", "-j2", "-f", f"{folder}/dump", "-d", servers.production]
        restore = [binary("pg_restore"), "-j2", "--no-publications", "-d", servers.reference, f"{folder}/dump"]
        servers.settle()
        sample, _ = servers.run(then(dump, restore))
    return sample
