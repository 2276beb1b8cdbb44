"""National identity numbers and number plates."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from itertools import product
from string import ascii_uppercase

import numpy as np
import pytest
from fix_masks import (
    AWKWARD_TEXTS,
    MANY_RUNS,
    assert_function_of_the_row,
    assert_function_of_the_value,
    assert_injective,
    column_of,
    mask_of,
    masked,
    row_mask_of,
    uniqueness_of,
)
from hypothesis import given
from hypothesis import strategies as st

from transform.masks.base import Uniqueness
from transform.masks.locales import LOCALES
from transform.masks.schemes import RepeatedDigit

# ---------------------------------------------------- what is valid, written by the authorities' own descriptions


def valid_ssn(text: str) -> bool:
    area, group, serial = text[:3], text[3:5], text[5:]
    return area not in {"000", "666"} and area[0] != "9" and group != "00" and serial != "0000"


def valid_nino(text: str) -> bool:
    return (
        re.fullmatch(r"[ABCEGHJ-PRSTW-Z][ABCEGHJ-NPRSTW-Z]\d{6}[A-D]?", text) is not None
        and text[:2] not in "BG GB KN NK NT TN ZZ".split()
    )


def valid_steuer_id(text: str) -> bool:
    counts = sorted(Counter(text[:10]).values(), reverse=True)
    if text[0] == "0" or counts[:2] not in ([2, 1], [3, 1]) or any(3 * digit in text[:10] for digit in "0123456789"):
        return False
    product = 10
    for digit in text[:10]:
        product = 2 * ((int(digit) + product) % 10 or 10) % 11
    return (11 - product) % 10 == int(text[10])


def valid_nir(text: str) -> bool:
    match = re.fullmatch(r"[12]\d\d(\d\d)(\d\d|2[AB])(\d{3})(\d{3})(\d\d)?", text)
    if match is None or not 1 <= int(match[1]) <= 12 or match[2] in {"00", "20"} or "000" in match.groups():
        return False
    if match[2].isdigit() and int(match[2]) > 95:
        return False
    number = int(text[:13].replace("2A", "19").replace("2B", "18"))
    return match[3] <= "990" and (match[5] is None or int(match[5]) == 97 - number % 97)


def valid_dni(text: str) -> bool:
    if not re.fullmatch(r"[XYZ\d]\d{7}[A-Z]", text):
        return False
    number = int({"X": "0", "Y": "1", "Z": "2"}.get(text[0], text[0]) + text[1:8])
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == text[8]


def valid_cpf(text: str) -> bool:
    digits = [int(digit) for digit in text]
    for count in (9, 10):
        total = sum(digit * weight for digit, weight in zip(digits, range(count + 1, 1, -1), strict=False))
        if digits[count] != total * 10 % 11 % 10:
            return False
    return True


def valid_cnpj(text: str) -> bool:
    digits = [int(digit) for digit in text]
    for count in (12, 13):
        weights = [2 + (count - 1 - place) % 8 for place in range(count)]
        rest = sum(digit * weight for digit, weight in zip(digits, weights, strict=False)) % 11
        if digits[count] != (0 if rest < 2 else 11 - rest):
            return False
    return True


def valid_my_number(text: str) -> bool:
    total = sum(int(text[10 - n]) * (n + 2 if n < 6 else n - 4) for n in range(11))
    return int(text[11]) == (0 if total % 11 < 2 else 11 - total % 11)


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


def completed(rng: random.Random, body: str, valid: Callable[[str], bool], signs: str, count: int) -> str:
    """The body with the check signs that make it valid, found by trying."""
    if not count:
        return body
    return next(body + check for check in map("".join, product(signs, repeat=count)) if valid(body + check))


def steuer_body(rng: random.Random) -> str:
    while True:
        chosen = rng.sample("0123456789", 10)
        chosen[rng.randrange(10)] = rng.choice(chosen)
        if rng.random() < 0.5:
            chosen[rng.randrange(10)] = Counter(chosen).most_common(1)[0][0]
        for check in "0123456789":
            if valid_steuer_id("".join(chosen) + check):
                return "".join(chosen)


def nir_body(rng: random.Random) -> str:
    place = rng.choice([*(f"{n:02d}" for n in range(1, 96) if n != 20), *["2A", "2B"] * 20])
    rest = f"{rng.randrange(1, 991):03d}{rng.randrange(1, 1000):03d}"
    return f"{rng.choice('12')}{digits(rng, 2)}{rng.randrange(1, 13):02d}{place}{rest}"


NUMBERS = "0123456789"
# Scheme: locale, whether a number (without what parts it) is valid, a body, its check signs, and how it is written.
SCHEMES: dict[str, tuple[str, Callable[[str], bool], Callable[[random.Random], str], str, int, str]] = {
    "ssn": ("en_US", valid_ssn,
            lambda r: f"{r.randrange(1, 666):03d}{r.randrange(1, 100):02d}{r.randrange(1, 9999):04d}",
            "", 0, "###-##-####"),
    "nino": ("en_GB", valid_nino, lambda r: f"{r.choice(['AB', 'WX', 'JK'])}{digits(r, 6)}{r.choice('ABCD')}",
             "", 0, "## ## ## ## #"),
    "nino8": ("en_GB", valid_nino, lambda r: f"{r.choice(['AB', 'WX', 'JK'])}{digits(r, 6)}", "", 0, "########"),
    "steuer-id": ("de_DE", valid_steuer_id, steuer_body, NUMBERS, 1, "## ### ### ###"),
    "nir": ("fr_FR", valid_nir, nir_body, NUMBERS, 2, "# ## ## ## ### ### ##"),
    "nir13": ("fr_FR", valid_nir, nir_body, "", 0, "#############"),
    "dni": ("es_ES", valid_dni, lambda r: digits(r, 8), "TRWAGMYFPDXBNJZSQVHLCKE", 1, "########-#"),
    "nie": ("es_ES", valid_dni, lambda r: r.choice("XYZ") + digits(r, 7), "TRWAGMYFPDXBNJZSQVHLCKE", 1, "#-#######-#"),
    "cpf": ("pt_BR", valid_cpf, lambda r: digits(r, 9), NUMBERS, 2, "###.###.###-##"),
    "cnpj": ("pt_BR", valid_cnpj, lambda r: digits(r, 12), NUMBERS, 2, "##.###.###/####-##"),
    "my number": ("ja_JP", valid_my_number, lambda r: digits(r, 11), NUMBERS, 1, "#### #### ####"),
}  # fmt: skip


def written(number: str, form: str) -> str:
    signs = iter(number)
    return "".join(next(signs) if sign == "#" else sign for sign in form)


def bare(text: str) -> str:
    return "".join(sign for sign in text if sign.isalnum())


def shape(text: str) -> str:
    return re.sub("[A-Z]", "A", re.sub("[a-z]", "a", re.sub("[0-9]", "9", text)))


def some(scheme: str, count: int) -> list[str]:
    """Valid numbers."""
    _, valid, body, signs, checks, form = SCHEMES[scheme]
    rng = random.Random(scheme)
    return [written(completed(rng, body(rng), valid, signs, checks), form) for _ in range(count)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_valid_numbers_stay_valid_and_keep_their_form(scheme: str) -> None:
    """Separators stay, check digits are right, and the numbers are others and differ."""
    locale, valid, *_ = SCHEMES[scheme]
    before = [number for number in some(scheme, 400) if valid(bare(number))]
    assert len(before) >= 200
    mask = mask_of("id.national", locale=locale)
    after = [(value or b"").decode() for value in masked(mask, [number.encode() for number in before])]
    assert all(valid(bare(number)) for number in after), scheme
    assert [shape(number) for number in after] == [shape(number) for number in before]
    assert sum(a == b for a, b in zip(before, after, strict=True)) < 3
    assert_injective([number.encode() for number in before], [number.encode() for number in after])
    lower = [(value or b"").decode() for value in masked(mask, [number.lower().encode() for number in before])]
    assert [number.upper() for number in lower] == after


@pytest.mark.parametrize("scheme", SCHEMES)
def test_invalid_numbers_stay_invalid_and_apart(scheme: str) -> None:
    """What a check digit was off by it is off by again; what no authority gives out is none that one does."""
    locale, valid, *_, form = SCHEMES[scheme]
    rng = random.Random(scheme)
    pattern = bare(some(scheme, 1)[0])
    noise = {
        written("".join(rng.choice(NUMBERS if sign.isdigit() else ascii_uppercase) for sign in pattern), form)
        for _ in range(3000)
    }  # fmt: skip
    values = sorted(noise | set(some(scheme, 500)))
    out = [(v or b"").decode() for v in masked(mask_of("id.national", locale=locale), [v.encode() for v in values])]
    assert len(set(out)) == len(values)
    for before, after in zip(values, out, strict=True):
        assert valid(bare(before)) == valid(bare(after)), (before, after)
        assert shape(before) == shape(after)


@pytest.mark.parametrize(
    ("locale", "form"),
    [("en_US", "1%02d-45-6%03d"), ("en_GB", "AB 12 %02d %03d C"), ("fr_FR", "1 85 12 7%02d 123 %03d 55"),
     ("es_ES", "%02d345%03dZ"), ("es_ES", "X%02d45%03dQ"), ("pt_BR", "%02d1.222.%03d-44"),
     ("pt_BR", "%02d.111.222/%03d1-77"), ("ja_JP", "%02d12 3456 7%03d")],
)  # fmt: skip
def test_numbers_do_not_meet(locale: str, form: str) -> None:
    """Of one form, right or wrong, all masks differ."""
    values = [(form % (n // 1000, n % 1000)).encode() for n in range(100_000)]
    assert_injective(values, masked(mask_of("id.national", locale=locale), [*values]))


def test_all_of_a_small_range_of_tax_numbers_stay_apart() -> None:
    """Among 100,000 in a row are well-formed ones and others, with check digits right and wrong."""
    values = [b"%011d" % n for n in range(23_456_700_000, 23_456_800_000)]
    out = masked(mask_of("id.national", locale="de_DE"), [*values])
    assert_injective(values, out)
    valid = [valid_steuer_id(value.decode()) for value in values]
    assert valid == [valid_steuer_id((value or b"").decode()) for value in out]


@given(st.lists(st.integers(0, 381_023_999), min_size=1, max_size=50))
def test_tax_numbers_are_counted_without_gaps(numbers: list[int]) -> None:
    """A number's rank is what it was written from; it is well formed but for a zero in front and three in a row."""
    scheme = RepeatedDigit()
    assert scheme.size == 381_024_000
    signs = np.zeros((11, len(numbers)), dtype=np.uint8) + ord("0")
    unfit = scheme.unrank(signs, np.array(numbers, dtype=np.int64))
    well = {column.tobytes().decode() for column in signs.T[scheme.well_formed(signs)]}
    assert (scheme.well_formed(signs) == ~unfit).all()
    for number, rank, column in zip(numbers, scheme.rank(signs).tolist(), signs.T, strict=True):
        text = column.tobytes().decode()[:10]
        sound = text[0] != "0" and not any(3 * digit in text for digit in NUMBERS)
        assert max(Counter(text).values()) in (2, 3)
        assert rank == number
        assert (text + "0" in well) == sound


