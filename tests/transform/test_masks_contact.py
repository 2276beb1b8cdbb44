"""Mail addresses and telephone numbers."""

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
from pydantic import ValidationError

from capture.model import BadInput
from transform.masks.base import Uniqueness

ADDRESS = re.compile(rb"([a-z]+\.){0,2}[0-9a-hjkmnp-tv-z]{13}@example\.(com|net|org)")

emails = st.emails().map(str.encode)
phones = st.from_regex(r"\A(\+[1-9])?[0-9 ()./-]{0,18}( ext [0-9]{2})?\Z").map(str.encode)
anything = st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=30).map(str.encode)

# ------------------------------------------------------------------------------------------------------- email


@pytest.mark.parametrize("preserve_format", [False, True])
@MANY_RUNS
@given(st.lists(emails | anything, max_size=12), st.sampled_from(["text", "citext"]))
def test_emails_depend_on_the_value_only(preserve_format: bool, values: list[bytes | None], base_type: str) -> None:
    """An address masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("email", column_of(base_type), preserve_format=preserve_format), values)


@given(emails)
def test_emails_are_addresses_at_a_reserved_domain(value: bytes) -> None:
    """A masked address reads like one and reaches no one."""
    (out,) = masked(mask_of("email"), [value])
    assert out is not None
    assert ADDRESS.fullmatch(out)
    assert out.count(b".") == 3


def test_emails_do_not_meet() -> None:
    """200,000 addresses have 200,000 masks, and their tags alone tell them apart."""
    values = [b"guest%d@example.com" % n for n in range(200_000)]
    out = masked(mask_of("email"), [*values])
    assert_injective(values, out)
    assert len({(value or b"").partition(b"@")[0].rpartition(b".")[2] for value in out}) == len(values)
    assert uniqueness_of("email") is Uniqueness.TAGGED


@given(emails)
def test_emails_keep_their_form_where_asked(value: bytes) -> None:
    """Each letter is one of its case, each digit a digit, and the rest stays; no one has the domain that follows."""
    (out,) = masked(mask_of("email", preserve_format=True), [value])
    assert out is not None
    if re.search(rb"['\"\[]", value):  # quoted, or an address of numbers
        assert ADDRESS.fullmatch(out)
    else:
        kinds = [re.sub(rb"[0-9]", b"0", re.sub(rb"[A-Z]", b"A", re.sub(rb"[a-z]", b"a", one))) for one in (value, out)]
        assert kinds[1] == kinds[0] + b".aaaa"
        assert out.endswith(b".test")


def test_emails_of_one_form_do_not_meet() -> None:
    """Permuted, in whatever part they differ; also those that stand at a domain of the rules."""
    values = [
        b"guest%d@%s%s" % (n, at, last) for n in range(30_000) for at in (b"inn", b"pub") for last in (b".de", b".fr")
    ]
    values += [b"no address %d" % n for n in range(1_000)]
    for params in ({}, {"domain": "example.com"}):
        assert_injective(values, masked(mask_of("email", preserve_format=True, **params), [*values]))
    assert uniqueness_of("email", preserve_format=True) is Uniqueness.INJECTIVE


def test_emails_without_room_for_more_are_made_of_a_tag() -> None:
    """A column's length holds, and what is no address gets one."""
    column = column_of("varchar", max_length=32)
    values: list[bytes | None] = [b"a@b.de", b"x" * 26 + b"@b.de", b"n/a", "jörg@bücher.example".encode(), b"", None]
    short, long, word, beyond, empty, null = masked(mask_of("email", column, preserve_format=True), values)
    assert short is not None
    assert re.fullmatch(rb"[a-z]@[a-z]\.[a-z]{2}\.test", short)
    assert all(ADDRESS.fullmatch(each or b"") and len(each or b"") <= 32 for each in (long, word))
    assert re.fullmatch(r"\w{4}@\w{6}\.\w{7}\.test", (beyond or b"").decode())
    assert (empty, null) == (b"", None)


