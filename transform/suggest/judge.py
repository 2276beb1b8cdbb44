"""A judgement on one column, from its name, its table, its type and its values: what it holds, keep, or undecided.

Values outweigh a name where they are clear; a name outweighs values that are not. What is left is kept only where it
is plain that it says nothing of a person: few values that come again and again, codes of things, texts about things.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from capture.model import counted
from transform.suggest.category import Category
from transform.suggest.detectors import Hits
from transform.suggest.free_text import people_in
from transform.suggest.names import tokens
from transform.suggest.profile import MOST, Profile


class Call(Enum):
    """What may be said without naming a category: ``SAFE`` is to be masked by whatever hides it."""

    KEEP = auto()
    SAFE = auto()
    TODO = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A category or a call, and why, in a few words without values."""

    what: Category | Call
    why: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a value stands: in a table that lists people (``of_people``), things (``of_things``), or whose rows refer
    to people (``about_people``); whether it is a key, and how long it may be."""

    of_people: bool = False
    of_things: bool = False
    about_people: bool = False
    is_key: bool = False
    max_length: int | None = None

    @property
    def personal(self) -> bool:
        """Whether what differs from row to row tells people apart."""
        return self.of_people or self.about_people


# Categories whose few values (m, f; A+, B-) are as telling as many.
TELLING: Final = frozenset({Category.SENSITIVE, Category.GENDER, Category.SECRET, Category.CARD})
# A name of these is believed though the values look like codes or few words.
IDENTIFYING: Final = frozenset(
    {
        Category.EMAIL,
        Category.FIRST_NAME,
        Category.LAST_NAME,
        Category.FULL_NAME,
        Category.USERNAME,
        Category.PHONE,
        Category.STREET,
        Category.ADDRESS,
        Category.CARD,
        Category.IBAN,
        Category.ACCOUNT,
        Category.PLATE,
        Category.PERSONAL_NUMBER,
        Category.SECRET,
        Category.QUERY,
        Category.SENSITIVE,
        Category.GENDER,
        Category.IP,
        Category.MAC,
        Category.USER_AGENT,
        Category.POSITION,
        Category.BIRTH,
    }
)
_NAMES: Final = (Category.FULL_NAME, Category.FIRST_NAME, Category.LAST_NAME)
# Towns and postcodes of lookup tables, links and pictures of things.
_PLACES: Final = frozenset({Category.CITY, Category.POSTCODE, Category.COMPANY, Category.REGION})
_OF_THINGS: Final = frozenset({Category.PICTURE, Category.URL})
# What is found in a text is said of it, whatever it is.
_TEXTS: Final = frozenset({Category.FREE_TEXT, Category.DESCRIPTION})
_SHORT_CODE: Final = 10
# Shares of values: that hold what tells of people, that may be names, in which somebody's full name stands.
_OFTEN: Final = 0.05
_LIKE_PEOPLE: Final = 0.1
_LIKE_FULL_NAMES: Final = 0.3
NAMING: Final = 0.1
_RANDOM_NAMES: Final = frozenset(
    "checksum sha hash digest etag fingerprint git uuid guid rowguid revision embedding version".split()
)
_NUMBERS: Final = frozenset("id no nr num number".split())
_ID_ENDS: Final = (("id",), ("uuid",), ("guid",), ("code",), ("key",))
# A date, also as a time at midnight has it.
_DATE: Final = re.compile(r"(\d{4})-\d\d-\d\d(?: 00:00:00(?:[+-]\d\d(?::\d\d)*)?)?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_BIC: Final = re.compile(r"[A-Za-z]{6}[A-Za-z0-9]{2}(?:[A-Za-z0-9]{3})?")
_BANK_CODES: Final = frozenset({"bic", "swift"})
_SHORTEST_NUMBER: Final = 5
_YEAR: Final = re.compile(r"19\d\d|20[0-4]\d")
_BIRTH_SPREAD_YEARS: Final = 30
_DATED_THINGS: Final = frozenset("release released founded published built made issue publication year".split())


def judge_text(name: str, profile: Profile, setting: Setting, category: Category | None) -> Verdict:
    """A text. ``category`` is what the name says, or its comment."""
    verdict = (
        _by_values(name, profile, setting, category)
        or _by_name(profile, setting, category)
        or _by_hits(profile)
        or _by_role(profile, setting, category)
        or _unmarked(name, profile, setting, category)
    )
    return verdict if verdict.what in {Call.KEEP, Call.TODO} else _bank_code(name, profile) or verdict


def evidence(profile: Profile, category: Category | None = None) -> str:
    """The counts of what was found, without values: ``email: 998/1000``; of one category only, if it is given."""
    shown: dict[str, int] = {}
    for hits in profile.hits:
        if not hits.by_chance and category in {None, hits.detector.category}:
            shown[hits.detector.what] = shown.get(hits.detector.what, 0) + hits.count
    return ", ".join(f"{what}: {profile.out_of_all(count)}" for what, count in shown.items())


def _by_values(name: str, profile: Profile, setting: Setting, category: Category | None) -> Verdict | None:
    """A share that classifies."""
    if not profile.total:
        return None
    found = classified(profile)
    if found is not None:
        if found is Category.CODE:
            is_plain = category not in IDENTIFYING and not setting.of_people
            return Verdict(Call.KEEP, evidence(profile)) if is_plain else None
        if found is Category.URL:
            return _link(profile, setting, category)
        # Digits that pass a check by its name's own meaning: a card is a card, whatever else it could be.
        if found is Category.PERSONAL_NUMBER and category in {Category.PHONE, Category.CARD, Category.ACCOUNT}:
            return Verdict(category, f"name: {category}")
        return Verdict(found, evidence(profile))
    if category is Category.PLAIN and profile.is_few:
        return None
    if profile.random >= MOST and category is not Category.PICTURE:
        # The digest of an address is known again by whoever has the address.
        if category not in IDENTIFYING and set(tokens(name)) & _RANDOM_NAMES:
            return Verdict(Call.KEEP, f"digests: {profile.random:.0%}")
        return Verdict(Category.SECRET, f"high entropy: {profile.random:.0%}")
    return _by_dictionary(profile, setting, category)


def classified(profile: Profile) -> Category | None:
    """What most values are by their patterns and check digits."""
    by_category: dict[Category, int] = {}
    for hits in profile.hits:
        if not hits.by_chance:
            whole = hits.count - hits.inside
            by_category[hits.detector.category] = by_category.get(hits.detector.category, 0) + whole
    best = max(by_category, key=lambda each: by_category[each], default=None)
    return best if best is not None and by_category[best] >= MOST * profile.total else None


def _link(profile: Profile, setting: Setting, category: Category | None) -> Verdict | None:
    if category is Category.PICTURE:
        return None
    if category is Category.SECRET:
        return Verdict(Category.SECRET, evidence(profile))
    if setting.of_things and not setting.personal:
        return Verdict(Call.KEEP, evidence(profile))
    return Verdict(Category.URL, evidence(profile))


def _by_dictionary(profile: Profile, setting: Setting, category: Category | None) -> Verdict | None:
    """Names of people and of towns, unless the column's own name says better."""
    if category is Category.USERNAME and profile.names[Category.FULL_NAME] >= MOST:
        # Who opened a ticket may be known by login or by name.
        return Verdict(Category.FULL_NAME, f"{Category.FULL_NAME}: {profile.names[Category.FULL_NAME]:.0%}")
    if category in IDENTIFYING or (setting.of_things and not setting.personal and profile.names[_NAMES[0]] < MOST):
        return None
    if category is Category.PLAIN and not setting.personal and profile.names[Category.FULL_NAME] < MOST:
        return None
    # Towns are called like people: of a column that is named after towns, only full names say otherwise.
    for known in _NAMES[:1] if category is Category.CITY else _NAMES:
        if profile.names[known] >= MOST and (known is Category.FULL_NAME or not profile.is_few):
            return Verdict(known, f"{known}: {profile.names[known]:.0%}")
    if not setting.of_things and profile.like_full_names >= MOST and profile.names[_NAMES[0]] >= _LIKE_FULL_NAMES:
        return Verdict(Category.FULL_NAME, f"like {Category.FULL_NAME}s: {profile.like_full_names:.0%}")
    if setting.personal and category is None and max(profile.names[known] for known in _NAMES) >= MOST:
        # As few as towns or ships that are called so, or the people whom customers are looked after by.
        return Verdict(Call.TODO, f"{profile}, like people's names")
    if profile.names[Category.CITY] >= MOST and setting.personal and category is not Category.PLAIN:
        return Verdict(Category.CITY, f"towns: {profile.names[Category.CITY]:.0%}")
    return None


