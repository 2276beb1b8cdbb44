"""Masks that speak a locale: how rules say which one, and the masks of text that is made of a locale's words.

A rule's ``locale`` is a name, a list of names of which each value picks one by its tag, or ``{column: NAME}``, a column
whose text names the locale of its row. Without it, a mask speaks the rules' own locale, and so does a row whose column
is NULL or names no locale that is known, or none that production's encoding can write.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator

from capture.model import BadInput, Column
from transform.cmac import Bytes, Prf
from transform.masks.base import MASKS, AnyMask, Build, Params, RowMask
from transform.masks.choosing import Lists, Phrases, TextMask, Which, below, lanes, recase
from transform.masks.locales import LOCALES, find
from transform.masks.words import Words, words_of

# Lists of a locale, as ``Phrases`` takes them. Always a function of a module, since what it gives is cached.
Write: TypeAlias = Callable[[Words], Lists]


class LocaleColumn(BaseModel):
    """A column that names each row's locale."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str


class LocaleParams(Params):
    """Which locale is spoken."""

    locale: str | tuple[str, ...] | LocaleColumn | None = Field(
        default=None,
        description="A locale such as de_DE; a list, of which each value picks one; or {column: NAME}, a column that "
        "holds each row's locale, country, language or telephone number. Without it, the rules' own.",
    )

    @field_validator("locale", mode="before")
    @classmethod
    def _is_known(cls, written: Any) -> Any:
        match written:
            case None | LocaleColumn():
                return written
            case {"column": str(), **rest} if not rest:
                return LocaleColumn.model_validate(written)
            case str():
                _refuse_unknown(written)
                return written
            case list() | tuple() if written and all(isinstance(name, str) for name in written):
                for name in written:
                    _refuse_unknown(name)
                return tuple(written)
        raise ValueError("must be a locale, a list of locales, or {column: NAME}")


def _refuse_unknown(name: str) -> None:
    if name not in LOCALES:
        raise ValueError(f"there is no locale of that name; they are {', '.join(LOCALES)}")


@dataclass(frozen=True, slots=True)
class Spoken:
    """The locales that a mask speaks. With ``column``, the first is that of rows of which nothing is known; else each
    value picks one by its tag."""

    names: tuple[str, ...]
    column: str | None
    encoding: str

    def phrases(self, write: Write) -> tuple[Phrases, Spoken]:
        """Texts in every locale, and the locales themselves without those that cannot be written.

        Raises ``BadInput`` if one that must be spoken cannot.
        """
        if self.column is None:
            return _phrases(self.names, self.encoding, write), self
        first, *others = self.names
        write(words_of(first, self.encoding))
        able = replace(self, names=(first, *(name for name in others if _can(write, name, self.encoding))))
        return _phrases(able.names, self.encoding, write), able


@cache
def _phrases(names: tuple[str, ...], encoding: str, write: Write) -> Phrases:
    first, *others = (write(words_of(name, encoding)) for name in names)
    return Phrases(*first, variants=others)


def _can(write: Write, name: str, encoding: str) -> bool:
    try:
        write(words_of(name, encoding))
    except BadInput:
        return False
    return True


def spoken(params: LocaleParams, build: Build) -> Spoken:
    """Which locales a rule means."""
    match params.locale:
        case LocaleColumn(column=column):
            return Spoken((build.locale, *(name for name in LOCALES if name != build.locale)), column, build.encoding)
        case None:
            return Spoken((build.locale,), None, build.encoding)
        case str(name):
            return Spoken((name,), None, build.encoding)
        case names:
            return Spoken(names, None, build.encoding)


def may_speak(rule: Any) -> bool:
    """Whether a rule as written, or one inside it, may be of a mask that speaks a locale."""
    match rule:
        case str():
            return rule in MASKS and issubclass(MASKS[rule].params, LocaleParams)
        case dict():
            return any(map(may_speak, rule.values()))
        case list():
            return any(map(may_speak, rule))
        case _:
            return False


def named_in(rule: Any) -> set[str]:
    """The locales that a rule as written may speak beside the rules' own."""
    match rule:
        case dict():
            found = set().union(*map(named_in, rule.values()))
            match rule.get("locale"):
                case str(name):
                    found.add(name)
                case list(names):
                    found.update(name for name in names if isinstance(name, str))
                case dict():
                    found.update(LOCALES)
            return found & LOCALES.keys()
        case list():
            return set().union(*map(named_in, rule))
        case _:
            return set()


class Localised(TextMask):
    """A mask whose text is in one of several locales. By itself it picks one by the value's tag."""

    def __init__(self, prf: Prf, column: Column, locales: Spoken) -> None:
        super().__init__(prf, column)
        self._count = len(locales.names)

    @abstractmethod
    def write(self, values: pa.BinaryArray, tags: Bytes, which: Which) -> pa.BinaryArray:
        """New text for each value, which fits the column, of these tags and in these locales. What it gives for NULL
        and for an empty value is not looked at."""

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        tags = self.tags(values)
        return self.write(values, tags, self.picked(tags))

    def picked(self, tags: Bytes) -> Which:
        """The locale of each tag; bits that pick no words decide."""
        return None if self._count == 1 else below(lanes(self._prf.blocks(tags))[0], self._count)

    def speak(self, values: pa.BinaryArray, tags: Bytes, which: Which) -> pa.BinaryArray:
        """The whole mask, of tags and in locales that the caller gives."""
        return self.filled(values, self.write(values, tags, which))


class Reader:
    """Reads which of the locales a column names."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._numbers = {name: number for number, name in enumerate(names)}

    def read(self, values: pa.BinaryArray) -> npt.NDArray[np.int64]:
        """The number of each value's locale; 0 where it names none."""
        coded = values.dictionary_encode()
        numbers = [self._number(text) for text in coded.dictionary.to_pylist()]
        indices = coded.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)
        read: npt.NDArray[np.int64] = np.array([*numbers, 0], dtype=np.int64)[indices]
        return read

    def _number(self, text: bytes) -> int:
        name = find(text.decode(errors="replace"))
        return self._numbers.get(name, 0) if name is not None else 0


class ByColumn(RowMask):
    """A mask in the locale that another column of the row names."""

    def __init__(self, mask: Localised, locales: Spoken) -> None:
        assert locales.column is not None
        self.needs = (locales.column,)
        self._mask = mask
        self._reader = Reader(locales.names)

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        which = self._reader.read(siblings[self.needs[0]])
        return self._mask.speak(values, self._mask.tags(values), which)


def in_locales(mask: Localised, locales: Spoken) -> AnyMask:
    """The mask as the rules want it: by itself, or by a column."""
    return mask if locales.column is None else ByColumn(mask, locales)


class Composed(Localised):
    """Text of words alone, cut to the column's length, in the original's case where asked."""

    def __init__(self, prf: Prf, column: Column, phrases: Phrases, locales: Spoken, *, preserve_case: bool) -> None:
        super().__init__(prf, column, locales)
        self._phrases = phrases
        self._preserve_case = preserve_case

    def write(self, values: pa.BinaryArray, tags: Bytes, which: Which) -> pa.BinaryArray:
        made = self._phrases.write(tags, which)
        return self.fit(recase(made, values) if self._preserve_case else made, self._phrases.longest)


def composed(write: Write, params: LocaleParams, build: Build, *, preserve_case: bool) -> AnyMask:
    """A mask of words alone."""
    phrases, locales = spoken(params, build).phrases(write)
    return in_locales(Composed(build.prf, build.column, phrases, locales, preserve_case=preserve_case), locales)
