"""Secrets: passwords, tokens and keys that look like what they were and open nothing."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capture.model import ServerFailed
from transform.cmac import Bytes, Prf, binary_buffers
from transform.masks.alphabets import MOST_RADIX
from transform.masks.base import TEXT, Build, Example, Form, Group, Mask, MaskKind, NoParams, register, tagged
from transform.masks.choosing import fold_case, merge
from transform.masks.ids import HEX_VALUE, LOWER_HEX
from transform.masks.permutation import Characters, permute_range
from transform.masks.slices import in_slices

Flags: TypeAlias = npt.NDArray[np.bool_]
Positions: TypeAlias = npt.NDArray[np.int64]

# So many bits of a tag keep two values apart; what holds fewer is permuted instead.
_ENOUGH: Final = 60

# The classes of characters by their byte, and what each may become; those of class 0 stay: they part a secret's pieces.
# Behind them, the digits that stand for letters beyond ASCII, by their radix.
_ALPHABETS: Final = (
    b"",
    b"0123456789",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"abcdefghijklmnopqrstuvwxyz",
    b"!\"#%&'()*;<>?@[\\]^`{|}~",
    b"0123456789abcdef",
    b"0123456789ABCDEF",
    *(bytes(range(radix)) for radix in range(MOST_RADIX + 1)),
)
_DIGIT, _CAPITAL, _SMALL, _SIGN, _SMALL_HEX, _CAPITAL_HEX, _BEYOND = range(1, 8)
_CLASS: Final = np.zeros(256, dtype=np.uint8)
for _number in (_DIGIT, _CAPITAL, _SMALL, _SIGN):
    _CLASS[list(_ALPHABETS[_number])] = _number
_RADIX: Final = np.array([len(alphabet) for alphabet in _ALPHABETS], dtype=np.uint8)
# Rounded down, in parts of a bit: sums of fractions would depend on what was summed before.
_UNIT: Final = 1024
_BITS: Final = (np.log2(np.maximum(_RADIX, 1)) * _UNIT).astype(np.int64)
_SYMBOL: Final = np.array([list(alphabet.ljust(MOST_RADIX, b"\0")) for alphabet in _ALPHABETS], dtype=np.uint8)
# What tells hexadecimal digits, counted in one number: capitals, small letters, and what no such digit is.
_COUNT_BITS: Final = 21
_COUNT: Final = (1 << _COUNT_BITS) - 1
_COUNTED: Final = (_CLASS == _CAPITAL) + ((_CLASS == _SMALL).astype(np.int64) << _COUNT_BITS)
_COUNTED[(_COUNTED > 0) & (HEX_VALUE > 15)] = 1 << 2 * _COUNT_BITS
_COUNTED[0x80:] = 1 << 2 * _COUNT_BITS
_OF_SIGN: Final = np.zeros(256, dtype=np.uint8)
_OF_SIGN[list(_ALPHABETS[_SIGN])] = range(len(_ALPHABETS[_SIGN]))
_DRAWS_IN_BLOCK: Final = 8


def _sums(terms: Positions, offsets: Positions) -> Positions:
    """The sum of each value's terms."""
    running = np.zeros(len(terms) + 1, dtype=np.int64)
    np.cumsum(terms, out=running[1:])
    sums: Positions = np.diff(running[offsets])
    return sums


