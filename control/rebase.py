"""Moving the finished chunks of a clone from one cut of production to a later one.

    slot from the base on ─▶ keys that were touched ─▶ delete them in the copy, insert what they are now ─▶ new base

A row that no transaction touched in between has neither changed nor moved to another page. So when every touched key
is deleted from the copy, and those of their rows inserted that lie on the pages of a finished chunk now, the finished
chunks are exactly production at the new cut; the other pages are copied in its snapshot. All of it is one transaction
in the target, and only then is the slot acknowledged. A table of which less is known is emptied and copied again:
one that was truncated or rewritten, or has no key, or whose updates no stream brings.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection
from typing import Final

import pyarrow as pa

from capture.model import Catalog, DatabaseIdentity, Drifted, TableName
from capture.replication import ReplicationSession
from capture.slots import slot_state
from capture.snapshot import was_rewritten
from capture.source import SourceConnection
from capture.statements import SLOT_PREFIX
from capture.touched import Followed, Key, SlotReader, Touched, read_rows
from control.copies import check_published, clone_again
from control.cut import Cut, fingerprint
from control.project import Project
from sink import heal, load, progress, target, unfinished
from sink.progress import Progress
from sink.statements import TableShape
from sink.target import Connection
from sink.unfinished import FinishedChunk, Unfinished
from transform import copytext
from transform.plan import Plan

# Bytes of touched keys that are held at once; a table that was touched in more places is copied again.
_KEYS_BUDGET: Final = 64 << 20


class Rebase:
    """One rebase; see the module's contract. ``production`` and ``connection`` are idle, and no chunk is being copied.
    ``catalog`` and ``plan`` are those that the clone was begun with."""

    def __init__(
        self,
        project: Project,
        production: SourceConnection,
        connection: Connection,
        productions: frozenset[DatabaseIdentity],
        catalog: Catalog,
        plan: Plan,
    ) -> None:
        self._project = project
        self._production = production
        self._connection = connection
        self._productions = productions
        self._catalog = catalog
        self._plan = plan

    async def run(self, state: Unfinished) -> Cut:
        """Take a new cut and move the finished chunks there. Raises ``ServerFailed``, and ``Drifted`` when production
        is no longer what the clone was begun from."""
        project = self._project
        first = await progress.read(self._connection)
        assert first is not None
        finished: dict[TableName, list[FinishedChunk]] = {}
        for chunk in await unfinished.finished_chunks(self._connection):
            finished.setdefault(chunk.table, []).append(chunk)
        followed = {name: Followed(self._catalog.tables[name], self.key(name, first.unfollowed)) for name in finished}
        touched = Touched(followed.values(), state.base_lsn, budget=_KEYS_BUDGET)
        reader = SlotReader(project.source_address, project.slot, state.base_lsn, project.publications, touched)
        async with reader:
            # Most of it before the snapshot is taken, which then need not live so long.
            slot = await slot_state(self._production, project.slot)
            if slot is not None:
                await reader.advance(slot.current_lsn)
            cut = await self._take(state, first)
            try:
                await reader.finish(cut.lsn)
                lost = {name for name, chunks in finished.items() if any(c.file != cut.files[name] for c in chunks)}
                # What happened to these beside inserts is in no stream.
                lost |= {name for name in finished if str(name) in first.unfollowed}
                await self._move(state, cut, finished, followed, touched, touched.whole | lost)
                reader.acknowledge(cut.lsn)
            except BaseException:
                await cut.close()
                raise
        return cut

    def key(self, name: TableName, unfollowed: Collection[str]) -> tuple[str, ...]:
        """The columns that a touched row of a table is found by; () where the table has to be copied again."""
        shape = TableShape.of(self._catalog.tables[name], frozenset())
        if not shape.key_is_unique or str(name) in unfollowed:
            return ()
        return tuple(shape.columns[position] for position in shape.key)

    async def _take(self, state: Unfinished, first: Progress) -> Cut:
        session = await ReplicationSession.open(self._project.source_address, "clone")
        try:
            slot = f"{SLOT_PREFIX}snapshot_{secrets.token_hex(4)}"
            cut = await Cut.take(self._project, self._production, session, slot, temporary=True)
            if fingerprint(cut.catalog) != state.catalog:
                raise Drifted(
                    "production's tables, columns or keys were changed while they were cloned.",
                    hint=clone_again(self._project),
                )
            check_published(self._project, cut.catalog, self._plan, first, cut.published)
        except BaseException:
            await session.close()
            raise
        return cut

    async def _move(
        self,
        state: Unfinished,
        cut: Cut,
        finished: dict[TableName, list[FinishedChunk]],
        followed: dict[TableName, Followed],
        touched: Touched,
        whole: set[TableName],
    ) -> None:
        """All that changes the copy, in one transaction."""
        address = self._project.target_address
        writer = await target.connect(address, productions=self._productions, purpose="clone")
        async with writer:
            await load.as_replica(writer)
            async with target.transaction(writer):
                for name, keys in touched.keys.items():
                    if name not in whole and not await self._replace(
                        writer, cut.snapshot, followed[name], keys, finished[name]
                    ):
                        whole.add(name)
                await unfinished.empty(writer, whole)
                await unfinished.move_base(writer, state, cut.lsn, cut.time, cut.unfollowed)

    async def _replace(
        self, writer: Connection, snapshot: str, followed: Followed, keys: set[Key], chunks: list[FinishedChunk]
    ) -> bool:
        """Make the touched rows of one table's finished chunks what they are now; False where that cannot be known.

        Production is read in a transaction for this table alone: whoever holds the locks of several could deadlock.
        """
        if not all(_is_text(value) for key in keys for value in key):
            return False
        table = followed.table.name
        plan = self._plan.tables[table]
        ordered = list(keys)
        columns = [pa.array(column, pa.binary()) for column in zip(*ordered, strict=True)]
        masked = plan.mask(pa.RecordBatch.from_arrays(columns, names=list(followed.key)), escaped=False)

        async def blocks() -> AsyncIterator[pa.Buffer]:
            names = [column.name for column in followed.table.copied_columns]
            async for rows in read_rows(self._production, followed, ordered):
                # The others come with their own chunk.
                here = [row.values for row in rows if any(c.first_page <= row.page < c.end_page for c in chunks)]
                if here:
                    values = [pa.array(column, pa.binary()) for column in zip(*here, strict=True)]
                    batch = plan.mask(pa.RecordBatch.from_arrays(values, names=names), escaped=False)
                    escaped = [copytext.escape(column) for column in batch.columns]
                    yield copytext.join(pa.RecordBatch.from_arrays(escaped, schema=batch.schema))

        await self._production.begin(snapshot=snapshot)
        await self._production.fetch("SET LOCAL statement_timeout = 0")
        deleted = await heal.delete_rows(
            writer,
            table,
            [followed.table.column(name) for name in followed.key],
            [masked.column(name) for name in followed.key],
        )
        inserted = await load.copy_in(writer, table, plan.columns, blocks())
        await unfinished.count_rows(writer, table, inserted - deleted)
        is_whole = not await was_rewritten(self._production, table)
        await self._production.rollback()
        return is_whole


def _is_text(value: bytes) -> bool:
    """Whether a value can be a parameter of a statement; in a database without an encoding it may be any bytes."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
