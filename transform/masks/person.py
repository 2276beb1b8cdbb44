"""Names of people, picked from word lists. Lossy: there are fewer names than people."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from transform.cmac import Bytes
from transform.masks import words
from transform.masks.base import TEXT, Build, Mask, MaskKind, Params, lossy, register
from transform.masks.choosing import Composed, join, lanes, pick


class NameParams(Params):
    """``preserve_format`` keeps the case of names written all in capitals or all in small letters."""

    preserve_format: bool = False


def first_name(tags: Bytes) -> pa.BinaryArray:
    """``Anna``"""
    return pick(words.first_names(), lanes(tags)[0])


def last_name(tags: Bytes) -> pa.BinaryArray:
    """``Keller``"""
    return pick(words.last_names(), lanes(tags)[1])


def full_name(tags: Bytes) -> pa.BinaryArray:
    """``Anna Keller``"""
    return join(first_name(tags), b" ", last_name(tags))


def _name(name: str, summary: str, compose: Callable[[Bytes], pa.BinaryArray], example: tuple[str, str]) -> None:
    def build(params: NameParams, build: Build) -> Mask:
        return Composed(build.prf, build.column, compose, preserve_case=params.preserve_format)

    register(MaskKind(name, summary, TEXT, NameParams, build, lossy, example))


_name("name.first", "a first name from a list", first_name, ("Grace", "Anna"))
_name("name.last", "a last name from a list", last_name, ("Hopper", "Keller"))
_name("name.full", "a first and a last name from lists", full_name, ("Grace Hopper", "Anna Keller"))
