"""Where people live: streets, towns, postcodes and countries, picked from word lists; postcodes also by form."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pyarrow as pa

from capture.model import Column
from transform.cmac import Prf
from transform.masks import words
from transform.masks.base import TEXT, Build, Mask, MaskKind, Params, Uniqueness, lossy, register
from transform.masks.choosing import Composed, Phrases
from transform.masks.permutation import Characters


class AddressParams(Params):
    """``preserve_format`` keeps the case of values written all in capitals or all in small letters."""

    preserve_format: bool = False


# Lanes: 0 the house number, 1 the street, 2 the town, 3 the postcode.


@cache
def _house_numbers() -> pa.BinaryArray:
    return words.ending(words.numbers(1, 1000), b" ")


@cache
def _postcodes() -> pa.BinaryArray:
    return words.numbers(0, 100_000, digits=5)


@cache
def _street() -> Phrases:
    """``123 Oak Avenue``"""
    return Phrases((_house_numbers(), 0), (words.street_names(), 1))


@cache
def _city() -> Phrases:
    """``Kellerville``"""
    return Phrases((words.cities(), 2))


@cache
def _postcode() -> Phrases:
    """``12345``"""
    return Phrases((_postcodes(), 3))


@cache
def _full_address() -> Phrases:
    """``12 Oak Street, 12345 Springfield``, in one line."""
    return Phrases(
        (_house_numbers(), 0),
        (words.ending(words.street_names(), b", "), 1),
        (words.ending(_postcodes(), b" "), 3),
        (words.cities(), 2),
    )


@cache
def _country() -> Phrases:
    """``Norway``"""
    return Phrases((words.countries(), 0))


def _address(name: str, summary: str, phrases: Callable[[], Phrases], example: tuple[str, str]) -> None:
    def build(params: AddressParams, build: Build) -> Mask:
        return Composed(build.prf, build.column, phrases(), preserve_case=params.preserve_format)

    register(MaskKind(name, summary, TEXT, AddressParams, build, lossy, example))


_address("address.street", "a house number and a street", _street, ("10 Downing Street", "123 Oak Avenue"))
_address("address.city", "a town", _city, ("London", "Kellerville"))
_address("address.full", "street, postcode and town in one line", _full_address,
         ("10 Downing Street, SW1A 2AA London", "12 Oak Street, 12345 Kellerville"))  # fmt: skip
_address("address.country", "a country", _country, ("Iceland", "Norway"))


class PostcodeParams(Params):
    """``preserve_format`` keeps length and punctuation, digits as digits and letters as letters of their case;
    without it a postcode is five digits."""

    preserve_format: bool = True


class PermutedPostcode(Mask):
    """Another postcode of the same form; no two meet."""

    def __init__(self, prf: Prf) -> None:
        self._prf = prf

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        postcodes = Characters(values)
        postcodes.permute(self._prf)
        return postcodes.column()


def _build_postcode(params: PostcodeParams, build: Build) -> Mask:
    if params.preserve_format:
        return PermutedPostcode(build.prf)
    return Composed(build.prf, build.column, _postcode(), preserve_case=False)


def _postcode_uniqueness(params: PostcodeParams, column: Column) -> Uniqueness:
    return Uniqueness.INJECTIVE if params.preserve_format else Uniqueness.LOSSY


register(
    MaskKind(
        "address.postcode",
        "a postcode of the same form, or of five digits",
        TEXT,
        PostcodeParams,
        _build_postcode,
        _postcode_uniqueness,
        ("SW1A 2AA", "QX7B 9KD"),
    )
)
