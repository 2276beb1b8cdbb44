"""Names of people and of users, in every locale."""

from __future__ import annotations

import re

import pytest
from fix_masks import (
    AWKWARD_TEXTS,
    MANY_RUNS,
    assert_function_of_the_row,
    assert_function_of_the_value,
    assert_injective,
    column_of,
    mask_of,
    masked,
    row_mask_of,
    uniqueness_of,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capture.model import BadInput
from transform.masks import words
from transform.masks.base import Uniqueness
from transform.masks.locales import LOCALES

NAMES = ("name", "name.first", "name.last", "name.full", "name.title")
ALL = tuple(LOCALES)
PEOPLE: list[bytes | None] = [b"person %d" % n for n in range(2000)]


def lists(locale: str) -> tuple[set[str], set[str]]:
    """First and last names."""
    own = words.words_of(locale, "UTF8")
    return set(own.first_names), set(own.last_names)


def texts(values: list[bytes | None]) -> list[str]:
    return [(value or b"").decode() for value in values]


@pytest.mark.parametrize("locale", [*ALL, ["de_DE", "ja_JP"]])
@pytest.mark.parametrize("name", [*NAMES, "username"])
@MANY_RUNS
@given(values=st.lists(st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=20).map(str.encode), max_size=12))
def test_names_depend_on_the_value_only(name: str, locale: object, values: list[bytes | None]) -> None:
    """A name masks alike alone, in a batch, in any order, whatever it speaks."""
    assert_function_of_the_value(mask_of(name, locale=locale), values)
    if name != "username":
        assert_function_of_the_value(mask_of(name, locale=locale, preserve_format=True), values)


@pytest.mark.parametrize("locale", ALL)
def test_names_are_picked_from_the_lists(locale: str) -> None:
    """A masked name is one of the locale's words, in great variety."""
    first_names, last_names = lists(locale)
    first = set(texts(masked(mask_of("name.first", locale=locale), PEOPLE)))
    last = set(texts(masked(mask_of("name.last", locale=locale), PEOPLE)))
    assert first <= first_names
    assert last <= last_names
    assert len(first) > min(500, 0.7 * len(first_names))
    assert len(last) > min(400, 0.7 * len(last_names))
    assert uniqueness_of("name.full") is Uniqueness.LOSSY


@pytest.mark.parametrize(
    ("locale", "parts"),
    [("en_US", "fl"), ("en_GB", "fl"), ("de_DE", "fl"), ("fr_FR", "fl"), ("es_ES", "fll"), ("pt_BR", "fll"),
     ("ja_JP", "lf")],
)  # fmt: skip
def test_full_names_are_in_the_order_of_the_locale(locale: str, parts: str) -> None:
    """Family names last, two of them in Spain and Brazil, and first in Japan."""
    of = dict(zip("fl", lists(locale), strict=True))
    pattern = " ".join("(?:" + "|".join(map(re.escape, of[part])) + ")" for part in parts)
    full = texts(masked(mask_of("name.full", locale=locale), PEOPLE[:300]))
    assert all(re.fullmatch(pattern, name) for name in full)
    assert texts(masked(mask_of("name", locale=locale), PEOPLE[:300])) == full


def test_titles_are_those_of_the_locale() -> None:
    """Nobody is called Herr in Japan."""
    for locale in ALL:
        titles = set(texts(masked(mask_of("name.title", locale=locale), PEOPLE)))
        assert titles == set(LOCALES[locale].titles)
    assert {"Herr", "Frau"} <= set(LOCALES["de_DE"].titles)


def test_an_empty_name_stays_empty() -> None:
    """An empty value identifies no one."""
    assert masked(mask_of("name.full"), [b"", None]) == [b"", None]


def test_another_key_gives_other_names() -> None:
    """Two keys agree on a name no more often than chance."""
    for name in ("name.full", "username"):
        one, two = masked(mask_of(name), PEOPLE[:200]), masked(mask_of(name, key=bytes([1] * 32)), PEOPLE[:200])
        assert sum(a == b for a, b in zip(one, two, strict=True)) < 5


