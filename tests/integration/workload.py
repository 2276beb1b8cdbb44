"""A seeded random workload over schema.sql: everything that a production does to its rows, in awkward forms.

``fill`` puts the first rows in; ``run`` lets concurrent sessions work until a time or a number of transactions is
reached. The seed decides what each session attempts; how the sessions meet is up to the server, so two runs differ.
Whatever the server refuses because sessions met (deadlock, serialization failure, a duplicate key, a reference that
went away) is rolled back and counted. Any other error ends the run: the workload is wrong.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.integration.values import STATUSES, Values

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

# What sessions that meet may get. CheckViolation is not among them: no operation may try for one.
_CONFLICTS: Final = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.UniqueViolation,
    errors.ForeignKeyViolation,
    errors.ExclusionViolation,
)
_DAYS: Final = ("2023-12-31", "2024-02-29", "2024-12-31", "2025-01-01", "2025-07-04", "2026-06-15", "2027-01-01")
_KINDS: Final = ("chat", "chat", "sms", "letter", "fax")


@dataclass(slots=True)
class Report:
    """What a run did: transactions by operation, as they ended."""

    committed: Counter[str] = field(default_factory=Counter)
    rolled_back: Counter[str] = field(default_factory=Counter)

    @property
    def transactions(self) -> int:
        """How many transactions committed."""
        return self.committed.total()


class Deliberate(Exception):
    """An operation's own wish to roll back."""


# --------------------------------------------------------------------------------------------- small statements


async def insert(connection: Connection, table: str, *rows: dict[str, Any], end: str = "") -> None:
    """One INSERT of one or several rows of the same columns."""
    columns = ", ".join(rows[0])
    places = ", ".join("(" + ", ".join(["%s"] * len(rows[0])) + ")" for _ in rows)
    values = [value for row in rows for value in row.values()]
    await connection.execute(f"INSERT INTO {table} ({columns}) VALUES {places} {end}", values)


async def pick(connection: Connection, v: Values, table: str, key: str, count: int = 1, order: str = "") -> list[Any]:
    """Up to ``count`` neighbours of a random row: their keys. ``order`` is a column to find a random place in."""
    order = order or key
    found = await (
        await connection.execute(
            f"SELECT {key} FROM {table} WHERE {order} >= (SELECT min({order}) + floor(%s::float8 * "
            f"(max({order}) - min({order}))) FROM {table}) ORDER BY {order} LIMIT %s",
            (v.rng.random(), count),
        )
    ).fetchall()
    return [row[0] for row in found]


async def guests(connection: Connection, v: Values, count: int = 1) -> list[int]:
    return await pick(connection, v, "public.guests", "id", count, "seq")


# ------------------------------------------------------------------------------------------------- operations
# Each is one transaction's work; ``run`` commits it.


async def insert_guests(c: Connection, v: Values) -> None:
    await insert(c, "public.guests", *(v.guest() for _ in range(v.rng.choice((1, 1, 2, 5)))))


async def update_guest(c: Connection, v: Values) -> None:
    changed = dict(v.rng.sample(sorted(v.guest().items()), v.rng.randint(1, 4)))
    assignments = ", ".join(f"{column} = %s" for column in changed)
    keys = await guests(c, v, v.rng.choice((1, 1, 3)))
    if "email" in changed:
        keys = keys[:1]
    await c.execute(f"UPDATE public.guests SET {assignments} WHERE id = ANY(%s)", [*changed.values(), keys])


async def update_many_guests(c: Connection, v: Values) -> None:
    await c.execute(
        "UPDATE public.guests SET credit = coalesce(credit, 0) + 1, religion = %s WHERE seq %% 17 = %s",
        (v.note(), v.rng.randrange(17)),
    )


async def renumber_guest(c: Connection, v: Values) -> None:
    # The only update that an ALWAYS identity allows; it cascades to seven tables.
    await c.execute("UPDATE public.guests SET id = DEFAULT WHERE id = ANY(%s)", (await guests(c, v, 2),))


async def reinsert_guest(c: Connection, v: Values) -> None:
    for key in await guests(c, v):
        await c.execute("DELETE FROM public.guests WHERE id = %s", (key,))
        await insert_overriding(c, {"id": key, **v.guest()})
        await c.execute("UPDATE public.guests SET notes = %s WHERE id = %s", (v.note(), key))


