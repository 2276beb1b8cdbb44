"""PostgreSQL's text of arrays, ``{1,NULL,"a b"}``: read into its elements, written as ``array_out`` writes it.

An array is its shape and its elements in storage order. The shape of ``[0:1]={{a},{b}}`` is the prefix ``[0:1]=`` with
the lengths (2, 1); that of an empty array has no lengths. Elements are unescaped text, None for NULL.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_PREFIX: Final = re.compile(rb"(?:\[[+-]?\d+:[+-]?\d+\])+=")
_DELIMITERS: Final = (b",", b";")
# The inside of quotes, where a byte after a backslash stands for itself; an element in quotes or without (never empty);
# a whole array of one dimension; any token.
_INSIDE: Final = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
_ELEMENT: Final = {
    delimiter: re.compile(rb'"(%s)"|([^{}"\\%s]+)' % (_INSIDE, delimiter), re.DOTALL) for delimiter in _DELIMITERS
}
_FLAT: Final = {
    delimiter: re.compile(
        rb'\{(?:"%s"|[^{}"\\%s]++)(?:%s(?:"%s"|[^{}"\\%s]++))*+\}'
        % (_INSIDE, delimiter, delimiter, _INSIDE, delimiter),
        re.DOTALL,
    )
    for delimiter in _DELIMITERS
}
_TOKENS: Final = {
    delimiter: re.compile(rb"([{}%s])|%s" % (delimiter, element.pattern), re.DOTALL)
    for delimiter, element in _ELEMENT.items()
}
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_TO_ESCAPE: Final = re.compile(rb'(["\\])')
_NEEDS_QUOTES: Final = {
    delimiter: re.compile(rb'[{}"\\ \t\n\r\v\f%s]|\A(?i:null)\Z|\A\Z' % delimiter) for delimiter in _DELIMITERS
}


class Shape(NamedTuple):
    """``prefix`` holds the bounds where they do not start at 1, else it is empty; ``lengths`` has one number for each
    dimension."""

    prefix: bytes
    lengths: tuple[int, ...]


def delimiter_of(base_type: str) -> bytes:
    """What stands between elements of this type: a comma, but for ``box``, whose values hold commas."""
    return b";" if base_type == "box" else b","


def parse(value: bytes, delimiter: bytes = b",") -> tuple[Shape, list[bytes | None]]:
    """Read one array. Raises ``ValueError``, without the value, if it is none."""
    prefix = b""
    if value[:1] == b"[" and (bounds := _PREFIX.match(value)):
        prefix, value = bounds[0], value[bounds.end() :]
    if value[:1] != b"{" or value[-1:] != b"}":
        raise ValueError("not the text of an array")
    if value == b"{}":
        return Shape(prefix, ()), []
    if value[1:2] != b"{" and _FLAT[delimiter].fullmatch(value):
        if b'"' in value:
            flat = [_element(*found) for found in _ELEMENT[delimiter].findall(value)]
        else:
            flat = [None if element == b"NULL" else element for element in value[1:-1].split(delimiter)]
        return Shape(prefix, (len(flat),)), flat
    return _parse_nested(prefix, value, delimiter)


def _parse_nested(prefix: bytes, value: bytes, delimiter: bytes) -> tuple[Shape, list[bytes | None]]:
    dimensions = len(value) - len(value.lstrip(b"{"))
    elements: list[bytes | None] = []
    # By depth: how many arrays there are, and how many delimiters stand between their items.
    arrays, delimiters = [0] * dimensions, [0] * dimensions
    depth = position = 0
    for token in _TOKENS[delimiter].finditer(value):
        mark, quoted, plain = token.groups()
        if token.start() != position or (depth != dimensions if mark is None else mark == b"{" and depth == dimensions):
            break
        position = token.end()
        if mark is None:
            elements.append(_element(quoted, plain))
        elif mark == b"{":
            arrays[depth] += 1
            depth += 1
        elif mark == delimiter:
            delimiters[depth - 1] += 1
        else:
            depth -= 1
            if not depth:
                break
    lengths = tuple((between + count) // max(count, 1) for between, count in zip(delimiters, arrays, strict=True))
    if position != len(value) or depth or math.prod(lengths) != len(elements):
        raise ValueError("not the text of an array")
    return Shape(prefix, lengths), elements


def _element(quoted: bytes | None, plain: bytes | None) -> bytes | None:
    if plain:
        return None if plain == b"NULL" else plain
    return _ESCAPED.sub(rb"\1", quoted) if quoted and b"\\" in quoted else quoted


def quote(element: bytes | None, delimiter: bytes = b",") -> bytes:
    """One element as it stands in an array: in quotes only where it must be."""
    if element is None:
        return b"NULL"
    if _NEEDS_QUOTES[delimiter].search(element):
        return b'"%s"' % _TO_ESCAPE.sub(rb"\\\1", element)
    return element


def nest(shape: Shape, quoted: Sequence[bytes], delimiter: bytes = b",") -> bytes:
    """Write one array of elements that are quoted already, as many as the shape has places."""
    if not shape.lengths:
        return shape.prefix + b"{}"
    parts = list(quoted)
    for length in reversed(shape.lengths):
        parts = [b"{%s}" % delimiter.join(parts[at : at + length]) for at in range(0, len(parts), max(length, 1))]
    return shape.prefix + parts[0]


def write(shape: Shape, elements: Sequence[bytes | None], delimiter: bytes = b",") -> bytes:
    """Write one array. There are as many elements as the shape has places."""
    return nest(shape, [quote(element, delimiter) for element in elements], delimiter)
