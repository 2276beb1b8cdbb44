"""Which rows belong to a subset, computed from all that tell it: tags of keys and references, and conditions.

A *tag* is a keyed hash of some columns of a row, 64 bits; 0 where one of them is NULL. Rows are numbered by their
place; a reference is followed from tag to tag. So nothing but numbers is held, 8 bytes for each row and group of
columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import TableName
from transform.cmac import Prf
from transform.subset import Reference, Subset, SubsetTable

TagArray: TypeAlias = npt.NDArray[np.uint64]
_Flags: TypeAlias = npt.NDArray[np.bool_]
_Places: TypeAlias = npt.NDArray[np.int64]


class Collision(Exception):
    """Two keys of ``table`` have the same tag; with another key of the hash they have not, unless they are equal."""

    def __init__(self, table: TableName) -> None:
        super().__init__(str(table))
        self.table = table


@dataclass(frozen=True, slots=True, eq=False)
class RowTags:
    """What is known of the rows of one table, n of them: whether its condition is true (n), and for each of its groups
    of columns the tags (n)."""

    condition: _Flags
    groups: Mapping[tuple[str, ...], TagArray]


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """The tags of the keys of the copied rows of one table, ascending, and of those that are needed only."""

    all: TagArray
    pulled: TagArray


def tag(prf: Prf, columns: list[pa.BinaryArray]) -> TagArray:
    """The tags of rows by these columns, as COPY text or not, so long as it is always the same."""
    joined = columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, pa.scalar(b"\t", pa.binary()))
    tags = prf.tags(joined).view(np.uint64).reshape(-1, 2)[:, 0].copy()
    tags[tags == 0] = 1
    if joined.null_count:
        tags[joined.is_null().to_numpy(zero_copy_only=False)] = 0
    return tags


def join_tags(table: SubsetTable, parts: list[RowTags]) -> RowTags:
    """The tags of a table's rows, which came in parts."""
    condition = np.concatenate([np.zeros(0, np.bool_), *(part.condition for part in parts)])
    groups = {
        group: np.concatenate([np.zeros(0, np.uint64), *(part.groups[group] for part in parts)])
        for group in table.groups
    }
    return RowTags(condition, groups)


def close(subset: Subset, tags: Mapping[TableName, RowTags]) -> dict[TableName, Members]:
    """The members of each table. Raises ``Collision``."""
    for name, table in subset.tables.items():
        _refuse_equal(name, tags[name].groups[table.key])
    links = [_Link(reference, tags) for reference in subset.references]
    members = {name: tags[name].condition & (not table.asks) for name, table in subset.tables.items()}
    fresh: dict[TableName, _Places] = {name: np.flatnonzero(flags) for name, flags in members.items()}
    while any(places.size for places in fresh.values()):
        found: dict[TableName, list[_Places]] = {name: [] for name in subset.tables}
        for link in links:
            own, referenced = link.reference.table, link.reference.referenced_table
            found[referenced].append(link.parents(fresh[own]))
            if link.reference.asks:
                children = link.children(fresh[referenced])
                found[own].append(children[tags[own].condition[children]])
        for name, places in found.items():
            new = np.unique(np.concatenate([np.zeros(0, np.int64), *places]))
            fresh[name] = new[~members[name][new]]
            members[name][fresh[name]] = True
    return {name: _members(table, tags[name], members, links) for name, table in subset.tables.items()}


def _members(table: SubsetTable, tags: RowTags, members: Mapping[TableName, _Flags], links: list[_Link]) -> Members:
    chosen = tags.condition.copy()
    if table.asks:
        comes = np.zeros(len(chosen), np.bool_)
        for link in links:
            if link.reference.table == table.table and link.reference.asks:
                comes |= (link.to >= 0) & _at(members[link.reference.referenced_table], link.to)
        chosen &= comes
    own = members[table.table]
    keys = tags.groups[table.key]
    return Members(np.sort(keys[own]), np.sort(keys[own & ~chosen]))


def _at(flags: _Flags, places: _Places) -> _Flags:
    return flags[np.maximum(places, 0)] if flags.size else np.zeros(len(places), np.bool_)


class _Link:
    """A reference between numbered rows: ``to`` is the row that each row of its table refers to, -1 for none."""

    def __init__(self, reference: Reference, tags: Mapping[TableName, RowTags]) -> None:
        self.reference = reference
        own = tags[reference.table].groups[reference.columns]
        other = tags[reference.referenced_table].groups[reference.referenced_columns]
        order = np.argsort(other)
        ordered = other[order]
        _refuse_equal(reference.referenced_table, ordered[ordered != 0])
        at = np.searchsorted(ordered, own)
        at[at == len(ordered)] = 0
        is_there = (own != 0) & (ordered[at] == own) if ordered.size else np.zeros(len(own), np.bool_)
        self.to: _Places = np.where(is_there, order[at] if order.size else -1, -1)
        # The rows of the table by what they refer to.
        self._by_parent = np.argsort(self.to, kind="stable") if reference.asks else np.zeros(0, np.int64)
        self._parents = self.to[self._by_parent]

    def parents(self, places: _Places) -> _Places:
        """What these rows refer to."""
        found: _Places = self.to[places]
        return found[found >= 0]

    def children(self, places: _Places) -> _Places:
        """The rows that refer to these."""
        first = np.searchsorted(self._parents, places, side="left")
        counts = np.searchsorted(self._parents, places, side="right") - first
        if not counts.sum():
            return np.zeros(0, np.int64)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found: _Places = self._by_parent[np.repeat(first, counts) + within]
        return found


def _refuse_equal(table: TableName, tags: TagArray) -> None:
    ordered = np.sort(tags)
    if (ordered[1:] == ordered[:-1]).any():
        raise Collision(table)


def are_among(tags: TagArray, ordered: TagArray) -> _Flags:
    """Which of the tags are among those, which are ascending."""
    at = np.searchsorted(ordered, tags)
    at[at == len(ordered)] = 0
    found: _Flags = ordered[at] == tags if ordered.size else np.zeros(len(tags), np.bool_)
    return found
