"""Card and account numbers."""

from __future__ import annotations

import re

import pytest
from fix_masks import (
    AWKWARD_TEXTS,
    MANY_RUNS,
    assert_function_of_the_value,
    assert_injective,
    mask_of,
    masked,
    uniqueness_of,
)
from hypothesis import given
from hypothesis import strategies as st

from transform.masks.base import Uniqueness

anything = st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=30).map(str.encode)
cards = st.from_regex(r"\A[0-9]{4}([ -]?[0-9]{1,4}){1,5}\Z").map(str.encode)
countries = st.sampled_from(["DE", "GB", "NO", "MT", "fr", "Xx"])
accounts = st.from_regex(r"\A[0-9A-Za-z]([ -]?[0-9A-Za-z]){0,29}\Z")


def luhn(value: bytes) -> int:
    """The Luhn sum of a value's digits modulo 10."""
    digits = [int(sign) for sign in value.decode(errors="replace") if sign in "0123456789"]
    return sum(sum(divmod(digit * (1 + place % 2), 10)) for place, digit in enumerate(reversed(digits))) % 10


def iban(country: str, account: str) -> bytes:
    """A valid IBAN."""
    plain = re.sub("[ -]", "", account).upper() + country.upper() + "00"
    check = 98 - int("".join(str(int(sign, 36)) for sign in plain)) % 97
    return f"{country}{check:02d} {account}".encode()


def mod97(value: bytes) -> int:
    """The remainder of an IBAN; 1 if it is valid."""
    plain = re.sub("[ -]", "", value.decode()).upper()
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97


def form(value: bytes) -> bytes:
    """The classes of a value's characters."""
    return re.sub(rb"[A-Z]", b"A", re.sub(rb"[a-z]", b"a", re.sub(rb"[0-9]", b"9", value)))


@pytest.mark.parametrize("name", ["financial.card", "financial.iban"])
@MANY_RUNS
@given(
    values=st.lists(
        st.one_of(cards, st.builds(iban, countries, accounts), anything), max_size=12
    )
)  # fmt: skip
def test_numbers_depend_on_the_value_only(name: str, values: list[bytes | None]) -> None:
    """A number masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of(name), values)


# -------------------------------------------------------------------------------------------------------- cards


@pytest.mark.parametrize(
    "value",
    [
        b"4111111111111111",
        b"5500 0000 0000 0004",
        b"3782-822463-10005",
        b"6011 0009 9013 9424",
        b"30569309025904",
        b"6304000000000000000",
    ],
)
def test_published_test_cards_stay_valid(value: bytes) -> None:
    """A valid card becomes another valid one of the same network and form."""
    assert luhn(value) == 0
    (out,) = masked(mask_of("financial.card"), [value])
    assert out is not None
    assert luhn(out) == 0
    assert form(out) == form(value)
    assert out[:1] == value[:1]
    assert out != value


@given(cards)
def test_the_luhn_sum_is_kept(value: bytes) -> None:
    """A valid number stays valid, an invalid one is as invalid as it was, and the form is kept."""
    (out,) = masked(mask_of("financial.card"), [value])
    assert out is not None
    assert form(out) == form(value)
    if sum(sign in b"0123456789" for sign in value) >= 8:
        assert luhn(out) == luhn(value)
        assert out[:1] == value[:1]


def test_cards_do_not_meet() -> None:
    """All numbers of eight digits with one first digit, valid or not, and of four digits, are permuted."""
    values = [b"4%07d" % n for n in range(10**6)]
    assert_injective(values, masked(mask_of("financial.card"), [*values]))
    values = [b"%04d" % n for n in range(10**4)]
    assert sorted(filter(None, masked(mask_of("financial.card"), [*values]))) == values
    assert uniqueness_of("financial.card") is Uniqueness.INJECTIVE


def test_what_is_no_card_does_not_show() -> None:
    """A name that someone wrote into the column is scrambled."""
    (out,) = masked(mask_of("financial.card"), [b"Grace Hopper"])
    assert out is not None
    assert form(out) == form(b"Grace Hopper")
    assert out != b"Grace Hopper"


# --------------------------------------------------------------------------------------------------------- IBAN


@pytest.mark.parametrize(
    "value",
    [
        b"GB82 WEST 1234 5698 7654 32",
        b"DE89370400440532013000",
        b"NO93 8601 1117 947",
        b"MT84MALT011000012345MTLCAST001S",
        b"fr14 2004 1010 0505 0001 3M02 606",
    ],
)
def test_published_ibans_stay_valid(value: bytes) -> None:
    """A valid IBAN becomes another valid one of the same country and form."""
    assert mod97(value) == 1
    (out,) = masked(mask_of("financial.iban"), [value])
    assert out is not None
    assert mod97(out) == 1
    assert form(out) == form(value)
    assert out[:2] == value[:2]
    assert out[4:] != value[4:]


@given(countries, accounts)
def test_any_valid_iban_stays_valid(country: str, account: str) -> None:
    """Check digits are right again, and are digits that the standard gives."""
    value = iban(country, account)
    (out,) = masked(mask_of("financial.iban"), [value])
    assert out is not None
    assert mod97(value) == mod97(out) == 1
    assert form(out) == form(value)
    assert 2 <= int(out[2:4]) <= 98


@given(countries, st.integers(2, 98), accounts)
def test_an_invalid_iban_is_as_invalid_as_it_was(country: str, check: int, account: str) -> None:
    """The remainder is kept."""
    value = f"{country}{check:02d}{account}".encode()
    (out,) = masked(mask_of("financial.iban"), [value])
    assert out is not None
    assert mod97(out) == mod97(value)


def test_ibans_do_not_meet() -> None:
    """All check digits with all accounts of three places, valid or not, are permuted."""
    values = [b"DE%02d%03d" % (check, account) for check in range(100) for account in range(1000)]
    assert sorted(filter(None, masked(mask_of("financial.iban"), [*values]))) == values
    long = [b"GB%02d WEST %014d" % (n % 100, n) for n in range(100_000)]
    assert_injective(long, masked(mask_of("financial.iban"), [*long]))
    assert uniqueness_of("financial.iban") is Uniqueness.INJECTIVE


@pytest.mark.parametrize("value", [b"1234 5678 9012", b"DE8937040044053201300012345678901234567", b"DE1", b"Hopper 12"])
def test_what_is_no_iban_keeps_its_form_only(value: bytes) -> None:
    """All its letters and digits change as one."""
    (out,) = masked(mask_of("financial.iban"), [value])
    assert out is not None
    assert form(out) == form(value)
    assert out != value
