"""Labelled columns with values: what ``bench.suggest`` holds the suggestions against.

The files in suggest_data/ say for every column its type, whether it speaks of a person, and how its values are made.
Values come from Faker and from generators here, seeded by the column's name, so every run sees the same ones. Numbers
with check digits are computed here, by code of their own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from faker import Faker

from capture.model import Catalog, Column, ColumnName, ForeignKey, Index, Table, TableName

ROWS: Final = 1_000
FOLDER: Final = Path(__file__).parent / "suggest_data"
_LOCALES: Final = {
    "en": "en_US",
    "gb": "en_GB",
    "de": "de_DE",
    "fr": "fr_FR",
    "es": "es_ES",
    "br": "pt_BR",
    "jp": "ja_JP",
    "it": "it_IT",
    "nl": "nl_NL",
    "pl": "pl_PL",
    "sv": "sv_SE",
    "tr": "tr_TR",
    "cs": "cs_CZ",
}
_TYPE_NAMES: Final = {"char": "bpchar"}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A catalog, samples of its columns, and what each column holds: '-' for nothing of a person."""

    catalog: Catalog
    samples: dict[ColumnName, list[bytes]]
    labels: dict[ColumnName, str]


def read(name: str) -> Labelled:
    """The set of that name."""
    tables: dict[TableName, list[list[str]]] = {}
    for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if " | " not in line:
            tables[TableName.parse(line)] = []
        else:
            tables[next(reversed(tables))].append([part.strip() for part in line.split(" | ", 4)])
    samples: dict[ColumnName, list[bytes]] = {}
    labels: dict[ColumnName, str] = {}
    keys: list[ForeignKey] = []
    for table, lines in tables.items():
        for column, kind, label, values, *_ in lines:
            where = ColumnName(table, column)
            labels[where] = label
            samples[where] = [value.encode() for value in _values(str(where), values)]
            reference = re.search(r"fk:(\S+)", kind)
            if reference is not None:
                target = ColumnName.parse(reference[1])
                keys.append(ForeignKey(f"{column}_fkey", table, (column,), target.table, (target.column,)))
    shapes = {table: _table(table, lines) for table, lines in tables.items()}
    return Labelled(Catalog("7", "bench", 180000, "UTF8", shapes, tuple(keys)), samples, labels)


def _table(name: TableName, lines: list[list[str]]) -> Table:
    shapes, indexes, key = [], [], []
    for number, (column, kind, _, _, *comment) in enumerate(lines, 1):
        type_text, *flags = kind.split()
        match = re.fullmatch(r"(\w+)(?:\((\d+)[,\d]*\))?", type_text)
        assert match is not None, kind
        base = _TYPE_NAMES.get(match[1], match[1])
        length = int(match[2]) if match[2] and base in {"varchar", "bpchar"} else None
        shape = Column(column, number, 0, -1, type_text, base, max_length=length, is_array="array" in flags)
        shapes.append(replace(shape, not_null="pk" in flags, comment=comment[0] if comment else None))
        if "pk" in flags:
            key.append(column)
        if "unique" in flags:
            indexes.append(Index(f"{name.name}_{column}_key", (column,)))
    if key:
        indexes.insert(0, Index(f"{name.name}_pkey", tuple(key), is_primary=True))
    return Table(1, name, "r", tuple(shapes), indexes=tuple(indexes), estimated_rows=ROWS)


def _values(seed: str, text: str) -> Iterator[str]:
    if text == "none":
        return
    draw = random.Random(seed)
    make = _maker(text, draw)
    for row in range(ROWS):
        yield make(row)


def _maker(text: str, draw: random.Random) -> Callable[[int], str]:
    """How a value of a row is made, by the words of the files."""
    kind, _, rest = text.partition(" ")
    locale, _, method = kind.partition(":")
    if locale in _LOCALES and method:
        fake = _faker(_LOCALES[locale])
        return lambda row: _from_faker(fake, method, draw)
    if kind == "mix":
        share, _, parts = rest.partition(" ")
        hit, plain = (_maker(part.strip(), draw) for part in parts.split(" // ", 1))
        return lambda row: hit(row) if draw.random() < float(share) else plain(row)
    if kind == "json":
        leaves = {name: _maker(how, draw) for name, how in (part.strip().split("=", 1) for part in rest.split(", "))}
        return lambda row: "{" + ", ".join(f'"{name}": {_leaf(make(row))}' for name, make in leaves.items()) + "}"
    if kind == "array":
        element = _maker(rest, draw)
        return lambda row: "{" + ",".join(element(row) for _ in range(draw.randrange(1, 4))) + "}"
    made: Callable[[int, random.Random, str], str] = _MAKERS[kind]
    return lambda row: made(row, draw, rest)


