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
from transform.masks.base import TEXT, Example, Form, Group, Mask, MaskKind, NoParams, injective, register
from transform.masks.permutation import Characters
from transform.masks.slices import in_slices

Positions = npt.NDArray[np.int64]

# -------------------------------------------------------------------------------------------------------- cards

# Shorter digit strings are no card numbers: the last four digits, an expiry date.
_LEAST_CARD: Final = 8
# What a digit adds to the Luhn sum, by its byte; 128 further on for the odd places from the right.
_LUHN: Final = np.zeros(256, dtype=np.uint8)
_LUHN[ord("0") : ord("9") + 1] = range(10)
_LUHN[ord("0") + 128 : ord("9") + 129] = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


class Card(Mask):
    """Keeps the first digit (the network), the length and the separators; permutes the digits between the first
    and the check digit. With fewer than eight digits all are permuted."""

    def __init__(self, prf: Prf, encoding: str) -> None:
        self._prf = prf
        self._encoding = encoding

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return in_slices(values, self._apply)

    def _apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        cards = Characters(values, self._encoding)
        digits = np.flatnonzero(cards.digits)
        bounds = np.searchsorted(digits, cards.offsets)
        long = np.flatnonzero(np.diff(bounds) >= _LEAST_CARD)
        first, check = digits[bounds[long]], digits[bounds[long + 1] - 1]
        ends = ((bounds[1:] - 1) & 1).astype(np.uint8)
        odd = np.repeat(ends, np.diff(bounds))
        odd[1::2] ^= 1
        odd <<= 7
        before = _sums(_LUHN.take(cards.data.take(digits) + odd), bounds)[long]
        cards.radix[first] = cards.radix[check] = 0
        cards.permute(self._prf)
        after = _sums(_LUHN.take(cards.data.take(digits) + odd), bounds)[long]
        cards.data[check] = ord("0") + (cards.data[check] - ord("0") + before - after) % 10
        return cards.column()


def _sums(terms: npt.NDArray[np.integer], bounds: Positions) -> Positions:
    """The sum of the terms between each two bounds."""
    sums: Positions = np.diff(_running(terms)[bounds])
    return sums


def _running(terms: npt.NDArray[np.integer]) -> Positions:
    """The sum of the terms up to each, and of none. (Summed as they are, small ones cost ten times as much.)"""
    running = np.zeros(len(terms) + 1, dtype=np.int64)
    np.cumsum(terms.astype(np.int64), out=running[1:])
    return running


register(
    MaskKind(
        name="financial.card",
        group=Group.FINANCIAL,
        summary="a card number of the same network and form; a valid one stays valid (Luhn)",
        types=TEXT,
        params=NoParams,
        build=lambda params, build: Card(build.prf, build.encoding),
        uniqueness=injective,
        form=Form.KEPT,
        examples=(Example("4111 1111 1111 1111"),),
    )
)

# --------------------------------------------------------------------------------------------------------- IBAN

_MOST_IBAN: Final = 34
_LEAST_IBAN: Final = 5
# The check digits that the standard's computation can give, 02 to 98: one for each residue.
_LEAST_CHECK: Final = 2
# A letter counts as two decimal digits, 10 to 35.
_VALUE: Final = np.zeros(256, dtype=np.uint16)
_VALUE[ord("0") : ord("9") + 1] = range(10)
_VALUE[ord("A") : ord("Z") + 1] = _VALUE[ord("a") : ord("z") + 1] = range(10, 36)
# How many that are, by a character's radix; those that stay have none.
_WIDTH: Final = np.zeros(256, dtype=np.uint8)
_WIDTH[[10, 26]] = 1, 2
# Of ten modulo 97; the exponents of the longest account of letters end below 96.
_POWER: Final = np.array([pow(10, exponent, 97) for exponent in range(96)], dtype=np.uint16)


class Iban(Mask):
    """Keeps country, length, separators, and digits as digits and letters as letters; permutes the account number
    and writes the check digits anew. National check digits inside the account number are not kept.

    What is not written like an IBAN (two letters, two digits, 1 to 30 letters or digits) has all its characters
    permuted. Check digits that no IBAN has (00, 01, 99) stay as they are.
    """

    def __init__(self, prf: Prf, encoding: str) -> None:
        self._prf = prf
        self._encoding = encoding

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return in_slices(values, self._apply)

    def _apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        ibans = Characters(values, self._encoding)
        data = ibans.data
        signs = np.flatnonzero(ibans.radix)
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
        before = _sums(_VALUE.take(data.take(signs)) * weights, bounds)[rows]
        ibans.permute(self._prf)
        after = _sums(_VALUE.take(data.take(signs)) * weights, bounds)[rows]
        right = (check + before - after - _LEAST_CHECK) % 97 + _LEAST_CHECK
        data[tens[computed]] = ord("0") + right[computed] // 10
        data[ones[computed]] = ord("0") + right[computed] % 10
        return ibans.column()

    @staticmethod
    def _weights(ibans: Characters, signs: Positions, bounds: Positions) -> npt.NDArray[np.uint16]:
        """What each sign's value counts modulo 97; 0 for the country and the check digits, which the mask keeps or
        writes itself. For what is no IBAN the weights mean nothing."""
        widths = _WIDTH.take(ibans.radix.take(signs))
        ends = _running(widths)
        # On its right are the account's other digits, then 4 of the country, then 2 check digits.
        exponents = np.repeat(ends[bounds[1:]] + 6, np.diff(bounds)) - ends[1:]
        weights = _POWER.take(exponents, mode="clip")
        weights *= widths > 0
        return weights


register(
    MaskKind(
        name="financial.iban",
        group=Group.FINANCIAL,
        summary="an account number of the same country and form; a valid one stays valid (mod 97)",
        types=TEXT,
        params=NoParams,
        build=lambda params, build: Iban(build.prf, build.encoding),
        uniqueness=injective,
        form=Form.KEPT,
        examples=(Example("GB82 WEST 1234 5698 7654 32"),),
        notes="National check digits inside the account number are not computed anew.",
    )
)