@pytest.mark.parametrize("preserve_format", [False, True])
def test_case_tells_text_apart_but_not_citext(preserve_format: bool) -> None:
    """Addresses that differ in case only are equal where the database holds them equal."""
    values: list[bytes | None] = [b"Anna@Example.com", b"anna@example.com"]
    assert len(set(masked(mask_of("email", preserve_format=preserve_format), values))) == 2
    folded = masked(mask_of("email", column_of("citext"), preserve_format=preserve_format), values)
    assert len({(value or b"").lower() for value in folded}) == 1


@given(st.integers(25, 60), st.booleans())
def test_emails_fit_with_their_tag(length: int, unique: bool) -> None:
    """Where room is short, words go and the tag stays."""
    column = column_of("varchar", max_length=length)
    for value in masked(mask_of("email", column, unique=unique), [b"guest%d@example.com" % n for n in range(40)]):
        assert value is not None
        assert len(value) <= length
        assert ADDRESS.fullmatch(value)
    assert uniqueness_of("email", column) is Uniqueness.TAGGED


def test_a_unique_column_without_room_for_a_tag_is_refused() -> None:
    """The tag is never cut where two addresses must not meet; elsewhere it may be."""
    column = column_of("varchar", max_length=24)
    with pytest.raises(BadInput, match="25 characters"):
        mask_of("email", column, unique=True)
    (out,) = masked(mask_of("email", column), [b"anna@example.com"])
    assert out is not None
    assert len(out) == 24
    assert out.endswith((b"@example.com", b"@example.net", b"@example.org"))
    assert uniqueness_of("email", column) is Uniqueness.LOSSY
    with pytest.raises(BadInput, match="13 characters"):
        mask_of("email", column_of("varchar", max_length=12))


@pytest.mark.parametrize("domain", ["example.org", "Staging.Example", "a.test", "mail.hotel.invalid"])
def test_a_reserved_domain_can_be_named(domain: str) -> None:
    """Every address ends in the domain that the rules name."""
    for value in masked(mask_of("email", domain=domain), [b"a", b"b", b"c"]):
        assert value is not None
        assert value.endswith(b"@" + domain.lower().encode())


@pytest.mark.parametrize("domain", ["gmail.com", "example.com.evil.com", "test", ".test", "a b.test", "a.test\n", ""])
def test_a_domain_that_may_reach_someone_is_refused(domain: str) -> None:
    """Only domains that no one can own are taken."""
    with pytest.raises(ValidationError, match="reserved"):
        mask_of("email", domain=domain)


# ------------------------------------------------------------------------------------------------------- phone


@pytest.mark.parametrize("preserve_format", [False, True])
@MANY_RUNS
@given(values=st.lists(phones | anything, max_size=12))
def test_phones_depend_on_the_value_only(preserve_format: bool, values: list[bytes | None]) -> None:
    """A number masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("phone", preserve_format=preserve_format), values)


def test_phones_are_fictional() -> None:
    """Without a form to keep, a number is one that is set apart for fiction."""
    out = masked(mask_of("phone"), [b"%d" % n for n in range(3000)])
    assert all(value is not None and re.fullmatch(rb"\+1[2-9][0-8][0-9]55501[0-9]{2}", value) for value in out)
    assert len(set(out)) > 2500
    assert uniqueness_of("phone") is Uniqueness.LOSSY


# The ranges as their authorities list them, in national form: Ofcom, Arcep, Bundesnetzagentur.
FICTION = {
    "en_GB": ("44", """0113 4960 0114 4960 0115 4960 0116 4960 0117 4960 0118 4960 0121 4960 0131 4960 0141 4960
        0151 4960 0161 4960 0191 4980 020 79460 028 96496 029 20180 01632 960 07700 900""", 3),
    "fr_FR": ("33", "01 9900 02 6191 03 5301 04 6571 05 3649 06 3998", 4),
    "de_DE": ("49", "030 23125 069 90009 040 66969 0221 4710 089 99998", 3),
}  # fmt: skip


@pytest.mark.parametrize("locale", FICTION)
def test_phones_are_of_the_ranges_for_fiction(locale: str) -> None:
    """Each country's authority sets some apart, and all of them are used."""
    code, ranges, digits = FICTION[locale]
    parts = ranges.split()
    starts = {f"+{code}{area[1:]}{rest}" for area, rest in zip(parts[::2], parts[1::2], strict=True)}
    out = [
        (value or b"").decode() for value in masked(mask_of("phone", locale=locale), [b"%d" % n for n in range(3000)])
    ]
    assert {number[:-digits] for number in out} == starts
    assert all(re.fullmatch(r"\+\d{10,12}", number) for number in out)
    assert len(set(out)) > 2000


