"""Functions of the user's own, held to what masks promise."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fix_catalog import catalog, table
from fix_masks import assert_function_of_the_value, column_of, masked, uniqueness_of
from pydantic import ValidationError

from capture.model import BadInput, Column, ServerFailed, TableName
from transform.keyring import KeyRing
from transform.masks.base import Build, Uniqueness, mask_kind
from transform.masks.custom import Custom, Keyed, check_purity
from transform.plan import compile_plan
from transform.rules import load_rules

KEYS = KeyRing(bytes(range(32)), "test")
CANARY = "canary-4711"
numbers = count()
Write = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Write]:
    """Writes a module into the project's folder, and gives the name of its function f."""
    paths, modules = list(sys.path), set(sys.modules)

    def write(body: str) -> str:
        name = f"custom_masks_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(f"{body}\n", encoding="utf-8")
        return f"{name}:f"

    yield write
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def custom_of(
    function: str, folder: Path, column: Column | None = None, encoding: str = "UTF8", **params: Any
) -> Custom:
    kind = mask_kind("custom")
    build = Build(KEYS.prf("domain"), column or column_of(), encoding=encoding, folder=folder)
    mask = kind.build(kind.params(function=function, **params), build)
    assert isinstance(mask, Custom)
    return mask


UPPER = "def f(values, keyed): return [v and v.upper() for v in values]"
TAGGED = "def f(values, keyed, prefix='u'): return [v and prefix + keyed.tag(v).hex()[:8] for v in values]"


def test_a_function_masks_a_column(module: Write, tmp_path: Path) -> None:
    """It gets the values, None among them, and the rule's own parameters; NULL stays NULL."""
    values: list[bytes | None] = [b"anna", None, "é".encode(), b""]
    assert assert_function_of_the_value(custom_of(module(UPPER), tmp_path), values) == [
        b"ANNA",
        None,
        "É".encode(),
        b"",
    ]
    mask = custom_of(module(TAGGED), tmp_path, params={"prefix": "id-"})
    out = assert_function_of_the_value(mask, [b"anna", b"eva", None])
    assert all(value is None or value.startswith(b"id-") for value in out)
    nulls = custom_of(module("def f(values, keyed): return ['x' for v in values]"), tmp_path)
    assert masked(nulls, [b"a", None]) == [b"x", None]


def test_the_tag_depends_on_the_domains_key() -> None:
    """And is the same for text and its bytes; the helper shows no key."""
    one, other = Keyed(KEYS.prf("one")), Keyed(KEYS.prf("other"))
    assert one.tag("anna") == one.tag(b"anna") != other.tag("anna")
    assert len(one.tag("")) == 16
    assert repr(one) == "Keyed(...)"


def test_another_process_finds_the_function(module: Write, tmp_path: Path) -> None:
    """A mask travels as the function's name and the project's folder."""
    mask = custom_of(module(TAGGED), tmp_path)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(masked, (mask, [b"anna", None])) == masked(mask, [b"anna", None])
    assert "domain" not in repr(mask)
    assert masked(pickle.loads(pickle.dumps(mask)), [b"x"]) == masked(mask, [b"x"])


def test_the_rules_name_a_function_beside_them(module: Write, tmp_path: Path) -> None:
    """The plan looks for it in the folder of the rules file."""
    path = tmp_path / "rules.yaml"
    rule = f"{{mask: custom, function: '{module(UPPER)}'}}"
    path.write_text(f"version: 1\ntables:\n  public.t: {{columns: {{c: {rule}}}}}\n", encoding="utf-8")
    plan = compile_plan(load_rules(path), catalog(table("public.t", "c text")), KEYS)
    mask = plan.tables[TableName("public", "t")].masks["c"]
    assert mask.apply(pa.array([b"anna"])).to_pylist() == [b"ANNA"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "body",
    [
        "import time\ndef f(values, keyed): return [v and v + str(time.perf_counter_ns()) for v in values]",
        "import random\ndef f(values, keyed): return [v and str(random.random()) for v in values]",
        "def f(values, keyed): return [v and f'{n}{v}' for n, v in enumerate(values)]",
        "def f(values, keyed): return [v and f'{len(values)}{v}' for v in values]",
        "def f(values, keyed): return [v and (values[-1] or 'x') for v in values]",
        "seen = []\ndef f(values, keyed):\n  seen.extend(values)\n  return [v and f'{len(seen)}' for v in values]",
        "seen = {}\ndef f(values, keyed): return [v and str(seen.setdefault(v, len(seen))) for v in values]",
    ],
    ids=["clock", "chance", "order", "batch size", "neighbour", "calls", "first seen"],
)
def test_what_is_not_pure_is_refused(module: Write, tmp_path: Path, body: str) -> None:
    """When the mask is built: results may not depend on anything but the value."""
    with pytest.raises(BadInput, match="gives other results"):
        custom_of(module(body), tmp_path)