def _by_name(profile: Profile, setting: Setting, category: Category | None) -> Verdict | None:
    why = evidence(profile, None if category in _TEXTS else category) or f"name: {category}"
    match category:
        case None | Category.NAME | Category.PLAIN | Category.CODE | Category.PERSON:
            return None
        case Category.DESCRIPTION:
            if setting.of_things and not setting.personal and not telling_hits(profile):
                return _about_things(profile, "it describes a thing")
            return Verdict(Category.FREE_TEXT, why)
        case Category.SENSITIVE | Category.GENDER if setting.of_things and not setting.personal and not setting.is_key:
            return None  # the catalogue of what people may have
        case Category.FULL_NAME if setting.of_things and not setting.personal and _names_nobody(profile):
            return None
        case _ if category in TELLING:
            return Verdict(category, why)
        case Category.REGION if profile.is_few or not setting.personal:
            return Verdict(Call.KEEP, str(profile))
        case _ if category in _PLACES and profile.is_few and not setting.personal:
            return Verdict(Call.KEEP, str(profile))
        case _ if category in _OF_THINGS and setting.of_things and not setting.personal:
            return Verdict(Call.KEEP, "of a thing")
        case Category.FREE_TEXT if profile.is_few and not profile.sentences and not telling_hits(profile):
            told = None if setting.of_things and not setting.personal else profile.tells
            return Verdict(told or Call.KEEP, f"words of people: {profile.distinct} distinct" if told else str(profile))
        case Category.MEASURE | Category.INCOME | Category.COMPANY if setting.of_things and not setting.personal:
            return None
        case _ if category in IDENTIFYING and profile.is_few and profile.total and _said_otherwise(profile, category):
            return Verdict(Call.KEEP, str(profile))
        case _:
            return Verdict(category, why)


