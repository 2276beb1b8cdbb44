"""Which rows production changed between two positions, and what they are now.

``Touched`` is sans-IO: it takes the events of a slot and keeps the keys of every row that an insert, an update or a
delete names, old and new. A row whose key is not among them has neither changed nor moved to another page.
``SlotReader`` fills it from a slot, ``read_rows`` reads those rows as of a snapshot, with their pages.

Keys are raw values: they are held in memory only, within a budget, and shown nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Self, TypeAlias

from capture import events
from capture.model import UNCHANGED, Column, Lsn, Relation, Table, TableName, Value, quote_identifier
from capture.pgoutput import Decoder, ProtocolViolation
from capture.replication import ReplicationSession
from capture.replication_protocol import Keepalive, parse_copy_data
from capture.source import SourceAddress, SourceConnection

# The oldest version of the protocol has all that is needed here: whole transactions, in the order of their commits.
_PROTOCOL: Final = 1

_ASK_SECONDS: Final = 0.5
_KEYS_A_STATEMENT: Final = 2000
# What a key costs beside its bytes: a tuple, its values' headers, a place in a set.
_KEY_OVERHEAD: Final = 160

Key: TypeAlias = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Followed:
    """A table whose touched rows are wanted. ``key`` names columns that identify a row, are never NULL and come with
    every old image; () where there are none."""

    table: Table
    key: tuple[str, ...]


@dataclass(slots=True)
class _Announced:
    followed: Followed
    positions: tuple[int, ...]


class Touched:
    """The keys of the rows that transactions touched which commit at or after ``start`` and before ``until``; while
    that is None, before wherever the stream is.

    ``whole`` names the tables of which more cannot be said than that they were touched: without a key, truncated, or
    touched in too many places for ``budget`` bytes of keys over all tables.
    """

    def __init__(self, followed: Collection[Followed], start: Lsn, *, budget: int) -> None:
        self._followed = {each.table.oid: each for each in followed}
        self._start = start
        self._budget = budget
        self._size = 0
        self._announced: dict[int, _Announced] = {}
        self._in_transaction = False
        self._skipping = False
        self.keys: dict[TableName, set[Key]] = {}
        self.whole: set[TableName] = set()
        self.until: Lsn | None = None
        # Every transaction that ends at or before it has come.
        self.position = start

    def keepalive(self, wal_end: Lsn) -> None:
        """The server has sent everything that it decoded up to ``wal_end``."""
        if not self._in_transaction:
            self.position = max(self.position, wal_end)

    def feed(self, event: events.Event) -> None:
        """Take the next event. Raises ``ProtocolViolation`` for one that was not asked for."""
        match event:
            case events.Begin():
                self._in_transaction = True
                is_later = self.until is not None and event.final_lsn >= self.until
                self._skipping = is_later or event.final_lsn < self._start
                if is_later:
                    # Transactions come in the order of their commits.
                    self.position = max(self.position, event.final_lsn)
            case events.Commit():
                self._in_transaction = False
                self.position = max(self.position, event.end_lsn)
            case Relation():
                self._announce(event)
            case _ if self._skipping:
                pass
            case events.Insert():
                self._touch(event.relation_id, event.new, None)
            case events.Update():
                self._touch(event.relation_id, event.new, event.old)
            case events.Delete():
                self._touch(event.relation_id, None, event.old)
            case events.Truncate():
                for relation_id in event.relation_ids:
                    if relation_id in self._announced:
                        self._give_up(self._announced[relation_id].followed.table.name)
            case events.Type() | events.Origin() | events.Message() | events.StreamAbort():
                pass
            case _:
                raise ProtocolViolation(f"a {type(event).__name__} message came, which was not asked for.")

    def _announce(self, relation: Relation) -> None:
        followed = self._followed.get(relation.oid)
        if followed is None:
            self._announced.pop(relation.oid, None)
            return
        places = {column.name: place for place, column in enumerate(relation.columns) if column.is_key}
        # For a while its rows may have been identified by other columns, which is all that old images then hold.
        positions = tuple(places[name] for name in followed.key) if places.keys() >= set(followed.key) else ()
        self._announced[relation.oid] = _Announced(followed, positions)

    def _touch(self, relation_id: int, new: events.TupleData | None, old: events.TupleData | None) -> None:
        announced = self._announced.get(relation_id)
        if announced is None or announced.followed.table.name in self.whole:
            return
        table = announced.followed.table.name
        if not announced.positions:
            self._give_up(table)
            return
        keys = self.keys.setdefault(table, set())
        for row in (old, new):
            if row is None:
                continue
            key = tuple(_sent(row[place], old, place) for place in announced.positions)
            if None in key:
                self._give_up(table)
                return
            if key not in keys:
                keys.add(key)  # type: ignore[arg-type]  # there is no None in it
                self._size += _cost(key)
        if self._size > self._budget:
            self._give_up(max(self.keys, key=lambda name: len(self.keys[name])))

    def _give_up(self, table: TableName) -> None:
        self.whole.add(table)
        self._size -= sum(map(_cost, self.keys.pop(table, ())))


def _sent(value: Value, old: events.TupleData | None, place: int) -> bytes | None:
    if value is UNCHANGED:
        value = old[place] if old is not None else None
    return value if isinstance(value, bytes) else None


def _cost(key: tuple[bytes | None, ...]) -> int:
    return _KEY_OVERHEAD + sum(len(value) for value in key if value is not None)


class SlotReader:
    """A slot that is read from ``start`` on into ``touched``; an async context manager, which keeps the slot while the
    context is. ``session`` is one that ends with the context, as it must be for the slot that it made for itself;
    without one a session is opened. All methods raise ``ServerFailed``."""

    def __init__(
        self,
        address: SourceAddress,
        slot: str,
        start: Lsn,
        publications: tuple[str, ...],
        touched: Touched,
        session: ReplicationSession | None = None,
    ) -> None:
        self._address = address
        self._session = session
        self._slot = slot
        self._start = start
        self._publications = publications
        self._touched = touched
        self._decoder = Decoder(_PROTOCOL)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            session = self._session or await ReplicationSession.open(self._address, "clone")
            await stack.enter_async_context(session)
            stream = await session.start(self._slot, self._start, self._publications, _PROTOCOL)
            self._stream = await stack.enter_async_context(stream)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def advance(self, lsn: Lsn) -> None:
        """Read on until every transaction that ends at or before ``lsn`` has come."""
        asking = asyncio.create_task(self._keep_asking())
        try:
            while self._touched.position < lsn:
                for payload in await self._stream.read():
                    message = parse_copy_data(payload)
                    if isinstance(message, Keepalive):
                        self._touched.keepalive(message.wal_end)
                    else:
                        self._touched.feed(self._decoder.decode(message.payload))
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def finish(self, until: Lsn) -> None:
        """Read on until every transaction that commits before ``until`` has come; no later one counts."""
        self._touched.until = until
        await self.advance(until)

    def acknowledge(self, lsn: Lsn) -> None:
        """What commits before ``lsn`` is not needed again; the server is told when the context ends, at the latest."""
        self._stream.acknowledge(lsn)

    async def _keep_asking(self) -> None:
        """A server that has nothing to send tells its position only when it is asked."""
        while True:
            await self._stream.answer(ask=True)
            await asyncio.sleep(_ASK_SECONDS)


# ------------------------------------------------------------------------------------------------ what they are now


@dataclass(frozen=True, slots=True)
class Located:
    """A row: the page that it lies on, and the values of the table's copied columns in text format."""

    page: int
    values: tuple[bytes | None, ...] = field(repr=False)


