"""Comparing two multisets of rows through digests, in worker processes.

    DigestJob   one chunk -> row count and digest sums, a bucket each      (every chunk, both sides)
    CollectJob  one chunk -> digests of rows and keys in chosen buckets    (only tables that differ)
    NameJob     one chunk -> the rows of chosen digests, as text           (only for the examples)

A row's digest is a keyed BLAKE2b of its COPY text, masked on the source's side, of 128 bits; the key is made anew for
each command. Sums are modulo 2**64 in two lanes, so equal multisets give equal sums whatever the order.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capture.model import quote_identifier
from capture.snapshot import Chunk, read_chunk
from control.membership import Membership, Sieve
from control.workers import Worker, WorkerPool
from sink.unload import copy_out
from transform import copytext

Lanes = npt.NDArray[np.uint64]
# A digest as one comparable value: sorting and searching work on it, if not in the order of numbers.
_WHOLE: Final = np.dtype("V16")
# So many rows of differing buckets are held at once; more are taken in several passes.
_ROWS_A_PASS: Final = 1_000_000
_EXAMPLES: Final = 10
_SHOWN_CHARACTERS: Final = 60


class Side(StrEnum):
    """Which of the two databases."""

    SOURCE = "source"
    TARGET = "target"


@dataclass(frozen=True, slots=True, eq=False)
class Digest:
    """Rows counted and summed by bucket: ``counts`` (buckets,), ``sums`` (buckets, 2)."""

    counts: npt.NDArray[np.int64]
    sums: Lanes

    @classmethod
    def empty(cls, buckets: int) -> Digest:
        """No rows."""
        return cls(np.zeros(buckets, dtype=np.int64), np.zeros((buckets, 2), dtype=np.uint64))

    @property
    def rows(self) -> int:
        """How many rows were digested."""
        return int(self.counts.sum())

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.counts + other.counts, self.sums + other.sums)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and not self.differing(other).size

    __hash__ = None  # type: ignore[assignment]  # compared by content, and arrays have no hash

    def differing(self, other: Digest) -> npt.NDArray[np.int64]:
        """The buckets that are not equal."""
        same = (self.counts == other.counts) & (self.sums == other.sums).all(axis=1)
        return np.flatnonzero(~same)


@dataclass(slots=True)
class Differences:
    """What differs in one table; see ``control.verify.TableResult``."""

    different: int = 0
    missing: int = 0
    extra: int = 0
    examples: list[str] = field(default_factory=list)


# ---------------------------------------------------------------------------------------------- in a worker


async def _blocks(worker: Worker, side: Side, chunk: Chunk, members: Membership | None) -> AsyncGenerator[bytes, None]:
    """The chunk as COPY text: masked production, or the copy as it is."""
    if side is Side.TARGET:
        async with contextlib.aclosing(copy_out(await worker.target(), chunk.statement)) as blocks:
            async for block in blocks:
                yield block
        return
    sieve = Sieve(worker.plan, members, chunk)
    async with contextlib.aclosing(read_chunk(await worker.source(), chunk, worker.source_snapshot)) as blocks:
        async for block in blocks:
            masked = sieve.mask(block)
            yield masked if isinstance(masked, bytes) else masked.to_pybytes()


def _digests(lines: Iterable[bytes], key: bytes) -> Lanes:
    joined = b"".join([blake2b(line, digest_size=16, key=key).digest() for line in lines])
    return np.frombuffer(joined, dtype="<u8").reshape(-1, 2)


def _lines(block: bytes) -> list[bytes]:
    return block.split(b"\n")[:-1]


@dataclass(frozen=True, slots=True)
class DigestJob:
    """Digest one chunk. ``buckets`` is a power of two; ``members`` are those of production's snapshot."""

    side: Side
    chunk: Chunk
    buckets: int
    key: bytes = field(repr=False)
    members: Membership | None = None

    async def run(self, worker: Worker) -> tuple[DigestJob, Digest]:
        """Read, mask and sum."""
        digest = Digest.empty(self.buckets)
        async with contextlib.aclosing(_blocks(worker, self.side, self.chunk, self.members)) as blocks:
            async for block in blocks:
                lanes = _digests(_lines(block), self.key)
                places = (lanes[:, 0] & np.uint64(self.buckets - 1)).astype(np.int64)
                digest.counts[:] += np.bincount(places, minlength=self.buckets)
                np.add.at(digest.sums, places, lanes)
        return self, digest


