"""Lists of people's names, of towns, and of words for what people are, to recognise such values.

Names and towns are Faker's, of all its locales at once: what a value looks like does not tell where its people live.
What masks put in place of names has lists of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Final

from transform.suggest.category import Category

# A name of one sign is a letter, but where signs are ideographs.
_SHORTEST: Final = 2
_FIRST_IDEOGRAPH: Final = 0x3000
_IDEOGRAPHS: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]{2,6}")


def _locales(kind: str) -> Iterator[ModuleType]:
    """Faker's modules of that kind, one for each locale."""
    package = import_module(f"faker.providers.{kind}")
    for found in iter_modules(package.__path__):
        yield import_module(f"{package.__name__}.{found.name}")


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text)
    return "".join(sign for sign in plain if not unicodedata.combining(sign)).lower()


def _words(listed: Any) -> set[str]:
    found: set[str] = set()
    for word in listed if isinstance(listed, Collection) else ():
        # Some locales pair a name with its transliterations.
        for text in word if isinstance(word, tuple) else (word,):
            if isinstance(text, str) and (len(text) >= _SHORTEST or ord(text or "a") > _FIRST_IDEOGRAPH):
                found.add(_folded(text))
    return found


@cache
def _people(attribute: str) -> frozenset[str]:
    found: set[str] = set()
    for module in _locales("person"):
        provider = module.Provider
        for name in dir(provider):
            if name.startswith(attribute) and not callable(getattr(provider, name)):
                found |= _words(getattr(provider, name))
    return frozenset(found)


def first_names() -> frozenset[str]:
    """First names, in small letters and without accents."""
    return _people("first_name")


def last_names() -> frozenset[str]:
    """Last names, in small letters and without accents."""
    return _people("last_name")


@cache
def cities() -> frozenset[str]:
    """Towns, in small letters and without accents, as far as Faker lists real ones."""
    found: set[str] = set()
    for module in _locales("address"):
        for name in ("cities", "city_names", "communities"):
            found |= _words(getattr(module.Provider, name, None))
    return frozenset(found)


_NAME_WORD: Final = re.compile(r"[^\W\d_][\w'\u2019.-]*")
_TITLES: Final = frozenset(
    """mr mrs ms miss dr prof sir herr frau univ dipl ing mag med mtro lic don dona sr sra srta sig mme mlle m phd md
    dds dvm jr ii iii iv de da do das dos del della di van von der den la le el al bin y e et und and bsc msc ba ma
    family familie famille familia""".split()
)
_HONORIFIC: Final = re.compile(
    r"(?:mr|mrs|ms|miss|dr|prof|herr|frau|mme|mlle|sr|sra|srta|sig|dott|dhr|mevr|pan|pani)\.?\s", re.IGNORECASE
)
_MOST_WORDS: Final = 7


def person_words(text: str) -> list[str]:
    """The words of what may be a person's name, or a couple's, without titles; [] if it cannot be one."""
    if len(text) > 80:
        return []
    parts = re.sub(r"[,;/&+-]", " ", text).split()
    if not parts or len(parts) > _MOST_WORDS or not all(map(_NAME_WORD.fullmatch, parts)):
        return []
    return [word for part in parts if (word := _folded(part).strip(".'\u2019")) and word not in _TITLES]


def is_full_name(text: str) -> bool:
    """Whether a first name and a last name stand in the text, and little else; if nobody wrote it as a name, nothing
    else."""
    words = person_words(text)
    first, last = first_names(), last_names()
    if len(words) == 1 and _IDEOGRAPHS.fullmatch(text):
        return any(text[:cut] in last and text[cut:] in first for cut in range(1, len(text)))
    if len(words) < 2:
        # Nothing but people's names stands behind a title.
        return bool(words) and words[0] in last and _HONORIFIC.match(text) is not None
    known = sum(word in first or word in last for word in words)
    # Either order: catalogues and Japan write the last name first.
    in_order = words[0] in first or words[-1] in first
    return in_order and known >= 2 and known * 3 >= len(words) * (2 if _is_written_as_name(text) else 3)


def is_like_full_name(text: str) -> bool:
    """Whether the text is written as a full name is, and a part of it is a name; no list has all names."""
    words = person_words(text)
    known = any(word in first_names() or word in last_names() for word in words)
    return len(words) > 1 and known and _is_written_as_name(text)


def _is_written_as_name(text: str) -> bool:
    words = [word for word in re.findall(r"[^\W\d_]+", text) if _folded(word) not in _TITLES]
    return all(not word[0].islower() for word in words)


def is_first_name(text: str) -> bool:
    """Whether the text is a first name (or two)."""
    words = person_words(text)
    return 0 < len(words) <= 2 and _is_written_as_name(text) and all(word in first_names() for word in words)


def is_last_name(text: str) -> bool:
    """Whether the text is a last name (or two)."""
    words = person_words(text)
    return 0 < len(words) <= 3 and _is_written_as_name(text) and all(word in last_names() for word in words)


_RUNS_OF_LETTERS: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_SHORTEST_WITHIN: Final = 3
_POSSESSIVE: Final = re.compile(r"([^\W\d_]{3,})['\u2019]s [^\W_]")


