"""What is true of each locale that masks can speak: how names and addresses are written, which telephone numbers are
no one's, by which names a country is called. Facts only; the words themselves are in ``words`` and ``places.tsv``.

Telephone numbers are of ranges that the authority sets apart for fiction: 555-01xx of every area in North America,
Ofcom's numbers for drama, those of Arcep for audiovisual works and of the Bundesnetzagentur for media. Spain, Brazil
and Japan have no such ranges; there, numbers have a form that their numbering plans give to no one: a first digit of 2
in Spain, and of 0 behind the area or mobile code in Brazil and Japan.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Locale:
    """One locale. ``name`` is also that of Faker's lists. Templates name their parts in braces: ``{first} {last}``.

    ``calling_code`` is the country's, and ``aliases`` are what else a column may call the country or its language,
    case-folded, beside ``name``, ``country`` and the ISO codes. ``phones`` are the starts of fictional numbers, and
    ``phone_digits`` how many digits follow, in groups of at most four. ``postcode_tail`` is what follows the start that
    places.tsv gives: # is a digit, @ a letter. ``genders`` are vocabularies, the first of
    which speaks where a value is of none.
    """

    name: str
    country: str
    alpha2: str
    alpha3: str
    calling_code: str
    aliases: tuple[str, ...]
    full_name: str
    titles: tuple[str, ...]
    genders: tuple[tuple[str, ...], ...]
    phones: tuple[str, ...]
    phone_digits: tuple[int, ...]
    postcode_tail: str
    street_name: str
    street_kinds: tuple[str, ...]
    street: str
    address: str

    @property
    def language(self) -> str:
        """The ISO 639 code."""
        return self.name[:2]


_ENGLISH_GENDERS: Final = (("female", "male"), ("woman", "man"), ("f", "m"))
_ENGLISH_STREETS: Final = (
    *("Avenue", "Close", "Court", "Drive", "Gardens", "Grove", "Hill", "Lane"),
    *("Park", "Place", "Road", "Square", "Street", "Terrace", "Way", "Walk"),
)

_ALL: Final = (
    Locale(
        name="en_US",
        country="United States",
        alpha2="US",
        alpha3="USA",
        calling_code="1",
        aliases=(
            *("english", "united states of america", "u.s.", "u.s.a.", "america", "vereinigte staaten", "amerika"),
            *("états-unis", "etats-unis", "estados unidos", "アメリカ", "アメリカ合衆国", "米国"),
        ),
        full_name="{first} {last}",
        titles=("Dr.", "Miss", "Mr.", "Mrs.", "Ms.", "Prof."),
        genders=_ENGLISH_GENDERS,
        # Areas are 200 to 989, without those whose second digit is 9.
        phones=tuple(f"+1{area}55501" for area in range(200, 990) if area // 10 % 10 != 9),
        phone_digits=(2,),
        postcode_tail="##",
        street_name="{last} {kind}",
        street_kinds=_ENGLISH_STREETS,
        street="{house} {street}",
        address="{house} {street}, {city}, {code} {postcode}",
    ),
    Locale(
        name="en_GB",
        country="United Kingdom",
        alpha2="GB",
        alpha3="GBR",
        calling_code="44",
        aliases=(
            *("uk", "u.k.", "great britain", "britain", "england", "scotland", "wales", "northern ireland"),
            *("vereinigtes königreich", "großbritannien", "royaume-uni", "reino unido", "イギリス", "英国"),
        ),
        full_name="{first} {last}",
        titles=("Dr", "Miss", "Mr", "Mrs", "Ms", "Prof"),
        genders=_ENGLISH_GENDERS,
        phones=(
            *("+441134960", "+441144960", "+441154960", "+441164960", "+441174960", "+441184960", "+441214960"),
            *("+441314960", "+441414960", "+441514960", "+441614960", "+441914980", "+441632960", "+442079460"),
            *("+442896496", "+442920180", "+447700900"),
        ),
        phone_digits=(3,),
        postcode_tail=" #@@",
        street_name="{last} {kind}",
        street_kinds=_ENGLISH_STREETS,
        street="{house} {street}",
        address="{house} {street}, {city}, {postcode}",
    ),
    Locale(
        name="de_DE",
        country="Deutschland",
        alpha2="DE",
        alpha3="DEU",
        calling_code="49",
        aliases=("german", "deutsch", "germany", "allemagne", "alemania", "alemanha", "ドイツ", "brd"),
        full_name="{first} {last}",
        titles=("Herr", "Frau", "Dr.", "Prof."),
        genders=(("weiblich", "männlich"), ("frau", "mann"), ("w", "m", "d")),
        phones=("+493023125", "+496990009", "+494066969", "+492214710", "+498999998"),
        phone_digits=(3,),
        postcode_tail="##",
        street_name="{last}{kind}",
        street_kinds=("allee", "gasse", "platz", "ring", "straße", "ufer", "weg"),
        street="{street} {house}",
        address="{street} {house}, {postcode} {city}",
    ),
    Locale(
        name="fr_FR",
        country="France",
        alpha2="FR",
        alpha3="FRA",
        calling_code="33",
        aliases=("french", "français", "francais", "frankreich", "francia", "frança", "franca", "フランス"),
        full_name="{first} {last}",
        titles=("M.", "Mme", "Dr", "Pr"),
        genders=(("femme", "homme"), ("féminin", "masculin"), ("f", "m"), ("h", "f")),
        phones=("+3319900", "+3326191", "+3335301", "+3346571", "+3353649", "+3363998"),
        phone_digits=(4,),
        postcode_tail="##",
        street_name="{kind} {last}",
        street_kinds=("allée", "avenue", "boulevard", "chemin", "impasse", "place", "quai", "rue"),
        street="{house} {street}",
        address="{house} {street}, {postcode} {city}",
    ),
    Locale(
        name="es_ES",
        country="España",
        alpha2="ES",
        alpha3="ESP",
        calling_code="34",
        aliases=("spanish", "español", "espanol", "spain", "espana", "spanien", "espagne", "espanha", "スペイン"),
        full_name="{first} {last} {last2}",
        titles=("Sr.", "Sra.", "D.", "Dña.", "Dr.", "Dra."),
        genders=(("mujer", "hombre"), ("femenino", "masculino"), ("f", "m"), ("h", "m")),
        phones=("+342",),
        phone_digits=(4, 4),
        postcode_tail="##",
        street_name="{kind} {last}",
        street_kinds=("Avenida", "Calle", "Camino", "Paseo", "Plaza", "Ronda", "Travesía", "Vía"),
        street="{street}, {house}",
        address="{street}, {house}, {postcode} {city}",
    ),
    Locale(
        name="pt_BR",
        country="Brasil",
        alpha2="BR",
        alpha3="BRA",
        calling_code="55",
        aliases=("portuguese", "português", "portugues", "brazil", "brasilien", "brésil", "bresil", "ブラジル"),
        full_name="{first} {last} {last2}",
        titles=("Sr.", "Sra.", "Srta.", "Dr.", "Dra."),
        genders=(("mulher", "homem"), ("feminino", "masculino"), ("f", "m")),
        phones=("+55110", "+55210", "+55310", "+55410", "+55510", "+55610", "+55710", "+55810", "+55850", "+55910"),
        phone_digits=(3, 4),
        postcode_tail="##-##0",
        street_name="{kind} {last}",
        street_kinds=("Alameda", "Avenida", "Estrada", "Largo", "Praça", "Rua", "Travessa", "Vila"),
        street="{street}, {house}",
        address="{street}, {house}, {city} - {code}, {postcode}",
    ),
    Locale(
        name="ja_JP",
        country="日本",
        alpha2="JP",
        alpha3="JPN",
        calling_code="81",
        aliases=("japanese", "日本語", "japan", "nippon", "japon", "japón", "japão", "日本国"),
        full_name="{last} {first}",
        titles=("さん", "様", "氏", "先生"),
        genders=(("女性", "男性"), ("女", "男"), ("f", "m")),
        phones=("+81700", "+81800", "+81900"),
        phone_digits=(3, 4),
        postcode_tail="-####",
        street_name="{town}",
        street_kinds=(),
        street="{street}{house}",
        address="〒{postcode} {region}{city}{street}{house}",
    ),
)

LOCALES: Final = {locale.name: locale for locale in _ALL}


def _called() -> dict[str, str]:
    called: dict[str, str] = {}
    for locale in _ALL:
        # The first that has a language speaks for it.
        for name in (locale.name, locale.country, locale.alpha2, locale.alpha3, *locale.aliases, locale.language):
            called.setdefault(name.casefold(), locale.name)
    return called


_CALLED: Final = _called()
_BY_CALLING_CODE: Final = {locale.calling_code: locale.name for locale in _ALL}
_LANGUAGES: Final = frozenset(locale.language for locale in _ALL)
_WRITTEN: Final = re.compile(r"([a-z]{2})[-_]([a-z]{2})\b.*")


def find(text: str) -> str | None:
    """The locale that a column's text names: by itself, by its country or language (``DE``, ``de-AT``, ``Germany``,
    ``Deutschland``), or by a telephone number's country code (``+49 30``). None if it names none of the known."""
    said = text.strip().casefold()
    if said.startswith("+"):
        digits = said[1:3]
        return next((_BY_CALLING_CODE[digits[:size]] for size in (1, 2) if digits[:size] in _BY_CALLING_CODE), None)
    written = _WRITTEN.fullmatch(said)
    if written is None:
        return _CALLED.get(said)
    # A locale that is not known is spoken by another of its language.
    language, country = written.groups()
    return _CALLED.get(f"{language}_{country}") or (_CALLED[language] if language in _LANGUAGES else None)
