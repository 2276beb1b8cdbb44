"""Which rows of a snapshot belong to the plan's subset: found once for a snapshot, then asked block by block.

    TagJob   one chunk -> tags of its rows' keys and references      (every table that takes part)
    close    all tags -> the members of each table
    Sieve    one chunk's blocks -> the members among them, masked    (whoever copies or compares rows)

Worker processes read the members from files, which hold nothing but tags: hashes under a key made for this one use.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from capture.model import Catalog, ServerFailed, TableName
from capture.snapshot import Chunk, TableRewritten, plan_chunks, read_chunk
from control.report import Report
from control.workers import Worker, WorkerPool
from sink import load
from sink.pulled import pulled_table
from sink.target import Connection
from transform.closure import Collision, RowTags, TagArray, are_among, close, join_tags, tag
from transform.cmac import Prf
from transform.copytext import Cut, join, keep_rows, split
from transform.plan import Plan

_KEY_BYTES: Final = 16
# Different keys have one tag by chance: in a billion rows, once in forty times. Never so often in a row.
_CHANCES: Final = 4


@dataclass(frozen=True, slots=True)
class Membership:
    """Where the members' tags are, by root table, and the key that makes them."""

    folder: Path
    key: bytes = field(repr=False)
    numbers: dict[TableName, int]


@dataclass(frozen=True, slots=True)
class TagJob:
    """Read what tells whether rows of one chunk are copied. A table that was rewritten is a result too, so that the
    other chunks of the snapshot come to their end."""

    chunk: Chunk
    snapshot: str
    key: bytes = field(repr=False)

    async def run(self, worker: Worker) -> tuple[Chunk, RowTags | TableRewritten]:
        """Read and tag."""
        assert worker.plan.subset is not None
        table = worker.plan.subset.tables[worker.plan.root(self.chunk.table)]
        prf = Prf(self.key)
        parts: list[RowTags] = []
        chunk = replace(self.chunk, columns=table.read)
        try:
            async with contextlib.aclosing(read_chunk(await worker.source(), chunk, self.snapshot)) as blocks:
                async for block in blocks:
                    batch = split(block, chunk.columns)
                    groups = {group: tag(prf, [batch.column(name) for name in group]) for group in table.groups}
                    parts.append(RowTags(table.is_true(batch, escaped=True), groups))
        except TableRewritten as error:
            return self.chunk, error
        return self.chunk, join_tags(table, parts)


async def find_members(
    pool: WorkerPool, plan: Plan, catalog: Catalog, snapshot: str, folder: Path, chunk_bytes: int, report: Report
) -> Membership:
    """The members of a snapshot, whose tables the catalog has; with their tags in ``folder``.

    Raises ``ServerFailed``, and ``TableRewritten`` where the snapshot does not show a table any more.
    """
    assert plan.subset is not None
    wanted = [table for table in catalog.tables.values() if plan.takes_part(table.name)]
    chunks = plan_chunks(wanted, chunk_bytes, catalog.server_version)
    chances = _CHANCES
    while True:
        key = secrets.token_bytes(_KEY_BYTES)
        parts: dict[TableName, list[RowTags]] = {name: [] for name in plan.subset.tables}
        rewritten: list[TableRewritten] = []
        size = sum(chunk.bytes for chunk in chunks)
        with report.task("finding rows that belong together", size, "bytes") as advance:
            async with contextlib.aclosing(pool.run(TagJob(chunk, snapshot, key) for chunk in chunks)) as results:
                async for chunk, tags in results:
                    if isinstance(tags, TableRewritten):
                        rewritten.append(tags)
                    else:
                        parts[plan.root(chunk.table)].append(tags)
                    advance(chunk.bytes)
        if rewritten:
            raise rewritten[0]
        try:
            members = close(
                plan.subset, {name: join_tags(plan.subset.tables[name], found) for name, found in parts.items()}
            )
        except Collision as error:
            chances -= 1
            if chances:
                continue
            raise ServerFailed(
                f"several rows of {error.table} have one key, though production declares it unique.",
                hint="An index may be damaged, as by another version of a collation: REINDEX tells where.",
            ) from None
        numbers = {name: number for number, name in enumerate(members)}
        for name, number in numbers.items():
            np.save(folder / f"{number}.all.npy", members[name].all)
            np.save(folder / f"{number}.pulled.npy", members[name].pulled)
        return Membership(folder, key, numbers)


@lru_cache(maxsize=256)
def _tags(path: Path) -> TagArray:
    found: TagArray = np.load(path, mmap_mode="r")
    return found


class Sieve:
    """Masks the blocks of one chunk, and lets pass the rows that are copied."""

    def __init__(self, plan: Plan, members: Membership | None, chunk: Chunk) -> None:
        self._plan = plan.tables[chunk.table]
        self._chunk = chunk
        self._members = members
        root = plan.root(chunk.table)
        table = plan.subset.tables.get(root) if plan.subset is not None else None
        self._table = table if table is not None and not table.is_whole else None
        self._pulled: list[pa.Buffer] = []
        if self._table is not None:
            assert members is not None
            self._prf = Prf(members.key)
            number = members.numbers[root]
            self._paths = members.folder / f"{number}.all.npy", members.folder / f"{number}.pulled.npy"

    def mask(self, block: bytes) -> bytes | pa.Buffer:
        """The copied rows of a block of COPY text, masked."""
        if self._table is None:
            return self._plan.mask_block(block, self._chunk.columns)
        keys = Cut(block, self._chunk.columns, self._table.key).batch.select(list(self._table.key))
        tags = tag(self._prf, keys.columns)
        members, pulled = (are_among(tags, _tags(path)) for path in self._paths)
        if pulled.any():
            self._pulled.append(join(self._plan.mask(keys.filter(pa.array(pulled)), escaped=True)))
        kept = keep_rows(block, members)
        return self._plan.mask_block(kept if isinstance(kept, bytes) else kept.to_pybytes(), self._chunk.columns)

    async def write_pulled(self, copy: Connection, into: TableName | None = None) -> None:
        """Note in the copy which of the rows that passed are needed only, in the transaction that brings them."""
        if self._table is not None and self._pulled:
            plan = self._plan
            names = [name for name in plan.columns if name in self._table.key]
            pulled, self._pulled = self._pulled, []

            async def blocks() -> AsyncIterator[pa.Buffer]:
                for block in pulled:
                    yield block

            await load.copy_in(copy, into or pulled_table(self._table.table), names, blocks())
