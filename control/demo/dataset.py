"""A hotel's data for the demo: people, stays, conversations, papers and bills that look like the real thing.

``load`` fills the empty tables of ``schema.sql`` with more than 200,000 rows at scale 1. All of it follows from the
seed; nothing depends on the clock. ``CANARIES`` are values of one guest that occur in many tables, in plain columns,
arrays, JSON and running text. No masked copy may hold any of them anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from control.demo.draw import COUNTRIES, Draw, Person

Row = tuple[object, ...]


class _Stay(NamedTuple):
    id: int
    guest: Person
    check_in: date
    check_out: date
    status: str
    total: str


class _Conversation(NamedTuple):
    id: UUID
    guest: Person
    clerk: Person
    opened_at: datetime


# The first guest, to whom the first stay, conversation, document, invoice and account belong.
_CANARY: Final = Person(1, "Quetzalina", "Xochitlberg", "quetzalina.xochitlberg@gmail.com", "+49 30 90182047")
_CANARY_STREET: Final = "Tlalocweg 17b"
_CANARY_PASSPORT: Final = "C7XQT0441K"
_CANARY_CARD: Final = "4716392488591031"
_CANARY_IBAN: Final = "DE38370400440987612345"
_CANARY_NOTE: Final = "allergic to obsidian dust"
CANARIES: Final[tuple[str, ...]] = (
    *_CANARY[1:],
    _CANARY_STREET,
    _CANARY_PASSPORT,
    _CANARY_CARD,
    _CANARY_IBAN,
    _CANARY_NOTE,
)

# The day on which the hotel's books stand. Stays before it are over, those after it are to come.
_TODAY: Final = date(2026, 1, 15)
_OPENED: Final = date(2024, 1, 1)
_DAYS_OPEN: Final = (_TODAY - _OPENED).days
_PRICED_NIGHTS: Final = 4 * 365 + 1

_ROOM_TYPES: Final = "Single Double Twin Family Suite Studio Attic Garden".split()
_AMENITIES: Final = ("wifi", "bath", "desk", "balcony", "minibar", "sea view")
_ROOMS: Final = 400
_STAFF: Final = 120
_ROLES: Final = ("reception", "housekeeping", "kitchen", "maintenance", "management")
_TAGS: Final = ("vip", "returning", "business", "family", "no minibar", 'says "hi"')
_REQUESTS: Final = (
    "a quiet room, please",
    "late arrival, around 23:00",
    "cot for {other}",
    "birthday of {other}: flowers in the room",
    "wheelchair access for {other}",
    "call {name} on {phone} before cleaning",
)
_MESSAGES: Final = (
    "Dear {clerk}, this is {name}. Could we arrive a day earlier? Kind regards, {first}",
    "Hello, please call me back on {phone}. {name}",
    "The invoice should be sent to {email}, not to my husband {other}.",
    "Dear {name}, your room is ready. Best wishes, {clerk}",
    "Thank you {clerk}!\nWe had a wonderful stay.\n\n{first}",
    "{name} asked for a vegetarian breakfast; {other} does not.\t(noted by {clerk})",
    "My partner {other} will check in first. The tickets are in C:\\travel\\{first} on your computer.",
)
_SENTENCES: Final = (
    "The bearer {name} was seen in person and the picture matches.",
    "Issued by the competent authority and valid for ten years from the date of issue.",
    "The signature of {name} was compared with that on the registration form.",
    "No alterations were found on the pages that were scanned.",
    "The original was handed back to its owner on the same day.",
)
_PATHS: Final = ("/", "/rooms", "/booking", "/booking/confirm", "/account", "/account/password", "/offers")
_AGENTS: Final = ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4)", "curl/8.5.0")

# What the trigger would have written, had the history really happened.
_AUDIT: Final = (
    """INSERT INTO audit_logs (table_schema, table_name, operation, old_row, new_row, happened_at)
    SELECT 'public', 'guests', 'UPDATE', to_jsonb(guests) || jsonb_build_object('email', 'old.' || email),
           to_jsonb(guests), updated_at
    FROM guests WHERE id % 2 = 1 ORDER BY id""",
    """INSERT INTO audit_logs (table_schema, table_name, operation, new_row, happened_at)
    SELECT 'public', 'reservations', 'INSERT', to_jsonb(reservations), created_at
    FROM reservations WHERE id % 8 = 1 ORDER BY id""",
    """INSERT INTO audit_logs (table_schema, table_name, operation, new_row, happened_at)
    SELECT 'billing', 'payments', 'INSERT', to_jsonb(payments), paid_at
    FROM billing.payments WHERE invoice_id % 16 = 1 ORDER BY invoice_id""",
)

# Rows come with their numbers; the sequences must follow.
_NUMBERED: Final = (
    *("room_types", "seasons", "pricing", "staff", "rooms", "guests", "reservations", "documents", "messages"),
    *("billing.invoices", "billing.accounts"),
)
_SEQUENCES: Final = (
    *(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}" for table in _NUMBERED),
    "SELECT setval('billing.invoice_numbers', max(id)) FROM billing.invoices",
)


async def load(connection: AsyncConnection[Any], scale: float = 1.0, seed: int = 7) -> dict[str, int]:
    """Fill the empty tables in one transaction; the number of rows by table, named as SQL writes them.

    The connection must be a superuser's: triggers and foreign key checks are off meanwhile, because the data hold.
    ``scale`` multiplies the guests and all that they leave behind; there are always 20 of them.
    """
    counts: dict[str, int] = {}
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute("SET LOCAL session_replication_role = replica")
        for table, columns, rows in _Hotel(Draw(seed), scale).tables():
            counts[table] = 0
            async with cursor.copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy:
                while block := [_copy_line(row) for row in islice(rows, 4096)]:
                    counts[table] += len(block)
                    await copy.write("".join(block))
        counts["audit_logs"] = 0
        for statement in _AUDIT:
            await cursor.execute(statement)
            counts["audit_logs"] += cursor.rowcount
        for statement in _SEQUENCES:
            await cursor.execute(statement)
        await cursor.execute("REFRESH MATERIALIZED VIEW occupancy")
        await cursor.execute("ANALYZE")
    return counts


_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n"})
_needs_escapes: Final = re.compile(r"[\\\t\n]").search


def _copy_text(value: object) -> str:
    if type(value) is str:
        return value.translate(_ESCAPES) if _needs_escapes(value) else value
    return r"\N" if value is None else str(value)


def _copy_line(row: Row) -> str:
    """A row in COPY's text format. psycopg's ``write_row`` takes any type, and three times as long."""
    return "\t".join(map(_copy_text, row)) + "\n"


def _array(values: list[str]) -> str:
    """PostgreSQL's text form of a text[]."""
    quoted = ('"' + value.replace("\\", r"\\").replace('"', r"\"") + '"' for value in values)
    return "{" + ",".join(quoted) + "}"


