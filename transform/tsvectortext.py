"""PostgreSQL's text of tsvector, ``'a':1,2B 'it''s':3``, and what ``to_tsvector('simple', text)`` makes of a text.

Lexemes stand in the order of their bytes, each once, with its positions in ascending order; a position is followed by
its weight, but for D.

``lexemes_in`` knows the default parser's words, hyphenated words, numbers, versions, addresses of mail, hosts, URLs and
files, and leaves out tags, entities and the protocols of URLs. That is what the server finds in plain text, in numbers,
dates and addresses. In what is half of one and half of another (``a.b@c/1.2``) it may find other lexemes, or in another
order. Letters are lowered as Unicode says; a database with the locale C lowers those of ASCII only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

# By lexeme its positions, each with its weight, which is empty for D.
Lexemes: TypeAlias = dict[bytes, list[tuple[int, bytes]]]

_LAST_POSITION: Final = 16383
# How many positions of a lexeme the parser keeps, and how many one can have.
_PARSED_POSITIONS: Final = 255
_MOST_POSITIONS: Final = 256
_LONGEST: Final = 2046

_LETTER: Final = r"[^\W0-9_]"
_ALNUM: Final = r"[^\W_]"
_PART: Final = rf"[0-9]*+{_LETTER}{_ALNUM}*+"
_HOST: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}(?![\w-])"
_TOKEN: Final = re.compile(
    rf"""
    (?P<dropped> </?[A-Za-z][^<>]*> | <!--.*?--> | &(?:[A-Za-z][A-Za-z0-9]*|\#[0-9]+|\#[xX][0-9A-Fa-f]+);
        | [A-Za-z]+:// )
    | (?P<whole> [A-Za-z0-9][A-Za-z0-9._-]*@{_HOST} )
    | (?P<host> {_HOST}(?::[0-9]+)? )(?P<path> /[\w.~!*'();:@&=+$,/?#%-]+ )?
    | (?P<file> (?: [A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9_] | [A-Za-z] )? /[A-Za-z0-9_][A-Za-z0-9_./~-]*+(?<!\.)
        | [A-Za-z]\.[A-Za-z](?![\w.-]) )
    | (?P<number> [-+]?[0-9]+(?:\.[0-9]+)?[eE][-+]?[0-9]++(?!\w) | [0-9]+(?:\.[0-9]++){{2,}}(?!\w)
        | [-+][0-9]++(?:\.[0-9]++)? | [0-9]++(?:\.[0-9]++)?(?!{_LETTER}) )
    | (?P<compound> {_PART}(?:-{_PART})++ )-?
    | (?P<word> {_PART} )
    """,
    re.VERBOSE | re.DOTALL,
)

# ------------------------------------------------------------------------------------------------ reading text


def lexemes_in(text: str, weight: bytes = b"") -> Lexemes:
    """The lexemes of a text, all of one weight."""
    found: Lexemes = {}
    position = 0
    for token in _tokens(text):
        lexeme = (token.lower() if token.isascii() else "".join(map(_lowered, token))).encode()
        if len(lexeme) > _LONGEST:
            continue
        position += 1
        places = found.setdefault(lexeme, [])
        at = min(position, _LAST_POSITION)
        if len(places) < _PARSED_POSITIONS and (not places or places[-1][0] < at):
            places.append((at, weight))
    return found


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        match match.lastgroup:
            case "dropped":
                pass
            case "path":
                yield match["host"] + match["path"]
                yield match["host"]
                yield match["path"]
            case "compound":
                yield match["compound"]
                yield from match["compound"].split("-")
            case group:
                assert group is not None
                yield match[group]


def _lowered(character: str) -> str:
    lowered = character.lower()
    return lowered if len(lowered) == 1 else character


def concatenated(vectors: Iterable[Lexemes]) -> Lexemes:
    """``a || b``: the positions of each follow the last one of those before it."""
    found: Lexemes = {}
    last = 0
    for vector in vectors:
        for lexeme, places in vector.items():
            kept = found.setdefault(lexeme, [])
            for place, weight in places:
                if len(kept) == _MOST_POSITIONS or (kept and kept[-1][0] == _LAST_POSITION):
                    break
                kept.append((min(place + last, _LAST_POSITION), weight))
        last = max((places[-1][0] for places in found.values() if places), default=0)
    return found


# --------------------------------------------------------------------------------------------- text of vectors

_LEXEME: Final = re.compile(rb"'((?:[^'\\]|''|\\\\)*+)'(:[0-9ABC,]+)?(?: (?=')|\Z)", re.DOTALL)


def cut(value: bytes) -> list[bytes]:
    """The text cut so that, from index 1 on, each third piece is a lexeme as it is written, and the next one its places
    with the colon before them, or None; the others are empty. Raises ``ValueError``, without the value, if it is no
    tsvector."""
    parts = _LEXEME.split(value)
    if any(parts[::3]):
        raise ValueError("not the text of a tsvector")
    return parts


def join(lexemes: Sequence[bytes], places: Sequence[bytes | None]) -> bytes:
    """The text of lexemes as they are written, each with its places as they are."""
    every = b"".join(lexemes)
    is_plain = b"'" not in every and b"\\" not in every
    ordered = sorted(zip(lexemes, places, strict=True), key=None if is_plain else _unescaped)
    return b" ".join([b"'%s'%s" % (lexeme, place or b"") for lexeme, place in ordered])


def _unescaped(lexeme: tuple[bytes, bytes | None]) -> bytes:
    return lexeme[0].replace(b"''", b"'").replace(b"\\\\", b"\\")


def write(lexemes: Mapping[bytes, list[tuple[int, bytes]]]) -> bytes:
    """As PostgreSQL prints it."""
    return b" ".join(
        b"'%s'" % lexeme.replace(b"\\", b"\\\\").replace(b"'", b"''")
        + (b":" + b",".join(b"%d%s" % place for place in places) if places else b"")
        for lexeme, places in sorted(lexemes.items())
    )
