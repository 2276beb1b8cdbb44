"""Keyed permutations of numbers and characters."""

from __future__ import annotations

import unicodedata
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transform.cmac import Prf
from transform.encodings import codec_of
from transform.masks.permutation import Characters, feistel, permute_range, walk

PRF = Prf(bytes(range(32)))
# One letter, and two of all kinds; some are bytes of no encoding.
BEYOND = [chr(point) for point in (*range(0x80, 0xD800), *range(0xE000, 0x11000), *range(0x1F300, 0x20100))]
BEYOND += [one + two for one, two in product("éßłжΩアー山한م😀٣", BEYOND[:9000])]


def permuted(values: list[bytes | None], prf: Prf = PRF, encoding: str = "UTF8") -> list[bytes | None]:
    characters = Characters(pa.array(values, type=pa.binary()), encoding)
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
    """Digits stay digits, letters letters of their case, punctuation stays as it is, and UTF-8 stays UTF-8 of as many
    bytes."""
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
        [letters.encode() for letters in BEYOND],
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


def test_letters_beyond_ascii_hide_among_many_of_their_kind() -> None:
    """A script's letters become letters of that script and case, digits digits; of ideographs nothing is left to tell
    which they were."""
    out = {}
    for text in (
        "éüö",
        "ÉÜÖ",
        "łąż",
        "жиш",
        "ЖИШ",
        "αβγ",
        "アイウ",
        "あいう",
        "山田太郎",
        "김철수",
        "محمد",
        "١٢٣",
        "ß",
    ):
        made = [permuted([text.encode()], Prf(bytes([key]) * 16))[0] for key in range(200)]
        out[text] = {letter for value in made if value is not None for letter in value.decode()}
    assert {unicodedata.name(letter).split()[0] for letter in out["łąż"] | out["éüö"]} == {"LATIN"}
    assert all(letter.islower() for letter in out["éüö"] | out["łąż"] | out["жиш"] | out["αβγ"])
    assert all(letter.isupper() for letter in out["ÉÜÖ"] | out["ЖИШ"])
    assert all(letter.isdecimal() for letter in out["١٢٣"])
    assert {unicodedata.name(letter).split()[0] for letter in out["アイウ"]} == {"KATAKANA"}
    assert len({ord(letter) >> 6 for letter in out["山田太郎"]}) > 250
    assert min(ord(letter) for letter in out["山田太郎"]) >= 0x4E00
    assert len({ord(letter) >> 6 for letter in out["김철수"]}) > 100
    assert min(map(len, out.values())) >= 10


def test_case_plays_no_part_beyond_ascii() -> None:
    """What citext holds equal stays equal, and what it keeps apart it keeps apart."""
    texts = ["".join(pair) for pair in product("àéîõüýłżѐжяωάա", repeat=2)]
    small = [(value or b"").decode() for value in permuted([text.encode() for text in texts])]
    capital = [(value or b"").decode() for value in permuted([text.upper().encode() for text in texts])]
    assert [text.lower() for text in capital] == [text.lower() for text in small]
    assert len({text.lower() for text in small}) == len(texts)


@pytest.mark.parametrize("encoding", ["LATIN1", "LATIN2", "WIN1252", "WIN1251", "KOI8R", "EUC_JP", "EUC_KR", "EUC_CN"])
def test_letters_stay_within_productions_encoding(encoding: str) -> None:
    """What production holds becomes what it could hold, so that a copy in its encoding can."""
    codec = codec_of(encoding)
    held = [letter for letter in BEYOND if len(letter.encode(codec, "ignore")) in (1, 2, 3) and len(letter) == 1]
    out = [(value or b"").decode() for value in permuted([letter.encode() for letter in held], encoding=encoding)]
    assert "".join(out).encode(codec)
    assert max(len(letter.encode(codec)) for letter in out) <= 3
    assert sorted(out) == sorted(held)
    assert sum(before != after for before, after in zip(held, out, strict=True)) > len(held) / 3


def test_bytes_of_no_encoding_change_too() -> None:
    """Letters of LATIN1 in a production in SQL_ASCII are bytes that no character begins with or goes on with."""
    out = permuted(["Mütü é".encode("latin-1"), b"a\x93b", "é".encode()], encoding="SQL_ASCII")
    assert all(value is not None for value in out)
    assert out[0] is not None
    assert not set(b"\xfc\xe9") & set(out[0])
    assert out[1] is not None
    assert out[1][1] >= 0x80
