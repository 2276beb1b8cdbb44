"""Chunks of a clone are grouped so that small tables share a transaction and large chunks have their own."""

from __future__ import annotations

from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st

from capture.model import TableName
from capture.snapshot import Chunk
from control.rows import _MOST_SMALL, _SMALL_BYTES, _together

SIZES = st.one_of(st.integers(0, 1000), st.integers(0, 2 * _SMALL_BYTES))


@given(st.lists(SIZES, max_size=100))
def test_every_chunk_is_in_one_group_and_only_small_ones_share(sizes: list[int]) -> None:
    """In their order; as many together as there may be."""
    chunks = [Chunk(TableName("public", f"t{place}"), ("a",), 0, 1, size) for place, size in enumerate(sizes)]
    groups = list(_together(chunks))
    assert list(chain(*groups)) == chunks
    for group in groups:
        assert len(group) == 1 or sum(chunk.bytes for chunk in group) <= _SMALL_BYTES
        assert len(group) <= _MOST_SMALL
    for group, following in pairwise(groups):
        assert len(group) == _MOST_SMALL or sum(chunk.bytes for chunk in (*group, following[0])) > _SMALL_BYTES
