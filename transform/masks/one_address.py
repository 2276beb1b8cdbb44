"""One address in several columns: what they share, and how one of them is masked as a part of it.

The columns of a table that are masked by ``address`` and its parts, and have the same ``group``, form one address: all
of them are written from one tag over their values, so that the postcode is the town's and the town is in the region.
A column stands alone if no other is of its group, or if other columns of its row may have no say (``Build.free``):
then its own value decides. Where no group is named, so do parts that occur twice, since they are of two addresses.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError

from capture.model import BadInput, Column
from transform.cmac import Prf
from transform.masks.base import AnyMask, Build, RowMask
from transform.masks.choosing import Lists, fold_case
from transform.masks.localised import LocaleParams, Localised, Reader, Spoken, Write, in_locales, spoken
from transform.masks.words import Words

_BETWEEN: Final = pa.scalar(b"\0", pa.binary())


class GroupParams(LocaleParams):
    """Whose address."""

    group: str = Field(
        default="",
        description="The address that the column is part of, where a table has several: billing, shipping. Columns of "
        "one group agree with each other.",
    )


class AddressParams(GroupParams):
    """Whose address, and how it is written."""

    preserve_format: bool = Field(
        default=False, description="Keep the case of values that are written all in capitals or all in small letters."
    )


# ------------------------------------------------------------------------------------------- what the parts say


def whole(words: Words) -> Lists:
    """``12 Oak Street, Springfield, IL 62701``, in one line."""
    return words.write(words.locale.address)


def street(words: Words) -> Lists:
    """``123 Oak Avenue``"""
    return words.write(words.locale.street)


def city(words: Words) -> Lists:
    """``Springfield``"""
    return words.write("{city}")


def postcode(words: Words) -> Lists:
    """``62701``"""
    return words.write("{postcode}")


def region(words: Words) -> Lists:
    """``Illinois``"""
    return words.write("{region}")


def region_code(words: Words) -> Lists:
    """``IL``"""
    return words.write("{code}")


def own_country(words: Words) -> Lists:
    """The locale's country."""
    return words.write(words.locale.country)


def own_alpha2(words: Words) -> Lists:
    """Its code of two letters."""
    return words.write(words.locale.alpha2)


def own_alpha3(words: Words) -> Lists:
    """Its code of three letters."""
    return words.write(words.locale.alpha3)


# The masks that are parts of an address, and the texts that they write.
PARTS: Final[Mapping[str, tuple[Write, ...]]] = {
    "address": (whole,),
    "address.full": (whole,),
    "address.street": (street,),
    "address.city": (city,),
    "address.postcode": (postcode,),
    "address.region": (region, region_code),
    "address.country": (own_country, own_alpha2, own_alpha3),
    "address.latitude": (city,),
    "address.longitude": (city,),
}

# Of these an address has a name and a code.
_REPEATABLE: Final = frozenset({"address.region", "address.country"})

# What makes a part's mask: it gets the function of the address, the column, and the locales that it is to speak.
Make: TypeAlias = Callable[[Prf, Column, Spoken], Localised]

# ------------------------------------------------------------------------------------------------ one address


class OfOneAddress(RowMask):
    """A part of an address: what decides is a tag over all ``members`` of it, in one order."""

    def __init__(self, mask: Localised, prf: Prf, own: str, members: Mapping[str, Column], locales: Spoken) -> None:
        self._mask = mask
        self._prf = prf
        self._own = own
        self._members = tuple(members)
        self._padded = frozenset(name for name, shape in members.items() if shape.base_type == "bpchar")
        self._folded = frozenset(name for name, shape in members.items() if shape.base_type == "citext")
        self._column = locales.column
        self._reader = Reader(locales.names)
        read = (*members, locales.column) if locales.column is not None else tuple(members)
        self.needs = tuple(dict.fromkeys(name for name in read if name != own))

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        row = {**siblings, self._own: values}
        # No value holds the byte 0. NULL and an empty text count as one: neither says where.
        joined = pc.binary_join_element_wise(
            *(self._plain(name, row[name]) for name in self._members),
            _BETWEEN,
            null_handling="replace",
            null_replacement="",
        )
        tags = self._prf.tags(joined)
        which = self._mask.picked(tags) if self._column is None else self._reader.read(row[self._column])
        return self._mask.speak(values, tags, which)

    def _plain(self, name: str, values: pa.BinaryArray) -> pa.BinaryArray:
        if name in self._padded:
            return pc.ascii_rtrim(values.view(pa.string()), " ").view(pa.binary())
        return fold_case(values) if name in self._folded else values


def members_of(params: GroupParams, build: Build) -> Mapping[str, Column]:
    """The columns of the address, by name; empty for a column that stands alone."""
    own = build.column.name
    names = sorted(
        name
        for name, (mask, written) in build.rules.items()
        if name in build.free and mask in PARTS and written.get("group", "") == params.group
    )
    if not params.group:
        counted = Counter(_part_of(name, build) for name in names)
        names = [name for name in names if _part_of(name, build) in _REPEATABLE or counted[_part_of(name, build)] == 1]
    return {name: build.row[name] for name in names} if own in names and len(names) > 1 else {}


def _part_of(name: str, build: Build) -> str:
    mask = build.rules[name][0]
    return "address.full" if mask == "address" else mask


def build_part(params: GroupParams, build: Build, alone: tuple[Write, ...], make: Make) -> AnyMask:
    """A part of an address, or a column that stands alone and writes ``alone``.

    Raises ``BadInput`` if the parts have different locales, or production's encoding lacks one's characters.
    """
    members = members_of(params, build)
    if not members:
        locales = _able(spoken(params, build), alone)
        return in_locales(make(build.prf, build.column, locales), locales)
    # A locale that one part cannot be written in is spoken by none.
    writes = tuple(write for name in members for write in PARTS[build.rules[name][0]])
    locales = _able(spoken(_said_by(members, params, build), build), writes)
    assert build.keyed is not None
    prf = build.keyed(f"address {json.dumps([params.group, *members])}")
    return OfOneAddress(make(prf, build.column, locales), prf, build.column.name, members, locales)


def _able(locales: Spoken, writes: tuple[Write, ...]) -> Spoken:
    for write in dict.fromkeys(writes):
        _, locales = locales.phrases(write)
    return locales


def _said_by(members: Mapping[str, Column], params: GroupParams, build: Build) -> LocaleParams:
    said: list[Any] = [build.rules[name][1].get("locale") for name in members]
    different = {json.dumps(locale, default=str): locale for locale in said if locale is not None}
    if len(different) > 1:
        raise BadInput(
            "the columns of one address have different locales.",
            hint="Write the same `locale` for all of them, or for one; or tell the addresses apart by `group`.",
        )
    try:
        return LocaleParams(locale=next(iter(different.values()), None))
    except ValidationError:  # told where it is written
        return params
