"""Streets, towns, postcodes, countries."""

from __future__ import annotations

import re

import pytest
from fix_masks import (
    AWKWARD_TEXTS,
    MANY_RUNS,
    assert_function_of_the_value,
    assert_injective,
    column_of,
    mask_of,
    masked,
    uniqueness_of,
)
from hypothesis import given
from hypothesis import strategies as st

from transform.masks.base import Uniqueness

FORMS = {
    "address.street": r"[1-9]\d{0,2} [A-Z][A-Za-z]+ [A-Z][a-z]+",
    "address.city": r"[A-Z][A-Za-z]+",
    "address.full": r"[1-9]\d{0,2} [A-Z][A-Za-z]+ [A-Z][a-z]+, \d{5} [A-Z][A-Za-z]+",
    "address.country": r"[A-Z][^\n]+",
}


@pytest.mark.parametrize("name", [*FORMS, "address.postcode"])
@MANY_RUNS
@given(values=st.lists(st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=20).map(str.encode), max_size=10))
def test_addresses_depend_on_the_value_only(name: str, values: list[bytes | None]) -> None:
    """An address masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of(name), values)


@pytest.mark.parametrize("name", FORMS)
def test_addresses_read_like_addresses(name: str) -> None:
    """Masks have the form that the catalogue shows, and vary."""
    out = [(value or b"").decode() for value in masked(mask_of(name), [b"place %d" % n for n in range(1000)])]
    assert all(re.fullmatch(FORMS[name], value) for value in out)
    assert len(set(out)) > 150
    assert uniqueness_of(name) is Uniqueness.LOSSY


@given(st.integers(1, 45), st.sampled_from([*FORMS, "address.postcode"]))
def test_addresses_fit_the_column(length: int, name: str) -> None:
    """An address is cut to what the column holds, and no blank is left at the cut."""
    column = column_of("varchar", max_length=length)
    for value in masked(mask_of(name, column, preserve_format=False), [b"place %d" % n for n in range(30)]):
        assert value
        assert len(value) <= length
        assert value == value.strip()


def test_case_is_kept_when_asked() -> None:
    """A street in capitals stays in capitals."""
    (out,) = masked(mask_of("address.street", preserve_format=True), [b"10 DOWNING STREET"])
    assert out is not None
    assert out.isupper()


@pytest.mark.parametrize("value", ["12345", "SW1A 2AA", "1234-567", "K1A 0B1", "d-12345"])
def test_postcodes_keep_their_form(value: str) -> None:
    """Digits, letters, case and punctuation stay in their places."""
    (out,) = masked(mask_of("address.postcode"), [value.encode()])
    assert out is not None

    def form(text: str) -> str:
        return re.sub("[A-Z]", "A", re.sub("[a-z]", "a", re.sub("[0-9]", "9", text)))

    assert form(out.decode()) == form(value)
    assert out.decode() != value


def test_postcodes_do_not_meet() -> None:
    """All postcodes of five digits are permuted."""
    values = [b"%05d" % n for n in range(100_000)]
    assert_injective(values, masked(mask_of("address.postcode"), [*values]))
    assert uniqueness_of("address.postcode") is Uniqueness.INJECTIVE


def test_postcodes_without_their_form_are_five_digits() -> None:
    """Nothing of the original's form shows."""
    out = masked(mask_of("address.postcode", preserve_format=False), [b"SW1A 2AA", b"1", "李".encode()])
    assert all(value is not None and re.fullmatch(rb"\d{5}", value) for value in out)
    assert uniqueness_of("address.postcode", preserve_format=False) is Uniqueness.LOSSY
