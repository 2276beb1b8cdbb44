"""Rules of other tools: what converts means at least as much, and what does not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.model import BadInput, TableName
from tests.fix_catalog import catalog, table
from transform.document import load
from transform.importing import Imported, from_greenmask, from_labels, write
from transform.importing import greenmask as conversion
from transform.masks.base import MASKS, mask_kind
from transform.rules import ColumnRule, Rules, load_rules
from transform.suggest import suggest
from transform.suggest.comments import left_out

PEOPLE = TableName("public", "people")


def greenmask(tmp_path: Path, tables: str) -> Imported:
    path = tmp_path / "greenmask.yml"
    path.write_text("common: {tmp_dir: /tmp}\ndump:\n  transformation:\n" + tables)
    return from_greenmask(load(path))


def transformer(name: str, **params: object) -> str:
    listed = "".join(f", {key}: {value}" for key, value in params.items())
    return f"    - {{schema: public, name: people, transformers: [{{name: {name}, params: {{column: c{listed}}}}}]}}\n"


@pytest.mark.parametrize("name", sorted(conversion._PLAIN))
def test_every_plain_transformer_has_a_mask(tmp_path: Path, name: str) -> None:
    """That is in the catalogue, with parameters that it takes."""
    rule = ColumnRule.model_validate(greenmask(tmp_path, transformer(name)).columns[PEOPLE]["c"])
    mask_kind(rule.mask).params.model_validate(rule.params)


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (transformer("NoiseInt", max_ratio=0.2), {"mask": "number.noise", "ratio": 0.2}),
        (transformer("NoiseDate", max_ratio='"1 year 2 mons"'), {"mask": "date.shift", "days": 425}),
        (transformer("NoiseDate", ratio='"01:00:00"'), {"mask": "date.shift", "days": 1}),
        (transformer("RandomInt", min=1, max=9), {"mask": "number.within", "min": 1, "max": 9}),
        (transformer("RandomInt"), "todo"),
        (transformer("RandomChoice", values="[a, b]"), {"mask": "choice", "values": ["a", "b"]}),
        (transformer("Replace", value="x"), {"mask": "constant", "value": "x"}),
        (
            transformer("RegexpReplace", regexp="'(.).*'", replace="'$1.'"),
            {"mask": "text.regex", "pattern": "(.).*", "replacement": r"\1."},
        ),
        (transformer("Masking", type="email"), "email"),
        (transformer("Masking"), "redact"),
        (transformer("Cmd"), "todo"),
        (transformer("RandomDate", min="'2020-01-01'", max="'2021-01-01'"), "todo"),
    ],
)
def test_transformers_convert(tmp_path: Path, written: str, rule: object) -> None:
    """With their parameters; what would mean less is todo."""
    imported = greenmask(tmp_path, written)
    assert imported.columns[PEOPLE]["c"] == rule
    assert bool(imported.unequal) is (rule == "todo")


def test_parameters_that_are_lost_are_told(tmp_path: Path) -> None:
    """What would have kept a mail's domain, or the length of a code; not what means nothing here."""
    kept = transformer("RandomEmail", engine="hash", keep_null="true", keep_original_domain="true", validate="true")
    (told,) = greenmask(tmp_path, kept).unequal
    assert (told.where, told.what) == ("public.people.c", "RandomEmail: not taken over: keep_original_domain")
    (told,) = greenmask(tmp_path, transformer("RandomInt", min=1, max=9, keep_null="false")).unequal
    assert told.what == "RandomInt: not taken over: keep_null"


@pytest.mark.parametrize(
    ("written", "where", "what"),
    [
        ("RandomEmail, params: {colum: c}", "", "RandomEmail: the parameter colum is not known; did you mean column?"),
        (
            "RandomEmail, params: {Column: c}",
            "",
            "RandomEmail: the parameter Column is not known; did you mean column?",
        ),
        ("Cmd, params: {columm: c}", "", "Cmd: the parameter columm is not known; did you mean column?"),
        (
            "RandomPerson, params: {colums: []}",
            "",
            "RandomPerson: the parameter colums is not known; did you mean columns?",
        ),
        ("RandomEmail, params: {engine: hash}", "", "RandomEmail names no column"),
        ("RandomEmail", "", "RandomEmail names no column"),
        ("TemplateRecord, params: {template: x}", "", "TemplateRecord works on whole rows"),
        (
            "NoiseInt, params: {column: c, max_raito: 0.2}",
            ".c",
            "NoiseInt: the parameter max_raito is not known; did you mean max_ratio?",
        ),
        ("NoiseInt, params: {column: c, min_ratio: 0.2}", ".c", "NoiseInt: not taken over: min_ratio"),
    ],
)
def test_a_misspelt_parameter_is_told_with_the_one_that_was_meant(
    tmp_path: Path, written: str, where: str, what: str
) -> None:
    """A transformer without its column is not taken for one that works on whole rows."""
    imported = greenmask(tmp_path, f"    - {{name: people, transformers: [{{name: {written}}}]}}\n")
    assert [(one.where, one.what) for one in imported.unequal] == [(f"public.people{where}", what)]