async def insert_overriding(c: Connection, row: dict[str, Any]) -> None:
    columns, places = ", ".join(row), ", ".join(["%s"] * len(row))
    statement = f"INSERT INTO public.guests ({columns}) OVERRIDING SYSTEM VALUE VALUES ({places})"
    await c.execute(statement, list(row.values()))


async def delete_guest(c: Connection, v: Values) -> None:
    await c.execute("DELETE FROM public.guests WHERE id = ANY(%s)", (await guests(c, v),))


async def refer(c: Connection, v: Values) -> None:
    keys = await guests(c, v, 2)
    await c.execute("UPDATE public.guests SET referred_by = %s WHERE id = %s", (v.rng.choice([*keys, None]), keys[0]))


async def subscribe(c: Connection, v: Values) -> None:
    await c.execute(
        "INSERT INTO public.newsletter (email) SELECT email FROM public.guests WHERE id = ANY(%s) "
        "ON CONFLICT (email) DO UPDATE SET since = clock_timestamp()",
        (await guests(c, v, v.rng.choice((1, 4))),),
    )


async def book(c: Connection, v: Values) -> None:
    """One transaction over six tables that closes the cycle before its first half is checked."""
    people = await guests(c, v, v.rng.randint(1, 3))
    reservation = str(v.rng.getrandbits(128).to_bytes(16, "big").hex())
    await c.execute("UPDATE public.guests SET favourite = %s WHERE id = %s", (reservation, people[0]))
    start = v.rng.randint(1, 25)
    await insert(c, "public.reservations", {
        "id": reservation, "code": f"R-{v.rng.getrandbits(60):x}", "guest_id": people[0],
        "status": v.rng.choice(STATUSES), "history": v.rng.choice((None, "{}", '{requested,NULL,"checked in"}')),
        "total": v.rng.choice((None, "(EUR,12.50)")), "stay": f"[2025-03-{start:02d},2025-04-{start:02d})",
    })  # fmt: skip
    row = await (
        await c.execute(
            "INSERT INTO public.conversations (reservation_id, subject) VALUES (%s, %s) RETURNING id",
            (reservation, v.note()),
        )
    ).fetchone()
    assert row is not None
    await c.execute(
        "INSERT INTO public.participants (conversation_id, guest_id, seat, email, nickname) "
        "SELECT %s, id, row_number() OVER (ORDER BY id), email, %s FROM public.guests WHERE id = ANY(%s)",
        (row[0], v.first(), people),
    )
    await c.execute(
        "INSERT INTO public.reactions (conversation_id, guest_id, emoji) SELECT conversation_id, guest_id, '🦜' "
        "FROM public.participants WHERE conversation_id = %s",
        (row[0],),
    )
    await send_messages(c, v, people)


async def send_messages(c: Connection, v: Values, people: Sequence[int] = ()) -> None:
    senders = [*(people or await guests(c, v, 2)), None]
    await insert(c, "public.messages", *(
        {"sent_on": v.rng.choice(_DAYS), "kind": v.rng.choice(_KINDS), "sender": v.rng.choice(senders),
         "body": v.note(), "attachment": v.long(tagged=True) if v.chance(0.1) else v.note()}
        for _ in range(v.rng.choice((1, 2, 6)))
    ))  # fmt: skip


async def change_status(c: Connection, v: Values) -> None:
    await c.execute(
        "UPDATE public.reservations SET status = %s, history = history || status, total = total "
        "WHERE guest_id = ANY(%s)",
        (v.rng.choice(STATUSES), await guests(c, v, 2)),
    )


async def move_reservation(c: Connection, v: Values) -> None:
    """A masked key that others refer to without ON UPDATE CASCADE: only unreferenced rows can change it."""
    await c.execute(
        "UPDATE public.reservations r SET id = gen_random_uuid() WHERE guest_id = ANY(%s) "
        "AND NOT EXISTS (SELECT FROM public.conversations WHERE reservation_id = r.id) "
        "AND NOT EXISTS (SELECT FROM public.guests WHERE favourite = r.id)",
        (await guests(c, v, 3),),
    )


async def cancel(c: Connection, v: Values) -> None:
    await c.execute("DELETE FROM public.reservations WHERE guest_id = ANY(%s)", (await guests(c, v),))


async def renumber_conversation(c: Connection, v: Values) -> None:
    await c.execute(
        "UPDATE public.conversations SET id = DEFAULT WHERE id = ANY(%s)",
        (await pick(c, v, "public.conversations", "id"),),
    )