@dataclass(frozen=True, slots=True)
class CollectJob:
    """Collect the digests of rows in ``chosen`` buckets (a bit a bucket), each with that of its key columns; rows
    without key columns are their own key."""

    side: Side
    number: int
    chunk: Chunk
    chosen: npt.NDArray[np.bool_]
    match: tuple[str, ...]
    key: bytes = field(repr=False)
    members: Membership | None = None

    async def run(self, worker: Worker) -> tuple[CollectJob, Lanes, Lanes]:
        """The rows' digests and their keys', (n, 2) each."""
        rows: list[Lanes] = []
        keys: list[Lanes] = []
        async with contextlib.aclosing(_blocks(worker, self.side, self.chunk, self.members)) as blocks:
            async for block in blocks:
                lanes = _digests(_lines(block), self.key)
                wanted = self.chosen[(lanes[:, 0] & np.uint64(len(self.chosen) - 1)).astype(np.int64)]
                if not wanted.any():
                    continue
                rows.append(lanes[wanted])
                if self.match:
                    batch = copytext.split(block, self.chunk.columns).select(list(self.match)).filter(pa.array(wanted))
                    keys.append(_digests(_lines(copytext.join(batch).to_pybytes()), self.key))
                else:
                    keys.append(rows[-1])
        none = np.empty((0, 2), dtype=np.uint64)
        return self, np.concatenate([none, *rows]), np.concatenate([none, *keys])


@dataclass(frozen=True, slots=True)
class NameJob:
    """Fetch the rows of given digests."""

    side: Side
    chunk: Chunk
    wanted: frozenset[bytes]
    key: bytes = field(repr=False)
    members: Membership | None = None

    async def run(self, worker: Worker) -> tuple[Side, dict[bytes, list[bytes | None]]]:
        """Values (escaped) by digest. They are masked, and for the operator's terminal only."""
        found: dict[bytes, list[bytes | None]] = {}
        async with contextlib.aclosing(_blocks(worker, self.side, self.chunk, self.members)) as blocks:
            async for block in blocks:
                for line in _lines(block):
                    digest = blake2b(line, digest_size=16, key=self.key).digest()
                    if digest in self.wanted:
                        batch = copytext.split(line + b"\n", self.chunk.columns)
                        found[digest] = [column[0].as_py() for column in batch.columns]
        return self.side, found


# ------------------------------------------------------------------------------------------- in the command


@dataclass(slots=True)
class _Collected:
    """Rows of one side: their digests, their keys', and which chunk they came from."""

    rows: npt.NDArray[np.void]
    keys: npt.NDArray[np.void]
    chunks: npt.NDArray[np.int64]

    @classmethod
    def empty(cls) -> _Collected:
        """No rows."""
        return cls(np.empty(0, _WHOLE), np.empty(0, _WHOLE), np.empty(0, np.int64))

    def __add__(self, other: _Collected) -> _Collected:
        return _Collected(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.keys, other.keys]),
            np.concatenate([self.chunks, other.chunks]),
        )

    def without(self, other: _Collected) -> _Collected:
        """The rows that the other side lacks, counting repetitions."""
        order = np.argsort(self.rows, kind="stable")
        rows = self.rows[order]
        # The i-th of equal rows is in excess when the other side has no more than i of them.
        nth = np.arange(len(rows)) - np.searchsorted(rows, rows, side="left")
        theirs = np.sort(other.rows)
        count = np.searchsorted(theirs, rows, side="right") - np.searchsorted(theirs, rows, side="left")
        excess = order[nth >= count]
        return _Collected(self.rows[excess], self.keys[excess], self.chunks[excess])


