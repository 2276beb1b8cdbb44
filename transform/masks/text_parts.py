"""Text of which parts stay: its ends, what a pattern does not replace, or only its form."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from capture.model import Column
from transform.cmac import Prf
from transform.encodings import NO_ENCODING
from transform.masks.base import (
    TEXT,
    Build,
    Example,
    Form,
    Group,
    Mask,
    MaskKind,
    NoParams,
    Params,
    injective,
    lossy,
    register,
)
from transform.masks.basic import redacted
from transform.masks.choosing import TextMask
from transform.masks.digits import CharactersMask

# ------------------------------------------------------------------------------------------------------- partial


class Partial(Mask):
    """Shows the first and the last characters, and one sign for each of the others. A value of which less than half
    would be hidden is hidden as a whole."""

    def __init__(self, first: int, last: int, sign: str, *, counts_bytes: bool) -> None:
        self._first = first
        self._last = last
        self._sign = pa.scalar(sign, pa.string())
        self._counts_bytes = counts_bytes

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        if self._counts_bytes:
            lengths = pc.binary_length(values)
        else:
            values = values.view(pa.string())
            lengths = pc.utf8_length(values)
        counts = lengths.fill_null(0).to_numpy(zero_copy_only=False)
        shown = 2 * (self._first + self._last) <= counts
        hidden = pa.array(np.where(shown, counts - self._first - self._last, counts))
        parts = pc.binary_repeat(self._sign, hidden).view(values.type)
        nothing = pa.scalar(b"" if self._counts_bytes else "", values.type)
        if self._first:
            parts = pc.binary_join_element_wise(self._end(values, shown, 0, self._first), parts, nothing)
        if self._last:
            parts = pc.binary_join_element_wise(parts, self._end(values, shown, -self._last, None), nothing)
        made = parts.view(pa.binary())
        return pc.if_else(values.is_valid(), made, pa.scalar(None, pa.binary())) if values.null_count else made

    def _end(self, values: pa.Array, shown: object, start: int, stop: int | None) -> pa.Array:
        cut = pc.binary_slice if self._counts_bytes else pc.utf8_slice_codeunits
        ends = cut(values, start, stop)
        return pc.if_else(pa.array(shown), ends, pa.scalar(b"" if self._counts_bytes else "", values.type))


class PartialParams(Params):
    """What is shown."""

    keep_first: int = Field(default=0, ge=0, le=64, description="How many characters at the beginning stay.")
    keep_last: int = Field(default=0, ge=0, le=64, description="How many characters at the end stay.")
    character: str = Field(default="*", description="The ASCII character that stands for each of the others.")

    @field_validator("character")
    @classmethod
    def _is_one(cls, character: str) -> str:
        if len(character) != 1 or not character.isascii() or not character.isprintable():
            raise ValueError("must be one printable ASCII character")
        return character


def _build_partial(params: PartialParams, build: Build) -> Mask:
    counts_bytes = build.encoding == NO_ENCODING
    return Partial(params.keep_first, params.keep_last, params.character, counts_bytes=counts_bytes)


register(
    MaskKind(
        name="text.partial",
        group=Group.TEXT,
        summary="the first and last characters, and stars between them",
        types=TEXT,
        params=PartialParams,
        build=_build_partial,
        uniqueness=lossy,
        form=Form.KEPT,
        examples=(
            Example("GB82WEST12345698765432", {"keep_first": 4, "keep_last": 2}),
            Example("Kim", {"keep_last": 2}),
        ),
        notes="What is shown is production's own, and the length is. At least half of each value is hidden, or all.",
    )
)

# --------------------------------------------------------------------------------------------------------- regex


class RegexParams(Params):
    """What is replaced, and by what."""

    pattern: str = Field(
        min_length=1, description="A regular expression (RE2). (?i) at its start ignores case; ^ and $ hold the ends."
    )
    replacement: str = Field(description=r"What stands for each match; \1 is the first group in parentheses.")
    unmatched: Literal["redact", "keep"] = Field(
        default="redact", description="What becomes of values that do not match."
    )

    @model_validator(mode="after")
    def _works(self) -> RegexParams:
        try:
            pc.replace_substring_regex(pa.array([""]), self.pattern, self.replacement)
        except pa.ArrowInvalid:
            raise ValueError("the pattern is no regular expression (RE2), or the replacement does not fit it") from None
        return self


class Regex(TextMask):
    """Replaces all that a regular expression matches. Values without a match are redacted, or stay if that is said."""

    def __init__(self, prf: Prf, column: Column, params: RegexParams, *, is_bytes: bool) -> None:
        super().__init__(prf, column)
        self._pattern = params.pattern
        self._replacement = params.replacement
        self._unmatched = None if params.unmatched == "keep" else pa.scalar(redacted(column), pa.binary())
        self._is_bytes = is_bytes

    def make(self, values: pa.BinaryArray) -> pa.BinaryArray:
        text = values if self._is_bytes else values.view(pa.string())
        made = pc.replace_substring_regex(text, self._pattern, self._replacement)
        if self._room is not None:
            made = (pc.binary_slice if self._is_bytes else pc.utf8_slice_codeunits)(made, 0, self._room)
        made = made.view(pa.binary())
        if self._unmatched is None:
            return made
        return pc.if_else(pc.match_substring_regex(text, self._pattern), made, self._unmatched)


def _build_regex(params: RegexParams, build: Build) -> Mask:
    return Regex(build.prf, build.column, params, is_bytes=build.encoding == NO_ENCODING)


register(
    MaskKind(
        name="text.regex",
        group=Group.TEXT,
        summary="what a regular expression matches, replaced",
        types=TEXT,
        params=RegexParams,
        build=_build_regex,
        uniqueness=lossy,
        examples=(
            Example("Room 12, Keller", {"pattern": r"^Room (\d+),.*$", "replacement": r"Room \1, Doe"}),
            Example("Keller", {"pattern": r"^Room (\d+),.*$", "replacement": r"Room \1, Doe"}),
        ),
        notes="What the expression does not match stays in the copy as it is, so write it for the whole value. Its "
        "time grows with the value's length only. There is no key in it.",
    )
)

# ------------------------------------------------------------------------------------------------------ scramble


def _build_scramble(params: NoParams, build: Build) -> Mask:
    return CharactersMask(build.prf, build.encoding)


register(
    MaskKind(
        name="text.scramble",
        group=Group.TEXT,
        summary="other letters and digits of the same form; no two values meet",
        types=TEXT,
        params=NoParams,
        build=_build_scramble,
        uniqueness=injective,
        form=Form.KEPT,
        examples=(Example("Room 12, Keller"), Example("Żółć")),
        notes="Digits become digits, letters become letters of their script and case, and all else stays. A value "
        "without letters and digits stays.",
    )
)
