"""Columns that hold values of each other are proposed as one domain, so that joins by value hold in the copy."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from fix_catalog import catalog, foreign_key, table
from hypothesis import given
from hypothesis import strategies as st

from capture.model import Catalog, ColumnName, TableName
from transform.coverage import Severity
from transform.keyring import KeyRing
from transform.plan import check, compile_plan
from transform.rules import Rules, load_rules
from transform.suggest import suggest
from transform.suggest.overlaps import Overlaps

_GUESTS, _MESSAGES = "public.guests.email", "public.messages.sender"
_ADDRESSES = [f"grace{number}@navy.mil".encode() for number in range(40)]


def proposed(
    tmp_path: Path, of: Catalog, values: dict[str, list[bytes]], existing: Rules | None = None
) -> tuple[Rules, str]:
    """The proposal read back, and its text."""
    samples = {ColumnName.parse(name): each for name, each in values.items()}
    overlaps = Overlaps()
    for column, each in samples.items():
        overlaps.add(column, each)
    text = suggest(of, samples, existing, overlaps)
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return load_rules(path), text


def hotel() -> Catalog:
    """Guests with addresses, and messages that no foreign key links to them."""
    return catalog(
        table("public.guests", "id int8 pk", "email text", "mood text"),
        table("public.messages", "id int8 pk", "sender text", "mood text"),
    )


def test_shared_values_make_a_domain_that_keeps_the_join(tmp_path: Path) -> None:
    """Its evidence are counts, its columns mask alike, and each column still says its own rule."""
    rules, text = proposed(tmp_path, hotel(), {_GUESTS: _ADDRESSES, _MESSAGES: _ADDRESSES[:10] * 3})
    assert [str(column) for column in rules.domains["email"].columns] == [_GUESTS, _MESSAGES]
    assert "# values in common: 10/40, 10/10" in text
    assert "navy" not in text
    assert rules.tables[TableName("public", "messages")].columns["sender"].mask == "email"

    plan = compile_plan(rules, hotel(), KeyRing(bytes(32), "test"), partial=True)
    masked = []
    for name in (_GUESTS, _MESSAGES):
        column = ColumnName.parse(name)
        batch = pa.RecordBatch.from_arrays([pa.array(_ADDRESSES[:5], pa.binary())], [column.column])
        masked.append(plan.tables[column.table].mask(batch, escaped=False).column(0))
    assert masked[0] == masked[1]


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """The domain is a decision then, and its evidence stays beside it."""
    values = {_GUESTS: _ADDRESSES, _MESSAGES: _ADDRESSES[:10]}
    rules, text = proposed(tmp_path, hotel(), values)
    assert proposed(tmp_path, hotel(), values, rules)[1] == text


def test_a_new_column_joins_the_domain_that_is_declared(tmp_path: Path) -> None:
    """The domain keeps its name, and so the copy its masks."""
    before = catalog(table("public.guests", "id int8 pk", "email text"))
    path = tmp_path / "before.yaml"
    path.write_text(f"version: 1\ndomains: {{addresses: {{mask: email, columns: [{_GUESTS}]}}}}\n")
    rules, _ = proposed(tmp_path, before, {_GUESTS: _ADDRESSES}, load_rules(path))
    assert list(rules.domains) == ["addresses"]
    rules, text = proposed(tmp_path, hotel(), {_GUESTS: _ADDRESSES, _MESSAGES: _ADDRESSES[:10]}, rules)
    assert [str(column) for column in rules.domains["addresses"].columns] == [_GUESTS, _MESSAGES]
    assert list(rules.domains) == ["addresses"]
    assert "values in common: 10/40, 10/10" in text


def test_a_decided_column_is_not_moved_into_a_domain(tmp_path: Path) -> None:
    """Its key would be another, and what the copy holds of it wrong."""
    path = tmp_path / "before.yaml"
    path.write_text("version: 1\ntables: {public.guests: {columns: {email: email}}}\n")
    values = {_GUESTS: _ADDRESSES, _MESSAGES: _ADDRESSES}
    assert not proposed(tmp_path, hotel(), values, load_rules(path))[0].domains


@pytest.mark.parametrize(
    ("of", "values"),
    [
        pytest.param(hotel(), {_GUESTS: _ADDRESSES[:20], _MESSAGES: _ADDRESSES[18:]}, id="two values may be chance"),
        pytest.param(
            hotel(),
            {"public.guests.mood": [b"cheerful", b"serene", b"gloomy"] * 40} | {_GUESTS: _ADDRESSES},
            id="kept values join by themselves",
        ),
        pytest.param(
            catalog(table("public.guests", "last_name text"), table("public.staff", "last_name text")),
            {f"public.{name}.last_name": [b"Hopper", b"Lovelace", b"Turing"] for name in ("guests", "staff")},
            id="lossy masks join nothing",
        ),
        pytest.param(
            catalog(
                table("public.guests", "city text", "postcode text"), table("public.stays", "city text", "zip text")
            ),
            {key: [b"%05d" % n for n in range(80331, 80399)] for key in ("public.guests.postcode", "public.stays.zip")},
            id="parts of an address belong to their row",
        ),
    ],
)
def test_what_does_not_join_is_no_domain(tmp_path: Path, of: Catalog, values: dict[str, list[bytes]]) -> None:
    """Columns stay apart where nobody would join them."""
    assert not proposed(tmp_path, of, values)[0].domains


def test_what_foreign_keys_unite_is_named_once(tmp_path: Path) -> None:
    """The column that is referred to speaks for those that refer to it."""
    of = catalog(
        table("public.guests", "email text pk"),
        table("public.stays", "guest text"),
        table("public.messages", "sender text"),
        foreign_keys=(foreign_key("public.stays(guest)", "public.guests(email)"),),
    )
    values = dict.fromkeys((_GUESTS, "public.stays.guest", _MESSAGES), _ADDRESSES)
    rules, _ = proposed(tmp_path, of, values)
    assert [str(column) for column in rules.domains["email"].columns] == [_GUESTS, _MESSAGES]


def test_a_domain_that_the_check_refuses_is_not_proposed(tmp_path: Path) -> None:
    """A unique column has room for what keeps its values apart, the other has not; each keeps its own mask."""
    of = catalog(table("public.guests", "email text pk"), table("public.messages", "sender varchar(12)"))
    values = {_GUESTS: [b"g%d@a.io" % n for n in range(30)], _MESSAGES: [b"g%d@a.io" % n for n in range(9)]}
    rules, _ = proposed(tmp_path, of, values)
    assert not rules.domains
    assert rules.tables[TableName("public", "guests")].columns["email"].mask == "email"
    assert not [finding for finding in check(rules, of) if finding.severity is Severity.ERROR]


@given(
    st.lists(st.sets(st.integers(0, 30).map(lambda number: f"value {number}".encode()), max_size=12), max_size=6),
)
def test_groups_are_what_shares_three_values(columns: list[set[bytes]]) -> None:
    """Counted over all pairs; what shares with one of a group belongs to it."""
    names = [ColumnName(TableName("public", "t"), f"c{number}") for number in range(len(columns))]
    overlaps = Overlaps()
    for name, values in zip(names, columns, strict=True):
        overlaps.add(name, values)
    groups = [{number} for number in range(len(columns))]
    for one in range(len(columns)):
        for other in range(one):
            if len(columns[one] & columns[other]) >= 3:
                joined = [group for group in groups if {one, other} & group]
                groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    expected = {frozenset(names[number] for number in group) for group in groups if len(group) > 1}
    found = overlaps.groups(names)
    assert {frozenset(group.columns) for group in found} == expected
    for group in found:
        members = {name: columns[names.index(name)] for name in group.columns}
        for name, (common, total) in group.columns.items():
            others = set().union(*(values for other, values in members.items() if other != name))
            assert (common, total) == (len(members[name] & others), len(members[name]))


@pytest.mark.parametrize("decided", [False, True])
def test_what_holds_values_of_a_masked_column_is_masked_like_it(tmp_path: Path, decided: bool) -> None:
    """Whatever it is called; what has few of them, or holds them in a list of things, stays."""
    numbers = [b"MRN%05d" % number for number in range(100)]
    others = [b"ZZ-%05d" % number for number in range(70)]
    of = catalog(
        table("public.patients", "id int8 pk", "mrn text"),
        table("public.visits", "id int8 pk", "subj text", "lot text"),
        table("public.devices", "id int8 pk", "serial_code text"),
    )
    values = {
        "public.patients.mrn": numbers,
        "public.visits.subj": numbers[:40] + others[:20],
        "public.visits.lot": numbers[:40] + others,
        "public.devices.serial_code": numbers,
    }
    path = tmp_path / "before.yaml"
    path.write_text("version: 1\ntables: {public.patients: {columns: {mrn: text.scramble}}}\n")
    rules, text = proposed(tmp_path, of, values, load_rules(path) if decided else None)
    masked = rules.tables[TableName("public", "visits")].columns
    assert masked["subj"].mask == ("text.scramble" if decided else "id.national")
    assert masked["lot"].mask == "keep"
    assert rules.tables[TableName("public", "devices")].columns["serial_code"].mask == "keep"
    assert "# values of public.patients.mrn: 40/60" in text
    assert [str(column) for one in rules.domains.values() for column in one.columns] == (
        [] if decided else ["public.patients.mrn", "public.visits.subj"]
    )