def test_values_of_production_are_tried_too(module: Write, tmp_path: Path) -> None:
    """A function may be pure for all but some values; the message holds none of them."""
    body = f"def f(values, keyed): return [v and (str(len(values)) if '{CANARY}' in v else 'x') for v in values]"
    mask = custom_of(module(body), tmp_path)
    check_purity(mask, [b"a", b"b", None])
    with pytest.raises(BadInput, match=mask.reference) as caught:
        check_purity(mask, [b"a", CANARY.encode(), b"b"])
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def f(values, keyed): raise ValueError(values)", "raised ValueError"),
        ("def f(values, keyed): return None", "gave no list"),
        ("def f(values, keyed): return tuple(values)", "gave no list"),
        ("def f(values, keyed): return values[1:]", "gave no list"),
        ("def f(values, keyed): return [v.upper() for v in values]", "raised AttributeError"),
    ],
)
def test_what_a_function_does_wrong_with_every_column_is_told_at_once(
    module: Write, tmp_path: Path, body: str, said: str
) -> None:
    """One that takes no NULLs, or that has another form, is the rules' mistake."""
    with pytest.raises(BadInput, match=said) as caught:
        custom_of(module(body), tmp_path)
    assert "NULL" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def f(values, keyed): return [10 // len(v[7:]) for v in values]", "raised ZeroDivisionError"),
        ("def f(values, keyed): return values[1:]", "gave no list"),
        ("def f(values, keyed): return [v and v.encode() for v in values]", "gave a bytes"),
        ("def f(values, keyed): return [v and len(v) for v in values]", "gave a int"),
        ("def f(values, keyed): return [v and v * 20 for v in values]", "does not hold"),
        ("def f(values, keyed): return [v and v[:3] + chr(0) for v in values]", "does not hold"),
        ("def f(values, keyed): return [v and chr(0x142) for v in values]", "does not hold"),
        ("def f(values, keyed): return [None for v in values]", "NOT NULL"),
    ],
)
def test_what_a_function_does_wrong_stops_the_run(module: Write, tmp_path: Path, body: str, said: str) -> None:
    """It is told by the function's name and what is wrong, never by a value, and nothing of its error is kept."""
    column = replace(column_of("varchar", max_length=20), not_null=True)
    mask = custom_of(module(body), tmp_path, column, encoding="LATIN1")
    with pytest.raises(ServerFailed, match=said) as caught:
        masked(mask, [CANARY.encode(), b"b"])
    assert mask.reference in str(caught.value)
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("column", "given", "expected"),
    [
        (column_of("numeric", typmod=(10 << 16 | 2) + 4, scale=2), "5", b"5.00"),
        (column_of("jsonb"), '{"b":1,"a":2}', b'{"a": 2, "b": 1}'),
        (column_of("bool"), "yes", b"t"),
        (column_of("uuid"), "5F3C6A1E-0B7D-4C2A-9E51-7D8A90B1C2D3", b"5f3c6a1e-0b7d-4c2a-9e51-7d8a90b1c2d3"),
    ],
)
def test_results_are_brought_into_the_columns_form(
    module: Write, tmp_path: Path, column: Column, given: str, expected: bytes
) -> None:
    """As PostgreSQL would print them."""
    mask = custom_of(module(f"def f(values, keyed): return [v and {given!r} for v in values]"), tmp_path, column)
    assert masked(mask, [b"1", None]) == [expected, None]


