"""A mask stands in a unique index, an exclusion or a partition key only where no two rows can come into conflict."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from fix_catalog import catalog, foreign_key, table

from capture.model import Catalog, ColumnName, Index, Sequence, TableName
from transform.coverage import Finding, FindingKind, Severity
from transform.keyring import KeyRing
from transform.plan import check, compile_plan
from transform.rules import Rules

IBAN = {"mask": "financial.iban"}
SHIFT = {"mask": "date.shift", "days": 9}
T = TableName("public", "t")


def errors(of: Catalog, **columns: object) -> list[Finding]:
    """What is wrong with these rules for public.t; every other column of the catalog is kept."""
    tables: dict[str, dict[str, dict[str, object]]] = {
        str(name): {"columns": {shape.name: "keep" for shape in found.copied_columns}}
        for name, found in of.tables.items()
        if found.root is None
    }
    tables["public.t"]["columns"] |= columns
    found = check(Rules.model_validate({"version": 1, "tables": tables}), of)
    return [finding for finding in found if finding.severity is not Severity.NOTE]


def with_index(index: Index, *columns: str) -> Catalog:
    return catalog(table("public.t", *columns, indexes=(index,)))


def exclusion(columns: tuple[str, ...], *operators: str, expressions: tuple[str, ...] = ()) -> Index:
    return Index("x", columns, is_unique=False, is_exclusion=True, operators=operators, expressions=expressions)


def computed(name: str, expression: str, of: Catalog) -> Catalog:
    """The catalog with the generated column of public.t computed so."""
    found = of.tables[T]
    columns = tuple(replace(shape, expression=expression) if shape.name == name else shape for shape in found.columns)
    return replace(of, tables={**of.tables, T: replace(found, columns=columns)})


# ------------------------------------------------------------------------------------------ keys that are computed


@pytest.mark.parametrize(
    ("expression", "rule", "said"),
    [
        ("lower((a)::text)", "email", None),
        ("lower((a)::text)", IBAN, "the mask financial.iban may give two values that the unique index i holds equal"),
        ("lower((a)::text)", "text.lorem", "may give two values the same one, and what is computed from it"),
        ("lower((a)::text)", {"mask": "email", "preserve_format": True}, "the mask email with preserve_format"),
        ("lower((a)::text)", None, None),
        ("(a)::text", IBAN, None),
        ("md5(a)", IBAN, None),
        ("btrim(a)", "email", None),
        ("COALESCE(a, ''::text)", "email", None),
        ("COALESCE(a, ''::text)", IBAN, "such as by case"),
        ("COALESCE(a, ''::text)", None, "rows without a value would meet"),
        ("split_part(a, '@'::text, 2)", "email", "which the mask email may make equal"),
        ("split_part(a, '@'::text, 2)", None, "rows without a value would meet"),
        ("\"substring\"(a, 1, 3)", "email", "which the mask email may make equal"),
        ("(a || b)", "email", "which the mask email may make equal"),
        ("(a)::character varying(3)", "email", "which the mask email may make equal"),
        ("no sql (", "email", None),
        ("a no sql (", "email", "which the mask email may make equal"),
        ("lower((b)::text)", "text.lorem", None),
        ("(b = 'a'::text)", "text.lorem", None),
    ],
)  # fmt: skip
def test_an_expression_is_known_or_refused(expression: str, rule: object, said: str | None) -> None:
    """Folding of case and blanks, casts to text, hashes and defaults are known; of other functions nothing is."""
    found = errors(with_index(Index("i", (), expressions=(expression,)), "a text", "b text"), a=rule)
    assert [finding.kind for finding in found] == [FindingKind.UNIQUE] * (said is not None)
    assert said is None or said in found[0].message


@pytest.mark.parametrize(
    ("kind", "filling", "rule", "refused"),
    [
        ("int4", "0", "id.int", True),
        ("int4", "'-1'::integer", "id.int", False),
        ("int4", "0", {"mask": "id.int", "range": [1, 5000]}, False),
        ("int4", "50", {"mask": "id.int", "range": [1, 5000]}, True),
        ("int8", "(length('ab'::text))::bigint", "id.int", True),
        ("int4", "0", {"mask": "number.within", "min": -(2**31), "max": 2**31 - 1}, True),
        ("text", "'7'::text", "id.int", True),
        ("text", "'-'::text", "id.int", False),
        ("uuid", "'00000000-0000-0000-0000-000000000000'::uuid", "id.uuid", False),
    ],
)
def test_what_stands_for_null_is_no_masked_value(kind: str, filling: str, rule: object, refused: bool) -> None:
    """A permuted integer may be the one that an index gives NULL, unless that is none that ids are masked to."""
    found = errors(with_index(Index("i", (), expressions=(f"COALESCE(a, {filling})",)), f"a {kind}"), a=rule)
    assert ["gives NULL a value" in finding.message for finding in found] == [True] * refused


@pytest.mark.parametrize(
    ("predicate", "refused"),
    [
        ("(a IS NOT NULL)", False),
        ("((a IS NOT NULL) AND (b > 3))", False),
        ("((b > 3) OR (a IS NOT NULL))", False),
        ("(NOT (a IS NULL))", False),
        ("(a IS NULL)", True),
        ("(NOT (a IS NOT NULL))", True),
        ("((a IS NOT NULL) = false)", True),
    ],
)
def test_null_may_only_leave_rows_out(predicate: str, refused: bool) -> None:
    """Where a column becomes NULL, a partial index must not get rows that production's has not."""
    found = errors(with_index(Index("i", ("b",), predicate=predicate), "a text", "b int8"), a=None)
    assert [finding.kind for finding in found] == [FindingKind.UNIQUE] * refused


