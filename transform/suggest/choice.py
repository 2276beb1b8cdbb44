"""Which rules may stand for what a column holds, the best first. Only masks of the catalogue that can stand there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from pydantic import ValidationError

from capture.model import Catalog, Check, Column, ColumnName
from transform.domains import Domain
from transform.masks.base import DATE, INTEGER, MASKS, NUMBER, TEXT, Uniqueness
from transform.rules import KEEP, NULL, TODO, ColumnRule
from transform.suggest.category import Category
from transform.suggest.names import tokens

Written: TypeAlias = str | dict[str, Any]

_PHONE: Final[dict[str, Any]] = {"mask": "phone", "preserve_format": True}
# Hides any text: for a column of which nothing else is known, and after masks that find no room.
_HIDES_TEXT: Final[tuple[Written, ...]] = ("text.scramble", "text.lorem", "redact", "id.uuid")
_TEXT_MASKS: Final[dict[Category, tuple[Written, ...]]] = {
    Category.EMAIL: ("email",),
    Category.FIRST_NAME: ("name.first", "id.uuid"),
    Category.LAST_NAME: ("name.last", "id.uuid"),
    Category.FULL_NAME: ("name.full", "id.uuid"),
    Category.USERNAME: ("username", "id.uuid"),
    Category.PHONE: ("phone", _PHONE),
    Category.STREET: ("address.street", "id.uuid"),
    Category.HOUSE_NUMBER: ("text.scramble",),
    Category.CITY: ("address.city", "id.uuid"),
    Category.POSTCODE: ("address.postcode",),
    Category.REGION: ("address.region", "text.lorem"),
    Category.ADDRESS: ("address.full", "id.uuid"),
    Category.LATITUDE: ("address.latitude", "redact"),
    Category.LONGITUDE: ("address.longitude", "redact"),
    Category.POSITION: ("redact", "id.uuid"),
    Category.CARD: ("financial.card",),
    Category.IBAN: ("financial.iban",),
    Category.BIC: ("financial.bic",),
    Category.ACCOUNT: ("financial.account", "redact", "id.uuid"),
    Category.PLATE: ("id.plate", "redact", "id.uuid"),
    Category.PERSONAL_NUMBER: ("id.national", "redact", "id.uuid"),
    Category.SECRET: ("id.secret", "redact", "id.uuid"),
    Category.QUERY: (NULL, "redact"),
    Category.SENSITIVE: (NULL, "redact"),
    Category.GENDER: ("gender", NULL, "redact"),
    Category.IP: ("network.ip", NULL, "redact", "id.uuid"),
    Category.MAC: ("network.mac", NULL, "redact", "id.uuid"),
    Category.USER_AGENT: ("network.user_agent", NULL, "redact"),
    Category.URL: ("url", "text.lorem"),
    Category.PICTURE: (NULL, "redact", "id.uuid"),
    Category.COMPANY: ("text.lorem",),
    Category.FREE_TEXT: ("text.lorem",),
    Category.BIRTH: ("redact",),
    Category.INCOME: ("redact",),
    Category.MEASURE: ("redact",),
}
_NUMBER_MASKS: Final[dict[Category, tuple[Written, ...]]] = {
    Category.PHONE: ("phone", "id.int"),
    Category.CARD: ("financial.account", "id.int"),
    Category.ACCOUNT: ("financial.account", "id.int"),
    Category.LATITUDE: ("address.latitude", "number.noise"),
    Category.LONGITUDE: ("address.longitude", "number.noise"),
    Category.INCOME: ("financial.amount", "number.noise"),
    Category.MEASURE: ("number.noise",),
    Category.BIRTH: ("number.noise",),
    Category.SENSITIVE: (NULL, {"mask": "constant", "value": 0}),
    Category.GENDER: (NULL, {"mask": "constant", "value": 0}),
}
# The highest day and month of a birth that stand in a column of their own, and are in every year.
_WITHIN_A_DATE: Final = {"month": 12, "day": 28}
_SHIFT: Final[Written] = {"mask": "date.shift", "days": 180}
# What is written in a NOT NULL column of a type that no mask knows.
_EMPTY: Final = {
    "bool": False,
    "xml": "<masked/>",
    "point": "(0,0)",
    "tsvector": "",
    "hstore": "",
    "inet": "0.0.0.0",  # noqa: S104 - a value, no address to listen on
    "cidr": "0.0.0.0/0",
    "macaddr": "00:00:00:00:00:00",
    "macaddr8": "00:00:00:00:00:00:00:00",
    "json": "{}",
    "jsonb": "{}",
}


# What a regular expression of texts of one length is made of.
_FORM: Final = re.compile(
    r"(?P<digit>\\d)|\\(?P<escaped>[^\w\s])|(?P<literal>[\w :/,;#@=-])|\[(?:\w-\w|\w)+\]|\{\d+\}", re.ASCII
)


def candidates(category: Category | None, shape: Column) -> Iterator[Written]:
    """Rules for a column that holds this, or (None) something to be hidden; whether they can stand is not asked."""
    base = shape.base_type if shape.kind == "b" else ""
    if base in TEXT:
        yield from _TEXT_MASKS.get(category, ()) if category is not None else ()
        yield from _HIDES_TEXT
    elif base in NUMBER:
        if category is Category.BIRTH:
            parts = (_WITHIN_A_DATE[word] for word in tokens(shape.name)[-1:] if word in _WITHIN_A_DATE)
            yield from ({"mask": "number.within", "min": 1, "max": highest} for highest in parts)
        yield from _NUMBER_MASKS.get(category, ()) if category is not None else ()
        yield from ("id.int",) if base in INTEGER else ("number.noise",)
    elif base in DATE:
        yield _SHIFT
        # Where a constraint bounds the dates, to go back within the year may be all that it allows.
        yield from ({"mask": "date.truncate", "to": unit} for unit in ("month", "year"))
        yield NULL
    else:
        yield from ("network.ip",) if base in {"inet", "cidr"} else ()
        yield from ("network.mac",) if base in {"macaddr", "macaddr8"} else ()
        yield from ("id.uuid",) if base == "uuid" else ()
        yield NULL
        yield "redact"
        yield from ({"mask": "constant", "value": label} for label in shape.enum_labels[:1])
        if base in _EMPTY and not shape.is_array:
            yield {"mask": "constant", "value": _EMPTY[base]}
    yield TODO


def declared(shape: Column, checks: Iterable[Check]) -> Written | None:
    """The rule that a column's constraint speaks for: a choice among the values that it lists (``kind IN ('a', 'b')``),
    numbers within its bounds, or the first of a date's year where the lower bound is one. Each satisfies it by the way
    it is made, which the rule says."""
    for check in checks:
        if check.columns not in ((), (shape.name,)):
            continue
        text, satisfies = check.expression, {"satisfies": [check.name]}
        if re.search(r"= ANY \(+ARRAY\[", text):
            values = [value.replace("''", "'") for value in re.findall(r"'((?:[^']|'')*)'", text)]
            return {"mask": "choice", "values": values, **satisfies}
        low, high = (re.search(rf"{sign}= \(?'?(-?\d+(?:\.\d+)?)\b(?!-)", text) for sign in "><")
        if low is not None and high is not None:
            return {"mask": "number.within", "min": float(low[1]), "max": float(high[1]), **satisfies}
        if (
            shape.base_type in DATE
            and re.search(r">= '\d{4}-01-01(?: 00:00:00)?'", text)
            and ">" not in text.split("<=")[-1]
        ):
            return {"mask": "date.truncate", "to": "year", **satisfies}
    return None


def formed(shape: Column, checks: Iterable[Check]) -> Iterator[Written]:
    """Rules that keep the one form which a constraint demands of a column's texts (``~ '^MRN[0-9]{7}$'``)."""
    for check in checks:
        demanded = re.search(r"(?<!!)~ '\^([^']*)\$'", check.expression)
        if check.columns in ((), (shape.name,)) and demanded is not None:
            parts = list(_FORM.finditer(demanded[1]))
            if "".join(part[0] for part in parts) == demanded[1]:
                yield {"mask": "id.pattern", "pattern": "".join(map(_in_pattern, parts))}


def _in_pattern(part: re.Match[str]) -> str:
    """A part of a regular expression as ``id.pattern`` has it, where some letters and digits have a meaning."""
    if part["digit"]:
        return "9"
    character = part["escaped"] or part["literal"]
    return part[0] if character is None else f"\\{character}" if character in "9Aa\\[]{}" else character


def stands(written: Written, domain: Domain, catalog: Catalog, unique: set[ColumnName]) -> bool:
    """Whether a rule accepts the types of a domain's columns and, where they are unique, keeps values apart."""
    rule = ColumnRule.model_validate(written)
    if rule.mask in {KEEP, TODO}:
        return True
    if rule.mask not in MASKS:
        return False
    shapes = [catalog.tables[other.table].column(other.column) for other in domain.columns]
    if rule.mask == NULL:
        return not any(shape.not_null for shape in shapes)
    kind = MASKS[rule.mask]
    try:
        params = kind.params.model_validate(rule.params)
    except ValidationError:
        # A mask that must be told more than a suggestion can know.
        return False
    is_unique = any(other in unique for other in domain.columns)
    return all(
        kind.accepts(shape.base_type) and not (is_unique and kind.uniqueness(params, shape) is Uniqueness.LOSSY)
        for shape in shapes
    )
