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

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NUMBERS = st.integers(-(10**20), 10**20) | st.decimals(-1000, 1000, places=3).map(float)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.sampled_from("ab"), inner, max_size=4),
    max_leaves=12,
)
PATHS = {"$.a": "keep", "$.b": "text.lorem", "$.a.b": "redact", "$.list[*].a": {"mask": "constant", "value": "c"}}


def documents(
    paths: dict[str, Any] | None = None, key: bytes = bytes(32), base_type: str = "jsonb", **params: Any
) -> Mask:
    """The mask json as the plan would build it."""

    def nested(rule: str | dict[str, Any], path: str) -> Mask:
        name, params = (
            (rule, {}) if isinstance(rule, str) else (rule["mask"], {k: v for k, v in rule.items() if k != "mask"})
        )
        return mask_of(name, **params)

    kind = mask_kind("json")
    mask = kind.build(
        kind.params.model_validate({"paths": paths or {}, **params}),
        Build(Prf(key), column_of(base_type), nested=nested),
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
        (
            {"$.*": "redact", "$.a": "keep"},
            '{"a": "x", "b": "y", "c": {"d": "z"}}',
            '{"a": "x", "b": "[redacted]", "c": {"d": "[redacted]"}}',
        ),
        (
            {"$..b": "redact", "$": "keep"},
            '{"a": [{"b": "x"}], "b": {"c": "y", "b": "z"}}',
            '{"a": [{"b": "[redacted]"}], "b": {"c": "[redacted]", "b": "[redacted]"}}',
        ),
        (
            {"$..*": "redact", "$.a..b": "keep"},
            '{"a": [{"b": "x", "c": "y"}]}',
            '{"a": [{"b": "x", "c": "[redacted]"}]}',
        ),
        (
            {"$..[*]": "redact", "$.a": "keep"},
            '{"a": ["x", {"b": "y"}], "b": [["z"]]}',
            '{"a": ["[redacted]", {"b": "[redacted]"}], "b": [["[redacted]"]]}',
        ),
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


def test_one_place_has_one_rule() -> None:
    """Two spellings of one path are a mistake."""
    with pytest.raises(BadInput, match="given twice"):
        documents({"$.a": "keep", '$["a"]': "redact"})


def test_a_mistake_below_names_the_path() -> None:
    """The nested rule's own message follows."""
    with pytest.raises(BadInput, match=r"at the path '\$\.a': there is no mask"):
        documents({"$.a": "nonsense"})


@pytest.mark.parametrize(
    ("unnamed", "out"),
    [
        ("keep", '{"a": "[redacted]", "b": [7, true, "x"], "c": null}'),
        ("redact", '{"a": "[redacted]", "b": ["[redacted]", "[redacted]", "[redacted]"], "c": null}'),
        ("null", '{"a": "[redacted]", "b": [null, null, null], "c": null}'),
        (None, '{"a": "[redacted]", "b": [null, null, null], "c": null}'),
    ],
)
def test_leaves_that_no_path_names(unnamed: str | None, out: str) -> None:
    """The rules say what becomes of them; without a word they are scrambled."""
    document = '{"a": "secret", "b": [7, true, "x"], "c": null}'
    assert masked_values(documents({"$.a": "redact"}, unnamed=unnamed), [document.encode()]) == [out.encode()]


WORDS = {"$..a": "x", "$.b": "y", "$.b.*": "z", "$[*][*]": "e", "$.list[*].a": "l"}


def expected(document: Any, way: str, word: str | None) -> Any:
    """What WORDS make of a part of a document, by recursion; ``way`` leads there, with its keys between slashes."""
    key = way.rpartition("/")[2]
    found = (
        "l" if re.fullmatch(r"/\.list/\[/\.a", way)
        else "z" if re.fullmatch(r"/\.b/\.[^/]*", way)
        else "y" if way == "/.b"
        else "e" if way == "/[/["
        else "x" if key == ".a"
        else word
    )  # fmt: skip
    match document:
        case Members():
            return [(name, expected(value, f"{way}/.{name}", found)) for name, value in document]
        case list():
            return [expected(value, f"{way}/[", found) for value in document]
        case None:
            return None
        case _:
            return document if found is None else found


class Members(list[tuple[str, Any]]):
    """An object as its members, of which two may have one key."""


KEYS = st.sampled_from(["a", "b", "list", "ä", 'q"\\', "\U0001f600"])
NAMED = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)


@given(NAMED, st.booleans(), st.sampled_from([None, 1]))
def test_every_leaf_gets_what_its_path_says(document: Any, ascii_only: bool, indent: int | None) -> None:
    """As a recursion over the parsed document finds, however it is written, and also where keys repeat."""
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent).replace('"\u00e4"', '"a"')
    masks = {path: {"mask": "constant", "value": word} for path, word in WORDS.items()}
    (out,) = masked_values(documents(masks, base_type="json", unnamed="keep"), [text.encode()])
    before, after = (json.loads(one, object_pairs_hook=Members) for one in (text, out or b""))
    assert after == expected(before, "", None)


# ------------------------------------------------------------------------------------------------- keys as data

