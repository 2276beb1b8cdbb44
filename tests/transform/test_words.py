"""The word lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transform.masks import words
from transform.masks.choosing import Phrases


@pytest.mark.parametrize(
    ("listed", "least", "longest"),
    [
        (words.first_names, 500, 12),
        (words.last_names, 800, 12),
        (words.street_names, 4000, 30),
        (words.cities, 3000, 20),
        (words.countries, 150, 24),
    ],
)
def test_lists_are_sorted_distinct_and_short(listed: Callable[[], Any], least: int, longest: int) -> None:
    """A list holds enough different ASCII words of moderate length, in one order."""
    found = [word.decode("ascii") for word in listed().to_pylist()]
    assert found == sorted(set(found))
    assert len(found) >= least
    assert max(map(len, found)) <= longest


def test_mailbox_words_are_lower_case_letters() -> None:
    """Names in mail addresses need no quoting."""
    for name in words.mailbox_first_names().to_pylist() + words.mailbox_last_names().to_pylist():
        assert name.isalpha()
        assert name.islower()


def test_the_lists_are_those_that_copies_were_masked_with() -> None:
    """When Faker or our composition changes the lists, this fails: raise ``WORDS_VERSION`` and note it in the
    changelog, because copies made before must be cloned anew."""
    assert words.fingerprint() == "7da7320837b42831"


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20), st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_phrases_are_words_picked_by_lanes(tags: list[bytes], lanes: list[int]) -> None:
    """Few texts or many, each is the word of each list that its lane's share of 2**32 says."""
    lists = [words.numbers(0, 7 * (turn + 1)) for turn in range(len(lanes))]
    phrases = Phrases(*zip(lists, lanes, strict=True))
    expected = [
        b"".join(
            listed[int.from_bytes(tag[4 * lane : 4 * lane + 4], "little") * len(listed) >> 32].as_py()
            for listed, lane in zip(lists, lanes, strict=True)
        )
        for tag in tags
    ]
    written = phrases.write(np.frombuffer(b"".join(tags), dtype=np.uint8).reshape(-1, 16))
    written.validate(full=True)
    assert written.to_pylist() == expected
    assert phrases.longest == sum(max(map(len, listed.to_pylist())) for listed in lists)
