"""In which steps the changes of one table may be applied, many at once, so that what comes out is the same.

Changes of different rows may change places; changes of one row may not. So the first change of every row makes the
first level, the second the next, and within a level no row occurs twice: its deletes, its updates and its inserts are
three statements. A change of a row's key touches two rows; it stands alone, and nothing passes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from capture.model import Codes, Numbers, Operation

# Fewer are not worth a statement over arrays.
FEW: Final = 16
# Where more than one change in so many stands alone, order is all there is.
_RARE: Final = 8

_ORDER: Final = (Operation.DELETE, Operation.UPDATE, Operation.INSERT)


class Step(NamedTuple):
    """Changes by their places, ascending. With an ``operation`` all are of that one, no two are of the same row, and
    they are done at once; without, one by one in that order."""

    operation: Operation | None
    places: Numbers


def steps(operations: Codes, keys: Numbers, stands_alone: npt.NDArray[np.bool_]) -> list[Step]:
    """The steps for n changes in order; ``keys`` (n) are equal where the row is the same.

    ``stands_alone`` marks the changes of a key. Where nothing would be done at once, there is one step, and nothing
    changes its place: a unique value may have moved from one row to another.
    """
    count = len(operations)
    alone = np.flatnonzero(stands_alone)
    if count >= FEW and len(alone) * _RARE <= count:
        found = list(_between(operations, keys, alone))
        if any(step.operation is not None for step in found):
            return found
    return [Step(None, np.arange(count))]


def _between(operations: Codes, keys: Numbers, alone: Numbers) -> Iterator[Step]:
    count = len(operations)
    start = 0
    for place in (*alone.tolist(), count):
        if place > start:
            yield from _levels(operations, keys, start, place)
        if place < count:
            yield Step(None, np.array([place]))
        start = place + 1


def _levels(operations: Codes, keys: Numbers, start: int, stop: int) -> Iterator[Step]:
    order, edges = _by_level(keys[start:stop])
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if last - first < FEW:
            # Levels only get smaller. What is left is in its own order again.
            yield Step(None, start + np.sort(order[first:]))
            return
        level = start + order[first:last]
        for operation in _ORDER:
            places = level[operations[level] == operation]
            if len(places):
                yield Step(operation if len(places) >= FEW else None, places)


def _by_level(keys: Numbers) -> tuple[Numbers, Numbers]:
    """The places in ascending order of level, then of place; and where each level begins, and the last ends."""
    count = len(keys)
    by_key = np.argsort(keys, kind="stable")
    ordered = keys[by_key]
    is_first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    if is_first.all():
        return np.arange(count), np.array([0, count])
    running = np.arange(count)
    levels = np.empty(count, np.int64)
    levels[by_key] = running - np.maximum.accumulate(np.where(is_first, running, 0))
    order = np.argsort(levels, kind="stable")
    return order, np.searchsorted(levels[order], np.arange(levels.max() + 2))
