"""The word lists of all locales."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.model import BadInput
from transform.masks import words
from transform.masks.choosing import Phrases
from transform.masks.locales import LOCALES, find

ALL = tuple(LOCALES)


@pytest.mark.parametrize("locale", ALL)
def test_lists_are_sorted_distinct_and_short(locale: str) -> None:
    """A list holds enough different words of moderate length, in one order."""
    own = words.words_of(locale, "UTF8")
    for listed, least, longest in (
        (own.first_names, 50, 20),
        (own.last_names, 50, 20),
        (own.streets, 140, 40),
        (own.countries, 150, 24),
        (own.titles, 3, 6),
    ):
        assert list(listed) == sorted(set(listed))
        assert len(listed) >= least
        assert max(map(len, listed)) <= longest
        assert all(word == word.strip() and word.isprintable() for word in listed)


@pytest.mark.parametrize("locale", ALL)
def test_places_are_sound(locale: str) -> None:
    """Each locale has 30 towns or more, of which no two share the start of a postcode, and all lie where they may."""
    places = words.words_of(locale, "UTF8").places
    assert len(places) >= 30
    assert len({place.start for place in places}) == len(places) == len({place.city for place in places})
    codes = {place.code: place.region for place in places}
    if locale != "en_GB":  # whose codes are those of the nations
        assert all(codes[place.code] == place.region for place in places)
    for place in places:
        assert abs(place.latitude) < 90 * 10_000
        assert abs(place.longitude) < 180 * 10_000


@pytest.mark.parametrize("locale", ALL)
def test_mailbox_words_are_lower_case_letters(locale: str) -> None:
    """Names in mail addresses need no quoting, whatever the locale's script."""
    own = words.words_of(locale, "UTF8")
    for name in own.mailbox_first_names + own.mailbox_last_names:
        assert re.fullmatch("[a-z]+", name)
    assert {"mueller", "weiss"} <= set(words.words_of("de_DE", "UTF8").mailbox_last_names)


# What the lists of each locale were when copies were made of them.
FINGERPRINTS = {
    "en_US": "2ff6c9f3fa7cea17",
    "en_GB": "963f16d92db6d124",
    "de_DE": "ec8e3e533cd105b4",
    "fr_FR": "d297b79f7441f6a2",
    "es_ES": "be456636db351168",
    "pt_BR": "5aa7b8c95322a4e9",
    "ja_JP": "cd105916f78dc90f",
}


@pytest.mark.parametrize("locale", ALL)
def test_the_lists_are_those_that_copies_were_masked_with(locale: str) -> None:
    """When Faker or our places change the lists, this fails: note it in the changelog, because copies made before must
    be made anew. When the way changes in which texts are made of them, raise ``WORDS_VERSION``."""
    assert words.fingerprint((locale,)) == FINGERPRINTS[locale]


def test_what_is_made_of_the_lists_is_what_copies_were_masked_with() -> None:
    """A street, an address and a number of each locale, as ``WORDS_VERSION`` 2 wrote them."""
    tag = np.frombuffer(bytes(range(16)), dtype=np.uint8).reshape(1, 16)
    written = {}
    for name in ALL:
        own = words.words_of(name, "UTF8")
        written[name] = Phrases(*own.write(own.locale.address)).write(tag)[0].as_py().decode()
    assert written == WRITTEN


WRITTEN = {
    "en_US": "28 Barnett Close, Albuquerque, NM 87105",
    "en_GB": "6 Banks Park, Aberdeen, AB10 0QU",
    "de_DE": "Benderplatz 6, 52005 Aachen",
    "fr_FR": "6 allée François, 13105 Aix-en-Provence",
    "es_ES": "Avenida España, 6, 15005 A Coruña",
    "pt_BR": "Alameda Fonseca, 6, Aracaju - SE, 49005-880",
    "ja_JP": "〒330-0588 埼玉県さいたま市大宮区上野桜木1-3-12",
}


