"""FF1 as the standard says, and identifiers that keep their pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
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
from pydantic import ValidationError

from capture.model import BadInput
from transform.cmac import Prf
from transform.keyring import KeyRing
from transform.masks.base import Uniqueness, mask_kind
from transform.masks.ff1 import Ff1
from transform.masks.pattern import parse_pattern

NUMERALS = "0123456789abcdefghijklmnopqrstuvwxyz"
KEY = bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94")
DECIMAL, LETTERED = "0123456789", "0123456789abcdefghi"
TWEAK, LETTERED_TWEAK = "39383736353433323130", "3737373770717273373737"

# The nine samples that NIST publishes with SP 800-38G.
SAMPLES = [
    (16, 10, "", DECIMAL, "2433477484"),
    (16, 10, TWEAK, DECIMAL, "6124200773"),
    (16, 36, LETTERED_TWEAK, LETTERED, "a9tv40mll9kdu509eum"),
    (24, 10, "", DECIMAL, "2830668132"),
    (24, 10, TWEAK, DECIMAL, "2496655549"),
    (24, 36, LETTERED_TWEAK, LETTERED, "xbj3kv35jrawxv32ysr"),
    (32, 10, "", DECIMAL, "6657667009"),
    (32, 10, TWEAK, DECIMAL, "1001623463"),
    (32, 36, LETTERED_TWEAK, LETTERED, "xs8a0azh2avyalyzuwd"),
]


def numerals(number: int, radix: int, length: int) -> str:
    text = ""
    for _ in range(length):
        number, one = divmod(number, radix)
        text = NUMERALS[one] + text
    return text


def textbook(key: bytes, radix: int, tweak: bytes, numbers: Sequence[int]) -> list[int]:
    """FF1 as section 5.2 of the standard writes it down, one step a line."""
    n, t = len(numbers), len(tweak)
    u = n // 2
    v = n - u

    def value(part: Sequence[int]) -> int:
        total = 0
        for one in part:
            total = total * radix + one
        return total

    def encrypt(block: bytes) -> bytes:
        return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)

    a, b = list(numbers[:u]), list(numbers[u:])
    size = ((radix**v - 1).bit_length() + 7) // 8
    d = 4 * -(-size // 4) + 4
    p = bytes([1, 2, 1]) + radix.to_bytes(3, "big") + bytes([10, u % 256]) + n.to_bytes(4, "big") + t.to_bytes(4, "big")
    for i in range(10):
        q = tweak + bytes((-t - size - 1) % 16) + bytes([i]) + value(b).to_bytes(size, "big")
        r = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor().update(p + q)[-16:]
        s = r
        for j in range(1, -(-d // 16)):
            s += encrypt((int.from_bytes(r, "big") ^ j).to_bytes(16, "big"))
        m = u if i % 2 == 0 else v
        c = (value(a) + int.from_bytes(s[:d], "big")) % radix**m
        digits = []
        for _ in range(m):
            c, one = divmod(c, radix)
            digits.append(one)
        a, b = b, digits[::-1]
    return a + b


@pytest.mark.parametrize(("key_length", "radix", "tweak", "plain", "cipher"), SAMPLES)
def test_the_samples_of_the_standard(key_length: int, radix: int, tweak: str, plain: str, cipher: str) -> None:
    """All nine come out, for keys of each length."""
    ff1 = Ff1(Prf(KEY[:key_length]), radix, len(plain), bytes.fromhex(tweak))
    (number,) = ff1.permute([int(plain, radix)])
    assert numerals(number, radix, len(plain)) == cipher
    if ff1.is_small:
        assert ff1.permute_array(np.array([int(plain, radix)], dtype=np.uint64)).tolist() == [number]


@given(st.integers(2, 2**16), st.integers(2, 60), st.binary(max_size=40), st.data())
@MANY_RUNS
def test_any_radix_and_length_are_as_the_standard_says(
    radix: int, length: int, tweak: bytes, data: st.DataObject
) -> None:
    """Held against the standard's own steps, one number at a time."""
    numbers = data.draw(st.lists(st.lists(st.integers(0, radix - 1), min_size=length, max_size=length), max_size=4))
    values = [sum(one * radix**place for place, one in enumerate(reversed(digits))) for digits in numbers]
    expected = [
        sum(one * radix**place for place, one in enumerate(reversed(textbook(KEY, radix, tweak, digits))))
        for digits in numbers
    ]
    ff1 = Ff1(Prf(KEY), radix, length, tweak)
    assert ff1.permute(values) == expected
    if ff1.is_small:
        assert ff1.permute_array(np.array(values, dtype=np.uint64)).tolist() == expected


# ------------------------------------------------------------------------------------------------------ patterns