class _Hotel:
    """Makes the rows, table by table; later tables refer to people and stays that earlier ones made."""

    def __init__(self, draw: Draw, scale: float) -> None:
        self.draw = draw
        self.size = max(int(16_000 * scale), 20)
        self.guests: list[Person] = [_CANARY]
        self.staff: list[Person] = []
        self.stays: list[_Stay] = []
        self.billed: list[_Stay] = []
        self.conversations: list[_Conversation] = []

    def tables(self) -> Iterator[tuple[str, str, Iterator[Row]]]:
        """Every table that people fill, its columns and its rows, in an order in which each finds what it refers to."""
        yield "room_types", "id, code, name, beds, amenities, base_rate", self._room_types()
        yield "seasons", "id, name, during", self._seasons()
        yield "pricing", "id, room_type_id, night, price, discount", self._pricing()
        yield (
            "staff",
            "id, first_name, last_name, email, phone, role, manager_id, salary, iban, emergency_contact, hired_on",
            self._staff(),
        )
        yield "rooms", "id, number, room_type_id, floor, state, housekeeper_id", self._rooms()
        yield (
            "guests",
            """id, email, first_name, last_name, phone, other_phones, born_on, passport, street, postcode, city,
            country, tags, preferences, notes, favourite_reservation_id, created_at, updated_at""",
            self._guests(),
        )
        yield (
            "reservations",
            "id, code, guest_id, room_id, status, check_in, check_out, total, companions, special_requests, created_at",
            self._reservations(),
        )
        yield "vouchers", "code, guest_id, value, expires_on", self._vouchers()
        yield (
            "documents",
            "id, guest_id, kind, title, content, extracted, fingerprint, status, received_at",
            self._documents(),
        )
        yield "sessions", "token, guest_id, address, user_agent, started_at", self._sessions()
        yield (
            "conversations",
            "id, guest_id, reservation_id, subject, channel, opened_at",
            self._conversations(),
        )
        yield "participants", "conversation_id, seat, guest_id, staff_id, name, email", self._participants()
        yield "messages", "id, conversation_id, sender_email, body, attachment, sent_at", self._messages()
        yield (
            "billing.invoices",
            "id, number, reservation_id, bill_to, billing_address, issued_on, paid",
            self._invoices(),
        )
        yield (
            'billing."Invoice Lines"',
            '"Invoice Id", "Line No", "Description", "Amount"',
            self._invoice_lines(),
        )
        yield "billing.accounts", "id, guest_id, holder, card_number, iban", self._accounts()
        yield (
            "billing.payments",
            "id, invoice_id, method, card_holder, card_number, iban, amount, gateway, paid_at",
            self._payments(),
        )
        yield "housekeeping", "room_id, staff_id, cleaned_at, minutes, remark", self._housekeeping()
        yield "access_log", "at, address, method, path, status, user_agent, guest_email", self._access_log()

    # ------------------------------------------------------------------------------------------ rooms and prices

    def _room_types(self) -> Iterator[Row]:
        for number, name in enumerate(_ROOM_TYPES, 1):
            amenities, rate = _array(list(_AMENITIES[: 2 + number % 4])), f"({60 + 15 * number}.00,EUR)"
            yield number, name[:3].upper(), f"{name} room", 1 + number % 4, amenities, rate

    def _seasons(self) -> Iterator[Row]:
        for number, year in enumerate(range(2024, 2029)):
            yield 2 * number + 1, f"Summer {year}", f"[{year}-06-01,{year}-09-15)"
            yield 2 * number + 2, f"Winter {year}", f"[{year}-12-15,{year + 1}-01-10)"

    def _pricing(self) -> Iterator[Row]:
        number = 0
        for room_type in range(1, len(_ROOM_TYPES) + 1):
            for night in range(_PRICED_NIGHTS):
                number += 1
                price = f"{60 + 15 * room_type + self.draw.below(40)}.00"
                yield number, room_type, _OPENED + timedelta(night), price, self.draw.pick((0, 0, 0, 10, 15))

    def _rooms(self) -> Iterator[Row]:
        for number in range(1, _ROOMS + 1):
            floor, place = divmod(number - 1, 40)
            state = self.draw.pick(("ready", "ready", "occupied", "cleaning"))
            housekeeper = self.draw.pick(self.staff).id
            yield number, f"{floor + 1}{place:02}", 1 + number % len(_ROOM_TYPES), floor + 1, state, housekeeper

    # ---------------------------------------------------------------------------------------------------- people

    def _staff(self) -> Iterator[Row]:
        for number in range(1, _STAFF + 1):
            person = self.draw.person(number, "DE", mail_domain="grandhotel-meridian.com")
            self.staff.append(person)
            contact = _CANARY if number == 1 else self.draw.person(0, "DE")
            manager = None if number <= 5 else self.draw.between(1, 5)
            yield (
                *(number, person.first, person.last, person.email, person.phone, self.draw.pick(_ROLES), manager),
                *(f"{self.draw.between(2400, 7800)}.00", self.draw.iban("DE"), f"{contact.name}, {contact.phone}"),
                _OPENED - timedelta(self.draw.below(3000)),
            )

    def _guests(self) -> Iterator[Row]:
        codes = tuple(COUNTRIES)
        countries = [self.draw.pick(codes) for _ in range(self.size)]
        self.guests += [self.draw.person(number, country) for number, country in enumerate(countries[1:], 2)]
        for guest, country in zip(self.guests, countries, strict=True):
            other = self.draw.pick(self.guests)
            city, postcode = self.draw.pick(COUNTRIES[country].cities)
            street, passport = self.draw.street(), f"C{self.draw.bits(36):09X}"
            note = f"{guest.name} travels with {other.name}." if self.draw.share() < 0.4 else None
            if guest is _CANARY:
                street, passport = _CANARY_STREET, _CANARY_PASSPORT
                note = f"{guest.name} is {_CANARY_NOTE}. Refunds go to {_CANARY_IBAN}."
            phones = ([], [guest.phone, other.phone], [other.phone])[guest.id % 3]
            tags = [self.draw.pick(_TAGS) for _ in range(guest.id % 3)]
            # Every fifth has a favourite stay: the one that _reservations makes for them.
            favourite = guest.id if guest.id % 5 == 1 else None
            created = self.draw.moment(_OPENED, _DAYS_OPEN - 14)
            yield (
                *(guest.id, guest.email, guest.first, guest.last, guest.phone, _array(phones)),
                *(date(1940, 1, 1) + timedelta(self.draw.below(24_000)), passport, street, postcode, city, country),
                *(_array(tags), json.dumps(self._preferences(guest, other)), note, favourite),
                *(created, created + timedelta(self.draw.below(14))),
            )

    def _preferences(self, guest: Person, other: Person) -> dict[str, object]:
        preferences: dict[str, object] = {
            "theme": self.draw.pick(("dark", "light")),
            "newsletter": self.draw.share() < 0.3,
            "contact": {"email": guest.email, "phone": guest.phone, "best_time": "after 18:00"},
        }
        if guest.id % 4 == 1:
            preferences["family"] = [{"name": other.name, "age": self.draw.between(1, 90)}, {"name": guest.name}]
        if guest.id % 6 == 1:
            preferences["loyalty"] = {"number": f"GM-{guest.id:07}", "points": self.draw.below(5000)}
        return preferences

    # ----------------------------------------------------------------------------------------------------- stays

    def _reservations(self) -> Iterator[Row]:
        occupied: set[int] = set()
        for number in range(1, 2 * self.size + 1):
            # Reservation n belongs to guest n at first, so that everybody has one.
            guest = self.guests[number - 1] if number <= self.size else self.draw.pick(self.guests)
            nights, room = self.draw.between(1, 8), self.draw.between(1, _ROOMS)
            # The first one is over, so that it was paid.
            check_in = _OPENED + timedelta(self.draw.below(600 if number == 1 else 1090))
            check_out = check_in + timedelta(nights)
            if number == 1:
                status = "checked_out"
            elif check_out <= _TODAY:
                status = self.draw.pick(("checked_out",) * 8 + ("cancelled", "no_show"))
            elif check_in <= _TODAY and room not in occupied:
                status = "checked_in"
                occupied.add(room)
            else:
                status = self.draw.pick(("requested", "confirmed", "confirmed", "cancelled"))
            stay = _Stay(number, guest, check_in, check_out, status, f"{nights * self.draw.between(70, 240)}.00")
            self.stays.append(stay)
            if status in {"checked_in", "checked_out"}:
                self.billed.append(stay)
            other = _CANARY if number % 1000 == 2 else self.draw.pick(self.guests)
            companions = [other.name, guest.name][: (number % 4 == 2) + 2 * (number % 40 == 1)]
            request = None
            if number % 5 == 1:
                request = self.draw.pick(_REQUESTS).format(name=guest.name, phone=guest.phone, other=other.name)
            created = self.draw.moment(check_in - timedelta(60), 50)
            yield (
                *(number, f"R{number:07}", guest.id, room, status, check_in, check_out, stay.total),
                *(_array(companions), request, created),
            )

    def _vouchers(self) -> Iterator[Row]:
        for number in range(self.size // 10):
            value = f"{self.draw.pick((25, 50, 100))}.00"
            yield f"V-{number:06}", self.draw.pick(self.guests).id, value, date(2027, 12, 31)

    def _documents(self) -> Iterator[Row]:
        for number, guest in enumerate(self.guests[::14], 1):
            sentences = [sentence.format(name=guest.name) for sentence in _SENTENCES]
            content = " ".join(self.draw.several(sentences, k=self.draw.between(40, 100)))
            extracted = {"holder": guest.name, "number": f"X{number:08}", "lines": self.draw.several(sentences, k=40)}
            kind = self.draw.pick(("passport", "identity card", "registration form"))
            yield (
                *(number, guest.id, kind, f"{kind} of {guest.name}", content, json.dumps(extracted)),
                *(f"\\x{self.draw.bits(256):064x}", self.draw.pick(("received", "verified", "archived"))),
                self.draw.moment(_OPENED, _DAYS_OPEN),
            )

    def _sessions(self) -> Iterator[Row]:
        for _ in range(self.size // 5):
            started = self.draw.moment(_OPENED, _DAYS_OPEN)
            guest, agent = self.draw.pick(self.guests), self.draw.pick(_AGENTS)
            yield self.draw.uuid(), guest.id, self.draw.ip_address(), agent, started

    # --------------------------------------------------------------------------------------------- conversations

    def _conversations(self) -> Iterator[Row]:
        for stay in self.stays[: self.size * 2 // 5]:
            opened = self.draw.moment(stay.check_in - timedelta(40), 30)
            talk = _Conversation(self.draw.uuid(), stay.guest, self.draw.pick(self.staff), opened)
            self.conversations.append(talk)
            channel = self.draw.pick(("email", "chat", "phone"))
            yield talk.id, stay.guest.id, stay.id, f"Your stay, {stay.guest.name}", channel, opened

    def _participants(self) -> Iterator[Row]:
        for talk in self.conversations:
            yield talk.id, 1, talk.guest.id, None, talk.guest.name, talk.guest.email
            yield talk.id, 2, None, talk.clerk.id, talk.clerk.name, talk.clerk.email

    def _messages(self) -> Iterator[Row]:
        number = 0
        for talk in self.conversations:
            guest, clerk, sent_at = talk.guest, talk.clerk, talk.opened_at
            for turn in range(self.draw.between(3, 9)):
                number += 1
                sent_at += timedelta(seconds=self.draw.between(60, 90_000))
                other = _CANARY if number % 500 == 0 else self.draw.pick(self.guests)
                body = self.draw.pick(_MESSAGES).format(
                    name=guest.name, first=guest.first, phone=guest.phone, email=guest.email, other=other.name,
                    clerk=clerk.name,
                )  # fmt: skip
                attachment = None
                if number % 7 == 1:
                    attachment = json.dumps({"file": f"{guest.last}.pdf", "bytes": number * 11, "from": guest.email})
                yield number, talk.id, (clerk if turn % 2 else guest).email, body, attachment, sent_at

    # --------------------------------------------------------------------------------------------------- billing

    def _invoices(self) -> Iterator[Row]:
        for number, stay in enumerate(self.billed, 1):
            street = _CANARY_STREET if stay.guest is _CANARY else self.draw.street()
            city, postcode = self.draw.pick(COUNTRIES["FR"].cities)
            address, paid = f"{street}, {postcode} {city}", stay.status == "checked_out" and number % 11 > 0
            yield number, f"INV-{number:08}", stay.id, stay.guest.name, address, stay.check_out, paid

    def _invoice_lines(self) -> Iterator[Row]:
        for number, stay in enumerate(self.billed, 1):
            yield number, 1, f"{(stay.check_out - stay.check_in).days} nights", stay.total
            yield number, 2, "Breakfast", f"{self.draw.between(10, 90)}.50"

    def _accounts(self) -> Iterator[Row]:
        taken = {_CANARY_CARD, _CANARY_IBAN}
        yield 1, _CANARY.id, _CANARY.name, _CANARY_CARD, None
        yield 2, _CANARY.id, _CANARY.name, None, _CANARY_IBAN
        codes = tuple(COUNTRIES)
        for number in range(3, self.size * 2 // 5 + 3):
            guest, by_card = self.draw.pick(self.guests), number % 3 > 0
            account = _CANARY_CARD
            while account in taken:
                account = self.draw.card() if by_card else self.draw.iban(self.draw.pick(codes))
            taken.add(account)
            yield number, guest.id, guest.name, account if by_card else None, None if by_card else account

    def _payments(self) -> Iterator[Row]:
        for number, stay in enumerate(self.billed, 1):
            is_canary = stay.guest is _CANARY
            method = "card" if number == 1 else self.draw.pick(("card", "card", "transfer", "cash"))
            holder = card = iban = gateway = None
            if method == "card":
                holder, card = stay.guest.name, _CANARY_CARD if is_canary else self.draw.card()
                details = {"holder": holder, "number": card, "brand": "visa" if card[0] == "4" else "mastercard"}
                gateway = json.dumps({"charge": f"ch_{self.draw.bits(64):016x}", "card": details, "risk": 0.03})
            elif method == "transfer":
                holder, iban = stay.guest.name, _CANARY_IBAN if is_canary else self.draw.iban("NL")
            paid_at = self.draw.moment(stay.check_out, 3)
            yield self.draw.uuid(), number, method, holder, card, iban, stay.total, gateway, paid_at

    # ------------------------------------------------------------------------------------------------------ logs

    def _housekeeping(self) -> Iterator[Row]:
        for _ in range(self.size * 3 // 10):
            cleaner, guest = self.draw.pick(self.staff), self.draw.pick(self.guests)
            remark = f"{cleaner.first} found a watch of {guest.name}" if self.draw.share() < 0.2 else None
            cleaned_at = self.draw.moment(_OPENED, _DAYS_OPEN)
            yield self.draw.between(1, _ROOMS), cleaner.id, cleaned_at, self.draw.between(15, 70), remark

    def _access_log(self) -> Iterator[Row]:
        for number in range(self.size // 2):
            at, address = self.draw.moment(_OPENED, _DAYS_OPEN), self.draw.ip_address()
            method, path, status = self.draw.pick(("GET", "POST")), self.draw.pick(_PATHS), self.draw.pick((200, 404))
            email = self.guests[number].email if number % 3 == 0 else None
            yield at, address, method, path, status, self.draw.pick(_AGENTS), email