BALANCES = '{"a": 1, "of": {"z@mail.example": 5, "grace@navy.mil": {"x": [1]}, "ada@x.org": "s"}, "zz": {"b": 2}}'


def email_of(address: str) -> str:
    (out,) = masked_values(mask_of("email"), [address.encode()])
    return (out or b"").decode()


def test_keys_of_maps_are_masked() -> None:
    """They are what the mask makes of them as values; json keeps their order, jsonb has its own."""
    before = json.loads(BALANCES)
    for base_type in ("json", "jsonb"):
        mask = documents({"$": "keep"}, base_type=base_type, keys={"$.of": "email"})
        (out,) = masked_values(mask, [BALANCES.encode()])
        after = json.loads(out or b"")
        assert after == {**before, "of": {email_of(key): value for key, value in before["of"].items()}}
        expected = [email_of(key) for key in before["of"]]
        assert list(after["of"]) == (
            expected if base_type == "json" else sorted(expected, key=lambda key: (len(key), key))
        )


def test_paths_below_a_map_are_the_original_ones() -> None:
    """A path may lead through keys that are masked, and maps may hold maps; a key that it names is a field's, and
    stays."""
    mask = documents({"$": "keep", "$.of.vip": "redact", "$.of.*.d": "redact"}, keys={"$..of": "email"})
    (out,) = masked_values(mask, [b'{"of": {"vip": "x", "b": {"of": {"c": "y"}, "d": "z"}}}'])
    assert json.loads(out or b"") == {
        "of": {"vip": "[redacted]", email_of("b"): {"of": {email_of("c"): "y"}, "d": "[redacted]"}}
    }


def test_a_key_that_becomes_a_fields_name_is_masked_again() -> None:
    """So no member is lost beside it."""
    taken = email_of("a")
    mask = documents({f'$["{taken}"]': "keep"}, keys={"$": "email"})
    (out,) = masked_values(mask, [b'{"a": 1, "%s": 2}' % taken.encode()])
    assert json.loads(out or b"").keys() == {taken, email_of(taken)}


def test_keys_depend_on_the_document_only() -> None:
    """Documents with masked keys mask alike alone, in a batch, in any order; also those that are no maps there."""
    values: list[bytes | None] = [BALANCES.encode(), None, b'{"of": {}}', b'{"of": [1]}', b"[]", b'"of"', b'{"of": 5}']
    out = assert_function_of_the_value(documents({"$": "keep"}, keys={"$.of": "email"}), values)
    assert out[1:] == values[1:]


def test_keys_that_might_meet_are_refused() -> None:
    """One of two members would be lost."""
    for rule in ("text.lorem", "redact", None, {"mask": "constant", "value": 1}):
        with pytest.raises(BadInput, match=r"may give two keys of '\$\.of' the same one"):
            documents(keys={"$.of": rule})
    with pytest.raises(BadInput, match=r"at the keys of '\$\.of': there is no mask"):
        documents(keys={"$.of": "nonsense"})


NO_DOCUMENTS = [
    b"",
    b"Grace Hopper",
    b"42",
    b'"Grace"',
    b'{"a": Grace}',
    b'{"a": "Grace"} Hopper',
    b'{"a": NaN}',
    b'{"a": "\\ud800"}',
    b'{"a": "Grace\x01"}',
    b"[" * 200_000,
    b'\xef\xbb\xbf{"a": "Grace"}',
]


@given(st.lists(st.none() | DOCUMENTS.map(lambda one: json.dumps(one).encode()) | st.sampled_from(NO_DOCUMENTS)))
@MANY_RUNS
def test_texts_are_masked_as_the_documents_that_they_are(values: list[bytes | None]) -> None:
    """An object or an array as in a column of json; anything else is scrambled, so that nothing stays readable."""
    in_text = documents(PATHS, base_type="text")
    assert_function_of_the_value(in_text, values)
    for value, out in zip(values, masked_values(in_text, values), strict=True):
        if value is None:
            assert out is None
        elif value in NO_DOCUMENTS or value[:1] not in (b"{", b"["):
            assert out is not None
            assert len(out.decode()) == len(value.decode())
            assert b"Grace" not in out
        else:
            assert [out] == masked_values(documents(PATHS, base_type="json"), [value])


def test_a_text_that_documents_may_outgrow_is_refused() -> None:
    """A masked leaf may be longer than the value was; inside of documents there are no columns."""
    column = column_of("varchar", max_length=200)
    with pytest.raises(BadInput, match="longer than the 200 characters"):
        mask_kind("json").build(
            mask_kind("json").params.model_validate({}),
            Build(Prf(bytes(32)), column, nested=lambda *_: mask_of("email")),
        )
    with pytest.raises(BadInput, match="whole columns only"):
        documents({"$.a": "json"})


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
        for keys in ({"$..*": "email"}, {"$": "email"}, {"$..a": "email", "$..[*]": "email"}):
            (keyed,) = masked_values(documents({"$": "keep"}, keys=keys), [text.encode()])
            assert connection.execute("SELECT %s::jsonb::text", [(keyed or b"").decode()]).fetchone() == (
                (keyed or b"").decode(),
            )

    with psycopg.connect(server18.url()) as connection:
        check()
