"""The streaming replication protocol inside CopyBoth: what a walsender and its client say to each other.

Sans-IO. ``Framer`` cuts a stream of CopyData frames, in whatever pieces it arrives, into blocks of payloads;
``parse_copy_data`` reads one payload; ``status_update`` writes the one message that goes back. What an
``XLogData`` carries is for ``capture.pgoutput``. Times are microseconds since 2000-01-01 UTC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self

import numpy as np

from capture.model import Lsn, Numbers
from capture.pgoutput import ProtocolViolation

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_XLOG_DATA: Final = struct.Struct("!xQQq")
_KEEPALIVE: Final = struct.Struct("!xQqB")
_STANDBY_STATUS_UPDATE: Final = struct.Struct("!cQQQqB")
_FRAME_HEADER: Final = struct.Struct("!BI")

_COPY_DATA: Final = ord("d")
_ERROR: Final = ord("E")
# CopyDone, CommandComplete, ErrorResponse.
_ENDINGS: Final = frozenset(b"cCE")
# NoticeResponse, ParameterStatus, NotificationResponse may come at any time.
_PASSED_OVER: Final = frozenset(b"NSA")

# The length of a frame counts itself. The server builds a message in one allocation, and none of its allocations
# reaches 1 GiB.
_LONGEST_LENGTH: Final = 2**30 + 3

XLOG_HEADER_BYTES: Final = _XLOG_DATA.size
PADDING: Final = 8


def to_datetime(microseconds: int) -> datetime:
    """A time of the protocol in UTC. Raises ``ProtocolViolation`` outside the years 1 to 9999."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise ProtocolViolation(
            "The replication stream is broken: a time lies outside the years 1 to 9999.",
            hint="Check the clock of the production server.",
        ) from None


def from_datetime(moment: datetime) -> int:
    """An aware ``moment`` as a time of the protocol."""
    return (moment - _EPOCH) // _MICROSECOND


class XLogData(NamedTuple):
    """A piece of the stream: for pgoutput, one message. ``start_lsn`` is its position, ``wal_end`` the end of WAL on
    the server when it was sent. Its ``repr`` does not show the payload."""

    start_lsn: Lsn
    wal_end: Lsn
    server_time: int
    payload: bytes

    def __repr__(self) -> str:
        return (
            f"XLogData(start_lsn={self.start_lsn!r}, wal_end={self.wal_end!r}, server_time={self.server_time}, "
            f"payload=<{len(self.payload)} bytes>)"
        )


class Keepalive(NamedTuple):
    """A sign of life; ``reply_requested`` asks for a status update at once, or the connection times out."""

    wal_end: Lsn
    server_time: int
    reply_requested: bool


def parse_copy_data(payload: bytes) -> XLogData | Keepalive:
    """Read the payload of one CopyData frame. Raises ``ProtocolViolation``."""
    tag = payload[:1]
    if tag == b"w":
        if len(payload) < _XLOG_DATA.size:
            raise ProtocolViolation.at("XLogData", len(payload), "it ends early")
        start_lsn, wal_end, server_time = _XLOG_DATA.unpack_from(payload)
        # tuple.__new__ takes two thirds of the time of the class's own, and there is one of these a row.
        return tuple.__new__(XLogData, (Lsn(start_lsn), Lsn(wal_end), server_time, payload[_XLOG_DATA.size :]))
    if tag == b"k":
        if len(payload) < _KEEPALIVE.size:
            raise ProtocolViolation.at("keepalive", len(payload), "it ends early")
        if len(payload) > _KEEPALIVE.size:
            raise ProtocolViolation.at("keepalive", _KEEPALIVE.size, "bytes follow its end")
        wal_end, server_time, reply_requested = _KEEPALIVE.unpack(payload)
        if reply_requested > 1:
            raise ProtocolViolation.at("keepalive", _KEEPALIVE.size - 1, "its flag is neither 0 nor 1")
        return Keepalive(Lsn(wal_end), server_time, reply_requested == 1)
    raise ProtocolViolation.at("unknown", 0, "a walsender sends only XLogData and keepalives")


def status_update(*, written: Lsn, flushed: Lsn, applied: Lsn, client_time: int, reply_requested: bool) -> bytes:
    """The payload that tells the server how far the client is.

    Each position is that of the next byte wanted, so an ``end_lsn``. The slot advances to ``flushed``: what lies before
    it is never sent again. With ``reply_requested`` the server answers with a keepalive.
    """
    return _STANDBY_STATUS_UPDATE.pack(b"r", written, flushed, applied, client_time, reply_requested)


