"""Which rows belong to a subset: the numbers tell what a plain fixpoint over sets tells, for any references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.model import TableName
from transform.closure import Collision, RowTags, are_among, close, join_tags, tag
from transform.cmac import Prf
from transform.subset import Reference, Subset, SubsetTable

NAMES = [TableName("public", name) for name in "abcd"]
KEY = ("id",)


@dataclass(frozen=True)
class Scene:
    """Tables with references between them; what each row refers to, by reference; and whose condition is true."""

    subset: Subset
    counts: Mapping[TableName, int]
    true: Mapping[TableName, list[bool]]
    to: list[list[int | None]]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    names = NAMES[: draw(st.integers(1, 4))]
    pairs = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names), st.booleans()), max_size=6))
    references = [
        Reference(f"r{number}", table, (f"to{number}",), other, KEY, asks)
        for number, (table, other, asks) in enumerate(pairs)
    ]
    counts = {name: draw(st.integers(0, 7)) for name in names}
    tables = {
        name: SubsetTable(
            name,
            KEY,
            None,
            any(each.asks for each in references if each.table == name),
            False,
            (KEY, *(each.columns for each in references if each.table == name)),
        )
        for name in names
    }
    true = {name: draw(st.lists(st.booleans(), min_size=count, max_size=count)) for name, count in counts.items()}
    to = []
    for each in references:
        rows = counts[each.referenced_table]
        target = st.none() if not rows else st.one_of(st.none(), st.integers(0, rows - 1))
        to.append(draw(st.lists(target, min_size=counts[each.table], max_size=counts[each.table])))
    return Scene(Subset(tables, tuple(references), ""), counts, true, to)


def plainly(scene: Scene) -> tuple[set[tuple[TableName, int]], set[tuple[TableName, int]]]:
    """The members, and those of them that are only needed."""
    members: set[tuple[TableName, int]] = set()

    def is_chosen(name: TableName, row: int) -> bool:
        asked = [
            (each.referenced_table, to[row])
            for each, to in zip(scene.subset.references, scene.to, strict=True)
            if each.table == name and each.asks
        ]
        return scene.true[name][row] and (not scene.subset.tables[name].asks or any(each in members for each in asked))

    while True:
        chosen = {(name, row) for name, count in scene.counts.items() for row in range(count) if is_chosen(name, row)}
        needed = {
            (each.referenced_table, place)
            for each, to in zip(scene.subset.references, scene.to, strict=True)
            for row, place in enumerate(to)
            if place is not None and (each.table, row) in members
        }
        if chosen | needed <= members:
            return members, members - chosen
        members |= chosen | needed


@given(scenes())
def test_members_are_the_least_that_fits(scene: Scene) -> None:
    """Whatever the references, circles among them; and who is only needed is known."""
    keys = {name: np.arange(1, count + 1, dtype=np.uint64) * 11 for name, count in scene.counts.items()}
    tags = {}
    for name, table in scene.subset.tables.items():
        groups = {KEY: keys[name]}
        for each, to in zip(scene.subset.references, scene.to, strict=True):
            if each.table == name:
                other = keys[each.referenced_table]
                groups[each.columns] = np.array([0 if at is None else other[at] for at in to], np.uint64)
        tags[name] = join_tags(table, [RowTags(np.array(scene.true[name], np.bool_), groups)])
    found = close(scene.subset, tags)
    members, pulled = plainly(scene)
    for name, ours in found.items():
        assert ours.all.tolist() == sorted(int(keys[name][row]) for other, row in members if other == name)
        assert ours.pulled.tolist() == sorted(int(keys[name][row]) for other, row in pulled if other == name)


def test_equal_tags_of_keys_are_refused() -> None:
    """With another key of the hash they differ."""
    table = SubsetTable(NAMES[0], KEY, None, False, False, (KEY,))
    tags = RowTags(np.ones(2, np.bool_), {KEY: np.array([7, 7], np.uint64)})
    with pytest.raises(Collision, match=str(NAMES[0])):
        close(Subset({NAMES[0]: table}, (), ""), {NAMES[0]: tags})


@given(st.lists(st.tuples(st.one_of(st.none(), st.binary(max_size=40)), st.binary(max_size=3)), max_size=40))
def test_a_tag_tells_values_and_nulls(rows: list[tuple[bytes | None, bytes]]) -> None:
    """Equal for equal values, 0 where one is NULL, whatever else is in the batch."""
    prf = Prf(bytes(16))
    escaped = [(None if first is None else first.hex().encode(), second.hex().encode()) for first, second in rows]
    columns = [pa.array([row[place] for row in escaped], pa.binary()) for place in range(2)]
    tags = tag(prf, columns).tolist()
    assert [each == 0 for each in tags] == [None in row for row in escaped]
    by_tag = dict(zip(tags, escaped, strict=True))
    assert all(by_tag[each] == row for each, row in zip(tags, escaped, strict=True) if each)
    for each, row in zip(tags, escaped, strict=True):
        assert tag(prf, [pa.array([value], pa.binary()) for value in row]).tolist() == [each]


@given(st.lists(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_who_is_among_the_members(asked: list[int], members: set[int]) -> None:
    """None of none, and so on."""
    found = are_among(np.array(asked, np.uint64), np.array(sorted(members), np.uint64))
    assert found.tolist() == [each in members for each in asked]
