"""Which columns hold values of each other, though no foreign key says so: an address in ``messages`` and in ``guests``.

Of each column digests of its values are kept, never a value. A digest means something in this process only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.model import ColumnName

# Fewer values in common may be chance: what forms are filled in with, or a tester's own address.
_ENOUGH: Final = 3
# Shorter ones are codes and flags.
_SHORTEST: Final = 5


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that hold values of each other, in the order in which they were asked for; by column, how many of its
    different values others have, and how many it has."""

    columns: dict[ColumnName, tuple[int, int]]


class Overlaps:
    """Digests of the different values of columns."""

    def __init__(self) -> None:
        self._digests: dict[ColumnName, npt.NDArray[np.int64]] = {}

    def add(self, column: ColumnName, values: Iterable[bytes]) -> None:
        """Remember the values of a column that was not added before."""
        digests = [hash(value) for value in values if len(value) >= _SHORTEST]
        if len(digests) >= _ENOUGH:
            self._digests[column] = np.unique(np.array(digests, np.int64))

    def groups(self, columns: Sequence[ColumnName]) -> list[Group]:
        """Which of the columns share values with others of them; a column is in one group at the most."""
        asked = [column for column in columns if column in self._digests]
        if len(asked) < 2:
            return []
        digests = np.concatenate([self._digests[column] for column in asked])
        owners = np.repeat(np.arange(len(asked)), [len(self._digests[column]) for column in asked])
        order = np.argsort(digests, kind="stable")
        digests, owners = digests[order], owners[order]
        # A digest that several columns have stands in a run; one that a single column has is of no interest.
        starts = np.flatnonzero(np.r_[True, digests[1:] != digests[:-1]])
        lengths = np.diff(np.r_[starts, len(digests)])
        shared: Counter[tuple[int, int]] = Counter()
        for start, length in zip(starts[lengths > 1].tolist(), lengths[lengths > 1].tolist(), strict=True):
            shared.update(combinations(owners[start : start + length].tolist(), 2))
        leaders = list(range(len(asked)))
        for (one, other), count in shared.items():
            if count >= _ENOUGH:
                lower, upper = sorted((leaders[one], leaders[other]))
                leaders = [lower if leader == upper else leader for leader in leaders]
        members: dict[int, list[int]] = defaultdict(list)
        for place, leader in enumerate(leaders):
            members[leader].append(place)
        return [self._group(asked, places) for places in members.values() if len(places) > 1]

    def _group(self, asked: Sequence[ColumnName], places: Sequence[int]) -> Group:
        own = [self._digests[asked[place]] for place in places]
        values, times = np.unique(np.concatenate(own), return_counts=True)
        common = values[times > 1]
        counts = ((int(np.isin(digests, common).sum()), len(digests)) for digests in own)
        return Group(dict(zip((asked[place] for place in places), counts, strict=True)))
