"""Seeded draws of what a person carries: names, addresses, phone numbers, cards and accounts that look real.

Card numbers and IBANs have right check digits. Email addresses are never drawn twice.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

T = TypeVar("T")


class Person(NamedTuple):
    """Somebody with a name, and where to reach them; ``id`` is that of the guest or member of staff."""

    id: int
    first: str
    last: str
    email: str
    phone: str

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"


class Country(NamedTuple):
    """``cities`` come with a postcode; the forms of phone numbers and of IBANs have a # for every digit."""

    cities: tuple[tuple[str, str], ...]
    phone: str
    iban: str


COUNTRIES: Final = {
    "DE": Country((("Berlin", "10115"), ("Köln", "50667"), ("Leipzig", "04109")), "+49 30 ########", "DE##" + "#" * 18),
    "GB": Country((("London", "SW1A 2AA"), ("Leeds", "LS1 4DY")), "+44 20 #### ####", "GB##NWBK" + "#" * 14),
    "FR": Country((("Paris", "75011"), ("Lyon", "69002")), "+33 1 ## ## ## ##", "FR##" + "#" * 23),
    "IT": Country((("Torino", "10121"), ("Palermo", "90133")), "+39 06 ########", "IT##X" + "#" * 22),
    "NL": Country((("Utrecht", "3511 LN"), ("Rotterdam", "3011 AA")), "+31 6 ########", "NL##RABO" + "#" * 10),
    "ES": Country((("Sevilla", "41001"), ("Valencia", "46002")), "+34 6## ### ###", "ES##" + "#" * 20),
}

_FIRST: Final = """Anna Ben Carla David Élodie Farid Greta Henrik Inês Jonas Katarzyna Liam Maëlle Niamh Oscar Priya
    Quentin Rosa Søren Tilda Umar Vera Wojciech Ximena Yusuf Zoë Aisha Björn Chiara Dmitri Eszter Femke Giulia Hiroshi
    Isabel Jürgen Kwame Lucía Mohammed Nadia Olu Paulina Rahul Siobhán Thijs Ursula Viktor Wei Yara Zlatan""".split()
_LAST: Final = """Almeida,Baker,Castillo,Dubois,Eriksen,Fischer,Grabowski,Hughes,Ivanova,Janssen,Kowalczyk,Lefèvre,
    Müller,Núñez,O'Brien,Petrov,Quinn,Rossi,Schneider,Tanaka,Ueda,Varga,Williams,Xu,Çelik,Zimmermann,Adeyemi,Bianchi,
    Chatterjee,de Vries,Engström,Fontaine,García,Hoffmann,Iqbal,Jensen,Kaya,Lindqvist,Moreau,Nakamura,Okafor,Pereira,
    Ricci,Silva,Thompson,Urbańska,van Dijk,Wagner,Yamamoto,Žižek""".replace("\n    ", "").split(",")
_STREETS: Final = """Station Church Mill Garden Harbour Castle Linden King's Market Orchard Bridge School Forest River
    Chapel Meadow""".split()
_MAIL: Final = ("gmail.com", "gmail.com", "outlook.com", "yahoo.com", "icloud.com", "gmx.de", "orange.fr", "proton.me")
_CARD_PREFIXES: Final = ("4", "51", "55")
_DAY: Final = 86_400_000_000  # in microseconds


class Draw:
    """Draws, all of which follow from the seed."""

    def __init__(self, seed: int) -> None:
        random = Random(seed)  # noqa: S311 - made-up people need no cryptography
        self.share = random.random
        self.bits = random.getrandbits
        self.several = random.choices
        self._emails: set[str] = set()

    # Random's own choice and randrange take three times as long, which a quarter of a million rows feel.

    def below(self, limit: int) -> int:
        """An integer from 0 to ``limit - 1``."""
        return int(self.share() * limit)

    def between(self, least: int, most: int) -> int:
        """An integer from ``least`` to ``most``."""
        return least + int(self.share() * (most - least + 1))

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self.share() * len(items))]

    def moment(self, first: date, days: int) -> datetime:
        """A moment within so many days from the beginning of ``first``, UTC."""
        return _midnight(first) + timedelta(microseconds=int(self.share() * days * _DAY))

    def uuid(self) -> UUID:
        """A random UUID (version 4)."""
        return UUID(int=self.bits(128), version=4)

    def digits(self, count: int) -> str:
        """A string of digits."""
        return f"{int(self.bits(100)) % 10**count:0{count}}"

    def filled(self, form: str) -> str:
        """The form with a digit for each #."""
        digits = iter(self.digits(form.count("#")))
        return "".join(next(digits) if sign == "#" else sign for sign in form)

    def person(self, number: int, country: str, mail_domain: str | None = None) -> Person:
        """Somebody with an email address of their own, derived from the name."""
        first, last = self.pick(_FIRST), self.pick(_LAST)
        box, domain = _mailbox(first, last), mail_domain or self.pick(_MAIL)
        email = f"{box}@{domain}"
        while email in self._emails:
            email = f"{box}{self.between(1950, 99_999)}@{domain}"
        self._emails.add(email)
        return Person(number, first, last, email, self.filled(COUNTRIES[country].phone))

    def street(self) -> str:
        """A street with a house number."""
        return f"{self.pick(_STREETS)} Street {self.between(1, 199)}"

    def ip_address(self) -> str:
        """An IPv4 address."""
        return f"81.{self.below(256)}.{self.below(256)}.{self.between(1, 254)}"

    def card(self) -> str:
        """A card number of 16 digits, the last of which is the check digit (Luhn, ISO/IEC 7812-1)."""
        prefix = self.pick(_CARD_PREFIXES)
        body = prefix + self.digits(15 - len(prefix))
        # Every second digit counts double, with the digits of the double added up: 7 gives 14 gives 5.
        doubled = sum((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)[int(digit)] for digit in body[::2])
        return body + str(-(doubled + sum(map(int, body[1::2]))) % 10)

    def iban(self, country: str) -> str:
        """An IBAN with its check digits (mod 97, ISO 13616)."""
        account = self.filled(COUNTRIES[country].iban[4:])
        as_number = int("".join(str(int(sign, 36)) for sign in f"{account}{country}00"))
        return f"{country}{98 - as_number % 97:02}{account}"


@lru_cache(maxsize=4096)
def _mailbox(first: str, last: str) -> str:
    letters = unicodedata.normalize("NFKD", f"{first}.{last}".lower())
    return "".join(letter for letter in letters if letter.isascii() and (letter.isalpha() or letter == "."))


@lru_cache(maxsize=4096)
def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
