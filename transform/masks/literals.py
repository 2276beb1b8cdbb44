"""A constant from a rules file as PostgreSQL prints it in a column.

A mask's output is canonical, so a constant is brought into the form in which it comes back from the target: 5 in
numeric(10,2) is ``5.00``. Types that are not listed here take the text as it stands, which must be in that form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from ipaddress import ip_network
from typing import Final, TypeAlias
from uuid import UUID

import numpy as np
import pyarrow as pa

from capture.model import BadInput, Column
from transform import floattext, jsontext
from transform.masks import ipaddr
from transform.masks.base import TEXT
from transform.masks.choosing import room

Literal: TypeAlias = bool | int | float | str

# What users are told of types without a writer here.
NOTE: Final = (
    "In types other than text, numbers, money, dates, boolean, uuid, JSON, bytea and addresses of networks, write it "
    "as PostgreSQL prints it."
)
_TRUE: Final = frozenset({"t", "true", "y", "yes", "on", "1"})
_FALSE: Final = frozenset({"f", "false", "n", "no", "off", "0"})
_BITS: Final = {"int2": 16, "int4": 32, "int8": 64}
_ENDLESS: Final = frozenset({"infinity", "-infinity"})
_AMOUNT: Final = re.compile(r"(-?)\$?([\d,]*\.?\d*)")
_MAC_DIGITS: Final = {"macaddr": 12, "macaddr8": 16}


def canonical(value: Literal, column: Column) -> bytes:
    """``value`` in the column's canonical text. Raises ``BadInput`` if the column cannot hold it."""
    written = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if "\0" in written:
        raise BadInput("the constant holds the character NUL, which PostgreSQL does not store.")
    if column.base_type in TEXT:
        return _text(written, column)
    write = _WRITERS.get(column.base_type)
    if write is None:
        return written.encode()
    try:
        return write(written.strip(), column)
    except (ValueError, InvalidOperation, OverflowError):
        raise BadInput(f"the constant is no value of the type {column.type_name}.") from None


def _text(written: str, column: Column) -> bytes:
    limit = room(column)
    if limit is not None and len(written) > limit:
        raise BadInput(f"the constant has {len(written)} characters, and {column.type_name} holds {limit}.")
    return (written.ljust(limit) if column.base_type == "bpchar" and limit is not None else written).encode()


def _boolean(written: str, column: Column) -> bytes:
    if written.lower() in _TRUE:
        return b"t"
    if written.lower() in _FALSE:
        return b"f"
    raise ValueError


def _integer(written: str, column: Column) -> bytes:
    number = int(written)
    half = 1 << (_BITS[column.base_type] - 1)
    if not -half <= number < half:
        raise ValueError
    return str(number).encode()


def _numeric(written: str, column: Column) -> bytes:
    number = Decimal(written)
    if number.is_nan():
        return b"NaN"
    if number.is_infinite():
        return b"-Infinity" if number < 0 else b"Infinity"
    if column.scale is not None:
        number = number.quantize(Decimal(1).scaleb(-column.scale), ROUND_HALF_UP)
        if column.typmod >= 4 and abs(number) >= Decimal(1).scaleb(((column.typmod - 4) >> 16 & 0xFFFF) - column.scale):
            raise ValueError
    return f"{abs(number) if number.is_zero() else number:f}".encode()


def _money(written: str, column: Column) -> bytes:
    match = _AMOUNT.fullmatch(written)
    if match is None:
        raise ValueError
    cents = int(Decimal(match[1] + match[2].replace(",", "")).quantize(Decimal("0.01"), ROUND_HALF_UP) * 100)
    if not -(2**63) <= cents < 2**63:
        raise ValueError
    return f"{'-' if cents < 0 else ''}${abs(cents) // 100:,}.{abs(cents) % 100:02d}".encode()


def _float(written: str, column: Column) -> bytes:
    with np.errstate(over="ignore"):
        found = floattext.canonical(written, column.base_type)
    if found.endswith(b"Infinity") and any(map(str.isdigit, written)):
        raise ValueError
    return found


def _date(written: str, column: Column) -> bytes:
    if written.lower() in _ENDLESS:
        return written.lower().encode()
    return date.fromisoformat(written).isoformat().encode()


def _timestamp(written: str, column: Column) -> bytes:
    if written.lower() in _ENDLESS:
        return written.lower().encode()
    moment = datetime.fromisoformat(written)
    with_zone = column.base_type == "timestamptz"
    # As PostgreSQL reads them: a time zone that the column has no place for is dropped, one that is missing is UTC.
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None or not with_zone else moment.astimezone(UTC)
    text = moment.replace(tzinfo=None).isoformat(" ")
    return ((text.rstrip("0") if "." in text else text) + ("+00" if with_zone else "")).encode()


def _uuid(written: str, column: Column) -> bytes:
    return str(UUID(written)).encode()


def _bytea(written: str, column: Column) -> bytes:
    if written.startswith("\\x"):
        return b"\\x" + bytes.fromhex(written[2:]).hex().encode()
    if "\\" in written:
        raise ValueError
    return b"\\x" + written.encode().hex().encode()


def _address(written: str, column: Column) -> bytes:
    rows, addresses = ipaddr.read(pa.array([written.encode()], pa.binary()))
    if not len(rows):
        raise ValueError
    is_cidr = column.base_type == "cidr"
    if is_cidr:
        ip_network(written)  # refuses an address of a host in a network
    text: bytes = ipaddr.write(addresses, with_prefix=is_cidr)[0].as_py()
    return text


def _mac(written: str, column: Column) -> bytes:
    digits = re.sub("[:.-]", "", written)
    if column.base_type == "macaddr8" and len(digits) == _MAC_DIGITS["macaddr"]:
        digits = f"{digits[:6]}fffe{digits[6:]}"
    if len(digits) != _MAC_DIGITS[column.base_type]:
        raise ValueError
    return bytes.fromhex(digits).hex(":").encode()


def _json(written: str, column: Column) -> bytes:
    json.loads(written, parse_constant=_refuse)
    return written.encode()


def _jsonb(written: str, column: Column) -> bytes:
    return jsontext.binary_form(_json(written, column))


def _refuse(constant: str) -> None:
    raise ValueError


_WRITERS: Final[dict[str, Callable[[str, Column], bytes]]] = {
    "bool": _boolean,
    "int2": _integer,
    "int4": _integer,
    "int8": _integer,
    "numeric": _numeric,
    "money": _money,
    "float4": _float,
    "float8": _float,
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _timestamp,
    "uuid": _uuid,
    "bytea": _bytea,
    "inet": _address,
    "cidr": _address,
    "macaddr": _mac,
    "macaddr8": _mac,
    "json": _json,
    "jsonb": _jsonb,
}
