"""The demo's hotel: its data hold, its traffic does what it says, and its rules decide everything."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import psycopg
import pytest

from capture.catalog import read_catalog
from capture.model import ServerFailed
from capture.source import SourceAddress, connect
from control.demo import RULES, SCHEMA, dataset
from control.demo import traffic as traffic_module
from control.demo.dataset import CANARIES, load
from control.demo.draw import COUNTRIES, Draw
from control.demo.traffic import CONFLICTS, traffic
from tests.fix_postgres import Database
from transform.coverage import Severity
from transform.plan import check
from transform.rules import load_rules

SCALE = 0.02
ACTIONS = traffic_module._ACTIONS


async def hotel(database: Database) -> dict[str, int]:
    """Load a small hotel; the rows by table."""
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        await connection.execute(SCHEMA.read_bytes())
        return await load(connection, SCALE)


def rows(seed: int, count: int = 300) -> Iterator[tuple[object, ...]]:
    """The first rows of every table."""
    for table, _, made in dataset._Hotel(Draw(seed), SCALE).tables():
        everything = list(made)
        yield from ((table, *row) for row in islice(everything, count))


# ------------------------------------------------------------------------------------------------------ the data


def test_the_hotel_is_large_enough() -> None:
    """At scale 1 there are more than 200,000 rows, the audit trail not counted."""
    assert sum(1 for _, _, made in dataset._Hotel(Draw(7), 1).tables() for _ in made) >= 200_000


def test_the_seed_decides_the_data() -> None:
    """One seed makes the same rows again, another seed makes others."""
    assert list(rows(seed=1)) == list(rows(seed=1))
    assert list(rows(seed=1)) != list(rows(seed=2))


def test_cards_and_accounts_have_right_check_digits() -> None:
    """Card numbers satisfy Luhn's rule and IBANs mod 97, by a computation of the test's own."""
    draw = Draw(3)
    cards = [draw.card() for _ in range(500)] + [value for value in CANARIES if re.fullmatch(r"\d{16}", value)]
    ibans = [draw.iban(country) for country in COUNTRIES for _ in range(100)]
    ibans += [value for value in CANARIES if re.fullmatch(r"DE\d{20}", value)]
    assert (len(cards), len(ibans)) == (501, 100 * len(COUNTRIES) + 1)
    for card in cards:
        digits = [int(digit) for digit in card]
        assert (sum(digits[1::2]) + sum(2 * digit - 9 * (digit > 4) for digit in digits[0::2])) % 10 == 0
    for iban in ibans:
        assert int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


@pytest.mark.integration
async def test_the_data_hold(database: Database) -> None:
    """Every table has rows, and every foreign key, left unchecked while loading, is satisfied."""
    counts = await hotel(database)
    listed = database.execute(
        """SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition
        AND relnamespace IN ('public'::regnamespace, 'billing'::regnamespace)"""
    )
    tables = [table for (table,) in listed]
    assert sorted(tables) == sorted(counts)
    assert len(tables) >= 14
    for table in tables:
        assert database.execute(f"SELECT count(*) FROM {table}") == [(counts[table],)]
        assert counts[table] > 0
    keys = database.execute(
        """SELECT conrelid::regclass, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
        WHERE contype = 'f' AND conparentid = 0"""
    )
    assert len(keys) >= 15
    for table, name, definition in keys:
        database.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {definition}")


@pytest.mark.integration
async def test_sequences_go_on_after_the_data(database: Database) -> None:
    """A row that production adds after the load gets a number of its own."""
    await hotel(database)
    database.execute(
        """INSERT INTO guests (email, first_name, last_name, country) VALUES ('a@b.cd', 'A', 'B', 'DE')""",
        """INSERT INTO reservations (code, guest_id, room_id, check_in, check_out, total)
        SELECT 'X', max(id), 1, '2026-05-01', '2026-05-02', 1 FROM guests""",
        """INSERT INTO billing.invoices (reservation_id, bill_to, billing_address, issued_on)
        SELECT max(id), 'A B', 'C', '2026-05-01' FROM reservations""",
    )


@pytest.mark.integration
async def test_canaries_are_planted_everywhere(database: Database) -> None:
    """The canary's name is in most tables, in arrays and in JSON; each of the canaries is in some row image."""
    await hotel(database)
    name = " ".join(CANARIES[:2])
    for table in (
        *("guests", "reservations", "documents", "conversations", "participants", "messages", "audit_logs"),
        *("billing.invoices", "billing.accounts", "billing.payments"),
    ):
        assert database.execute(f"SELECT count(*) > 0 FROM {table} AS t WHERE t::text LIKE '%{name}%'") == [(True,)]
    for canary in CANARIES:
        assert database.execute(f"SELECT count(*) > 0 FROM audit_logs AS t WHERE t::text LIKE '%{canary}%'") == [
            (True,)
        ]
    array, document = database.execute(
        f"""SELECT (SELECT count(*) FROM reservations WHERE '{name}' = ANY (companions)),
        (SELECT count(*) FROM guests WHERE preferences #>> '{{contact,email}}' = '{CANARIES[2]}')"""
    )[0]
    assert array > 0
    assert document > 0


