"""A mask for some rows: where a condition on the row is surely false, another mask, or none.

Unknown counts as true, for a value that might have to be masked must not pass because something beside it is NULL.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transform.masks.base import Mask, RowMask
from transform.masks.choosing import merge
from transform.predicates import Predicate


class ConditionalMask(RowMask):
    """``mask`` where ``condition`` is true or unknown, ``otherwise`` elsewhere; None keeps the value."""

    def __init__(self, condition: Predicate, mask: Mask | RowMask, otherwise: Mask | RowMask | None) -> None:
        self._condition = condition
        self._mask = mask
        self._otherwise = otherwise
        read = [*condition.columns]
        for part in (mask, otherwise):
            read += part.needs if isinstance(part, RowMask) else ()
        self.needs = tuple(dict.fromkeys(read))

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        divided = self.divided(len(values), siblings)
        if len(divided) == 1:
            return _apply(divided[0][0], values, siblings)
        parts = []
        for mask, rows in divided:
            at = pa.array(rows)
            beside = {name: column.take(at) for name, column in siblings.items()}
            parts.append((rows, _apply(mask, values.take(at), beside)))
        return merge(len(values), *parts)

    def divided(
        self, count: int, siblings: Mapping[str, pa.BinaryArray]
    ) -> list[tuple[Mask | RowMask | None, npt.NDArray[np.int64]]]:
        """Which mask is for which of so many rows, for those that are for any; None keeps their values."""
        found = self._condition.evaluate({name: siblings[name] for name in self._condition.columns}, count)
        spared = pc.invert(found).fill_null(False).to_numpy(zero_copy_only=False)
        parts = ((self._mask, np.flatnonzero(~spared)), (self._otherwise, np.flatnonzero(spared)))
        return [(mask, rows) for mask, rows in parts if len(rows)] or [(self._mask, parts[0][1])]


def _apply(
    mask: Mask | RowMask | None, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]
) -> pa.BinaryArray:
    match mask:
        case None:
            return values
        case RowMask():
            return mask.apply_rows(values, {name: siblings[name] for name in mask.needs})
        case _:
            return mask.apply(values)
