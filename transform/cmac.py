"""Keyed hashing of whole columns: AES-CMAC (NIST SP 800-38B) over NumPy blocks.

``Prf`` is the one source of every pick, digit and tag that a mask makes. It computes the CMAC of all values of a
column at once: the values' next blocks are gathered into a matrix, padded by a table lookup on the bytes left, and
encrypted by one ECB call of ``cryptography`` per block index. A few values, and the rest of long ones, are cheaper
one at a time. Property tests hold both ways equal to ``cryptography``'s own CMAC.
"""

from __future__ import annotations

import threading
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Bytes = npt.NDArray[np.uint8]

# Up to so many values, or past so many blocks, a value at a time is cheaper (measured: the matrix costs about 20 us
# plus 0.02 us a value for each block index; one value 1.2 us, and 1 us more for each further block).
_FEW: Final = 16
_LONG: Final = 64
# Chaining a block costs less than making a context that chains, unless there are many (bytes).
_SHORT: Final = 96

# Bytes left in a value -> which of a block's 16 are kept. 17 stands for any block but a value's last.
_NOT_LAST: Final = 17
_KEEP: Final = np.array([[255] * min(left, 16) + [0] * (16 - left) for left in range(18)], dtype=np.uint8)

_EMPTY: Final = pa.scalar(b"", pa.binary())


def binary_buffers(values: pa.BinaryArray) -> tuple[npt.NDArray[np.int32], Bytes]:
    """The offsets (n + 1, absolute) and the data of a binary array, without a copy."""
    _, offsets_buffer, data_buffer = values.buffers()
    if not len(values):  # Arrow may leave out the one offset that an empty array has
        return np.zeros(1, dtype=np.int32), np.empty(0, dtype=np.uint8)
    offsets = np.frombuffer(offsets_buffer, dtype=np.int32)[values.offset : values.offset + len(values) + 1]
    data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer is not None else np.empty(0, dtype=np.uint8)
    return offsets, data


def _double(block: int) -> int:
    shifted = block << 1
    return (shifted & ((1 << 128) - 1)) ^ 0x87 if shifted >> 128 else shifted


