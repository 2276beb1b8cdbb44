"""What rules that fit may still tell of people, on samples: who is rare, who is alone, what is personal; as counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fix_catalog import catalog, foreign_key, table
from hypothesis import given
from hypothesis import strategies as st

from capture.model import Catalog, ReplicaIdentity, TableName
from transform.coverage import Finding, FindingKind, Severity
from transform.plan import examine
from transform.risks import ALONE, LEAST, Risks, _alone, _fewest, _joined
from transform.rules import Rules, load_rules

CANARY = "canary7f3a"
NAME = TableName("public", "t")


def rules(**columns: object) -> Rules:
    """Rules for the one table."""
    return Rules.model_validate({"version": 1, "tables": {str(NAME): {"columns": {"id": "keep", **columns}}}})


def of(*columns: str) -> Catalog:
    """A catalog of the one table, about which the planner says that it has a million rows."""
    made = table(str(NAME), "id int8 pk", *columns)
    return catalog(replace(made, estimated_rows=1_000_000))


def found(
    own: Rules, schema: Catalog, values: Mapping[str, Sequence[str | None]], *, name: TableName = NAME
) -> list[Finding]:
    """What the samples show; the keys are numbered, and no finding holds a canary."""
    count = len(next(iter(values.values())))
    columns = {"id": [str(row) for row in range(count)], **values}
    arrays = [
        pa.array([None if one is None else one.encode() for one in each], pa.binary()) for each in columns.values()
    ]
    risks = Risks(examine(own, schema), schema)
    said = list(risks.judge(schema.tables[name], pa.RecordBatch.from_arrays(arrays, names=list(columns))))
    *of_all, cost = risks.of_all(1)
    assert CANARY not in repr([*said, *of_all, cost])
    return [*said, *of_all]


def kinds(findings: list[Finding]) -> dict[str, set[FindingKind]]:
    """By column."""
    said: dict[str, set[FindingKind]] = {}
    for finding in findings:
        said.setdefault(finding.where.removeprefix(f"{NAME}."), set()).add(finding.kind)
    return said


# -------------------------------------------------------------------------------------------------- frequencies


@pytest.mark.parametrize(
    ("rule", "is_risk"),
    [
        ("keep", True),
        ("text.scramble", True),
        ("name.first", True),
        ("redact", False),
        ("null", False),
        ({"mask": "constant", "value": CANARY}, False),
    ],
)
def test_a_rare_value_is_known_by_its_rarity(rule: object, is_risk: bool) -> None:
    """Kept or masked, unless the mask gives many values the same one."""
    status = ["in"] * 100 + ["out"] * 97 + [f"{CANARY} ill"] * (LEAST - 2)
    said = found(
        rules(status=rule, name="name.full"), of("status text", "name text"), {"status": status, "name": status}
    )
    assert (FindingKind.FREQUENCY in kinds(said).get("status", set())) is is_risk
    if is_risk:
        (finding,) = (one for one in said if one.kind is FindingKind.FREQUENCY and one.where == "public.t.status")
        assert finding.severity is Severity.RISK
        assert finding.message.startswith(f"1 of 3 values come fewer than {LEAST} times in 200 sampled rows")


def test_what_is_common_enough_is_no_risk() -> None:
    """Nor what tells most rows apart, nor keys, nor what is about nobody."""
    often = ["in"] * 100 + ["out"] * LEAST
    rare = ["in"] * 104 + ["out"]
    apart = [f"n{n}" for n in range(105)]
    schema = of("a text", "b text unique", "c text", "name text")
    said = found(
        rules(a="keep", b="keep", c="redact", name="name.full"),
        schema,
        {"a": often, "b": apart, "c": rare, "name": apart},
    )
    assert not any(one.kind is FindingKind.FREQUENCY for one in said)
    assert found(rules(a="keep"), of("a text"), {"a": rare}) == []


def test_a_table_that_refers_to_people_is_about_them() -> None:
    """Although it has no masked column of its own."""
    schema = catalog(
        table("public.people", "id int8 pk", "name text"),
        table(str(NAME), "id int8 pk", "person int8", "a text"),
        foreign_keys=(foreign_key("public.t(person)", "public.people(id)"),),
    )
    own = Rules.model_validate(
        {
            "version": 1,
            "tables": {
                "public.people": {"columns": {"id": "keep", "name": "name"}},
                str(NAME): {"columns": {"id": "keep", "person": "keep", "a": "keep"}},
            },
        }
    )
    rare = ["in"] * 104 + ["out"]
    said = found(own, schema, {"person": [str(n) for n in range(105)], "a": rare})
    assert kinds(said) == {"a": {FindingKind.FREQUENCY}}


def test_what_shares_a_list_with_people_is_not_about_them() -> None:
    """Rates refer to currencies as accounts do, and are nobody's."""
    schema = catalog(
        table("public.currencies", "code text pk"),
        table("public.accounts", "code text", "owner text"),
        table(str(NAME), "code text", "a text"),
        foreign_keys=(
            foreign_key("public.t(code)", "public.currencies(code)"),
            foreign_key("public.accounts(code)", "public.currencies(code)"),
        ),
    )
    own = Rules.model_validate(
        {
            "version": 1,
            "tables": {
                "public.currencies": {"columns": {"code": "keep"}},
                "public.accounts": {"columns": {"code": "keep", "owner": "name"}},
                str(NAME): {"columns": {"code": "keep", "a": "keep"}},
            },
        }
    )
    assert found(own, schema, {"code": ["EUR"] * 105, "a": [str(n) for n in range(105)]}) == []


