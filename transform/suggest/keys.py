"""Which keys of documents are data, as those of an object that maps people to something, and which are names of fields.

Keys are data where one of them is an address, a number or the name of somebody; where most are names of people or
towns, or values of a column that is masked; and where they differ from object to object and nothing says that they
name fields. What is in doubt stands in no rules file and no finding, though it stays in the copy.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Final

from transform.places import Keys, Place
from transform.suggest.category import Category
from transform.suggest.dictionaries import is_city, is_first_name, is_full_name, is_last_name
from transform.suggest.judge import classified, telling_hits
from transform.suggest.names import names_a_field, tokens
from transform.suggest.profile import MOST, Profile

_WRITTEN_AS_FIELDS: Final = re.compile(r"[^\W\d](?:[^\W\d]|-){0,38}\d?")
_MOST_RARE: Final = 60
_FEW: Final = 8
_ALIKE: Final = 0.8
# Of fewer objects nobody can tell which keys differ.
_LEAST_OBJECTS: Final = 3
_LONGEST: Final = 40
_MOST_LOOKED_AT: Final = 2_000
_MEANINGLESS: Final = frozenset({Category.CODE})


def are_data(keys: Keys, known: Collection[bytes] = ()) -> bool:
    """Whether the keys are data; ``known`` holds values of masked columns."""
    few = _rare(keys)
    return len(few) > _MOST_RARE or tell_of_somebody(keys, known) or _differ(keys, few)


def tell_of_somebody(keys: Keys, known: Collection[bytes] = ()) -> bool:
    """Whether the keys are data by what they say, not only because they differ."""
    if not keys.counts:
        return False
    texts = {key: _text(key) for key in islice(keys.counts, _MOST_LOOKED_AT)}
    profile = profile_of(keys)
    category = classified(profile)
    if telling_hits(profile) or profile.random >= MOST or (category is not None and category not in _MEANINGLESS):
        return True
    if any(" " in text and is_full_name(text) for text in texts.values()):
        return True
    people = [text for text in texts.values() if _is_somebody(text)]
    if len(people) >= MOST * len(texts) and (len(people) > 2 or sum(map(_is_surely, people)) > 1):
        return True
    again = sum(key in known for key in texts)
    return again > 1 and again * 2 >= len(texts)


def may_be_shown(keys: Keys) -> set[bytes]:
    """Of keys that are no data, those that surely name fields, and may stand in rules and in findings: they are in
    every other object, or in some and unlike the others that are in some, or words for what fields hold. What is not
    written as the name of a field must have such a word and no digit, and be in every other object."""
    few = _rare(keys)
    in_doubt = _unexplained(few) if len(few) > 1 and _are_alike(few.values()) else set()
    shown: set[bytes] = set()
    for key in keys.counts:
        text = _text(key)
        if _WRITTEN_AS_FIELDS.fullmatch(text) is None:
            is_plain = len(text) <= _LONGEST and text.isprintable() and not any(map(str.isdigit, text))
            if key in few or not is_plain or not names_a_field(text):
                continue
        if key in in_doubt or (_is_somebody(text) and _is_surely(text)):
            continue
        shown.add(key)
    return shown


def fields_beside(keys: Keys, known: Collection[bytes] = ()) -> set[bytes]:
    """Of keys some of which are data, those that are none: in every other object, and written as fields are; if people
    are in every other object, too, only words for what fields hold."""
    common = keys.without(_rare(keys).keys())
    somebody = {key for key in common.counts if key in known or _is_somebody(_text(key))}
    return {
        key
        for key in may_be_shown(common) - somebody
        if _WRITTEN_AS_FIELDS.fullmatch(_text(key)) and (not somebody or names_a_field(_text(key)))
    }


def profile_of(keys: Keys) -> Profile:
    """The profile of keys, each as often as it came; of very many, of the first ones."""
    profile = Profile(Counter())
    for key, times in islice(keys.counts.items(), _MOST_LOOKED_AT):
        profile.counts[_text(key)] += times
    return profile


def _text(key: bytes) -> str:
    return key.decode("utf-8", "replace")


def _is_somebody(text: str) -> bool:
    """Whether a key is the name of a person or a town, and no word for a field."""
    if names_a_field(text):
        return False
    return any(known(_as_name(text)) for known in (is_full_name, is_first_name, is_last_name, is_city))


def _is_surely(somebody: str) -> bool:
    """Whether such a key is none of the fields that are called like people: a capital, or both names, tell."""
    return somebody[:1].isupper() or is_full_name(_as_name(somebody))


def _as_name(text: str) -> str:
    return " ".join(word.title() for word in tokens(text) if not word.isdigit())


def _differ(keys: Keys, few: Mapping[bytes, Sequence[Place]]) -> bool:
    """Whether so many keys are in few objects only that they are no fields."""
    unexplained = _unexplained(few)
    if len(unexplained) < MOST * len(few):
        return False
    odd = sum(_WRITTEN_AS_FIELDS.fullmatch(_text(key)) is None for key in unexplained)
    return (len(few) > _FEW and _are_alike(few.values())) or (odd > 1 and odd * 2 > len(keys.counts))


def _rare(keys: Keys) -> Mapping[bytes, Sequence[Place]]:
    """The keys, with what lies there, that are not in every other object."""
    limit = keys.objects if keys.objects >= _LEAST_OBJECTS else 2 * keys.objects + 1
    return {key: those for key, those in keys.members.items() if keys.counts[key] * 2 < limit}


def _unexplained(members: Mapping[bytes, Sequence[Place]]) -> set[bytes]:
    return {key for key in members if not names_a_field(_text(key))}


def _are_alike(members: Collection[Sequence[Place]]) -> bool:
    """Whether what lies at several keys is of one kind, as the members of a map are."""
    kinds = Counter(frozenset[str]().union(*(place.kinds for place in those)) for those in members)
    del kinds[frozenset()]
    return not kinds or max(kinds.values()) >= _ALIKE * kinds.total()
