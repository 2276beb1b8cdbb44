"""PostgreSQL's text of hstore, ``"a"=>"1", "b"=>NULL``: read into its pairs, written as ``hstore_out`` writes it.

hstore keeps its pairs in the order of their keys, first by length, then byte by byte, and each key once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

# A key and its value; None for NULL.
Pair: TypeAlias = tuple[bytes, bytes | None]

_INSIDE: Final = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_PAIR: Final = re.compile(rb'"(%s)"=>(?:"(%s)"|(NULL))(?:, (?=")|\Z)' % (_INSIDE, _INSIDE), re.DOTALL)
# A value, with what stands between it and the one before.
_VALUE: Final = re.compile(rb'((?:, )?"%s"=>)("%s"|NULL)' % (_INSIDE, _INSIDE), re.DOTALL)
_FIRST: Final = b'"'
_NEXT: Final = b', "'
_ARROW: Final = b'"=>'
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_TO_ESCAPE: Final = re.compile(rb'(["\\])')


def parse(value: bytes) -> list[Pair]:
    """The pairs, as they stand. Raises ``ValueError``, without the value, if it is no hstore."""
    pairs: list[Pair] = []
    position = 0
    while position < len(value):
        match = _PAIR.match(value, position)
        if match is None:
            raise ValueError("not the text of an hstore")
        key, text, null = match.groups()
        pairs.append((_unescape(key), None if null else _unescape(text)))
        position = match.end()
    return pairs


def cut(value: bytes) -> list[bytes]:
    """The text cut so that, from index 2 on, each third piece is a value: text in quotes or NULL. The piece before a
    value is all that stands between it and the one before; see ``keys_of``. The others are empty; together they are the
    text. Raises ``ValueError``, without the value, if it is no hstore."""
    parts = _VALUE.split(value)
    if any(parts[::3]):
        raise ValueError("not the text of an hstore")
    return parts


def keys_of(leads: Iterable[bytes]) -> list[bytes]:
    """The keys in the pieces before all values. Raises ``ValueError`` as ``cut`` does."""
    keys: list[bytes] = []
    for lead in leads:
        start = _NEXT if keys else _FIRST
        if not lead.startswith(start):
            raise ValueError("not the text of an hstore")
        keys.append(_unescape(lead[len(start) : -len(_ARROW)]))
    return keys


def leads_of(keys: Iterable[bytes]) -> list[bytes]:
    """The pieces before all values of these keys, which stand in hstore's order."""
    return [(_NEXT if number else _FIRST) + _escape(key) + _ARROW for number, key in enumerate(keys)]


def unquote(token: bytes) -> bytes:
    """The text of a value in quotes."""
    return _unescape(token[1:-1])


def quote(text: bytes) -> bytes:
    """Text as a value in quotes."""
    return b'"%s"' % _escape(text)


def write(pairs: Iterable[Pair]) -> bytes:
    """The text of these pairs, which stand in hstore's order."""
    return b", ".join(
        b'"%s"=>NULL' % _escape(key) if text is None else b'"%s"=>"%s"' % (_escape(key), _escape(text))
        for key, text in pairs
    )


def _unescape(inside: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", inside) if b"\\" in inside else inside


def _escape(text: bytes) -> bytes:
    return _TO_ESCAPE.sub(rb"\\\1", text) if b'"' in text or b"\\" in text else text
