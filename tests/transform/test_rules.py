"""A rules file is read with its places; what it says does not depend on how it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.model import BadInput, ColumnName, TableName
from transform.rules import ColumnRule, Rules, load_rules

GUESTS = TableName("public", "guests")


def read(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return load_rules(path)


def test_a_rule_has_a_short_and_a_long_form(tmp_path: Path) -> None:
    """A name alone, and a mapping with the name and parameters, give the same kind of rule; null needs no quotes."""
    rules = read(
        tmp_path,
        "version: 1\ntables:\n  public.guests:\n    columns:\n      a: keep\n      b: null\n      c: {mask: null}\n"
        "      d: {mask: phone, preserve_format: true}\n      e: {mask: phone}\n",
    )
    columns = rules.tables[GUESTS].columns
    assert [columns[name].mask for name in "abcde"] == ["keep", "null", "null", "phone", "phone"]
    assert columns["d"].params == {"preserve_format": True}
    assert columns["e"] == ColumnRule(mask="phone")


def test_names_are_written_as_sql_writes_them(tmp_path: Path) -> None:
    """Table names fold and quote as in SQL; a column's key is its plain name, or in double quotes."""
    rules = read(
        tmp_path,
        'version: 1\ntables:\n  \'"Odd Schema"."Select"\':\n    columns: {fullName: keep, \'"a""b"\': keep}\n'
        "  Public.GUESTS: {rows: none}\n"
        'domains:\n  d: {mask: email, columns: [\'"Odd Schema"."Select"."fullName"\']}\n',
    )
    odd = TableName("Odd Schema", "Select")
    assert set(rules.tables) == {odd, GUESTS}
    assert set(rules.tables[odd].columns) == {"fullName", 'a"b'}
    assert rules.domains["d"].columns == (ColumnName(odd, "fullName"),)


def test_null_needs_no_quotes_for_other_rows(tmp_path: Path) -> None:
    """Were YAML's null no rule for the other rows, they would keep their values."""
    rules = read(
        tmp_path,
        "version: 1\ntables:\n  public.guests:\n    columns:\n      a: null\n      b: {mask: null}\n"
        "      c: {mask: email, when: a = 'x', otherwise: null}\n      d: {mask: null, when: a = 'x', otherwise: ~}\n",
    )
    columns = rules.tables[GUESTS].columns
    assert columns["c"].otherwise == columns["a"] == columns["b"]
    assert {name for name, rule in columns.items() if rule.empties} == {"a", "b", "d"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\nlocale: de_XX\n", "rules.yaml:2:1: locale: there is no locale of that name; they are "),
        ("tables: {}\n", "version is missing"),
        ("version: 2\n", "rules.yaml:1:1: version"),
        ("version: 1\ntable: {}\n", "rules.yaml:2:1: table is not known here. Did you mean tables?"),
        ("version: 1\ntables: {a.b: {colums: {}}}\n", "tables.a.b.colums is not known here. Did you mean columns?"),
        ("version: 1\ntables: {a.b: keep}\n", "rules.yaml:2:10: tables.a.b: a table has rows, subject and columns"),
        ("version: 1\ntables: {a.b: {mail: email}}\n", "the rule of each column stands below columns"),
        ("version: 1\ndomains: {d: {columns: [a.b.c]}}\n", "domains.d: a domain is {mask: NAME, columns: ["),
        ("version: 1\ntables:\n  guests: {}\n", "rules.yaml:3:3: tables.guests: a table is written as schema.table"),
        ("version: 1\ntables:\n  a.b: {rows: {were: x > 1}}\n", "tables.a.b.rows.were is not known here"),
        ("version: 1\ntables:\n  a.b: {rows: some}\n", "rules.yaml:3:9: tables.a.b.rows: rows are all, none"),
        (
            "version: 1\ntables:\n  a.b:\n    columns:\n      c: 12\n",
            "rules.yaml:5:7: tables.a.b.columns.c: a column's",
        ),
        ("version: 1\ntables:\n  a.b:\n    columns:\n      c: {days: 3}\n", "rules.yaml:5:7"),
        ("version: 1\ntables:\n  a.b: {}\n  A.b: {}\n", "a.b and A.b are the same name"),
        ("version: 1\ntables:\n  a.b:\n    columns: {c: keep, '\"c\"': keep}\n", "are the same name"),
        ("version: 1\ndomains:\n  d: {mask: email}\n", "rules.yaml:3:3: columns is missing in domains.d"),
        (
            "version: 1\ndomains:\n  d: {mask: email, columns: [a.b]}\n",
            "rules.yaml:3:30: domains.d.columns.0: a column",
        ),
        ("version: 1\ndomains:\n  d: {mask: email, columns: []}\n", "rules.yaml:3:20: domains.d.columns"),
        ("version: 1\ntables:\n  a.b: {columns: {c: {mask: [1]}}}\n", "rules.yaml:3:23"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """What the file may not say gives a BadInput that names file, line and column."""
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """Without a rules file the error names the command that writes one."""
    with pytest.raises(BadInput, match="tezcat rules suggest"):
        load_rules(tmp_path / "rules.yaml")


def test_places_are_found_by_name(tmp_path: Path) -> None:
    """A finding about a column is placed at its rule, or at its table if it has none, however it is spelled."""
    rules = read(
        tmp_path,
        "version: 1\ntables:\n  PUBLIC.guests:\n    columns:\n      a: keep\n"
        "domains:\n  d: {mask: email, columns: [public.x.y,\n      public.guests.b]}\n",
    )
    file = tmp_path / "rules.yaml"
    assert rules.at_column(ColumnName(GUESTS, "a")) == f"{file}:5:7"
    assert rules.at_column(ColumnName(GUESTS, "b")) == f"{file}:3:3"
    assert rules.at_domain("d", ColumnName(GUESTS, "b")) == f"{file}:8:7"
    assert Rules(version=1).at_column(ColumnName(GUESTS, "a")) == ""


def test_the_fingerprint_ignores_form_and_order(tmp_path: Path) -> None:
    """Other order, quotes, comments and short forms give the same fingerprint."""
    one = read(
        tmp_path,
        "version: 1\ntables:\n  a.b: {columns: {c: email, d: {mask: date.shift, days: 3, x: y}}}\n  a.c: {rows: none}\n"
        "domains: {z: {mask: email, columns: [a.b.c, a.e.f]}}\n",
    )
    other = read(
        tmp_path,
        "# a comment\ndomains:\n  z:\n    columns: [A.e.f, a.b.c]\n    mask: email\ntables:\n  a.c:\n    rows: 'none'\n"
        "  A.B:\n    columns:\n      '\"d\"': {x: 'y', days: 3, mask: date.shift}\n      c: {mask: email}\n"
        "version: 1\n",
    )
    assert one.fingerprint() == other.fingerprint()
    assert len(one.fingerprint()) == 64


@pytest.mark.parametrize(
    "change", ["c: phone", "c: {mask: email, x: 1}", "e: email", "c: {mask: email, x: '1'}"]
)  # fmt: skip
def test_the_fingerprint_sees_every_decision(tmp_path: Path, change: str) -> None:
    """A change of a mask, a parameter or a column changes the fingerprint."""
    seen = {
        read(tmp_path, f"version: 1\ntables:\n  a.b: {{columns: {{{text}}}}}\n").fingerprint()
        for text in ("c: email", change)
    }
    assert len(seen) == 2
