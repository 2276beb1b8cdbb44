"""Arrays: any mask, element by element."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import ServerFailed
from transform import arraytext
from transform.cmac import binary_buffers
from transform.masks.base import Mask
from transform.masks.choosing import join, merge, per_value, scalar

# The bytes that arraytext cannot be cut by delimiters at, and those that make an element stand in quotes.
_STRUCTURE: Final = np.zeros(256, dtype=np.bool_)
_STRUCTURE[list(b'{}"\\')] = True
_QUOTED: Final = _STRUCTURE.copy()
_QUOTED[list(b",; \t\n\v\f\r")] = True


class ArrayMask(Mask):
    """Applies ``element`` to all elements of all arrays of a column at once. Shapes, bounds and NULL elements stay.

    ``delimiter`` is what ``arraytext.delimiter_of`` says of the elements' type.
    """

    def __init__(self, element: Mask, delimiter: bytes = b",") -> None:
        self.element = element
        self._delimiter = delimiter

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        simple = _simple(values)
        rows, others = np.flatnonzero(simple), np.flatnonzero(~simple)
        lists = pc.split_pattern(pc.binary_slice(values.take(pa.array(rows)), 1, -1), self._delimiter)
        plain = lists.flatten()
        parsed = [None if value is None else self._parse(value) for value in values.take(pa.array(others)).to_pylist()]
        elements = pa.concat_arrays(
            [
                pc.if_else(pc.equal(plain, scalar(b"NULL")), scalar(None), plain),
                pa.array([element for array in parsed if array is not None for element in array[1]], pa.binary()),
            ]
        )
        written = self._quote(self.element.apply(elements))
        joined = pc.binary_join(
            pa.ListArray.from_arrays(lists.offsets, written.slice(0, len(plain))), scalar(self._delimiter)
        )
        return merge(
            len(values),
            (rows, join(b"{", joined, b"}")),
            (others, self._nest(parsed, written.slice(len(plain)).to_pylist())),
        )

    def _parse(self, value: bytes) -> tuple[arraytext.Shape, list[bytes | None]]:
        try:
            return arraytext.parse(value, self._delimiter)
        except ValueError:
            raise ServerFailed("a value of an array column is not the text of an array.") from None

    def _nest(
        self, parsed: list[tuple[arraytext.Shape, list[bytes | None]] | None], written: list[bytes]
    ) -> pa.BinaryArray:
        arrays: list[bytes | None] = []
        start = 0
        for array in parsed:
            if array is None:
                arrays.append(None)
                continue
            shape, elements = array
            arrays.append(arraytext.nest(shape, written[start : start + len(elements)], self._delimiter))
            start += len(elements)
        return pa.array(arrays, pa.binary())

    def _quote(self, elements: pa.BinaryArray) -> pa.BinaryArray:
        """``arraytext.quote`` for a column."""
        offsets, data = binary_buffers(elements)
        starts = (offsets - offsets[0]).astype(np.int64)
        lengths = np.diff(starts)
        suspect = (per_value(_QUOTED[data[int(offsets[0]) : int(offsets[-1])]], starts) > 0) | (lengths == 0)
        suspect |= lengths == len(b"NULL")
        if elements.null_count:  # which may lie over bytes
            suspect |= elements.is_null().to_numpy(zero_copy_only=False)
        rows, others = np.flatnonzero(suspect), np.flatnonzero(~suspect)
        quoted = [arraytext.quote(element, self._delimiter) for element in elements.take(pa.array(rows)).to_pylist()]
        if not quoted:
            return elements
        return merge(len(elements), (rows, pa.array(quoted, pa.binary())), (others, elements.take(pa.array(others))))


def _simple(values: pa.BinaryArray) -> npt.NDArray[np.bool_]:
    """Which arrays have one dimension, bounds from 1, at least one element, and none in quotes."""
    offsets, data = binary_buffers(values)
    data = data[int(offsets[0]) : int(offsets[-1])]
    starts = (offsets - offsets[0]).astype(np.int64)
    simple: npt.NDArray[np.bool_] = (per_value(_STRUCTURE[data], starts) == 2) & (np.diff(starts) > 2)
    simple &= values.is_valid().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(simple)
    simple[rows] = (data[starts[rows]] == ord("{")) & (data[starts[rows + 1] - 1] == ord("}"))
    return simple
