"""Columns that hold values of each other are proposed as one domain, so that joins by value hold in the copy."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from fix_catalog import catalog, foreign_key, table
from hypothesis import given, settings
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


def before(tmp_path: Path, text: str) -> Rules:
    """Rules as a file holds them that was there already."""
    path = tmp_path / "before.yaml"
    path.write_text(f"version: 1\n{text}\n")
    return load_rules(path)


def masked(rules: Rules, of: Catalog, name: str, values: list[bytes]) -> list[bytes]:
    """What the rules make of a column's values."""
    column = ColumnName.parse(name)
    plan = compile_plan(rules, of, KeyRing(bytes(32), "test"), partial=True)
    batch = pa.RecordBatch.from_arrays([pa.array(values, pa.binary())], [column.column])
    made: list[bytes] = plan.tables[column.table].mask(batch, escaped=False).column(0).to_pylist()
    return made


def test_shared_values_make_a_domain_that_keeps_the_join(tmp_path: Path) -> None:
    """Its evidence are counts, its columns mask alike, and each column still says its own rule."""
    rules, text = proposed(tmp_path, hotel(), {_GUESTS: _ADDRESSES, _MESSAGES: _ADDRESSES[:10] * 3})
    assert [str(column) for column in rules.domains["email"].columns] == [_GUESTS, _MESSAGES]
    assert "# values in common: 10/40, 10/10" in text
    assert "navy" not in text
    assert rules.tables[TableName("public", "messages")].columns["sender"].mask == "email"
    assert masked(rules, hotel(), _GUESTS, _ADDRESSES[:5]) == masked(rules, hotel(), _MESSAGES, _ADDRESSES[:5])


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


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param("email", id="the mask that would be proposed"),
        pytest.param("text.scramble", id="another one"),
        pytest.param("{mask: email, preserve_format: true}", id="with parameters"),
    ],
)
@pytest.mark.parametrize("decided", [_GUESTS, _MESSAGES])
def test_a_decided_column_joins_with_new_ones_and_is_masked_as_before(
    tmp_path: Path, decided: str, decision: str
) -> None:
    """The new column gets its mask, and the domain its key, so that what a copy holds of it stays right."""
    column = ColumnName.parse(decided)
    old = before(tmp_path, f"tables: {{{column.table}: {{columns: {{{column.column}: {decision}}}}}}}")
    values = {_GUESTS: _ADDRESSES, _MESSAGES: _ADDRESSES[:10]}
    rules, text = proposed(tmp_path, hotel(), values, old)
    assert masked(rules, hotel(), _GUESTS, _ADDRESSES) == masked(rules, hotel(), _MESSAGES, _ADDRESSES)
    assert masked(rules, hotel(), decided, _ADDRESSES) == masked(old, hotel(), decided, _ADDRESSES)
    assert rules.rule(column) == old.rule(column)
    assert "not joined" not in text
    assert proposed(tmp_path, hotel(), values, rules)[1] == text


def test_what_shares_values_with_a_column_that_agreed_agrees_too(tmp_path: Path) -> None:
    """Its own are none of the decided column's."""
    of = catalog(*(table(f"public.{name}", "id int8 pk", "email text") for name in ("guests", "leads", "staff")))
    values = {_GUESTS: _ADDRESSES[:20], "public.leads.email": _ADDRESSES[8:36], "public.staff.email": _ADDRESSES[20:]}
    old = before(tmp_path, "tables: {public.guests: {columns: {email: text.scramble}}}")
    rules, _ = proposed(tmp_path, of, values, old)
    made = [masked(rules, of, name, _ADDRESSES) for name in values]
    assert made[0] == made[1] == made[2] == masked(old, of, _GUESTS, _ADDRESSES)


_SETS = st.sets(st.integers(0, 24), max_size=20).map(lambda numbers: {_ADDRESSES[number] for number in numbers})
_DECISIONS = st.sampled_from([None, None, "email", "text.scramble", "keep", "redact", "{mask: email, domain: a.test}"])