# ------------------------------------------------------------------------------------------------- linkability


def test_columns_that_tell_rows_apart_together_are_named() -> None:
    """The fewest, and none of the keys; where they are written."""
    rng = np.random.default_rng(7)
    values = {name: [str(n) for n in rng.integers(0, 25, 200)] for name in ("a", "b")}
    schema = of("a text", "b text", "c text", "name text", "code text unique")
    said = found(
        rules(a="keep", b="keep", c="keep", name="name.full", code="keep"),
        schema,
        {**values, "c": ["x"] * 200, "name": ["x"] * 200, "code": [str(n) for n in range(200)]},
    )
    (finding,) = (one for one in said if one.kind is FindingKind.LINKABLE)
    assert finding.where == "public.t"
    assert finding.severity is Severity.RISK
    assert "a, b tell more" in finding.message or "b, a tell more" in finding.message
    pairs = list(zip(values["a"], values["b"], strict=True))
    alone = sum(pairs.count(pair) == 1 for pair in pairs)
    assert finding.message.startswith(f"{100 * alone / 200:.0f}% of 200 sampled rows are the only ones")


def test_times_of_day_are_told_once_for_all_tables() -> None:
    """They tell rows apart nearly everywhere, and would hide what else does."""
    schema = of("a int4", "seen timestamptz", "name text")
    own = rules(a="keep", seen="keep", name="name.full")
    times = [f"2026-01-01 10:{n // 60:02d}:{n % 60:02d}+00" for n in range(200)]
    values = {"a": ["1"] * 200, "seen": times, "name": ["x"] * 200}
    (finding,) = (one for one in found(own, schema, values) if one.kind is FindingKind.LINKABLE)
    assert finding.where == schema.database
    assert "public.t (seen)" in finding.message
    values["a"] = [str(n) for n in range(200)]
    (finding,) = (one for one in found(own, schema, values) if one.kind is FindingKind.LINKABLE)
    assert finding.where == "public.t"
    assert "; a tells more than 20% apart" in finding.message


def test_few_rows_and_even_rows_are_no_risk() -> None:
    """A small table's rows are alone anyhow; rows that are like others are not."""
    schema = of("a text", "name text")
    own = rules(a="keep", name="name.full")
    few = [str(n) for n in range(40)]
    assert not any(one.kind is FindingKind.LINKABLE for one in found(own, schema, {"a": few, "name": few}))
    even = [str(n % 40) for n in range(400)]
    assert not any(one.kind is FindingKind.LINKABLE for one in found(own, schema, {"a": even, "name": even}))


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=40))
def test_the_columns_that_are_chosen_leave_enough_rows_alone(rows: list[tuple[int, ...]]) -> None:
    """By counting tuples; and no column of the choice but the last would have done without it."""
    names = "abcd"
    columns = {name: np.array([row[at] for row in rows]) for at, name in enumerate(names)}

    def alone(chosen: Sequence[str]) -> int:
        tuples = [tuple(row[names.index(name)] for name in chosen) for row in rows]
        return sum(tuples.count(one) == 1 for one in tuples)

    every = np.zeros(len(rows), dtype=np.int64)
    for codes in columns.values():
        every = _joined(every, codes)
    assert _alone(every) == alone(names)
    limit = ALONE * len(rows)
    if alone(names) > limit:
        chosen = _fewest(columns, limit)
        assert alone(chosen) > limit
        assert alone(chosen[:-1]) <= limit or chosen[:-1] == []