texts = st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=20).map(str.encode)
numbers = st.from_regex(r"\A[0-9A-Zx]{0,3}[ .-]?[0-9]{3,12}[ /-]?[0-9]{0,2}[A-Za-z]?\Z").map(str.encode)


@pytest.mark.parametrize("locale", [*LOCALES, ["es_ES", "pt_BR", "de_DE"]])
@MANY_RUNS
@given(
    values=st.lists(
        texts | numbers | st.sampled_from([v.encode() for name in SCHEMES for v in some(name, 3)]), max_size=12
    )
)
def test_national_numbers_depend_on_the_value_only(locale: object, values: list[bytes | None]) -> None:
    """A number masks alike alone, in a batch, in any order, and keeps its form."""
    out = assert_function_of_the_value(mask_of("id.national", locale=locale), values)
    for before, after in zip(values, out, strict=True):
        assert len(before or b"") == len(after or b"")
        if before is not None and before.isascii():
            assert shape((after or b"").decode()) == shape(before.decode())


def test_other_text_is_permuted_by_class() -> None:
    """A passport number in a column of tax numbers does not pass."""
    values: list[bytes | None] = [b"C01X00T47", b"Steuer-ID 12345678911", b"12 345", b"", None]
    out = masked(mask_of("id.national", locale="de_DE"), values)
    assert [None if v is None else shape(v.decode()) for v in out] == [
        None if v is None else shape(v.decode()) for v in values
    ]
    assert all(a != b for a, b in zip(out[:3], values[:3], strict=True))


