"""The page about the rules file tells what there is: its rules fit, and no key or command is missing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from fix_catalog import catalog, foreign_key, table

from capture.model import Catalog, Check
from control.cli import rules_app
from transform.coverage import FindingKind, Severity
from transform.plan import check
from transform.risks import ALONE, LEAST
from transform.rules import ColumnRule, DomainRule, Rules, SomeRows, TableRules, load_rules

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def production() -> Catalog:
    """What the examples are rules for."""
    guests = table(
        "public.guests",
        "id int8 pk",
        "email text unique",
        "full_name text",
        "country text",
        "born_on date",
        "passport text",
        "notes text",
        "code text",
    )
    guests = replace(guests, checks=(Check("code_form", "is_code(code)", ("code",)),))
    return catalog(
        guests,
        table("public.stays", "id int8 pk", "guest_id int8", "status text", "arrived date", "Room text"),
        table("public.sessions", "id uuid pk", "token text"),
        table("public.cars", "plate text pk"),
        table("public.tickets", "plate text"),
        foreign_keys=(foreign_key("public.stays(guest_id)", "public.guests(id)"),),
    )


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_fit(tmp_path: Path, text: str) -> None:
    """Nothing is wrong with them; the first decides every column of the tables that it names."""
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    rules = load_rules(path)
    named = production()
    names = {*rules.tables, *(column.table for domain in rules.domains.values() for column in domain.columns)}
    named = replace(named, tables={name: own for name, own in named.tables.items() if name in names})
    named = replace(named, foreign_keys=tuple(key for key in named.foreign_keys if key.table in names))
    findings = check(rules, named)
    assert [str(one) for one in findings if one.severity in {Severity.ERROR, Severity.UNDECIDED}] == []


def test_every_key_is_explained() -> None:
    """Of the file, a table, its rows, a column's rule and a domain."""
    for model in (Rules, TableRules, SomeRows, ColumnRule, DomainRule):
        for name, field in model.model_fields.items():
            assert re.search(rf"`\{{?{field.alias or name}\b", PAGE), name


def test_every_command_and_risk_is_explained() -> None:
    """As the command line has them."""
    commands = getattr(typer.main.get_command(rules_app), "commands", {})
    assert {"check", "explain", "preview"} <= set(commands)
    for name in commands:
        assert f"`tezcat rules {name}" in PAGE
    for kind in list(FindingKind)[list(FindingKind).index(FindingKind.FREQUENCY) :]:
        assert f"`{kind}`" in PAGE
    assert f"fewer than {LEAST} times" in PAGE
    assert f"More than {100 * ALONE:.0f}%" in PAGE
