"""The words that masks pick from, by locale: Faker's lists of names and countries, our own places, and what is made of
both. All are sorted and UTF-8.

A production may hold its text in an encoding that lacks some of a locale's characters. Such words are left out, as long
as a quarter of a list remains; else the locale is refused. Places are left out as a whole, so that columns of one
address agree.

Lists are read once per process, when they are needed, and never at run time per value. A list's order and length
decide every pick, so another release of Faker may mask the same value to another word: ``fingerprint`` tells lists
apart and belongs into what a copy must match to be continued. ``WORDS_VERSION`` counts our own changes in how lists
are made of what it covers.
"""

from __future__ import annotations

import csv
import importlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import BadInput
from transform.encodings import codec_of
from transform.masks.choosing import Lists
from transform.masks.locales import LOCALES, Locale

WORDS_VERSION: Final = 2

_PLACES: Final = Path(__file__).with_name("places.tsv")
_LONGEST_COUNTRY: Final = 24
# Every last name with every kind of street would be too many; each gets so many, spread over the list.
_KINDS_PER_NAME: Final = 8
# The letters of the last part of a British postcode.
_LETTERS: Final = "ABDEFGHJLNPQRSTUWXYZ"

# Which lane of a tag picks what, whatever text it stands in, so that texts of one tag agree with each other.
PLACE, HOUSE, STREET, TAIL = range(4)
FIRST, LAST, SECOND_LAST = range(3)


class Place(NamedTuple):
    """A town. ``code`` is its region's; ``start`` begins its postcodes; ``latitude`` and ``longitude`` are in
    ten-thousandths of a degree."""

    city: str
    region: str
    code: str
    start: str
    latitude: int
    longitude: int


@cache
def _all_places() -> dict[str, tuple[Place, ...]]:
    found: dict[str, list[Place]] = {name: [] for name in LOCALES}
    with _PLACES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            latitude, longitude = (round(float(row[name]) * 10_000) for name in ("latitude", "longitude"))
            found[row["locale"]].append(
                Place(row["city"], row["region"], row["code"], row["postcode"], latitude, longitude)
            )
    return {name: tuple(sorted(places)) for name, places in found.items()}


def _array(words: Iterable[str]) -> pa.BinaryArray:
    return pa.array([word.encode() for word in words], type=pa.binary())


def numbers(low: int, high: int, digits: int = 1) -> pa.BinaryArray:
    """The decimal numbers in [low, high), with zeros in front where they have fewer ``digits``."""
    return pa.array([b"%0*d" % (digits, number) for number in range(low, high)], type=pa.binary())


def ending(words: pa.BinaryArray, end: bytes) -> pa.BinaryArray:
    """Each word with the same end."""
    return pc.binary_join_element_wise(words, end, b"") if end else words