def _leaf(value: str) -> str:
    return value if re.fullmatch(r"-?\d+(\.\d+)?|true|false", value) else '"' + value.replace("\n", " ") + '"'


@cache
def _faker(locale: str) -> Faker:
    return Faker(locale)


def _from_faker(fake: Faker, method: str, draw: random.Random) -> str:
    fake.seed_instance(draw.getrandbits(48))
    made = getattr(fake, method)()
    return " ".join(made) if isinstance(made, list) else str(made)


_ADJECTIVES: Final = "Sturdy Rapid Classic Ultra Nordic Alpine Velvet Carbon Smart Vintage Hudson Oxford Logan".split()
_THINGS: Final = "Kettle Jacket Boots Lamp Desk Backpack Drill Mixer Rug Chair Stanley Harper Mason".split()
_COLOURS: Final = "red green blue black white beige navy olive".split()
_BANKS: Final = "DEUTDEFF COBADEFF BNPAFRPP BARCGB22 CHASUS33 INGDDEFF".split()


def _catalogue(row: int, draw: random.Random, rest: str) -> str:
    """A sentence about a thing."""
    thing, other = draw.choice(_THINGS).lower(), draw.choice(_THINGS).lower()
    return f"The {draw.choice(_ADJECTIVES).lower()} {thing} goes well with any {other} and lasts {row % 30} years"


def _mask(row: int, draw: random.Random, rest: str) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    upper = rest.upper() == rest
    made = (
        draw.choice("0123456789") if sign == "#" else draw.choice(letters) if sign == "?" else sign for sign in rest
    )
    return "".join(made).upper() if upper else "".join(made)


