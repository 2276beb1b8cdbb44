"""What the names of columns and tables tell, in several languages.

Names are cut into words (snake and camel case, and words written together) and looked up in a table of terms, the most
telling first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from transform.suggest.category import NEUTRAL, Category
from transform.suggest.terms import (
    ABOUT,
    FILLING,
    HEADS,
    IN_FULL,
    NAMED_THINGS,
    NAMES,
    NUMBERED,
    NUMBERS,
    OF_TOOLS,
    PARTS,
    PEOPLE,
    POINTERS,
    ROLES,
    TERMS,
    THINGS,
)

# Letters that are no other letter with an accent.
_WITHOUT_STROKE: Final = str.maketrans(
    {"ß": "ss", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "\u0131": "i", "æ": "ae"}
)


def _plain(text: str) -> str:
    """Without accents; of kana, too, a term and a name lose the same."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_WITHOUT_STROKE))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


# A term belongs to the first category that lists it.
_CATEGORY_OF: Final = {
    "_".join(IN_FULL.get(word, word) for word in _plain(term).split("_")): category
    for category, terms in reversed(TERMS)
    for term in terms.split()
}
_RANK: Final = {category: rank for rank, (category, _) in enumerate(TERMS)}
_LONGEST_TERM: Final = max(term.count("_") + 1 for term in _CATEGORY_OF)


@lru_cache(maxsize=8192)
def tokens(name: str) -> tuple[str, ...]:
    """The words of a name, in small letters, without accents and in full: ``guestEmail_2`` is guest, email, 2, and
    ``CUST_NM`` is customer, name."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", _plain(name))]
    return tuple(_in_full(part) for word in words for part in _apart(word))


def _in_full(word: str) -> str:
    """What old systems shortened: by a list of such words, or by the consonants that are left (``hldr``)."""
    known = IN_FULL.get(word)
    if known is None and len(word) >= _SHORTEST_SKELETON and word not in _WORDS and _skeleton(word) == word:
        known = _SKELETONS.get(word)
    return known or word


def _skeleton(word: str) -> str:
    return word[0] + re.sub(r"[aeiou]", "", word[1:])


def _apart(word: str) -> tuple[str, ...]:
    """Words that were written together: ``emailaddress`` is email, address. Others stay as they are."""
    if word in _WORDS or len(word) < _SHORTEST_JOINED:
        return (word,)
    best: list[tuple[str, ...] | None] = [()] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(end - 2):
            before, part = best[start], word[start:end]
            known = best[end]
            if before is not None and part in _WORDS and (known is None or len(before) + 1 < len(known)):
                best[end] = (*before, part)
    found = best[-1]
    if found is not None:
        return found
    head = next((head for head in HEADS if word.endswith(head)), "")
    return (word.removesuffix(head), head) if head else (word,)


_SHORTEST_JOINED: Final = 7
_SHORTEST_SKELETON: Final = 4
_WORDS: Final = (
    frozenset(part for term in _CATEGORY_OF for part in term.split("_") if len(part) > 2)
    | ABOUT
    | POINTERS
    | PEOPLE
    | THINGS
    | NAMED_THINGS
    | FILLING
    | ROLES
    | {"pay"}
) - {"ort", "str", "nom", "rue", "long", "cell", "pin", "pan", "pass", "kin", "age", "alter", "iq", "tel", "all"}


_SOMEBODY: Final = PEOPLE | ROLES


def _skeletons() -> dict[str, str]:
    """The words that one skeleton alone stands for."""
    found: dict[str, set[str]] = {}
    for word in _WORDS:
        found.setdefault(_skeleton(word), set()).add(word)
    return {skeleton: min(words) for skeleton, words in found.items() if len(words) == 1 and skeleton not in words}


_SKELETONS: Final = _skeletons()


@lru_cache(maxsize=8192)
def by_name(name: str, among: frozenset[Category] | None = None) -> Category | None:
    """What a column of that name seems to hold; ``among`` are the categories that its type can hold, if not all: the
    date in holder_birth_date is no holder."""
    words = list(tokens(name))
    found = _by_terms(words, among)
    # A number is somebody's, a date too, but it is not the person.
    if among is not None:
        return found
    own = [word for word in words if not word.isdigit()]
    if own and own[-1] in NAMES and found in {None, Category.NAME, *NUMBERED} and _are_of_somebody(own[:-1], found):
        return Category.FULL_NAME
    is_doer = len(own) > 1 and own[-1] == "by" and own[-2] not in _NO_DOING
    return Category.PERSON if found is None and (is_doer or (own and own[-1] in ROLES)) else found


# Whoever does these is nobody: sort_by names a column.
_NO_DOING: Final = frozenset("sort order group sorted ordered grouped filter powered".split())


def _are_of_somebody(words: Sequence[str], found: Category | None) -> bool:
    """Whether these words stand for somebody, so that the name that follows is theirs; or for a number's holder."""
    return found in NUMBERED or any(_is_among(word, _SOMEBODY) for word in words)