async def move_messages(c: Connection, v: Values) -> None:
    await c.execute(
        "UPDATE public.messages SET sent_on = %s, kind = %s WHERE id = ANY(%s)",
        (v.rng.choice(_DAYS), v.rng.choice(_KINDS), await pick(c, v, "public.messages", "id", v.rng.choice((1, 4)))),
    )


async def edit_messages(c: Connection, v: Values) -> None:
    keys = await pick(c, v, "public.messages", "id", 2)
    await c.execute("UPDATE public.messages SET body = %s WHERE id = ANY(%s)", (v.note(), keys))
    if v.chance(0.4):
        await c.execute("DELETE FROM public.messages WHERE id = ANY(%s)", (keys[:1],))


async def write_document(c: Connection, v: Values) -> None:
    await insert(c, "public.documents", {
        "title": v.text(), "body": v.long(tagged=True), "scan": bytes(v.rng.randrange(256) for _ in range(64)) * 200,
    })  # fmt: skip


async def touch_document(c: Connection, v: Values) -> None:
    """Updates that leave values in TOAST unchanged, twice in a transaction, in changing sets, under a changing key."""
    for key in await pick(c, v, "public.documents", "id", order="n"):
        await c.execute("UPDATE public.documents SET views = views + 1 WHERE id = %s", (key,))
        await c.execute("UPDATE public.documents SET title = %s WHERE id = %s", (v.text(), key))
        match v.rng.randrange(6):
            case 0:
                await c.execute("UPDATE public.documents SET body = %s WHERE id = %s", (v.long(tagged=True), key))
            case 1:
                await c.execute("UPDATE public.documents SET scan = NULL WHERE id = %s", (key,))
            case 2:
                await c.execute("UPDATE public.documents SET id = DEFAULT, views = -1 WHERE id = %s", (key,))
            case 3:
                await c.execute("UPDATE public.documents SET body = NULL WHERE id = %s", (key,))
                await c.execute("UPDATE public.documents SET body = '', id = DEFAULT WHERE id = %s", (key,))
            case 4:
                await c.execute("DELETE FROM public.documents WHERE id = %s", (key,))


async def attach(c: Connection, v: Values) -> None:
    owner = v.rng.choice([*await guests(c, v), None])
    row = {
        "owner": owner,
        "content": v.long(tagged=False),
        "caption": v.long(tagged=True),
        "pages": v.rng.randrange(99),
    }
    await insert(c, "public.attachments", row)


async def touch_attachment(c: Connection, v: Values) -> None:
    keys = await pick(c, v, "public.attachments", "id")
    await c.execute("UPDATE public.attachments SET pages = pages + 1 WHERE id = ANY(%s)", (keys,))
    match v.rng.randrange(4):
        case 0:
            await c.execute("UPDATE public.attachments SET caption = %s WHERE id = ANY(%s)", (v.long(True), keys))
        case 1:
            await c.execute("UPDATE public.attachments SET id = DEFAULT WHERE id = ANY(%s)", (keys,))
        case 2:
            await c.execute("DELETE FROM public.attachments WHERE id = ANY(%s)", (keys,))


async def open_room(c: Connection, v: Values) -> None:
    await c.execute(
        "INSERT INTO public.rooms (floor, number, rank, label) "
        "SELECT %s, coalesce(max(number), 0) + 1, coalesce((SELECT max(rank) FROM public.rooms), 0) + 1, %s "
        "FROM public.rooms WHERE floor = %s",
        (floor := v.rng.randrange(5), v.name(), floor),
    )


async def swap_rooms(c: Connection, v: Values) -> None:
    """A primary key swap by way of a third value, a swap under a deferred constraint, a shift checked per statement."""
    keys = await pick(c, v, "public.rooms", "id", 2, "rank")
    if len(keys) < 2:
        return
    match v.rng.randrange(4):
        case 0:
            for old, new in ((keys[0], -1), (keys[1], keys[0]), (-1, keys[1])):
                await c.execute("UPDATE public.rooms SET id = %s WHERE id = %s", (new, old))
        case 1:
            await c.execute(
                "UPDATE public.rooms a SET floor = b.floor, number = b.number FROM public.rooms b "
                "WHERE (a.id, b.id) IN ((%s, %s), (%s, %s))",
                (*keys, *reversed(keys)),
            )
        case 2:
            await c.execute("UPDATE public.rooms SET rank = rank + 1 WHERE rank >= %s", (v.rng.randrange(40),))
        case 3:
            # For a while two rows may have the same number.
            await c.execute("UPDATE public.rooms SET number = number + 1 WHERE id = %s", (keys[0],))
            await c.execute("UPDATE public.rooms SET number = number - 1 WHERE id = %s", (keys[0],))
            await c.execute("DELETE FROM public.rooms WHERE id = %s", (keys[1],))