def test_the_hint_names_masks_that_would_do() -> None:
    """In an index over lower() only those that carry a tag."""
    (found,) = errors(with_index(Index("i", (), expressions=("lower(a)",)), "a text"), a=IBAN)
    assert "email" in found.hint
    assert "financial" not in found.hint


def test_a_generated_column_counts_as_what_computes_it() -> None:
    """Unique over a generated column is unique over its sources."""
    of = with_index(Index("i", ("g",)), "a text", "g text generated")
    assert errors(computed("g", "lower(a)", of), a="email") == []
    (found,) = errors(computed("g", "lower(a)", of), a="text.lorem")
    assert (found.where, found.kind) == ("public.t.a", FindingKind.UNIQUE)
    (found,) = errors(computed("g", '"left"(a, 3)', of), a="email")
    assert "may make equal" in found.message


@pytest.mark.parametrize(
    ("inner", "outer", "settled"),
    [
        (Index("i", ("a",)), Index("o", ("a", "b")), True),
        (Index("i", ("a",)), Index("o", ("a",), predicate="(b > 3)"), True),
        (Index("i", ("a",)), Index("o", ("a",), expressions=("abs(b)",)), True),
        (Index("i", ("a",), is_immediate=False), Index("o", ("a", "b"), is_immediate=False), True),
        (exclusion(("a",), "="), Index("o", ("a", "b")), True),
        (Index("i", ("c",)), Index("o", ("c", "b"), nulls_distinct=False), False),
        (Index("i", ("c",), nulls_distinct=False), Index("o", ("c", "b"), nulls_distinct=False), True),
        (Index("i", ("a",)), Index("o", ("a", "b"), nulls_distinct=False), True),
        (Index("i", ("a",), predicate="(c > 3)"), Index("o", ("a", "b")), False),
        (Index("i", ("a",), expressions=("lower(d)",)), Index("o", ("a", "b")), False),
        (Index("i", ("a",), is_immediate=False), Index("o", ("a", "b")), False),
        (Index("i", ("d",)), Index("o", ("d", "b"), deterministic=False), False),
        (Index("i", ("a",)), exclusion(("a", "b"), "=", "<>"), False),
        (Index("i", ("b",)), Index("o", ("a", "b")), False),
    ],
)
def test_what_another_index_keeps_apart_cannot_meet(inner: Index, outer: Index, settled: bool) -> None:
    """Rows that differ in a unique part of an index differ in the whole, whatever a mask makes of the rest."""
    of = catalog(table("public.t", "a int8 notnull", "b int8", "c int8", "d text", indexes=(inner, outer)))
    assert ([one for one in errors(of, b="number.noise") if "index o" in one.message or "constraint x" in one.message]
            == []) is settled  # fmt: skip


