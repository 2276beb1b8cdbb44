"""The code of functions of the user's own: what is called is what is written now, and other code is another mask."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from fix_catalog import catalog, table

from capture.model import ServerFailed, TableName
from transform.identity import Change, differences
from transform.keyring import KeyRing
from transform.masks import own_code
from transform.plan import Plan, compile_plan
from transform.rules import load_rules

KEYS = KeyRing(bytes(range(32)), "test")
OF = catalog(table("public.t", "a text", "b jsonb", "c text", "d text", "s text"))
RULES = """\
version: 1
tables:
  public.t:
    columns:
      a: {mask: custom, function: "own_masks_a:f"}
      b: {mask: json, paths: {"$.x": {mask: custom, function: "own_masks_a:f"}}}
      c: {mask: redact, when: "s = 'x'", otherwise: {mask: custom, function: "own_masks_a:f"}}
      d: {mask: custom, function: "own_masks_d:f"}
      s: keep
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    paths, modules = list(sys.path), set(sys.modules)
    (tmp_path / "rules.yaml").write_text(RULES)
    write(
        tmp_path, "own_masks_a", "from own_words import LETTER\ndef f(values, keyed): return [LETTER for _ in values]"
    )
    write(tmp_path, "own_masks_d", "def f(values, keyed): return ['d' for _ in values]")
    write(tmp_path, "own_words", "LETTER = 'x'")
    yield tmp_path
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(folder: Path, name: str, body: str) -> None:
    (folder / f"{name}.py").write_text(f"{body}\n")


def plan(folder: Path) -> Plan:
    return compile_plan(load_rules(folder / "rules.yaml"), OF, KEYS)


def masked(of: Plan, column: str) -> list[bytes | None]:
    mask = of.tables[TableName("public", "t")].masks[column]
    out: list[bytes | None] = mask.apply(pa.array([b"1"])).to_pylist()  # type: ignore[union-attr]
    return out


def changed(before: Plan, now: Plan) -> set[str]:
    found = differences(before.identities, now.identities, same_key=True)
    assert all(change is Change.OTHERWISE for each in found for change in each.columns.values())
    return {column for each in found for column in each.columns}


def test_changed_code_is_another_mask(folder: Path) -> None:
    """Wherever in a rule the function is named; what did not change is the same, and so is what changed back."""
    before = plan(folder)
    assert masked(before, "d") == [b"d"]
    write(folder, "own_masks_d", "def f(values, keyed): return ['e' for _ in values]")
    now = plan(folder)
    assert changed(before, now) == {"d"}
    assert (masked(before, "d"), masked(now, "d")) == ([b"d"], [b"e"])
    write(folder, "own_masks_d", "def f(values, keyed): return ['d' for _ in values]")
    assert changed(before, plan(folder)) == set()


def test_what_a_function_imports_from_the_project_is_its_code(folder: Path) -> None:
    """In the same process too, however soon after it was imported."""
    before = plan(folder)
    write(folder, "own_words", "LETTER = 'y'")
    now = plan(folder)
    assert changed(before, now) == {"a", "b", "c"}
    assert (masked(before, "a"), masked(now, "a")) == ([b"x"], [b"y"])
    assert {path.name for path in own_code.files()} >= {"own_masks_a.py", "own_words.py", "own_masks_d.py"}


def test_another_process_must_find_the_same_code(folder: Path) -> None:
    """What was planned by other code is not masked by this."""
    pickled = pickle.dumps(plan(folder))
    assert masked(pickle.loads(pickled), "a") == [b"x"]
    write(folder, "own_words", "LETTER = 'z'")
    with pytest.raises(ServerFailed, match="own_masks_a:f was changed"):
        pickle.loads(pickled)


def test_the_rules_locale_concerns_masks_that_speak_one(folder: Path) -> None:
    """Others make the same of a value in every locale, and need not be copied again."""
    columns = "{a: name.full, b: {mask: json, paths: {'$.x': phone}}, c: redact, d: text.lorem, s: {mask: redact, "
    columns += "when: \"c = 'x'\", otherwise: name.last}}"
    plans = []
    for locale in ("de_DE", "fr_FR"):
        text = f"version: 1\nlocale: {locale}\ntables:\n  public.t: {{columns: {columns}}}\n"
        (folder / "rules.yaml").write_text(text)
        plans.append(plan(folder))
    assert changed(*plans) == {"a", "b", "s"}


def test_what_is_no_code_of_the_project_is_not_imported_anew(folder: Path) -> None:
    """Others have it already, and would have two of it."""
    module = sys.modules["transform.masks.initials"] = importlib.import_module("transform.masks.initials")
    first = own_code.find("transform.masks.initials:initials", folder)
    write(folder, "own_masks_d", "def f(values, keyed): return ['x' for _ in values]")
    plan(folder)
    assert sys.modules["transform.masks.initials"] is module
    assert own_code.find("transform.masks.initials:initials", folder) == first
    assert first.digest != own_code.find("own_masks_d:f", folder).digest