async def log_door(c: Connection, v: Values) -> None:
    row = {"kind": v.text(), "door": v.rng.choice((None, 1, 2)), "at": v.instant(), "detail": v.kept_json(),
           "reading": v.rng.choice((None, 0.1, float("nan"), float("-inf"), -0.0)), "person": v.name()}  # fmt: skip
    await insert(c, "public.door_events", *([row] * v.rng.choice((1, 2, 3))))


async def change_one_of_equal_rows(c: Connection, v: Values) -> None:
    """Picks a row by its address: of several equal rows, just one changes."""
    place = "(SELECT floor(%s * count(*)) FROM public.door_events)"
    one = f"(SELECT ctid FROM public.door_events OFFSET {place} LIMIT 1 FOR UPDATE)"
    match v.rng.randrange(3):
        case 0:
            await c.execute(f"UPDATE public.door_events SET kind = %s WHERE ctid = {one}", (v.text(), v.rng.random()))
        case 1:
            await c.execute(f"UPDATE public.door_events SET person = %s WHERE ctid = {one}", (v.name(), v.rng.random()))
        case 2:
            await c.execute(f"DELETE FROM public.door_events WHERE ctid = {one}", (v.rng.random(),))


async def add_device(c: Connection, v: Values) -> None:
    found = await guests(c, v)
    await c.execute(
        "INSERT INTO public.devices SELECT %s, email, %s, %s FROM public.guests WHERE id = ANY(%s)",
        (v.rng.getrandbits(31), v.note(), v.settings(), found),
    )


async def change_device(c: Connection, v: Values) -> None:
    keys = await pick(c, v, "public.devices", "id", 2)
    match v.rng.randrange(4):
        case 0:
            await c.execute("UPDATE public.devices SET settings = %s WHERE id = ANY(%s)", (v.settings(), keys))
        case 1:
            await c.execute("UPDATE public.devices SET id = %s WHERE id = ANY(%s)", (v.rng.getrandbits(31), keys[:1]))
        case 2:
            await c.execute("UPDATE public.devices SET owner_email = %s WHERE id = ANY(%s)", (v.email(), keys[:1]))
        case 3:
            await c.execute("DELETE FROM public.devices WHERE id = ANY(%s)", (keys[:1],))


async def change_blackouts(c: Connection, v: Values) -> None:
    await c.execute("DELETE FROM public.blackouts WHERE id = ANY(%s)", (await pick(c, v, "public.blackouts", "id"),))
    start = v.rng.randint(1, 300)
    await c.execute(
        "INSERT INTO public.blackouts (period) VALUES (daterange(date '2025-01-01' + %s, date '2025-01-01' + %s))",
        (start, start + v.rng.randint(0, 9)),
    )


async def view_pages(c: Connection, v: Values) -> None:
    visitors = [v.email(), None]
    if found := await guests(c, v):
        row = await (await c.execute("SELECT email FROM public.guests WHERE id = %s", (found[0],))).fetchone()
        visitors += row or ()
    async with c.cursor().copy("COPY public.page_views (path, visitor) FROM STDIN") as copy:
        for _ in range(v.rng.randint(1, 20)):
            await copy.write_row((v.text(), v.rng.choice(visitors)))


async def change_words(c: Connection, v: Values) -> None:
    word = v.text() or ""
    match v.rng.randrange(3):
        case 0:
            await c.execute("INSERT INTO public.one_column VALUES (%s) ON CONFLICT DO NOTHING", (word,))
        case 1:
            await c.execute("DELETE FROM public.one_column WHERE word > %s", (word,))
            await c.execute("INSERT INTO public.one_column VALUES (%s), (%s || 'x')", (word, word))
        case 2:
            await c.execute("UPDATE public.one_column SET word = word || %s WHERE word < %s", (v.tag()[-3:], word))