@pytest.mark.parametrize(("locale", "form"), [("es_ES", r"\+342\d{8}"), ("pt_BR", r"\+55[1-9]\d0\d{7}"),
                                              ("ja_JP", r"\+81[789]00\d{7}")])  # fmt: skip
def test_phones_where_nothing_is_set_apart_are_no_ones(locale: str, form: str) -> None:
    """Their form is given to nobody: no Spanish number starts with 2, no subscriber's of Brazil or of a mobile network
    of Japan with 0."""
    out = masked(mask_of("phone", locale=locale), [b"%d" % n for n in range(3000)])
    assert all(value is not None and re.fullmatch(form, value.decode()) for value in out)
    assert len(set(out)) > 2990


@pytest.mark.parametrize("locale", ["en_US", "ja_JP", ["de_DE", "es_ES"]])
@MANY_RUNS
@given(values=st.lists(phones | anything, max_size=12))
def test_phones_of_any_locale_depend_on_the_value_only(locale: object, values: list[bytes | None]) -> None:
    """A number masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of("phone", locale=locale), values)
    assert_function_of_the_value(mask_of("email", locale=locale), values)


@given(st.integers(1, 14), st.sampled_from([["en_US"], ["de_DE", "es_ES"]]))
def test_fictional_phones_of_any_locale_fit(length: int, locale: list[str]) -> None:
    """A short column gets the last digits."""
    values: list[bytes | None] = [b"%d" % n for n in range(20)]
    whole = masked(mask_of("phone", locale=locale), values)
    out = masked(mask_of("phone", column_of("varchar", max_length=length), locale=locale), values)
    assert out == [(number or b"")[-length:] for number in whole]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("+49 (30) 901-820", "+49 ("),
        ("+1 212 555 0100", "+1 "),
        ("+7 495 123-45-67", "+7 "),
        ("+353 1 234 5678", "+353 "),
        ("+44 020 7946 0958", "+44 0"),
        ("(+351) 912 345 678", "(+351) "),
        ("030 901820", "0"),
        ("901820", ""),
    ],
)
def test_the_country_code_and_the_form_are_kept(value: str, kept: str) -> None:
    """Plus sign, country code, trunk zero and punctuation stay; the other digits change."""
    (out,) = masked(mask_of("phone", preserve_format=True), [value.encode()])
    assert out is not None
    text = out.decode()
    assert text.startswith(kept)
    assert re.sub(r"\d", "9", text) == re.sub(r"\d", "9", value)
    assert text != value
    rest = text[len(kept) :]
    assert kept.endswith("0") or next(sign for sign in rest if sign.isdigit()) != "0"


@given(phones)
def test_the_form_of_any_phone_is_kept(value: bytes) -> None:
    """Digits stay where digits were, and all else but letters stays."""
    (out,) = masked(mask_of("phone", preserve_format=True), [value])
    assert out is not None
    assert re.sub(rb"[0-9]", b"9", re.sub(rb"[a-z]", b"a", out)) == re.sub(
        rb"[0-9]", b"9", re.sub(rb"[a-z]", b"a", value)
    )


@pytest.mark.parametrize("form", [b"+49 30 %06d", b"%06d", b"0%05d", b"+%06d", b"(%06d) x7"])
def test_phones_of_one_form_do_not_meet(form: bytes) -> None:
    """A form's numbers are permuted: country codes, trunk zeros and all."""
    values = [form % n for n in range(100_000)]
    out = masked(mask_of("phone", preserve_format=True), [*values])
    assert_injective(values, out)
    assert uniqueness_of("phone", preserve_format=True) is Uniqueness.INJECTIVE


@pytest.mark.parametrize("value", [b"+", b"+4", b"+49", b"+353", b"+35"])
def test_a_lone_country_code_stays(value: bytes) -> None:
    """There is nothing of a person in it."""
    assert masked(mask_of("phone", preserve_format=True), [value]) == [value]