def test_the_first_locale_that_has_such_a_form_masks_it() -> None:
    """Eleven digits are a CPF where Brazil comes first."""
    cpf = [number.encode() for number in some("cpf", 50)]
    both = masked(mask_of("id.national", locale=["es_ES", "pt_BR", "de_DE"]), [*cpf])
    assert all(valid_cpf(bare((value or b"").decode())) for value in both)
    assert uniqueness_of("id.national", locale=["es_ES", "pt_BR"]) is Uniqueness.INJECTIVE


@MANY_RUNS
@given(st.lists(st.tuples(st.sampled_from([*AWKWARD_TEXTS, b"123-45-6789", b"12345678Z"]),
                          st.sampled_from([None, b"ES", b"us", b"?"])), max_size=10))  # fmt: skip
def test_a_column_says_whose_number_it_is(rows: list[tuple[bytes | None, bytes | None]]) -> None:
    """Each is masked as its country's."""
    mask = row_mask_of("id.national", rule={"locale": {"column": "country"}})
    values, countries = [value for value, _ in rows], [country for _, country in rows]
    out = assert_function_of_the_row(mask, values, {"country": countries})
    for value, country, after in zip(values, countries, out, strict=True):
        locale = "es_ES" if country == b"ES" else "en_US"
        assert masked(mask_of("id.national", locale=locale), [value]) == [after]
    assert uniqueness_of("id.national", locale={"column": "country"}) is Uniqueness.LOSSY