async def change_odd_names(c: Connection, v: Values) -> None:
    name = '"Odd Schema"."Select"'
    await c.execute(
        f'INSERT INTO {name} ("from", "naïve ""column"", $1", "Größe") VALUES (%s, coalesce(%s, \'\'), %s)',
        (v.name(), v.text(), v.rng.choice((None, 1, 2147483647))),
    )
    keys = await pick(c, v, name, '"Primary Key"', 2)
    await c.execute(f'UPDATE {name} SET "from" = %s WHERE "Primary Key" = ANY(%s)', (v.name(), keys))
    await c.execute(f'UPDATE {name} SET "Primary Key" = DEFAULT WHERE "Primary Key" = ANY(%s)', (keys[:1],))
    if v.chance(0.3):
        await c.execute(f'DELETE FROM {name} WHERE "Primary Key" = ANY(%s)', (keys[1:],))


async def change_specimens(c: Connection, v: Values) -> None:
    row = v.specimen()
    keys = await pick(c, v, "public.specimens", "id")
    if v.chance(0.5) or not keys:
        await insert(c, "public.specimens", row)
    elif v.chance(0.2):
        await c.execute("DELETE FROM public.specimens WHERE id = %s", keys)
    else:
        assignments = ", ".join(f"{column} = %s" for column in row)
        await c.execute(f"UPDATE public.specimens SET {assignments} WHERE id = %s", [*row.values(), *keys])


async def log_in(c: Connection, v: Values) -> None:
    keys = await guests(c, v)
    await c.execute("INSERT INTO public.sessions (guest_id, secret) SELECT unnest(%s::int[]), %s", (keys, v.tag()))
    await c.execute("UPDATE public.sessions SET secret = %s WHERE guest_id = ANY(%s)", (v.tag(), keys))


async def audit_by_hand(c: Connection, v: Values) -> None:
    """Images that no trigger of today writes: of a table or column that is gone, or not of a row at all."""
    table, image = v.rng.choice((
        ("vanished", {"id": 1, "name": v.tag()}),
        ("guests", {"id": 1, "maiden_name": v.tag(), "email": v.email()}),
        ("guests", [v.tag()]),
        ("guests", v.tag()),
        ("sessions", {"token": "x", "secret": v.tag()}),
    ))  # fmt: skip
    await insert(c, "public.audit_logs", {
        "table_schema": "public", "table_name": table, "operation": "BY HAND", "old_row": None, "new_row": Jsonb(image),
    })  # fmt: skip


async def roll_back(c: Connection, v: Values) -> None:
    await insert_guests(c, v)
    await c.execute("DELETE FROM public.one_column")
    raise Deliberate


async def savepoints(c: Connection, v: Values) -> None:
    """Work, undone and kept in turns, several levels deep."""
    for _ in range(v.rng.randint(1, 12)):
        try:
            async with c.transaction():
                await view_pages(c, v)
                try:
                    async with c.transaction():
                        await update_guest(c, v)
                        await log_door(c, v)
                        if v.chance(0.5):
                            raise Deliberate
                except Deliberate:
                    await change_specimens(c, v)
                if v.chance(0.3):
                    raise Deliberate
        except Deliberate:
            await send_messages(c, v)


async def emit_message(c: Connection, v: Values) -> None:
    """Logical messages of other software in the WAL; they are not ours to copy."""
    for transactional in (True, False):
        await c.execute("SELECT pg_logical_emit_message(%s, 'other', %s)", (transactional, v.tag()))
    await log_door(c, v)


async def truncate(c: Connection, v: Values) -> None:
    await c.execute("SET LOCAL lock_timeout = '200ms'")
    tables = v.rng.choice((
        "public.page_views", "public.page_views, public.one_column", "public.blackouts RESTART IDENTITY",
        "public.messages_2024", 'ONLY "Odd Schema"."messages 2025 rest"', "public.messages_2025", "public.door_events",
        "public.devices, public.documents CONTINUE IDENTITY", "public.reactions RESTART IDENTITY CASCADE",
        "public.specimens, public.nothing", "public.sessions",
    ))  # fmt: skip
    await c.execute(f"TRUNCATE {tables}")
    if v.chance(0.5):
        await view_pages(c, v)
        await change_words(c, v)


async def truncate_widely(c: Connection, v: Values) -> None:
    await c.execute("SET LOCAL lock_timeout = '200ms'")
    tables = v.rng.choice(("public.messages", "public.conversations CASCADE", "public.attachments"))
    await c.execute(f"TRUNCATE {tables}")