def _about_things(profile: Profile, why: str) -> Verdict:
    """Texts that are kept unless somebody is named in them."""
    if profile.naming >= NAMING:
        return Verdict(Category.FREE_TEXT, f"full names inside: {profile.naming:.0%}")
    people = people_in(profile.counts)
    return Verdict(Category.FREE_TEXT, f"people in texts: {people}") if people else Verdict(Call.KEEP, why)


def _names_nobody(profile: Profile) -> bool:
    """Whether the values are no people's names, as those of courses and plans: the dictionaries know some of any."""
    return profile.total > 0 and max(profile.names[known] for known in _NAMES) < _LIKE_PEOPLE


def _said_otherwise(profile: Profile, category: Category) -> bool:
    """Whether a few short words are plainly not what the name says: web1 is no e-mail address."""
    must_have = {Category.EMAIL: "@", Category.IP: ".:", Category.MAC: ":-", Category.IBAN: "0123456789"}
    signs = must_have.get(category)
    return signs is not None and not any(sign in text for text in profile.counts for sign in signs)


def _bank_code(name: str, profile: Profile) -> Verdict | None:
    """What is hidden, and is written like a BIC where the name says so: words of eight letters are, too."""
    if not set(tokens(name)) & _BANK_CODES:
        return None
    count = sum(times for text, times in profile.counts.items() if _BIC.fullmatch(text))
    return Verdict(Category.BIC, f"bic: {profile.out_of_all(count)}") if count >= max(1, MOST * profile.total) else None


def telling_hits(profile: Profile) -> list[Hits]:
    """What of the hits says something of a person though it be one, and comes not by chance."""
    return [hits for hits in profile.hits if hits.detector.flags and not hits.by_chance]


def _by_hits(profile: Profile) -> Verdict | None:
    """One hit is enough to ask; what holds some all along is hidden, a text as a text."""
    flagged = telling_hits(profile)
    if not flagged:
        return None
    if profile.sentences * 2 > profile.total:
        return Verdict(Category.FREE_TEXT, evidence(profile))
    often = sum(hits.count for hits in flagged) >= max(_OFTEN * profile.total, 2)
    return Verdict(Call.SAFE if often else Call.TODO, evidence(profile))


