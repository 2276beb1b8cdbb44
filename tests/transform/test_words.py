"""The word lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from transform.masks import words


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