async def read_rows(
    connection: SourceConnection, followed: Followed, keys: Collection[Key]
) -> AsyncIterator[list[Located]]:
    """The rows of these keys as the transaction's snapshot shows them, some thousand at a time.

    Raises ``ServerFailed``, and ``UnicodeDecodeError`` for a key that is no text in the client's encoding.
    """
    statement = _rows_statement(followed)
    waiting = iter(keys)
    while some := list(islice(waiting, _KEYS_A_STATEMENT)):
        columns = tuple([value.decode() for value in column] for column in zip(*some, strict=True))
        rows = await connection.fetch_text(statement, columns)
        yield [Located(_page(row[0] or b""), row[1:]) for row in rows]


def _page(ctid: bytes) -> int:
    return int(ctid[1 : ctid.index(b",")])


def _rows_statement(followed: Followed) -> str:
    table = followed.table
    columns = "".join(f", t.{quote_identifier(column.name)}" for column in table.copied_columns)
    arrays = ", ".join("%s::text[]" for _ in followed.key)
    names = ", ".join(f"k{number}" for number in range(len(followed.key)))
    terms = " AND ".join(_equals(table.column(name), f"k{number}") for number, name in enumerate(followed.key))
    name = str(table.name).replace("%", "%%")
    return (
        f"SELECT t.ctid{columns.replace('%', '%%')} FROM ONLY {name} AS t JOIN unnest({arrays}) AS u({names})"
        f" ON {terms.replace('%', '%%')}"
    )


def _equals(column: Column, key: str) -> str:
    """Equality of a column and a key's text: one that an index serves where the type is PostgreSQL's own; the
    operators of others are on no search path of ours."""
    name = f"t.{quote_identifier(column.name)}"
    if "." in column.type_name and column.kind != "e":
        return f"{name}::text = u.{key}::{column.type_name}::text"
    # Without its modifier a type takes any value as it is.
    plain = column.type_name if column.kind == "e" else _plain(column.base_type) + ("[]" if column.is_array else "")
    return f"{name} = u.{key}::{plain}"


def _plain(base_type: str) -> str:
    # Bare, these two are other types, of one character or bit.
    return f'"{base_type}"' if base_type in ("char", "bit") else quote_identifier(base_type)
