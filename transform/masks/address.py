"""Where people live: streets, towns, regions, postcodes, countries and coordinates, of places that exist.

The columns of one address agree with each other; see ``one_address``. Postcodes that stand alone keep their form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from capture.model import BadInput, Column
from transform.cmac import Bytes, Prf, binary_buffers
from transform.masks import one_address
from transform.masks.base import (
    TEXT,
    AnyMask,
    Build,
    Example,
    Form,
    Group,
    MaskKind,
    Uniqueness,
    lossy,
    register,
)
from transform.masks.choosing import Lists, Phrases, Which, join, recase
from transform.masks.digits import CharactersMask
from transform.masks.localised import Composed, Localised, Spoken, Write
from transform.masks.one_address import AddressParams, GroupParams, build_part, members_of
from transform.masks.words import PLACE, Words, words_of

_TOGETHER: Final = (
    "The columns of a table with masks of addresses and the same group agree with each other: they are one address, "
    "picked by the values of all of them. A column that is unique, a key, an array or linked to others stands alone, "
    "and so do two streets, towns or postcodes of a table for which no group is written."
)

# ------------------------------------------------------------------------------------------------------- words


def _register(
    name: str,
    summary: str,
    build: Callable[[Any, Build], AnyMask],
    *examples: str,
    notes: str = "",
) -> None:
    register(
        MaskKind(
            name=name,
            group=Group.ADDRESS,
            summary=summary,
            types=TEXT,
            params=AddressParams,
            build=build,
            uniqueness=lossy,
            form=Form.ASKED,
            examples=(*map(Example, examples), Example(examples[0], {"locale": "de_DE"})),
            notes=f"{notes} {_TOGETHER}".lstrip(),
        )
    )


def _words(name: str, summary: str, write: Write, example: str) -> None:
    def build(params: AddressParams, build: Build) -> AnyMask:
        def make(prf: Prf, column: Column, locales: Spoken) -> Localised:
            return Composed(prf, column, locales.phrases(write)[0], locales, preserve_case=params.preserve_format)

        return build_part(params, build, (write,), make)

    _register(name, summary, build, example)


_words("address", "a whole address in one line; the same as address.full", one_address.whole, "10 Downing St, London")
_words("address.full", "a whole address in one line", one_address.whole, "10 Downing St, London")
_words("address.street", "a street and a house number", one_address.street, "10 Downing Street")
_words("address.city", "a town", one_address.city, "London")

# ------------------------------------------------------------------------------------------- names and codes


class Coded(Localised):
    """A name, or a code where the original looks like one: ASCII of as many characters. Codes have the original's case.
    A column that has room for codes only gets them always."""

    def __init__(
        self, prf: Prf, column: Column, locales: Spoken, names: Write, codes: Mapping[int, Write], *, case: bool
    ) -> None:
        super().__init__(prf, column, locales)
        self._names = locales.phrases(names)[0]
        self._codes = {length: locales.phrases(write)[0] for length, write in codes.items()}
        self._only = max((length for length in codes if length <= (self._room or 0)), default=None)
        if self._room is None or self._room > max(codes):
            self._only = None
        self._preserve_case = case

    def write(self, values: pa.BinaryArray, tags: Bytes, which: Which) -> pa.BinaryArray:
        if self._only is not None:
            return self._coded(self._codes[self._only], values, tags, which)
        made = self._names.write(tags, which)
        made = self.fit(recase(made, values) if self._preserve_case else made, self._names.longest)
        offsets, data = binary_buffers(values)
        lengths = offsets[1:] - offsets[:-1]
        for length, phrases in self._codes.items():
            rows = np.flatnonzero(lengths == length)
            wanted = np.zeros(len(values), dtype=bool)
            wanted[rows] = (data[offsets[rows][:, None] + np.arange(length)] < 0x80).all(axis=1)
            if wanted.any():
                made = pc.if_else(pa.array(wanted), self._coded(phrases, values, tags, which), made)
        return made

    def _coded(self, phrases: Phrases, values: pa.BinaryArray, tags: Bytes, which: Which) -> pa.BinaryArray:
        return self.fit(recase(phrases.write(tags, which), values), phrases.longest)


def _build_region(params: AddressParams, build: Build) -> AnyMask:
    names, code = one_address.region, one_address.region_code
    make = partial(Coded, names=names, codes={2: code, 3: code}, case=params.preserve_format)
    return build_part(params, build, (names, code), make)


def _country(words: Words) -> Lists:
    return words.write("{country}")


def _alpha2(words: Words) -> Lists:
    return words.write("{alpha2}")


def _alpha3(words: Words) -> Lists:
    return words.write("{alpha3}")


def _build_country(params: AddressParams, build: Build) -> AnyMask:
    alone = _country, _alpha2, _alpha3
    names, two, three = one_address.PARTS["address.country"] if members_of(params, build) else alone
    make = partial(Coded, names=names, codes={2: two, 3: three}, case=params.preserve_format)
    return build_part(params, build, alone, make)


_CODES: Final = "A value of two or three ASCII characters is a code and becomes one."
_register("address.region", "a region, or its code", _build_region, "Scotland", "CA", notes=_CODES)
_register(
    "address.country",
    "a country or its code; in an address, that of the locale",
    _build_country,
    "Iceland",
    "IS",
    notes=f"{_CODES} A country that stands alone is any.",
)

# --------------------------------------------------------------------------------------------------- postcodes


class PostcodeParams(GroupParams):
    """How a postcode is written."""

    preserve_format: bool | None = Field(
        default=None,
        description="Keep length and punctuation, digits as digits and letters as letters of their case. Without it, "
        "a postcode that stands alone does, and one that is part of an address is its town's.",
    )


def _build_postcode(params: PostcodeParams, build: Build) -> AnyMask:
    if params.preserve_format or (params.preserve_format is None and not members_of(params, build)):
        return CharactersMask(build.prf, build.encoding)

    def make(prf: Prf, column: Column, locales: Spoken) -> Localised:
        return Composed(prf, column, locales.phrases(one_address.postcode)[0], locales, preserve_case=False)

    return build_part(params, build, (one_address.postcode,), make)


def _postcode_uniqueness(params: PostcodeParams, column: Column) -> Uniqueness:
    # What must be unique is no part of an address.
    return Uniqueness.LOSSY if params.preserve_format is False else Uniqueness.INJECTIVE


register(
    MaskKind(
        name="address.postcode",
        group=Group.ADDRESS,
        summary="the postcode of the address's town; alone, one of the same form",
        types=TEXT,
        params=PostcodeParams,
        build=_build_postcode,
        uniqueness=_postcode_uniqueness,
        form=Form.ASKED,
        examples=(
            Example("SW1A 2AA"),
            Example("SW1A 2AA", {"preserve_format": False}),
            Example("SW1A 2AA", {"preserve_format": False, "locale": "en_GB"}),
        ),
        notes=f"With preserve_format it keeps its form and agrees with no town. {_TOGETHER}",
    )
)

# ------------------------------------------------------------------------------------------------- coordinates

_DECIMALS: Final = 4  # of the coordinates of places
_SPREAD: Final = 200  # how far from the town's centre, in ten-thousandths of a degree: about two kilometres


class Coordinate(Localised):
    """A latitude (``axis`` 0) or longitude (1) near the town, in degrees, with four decimals or as many as the column
    shows."""

    def __init__(self, prf: Prf, column: Column, locales: Spoken, axis: int) -> None:
        super().__init__(prf, column, locales)
        self._axis = axis
        centres = [words_of(name, locales.encoding).coordinates[axis] for name in locales.names]
        self._centres = np.concatenate(centres)
        sizes = np.array([len(own) for own in centres], dtype=np.uint64)
        self._sizes, self._starts = sizes, np.cumsum(sizes) - sizes
        scale = column.scale if column.base_type == "numeric" else None
        self._scale = _DECIMALS if scale is None else scale
        self._is_float = column.base_type in {"float4", "float8"}

    def write(self, values: pa.BinaryArray, tags: Bytes, which: Which) -> pa.BinaryArray:
        numbers = tags.view("<u4").astype(np.uint64)
        locale = np.int64(0) if which is None else which
        place = (numbers[:, PLACE] * self._sizes[locale] >> np.uint64(32)) + self._starts[locale]
        aside = numbers[:, PLACE + 1 + self._axis] * np.uint64(2 * _SPREAD + 1) >> np.uint64(32)
        units = self._centres[place] + aside.view(np.int64) - _SPREAD
        dropped = max(_DECIMALS - self._scale, 0)
        if dropped:
            units = np.round(units / 10**dropped).astype(np.int64)
        # The numbers are the digits of decimals, whose halves they fill.
        digits = pa.py_buffer(np.ascontiguousarray(np.column_stack([units, units >> 63])))
        kind = pa.decimal128(19, _DECIMALS - dropped)
        text = pa.Array.from_buffers(kind, len(units), [None, digits]).cast(pa.string())
        if self._is_float:
            text = pc.ascii_rtrim(pc.ascii_rtrim(text, "0"), ".")
        written = text.view(pa.binary())
        if self._scale > _DECIMALS:
            written = join(written, b"0" * (self._scale - _DECIMALS))
        return self.fit(written, len("-180.0000"))


def _coordinate(name: str, summary: str, axis: int, digits: int, example: str) -> None:
    def build(params: GroupParams, build: Build) -> AnyMask:
        column = build.column
        precision = (column.typmod - 4) >> 16 & 0xFFFF if column.typmod >= 4 else None
        scale = column.scale or 0
        if column.base_type == "numeric" and precision is not None and not 0 <= scale <= precision - digits:
            raise BadInput(
                f"a {name.partition('.')[2]} has {digits} digits before the point, and {column.type_name} holds others."
            )
        return build_part(params, build, (one_address.city,), partial(Coordinate, axis=axis))

    register(
        MaskKind(
            name=name,
            group=Group.ADDRESS,
            summary=summary,
            types=TEXT | {"numeric", "float4", "float8"},
            params=GroupParams,
            build=build,
            uniqueness=lossy,
            examples=(Example(example, type_name="float8"), Example(example, {"locale": "fr_FR"}, "numeric")),
            notes=f"Degrees with up to four decimals, within two kilometres or so of a town's centre. {_TOGETHER}",
        )
    )


_coordinate("address.latitude", "a latitude in or near the address's town", 0, 2, "51.5034")
_coordinate("address.longitude", "a longitude in or near the address's town", 1, 3, "-0.1276")
