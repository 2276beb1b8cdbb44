"""A mask is held against the CHECK constraints of its column: what could violate one is refused, with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fix_catalog import catalog, column, foreign_key, table

from capture.model import BadInput, Catalog, Check, Computed, TableName
from transform.coverage import Finding, FindingKind, Severity
from transform.keyring import KeyRing
from transform.plan import check, compile_plan
from transform.rules import Rules, load_rules

T = TableName("public", "t")
SHIFT = {"mask": "date.shift", "days": 30}


def constrained(*columns: str, expression: str, **shapes: dict[str, object]) -> Catalog:
    """One table with a CHECK constraint named c; ``shapes`` say more of a column."""
    of = table("public.t", *columns)
    parts = tuple(replace(shape, **shapes.get(shape.name, {})) for shape in of.columns)
    names = tuple(shape.name for shape in parts if shape.name in expression.replace("(", " ").replace(")", " ").split())
    return catalog(replace(of, columns=parts, checks=(Check("c", expression, names),)))


def said(of: Catalog, *, subject: str | None = None, **columns: object) -> Finding | None:
    """What the plan says of the constraint; every other column is kept."""
    kept: dict[str, object] = {shape.name: "keep" for shape in of.tables[T].copied_columns}
    own: dict[str, object] = {"columns": kept | columns} | ({} if subject is None else {"subject": subject})
    found = check(Rules.model_validate({"version": 1, "tables": {"public.t": own}}), of)
    assert all(finding.kind is FindingKind.CHECK for finding in found), found
    return found[0] if found else None


def is_taken(found: Finding | None) -> bool:
    assert found is not None
    return found.severity is Severity.NOTE


@pytest.mark.parametrize(
    ("shape", "expression", "rule"),
    [
        ("a text", "(char_length(a) <= 60)", "email"),
        ("a text", "(a ~* '^[^@[:space:]]+@[^@[:space:]]+\\.[a-z]+$'::text)", "email"),
        ("a text", "(a ~~ '%_@_%'::text)", "email"),
        ("a text", "(a <> ''::text)", "redact"),
        ("a text", "(lower(a) = a)", "email"),
        ("a text", "(length(btrim(a)) > 0)", "name.full"),
        ("a text", "(a = ANY (ARRAY['x'::text, 'y'::text]))", {"mask": "constant", "value": "y"}),
        ("a text", "(a ~ '^\\+?[0-9 ()-]{7,20}$'::text)", {"mask": "phone", "preserve_format": True}),
        ("a text", "(a IS NOT NULL)", "email"),
        ("a numeric", "(a > (0)::numeric)", {"mask": "number.noise", "ratio": 0.2}),
        ("a int4", "((a >= 1) AND (a <= 999999))", {"mask": "id.int", "range": [1, 999_999]}),
        ("a int8", "(a >= 0)", "id.int"),
        ("a date", "(a >= '1800-01-01'::date)", {"mask": "date.truncate", "to": "month"}),
        ("a date", "(a <= '9999-12-31'::date)", {"mask": "date.truncate", "to": "month"}),
        ("a int8", "((a)::numeric < 1e30)", "id.int"),
        ("a int8", "((a)::numeric < 1e3000)", "id.int"),
        ("a text", f"({' OR '.join(f'(a <> {number}::text)' for number in range(2000))})", "text.scramble"),
        ("a numeric", "((a < 1e40) AND ((a % (1)::numeric) < (1)::numeric))", {"mask": "constant", "value": 7}),
        ("a enum(x|y)", "((a)::text <> 'z'::text)", {"mask": "constant", "value": "x"}),
        ("a int4", "(((a)::bigint * 100) > '-1'::integer)", {"mask": "number.within", "min": 1, "max": 2_000_000_000}),
    ],
)
def test_what_surely_holds_is_taken(shape: str, expression: str, rule: object) -> None:
    """The mask was tried on values that satisfy the constraint, and a note says on how many."""
    found = said(constrained(shape, expression=expression), a=rule)
    assert is_taken(found), found
    assert "the check constraint c held of all" in str(found)


@pytest.mark.parametrize(
    ("shape", "expression", "rule"),
    [
        ("a text", "(char_length(a) <= 10)", "email"),
        ("a text", "(a ~ '^[A-Z]{2}-\\d{4}$'::text)", "name.full"),
        ("a text", "(a = ANY (ARRAY['x'::text, 'y'::text]))", {"mask": "constant", "value": "z"}),
        ("a text", "(a = ANY (ARRAY['x'::text, 'y'::text]))", "text.lorem"),
        ("a text", "(upper(a) = a)", "email"),
        ("a text", "(a IS NOT NULL)", None),
        ("a numeric", "((a >= (0)::numeric) AND (a <= (100)::numeric))", {"mask": "number.noise", "ratio": 0.2}),
        ("a date", "(a <= CURRENT_DATE)", SHIFT),
        ("a date", "(a >= '1900-01-01'::date)", SHIFT),
        ("a date", "(a > '1900-01-01'::date)", {"mask": "date.truncate", "to": "month"}),
        ("a int4", "((a >= 1) AND (a <= 999999))", "id.int"),
        ("a enum(x|y)", "(a <> 'y'::public.mood)", {"mask": "constant", "value": "y"}),
        ("a int4", "((a > 0) AND ((a * 100) > 0))", {"mask": "number.within", "min": 1, "max": 2_000_000_000}),
    ],
)
def test_what_may_be_violated_is_refused(shape: str, expression: str, rule: object) -> None:
    """With how often it happened, and no value."""
    of = constrained(shape, expression=expression)
    found = said(of, a=rule)
    assert found is not None
    assert (found.severity, found.where) == (Severity.ERROR, "public.t.a")
    assert "values that satisfy the check constraint c did not once they had been given to the mask" in found.message
    assert "satisfies: [c]" in found.hint


def test_one_id_of_millions_is_enough() -> None:
    """A permutation of 0 and up may make 0 of some id, however seldom; the range that the hint asks for may not."""
    of = constrained("a int8 pk", expression="(a > 0)")
    found = said(of, a="id.int")
    assert found is not None
    assert found.severity is Severity.ERROR
    assert "range: [least, greatest]" in found.hint
    assert "the mask id.int may make integers that do not satisfy the check constraint c" in found.message
    assert is_taken(said(of, a={"mask": "id.int", "range": [1, 2**63 - 1]}))


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("public.is_fine(a)", "dot is not known"),
        ("(a ~ '^(?=x)\\mx'::text)", "an escape in a regular expression"),
        ("(a < 'x'::text)", "depends on the collation"),
        ("(a = ANY (ARRAY['x'::text, 'y'::text]))", "too few values"),
        ("no sql (a", "it cannot be parsed"),
        ("(a ~ '^$'::text)", "too few values"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_reason(expression: str, why: str) -> None:
    """A function of the user's, a pattern that Python reads otherwise, too little that could be tried."""
    rule = {"mask": "phone", "preserve_format": True} if "ARRAY" in expression or "^$" in expression else "email"
    found = said(constrained("a text", expression=expression), a=rule)
    assert found is not None
    assert found.severity is Severity.ERROR
    assert why in found.message or "did not once" in found.message