def test_bytes_come_as_bytes(module: Write, tmp_path: Path) -> None:
    """In a column of bytea, and in no other."""
    mask = custom_of(
        module("def f(values, keyed): return [v and v[::-1] for v in values]"), tmp_path, column_of("bytea")
    )
    assert masked(mask, [b"\\x0102", None, b"\\x"]) == [b"\\x0201", None, b"\\x"]
    wrong = custom_of(
        module("def f(values, keyed): return [v and v.hex() for v in values]"), tmp_path, column_of("bytea")
    )
    with pytest.raises(ServerFailed, match="gave a str"):
        masked(wrong, [b"\\x01"])


def test_case_plays_no_part_in_citext(module: Write, tmp_path: Path) -> None:
    """What citext holds equal comes as one value."""
    mask = custom_of(module(TAGGED), tmp_path, column_of("citext"))
    assert len(set(masked(mask, [b"Anna", b"ANNA", b"anna"]))) == 1


def test_labels_of_an_enum_are_checked(module: Write, tmp_path: Path) -> None:
    """Others would be refused by the target."""
    enum = Column("c", 1, 0, -1, "mood", "mood", kind="e", enum_labels=("sad", "ok"))
    assert masked(
        custom_of(module("def f(values, keyed): return [v and 'ok' for v in values]"), tmp_path, enum), [b"sad"]
    )
    with pytest.raises(ServerFailed, match="does not hold"):
        masked(
            custom_of(module("def f(values, keyed): return [v and 'glad' for v in values]"), tmp_path, enum), [b"ok"]
        )


@pytest.mark.parametrize(
    "function", ["no_such_module:f", "transform.masks.custom:nothing", "transform.masks.custom:KEYS"]
)
def test_a_function_that_is_not_there_is_refused(tmp_path: Path, function: str) -> None:
    """With where it was looked for."""
    with pytest.raises(BadInput) as caught:
        custom_of(function, tmp_path)
    assert str(tmp_path) in caught.value.hint


@pytest.mark.parametrize("taken", ["values", "values, keyed, *, other", "values, keyed, a, b"])
def test_a_function_that_cannot_be_called_is_refused(module: Write, tmp_path: Path, taken: str) -> None:
    """With how it is written."""
    with pytest.raises(BadInput, match="does not take what a mask gets") as caught:
        custom_of(module(f"def f({taken}): return values"), tmp_path, params={"a": 1})
    assert "def f(values, keyed, a)" in caught.value.hint


def test_a_module_that_fails_is_refused(module: Write, tmp_path: Path) -> None:
    """By the kind of its error."""
    with pytest.raises(BadInput, match="ZeroDivisionError"):
        custom_of(module("x = 1 / 0"), tmp_path)


def test_types_are_declared(module: Write, tmp_path: Path) -> None:
    """A function for text is not let near numbers."""
    name = module(UPPER)
    custom_of(name, tmp_path, types=["text", "varchar"])
    with pytest.raises(BadInput, match="int4"):
        custom_of(name, tmp_path, column_of("int4"), types=["text"])


def test_uniqueness_is_the_users_word() -> None:
    """Lossy without it."""
    assert uniqueness_of("custom", function="a:f") is Uniqueness.LOSSY
    assert uniqueness_of("custom", function="a:f", unique="injective") is Uniqueness.INJECTIVE
    assert uniqueness_of("custom", function="a:f", unique="tagged") is Uniqueness.TAGGED


@pytest.mark.parametrize("function", ["", "f", "a.b", "a:b:c", "../a:f", "a:f()", "a-b:f"])
def test_a_function_is_named(function: str) -> None:
    """As package.module:function, and not by a path."""
    with pytest.raises(ValidationError):
        mask_kind("custom").params.model_validate({"function": function})
