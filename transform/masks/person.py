"""Names of people and forms of address, picked from the lists of a locale. No title, no initial: a name identifies by
its letters, and what is picked says nothing of the original but its case.

Login names are words too, with a tag that tells people apart.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
from pydantic import Field

from capture.model import BadInput, Column
from transform.cmac import Bytes, Prf
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
from transform.masks.choosing import Lists, Phrases, Which, base32, fixed_width, join, room
from transform.masks.localised import LocaleParams, Localised, Spoken, Write, composed, in_locales, spoken
from transform.masks.words import FIRST, Words, ending


class NameParams(LocaleParams):
    """How a name is written."""

    preserve_format: bool = Field(
        default=False, description="Keep the case of names that are written all in capitals or all in small letters."
    )


def _first_name(words: Words) -> Lists:
    return words.write("{first}")


def _last_name(words: Words) -> Lists:
    return words.write("{last}")


def _full_name(words: Words) -> Lists:
    return words.write(words.locale.full_name)


def _title(words: Words) -> Lists:
    return words.write("{title}")


def _name(name: str, summary: str, write: Write, example: str, notes: str = "") -> None:
    def build(params: NameParams, build: Build) -> AnyMask:
        return composed(write, params, build, preserve_case=params.preserve_format)

    register(
        MaskKind(
            name=name,
            group=Group.PERSON,
            summary=summary,
            types=TEXT,
            params=NameParams,
            build=build,
            uniqueness=lossy,
            form=Form.ASKED,
            examples=(
                Example(example),
                Example(example.upper(), {"preserve_format": True}),
                Example(example, {"locale": "ja_JP"}),
            ),
            notes=notes,
        )
    )


_ORDER: Final = "The order is the locale's: in ja_JP the family name comes first, in es_ES and pt_BR there are two."
_name("name", "a first and a last name from lists; the same as name.full", _full_name, "Grace Hopper", _ORDER)
_name("name.first", "a first name from a list", _first_name, "Grace")
_name("name.last", "a last name from a list", _last_name, "Hopper")
_name("name.full", "a first and a last name from lists", _full_name, "Grace Hopper", _ORDER)
_name("name.title", "a form of address from a list", _title, "Mrs.")

# ----------------------------------------------------------------------------------------------------- username

# 65 bits of the tag; two names meet with negligible odds.
_TAG: Final = 13


def _user_words(words: Words) -> Lists:
    names = pa.array([name.encode() for name in words.mailbox_first_names], type=pa.binary())
    return ((ending(names, b"_"), FIRST),)


class Username(Localised):
    """``anna_k3v9x2m8q1tza``: a word if the column has room for it, and a tag."""

    def __init__(self, prf: Prf, column: Column, phrases: Phrases, locales: Spoken) -> None:
        super().__init__(prf, column, locales)
        left = self._room if self._room is not None else 1_000
        self._tag = min(_TAG, left)
        self._words = phrases if left >= _TAG + phrases.longest else None

    def write(self, values: pa.BinaryArray, tags: Bytes, which: Which) -> pa.BinaryArray:
        tag = fixed_width(base32(tags, self._tag))
        # The tag takes the low bits of 13 bytes; words may come from any, since they only decorate.
        return tag if self._words is None else join(self._words.write(tags, which), tag)


def _build_username(params: LocaleParams, build: Build) -> AnyMask:
    limit = room(build.column)
    if build.unique and limit is not None and limit < _TAG:
        raise BadInput(
            f"masked user names need {_TAG} characters in a unique column, and {build.column.type_name} holds {limit}.",
            hint="Widen the column, or choose a mask that permutes, such as text.scramble.",
        )
    phrases, locales = spoken(params, build).phrases(_user_words)
    return in_locales(Username(build.prf, build.column, phrases, locales), locales)


def _username_uniqueness(params: LocaleParams, column: Column) -> Uniqueness:
    limit = room(column)
    return Uniqueness.TAGGED if limit is None or limit >= _TAG else Uniqueness.LOSSY


register(
    MaskKind(
        name="username",
        group=Group.PERSON,
        summary="a login name, made of a word and a tag",
        types=TEXT,
        params=LocaleParams,
        build=_build_username,
        uniqueness=_username_uniqueness,
        examples=(Example("ghopper"), Example("ghopper", {"locale": "es_ES"})),
        notes="The tag keeps names apart; where a column that is not unique has no room for all of it, it is cut.",
    )
)
