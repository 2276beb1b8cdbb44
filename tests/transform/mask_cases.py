"""Every mask of the catalogue over every type that it accepts: what to call it with, and values to try it on.

A mask that needs parameters has them in ``PARAMS``; one that is added without, and needs some, fails the tests until
it is entered there. Values are what a column of the type may hold, plain and awkward; texts are of the kind that the
mask is for, and of every other kind too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

import transform.masks  # noqa: F401 - registers the catalogue
from capture.model import Catalog, TableName
from transform.masks.base import ANY, MASKS
from transform.rules import Rules

# What to give a mask beside the value: one case for each.
PARAMS: dict[str, list[dict[str, Any]]] = {
    "constant": [{"value": "7"}],
    "choice": [{"values": ["1", "2", "3"]}],
    "custom": [{"function": "tests.transform.custom_masks:backwards", "types": ["text", "varchar", "bpchar", "int4"]}],
    "date.shift": [{"days": 30}],
    "date.truncate": [{"to": "month"}, {"to": "hour"}],
    "date.age_band": [{"width": 5}],
    "id.pattern": [{"pattern": "AA-9999"}],
    "number.band": [{"width": 10}],
    "number.within": [{"min": 10, "max": 99}],
    "text.partial": [{"keep_last": 4}],
    "text.regex": [{"pattern": "[0-9]+", "replacement": "#"}],
    "text.template": [{"template": "{title} of {country}"}],
    "tsvector": [{}, {"from": ["title", "body"]}],
    "json": [{}, {"paths": {"$.name": "name.full", "$..email": "email"}}],
    "row_image": [{"table": "public.people"}, {}],
    "name.full": [{}, {"preserve_format": True}, {"locale": "ja_JP"}, {"locale": {"column": "country"}}],
    "email": [{}, {"preserve_format": True}],
    "phone": [{}, {"preserve_format": True}, {"locale": {"column": "country"}}],
    "username": [{}, {"locale": {"column": "country"}}],
    "gender": [{}, {"locale": {"column": "country"}}],
    "url": [{}, {"preserve_format": True}],
    "id.national": [{}, {"locale": ["es_ES", "pt_BR", "fr_FR", "de_DE"]}, {"locale": {"column": "country"}}],
    "address.city": [{}, {"locale": "de_DE"}],
    "address.full": [{}, {"locale": "ja_JP"}],
    "address.country": [{"locale": {"column": "country"}}],
    "address.postcode": [{"preserve_format": True}, {"preserve_format": False}],
}

# The types that columns of a test table have, by base type. Types of extensions are not there.
TYPES: dict[str, tuple[str, ...]] = {
    "text": ("text", "text[]"),
    "varchar": ("varchar", "varchar(60)", "varchar(12)"),
    "bpchar": ("char(40)",),
    "name": ("name",),
    "int2": ("int2",),
    "int4": ("int4",),
    "int8": ("int8", "int8[]"),
    "numeric": ("numeric", "numeric(12,2)", "numeric(20,0)"),
    "float4": ("float4",),
    "float8": ("float8",),
    "money": ("money",),
    "date": ("date",),
    "timestamp": ("timestamp",),
    "timestamptz": ("timestamptz",),
    "json": ("json",),
    "jsonb": ("jsonb",),
    "uuid": ("uuid",),
    "inet": ("inet",),
    "cidr": ("cidr",),
    "macaddr": ("macaddr",),
    "macaddr8": ("macaddr8",),
    "bytea": ("bytea",),
    "tsvector": ("tsvector",),
    "point": ("point",),
    "bool": ("bool",),
    "interval": ("interval",),
}
# As production's sessions print values.
SETTINGS = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c lc_monetary=C"

# What else stands in a row, for masks that read it.
BESIDE = {
    "subject": "int8",
    "country": "text",
    "title": "text",
    "body": "text",
    "table_schema": "text",
    "table_name": "text",
}


@dataclass(frozen=True, eq=False)
class Case:
    """One mask, with its parameters, over a column of one type."""

    number: int
    mask: str
    type_name: str
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> str:
        return f"case_{self.number}"

    @property
    def rule(self) -> dict[str, Any]:
        return {"mask": self.mask, **self.params}

    def __str__(self) -> str:
        return f"{self.mask} over {self.type_name}" + (f" with {sorted(self.params)}" if self.params else "")


def cases() -> list[Case]:
    """All of them; the plan refuses some, where the type has no room, say."""
    found: list[Case] = []
    for name, kind in sorted(MASKS.items()):
        if name.startswith("test."):
            continue
        for params in PARAMS.get(name, [{}]):
            # A constant is written as the column's type reads it, and this one is a number.
            any_type = (
                ["text", "int4", "jsonb"]
                if name in ("constant", "choice")
                else ["text", "int4", "jsonb", "point", "bool"]
            )
            bases = any_type if kind.types == ANY else sorted(kind.types & TYPES.keys())
            for base in bases:
                found += [
                    Case(len(found) + number, name, type_name, params) for number, type_name in enumerate(TYPES[base])
                ]
    return [Case(number, each.mask, each.type_name, each.params) for number, each in enumerate(found)]


# ---------------------------------------------------------------------------------------------------------- values

_WORDS = "anna keller grace hopper münchen são paulo 李小龍 東京 o'neill mcdonald van der berg straße élise".split()
_AWKWARD = [
    "",
    " ",
    "a",
    "NULL",
    "\\N",
    "a\tb",
    "x\ny",
    "{}",
    '"quoted"',
    "😀 emoji",
    "ß",
    "\u200b",
    "x" * 300,
    "'",
    "%s",
    "-1",
]


def _text(rng: random.Random) -> str:
    def word() -> str:
        return rng.choice(_WORDS)

    def digits(count: int) -> str:
        return "".join(rng.choices("0123456789", k=count))

    makers: list[Callable[[], str]] = [
        lambda: f"{word().title()} {word().title()}",
        lambda: f"{word()}.{word()}{digits(3)}@mail{digits(1)}.example.com",
        lambda: f"+{rng.choice(['49 30', '1 212', '44 20', '81 3'])} {digits(7)}",
        lambda: f"{digits(4)} {digits(4)} {digits(4)} {digits(4)}",
        lambda: f"DE{digits(2)} {digits(4)} {digits(4)} {digits(4)} {digits(4)} {digits(2)}",
        lambda: str(rng.randrange(-(10**12), 10**12)),
        lambda: (
            f"{rng.getrandbits(32):08x}-{rng.getrandbits(16):04x}-4{rng.getrandbits(12):03x}-8{rng.getrandbits(12):03x}-{rng.getrandbits(48):012x}"
        ),
        lambda: f"{digits(2)}.{digits(2)}.{digits(1)}.{digits(2)}",
        lambda: f"AB-{digits(4)}",
        lambda: f"https://www.example.com/{word()}?id={digits(5)}",
        lambda: " ".join(word() for _ in range(rng.randrange(3, 30))),
        lambda: rng.choice(_AWKWARD),
        lambda: rng.choice(["m", "f", "male", "Female", "DE", "de_DE", "Herr", "Mr."]),
        lambda: f"2001:db8::{rng.getrandbits(16):x}",
        lambda: f"{digits(3)}-{digits(2)}-{digits(4)}",
        lambda: "sk_live_" + "".join(rng.choices("abcdefABCDEF0123456789", k=24)),
    ]
    return rng.choice(makers)()


def _document(rng: random.Random, depth: int = 0) -> Any:
    kinds = ["text", "number", "bool", "null"] + (["object", "array"] if depth < 3 else [])
    match rng.choice(kinds if depth else ["object", "object", "array", "text"]):
        case "text":
            return _text(rng).replace("\0", "")
        case "number":
            return rng.choice([rng.randrange(10**6), rng.random() * 1000, -rng.randrange(10**15), 0])
        case "bool":
            return rng.random() < 0.5
        case "object":
            keys = rng.sample(["name", "email", "id", "tags", "user", "odd key", "Ümläut"], rng.randrange(5))
            return {key: _document(rng, depth + 1) for key in keys}
        case "array":
            return [_document(rng, depth + 1) for _ in range(rng.randrange(4))]
        case _:
            return None


def _number(rng: random.Random, bits: int) -> str:
    edges = [0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 2 ** (bits - 2), 2 ** (bits - 2) - 1]
    return str(rng.choice(edges) if rng.random() < 0.1 else rng.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1)))


def _decimal(rng: random.Random, digits: int, scale: int) -> str:
    whole = rng.randrange(10 ** rng.randrange(1, digits - scale + 1))
    decimals = f".{rng.randrange(10**scale):0{scale}d}" if scale else ""
    return f"{rng.choice(['', '-'])}{whole}{decimals}"


def _moment(rng: random.Random, *, time: bool) -> str:
    if rng.random() < 0.05:
        return rng.choice(["infinity", "-infinity", "0044-03-15 BC", "1900-02-28", "2024-02-29", "9999-12-31"])
    day = f"{rng.randrange(1900, 2030):04d}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
    clock = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"
    return f"{day} {clock}{rng.choice(['', '.5', '.123456'])}" if time else day


def _array(elements: list[str]) -> str:
    quoted = (json.dumps(element, ensure_ascii=False) for element in elements)
    return "{" + ",".join(text.replace("\\n", "\n").replace("\\t", "\t") for text in quoted) + "}"


_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "varchar(60)": lambda rng: _text(rng)[:60],
    "varchar(12)": lambda rng: _text(rng)[:12],
    "char(40)": lambda rng: _text(rng)[:40],
    "name": lambda rng: _text(rng).encode()[:60].decode(errors="ignore"),
    "text[]": lambda rng: _array([_text(rng) for _ in range(rng.randrange(4))]),
    "int8[]": lambda rng: "{" + ",".join(_number(rng, 64) for _ in range(rng.randrange(4))) + "}",
    "int2": lambda rng: _number(rng, 16),
    "int4": lambda rng: _number(rng, 32),
    "int8": lambda rng: _number(rng, 64),
    "numeric": lambda rng: rng.choice(
        ["NaN", "Infinity", "0", "0.00", _decimal(rng, 30, 8)] + [_decimal(rng, 12, 3), _decimal(rng, 12, 0)] * 20
    ),
    "numeric(12,2)": lambda rng: _decimal(rng, 12, 2),
    "numeric(20,0)": lambda rng: _decimal(rng, 20, 0),
    "float4": lambda rng: rng.choice(["NaN", "-Infinity", "0", "1e-30", "3.4e38"] + [str(rng.uniform(-1e6, 1e6))] * 20),
    "float8": lambda rng: rng.choice(
        ["NaN", "Infinity", "-0", "1e-300", "1.7e308"] + [str(rng.uniform(-1e9, 1e9))] * 20
    ),
    "money": lambda rng: _decimal(rng, 12, 2),
    "date": lambda rng: _moment(rng, time=False),
    "timestamp": lambda rng: _moment(rng, time=True),
    "timestamptz": lambda rng: _moment(rng, time=True),
    "json": lambda rng: json.dumps(_document(rng), ensure_ascii=rng.random() < 0.5),
    "jsonb": lambda rng: json.dumps(_document(rng)),
    "uuid": lambda rng: f"{rng.getrandbits(128):032x}",
    "inet": lambda rng: rng.choice(
        [
            ".".join(str(rng.randrange(256)) for _ in range(4)),
            f"10.{rng.randrange(256)}.0.0/16",
            f"2001:db8::{rng.getrandbits(32) >> 16:x}",
            "::1",
        ]
    ),
    "cidr": lambda rng: rng.choice(
        [f"{rng.randrange(1, 224)}.{rng.randrange(256)}.0.0/16", f"2001:{rng.getrandbits(16):x}::/32"]
    ),
    "macaddr": lambda rng: f"{rng.getrandbits(48):012x}",
    "macaddr8": lambda rng: f"{rng.getrandbits(64):016x}",
    "bytea": lambda rng: "\\x" + rng.randbytes(rng.randrange(20)).hex(),
    "tsvector": lambda rng: "'" + "' '".join(sorted({rng.choice(_WORDS).replace("'", "") for _ in range(5)})) + "':3",
    "point": lambda rng: f"({rng.randrange(90)},{rng.randrange(90)})",
    "bool": lambda rng: rng.choice("tf"),
    "interval": lambda rng: f"{rng.randrange(90)} days",
}


def values(type_name: str, count: int, seed: int = 0) -> list[str | None]:
    """What a column of the type may hold, as PostgreSQL reads it; some are NULL."""
    rng = random.Random(f"{type_name} {seed}")
    make = _MAKERS.get(type_name, _text)
    return [None if rng.random() < 0.05 else make(rng) for _ in range(count)]


def beside(count: int) -> Iterator[dict[str, str | None]]:
    """The rest of each row."""
    rng = random.Random("beside")
    for _ in range(count):
        yield {
            "subject": rng.choice([None, str(rng.randrange(50))]),
            "country": rng.choice([None, "DE", "Germany", "fr", "JP", "xx"]),
            "title": rng.choice([None, _text(rng)[:100]]),
            "body": _text(rng),
            "table_schema": "public",
            "table_name": rng.choice(["people", "unknown", None]),
        }


# ------------------------------------------------------------------------------------- many values of one kind


def _million(write: Callable[[int], str]) -> Callable[[int], list[bytes]]:
    return lambda count: [write(n).encode() for n in range(count)]


# By mask, else by type; texts are what a column with that mask would hold.
DISTINCT: dict[str, Callable[[int], list[bytes]]] = {
    "email": _million(lambda n: f"person.{n}@mail{n % 7}.example.com"),
    "username": _million(lambda n: f"user{n}"),
    "phone": _million(lambda n: f"+49 30 {n:08d}"),
    "financial.card": _million(lambda n: f"4111 11{n // 10**6:02d} {n // 100 % 10**4:04d} {n % 100:02d}77"),
    "financial.iban": _million(lambda n: f"DE89 3704 0044 {n // 10**4:04d} {n % 10**4:04d} 00"),
    "financial.bic": _million(
        lambda n: "".join(chr(65 + n // 26**k % 26) for k in range(4)) + "DE" + f"{n // 26**4:02d}XXX"
    ),
    "network.ip": _million(lambda n: f"{11 + n // 256**2 % 100}.{n // 256 % 256}.{n % 256}.1"),
    "network.mac": _million(lambda n: n.to_bytes(6, "big").hex(":")),
    "id.uuid": _million(lambda n: f"{n:08x}-0b7d-4c2a-9e51-{n:012x}"),
    "id.pattern": _million(
        lambda n: "".join(chr(65 + n // (10**4 * 26**k) % 26) for k in (1, 0)) + f"-{n % 10**4:04d}"
    ),
    "id.secret": _million(lambda n: f"sk_live_{n:032x}"),
    "id.national": _million(lambda n: f"{100 + n // 10**6:03d}-{10 + n // 10**4 % 89:02d}-{n % 10**4:04d}"),
    "id.plate": _million(lambda n: f"B-AB {n:07d}"),
    "address.postcode": _million(lambda n: f"{n:07d}"),
    "int2": _million(lambda n: str(n % 2**15)),
    "int4": _million(lambda n: str(n * 2147 - 2**30)),
    "int8": _million(lambda n: str(n * 10**12 - 2**61)),
    "numeric": _million(str),
    "uuid": _million(lambda n: f"{n:08x}-0b7d-4c2a-9e51-{n:012x}"),
    "inet": _million(lambda n: f"{11 + n // 256**2 % 100}.{n // 256 % 256}.{n % 256}.1"),
    "cidr": _million(lambda n: f"{11 + n // 256**2 % 100}.{n // 256 % 256}.{n % 256}.1/32"),
    "macaddr": _million(lambda n: n.to_bytes(6, "big").hex(":")),
    "macaddr8": _million(lambda n: n.to_bytes(8, "big").hex(":")),
    "bytea": _million(lambda n: f"\\x{n:016x}"),
    "text": _million(lambda n: f"Person {n} of {n % 97}"),
}


# ------------------------------------------------------------------------------------------------- tables and rules


def make_tables(url: str, cases: list[Case], rows: int) -> None:
    """A table for each case, with that many rows, and one of people for row images."""
    others = ", ".join(f"{name} {type_name}" for name, type_name in BESIDE.items())
    with psycopg.connect(url, options=SETTINGS) as connection:
        connection.execute("CREATE TABLE people (id int PRIMARY KEY, name text, email text)")
        for case in cases:
            connection.execute(f"CREATE TABLE {case.table} (id int PRIMARY KEY, v {case.type_name}, {others})".encode())
            filled = zip(values(case.type_name, rows), beside(rows), strict=True)
            connection.cursor().executemany(
                insert_statement(case).encode(),
                [(number, value, *rest.values()) for number, (value, rest) in enumerate(filled)],
            )


def insert_statement(case: Case) -> str:
    """Inserts a row of texts: the id, the value, and what stands beside it."""
    casts = (case.type_name, *BESIDE.values())
    return f"INSERT INTO {case.table} VALUES (%s, {', '.join(f'%s::text::{each}' for each in casts)})"


def only(catalog: Catalog, cases: list[Case]) -> Catalog:
    """The catalog with the tables of these cases, and that of people."""
    names = {TableName("public", name) for name in ("people", *(case.table for case in cases))}
    return replace(catalog, tables={name: table for name, table in catalog.tables.items() if name in names})


def written_rules(cases: list[Case]) -> dict[str, Any]:
    """Rules for these cases, as a file holds them."""
    tables: dict[str, Any] = {"public.people": {"columns": {"id": "keep", "name": "name.full", "email": "email"}}}
    for case in cases:
        tables[f"public.{case.table}"] = {"columns": {"id": "keep", "v": case.rule} | dict.fromkeys(BESIDE, "keep")}
    return {"version": 1, "tables": tables}


def rules_of(cases: list[Case]) -> Rules:
    """The same, read."""
    return Rules.model_validate(written_rules(cases))