def test_two_transformers_on_one_column_are_left_to_a_person(tmp_path: Path) -> None:
    """They work one after the other, which masks do not."""
    two = "[{name: RandomEmail, params: {column: c}}, {name: Hash, params: {column: c}}]"
    imported = greenmask(tmp_path, f"    - {{name: people, transformers: {two}}}\n")
    assert imported.columns[PEOPLE]["c"] == "todo"
    assert "follows another" in str(imported.unequal[0])


def test_persons_are_taken_apart(tmp_path: Path) -> None:
    """A template of one name, or of a whole one."""
    tables = """\
    - schema: public
      name: people
      subset_conds: ["public.people.country = 'DE'", "people_id > 3"]
      transformers:
        - name: RandomPerson
          when: "raw_value != null"
          params:
            columns:
              - {name: first, template: "{{ .FirstName }}"}
              - {name: whole, template: "{{ .Title }} {{ .FirstName }} {{ .LastName }}"}
              - {name: odd, template: "{{ .Gender }}"}
"""
    imported = greenmask(tmp_path, tables)
    assert imported.columns[PEOPLE] == {"first": "name.first", "whole": "name.full", "odd": "todo"}
    assert imported.rows[PEOPLE] == {"where": "(country = 'DE') AND (people_id > 3)"}
    assert ["todo" in str(each) for each in imported.unequal] == [False, False, True]


def test_addresses_and_records_are_taken_apart(tmp_path: Path) -> None:
    """An address by its parts; columns that are listed by name alone are not lost."""
    tables = """\
    - name: people
      transformers:
        - name: RealAddress
          params:
            columns:
              - {name: town, template: "{{.City}}"}
              - {name: whole, template: "{{.Address}}, {{.City}}, {{.State}} {{.PostalCode}}"}
              - {name: odd, template: "{{.City}} {{.State}}"}
        - {name: TemplateRecord, params: {columns: [a, b], template: x}}
"""
    imported = greenmask(tmp_path, tables)
    assert imported.columns[PEOPLE] == {
        "town": "address.city",
        "whole": "address.full",
        "odd": "todo",
        "a": "todo",
        "b": "todo",
    }


def test_tables_that_are_left_out_stay_empty(tmp_path: Path) -> None:
    """What the dump leaves out is no part of the copy; patterns and references that are not taken over are named."""
    path = tmp_path / "greenmask.yml"
    path.write_text(
        "dump:\n  pg_dump_options: {exclude-table-data: [public.people, 'public.tmp_*'], exclude-table: app.old}\n"
        "  virtual_references: [{name: payments}]\n  transformation: []\n"
    )
    imported = from_greenmask(load(path))
    assert imported.rows == {PEOPLE: "none", TableName("app", "old"): "none"}
    assert [each.where for each in imported.unequal] == ["virtual_references", "exclude-table-data"]
    assert imported.unequal[1].what == "the pattern public.tmp_* is not taken over"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("dump: {}\n", "dump.transformation should hold a list"),
        ("dump:\n  transformation:\n    - {transformers: []}\n", "a table needs a name"),
        ("dump:\n  transformation:\n    - {name: t, transformers: [{params: {}}]}\n", "a transformer needs a name"),
    ],
)
def test_what_is_no_configuration_is_told_with_its_place(tmp_path: Path, content: str, words: str) -> None:
    """File, line and column."""
    path = tmp_path / "greenmask.yml"
    path.write_text(content)
    with pytest.raises(BadInput, match=words) as caught:
        from_greenmask(load(path))
    assert "greenmask.yml:" in str(caught.value)


LABELS = """
-- a dump
SECURITY LABEL FOR anon ON COLUMN public.people.email IS 'MASKED WITH FUNCTION anon.fake_email()';
SECURITY LABEL FOR anon ON COLUMN people."First Name"
  IS 'MASKED WITH FUNCTION anon.fake_first_name()';
SECURITY LABEL FOR anon ON COLUMN people.note IS 'MASKED WITH VALUE ''it''''s hidden''';
SECURITY LABEL FOR anon ON COLUMN people.odd IS $$MASKED WITH FUNCTION my.own(people.odd)$$;
SECURITY LABEL FOR anon ON COLUMN people.email IS 'MASKED WITH FUNCTION anon.own()';
SECURITY LABEL FOR anon ON COLUMN people.email IS 'MASKED WITH FUNCTION anon.fake_email()';
SECURITY LABEL FOR anon ON COLUMN people.gone IS 'MASKED WITH FUNCTION anon.fake_email()';
SECURITY LABEL FOR anon ON COLUMN people.gone IS NULL;
SECURITY LABEL FOR anon ON TABLE people IS 'TABLESAMPLE BERNOULLI(10)';
"""


