"""Random values for schema.sql, awkward ones included.

Personal values carry a canary, a word or a row of digits that nothing else holds. ``CANARY`` finds it in any text.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any, Final

_WORD: Final = "Kan4r1e"
_DIGITS: Final = "987654321"
# The word as text and as a bytea prints it; the digits with any separators between them.
CANARY: Final = re.compile(f"{_WORD}|{_WORD.encode().hex()}|{'[ ./()-]{0,2}'.join(_DIGITS)}", re.IGNORECASE)

STATUSES: Final = ("requested", "confirmed", "checked in", 'it\'s "over"')
_AWKWARD: Final = (
    "", " ", "plain", "two words", "tab\there", "line\nbreak", "cr\rlf\r\n", "\\", "\\N", "\\.", "\n\\.\n",
    "back\\slash\\", "'quote'", '"double"', "%s {} $1", "naïve café", "日本語テキスト", "🦜🦜🏽", "e\u0301 combining",
    "\u202eright to left", "\x01\x08\x0b\x1f", "\x7f", "null", "NULL", "{}", "{NULL,\"x\"}", "(,)", "a,b;c",
    "trailing ", "\ufeffbom",
)  # fmt: skip
_FIRST: Final = ("Ada", "Bjørn", "Chloë", "Dmitri", "Émile", "Fatima", "Gökçe", "Hồng", "Iñaki", "Jürgen", "明子")
_LAST: Final = ("O'Neil", "van der Berg", "Müller-Lüdenscheidt", "Łukasiewicz", "García Márquez", "山田", "Smith")


class Values:
    """Random values of every kind, awkward ones included."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def tag(self) -> str:
        """A word that holds the canary and is rarely the same."""
        return f"{_WORD}{self.rng.getrandbits(40):x}"

    def text(self) -> str | None:
        """Text without a canary, for columns that are kept."""
        if self.chance(0.1):
            return None
        return self.rng.choice(("", "\n", " ", "x")).join(self.rng.choices(_AWKWARD, k=self.rng.randint(1, 4)))

    def note(self) -> str | None:
        """Personal free text."""
        if self.chance(0.15):
            return self.rng.choice((None, "", "\\", "\t"))
        return f"{self.text() or ''}{self.tag()}{self.rng.choice(_AWKWARD)}"

    def long(self, tagged: bool) -> str:
        """Text that goes to TOAST: 10-20 kB."""
        unit = f"{self.rng.choice(_AWKWARD[3:])} {self.rng.getrandbits(64):x} {self.tag() if tagged else 'z'}\n"
        return unit * (self.rng.randint(10_000, 20_000) // len(unit))

    def first(self) -> str | None:
        return None if self.chance(0.05) else f"{self.rng.choice(_FIRST)} {self.tag()}"

    def last(self) -> str | None:
        return self.rng.choice(("", None)) if self.chance(0.06) else f"{self.rng.choice(_LAST)}-{self.tag()}"

    def name(self) -> str | None:
        return None if self.chance(0.1) else f"{self.rng.choice(_FIRST)} {self.tag()} {self.rng.choice(_LAST)}"

    def email(self) -> str:
        host = self.rng.choice(("kanarienvogel.de", "Mail.Corp.example.net", "bücher.example.co.uk"))
        start = self.rng.choice(("", "o'hara.", "UPPER+tag."))
        return f"{start}{self.tag()}@{host}"

    def phone(self) -> str | None:
        end = f"{self.rng.randrange(100):02d}"
        shape = self.rng.choice(("+49 30 {}-{}", "+1({}){}", "0{}{}", "00 44 / {} ext {}", "{}.{}", None, ""))
        return shape.format(_DIGITS, end) if shape else shape

    def card(self) -> str | None:
        if self.chance(0.1):
            return None
        start = self.rng.choice(("4539", "5425", "37828")) + _DIGITS + f"{self.rng.randrange(100):02d}"
        number = start + str(next(d for d in range(10) if luhn_holds(f"{start}{d}")))
        if len(number) == 16 and self.chance(0.4):
            return self.rng.choice((" ", "-")).join(number[i : i + 4] for i in range(0, 16, 4))
        return number

    def iban(self) -> str | None:
        if self.chance(0.1):
            return None
        country, digits = self.rng.choice((("DE", 18), ("NO", 11), ("FR", 23)))
        account = (_DIGITS + f"{self.rng.getrandbits(80):024d}")[:digits]
        check = 98 - int(f"{account}{int(country[0], 36)}{int(country[1], 36)}00") % 97
        number = f"{country}{check:02d}{account}"
        return " ".join(number[i : i + 4] for i in range(0, len(number), 4)) if self.chance(0.3) else number

    def day(self) -> str | None:
        if self.chance(0.06):
            return self.rng.choice((None, "infinity", "-infinity", "0044-03-15 BC", "1600-02-29"))
        return f"{self.rng.randint(1900, 2010)}-{self.rng.randint(1, 12):02d}-{self.rng.randint(1, 28):02d}"

    def instant(self) -> str | None:
        if self.chance(0.1):
            return self.rng.choice((None, "infinity", "-infinity"))
        clock = f"{self.rng.randrange(24):02d}:{self.rng.randrange(60):02d}:{self.rng.choice((0, 7.5, 59.123456))}"
        return f"{self.rng.randint(2001, 2030)}-03-{self.rng.randint(1, 31):02d} {clock}+00"

    def number(self) -> str | None:
        """A numeric without scale; exact, or lost."""
        return self.rng.choice(
            (None, "0", "-0.000", "NaN", "Infinity", "1e-20", "12345678901234567890.123456789012345678901")
        ) if self.chance(0.3) else f"{self.rng.uniform(-1e6, 1e6):.{self.rng.randrange(7)}f}"  # fmt: skip

    def aliases(self) -> list[str | None] | None:
        return None if self.chance(0.2) else [self.name() for _ in range(self.rng.choice((0, 1, 1, 2, 4)))]

    def preferences(self) -> str | None:
        """A document with declared paths, undeclared ones, and a number that a double cannot hold."""
        if self.chance(0.1):
            return None
        document = {
            "contact": self.rng.choice(({"email": self.email(), "name": self.name()}, {"email": None}, {}, None)),
            "theme": self.rng.choice(("dark", "light \\ \n", None, 7, True)),
            "balance": "BALANCE",
            "secret": {"pin": f"{_DIGITS}0", "answers": [self.tag(), {"deep": self.tag()}]},
        }
        if self.chance(0.3):
            document[self.rng.choice(("theme", "contact", "secret"))] = [[self.tag()], 1.5]
            document["theme"] = "dark"
        balance = self.rng.choice(("1.10", "12345678901234567890.1234567890", "-0.0", "1e-7"))
        return json.dumps(document, ensure_ascii=self.chance(0.5)).replace('"BALANCE"', balance)

    def settings(self) -> str | None:
        """A document of type json, whose spacing, order and repeated keys are part of the value."""
        return self.rng.choice((
            None,
            f'{{"token": "{self.tag()}",   "volume": 11}}',
            f'{{"volume": 1.50,"token": "{self.tag()}", "token": "{self.tag()}"}}',
            '{"token": null, "volume": null}',
            "{}",
        ))  # fmt: skip

    def kept_json(self) -> str | None:
        """json that is kept as it stands."""
        return self.rng.choice((None, '{"a":1, "a" : 2}', '[1,\t"\\u00e9"]', '"\\\\"', "1.0", "null"))

    def guest(self) -> dict[str, Any]:
        """A whole person, but for references."""
        return {
            "email": self.email(), "first_name": self.first(), "last_name": self.last(), "full_name": self.name(),
            "phone": self.phone(), "street": self.note(), "city": f"Città {self.tag()}",
            "postcode": self.rng.choice((_DIGITS, f"{_DIGITS} X", None)), "address": self.note(),
            "born_on": self.day(), "last_seen": self.instant(), "card": self.card(), "iban": self.iban(),
            "loyalty": self.rng.choice((None, 0, 12, -3.25, 9876543210.25)), "credit": self.number(),
            "notes": self.note(), "password_hash": self.tag(), "passport": self.note(), "religion": self.note(),
            "aliases": self.aliases(), "preferences": self.preferences(),
        }  # fmt: skip

    def specimen(self) -> dict[str, str | None]:
        """One value of every type, in text form."""
        wide = {
            "flag": ("t", "f"), '"char"': ("x", "\\", ""), "padded": ("x", "trailing  ", "éé", ""),
            "short": ("", "\\N", "tab\t"), "small": ("-32768", "32767"), "num": (self.number(),),
            "scaled": ("0.00001", "-123456789012345.12345", "NaN"), "real": ("NaN", "-Infinity", "0.1", "-0", "1e-45"),
            "double": ("0.1", "1.7976931348623157e308", "5e-324", "-0", "NaN"), "cash": ("12.34", "-0.01"),
            "bytes": ("\\x", "\\x00ff5c0a09", "\\x5c4e"), "day": ("infinity", "0001-01-01 BC", "2024-02-29"),
            "tm": ("24:00:00", "00:00:00.000001"), "tmtz": ("23:59:60+14", "00:00-15:59"),
            "ts": ("-infinity", "294276-12-31 23:59:59.999999", "1900-01-01"),
            "tstz": (self.instant(), "4713-01-01 BC"),
            "span": ("1 year -2 days 00:00:03.5", "-1 mon", "178000000 years"), "net": ("::1/128", "10.0.0.1/8"),
            "block": ("10.0.0.0/8", "2001:db8::/32"), "mac": ("08:00:2b:01:02:03",), "bits": ("", "0", "10110"),
            "spot": ("(1e-300,-0)", "(NaN,Infinity)"), "words": ("'a':1A 'b\\\\c':2", ""),
            "uid": ("00000000-0000-0000-0000-000000000000", "FFFFFFFF-ffff-4fff-bfff-ffffffffffff"),
            "doc": (self.kept_json(),), "docb": ('{"b": [1.10, null], "a": "\\t"}', "1e400", '"\\\\N"'),
            "ints": ("{}", "{NULL,-1}", "[0:1]={1,2}"), "grid": ('{{"a","NULL"},{NULL,"\\\\"}}', '{"{}",""}'),
            "range": ("empty", "(,)", "[1,5)"), "ranges": ("{}", "{[1,2),[5,)}"),
            "period": ("[infinity,)", '["2024-01-01 00:00:00+00",)'), "price": ("(EUR,1.50)", "(,)"),
            "prices": ('{"(EUR,1)",NULL}', "{}"), "many": ("1", "2147483647"), "status": STATUSES,
            "lsn": ("0/0", "FFFFFFFF/FFFFFFFF"),
        }  # fmt: skip
        return {column: None if self.chance(0.25) else self.rng.choice(values) for column, values in wide.items()}


def luhn_holds(number: str) -> bool:
    """Whether the digits' check digit is right."""
    digits = [int(character) for character in reversed(number)]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0
