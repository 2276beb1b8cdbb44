"""Differences between two multisets of rows are counted exactly, whatever the chunks, the buckets and the passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.model import TableName
from capture.snapshot import Chunk
from control import digests
from control.digests import Differences, Digest, DigestJob, Side, find_differences

KEY = bytes(range(32))
COLUMNS = ("id", "a", "B")
TABLE = TableName("public", "t")

Row = tuple[bytes, bytes, bytes]
Contents = dict[tuple[Side, int], list[Row]]

# Escaped COPY text: NULL, the empty string, an escaped tab, what looks like a NULL.
values = st.sampled_from([b"\\N", b"", b"x", b"a\\tb", b"\\\\N", "\N{SNOWMAN}".encode()])
keys = st.integers(0, 12).map(lambda number: b"%d" % number)
rows = st.tuples(keys, values, values)


class InlinePool:
    """Runs jobs where it stands, on contents held in memory."""

    async def run(self, jobs: Iterable[Any]) -> AsyncIterator[Any]:
        for job in reversed(list(jobs)):
            yield await job.run(None)


def chunk_of(number: int) -> Chunk:
    return Chunk(TABLE, COLUMNS, number, None, 0)


async def compare(contents: Contents, match: tuple[str, ...], buckets: int = 64) -> tuple[Digest, Digest, Differences]:
    """Both sides' digests and what differs, each list of rows a chunk that comes in blocks of two rows."""

    async def blocks(_: object, side: Side, chunk: Chunk, __: object) -> AsyncIterator[bytes]:
        lines = [b"\t".join(row) + b"\n" for row in contents[side, chunk.first_page]]
        for start in range(0, len(lines), 2):
            yield b"".join(lines[start : start + 2])

    chunks = [(side, chunk_of(number)) for side, number in contents]
    pool: Any = InlinePool()
    sums = {Side.SOURCE: Digest.empty(buckets), Side.TARGET: Digest.empty(buckets)}
    with mock.patch.object(digests, "_blocks", blocks):
        async for job, digest in pool.run(DigestJob(side, chunk, buckets, KEY) for side, chunk in chunks):
            sums[job.side] += digest
        source, copy = sums[Side.SOURCE], sums[Side.TARGET]
        found = await find_differences(pool, chunks, source, copy, match, KEY)
    return source, copy, found


def expected(source: Counter[Row], copy: Counter[Row], match: tuple[str, ...]) -> tuple[int, int, int]:
    """different, missing, extra by the plainest means."""
    lacking, surplus = source - copy, copy - source
    if not match:
        return 0, lacking.total(), surplus.total()
    places = [COLUMNS.index(name) for name in match]
    lacking_keys = {tuple(row[place] for place in places) for row in lacking}
    surplus_keys = {tuple(row[place] for place in places) for row in surplus}
    return (
        len(lacking_keys & surplus_keys),
        len(lacking_keys - surplus_keys),
        len(surplus_keys - lacking_keys),
    )


def chunked(side: Side, content: list[Row], cuts: int) -> Contents:
    return {(side, number): content[number :: cuts + 1] for number in range(cuts + 1)}


@settings(max_examples=150)
@given(
    st.lists(rows, max_size=25),
    st.lists(rows, max_size=25),
    st.integers(0, 3),
    st.sampled_from([1, 2, 64, 1024]),
    st.sampled_from([1, 3, 1_000_000]),
)
async def test_rows_without_a_key_are_compared_as_multisets(
    source: list[Row], copy: list[Row], cuts: int, buckets: int, rows_a_pass: int
) -> None:
    """Repeated rows count as often as they stand there."""
    contents = chunked(Side.SOURCE, source, cuts) | chunked(Side.TARGET, copy, cuts)
    with mock.patch.object(digests, "_ROWS_A_PASS", rows_a_pass):
        digest, other, found = await compare(contents, (), buckets)
    assert (digest == other) == (Counter(source) == Counter(copy))
    assert (digest.rows, other.rows) == (len(source), len(copy))
    assert (found.different, found.missing, found.extra) == expected(Counter(source), Counter(copy), ())