def test_labels_convert() -> None:
    """In whatever quotes they stand, the last one of a column; what has no equal is named."""
    imported = from_labels(LABELS)
    assert imported.columns == {
        PEOPLE: {
            "email": "email",
            "First Name": "name.first",
            "note": {"mask": "constant", "value": "it's hidden"},
            "odd": "todo",
        }
    }
    assert sorted(each.where for each in imported.unequal) == ["public.people.odd", "table people"]
    assert any(each.what == "my.own() has no equal" for each in imported.unequal)


def test_rows_of_a_dump_are_not_read_as_labels() -> None:
    """A value may look like one."""
    rows = "COPY public.log (line) FROM stdin;\nSECURITY LABEL FOR anon ON COLUMN a.b IS 'MASKED WITH VALUE 1';\n\\.\n"
    assert from_labels(f"{rows}{LABELS}{rows}").columns.keys() == {PEOPLE}


def test_what_only_looks_like_a_label_is_none() -> None:
    """What is commented out, or stands in a text, decides nothing; what cannot be read is told with its line."""
    kept = "SECURITY LABEL FOR anon ON COLUMN public.people.email IS 'NOT MASKED';"
    text = f"-- {kept}\n/* {kept}\n*/\nCOMMENT ON TABLE a IS 'it''s {kept.replace(chr(39), chr(39) * 2)}';\n"
    text += f"SELECT $x$ {kept} $x$;\nSECURITY LABEL FOR anon ON COLUMN public.people.id IS ;\n"
    imported = from_labels(text)
    assert imported.columns == {}
    assert list(map(str, imported.unequal)) == ["line 6: a label that cannot be read; nothing was taken from it"]


def test_text_without_labels_is_refused() -> None:
    """It is no such dump."""
    with pytest.raises(BadInput, match="no SECURITY LABEL"):
        from_labels("SELECT 1;")


def test_the_file_loads_and_decisions_win(tmp_path: Path) -> None:
    """What a person has decided stays; todo is filled."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "version: 1\nlocale: de_DE\ntables:\n  public.people:\n    subject: id\n"
        "    columns: {email: redact, First Name: todo, note: {mask: redact, when: odd IS NULL}}\n"
        "domains:\n  d: {mask: email, columns: [public.a.b]}\n"
    )
    path.write_text(write(from_labels(LABELS), load_rules(path)))
    rules = load_rules(path)
    people = rules.tables[PEOPLE]
    assert {name: rule.written for name, rule in people.columns.items()} == {
        "email": "redact",
        "First Name": "name.first",
        "note": {"mask": "redact", "when": "odd IS NULL"},
        "odd": "todo",
    }
    assert (rules.locale, people.subject, list(rules.domains)) == ("de_DE", "id", ["d"])
    assert "#   public.people.odd: my.own() has no equal; it is todo" in path.read_text()


def test_what_has_no_equal_is_todo_only_where_nothing_is_decided() -> None:
    """The summary says what the file holds."""
    existing = Rules.model_validate({"version": 1, "tables": {"public.people": {"columns": {"odd": "redact"}}}})
    imported = from_labels(LABELS)
    (told,) = [one for one in imported.beside(existing).unequal if one.where == "public.people.odd"]
    assert told.instead == "the file's own rule stays"
    assert "odd" in imported.columns[PEOPLE]
    assert "odd" not in imported.beside(existing).columns[PEOPLE]
    assert "#   public.people.odd: my.own() has no equal; the file's own rule stays" in write(imported, existing)


def test_comments_of_the_file_stay(tmp_path: Path) -> None:
    """A person's reasons are not lost to an import, and a second one adds nothing; what a suggestion makes of the file
    no longer says that it was imported."""
    path = tmp_path / "rules.yaml"
    before = (
        "# The works council agreed.\nversion: 1\ntables:\n  # people\n  public.people:\n    columns:\n"
        "      # Ask Anna.\n      email: redact  # by hand\n      note: todo  # why?\n"
        "domains:\n  d: {mask: email, columns: [public.a.b]}  # both\n# the end\n"
    )
    path.write_text(before)
    known = load(path)
    path.write_text(write(from_labels(LABELS), load_rules(path)))
    once = path.read_text()
    assert left_out(known, load(path)) == []
    assert all(line in once.splitlines() for line in before.splitlines() if "#" in line and "note" not in line)
    path.write_text(write(from_labels(LABELS), load_rules(path)))
    assert path.read_text() == once
    assert "# Imported" not in suggest(catalog(table("public.people", "email text")), {}, load_rules(path))


def test_masks_that_are_named_exist() -> None:
    """No conversion names a mask that the catalogue lacks."""
    named = [rule if isinstance(rule, str) else rule["mask"] for rule in conversion._PLAIN.values()]
    named += [rule for rule in conversion._MASKING.values() if isinstance(rule, str)]
    assert set(named) <= set(MASKS)
