"""Ways to reach a person: mail addresses and telephone numbers that reach no one, or keep their form."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator

from capture.model import BadInput, Column
from transform.cmac import Prf
from transform.masks import words
from transform.masks.base import TEXT, Build, Mask, MaskKind, Params, Uniqueness, register
from transform.masks.choosing import Phrases, TextMask, base32, below, fixed_width, join, lanes, room
from transform.masks.permutation import Characters

# ------------------------------------------------------------------------------------------------------- email

# 65 bits of the tag; two addresses meet with negligible odds.
_TAG: Final = 13
_RESERVED: Final = ("example.com", "example.net", "example.org")  # RFC 2606
_RESERVED_SUFFIX: Final = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+(example|test|invalid)")


class EmailParams(Params):
    """``domain`` is the mail domain of every address; without it one of example.com, .net and .org is picked."""

    domain: str | None = None

    @field_validator("domain")
    @classmethod
    def _reaches_no_one(cls, domain: str | None) -> str | None:
        if domain is None:
            return None
        domain = domain.lower()
        if domain not in _RESERVED and not _RESERVED_SUFFIX.fullmatch(domain):
            raise ValueError(
                "must be reserved: example.com, example.net, example.org, or end in .example, .test, .invalid"
            )
        return domain


def _domain_length(params: EmailParams) -> int:
    return len(params.domain or _RESERVED[0])


@cache
def _mailboxes() -> tuple[Phrases, Phrases]:
    """Both names, and the first alone."""
    first = words.ending(words.mailbox_first_names(), b"."), 0
    return Phrases(first, (words.ending(words.mailbox_last_names(), b"."), 1)), Phrases(first)


class Email(TextMask):
    """``anna.keller.k3v9x2m8q1tza@example.com``: as many words as the column has room for, a tag, a domain."""

    def __init__(self, prf: Prf, column: Column, params: EmailParams) -> None:
        super().__init__(prf, column)
        domains = [params.domain] if params.domain else _RESERVED
        # What follows the tag, as a matrix: all have one length.
        self._ends = np.array([[*f"@{name}".encode()] for name in domains], dtype=np.uint8)
        left = (self._room if self._room is not None else 1_000) - _domain_length(params) - 1
        self._tag = min(_TAG, left)
        fitting = (phrases for phrases in _mailboxes() if left >= _TAG + phrases.longest)
        self._words = next(fitting, None)

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        tags = self.tags(values)
        # The tag's characters take the low 5 bits of 13 bytes; words may come from any, since they only decorate.
        end = np.empty((len(tags), self._tag + self._ends.shape[1]), dtype=np.uint8)
        end[:, : self._tag] = base32(tags, self._tag)
        end[:, self._tag :] = self._ends.take(below(lanes(tags)[3], len(self._ends)), axis=0)
        return fixed_width(end) if self._words is None else join(self._words.write(tags), fixed_width(end))


def _build_email(params: EmailParams, build: Build) -> Mask:
    limit = room(build.column)
    # A shorter tag would do for a column that need not be unique, but an address without any is none.
    least = (_TAG if build.unique else 1) + 1 + _domain_length(params)
    if limit is not None and limit < least:
        where = "a unique column" if build.unique else "a column"
        raise BadInput(
            f"masked addresses need {least} characters in {where}, and {build.column.type_name} holds {limit}.",
            hint="Widen the column, or give the mask a shorter `domain`, such as a.test.",
        )
    return Email(build.prf, build.column, params)


def _email_uniqueness(params: EmailParams, column: Column) -> Uniqueness:
    limit = room(column)
    if limit is not None and limit < _TAG + 1 + _domain_length(params):
        return Uniqueness.LOSSY
    return Uniqueness.TAGGED


register(
    MaskKind(
        "email",
        "an address at a reserved domain, made of words and a tag",
        TEXT,
        EmailParams,
        _build_email,
        _email_uniqueness,
        ("grace@navy.mil", "anna.keller.k3v9x2m8q1tza@example.com"),
    )
)

# ------------------------------------------------------------------------------------------------------- phone

# Country codes (ITU-T E.164) by their first two digits: 1 and 7 have one digit, these two, all others three.
_TWO_DIGITS: Final = (20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67))
_TWO_DIGITS_TOO: Final = (81, 82, 84, 86, *range(90, 96), 98)
_CODE_LENGTH: Final = np.full(100, 3, dtype=np.int64)
_CODE_LENGTH[10:20] = _CODE_LENGTH[70:80] = 1
_CODE_LENGTH[[*_TWO_DIGITS, *_TWO_DIGITS_TOO]] = 2


class PhoneParams(Params):
    """``preserve_format`` keeps country code, length and punctuation; such a number may be someone's."""

    preserve_format: bool = False


@cache
def _fictional_numbers() -> Phrases:
    # Areas are 200 to 989, without those whose second digit is 9.
    areas = [b"+1%d55501" % area for area in range(200, 990) if area // 10 % 10 != 9]
    return Phrases((pa.array(areas, type=pa.binary()), 0), (words.numbers(0, 100, digits=2), 1))


class FictionalPhone(TextMask):
    """``+12125550123``: 555-01xx is set apart for fiction in every area of the North American plan, so that no
    message of a test system reaches anyone. A column too short for it gets its last digits."""

    def __init__(self, prf: Prf, column: Column) -> None:
        super().__init__(prf, column)
        self._numbers = _fictional_numbers()

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        phone = self._numbers.write(self.tags(values))
        if self._room is not None and self._room < self._numbers.longest:
            return pc.binary_slice(phone, self._numbers.longest - self._room)
        return phone


class PermutedPhone(Mask):
    """Another number of the same form: the digits behind the country code are permuted.

    The first of them stays 0 if it is 0 (a trunk prefix) and never becomes 0 otherwise. So the form is the same
    before and after, and within a form the digits are permuted: no two numbers meet.
    """

    def __init__(self, prf: Prf) -> None:
        self._prf = prf

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        phones = Characters(values)
        data = phones.data
        digits = np.flatnonzero(phones.digits)
        bounds = np.searchsorted(digits, phones.offsets)
        some = np.flatnonzero(np.diff(bounds))
        first, count = bounds[some], np.diff(bounds)[some]
        head = digits[first]
        # A country code follows a plus sign. A lone digit stands for its ten.
        second = digits[np.minimum(first + 1, len(digits) - 1)]
        ten = (data[head].astype(np.int64) - ord("0")) * 10
        leading = ten + np.where(count > 1, data[second].astype(np.int64) - ord("0"), 0)
        international = (head > phones.offsets[some]) & (data[head - 1] == ord("+"))
        kept = np.where(international, np.minimum(_CODE_LENGTH[leading], count), 0)
        for place in range(3):
            phones.radix[digits[first[kept > place] + place]] = 0
        national = digits[(first + kept)[kept < count]]
        zero = data[national] == ord("0")
        phones.radix[national] = np.where(zero, 0, 9)
        phones.first[national] = ord("1")
        phones.permute(self._prf)
        return phones.column()


def _build_phone(params: PhoneParams, build: Build) -> Mask:
    return PermutedPhone(build.prf) if params.preserve_format else FictionalPhone(build.prf, build.column)


def _phone_uniqueness(params: PhoneParams, column: Column) -> Uniqueness:
    return Uniqueness.INJECTIVE if params.preserve_format else Uniqueness.LOSSY


register(
    MaskKind(
        "phone",
        "a fictional number, or one of the same country and form",
        TEXT,
        PhoneParams,
        _build_phone,
        _phone_uniqueness,
        ("+49 30 901820", "+12125550123"),
    )
)
