"""The page about documents tells what happens: its rules compile, and its examples are what the masks make."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest
from fix_catalog import catalog, table

from capture.model import TableName
from transform.keyring import KeyRing
from transform.plan import compile_plan
from transform.rules import load_rules

PAGE = (Path(__file__).parents[2] / "docs" / "documents.md").read_text()
# Each block of rules, and the table of examples that follows before the next heading.
SECTIONS = [
    (rules, re.findall(r"^\| `(.+)` \| (?:`(.+)`|\?) \|$", rest, re.MULTILINE))
    for rules, rest in re.findall(r"```yaml\n(.*?)```\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
]
TRAIL = ("id int8 pk", "op text", "table_schema text", "table_name text", "record jsonb", "client_query text")
IN_RULES = ("mask: hstore", "mask: json", "audit.record_version", "mask: tsvector")


@pytest.mark.parametrize("rules", [rules for rules, _ in SECTIONS], ids=range(len(SECTIONS)))
def test_the_page_holds_rules_for_each_kind(rules: str) -> None:
    """Blocks that are added without being tried here would fail."""
    assert any(kind in rules for kind in IN_RULES)
    assert len(SECTIONS) == len(IN_RULES)
    assert sum(len(examples) for _, examples in SECTIONS) == len(re.findall(r'^\| `[{"]', PAGE, re.MULTILINE))


@pytest.mark.parametrize(("rules", "examples"), SECTIONS, ids=range(len(SECTIONS)))
def test_the_examples_are_what_the_masks_make(tmp_path: Path, rules: str, examples: list[tuple[str, str]]) -> None:
    """With a key of zeros."""
    path = tmp_path / "rules.yaml"
    path.write_text(rules)
    in_trail = "record_version" in rules
    tables = [table("public.guests", "id int8 pk", *["email text"][:in_trail], f"profile {_type(rules)}")]
    tables += [table("audit.record_version", *TRAIL)] if in_trail else []
    if "public.posts" in rules:
        tables = [table("public.posts", "id int8 pk", "title text", "search tsvector")]
    plan = compile_plan(load_rules(path), catalog(*tables), KeyRing(bytes(32), "docs"))
    for before, after in examples:
        row = {"profile": before} if not in_trail else {
            "record": before, "table_schema": "public", "table_name": "guests"
        }  # fmt: skip
        arrays = [pa.array([value.encode()], pa.binary()) for value in row.values()]
        name = TableName("audit", "record_version") if in_trail else TableName("public", "guests")
        out = plan.tables[name].mask(pa.RecordBatch.from_arrays(arrays, names=list(row)), escaped=False)
        column = out.column("record" if in_trail else "profile")
        assert column[0].as_py().decode() == after


def _type(rules: str) -> str:
    return "hstore" if "mask: hstore" in rules else "jsonb"


@pytest.mark.parametrize("rule", ["keep", "'null'", "{mask: constant, value: <a/>}"])
def test_what_an_xml_column_may_have(tmp_path: Path, rule: str) -> None:
    """As the page says."""
    path = tmp_path / "rules.yaml"
    path.write_text(f"version: 1\ntables: {{public.t: {{columns: {{id: keep, doc: {rule}}}}}}}\n")
    plan = compile_plan(
        load_rules(path), catalog(table("public.t", "id int8 pk", "doc xml")), KeyRing(bytes(32), "docs")
    )
    batch = pa.RecordBatch.from_arrays([pa.array([b"<p>secret</p>", None], pa.binary())], names=["doc"])
    out = plan.tables[TableName("public", "t")].mask(batch, escaped=False).column("doc").to_pylist()
    expected = {"keep": b"<p>secret</p>", "'null'": None}
    assert out == [expected.get(rule, b"<a/>"), None]