# ------------------------------------------------------------------------------------------------- equality, NULLs


@pytest.mark.parametrize(
    ("index", "rules", "said"),
    [
        (exclusion(("a", "r"), "=", "&&"), {"a": "id.int"}, None),
        (exclusion(("a", "r"), "<>", "="), {"a": "id.int"}, None),
        (exclusion(("a", "r"), "&&", "="), {"a": "id.int"}, "compares it by &&"),
        (exclusion(("a",), "=", "&&", expressions=("int4range(a, b)",)), {"b": "id.int"}, "compares it by &&"),
        (exclusion(("a",), "=", "=", expressions=("int4range(a, b)",)), {"b": "id.int"}, "may make equal"),
        (exclusion(("a", "r"), "=", "&&"), {"a": "number.noise"}, "the column is in the exclusion constraint x"),
        (exclusion(("a", "r"), "=", "&&"), {"r": None}, None),
        (exclusion(("a", "r"), "=", "&&"), {"r": {"mask": "constant", "value": "[1,2)"}}, "the column is in"),
    ],
)
def test_an_exclusion_is_more_than_equality(index: Index, rules: dict[str, object], said: str | None) -> None:
    """What it compares for equality may be permuted; what it compares by order or overlap may not."""
    found = errors(with_index(index, "a int8", "b int8", "r int4range"), **rules)
    assert [finding.kind for finding in found] == [FindingKind.UNIQUE] * (said is not None)
    assert said is None or said in found[0].message


@pytest.mark.parametrize("columns", [("a",), ("a", "b")])
def test_null_meets_null_where_the_index_says_so(columns: tuple[str, ...]) -> None:
    """NULLS NOT DISTINCT: two rows without a value are in conflict."""
    index = Index("i", columns)
    assert errors(with_index(index, "a text", "b text"), a=None) == []
    (found,) = errors(with_index(replace(index, nulls_distinct=False), "a text", "b text"), a=None)
    assert "NULLS NOT DISTINCT" in found.message
    assert errors(with_index(replace(index, nulls_distinct=False), "a text", "b text"), a="email") == []


def test_one_lossy_column_of_a_composite_key_is_refused() -> None:
    """Of (tenant, name) two names of one tenant could meet."""
    (found,) = errors(with_index(Index("i", ("b", "a")), "a text", "b int8"), a="name.full")
    assert "the column is in the unique index i" in found.message


@pytest.mark.parametrize(
    ("predicate", "rule", "refused"),
    [
        ("(kind = 'a'::text)", "email", False),
        ("(a = 'kind'::text)", "email", True),
        ("((a IS NULL) AND (kind = 'x'::text))", "email", False),
        ("(ba IS NULL)", "email", False),
        ("(lower(a) IS NULL)", "email", True),
    ],
)
def test_a_predicate_chooses_by_a_column_only_if_it_reads_it(predicate: str, rule: object, refused: bool) -> None:
    """A text that happens to be a column's name is no column."""
    found = errors(
        with_index(Index("i", ("b",), predicate=predicate), "a text", "b text", "kind text", "ba text"), a=rule
    )
    assert [finding.kind for finding in found] == [FindingKind.UNIQUE] * refused


# --------------------------------------------------------------------------------------------------- case, collation