# --------------------------------------------------------------------------------------------------- the locale

SAID = {b"DE": "de_DE", b"japan": "ja_JP", b"fr_FR": "fr_FR", b"+34 6": "es_ES"}
COUNTRIES = (*SAID, None, b"", b"xx", b"\xff", "Österreich".encode())


def test_a_list_of_locales_is_shared_out_evenly() -> None:
    """Each value picks one of them, whatever word it gets."""
    out = texts(masked(mask_of("name.last", locale=["ja_JP", "en_GB"]), PEOPLE))
    japanese = [name for name in out if not name.isascii()]
    assert set(japanese) <= lists("ja_JP")[1]
    assert set(out) - set(japanese) <= lists("en_GB")[1]
    assert 850 < len(japanese) < 1150
    assert len(set(japanese)) == len(lists("ja_JP")[1])


@pytest.mark.parametrize("name", [*NAMES, "username", "email", "phone"])
@MANY_RUNS
@given(rows=st.lists(st.tuples(st.sampled_from(AWKWARD_TEXTS), st.sampled_from(COUNTRIES)), max_size=25))
def test_a_column_names_the_locale_of_its_row(name: str, rows: list[tuple[bytes | None, bytes | None]]) -> None:
    """A row masks as its locale alone would, and as the rules' own where its column says nothing that is known."""
    mask = row_mask_of(name, locale="en_GB", rule={"locale": {"column": "country"}})
    assert mask.needs == ("country",)
    values, countries = [value for value, _ in rows], [country for _, country in rows]
    out = assert_function_of_the_row(mask, values, {"country": countries})
    for value, country, written in zip(values, countries, out, strict=True):
        assert masked(mask_of(name, locale=SAID.get(country or b"", "en_GB")), [value]) == [written]


@pytest.mark.parametrize("locale", ["de", "xx_XX", [], ["de_DE", "xx"], {"column": 1}, {"table": "x"}, 7])
def test_an_unknown_locale_is_refused(locale: object) -> None:
    """With the known ones, where a name is wrong."""
    with pytest.raises(ValidationError, match="ja_JP" if isinstance(locale, str) else "locale"):
        mask_of("name.full", locale=locale)


@pytest.mark.parametrize(("encoding", "codec"), [("LATIN1", "latin-1"), ("SQL_ASCII", "ascii"), ("EUC_JP", "euc_jp")])
def test_names_are_text_of_the_encoding(encoding: str, codec: str) -> None:
    """What the encoding lacks is left out, and what cannot be written is refused."""
    for locale in ALL if encoding == "EUC_JP" else ALL[:-1]:
        for name in ("name.full", "name.title", "email"):
            for preserve in (False, True):
                rule = {} if name == "email" else {"preserve_format": preserve}
                mask = mask_of(name, encoding=encoding, locale=locale, **rule)
                for text in texts(masked(mask, [b"PERSON %d" % n for n in range(300)])):
                    text.encode(codec)
    if encoding != "EUC_JP":
        with pytest.raises(BadInput, match="ja_JP"):
            mask_of("name.full", encoding=encoding, locale="ja_JP")


def test_a_locale_that_a_column_names_but_nothing_can_write_is_the_rules_own() -> None:
    """A guest from Japan has an English name in a database of Latin-1."""
    mask = row_mask_of("name.full", encoding="LATIN1", rule={"locale": {"column": "country"}})
    out = assert_function_of_the_row(mask, [b"a", b"a"], {"country": [b"JP", b"DE"]})
    assert out == [
        *masked(mask_of("name.full"), [b"a"]),
        *masked(mask_of("name.full", locale="de_DE", encoding="LATIN1"), [b"a"]),
    ]


# ---------------------------------------------------------------------------------------------- form and length


