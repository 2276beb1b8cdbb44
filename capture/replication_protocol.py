"""The streaming replication protocol inside CopyBoth: what a walsender and its client say to each other.

Sans-IO. ``Framer`` cuts a stream of CopyData frames, in whatever pieces it arrives, into payloads;
``parse_copy_data`` reads one payload; ``status_update`` writes the one message that goes back. What an
``XLogData`` carries is for ``capture.pgoutput``. Times are microseconds since 2000-01-01 UTC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from capture.model import Lsn
from capture.pgoutput import ProtocolViolation

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_XLOG_DATA: Final = struct.Struct("!xQQq")
_KEEPALIVE: Final = struct.Struct("!xQqB")
_STANDBY_STATUS_UPDATE: Final = struct.Struct("!cQQQqB")
_FRAME_HEADER: Final = struct.Struct("!BI")

_COPY_DATA: Final = ord("d")

# The server builds a message in one allocation, and none of its allocations reaches 1 GiB.
_LONGEST_PAYLOAD: Final = 2**30 - 1


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


class Framer:
    """Cuts backend CopyData frames into payloads: any split of the same bytes gives the same payloads.

    A payload that lies whole in one chunk is copied once; one that is spread over chunks, twice. Nothing is allocated
    ahead for a length that a frame announces. After a violation every later ``feed`` raises it again.
    """

    __slots__ = ("_offset", "_pending")

    def __init__(self) -> None:
        self._pending = bytearray()  # of one frame at most
        self._offset = 0  # where in the stream that frame starts

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The payloads that ``chunk`` completes, in order. Exhaust the iterator before the next chunk.

        Raises ``ProtocolViolation`` when it comes to a frame that is not CopyData or announces an impossible length.
        """
        position = 0
        if self._pending:
            position = self._take(chunk, 0, _FRAME_HEADER.size)
            if len(self._pending) < _FRAME_HEADER.size:
                return
            size = self._frame_size(*_FRAME_HEADER.unpack_from(self._pending))
            position = self._take(chunk, position, size)
            if len(self._pending) < size:
                return
            with memoryview(self._pending) as frame:
                payload = bytes(frame[_FRAME_HEADER.size :])
            self._pending.clear()
            self._offset += size
            yield payload
        while len(chunk) - position >= _FRAME_HEADER.size:
            try:
                size = self._frame_size(*_FRAME_HEADER.unpack_from(chunk, position))
            except ProtocolViolation:
                self._take(chunk, position, _FRAME_HEADER.size)
                raise
            if position + size > len(chunk):
                break
            payload = chunk[position + _FRAME_HEADER.size : position + size]
            position += size
            self._offset += size
            yield payload
        self._take(chunk, position, len(chunk))

    def _take(self, chunk: bytes, position: int, size: int) -> int:
        """Fill the pending frame up to ``size`` bytes, and return the position in ``chunk`` after what it took."""
        end = min(position + max(size - len(self._pending), 0), len(chunk))
        self._pending += memoryview(chunk)[position:end]
        return end

    def _frame_size(self, tag: int, length: int) -> int:
        """The size of a frame in bytes, its tag included; ``length`` counts itself but not the tag."""
        if tag != _COPY_DATA:
            raise ProtocolViolation.at("unknown", self._offset, "a frame is not CopyData")
        if not 4 <= length <= _LONGEST_PAYLOAD + 4:
            raise ProtocolViolation.at("CopyData", self._offset + 1, "the length of a frame is impossible")
        return 1 + length
