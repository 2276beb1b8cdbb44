"""Words for genders."""

from __future__ import annotations

import pytest
from fix_masks import (
    AWKWARD_TEXTS,
    MANY_RUNS,
    assert_function_of_the_row,
    assert_function_of_the_value,
    column_of,
    mask_of,
    masked,
    row_mask_of,
    uniqueness_of,
)
from hypothesis import given
from hypothesis import strategies as st

from transform.masks.base import Uniqueness
from transform.masks.locales import LOCALES

WORDS = [word.encode() for word in "m f M F male Female MALE w d weiblich 男性 女 H mujer 1 0 other X unknown".split()]


@pytest.mark.parametrize("locale", [*LOCALES, ["de_DE", "ja_JP"]])
@MANY_RUNS
@given(values=st.lists(st.sampled_from([*AWKWARD_TEXTS, *WORDS]) | st.text(max_size=8).map(str.encode), max_size=12))
def test_genders_depend_on_the_value_only(locale: object, values: list[bytes | None]) -> None:
    """A word masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("gender", locale=locale), values)


@pytest.mark.parametrize(
    ("locale", "value", "vocabulary"),
    [
        ("en_US", "m", "m f"), ("en_US", "F", "M F"), ("en_US", "male", "male female"),
        ("en_US", "Male", "Male Female"),
        ("en_US", "FEMALE", "MALE FEMALE"), ("de_DE", "m", "m w d"), ("de_DE", "W", "M W D"),
        ("de_DE", "weiblich", "weiblich männlich"), ("en_US", "Weiblich", "Weiblich Männlich"),
        ("fr_FR", "homme", "homme femme"),
        ("es_ES", "h", "h m"), ("pt_BR", "feminino", "feminino masculino"), ("ja_JP", "男", "男 女"),
        ("en_US", "1", "1 2"), ("en_US", "9", "0 1 2 9"), ("en_US", "Other", "Male Female Other"),
        ("en_US", "unreadable", "male female"), ("de_DE", "Qwz", "Weiblich Männlich"),
    ],
)  # fmt: skip
def test_a_word_becomes_one_of_its_vocabulary(locale: str, value: str, vocabulary: str) -> None:
    """For each person another; in the case that it had, and of the locale where it is known to none."""
    mask = row_mask_of("gender", subject="guest", rule={"locale": locale})
    keys: list[bytes | None] = [b"%d" % n for n in range(300)]
    out = assert_function_of_the_row(mask, [value.encode()] * 300, {"guest": keys})
    assert {(word or b"").decode() for word in out} == set(vocabulary.split())


def test_a_person_has_one_gender() -> None:
    """In all rows that are theirs, also where it is written otherwise; half of all are of either."""
    mask = row_mask_of("gender", subject="guest", rule={"locale": {"column": "country"}})
    assert mask.needs == ("guest", "country")
    keys: list[bytes | None] = [b"%d" % n for n in range(1000)]
    same: list[bytes | None] = [b"US"] * 1000
    one = assert_function_of_the_row(mask, [b"m"] * 1000, {"guest": keys, "country": same})
    two = assert_function_of_the_row(mask, [b"f"] * 1000, {"guest": keys, "country": same})
    assert one == two
    assert 400 < one.count(b"m") < 600


def test_a_word_alone_always_becomes_the_same() -> None:
    """Without a subject nothing else could decide."""
    assert len(set(masked(mask_of("gender"), [b"m"] * 50))) == 1
    assert uniqueness_of("gender") is Uniqueness.LOSSY


def test_the_columns_words_may_be_said() -> None:
    """Where no vocabulary is meant that is known."""
    mask = row_mask_of("gender", subject="guest", rule={"words": ["he", "she", "they"]})
    out = assert_function_of_the_row(mask, [b"x"] * 100, {"guest": [b"%d" % n for n in range(100)]})
    assert set(out) == {b"he", b"she", b"they"}


@given(st.integers(1, 8), st.sampled_from(list(LOCALES)), st.sampled_from(WORDS))
def test_words_fit_the_column(length: int, locale: str, value: bytes) -> None:
    """None is cut: shorter ones are taken."""
    mask = mask_of("gender", column_of("varchar", max_length=length), locale=locale)
    (out,) = masked(mask, [value])
    assert out
    assert len(out.decode()) <= length


def test_words_are_text_of_the_encoding() -> None:
    """What cannot be written is not drawn."""
    for value in (b"weiblich", "男性".encode(), b"whatever"):
        for locale in LOCALES:
            (out,) = masked(mask_of("gender", locale=locale, encoding="SQL_ASCII"), [value])
            assert out
            assert out.isascii()
