"""Names of people."""

from __future__ import annotations

import pytest
from fix_masks import AWKWARD_TEXTS, MANY_RUNS, assert_function_of_the_value, column_of, mask_of, masked, uniqueness_of
from hypothesis import given
from hypothesis import strategies as st

from transform.masks import words
from transform.masks.base import Uniqueness

NAMES = ("name.first", "name.last", "name.full")
FIRST = set(words.first_names().to_pylist())
LAST = set(words.last_names().to_pylist())


@pytest.mark.parametrize("preserve_format", [False, True])
@pytest.mark.parametrize("name", NAMES)
@MANY_RUNS
@given(values=st.lists(st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=20).map(str.encode), max_size=12))
def test_names_depend_on_the_value_only(name: str, preserve_format: bool, values: list[bytes | None]) -> None:
    """A name masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of(name, preserve_format=preserve_format), values)


def test_names_are_picked_from_the_lists() -> None:
    """A masked name is one of the words, and a full name two of them."""
    values: list[bytes | None] = [b"person %d" % n for n in range(2000)]
    first, last = masked(mask_of("name.first"), values), masked(mask_of("name.last"), values)
    assert set(first) <= FIRST
    assert set(last) <= LAST
    assert len(set(first)) > 500
    full = [(value or b"").split(b" ") for value in masked(mask_of("name.full"), values)]
    assert {one for one, _ in full} <= FIRST
    assert {two for _, two in full} <= LAST
    assert uniqueness_of("name.full") is Uniqueness.LOSSY


def test_an_empty_name_stays_empty() -> None:
    """An empty value identifies no one."""
    assert masked(mask_of("name.full"), [b"", None]) == [b"", None]


@pytest.mark.parametrize(
    ("value", "keeps"),
    [
        ("GRACE HOPPER", str.isupper),
        ("grace hopper", str.islower),
        ("Grace Hopper", str.istitle),
        ("ÉMILE", str.isupper),
    ],
)
def test_case_is_kept_when_asked(value: str, keeps: object) -> None:
    """Capitals stay capitals, small letters small, and all else is written like a name."""
    mask = mask_of("name.full", preserve_format=True)
    (out,) = masked(mask, [value.encode()])
    assert out is not None
    assert keeps(out.decode().replace("Mc", "Ma"))


def test_citext_is_masked_whatever_its_case() -> None:
    """What citext holds equal masks to the same name."""
    out = masked(mask_of("name.full", column_of("citext")), [b"Zo\xc3\x8b", b"zo\xc3\xab", b"ZO\xc3\x8b", b"Zoe"])
    assert len(set(out)) == 2
    assert out[0] == out[1] == out[2]


@given(st.integers(1, 12), st.sampled_from(NAMES))
def test_names_fit_the_column(length: int, name: str) -> None:
    """A name is cut to what the column holds, and no blank is left at the cut."""
    mask = mask_of(name, column_of("varchar", max_length=length))
    for value in masked(mask, [b"value %d" % n for n in range(50)]):
        assert value
        assert len(value) <= length
        assert value == value.strip()


def test_another_key_gives_other_names() -> None:
    """Two keys agree on a name no more often than chance."""
    values: list[bytes | None] = [b"person %d" % n for n in range(200)]
    one, two = masked(mask_of("name.full"), values), masked(mask_of("name.full", key=bytes([1] * 32)), values)
    assert sum(a == b for a, b in zip(one, two, strict=True)) < 5