def test_parts_that_read_no_masked_column_do_not_matter() -> None:
    """However strange they are; a strange part that does is not passed over."""
    of = constrained("a text", "b text", expression="(public.f(b) AND (length(a) < 99))")
    assert is_taken(said(of, a="email"))
    strange = said(of, b="email")
    assert strange is not None
    assert strange.severity is Severity.ERROR
    assert said(of) is None
    whole = catalog(replace(of.tables[T], checks=(Check("c", "(t.* IS NOT NULL)", ("a", "b")),)))
    assert not is_taken(said(whole, a="email"))


def test_columns_are_tried_together() -> None:
    """What compares two columns is tried on rows; dates of one subject keep their order."""
    of = constrained("id int8 pk", "a date", "b date", expression="(a <= b)")
    assert not is_taken(said(of, a=SHIFT, b=SHIFT))
    assert is_taken(said(of, subject="id", a=SHIFT, b=SHIFT))
    nulls = constrained("a text", "b text", expression="((a IS NULL) <> (b IS NULL))")
    assert is_taken(said(nulls, a="email", b="redact"))
    assert not is_taken(said(nulls, a=None))
    assert is_taken(said(constrained("a text", "b text", expression="((a IS NULL) OR (b IS NOT NULL))"), a=None))


def test_a_generated_column_is_computed_from_the_masked_ones() -> None:
    """A constraint on it is one on its sources."""
    of = constrained("a date", "b date", "n int4 generated", expression="(n > 0)", n={"expression": "(b - a)"})
    assert not is_taken(said(of, a=SHIFT))
    assert is_taken(said(of, a=None))


