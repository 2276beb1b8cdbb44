"""Rules for the labels of PostgreSQL Anonymizer: ``SECURITY LABEL FOR anon ON COLUMN ... IS 'MASKED WITH ...'``.

A label names a function of that extension, or a value. What has a mask of the same meaning here is translated; for what
has none the column is to be decided by a person.
"""

from __future__ import annotations

import re
from typing import Any, Final

_LABEL: Final = re.compile(r"MASKED\s+WITH\s+(FUNCTION|VALUE)\s+(.*)", re.IGNORECASE | re.DOTALL)
_CALL: Final = re.compile(r"(?:anon\.|pg_catalog\.)?(\w+)\s*\((.*)\)", re.DOTALL)

# By the function's name; dummy_ and fake_ and pseudo_ mean the same here, since every mask is deterministic.
_FUNCTIONS: Final[dict[str, str | dict[str, Any]]] = {
    "email": "email",
    "free_email": "email",
    "safe_email": "email",
    "partial_email": "email",
    "first_name": "name.first",
    "first_name_female": "name.first",
    "first_name_male": "name.first",
    "last_name": "name.last",
    "name": "name.full",
    "name_with_title": "name.full",
    "username": "username",
    "phone_number": "phone",
    "cell_number": "phone",
    "phone": "phone",
    "address": "address.full",
    "street_name": "address.street",
    "street_address": "address.street",
    "building_number": "address.street",
    "city": "address.city",
    "city_name": "address.city",
    "region": "address.region",
    "state_name": "address.region",
    "country": "address.country",
    "country_name": "address.country",
    "postcode": "address.postcode",
    "zip_code": "address.postcode",
    "zip": "address.postcode",
    "latitude": "address.latitude",
    "longitude": "address.longitude",
    "iban": "financial.iban",
    "bic": "financial.bic",
    "credit_card_number": "financial.card",
    "creditcard_number": "financial.card",
    "siret": "id.national",
    "siren": "id.national",
    "ssn": "id.national",
    "licence_plate": "id.plate",
    "ip_v4": "network.ip",
    "ip_v6": "network.ip",
    "ipv4": "network.ip",
    "ipv6": "network.ip",
    "inet": "network.ip",
    "macaddress": "network.mac",
    "mac_address": "network.mac",
    "user_agent": "network.user_agent",
    "url": "url",
    "uri": "url",
    "domain": "url",
    "company": "text.lorem",
    "company_name": "text.lorem",
    "lorem_ipsum": "text.lorem",
    "sentence": "text.lorem",
    "paragraph": "text.lorem",
    "string": "text.lorem",
    "noise": "number.noise",
    "date": {"mask": "date.shift", "days": 180},
    "random_date": {"mask": "date.shift", "days": 180},
    "birthdate": {"mask": "date.shift", "days": 180},
    "uuid_v4": "id.uuid",
    "hash": "id.uuid",
    "digest": "id.uuid",
    "random_hash": "id.uuid",
    "random_int": "id.int",
    "int": "id.int",
    "partial": "text.partial",
}
_DAYS: Final = {"day": 1, "week": 7, "month": 30, "mon": 30, "year": 365}
_PREFIXES: Final = ("fake_", "dummy_", "pseudo_", "random_", "anon_")


def translate(label: str) -> str | dict[str, Any] | None:
    """The rule, as the rules file writes it, that means what a label of the provider ``anon`` says.

    ``keep`` for ``NOT MASKED``; None for a label that has no counterpart (another function, an expression) or that
    says nothing of a column's mask.
    """
    text = label.strip().rstrip(";")
    if re.fullmatch(r"NOT\s+MASKED", text, re.IGNORECASE):
        return "keep"
    match = _LABEL.fullmatch(text)
    if match is None:
        return None
    if match[1].upper() == "VALUE":
        return _constant(match[2].strip())
    call = _CALL.fullmatch(match[2].strip())
    return _function(call[1].lower(), call[2]) if call is not None else None


def says_masked(label: str) -> bool:
    """Whether a label masks its column, by whatever means."""
    return _LABEL.fullmatch(label.strip()) is not None


def _function(name: str, arguments: str) -> str | dict[str, Any] | None:
    shown = re.fullmatch(r"[^,]+,\s*(\d+)\s*,\s*.*?,\s*(\d+)\s*", arguments, re.DOTALL) if name == "partial" else None
    if shown is not None:
        return {"mask": "text.partial", "keep_first": int(shown[1]), "keep_last": int(shown[2])}
    ratio = re.fullmatch(r"[^,]+,\s*(0?\.\d+|1(?:\.0*)?)\s*", arguments) if name == "noise" else None
    if ratio is not None:
        return {"mask": "number.noise", "ratio": float(ratio[1])}
    if name == "dnoise":
        return _shift(arguments)
    between = re.fullmatch(r"\s*(-?\d+)\s*,\s*(-?\d+)\s*", arguments)
    if name in {"random_int_between", "random_bigint_between"} and between is not None:
        return {"mask": "number.within", "min": int(between[1]), "max": int(between[2])}
    listed = re.fullmatch(r"\s*ARRAY\s*\[(.*)\]\s*(?:::[\w ]+\[\])?\s*", arguments, re.IGNORECASE | re.DOTALL)
    if name == "random_in" and listed is not None:
        texts = re.findall(r"'((?:[^']|'')*)'", listed[1])
        numbers = re.findall(r"(?<![\w.'])-?\d+(?![\w.'])", listed[1]) if not texts else []
        values = [text.replace("''", "'") for text in texts] or [int(number) for number in numbers]
        return {"mask": "choice", "values": values} if values else None
    for prefix in ("", *_PREFIXES):
        if name.startswith(prefix) and name.removeprefix(prefix) in _FUNCTIONS:
            return _FUNCTIONS[name.removeprefix(prefix)]
    return None


def _shift(arguments: str) -> dict[str, Any]:
    """Dates moved by as much as the label says at the most, where it says it in days or more."""
    span = re.search(r"'(\d+)\s*(day|week|month|mon|year)s?'", arguments, re.IGNORECASE)
    days = int(span[1]) * _DAYS[span[2].lower()] if span is not None else 180
    return {"mask": "date.shift", "days": min(max(days, 1), 36_500)}


def _constant(value: str) -> str | dict[str, Any] | None:
    if value.upper() == "NULL":
        return "null"
    quoted = re.fullmatch(r"\$\$(.*)\$\$|'((?:[^']|'')*)'(?:::[\w ]+)?", value, re.DOTALL)
    if quoted is not None:
        return {"mask": "constant", "value": quoted[1] if quoted[1] is not None else quoted[2].replace("''", "'")}
    if re.fullmatch(r"true|false", value, re.IGNORECASE):
        return {"mask": "constant", "value": value.lower() == "true"}
    if re.fullmatch(r"-?\d+", value):
        return {"mask": "constant", "value": int(value)}
    return {"mask": "constant", "value": float(value)} if re.fullmatch(r"-?\d+\.\d+", value) else None
