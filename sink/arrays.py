"""Arrow columns as ``text[]`` parameters, in PostgreSQL's binary format: nothing is quoted, nothing is copied twice."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_TEXT_OID: Final = 25
# Dimensions, whether there are nulls, the element's type; then size and lower bound of the one dimension.
_HEADER: Final = struct.Struct("!iiIii")

# Arrow guesses the type of a Python value anew at every call, which takes it longer than all else here.
_NULL: Final = pa.scalar(-1, pa.int32())
_NOTHING: Final = pa.scalar(b"", pa.binary())


def text_array(values: pa.BinaryArray) -> bytes:
    """One element a value; null is NULL. ``values`` is not empty."""
    lengths = pc.binary_length(values)
    if values.null_count:
        lengths, values = lengths.fill_null(_NULL), values.fill_null(_NOTHING)
    edges = np.arange(0, 4 * len(values) + 1, 4, dtype=np.int32)
    prefixes = pa.BinaryArray.from_buffers(
        pa.binary(), len(values), [None, pa.py_buffer(edges), pa.py_buffer(lengths.to_numpy().astype(">i4"))]
    )
    elements = pc.binary_join_element_wise(prefixes, values, _NOTHING)
    offsets = np.frombuffer(elements.buffers()[1], np.int32)[elements.offset : elements.offset + len(elements) + 1]
    body = memoryview(elements.buffers()[2])[offsets[0] : offsets[-1]]
    return b"".join((_HEADER.pack(1, 1, _TEXT_OID, len(values), 1), body))