def test_days_beyond_those_of_python_are_left_out() -> None:
    """Where a constraint counts days on from a date, or speaks of the last day that has a name."""
    nights = constrained("a date", "n int4", expression="((a + n) > (a - 1))")
    assert is_taken(said(nights, n="number.noise"))
    period = constrained("a date", "b date", expression="((a < b) AND (b <= '9999-12-31'::date))")
    assert is_taken(said(period, a=None))


LOWER: dict[str, object] = {"expression": "lower(a)"}
SLUG: dict[str, object] = {"expression": "public.slug(a)"}
SEARCH: dict[str, object] = {"expression": "to_tsvector('english'::regconfig, COALESCE(a, ''::text))"}
LIMITED: dict[str, object] = {"expression": "((a || ' '::text) || b)", "max_length": 12, "base_type": "varchar"}


@pytest.mark.parametrize(
    ("shape", "how", "rules", "refused"),
    [
        ("g int4 generated", {"expression": "(a)::integer"}, {"a": "text.lorem"}, True),
        ("g int4 generated", {"expression": "(a)::integer"}, {"a": {"mask": "constant", "value": "12"}}, False),
        ("g int4 generated", {"expression": "(n * 1000)"}, {"n": "id.int"}, True),
        ("g int8 generated", {"expression": "((n)::bigint * 1000)"}, {"n": "id.int"}, False),
        ("g int4 generated", {"expression": "(100 / n)"}, {"n": "id.int"}, True),
        ("g int4 generated", {"expression": "(n / 100)"}, {"n": "id.int"}, False),
        ("g text generated", LIMITED, {"a": "name.first", "b": "name.last"}, True),
        ("g text generated", LIMITED | {"max_length": 200}, {"a": "name.first", "b": "name.last"}, False),
        ("g text generated notnull", {"expression": "(a || b)"}, {"a": None}, True),
        ("g text generated notnull", {"expression": "(a || b)"}, {"a": "email"}, False),
        ("g text generated", LOWER | {"checks": (Check("d", "(length(VALUE) < 6)"),)}, {"a": "email"}, True),
        ("g text generated", LOWER | {"checks": (Check("d", "(length(VALUE) > 0)"),)}, {"a": "email"}, False),
        ("g text generated", SLUG, {"a": "email"}, False),
        ("g text generated", SLUG | {"max_length": 9, "base_type": "varchar"}, {"a": "email"}, True),
        ("g tsvector generated", SEARCH, {"a": "email"}, False),
        ("g uuid generated", {"expression": "(a)::uuid"}, {"a": "email"}, True),
        ("g numeric generated", {"expression": "div((100)::numeric, (n)::numeric)"}, {"n": "id.int"}, True),
    ],
)  # fmt: skip
def test_a_generated_column_must_be_computed_and_fit(
    shape: str, how: dict[str, object], rules: dict[str, object], refused: bool
) -> None:
    """Of masked values as of the original ones; a function that nobody knows is trusted where it has room."""
    base = table("public.t", "a text", "b text", "n int4", shape)
    of = catalog(replace(base, columns=(*base.columns[:-1], replace(base.columns[-1], **how))))
    found = said(of, **rules)
    assert (found is not None) is refused, found
    if found is not None:
        assert "the generated column g" in found.message
        assert "satisfies: [g]" in found.hint
        vouched: dict[str, object] = {
            name: {"mask": rule or "null", "satisfies": ["g"]} for name, rule in rules.items()
        }
        assert said(of, **vouched) is None