@settings(deadline=None)
@given(st.lists(st.tuples(_SETS, _DECISIONS), min_size=2, max_size=5), st.booleans())
def test_a_new_column_joins_with_the_decided_ones_or_says_so(
    columns: list[tuple[set[bytes], str | None]], has_domain: bool
) -> None:
    """Whatever was decided for which: decisions stay, the file is whole, and another run leaves it as it is."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"public.t{number}.email" for number in range(len(columns))]
        of = catalog(*(table(name.removesuffix(".email"), "id int8 pk", "email text") for name in names))
        values = {name: sorted(held) for name, (held, _) in zip(names, columns, strict=True)}
        decisions = {name: decision for name, (_, decision) in zip(names, columns, strict=True) if decision is not None}
        lines = [f"  {name.removesuffix('.email')}: {{columns: {{email: {rule}}}}}" for name, rule in decisions.items()]
        alike = [name for name, rule in decisions.items() if rule == "email"][:2] if has_domain else []
        domains = f"domains: {{who: {{mask: email, columns: [{', '.join(alike)}]}}}}" if alike else ""
        old = before(Path(folder), "\n".join(["tables:", *lines, domains]))
        rules, text = proposed(Path(folder), of, values, old)
        assert proposed(Path(folder), of, values, rules)[1] == text
        assert not [finding for finding in check(rules, of) if finding.severity is Severity.ERROR]
        for name in decisions:
            assert rules.rule(ColumnName.parse(name)) == old.rule(ColumnName.parse(name))
        for new in names:
            for name, decision in decisions.items():
                common = len(columns[names.index(new)][0] & columns[names.index(name)][0])
                smaller = min(len(values[new]), len(values[name]))
                if new in decisions or common < 3 or common * 2 <= smaller or decision in {"redact", "keep"}:
                    continue
                joined = masked(rules, of, new, _ADDRESSES) == masked(rules, of, name, _ADDRESSES)
                says = text.partition(f"{new.removesuffix('.email')}:")[2].partition("email:")[2].partition("\n")[0]
                assert joined or "not joined" in says


def test_a_decided_reference_joins_with_new_columns(tmp_path: Path) -> None:
    """Foreign keys and shared values together; the key is that of the column that is referred to."""
    of = catalog(
        table("public.guests", "email text pk"),
        table("public.stays", "guest text"),
        table("public.messages", "sender text"),
        foreign_keys=(foreign_key("public.stays(guest)", "public.guests(email)"),),
    )
    names = (_GUESTS, "public.stays.guest", _MESSAGES)
    for decided in names[:2]:
        column = ColumnName.parse(decided)
        old = before(tmp_path, f"tables: {{{column.table}: {{columns: {{{column.column}: email}}}}}}")
        rules, _ = proposed(tmp_path, of, dict.fromkeys(names, _ADDRESSES), old)
        made = {tuple(masked(rules, of, name, _ADDRESSES)) for name in names}
        assert made == {tuple(masked(old, of, decided, _ADDRESSES))}


def test_a_decided_column_is_taken_into_the_declared_domain_that_a_new_one_joins(tmp_path: Path) -> None:
    """What the new column has in common is with both of them."""
    of = catalog(*(table(f"public.{name}", "id int8 pk", "email text") for name in ("guests", "leads", "staff")))
    old = before(
        tmp_path,
        "tables: {public.leads: {columns: {email: email}}}\n"
        f"domains: {{addresses: {{mask: email, columns: [{_GUESTS}]}}}}",
    )
    names = (_GUESTS, "public.leads.email", "public.staff.email")
    rules, _ = proposed(tmp_path, of, dict.fromkeys(names, _ADDRESSES), old)
    assert {str(column) for column in rules.domains["addresses"].columns} == set(names)
    assert list(rules.domains) == ["addresses"]


@pytest.mark.parametrize(
    ("decision", "shown"),
    [
        ("keep", "keep"),
        ("redact", "redact"),
        ("emial", "emial"),
        ("{mask: email, colour: 1}", "email with colour"),
        ("{mask: text.scramble, when: mood IS NOT NULL}", "text.scramble under a condition"),
        ("id.uuid", "id.uuid"),
    ],
)
def test_what_does_not_join_with_a_decided_column_says_so(tmp_path: Path, decision: str, shown: str) -> None:
    """Where that is kept, masked by what joins nothing, wrong, or by what does not fit here, the join breaks."""
    of = catalog(
        table("public.guests", "id int8 pk", "email text", "mood text"), table("public.messages", "sender varchar(30)")
    )
    old = before(tmp_path, f"tables: {{public.guests: {{columns: {{email: {decision}}}}}}}")
    rules, text = proposed(tmp_path, of, {_GUESTS: _ADDRESSES, _MESSAGES: _ADDRESSES[:10]}, old)
    assert rules.tables[TableName("public", "messages")].columns["sender"].mask == "email"
    assert f"; not joined: 10/10 are values of public.guests.email ({shown})\n" in text
    assert "navy" not in text


def test_a_word_in_the_database_stands_against_what_a_file_decided(tmp_path: Path) -> None:
    """A comment names the mask of the new column."""
    sender = replace(table("public.messages", "sender text").columns[0], comment="@mask: email")
    of = catalog(
        table("public.guests", "id int8 pk", "email text"), replace(table("public.messages"), columns=(sender,))
    )
    old = before(tmp_path, "tables: {public.guests: {columns: {email: text.scramble}}}")
    rules, text = proposed(tmp_path, of, {_GUESTS: _ADDRESSES, _MESSAGES: _ADDRESSES}, old)
    assert rules.tables[TableName("public", "messages")].columns["sender"].mask == "email"
    assert "# by its comment; not joined: 40/40 are values of public.guests.email (text.scramble)" in text


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
        ["public.patients.mrn", "public.visits.subj"]
    )