@pytest.mark.parametrize(
    ("value", "keeps"),
    [
        ("GRACE HOPPER", str.isupper),
        ("grace hopper", str.islower),
        ("Grace Hopper", str.istitle),
        ("ÉMILE", str.isupper),
        ("ИВАН", str.isupper),
        ("иван", str.islower),
    ],
)
def test_case_is_kept_when_asked(value: str, keeps: object) -> None:
    """Capitals stay capitals, small letters small, and all else is written like a name."""
    mask = mask_of("name.full", preserve_format=True)
    (out,) = masked(mask, [value.encode()])
    assert out is not None
    assert keeps(out.decode().replace("Mc", "Ma"))


def test_capitals_are_those_of_the_encoding() -> None:
    """A capital ß is written SS, as all encodings can."""
    values: list[bytes | None] = [b"P%d" % n for n in range(3000)]
    out = texts(masked(mask_of("name.last", locale="de_DE", preserve_format=True), values))
    assert any("SS" in name for name in out)
    assert all(name == name.upper() and "\u1e9e" not in name for name in out)


def test_citext_is_masked_whatever_its_case() -> None:
    """What citext holds equal masks to the same name."""
    out = masked(mask_of("name.full", column_of("citext")), [b"Zo\xc3\x8b", b"zo\xc3\xab", b"ZO\xc3\x8b", b"Zoe"])
    assert len(set(out)) == 2
    assert out[0] == out[1] == out[2]


@given(st.integers(1, 12), st.sampled_from(NAMES), st.sampled_from(ALL))
def test_names_fit_the_column(length: int, name: str, locale: str) -> None:
    """A name is cut to as many characters as the column holds, and no blank is left at the cut."""
    mask = mask_of(name, column_of("varchar", max_length=length), locale=locale)
    whole = texts(masked(mask_of(name, locale=locale), PEOPLE[:50]))
    cut = texts(masked(mask, PEOPLE[:50]))
    assert cut == [text[:length].rstrip(" ") for text in whole]
    assert all(cut)


def test_text_of_type_name_is_cut_between_characters() -> None:
    """The type holds 63 bytes."""
    for mask in ("name.full", "address.full"):
        cut = masked(mask_of(mask, column_of("name"), locale="ja_JP"), PEOPLE[:200])
        whole = texts(masked(mask_of(mask, locale="ja_JP"), PEOPLE[:200]))
        for text, full in zip(cut, whole, strict=True):
            assert text is not None
            assert len(text) <= 63
            assert full.startswith(text.decode())
            assert len(full.encode()) == len(text) or len(text) > 60


# ---------------------------------------------------------------------------------------------------- user names


def test_user_names_are_a_word_and_a_tag() -> None:
    """In ASCII, whatever the locale."""
    for locale in ALL:
        for name in texts(masked(mask_of("username", locale=locale), PEOPLE[:200])):
            word, tag = name.split("_")
            assert word in words.words_of(locale, "UTF8").mailbox_first_names
            assert re.fullmatch("[0-9a-hjkmnp-tv-z]{13}", tag)


def test_user_names_do_not_meet() -> None:
    """200,000 names have 200,000 masks, and their tags alone tell them apart."""
    values = [b"user%d" % n for n in range(200_000)]
    out = masked(mask_of("username"), [*values])
    assert_injective(values, out)
    assert len({(value or b"").rpartition(b"_")[2] for value in out}) == len(values)
    assert uniqueness_of("username") is Uniqueness.TAGGED


@given(st.integers(1, 30), st.booleans())
def test_user_names_fit(length: int, unique: bool) -> None:
    """Where room is short the word goes, then what the tag has too much; in a unique column the tag stays whole."""
    column = column_of("varchar", max_length=length)
    assert uniqueness_of("username", column) is (Uniqueness.TAGGED if length >= 13 else Uniqueness.LOSSY)
    if unique and length < 13:
        with pytest.raises(BadInput, match="13 characters"):
            mask_of("username", column, unique=True)
        return
    out = masked(mask_of("username", column, unique=unique), PEOPLE[:30])
    assert all(value is not None and min(length, 13) <= len(value) <= length for value in out)


def test_user_names_of_citext_fold_case() -> None:
    """Who logs in as Anna is anna."""
    out = masked(mask_of("username", column_of("citext")), [b"Anna", b"anna"])
    assert out[0] == out[1]