PATTERNS = ["AA-9999-9", "999", "[A-F0-9]{8}", "a{3}\\A9[xyz]{2}", "ü[0-9a-z]{20}", "Aa9-{3}9"]
REGEXES = [r"[A-Z]{2}-[0-9]{4}-[0-9]", r"[0-9]{3}", r"[A-F0-9]{8}", r"[a-z]{3}A[0-9][xyz]{2}", r"ü[0-9a-z]{20}",
           r"[A-Z][a-z][0-9]---[0-9]"]  # fmt: skip


PAIRS = list(zip(PATTERNS, REGEXES, strict=True))


@pytest.mark.parametrize(("pattern", "regex"), PAIRS)
@pytest.mark.parametrize("base_type", ["text", "citext"])
@given(data=st.data())
@MANY_RUNS
def test_a_value_depends_on_itself_only(pattern: str, regex: str, base_type: str, data: st.DataObject) -> None:
    """It masks alike alone, in a batch, in any order, whether it is of the pattern or not."""
    written = st.from_regex(rf"\A{regex}\Z").map(str.encode)
    values = data.draw(st.lists(written | st.sampled_from(AWKWARD_TEXTS), max_size=8))
    assert_function_of_the_value(mask_of("id.pattern", column_of(base_type), pattern=pattern), values)


@pytest.mark.parametrize(("pattern", "regex"), PAIRS)
@given(data=st.data())
@MANY_RUNS
def test_the_pattern_stays_and_nothing_else_gets_it(pattern: str, regex: str, data: st.DataObject) -> None:
    """What matches a regular expression that says the same goes on to match it, and no other value does."""
    value = data.draw(st.from_regex(rf"\A{regex}\Z") | st.from_regex(r"\A[A-Za-z0-9ü-]{0,9}\Z"))
    (out,) = masked(mask_of("id.pattern", pattern=pattern), [value.encode()])
    assert (re.fullmatch(regex, value) is None) == (re.fullmatch(regex, (out or b"").decode()) is None)


def test_values_do_not_meet() -> None:
    """All of a small pattern's values, the values beside it, and many of larger ones."""
    every = [
        b"%c%c-%03d" % (65 + one, 65 + two, n) for one in range(26) for two in range(26) for n in range(0, 1000, 4)
    ]
    out = masked(mask_of("id.pattern", pattern="AA-999"), [*every])
    assert_injective(every, out)
    beside = [b"%c%d" % (65 + n % 26, n // 26) for n in range(260)]
    out = masked(mask_of("id.pattern", pattern="[A-M]9"), [*beside])
    assert sorted(filter(None, out)) == sorted(beside)
    long = [b"%c%c-%019d" % (65 + n % 26, 65 + n // 26 % 26, n * 12345) for n in range(3000)]
    assert_injective(long, masked(mask_of("id.pattern", pattern="AA-9{19}"), [*long]))
    assert uniqueness_of("id.pattern", pattern="AA-999") is Uniqueness.INJECTIVE


def test_equal_radixes_are_ff1_of_that_radix() -> None:
    """A pattern of ten digits is FF1 with radix 10 under the domain's key, as anyone can check."""
    mask = mask_of("id.pattern", pattern="9{3}-9{7}")
    (out,) = masked(mask, [b"012-3456789"])
    (number,) = Ff1(KeyRing(bytes(32), "test").prf("domain"), 10, 10).permute([123456789])
    digits = b"%010d" % number
    assert out == digits[:3] + b"-" + digits[3:]


def test_case_plays_no_part_in_citext() -> None:
    """What citext holds equal stays equal, also where it is not of the pattern."""
    mask = mask_of("id.pattern", column_of("citext"), pattern="AÜ-99999")
    out = masked(mask, [b"k\xc3\xbc-12345", b"K\xc3\x9c-12345", b"Other 1", b"oTHER 1"])
    assert out[0] == out[1]
    assert (out[2] or b"").lower() == (out[3] or b"").lower()


def test_a_backslash_makes_a_letter_itself() -> None:
    """And lists may hold brackets."""
    assert parse_pattern(r"\A9\9") == ["A", "0123456789", "9"]
    assert parse_pattern(r"[\]a-c\-]{2}") == ["]abc-"] * 2
    assert parse_pattern("x.{2}") == ["x", ".", "."]


@pytest.mark.parametrize("pattern", ["", "BCD-9x", "9", "x-y", "[9-0]9999", "[a", "9{", "9999]", "[ä]99999", "\\"])
def test_patterns_that_make_no_sense_are_refused(pattern: str) -> None:
    """Also those that have hardly any values."""
    with pytest.raises(ValidationError):
        mask_kind("id.pattern").params.model_validate({"pattern": pattern})


def test_a_pattern_fits_the_column() -> None:
    """Or no value would ever be of it."""
    with pytest.raises(BadInput):
        mask_of("id.pattern", column_of("varchar", max_length=5), pattern="999999")
