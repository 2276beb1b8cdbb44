"""Moving the finished chunks of a clone from one cut of production to a later one.

    slot from the base on ─▶ keys that were touched ─▶ delete them in the copy, insert what they are now ─▶ new base

A row that no transaction touched in between has neither changed nor moved to another page. So when every touched key
is deleted from the copy, and those of their rows inserted that lie on the pages of a finished chunk now, the finished
chunks are exactly production at the new cut; the other pages are copied in its snapshot. All of it is one transaction
in the target, and only then is the slot acknowledged. A table of which less is known is emptied and copied again:
one that was truncated or rewritten, or has no key, or whose updates no stream brings; and those of a subset, where a
row may come or go although nothing touched it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Final

from capture.model import Catalog, DatabaseIdentity, Drifted, TableName
from capture.replication import ReplicationSession
from capture.slots import slot_state
from capture.source import SourceConnection
from capture.statements import SLOT_PREFIX
from capture.touched import Followed, Key, SlotReader, Touched
from control.copies import check_published, clone_again
from control.cut import Cut, fingerprint, no_longer_than, patience
from control.project import Project
from control.touched_rows import replace_touched
from sink import load, progress, pulled, target, unfinished
from sink.progress import Progress
from sink.statements import TableShape
from sink.target import Connection
from sink.unfinished import FinishedChunk, Unfinished
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
        self._max_age = project.settings.snapshot.max_age
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
                async with no_longer_than(self._max_age, cut.taken, "what is there was not moved to it"):
                    await reader.finish(cut.lsn)
                    lost = {name for name, chunks in finished.items() if any(c.file != cut.files[name] for c in chunks)}
                    # What happened to these beside inserts is in no stream.
                    lost |= {name for name in finished if str(name) in first.unfollowed or self._plan.takes_part(name)}
                    await self._move(state, cut, finished, followed, touched, touched.whole | lost)
                reader.acknowledge(cut.lsn)
            except BaseException:
                await cut.close()
                raise
        return cut

    def key(self, name: TableName, unfollowed: Collection[str]) -> tuple[str, ...]:
        """The columns that a touched row of a table is found by; () where the table has to be copied again."""
        shape = TableShape.of(self._catalog.tables[name], frozenset())
        if not shape.key_is_unique or str(name) in unfollowed or self._plan.takes_part(name):
            return ()
        return tuple(shape.columns[position] for position in shape.key)

    async def _take(self, state: Unfinished, first: Progress) -> Cut:
        session = await ReplicationSession.open(self._project.source_address, "clone")
        try:
            slot = f"{SLOT_PREFIX}snapshot_{secrets.token_hex(4)}"
            async with patience("clone", self._max_age):
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
                await pulled.empty(writer, pulled.chosen_tables(self._plan.subset))
                await unfinished.move_base(writer, state, cut.lsn, cut.time, cut.unfollowed)

    async def _replace(
        self, writer: Connection, snapshot: str, followed: Followed, keys: set[Key], chunks: list[FinishedChunk]
    ) -> bool:
        """Make the touched rows of one table's finished chunks what they are now; False where that cannot be known."""
        table = followed.table.name
        grown = await replace_touched(
            self._production,
            snapshot,
            followed,
            keys,
            writer,
            self._plan.tables[table],
            into=table,
            # The others come with their own chunk.
            wanted=lambda row: any(chunk.first_page <= row.page < chunk.end_page for chunk in chunks),
        )
        if grown is None:
            return False
        await unfinished.count_rows(writer, table, grown)
        return True