class Secret(Mask):
    """Draws each digit, letter and sign anew among those of its class, from the value's tag.

    What is written in hexadecimal digits stays so, with digits and letters mixed as they fall. Separators
    (``-_.:/+=$``, comma, blank) stay. Nothing else of the original is in what comes out, not even a prefix; a secret
    of less than 60 bits is permuted instead, so that no two short ones meet.
    """

    def __init__(self, prf: Prf, encoding: str, *, ignores_case: bool) -> None:
        self._prf = prf
        self._encoding = encoding
        self._folded = ignores_case

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        if self._folded:
            values = fold_case(values)
        return in_slices(values, self._apply)

    def _apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        secrets = Characters(values, self._encoding)
        classes = _CLASS.take(secrets.data)
        if secrets.letters is not None:
            classes[secrets.letters.places] = _BEYOND + secrets.letters.radix
        self._find_hexadecimal(secrets, classes)
        long = _sums(_BITS.take(classes), secrets.offsets) >= _ENOUGH * _UNIT
        short = np.flatnonzero(~long)
        made = self._draw(secrets, classes, values, long)
        if not short.size:
            return made
        rows = np.flatnonzero(long)
        permuted = self._permute(values.take(pa.array(short)))
        return merge(len(values), (rows, made.take(pa.array(rows))), (short, permuted))

    @staticmethod
    def _find_hexadecimal(secrets: Characters, classes: Bytes) -> None:
        """Say so of the digits and letters of values that have letters, of one case, and no other letters or digits
        than hexadecimal ones."""
        counts = _sums(_COUNTED.take(secrets.data), secrets.offsets)
        capitals, small, strange = counts & _COUNT, counts >> _COUNT_BITS & _COUNT, counts >> 2 * _COUNT_BITS
        found = ((capitals > 0) ^ (small > 0)) & (strange == 0)
        if found.any():
            kind = np.where(found, np.where(capitals > 0, _CAPITAL_HEX, _SMALL_HEX), 0).astype(np.uint8)
            kinds = np.repeat(kind, np.diff(secrets.offsets))
            np.copyto(classes, kinds, where=(kinds > 0) & (classes > 0) & (classes < _SIGN))

    def _draw(self, secrets: Characters, classes: Bytes, values: pa.BinaryArray, long: Flags) -> pa.BinaryArray:
        """Characters of long values drawn from their tags, 16 bits for each."""
        lengths = np.diff(secrets.offsets)
        moving = np.flatnonzero((classes > 0) & np.repeat(long, lengths))
        counts = np.diff(np.searchsorted(moving, secrets.offsets))
        blocks = -(-counts // _DRAWS_IN_BLOCK)
        first = np.cumsum(blocks) - blocks
        tags = np.repeat(np.ascontiguousarray(self._prf.tags(values)).view("<u8"), blocks, axis=0)
        tags[:, 0] ^= (np.arange(len(tags)) - np.repeat(first, blocks)).astype("<u8")
        draws = self._prf.blocks(tags.view(np.uint8)).view("<u2").reshape(-1)
        places = np.repeat(first * _DRAWS_IN_BLOCK - np.cumsum(counts) + counts, counts) + np.arange(len(moving))
        kinds = classes.take(moving)
        drawn = draws.take(places).astype(np.uint32) * _RADIX.take(kinds) >> 16
        if secrets.letters is not None:
            secrets.letters.lay(secrets.data)
        secrets.data[moving] = _SYMBOL.take(drawn + kinds.astype(np.uint32) * MOST_RADIX)
        if secrets.letters is not None:
            secrets.letters.write(secrets.data)
        return secrets.column()

    def _permute(self, values: pa.BinaryArray) -> pa.BinaryArray:
        secrets = Characters(values, self._encoding)
        signs = np.flatnonzero(_CLASS.take(secrets.data) == _SIGN)
        secrets.data[signs] = _OF_SIGN.take(secrets.data[signs])
        secrets.radix[signs], secrets.first[signs] = len(_ALPHABETS[_SIGN]), 0
        secrets.permute(self._prf)
        secrets.data[signs] = _SYMBOL[_SIGN].take(secrets.data[signs])
        return secrets.column()


class SecretBytes(Mask):
    """As many bytes of bytea, drawn from the tag; fewer than eight are permuted."""

    def __init__(self, prf: Prf) -> None:
        self._prf = prf

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        offsets, data = binary_buffers(values)
        lengths = np.diff(offsets)
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        starts = offsets[:-1][valid]
        written = data[starts[lengths[valid] > 1][:, None] + np.arange(2)]
        if (lengths[valid] < 2).any() or (written != np.frombuffer(b"\\x", dtype=np.uint8)).any():
            raise ServerFailed("a bytea did not arrive as \\x and hexadecimal digits.")
        sizes = np.where(valid, (lengths - 2) // 2, 0)
        long = sizes * 8 >= _ENOUGH
        parts = [(np.flatnonzero(long), self._draw(values, sizes, long))]
        for size in np.unique(sizes[~long & valid]).tolist():
            rows = np.flatnonzero(valid & (sizes == size))
            parts.append((rows, self._permute(data[offsets[rows][:, None] + 2 + np.arange(2 * size)], size)))
        return merge(len(values), *parts)

    def _draw(self, values: pa.BinaryArray, sizes: Positions, long: Flags) -> pa.BinaryArray:
        blocks = np.where(long, -(-sizes // 16), 0)
        first = np.cumsum(blocks) - blocks
        tags = np.repeat(np.ascontiguousarray(self._prf.tags(values)).view("<u8"), blocks, axis=0)
        tags[:, 0] ^= (np.arange(len(tags)) - np.repeat(first, blocks)).astype("<u8")
        text = self._prf.blocks(tags.view(np.uint8)).tobytes().hex().encode()
        ends = [
            (32 * start, 32 * start + 2 * size)
            for start, size in zip(first[long].tolist(), sizes[long].tolist(), strict=True)
        ]
        return pa.array([b"\\x" + text[start:end] for start, end in ends], pa.binary())

    def _permute(self, text: Bytes, size: int) -> pa.BinaryArray:
        nibbles = HEX_VALUE[text].astype(np.uint64)
        number = np.zeros(len(text), dtype=np.uint64)
        for place in range(2 * size):
            number = number << np.uint64(4) | nibbles[:, place]
        permuted = permute_range(self._prf, number, 16**size, 16**size, size)
        shifts = np.arange(2 * size, dtype=np.uint64)[::-1] * np.uint64(4)
        digits = LOWER_HEX[(permuted[:, None] >> shifts & np.uint64(15)).astype(np.int64)]
        return pa.array([b"\\x" + row.tobytes() for row in digits], pa.binary())


def _build_secret(params: NoParams, build: Build) -> Mask:
    if build.column.base_type == "bytea":
        return SecretBytes(build.prf)
    return Secret(build.prf, build.encoding, ignores_case=build.column.base_type == "citext")


register(
    MaskKind(
        name="id.secret",
        group=Group.IDS,
        summary="a secret of the same length and kinds of characters that opens nothing",
        types=TEXT | {"bytea"},
        params=NoParams,
        build=_build_secret,
        uniqueness=tagged,
        form=Form.KEPT,
        examples=(Example("sk_live_4eC39HqLyjWDarjtT1zdp7dc"), Example("5d41402abc4b2a76b9719d911017c592")),
        notes="Separators stay where they are, and with them how long each piece is; a prefix such as sk_live_ does "
        "not. Check digits and signatures are not computed anew, and a password's hash fits no password: where people "
        "log in to the copy, give all the constant hash of a known one.",
    )
)
