"""Decodes pgoutput, the logical replication protocol of PostgreSQL, versions 1 to 4.

Sans-IO: ``Decoder.decode`` takes one message, which is the payload of one XLogData, and returns one of
``capture.events``. It keeps no bytes, only where the stream stands: between transactions, inside one, inside one that
will be prepared, or inside a block of a streamed one. A message that has no place there, or is not whole, is a
``ProtocolViolation`` and leaves the decoder as it was. No error shows anything of a row.

Values are in text format, as tezcat asks for; a column in binary format is a violation.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, Self, TypeAlias

from capture.events import (
    Begin,
    BeginPrepare,
    ChangeEvent,
    Commit,
    CommitPrepared,
    ControlEvent,
    Delete,
    Event,
    Insert,
    Message,
    Origin,
    Prepare,
    RollbackPrepared,
    StreamAbort,
    StreamCommit,
    StreamPrepare,
    StreamStart,
    StreamStop,
    Truncate,
    TupleData,
    Type,
    Update,
)
from capture.model import (
    UNCHANGED,
    Lsn,
    Relation,
    RelationColumn,
    ReplicaIdentity,
    ServerFailed,
    TableName,
    Value,
)


class ProtocolViolation(ServerFailed):
    """The server sent bytes that its protocol does not allow."""

    @classmethod
    def at(cls, kind: str, offset: int, what: str) -> Self:
        """A violation in a message of that ``kind``, ``offset`` bytes into it."""
        return cls(
            f"The replication stream is broken: {kind} message, byte {offset}: {what}.",
            hint="Nothing of this message was applied. Start the stream again; if it stops at the same place, "
            "report this together with the server's version.",
        )


# ------------------------------------------------------------------------------------------------ parts of a message

_KINDS: Final = {
    ord("B"): "begin",
    ord("C"): "commit",
    ord("O"): "origin",
    ord("R"): "relation",
    ord("Y"): "type",
    ord("I"): "insert",
    ord("U"): "update",
    ord("D"): "delete",
    ord("T"): "truncate",
    ord("M"): "logical decoding",
    ord("S"): "stream start",
    ord("E"): "stream stop",
    ord("c"): "stream commit",
    ord("A"): "stream abort",
    ord("b"): "begin prepare",
    ord("P"): "prepare",
    ord("K"): "commit prepared",
    ord("r"): "rollback prepared",
    ord("p"): "stream prepare",
}

_KEY: Final = ord("K")
_OLD: Final = ord("O")
_NEW: Final = ord("N")

_NULL: Final = ord("n")
_UNCHANGED: Final = ord("u")
_TEXT: Final = ord("t")
_BINARY: Final = ord("b")

_INT16: Final = struct.Struct("!h")
_UINT32: Final = struct.Struct("!I")
_ROW: Final = struct.Struct("!IB")  # relation id, which image follows
_COLUMN_TYPE: Final = struct.Struct("!Ii")  # type oid, typmod
_TRUNCATE: Final = struct.Struct("!iB")  # number of relations, options
_MESSAGE: Final = struct.Struct("!BQ")  # flags, position

# Whole control messages; the x is the tag.
_BEGIN: Final = struct.Struct("!xQqI")
_COMMIT: Final = struct.Struct("!xBQQq")
_ORIGIN: Final = struct.Struct("!xQ")
_STREAM_START: Final = struct.Struct("!xIB")
_STREAM_STOP: Final = struct.Struct("!x")
_STREAM_COMMIT: Final = struct.Struct("!xIBQQq")
_STREAM_ABORT: Final = struct.Struct("!xII")
_STREAM_ABORT_PARALLEL: Final = struct.Struct("!xIIQq")
_BEGIN_PREPARE: Final = struct.Struct("!xQQqI")
_PREPARED: Final = struct.Struct("!xBQQqI")
_ROLLBACK_PREPARED: Final = struct.Struct("!xBQQqqI")

# Bound once, for the innermost loop.
_length_at: Final = _UINT32.unpack_from


def _violation(message: bytes, offset: int, what: str) -> ProtocolViolation:
    return ProtocolViolation.at(_KINDS[message[0]], offset, what)


def _ends_early(message: bytes) -> ProtocolViolation:
    return _violation(message, len(message), "it ends early")


def _ends_at(message: bytes, offset: int) -> None:
    if offset != len(message):
        raise _violation(message, offset, "bytes follow its end")


def _fields(layout: struct.Struct, message: bytes, offset: int) -> tuple[int, ...]:
    try:
        return layout.unpack_from(message, offset)
    except struct.error:
        raise _ends_early(message) from None


def _whole(layout: struct.Struct, message: bytes) -> tuple[int, ...]:
    """The fields of a message that has nothing else."""
    fields = _fields(layout, message, 0)
    _ends_at(message, layout.size)
    return fields


def _string(message: bytes, offset: int) -> tuple[str, int]:
    """A NUL-terminated string and the offset after it."""
    end = message.find(0, offset)
    if end < 0:
        raise _ends_early(message)
    try:
        return message[offset:end].decode(), end + 1
    except UnicodeDecodeError:
        pass
    # Raised here and not above: the decoding error would hang on to the bytes as this one's context.
    raise _violation(message, offset, "a name is not UTF-8")


def _qualified_name(message: bytes, offset: int) -> tuple[str, str, int]:
    """A schema, a name and the offset after them. An empty schema stands for pg_catalog."""
    schema, offset = _string(message, offset)
    name, offset = _string(message, offset)
    return schema or "pg_catalog", name, offset


def _flags(message: bytes, offset: int, flags: int, known: int) -> int:
    """``flags`` if it has no bit but the ``known`` ones: what an unknown one changes cannot be applied."""
    if flags & ~known:
        raise _violation(message, offset, "unknown flags are set")
    return flags


def _tuple_data(message: bytes, offset: int) -> tuple[TupleData, int]:
    """One image of a row and the offset after it. Most of the time of a stream is spent in this loop.

    A value that runs past the end of the message is not noticed by its slice, but then the offset lies past the end
    too: reading the next column, or the check after the last one, finds it. So no value needs a check of its own.
    """
    values: list[Value] = []
    start = offset
    try:
        (count,) = _INT16.unpack_from(message, offset)
        if count < 0:
            raise _violation(message, offset, "its number of columns is negative")
        offset += 2
        for _ in range(count):
            kind = message[offset]
            if kind == _TEXT:
                start = offset + 5
                offset = start + _length_at(message, offset + 1)[0]
                values.append(message[start:offset])
            elif kind == _NULL:
                offset += 1
                values.append(None)
            elif kind == _UNCHANGED:
                offset += 1
                values.append(UNCHANGED)
            elif kind == _BINARY:
                raise _violation(message, offset, "a column is in binary format, but text was asked for")
            else:
                raise _violation(message, offset, "a column is of an unknown kind")
    except (IndexError, struct.error):
        if offset <= len(message):
            raise _ends_early(message) from None
    if offset > len(message):
        raise _violation(message, start - 4, "a value is longer than the message")
    return tuple(values), offset


# ---------------------------------------------------------------------------------------------------- changes
# Each takes the message, the offset after tag and xid, and the xid. The events that come once a row are made by
# tuple.__new__, which takes two thirds of the time of the class's own.


def _relation(message: bytes, offset: int, xid: int | None) -> Relation:
    (oid,) = _fields(_UINT32, message, offset)
    schema, name, offset = _qualified_name(message, offset + 4)
    try:
        replica_identity = ReplicaIdentity(chr(message[offset]))
    except IndexError:
        raise _ends_early(message) from None
    except ValueError:
        raise _violation(message, offset, "its replica identity is unknown") from None
    (count,) = _fields(_INT16, message, offset + 1)
    if count < 0:
        raise _violation(message, offset + 1, "its number of columns is negative")
    offset += 3
    columns: list[RelationColumn] = []
    for _ in range(count):
        if offset >= len(message):
            raise _ends_early(message)
        is_key = _flags(message, offset, message[offset], 1) == 1
        column, offset = _string(message, offset + 1)
        type_oid, typmod = _fields(_COLUMN_TYPE, message, offset)
        offset += _COLUMN_TYPE.size
        columns.append(RelationColumn(column, type_oid, typmod, is_key))
    _ends_at(message, offset)
    return Relation(oid, TableName(schema, name), replica_identity, tuple(columns), xid)


def _type(message: bytes, offset: int, xid: int | None) -> Type:
    (oid,) = _fields(_UINT32, message, offset)
    schema, name, offset = _qualified_name(message, offset + 4)
    _ends_at(message, offset)
    return Type(oid, schema, name, xid)


def _insert(message: bytes, offset: int, xid: int | None) -> Insert:
    relation_id, image = _fields(_ROW, message, offset)
    if image != _NEW:
        raise _violation(message, offset + 4, "it has no new row")
    new, end = _tuple_data(message, offset + 5)
    _ends_at(message, end)
    return tuple.__new__(Insert, (relation_id, new, xid))


def _update(message: bytes, offset: int, xid: int | None) -> Update:
    relation_id, image = _fields(_ROW, message, offset)
    offset += 4
    old: TupleData | None = None
    old_is_full = image == _OLD
    if old_is_full or image == _KEY:
        old, offset = _tuple_data(message, offset + 1)
        if offset == len(message):
            raise _ends_early(message)
        image = message[offset]
    if image != _NEW:
        raise _violation(message, offset, "it has no new row")
    new, end = _tuple_data(message, offset + 1)
    _ends_at(message, end)
    return tuple.__new__(Update, (relation_id, old, old_is_full, new, xid))


def _delete(message: bytes, offset: int, xid: int | None) -> Delete:
    relation_id, image = _fields(_ROW, message, offset)
    old_is_full = image == _OLD
    if not (old_is_full or image == _KEY):
        raise _violation(message, offset + 4, "it has no old row")
    old, end = _tuple_data(message, offset + 5)
    _ends_at(message, end)
    return tuple.__new__(Delete, (relation_id, old, old_is_full, xid))


def _truncate(message: bytes, offset: int, xid: int | None) -> Truncate:
    count, options = _fields(_TRUNCATE, message, offset)
    if count < 0:
        raise _violation(message, offset, "its number of tables is negative")
    _flags(message, offset + 4, options, 3)
    offset += _TRUNCATE.size
    end = offset + 4 * count
    # Before the tables are read, so that a false count cannot ask for memory.
    if end > len(message):
        raise _ends_early(message)
    _ends_at(message, end)
    relation_ids = struct.unpack_from(f"!{count}I", message, offset)
    return Truncate(relation_ids, bool(options & 1), bool(options & 2), xid)


def _message(message: bytes, offset: int, xid: int | None) -> Message:
    flags, lsn = _fields(_MESSAGE, message, offset)
    _flags(message, offset, flags, 1)
    prefix, offset = _string(message, offset + _MESSAGE.size)
    (length,) = _fields(_UINT32, message, offset)
    offset += 4
    if offset + length > len(message):
        raise _violation(message, offset - 4, "its content is longer than the message")
    _ends_at(message, offset + length)
    return Message(flags == 1, Lsn(lsn), prefix, message[offset:], xid)


# --------------------------------------------------------------------------------------------------- controls
# Each takes the message; none carries the xid of a streamed block.


def _begin(message: bytes) -> Begin:
    final_lsn, commit_time, xid = _whole(_BEGIN, message)
    return Begin(Lsn(final_lsn), commit_time, xid)


def _commit(message: bytes) -> Commit:
    flags, commit_lsn, end_lsn, commit_time = _whole(_COMMIT, message)
    _flags(message, 1, flags, 0)
    return Commit(Lsn(commit_lsn), Lsn(end_lsn), commit_time)


def _origin(message: bytes) -> Origin:
    (lsn,) = _fields(_ORIGIN, message, 0)
    name, end = _string(message, _ORIGIN.size)
    _ends_at(message, end)
    return Origin(Lsn(lsn), name)


def _stream_start(message: bytes) -> StreamStart:
    xid, first_segment = _whole(_STREAM_START, message)
    return StreamStart(xid, _flags(message, 5, first_segment, 1) == 1)


def _stream_stop(message: bytes) -> StreamStop:
    _whole(_STREAM_STOP, message)
    return StreamStop()


def _stream_commit(message: bytes) -> StreamCommit:
    xid, flags, commit_lsn, end_lsn, commit_time = _whole(_STREAM_COMMIT, message)
    _flags(message, 5, flags, 0)
    return StreamCommit(xid, Lsn(commit_lsn), Lsn(end_lsn), commit_time)


def _stream_abort(message: bytes) -> StreamAbort:
    xid, subxid = _whole(_STREAM_ABORT, message)
    return StreamAbort(xid, subxid)


def _stream_abort_parallel(message: bytes) -> StreamAbort:
    # Protocol 4 has two layouts: the long one is sent only with streaming 'parallel'.
    if len(message) == _STREAM_ABORT.size:
        return _stream_abort(message)
    xid, subxid, abort_lsn, abort_time = _whole(_STREAM_ABORT_PARALLEL, message)
    return StreamAbort(xid, subxid, Lsn(abort_lsn), abort_time)


def _gid(message: bytes, offset: int) -> str:
    gid, end = _string(message, offset)
    _ends_at(message, end)
    return gid


def _begin_prepare(message: bytes) -> BeginPrepare:
    prepare_lsn, end_lsn, prepare_time, xid = _fields(_BEGIN_PREPARE, message, 0)
    gid = _gid(message, _BEGIN_PREPARE.size)
    return BeginPrepare(Lsn(prepare_lsn), Lsn(end_lsn), prepare_time, xid, gid)


def _prepared(message: bytes) -> tuple[Lsn, Lsn, int, int, str]:
    """The layout that prepare, commit prepared and stream prepare share."""
    flags, lsn, end_lsn, time, xid = _fields(_PREPARED, message, 0)
    _flags(message, 1, flags, 0)
    return Lsn(lsn), Lsn(end_lsn), time, xid, _gid(message, _PREPARED.size)


def _prepare(message: bytes) -> Prepare:
    return Prepare(*_prepared(message))


def _commit_prepared(message: bytes) -> CommitPrepared:
    return CommitPrepared(*_prepared(message))


def _stream_prepare(message: bytes) -> StreamPrepare:
    return StreamPrepare(*_prepared(message))


def _rollback_prepared(message: bytes) -> RollbackPrepared:
    flags, prepare_end_lsn, rollback_end_lsn, prepare_time, rollback_time, xid = _fields(_ROLLBACK_PREPARED, message, 0)
    _flags(message, 1, flags, 0)
    gid = _gid(message, _ROLLBACK_PREPARED.size)
    return RollbackPrepared(Lsn(prepare_end_lsn), Lsn(rollback_end_lsn), prepare_time, rollback_time, xid, gid)


# ------------------------------------------------------------------------------------------------- transitions


class _State(Enum):
    """Where the stream stands; the value completes "it came ..."."""

    IDLE = "between transactions"
    TRANSACTION = "inside a transaction"
    PREPARING = "inside a transaction that will be prepared"
    STREAM = "inside a block of a streamed transaction"


_ReadChange: TypeAlias = Callable[[bytes, int, int | None], ChangeEvent]
_ReadControl: TypeAlias = Callable[[bytes], ControlEvent]


class _Transition(NamedTuple):
    """A control message: where it may come, where it leads, and the first protocol version that has it."""

    tag: str
    state: _State
    following: _State
    since: int
    read: _ReadControl


# A later line replaces an earlier one of the same tag and state, where the version allows it.
_TRANSITIONS: Final = (
    _Transition("B", _State.IDLE, _State.TRANSACTION, 1, _begin),
    _Transition("C", _State.TRANSACTION, _State.IDLE, 1, _commit),
    _Transition("O", _State.TRANSACTION, _State.TRANSACTION, 1, _origin),
    _Transition("S", _State.IDLE, _State.STREAM, 2, _stream_start),
    _Transition("O", _State.STREAM, _State.STREAM, 2, _origin),
    _Transition("E", _State.STREAM, _State.IDLE, 2, _stream_stop),
    _Transition("c", _State.IDLE, _State.IDLE, 2, _stream_commit),
    # PostgreSQL 18 may send it in any version, for a subtransaction of which nothing was sent.
    _Transition("A", _State.IDLE, _State.IDLE, 1, _stream_abort),
    _Transition("A", _State.IDLE, _State.IDLE, 4, _stream_abort_parallel),
    _Transition("b", _State.IDLE, _State.PREPARING, 3, _begin_prepare),
    _Transition("O", _State.PREPARING, _State.PREPARING, 3, _origin),
    _Transition("P", _State.PREPARING, _State.IDLE, 3, _prepare),
    _Transition("K", _State.IDLE, _State.IDLE, 3, _commit_prepared),
    _Transition("r", _State.IDLE, _State.IDLE, 3, _rollback_prepared),
    _Transition("p", _State.IDLE, _State.IDLE, 3, _stream_prepare),
)

_CHANGES: Final[dict[int, _ReadChange]] = {
    ord("R"): _relation,
    ord("Y"): _type,
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
    ord("T"): _truncate,
    ord("M"): _message,
}


def decode_change(message: bytes) -> Insert | Update | Delete:
    """The insert, update or delete of a message that came inside a transaction. Raises ``ProtocolViolation``."""
    event = _CHANGES[message[0]](message, 1, None)
    assert isinstance(event, Insert | Update | Delete)
    return event


# Between transactions there is nothing to change; only a message that is not transactional comes there.
_CHANGES_WHEN_IDLE: Final[dict[int, _ReadChange]] = {ord("M"): _message}


class Decoder:
    """Decodes the messages of one replication connection, in the order in which they arrive.

    ``protocol_version`` is the ``proto_version`` that the stream was started with, 1 to 4. A new connection needs a
    new decoder, since the server starts over at a transaction's beginning.
    """

    __slots__ = ("_changes", "_controls", "_in_stream", "_protocol_version", "_state")

    def __init__(self, protocol_version: int) -> None:
        if not 1 <= protocol_version <= 4:
            raise ValueError("pgoutput has protocol versions 1 to 4")
        self._protocol_version = protocol_version
        self._controls = {(rule.state, ord(rule.tag)): rule for rule in _TRANSITIONS if rule.since <= protocol_version}
        self._enter(_State.IDLE)

    @property
    def is_idle(self) -> bool:
        """Whether the stream stands between transactions."""
        return self._state is _State.IDLE

    @property
    def is_plain(self) -> bool:
        """Whether the stream stands between transactions, or inside one that is sent whole."""
        return self._state in (_State.IDLE, _State.TRANSACTION)

    def stand(self, *, in_transaction: bool) -> None:
        """Go on after plain transactions that were decoded elsewhere (``capture.tuples``)."""
        self._enter(_State.TRANSACTION if in_transaction else _State.IDLE)

    def decode(self, message: bytes) -> Event:
        """The event of one message. Raises ``ProtocolViolation`` and nothing else; the decoder is then unchanged."""
        tag = message[0] if message else -1
        read = self._changes.get(tag)
        if read is not None:
            if self._in_stream:
                return read(message, 5, _fields(_UINT32, message, 1)[0])
            return read(message, 1, None)
        transition = self._controls.get((self._state, tag))
        if transition is None:
            raise self._misplaced(tag)
        event = transition.read(message)
        if transition.following is not self._state:
            self._enter(transition.following)
        return event

    def _enter(self, state: _State) -> None:
        self._state = state
        # Kept beside the state, because every change asks for them.
        self._in_stream = state is _State.STREAM
        self._changes = _CHANGES_WHEN_IDLE if state is _State.IDLE else _CHANGES

    def _misplaced(self, tag: int) -> ProtocolViolation:
        if tag < 0:
            return ProtocolViolation.at("an empty", 0, "it has no kind")
        kind = _KINDS.get(tag)
        if kind is None:
            return ProtocolViolation.at("unknown", 0, f"protocol version {self._protocol_version} has no such kind")
        if tag not in _CHANGES and all(tag != known for _, known in self._controls):
            return ProtocolViolation.at(kind, 0, f"protocol version {self._protocol_version} has no such kind")
        return ProtocolViolation.at(kind, 0, f"it came {self._state.value}")