class Words:
    """The lists of one locale, as far as an encoding holds them. Raises ``BadInput`` from a list of which too little
    remains; its message says which locale and encoding."""

    def __init__(self, locale: str, encoding: str) -> None:
        self.locale: Locale = LOCALES[locale]
        self._encoding = encoding
        self._codec = codec_of(encoding)

    def _provider(self, kind: str) -> Any:
        return importlib.import_module(f"faker.providers.{kind}.{self.locale.name}").Provider

    def _holds(self, word: str) -> bool:
        try:
            (word + word.upper() + word.lower()).encode(self._codec)
        except UnicodeEncodeError:
            return False
        return True

    def _held(self, words: Sequence[str]) -> list[str]:
        held = [word for word in words if self._holds(word)]
        if 4 * len(held) < len(words):
            raise BadInput(
                f"words of the locale {self.locale.name} have characters that production's encoding lacks.",
                hint=f"The encoding is {self._encoding}: choose a `locale` that it can write, such as en_US.",
            )
        return held

    def _listed(self, words: Iterable[str]) -> tuple[str, ...]:
        return tuple(self._held(sorted(set(words))))

    # -------------------------------------------------------------------------------------------------- people

    @cached_property
    def first_names(self) -> tuple[str, ...]:
        """First names such as ``Anna``."""
        return self._listed(self._provider("person").first_names)

    @cached_property
    def last_names(self) -> tuple[str, ...]:
        """Last names such as ``Keller``."""
        return self._listed(self._provider("person").last_names)

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """Forms of address such as ``Mrs.``."""
        return self._listed(self.locale.titles)

    @cached_property
    def mailbox_first_names(self) -> tuple[str, ...]:
        """First names in lower-case ASCII letters only, as mail addresses hold them."""
        person = self._provider("person")
        return _in_ascii(getattr(person, "first_romanized_names", person.first_names))

    @cached_property
    def mailbox_last_names(self) -> tuple[str, ...]:
        """Last names in lower-case ASCII letters only, as mail addresses hold them."""
        person = self._provider("person")
        return _in_ascii(getattr(person, "last_romanized_names", person.last_names))

    # ------------------------------------------------------------------------------------------------- addresses

    @cached_property
    def streets(self) -> tuple[str, ...]:
        """Street names such as ``Keller Avenue``."""
        template, kinds = self.locale.street_name, self.locale.street_kinds
        if not kinds:
            return self._listed(self._provider("address").towns)
        each = min(_KINDS_PER_NAME, len(kinds))
        return self._listed(
            template.format(last=name, kind=kinds[(each * row + turn) * 5 % len(kinds)])
            for row, name in enumerate(self.last_names)
            for turn in range(each)
        )

    @cached_property
    def houses(self) -> tuple[str, ...]:
        """House numbers such as ``12``, or ``4-12-3`` where blocks have numbers too."""
        if self.locale.street_kinds:
            return tuple(str(number) for number in range(1, 1000 if self.locale.name == "en_US" else 200))
        return tuple(f"{chome}-{block}-{house}" for chome, block, house in product(*map(range, (1, 1, 1), (6, 21, 16))))

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Towns, in one order for all lists of them."""
        places = _all_places()[self.locale.name]
        held = set(self._held([f"{place.city} {place.region}" for place in places]))
        return tuple(place for place in places if f"{place.city} {place.region}" in held)

    @cached_property
    def postcode_tails(self) -> tuple[str, ...]:
        """What follows a postcode's start."""
        signs = {"#": "0123456789", "@": _LETTERS}
        return tuple(map("".join, product(*(signs.get(sign, sign) for sign in self.locale.postcode_tail))))

    @cached_property
    def countries(self) -> tuple[str, ...]:
        """Countries such as ``Norway``; long official names, which read badly, are left out."""
        return self._listed(name for name in self._provider("address").countries if len(name) <= _LONGEST_COUNTRY)

    @cached_property
    def alpha2(self) -> tuple[str, ...]:
        """The countries' codes of two letters (ISO 3166-1)."""
        return self._listed(self._provider("address").alpha_2_country_codes)

    @cached_property
    def alpha3(self) -> tuple[str, ...]:
        """The countries' codes of three letters (ISO 3166-1)."""
        return self._listed(self._provider("address").alpha_3_country_codes)

    @cached_property
    def coordinates(self) -> npt.NDArray[np.int64]:
        """The places' latitudes and longitudes, as two rows, in ten-thousandths of a degree."""
        return np.array([[place.latitude, place.longitude] for place in self.places], dtype=np.int64).T

    # -------------------------------------------------------------------------------------------------- templates

    def write(self, template: str) -> Lists:
        """Lists for ``Phrases`` that write a template, such as ``{first} {last}``: what stands behind a part is in
        its words."""
        first, *parts = re.split(r"(\{\w+\})", template)
        self._held(["".join((first, *parts[1::2]))])
        pieces = [(_array([first]), 0)] if first else []
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            lists = self._part(name[1:-1])
            if text:
                last, lane = lists[-1]
                lists[-1] = (ending(last, text.encode()), lane)
            pieces += lists
        return tuple(pieces)

    def _part(self, name: str) -> list[tuple[pa.BinaryArray, int]]:
        def of_places(said: Callable[[Place], str]) -> pa.BinaryArray:
            return _array(map(said, self.places))

        match name:
            case "first":
                return [(_array(self.first_names), FIRST)]
            case "last":
                return [(_array(self.last_names), LAST)]
            case "last2":
                return [(_array(self.last_names), SECOND_LAST)]
            case "title":
                return [(_array(self.titles), FIRST)]
            case "house":
                return [(_array(self.houses), HOUSE)]
            case "street":
                return [(_array(self.streets), STREET)]
            case "city":
                return [(of_places(lambda place: place.city), PLACE)]
            case "region":
                return [(of_places(lambda place: place.region), PLACE)]
            case "code":
                return [(of_places(lambda place: place.code), PLACE)]
            case "postcode":
                return [(of_places(lambda place: place.start), PLACE), (_array(self.postcode_tails), TAIL)]
            case "country":
                return [(_array(self.countries), FIRST)]
            case "alpha2":
                return [(_array(self.alpha2), FIRST)]
            case "alpha3":
                return [(_array(self.alpha3), FIRST)]
            case _:
                raise AssertionError(f"no part of a template is called {name}")


# German writes its umlauts so where it has none; what else is left of a letter is its base.
_FOLDED: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l"})


def _in_ascii(names: Iterable[str]) -> tuple[str, ...]:
    folded = (unicodedata.normalize("NFKD", name.lower().translate(_FOLDED)) for name in names)
    letters = {"".join(sign for sign in name if sign.isascii() and sign.isalpha()) for name in folded}
    return tuple(sorted(letters - {""}))


@cache
def words_of(locale: str, encoding: str) -> Words:
    """The words of a known locale for a database of that encoding (PostgreSQL's name of it)."""
    return Words(locale, encoding)


@cache
def fingerprint(locales: tuple[str, ...]) -> str:
    """16 hexadecimal digits over ``WORDS_VERSION`` and the lists of these locales."""
    digest = sha256(str(WORDS_VERSION).encode())
    for name in locales:
        words = Words(name, "UTF8")
        lists = (words.first_names, words.last_names, words.countries, words.mailbox_first_names,
                 words.mailbox_last_names, words.alpha2, words.alpha3)  # fmt: skip
        towns = () if words.locale.street_kinds else words.streets
        digest.update(repr((name, *lists, towns, words.places)).encode())
    return digest.hexdigest()[:16]
