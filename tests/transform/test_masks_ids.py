"""Integers and UUIDs that stay what they are."""

from __future__ import annotations

import itertools
import re
import uuid

import numpy as np
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

from capture.model import BadInput, Column, ServerFailed
from transform.cmac import Prf
from transform.masks.base import Mask, Uniqueness
from transform.masks.ids import integer_width, lower_half, permute_integers, sequence_floor

WIDTHS = {"int2": 16, "int4": 32, "int8": 64}
int8 = st.integers(-(2**63), 2**63 - 1)
any_integer = int8 | st.integers(-(10**40), 10**40) | st.integers(-(10**5), 10**5)


def numeric(precision: int, scale: int = 0) -> Column:
    return column_of("numeric", typmod=(precision << 16 | scale) + 4, scale=scale)


def texts(integers: list[int] | range) -> list[bytes | None]:
    return [b"%d" % number for number in integers]


def integers(mask: Mask, values: list[int] | range) -> list[int]:
    return [int(value or b"") for value in masked(mask, texts(values))]


# ----------------------------------------------------------------------------------------------------- integers


@MANY_RUNS
@given(st.lists(st.none() | int8.map(lambda number: b"%d" % number), max_size=12), st.sampled_from([16, 32, 64]))
def test_integers_depend_on_the_value_only(values: list[bytes | None], width: int) -> None:
    """An integer masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("id.int", column_of("int8"), width=width), values)


@MANY_RUNS
@given(st.lists(st.sampled_from(AWKWARD_TEXTS) | any_integer.map(lambda number: b"%d" % number), max_size=12))
def test_text_depends_on_the_value_only(values: list[bytes | None]) -> None:
    """Integers as text do so too, and so does text that is no integer."""
    assert_function_of_the_value(mask_of("id.int", width=32), values)


@pytest.mark.parametrize("base_type", WIDTHS)
def test_each_class_of_a_width_is_closed(base_type: str) -> None:
    """The lower half, the upper half and the negatives of a type are permuted among themselves."""
    width = WIDTHS[base_type]
    half = lower_half(width)
    mask = mask_of("id.int", column_of(base_type), width=width)
    for low, high in ((0, half), (half, 2 * half), (-2 * half, 0)):
        values = [low, low + 1, low + 2, high - 2, high - 1]
        assert all(low <= number < high for number in integers(mask, values))


def test_every_int2_is_met() -> None:
    """All 65,536 of them are a permutation, class by class."""
    out = integers(mask_of("id.int", column_of("int2"), width=16), range(-(2**15), 2**15))
    half = lower_half(16)
    assert sorted(out) == list(range(-(2**15), 2**15))
    assert sorted(out[2**15 : 2**15 + half]) == list(range(half))
    assert sorted(out[2**15 + half :]) == list(range(half, 2 * half))


@pytest.mark.parametrize("width", [16, 32, 64])
def test_integers_do_not_meet(width: int) -> None:
    """A million integers, in a row and scattered, narrow and wide, stay a million."""
    rng = np.random.default_rng(7)
    scattered = np.concatenate([rng.integers(-(2**bits), 2**bits, 60_000) for bits in (16, 20, 31, 33, 40, 52, 60, 62)])
    values = np.unique(np.concatenate([np.arange(-1000, 500_000), scattered]))
    out = permute_integers(Prf(bytes(32)), values, width)
    assert len(np.unique(out)) == len(values)
    assert ((out < 0) == (values < 0)).all()
    narrow = (values >= -(2 ** (width - 1))) & (values < 2 ** (width - 1))
    assert ((out >= -(2 ** (width - 1))) & (out < 2 ** (width - 1)) == narrow).all()


@given(int8, st.sampled_from([16, 32]))
def test_wide_integers_keep_sign_and_digits(number: int, width: int) -> None:
    """What a domain's narrowest column cannot hold stays so, and is as long as before."""
    if -(2 ** (width - 1)) <= number < 2 ** (width - 1):
        return
    (out,) = integers(mask_of("id.int", column_of("int8"), width=width), [number])
    assert -(2**63) <= out < 2**63
    assert len(str(out)) == len(str(number))
    assert (out < 0) == (number < 0)
    assert not -(2 ** (width - 1)) <= out < 2 ** (width - 1)


