"""JSON as PostgreSQL prints it, looked at token by token.

But by ``binary_form`` a document is never taken apart and written anew: what is not replaced stays byte for byte as it
is, with the order and repetition of its keys, its numbers and its blanks. There is no limit to how deeply a document is
nested.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# What separates a token from the one before it, with the key if there is one; that key; then a string, or a number or
# word, or an opening, or a closing bracket: groups 1 to 6. A scalar is all that is neither bracket nor separator; the
# server has made sure of what it is.
TOKEN: Final = re.compile(
    rb"([\s,]*+(?:(%s)\s*+:\s*+)?+)(?:(%s)|([^\s,:\[\]{}\"]++)|([\[{])|([\]}]))" % (_STRING, _STRING), re.DOTALL
)
# A leaf, group 2, with all that stands between it and the one before, group 1; what follows the last leaf comes with an
# empty one. And what such a lead is made of: keys, group 1, and brackets, group 2.
_LEAF: Final = re.compile(
    rb"([\s,\[\]{}]*+(?:%s\s*+:[\s,\[\]{}]*+)*+)(%s|[^\s,:\[\]{}\"]++|\Z)" % (_STRING, _STRING), re.DOTALL
)
STRUCTURE: Final = re.compile(rb"(%s)|([\[\]{}])" % _STRING, re.DOTALL)
_NUMBER: Final = re.compile(rb"(?!-0(?:\.0*)?\Z)-?(?:0|[1-9]\d*)(?:\.\d+)?")
_WORDS: Final = frozenset((b"true", b"false", b"null"))
_TO_ESCAPE: Final = re.compile(rb'["\\\x00-\x1f]')
_ESCAPES = {bytes([code]): b"\\u%04x" % code for code in range(32)}
_ESCAPES |= {b"\b": b"\\b", b"\f": b"\\f", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t", b'"': b'\\"', b"\\": b"\\\\"}


def leaves_in(document: bytes) -> list[bytes]:
    """The document cut so that, from index 2 on, each third piece but the last is a leaf; the piece before a leaf is
    all that stands between it and the one before, and the others are empty. Together they are the document."""
    parts = _LEAF.split(document)
    if not parts[-5]:  # what follows the last leaf is something, and nothing follows that
        del parts[-3:]
    return parts


def keys_of(leads: Iterable[bytes]) -> list[bytes] | None:
    """The unescaped keys of an object's values, by what ``leaves_in`` found before each of its leaves; None if it is no
    object, or has a value that is no leaf."""
    keys: list[bytes] = []
    for lead in leads:
        found = STRUCTURE.findall(lead)
        if [bracket for _, bracket in found] != ([b""] if keys else [b"{", b""]):
            return None
        keys.append(unquote(found[-1][0]))
    return keys or None


def is_end(end: bytes) -> bool:
    """Whether what follows the last leaf ends no more than one object, and holds nothing else."""
    return end.strip() == b"}"


def unquote(token: bytes) -> bytes:
    """The text of a string. A lone surrogate, which is no text, becomes a question mark."""
    if b"\\" not in token:
        return token[1:-1]
    text: str = json.loads(token.decode("utf-8", "surrogateescape"), strict=False)
    return text.encode("utf-8", "replace")


def quote(text: bytes) -> bytes:
    """Text as a string, escaped as PostgreSQL does it."""
    if _TO_ESCAPE.search(text):
        text = _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], text)
    return b'"%s"' % text


def is_number(text: bytes) -> bool:
    """Whether text is a number that jsonb prints just so."""
    return _NUMBER.fullmatch(text) is not None


def values_in(document: bytes) -> tuple[list[tuple[bytes, bytes, bytes]], bytes]:
    """The values right inside an object or array, in order, and what follows the last one. Of each: all that stands
    between the value before it and itself; its unescaped key, empty in an array; the value. Together they are the
    document."""
    values: list[tuple[bytes, bytes, bytes]] = []
    inner: list[bytes] = []  # the pieces of a value that is itself an object or array
    start = name = b""
    depth = 0
    for lead, key, string, scalar, opening, closing in TOKEN.findall(document):
        if depth > 1:
            inner += lead, string or scalar or opening or closing
            if opening:
                depth += 1
            elif closing:
                depth -= 1
                if depth == 1:
                    values.append((start, name, b"".join(inner)))
                    start = b""
        elif depth == 0:
            start = lead + opening
            depth = 1
        elif closing:
            return values, start + lead + document[document.rindex(closing) :]
        else:
            start += lead
            name = unquote(key)
            if opening:
                inner = [opening]
                depth = 2
            else:
                values.append((start, name, string or scalar))
                start = b""
    raise AssertionError("the server sends whole documents")


def closed(cut_off: bytes) -> bytes:
    """A document that was cut off somewhere: up to its last whole value, with all closed that is open. Empty if it is
    no object or array."""
    open_brackets: list[bytes] = []
    position = 0
    for match in TOKEN.finditer(cut_off):
        _, key, _, scalar, opening, closing = match.groups(b"")
        in_object = open_brackets[-1:] == [b"}"]
        is_cut = match.start() > position or (scalar and match.end() == len(cut_off))
        if is_cut or (in_object and not key and not closing) or not (open_brackets or opening):
            break
        position = match.end()
        if opening:
            open_brackets.append(b"}" if opening == b"{" else b"]")
        elif closing:
            open_brackets.pop()
    return cut_off[:position] + b"".join(reversed(open_brackets))


def binary_form(document: bytes) -> bytes:
    """The document as jsonb prints it: keys once, by length and then by bytes, and numbers without exponents."""
    written: list[bytes] = []
    # Of each array and object that has not ended: the key that it stands under, and what is in it.
    above: list[tuple[bytes, list[bytes], dict[bytes, bytes] | None]] = []
    inside = written
    members: dict[bytes, bytes] | None = None
    for _, key, string, scalar, opening, closing in TOKEN.findall(document):
        name = unquote(key) if key else b""
        if opening:
            above.append((name, inside, members))
            inside, members = [], {} if opening == b"{" else None
            continue
        if closing:
            value = b"[%s]" % b", ".join(inside)
            if members is not None:
                ordered = sorted(members, key=lambda one: (len(one), one))
                value = b"{%s}" % b", ".join(b"%s: %s" % (quote(one), members[one]) for one in ordered)
            name, inside, members = above.pop()
        else:
            value = quote(unquote(string)) if string else _plain(scalar)
        if members is None:
            inside.append(value)
        else:
            members[name] = value
    return b"".join(written)


def _plain(scalar: bytes) -> bytes:
    """A word as it is, a number as jsonb prints it."""
    if scalar in _WORDS or is_number(scalar):
        return scalar
    number = Decimal(scalar.decode())
    return f"{abs(number) if number.is_zero() else number:f}".encode()