# ----------------------------------------------------------------------------------- what columns and documents hold


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("a text", [f"{CANARY}{n}@mail.example" for n in range(30)], "email) in 30 of 30"),
        ("a text", [f"word {CANARY}" for _ in range(29)] + [f"ask {CANARY}@mail.example for it"], "inside in 1 of 30"),
        ("a jsonb", [f'{{"mail": "{CANARY}{n}@mail.example"}}' for n in range(30)], "email"),
        ("a text", ["+49 30 9018200"] * 30, "phone"),
        ("a text", ["Mary", "John", "Anna", "Peter", "Susan", "Paul"] * 5, "first name"),
        ("a text", ["Seen was Mary Miller in person", "Nothing was found on any page"] * 15, "name stands in 15 of 30"),
        ("a text", [f"she said on day {n} that it was {CANARY}" for n in range(30)], "30 of 30 sampled values are"),
    ],
)  # fmt: skip
def test_kept_columns_with_personal_values_are_told(column: str, values: list[str], words: str) -> None:
    """By what they look like, with how many do."""
    said = found(rules(a="keep"), of(column), {"a": values})
    (finding,) = said
    assert (finding.severity, finding.kind) == (Severity.RISK, FindingKind.PERSONAL)
    assert words in finding.message


ADDRESSES = [f"{CANARY}{n}@mail.example" for n in range(30)]
TEXTS = [f"she said on day {n} that it was {CANARY}" for n in range(30)]
NAMES = ["Mary", "John", "Anna", "Peter", "Susan", "Paul"] * 5


@pytest.mark.parametrize(
    ("rule", "values", "words"),
    [
        ({"mask": "email", "when": "id >= 10"}, ADDRESSES, "10 of 30 sampled values come out"),
        ({"mask": "email", "when": "id <> 3"}, ADDRESSES, "email) in 1 of these"),
        ({"mask": "text.lorem", "when": "id >= 10"}, TEXTS, "running text in 10 of these"),
        ({"mask": "name.first", "when": "id >= 10"}, NAMES, "first name) in 10 of these"),
        ({"mask": "text.regex", "pattern": "^x$", "replacement": "y", "unmatched": "keep"}, ADDRESSES, "30 of these"),
        ({"mask": "custom", "function": "tests.transform.custom_masks:same"}, ADDRESSES, "30 of these"),
        ({"mask": "email", "when": "id >= 10", "otherwise": "redact"}, ADDRESSES, ""),
        ({"mask": "name.first", "when": "id <> 3"}, NAMES, ""),
        ("email", ADDRESSES, ""),
    ],
)
def test_values_that_a_mask_lets_through_are_told(rule: object, values: list[str], words: str) -> None:
    """By a condition, an expression or a function; a few names may be there by chance."""
    said = [one for one in found(rules(a=rule), of("a text"), {"a": values}) if one.kind is FindingKind.PERSONAL]
    assert len(said) == bool(words)
    assert all(words in one.message and one.severity is Severity.RISK for one in said)


def test_documents_in_texts_are_judged_like_others() -> None:
    """Leaves that stay are told; what is no document has none."""
    values = [*(f'{{"mail": "{address}"}}' for address in ADDRESSES), "no document"]
    said = found(rules(a={"mask": "json", "paths": {"$.mail": "keep"}}), of("a text"), {"a": values})
    assert any("$.mail is kept" in one.message and "30 in the sample" in one.message for one in said)


def test_what_is_masked_under_a_condition_is_judged_as_without() -> None:
    """By the values that the mask gets: leaves that stay, and those that no path names."""
    documents = [f'{{"mail": "{CANARY}{n}@mail.example", "n": {n}}}' for n in range(30)]
    rule = {"mask": "json", "paths": {"$.mail": "keep"}, "when": "id >= 10", "otherwise": "null"}
    said = found(rules(a=rule), of("a jsonb"), {"a": documents})
    assert kinds(said) == {"a": {FindingKind.UNKNOWN_LEAVES, FindingKind.PERSONAL}}
    assert any("names 20 leaves" in one.message for one in said)
    assert any("$.mail is kept" in one.message and "20 in the sample" in one.message for one in said)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("a text", ["in", "out"] * 20),
        ("a text", [f"RX-{n:04}" for n in range(40)]),
        ("a text", [f"https://shop.example/{n}" for n in range(40)]),
        ("a int8", [str(4_000_000_000_000_000 + n) for n in range(40)]),
        ("a text", [None] * 40),
    ],
)
def test_kept_columns_that_say_nothing_are_not(column: str, values: list[str]) -> None:
    """Codes, addresses of pages, numbers, nothing."""
    assert found(rules(a="keep"), of(column), {"a": values}) == []