def test_a_domain_that_ignores_case_cannot_fill_a_key_that_tells_it() -> None:
    """'Ann' and 'ann' are two keys in text, and one in citext; unless an index over lower() rules that out."""
    keys = (foreign_key("public.u(b)", "public.t(a)"),)
    of = catalog(table("public.t", "a text unique"), table("public.u", "b citext"), foreign_keys=keys)
    rule = {"a": "email"}
    del_b = Rules.model_validate({"version": 1, "tables": {"public.t": {"columns": rule}, "public.u": {"columns": {}}}})
    (found,) = (finding for finding in check(del_b, of) if finding.severity is Severity.ERROR)
    assert (found.kind, found.where) == (FindingKind.UNIQUE, "public.t.a")
    assert "ignores it (citext)" in found.message
    lower = Index("l", (), expressions=("lower(a)",))
    of = catalog(table("public.t", "a text unique", indexes=(lower,)), table("public.u", "b citext"), foreign_keys=keys)
    assert [finding for finding in check(del_b, of) if finding.severity is Severity.ERROR] == []


@pytest.mark.parametrize("other", ["text", "varchar(60)", "char(60)", "name"])
def test_a_domain_with_citext_masks_all_cases_alike(other: str) -> None:
    """Whatever text type the linked column has."""
    of = catalog(table("public.t", "a citext"), table("public.u", f"b {other}"))
    domains = {"d": {"mask": "email", "columns": ["public.t.a", "public.u.b"]}}
    tables: dict[str, object] = {"public.t": {}, "public.u": {}}
    plan = compile_plan(
        Rules.model_validate({"version": 1, "tables": tables, "domains": domains}), of, KeyRing(bytes(32), "test")
    )
    one = plan.tables[T].masks["a"].apply(pa.array([b"anna@x.org"])).to_pylist()[0]
    two = plan.tables[TableName("public", "u")].masks["b"].apply(pa.array([b"Anna@X.org"])).to_pylist()[0]
    assert one == two.rstrip(b" ")


def test_an_index_over_the_text_of_citext_tells_case() -> None:
    """The mask folds it, so the texts could meet."""
    (found,) = errors(with_index(Index("i", (), expressions=("(a)::text",)), "a citext"), a="email")
    assert "tells case" in found.message


def test_a_collation_that_holds_texts_equal_needs_a_tag_and_no_links() -> None:
    """A permutation of characters may make texts equal; and equal texts would not join as before."""
    of = catalog(table("public.t", "a text unique"), table("public.u", "b text"))
    found = of.tables[T]
    loose = replace(found, columns=(replace(found.columns[0], deterministic=False),))
    of = replace(of, tables={**of.tables, T: loose})
    assert errors(of, a="email") == []
    assert [one.kind for one in errors(of, a=IBAN)] == [FindingKind.UNIQUE]
    for index in (
        Index("i", ("a",), deterministic=False),
        Index("i", (), expressions=("(a)::text",), deterministic=False),
    ):
        own = with_index(index, "a text", "b int4")
        assert errors(own, a="email") == []
        assert [one.kind for one in errors(own, a=IBAN)] == [FindingKind.UNIQUE]
        assert errors(own, b="number.noise") == []
    domains = {"d": {"mask": "email", "columns": ["public.t.a", "public.u.b"]}}
    tables: dict[str, object] = {"public.t": {}, "public.u": {}}
    (one,) = check(Rules.model_validate({"version": 1, "tables": tables, "domains": domains}), of)
    assert (one.kind, "public.u.b" in one.message) == (FindingKind.TYPE, True)


# ---------------------------------------------------------------------------------------- partitions, types, sequences


@pytest.mark.parametrize("key", ["RANGE (day)", "HASH (id, day)", "LIST (date_part('year'::text, day))"])
def test_a_partition_key_is_kept(key: str) -> None:
    """A masked row would belong to another partition; so also by the key of a branch."""
    root = replace(table("public.t", "id int8", "day date", kind="p"), partition_key="LIST (id)")
    branch = replace(table("public.t_1", "id int8", "day date", kind="p", root="public.t"), partition_key=key)
    (found,) = errors(catalog(root, branch), day=SHIFT)
    assert (found.kind, found.where) == (FindingKind.PARTITION_KEY, "public.t.day")
    assert key in found.message
    assert errors(catalog(root, branch)) == []


