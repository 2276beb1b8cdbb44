"""Free text: Latin of the same length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transform.cmac import Prf, binary_buffers
from transform.masks.base import (
    TEXT,
    Build,
    Example,
    Group,
    Mask,
    MaskKind,
    NoParams,
    lossy,
    register,
)
from transform.masks.choosing import below, lanes, per_value

_WORDS: Final = """lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et
    dolore magna aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea commodo
    consequat duis aute irure in reprehenderit voluptate velit esse cillum eu fugiat nulla pariatur excepteur sint
    occaecat cupidatat non proident sunt culpa qui officia deserunt mollit anim id est laborum at vero eos accusamus
    iusto odio dignissimos ducimus blanditiis praesentium voluptatum deleniti atque corrupti quos dolores quas
    molestias similique mollitia animi fuga harum quidem rerum facilis expedita distinctio""".split()
_WORDS_IN_PAGE: Final = 8192
_LINE_BREAKS: Final = (ord("\n"), ord("\r"))


@dataclass(frozen=True, slots=True, repr=False)
class _Page:
    """A page of words, which stands there twice, and where each word of the first begins."""

    twice: bytes
    starts: npt.NDArray[np.int64]


class Lorem(Mask):
    """Replaces text by as many characters of Latin; line breaks stay where they are.

    The domain's key writes one long page of words, and a value's tag says with which word to begin. The output is
    ASCII: one byte for each character of the value.
    """

    def __init__(self, prf: Prf) -> None:
        self._prf = prf

    @cached_property
    def _page(self) -> _Page:
        # Written when it is first asked for: a plan has hundreds, and a process that masks need not see all their rows.
        counters = np.arange(_WORDS_IN_PAGE // 8 * 2, dtype="<u8").reshape(-1, 2)
        numbers = self._prf.blocks(counters.view(np.uint8)).view("<u2").reshape(-1)
        words = [_WORDS[number] for number in (numbers.astype(np.uint32) * len(_WORDS) >> 16).tolist()]
        lengths = np.array([len(word) + 1 for word in words])
        return _Page((" ".join(words) + " ").encode() * 2, np.cumsum(lengths) - lengths)

    def __reduce__(self) -> tuple[type[Lorem], tuple[Prf]]:
        return (Lorem, (self._prf,))

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        offsets, data = binary_buffers(values)
        data = data[offsets[0] : offsets[-1]]
        begins = None  # the bytes of UTF-8 that begin a character; None where all do
        lengths = offsets[1:] - offsets[:-1]
        if data.size and data.max() >= 0x80:
            begins = (data & 0xC0) != 0x80
            lengths = per_value(begins, (offsets - offsets[0]).astype(np.int64))
        starts = self._page.starts
        starts = starts[below(lanes(self._prf.tags(values))[0], len(starts))]
        text = bytearray().join(self._cut(starts, lengths))
        made = np.frombuffer(text, dtype=np.uint8)
        made_offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        some = lengths > 0
        made[made_offsets[:-1][some]] -= ord("a") - ord("A")
        last = made_offsets[1:][some] - 1
        made[last[made[last] == ord(" ")]] = ord(".")
        if data.size and data.min() <= max(_LINE_BREAKS):
            breaks = np.flatnonzero((data == _LINE_BREAKS[0]) | (data == _LINE_BREAKS[1]))
            made[breaks if begins is None else np.cumsum(begins)[breaks] - 1] = data[breaks]
        valid = values.is_valid().buffers()[1] if values.null_count else None
        buffers = [valid, pa.py_buffer(made_offsets), pa.py_buffer(made)]
        return pa.Array.from_buffers(pa.binary(), len(values), buffers)

    def _cut(self, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.integer]) -> list[bytes]:
        """So many bytes of the page from each start on. The page goes on at its beginning where it ends."""
        page = self._page.twice
        if lengths.size and (longest := int(lengths.max())) > len(page) // 2:
            page *= longest // len(page) + 2
        return [page[start:end] for start, end in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)]


def _build_lorem(params: NoParams, build: Build) -> Mask:
    return Lorem(build.prf)


register(
    MaskKind(
        name="text.lorem",
        group=Group.TEXT,
        summary="Latin words of the same length, with the same line breaks",
        types=TEXT,
        params=NoParams,
        build=_build_lorem,
        uniqueness=lossy,
        examples=(Example("Ask for Mr Keller at the desk"),),
    )
)