@pytest.mark.parametrize(
    ("column", "values", "is_risk"),
    [
        ("phone_no int8", [str(5_550_100 + n) for n in range(40)], True),
        ("birth_year int4", [str(1950 + n) for n in range(40)], True),
        ("dob date", [f"1950-01-{n % 28 + 1:02}" for n in range(40)], True),
        ("hiv_status enum(yes|no)", ["yes", "no"] * 20, True),
        ("is_smoker bool", ["t", "f"] * 20, True),
        ("passport text", [f"AB-{n:04}" for n in range(40)], True),
        ("login timestamptz", [f"2026-01-01 00:{n:02}:00+00" for n in range(40)], False),
        ("passport text", ["seen", "none"] * 20, False),
        ("invoice_no int8", [str(n) for n in range(40)], False),
        ("email_verified bool", ["t", "f"] * 20, False),
    ],
)
def test_a_name_tells_what_a_kept_column_of_people_holds(column: str, values: list[str], *, is_risk: bool) -> None:
    """Where a column beside it is masked, and the type agrees."""
    name = column.split(maxsplit=1)[0]
    kept = rules(**{name: "keep", "who": "name"})
    said = found(kept, of(column, "who text"), {name: values, "who": ["Mary"] * 40})
    told = [one for one in said if one.kind is FindingKind.PERSONAL]
    assert [one.where for one in told] == [f"public.t.{name}"] * is_risk
    assert all("by its name" in one.message for one in told)
    alone = found(rules(**{name: "keep"}), of(column), {name: values})
    assert FindingKind.PERSONAL not in {one.kind for one in alone}


def test_leaves_that_no_path_names_and_that_stay_are_a_risk() -> None:
    """Whatever the application writes next is in the copy, too."""
    own = rules(a={"mask": "json", "paths": {"$.name": "redact"}, "unnamed": "keep"})
    said = found(own, of("a jsonb"), {"a": ['{"name": "x", "age": 3}'] * 3})
    (finding,) = (one for one in said if one.kind is FindingKind.UNKNOWN_LEAVES)
    assert finding.severity is Severity.RISK
    assert "so they are copied as they are: $.age (3)" in finding.message


def test_leaves_that_no_path_names_are_counted() -> None:
    """By path, also in arrays of documents."""
    document = f'{{"name": "{CANARY}", "age": 3, "tags": ["x", "y"]}}'
    own = rules(a={"mask": "json", "paths": {"$.name": "redact"}})
    (finding,) = (
        one for one in found(own, of("a jsonb"), {"a": [document] * 3}) if one.kind is FindingKind.UNKNOWN_LEAVES
    )
    assert finding.severity is Severity.NOTE
    assert "names 9 leaves of the sampled documents, so they are scrambled: $.tags[*] (6), $.age (3)" in finding.message
    quoted = '{"' + document.replace('"', '\\"') + '"}'
    in_arrays = found(own, of("a jsonb array"), {"a": [quoted] * 3})
    assert any("names 9 leaves" in one.message for one in in_arrays)
    alone = found(own, of("a jsonb"), {"a": ['{"age": 3}']})
    assert any("names 1 leaf of the sampled documents, so it is scrambled: $.age (1)." in one.message for one in alone)


FUNCTIONS = """
_seen = []

def odd(values, keyed):
    \"\"\"Not pure where a value begins with q, which no value of a trial does.\"\"\"
    _seen.extend(value for value in values if value)
    return [value and (f"q{len(_seen)}" if value[0] == "q" else "same") for value in values]

def failing(values, keyed):
    if any(value and value[0] == "q" for value in values):
        raise ValueError(values)
    return values
"""


@pytest.mark.parametrize("condition", ["", ', when: "id >= 0"'])
def test_functions_are_tried_with_samples(condition: str, tmp_path: Path) -> None:
    """One that is not pure is an error; one that fails would stop a copy."""
    (tmp_path / "risky_functions.py").write_text(FUNCTIONS)
    path = tmp_path / "rules.yaml"
    for function, expected in {
        "odd": (Severity.ERROR, FindingKind.IMPURE),
        "failing": (Severity.RISK, FindingKind.FAILING),
    }.items():
        path.write_text(
            f"version: 1\ntables:\n  {NAME}:\n    columns:\n      id: keep\n"
            f"      a: {{mask: custom, function: 'risky_functions:{function}'{condition}}}\n"
        )
        said = found(load_rules(path), of("a text"), {"a": [f"q{CANARY}{n}" for n in range(20)]})
        assert [(one.severity, one.kind) for one in said] == [expected]
        assert said[0].at == f"{path}:6:7"


# -------------------------------------------------------------------------------------------------------- cost