def test_a_partition_may_demand_a_value() -> None:
    """A column that one partition holds to be NOT NULL cannot become NULL, though its root would let it."""
    root = replace(table("public.t", "id int8", "a text", kind="p"), partition_key="LIST (id)")
    assert errors(catalog(root, table("public.t_1", "id int8", "a text", root="public.t")), a=None) == []
    (found,) = errors(catalog(root, table("public.t_1", "id int8", "a text notnull", root="public.t")), a=None)
    assert (found.kind, found.where) == (FindingKind.NOT_NULL, "public.t.a")
    assert "in the partition public.t_1" in found.message


@pytest.mark.parametrize(
    ("one", "other", "mask", "refused"),
    [
        ("int8", "int4", "id.int", False),
        ("int8", "numeric", "id.int", False),
        ("int4", "text", "id.int", False),
        ("uuid", "text", "id.uuid", False),
        ("text", "citext", "email", False),
        ("char(60)", "varchar(50)", "email", False),
        ("date", "timestamptz", SHIFT, True),
        ("date", "date array", SHIFT, True),
        ("json", "jsonb", "json", True),
        ("uuid", "int8", "keep", False),
        ("uuid", "int8", None, False),
        ("float8", "int8", "number.noise", True),
    ],
)
def test_a_domain_is_of_types_that_write_a_value_alike(one: str, other: str, mask: object, refused: bool) -> None:
    """Linked columns of types that can hold no same text are an error, unless the value does not matter."""
    of = catalog(table("public.t", f"a {one}"), table("public.u", f"b {other}"))
    rule = {"mask": mask} if not isinstance(mask, dict) else mask
    domains = {"d": {**rule, "columns": ["public.t.a", "public.u.b"]}}
    tables: dict[str, object] = {"public.t": {}, "public.u": {}}
    found = check(Rules.model_validate({"version": 1, "tables": tables, "domains": domains}), of)
    assert {finding.kind for finding in found} == ({FindingKind.TYPE} if refused else set())
    assert all("which must be masked alike" in finding.message for finding in found)


@pytest.mark.parametrize("kind", ["text", "int8"])
def test_a_column_that_refers_to_a_generated_one_is_kept(kind: str) -> None:
    """The generated column is computed from masked values, and would show others."""
    of = catalog(
        table("public.t", f"a {kind}"),
        table("public.u", f"g {kind} generated"),
        foreign_keys=(foreign_key("public.t(a)", "public.u(g)"),),
    )
    (found,) = errors(of, a="email" if kind == "text" else "id.int")
    assert (found.kind, found.where) == (FindingKind.TYPE, "public.t.a")
    assert "those of public.u.g, which must be masked alike, as what other columns make them" in found.message
    assert errors(of) == []


def test_a_sequence_that_ends_below_the_upper_half_asks_for_a_range() -> None:
    """The copy's own ids would find no room; with the range that the hint names they do."""
    feeds = (ColumnName(T, "a"),)
    sequence = Sequence(TableName("public", "s"), "bigint", 1, 1, 99_999, feeds)
    of = replace(catalog(table("public.t", "a int8 pk")), sequences=(sequence,))
    (found,) = errors(of, a="id.int")
    assert "the sequence public.s ends at 99999" in found.message
    assert "range: [1, 99999]" in found.hint
    assert errors(of, a={"mask": "id.int", "range": [1, 99_999]}) == []
    (found,) = errors(of, a={"mask": "id.int", "range": [1, 199_997]})
    assert "a copy's own ids begin above 99999" in found.message
    assert errors(of, a={"mask": "id.int", "range": "x"})[0].kind is FindingKind.PARAMETERS
