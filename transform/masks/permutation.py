"""Keyed permutations of numbers and of characters: what injective masks are made of.

All are Feistel networks over a pair (left, right) of mixed radix, as in FF1 (NIST SP 800-38G): in turn, one half is
shifted by a keyed function of the other, modulo its size. That permutes left_size * right_size pairs exactly, whatever
the sizes, so ranges need no walking, and a set inside a range is permuted by walking until the set is met again.
Everything is vectorised over the pairs; halves are below 2**60, numbers are ``uint64``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transform.cmac import Bytes, Prf, binary_buffers
from transform.masks.alphabets import Letters

Numbers = npt.NDArray[np.uint64]

ROUNDS: Final = 10

# How blocks hold numbers, on any machine.
_LITTLE_ENDIAN: Final[np.dtype[np.uint64]] = np.dtype("<u8")

# At most so many characters are permuted as one number: 10 of the largest radix, 64, are below 2**60 in each half.
_TOGETHER: Final = 20


def feistel(
    prf: Prf, left: Numbers, right: Numbers, left_size: Numbers | int, right_size: Numbers | int, tweak: Numbers | int
) -> tuple[Numbers, Numbers]:
    """Permute the pairs (left, right), each below its size. ``tweak``, below 2**56, names the permutation: what is
    permuted under one tweak is independent of another's. Sizes and tweaks may differ from pair to pair."""
    block = np.empty((len(left), 2), dtype=_LITTLE_ENDIAN)
    sizes = np.asarray(left_size, dtype=np.uint64), np.asarray(right_size, dtype=np.uint64)
    halves = left, right
    rounds = np.asarray(tweak, dtype=np.uint64) << np.uint64(8)
    for number in range(ROUNDS):
        turn = number & 1
        size = sizes[turn]
        block[:, 0] = halves[1 - turn]
        block[:, 1] = rounds + np.uint64(number)
        shifted = halves[turn] + prf.blocks(block.view(np.uint8)).view(_LITTLE_ENDIAN)[:, 0] % size
        shifted -= size * (shifted >= size)
        halves = (halves[0], shifted) if turn else (shifted, halves[1])
    return halves


def permute_range(prf: Prf, numbers: Numbers, left_size: int, right_size: int, tweak: int) -> Numbers:
    """Permute the numbers of [0, left_size * right_size)."""
    size = np.uint64(right_size)
    left, right = feistel(prf, numbers // size, numbers % size, left_size, right_size, tweak)
    return left * size + right


def walk(numbers: Numbers, step: Callable[[Numbers], Numbers], low: int, high: int) -> Numbers:
    """Permute the numbers of [low, high] by ``step``, a permutation of a larger set: it is taken again for those
    that left the range, until all are back."""
    out = step(numbers)
    outside = np.flatnonzero((out < np.uint64(low)) | (out > np.uint64(high)))
    while outside.size:
        again = step(out[outside])
        out[outside] = again
        outside = outside[(again < np.uint64(low)) | (again > np.uint64(high))]
    return out


# ------------------------------------------------------------------------------------------------- characters


def _table(*classes: tuple[int, int]) -> Bytes:
    table = np.zeros(256, dtype=np.uint8)
    for first, count in classes:
        table[first : first + count] = count
    return table


# How many characters there are in a byte's class; 0 for those that stay, and for the bytes of letters beyond ASCII.
_RADIX: Final = _table((ord("0"), 10), (ord("A"), 26), (ord("a"), 26))
_FIRST: Final = np.zeros(256, dtype=np.uint8)
for _first in (ord("0"), ord("A"), ord("a")):
    _FIRST[_first : _first + _RADIX[_first]] = _first


class Characters:
    """The characters of a column, and which of them a mask permutes.

    ``data`` (d,) is the column's bytes from ``offsets`` (n + 1, from 0) on, a copy to be written to. ``radix`` (d,)
    says how many characters each may become, counted from ``first`` (d,); those with radix 0 stay. By default
    digits become digits, letters become letters of their case, and all else stays; masks narrow that. A permutation
    stays one as long as what they narrow by is told by the characters that stay.

    ``letters`` are those beyond ASCII, as far as there are any and ``encoding``, production's, holds them. Their bytes
    have radix 0, and they move with the others.
    """

    def __init__(self, values: pa.BinaryArray, encoding: str) -> None:
        offsets, data = binary_buffers(values)
        self.offsets: npt.NDArray[np.int64] = (offsets - offsets[0]).astype(np.int64)
        self.data: Bytes = data[offsets[0] : offsets[-1]].copy()
        self.radix: Bytes = _RADIX.take(self.data)
        self.first: Bytes = _FIRST.take(self.data)
        self._values = values
        high = np.flatnonzero(self.data >= 0x80)
        self.letters = Letters(self.data, self.offsets, high, encoding) if high.size else None

    @property
    def digits(self) -> npt.NDArray[np.bool_]:
        """Which bytes are decimal digits."""
        found: npt.NDArray[np.bool_] = (self.data >= ord("0")) & (self.data <= ord("9"))
        return found

    def permute(self, prf: Prf, tweak: int = 0) -> None:
        """Permute the characters of each value that have a radix.

        Up to 20 of a value are permuted as one number; more are cut into pieces of equal size first. The case of
        letters plays no part.
        """
        every = self.radix
        if self.letters is not None:
            every = every.copy()
            every[self.letters.places] = self.letters.radix
            self.letters.lay(self.data)
        moving = np.flatnonzero(every != 0)
        radix, first = every.take(moving), self.first.take(moving)
        counts = np.diff(np.searchsorted(moving, self.offsets))
        pieces = -(-counts // _TOGETHER)
        # The piece's number in its value; it and the value's count of characters decide the piece's size.
        index = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        count, of = np.repeat(counts, pieces), np.repeat(pieces, pieces)
        length = count * (index + 1) // of - count * index // of
        halves = np.column_stack([length // 2, length - length // 2]).reshape(-1)

        # One row for each half, its characters to the left.
        shape = len(halves), int(halves.max(initial=0))
        inside = np.flatnonzero(np.arange(shape[1]) < halves[:, None])
        symbols = np.zeros(shape, dtype=np.uint8)
        symbols.reshape(-1)[inside] = self.data.take(moving) - first
        radixes = np.ones(shape, dtype=np.uint8)
        radixes.reshape(-1)[inside] = radix
        symbols, radixes = np.ascontiguousarray(symbols.T), np.ascontiguousarray(radixes.T).astype(np.uint64)
        number, size = np.zeros(len(halves), dtype=np.uint64), np.ones(len(halves), dtype=np.uint64)
        for symbol, base in zip(symbols, radixes, strict=True):
            number = number * base + symbol
            size *= base
        tweaks = index.astype(np.uint64) | np.uint64(tweak << 32)
        left, right = feistel(prf, number[::2], number[1::2], size[::2], size[1::2], tweaks)
        number[::2], number[1::2] = left, right
        for symbol, base in zip(symbols[::-1], radixes[::-1], strict=True):
            rest = number // base
            symbol[:] = number - rest * base
            number = rest
        self.data[moving] = np.ascontiguousarray(symbols.T).reshape(-1).take(inside) + first
        if self.letters is not None:
            self.letters.write(self.data)

    def column(self) -> pa.BinaryArray:
        """The column as it is now; NULL where it was NULL."""
        offsets = self.offsets.astype(np.int32)
        valid = self._values.is_valid().buffers()[1] if self._values.null_count else None
        return pa.BinaryArray.from_buffers(
            pa.binary(), len(self._values), [valid, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        )
