"""Hypothesis strategies for replication streams: events in an order that the protocol allows."""

from __future__ import annotations

from hypothesis import strategies as st

from capture.events import (
    Begin,
    BeginPrepare,
    ChangeEvent,
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
    Type,
    Update,
)
from capture.model import UNCHANGED, Lsn, Relation, RelationColumn, ReplicaIdentity, TableName

oids = st.integers(0, 2**32 - 1)
xids = st.integers(1, 2**32 - 1)
lsns = st.integers(0, 2**64 - 1).map(Lsn)
times = st.integers(-(2**63), 2**63 - 1)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
schemas = names.filter(bool)
gids = names

values = (
    st.none() | st.just(UNCHANGED) | st.binary(max_size=20) | st.sampled_from([b"x" * 255, b"x" * 256, b"x" * 70000])
)
tuples = st.lists(values, max_size=6).map(tuple)
old_images = st.tuples(tuples, st.booleans()) | st.just((None, False))
columns = st.builds(RelationColumn, names, oids, st.integers(-1, 2**31 - 1), st.booleans())


def changes(xid: st.SearchStrategy[int | None]) -> st.SearchStrategy[ChangeEvent]:
    """Any change, or what goes with one."""
    return st.one_of(
        st.builds(
            Relation,
            oid=oids,
            table=st.builds(TableName, schemas, names),
            replica_identity=st.sampled_from(ReplicaIdentity),
            columns=st.lists(columns, max_size=4).map(tuple),
            xid=xid,
        ),
        st.builds(Type, oid=oids, schema=schemas, name=names, xid=xid),
        st.builds(Insert, relation_id=oids, new=tuples, xid=xid),
        st.builds(lambda oid, old, new, xid: Update(oid, old[0], old[1], new, xid), oids, old_images, tuples, xid),
        st.builds(Delete, relation_id=oids, old=tuples, old_is_full=st.booleans(), xid=xid),
        st.builds(
            Truncate,
            relation_ids=st.lists(oids, max_size=4).map(tuple),
            cascade=st.booleans(),
            restart_identity=st.booleans(),
            xid=xid,
        ),
        st.builds(
            Message, transactional=st.booleans(), lsn=lsns, prefix=names, content=st.binary(max_size=20), xid=xid
        ),
    )


origins = st.builds(Origin, lsns, names)
begins = st.builds(Begin, lsns, times, xids)
commits = st.builds(Commit, lsns, lsns, times)
stream_starts = st.builds(StreamStart, xids, st.booleans())
begin_prepares = st.builds(BeginPrepare, lsns, lsns, times, xids, gids)
prepares = st.builds(Prepare, lsns, lsns, times, xids, gids)

stream_ends = st.one_of(
    st.builds(StreamCommit, xids, lsns, lsns, times),
    st.builds(StreamAbort, xids, xids, st.none(), st.none()),
)
parallel_aborts = st.builds(StreamAbort, xids, xids, lsns, times)
two_phase_ends = st.one_of(
    st.builds(CommitPrepared, lsns, lsns, times, xids, gids),
    st.builds(RollbackPrepared, lsns, lsns, times, times, xids, gids),
    st.builds(StreamPrepare, lsns, lsns, times, xids, gids),
)
lone_messages = st.builds(
    Message, transactional=st.just(False), lsn=lsns, prefix=names, content=st.binary(max_size=20), xid=st.none()
)


def block(
    start: st.SearchStrategy[Event], end: st.SearchStrategy[Event], xid: st.SearchStrategy[int | None]
) -> st.SearchStrategy[list[Event]]:
    """What lies between ``start`` and ``end``, with both."""
    inside = st.lists(origins | changes(xid), max_size=4)
    return st.builds(lambda first, middle, last: [first, *middle, last], start, inside, end)


def sessions(protocol_version: int) -> st.SearchStrategy[list[Event]]:
    """A stream from its beginning, ending between transactions."""
    parts: list[st.SearchStrategy[list[Event]]] = [block(begins, commits, st.none())]
    parts.append(lone_messages.map(lambda event: [event]))
    if protocol_version >= 2:
        parts += [block(stream_starts, st.just(StreamStop()), xids), stream_ends.map(lambda event: [event])]
    if protocol_version >= 3:
        parts += [block(begin_prepares, prepares, st.none()), two_phase_ends.map(lambda event: [event])]
    if protocol_version >= 4:
        parts.append(parallel_aborts.map(lambda event: [event]))
    return st.lists(st.one_of(parts), max_size=4).map(lambda blocks: [event for part in blocks for event in part])


versions_and_sessions = st.integers(1, 4).flatmap(lambda version: st.tuples(st.just(version), sessions(version)))