async def find_differences(
    pool: WorkerPool,
    chunks: list[tuple[Side, Chunk]],
    source: Digest,
    copy: Digest,
    match: tuple[str, ...],
    key: bytes,
    members: Membership | None = None,
) -> Differences:
    """Read the differing buckets of one table again; exact counts, and a few examples."""
    lacking, surplus = _Collected.empty(), _Collected.empty()
    for chosen in _passes(source, copy):
        sides = {Side.SOURCE: _Collected.empty(), Side.TARGET: _Collected.empty()}
        jobs = (
            CollectJob(side, number, chunk, chosen, match, key, members) for number, (side, chunk) in enumerate(chunks)
        )
        async for job, rows, keys in pool.run(jobs):
            sides[job.side] += _Collected(_whole(rows), _whole(keys), np.full(len(rows), job.number))
        lacking += sides[Side.SOURCE].without(sides[Side.TARGET])
        surplus += sides[Side.TARGET].without(sides[Side.SOURCE])
    # A key on both sides is one row with two contents; without key columns a row is its own key, and never on both.
    paired = np.isin(lacking.keys, surplus.keys)
    differences = Differences(
        different=int(paired.sum()),
        missing=int((~paired).sum()),
        extra=int((~np.isin(surplus.keys, lacking.keys)).sum()),
    )
    differences.examples = await _examples(pool, chunks, members, lacking, surplus, match, key)
    return differences


async def _examples(
    pool: WorkerPool,
    chunks: list[tuple[Side, Chunk]],
    members: Membership | None,
    lacking: _Collected,
    surplus: _Collected,
    match: tuple[str, ...],
    key: bytes,
) -> list[str]:
    """The first few differences, one sentence each."""
    shown = np.unique(np.concatenate([lacking.keys, surplus.keys]))[:_EXAMPLES]
    wanted: dict[int, set[bytes]] = {}
    for collected in (lacking, surplus):
        for place in np.flatnonzero(np.isin(collected.keys, shown)):
            wanted.setdefault(int(collected.chunks[place]), set()).add(collected.rows[place].tobytes())
    jobs = (NameJob(*chunks[number], frozenset(digests), key, members) for number, digests in wanted.items())
    values: dict[Side, dict[bytes, list[bytes | None]]] = {Side.SOURCE: {}, Side.TARGET: {}}
    async for side, found in pool.run(jobs):
        values[side] |= found
    columns = chunks[0][1].columns
    sentences: list[str] = []
    for each in shown:
        before = _first(lacking, each, values[Side.SOURCE])
        after = _first(surplus, each, values[Side.TARGET])
        sentences.append(_sentence(columns, match, before, after))
    return sorted(sentences)


def _first(side: _Collected, key: np.void, values: dict[bytes, list[bytes | None]]) -> list[bytes | None] | None:
    places = np.flatnonzero(side.keys == key)
    return values.get(side.rows[places[0]].tobytes()) if len(places) else None


def _sentence(
    columns: tuple[str, ...], match: tuple[str, ...], source: list[bytes | None] | None, copy: list[bytes | None] | None
) -> str:
    """Names a difference by the copy's key. Values of the source's side are masked, as the copy's should be."""
    row = copy if copy is not None else source or []
    shown = dict(zip(columns, row, strict=False))
    named = ", ".join(f"{quote_identifier(name)} = {_shown(shown.get(name))}" for name in match)
    named = named or "a row without a key"
    if source is None:
        return f"{named}: only the copy has it"
    if copy is None:
        return f"{named}: the copy lacks it"
    differing = [quote_identifier(name) for name, a, b in zip(columns, source, copy, strict=True) if a != b]
    return f"{named}: {', '.join(differing)} differ{'s' if len(differing) == 1 else ''}"


def _shown(value: bytes | None) -> str:
    if value is None:
        return "NULL"
    text = value.decode("utf-8", "replace")
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _whole(lanes: Lanes) -> npt.NDArray[np.void]:
    return np.ascontiguousarray(lanes).view(_WHOLE).reshape(-1)


def _passes(source: Digest, copy: Digest) -> Iterator[npt.NDArray[np.bool_]]:
    """The differing buckets, in portions that fit into memory."""
    buckets = source.differing(copy)
    rows = np.cumsum(np.maximum(source.counts, copy.counts)[buckets])
    for part in np.split(buckets, np.flatnonzero(np.diff(rows // _ROWS_A_PASS)) + 1):
        chosen = np.zeros(len(source.counts), dtype=np.bool_)
        chosen[part] = True
        yield chosen
