"""A column's value inside a row image: from JSON to the text that the column itself holds, and back.

``to_jsonb(row)`` writes numbers, booleans, arrays and documents as JSON has them, times in ISO form with a T, and all
else as strings of the column's text. Images that were made otherwise may hold any value as a string; it goes back as
one. ``hstore(row)`` holds the text of every column, which stands here as a string. In jsonb, documents of the type json
are as jsonb prints them.
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

HSTORE: Final = "hstore"
_TIMES: Final = frozenset({"timestamp", "timestamptz"})
_BOOLEANS: Final = {b"t": b"true", b"f": b"false"}
_ISO_UTC: Final = re.compile(rb"([^T]+)T([^+]+)\+00:00( BC)?")
_UTC: Final = re.compile(rb"(\S+) ([^+]+)\+00( BC)?")
_ELSEWHERE: Final = re.compile(rb"\d.*:\d\d(?:\.\d+)?[+-](?!00\Z)\d\d(?::\d\d)*(?: BC)?")


class ImageColumn:
    """How the values of one column stand in row images of the type ``image_type``: json, jsonb or hstore."""

    def __init__(self, column: Column, image_type: str) -> None:
        self._element = ImageColumn(replace(column, is_array=False), image_type) if column.is_array else None
        self._delimiter = arraytext.delimiter_of(column.base_type)
        self._base_type = column.base_type
        self._is_document = column.base_type in JSON and not column.is_array and image_type != HSTORE
        self._is_rewritten = column.base_type == "json" and image_type == "jsonb"
        self._is_time = column.base_type in _TIMES and not column.is_array
        self._is_float = column.base_type in floattext.DIGITS
        self._is_boolean = column.base_type == "bool"

    def to_text(self, token: bytes) -> bytes | None:
        """The text of a JSON value other than null in the column; None if the column has none that looks like it."""
        if self._is_document:
            return token
        first = token[:1]
        if first == b'"':
            text = jsontext.unquote(token)
            return _time_text(text) if self._is_time else text
        if first == b"[" and self._element is not None:
            return self._array_text(token)
        if first in b"{[":
            return None
        if first in b"tf":
            return first if self._is_boolean else token
        return floattext.canonical(token.decode(), self._base_type) if self._is_float else token

    def to_json(self, text: bytes | None, instead_of: bytes) -> bytes:
        """A text of the column as a JSON value, in the form of the one that it stands in for."""
        if text is None:
            return b"null"
        if self._is_document:
            return jsontext.binary_form(text) if self._is_rewritten else text
        first = instead_of[:1]
        if first == b'"':
            return jsontext.quote(_time_like(text, jsontext.unquote(instead_of)) if self._is_time else text)
        if first == b"[":
            return self._json_array(text, instead_of)
        if self._is_boolean and text in _BOOLEANS:
            return _BOOLEANS[text]
        if self._is_float and b"e" in text:
            return f"{Decimal(text.decode()):f}".encode()
        return text if jsontext.is_number(text) else jsontext.quote(text)

    # ------------------------------------------------------------------------------------------------ arrays

    def _leaves(self, token: bytes) -> tuple[tuple[int, ...], list[bytes]]:
        """The lengths and the elements of a JSON array; an array of documents has one dimension."""
        inside = [value for _, _, value in jsontext.values_in(token)[0]]
        if not inside:
            return (), []
        if self._base_type in JSON or any(part[:1] != b"[" for part in inside):
            return (len(inside),), inside
        nested = [self._leaves(part) for part in inside]
        return (len(inside), *nested[0][0]), [leaf for _, leaves in nested for leaf in leaves]

    def _array_text(self, token: bytes) -> bytes | None:
        assert self._element is not None
        lengths, leaves = self._leaves(token)
        if lengths and len(leaves) != math.prod(lengths):
            return None
        texts: list[bytes | None] = []
        for leaf in leaves:
            text = None if leaf == b"null" else self._element.to_text(leaf)
            if text is None and leaf != b"null":
                return None
            texts.append(text)
        return arraytext.write(arraytext.Shape(b"", lengths), texts, self._delimiter)

    def _json_array(self, text: bytes, instead_of: bytes) -> bytes:
        assert self._element is not None
        shape, elements = arraytext.parse(text, self._delimiter)
        _, leaves = self._leaves(instead_of)
        parts = [self._element.to_json(part, leaf) for part, leaf in zip(elements, leaves, strict=True)]
        for length in reversed(shape.lengths):
            parts = [b"[%s]" % b", ".join(parts[start : start + length]) for start in range(0, len(parts), length)]
        return parts[0] if parts else b"[]"


# -------------------------------------------------------------------------------------------------------- times


def _time_text(text: bytes) -> bytes | None:
    """``2024-01-31T15:30:00+05:30`` as ``2024-01-31 10:00:00+00``; None if it cannot be told what time that is."""
    if b"T" not in text and not _ELSEWHERE.fullmatch(text):
        return text
    if match := _ISO_UTC.fullmatch(text):
        return b"%s %s+00%s" % (match[1], match[2], match[3] or b"")
    try:
        moment = datetime.fromisoformat(text.decode())
        if moment.tzinfo is None:
            return text.replace(b"T", b" ")
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):  # a year that Python does not know; an offset goes with few of them
        return None if re.search(rb":[\d.]+[+-]\d\d", text) else text.replace(b"T", b" ")
    return _trimmed(moment.replace(tzinfo=None), " ") + b"+00"


def _time_like(text: bytes, like: bytes) -> bytes:
    """The inverse of ``_time_text``, in the form of ``like`` and with the offset from UTC that it has."""
    in_iso = b"T" in like
    separator = "T" if in_iso else " "
    match = _UTC.fullmatch(text)
    if match is None:
        return text.replace(b" ", separator.encode(), 1)
    if not _ISO_UTC.fullmatch(like) and (in_iso or _ELSEWHERE.fullmatch(like)):
        try:
            zone = datetime.fromisoformat(like.decode()).tzinfo
            moment = datetime.fromisoformat(f"{text.decode()}:00").astimezone(zone)
        except (ValueError, OverflowError):
            pass
        else:
            offset = moment.isoformat(timespec="microseconds")[len("2024-01-31T10:00:00.000000") :]
            if not in_iso:
                offset = offset.removesuffix(":00")
            return _trimmed(moment.replace(tzinfo=None), separator) + offset.encode()
    return b"%sT%s+00:00%s" % (match[1], match[2], match[3] or b"") if in_iso else text


def _trimmed(moment: datetime, separator: str) -> bytes:
    text = moment.isoformat(separator)
    return (text.rstrip("0") if "." in text else text).encode()