def _luhn(digits: str) -> str:
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    return digits + str(-sum(number // 10 + number % 10 for number in doubled) % 10)


def _digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choice("0123456789") for _ in range(count))


def _weighted(digits: str, weights: list[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def _tax_number(row: int, draw: random.Random, rest: str) -> str:
    """A German Steuer-ID: ten digits of which one comes twice, and a check digit (ISO 7064, mod 11,10)."""
    nine = draw.sample("0123456789", 9)
    nine.insert(draw.randrange(1, 9), nine[0])
    if nine[0] == "0":
        nine = [str((int(digit) + 1) % 10) for digit in nine]
    product = 10
    for digit in nine:
        total = (int(digit) + product) % 10 or 10
        product = 2 * total % 11
    return "".join(nine) + str((11 - product) % 10)


def _cpf(row: int, draw: random.Random, rest: str) -> str:
    body = _digits(draw, 9)
    for length in (9, 10):
        body += str(_weighted(body, list(range(length + 1, 1, -1))) * 10 % 11 % 10)
    return f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"


def _cnpj(row: int, draw: random.Random, rest: str) -> str:
    body = _digits(draw, 8) + "0001"
    for weights in ([5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2], [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]):
        rest_of = _weighted(body, weights) % 11
        body += str(0 if rest_of < 2 else 11 - rest_of)
    return f"{body[:2]}.{body[2:5]}.{body[5:8]}/{body[8:12]}-{body[12:]}"


def _nir(row: int, draw: random.Random, rest: str) -> str:
    body = (
        f"{draw.choice('12')}{_digits(draw, 2)}{draw.randrange(1, 13):02d}{draw.randrange(1, 96):02d}{_digits(draw, 6)}"
    )
    return body + f"{97 - int(body) % 97:02d}"


def _my_number(row: int, draw: random.Random, rest: str) -> str:
    body = _digits(draw, 11)
    total = _weighted(body[::-1], [2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6]) % 11
    return body + str(0 if total <= 1 else 11 - total)


def _vin(row: int, draw: random.Random, rest: str) -> str:
    signs = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
    values = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", [*range(1, 9), *range(1, 6), 7, 9, *range(2, 10)], strict=True))
    body = [draw.choice(signs) for _ in range(17)]
    weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]
    total = sum((values.get(sign) or int(sign)) * weight for sign, weight in zip(body, weights, strict=True))
    body[8] = "X" if total % 11 == 10 else str(total % 11)
    return "".join(body)


def _ean(row: int, draw: random.Random, rest: str) -> str:
    body = _digits(draw, 12)
    return body + str(-_weighted(body, [1, 3] * 6) % 10)


def _date(row: int, draw: random.Random, rest: str) -> str:
    first, last = map(int, rest.split())
    return f"{draw.randrange(first, last)}-{draw.randrange(1, 13):02d}-{draw.randrange(1, 29):02d}"


def _midnight(row: int, draw: random.Random, rest: str) -> str:
    """A date in a column of timestamps."""
    return f"{_date(row, draw, rest)} 00:00:00"


def _number(row: int, draw: random.Random, rest: str) -> str:
    low, high = map(float, rest.split())
    return f"{draw.uniform(low, high):.2f}"


def _integer(row: int, draw: random.Random, rest: str) -> str:
    low, high = map(int, rest.split())
    return str(draw.randint(low, high))


def _hex(row: int, draw: random.Random, rest: str) -> str:
    return "".join(draw.choice("0123456789abcdef") for _ in range(int(rest)))


def _token(row: int, draw: random.Random, rest: str) -> str:
    prefix, length = (rest, 24) if not rest.isdigit() else ("", int(rest))
    signs = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return prefix + "".join(draw.choice(signs) for _ in range(length))


def _uuid(row: int, draw: random.Random, rest: str) -> str:
    text = f"{draw.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _dni(row: int, draw: random.Random, rest: str) -> str:
    number = draw.randrange(10**8)
    return f"{number:08d}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


_MAKERS: Final[dict[str, Callable[[int, random.Random, str], Any]]] = {
    "seq": lambda row, draw, rest: f"{rest}{row + 1}",
    "pick": lambda row, draw, rest: draw.choice(rest.split("|")),
    "int": _integer,
    "num": _number,
    "mask": _mask,
    "date": _date,
    "midnight": _midnight,
    "time": lambda row, draw, rest: (
        f"202{draw.randrange(6)}-0{draw.randrange(1, 10)}-1{draw.randrange(10)} 0{row % 10}:15:00+00"
    ),
    "bool": lambda row, draw, rest: draw.choice("tf"),
    "hex": _hex,
    "bytea": lambda row, draw, rest: "\\x" + _hex(row, draw, "40"),
    "uuid": _uuid,
    "token": _token,
    "bcrypt": lambda row, draw, rest: "$2b$12$" + _token(row, draw, "53"),
    "catalogue": _catalogue,
    "products": lambda row, draw, rest: (
        f"{draw.choice(_ADJECTIVES)} {draw.choice(_THINGS)} {draw.choice(['', 'Pro', 'II', 'XL'])}".strip()
    ),
    "slugs": lambda row, draw, rest: f"{draw.choice(_ADJECTIVES)}-{draw.choice(_THINGS)}-{row}".lower(),
    "colours": lambda row, draw, rest: draw.choice(_COLOURS),
    "bics": lambda row, draw, rest: draw.choice(_BANKS),
    "e164": lambda row, draw, rest: "+49" + draw.choice("1234567") + _digits(draw, 9),
    "card": lambda row, draw, rest: _luhn("4" + _digits(draw, 14)),
    "luhn": lambda row, draw, rest: "9" + _digits(draw, 10),
    "imei": lambda row, draw, rest: _luhn("35" + _digits(draw, 12)),
    "ean": _ean,
    "isbn": lambda row, draw, rest: "978" + _ean(row, draw, "")[3:],
    "dni": _dni,
    "nino": lambda row, draw, rest: (
        f"{draw.choice('ABCEGHJ')}{draw.choice('ABCEGHJ')}{_digits(draw, 6)}{draw.choice('ABCD')}"
    ),
    "steuerid": _tax_number,
    "cpf": _cpf,
    "cnpj": _cnpj,
    "nir": _nir,
    "mynumber": _my_number,
    "vin": _vin,
    "latlon": lambda row, draw, rest: f"{draw.uniform(40, 55):.5f},{draw.uniform(-5, 20):.5f}",
}
