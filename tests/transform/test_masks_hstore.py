"""hstore is masked by key, and written as PostgreSQL writes it."""

from __future__ import annotations

from typing import Any

import pytest
from fix_masks import MANY_RUNS, column_of, mask_of, masked
from hypothesis import given
from hypothesis import strategies as st

from capture.model import BadInput, ServerFailed
from transform import hstoretext
from transform.cmac import Prf
from transform.masks.base import Build, Mask, mask_kind

TEXTS = st.text(st.sampled_from('ab"\\, =>NUL\tä😀') | st.characters(exclude_categories=["Cs"]), max_size=6)
PAIRS = st.dictionaries(TEXTS, st.none() | TEXTS, max_size=5)


def printed(pairs: dict[str, str | None]) -> bytes:
    """hstore_out, from its documentation: quotes around keys and values, a backslash before quotes and backslashes."""

    def quoted(text: str) -> str:
        return '"' + "".join("\\" + one if one in '"\\' else one for one in text) + '"'

    ordered = sorted(pairs.items(), key=lambda pair: (len(pair[0].encode()), pair[0].encode()))
    return ", ".join(f"{quoted(key)}=>{'NULL' if text is None else quoted(text)}" for key, text in ordered).encode()


def read(value: bytes) -> dict[str, str | None]:
    """A reader of that, character by character."""
    characters = iter(value.decode())
    found: dict[str, str | None] = {}

    def quoted() -> str:
        text = ""
        for one in characters:
            if one == '"':
                return text
            text += next(characters) if one == "\\" else one
        raise AssertionError("a quote is not closed")

    for begin in characters:
        if begin == '"':
            key = quoted()
            assert (next(characters), next(characters)) == ("=", ">")
            is_null = next(characters) == "N"
            found[key] = None if is_null else quoted()
            assert not is_null or "".join(next(characters) for _ in range(3)) == "ULL"
        else:
            assert begin in ", "
    return found


def hstore(keys: dict[str, Any] | None = None, **params: Any) -> Mask:
    """The mask as the plan would build it."""

    def nested(rule: str | dict[str, Any], place: str) -> Mask:
        return mask_of(rule) if isinstance(rule, str) else mask_of(rule["mask"], value=rule["value"])

    kind = mask_kind("hstore")
    build = Build(Prf(bytes(32)), column_of("hstore"), nested=nested)
    mask = kind.build(kind.params.model_validate({"keys": keys or {}, **params}), build)
    assert isinstance(mask, Mask)
    return mask


@given(PAIRS)
def test_hstore_is_read_and_written(pairs: dict[str, str | None]) -> None:
    """The pairs are those of an independent reader, and the text comes back."""
    text = printed(pairs)
    assert {key.decode(): None if value is None else value.decode() for key, value in hstoretext.parse(text)} == pairs
    assert read(text) == pairs
    assert hstoretext.write(hstoretext.parse(text)) == text


@pytest.mark.parametrize("text", [b"x", b'"a"', b'"a"=>', b'"a"=>"b"c', b'"a"=>"b", ', b'"a"=>null', b'"a"=>"b'])
def test_what_is_no_hstore_is_refused(text: bytes) -> None:
    """Without a word of it."""
    with pytest.raises(ServerFailed) as caught:
        masked(hstore(), [text])
    assert caught.value.message == "a value of an hstore column is not the text of an hstore."


@given(PAIRS)
@MANY_RUNS
def test_values_are_masked_by_their_keys(pairs: dict[str, str | None]) -> None:
    """Named values get their masks, others are kept where that is asked; keys and NULL stay, and the text is what
    PostgreSQL prints."""
    before = {"k": "kept", "a": 'x"y', "mail": "grace@navy.mil", **pairs}
    mask = hstore({"k": "keep", "a": {"mask": "constant", "value": 'c"\\'}, "mail": "email"}, unnamed="keep")
    (out,) = masked(mask, [printed(before)])
    expected = dict(before)
    if before["a"] is not None:
        expected["a"] = 'c"\\'
    if before["mail"] is not None:
        expected["mail"] = (masked(mask_of("email"), [before["mail"].encode()])[0] or b"").decode()
    assert out == printed(expected)


@given(st.lists(st.none() | PAIRS.map(printed), max_size=5))
@MANY_RUNS
def test_an_hstore_depends_on_the_value_only(values: list[bytes | None]) -> None:
    """It masks alike alone, in a batch, in any order; what scrambling gives is an hstore of the same keys."""
    mask = hstore({"a": "email"})
    out = [mask_ for mask_ in (masked(mask, [value])[0] for value in values) if mask_ is not None]
    assert masked(mask, values[::-1])[::-1] == masked(mask, values)
    assert [list(read(text)) for text in out] == [list(read(value)) for value in values if value is not None]
    assert [printed(read(text)) for text in out] == out


def test_other_values_are_scrambled() -> None:
    """They keep their form and nothing else; or they become what the rules say."""
    value = printed({"n": "Grace Hopper", "born": "1906-12-09", "gone": None})
    (out,) = masked(hstore(), [value])
    after = read(out or b"")
    assert [len(text or "") for text in after.values()] == [12, 10, 0]
    assert not any(word in (out or b"") for word in (b"Grace", b"Hopper", b"1906"))
    assert read(masked(hstore(unnamed="redact"), [value])[0] or b"")["n"] == "[redacted]"
    assert set(read(masked(hstore(unnamed=None), [value])[0] or b"").values()) == {None}


def test_a_mistake_names_the_key() -> None:
    """The nested rule's own message follows."""
    with pytest.raises(BadInput, match="at the key 'a': there is no mask"):
        hstore({"a": "nonsense"})


@given(st.lists(st.none() | PAIRS, max_size=4))
@MANY_RUNS
def test_keys_that_are_data_are_masked(values: list[dict[str, str | None] | None]) -> None:
    """Each alike wherever it stands, in the order that PostgreSQL gives them; those that the rules name stay."""
    mask = hstore({"a": "keep", "b": "email"}, key_mask="email", unnamed="keep")
    out = masked(mask, [None if pairs is None else printed(pairs) for pairs in values])
    for pairs, after in zip(values, out, strict=True):
        assert (pairs is None) == (after is None)
        for key, text in (pairs or {}).items():
            (new,) = masked(mask_of("email"), [key.encode()])
            if key not in ("a", "b"):
                assert read(after or b"")[(new or b"").decode()] == text
        if after is not None:
            assert read(after).keys() >= {"a", "b"} & (pairs or {}).keys()
            assert len(read(after)) == len(pairs or {})
            assert printed(read(after)) == after


def test_a_mask_that_might_lose_a_key_is_refused() -> None:
    """It would give two the same one."""
    with pytest.raises(BadInput, match="the mask redact may give two keys the same one"):
        hstore(key_mask="redact")
