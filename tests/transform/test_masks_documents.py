"""Documents are masked by path, and what no path names is scrambled."""

from __future__ import annotations

import json
import re
from typing import Any

import psycopg
import pytest
from fix_masks import MANY_RUNS, assert_function_of_the_value, column_of, mask_of
from fix_masks import masked as masked_values
from hypothesis import given
from hypothesis import strategies as st

from capture.model import BadInput
from tests.fix_postgres import Server
from transform.cmac import Prf
from transform.masks.base import Build, Mask, mask_kind
from transform.masks.documents import parse_path

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NUMBERS = st.integers(-(10**20), 10**20) | st.decimals(-1000, 1000, places=3).map(float)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.sampled_from("ab"), inner, max_size=4),
    max_leaves=12,
)
PATHS = {"$.a": "keep", "$.b": "text.lorem", "$.a.b": "redact", "$.list[*].a": {"mask": "constant", "value": "c"}}


def documents(paths: dict[str, Any] | None = None, key: bytes = bytes(32)) -> Mask:
    """The mask json as the plan would build it."""

    def nested(rule: str | dict[str, Any], path: str) -> Mask:
        name, params = (
            (rule, {}) if isinstance(rule, str) else (rule["mask"], {k: v for k, v in rule.items() if k != "mask"})
        )
        return mask_of(name, **params)

    kind = mask_kind("json")
    mask = kind.build(
        kind.params.model_validate({"paths": paths or {}}), Build(Prf(key), column_of("jsonb"), nested=nested)
    )
    assert isinstance(mask, Mask)
    return mask


def masked(paths: dict[str, Any] | None, document: str) -> str:
    (out,) = masked_values(documents(paths), [document.encode()])
    assert out is not None
    return out.decode()


@given(st.lists(st.none() | DOCUMENTS.map(lambda one: json.dumps(one, ensure_ascii=False).encode()), max_size=6))
@MANY_RUNS
def test_a_document_depends_on_the_value_only(values: list[bytes | None]) -> None:
    """A document masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(documents(PATHS), values)


def skeleton(document: Any) -> Any:
    """What scrambling keeps: the structure, keys, types, lengths and classes of characters."""
    match document:
        case dict():
            return {key: skeleton(value) for key, value in document.items()}
        case list():
            return [skeleton(value) for value in document]
        case bool() | None:
            return type(document)
        case str():
            return re.sub(
                "[a-z]", "a", re.sub("[A-Z]", "A", re.sub("[0-9]", "0", re.sub("[^\x00-\x7f]", "ä", document)))
            )
        case _:
            return re.sub("[0-9]", "0", document.text)


class Number:
    """A number as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text


@given(DOCUMENTS)
@MANY_RUNS
def test_scrambling_keeps_the_form(document: Any) -> None:
    """Structure, keys, null, lengths and kinds of characters stay; the output is a document."""
    text = json.dumps(document, ensure_ascii=False)
    before, after = (
        json.loads(one, parse_int=Number, parse_float=Number, strict=False) for one in (text, masked(None, text))
    )
    assert skeleton(before) == skeleton(after)


def test_scrambling_leaves_nothing_readable() -> None:
    """Strings and numbers change, alike for equal leaves, and otherwise under another key."""
    document = (
        '{"name": "Grace Hopper", "born": "1906-12-09", "again": ["Grace Hopper"], "pay": 123456.78, "n": -40921}'
    )
    out = json.loads(masked(None, document))
    assert out["name"] == out["again"][0] != "Grace Hopper"
    assert out["born"] != "1906-12-09"
    assert out["pay"] != 123456.78
    assert out["n"] != -40921
    other = masked_values(documents(key=bytes([1] * 32)), [document.encode()])
    assert other != [masked(None, document).encode()]


def test_booleans_are_drawn_by_the_whole_document() -> None:
    """Two values have nothing to hide behind but the rest of the document."""
    flags = [masked(None, json.dumps({"n": number, "flag": number % 2 == 0})) for number in range(200)]
    drawn = [json.loads(flag)["flag"] for flag in flags]
    agreeing = sum(one == (number % 2 == 0) for number, one in enumerate(drawn))
    assert 60 < agreeing < 140
    many = json.loads(masked(None, json.dumps([True] * 300)))
    assert 60 < sum(many) < 240


