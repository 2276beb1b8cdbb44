"""Leaves that the rules do not name are counted by path, and no value is ever shown."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from fix_masks import column_of, mask_of, masked

from transform.cmac import Prf
from transform.masks.document_keys import DocumentKeys
from transform.masks.documents import Documents
from transform.staying import staying

KEEP = mask_of("keep")


def counted(documents: list[Any], paths: list[str], keys: list[str] | None = None) -> dict[str, int]:
    own = DocumentKeys({path: mask_of("email") for path in keys}, is_jsonb=True) if keys else None
    mask = Documents(Prf(bytes(16)), "UTF8", dict.fromkeys(paths, KEEP), keys=own)
    found = staying(mask, [json.dumps(document).encode() for document in documents])
    return {one.path: one.unnamed for one in found if one.unnamed}


@pytest.mark.parametrize(
    ("documents", "paths", "counts"),
    [
        ([{"a": 1, "b": "x", "c": None}], ["$.a"], {"$.b": 1}),
        ([{"a": {"b": [1, 2, {"c": True}]}}] * 3, [], {"$.a.b[*]": 6, "$.a.b[*].c": 3}),
        ([{"a": {"b": 1, "c": [2]}}], ["$.a"], {}),
        ([{"a": {"b": 1, "c": [2]}}], ["$..b"], {"$.a.c[*]": 1}),
        (["x", 5, [], {}, None], [], {"$": 2}),
        ([{"grace@navy.mil": 1, "name": 2}], [], {"$.*": 2}),
        ([{"of": {"+49 30 123": {"sum": 1}}}], [], {"$.of.*.sum": 1}),
        ([{"k20240131": 1}], [], {"$.*": 1}),
    ],
)
def test_leaves_are_counted_by_path(documents: list[Any], paths: list[str], counts: dict[str, int]) -> None:
    """Elements count together, and so do keys that do not look like names."""
    assert counted(documents, paths) == counts


def test_many_keys_are_one_path() -> None:
    """An object with many keys is a map, whichever came first; what lies below is counted together."""
    names = [f"{first}{second}" for first in "abcdef" for second in "uvwxyz"]
    documents: list[Any] = [{"few": {"x": 1}, "many": {name: {"sum": 1}}} for name in names]
    expected = {"$.few.x": 36, "$.many.*.sum": 36}
    assert counted(documents, []) == counted(documents[::-1], []) == expected
    assert counted([{"list": names, **dict.fromkeys(names, 1)}], []) == {"$.*": 36, "$.*[*]": 36}


def test_keys_that_are_data_are_not_shown() -> None:
    """The rules say so of the object."""
    documents: list[Any] = [{"by": {"grace": 1, "ada": {"x": 2}}}]
    assert counted(documents, []) == {"$.by.grace": 1, "$.by.ada.x": 1}
    assert counted(documents, [], ["$.by"]) == {"$.by.*": 1, "$.by.*.x": 1}


def test_keys_that_stay_are_told_by_no_key_that_is_data() -> None:
    """Names of people look like names of fields; where there are many, the path to what is below them has none."""
    names = [f"Hopper{chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(200)]
    documents = [json.dumps({"shared": {name: [{"max": number}]}}).encode() for number, name in enumerate(names)]
    mask = mask_of("json", column_of("jsonb"))
    assert isinstance(mask, Documents)
    found = {one.path: one.keys.counts for one in staying(mask, documents) if one.keys.counts}
    assert found.keys() == {"$", "$.shared", "$.shared.*[*]"}
    assert found["$.shared"] == Counter(name.encode() for name in names)
    assert found["$.shared.*[*]"] == {b"max": 200}


def test_what_is_counted_is_what_is_scrambled() -> None:
    """Leaves that change where every named one is kept are those that are counted."""
    document = {"a": "secret", "b": {"c": "hidden", "d": ["other", 123456]}, "e": "kept"}
    mask = Documents(Prf(bytes(16)), "UTF8", {"$.e": KEEP, "$.b.c": KEEP})
    (out,) = masked(mask, [json.dumps(document).encode()])
    after = json.loads(out or b"")
    assert (after["e"], after["b"]["c"]) == ("kept", "hidden")
    assert (after["a"], *after["b"]["d"]) != ("secret", "other", 123456)
    found = staying(mask, [json.dumps(document).encode()])
    assert {one.path: one.unnamed for one in found if one.unnamed} == {"$.a": 1, "$.b.d[*]": 2}
