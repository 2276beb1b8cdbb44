"""The word lists that masks pick from: Faker's lists for en_US, sorted, ASCII only.

Lists are read once per process and never at run time per value. A list's order and length decide every pick, so
another release of Faker may mask the same value to another word: ``fingerprint`` tells lists apart and belongs into
what a copy must match to be continued. ``WORDS_VERSION`` counts our own changes in how lists are made.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

WORDS_VERSION: Final = 1


def _listed(words: Iterable[str]) -> pa.BinaryArray:
    return pa.array(sorted({word.encode() for word in words if word.isascii()}), type=pa.binary())


@cache
def first_names() -> pa.BinaryArray:
    """First names such as ``Anna``."""
    from faker.providers.person.en_US import Provider

    return _listed(Provider.first_names)


@cache
def last_names() -> pa.BinaryArray:
    """Last names such as ``Keller``."""
    from faker.providers.person.en_US import Provider

    return _listed(Provider.last_names)


def _mailbox_words(names: pa.BinaryArray) -> pa.BinaryArray:
    return _listed("".join(filter(str.isalpha, name.decode().lower())) for name in names.to_pylist())


@cache
def mailbox_first_names() -> pa.BinaryArray:
    """First names in lower-case letters only, as mail addresses hold them."""
    return _mailbox_words(first_names())


@cache
def mailbox_last_names() -> pa.BinaryArray:
    """Last names in lower-case letters only, as mail addresses hold them."""
    return _mailbox_words(last_names())


@cache
def street_names() -> pa.BinaryArray:
    """Street names such as ``Keller Avenue``: every last name with every suffix would be 200,000, so each name gets
    eight suffixes, spread over the list."""
    from faker.providers.address.en_US import Provider

    suffixes = sorted(set(Provider.street_suffixes))
    return _listed(
        f"{name.decode()} {suffixes[(8 * row + turn) * 29 % len(suffixes)]}"
        for row, name in enumerate(last_names().to_pylist())
        for turn in range(8)
    )


@cache
def cities() -> pa.BinaryArray:
    """Town names such as ``Kellerville``: each last name with four suffixes."""
    from faker.providers.address.en_US import Provider

    suffixes = sorted(set(Provider.city_suffixes))
    return _listed(
        f"{name.decode()}{suffixes[(4 * row + turn) % len(suffixes)]}"
        for row, name in enumerate(last_names().to_pylist())
        for turn in range(4)
    )


@cache
def countries() -> pa.BinaryArray:
    """Countries such as ``Norway``; long official names, which read badly, are left out."""
    from faker.providers.address.en_US import Provider

    return _listed(name for name in Provider.countries if len(name) <= 24)


def numbers(low: int, high: int, digits: int = 1) -> pa.BinaryArray:
    """The decimal numbers in [low, high), with zeros in front where they have fewer ``digits``."""
    return pa.array([b"%0*d" % (digits, number) for number in range(low, high)], type=pa.binary())


def ending(words: pa.BinaryArray, end: bytes) -> pa.BinaryArray:
    """Each word with the same end."""
    return pc.binary_join_element_wise(words, end, b"")


@cache
def fingerprint() -> str:
    """16 hexadecimal digits over all lists and ``WORDS_VERSION``."""
    digest = sha256(str(WORDS_VERSION).encode())
    for words in (first_names, last_names, street_names, cities, countries):
        digest.update(b"\n\n" + b"\n".join(words().to_pylist()))
    return digest.hexdigest()[:16]