@pytest.mark.parametrize(("low", "high"), [(1, 999), (-50, 149), (1, 2**15 - 1), (-(2**15), 2**15 - 2), (1000, 1100)])
def test_a_declared_range_is_permuted_by_halves(low: int, high: int) -> None:
    """Its lower half, its upper half, what is below and what is above are permuted among themselves."""
    mask = mask_of("id.int", column_of("int2"), width=16, range=[low, high])
    out = integers(mask, range(-(2**15), 2**15))
    middle = sequence_floor({"range": [low, high]}, 16)
    assert middle - low in {(high - low + 1) // 2, (high - low + 2) // 2}
    bounds = [-(2**15), low, middle, high + 1, 2**15]
    for first, end in itertools.pairwise(bounds):
        assert sorted(out[first + 2**15 : end + 2**15]) == list(range(first, end))
    moved = sum(a != b for a, b in zip(out, range(-(2**15), 2**15), strict=True))
    assert moved > 2**16 - 100


@given(st.lists(int8, min_size=1, max_size=8), st.sampled_from([(1, 999_999), (-(2**31), 2**31 - 1), (5, 2**31 - 2)]))
def test_a_declared_range_holds_in_every_type(values: list[int], declared: tuple[int, int]) -> None:
    """int8, numeric and text columns of one domain still join, and what is inside stays inside."""
    expected = masked(mask_of("id.int", column_of("int8"), width=32, range=declared), texts(values))
    for base_type in ("numeric", "text"):
        assert masked(mask_of("id.int", column_of(base_type), width=32, range=declared), texts(values)) == expected
    low, high = declared
    assert [low <= int(out or b"") <= high for out in expected] == [low <= value <= high for value in values]


def test_the_widest_range_is_permuted() -> None:
    """Nearly all of int8: the halves are too wide for a signed difference."""
    low, high = -(2**63) + 1, 2**63 - 1
    mask = mask_of("id.int", column_of("int8"), range=[low, high])
    values = [low, low + 1, -1, 0, 1, high - 1, high]
    out = integers(mask, values)
    assert len(set(out)) == len(values)
    assert [number < 0 for number in out] == [number < 0 for number in values]


@pytest.mark.parametrize(
    ("declared", "said"),
    [([1, 9], "hides nothing"), ([9, 1], "a range of 0 integers"), ([0, 2**31], "wider than integers of 32 bits")],
)
def test_a_range_that_cannot_be_is_refused(declared: list[int], said: str) -> None:
    """Too few integers, none, or more than the narrowest column of the domain holds."""
    with pytest.raises(BadInput, match=said):
        mask_of("id.int", column_of("int8"), width=32, range=declared)


@pytest.mark.parametrize("number", [-(2**63), -(2**63) + 1, 2**63 - 1, 10**18, -(10**18), 99999, 32768, -32769])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_the_ends_of_the_ranges_stay_in_range(number: int, width: int) -> None:
    """The least and the greatest integers can be masked."""
    (out,) = integers(mask_of("id.int", column_of("int8"), width=width), [number])
    assert -(2**63) <= out < 2**63


@given(st.lists(int8, min_size=1, max_size=8), st.sampled_from([16, 32, 64]))
def test_an_integer_is_the_same_in_every_type(values: list[int], width: int) -> None:
    """int8, numeric and text columns of one domain still join."""
    expected = masked(mask_of("id.int", column_of("int8"), width=width), texts(values))
    assert masked(mask_of("id.int", column_of("numeric"), width=width), texts(values)) == expected
    assert masked(mask_of("id.int", column_of("text"), width=width), texts(values)) == expected


@given(st.integers(2**63, 10**40), st.booleans())
def test_integers_beyond_int8_stay_beyond_and_as_long(number: int, negative: bool) -> None:
    """A numeric of any size keeps its sign and its count of digits, and leaves int8's range to int8."""
    signed = -number - 1 if negative else number
    (out,) = integers(mask_of("id.int", column_of("numeric")), [signed])
    assert len(str(out)) == len(str(signed))
    assert not -(2**63) <= out < 2**63


@given(st.lists(st.tuples(st.integers(-(10**25), 10**25), st.integers(0, 3)), min_size=1, max_size=8))
def test_an_integer_may_be_written_with_decimals(values: list[tuple[int, int]]) -> None:
    """A numeric without a scale holds 7.00, which is 7, and what it masks to is what 7 masks to."""
    mask = mask_of("id.int", column_of("numeric"))
    written = [f"{number}{'.' * bool(zeros)}{'0' * zeros}".encode() for number, zeros in values]
    plain = masked(mask, texts([number for number, _ in values]))
    expected = [
        None if out is None else out + b"." * bool(zeros) + b"0" * zeros
        for out, (_, zeros) in zip(plain, values, strict=True)
    ]
    assert masked(mask, [*written]) == expected
    with pytest.raises(ServerFailed, match="no integer"):
        masked(mask, [*written, b"7.50"])


def test_integers_beyond_int8_do_not_meet() -> None:
    """Those of 19 digits, of which int8 holds most, and longer ones."""
    values = [*range(2**63, 2**63 + 5000), *range(10**25, 10**25 + 5000), *range(-(2**63) - 5000, -(2**63))]
    assert len(set(integers(mask_of("id.int", column_of("numeric")), values))) == 15_000


def test_an_integer_is_never_cut() -> None:
    """A column narrower than its domain's other columns does not shorten their long integers."""
    value = b"9" * 30
    for column in (column_of("numeric", max_length=20), column_of("varchar", max_length=20)):
        (out,) = masked(mask_of("id.int", column), [value])
        assert out is not None
        assert len(out) == 30


def test_text_that_is_no_integer_becomes_a_tag() -> None:
    """It meets neither an integer nor other text, and nothing of it is left."""
    values = [
        b"007",
        b"-0",
        b"1.5",
        b"+7",
        b"abc",
        b" 7",
        b"7 ",
        b"7\n",
        b"0",
        b"-1",
        "\N{ARABIC-INDIC DIGIT SEVEN}".encode(),
    ]
    out = masked(mask_of("id.int"), [*values])
    assert_injective(values, out)
    for value, text in zip(values, out, strict=True):
        assert text is not None
        assert re.fullmatch(rb"-?\d+" if value in {b"0", b"-1"} else rb"x[0-9a-f]{32}", text)
    assert uniqueness_of("id.int") is Uniqueness.TAGGED
    assert uniqueness_of("id.int", column_of("int4")) is Uniqueness.INJECTIVE


@pytest.mark.parametrize("value", [b"1.5", b"1.01", b"NaN", b"Infinity"])
def test_a_numeric_that_is_no_integer_stops(value: bytes) -> None:
    """The error tells the kind of the value and not the value."""
    with pytest.raises(ServerFailed, match="no integer") as caught:
        masked(mask_of("id.int", column_of("numeric")), [b"17", value])
    assert value.decode() not in str(caught.value)


def test_short_text_has_no_room_for_a_tag() -> None:
    """In varchar(11) integers pass and other text stops."""
    mask = mask_of("id.int", column_of("varchar", max_length=11), width=32)
    assert all(len(value or b"") <= 11 for value in masked(mask, [b"17", b"-2147483648", b"", None]))
    with pytest.raises(ServerFailed, match="11 characters"):
        masked(mask, [b"no integer"])


@pytest.mark.parametrize(
    ("column", "width"),
    [
        (column_of("int2"), 16),
        (column_of("int8"), 64),
        (column_of("numeric"), 64),
        (numeric(19), 64),
        (numeric(18), 32),
        (numeric(10), 32),
        (numeric(9), 16),
        (numeric(4), None),
        (column_of("varchar", max_length=20), 64),
        (column_of("varchar", max_length=11), 32),
        (column_of("varchar", max_length=6), 16),
        (column_of("varchar", max_length=5), None),
        (column_of("text"), 64),
        (column_of("uuid"), None),
    ],
)
def test_the_width_that_a_column_holds(column: Column, width: int | None) -> None:
    """Every integer of the width fits into the column, and none wider would."""
    assert integer_width(column) == width
    if width is not None and column.base_type not in WIDTHS:
        assert isinstance(mask_of("id.int", column, width=width), Mask)
        if width < 64:
            with pytest.raises(BadInput, match="do not fit"):
                mask_of("id.int", column, width=2 * width)


def test_a_numeric_with_a_scale_is_refused() -> None:
    """Fractions cannot be permuted."""
    with pytest.raises(BadInput, match="integers"):
        mask_of("id.int", numeric(10, 2))


# -------------------------------------------------------------------------------------------------------- UUIDs

uuids = st.uuids().map(lambda found: str(found).encode())


@pytest.mark.parametrize("base_type", ["uuid", "text", "citext"])
@MANY_RUNS
@given(values=st.lists(st.none() | uuids, max_size=12))
def test_uuids_depend_on_the_value_only(base_type: str, values: list[bytes | None]) -> None:
    """A UUID masks alike alone, in a batch, in any order."""
    mask = mask_of("id.uuid", column_of(base_type))
    if base_type != "uuid":
        values = [*values[:4], *AWKWARD_TEXTS[:8]]
    assert_function_of_the_value(mask, values)


@given(st.uuids() | st.integers(0, 2**128 - 1).map(lambda number: uuid.UUID(int=number)))
def test_version_and_variant_are_kept(value: uuid.UUID) -> None:
    """A UUID becomes another of its version, printed as PostgreSQL prints it."""
    (text,) = masked(mask_of("id.uuid", column_of("uuid")), [str(value).encode()])
    assert text is not None
    out = uuid.UUID(text.decode())
    assert str(out).encode() == text
    assert out.int >> 76 & 15 == value.int >> 76 & 15
    assert out.int >> 62 & 3 == value.int >> 62 & 3
    assert out != value


@pytest.mark.parametrize("version", [1, 6, 7])
def test_the_time_in_a_uuid_is_hidden(version: int) -> None:
    """Of UUIDs made one after another, each bit of time is set in about half, and their order is no longer theirs."""
    first = 0x018F3C6A1E0B << 80 | version << 76 | 2 << 62
    made = [uuid.UUID(int=first + (number << 80) + number) for number in range(512)]
    out = [uuid.UUID((text or b"").decode()) for text in
           masked(mask_of("id.uuid", column_of("uuid")), [str(one).encode() for one in made])]  # fmt: skip
    assert {(one.version, one.variant) for one in out} == {(version, uuid.RFC_4122)}
    for bit in range(80, 128):
        assert 150 < sum(one.int >> bit & 1 for one in out) < 362
    climbs = sum(before < after for before, after in itertools.pairwise(out))
    assert 150 < climbs < 362


def test_uuids_do_not_meet() -> None:
    """UUIDs that differ in few bits stay as many, and look unlike."""
    values = [
        str(uuid.UUID(int=4 << 76 | 2 << 62 | n << shift)).encode() for n in range(1, 20_000) for shift in (0, 40, 100)
    ]
    out = masked(mask_of("id.uuid", column_of("uuid")), [*values])
    assert_injective(values, out)
    assert len({(value or b"")[:13] for value in out}) > 59_000
    assert uniqueness_of("id.uuid", column_of("uuid")) is Uniqueness.INJECTIVE
    assert uniqueness_of("id.uuid") is Uniqueness.TAGGED


@given(st.uuids())
def test_text_and_uuid_columns_still_join(value: uuid.UUID) -> None:
    """The same UUID masks to the same text; in capitals, to the same in capitals."""
    small, capital = str(value).encode(), str(value).upper().encode()
    (expected,) = masked(mask_of("id.uuid", column_of("uuid")), [small])
    assert expected is not None
    assert masked(mask_of("id.uuid"), [small]) == [expected]
    if small != capital:
        assert masked(mask_of("id.uuid"), [capital]) == [expected.upper()]


def test_text_that_is_no_uuid_becomes_a_tag() -> None:
    """Another form, a mix of cases, or anything else leaves nothing of it."""
    form = b"5f3c6a1e-0b7d-4c2a-9e51-7d8a90b1c2d3"
    values = [
        form.replace(b"-", b""),
        b"{" + form + b"}",
        form[:-1] + b"g",
        form[:-1] + b"D",
        form.replace(b"-", b"_"),
        b"x",
    ]
    out = masked(mask_of("id.uuid"), [*values])
    assert_injective(values, out)
    assert all(value is not None and re.fullmatch(rb"x[0-9a-f]{32}", value) for value in out)


def test_citext_holds_every_case_of_a_uuid_equal() -> None:
    """What is equal stays equal, whatever the mix of cases."""
    form = "5f3c6a1e-0b7d-4c2a-9e51-7d8a90b1c2d3"
    mixed = form[:4] + form[4:].upper()
    out = masked(mask_of("id.uuid", column_of("citext")), [form.encode(), form.upper().encode(), mixed.encode()])
    assert len({(value or b"").lower() for value in out}) == 1


def test_a_column_shorter_than_a_uuid_is_refused() -> None:
    """36 characters are needed."""
    with pytest.raises(BadInput, match="36 characters"):
        mask_of("id.uuid", column_of("varchar", max_length=35))
