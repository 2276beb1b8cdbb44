"""Which columns hold values of each other, though no foreign key says so: an address in ``messages`` and in ``guests``.

Of each column digests of its values are kept, never a value. A digest means something in this process only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from capture.model import ColumnName

# Fewer values in common may be chance: what forms are filled in with, or a tester's own address.
_ENOUGH: Final = 3
# So many different values are no states and kinds, which many columns have in common.
_MANY: Final = 26
# Shorter ones are codes and flags.
_SHORTEST: Final = 5


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that hold values of each other, in the order in which they were asked for; by column, how many of its
    different values others have, and how many it has."""

    columns: dict[ColumnName, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Shared:
    """A column that another one has ``common`` of its ``count`` different values in common with."""

    other: ColumnName
    common: int
    count: int


class Overlaps:
    """Digests of the different values of columns."""

    def __init__(self) -> None:
        self._digests: dict[ColumnName, npt.NDArray[np.int64]] = {}

    def add(self, column: ColumnName, values: Iterable[bytes]) -> None:
        """Remember the values of a column that was not added before."""
        digests = [hash(value) for value in values if len(value) >= _SHORTEST]
        if len(digests) >= _ENOUGH:
            self._digests[column] = np.unique(np.array(digests, np.int64))

    def held_by(
        self, columns: Iterable[ColumnName], others: Iterable[ColumnName]
    ) -> dict[ColumnName, tuple[ColumnName, int, int]]:
        """By column that has many different values, most of which one of the others has: which one, how many of them,
        and how many there are."""
        known = [other for other in others if other in self._digests]
        if not known:
            return {}
        of_any = np.unique(np.concatenate([self._digests[other] for other in known]))
        found: dict[ColumnName, tuple[ColumnName, int, int]] = {}
        for column in columns:
            own = self._digests.get(column)
            # Most columns have none of them, which one look shows.
            if own is None or len(own) < _MANY or not _is_most(_common(own, of_any), own):
                continue
            common = {other: _common(own, self._digests[other]) for other in known}
            best = max(common, key=common.__getitem__)
            if _is_most(common[best], own):
                found[column] = (best, common[best], len(own))
        return found

    def sharing(self, columns: Iterable[ColumnName], others: Iterable[ColumnName]) -> dict[ColumnName, list[Shared]]:
        """By column, those of the others with the same values: enough, and most of what one of the two has. What has
        the most in common comes first."""
        known = [other for other in others if other in self._digests]
        if not known:
            return {}
        of_any = np.unique(np.concatenate([self._digests[other] for other in known]))
        found: dict[ColumnName, list[Shared]] = {}
        for column in columns:
            own = self._digests.get(column)
            if own is None or _common(own, of_any) < _ENOUGH:
                continue
            shared = [Shared(other, _common(own, self._digests[other]), len(own)) for other in known]
            shared = [
                each
                for each in shared
                if each.common >= _ENOUGH and 2 * each.common > min(each.count, len(self._digests[each.other]))
            ]
            if shared:
                found[column] = sorted(shared, key=lambda each: -each.common)
        return found

    def groups(self, columns: Sequence[ColumnName]) -> list[Group]:
        """Which of the columns share values with others of them; a column is in one group at the most."""
        asked = [column for column in columns if column in self._digests]
        if len(asked) < 2:
            return []
        digests = np.concatenate([self._digests[column] for column in asked])
        owners = np.repeat(np.arange(len(asked)), [len(self._digests[column]) for column in asked])
        order = np.argsort(digests, kind="stable")
        return [self._group(asked, places) for places in _united(digests[order], owners[order], len(asked))]

    def _group(self, asked: Sequence[ColumnName], places: Sequence[int]) -> Group:
        own = [self._digests[asked[place]] for place in places]
        values, times = np.unique(np.concatenate(own), return_counts=True)
        common = values[times > 1]
        counts = ((int(np.isin(digests, common).sum()), len(digests)) for digests in own)
        return Group(dict(zip((asked[place] for place in places), counts, strict=True)))


def _common(own: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> int:
    """How many of these digests are among the others, which may be a thousand times as many; both are ascending."""
    places = np.searchsorted(others, own)
    return int((others[np.minimum(places, len(others) - 1)] == own).sum())


def _is_most(count: int, own: npt.NDArray[np.int64]) -> bool:
    return count * 2 > len(own)


def _united(digests: npt.NDArray[np.int64], owners: npt.NDArray[np.int64], count: int) -> list[list[int]]:
    """The owners that share enough digests, also by way of others; ``digests`` are ascending, each of the owner beside
    it."""
    # A digest's owners stand in a run; one that a single owner has is of no interest.
    starts = np.flatnonzero(np.r_[True, digests[1:] != digests[:-1]])
    lengths = np.diff(np.r_[starts, len(digests)])
    runs = np.repeat(np.arange(len(starts)), lengths)
    of_owner = np.split(runs[np.argsort(owners, kind="stable")], np.cumsum(np.bincount(owners, minlength=count))[:-1])
    # How many of a run's owners are in no group: hundreds of columns may hold the same names, and one look is enough.
    left = lengths.copy()
    is_free = np.ones(count, np.bool_)

    def take(taken: list[int]) -> None:
        is_free[taken] = False
        for owner in taken:
            left[of_owner[owner]] -= 1

    groups: list[list[int]] = []
    for first in range(count):
        if not is_free[first]:
            continue
        group, waiting = [first], [first]
        take(group)
        while waiting:
            own = of_owner[waiting.pop()]
            own = own[left[own] > 0]
            ends = np.cumsum(lengths[own])
            places = np.arange(lengths[own].sum()) + np.repeat(starts[own] - ends + lengths[own], lengths[own])
            shared = np.bincount(owners[places], minlength=count)
            found = np.flatnonzero((shared >= _ENOUGH) & is_free).tolist()
            take(found)
            group += found
            waiting += found
        if len(group) > 1:
            groups.append(sorted(group))
    return groups
