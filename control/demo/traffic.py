"""Live traffic on the hotel's database: what its guests and staff do, in many small transactions.

Every action is one transaction. Between them they insert, update and delete in nearly every table, change primary
keys, move rows between partitions, touch rows whose long values stay as they are (TOAST), and roll back savepoints
and whole transactions. The seed decides what each session tries; what comes of it depends on the others, too.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, IsolationLevel, errors

from capture.model import ServerFailed
from control.demo.draw import COUNTRIES, Draw, Person

Tick = Callable[[Mapping[str, int]], None]

CONFLICTS: Final = "conflicts"

# Sessions meet: two want one room, one deletes what the other refers to, a snapshot is too old. Such a transaction is
# rolled back and not tried again, as a guest would go on to something else; the stream must not show any of it.
_CONFLICTS: Final = (
    errors.UniqueViolation,
    errors.ForeignKeyViolation,
    errors.SerializationFailure,
    errors.DeadlockDetected,
)
_PAUSE_SECONDS: Final = 0.012  # the mean between two transactions of a session
_TICK_SECONDS: Final = 0.5


async def traffic(
    url: str, seconds: float, *, seed: int = 7, sessions: int = 3, on_tick: Tick | None = None
) -> dict[str, int]:
    """Work for so many seconds; the number of transactions by kind, and ``conflicts``.

    ``on_tick`` gets the counts so far about twice a second. The data must have been loaded.
    """
    counts: Counter[str] = Counter()
    deadline = asyncio.get_running_loop().time() + seconds
    workers = [asyncio.create_task(_session(url, deadline, seed, number, counts)) for number in range(sessions)]
    pending = set(workers)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, timeout=_TICK_SECONDS)
            for worker in done:
                worker.result()
            if on_tick is not None:
                on_tick(dict(counts))
    except psycopg.OperationalError as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise ServerFailed(f"the demo's traffic lost its connection to production{state}.") from None
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return dict(counts)


async def _session(url: str, deadline: float, seed: int, number: int, counts: Counter[str]) -> None:
    clock = asyncio.get_running_loop().time
    async with await AsyncConnection.connect(url, autocommit=True, application_name="hotel") as connection:
        if number % 2:
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        session = _Session(connection, Draw(seed * 1000 + number))
        await session.look_around()
        actions = [name for name, (_, weight) in _ACTIONS.items() for _ in range(weight)]
        while clock() < deadline:
            name = session.draw.pick(actions)
            try:
                async with connection.transaction():
                    await _ACTIONS[name][0](session)
            except _CONFLICTS:
                counts[CONFLICTS] += 1
            else:
                counts[name] += 1
            await asyncio.sleep(2 * _PAUSE_SECONDS * session.draw.share())


class _Session:
    """One client of the database, and the actions that it can take, each inside a transaction that is open."""

    def __init__(self, connection: AsyncConnection[Any], draw: Draw) -> None:
        self._connection = connection
        self.draw = draw
        self._last_ids: dict[str, int] = {}

    async def look_around(self) -> None:
        """Learn how far the tables' numbers go, to pick rows by them."""
        for table in ("guests", "reservations", "documents", "messages", "rooms", "staff", "pricing"):
            self._last_ids[table] = await self._one(f"SELECT max(id) FROM {table}")

    async def register(self) -> None:
        """A new guest."""
        await self._new_guest()

    async def book(self) -> None:
        """A stay with its bill, payment and confirmation: seven tables in one transaction."""
        guest = await self._new_guest() if self.draw.share() < 0.3 else await self._some("guests")
        stay = await self._reserve(guest)
        name = await self._one("SELECT display_name FROM guests WHERE id = %s", guest)
        invoice = await self._one(
            """INSERT INTO billing.invoices (reservation_id, bill_to, billing_address, issued_on)
            VALUES (%s, %s, %s, CURRENT_DATE) RETURNING id""",
            *(stay, name, f"{self.draw.street()}, 75011 Paris"),
        )
        for line, (what, amount) in enumerate((("Room", "240.00"), ("Breakfast", "36.50"), ("City tax", "7.20")), 1):
            await self._do('INSERT INTO billing."Invoice Lines" VALUES (%s, %s, %s, %s)', invoice, line, what, amount)
        card = self.draw.card()
        await self._do(
            """INSERT INTO billing.payments (invoice_id, method, card_holder, card_number, amount, gateway)
            VALUES (%s, 'card', %s, %s, 283.70, %s)""",
            *(invoice, name, card, json.dumps({"card": {"holder": name, "number": card}, "risk": self.draw.share()})),
        )
        await self._talk(guest, stay)
        if self.draw.share() < 0.2:
            await self._do("UPDATE guests SET favourite_reservation_id = %s WHERE id = %s", stay, guest)

    async def write_message(self) -> None:
        """A guest writes, and signs."""
        await self._do(
            """INSERT INTO messages (conversation_id, sender_email, body)
            SELECT participants.conversation_id, email, %s || name FROM participants
            WHERE conversation_id >= %s AND guest_id IS NOT NULL ORDER BY conversation_id LIMIT 1""",
            *("Could we have a later breakfast?\nKind regards, ", self.draw.uuid()),
        )

    async def change_email(self) -> None:
        """A guest has a new address; the audit trail keeps the old one."""
        person = self.draw.person(0, "FR")
        address = self._own_address(person)
        await self._do(
            """UPDATE guests SET email = %s, preferences = jsonb_set(preferences, '{contact,email}', to_jsonb(%s::text))
            WHERE id = %s""",
            *(address, address, await self._some("guests")),
        )

    async def move_house(self) -> None:
        """Several columns of a guest change, one of them an array."""
        # The first guest is known by every canary (see dataset): by moving often, they take them through the stream.
        guest = 1 if self.draw.share() < 0.2 else await self._some("guests")
        person = self.draw.person(0, "ES")
        city, postcode = self.draw.pick(COUNTRIES["ES"].cities)
        await self._do(
            """UPDATE guests SET street = %s, postcode = %s, city = %s, country = 'ES',
            other_phones = other_phones[:2] || %s::text WHERE id = %s""",
            *(self.draw.street(), postcode, city, person.phone, guest),
        )

    async def arrive(self) -> None:
        """A party comes to its room. If another one lives there, that is a conflict."""
        await self._do(
            "UPDATE reservations SET status = 'checked_in' WHERE id = %s AND status IN ('requested', 'confirmed')",
            await self._some("reservations"),
        )

    async def leave(self) -> None:
        """A party goes, its room is to be cleaned, its bill is paid."""
        stay = await self._one("SELECT id FROM reservations WHERE status = 'checked_in' ORDER BY check_out, id LIMIT 1")
        await self._do("UPDATE reservations SET status = 'checked_out' WHERE id = %s", stay)
        await self._do(
            "UPDATE rooms SET state = 'cleaning' WHERE id = (SELECT room_id FROM reservations WHERE id = %s)", stay
        )
        await self._do("UPDATE billing.invoices SET paid = true WHERE reservation_id = %s", stay)

    async def cancel(self) -> None:
        """A stay is deleted, and with it, by foreign keys, its bill, payment and conversation."""
        await self._do("DELETE FROM reservations WHERE id = %s", await self._some("reservations"))

    async def forget_guest(self) -> None:
        """A guest asks to be forgotten, with all that belongs to them."""
        await self._do("DELETE FROM guests WHERE id = %s", await self._some("guests"))

    async def review_document(self) -> None:
        """A paper's status changes, its long content does not."""
        status = self.draw.pick(("verified", "rejected", "archived"))
        await self._do("UPDATE documents SET status = %s WHERE id = %s", status, await self._some("documents"))

    async def renumber(self) -> None:
        """Primary keys change: a voucher's code and, where two speak, their seats, which swap over a third."""
        await self._do(
            """UPDATE vouchers SET code = 'V-' || %s::text
            WHERE code = (SELECT code FROM vouchers WHERE code >= %s ORDER BY code LIMIT 1)""",
            *(f"{self.draw.digits(10)}", f"V-{self.draw.digits(6)}"),
        )
        talk = await self._one("SELECT id FROM conversations WHERE id >= %s ORDER BY id LIMIT 1", self.draw.uuid())
        for old, new in ((1, 3), (2, 1), (3, 2)):
            await self._do("UPDATE participants SET seat = %s WHERE conversation_id = %s AND seat = %s", new, talk, old)

    async def redate_message(self) -> None:
        """A message was filed under the wrong day: it moves to another partition."""
        await self._do(
            "UPDATE messages SET sent_at = sent_at + %s WHERE id = %s",
            *(timedelta(self.draw.pick((-120, 100, 400))), await self._some("messages")),
        )

    async def clean_room(self) -> None:
        """Work in the table without a key: a line is written, one is corrected, an old one goes."""
        room = self.draw.between(1, self._last_ids["rooms"])
        await self._do(
            "INSERT INTO housekeeping (room_id, staff_id, minutes) VALUES (%s, %s, %s)",
            *(room, self.draw.between(1, self._last_ids["staff"]), self.draw.between(15, 70)),
        )
        await self._do(
            """UPDATE housekeeping SET remark = 'checked'
            WHERE cleaned_at = (SELECT max(cleaned_at) FROM housekeeping WHERE room_id = %s)""",
            room,
        )
        if self.draw.share() < 0.3:
            await self._do(
                """DELETE FROM housekeeping
                WHERE cleaned_at = (SELECT min(cleaned_at) FROM housekeeping WHERE room_id = %s)""",
                room,
            )

    async def set_prices(self) -> None:
        """Many rows change in one statement."""
        first = self.draw.below(self._last_ids["pricing"])
        await self._do("UPDATE pricing SET price = price + 1 WHERE id BETWEEN %s AND %s", first, first + 30)

    async def browse(self) -> None:
        """Lines of a log that has no identity."""
        for path in ("/", "/rooms"):
            await self._do(
                "INSERT INTO access_log (address, method, path, status) VALUES (%s, 'GET', %s, 200)",
                *(self.draw.ip_address(), path),
            )

    async def change_mind(self) -> None:
        """Half of a transaction is undone: only the second stay is made."""
        guest = await self._some("guests")
        async with self._connection.transaction(force_rollback=True):  # a savepoint, as it is inside another one
            await self._talk(guest, await self._reserve(guest))
            async with self._connection.transaction():
                await self._do("DELETE FROM vouchers WHERE guest_id = %s", guest)
        await self._reserve(guest)

    async def give_up(self) -> None:
        """A whole booking is rolled back."""
        await self._reserve(await self._new_guest())
        raise psycopg.Rollback

    # -------------------------------------------------------------------------------------------------- building

    async def _new_guest(self) -> int:
        country = self.draw.pick(tuple(COUNTRIES))
        person = self.draw.person(0, country)
        address = self._own_address(person)
        preferences = json.dumps({"theme": "dark", "contact": {"email": address, "phone": person.phone}})
        return int(
            await self._one(
                """INSERT INTO guests (email, first_name, last_name, phone, born_on, street, country, preferences)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
                *(address, person.first, person.last, person.phone),
                *(date(1990, 1, 1) - timedelta(self.draw.below(10_000)), self.draw.street(), country, preferences),
            )
        )

    async def _reserve(self, guest: int) -> int:
        check_in = timedelta(self.draw.below(300))
        return int(
            await self._one(
                """INSERT INTO reservations (code, guest_id, room_id, check_in, check_out, total, companions)
                VALUES ('R' || %s::text, %s, %s, CURRENT_DATE + %s, CURRENT_DATE + %s, 283.70, %s) RETURNING id""",
                *(self.draw.digits(12), guest, self.draw.between(1, self._last_ids["rooms"])),
                *(check_in, check_in + timedelta(self.draw.between(1, 8)), [self.draw.person(0, "NL").name]),
            )
        )

    async def _talk(self, guest: int, stay: int) -> None:
        talk = await self._one(
            """INSERT INTO conversations (guest_id, reservation_id, subject, channel)
            SELECT id, %s, 'Your booking, ' || display_name, 'email' FROM guests WHERE id = %s RETURNING id""",
            *(stay, guest),
        )
        clerk = self.draw.between(1, self._last_ids["staff"])
        await self._do(
            """INSERT INTO participants (conversation_id, seat, guest_id, staff_id, name, email)
            SELECT %s::uuid, 1, id, NULL::integer, display_name, email FROM guests WHERE id = %s UNION ALL
            SELECT %s::uuid, 2, NULL, id, first_name || ' ' || last_name, email FROM staff WHERE id = %s""",
            *(talk, guest, talk, clerk),
        )

    def _own_address(self, person: Person) -> str:
        """An address that no guest has yet: the loaded ones have five digits at most."""
        return person.email.replace("@", f".{self.draw.digits(9)}@")

    async def _some(self, table: str) -> int:
        """The number of a row that is there now, if any is."""
        start = self.draw.between(1, self._last_ids[table])
        return int(await self._one(f"SELECT id FROM {table} WHERE id >= %s ORDER BY id LIMIT 1", start) or 0)

    async def _one(self, statement: str, *values: object) -> Any:
        """The first column of the first row, None if there is no row."""
        row = await (await self._connection.execute(statement.encode(), values)).fetchone()
        return row[0] if row is not None else None

    async def _do(self, statement: str, *values: object) -> None:
        await self._connection.execute(statement.encode(), values)


# What sessions do, and how often by weight.
_ACTIONS: Final[dict[str, tuple[Callable[[_Session], Awaitable[None]], int]]] = {
    "registrations": (_Session.register, 6),
    "bookings": (_Session.book, 16),
    "messages": (_Session.write_message, 20),
    "email changes": (_Session.change_email, 8),
    "moves": (_Session.move_house, 6),
    "arrivals": (_Session.arrive, 6),
    "departures": (_Session.leave, 5),
    "cancellations": (_Session.cancel, 4),
    "forgotten guests": (_Session.forget_guest, 1),
    "document reviews": (_Session.review_document, 8),
    "key changes": (_Session.renumber, 3),
    "partition moves": (_Session.redate_message, 3),
    "cleanings": (_Session.clean_room, 6),
    "price changes": (_Session.set_prices, 1),
    "page views": (_Session.browse, 6),
    "savepoints undone": (_Session.change_mind, 4),
    "rollbacks": (_Session.give_up, 2),
}
