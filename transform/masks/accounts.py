"""Account numbers, banks and amounts, and ``financial``, which chooses among them by the column's type."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capture.model import Column
from transform.cmac import Prf
from transform.masks.base import (
    NUMBER,
    TEXT,
    Build,
    Example,
    Form,
    Group,
    Mask,
    MaskKind,
    NoParams,
    Params,
    Uniqueness,
    injective,
    lossy,
    register,
)
from transform.masks.digits import WHOLE, CharactersMask, build_digits
from transform.masks.number import NoiseParams, build_noise
from transform.masks.permutation import Characters

# ------------------------------------------------------------------------------------------------------- account


def _build_account(params: Params, build: Build) -> Mask:
    return CharactersMask(build.prf, build.encoding) if build.column.base_type in TEXT else build_digits(build)


register(
    MaskKind(
        name="financial.account",
        group=Group.FINANCIAL,
        summary="an account number of the same form; no two meet",
        types=TEXT | WHOLE,
        params=NoParams,
        build=_build_account,
        uniqueness=injective,
        form=Form.KEPT,
        examples=(Example("0532-0130 00"), Example("532013000", type_name="bigint")),
        notes="Digits become digits, letters become letters, and separators stay. Check digits are not computed anew; "
        "for cards and IBANs there are masks of their own.",
    )
)

# ----------------------------------------------------------------------------------------------------------- bic

_COUNTRY, _BRANCH = slice(4, 6), slice(8, 11)
_LENGTHS: Final = (8, 11)
_LETTERS: Final = 26


class Bic(Mask):
    """Keeps country and length, and a head office's branch XXX, which no other branch becomes; permutes the rest.

    What is not written like a BIC (six letters, two or five more letters or digits) has all its characters permuted,
    and is not written like one afterwards either.
    """

    def __init__(self, prf: Prf, encoding: str) -> None:
        self._prf = prf
        self._encoding = encoding

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        bics = Characters(values, self._encoding)
        branches = self._permute(bics)
        # To leave the branch that it had for XXX is to leave the form; walk on until it is met again.
        while (again := branches[self._is_head_office(bics, branches)]).size:
            few = Characters(bics.column().take(pa.array(again)), self._encoding)
            self._permute(few, walking=True)
            bics.data[bics.offsets[again][:, None] + np.arange(11)] = few.data.reshape(-1, 11)
            branches = again
        return bics.column()

    def _permute(self, bics: Characters, *, walking: bool = False) -> npt.NDArray[np.int64]:
        """Permute as the form says, and give the rows of BICs with a branch other than XXX. ``walking`` takes XXX
        for a branch like others."""
        with_branch = np.zeros(0, dtype=np.int64)
        for length in _LENGTHS:
            rows = np.flatnonzero(np.diff(bics.offsets) == length)
            places = bics.offsets[rows][:, None] + np.arange(length)
            radix = bics.radix[places]
            shaped = (radix[:, :6] == _LETTERS).all(axis=1) & ((radix == _LETTERS) | (radix == 10)).all(axis=1)
            rows, places = rows[shaped], places[shaped]
            bics.radix[places[:, _COUNTRY]] = 0
            if length == 11:
                head_office = self._is_head_office(bics, rows) & (not walking)
                bics.radix[places[head_office][:, _BRANCH]] = 0
                with_branch = rows[~head_office]
        bics.permute(self._prf)
        return with_branch

    @staticmethod
    def _is_head_office(bics: Characters, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        branch = bics.data[bics.offsets[rows][:, None] + np.arange(8, 11)]
        found: npt.NDArray[np.bool_] = ((branch | 0x20) == ord("x")).all(axis=1)
        return found


register(
    MaskKind(
        name="financial.bic",
        group=Group.FINANCIAL,
        summary="a bank's code of the same country and length; no two meet",
        types=TEXT,
        params=NoParams,
        build=lambda params, build: Bic(build.prf, build.encoding),
        uniqueness=injective,
        form=Form.KEPT,
        examples=(Example("DEUTDEFF"), Example("DEUTDEFFXXX")),
        notes="No bank is likely to have the code. XXX, which means the head office, stays.",
    )
)

# -------------------------------------------------------------------------------------------------------- amount

_AMOUNT_NOTES: Final = (
    "Sums over many rows stay about right. An amount so small that the ratio of it is less than its last digit stays."
)

register(
    MaskKind(
        name="financial.amount",
        group=Group.FINANCIAL,
        summary="an amount near by, with the same sign and decimals",
        types=NUMBER,
        params=NoiseParams,
        build=build_noise,
        uniqueness=lossy,
        form=Form.KEPT,
        examples=(Example("1249.50", type_name="numeric"), Example("$1,249.50", {"ratio": 0.2}, "money")),
        notes=_AMOUNT_NOTES,
    )
)

# ----------------------------------------------------------------------------------------------------- financial


def _build_financial(params: NoParams, build: Build) -> Mask:
    if build.column.base_type in TEXT:
        return _build_account(params, build)
    return build_noise(NoiseParams(), build)


def _financial_uniqueness(params: NoParams, column: Column) -> Uniqueness:
    return Uniqueness.INJECTIVE if column.base_type in TEXT else Uniqueness.LOSSY


register(
    MaskKind(
        name="financial",
        group=Group.FINANCIAL,
        summary="as financial.account in text, as financial.amount in numbers",
        types=TEXT | NUMBER,
        params=NoParams,
        build=_build_financial,
        uniqueness=_financial_uniqueness,
        form=Form.KEPT,
        examples=(Example("0532-0130 00"), Example("1249.50", type_name="numeric")),
    )
)
