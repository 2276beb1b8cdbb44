"""FF1, format-preserving encryption of NIST SP 800-38G, over the AES of a ``Prf``.

A keyed permutation of the numbers below ``radix ** length``, which the standard writes as strings of numerals. A whole
column goes through each of the ten rounds at once. Where a half is below 2**32, as with 18 decimal digits, numbers
are 64-bit integers; longer ones are Python's own.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from transform.cmac import Bytes, Prf

Numbers: TypeAlias = npt.NDArray[np.uint64]

_ROUNDS: Final = 10
_BLOCK: Final = 16
_MOST_RADIX: Final = 1 << 16
# The bytes of a half up to which a round's number has 8 bytes, and so fits into 64 bits.
_SMALL: Final = 4


class Ff1:
    """FF1 for one radix (2 to 65,536), length (at least 2 numerals) and tweak."""

    def __init__(self, prf: Prf, radix: int, length: int, tweak: bytes = b"") -> None:
        assert 2 <= radix <= _MOST_RADIX
        assert length >= 2
        self._prf = prf
        left = length // 2
        # Of the even rounds and of the odd ones.
        self._sizes: tuple[int, int] = radix**left, radix ** (length - left)
        self._bytes: int = ((self._sizes[1] - 1).bit_length() + 7) // 8
        self._taken = 4 * -(-self._bytes // 4) + 4
        start = b"\x01\x02\x01%b\x0a%c%b%b" % (
            radix.to_bytes(3, "big"), left % 256, length.to_bytes(4, "big"), len(tweak).to_bytes(4, "big"),
        )  # fmt: skip
        head = tweak + bytes((-len(tweak) - self._bytes - 1) % _BLOCK)
        # What is the same for all numbers and rounds is chained once.
        split = len(head) // _BLOCK * _BLOCK
        self._state = np.zeros((1, _BLOCK), dtype=np.uint8)
        for place in range(0, _BLOCK + split, _BLOCK):
            block = np.frombuffer((start + head)[place : place + _BLOCK], dtype=np.uint8)
            self._state = prf.blocks(self._state ^ block)
        self._head = head[split:]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self._sizes[0] * self._sizes[1]

    @property
    def is_small(self) -> bool:
        """Whether ``permute_array`` takes the numbers."""
        return self._bytes <= _SMALL

    def permute_array(self, numbers: Numbers) -> Numbers:
        """Encrypt numbers that are small."""
        assert self.is_small
        sizes = np.array(self._sizes, dtype=np.uint64)
        one, other = np.divmod(numbers, sizes[1])
        block = np.tile(self._state, (len(numbers), 1))
        block[:, : len(self._head)] ^= np.frombuffer(self._head, dtype=np.uint8)
        place = len(self._head)
        for number in range(_ROUNDS):
            size = sizes[number & 1]
            asked = block.copy()
            asked[:, place] ^= number
            asked[:, place + 1 :] ^= other.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - self._bytes :]
            answer = self._prf.blocks(asked)[:, :8].copy().view(">u8")[:, 0].astype(np.uint64)
            one, other = other, (one + answer % size) % size
        # After an even count of rounds the halves stand as they did.
        permuted: Numbers = one * sizes[1] + other
        return permuted

    def permute(self, numbers: list[int]) -> list[int]:
        """Encrypt numbers of any size."""
        if not numbers:
            return []
        halves = [divmod(number, self._sizes[1]) for number in numbers]
        for number in range(_ROUNDS):
            size = self._sizes[number & 1]
            turn = self._head + bytes([number])
            asked = b"".join(turn + other.to_bytes(self._bytes, "big") for _, other in halves)
            answers = self._answers(np.frombuffer(asked, dtype=np.uint8).reshape(len(numbers), -1, _BLOCK))
            halves = [
                (other, (one + int.from_bytes(answer, "big")) % size)
                for (one, other), answer in zip(halves, answers, strict=True)
            ]
        return [one * self._sizes[1] + other for one, other in halves]

    def _answers(self, asked: Bytes) -> list[bytes]:
        """The first bytes of the chained blocks (n, blocks, 16), and of as many more made of them as are needed."""
        state = np.tile(self._state, (len(asked), 1))
        for place in range(asked.shape[1]):
            state = self._prf.blocks(state ^ asked[:, place])
        parts = [state]
        for number in range(1, -(-self._taken // _BLOCK)):
            counter = np.frombuffer(number.to_bytes(_BLOCK, "big"), dtype=np.uint8)
            parts.append(self._prf.blocks(state ^ counter))
        return [row.tobytes()[: self._taken] for row in np.concatenate(parts, axis=1)]
