"""Messages to windows: what the stream brought while the last window was applied, in columns.

``WindowBuilder`` decodes blocks of payloads and keeps the rows of each table together, so that decoding, masking and
applying cost calls per table and not per row; ``close`` hands over a ``Window`` and starts the next. Where many changes
follow each other they are cut at once (``capture.tuples``); the rest, and whatever is not regular, is decoded message
by message. Both ways bring the same windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from capture import events
from capture.gathering import Gathered, Piece, Row
from capture.model import (
    Begins,
    Catalog,
    Codes,
    Ends,
    Lsn,
    Numbers,
    OldImage,
    Operation,
    Relation,
    TableName,
    Truncation,
    Window,
)
from capture.pgoutput import Decoder, ProtocolViolation, decode_change
from capture.relations import Announced, RelationCache
from capture.replication_protocol import XLOG_HEADER_BYTES, Block, Keepalive, parse_copy_data, to_datetime
from capture.tuples import Fields, Irregular, cut_rows

# From so many on, cutting them at once is cheaper than one by one.
_MANY: Final = 64

_XLOG_DATA: Final = ord("w")
_BEGIN: Final = ord("B")
_COMMIT: Final = ord("C")
_INSERT: Final = ord("I")
_UPDATE: Final = ord("U")
_DELETE: Final = ord("D")
_NEW: Final = ord("N")
_KEY: Final = ord("K")
_OLD: Final = ord("O")
_BEGIN_BYTES: Final = 21
_COMMIT_BYTES: Final = 26

# What may be cut at once, by tag.
_IS_REGULAR: Final = np.isin(np.arange(256), [_BEGIN, _COMMIT, _INSERT, _UPDATE, _DELETE])
_OPERATION: Final = np.zeros(256, np.uint8)
_OPERATION[[_INSERT, _UPDATE, _DELETE]] = Operation.INSERT, Operation.UPDATE, Operation.DELETE
_OLD_KIND: Final = np.zeros(256, np.uint8)
_OLD_KIND[[_KEY, _OLD]] = OldImage.KEY, OldImage.FULL


class WindowBuilder:
    """Builds windows for a catalog. ``dropped`` are tables whose rows are not copied."""

    def __init__(
        self,
        catalog: Catalog,
        dropped: frozenset[TableName],
        applied_lsn: Lsn,
        source_time: datetime,
        protocol_version: int,
        on_drift: Callable[[str], None],
    ) -> None:
        """A transaction that commits before ``applied_lsn`` was applied in an earlier session and is passed over;
        ``source_time`` was production's clock there."""
        self._applied_lsn = applied_lsn
        self._position = applied_lsn
        self._source_time = source_time
        self._decoder = Decoder(protocol_version)
        self._relations = RelationCache(catalog, dropped, on_drift)
        self._skipping = False
        self._open_lsn: int | None = None  # of the transaction that has begun and not ended
        # Transactions come in the order of their commits: after one that was not applied, none was.
        self._is_past_applied = False
        self.server_lsn = applied_lsn
        self._reset()

    def _reset(self) -> None:
        self._count = 0
        self._gathered: dict[TableName, Gathered] = {}
        self._truncations: list[Truncation] = []
        self._begins = Begins() if self._open_lsn is None else Begins([0], [self._open_lsn])
        self._ends = Ends()
        self.size = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is waiting."""
        return not (self._count or self._ends.orders)

    def close(self) -> Window:
        """What has come since the last call."""
        window = Window(
            count=self._count,
            changes={table: gathered.changes() for table, gathered in self._gathered.items()},
            truncations=self._truncations,
            begins=self._begins,
            ends=self._ends,
            position=self._position,
            source_time=self._source_time,
        )
        self._reset()
        return window

    def take(self, block: Block) -> bool:
        """Take what arrived; whether the server wants an answer at once.

        Raises ``Drifted``, and ``ProtocolViolation`` for what this session did not ask for.
        """
        wants_answer = False
        for first, last, is_regular in _runs(block):
            if is_regular and last - first >= _MANY and self._is_past_applied and self._decoder.is_plain:
                try:
                    self._take_many(block, first, last)
                    continue
                except Irregular:
                    pass
            for payload in block.between(first, last):
                wants_answer |= self._take_one(payload)
        self.size += block.size
        return wants_answer

    # ------------------------------------------------------------------------------------------------ one by one

    def _take_one(self, payload: bytes) -> bool:
        message = parse_copy_data(payload)
        self.server_lsn = max(self.server_lsn, message.wal_end)
        if isinstance(message, Keepalive):
            # The server has sent everything that it decoded up to there.
            if self._decoder.is_idle:
                self._position = max(self._position, message.wal_end)
                self._source_time = to_datetime(message.server_time)
            return message.reply_requested
        self._take_event(self._decoder.decode(message.payload))
        return False

    def _take_event(self, event: events.Event) -> None:
        match event:
            case events.Insert() | events.Update() | events.Delete():
                if not self._skipping:
                    self._take_change(event, self._count)
                    self._count += 1
            case events.Begin():
                self._skipping = event.final_lsn < self._applied_lsn
                if not self._skipping:
                    self._is_past_applied = True
                    self._begins.orders.append(self._count)
                    self._begins.commit_lsns.append(event.final_lsn)
                    self._open_lsn = event.final_lsn
            case events.Commit():
                self._position = max(self._position, event.end_lsn)
                self._source_time = to_datetime(event.commit_time)
                if not self._skipping:
                    self._ends.orders.append(self._count)
                    self._ends.end_lsns.append(event.end_lsn)
                    self._ends.commit_times.append(event.commit_time)
                    self._open_lsn = None
                self._skipping = False
            case Relation():
                self._relations.announce(event)
            case events.Truncate():
                tables = self._relations.truncated(event.relation_ids)
                if tables and not self._skipping:
                    self._truncations.append(Truncation(self._count, tables))
                    self._count += 1
            case events.Type() | events.Origin() | events.Message() | events.StreamAbort():
                pass
            case _:
                raise ProtocolViolation(f"a {type(event).__name__} message came, which was not asked for.")

    def _take_change(self, event: events.Insert | events.Update | events.Delete, order: int) -> None:
        announced = self._relations[event.relation_id]
        if announced.is_dropped:
            return
        new: Row | None = None
        old: Row | None = None
        old_kind = OldImage.NONE
        match event:
            case events.Insert():
                operation, new = Operation.INSERT, event.new
            case events.Update():
                operation, new, old = Operation.UPDATE, event.new, event.old
            case events.Delete():
                operation, old = Operation.DELETE, event.old
        if old is not None and not isinstance(event, events.Insert):
            old_kind = OldImage.FULL if event.old_is_full else OldImage.KEY
        for row in (new, old):
            if row is not None and len(row) != announced.width:
                raise ProtocolViolation(f"a row of {announced.table} came with another width than was announced.")
        self._rows_of(announced).add(announced, order, operation, new, old, old_kind)

    def _rows_of(self, announced: Announced) -> Gathered:
        gathered = self._gathered.get(announced.table)
        if gathered is None:
            gathered = self._gathered[announced.table] = Gathered(announced.names, announced.key)
        return gathered

    # --------------------------------------------------------------------------------------------- many at once

    def _take_many(self, block: Block, first: int, last: int) -> None:
        """Take a run of transactions and changes. Raises ``Irregular``, and has then taken nothing."""
        fields = Fields(block.data)
        at = block.starts[first:last] + XLOG_HEADER_BYTES
        limits = block.ends[first:last]
        tags = fields.bytes[at]
        begins, commits = tags == _BEGIN, tags == _COMMIT
        is_change = ~(begins | commits)
        inside = np.cumsum(begins.astype(np.int8) - commits) + (not self._decoder.is_idle)
        # A begin leads in, a commit out, and changes lie inside.
        if inside.min() < 0 or inside.max() > 1 or not inside[is_change].all():
            raise Irregular
        _check_sizes(at[begins], limits[begins], _BEGIN_BYTES)
        _check_sizes(at[commits], limits[commits], _COMMIT_BYTES)
        if fields.bytes[at[commits] + 1].any():
            raise Irregular
        orders = self._count + np.cumsum(is_change) - is_change
        pieces, single = self._cut_changes(fields, at[is_change], limits[is_change], orders[is_change])

        for announced, piece in pieces:
            self._rows_of(announced).add_piece(piece)
        for order, event in single:
            self._take_change(event, order)
        self._count += int(np.count_nonzero(is_change))
        self._begins.orders.extend(orders[begins].tolist())
        self._begins.commit_lsns.extend(fields.int64(at[begins] + 1).tolist())
        self._ends.orders.extend(orders[commits].tolist())
        self._ends.end_lsns.extend(fields.int64(at[commits] + 10).tolist())
        self._ends.commit_times.extend(fields.int64(at[commits] + 18).tolist())
        if commits.any():
            self._position = max(self._position, Lsn(self._ends.end_lsns[-1]))
            self._source_time = to_datetime(self._ends.commit_times[-1])
        self._open_lsn = self._begins.commit_lsns[-1] if inside[-1] else None
        self._decoder.stand(in_transaction=bool(inside[-1]))
        self.server_lsn = max(self.server_lsn, Lsn(fields.int64(at - XLOG_HEADER_BYTES + 9).max()))

    def _cut_changes(
        self, fields: Fields, at: Numbers, limits: Numbers, orders: Numbers
    ) -> tuple[list[tuple[Announced, Piece]], list[tuple[int, events.Insert | events.Update | events.Delete]]]:
        """Changes by table; those of a table that has few of them are decoded one by one."""
        pieces: list[tuple[Announced, Piece]] = []
        single: list[tuple[int, events.Insert | events.Update | events.Delete]] = []
        relation_ids = fields.uint32(at + 1)
        for relation_id in np.unique(relation_ids).tolist():
            announced = self._relations.get(relation_id)
            if announced is None:
                raise Irregular
            mine = np.flatnonzero(relation_ids == relation_id)
            if announced.is_dropped:
                continue
            if len(mine) >= _MANY:
                pieces.append((announced, _cut_piece(fields, at[mine], limits[mine], orders[mine], announced)))
                continue
            single += [
                (int(orders[place]), decode_change(fields.data[at[place] : limits[place]])) for place in mine.tolist()
            ]
        return pieces, single


def _runs(block: Block) -> Iterator[tuple[int, int, bool]]:
    """Runs of payloads, first and after the last, and whether they may be cut at once."""
    if len(block) < _MANY:
        yield 0, len(block), False
        return
    data = np.frombuffer(block.data, np.uint8)
    is_regular = (
        (data[block.starts] == _XLOG_DATA)
        & (block.ends - block.starts > XLOG_HEADER_BYTES)
        # A payload that is shorter shows something else here, but is no longer regular.
        & _IS_REGULAR[data[np.minimum(block.starts + XLOG_HEADER_BYTES, len(data) - 1)]]
    )
    changes = np.flatnonzero(is_regular[1:] != is_regular[:-1]) + 1
    for first, last in pairwise((0, *changes.tolist(), len(block))):
        yield first, last, bool(is_regular[first])


def _check_sizes(at: Numbers, limits: Numbers, size: int) -> None:
    if (limits - at != size).any():
        raise Irregular


def _cut_piece(fields: Fields, at: Numbers, limits: Numbers, orders: Numbers, announced: Announced) -> Piece:
    """The changes of one table."""
    # Shorter ones would be read past their end.
    if (limits - at < 8).any():
        raise Irregular
    operations = _OPERATION[fields.bytes[at]]
    images = fields.bytes[at + 5]
    old_kinds: Codes = _OLD_KIND[images]
    has_old: npt.NDArray[np.bool_] = old_kinds != OldImage.NONE
    has_new = operations != Operation.DELETE
    if not (has_old | (images == _NEW)).all():
        raise Irregular
    if (has_old & (operations == Operation.INSERT)).any() or not (has_old | has_new).all():
        raise Irregular
    new_at = at + 6
    old = None
    if has_old.any():
        wanted = None if (old_kinds == OldImage.FULL).any() else announced.key_positions
        old = cut_rows(fields, at[has_old] + 6, limits[has_old], announced.width, wanted)
        after = at.copy()
        after[has_old] = old.ends
        if (after[~has_new] != limits[~has_new]).any():
            raise Irregular
        both = has_old & has_new
        if (after[both] >= limits[both]).any() or (fields.bytes[after[both]] != _NEW).any():
            raise Irregular
        new_at[both] = after[both] + 1
    new = cut_rows(fields, new_at[has_new], limits[has_new], announced.width)
    if (new.ends != limits[has_new]).any():
        raise Irregular
    return Piece.of(announced, orders, operations, old_kinds, new, old)
