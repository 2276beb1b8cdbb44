"""What the values of one column look like, as counts. No value leaves a profile."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from transform.suggest import dictionaries
from transform.suggest.category import Category
from transform.suggest.detectors import Hits, detect, looks_random

# A share that classifies.
MOST: Final = 0.6
_FEW: Final = 25
# Lists bring more values than there are rows: whoever is named in several of each is no word that comes again.
_MOST_FEW: Final = 50
_ENOUGH: Final = 100
# Small tables: every value comes at least so often.
_REPEATED: Final = 4
_LONGEST_LOOKED_AT: Final = 2_000
_SENTENCE_SPACES: Final = 4
_SENTENCE_LENGTH: Final = 40
_CODE: Final = re.compile(r"\S*\d\S*|[A-Z]{1,6}|[a-z0-9]+(?:[-_./:][a-z0-9]+)+|[\w.-]*[/_][\w./-]*")
# What is filled in where there is no value.
_BLANKS: Final = frozenset(
    """- -- --- . .. ... ? ?? ??? / * 0 00 x xx xxx n/a na n.a. n.a n.v. none null nil nan unknown unk undefined tbd tba
    unbekannt k.a. keine entfällt inconnu n.c. nc s/n s/d sin desconocido desconhecido ninguno nenhum onbekend okänd
    ukendt sconosciuto brak bilinmiyor yok neznamy 不明 なし""".split()
)
_NAMES: Final[tuple[tuple[Category, Callable[[str], bool]], ...]] = (
    (Category.FULL_NAME, dictionaries.is_full_name),
    (Category.FIRST_NAME, dictionaries.is_first_name),
    (Category.LAST_NAME, dictionaries.is_last_name),
    (Category.CITY, dictionaries.is_city),
)


@dataclass(frozen=True, eq=False)
class Profile:
    """Counts over values (text format, no NULLs), without the ``blanks``, which are filled in for a value. ``sampled``
    is false where nobody could look."""

    counts: Counter[str]
    sampled: bool = True
    blanks: int = 0

    @classmethod
    def of(cls, values: Iterable[bytes] | None) -> Profile:
        """The profile of a column's values; None: they were not sampled. What is filled in for a value counts where
        there is nothing else."""
        texts = (value[:_LONGEST_LOOKED_AT].decode("utf-8", "replace").strip() for value in values or () if value)
        filled = Counter(text for text in texts if text)
        told = Counter({text: times for text, times in filled.items() if text.lower() not in _BLANKS})
        return cls(told or filled, values is not None, filled.total() - (told or filled).total())

    def __repr__(self) -> str:
        return f"Profile({self.distinct} distinct in {self.total})"

    @cached_property
    def total(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    @property
    def distinct(self) -> int:
        """How many different ones."""
        return len(self.counts)

    @property
    def is_few(self) -> bool:
        """Whether a few values come again and again, as states and kinds do."""
        if self.total >= _ENOUGH:
            return self.distinct <= max(_FEW, min(self.total // 20, _MOST_FEW))
        return 0 < self.distinct * _REPEATED <= self.total

    @property
    def tells_apart(self) -> bool:
        """Whether most rows have a value of their own."""
        return self.distinct * 2 > self.total

    @cached_property
    def hits(self) -> list[Hits]:
        """What the detectors found, the most frequent first."""
        return detect(self.counts)

    @cached_property
    def names(self) -> dict[Category, float]:
        """Shares of values that the dictionaries know."""
        return {category: self._share(test) for category, test in _NAMES}

    @cached_property
    def like_full_names(self) -> float:
        """The share of values that are written as full names are, and of which the dictionaries know a part."""
        return self._share(dictionaries.is_like_full_name)

    @cached_property
    def naming(self) -> float:
        """The share of values in which somebody's full name stands."""
        return self._share(dictionaries.names_somebody)

    @cached_property
    def sentences(self) -> int:
        """How many values are texts rather than words."""
        return self._count(
            lambda text: text.count(" ") >= _SENTENCE_SPACES or (len(text) >= _SENTENCE_LENGTH and " " in text)
        )

    @cached_property
    def random(self) -> float:
        """The share of values that nobody thought of."""
        return self._share(looks_random)

    @cached_property
    def codes(self) -> float:
        """The share of values without spaces that have digits, or are written as identifiers are."""
        return self._share(lambda text: _CODE.fullmatch(text) is not None)

    @cached_property
    def numbers(self) -> float:
        """The share of values that are numbers."""
        return self._share(lambda text: re.fullmatch(r"-?\d+(?:[.,]\d+)?%?", text) is not None)

    @cached_property
    def long_numbers(self) -> float:
        """The share of values that are whole numbers as long as those of telephones, accounts and people."""
        return self._share(lambda text: re.fullmatch(r"\d{7,}", text) is not None)

    @cached_property
    def tells(self) -> Category | None:
        """What few values tell of somebody, by words for it."""
        return dictionaries.tells(self.counts) if self.is_few else None

    def _count(self, test: Callable[[str], bool]) -> int:
        return sum(times for text, times in self.counts.items() if test(text))

    def _share(self, test: Callable[[str], bool]) -> float:
        return self._count(test) / self.total if self.total else 0.0

    def out_of_all(self, count: int) -> str:
        """That many of the values, blanks too."""
        return f"{count}/{self.total + self.blanks}"

    def __str__(self) -> str:
        """The evidence when nothing else is: counts alone."""
        if not self.sampled:
            return "not sampled"
        return f"{self.distinct} distinct in {self.total}" if self.total else "no values"