def test_another_key_gives_other_numbers() -> None:
    """Two keys agree no more often than chance."""
    values: list[bytes | None] = [number.encode() for number in some("dni", 200)]
    for name in ("id.national", "id.plate"):
        one, two = masked(mask_of(name), values), masked(mask_of(name, key=bytes([1] * 32)), values)
        assert sum(a == b for a, b in zip(one, two, strict=True)) < 3


# -------------------------------------------------------------------------------------------------------- plates


@MANY_RUNS
@given(st.lists(texts | st.from_regex(r"\A[A-ZÄÖÜ]{1,3}[- ][A-Z]{1,2} [1-9][0-9]{0,3}[EH]?\Z").map(str.encode)))
def test_plates_keep_their_form(values: list[bytes | None]) -> None:
    """Letters stay letters and digits digits; what parts them stays."""
    out = assert_function_of_the_value(mask_of("id.plate"), values)
    for before, after in zip(values, out, strict=True):
        if before is not None and before.isascii():
            assert shape((after or b"").decode()) == shape(before.decode())


def test_plates_do_not_meet() -> None:
    """All plates of a form are permuted, also those of Japan."""
    values = ["品川 300 あ %02d-%02d".encode() % (n // 100, n % 100) for n in range(10_000)]
    values += [b"B-AB %04d" % n for n in range(10_000)]
    assert_injective(values, masked(mask_of("id.plate", column_of("varchar", max_length=20)), [*values]))
    assert uniqueness_of("id.plate") is Uniqueness.INJECTIVE