@pytest.mark.integration
async def test_documents_are_stored_out_of_line(database: Database) -> None:
    """Every paper's content lies in the TOAST table, so that an update of its status does not send it."""
    await hotel(database)
    (toasted, content) = database.execute(
        """SELECT (SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'documents'::regclass),
        (SELECT sum(octet_length(content)) FROM documents)"""
    )[0]
    assert toasted >= content > 0


@pytest.mark.integration
async def test_rules_decide_every_column(database: Database) -> None:
    """The rules file is complete and free of errors for the schema, and shows every mask."""
    await hotel(database)
    async with await connect(SourceAddress.parse(database.url, name="production"), purpose="test") as connection:
        catalog = await read_catalog(connection)
    rules = load_rules(RULES)
    assert [str(finding) for finding in check(rules, catalog) if finding.severity is not Severity.NOTE] == []
    text = RULES.read_text()
    for mask in """keep null constant redact email name.first name.last name.full phone address.street address.city
        address.postcode address.full text.lorem id.int id.uuid financial.card financial.iban date.shift number.noise
        json row_image""".split():
        assert re.search(rf"(: |mask: ){re.escape(mask)}\b", text), f"{mask} is not shown"


# --------------------------------------------------------------------------------------------------- the traffic


@pytest.mark.integration
async def test_every_action_changes_something(database: Database) -> None:
    """Each kind of transaction writes rows when it is tried a few times."""
    await hotel(database)
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        session = traffic_module._Session(connection, Draw(5))
        await session.look_around()
        for name, (action, _) in ACTIONS.items():
            written = 0
            for _ in range(20):
                try:
                    async with connection.transaction():
                        await action(session)
                        written += await _written(connection)
                except traffic_module._CONFLICTS:
                    continue
            assert (written > 0) is (name != "rollbacks"), name


async def _written(connection: psycopg.AsyncConnection[Any]) -> int:
    cursor = await connection.execute(
        "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::integer FROM pg_stat_xact_user_tables"
    )
    row = await cursor.fetchone()
    return row[0] if row is not None else 0


@pytest.mark.integration
async def test_traffic_is_counted_and_lands(database: Database) -> None:
    """A few seconds of traffic by three sessions leave bookings, new addresses and moved messages behind."""
    before = await hotel(database)
    ticks: list[int] = []
    counts = await traffic(database.url, 5, on_tick=lambda now: ticks.append(sum(now.values())))
    assert ticks == sorted(ticks)
    assert ticks[-1] == sum(counts.values()) > 30
    assert set(counts) <= {*ACTIONS, CONFLICTS}
    trail = "SELECT count(*) FROM audit_logs WHERE happened_at > now() - interval '5 minutes'"
    assert database.execute(f"{trail} AND table_name = 'payments' AND operation = 'INSERT'") == [(counts["bookings"],)]
    ((changed,),) = database.execute(f"{trail} AND old_row ->> 'email' <> new_row ->> 'email'")
    assert 0 < changed <= counts["email changes"]
    assert database.execute("SELECT count(*) FROM access_log") == [(before["access_log"] + 2 * counts["page views"],)]


@pytest.mark.integration
async def test_a_message_moves_to_another_partition(database: Database) -> None:
    """A new date takes a message out of its partition."""
    await hotel(database)
    where = "SELECT id, tableoid::regclass::text FROM messages"
    before = dict(database.execute(where))
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        session = traffic_module._Session(connection, Draw(5))
        await session.look_around()
        await session.redate_message()
    after = dict(database.execute(where))
    assert before.keys() == after.keys()
    assert sum(before[key] != after[key] for key in before) == 1


@pytest.mark.integration
async def test_a_conflict_is_counted_and_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that meets another one is rolled back as a whole and counted as a conflict."""
    await hotel(database)
    vouchers = database.execute("SELECT count(*) FROM vouchers")

    async def clash(session: Any) -> None:
        await session._do("INSERT INTO vouchers VALUES ('V-new', 1, 1, '2027-01-01')")
        await session._do("INSERT INTO vouchers VALUES ('V-000001', 1, 1, '2027-01-01')")

    monkeypatch.setattr(traffic_module, "_ACTIONS", {"clashes": (clash, 1)})
    counts = await traffic(database.url, 2, sessions=2)
    assert counts.keys() == {CONFLICTS}
    assert counts[CONFLICTS] > 0
    assert database.execute("SELECT count(*) FROM vouchers") == vouchers


@pytest.mark.integration
async def test_traffic_ends_when_production_breaks_off(database: Database) -> None:
    """A connection that production ends stops all sessions with an error of the server."""
    await hotel(database)
    work = asyncio.create_task(traffic(database.url, 60))
    await database.comes_to("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hotel'", [(3,)])
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hotel'")
    with pytest.raises(ServerFailed, match="connection"):
        await work