def _by_role(profile: Profile, setting: Setting, category: Category | None) -> Verdict | None:
    """Somebody, as the name says (``driver``, ``booked_by``): by name, by login or by initials. A word for people may
    also stand before kinds of them."""
    if category is not Category.PERSON or not profile.total or profile.numbers + profile.random >= MOST:
        return None
    best = max(_NAMES, key=profile.names.__getitem__)
    if profile.is_few and not setting.personal and profile.names[best] < _LIKE_PEOPLE:
        return None
    spaced = sum(times for text, times in profile.counts.items() if " " in text)
    if profile.names[best] < MOST:
        best = Category.FULL_NAME if spaced * 2 > profile.total else Category.USERNAME
    return Verdict(best, f"name: {category}")


def _unmarked(name: str, profile: Profile, setting: Setting, category: Category | None) -> Verdict:
    """Text that no pattern and no telling name marks as personal."""
    if not profile.total:
        return _unseen(name, profile, setting, category)
    if category is Category.NAME and setting.of_people and not setting.of_things and not profile.is_few:
        return Verdict(Category.FULL_NAME, f"name: {category}, in a table of people")
    if profile.tells is not None and not setting.of_things:
        return Verdict(profile.tells, f"words of people: {profile.distinct} distinct")
    told = _by_texts(profile, setting)
    if profile.is_few and (told is None or told.what is not Category.FREE_TEXT or profile.naming < NAMING):
        return Verdict(Call.KEEP, str(profile))
    if told is not None:
        return told
    if category is Category.PLAIN and not (setting.of_people and profile.tells_apart):
        return Verdict(Call.KEEP, str(profile))
    if all(map(_DATE.fullmatch, profile.counts)):
        return judge_date(name, profile, setting, category)
    unexplained = category is None and not setting.is_key and not setting.of_things and profile.tells_apart
    if unexplained and profile.long_numbers >= MOST:
        return Verdict(Call.SAFE, f"long numbers: {profile.long_numbers:.0%}")
    if setting.is_key and setting.of_people and _is_number_of_people(name, profile, setting):
        return Verdict(Call.SAFE, f"{profile}, a key of people")
    of_one = setting.of_people or (setting.about_people and category is None and profile.tells_apart)
    if profile.numbers + profile.codes >= 0.9 and (not of_one or setting.is_key):
        return Verdict(Call.KEEP, f"codes: {profile.distinct} distinct in {profile.total}")
    if setting.is_key and (setting.max_length or _SHORT_CODE + 1) <= _SHORT_CODE:
        return Verdict(Call.KEEP, f"a key of {counted(setting.max_length or 0, 'character')}")
    like_people = max(profile.names[known] for known in _NAMES)
    if setting.of_people:
        return Verdict(Call.SAFE, f"{profile}, in a table of people")
    if like_people >= _LIKE_PEOPLE and not setting.of_things:
        return Verdict(Call.TODO, f"like people's names: {like_people:.0%}")
    if setting.of_things or category in {Category.NAME, Category.PLAIN}:
        return Verdict(Call.KEEP, f"{profile}, of things")
    return Verdict(Call.SAFE if setting.about_people else Call.TODO, str(profile))


def _by_texts(profile: Profile, setting: Setting) -> Verdict | None:
    """Running text, and anything in which people's full names stand."""
    is_text = profile.sentences * 2 > profile.total
    # Things may be called after people.
    if profile.naming >= (NAMING if is_text or setting.personal or not setting.of_things else MOST):
        return Verdict(Category.FREE_TEXT if is_text else Call.SAFE, f"full names inside: {profile.naming:.0%}")
    if not is_text:
        return None
    if setting.of_things and not setting.personal:
        return _about_things(profile, f"sentences about things: {profile.sentences}/{profile.total}")
    return Verdict(Category.FREE_TEXT, f"sentences: {profile.sentences}/{profile.total}")


def _is_number_of_people(name: str, profile: Profile, setting: Setting) -> bool:
    """Whether people are known by such a key outside of the database, too: not what a machine made, or a short code."""
    words = tokens(name)
    if not {words[0], words[-1]} & _NUMBERS or (setting.max_length or _SHORT_CODE + 1) <= _SHORT_CODE:
        return False
    numbers = (
        times for text, times in profile.counts.items() if len(text) > _SHORTEST_NUMBER and re.search(r"\d", text)
    )
    made = (times for text, times in profile.counts.items() if _UUID.fullmatch(text))
    return sum(numbers) * 2 > profile.total > sum(made) * 2


