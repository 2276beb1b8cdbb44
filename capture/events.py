"""What a logical replication stream says, one event a message.

``capture.pgoutput`` makes them. LSNs are named as the protocol names them; times are microseconds since 2000-01-01 UTC;
``relation_id`` is the table's oid. The ``xid`` of a change is set only inside a block of a streamed transaction, and is
that of the subtransaction that made it. No ``repr`` shows a value of a row.

They are named tuples, which are cheaper to make than dataclasses: there is one for every row. So two of them may be
equal though their types are not.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from capture.model import Lsn, Relation, Value

TupleData: TypeAlias = tuple[Value, ...]


def _width(row: TupleData | None) -> str:
    return "None" if row is None else f"<{len(row)} columns>"


class Begin(NamedTuple):
    """A transaction follows, whole and committed; ``final_lsn`` is its commit record's position."""

    final_lsn: Lsn
    commit_time: int
    xid: int


class Commit(NamedTuple):
    """The end of what ``Begin`` opened; ``end_lsn`` is where the next record starts."""

    commit_lsn: Lsn
    end_lsn: Lsn
    commit_time: int


class Origin(NamedTuple):
    """The transaction came to the server by replication from elsewhere."""

    lsn: Lsn
    name: str


class Type(NamedTuple):
    """A type that is not built in, before the first Relation that uses it. For a domain, the name of its base type."""

    oid: int
    schema: str
    name: str
    xid: int | None = None


class Insert(NamedTuple):
    """A new row."""

    relation_id: int
    new: TupleData
    xid: int | None = None

    def __repr__(self) -> str:
        return f"Insert(relation_id={self.relation_id}, new={_width(self.new)}, xid={self.xid})"


class Update(NamedTuple):
    """A changed row. ``old`` is None when the replica identity did not change; else the whole old row if
    ``old_is_full``, or its key columns with every other column NULL."""

    relation_id: int
    old: TupleData | None
    old_is_full: bool
    new: TupleData
    xid: int | None = None

    def __repr__(self) -> str:
        return (
            f"Update(relation_id={self.relation_id}, old={_width(self.old)}, old_is_full={self.old_is_full}, "
            f"new={_width(self.new)}, xid={self.xid})"
        )


class Delete(NamedTuple):
    """A row that is gone; ``old`` as in ``Update``."""

    relation_id: int
    old: TupleData
    old_is_full: bool
    xid: int | None = None

    def __repr__(self) -> str:
        return (
            f"Delete(relation_id={self.relation_id}, old={_width(self.old)}, old_is_full={self.old_is_full}, "
            f"xid={self.xid})"
        )


class Truncate(NamedTuple):
    """Tables emptied by one statement."""

    relation_ids: tuple[int, ...]
    cascade: bool
    restart_identity: bool
    xid: int | None = None


class Message(NamedTuple):
    """What ``pg_logical_emit_message`` wrote; one that is not ``transactional`` comes between transactions."""

    transactional: bool
    lsn: Lsn
    prefix: str
    content: bytes
    xid: int | None = None

    def __repr__(self) -> str:
        return (
            f"Message(transactional={self.transactional}, lsn={self.lsn!r}, prefix={self.prefix!r}, "
            f"content=<{len(self.content)} bytes>, xid={self.xid})"
        )


class StreamStart(NamedTuple):
    """A block of a transaction still in progress follows."""

    xid: int
    first_segment: bool


class StreamStop(NamedTuple):
    """The end of that block, not of the transaction."""


class StreamCommit(NamedTuple):
    """A streamed transaction is committed."""

    xid: int
    commit_lsn: Lsn
    end_lsn: Lsn
    commit_time: int


class StreamAbort(NamedTuple):
    """A streamed transaction, or only its subtransaction ``subxid``, is rolled back. The position and the time come
    with protocol 4 and ``streaming 'parallel'`` only.

    PostgreSQL 18 may tell it of a subtransaction that outgrew its memory where nothing is streamed at all. Nothing was
    sent of that one, so there is nothing to take back.
    """

    xid: int
    subxid: int
    abort_lsn: Lsn | None = None
    abort_time: int | None = None


class BeginPrepare(NamedTuple):
    """A transaction follows that was prepared under ``gid`` and is not committed yet."""

    prepare_lsn: Lsn
    end_lsn: Lsn
    prepare_time: int
    xid: int
    gid: str


class Prepare(NamedTuple):
    """The end of what ``BeginPrepare`` opened."""

    prepare_lsn: Lsn
    end_lsn: Lsn
    prepare_time: int
    xid: int
    gid: str


class CommitPrepared(NamedTuple):
    """A prepared transaction is committed."""

    commit_lsn: Lsn
    end_lsn: Lsn
    commit_time: int
    xid: int
    gid: str


class RollbackPrepared(NamedTuple):
    """A prepared transaction is rolled back; ``prepare_end_lsn`` tells which use of ``gid`` is meant."""

    prepare_end_lsn: Lsn
    rollback_end_lsn: Lsn
    prepare_time: int
    rollback_time: int
    xid: int
    gid: str


class StreamPrepare(NamedTuple):
    """A streamed transaction is prepared."""

    prepare_lsn: Lsn
    end_lsn: Lsn
    prepare_time: int
    xid: int
    gid: str


ChangeEvent: TypeAlias = Relation | Type | Insert | Update | Delete | Truncate | Message
ControlEvent: TypeAlias = (
    Begin
    | Commit
    | Origin
    | StreamStart
    | StreamStop
    | StreamCommit
    | StreamAbort
    | BeginPrepare
    | Prepare
    | CommitPrepared
    | RollbackPrepared
    | StreamPrepare
)
Event: TypeAlias = ChangeEvent | ControlEvent
