"""Names of people, picked from word lists. Lossy: there are fewer names than people."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from transform.masks import words
from transform.masks.base import TEXT, Build, Mask, MaskKind, Params, lossy, register
from transform.masks.choosing import Composed, Phrases


class NameParams(Params):
    """``preserve_format`` keeps the case of names written all in capitals or all in small letters."""

    preserve_format: bool = False


@cache
def _first_name() -> Phrases:
    return Phrases((words.first_names(), 0))


@cache
def _last_name() -> Phrases:
    return Phrases((words.last_names(), 1))


@cache
def _full_name() -> Phrases:
    return Phrases((words.ending(words.first_names(), b" "), 0), (words.last_names(), 1))


def _name(name: str, summary: str, phrases: Callable[[], Phrases], example: tuple[str, str]) -> None:
    def build(params: NameParams, build: Build) -> Mask:
        return Composed(build.prf, build.column, phrases(), preserve_case=params.preserve_format)

    register(MaskKind(name, summary, TEXT, NameParams, build, lossy, example))


_name("name.first", "a first name from a list", _first_name, ("Grace", "Anna"))
_name("name.last", "a last name from a list", _last_name, ("Hopper", "Keller"))
_name("name.full", "a first and a last name from lists", _full_name, ("Grace Hopper", "Anna Keller"))