def _unseen(name: str, profile: Profile, setting: Setting, category: Category | None) -> Verdict:
    """A column without values: what will come there one day is masked, unless its name makes it plain."""
    if category is Category.PLAIN or (category is Category.NAME and setting.of_things and not setting.of_people):
        return Verdict(Call.KEEP, str(profile))
    if category is Category.NAME and setting.of_people:
        return Verdict(Category.FULL_NAME, f"name: {category}, in a table of people")
    if setting.is_key and tokens(name)[-1:] in _ID_ENDS:
        return Verdict(Call.KEEP, f"an id; {profile}")
    if not profile.sampled:
        return Verdict(Call.TODO, str(profile))
    return Verdict(Call.SAFE, f"{profile}; hidden to be safe")


def judge_number(name: str, profile: Profile, setting: Setting, category: Category | None, *, whole: bool) -> Verdict:
    """A number; ``whole`` for integers."""
    why = f"name: {category}"
    if setting.is_key and category not in {
        Category.PERSONAL_NUMBER, Category.PHONE, Category.CARD, Category.ACCOUNT,
    }:  # fmt: skip
        return Verdict(Call.KEEP)
    match category:
        case Category.INCOME | Category.BIRTH:
            plain = profile.is_few and not setting.of_people
            return Verdict(Call.KEEP, str(profile)) if plain and profile.total else Verdict(category, why)
        case Category.MEASURE:
            return Verdict(category, why) if setting.personal and not setting.of_things else Verdict(Call.KEEP)
        case Category.LATITUDE | Category.LONGITUDE:
            return Verdict(Call.KEEP, str(profile)) if profile.is_few else Verdict(category, why)
        case Category.POSITION:
            return Verdict(Call.SAFE, why)
        case Category.SENSITIVE | Category.SECRET | Category.GENDER if not whole:
            return Verdict(Category.MEASURE, why)
        case Category.PHONE | Category.CARD | Category.PERSONAL_NUMBER | Category.ACCOUNT if (
            profile.is_few and profile.total
        ):
            # Each of those is somebody's own; a few that come again and again are days, or kinds.
            return Verdict(Call.KEEP, str(profile))
        case Category.PHONE | Category.CARD | Category.PERSONAL_NUMBER | Category.SECRET | Category.ACCOUNT:
            return Verdict(category, why)
        case Category.SENSITIVE | Category.GENDER if setting.personal:
            return Verdict(category, why)
        case _:
            found = classified(profile) if whole and profile.total else None
            if found in {Category.CARD, Category.PERSONAL_NUMBER} and profile.hits[0].count >= 0.9 * profile.total:
                return Verdict(found, evidence(profile))
            if whole and setting.of_people and category is None and all(map(_YEAR.fullmatch, profile.counts)):
                return _by_years(profile, sorted(map(int, profile.counts.elements())))
            return Verdict(Call.KEEP)


def judge_date(name: str, profile: Profile, setting: Setting, category: Category | None) -> Verdict:
    """A date or a time: dates of birth are told by their name, or by years that span generations."""
    if category is Category.BIRTH:
        return Verdict(Category.BIRTH, f"name: {category}")
    words = set(tokens(name))
    if category not in {None, Category.PLAIN} or words & _DATED_THINGS or setting.of_things:
        return Verdict(Call.KEEP)
    years = sorted(int(match[1]) for text in profile.counts if (match := _DATE.fullmatch(text)))
    return Verdict(Call.KEEP) if len(years) < profile.distinct else _by_years(profile, years)


def _by_years(profile: Profile, years: list[int]) -> Verdict:
    """The years, in order, of people's births span generations."""
    if profile.is_few or len(years) < _SHORT_CODE:
        return Verdict(Call.KEEP)
    low, high = years[len(years) // 20], years[-1 - len(years) // 20]
    if high - low >= _BIRTH_SPREAD_YEARS and low > 1880:
        return Verdict(Category.BIRTH, f"dates over {high - low} years")
    return Verdict(Call.KEEP)
