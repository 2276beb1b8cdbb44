"""Where people live: streets, towns, postcodes and countries, picked from word lists; postcodes also by form."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from capture.model import Column
from transform.cmac import Bytes, Prf
from transform.masks import words
from transform.masks.base import TEXT, Build, Mask, MaskKind, Params, Uniqueness, lossy, register
from transform.masks.choosing import Composed, join, lanes, numbers, padded_numbers, pick
from transform.masks.permutation import Characters


class AddressParams(Params):
    """``preserve_format`` keeps the case of values written all in capitals or all in small letters."""

    preserve_format: bool = False


def street(tags: Bytes) -> pa.BinaryArray:
    """``123 Oak Avenue``"""
    number, name, _, _ = lanes(tags)
    return join(numbers(number, 1, 1000), b" ", pick(words.street_names(), name))


def city(tags: Bytes) -> pa.BinaryArray:
    """``Kellerville``"""
    return pick(words.cities(), lanes(tags)[2])


def postcode(tags: Bytes) -> pa.BinaryArray:
    """``12345``"""
    return padded_numbers(lanes(tags)[3], 5)


def full_address(tags: Bytes) -> pa.BinaryArray:
    """``12 Oak Street, 12345 Springfield``, in one line."""
    return join(street(tags), b", ", postcode(tags), b" ", city(tags))


def country(tags: Bytes) -> pa.BinaryArray:
    """``Norway``"""
    return pick(words.countries(), lanes(tags)[0])


def _address(name: str, summary: str, compose: Callable[[Bytes], pa.BinaryArray], example: tuple[str, str]) -> None:
    def build(params: AddressParams, build: Build) -> Mask:
        return Composed(build.prf, build.column, compose, preserve_case=params.preserve_format)

    register(MaskKind(name, summary, TEXT, AddressParams, build, lossy, example))


_address("address.street", "a house number and a street", street, ("10 Downing Street", "123 Oak Avenue"))
_address("address.city", "a town", city, ("London", "Kellerville"))
_address("address.full", "street, postcode and town in one line", full_address,
         ("10 Downing Street, SW1A 2AA London", "12 Oak Street, 12345 Kellerville"))  # fmt: skip
_address("address.country", "a country", country, ("Iceland", "Norway"))


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
    return Composed(build.prf, build.column, postcode, preserve_case=False)


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
