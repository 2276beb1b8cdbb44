"""Card and account numbers: other numbers of the same form whose check digits are right where they were right.

Both masks permute the characters that carry no check, then write check digits that leave the checksum's residue as
it was. The residue and the permuted characters together tell the original, so no two values meet, valid or not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transform.cmac import Prf
from transform.masks.base import TEXT, Mask, MaskKind, NoParams, injective, register
from transform.masks.permutation import Characters

Positions = npt.NDArray[np.int64]

# -------------------------------------------------------------------------------------------------------- cards

# Shorter digit strings are no card numbers: the last four digits, an expiry date.
_LEAST_CARD: Final = 8
# What a digit adds to the Luhn sum, by whether its place from the right is odd.
_LUHN: Final = np.array([range(10), [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]], dtype=np.int64)


class Card(Mask):
    """Keeps the first digit (the network), the length and the separators; permutes the digits between the first
    and the check digit. With fewer than eight digits all are permuted."""

    def __init__(self, prf: Prf) -> None:
        self._prf = prf

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        cards = Characters(values)
        digits = np.flatnonzero(cards.digits)
        bounds = np.searchsorted(digits, cards.offsets)
        long = np.flatnonzero(np.diff(bounds) >= _LEAST_CARD)
        first, check = digits[bounds[long]], digits[bounds[long + 1] - 1]
        places = np.repeat(bounds[1:], np.diff(bounds)) - 1 - np.arange(len(digits))
        before = self._sums(cards, digits, places & 1, bounds)[long]
        cards.radix[first] = cards.radix[check] = 0
        cards.permute(self._prf)
        after = self._sums(cards, digits, places & 1, bounds)[long]
        cards.data[check] = ord("0") + (cards.data[check] - ord("0") + before - after) % 10
        return cards.column()

    @staticmethod
    def _sums(cards: Characters, digits: Positions, odd: Positions, bounds: Positions) -> Positions:
        return _sums(_LUHN[odd, cards.data[digits] - ord("0")], bounds)


def _sums(terms: Positions, bounds: Positions) -> Positions:
    """The sum of the terms between each two bounds."""
    running = np.concatenate([[0], np.cumsum(terms)])
    sums: Positions = running[bounds[1:]] - running[bounds[:-1]]
    return sums


register(
    MaskKind(
        "financial.card",
        "a card number of the same network and form; a valid one stays valid (Luhn)",
        TEXT,
        NoParams,
        lambda params, build: Card(build.prf),
        injective,
        ("4111 1111 1111 1111", "4929 6340 1877 2055"),
    )
)

# --------------------------------------------------------------------------------------------------------- IBAN

_MOST_IBAN: Final = 34
_LEAST_IBAN: Final = 5
# The check digits that the standard's computation can give, 02 to 98: one for each residue.
_LEAST_CHECK: Final = 2
# A letter counts as two decimal digits, 10 to 35.
_VALUE: Final = np.zeros(256, dtype=np.int64)
_VALUE[ord("0") : ord("9") + 1] = range(10)
_VALUE[ord("A") : ord("Z") + 1] = _VALUE[ord("a") : ord("z") + 1] = range(10, 36)
_POWER: Final = np.array([pow(10, exponent, 97) for exponent in range(96)], dtype=np.int64)  # 10**96 = 1 (mod 97)


class Iban(Mask):
    """Keeps country, length, separators, and digits as digits and letters as letters; permutes the account number
    and writes the check digits anew. National check digits inside the account number are not kept.

    What is not written like an IBAN (two letters, two digits, 1 to 30 letters or digits) has all its characters
    permuted. Check digits that no IBAN has (00, 01, 99) stay as they are.
    """

    def __init__(self, prf: Prf) -> None:
        self._prf = prf

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        ibans = Characters(values)
        data = ibans.data
        signs = np.flatnonzero((ibans.radix > 0) & (data < 0x80))
        bounds = np.searchsorted(signs, ibans.offsets)
        counts = np.diff(bounds)
        rows = np.flatnonzero((counts >= _LEAST_IBAN) & (counts <= _MOST_IBAN))
        head = signs[bounds[rows][:, None] + np.arange(4)]
        shaped = (ibans.radix[head] == [26, 26, 10, 10]).all(axis=1)
        rows, head = rows[shaped], head[shaped]
        ibans.radix[head] = 0

        tens, ones = head[:, 2], head[:, 3]
        check = (data[tens] - ord("0")) * 10 + (data[ones] - ord("0"))
        computed = (check >= _LEAST_CHECK) & (check <= _LEAST_CHECK + 96)
        weights = self._weights(ibans, signs, bounds)
        before = _sums(_VALUE[data[signs]] * weights, bounds)[rows]
        ibans.permute(self._prf)
        after = _sums(_VALUE[data[signs]] * weights, bounds)[rows]
        right = (check + before - after - _LEAST_CHECK) % 97 + _LEAST_CHECK
        data[tens[computed]] = ord("0") + right[computed] // 10
        data[ones[computed]] = ord("0") + right[computed] % 10
        return ibans.column()

    @staticmethod
    def _weights(ibans: Characters, signs: Positions, bounds: Positions) -> Positions:
        """What each sign's value counts modulo 97; 0 for the country and the check digits, which the mask keeps or
        writes itself."""
        account = ibans.radix[signs] > 0
        widths = account * (1 + (ibans.radix[signs] == 26))  # in decimal digits
        ends = np.cumsum(widths)
        last = np.repeat(np.concatenate([[0], ends])[bounds[1:]], np.diff(bounds))
        # On its right are the account's other digits, then 4 of the country, then 2 check digits.
        weights: Positions = account * _POWER[(last - ends + 6) % 96]
        return weights


register(
    MaskKind(
        "financial.iban",
        "an account number of the same country and form; a valid one stays valid (mod 97)",
        TEXT,
        NoParams,
        lambda params, build: Iban(build.prf),
        injective,
        ("GB82 WEST 1234 5698 7654 32", "GB17 QKXO 9402 7718 3365 08"),
    )
)
