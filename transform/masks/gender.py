"""Words for genders: others of the vocabulary that a column speaks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from capture.model import Column
from transform.cmac import Bytes, Prf
from transform.encodings import codec_of
from transform.masks.base import TEXT, AnyMask, Build, Example, Form, Group, MaskKind, RowMask, lossy, register
from transform.masks.choosing import Which, lanes
from transform.masks.locales import LOCALES
from transform.masks.localised import LocaleParams, Localised, Reader, Spoken, in_locales, spoken

# Vocabularies of no locale in particular; ISO/IEC 5218 has numbers.
_GENERAL: Final = (("1", "2"), ("0", "1", "2", "9"))
# What a vocabulary may have beside its words. One that means it draws from both, all others from the words alone.
_OTHERS: Final = frozenset(
    """other others diverse divers x nonbinary non-binary unknown unspecified autre otro otra outro outra その他
    不明""".split()
)
# Parts what is drawn here from what else follows a person.
_DIFFERS: Final = np.frombuffer(b"drawing a gender", dtype=np.uint8)


class GenderParams(LocaleParams):
    """Which words there are."""

    words: tuple[str, ...] = Field(
        default=(),
        description="The column's words. Without them, a value is of the vocabulary that it is known from: m and f, "
        "male and female, and those of the locale.",
    )

    @field_validator("words")
    @classmethod
    def _are_some(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if not all(words):
            raise ValueError("an empty text is no word")
        return words


@cache
def _vocabularies(locale: str) -> tuple[tuple[str, ...], ...]:
    """Those that a value may be of, the locale's own first."""
    others = (words for name, each in LOCALES.items() if name != locale for words in each.genders)
    return tuple(dict.fromkeys((*LOCALES[locale].genders, *_GENERAL, *others)))


class Gender(Localised):
    """Draws a word of the vocabulary that a value is of, in the value's case; for a value of none, of the locale's
    first vocabulary that fits the column."""

    def __init__(self, prf: Prf, column: Column, locales: Spoken, words: tuple[str, ...]) -> None:
        super().__init__(prf, column, locales)
        self._names = locales.names
        self._codec = codec_of(locales.encoding)
        self._words = words

    def write(self, values: pa.BinaryArray, tags: Bytes, which: Which) -> pa.BinaryArray:
        if not len(values):
            return values
        coded = values.fill_null(b"").dictionary_encode()
        texts = coded.dictionary.to_pylist()
        # The different pairs of a value and a locale; there are few.
        pairs = coded.indices.to_numpy().astype(np.int64) * len(self._names) + (0 if which is None else which)
        pairs, place = np.unique(pairs, return_inverse=True)
        choices = [
            self._choices(texts[pair // len(self._names)], self._names[pair % len(self._names)])
            for pair in pairs.tolist()
        ]
        sizes = np.array([len(each) for each in choices], dtype=np.uint64)
        starts = np.cumsum(sizes) - sizes
        picked = (lanes(tags)[0].astype(np.uint64) * sizes[place] >> np.uint64(32)) + starts[place]
        return pa.array([word for each in choices for word in each], type=pa.binary()).take(pa.array(picked))

    def _choices(self, value: bytes, locale: str) -> tuple[bytes, ...]:
        text = value.decode(errors="replace").strip()
        said = text.casefold()
        if self._words:
            return self._held(self._words)
        for vocabulary in _vocabularies(locale):
            if said in vocabulary and (found := self._held(_cased(vocabulary, text))):
                return found
        beside = (said,) if said in _OTHERS else ()
        for vocabulary in LOCALES[locale].genders:
            if len(found := self._held(_cased((*vocabulary, *beside), text))) > 1:
                return found
        return self._held(("f", "m"))

    def _held(self, words: tuple[str, ...]) -> tuple[bytes, ...]:
        """Those that the column and production's encoding hold."""
        return tuple(word.encode() for word in words if self._holds(word))

    def _holds(self, word: str) -> bool:
        try:
            word.encode(self._codec)
        except UnicodeEncodeError:
            return False
        return self._room is None or (len(word.encode()) if self._counts_bytes else len(word)) <= self._room


def _cased(words: tuple[str, ...], like: str) -> tuple[str, ...]:
    if like.isupper():
        return tuple(map(str.upper, words))
    return tuple(map(str.capitalize, words)) if like[:1].isupper() else words


class GenderOfSubject(RowMask):
    """The same for the person whom the row is about, who has one gender in all of their rows."""

    def __init__(self, mask: Gender, subject: tuple[str, Prf], locales: Spoken) -> None:
        self._mask = mask
        self._subject, self._prf = subject
        self._column = locales.column
        self._reader = Reader(locales.names)
        self.needs = tuple(dict.fromkeys(name for name in (self._subject, self._column) if name is not None))

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        tags = self._prf.blocks(self._prf.tags(siblings[self._subject]) ^ _DIFFERS)
        which = self._mask.picked(tags) if self._column is None else self._reader.read(siblings[self._column])
        return self._mask.speak(values, tags, which)


def _build_gender(params: GenderParams, build: Build) -> AnyMask:
    locales = spoken(params, build)
    mask = Gender(build.prf, build.column, locales, params.words)
    own = build.column.name
    if build.subject is not None and own in build.free and build.subject[0] != own:
        return GenderOfSubject(mask, build.subject, locales)
    return in_locales(mask, locales)


register(
    MaskKind(
        name="gender",
        group=Group.PERSON,
        summary="another word of the same vocabulary, such as m and f",
        types=TEXT,
        params=GenderParams,
        build=_build_gender,
        uniqueness=lossy,
        follows_subject=True,
        form=Form.NEW,
        examples=(
            Example("female"),
            Example("M"),
            Example("weiblich", {"locale": "de_DE"}),
            Example("W", {"locale": "de_DE"}),
            Example("unsure", {"words": ["a", "b"]}),
        ),
        notes="Where the table has a subject, it is drawn for each person; else a word always becomes the same word, "
        "so that how often each occurs still shows. A letter that several vocabularies have is of the locale's: write "
        "`words` where the column has others.",
    )
)
