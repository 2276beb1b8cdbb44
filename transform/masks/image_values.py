"""A column's value inside a row image: from JSON to the text that the column itself holds, and back.

``to_jsonb(row)`` writes numbers, booleans, arrays and documents as JSON has them, times in ISO form with a T, and all
else as strings of the column's text. Images that were made otherwise may hold any value as a string; it goes back as
one.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from capture.model import Column
from transform import arraytext, floattext, jsontext
from transform.masks.base import JSON

_TIMES: Final = frozenset({"timestamp", "timestamptz"})
_ISO_UTC: Final = re.compile(rb"([^T]+)T([^+]+)\+00:00( BC)?")
_UTC: Final = re.compile(rb"(\S+) ([^+]+)\+00( BC)?")


def to_text(token: bytes, column: Column) -> bytes | None:
    """The text of a JSON value other than null in the column; None if no value of the column looks like that."""
    if column.is_array and token[:1] == b"[":
        return _array_text(token, column)
    if column.base_type in JSON and not column.is_array:
        return token
    match token[:1]:
        case b'"':
            text = jsontext.unquote(token)
            return _time_text(text) if column.base_type in _TIMES and not column.is_array else text
        case b"{" | b"[":
            return None
        case b"t" | b"f":
            return token[:1] if column.base_type == "bool" else token
    if column.base_type in floattext.DIGITS:
        return floattext.canonical(token.decode(), column.base_type)
    return token


def to_json(text: bytes | None, column: Column, instead_of: bytes) -> bytes:
    """A column's text as a JSON value, in the form of the one that it stands in for."""
    if text is None:
        return b"null"
    if column.is_array and instead_of[:1] == b"[":
        return _json_array(text, column, instead_of)
    if column.base_type in JSON and not column.is_array:
        return text
    if instead_of[:1] == b'"':
        in_iso = column.base_type in _TIMES and not column.is_array and b"T" in instead_of
        return jsontext.quote(_iso_time(text, jsontext.unquote(instead_of)) if in_iso else text)
    if column.base_type == "bool":
        return {b"t": b"true", b"f": b"false"}[text]
    if column.base_type in floattext.DIGITS and b"e" in text:
        return f"{Decimal(text.decode()):f}".encode()
    return text if jsontext.is_number(text) else jsontext.quote(text)


# -------------------------------------------------------------------------------------------------------- times


def _time_text(text: bytes) -> bytes | None:
    """``2024-01-31T10:00:00+00:00`` as ``2024-01-31 10:00:00+00``."""
    if b"T" not in text:
        return text
    if match := _ISO_UTC.fullmatch(text):
        return b"%s %s+00%s" % (match[1], match[2], match[3] or b"")
    try:
        moment = datetime.fromisoformat(text.decode())
        if moment.tzinfo is None:
            return text.replace(b"T", b" ")
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):  # a year that Python does not know; an offset goes with few of them
        return None if re.search(rb"[+-]\d\d:\d\d", text) else text.replace(b"T", b" ")
    return _trimmed(moment.replace(tzinfo=None), " ") + b"+00"


def _iso_time(text: bytes, like: bytes) -> bytes:
    """The inverse of ``_time_text``, with the offset from UTC that ``like`` has."""
    match = _UTC.fullmatch(text)
    if match is None:
        return text.replace(b" ", b"T", 1)
    if not _ISO_UTC.fullmatch(like):
        try:
            zone = datetime.fromisoformat(like.decode()).tzinfo
            moment = datetime.fromisoformat(f"{text.decode()}:00").astimezone(zone)
        except (ValueError, OverflowError):
            pass
        else:
            offset = moment.isoformat(timespec="microseconds")[len("2024-01-31T10:00:00.000000") :]
            return _trimmed(moment.replace(tzinfo=None), "T") + offset.encode()
    return b"%sT%s+00:00%s" % (match[1], match[2], match[3] or b"")


def _trimmed(moment: datetime, separator: str) -> bytes:
    text = moment.isoformat(separator)
    return (text.rstrip("0") if "." in text else text).encode()


# ------------------------------------------------------------------------------------------------------- arrays


def _elements(token: bytes, column: Column) -> tuple[tuple[int, ...], list[bytes]]:
    """The lengths and the leaf tokens of a JSON array; an array of documents has one dimension."""
    inside = [token[start:end] for _, start, end in jsontext.spans(token)]
    if not inside:
        return (), []
    if column.base_type in JSON or inside[0][:1] != b"[":
        return (len(inside),), inside
    nested = [_elements(part, column) for part in inside]
    return (len(inside), *nested[0][0]), [leaf for _, leaves in nested for leaf in leaves]


def _array_text(token: bytes, column: Column) -> bytes | None:
    lengths, leaves = _elements(token, column)
    element = replace(column, is_array=False)
    texts = [None if leaf == b"null" else to_text(leaf, element) for leaf in leaves]
    strange = any(text is None and leaf != b"null" for text, leaf in zip(texts, leaves, strict=True))
    if strange or len(leaves) != (math.prod(lengths) if lengths else 0):
        return None
    return arraytext.write(arraytext.Shape(b"", lengths), texts, arraytext.delimiter_of(column.base_type))


def _json_array(text: bytes, column: Column, instead_of: bytes) -> bytes:
    shape, elements = arraytext.parse(text, arraytext.delimiter_of(column.base_type))
    _, leaves = _elements(instead_of, column)
    element = replace(column, is_array=False)
    parts = [to_json(part, element, leaf) for part, leaf in zip(elements, leaves, strict=True)]
    for length in reversed(shape.lengths):
        parts = [b"[%s]" % b", ".join(parts[start : start + length]) for start in range(0, len(parts), length)]
    return parts[0] if parts else b"[]"
