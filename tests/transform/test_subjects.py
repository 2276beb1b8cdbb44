"""A subject's dates move together, in every table that foreign keys lead to it from."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from fix_catalog import catalog, foreign_key, table
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.model import BadInput, Catalog, TableName
from transform.coverage import Finding, FindingKind, Severity
from transform.keyring import KeyRing
from transform.plan import Plan, check, compile_plan
from transform.rules import Rules, load_rules

KEYS = KeyRing(bytes(range(32)), "test")
SHIFT = {"mask": "date.shift", "days": 90}

# guests <- stays <- meals, by a composite key; reviews name the guest as text, and two people.
HOTEL = catalog(
    table("public.guests", "id int8 pk", "born_on date", "joined timestamptz"),
    table("public.stays", "id int8 pk", "guest int4", "starts date", "ends date"),
    table("public.stay_guests", "stay int8 pk", "guest int4 pk"),
    table("public.meals", "stay int8", "eater numeric", "at timestamptz"),
    table("public.reviews", "id int8 pk", "author text", "about int8", "at timestamptz"),
    table("public.weather", "at date"),
    foreign_keys=(
        foreign_key("public.stays(guest)", "public.guests(id)"),
        foreign_key("public.stay_guests(guest)", "public.guests(id)"),
        foreign_key("public.meals(stay, eater)", "public.stay_guests(stay, guest)"),
        foreign_key("public.reviews(author)", "public.guests(id)"),
        foreign_key("public.reviews(about)", "public.guests(id)"),
    ),
)


def rules(**subjects: str) -> Rules:
    """All dates of the hotel are shifted, with these tables' subjects."""
    tables: dict[str, dict[str, object]] = {}
    for name, found in HOTEL.tables.items():
        columns = {
            shape.name: SHIFT if shape.base_type in {"date", "timestamptz"} else "keep" for shape in found.columns
        }
        tables[str(name)] = {"columns": columns} | ({"subject": subjects[name.name]} if name.name in subjects else {})
    return Rules.model_validate({"version": 1, "tables": tables})


def shifted(plan: Plan, name: str, **values: list[bytes | None]) -> dict[str, list[int | None]]:
    """By how many days the dates of a table's rows moved."""
    batch = pa.record_batch([pa.array(some, pa.binary()) for some in values.values()], names=list(values))
    out = pickle.loads(pickle.dumps(plan)).tables[TableName("public", name)].mask(batch, escaped=False)
    return {
        column: [_days(*pair) for pair in zip(values[column], out.column(column).to_pylist(), strict=True)]
        for column in out.schema.names
        if column in {"born_on", "joined", "starts", "ends", "at"}
    }


def _days(before: bytes | None, after: bytes | None) -> int | None:
    if before is None or after is None:
        return None
    return (date.fromisoformat(after.decode()[:10]) - date.fromisoformat(before.decode()[:10])).days


def notes(of: Catalog, by: Rules) -> list[Finding]:
    found = check(by, of)
    assert {finding.severity for finding in found} <= {Severity.NOTE}
    return [finding for finding in found if finding.kind is FindingKind.SUBJECT]


def test_all_dates_of_a_subject_move_alike() -> None:
    """In the subject's own row, and wherever foreign keys lead, whatever the type that holds the key."""
    plan = compile_plan(rules(guests="id", reviews="author"), HOTEL, KEYS)
    own = shifted(plan, "guests", id=[b"7"], born_on=[b"1984-02-29"], joined=[b"2020-05-05 10:00:00+00"])
    (by,) = own["born_on"]
    assert own["joined"] == [by]
    stay = shifted(plan, "stays", id=[b"1"], guest=[b"7"], starts=[b"2024-01-01"], ends=[b"2024-01-09"])
    assert stay == {"starts": [by], "ends": [by]}
    assert shifted(plan, "meals", stay=[b"1"], eater=[b"7"], at=[b"2024-01-02 08:00:00+00"]) == {"at": [by]}
    assert shifted(plan, "meals", stay=[b"1"], eater=[b"7.00"], at=[b"2024-01-02 08:00:00+00"]) == {"at": [by]}
    assert shifted(plan, "reviews", id=[b"1"], author=[b"7"], about=[b"8"], at=[b"2024-02-02 08:00:00+00"]) == {
        "at": [by]
    }