@settings(max_examples=150)
@given(
    st.lists(rows, max_size=25, unique_by=lambda row: row[0]),
    st.lists(rows, max_size=25, unique_by=lambda row: row[0]),
    st.integers(0, 3),
    st.sampled_from([1, 64]),
    st.sampled_from([1, 2, 1_000_000]),
)
async def test_rows_with_a_key_are_paired_by_it(
    source: list[Row], copy: list[Row], cuts: int, buckets: int, rows_a_pass: int
) -> None:
    """One key with two contents is one difference, also where the two lie in different passes."""
    contents = chunked(Side.SOURCE, source, cuts) | chunked(Side.TARGET, copy, cuts)
    with mock.patch.object(digests, "_ROWS_A_PASS", rows_a_pass):
        _, _, found = await compare(contents, ("id",), buckets)
    counts = (found.different, found.missing, found.extra)
    assert counts == expected(Counter(source), Counter(copy), ("id",))
    assert len(found.examples) == min(sum(counts), 10)


@given(st.lists(rows, max_size=40), st.permutations(range(40)))
async def test_neither_order_nor_chunks_matter(content: list[Row], order: list[int]) -> None:
    """A copy lies on other pages than production."""
    shuffled = [content[place] for place in order if place < len(content)]
    contents = chunked(Side.SOURCE, content, 0) | chunked(Side.TARGET, shuffled, 3)
    source, copy, found = await compare(contents, ("id",))
    assert source == copy
    assert found == Differences()


async def test_examples_name_a_difference_by_the_copys_key() -> None:
    """Which columns differ, what is lacking, what is too many; long keys are cut."""
    long = b"k" * 100
    contents: Contents = {
        (Side.SOURCE, 0): [(b"1", b"a", b"b"), (b"2", b"a", b"b"), (b"3", b"\\N", b"b"), (long, b"", b"")],
        (Side.TARGET, 0): [(b"1", b"x", b"b"), (b"2", b"x", b"y"), (b"4", b"a", b"b")],
    }
    _, _, found = await compare(contents, ("id",))
    assert found.examples == [
        "id = 1: a differs",
        'id = 2: a, "B" differ',
        "id = 3: the copy lacks it",
        "id = 4: only the copy has it",
        f"id = {'k' * 60}...: the copy lacks it",
    ]
    _, _, without = await compare(contents, ())
    assert set(without.examples) == {
        "a row without a key: the copy lacks it",
        "a row without a key: only the copy has it",
    }
    _, _, by_two = await compare({(Side.SOURCE, 0): [(b"1", b"\\N", b"b")], (Side.TARGET, 0): []}, ("B", "a"))
    assert by_two.examples == ['"B" = b, a = NULL: the copy lacks it']


async def test_a_key_of_another_command_gives_other_digests() -> None:
    """Nobody can make two rows whose digests meet, for the key is made anew each time."""
    line = [b"1\ta\tb"]
    assert not np.array_equal(digests._digests(line, KEY), digests._digests(line, KEY[::-1]))
    job = DigestJob(Side.SOURCE, chunk_of(0), 64, KEY)
    assert KEY.hex() not in repr(job)
    assert repr(KEY) not in repr(job)


@pytest.mark.parametrize("buckets", [1, 65536])
def test_digests_of_two_chunks_add_up(buckets: int) -> None:
    """Sums run over and stay equal."""
    most = np.full((buckets, 2), np.iinfo(np.uint64).max, dtype=np.uint64)
    one = Digest(np.ones(buckets, dtype=np.int64), most)
    assert one + one + one == one + (one + one)
    assert (one + one).rows == 2 * buckets
    assert one + Digest.empty(buckets) == one
    assert one != one + one
    assert one.differing(Digest.empty(buckets)).tolist() == list(range(buckets))
