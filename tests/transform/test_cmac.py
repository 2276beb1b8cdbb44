"""Batch CMAC against ``cryptography``'s own."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from transform.cmac import Prf

KEY = bytes(range(32))


def reference(key: bytes, value: bytes | None) -> bytes:
    cmac = CMAC(algorithms.AES(key))
    cmac.update(value or b"")
    return cmac.finalize()


def column(values: Sequence[bytes | None]) -> pa.BinaryArray:
    return pa.array(values, type=pa.binary())


@pytest.mark.parametrize(
    ("message", "tag"),
    [
        ("", "bb1d6929e95937287fa37d129b756746"),
        ("6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"),
        ("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
         "dfa66747de9ae63030ca32611497c827"),
    ],
)  # fmt: skip
def test_published_vectors(message: str, tag: str) -> None:
    """The examples of RFC 4493 come out."""
    prf = Prf(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
    assert prf.tag(bytes.fromhex(message)).hex() == tag


@given(st.lists(st.none() | st.binary(max_size=70), max_size=40), st.sampled_from([KEY, KEY[:16]]))
def test_a_column_is_the_reference_value_by_value(values: list[bytes | None], key: bytes) -> None:
    """Every tag of a batch, small or large, is the CMAC of its value; a NULL counts as empty."""
    tags = Prf(key).tags(column(values))
    assert tags.shape == (len(values), 16)
    assert [tag.tobytes() for tag in tags] == [reference(key, value) for value in values]


@given(st.binary(max_size=100))
def test_one_value_is_the_reference(value: bytes) -> None:
    """The tag of one value is its CMAC."""
    assert Prf(KEY).tag(value) == reference(KEY, value)


@given(st.lists(st.binary(max_size=40), min_size=20, max_size=30), st.integers(0, 19))
def test_a_slice_gives_the_tags_of_its_values(values: list[bytes], start: int) -> None:
    """An array that starts in the middle of a buffer is read from there."""
    assert (Prf(KEY).tags(column(values)[start:]) == Prf(KEY).tags(column(values))[start:]).all()


@pytest.mark.parametrize("long_values", [1, 20])
def test_long_values_among_short_ones(long_values: int) -> None:
    """A few long values, or many of thousands of bytes, have the reference's tags too."""
    values: list[bytes | None] = [bytes([n % 251]) * (1000 + n if n < long_values else n % 40) for n in range(50)]
    tags = Prf(KEY).tags(column(values))
    assert [tag.tobytes() for tag in tags] == [reference(KEY, value) for value in values]


def test_blocks_are_permuted_without_collision() -> None:
    """``blocks`` encrypts each row by itself."""
    rows = np.arange(160, dtype=np.uint8).reshape(10, 16)
    out = Prf(KEY).blocks(rows)
    assert len({row.tobytes() for row in out}) == 10
    assert (Prf(KEY).blocks(rows[3:5]) == out[3:5]).all()


def test_the_key_travels_but_does_not_show() -> None:
    """A pickled function computes the same; its repr is free of the key."""
    prf = Prf(KEY)
    assert pickle.loads(pickle.dumps(prf)).tag(b"x") == prf.tag(b"x")
    assert KEY.hex() not in repr(prf)
    assert repr(KEY) not in repr(prf)


def test_threads_share_one_function() -> None:
    """Several threads may hash with one ``Prf`` at the same time."""
    prf = Prf(KEY)
    values = column([bytes([n % 256]) * (n % 60) for n in range(20_000)])
    expected = prf.tags(values)
    with ThreadPoolExecutor(4) as pool:
        assert all((tags == expected).all() for tags in pool.map(prf.tags, [values] * 16))


@given(st.lists(st.binary(min_size=17, max_size=90), min_size=17, max_size=40))
def test_blocks_that_are_the_last_of_no_value(values: list[bytes]) -> None:
    """Where all values are longer than a block, or than several, the tags are the reference's too."""
    assert [tag.tobytes() for tag in Prf(KEY).tags(column(values))] == [reference(KEY, value) for value in values]