def test_other_subjects_and_no_subject_move_otherwise() -> None:
    """Over many subjects the shifts are many; a row without a subject is shifted by its own dates."""
    plan = compile_plan(rules(guests="id", reviews="author"), HOTEL, KEYS)
    guests: list[bytes | None] = [b"%d" % number for number in range(50)]
    day: list[bytes | None] = [b"2024-01-01"]
    moved = shifted(plan, "stays", id=guests, guest=guests, starts=day * 50, ends=day * 50)
    assert len(set(moved["starts"])) > 20
    assert moved["starts"] == moved["ends"]
    alone = shifted(
        plan, "stays", id=[b"1", b"2"], guest=[None, None], starts=[b"2024-01-01", b"2024-01-02"], ends=day * 2
    )
    assert alone["starts"][0] != alone["starts"][1]
    assert alone["ends"][0] == alone["ends"][1]
    without = compile_plan(rules(), HOTEL, KEYS)
    assert shifted(without, "stays", id=[b"1"], guest=[None], starts=day, ends=day) == {
        column: moves[:1] for column, moves in shifted(
            plan, "stays", id=[b"1"], guest=[None], starts=day, ends=day).items()
    }  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.none() | st.integers(0, 3), st.none() | st.dates(date(1900, 1, 1), date(2100, 1, 1)))))
def test_a_row_moves_alike_in_any_batch(rows: list[tuple[int | None, date | None]]) -> None:
    """Alone or among others, with NULL keys and NULL dates."""
    plan = compile_plan(rules(guests="id", reviews="author"), HOTEL, KEYS)
    keys = [None if key is None else b"%d" % key for key, _ in rows]
    days = [None if day is None else str(day).encode() for _, day in rows]
    together = shifted(plan, "stays", guest=keys, starts=days)["starts"]
    assert [None if moved is None else 1 <= abs(moved) <= 90 for moved in together] == [
        None if day is None else True for day in days
    ]
    for key, day, moved in zip(keys, days, together, strict=True):
        assert shifted(plan, "stays", guest=[key], starts=[day])["starts"] == [moved]


@pytest.mark.parametrize(
    ("home", "elsewhere", "values"),
    [
        ("citext", "text", (b"Anna@x", b"anna@x")),
        ("char(9)", "varchar(9)", (b"Anna     ", b"Anna")),
        ("uuid", "text", (b"5f3c6a1e-0b7d-4c2a-9e51-7d8a90b1c2d3",) * 2),
        ("numeric", "int8", (b"100", b"100")),
        ("numeric", "numeric", (b"1.50", b"1.5")),
    ],
)
def test_a_key_reads_alike_in_any_type(home: str, elsewhere: str, values: tuple[bytes, bytes]) -> None:
    """Blanks of char(n), decimals of numeric and the case of letters tell no two subjects from one."""
    of = catalog(
        table("public.p", f"id {home} pk", "at date"),
        table("public.q", f"p {elsewhere}", "at date"),
        foreign_keys=(foreign_key("public.q(p)", "public.p(id)"),),
    )
    tables = {
        "public.p": {"subject": "id", "columns": {"id": "keep", "at": SHIFT}},
        "public.q": {"columns": {"at": SHIFT}},
    }
    plan = compile_plan(Rules.model_validate({"version": 1, "tables": tables}), of, KEYS)
    day: list[bytes | None] = [b"2024-01-01"]
    assert shifted(plan, "p", id=[values[0]], at=day) == shifted(plan, "q", p=[values[1]], at=day)


def test_two_ways_to_a_subject_are_ambiguous() -> None:
    """They are told, and dates go by their value, until the rules say which way counts."""
    (found,) = notes(HOTEL, rules(guests="id"))
    assert found.where == "public.reviews.at"
    assert "the subject of about, author" in found.message
    assert "subject:" in found.hint
    assert notes(HOTEL, rules(guests="id", reviews="about")) == []
    plan = compile_plan(rules(guests="id"), HOTEL, KEYS)
    moved = shifted(plan, "reviews", author=[b"7", b"8"], about=[b"8", b"7"], at=[b"2024-01-01 00:00:00+00"] * 2)["at"]
    assert moved[0] == moved[1]


def test_tables_of_no_subject_go_by_value() -> None:
    """Without a note: nothing leads from them to a person."""
    plan = compile_plan(rules(guests="id", reviews="author"), HOTEL, KEYS)
    moved = shifted(plan, "weather", at=[b"2024-01-01", b"2024-01-01", b"2024-01-02"])["at"]
    assert moved[0] == moved[1] != moved[2]


