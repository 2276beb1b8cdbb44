"""Labels of PostgreSQL Anonymizer become rules that the catalogue knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fix_catalog import catalog, table

from capture.model import ColumnName
from transform.anon_labels import translate
from transform.suggest import suggest


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        ("MASKED WITH FUNCTION anon.fake_email()", "email"),
        ("masked with function anon.dummy_last_name()", "name.last"),
        ("MASKED WITH FUNCTION anon.pseudo_iban(id)", "financial.iban"),
        ("MASKED WITH FUNCTION anon.random_date()", {"mask": "date.shift", "days": 180}),
        (
            "MASKED WITH FUNCTION anon.partial(phone, 2, $$***$$, 3)",
            {"mask": "text.partial", "keep_first": 2, "keep_last": 3},
        ),
        ("MASKED WITH FUNCTION anon.noise(salary, 0.2)", {"mask": "number.noise", "ratio": 0.2}),
        ("MASKED WITH FUNCTION anon.dnoise(born, '2 months'::interval)", {"mask": "date.shift", "days": 60}),
        ("MASKED WITH FUNCTION anon.dnoise(born, '08:00')", {"mask": "date.shift", "days": 180}),
        ("MASKED WITH FUNCTION anon.random_int_between(1, 50)", {"mask": "number.within", "min": 1, "max": 50}),
        ("MASKED WITH FUNCTION anon.random_in(ARRAY['a','b''s'])", {"mask": "choice", "values": ["a", "b's"]}),
        ("MASKED WITH FUNCTION anon.random_in(ARRAY[1,2])", {"mask": "choice", "values": [1, 2]}),
        ("MASKED WITH FUNCTION anon.random_in(ARRAY[now()])", None),
        ("MASKED WITH VALUE NULL", "null"),
        ("MASKED WITH VALUE 'it''s'", {"mask": "constant", "value": "it's"}),
        ("MASKED WITH VALUE $$x$$", {"mask": "constant", "value": "x"}),
        ("MASKED WITH VALUE 0", {"mask": "constant", "value": 0}),
        ("MASKED WITH VALUE false", {"mask": "constant", "value": False}),
        ("NOT MASKED", "keep"),
        ("MASKED WITH FUNCTION public.own_function()", None),
        ("MASKED WITH VALUE now()", None),
        ("TABLESAMPLE BERNOULLI(10)", None),
    ],
)  # fmt: skip
def test_labels_are_translated(label: str, rule: str | dict[str, Any] | None) -> None:
    """What a label means is a rule of the same meaning, or nothing."""
    assert translate(label) == rule


def test_a_label_decides_its_column() -> None:
    """A column with a label gets its rule, with the reason; one whose label is unknown is judged as any other."""
    of = catalog(table("public.t", "a text", "email text"))
    (t,) = of.tables.values()
    labels = ("MASKED WITH FUNCTION anon.fake_last_name()", "MASKED WITH FUNCTION own.thing()")
    columns = tuple(replace(shape, anon_label=label) for shape, label in zip(t.columns, labels, strict=True))
    text = suggest(replace(of, tables={t.name: replace(t, columns=columns)}), {}, None)
    assert "a: name.last  # by its label for anon" in text
    assert "email: email  # name: email" in text


def test_no_column_that_a_label_masks_is_kept() -> None:
    """Where the label has no equal and the judgement would keep the column, a person decides."""
    of = catalog(table("public.t", "status text"))
    (t,) = of.tables.values()
    labelled = replace(t, columns=(replace(t.columns[0], anon_label="MASKED WITH FUNCTION own.thing()"),))
    samples = {ColumnName(t.name, "status"): [b"a", b"b"] * 100}
    assert "status: keep" in suggest(of, samples, None)
    assert "status: todo" in suggest(replace(of, tables={t.name: labelled}), samples, None)
