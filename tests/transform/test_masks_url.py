"""Web addresses."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

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

from capture.model import BadInput
from transform.masks.base import Uniqueness

TAG = "[0-9a-hjkmnp-tv-z]{13}"
SCHEMES = ("https", "http", "ftp", "ftps", "sftp", "ws", "wss", "s3")
urls = st.from_regex(
    r"\A(https?://|FTP://|wss://|s3://|app://|//|)[a-z@:.]{0,12}([/?#][a-zA-Z0-9é/?&=#%._-]{0,20})?\Z"
).map(str.encode)
anything = st.sampled_from([*AWKWARD_TEXTS, b"://", b"a://b://c/d", b"https://", b"x/y"]) | st.text(max_size=20).map(
    str.encode
)


def text(name: str, value: str, **params: object) -> str:
    (out,) = masked(mask_of(name, **params), [value.encode()])
    assert out is not None
    return out.decode()


@pytest.mark.parametrize("preserve_format", [False, True])
@pytest.mark.parametrize("length", [None, 5, 40])
@MANY_RUNS
@given(values=st.lists(urls | anything, max_size=12))
def test_addresses_depend_on_the_value_only(
    preserve_format: bool, length: int | None, values: list[bytes | None]
) -> None:
    """An address masks alike alone, in a batch, in any order, and fits."""
    column = column_of("varchar", max_length=length) if length else column_of("citext")
    out = assert_function_of_the_value(mask_of("url", column, preserve_format=preserve_format), values)
    assert length is None or all(len((value or b"").decode()) <= length for value in out)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_stays(scheme: str) -> None:
    """In whatever case it was written; one that is not known is not shown."""
    assert re.fullmatch(rf"{scheme}://example\.com/{TAG}", text("url", f"{scheme}://anna@navy.mil:80/people?id=7"))
    assert text("url", f"{scheme.upper()}://navy.mil").startswith(f"{scheme}://")
    assert re.fullmatch(rf"https://example\.com/{TAG}", text("url", "annakeller://people"))
    assert re.fullmatch(rf"example\.com/{TAG}", text("url", "www.navy.mil/people"))


@given(urls)
def test_the_path_keeps_its_form(value: bytes) -> None:
    """Punctuation stays, digits and letters change, and the host is a tag of the reserved domain."""
    before, after = urlsplit(value.decode()), urlsplit(text("url", value.decode(), preserve_format=True))
    if not value or before.scheme not in SCHEMES or not value.startswith((b"http", b"wss", b"s3")):
        return
    assert after.scheme == before.scheme
    assert re.fullmatch(rf"{TAG}\.example\.com", after.netloc)

    def form(path: str) -> str:
        return re.sub("[^\x00-\x7f]", "é", re.sub("[A-Z]", "A", re.sub("[a-z]", "a", re.sub("[0-9]", "9", path))))

    for part in ("path", "query", "fragment"):
        assert form(getattr(after, part)) == form(getattr(before, part))


@pytest.mark.parametrize("preserve_format", [False, True])
def test_addresses_do_not_meet(preserve_format: bool) -> None:
    """Those that differ in host alone have other tags, too."""
    values = [b"https://host%d.example.net/same" % n for n in range(200_000)]
    assert_injective(values, masked(mask_of("url", preserve_format=preserve_format), [*values]))
    assert uniqueness_of("url", preserve_format=preserve_format) is Uniqueness.TAGGED


def test_where_room_is_short_the_tag_stays() -> None:
    """The scheme goes, then the domain; a unique column that holds no tag is refused."""
    for length, form in ((33, rf"https://example\.com/{TAG}"), (32, rf"example\.com/{TAG}"), (24, TAG), (13, TAG)):
        column = column_of("varchar", max_length=length)
        (out,) = masked(mask_of("url", column, unique=True), [b"https://navy.mil/"])
        assert re.fullmatch(form, (out or b"").decode())
    short = column_of("varchar", max_length=12)
    assert uniqueness_of("url", short) is Uniqueness.LOSSY
    with pytest.raises(BadInput, match="13 characters"):
        mask_of("url", short, unique=True)


def test_bytes_without_an_encoding_are_counted_as_bytes() -> None:
    """They need not be UTF-8, and are cut where the column ends."""
    mask = mask_of("url", column_of("varchar", max_length=40), encoding="SQL_ASCII", preserve_format=True)
    (out,) = masked(mask, [b"https://navy.mil/\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9"])
    assert out is not None
    assert len(out) == 40


def test_another_key_gives_other_addresses() -> None:
    """Two keys share no tag."""
    values: list[bytes | None] = [b"https://x/%d" % n for n in range(100)]
    assert not set(masked(mask_of("url"), values)) & set(masked(mask_of("url", key=bytes([1] * 32)), values))
