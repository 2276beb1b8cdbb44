"""What stands for text that is not of the kind that a mask is for: a letter and a tag, or nothing."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from capture.model import ServerFailed, counted
from transform.masks.choosing import TextMask, fixed_width, hexadecimal, join

# A letter and 16 hexadecimal digits at the least; 32 where there is room.
LEAST: Final = 17
_MOST: Final = 33


def opaque(mask: TextMask, values: pa.BinaryArray, limit: int | None) -> pa.BinaryArray:
    """``x`` and up to 32 hexadecimal digits of each value's tag, in ``limit`` characters."""
    return join(b"x", fixed_width(hexadecimal(mask.tags(values), min(limit or _MOST, _MOST) - 1)))


def opaque_or_fail(name: str, what: str, mask: TextMask, values: pa.BinaryArray, limit: int | None) -> pa.BinaryArray:
    """The same; raises ``ServerFailed``, which says that the mask ``name`` met text that is no ``what``, where there
    is no room for a whole tag."""
    if limit is not None and limit < LEAST and (pc.max(pc.binary_length(values)).as_py() or 0):
        room = counted(limit, "character")
        raise ServerFailed(f"the mask {name} met text that is no {what}, and a tag instead does not fit into {room}.")
    return opaque(mask, values, limit)
