"""What transactions touched is known by key, and what it is now comes with its place."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import replace

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import events
from capture.catalog import read_catalog
from capture.model import UNCHANGED, Lsn, Relation, RelationColumn, ReplicaIdentity, TableName, Value
from capture.pgoutput import Decoder, ProtocolViolation
from capture.replication import ReplicationSession
from capture.source import SourceConnection
from capture.touched import Followed, Located, SlotReader, Touched, read_rows
from tests.capture.pgoutput_encoder import encode
from tests.fix_catalog import table
from tests.fix_postgres import Database
from tests.fix_source import source_address

GUESTS = replace(table("public.guests", "id int pk", "note text"), oid=7)
NAME = GUESTS.name
FOLLOWED = Followed(GUESTS, ("id",))
BUDGET = 1 << 20


def relation(*keys: str) -> Relation:
    columns = tuple(RelationColumn(name, 23, -1, name in keys) for name in ("id", "note"))
    return Relation(7, NAME, ReplicaIdentity.DEFAULT, columns)


def touched(*followed: Followed, start: int = 100, budget: int = BUDGET) -> Touched:
    made = Touched(followed or (FOLLOWED,), Lsn(start), budget=budget)
    made.feed(relation("id"))
    return made


def commit(into: Touched, at: int, *changes: events.Event) -> None:
    into.feed(events.Begin(Lsn(at), 0, 1))
    for change in changes:
        into.feed(change)
    into.feed(events.Commit(Lsn(at), Lsn(at + 8), 0))


def row(key: str | None, note: Value = b"x") -> tuple[Value, ...]:
    return (key.encode() if key is not None else None, note)


# ------------------------------------------------------------------------------------------------------- sans-IO


def test_every_key_that_a_change_names_is_touched() -> None:
    """Inserted, deleted, updated in place, and both keys of a row whose key was changed."""
    seen = touched()
    commit(
        seen,
        100,
        events.Insert(7, row("1")),
        events.Delete(7, row("2", None), False),
        events.Update(7, None, False, row("3", UNCHANGED)),
        events.Update(7, row("4", None), False, row("5")),
    )
    assert seen.keys == {NAME: {(key,) for key in (b"1", b"2", b"3", b"4", b"5")}}
    assert seen.whole == set()


@given(st.lists(st.integers(0, 30), unique=True, max_size=8), st.integers(0, 30), st.integers(0, 30))
def test_only_what_commits_between_the_two_positions_counts(commits: list[int], start: int, length: int) -> None:
    """At or after the first, before the second; and the reading may end when a later one or nothing more comes."""
    until = start + length
    seen = touched(start=start)
    seen.until = Lsn(until)
    for at in sorted(commits):
        commit(seen, at, events.Insert(7, row(str(at))))
    expected = {(str(at).encode(),) for at in commits if start <= at < until}
    assert seen.keys.get(NAME, set()) == expected
    if any(at >= until for at in commits):
        assert seen.position >= until


def test_a_keepalive_moves_the_position_only_between_transactions() -> None:
    """Within one it says nothing of what is still to come."""
    seen = touched()
    seen.keepalive(Lsn(200))
    assert seen.position == 200
    seen.feed(events.Begin(Lsn(300), 0, 1))
    seen.keepalive(Lsn(400))
    assert seen.position == 200


@pytest.mark.parametrize(
    "change",
    [
        events.Truncate((7,), False, False),
        events.Update(7, None, False, (UNCHANGED, b"x")),
        events.Delete(7, row(None), False),
    ],
    ids=["truncated", "a key that was not sent", "no key"],
)
def test_a_table_of_which_too_little_is_known_is_whole(change: events.Event) -> None:
    """And what was known of its keys is of no use."""
    seen = touched()
    commit(seen, 100, events.Insert(7, row("1")), change, events.Insert(7, row("2")))
    assert seen.whole == {NAME}
    assert seen.keys == {}


def test_a_key_that_was_not_sent_is_that_of_the_old_image() -> None:
    """A key may be stored out of line as well."""
    seen = touched()
    commit(seen, 100, events.Update(7, row("1"), True, (UNCHANGED, b"x")))
    assert seen.keys == {NAME: {(b"1",)}}


def test_rows_that_were_identified_by_other_columns_make_a_table_whole() -> None:
    """Its old images of that time do not hold the key."""
    seen = touched()
    seen.feed(relation("note"))
    commit(seen, 100, events.Insert(7, row("1")))
    assert seen.whole == {NAME}


def test_a_table_without_a_key_is_whole_when_it_is_touched() -> None:
    """And is not when it is not."""
    keyless = Followed(GUESTS, ())
    seen = touched(keyless)
    assert seen.whole == set()
    commit(seen, 100, events.Insert(7, row("1")))
    assert seen.whole == {NAME}


def test_another_table_of_the_same_name_is_not_followed() -> None:
    """Tables are known by oid."""
    seen = touched(Followed(replace(GUESTS, oid=8), ("id",)))
    commit(seen, 100, events.Insert(7, row("1")), events.Truncate((7,), False, False))
    assert (seen.keys, seen.whole) == ({}, set())


def test_the_table_with_most_keys_is_given_up_when_there_are_too_many() -> None:
    """The memory that keys take is bounded."""
    other = replace(table("public.other", "id int pk", "note text"), oid=9)
    seen = Touched([FOLLOWED, Followed(other, ("id",))], Lsn(0), budget=2000)
    seen.feed(relation("id"))
    seen.feed(replace(relation("id"), oid=9, table=other.name))
    commit(seen, 1, events.Insert(9, row("1")), *(events.Insert(7, row(str(number))) for number in range(50)))
    assert seen.whole == {NAME}
    assert seen.keys == {other.name: {(b"1",)}}


def test_an_event_that_was_not_asked_for_is_a_violation() -> None:
    """Protocol version 1 has no streamed transactions."""
    with pytest.raises(ProtocolViolation, match="StreamStart"):
        touched().feed(events.StreamStart(1, True))


def test_what_was_rolled_back_unsent_touches_nothing() -> None:
    """PostgreSQL 18 tells of subtransactions that it gave up, with any protocol."""
    seen = touched()
    seen.feed(Decoder(1).decode(encode(events.StreamAbort(700, 702))))
    assert seen.keys == {}
    assert seen.whole == set()


def test_no_repr_shows_a_row() -> None:
    """Rows are raw."""
    assert "canary" not in repr(Located(1, (b"canary",)))


# -------------------------------------------------------------------------------------------------------- servers

TYPES = {
    "integer": "42", "bigint": "42", "text": "é ' \\", "character varying(5)": "a  ", "character(5)": "a",
    "numeric(6,2)": "1.50", "uuid": "5e5e5e5e-0000-0000-0000-000000000000", "timestamp with time zone": "2025-01-01",
    "date": "infinity", "boolean": "t", "bit(3)": "101", '"char"': "c", "inet": "10.0.0.1", "bytea": "\\x00ff",
    "integer[]": "{1,2}", "daterange": "[2025-01-01,2025-01-05)", "interval day to second(3)": "1 day 00:00:01",
    "bit varying(9)": "0110", "public.mood": "so 'so'", "public.padded": "a", "public.name_of": "x", "name": "n",
    "public.mood[]": "{sad}",
}  # fmt: skip


async def test_rows_are_found_by_keys_of_every_type(production: Database, source: SourceConnection) -> None:
    """As production prints the key, in its own and other types; values come as COPY has them."""
    production.execute(
        "CREATE TYPE public.mood AS ENUM ('sad', 'so ''so''')",
        "CREATE DOMAIN public.padded AS character(4)",
        "CREATE DOMAIN public.name_of AS text CHECK (VALUE <> '')",
    )
    for number, (type_name, value) in enumerate(TYPES.items()):
        name = f'public."t%{number}"'
        production.execute(
            f'CREATE TABLE {name} (n integer, "from %s" {type_name}, b boolean, PRIMARY KEY ("from %s", n))',
        )
        with psycopg.connect(production.url) as connection:
            connection.execute(f"INSERT INTO {name} VALUES (1, %s, true)".replace("t%", "t%%").encode(), (value,))
    catalog = await read_catalog(source)
    for number, type_name in enumerate(TYPES):
        followed = Followed(catalog.tables[TableName("public", f"t%{number}")], ("n", "from %s"))
        copied = b"".join(
            [block async for block in source.copy_out(f'COPY (SELECT * FROM public."t%{number}") TO STDOUT')]
        )
        printed = copied.rstrip(b"\n").split(b"\t")[1].replace(b"\\\\", b"\\")
        found = [row async for rows in read_rows(source, followed, [(b"1", printed), (b"2", printed)]) for row in rows]
        assert found == [Located(0, (b"1", printed, b"t"))], type_name


async def test_many_keys_are_asked_for_in_pieces(production: Database, source: SourceConnection) -> None:
    """And rows tell the page that they lie on."""
    production.execute(
        "CREATE TABLE public.many (id int PRIMARY KEY, a text)",
        "INSERT INTO public.many SELECT n, repeat('x', 100) FROM generate_series(1, 6000) n",
    )
    followed = Followed((await read_catalog(source)).tables[TableName("public", "many")], ("id",))
    pieces = [rows async for rows in read_rows(source, followed, [(b"%d" % n,) for n in range(1, 8001)])]
    assert [len(piece) for piece in pieces] == [2000, 2000, 2000, 0]
    expected = production.execute("SELECT id, (ctid::text::point)[0]::int FROM public.many ORDER BY id")
    found = sorted((int(row.values[0] or b""), row.page) for rows in pieces for row in rows)
    assert found == expected


async def test_a_slot_is_read_up_to_a_position(production: Database) -> None:
    """What commits before it is there, also where nothing follows; what commits later does not count."""
    production.execute(
        "CREATE TABLE public.followed (id int PRIMARY KEY, note text)",
        "CREATE PUBLICATION touched FOR TABLE public.followed",
    )
    slot = f"tezcat_touched_{os.getpid()}"
    address = source_address(production)
    async with await ReplicationSession.open(address, "tests") as session:
        start = (await session.create_slot(slot, temporary=False)).consistent_point
    production.execute("INSERT INTO public.followed VALUES (1, 'x'), (2, 'x')", "DELETE FROM public.followed")
    [[text, oid]] = production.execute("SELECT pg_current_wal_insert_lsn()::text, 'public.followed'::regclass::oid")
    seen = Touched([Followed(replace(GUESTS, oid=oid), ("id",))], start, budget=BUDGET)
    async with SlotReader(address, slot, start, ("touched",), seen) as reader, asyncio.timeout(30):
        await reader.advance(Lsn.parse(text))
        assert keys(seen) == {b"1", b"2"}
        production.execute("UPDATE public.followed SET id = 5", "INSERT INTO public.followed VALUES (3, 'x')")
        [[text]] = production.execute("SELECT pg_current_wal_insert_lsn()::text")
        production.execute("INSERT INTO public.followed VALUES (4, 'x')")
        await reader.finish(Lsn.parse(text))
        assert keys(seen) == {b"1", b"2", b"3"}
        reader.acknowledge(Lsn.parse(text))
    await production.comes_to(
        f"SELECT confirmed_flush_lsn = '{text}' FROM pg_replication_slots WHERE slot_name = '{slot}'", [(True,)]
    )


def keys(seen: Touched) -> set[bytes]:
    found: Iterable[tuple[bytes, ...]] = seen.keys.get(NAME, set())
    return {key for (key,) in found}
