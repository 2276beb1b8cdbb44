"""National identity and tax numbers: others of the same form, with right check digits where they were right; and number
plates. What has other signs than any scheme of the locale is permuted sign by sign.

- en_US: Social Security numbers; the parts that are never issued (000, 666, 900 and above; 00; 0000) do not come about.
- en_GB: National Insurance numbers, with their prefixes and suffixes.
- de_DE: the tax identification number (Steuer-ID), with one digit twice or three times among the first ten.
- fr_FR: the NIR, with or without its key; also that of Corsica.
- es_ES: DNI and NIE. pt_BR: CPF and CNPJ of digits. ja_JP: the Individual Number (My Number).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from capture.model import Column
from transform.cmac import Prf
from transform.masks.base import (
    TEXT,
    AnyMask,
    Build,
    Example,
    Form,
    Group,
    Mask,
    MaskKind,
    NoParams,
    RowMask,
    Uniqueness,
    injective,
    register,
)
from transform.masks.choosing import merge
from transform.masks.digits import CharactersMask
from transform.masks.localised import LocaleColumn, LocaleParams, Reader, spoken
from transform.masks.permutation import Characters
from transform.masks.schemes import (
    ALPHABETS,
    DIGITS,
    Check,
    Field,
    Fields,
    Flags,
    RepeatedDigit,
    Scheme,
    Signs,
    Values,
    values_of,
)

# ----------------------------------------------------------------------------------------------- check digits


def _weighted(signs: Signs, *weights: int) -> Values:
    """The sum of the first digits by weights."""
    total = np.zeros(signs.shape[1], dtype=np.int64)
    for row, weight in zip(signs, weights, strict=False):
        total += (row.astype(np.int64) - ord("0")) * weight
    return total


def _modulo_eleven(*weights: int) -> Callable[[Signs], Values]:
    """11 less the remainder, where that is a digit, else 0."""

    def expected(signs: Signs) -> Values:
        digit = 11 - _weighted(signs, *weights) % 11
        return np.where(digit > 9, 0, digit)

    return expected


def _iso_7064(signs: Signs) -> Values:
    """MOD 11,10 of the first ten digits."""
    product = np.full(signs.shape[1], 10, dtype=np.int64)
    for row in signs[:10]:
        total = (row.astype(np.int64) - ord("0") + product) % 10
        product = np.where(total == 0, 10, total) * 2 % 11
    return (11 - product) % 10


def _key_of_nir(signs: Signs) -> Values:
    digits = signs[:13].astype(np.int64) - ord("0")
    # Corsica's 2A counts as 19 and 2B as 18.
    letter = digits[6] > 9
    digits[5] = np.where(letter, 1, digits[5])
    digits[6] = np.where(letter, 9 - (signs[6].astype(np.int64) - ord("A")), digits[6])
    number = np.zeros(signs.shape[1], dtype=np.int64)
    for row in digits:
        number = number * 10 + row
    return 97 - number % 97


def _letter_of_dni(first: str) -> Callable[[Signs], Values]:
    def expected(signs: Signs) -> Values:
        number: Values = Field(1, 7, 0, 10**7).read(signs) + np.maximum(values_of(first)[signs[0]], 0) * 10**7
        return number % len(_DNI)

    return expected


_DNI: Final = "TRWAGMYFPDXBNJZSQVHLCKE"


def _digit(start: int, expected: Callable[[Signs], Values]) -> Check:
    return Check(Field(start, 1, 0, 10), expected)


# --------------------------------------------------------------------------------------------------- schemes


def _never_issued(signs: Signs) -> Flags:
    flags: Flags = (signs[0] == ord("6")) & (signs[1] == ord("6")) & (signs[2] == ord("6"))
    return flags


def _no_prefix(signs: Signs) -> Flags:
    found = np.zeros(signs.shape[1], dtype=np.bool_)
    for first, second in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"):
        found |= (signs[0] == ord(first)) & (signs[1] == ord(second))
    return found


def _department_20(signs: Signs) -> Flags:
    flags: Flags = (signs[5] == ord("2")) & (signs[6] == ord("0"))
    return flags


_NINO: Final = (
    Field(0, 1, 0, 20, "ABCEGHJKLMNOPRSTWXYZ"),
    Field(1, 1, 0, 19, "ABCEGHJKLMNPRSTWXYZ"),
    Field(2, 6, 0, 10**6),
)
_NIR_PERSON: Final = Field(0, 1, 1, 2), Field(1, 2, 0, 100), Field(3, 2, 1, 12)
_NIR_PLACE: Final = Field(7, 3, 1, 990), Field(10, 3, 1, 999)
_NIR_MAINLAND: Final = (*_NIR_PERSON, Field(5, 2, 1, 95), *_NIR_PLACE)
_NIR_CORSICA: Final = (*_NIR_PERSON, Field(5, 1, 2, 1), Field(6, 1, 0, 2, "AB"), *_NIR_PLACE)
_NIR_KEY: Final = Check(Field(13, 2, 1, 97), _key_of_nir)
_CNPJ: Final = 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2
_MY_NUMBER: Final = 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2

_SCHEMES: Final[Mapping[str, tuple[Scheme, ...]]] = {
    "en_US": (
        Fields("9" * 9, Field(0, 3, 1, 899), Field(3, 2, 1, 99), Field(5, 4, 1, 9999), refused=_never_issued),
    ),
    "en_GB": (
        Fields("AA999999A", *_NINO, Field(8, 1, 0, 4, "ABCD"), refused=_no_prefix),
        Fields("AA999999", *_NINO, refused=_no_prefix),
    ),
    "de_DE": (RepeatedDigit(_digit(10, _iso_7064)),),
    "fr_FR": (
        Fields("9" * 15, *_NIR_MAINLAND, checks=(_NIR_KEY,), refused=_department_20),
        Fields("999999A99999999", *_NIR_CORSICA, checks=(_NIR_KEY,)),
        Fields("9" * 13, *_NIR_MAINLAND, refused=_department_20),
        Fields("999999A999999", *_NIR_CORSICA),
    ),
    "es_ES": (
        Fields("99999999A", Field(0, 8, 0, 10**8), checks=(Check(Field(8, 1, 0, 23, _DNI), _letter_of_dni(DIGITS)),)),
        Fields(
            "A9999999A",
            Field(0, 1, 0, 3, "XYZ"),
            Field(1, 7, 0, 10**7),
            checks=(Check(Field(8, 1, 0, 23, _DNI), _letter_of_dni("XYZ")),),
        ),
    ),
    "pt_BR": (
        Fields(
            "9" * 11,
            Field(0, 9, 0, 10**9),
            checks=(_digit(9, _modulo_eleven(*range(10, 1, -1))), _digit(10, _modulo_eleven(*range(11, 1, -1)))),
        ),
        Fields(
            "9" * 14,
            Field(0, 12, 0, 10**12),
            checks=(_digit(12, _modulo_eleven(*_CNPJ)), _digit(13, _modulo_eleven(6, *_CNPJ))),
        ),
    ),
    "ja_JP": (
        Fields("9" * 12, Field(0, 11, 0, 10**11), checks=(_digit(11, _modulo_eleven(*_MY_NUMBER)),)),
    ),
}  # fmt: skip

# ------------------------------------------------------------------------------------------------------ masks

_CASE: Final = np.uint8(ord("a") - ord("A"))
# Tweaks of schemes are above those of ``Characters``.
_TWEAK: Final = 1 << 40


class National(Mask):
    """Permutes the numbers of the schemes of some locales, the first that fits, and the signs of all else."""

    def __init__(self, prf: Prf, locales: Sequence[str], encoding: str) -> None:
        self._prf = prf
        self._encoding = encoding
        self._locales = tuple(dict.fromkeys(locales))

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        text = Characters(values, self._encoding)
        signs = np.flatnonzero(text.radix)
        bounds = np.searchsorted(signs, text.offsets)
        counts = np.diff(bounds)
        left = np.ones(len(values), dtype=np.bool_)
        done: list[tuple[Values, Signs]] = []
        for number, scheme in enumerate(scheme for name in self._locales for scheme in _SCHEMES[name]):
            rows = np.flatnonzero(left & (counts == len(scheme.pattern)))
            places = signs[bounds[rows] + np.arange(len(scheme.pattern))[:, None]]
            radixes = np.array([[len(ALPHABETS[sign])] for sign in scheme.pattern], dtype=np.uint8)
            fits = (text.radix[places] == radixes).all(axis=0)
            rows, places = rows[fits], places[:, fits]
            if not rows.size:
                continue
            left[rows] = False
            found = text.data[places]
            small = found >= ord("a")
            found = found - _CASE * small
            scheme.permute(self._prf, found, _TWEAK + number)
            done.append((places, found + _CASE * small))
        for places, _ in done:
            text.radix[places] = 0
        text.permute(self._prf)
        for places, found in done:
            text.data[places] = found
        return text.column()


class NationalByColumn(RowMask):
    """The same in the locale that another column of the row names."""

    def __init__(self, prf: Prf, locales: Sequence[str], column: str, encoding: str) -> None:
        self.needs = (column,)
        self._masks = [National(prf, [name], encoding) for name in locales]
        self._reader = Reader(tuple(locales))

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        which = self._reader.read(siblings[self.needs[0]])
        parts = [(np.flatnonzero(which == number), mask) for number, mask in enumerate(self._masks)]
        return merge(len(values), *((rows, mask.apply(values.take(pa.array(rows)))) for rows, mask in parts))


def _build_national(params: LocaleParams, build: Build) -> AnyMask:
    locales = spoken(params, build)
    if locales.column is None:
        return National(build.prf, locales.names, build.encoding)
    return NationalByColumn(build.prf, locales.names, locales.column, build.encoding)


def _national_uniqueness(params: LocaleParams, column: Column) -> Uniqueness:
    # Numbers of two countries may meet.
    return Uniqueness.LOSSY if isinstance(params.locale, LocaleColumn) else Uniqueness.INJECTIVE


register(
    MaskKind(
        name="id.national",
        group=Group.IDS,
        summary="a national identity or tax number of the same form; a valid one stays valid",
        types=TEXT,
        params=LocaleParams,
        build=_build_national,
        uniqueness=_national_uniqueness,
        form=Form.KEPT,
        examples=(
            Example("123-45-6789"),
            Example("12345678Z", {"locale": "es_ES"}),
            Example("111.444.777-35", {"locale": "pt_BR"}),
        ),
        notes="Known are the Social Security number, National Insurance number, Steuer-ID, NIR, DNI and NIE, CPF and "
        "CNPJ, and My Number; of a list of locales, the first that has such a form. Other text has its digits and "
        "letters permuted. Such a number may be someone's.",
    )
)
register(
    MaskKind(
        name="id.plate",
        group=Group.IDS,
        summary="a number plate of the same form: digits become digits, letters letters",
        types=TEXT,
        params=NoParams,
        build=lambda params, build: CharactersMask(build.prf, build.encoding),
        uniqueness=injective,
        form=Form.KEPT,
        examples=(Example("B-AB 1234"), Example("AB12 CDE")),
        notes="The place that a plate is from is permuted too. Such a plate may be someone's.",
    )
)