def test_a_date_that_must_stay_by_value_is_told() -> None:
    """One that another must equal, and an array of them."""
    of = catalog(
        table("public.p", "id int8 pk", "days date array"),
        table("public.q", "p int8", "at date"),
        table("public.r", "at date"),
        foreign_keys=(foreign_key("public.q(p)", "public.p(id)"),),
    )
    tables = {
        "public.p": {"subject": "id", "columns": {"id": "keep", "days": SHIFT}},
        "public.q": {"columns": {"p": "keep"}},
        "public.r": {"columns": {}},
    }
    domains = {"d": {**SHIFT, "columns": ["public.q.at", "public.r.at"]}}
    array, linked = notes(of, Rules.model_validate({"version": 1, "tables": tables, "domains": domains}))
    assert (array.where, linked.where) == ("public.p.days", "public.q.at")
    assert "it is an array" in array.message
    assert "public.r.at must be masked alike" in linked.message


@pytest.mark.parametrize(
    ("subject", "kind", "said"),
    [
        ("idd", FindingKind.UNKNOWN_COLUMN, "there is no such column. Did you mean id?"),
        ("tags", FindingKind.SUBJECT, "is an array"),
        ("g", FindingKind.SUBJECT, "is a generated column"),
    ],
)
def test_a_subject_that_cannot_be_is_an_error(subject: str, kind: FindingKind, said: str, tmp_path: Path) -> None:
    """It is told with its place."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        f"version: 1\ntables:\n  public.p:\n    subject: {subject}\n    columns: {{id: keep, tags: keep}}\n"
    )
    of = catalog(table("public.p", "id int8 pk", "tags text array", "g text generated"))
    (found,) = check(load_rules(path), of)
    assert (found.kind, found.severity) == (kind, Severity.ERROR)
    assert said in str(found)
    assert "rules.yaml:4:" in found.at
    with pytest.raises(BadInput):
        compile_plan(load_rules(path), of, KEYS)


def test_the_fingerprint_tells_of_subjects_far_away() -> None:
    """A table's subject is part of what masks dates in the tables that refer to it, and of nothing else."""
    before = compile_plan(rules(reviews="author"), HOTEL, KEYS).identities
    after = compile_plan(rules(reviews="author", guests="id"), HOTEL, KEYS).identities
    changed = {table for table in before if before[table] != after[table]}
    assert changed == {"public.guests", "public.stays", "public.meals"}


def test_partitions_and_heirs_have_their_subject() -> None:
    """A partition its root's, by a foreign key of its own too; an inheriting table its parent's."""
    of = catalog(
        table("public.p", "id int8 pk", "at date"),
        replace(table("public.child", "id int8", "at date"), inherits=(TableName("public", "p"),)),
        table("public.log", "p int8", "at date", kind="p"),
        table("public.log_1", "p int8", "at date", root="public.log"),
        foreign_keys=(foreign_key("public.log_1(p)", "public.p(id)"),),
    )
    columns = {"columns": {"at": "todo"}}
    tables = {"public.p": {"subject": "id", "columns": {"id": "keep"}}, "public.child": columns, "public.log": columns}
    for name in tables.values():
        name["columns"] = {**name["columns"], "at": SHIFT}  # type: ignore[dict-item]
    # The inherited dates are linked, so only the partition's follows.
    by = Rules.model_validate({"version": 1, "tables": tables})
    plan = compile_plan(by, of, KEYS)
    day: list[bytes | None] = [b"2024-01-01"]
    moved = [shifted(plan, "log_1", p=[b"%d" % number], at=day)["at"][0] for number in range(30)]
    assert len(set(moved)) > 10
    assert {finding.where for finding in notes(of, by)} == {"public.p.at", "public.child.at"}


def test_a_gender_is_drawn_for_each_person() -> None:
    """Not for each word, of which there are two: one person's is the same in every row, whatever others have."""
    people = catalog(table("public.people", "id int8 pk", "gender text"))
    written = {"subject": "id", "columns": {"id": "keep", "gender": "gender"}}
    plan = compile_plan(Rules.model_validate({"version": 1, "tables": {"public.people": written}}), people, KEYS)
    ids = [b"%d" % (n % 50) for n in range(200)]
    rows = pa.record_batch([pa.array(ids, pa.binary()), pa.array([b"m"] * 200, pa.binary())], names=["id", "gender"])
    masked = plan.tables[TableName("public", "people")].mask(rows, escaped=False).column("gender").to_pylist()
    assert set(masked) == {b"m", b"f"}
    assert len(set(zip(ids, masked, strict=True))) == 50