Operation = Callable[[Connection, Values], Awaitable[None]]
OPERATIONS: Final[dict[Operation, int]] = {
    insert_guests: 10, update_guest: 16, update_many_guests: 2, renumber_guest: 3, reinsert_guest: 2, delete_guest: 2,
    refer: 3, subscribe: 4, book: 12, send_messages: 8, change_status: 6, move_reservation: 2, cancel: 1,
    renumber_conversation: 2, move_messages: 8, edit_messages: 8, write_document: 4, touch_document: 10, attach: 3,
    touch_attachment: 6, open_room: 5, swap_rooms: 8, log_door: 6, change_one_of_equal_rows: 10, add_device: 6,
    change_device: 8, change_blackouts: 4, view_pages: 6, change_words: 5, change_odd_names: 6, change_specimens: 10,
    log_in: 3, audit_by_hand: 2, roll_back: 2, savepoints: 4, emit_message: 1,
}  # fmt: skip
TRUNCATIONS: Final[dict[Operation, int]] = {truncate: 4, truncate_widely: 1}


# ------------------------------------------------------------------------------------------------------ running


async def fill(url: str, seed: int, *, scale: int = 1) -> None:
    """The first rows: some hundreds in every table but the empty one, times ``scale``."""
    v = Values(random.Random(f"fill {seed}"))
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for _ in range(30 * scale):
            await insert(connection, "public.guests", *(v.guest() for _ in range(10)))
        for operation, weight in OPERATIONS.items():
            if operation in (roll_back, delete_guest, cancel, reinsert_guest):
                continue
            for _ in range(3 * weight * scale):
                await _attempt(connection, operation, v, Report())
        await connection.execute("REFRESH MATERIALIZED VIEW public.stays_by_status")


async def run(
    url: str,
    seed: int,
    *,
    seconds: float | None = None,
    transactions: int | None = None,
    sessions: int = 3,
    truncates: bool = True,
    pause: float = 0.004,
    stop: asyncio.Event | None = None,
) -> Report:
    """Let ``sessions`` sessions work until ``seconds`` are over, ``transactions`` have committed, or ``stop`` is set.

    ``pause`` is the mean time in seconds between two transactions of a session. Returns when all have ended, with
    nothing left open.
    """
    report = Report()
    deadline = None if seconds is None else time.monotonic() + seconds

    def done() -> bool:
        return (
            (deadline is not None and time.monotonic() >= deadline)
            or (transactions is not None and report.transactions >= transactions)
            or (stop is not None and stop.is_set())
        )

    async with asyncio.TaskGroup() as group:
        for number in range(sessions):
            group.create_task(_session(url, Values(random.Random(f"{seed}/{number}")), report, truncates, pause, done))
    return report


async def _session(
    url: str, v: Values, report: Report, truncates: bool, pause: float, done: Callable[[], bool]
) -> None:
    weights = OPERATIONS | TRUNCATIONS if truncates else OPERATIONS
    operations = list(weights)
    async with await psycopg.AsyncConnection.connect(url, application_name="workload") as connection:
        while not done():
            [operation] = v.rng.choices(operations, list(weights.values()))
            if v.chance(0.15):
                await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            await _attempt(connection, operation, v, report)
            await connection.set_isolation_level(None)
            await asyncio.sleep(v.rng.expovariate(1 / pause))


async def _attempt(connection: Connection, operation: Operation, v: Values, report: Report) -> None:
    name = operation.__name__
    prepared = v.chance(0.02)
    try:
        await operation(connection, v)
        if prepared:
            await _commit_in_two_phases(connection, v, report, name)
        else:
            await connection.commit()
            report.committed[name] += 1
    except (*_CONFLICTS, Deliberate):
        await connection.rollback()
        report.rolled_back[name] += 1


async def _commit_in_two_phases(connection: Connection, v: Values, report: Report, name: str) -> None:
    keep = v.chance(0.7)
    transaction = f"workload {v.rng.getrandbits(64):x}"
    await connection.execute(f"PREPARE TRANSACTION '{transaction}'")
    await connection.commit()
    await connection.set_autocommit(True)
    await connection.execute(f"{'COMMIT' if keep else 'ROLLBACK'} PREPARED '{transaction}'")
    await connection.set_autocommit(False)
    (report.committed if keep else report.rolled_back)[name] += 1