def test_the_cost_is_of_all_rows_and_an_estimate() -> None:
    """It grows with the rows that the planner knows of, and shrinks with workers."""
    schema = of("name text")
    names = [f"{CANARY} {n}" for n in range(1000)]
    batch = pa.RecordBatch.from_arrays([pa.array([name.encode() for name in names])] * 2, names=["id", "name"])
    risks = Risks(examine(rules(name="name.full"), schema), schema)
    assert list(risks.judge(schema.tables[NAME], batch)) == []
    (finding,) = risks.of_all(2)
    assert (finding.severity, finding.kind) == (Severity.NOTE, FindingKind.COST)
    assert finding.message.startswith("estimate: masking a snapshot of about 1,000,000 rows takes about ")
    assert "of 2 workers" in finding.message
    assert "public.t.name (name.full, " in finding.message
    (measured,) = risks._measured
    assert measured.seconds == pytest.approx(measured.for_one * 1_000_000)


def test_what_is_not_copied_is_not_judged() -> None:
    """A table whose rows stay, a column that is undecided, a table of which nothing was read."""
    schema = of("a text")
    mail = [f"{CANARY}{n}@mail.example" for n in range(30)]
    none = Rules.model_validate({"version": 1, "tables": {str(NAME): {"rows": "none"}}})
    assert found(none, schema, {"a": mail}) == []
    assert found(Rules(version=1), schema, {"a": mail}) == []
    assert found(rules(), schema, {"a": mail}) == []
    assert found(rules(a="keep"), schema, {"a": []}) == []


@pytest.mark.parametrize(
    ("rule", "document", "said"),
    [
        ("json", '{"by": {"%s%d@mail.example": 1}}', {"keys of $.by stay as they are"}),
        ("json", '{"%s%d@mail.example": {"max": 1}}', {"keys of $ stay as they are"}),
        ({"mask": "json", "keys": {"$.by": "email"}}, '{"by": {"%s%d@mail.example": {"max": 1}}}', set()),
        ("json", '{"max": 1, "%.0smin%.0d": 2}', set()),
        (
            {"mask": "json", "paths": {"$.lines": "keep"}},
            '{"lines": ["Seen was Mary Miller in person", "%.0sNothing was found on page %d"]}',
            {"$.lines[*] is kept"},
        ),
    ],
)
def test_keys_of_documents_that_look_like_data_are_told(rule: object, document: str, said: set[str]) -> None:
    """With their object's path, unless the rules mask them; they stay in the copy."""
    documents = [document % (CANARY, n) for n in range(40)]
    risks = [one for one in found(rules(a=rule), of("a jsonb"), {"a": documents}) if one.kind is FindingKind.PERSONAL]
    assert {one.message.partition(",")[0] for one in risks} == said


def test_keys_of_an_hstore_that_look_like_data_are_told() -> None:
    """Unless ``key_mask`` masks them."""
    values = [f'"{CANARY}{n}@mail.example"=>"1"' for n in range(40)]
    (risk,) = [
        one for one in found(rules(a="hstore"), of("a hstore"), {"a": values}) if one.kind is FindingKind.PERSONAL
    ]
    assert "in 40 of 40" in risk.message


def test_values_of_an_hstore_that_no_key_names_are_told_as_one() -> None:
    """Where they are kept, whatever their keys are: those may be data."""
    values = [f'"a{n}"=>"{n}@mail.example", "b"=>"{n}@mail.example"' for n in range(40)]
    rule = {"mask": "hstore", "keys": {"b": "keep"}, "unnamed": "keep"}
    risks = [one for one in found(rules(a=rule), of("a hstore"), {"a": values}) if one.kind is FindingKind.PERSONAL]
    assert sorted(one.message.partition(" is kept")[0] for one in risks) == ["b", "others"]
    assert all("40 of 40" in one.message for one in risks)


@pytest.mark.parametrize(("size", "identity", "is_told"), [(2001, "d", True), (2000, "d", False), (2001, "f", False)])
def test_what_an_update_may_not_send_is_told_where_a_mask_reads_it(size: int, identity: str, *, is_told: bool) -> None:
    """A stream would end at such an update, and the row before, if it is sent, helps."""
    schema = of("note text", "title text")
    (made,) = schema.tables.values()
    schema = replace(schema, tables={NAME: replace(made, replica_identity=ReplicaIdentity(identity))})
    own = rules(note="text.lorem", title={"mask": "text.template", "template": "{note}"})
    said = found(own, schema, {"note": ["x" * size, None], "title": ["a", "b"]})
    told = [finding for finding in said if finding.kind is FindingKind.UNSENT]
    assert [(finding.where, finding.severity) for finding in told] == (
        [("public.t.title", Severity.NOTE)] if is_told else []
    )