class Prf:
    """A keyed pseudo-random function of one domain. ``key`` is 16 or 32 bytes. Its ``repr`` does not show the key."""

    __slots__ = ("_algorithm", "_k1", "_k2", "_key", "_local", "_padding")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._algorithm = algorithms.AES(key)
        # A context costs 3 us to make, and ECB leaves no state in it; but no two threads may use one at once.
        self._local = threading.local()
        k1 = _double(int.from_bytes(self._encrypt(bytes(16)), "big"))
        k2 = _double(k1)
        self._k1 = k1
        self._k2 = k2
        # What a block is XORed with, by the bytes left: 0x80 after a short last block and K2, or K1 on a full one.
        padding = [(0x80 << (120 - 8 * left) ^ k2).to_bytes(16, "big") for left in range(16)]
        padding += [k1.to_bytes(16, "big"), bytes(16)]
        self._padding = np.frombuffer(b"".join(padding), dtype=np.uint64).reshape(-1, 2)

    def __repr__(self) -> str:
        return "Prf(...)"

    def __reduce__(self) -> tuple[type[Prf], tuple[bytes]]:
        return (Prf, (self._key,))

    def _encrypt(self, data: bytes | memoryview) -> bytes:
        try:
            update = self._local.update
        except AttributeError:
            update = self._local.update = Cipher(self._algorithm, modes.ECB()).encryptor().update
        return update(data)  # type: ignore[no-any-return]  # what a threading.local holds has no type

    def blocks(self, blocks: Bytes) -> Bytes:
        """AES of each row of an (n, 16) matrix: a keyed permutation of 16-byte blocks, for Feistel rounds and for
        drawing more bits from a tag."""
        return np.frombuffer(self._encrypt(np.ascontiguousarray(blocks).data), dtype=np.uint8).reshape(-1, 16)

    def tags(self, values: pa.BinaryArray) -> Bytes:
        """The CMAC of each value, as an (n, 16) matrix; a NULL gives that of the empty string."""
        if values.null_count:
            values = values.fill_null(_EMPTY)
        if len(values) <= _FEW:
            joined = b"".join(self.tag(value) for value in values.to_pylist())
            return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 16)
        offsets, data = binary_buffers(values)
        first, end = int(offsets[0]), int(offsets[-1])
        padded = np.zeros(end - first + 16, dtype=np.uint8)
        padded[: end - first] = data[first:end]
        return self._tags_of(padded, offsets[:-1] - first, offsets[1:] - offsets[:-1])

    def _tags_of(self, data: Bytes, starts: npt.NDArray[np.int32], left: npt.NDArray[np.int32]) -> Bytes:
        """The CMACs of ``data[start:start + left]``; ``data`` has 16 bytes to spare at its end."""
        keep = _KEEP.view(np.uint64)
        # Every 16 bytes of the data as one item, so that gathering blocks is a plain ``take``.
        windows = np.ndarray(shape=(len(data) - 15,), dtype="V16", buffer=data, strides=(1,))
        result = np.empty((len(starts), 2), dtype=np.uint64)
        state = np.zeros((len(starts), 2), dtype=np.uint64)
        # The blocks that are no value's last are all whole.
        common = max(int(left.min()) - 1, 0) // 16
        for _ in range(common):
            block = windows[starts].view(np.uint64).reshape(-1, 2)
            block ^= state
            state = np.frombuffer(self._encrypt(block.data.cast("B")), dtype=np.uint64).reshape(-1, 2)
            starts = starts + 16
        left = left - 16 * common
        rows: npt.NDArray[np.int64] | None = None  # where the values still open stand in the result; None: all
        for _ in range(_LONG):
            kind = np.minimum(left, _NOT_LAST)
            block = windows[starts].view(np.uint64).reshape(-1, 2)
            block &= keep.take(kind, axis=0)
            block ^= self._padding.take(kind, axis=0)
            block ^= state
            state = np.frombuffer(self._encrypt(block.data.cast("B")), dtype=np.uint64).reshape(-1, 2)
            open_ = np.flatnonzero(kind == _NOT_LAST)
            if not open_.size:
                if rows is None:
                    return state.view(np.uint8)
                result[rows] = state
                return result.view(np.uint8)
            if open_.size < len(state):
                result[slice(None) if rows is None else rows] = state
                rows = open_ if rows is None else rows[open_]
                starts, left, state = starts[open_], left[open_], state[open_]
            starts = starts + 16
            left = left - 16
            if open_.size <= _FEW:
                break
        for row, start, length, chained in zip(
            range(len(state)) if rows is None else rows, starts.tolist(), left.tolist(), state, strict=True
        ):
            tag = self._finish(chained.tobytes(), data[start : start + length].tobytes())
            result[row] = np.frombuffer(tag, dtype=np.uint64)
        return result.view(np.uint8)

    def tag(self, value: bytes) -> bytes:
        """The CMAC of one value."""
        return self._finish(bytes(16), value)

    def _finish(self, state: bytes, rest: bytes) -> bytes:
        """The CMAC of a value of which all but ``rest`` has been chained into ``state``."""
        if len(rest) > _SHORT:
            split = (len(rest) - 1) & ~15
            state = Cipher(self._algorithm, modes.CBC(state)).encryptor().update(rest[:split])[-16:]
            rest = rest[split:]
        while len(rest) > 16:
            block = int.from_bytes(rest[:16], "big") ^ int.from_bytes(state, "big")
            state = self._encrypt(block.to_bytes(16, "big"))
            rest = rest[16:]
        last = int.from_bytes(rest, "big")
        if len(rest) == 16:
            last ^= self._k1
        else:
            last = ((last << 8 | 0x80) << (120 - 8 * len(rest))) ^ self._k2
        return self._encrypt((last ^ int.from_bytes(state, "big")).to_bytes(16, "big"))
