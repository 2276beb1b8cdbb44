"""Ways to reach a person: mail addresses and telephone numbers that reach no one, or keep their form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from capture.model import BadInput, Column
from transform.cmac import Bytes, Prf
from transform.masks.base import (
    TEXT,
    AnyMask,
    Build,
    Example,
    Form,
    Group,
    Mask,
    MaskKind,
    Uniqueness,
    register,
)
from transform.masks.choosing import Lists, Which, base32, below, fixed_width, join, lanes, room
from transform.masks.digits import WHOLE, build_digits
from transform.masks.localised import LocaleParams, Localised, Spoken, in_locales, spoken
from transform.masks.permutation import Characters
from transform.masks.words import FIRST, LAST, Words, ending, numbers

# ------------------------------------------------------------------------------------------------------- email

# 65 bits of the tag; two addresses meet with negligible odds.
_TAG: Final = 13
_RESERVED: Final = ("example.com", "example.net", "example.org")  # RFC 2606
_LAST_PART: Final = "test"
# Without signs that would put what follows outside of the address.
_ADDRESS: Final = r"""^[^@\s<>(),;:"'\[\]\\]+@[^@\s<>(),;:"'\[\]\\]+$"""
_RESERVED_SUFFIX: Final = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+(example|test|invalid)")


class EmailParams(LocaleParams):
    """Where the mail would go, of which locale the words are, and whether the original's form is kept."""

    domain: str | None = Field(
        default=None,
        description="The mail domain of every address, which must be reserved; without it one of example.com, .net and "
        ".org is picked.",
    )

    preserve_format: bool = Field(
        default=False,
        description="Keep length, case and punctuation of both parts, and permute their letters and digits; `domain`, "
        "or test, follows as the last part.",
    )

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


def _first_word(words: Words) -> Lists:
    return ((ending(_listed(words.mailbox_first_names), b"."), FIRST),)


def _both_words(words: Words) -> Lists:
    return (*_first_word(words), (ending(_listed(words.mailbox_last_names), b"."), LAST))


def _listed(words: Sequence[str]) -> pa.BinaryArray:
    return pa.array([word.encode() for word in words], type=pa.binary())


class Email(Localised):
    """``anna.keller.k3v9x2m8q1tza@example.com``: as many words as the column has room for, a tag, a domain."""

    def __init__(self, prf: Prf, column: Column, params: EmailParams, locales: Spoken) -> None:
        super().__init__(prf, column, locales)
        domains = [params.domain] if params.domain else _RESERVED
        # What follows the tag, as a matrix: all have one length.
        self._ends = np.array([[*f"@{name}".encode()] for name in domains], dtype=np.uint8)
        left = (self._room if self._room is not None else 1_000) - _domain_length(params) - 1
        self._tag = min(_TAG, left)
        texts = (locales.phrases(write)[0] for write in (_both_words, _first_word))
        self._words = next((phrases for phrases in texts if left >= _TAG + phrases.longest), None)

    def write(self, values: pa.BinaryArray, tags: Bytes, which: Which) -> pa.BinaryArray:
        # The tag's characters take the low 5 bits of 13 bytes; words may come from any, since they only decorate.
        end = np.empty((len(tags), self._tag + self._ends.shape[1]), dtype=np.uint8)
        end[:, : self._tag] = base32(tags, self._tag)
        end[:, self._tag :] = self._ends.take(below(lanes(tags)[3], len(self._ends)), axis=0)
        return fixed_width(end) if self._words is None else join(self._words.write(tags, which), fixed_width(end))


class FormedEmail(Mask):
    """``wkxqp.zh@mvze.qjr.test``: letters and digits are permuted, and a reserved domain follows. What is no address,
    or has no room for more, gets an ``other`` one."""

    def __init__(self, prf: Prf, column: Column, params: EmailParams, encoding: str, other: Email) -> None:
        self._prf = prf
        self._room = room(column)
        self._end = f".{params.domain or _LAST_PART}".encode()
        self._encoding = encoding
        self._other = other

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        characters = Characters(values, self._encoding)
        characters.permute(self._prf)
        made = pc.binary_join_element_wise(characters.column(), self._end, b"")
        keeps = pc.match_substring_regex(values, _ADDRESS)
        if self._room is not None:
            # In bytes, so that it hangs on no encoding; some of more might do.
            keeps = pc.and_(keeps, pc.less_equal(pc.binary_length(made), self._room))
        others = pc.invert(keeps).fill_null(False)
        if not pc.any(others).as_py():
            return made
        return pc.replace_with_mask(made, others, self._other.apply(values.filter(others)))


def _build_email(params: EmailParams, build: Build) -> AnyMask:
    limit = room(build.column)
    # A shorter tag would do for a column that need not be unique, but an address without any is none.
    least = (_TAG if build.unique else 1) + 1 + _domain_length(params)
    if limit is not None and limit < least:
        where = "a unique column" if build.unique else "a column"
        raise BadInput(
            f"masked addresses need {least} characters in {where}, and {build.column.type_name} holds {limit}.",
            hint="Widen the column, or give the mask a shorter `domain`, such as a.test.",
        )
    locales = spoken(params, build)
    mask = Email(build.prf, build.column, params, locales)
    if params.preserve_format:
        return FormedEmail(build.prf, build.column, params, build.encoding, mask)
    return in_locales(mask, locales)


def _email_uniqueness(params: EmailParams, column: Column) -> Uniqueness:
    limit = room(column)
    if limit is not None and limit < _TAG + 1 + _domain_length(params):
        return Uniqueness.LOSSY
    return Uniqueness.INJECTIVE if params.preserve_format else Uniqueness.TAGGED


register(
    MaskKind(
        name="email",
        group=Group.CONTACT,
        summary="an address at a reserved domain, made of words and a tag",
        types=TEXT,
        params=EmailParams,
        build=_build_email,
        uniqueness=_email_uniqueness,
        form=Form.ASKED,
        examples=(
            Example("grace@navy.mil"),
            Example("Grace.Hopper2@navy.mil", {"preserve_format": True}),
            Example("grace@navy.mil", {"domain": "a.test"}),
            Example("grace@navy.mil", {"locale": "pt_BR"}),
        ),
        notes="Mail to a reserved domain reaches no one. The tag keeps addresses apart; where a column that is not "
        "unique has no room for all of it, it is cut. With preserve_format, what is no address, or too long for one "
        "more part, gets words and a tag all the same.",
    )
)

# ------------------------------------------------------------------------------------------------------- phone

# Country codes (ITU-T E.164) by their first two digits: 1 and 7 have one digit, these two, all others three.
_TWO_DIGITS: Final = (20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67))
_TWO_DIGITS_TOO: Final = (81, 82, 84, 86, *range(90, 96), 98)
_CODE_LENGTH: Final = np.full(100, 3, dtype=np.int64)
_CODE_LENGTH[10:20] = _CODE_LENGTH[70:80] = 1
_CODE_LENGTH[[*_TWO_DIGITS, *_TWO_DIGITS_TOO]] = 2