@pytest.mark.parametrize(("encoding", "least"), [("LATIN1", 0.95), ("WIN1252", 0.95), ("SQL_ASCII", 0.25)])
@pytest.mark.parametrize("locale", [name for name in ALL if name != "ja_JP"])
def test_words_that_an_encoding_lacks_are_left_out(locale: str, encoding: str, least: float) -> None:
    """Whatever is written, in capitals too, is text of the encoding, and most words remain."""
    codec = {"LATIN1": "latin-1", "WIN1252": "cp1252", "SQL_ASCII": "ascii"}[encoding]
    own, full = words.words_of(locale, encoding), words.words_of(locale, "UTF8")
    for listed, of in ((own.first_names, full.first_names), (own.last_names, full.last_names)):
        assert len(listed) >= least * len(of)
        "".join(listed).encode(codec)
        "".join(listed).upper().encode(codec)
    for place in own.places:
        f"{place.city} {place.region}".upper().encode(codec)
    assert len(own.places) >= least * len(full.places)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "KOI8R"])
def test_a_locale_that_an_encoding_cannot_write_is_refused(encoding: str) -> None:
    """Japanese is no Latin-1; the message says which locale, and the hint which encoding."""
    with pytest.raises(BadInput, match="ja_JP") as caught:
        _ = words.words_of("ja_JP", encoding).first_names
    assert encoding in caught.value.hint
    with pytest.raises(BadInput):
        words.words_of("ja_JP", encoding).write("日本")


@given(
    st.lists(st.binary(min_size=16, max_size=16), max_size=20),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=3),
    st.data(),
)
def test_phrases_are_words_picked_by_lanes(tags: list[bytes], variants: list[list[int]], data: st.DataObject) -> None:
    """Few texts or many, each is the word of each of its variant's lists that its lane's share of 2**32 says."""
    lists = [
        [(words.numbers(0, 7 * (turn + 1) + 3 * number), lane) for turn, lane in enumerate(lanes)]
        for number, lanes in enumerate(variants)
    ]
    phrases = Phrases(*lists[0], variants=[tuple(own) for own in lists[1:]])
    which = data.draw(st.lists(st.integers(0, len(lists) - 1), min_size=len(tags), max_size=len(tags)))
    numbers = None if len(lists) == 1 and data.draw(st.booleans()) else np.array(which, dtype=np.int64)
    expected = [
        b"".join(
            listed[int.from_bytes(tag[4 * lane : 4 * lane + 4], "little") * len(listed) >> 32].as_py()
            for listed, lane in lists[number]
        )
        for tag, number in zip(tags, which, strict=True)
    ]
    written = phrases.write(np.frombuffer(b"".join(tags), dtype=np.uint8).reshape(-1, 16), numbers)
    written.validate(full=True)
    assert written.to_pylist() == expected
    assert phrases.longest == max(sum(max(map(len, listed.to_pylist())) for listed, _ in own) for own in lists)
    assert pa.types.is_binary(written.type)


@pytest.mark.parametrize(
    ("text", "locale"),
    [
        ("DE", "de_DE"), ("de", "de_DE"), ("de_DE", "de_DE"), ("de-AT", "de_DE"), ("DEU", "de_DE"),
        (" Germany ", "de_DE"), ("Deutschland", "de_DE"), ("ALLEMAGNE", "de_DE"), ("+49 30 901820", "de_DE"),
        ("de_DE.UTF-8", "de_DE"),
        ("gb", "en_GB"), ("UK", "en_GB"), ("en-GB", "en_GB"), ("England", "en_GB"), ("+44", "en_GB"), ("en", "en_US"),
        ("en_AU", "en_US"), ("USA", "en_US"), ("United States of America", "en_US"), ("+1 212 555 0100", "en_US"),
        ("pt", "pt_BR"), ("pt_PT", "pt_BR"), ("BRÉSIL", "pt_BR"), ("+55", "pt_BR"), ("日本", "ja_JP"), ("jp", "ja_JP"),
        ("Österreich", None), ("AT", None), ("", None), ("+", None), ("+99", None), ("xx_XX", None), ("name", None),
    ],
)  # fmt: skip
def test_a_locale_is_found_by_what_columns_call_it(text: str, locale: str | None) -> None:
    """Codes, names in several languages, and telephone numbers; what is not known is not guessed."""
    assert find(text) == locale
