"""Account numbers, bank codes, amounts, and what financial means by type."""

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

from capture.model import BadInput, Column
from transform.masks.base import Uniqueness

anything = st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=30).map(str.encode)
bics = st.from_regex(r"\A[A-Za-z]{6}[A-Z0-9]{2}(XXX|xXx|[A-Z0-9]{3})?\Z").map(str.encode)
numbers = st.integers(-(2**63), 2**63 - 1).map(lambda number: b"%d" % number)
WIDTHS = {"int2": 16, "int4": 32, "int8": 64}
RANGES = {"int2": 2**15, "int4": 2**31, "int8": 2**63}


def form(value: bytes) -> bytes:
    """The classes of a value's characters."""
    return re.sub(rb"[A-Z]", b"A", re.sub(rb"[a-z]", b"a", re.sub(rb"[0-9]", b"9", value)))


@pytest.mark.parametrize("name", ["financial.account", "financial.bic", "financial"])
@MANY_RUNS
@given(values=st.lists(bics | anything, max_size=12))
def test_text_depends_on_the_value_only(name: str, values: list[bytes | None]) -> None:
    """A code masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of(name), values)


@MANY_RUNS
@given(st.lists(st.none() | numbers, max_size=12))
def test_numbers_depend_on_the_value_only(values: list[bytes | None]) -> None:
    """So does a number."""
    assert_function_of_the_value(mask_of("financial.account", column_of("int8")), values)


@given(st.text(max_size=30).map(str.encode))
def test_an_account_keeps_its_form(value: bytes) -> None:
    """Digits stay digits, letters letters, and the rest stays."""
    (out,) = masked(mask_of("financial.account"), [value])
    assert form(out or b"") == form(value) or not value.isascii()


def test_accounts_do_not_meet() -> None:
    """Within a form they are permuted, in text and in numbers."""
    for values in ([b"%06d" % n for n in range(200_000)], [b"K-%05d" % n for n in range(100_000)]):
        assert_injective(values, masked(mask_of("financial.account"), [*values]))
    values = [b"%d" % n for n in range(-100_000, 100_000)]
    for base_type in ("int4", "numeric"):
        assert_injective(values, masked(mask_of("financial.account", column_of(base_type)), [*values]))
    assert uniqueness_of("financial.account") is Uniqueness.INJECTIVE


@pytest.mark.parametrize("base_type", RANGES)
def test_numbers_keep_their_digits_and_fit(base_type: str) -> None:
    """The sign and the count of digits stay, up to the ends of the type."""
    most = RANGES[base_type]
    values = [-most, 1 - most, most - 1, most - 2, most - 1000, 0, 1, 9, -9, 10, 99, -100]
    for value, out in zip(values, masked(mask_of("financial.account", column_of(base_type), width=WIDTHS[base_type]),
                                         [b"%d" % value for value in values]), strict=True):  # fmt: skip
        assert out is not None
        assert -most <= int(out) < most
        assert b"%d" % int(out) == out
        assert (len(out), out[:1] == b"-") == (len(b"%d" % value), value < 0)


def test_a_number_masks_alike_in_all_columns_of_a_domain() -> None:
    """Where one of them is int2, its numbers stay its own in the others."""
    values: list[bytes | None] = [b"%d" % n for n in [*range(10_000, 99_999), 2**63 - 1, 10**18]]
    outs = [masked(mask_of("financial.account", column_of(name), width=16), values) for name in ("int8", "numeric")]
    assert outs[0] == outs[1]
    assert [int(out or b"") < 2**15 for out in outs[0]] == [int(value or b"") < 2**15 for value in values]
    narrow = masked(mask_of("financial.account", column_of("int2"), width=16), values[:20_000])
    assert narrow == outs[0][:20_000]
    assert len(set(outs[0])) == len(values)


def test_decimals_keep_their_form() -> None:
    """Also those that begin with zero, and what is no number."""
    values: list[bytes | None] = [b"0.05", b"-12.50", b"NaN", b"Infinity", b"0", b"100", None]
    out = masked(mask_of("financial.account", column_of("numeric")), values)
    assert [form(value or b"") for value in out] == [form(value or b"") for value in values]
    assert out[2:5] == [b"NaN", b"Infinity", b"0"]
    assert out[6] is None
    assert (out[0] or b"").startswith(b"0.")
    assert not (out[5] or b"").startswith(b"0")


def test_a_phone_number_in_a_number_keeps_its_digits() -> None:
    """There is no room for a fictional number's plus sign, so the digits are permuted."""
    column = column_of("int8")
    assert masked(mask_of("phone", column), [b"4930901820"]) == masked(
        mask_of("financial.account", column), [b"4930901820"]
    )
    assert uniqueness_of("phone", column) is Uniqueness.INJECTIVE


# ----------------------------------------------------------------------------------------------------------- bic


@given(bics)
def test_a_bic_keeps_country_length_and_head_office(value: bytes) -> None:
    """And letters stay letters."""
    (out,) = masked(mask_of("financial.bic"), [value])
    assert out is not None
    assert form(out) == form(value)
    assert out[4:6] == value[4:6]
    assert (out[8:].upper() == b"XXX") == (value[8:].upper() == b"XXX")


def test_bics_do_not_meet() -> None:
    """With every branch there is of one bank, XXX among them, and with other banks."""
    letters = [bytes([65 + n // 676, 65 + n // 26 % 26, 65 + n % 26]) for n in range(26**3)]
    values = [*(b"DEUTDEFF" + branch for branch in letters), *(b"A" + bank + b"DEFF" for bank in letters)]
    out = masked(mask_of("financial.bic"), [*values])
    assert_injective(values, out)
    assert sum((value or b"").endswith(b"XXX") for value in out) == 1


def test_what_is_no_bic_does_not_show() -> None:
    """All its letters and digits change."""
    (out,) = masked(mask_of("financial.bic"), [b"Grace Hopper"])
    assert out != b"Grace Hopper"
    assert form(out or b"") == form(b"Grace Hopper")


# ----------------------------------------------------------------------------------------------------- financial


@pytest.mark.parametrize(
    ("column", "like", "value"),
    [
        (column_of("text"), "financial.account", b"0532 0130"),
        (column_of("numeric"), "financial.amount", b"1249.50"),
        (column_of("int8"), "financial.amount", b"124950"),
        (column_of("money"), "financial.amount", b"$1,249.50"),
        (column_of("money"), "number.noise", b"$1,249.50"),
    ],
)
def test_financial_means_what_the_type_says(column: Column, like: str, value: bytes) -> None:
    """Accounts in text and amounts in numbers."""
    assert masked(mask_of("financial", column), [value]) == masked(mask_of(like, column), [value])
    assert uniqueness_of("financial", column) is uniqueness_of(like, column)
    assert masked(mask_of("financial", column), [value]) != [value]


@pytest.mark.parametrize("mask", ["financial.account", "phone"])
@pytest.mark.parametrize(("precision", "scale"), [(3, -2), (2, 5)])
def test_a_numeric_of_which_some_digits_are_always_zero_is_refused(mask: str, precision: int, scale: int) -> None:
    """numeric(3,-2) rounds to hundreds, and numeric(2,5) holds no more than 0.00099: other digits would not load."""
    typmod = (precision << 16 | (scale & 0x7FF)) + 4
    with pytest.raises(BadInput, match="not every digit"):
        mask_of(mask, column_of("numeric", typmod=typmod, scale=scale))