@pytest.mark.parametrize(
    ("name", "expression", "rule", "refused"),
    [
        ("a", "(a)::integer", "text.lorem", True),
        ("a", "((a)::integer > 3)", {"mask": "constant", "value": "2"}, False),
        ("a", "lower(a)", "text.lorem", False),
        ("j", "((j ->> 'age'::text))::integer", "json", True),
        ("j", "(j ->> 'age'::text)", "json", False),
        ("a", "public.slug(a)", "text.lorem", False),
        ("n", "(n * 1000)", {"mask": "number.within", "min": 1, "max": 2_000_000_000}, True),
        ("n", "((n)::numeric * (1000)::numeric)", {"mask": "number.within", "min": 1, "max": 2_000_000_000}, False),
    ],
)
def test_what_an_index_computes_must_be_computed(name: str, expression: str, rule: object, refused: bool) -> None:
    """Also if the index is not unique; a partition's index over the same is told once."""
    indexed = (Computed("i", expression),)
    columns = ("a text", "n int4", "j jsonb")
    of = catalog(
        replace(table("public.t", *columns, kind="p"), computed=indexed),
        replace(table("public.t_1", *columns, root="public.t"), computed=(Computed("i_1", expression),)),
    )
    found = said(of, **{name: rule})
    assert (found is not None) is refused, found
    if found is not None:
        assert "the index i" in found.message


def test_constraints_of_domain_types_count() -> None:
    """Of the type's own, of every column of the type."""
    shape = replace(column("a", "text"), checks=(Check("d", "(VALUE ~ '^[^@]+@[^@]+$'::text)"),))
    of = catalog(replace(table("public.t", "a text"), columns=(shape,)))
    assert is_taken(said(of, a="email"))
    found = said(of, a="name.full")
    assert found is not None
    assert "the check constraint d" in found.message
    in_array = catalog(replace(table("public.t", "a text"), columns=(replace(shape, is_array=True),)))
    assert not is_taken(said(in_array, a="email"))


def test_a_partitions_own_constraint_counts_for_the_root_and_once() -> None:
    """What it has from the root is the root's."""
    own = Check("c", "(length(a) < 5)", ("a",))
    of = catalog(
        replace(table("public.t", "a text", kind="p"), checks=(Check("r", "(a <> ''::text)", ("a",)),)),
        replace(table("public.t_1", "a text", root="public.t"), checks=(own, Check("r", "(a <> ''::text)", ("a",)))),
    )
    rules = Rules.model_validate({"version": 1, "tables": {"public.t": {"columns": {"a": "email"}}}})
    found = check(rules, of)
    assert [(finding.severity, finding.where) for finding in found] == [
        (Severity.ERROR, "public.t.a"), (Severity.NOTE, "public.t.a"),
    ]  # fmt: skip


def test_a_rule_may_vouch_for_a_constraint(tmp_path: Path) -> None:
    """By its name, in the rule; a name that is none of its constraints' is an error with its place."""
    of = constrained("a text", expression="(length(a) < 5)")
    path = tmp_path / "rules.yaml"
    path.write_text("version: 1\ntables:\n  public.t:\n    columns:\n      a: {mask: email, satisfies: [c]}\n")
    assert check(load_rules(path), of) == []
    plain = Rules.model_validate({"version": 1, "tables": {"public.t": {"columns": {"a": "email"}}}})
    unconstrained = catalog(replace(of.tables[T], checks=()))
    keys = KeyRing(bytes(32), "test")
    assert compile_plan(load_rules(path), of, keys).fingerprint == compile_plan(plain, unconstrained, keys).fingerprint
    path.write_text("version: 1\ntables:\n  public.t:\n    columns:\n      a: {mask: email, satisfies: [c, e]}\n")
    with pytest.raises(BadInput, match=r"rules.yaml:5:7: public.t.a: the rule satisfies e.*What reads it: c"):
        compile_plan(load_rules(path), of, keys)


def test_a_referring_column_is_held_to_its_own_constraint() -> None:
    """The rule is the domain's; the constraint another table's, and the rule may vouch for that too."""
    other = replace(table("public.u", "b text"), checks=(Check("short", "(length(b) < 5)", ("b",)),))
    of = catalog(table("public.t", "a text"), other, foreign_keys=(foreign_key("public.u(b)", "public.t(a)"),))
    for rule, expected in (("email", ["public.u.b"]), ({"mask": "email", "satisfies": ["short"]}, [])):
        tables = {"public.t": {"columns": {"a": rule}}, "public.u": {"columns": {}}}
        found = check(Rules.model_validate({"version": 1, "tables": tables}), of)
        assert [one.where for one in found if one.severity is Severity.ERROR] == expected