def _by_terms(words: list[str], among: frozenset[Category] | None) -> Category | None:
    if len(words) > 1 and words[-1] == "name" and words[-2] in NAMED_THINGS:
        return Category.PLAIN
    if len(words) > 1 and words[-1] in ABOUT and "_".join(words[-2:]) not in _CATEGORY_OF:
        # The type of a disability is as telling as the disability, and the year of a birth as the birth.
        about = _look_up(words[:-1], among)
        is_part = about is Category.BIRTH and words[-1] in PARTS
        return about if about is Category.SENSITIVE or is_part else Category.PLAIN
    if len(words) > 1 and words[-1] in POINTERS:
        found = _look_up(words, among, to_the_end=True)
        numbered = _look_up(words[:-1], among, to_the_end=True) if words[-1] in NUMBERS else None
        return numbered if found is None and numbered in NUMBERED else found
    # line1, address2: a digit belongs to the word before it.
    return _look_up(words, among) or _look_up(re.sub(r" (\d)", r"\1", " ".join(words)).split(), among)


def names_a_field(text: str) -> bool:
    """Whether words for what columns hold stand in a text."""
    return any(word in _WORDS for word in tokens(text))


def by_comment(comment: str) -> Category | None:
    """What a comment says that a column holds; the words that are common in comments say nothing."""
    found = _look_up(list(tokens(comment)))
    common = NEUTRAL | {Category.FREE_TEXT, Category.URL, Category.INCOME, Category.USERNAME, Category.FULL_NAME}
    return None if found in common else found


def _look_up(
    words: Sequence[str], among: frozenset[Category] | None = None, *, to_the_end: bool = False
) -> Category | None:
    """The most telling category, ``among`` these, of which a term stands in ``words``; with ``to_the_end``, at their
    end."""
    found = []
    for end in range(len(words) if to_the_end else 1, len(words) + 1):
        for start in range(max(0, end - _LONGEST_TERM), end):
            for joint in ("_", ""):
                category = _CATEGORY_OF.get(joint.join(words[start:end]))
                if category is not None:
                    found.append((start, end, category))
    # A longer term says what the words within it mean: the address of email_address is none.
    telling = {
        category
        for start, end, category in found
        if (among is None or category in among)
        and not any(first <= start and end <= last and last - first > end - start for first, last, _ in found)
    }
    return min(telling, key=_RANK.__getitem__, default=None)


def _is_among(word: str, known: frozenset[str]) -> bool:
    singular = word.removesuffix("ies") + "y" if word.endswith("ies") else word.removesuffix("s")
    return word in known or singular in known or word.removesuffix("es") in known


def lists_people(table: str) -> bool:
    """Whether a table of that name seems to list people, or to say something about each."""
    words = tokens(table)
    return any(_is_among(word, _SOMEBODY) for word in words) and not lists_things(table)


def lists_things(table: str) -> bool:
    """Whether a table of that name seems to list things."""
    words = tokens(table)
    if not words or table.lower() in OF_TOOLS:
        return bool(words)
    # roles of users are things, users of a role are not
    return _is_among(words[-1], THINGS) or (
        any(_is_among(word, THINGS) for word in words) and not any(_is_among(word, _SOMEBODY) for word in words)
    )