@pytest.mark.parametrize(
    ("paths", "document", "out"),
    [
        ({"$": "keep"}, '{"a": [1, "x", {"b": true}]}', '{"a": [1, "x", {"b": true}]}'),
        ({"$": "keep"}, '"secret"', '"secret"'),
        ({"$.a": "keep"}, '{"a": {"deep": [1.50, "\\n"]}}', '{"a": {"deep": [1.50, "\\n"]}}'),
        ({"$": "keep", "$.a.b": "redact"}, '{"a": {"b": "x", "c": "y"}}', '{"a": {"b": "[redacted]", "c": "y"}}'),
        ({"$.a": "redact", "$.a.b": "keep"}, '{"a": {"b": "x", "c": ["y"]}}', '{"a": {"b": "x", "c": ["[redacted]"]}}'),
        ({"$.a[*].b": "redact"}, '{"a": [{"b": "x"}, {"b": null}, 7]}', '{"a": [{"b": "[redacted]"}, {"b": null}, 9]}'),
        ({'$["odd key"]["\\""]': "redact"}, '{"odd key": {"\\"": "x"}}', '{"odd key": {"\\"": "[redacted]"}}'),
        ({"$.ä": "redact"}, '{"\\u00e4": "x"}', '{"\\u00e4": "[redacted]"}'),
        ({"$.a": None}, '{"a": "x"}', '{"a": null}'),
        ({"$.a": {"mask": "constant", "value": 5}}, '{"a": 77}', '{"a": 5}'),
        ({"$.a": {"mask": "constant", "value": 5}}, '{"a": "77"}', '{"a": "5"}'),
        ({"$.a": {"mask": "constant", "value": "x\n"}}, '{"a": 77}', '{"a": "x\\n"}'),
        ({"$.a": {"mask": "constant", "value": True}}, '{"a": false}', '{"a": true}'),
        ({"$.a": "redact"}, '{"a": "x", "a": "y"}', '{"a": "[redacted]", "a": "[redacted]"}'),
        ({"$.a": "redact"}, ' {\n"a":"x" } ', ' {\n"a":"[redacted]" } '),
    ],
)
def test_paths(paths: dict[str, Any], document: str, out: str) -> None:
    """A path's mask holds for all leaves below it that no longer path names."""
    result = masked(paths, document)
    assert re.sub("[0-9]", "9", result) == re.sub("[0-9]", "9", out)


def test_depth_has_no_limit() -> None:
    """A document may be nested more deeply than a recursive parser could follow."""
    deep = '{"a": [' * 20_000 + '"secret"' + "]}" * 20_000
    out = masked({"$.b": "keep"}, deep)
    assert len(out) == len(deep)
    assert "secret" not in out


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$", []),
        ("$.a.b", ["a", "b"]),
        ("$.a[*].b", ["a", None, "b"]),
        ('$["odd key"]', ["odd key"]),
        ("$['x'][*][*]", ["x", None, None]),
    ],
)
def test_paths_are_read(path: str, steps: list[str | None]) -> None:
    """A step is a key, a quoted key, or all elements."""
    assert parse_path(path) == steps


@pytest.mark.parametrize("path", ["", "a.b", "$.", "$a", "$.a[0]", "$..a", "$.*", '$["a', "$.a b"])
def test_other_paths_are_refused(path: str) -> None:
    """Paths that are not understood are never ignored."""
    with pytest.raises(BadInput) as caught:
        documents({path: "keep"})
    assert repr(path) in str(caught.value)


def test_one_place_has_one_rule() -> None:
    """Two spellings of one path are a mistake."""
    with pytest.raises(BadInput, match="given twice"):
        documents({"$.a": "keep", '$["a"]': "redact"})


def test_a_mistake_below_names_the_path() -> None:
    """The nested rule's own message follows."""
    with pytest.raises(BadInput, match=r"at the path '\$\.a': there is no mask"):
        documents({"$.a": "nonsense"})


@pytest.mark.integration
def test_the_server_prints_what_the_mask_gives(server18: Server) -> None:
    """Masked jsonb, cast to jsonb and back, is the same text."""

    @given(DOCUMENTS)
    @MANY_RUNS
    def check(document: Any) -> None:
        (text,) = connection.execute("SELECT %s::jsonb::text", [json.dumps(document)]).fetchone() or ("",)
        for paths in (None, PATHS, {"$": {"mask": "constant", "value": "-0"}}):
            out = masked(paths, text)
            assert connection.execute("SELECT %s::jsonb::text", [out]).fetchone() == (out,)

    with psycopg.connect(server18.url()) as connection:
        check()
