"""The other side of ``capture.pgoutput``: events to bytes, written from the protocol's documentation alone.

Shares no table and no layout with the decoder, so that a round trip is evidence.
"""

from __future__ import annotations

from capture.events import (
    Begin,
    BeginPrepare,
    Commit,
    CommitPrepared,
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
from capture.model import UNCHANGED, Relation


def int8(number: int) -> bytes:
    return number.to_bytes(1, "big")


def int16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def int32(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, "big")


def int64(number: int) -> bytes:
    return (number & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")


def string(text: str) -> bytes:
    return text.encode() + b"\0"


def namespace(schema: str) -> bytes:
    return string("" if schema == "pg_catalog" else schema)


def tuple_data(values: TupleData) -> bytes:
    columns = b""
    for value in values:
        if value is None:
            columns += b"n"
        elif value is UNCHANGED:
            columns += b"u"
        else:
            columns += b"t" + int32(len(value)) + value
    return int16(len(values)) + columns


def old_image(old: TupleData, *, is_full: bool) -> bytes:
    return (b"O" if is_full else b"K") + tuple_data(old)


def streamed(xid: int | None) -> bytes:
    return b"" if xid is None else int32(xid)


def encode(event: Event) -> bytes:
    """The message that PostgreSQL would send for ``event``."""
    match event:
        case Begin(final_lsn, commit_time, xid):
            return b"B" + int64(final_lsn) + int64(commit_time) + int32(xid)
        case Commit(commit_lsn, end_lsn, commit_time):
            return b"C" + int8(0) + int64(commit_lsn) + int64(end_lsn) + int64(commit_time)
        case Origin(lsn, name):
            return b"O" + int64(lsn) + string(name)
        case Relation(oid, table, replica_identity, columns, xid):
            message = b"R" + streamed(xid) + int32(oid) + namespace(table.schema) + string(table.name)
            message += replica_identity.encode() + int16(len(columns))
            for column in columns:
                message += int8(column.is_key) + string(column.name) + int32(column.type_oid) + int32(column.typmod)
            return message
        case Type(oid, schema, name, xid):
            return b"Y" + streamed(xid) + int32(oid) + namespace(schema) + string(name)
        case Insert(relation_id, new, xid):
            return b"I" + streamed(xid) + int32(relation_id) + b"N" + tuple_data(new)
        case Update(relation_id, old, old_is_full, new, xid):
            image = b"" if old is None else old_image(old, is_full=old_is_full)
            return b"U" + streamed(xid) + int32(relation_id) + image + b"N" + tuple_data(new)
        case Delete(relation_id, old, old_is_full, xid):
            return b"D" + streamed(xid) + int32(relation_id) + old_image(old, is_full=old_is_full)
        case Truncate(relation_ids, cascade, restart_identity, xid):
            options = int8(cascade + 2 * restart_identity)
            return b"T" + streamed(xid) + int32(len(relation_ids)) + options + b"".join(map(int32, relation_ids))
        case Message(transactional, lsn, prefix, content, xid):
            header = int8(transactional) + int64(lsn) + string(prefix)
            return b"M" + streamed(xid) + header + int32(len(content)) + content
        case StreamStart(xid, first_segment):
            return b"S" + int32(xid) + int8(first_segment)
        case StreamStop():
            return b"E"
        case StreamCommit(xid, commit_lsn, end_lsn, commit_time):
            return b"c" + int32(xid) + int8(0) + int64(commit_lsn) + int64(end_lsn) + int64(commit_time)
        case StreamAbort(xid, subxid, None, None):
            return b"A" + int32(xid) + int32(subxid)
        case StreamAbort(xid, subxid, int() as abort_lsn, int() as abort_time):
            return b"A" + int32(xid) + int32(subxid) + int64(abort_lsn) + int64(abort_time)
        case BeginPrepare(prepare_lsn, end_lsn, prepare_time, xid, gid):
            return b"b" + int64(prepare_lsn) + int64(end_lsn) + int64(prepare_time) + int32(xid) + string(gid)
        case Prepare() | CommitPrepared() | StreamPrepare():
            tag = {Prepare: b"P", CommitPrepared: b"K", StreamPrepare: b"p"}[type(event)]
            lsn, end_lsn, time, xid, gid = event
            return tag + int8(0) + int64(lsn) + int64(end_lsn) + int64(time) + int32(xid) + string(gid)
        case RollbackPrepared(prepare_end_lsn, rollback_end_lsn, prepare_time, rollback_time, xid, gid):
            positions = int64(prepare_end_lsn) + int64(rollback_end_lsn)
            times = int64(prepare_time) + int64(rollback_time)
            return b"r" + int8(0) + positions + times + int32(xid) + string(gid)
    raise AssertionError(type(event))


def xlog_data(start_lsn: int, wal_end: int, server_time: int, message: bytes) -> bytes:
    """The CopyData payload that carries ``message``."""
    return b"w" + int64(start_lsn) + int64(wal_end) + int64(server_time) + message


def keepalive(wal_end: int, server_time: int, *, reply_requested: bool) -> bytes:
    """The CopyData payload of a keepalive."""
    return b"k" + int64(wal_end) + int64(server_time) + int8(reply_requested)


def copy_data(payload: bytes) -> bytes:
    """The frame around a payload."""
    return b"d" + int32(4 + len(payload)) + payload