@dataclass(frozen=True, slots=True)
class Block:
    """Payloads of CopyData frames that arrived together: payload i is ``data[starts[i]:ends[i]]``.

    At least ``PADDING`` bytes follow the last one, so that a field may be read before it is known to be whole. An
    iterator gives the payloads as ``bytes``.
    """

    data: bytes = field(repr=False)
    starts: Numbers = field(repr=False)
    ends: Numbers = field(repr=False)

    @classmethod
    def of(cls, payloads: Sequence[bytes]) -> Self:
        """The block of payloads that were cut already."""
        ends = np.cumsum(np.fromiter(map(len, payloads), np.int64, len(payloads)))
        starts = np.concatenate((np.zeros(1, np.int64), ends))[:-1]
        return cls(b"".join((*payloads, bytes(PADDING))), starts, ends)

    @property
    def size(self) -> int:
        """The bytes that arrived."""
        return int(self.ends[-1] - self.starts[0]) if len(self) else 0

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[bytes]:
        return self.between(0, len(self))

    def between(self, first: int, last: int) -> Iterator[bytes]:
        """The payloads from ``first`` to before ``last``."""
        edges = zip(self.starts[first:last].tolist(), self.ends[first:last].tolist(), strict=True)
        return (self.data[start:end] for start, end in edges)


_NOTHING: Final = Block.of(())


class StreamEnded(Exception):
    """The server ended the stream: with an error if ``sqlstate`` is not empty. ``text`` is the error's message, which
    may hold anything."""

    def __init__(self, sqlstate: str, text: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate
        self.text = text


class Framer:
    """Cuts what a walsender sends after CopyBothResponse into blocks: any split of the same bytes gives the same
    payloads. Nothing is allocated ahead for a length that a frame announces.

    ``failure`` is what ended the stream, a ``StreamEnded`` or ``ProtocolViolation``.
    """

    def __init__(self) -> None:
        self.failure: StreamEnded | ProtocolViolation | None = None
        self._pending: list[bytes] = []  # pieces of frames that have not come whole
        self._held = 0  # their size in bytes
        self._wanted = _FRAME_HEADER.size  # how many bytes make the first of them whole
        self._offset = 0  # where in the stream the first of them starts

    def feed(self, chunk: bytes) -> Block:
        """The payloads that ``chunk`` completes, in order; perhaps none.

        Raises ``failure``, unless payloads came before it: then the next call does, and every later one.
        """
        if self.failure is not None:
            raise self.failure
        self._pending.append(chunk)
        self._held += len(chunk)
        if self._held < self._wanted:
            return _NOTHING
        data = b"".join((*self._pending, bytes(PADDING)))
        starts: list[Numbers] = []
        ends: list[Numbers] = []
        position = 0
        try:
            while True:
                position = self._skip_others(data, position)
                edges = np.array(self._cut(data, position), np.int64)
                if len(edges) == 1:
                    break
                starts.append(edges[:-1] + _FRAME_HEADER.size)
                ends.append(edges[1:])
                position = int(edges[-1])
        except (StreamEnded, ProtocolViolation) as failure:
            self.failure = failure
            if not starts:
                raise
        self._pending = [data[position : self._held]]
        self._held -= position
        self._offset += position
        return Block(data, np.concatenate(starts), np.concatenate(ends)) if starts else _NOTHING

    def _cut(self, data: bytes, position: int) -> list[int]:
        """The positions of the whole CopyData frames that follow each other from there, and where they end."""
        edges = [position]
        add = edges.append
        header_at = _FRAME_HEADER.unpack_from
        last = self._held - _FRAME_HEADER.size
        self._wanted = _FRAME_HEADER.size
        while position <= last:
            tag, length = header_at(data, position)
            if tag != _COPY_DATA or not 4 <= length <= _LONGEST_LENGTH:
                break
            end = position + 1 + length
            if end > self._held:
                self._wanted = end - position
                break
            position = end
            add(position)
        return edges

    def _skip_others(self, data: bytes, position: int) -> int:
        """Where the next CopyData frame starts, past what has nothing to do with the stream."""
        while self._held - position >= _FRAME_HEADER.size:
            tag, length = _FRAME_HEADER.unpack_from(data, position)
            if not 4 <= length <= _LONGEST_LENGTH:
                offset = self._offset + position + 1
                raise ProtocolViolation.at("CopyData", offset, "the length of a frame is impossible")
            if tag == _COPY_DATA:
                break
            end = position + 1 + length
            if tag not in _PASSED_OVER and tag not in _ENDINGS:
                raise ProtocolViolation.at("unknown", self._offset + position, "a frame is not CopyData")
            if end > self._held:
                break
            if tag in _ENDINGS:
                raise _ended(data[position + _FRAME_HEADER.size : end] if tag == _ERROR else b"")
            position = end
        return position


def _ended(fields: bytes) -> StreamEnded:
    """From the fields of an ErrorResponse, or nothing where the server ended the stream in good order."""
    found = {field[:1]: field[1:].decode(errors="replace") for field in fields.split(b"\0") if field}
    return StreamEnded(found.get(b"C", ""), found.get(b"M", ""))