class PhoneParams(LocaleParams):
    """What kind of number."""

    preserve_format: bool = Field(
        default=False,
        description="Keep country code, length and punctuation, and permute the other digits; such a number may be "
        "someone's.",
    )


def _fictional_numbers(words: Words) -> Lists:
    groups = enumerate(words.locale.phone_digits, start=1)
    return (_listed(words.locale.phones), 0), *((numbers(0, 10**size, size), lane) for lane, size in groups)


class FictionalPhone(Localised):
    """``+12125550123``: a number of the locale's country that is no one's, so that no message of a test system reaches
    anyone. A column too short for it gets its last digits."""

    def __init__(self, prf: Prf, column: Column, locales: Spoken) -> None:
        super().__init__(prf, column, locales)
        self._numbers = locales.phrases(_fictional_numbers)[0]

    def write(self, values: pa.BinaryArray, tags: Bytes, which: Which) -> pa.BinaryArray:
        phone = self._numbers.write(tags, which)
        if self._room is not None and self._room < self._numbers.longest:
            return pc.binary_slice(phone, -self._room)
        return phone


class PermutedPhone(Mask):
    """Another number of the same form: the digits behind the country code are permuted.

    The first of them stays 0 if it is 0 (a trunk prefix) and never becomes 0 otherwise. So the form is the same
    before and after, and within a form the digits are permuted: no two numbers meet.
    """

    def __init__(self, prf: Prf, encoding: str) -> None:
        self._prf = prf
        self._encoding = encoding

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        phones = Characters(values, self._encoding)
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


def _build_phone(params: PhoneParams, build: Build) -> AnyMask:
    if build.column.base_type in WHOLE:
        return build_digits(build)
    if params.preserve_format:
        return PermutedPhone(build.prf, build.encoding)
    locales = spoken(params, build)
    return in_locales(FictionalPhone(build.prf, build.column, locales), locales)


def _phone_uniqueness(params: PhoneParams, column: Column) -> Uniqueness:
    kept = params.preserve_format or column.base_type in WHOLE
    return Uniqueness.INJECTIVE if kept else Uniqueness.LOSSY


register(
    MaskKind(
        name="phone",
        group=Group.CONTACT,
        summary="a fictional number, or one of the same country and form",
        types=TEXT | WHOLE,
        params=PhoneParams,
        build=_build_phone,
        uniqueness=_phone_uniqueness,
        form=Form.ASKED,
        examples=(
            Example("+49 30 901820"),
            Example("+49 30 901820", {"preserve_format": True}),
            Example("+49 30 901820", {"locale": "de_DE"}),
        ),
        notes="Where authorities set numbers apart for fiction (United States, United Kingdom, Germany, France), a "
        "number is one of those. Spain, Brazil and Japan have none; there a number has a form that is given to no one. "
        "A column that is too short gets the last digits. In a column of numbers the digits are permuted, however many "
        "there are.",
    )
)
