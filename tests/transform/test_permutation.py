"""Keyed permutations of numbers and characters."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transform.cmac import Prf
from transform.masks.permutation import Characters, feistel, permute_range, walk

PRF = Prf(bytes(range(32)))


def permuted(values: list[bytes | None], prf: Prf = PRF) -> list[bytes | None]:
    characters = Characters(pa.array(values, type=pa.binary()))
    characters.permute(prf)
    out: list[bytes | None] = characters.column().to_pylist()
    return out


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**55))
def test_a_range_is_permuted(left: int, right: int, tweak: int) -> None:
    """Every number of a range is met exactly once, whatever the sizes of the halves."""
    numbers = np.arange(left * right, dtype=np.uint64)
    assert sorted(permute_range(PRF, numbers, left, right, tweak).tolist()) == numbers.tolist()


def test_tweaks_and_keys_give_other_permutations() -> None:
    """Two permutations of one range agree no more often than chance."""
    numbers = np.arange(10_000, dtype=np.uint64)
    outs = [permute_range(prf, numbers, 100, 100, tweak) for prf, tweak in ((PRF, 1), (PRF, 2), (Prf(bytes(32)), 1))]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert (outs[one] == outs[two]).sum() < 20
    assert (outs[0] == numbers).sum() < 20


def test_sizes_may_differ_from_pair_to_pair() -> None:
    """A pair is permuted as it would be alone, under its own sizes and tweak."""
    sizes = np.array([1, 2, 10, 10**9, 2**59], dtype=np.uint64)
    left, right = sizes - np.uint64(1), sizes // np.uint64(2)
    tweaks = np.arange(5, dtype=np.uint64)
    out = feistel(PRF, left, right, sizes, sizes, tweaks)
    for row in range(5):
        size = int(sizes[row])
        alone = feistel(PRF, left[row : row + 1], right[row : row + 1], size, size, row)
        assert (int(out[0][row]), int(out[1][row])) == (int(alone[0][0]), int(alone[1][0]))
        assert out[0][row] < size
        assert out[1][row] < size


@pytest.mark.parametrize(("low", "high"), [(0, 99), (5, 60), (98, 99), (40, 40)])
def test_a_walk_permutes_what_lies_within_bounds(low: int, high: int) -> None:
    """Numbers between the bounds are permuted among themselves."""
    numbers = np.arange(low, high + 1, dtype=np.uint64)
    out = walk(numbers, lambda inside: permute_range(PRF, inside, 10, 10, 0), low, high)
    assert sorted(out.tolist()) == numbers.tolist()


@given(st.lists(st.none() | st.text(max_size=60), max_size=10))
def test_the_form_of_text_is_kept(texts: list[str | None]) -> None:
    """Digits stay digits, letters letters of their case, punctuation stays as it is, and UTF-8 stays UTF-8."""
    values = [None if text is None else text.encode() for text in texts]
    for text, value in zip(texts, permuted(values), strict=True):
        assert (text is None) == (value is None)
        if text is None or value is None:
            continue
        out = value.decode()
        assert len(out) == len(text)
        for before, after in zip(text, out, strict=True):
            if not before.isascii():
                assert len(before.encode()) == len(after.encode())
            elif before.isalnum():
                assert (before.isdigit(), before.isupper()) == (after.isdigit(), after.isupper())
                assert after.isascii()
                assert after.isalnum()
            else:
                assert after == before


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_bytes_that_are_no_text_pass(values: list[bytes]) -> None:
    """Whatever the bytes, the length is kept and each value is masked as it would be alone."""
    out = permuted([*values])
    assert [len(value or b"") for value in out] == [len(value) for value in values]
    assert out == [permuted([value])[0] for value in values]


@pytest.mark.parametrize(
    "values",
    [
        [b"%03d" % n for n in range(1000)],
        [b"%c%d" % (65 + n % 26, n // 26) for n in range(260)],
        ["é".encode()[:1] + bytes([0x80 + n]) for n in range(64)],
        [b"12-%022d" % n for n in range(5000)],
        [b"abc" * 30 + b"%05d" % n for n in range(5000)],
    ],
    ids=["digits", "letters", "beyond ASCII", "two pieces", "many pieces"],
)
def test_no_two_values_meet(values: list[bytes]) -> None:
    """Values of one form are permuted."""
    assert len(set(permuted([*values]))) == len(set(values))


def test_a_whole_form_is_permuted() -> None:
    """All values of a form are met: nothing is left out of the range."""
    values = [b"%d-%c" % (digit, letter) for digit in range(10) for letter in range(65, 91)]
    assert sorted(filter(None, permuted([*values]))) == sorted(values)


def test_every_place_matters_to_every_other() -> None:
    """Values that differ in one place differ in about all places after."""
    out = permuted([b"%012d" % (10**k) for k in range(12)])
    same = sum(a == b for one in out for two in out if one and two and one < two for a, b in zip(one, two, strict=True))
    assert same / (66 * 12) < 0.2


def test_case_plays_no_part() -> None:
    """Text that differs in case only is permuted alike."""
    upper, lower = permuted([b"SW1A 2AA", b"sw1a 2aa"])
    assert upper is not None
    assert upper.lower() == lower
