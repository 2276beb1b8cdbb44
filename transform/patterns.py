"""PostgreSQL's patterns, LIKE and regular expressions, as Python's, as far as both mean the same by them.

What they may mean differently raises ``Unknown``. ``samples`` gives texts that match a pattern.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import Final

import numpy as np


class Unknown(Exception):
    """Something that is not known here; the message says what, and holds no value of a row."""


_CLASSES: Final = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r" \t\n\r\f\v",
    "xdigit": "0-9A-Fa-f",
    "punct": r"!-/:-@\[-`{-~",
}
_CLASS: Final = re.compile(r"\[:([a-z]+):\]")
# Shorthands and escaped punctuation; other letters and digits mean other things in either.
_ESCAPE: Final = re.compile(r"\\(?:[dDwWsSnrtfv]|[^\w\s])")
_GROUP: Final = re.compile(r"\(\?(?:[:=!]|<[=!])")


@lru_cache(maxsize=1024)
def like(pattern: str, *, ignore_case: bool) -> re.Pattern[str]:
    """A LIKE pattern, of the whole text."""
    parts, place = [], 0
    while place < len(pattern):
        character = pattern[place]
        if character == "\\" and place + 1 < len(pattern):
            place += 1
            parts.append(re.escape(pattern[place]))
        else:
            parts.append({"%": ".*", "_": "."}.get(character) or re.escape(character))
        place += 1
    return re.compile(rf"\A{''.join(parts)}\Z", re.DOTALL | (re.IGNORECASE if ignore_case else 0))


@lru_cache(maxsize=1024)
def posix(pattern: str, *, ignore_case: bool) -> re.Pattern[str]:
    """An advanced regular expression, anywhere in the text. Raises ``Unknown``."""
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    if pattern.startswith("(?i)"):
        pattern, flags = pattern[4:], flags | re.IGNORECASE
    parts, place = [], 0
    while place < len(pattern):
        if pattern[place] == "[":
            part, place = _brackets(pattern, place)
        elif pattern[place] == "\\":
            part, place = _escape(pattern, place)
        elif pattern[place] == "(" and pattern.startswith("(?", place):
            group = _GROUP.match(pattern, place)
            if group is None:
                raise Unknown("an option in a regular expression is not known")
            part, place = group[0], group.end()
        else:
            part, place = {"$": r"\Z", "^": r"\A"}.get(pattern[place], pattern[place]), place + 1
        parts.append(part)
    if pattern.startswith("***"):
        raise Unknown("an option in a regular expression is not known")
    try:
        return re.compile("".join(parts), flags)
    except re.error:
        raise Unknown("a regular expression is not known in this form") from None


def _escape(pattern: str, place: int) -> tuple[str, int]:
    escape = _ESCAPE.match(pattern, place)
    if escape is None:
        raise Unknown("an escape in a regular expression is not known")
    return escape[0], escape.end()


def _brackets(pattern: str, place: int) -> tuple[str, int]:
    """A bracket expression and where it ends."""
    parts = ["["]
    place += 1
    if pattern.startswith("^", place):
        parts.append("^")
        place += 1
    first = place
    while place < len(pattern):
        character = pattern[place]
        if character == "]" and place > first:
            return "".join([*parts, "]"]), place + 1
        if character == "[":
            named = _CLASS.match(pattern, place)
            if named is not None and named[1] in _CLASSES:
                parts.append(_CLASSES[named[1]])
                place = named.end()
                continue
            if pattern.startswith(("[:", "[.", "[="), place):
                raise Unknown("a class in a regular expression is not known")
        if character == "\\":
            part, place = _escape(pattern, place)
            parts.append(part)
            continue
        # What Python may take for an operation on sets.
        parts.append(f"\\{character}" if character in "[]&|~" else character)
        place += 1
    raise Unknown("a regular expression is not known in this form")


# ----------------------------------------------------------------------------------------------------- samples

_SAMPLES: Final = 60
_MOST_REPEATED: Final = 8
_QUANTIFIER: Final = re.compile(r"(?:[*+?]|\{(\d+)(?:(,)(\d*))?\})\??")


@lru_cache(maxsize=1024)
def samples(pattern: str, *, is_like: bool) -> tuple[str, ...]:
    """Texts that match a pattern; none if the pattern is not known."""
    rng = np.random.default_rng(5)
    try:
        matching = like(pattern, ignore_case=False) if is_like else posix(pattern, ignore_case=False)
        found = [_sample_like(pattern, rng) if is_like else _Sampler(pattern, rng).text() for _ in range(_SAMPLES)]
    except Unknown:
        return ()
    return tuple(text for text in dict.fromkeys(found) if matching.search(text))


def _sample_like(pattern: str, rng: np.random.Generator) -> str:
    return "".join(
        _letters(rng, int(rng.integers(0, 6))) if part == "%" else _letters(rng, 1) if part == "_" else part[-1]
        for part in re.findall(r"\\.|.", pattern, re.DOTALL)
    )


def _letters(rng: np.random.Generator, count: int) -> str:
    return "".join(string.ascii_letters[place] for place in rng.integers(0, 52, count).tolist())


@lru_cache(maxsize=1024)
def _members(bracket: str) -> str:
    """The printable characters of a class in brackets, letters and digits where it has any."""
    members = [character for character in string.printable if re.fullmatch(bracket, character)]
    if not members:
        raise Unknown("a class in a regular expression is not known")
    return "".join(character for character in members if character.isalnum()) or "".join(members)


class _Sampler:
    """Reads a regular expression once for each sample, and writes as it reads."""

    def __init__(self, pattern: str, rng: np.random.Generator) -> None:
        self._pattern = pattern
        self._rng = rng
        self._place = 0

    def text(self) -> str:
        """A text that likely matches the whole expression."""
        text = self._branches()
        if self._place < len(self._pattern):
            raise Unknown("a regular expression is not known in this form")
        return text

    def _branches(self) -> str:
        texts = [self._sequence()]
        while self._pattern.startswith("|", self._place):
            self._place += 1
            texts.append(self._sequence())
        return texts[int(self._rng.integers(len(texts)))]

    def _sequence(self) -> str:
        texts = []
        while self._place < len(self._pattern) and self._pattern[self._place] not in "|)":
            texts.append(self._repeated())
        return "".join(texts)

    def _repeated(self) -> str:
        start = self._place
        text = self._atom()
        quantifier = _QUANTIFIER.match(self._pattern, self._place)
        if quantifier is None:
            return text
        least = int(quantifier[1] or 0) if quantifier[1] is not None else int(quantifier[0][0] == "+")
        most = least + _MOST_REPEATED
        if quantifier[1] is not None and quantifier[3] != "":
            most = int(quantifier[3] or quantifier[1])
        elif quantifier[0][0] == "?":
            most = 1
        texts = []
        for _ in range(int(self._rng.integers(least, min(most, least + _MOST_REPEATED) + 1))):
            self._place = start
            texts.append(self._atom())
        self._place = quantifier.end()
        return "".join(texts)

    def _atom(self) -> str:
        character = self._pattern[self._place]
        match character:
            case "(":
                if self._pattern.startswith("(?", self._place):
                    if not self._pattern.startswith("(?:", self._place):
                        raise Unknown("a condition in a regular expression is not known")
                    self._place += 2
                self._place += 1
                text = self._branches()
                if not self._pattern.startswith(")", self._place):
                    raise Unknown("a regular expression is not known in this form")
                self._place += 1
                return text
            case "[":
                bracket, self._place = _brackets(self._pattern, self._place)
                return self._one_of(bracket)
            case "\\":
                escape, self._place = _escape(self._pattern, self._place)
                return self._one_of(f"[{escape}]")
            case _:
                self._place += 1
                return {"^": "", "$": "", ".": _letters(self._rng, 1)}.get(character, character)

    def _one_of(self, bracket: str) -> str:
        members = _members(bracket)
        return members[int(self._rng.integers(len(members)))]