def names_somebody(text: str) -> bool:
    """Whether a first and a last name stand beside each other in a longer text, with capital letters as names have, or
    in what is written without spaces, such as the name of a file or of a user: there with capital letters also where
    something in small ones stands between, as ``/home/Anna/cv_Keller`` has it. Or whose it is: ``Anna's phone``."""
    is_one_word = " " not in text
    found = list(_RUNS_OF_LETTERS.finditer(text))
    pairs = [(one, other) for one, other in pairwise(found) if other.start() - one.end() <= 1]
    if is_one_word:
        pairs += pairwise(run for run in found if run[0].istitle())
    first, last = first_names(), last_names()
    owner = _POSSESSIVE.match(text)
    if owner is not None and _folded(owner[1]) in first:
        return True
    for one, other in pairs:
        if min(len(one[0]), len(other[0])) < _SHORTEST_WITHIN:
            continue
        if not is_one_word and not (one[0].istitle() and other[0].istitle()):
            continue
        a, b = _folded(one[0]), _folded(other[0])
        if (a in first and b in last) or (a in last and b in first):
            return True
    return False


def is_city(text: str) -> bool:
    """Whether the text is a town of the lists."""
    return _folded(text.strip()) in cities()


_MEN: Final = frozenset(
    """m h male man homme hombre masculin masculino maschile maschio mann mannlich maennlich mannelijk mezczyzna erkek
    herr mr senor sr monsieur signor sig dhr boy garcon 男 男性""".split()
)
_WOMEN: Final = frozenset(
    """f w v k female woman femme mujer mulher feminin femenino feminino femminile femmina frau weiblich vrouwelijk
    vrouw kobieta kadin ms mrs miss senora sra madame mme signora mevr girl fille 女 女性""".split()
)
_NEITHER: Final = frozenset(
    "u x d n o other unknown divers diverse nonbinary non-binary mx autre otro outro altro 不明".split()
)
# Words of one kind: a column that has several of them, and little else, tells of it.
_TELLING: Final = tuple(
    frozenset(words.split())
    for words in (
        """single married divorced widowed separated engaged cohabiting ledig verheiratet geschieden verwitwet getrennt
        celibataire marie mariee divorce divorcee veuf veuve pacse pacsee concubinage soltero soltera casado casada
        divorciado divorciada viudo viuda solteiro solteira viuvo viuva gehuwd ongehuwd gescheiden verweduwd celibe
        nubile coniugato coniugata sposato sposata divorziato divorziata vedovo vedova kawaler panna zonaty zamezna
        rozwiedziony rozwiedziona wdowiec wdowa evli bekar dul 既婚 未婚""",
        """catholic protestant muslim jewish hindu buddhist sikh atheist christian orthodox agnostic mormon islam
        judaism christianity hinduism buddhism katholisch evangelisch muslimisch judisch konfessionslos rk ev catholique
        protestante musulman musulmane juif juive athee catolico catolica evangelico evangelica musulmano judio ateo
        katholiek protestants moslim joods cattolico cattolica ebreo katolickie prawoslawne""",
        """asian hispanic latino latina caucasian african-american indigenous roma mestizo mixed-race parda preta
        amarela indigena""",
        """heterosexual homosexual bisexual gay lesbian straight hetero homo bi heterosexuell homosexuell bisexuell
        lesbisch schwul""",
    )
)
# Words for what somebody suffers from or does not bear, alone or within what is said of it.
_AILMENTS: Final = frozenset(
    """diabetes asthma hypertension cancer hiv aids epilepsy depression anxiety pregnant pregnancy arthritis copd
    dementia migraine obesity stroke penicillin latex peanuts nuts gluten lactose pollen asthme diabete krebs
    epilepsie bluthochdruck cancro asma epilepsia hipertension schizophrenia bipolar psoriasis eczema hepatitis
    tuberculosis pneumonia bronchitis fracture lymphoma leukemia carcinoma tumor anemia gastritis colitis crohn
    parkinson alzheimer autism adhd sclerosis thrombosis infarction angina arrhythmia hypothyroidism
    hyperthyroidism osteoporosis endometriosis sepsis lupus glaucoma insomnia covid influenza appendicitis
    shellfish sulfa ibuprofen aspirin amoxicillin metformin rheuma migraene schlaganfall herzinfarkt
    lungenentzuendung allergie anxiete grippe ansiedad fractura neumonia ansiedade fratura frattura polmonite grossesse
    enceinte douleur schwanger schwangerschaft embarazo embarazada gravidez gravida gravidanza dolor dor dolore
    schmerzen kopfschmerzen rueckenschmerzen""".split()
)
_BLOOD: Final = frozenset("a+ a- b+ b- ab+ ab- o+ o- 0+ 0- a b ab o 0".split())


def tells(values: Collection[str]) -> Category | None:
    """What a few different values tell of somebody, by words for it in several languages: the gender, or what is more
    sensitive."""
    words = {_folded(value).strip(" .").replace(" ", "-") for value in values} - {""}
    if words & _MEN and words & _WOMEN and words <= _MEN | _WOMEN | _NEITHER:
        return Category.GENDER
    ailing = {word for word in words if _AILMENTS & set(word.split("-"))}
    several = any(
        len(known) > 1 and len(known) * 2 > len(words) for known in (ailing, *(words & each for each in _TELLING))
    )
    # Grades at school are A+ and B-, too, but none is AB or O.
    words = {word.replace("-rh", "") for word in words}
    is_blood = words <= _BLOOD and bool(words & {"ab+", "ab-", "o+", "o-", "0+", "0-"})
    return Category.SENSITIVE if several or is_blood else None
