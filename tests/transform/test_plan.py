"""Rules compile to a plan for a schema, or to findings; what is undecided, unsafe or misnamed compiles to nothing."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from fix_catalog import HOTEL_RULES, catalog, foreign_key, hotel, table
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.model import BadInput, Catalog, ColumnName, Index, Problem, Sequence, ServerFailed, TableName
from transform.copytext import escape, join, split
from transform.coverage import FindingKind, Severity
from transform.keyring import KeyRing
from transform.masks.base import TEXT, Group, Mask, MaskKind, NoParams, RowMask, lossy, register
from transform.plan import Plan, TablePlan, Undecided, check, compile_plan
from transform.rules import Rules, load_rules

KEYS = KeyRing(bytes(range(32)), "test")


class Reversed(Mask):
    """A mask of the tests' own: the bytes backwards, between the characters that COPY text escapes."""

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        made = (None if value is None else b"\t\\" + value[::-1] + b"\n" for value in values.to_pylist())
        return pa.array(made, pa.binary())


class Beside(RowMask):
    """A mask that reads the column ``c`` of its row."""

    needs = ("c",)

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        return siblings["c"]


register(
    MaskKind("test.reversed", Group.CUSTOM, "backwards", TEXT, NoParams, lambda params, build: Reversed(), lossy, ())
)


def decide(**tables: dict[str, object] | None) -> Rules:
    """Rules for tables of the schema public; None for a table without rows."""
    content = {
        f"public.{name}": {"rows": "none"} if columns is None else {"columns": columns}
        for name, columns in tables.items()
    }
    return Rules.model_validate({"version": 1, "tables": content})


def compiled(rules: Rules, of: Catalog) -> Plan:
    return compile_plan(rules, of, KEYS)


def plan_of(plan: Plan, name: str) -> TablePlan:
    return plan.tables[TableName.parse(name)]


def one(*columns: str, indexes: tuple[Index, ...] = ()) -> Catalog:
    """A catalog of one table, public.t."""
    return catalog(table("public.t", *columns, indexes=indexes))


def batch(**columns: list[bytes | None]) -> pa.RecordBatch:
    return pa.record_batch([pa.array(values, pa.binary()) for values in columns.values()], names=list(columns))


@pytest.fixture
def hotel_rules(tmp_path: Path) -> Rules:
    path = tmp_path / "rules.yaml"
    path.write_text(HOTEL_RULES)
    return load_rules(path)


# ------------------------------------------------------------------------------------------------- a whole plan


def test_the_hotel_compiles(hotel_rules: Rules) -> None:
    """A complete rules file gives a plan for every table and partition, and only notes."""
    plan = compiled(hotel_rules, hotel())
    assert set(plan.tables) == set(hotel().tables)
    assert plan_of(plan, "public.guests").masked_columns == ("email", "full_name", "phone", "born_on", "notes")
    assert plan_of(plan, "public.messages").masked_columns == ("sender", "body")
    assert not plan_of(plan, "public.reservations").masks
    assert plan_of(plan, "public.sessions").rows == "none"
    assert {finding.kind for finding in check(hotel_rules, hotel())} == {FindingKind.INHERITED}


def test_generated_columns_are_not_copied(hotel_rules: Rules) -> None:
    """A generated column needs no rule and is no column of the plan."""
    assert "search" not in plan_of(compiled(hotel_rules, hotel()), "public.guests").columns


def test_a_partition_follows_its_root_in_its_own_order(hotel_rules: Rules) -> None:
    """A partition has its root's masks, under its own order of columns."""
    plan = compiled(hotel_rules, hotel())
    root, leaf = plan_of(plan, "public.logs"), plan_of(plan, "public.logs_1")
    assert leaf.columns == root.columns[::-1]
    assert leaf.masks == root.masks


def test_a_plan_survives_pickling_and_hides_its_key(hotel_rules: Rules) -> None:
    """A worker's copy of the plan masks alike, and no repr shows a key."""
    plan = compiled(hotel_rules, hotel())
    copy = pickle.loads(pickle.dumps(plan))
    rows = batch(id=[b"1"], email=[b"anna@hotel.example"], notes=[b"late"])
    ours, theirs = (plan_of(some, "public.guests").mask(rows, escaped=False) for some in (plan, copy))
    assert ours.equals(theirs)
    assert not ours.column("email").equals(rows.column("email"))
    assert (copy.fingerprint, copy.key_check) == (plan.fingerprint, plan.key_check)
    assert bytes(range(32)).hex() not in repr(plan) + repr(plan.tables)


def test_what_a_mask_fails_at_is_said_with_its_column() -> None:
    """A mask does not know where it stands."""
    rules = {"version": 1, "tables": {"public.t": {"columns": {"Amount": "id.int"}}}}
    plan = compile_plan(Rules.model_validate(rules), catalog(table("public.t", "Amount numeric")), KEYS)
    with pytest.raises(ServerFailed, match=r'^public\.t\."Amount": the mask id\.int met a numeric value') as caught:
        plan.tables[TableName("public", "t")].mask_block(b"7\n12.75\n", ("Amount",))
    assert "12.75" not in str(caught.value)


def test_joins_hold(hotel_rules: Rules) -> None:
    """Columns that a chain of foreign keys unites mask a value alike, and another environment masks it otherwise."""
    plan = compiled(hotel_rules, hotel())
    value: list[bytes | None] = [b"anna@hotel.example"]
    masked = {
        plan_of(plan, "public.guests").mask(batch(email=value), escaped=False).column(0)[0],
        plan_of(plan, "public.participants").mask(batch(email=value), escaped=False).column(0)[0],
        plan_of(plan, "public.messages").mask(batch(sender=value), escaped=False).column(0)[0],
    }
    assert len(masked) == 1
    other = compile_plan(hotel_rules, hotel(), KeyRing(bytes(range(32)), "training"))
    elsewhere = plan_of(other, "public.guests").mask(batch(email=value), escaped=False).column(0)[0]
    assert elsewhere not in masked


def test_the_fingerprint_covers_what_masks() -> None:
    """It stays when an unmasked table comes, and is another when a mask or a domain changes."""
    of = one("a text", "b text")
    before = compiled(decide(t={"a": "text.lorem", "b": "keep"}), of).fingerprint
    more = catalog(*of.tables.values(), table("public.u", "id int8"))
    assert compiled(decide(u={"id": "keep"}, t={"b": "keep", "a": {"mask": "text.lorem"}}), more).fingerprint == before
    assert compiled(decide(t={"a": "redact", "b": "keep"}), of).fingerprint != before
    assert compiled(decide(t={"a": "text.lorem", "b": "redact"}), of).fingerprint != before
    assert compiled(decide(t=None), of).fingerprint != before
    declared = {"version": 1, "tables": {"public.t": {"columns": {"b": "keep"}}}}
    declared["domains"] = {"d": {"mask": "text.lorem", "columns": ["public.t.a"]}}
    assert compiled(Rules.model_validate(declared), of).fingerprint != before


def test_the_fingerprint_covers_what_a_domain_has_room_for() -> None:
    """A linked column of the type name counts bytes, where characters were counted before."""
    of = catalog(table("public.t", "a varchar(20)", "b text"), table("public.u", "c name"))
    hashes = []
    for others, decided in (["public.t.b"], {"c": "keep"}), (["public.t.b", "public.u.c"], {}):
        tables = {"public.t": {}, "public.u": {"columns": decided}}
        domains = {"d": {"mask": "text.lorem", "columns": ["public.t.a", *others]}}
        rules = Rules.model_validate({"version": 1, "tables": tables, "domains": domains})
        hashes.append(compiled(rules, of).identities["public.t"]["a"])
    assert hashes[0] != hashes[1]


def test_the_copys_sequence_starts_above_masked_ids() -> None:
    """A permuted integer key tells where the copy's own sequence may start, by the domain's narrowest type."""
    of = catalog(
        table("public.a", "id int8 pk"),
        table("public.b", "a_id int4", "n int8"),
        foreign_keys=(foreign_key("public.b(a_id)", "public.a(id)"),),
    )
    plan = compiled(decide(a={"id": "id.int"}, b={"n": "keep"}), of)
    assert plan.sequence_floor(ColumnName.parse("public.a.id")) == 2**30
    assert plan.sequence_floor(ColumnName.parse("public.b.n")) is None
    declared = compiled(decide(a={"id": {"mask": "id.int", "range": [1, 1000]}}, b={"n": "keep"}), of)
    assert declared.sequence_floor(ColumnName.parse("public.a.id")) == 501


@pytest.mark.parametrize(
    ("column", "mask", "is_told"),
    [
        ("id int4 pk", "financial.account", True),
        ("id int4 pk", "id.int", False),
        ("id int4", "financial.account", False),
    ],
)
def test_a_mask_that_leaves_no_room_for_the_copys_own_ids_is_told(column: str, mask: str, is_told: bool) -> None:
    """What it makes of one id may be another that the copy's sequence is about to give."""
    feeds = (ColumnName.parse("public.a.id"),)
    sequence = Sequence(TableName("public", "s"), "integer", 1, 1, 2**31 - 1, feeds)
    of = replace(catalog(table("public.a", column)), sequences=(sequence,))
    told = [each for each in check(decide(a={"id": mask}), of) if each.kind is FindingKind.SEQUENCE]
    assert [(each.where, each.severity) for each in told] == [("public.a.id", Severity.NOTE)] * is_told
    assert compiled(decide(a={"id": mask}), of).tables[TableName("public", "a")].masks.keys() == {"id"}


def test_a_sequence_that_overtakes_the_copys_is_told() -> None:
    """Where production's ids have come to what a copy's own sequence gives out, with a range that would leave room."""
    of = catalog(table("public.a", "id int4 pk", "n int4"))
    plan = compiled(decide(a={"id": {"mask": "id.int", "range": [1, 1000]}, "n": "keep"}), of)
    feeds = (ColumnName.parse("public.a.id"),)
    sequence = Sequence(TableName("public", "s"), "integer", 1, 1, 2**31 - 1, feeds)
    assert plan.start(sequence) == 501
    assert plan.overtaken(sequence, None) is None
    assert plan.overtaken(sequence, 501) is None
    told = plan.overtaken(sequence, 502)
    assert told is not None
    assert (told.where, told.severity) == ("public.s", Severity.NOTE)
    assert "range: [1, 1004]" in told.hint
    far = plan.overtaken(sequence, 2**30 + 1)
    assert far is not None
    assert "wider type" in far.hint
    down = plan.overtaken(replace(sequence, increment=-1), -1)
    assert down is not None
    assert "counts down" in down.message
    kept = replace(sequence, feeds=(ColumnName.parse("public.a.n"),))
    assert plan.start(kept) is None
    assert plan.overtaken(kept, 2000) is None
    assert plan.overtaken(replace(kept, increment=-1), -5) is None


# ---------------------------------------------------------------------------------------------- failing closed


def test_an_undecided_column_blocks(tmp_path: Path) -> None:
    """A column without a rule, or with todo, is a Problem that names it and its place."""
    path = tmp_path / "rules.yaml"
    path.write_text("version: 1\ntables:\n  public.t:\n    columns:\n      a: keep\n      b: todo\n")
    with pytest.raises(Undecided) as caught:
        compiled(load_rules(path), one("a text", "b text", "c text"))
    assert isinstance(caught.value, Problem)
    assert "rules.yaml:6:7: public.t.b: is still marked todo" in str(caught.value)
    assert "rules.yaml:3:3: public.t.c: has no rule" in str(caught.value)


def test_a_table_that_the_rules_do_not_name_blocks() -> None:
    """A table without rules is undecided as a whole, also where foreign keys would decide its columns."""
    of = catalog(
        table("public.t", "a text"),
        table("public.link", "t_a text"),
        foreign_keys=(foreign_key("public.link(t_a)", "public.t(a)"),),
    )
    with pytest.raises(Undecided, match=r"public\.link: .*t_a"):
        compiled(decide(t={"a": "keep"}), of)
    with pytest.raises(Undecided, match=r"public\.empty"):
        compiled(decide(), catalog(table("public.empty")))


def test_a_rule_is_taken_over_from_the_column_referred_to_only() -> None:
    """What refers to a decided column is decided; a column is not decided by what refers to it."""
    rules = decide(
        guests=dict.fromkeys(("id", "full_name", "phone", "born_on", "notes", "mood"), "keep"),
        reservations={"id": "keep", "price": "keep", "created_at": "keep"},
        participants={"conversation_id": "keep", "email": "email"},
        messages={"id": "keep", "body": "redact"},
        sessions=None,
        logs=dict.fromkeys(("id", "at", "table_name", "old_record", "record"), "keep"),
    )
    undecided = [finding.where for finding in check(rules, hotel()) if finding.severity is Severity.UNDECIDED]
    assert undecided == ["public.guests.email"]


def test_a_partial_plan_leaves_out_what_is_undecided() -> None:
    """With partial, undecided columns and tables are no part of the plan, so they are never copied."""
    of = catalog(table("public.t", "a text", "b text"), table("public.u", "c text"))
    plan = compile_plan(decide(t={"a": "keep"}), of, KEYS, partial=True)
    assert plan_of(plan, "public.t").columns == ("a",)
    assert TableName("public", "u") not in plan.tables
    with pytest.raises(BadInput):
        compile_plan(decide(t={"a": "keep", "x": "keep"}), of, KEYS, partial=True)


def test_many_findings_are_one_error() -> None:
    """All mistakes come in one BadInput, cut short after twenty."""
    with pytest.raises(BadInput) as caught:
        compiled(decide(t={f"x{number}": "keep" for number in range(30)}), one("a text"))
    assert str(caught.value).count("there is no such column") == 20
    assert "and 11 more" in str(caught.value)


def refusal(rules: Rules, of: Catalog) -> tuple[FindingKind, str]:
    """The one error that these rules give; it must come from check and from compile_plan alike."""
    (found,) = (finding for finding in check(rules, of) if finding.severity is Severity.ERROR)
    with pytest.raises(BadInput) as caught:
        compiled(rules, of)
    assert str(found) in str(caught.value)
    return found.kind, str(found)


@pytest.mark.parametrize(
    ("shape", "rule", "kind", "said"),
    [
        ("a text", "emial", FindingKind.UNKNOWN_MASK, "Did you mean email"),
        ("a text", {"mask": "email", "colour": "red"}, FindingKind.PARAMETERS, "colour: is not known here"),
        ("a text", {"mask": "keep", "days": 3}, FindingKind.PARAMETERS, "days"),
        ("a date", "date.shift", FindingKind.PARAMETERS, "days: is missing"),
        ("a int8", "email", FindingKind.TYPE, "the column is int8. Masks for this type: keep, null"),
        ("a enum(x|y)", "email", FindingKind.TYPE, "the column is enum"),
        ("a enum(x|y)", {"mask": "constant", "value": "z"}, FindingKind.TYPE, "Its labels are: x, y"),
        ("a text notnull", None, FindingKind.NOT_NULL, "NOT NULL"),
        ("a text unique", "text.lorem", FindingKind.UNIQUE, "the unique index t_a_key"),
        ("a text pk", "name.full", FindingKind.UNIQUE, "the primary key t_pkey"),
        ("a text unique", {"mask": "constant", "value": "x"}, FindingKind.UNIQUE, "t_a_key"),
        ("a varchar(8) unique", "email", FindingKind.UNIQUE, "t_a_key"),
        ("a text generated", "email", FindingKind.GENERATED, "generated"),
    ],
)
def test_a_rule_that_cannot_stand_is_refused(shape: str, rule: object, kind: FindingKind, said: str) -> None:
    """A mask that does not exist, does not fit the type, or could break a constraint is one finding that says so."""
    found, message = refusal(decide(t={"a": rule}), one(shape))
    assert (found, "public.t.a" in message) == (kind, True)
    assert said in message


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        ("a text unique", "email"),
        ("a text unique", None),
        ("a int8 pk", "id.int"),
        ("a uuid pk", "id.uuid"),
        ("a enum(x|y) notnull", {"mask": "constant", "value": "y"}),
        ("a enum(x|y)", None),
        ("a inet", None),
        ("a text generated", "keep"),
        ("a text array", "email"),
    ],
)
def test_a_rule_that_can_stand_is_taken(shape: str, rule: object) -> None:
    """Masks that keep values apart stand in unique columns, null where NULL may stand, a label in an enum."""
    assert plan_of(compiled(decide(t={"a": rule}), one(shape)), "public.t").rows == "all"


@pytest.mark.parametrize(
    ("index", "a", "b", "refused"),
    [
        (Index("i", (), expressions=("lower(a)",)), "text.lorem", "keep", True),
        (Index("i", (), expressions=("lower(a)",)), "email", "keep", False),
        (Index("i", (), expressions=("lower(abc)",)), "text.lorem", "keep", False),
        (Index("i", ("b",), predicate="(a = 'x'::text)"), "email", "keep", True),
        (Index("i", ("b",), predicate="(a IS NOT NULL)"), "text.lorem", "keep", False),
        (Index("i", ("b",), predicate="(a IS NULL)"), None, "keep", True),
        (Index("i", ("b",), predicate="(a IS NOT NULL)"), None, "keep", False),
        (Index("i", ("a", "b")), "text.lorem", "keep", True),
        (Index("i", ("a", "b")), "email", None, False),
        (Index("i", ("a",), is_unique=False, is_exclusion=True), "text.lorem", "keep", True),
    ],
)
def test_every_kind_of_unique_index_is_held(index: Index, a: object, b: object, refused: bool) -> None:
    """Composite, expression, partial and exclusion indexes refuse what could bring two rows into conflict."""
    findings = check(decide(t={"a": a, "b": b}), one("a text", "b text", indexes=(index,)))
    assert [finding.kind for finding in findings] == [FindingKind.UNIQUE] * refused


def test_a_partitions_own_index_counts() -> None:
    """A unique index that only a partition has binds the root's rule."""
    leaf = table("public.t_1", "a text unique", root="public.t")
    kind, message = refusal(decide(t={"a": "text.lorem"}), catalog(table("public.t", "a text", kind="p"), leaf))
    assert kind is FindingKind.UNIQUE
    assert "t_1_a_key" in message


@pytest.mark.parametrize(
    ("rules", "kind", "said"),
    [
        (decide(t={"a": "keep"}, tt={}), FindingKind.UNKNOWN_TABLE, "Did you mean public.t?"),
        (decide(t={"a": "keep"}, reservations={}), FindingKind.UNKNOWN_TABLE, "Remove it, or check how"),
        (decide(other={}, others={}), FindingKind.UNKNOWN_TABLE, "the rules of another database"),
        (decide(t={"a": "keep", "A": "keep"}), FindingKind.UNKNOWN_COLUMN, "Did you mean a?"),
        (decide(t={"a": "keep"}, t_1={"a": "keep"}), FindingKind.PARTITION, "Write the rule for public.t"),
    ],
)
def test_a_rule_for_what_does_not_exist_is_an_error(rules: Rules, kind: FindingKind, said: str) -> None:
    """A misspelled table or column, or a partition, is told with what was probably meant."""
    leaf = table("public.t_1", "a text", root="public.t")
    found, message = refusal(rules, catalog(table("public.t", "a text", kind="p"), leaf))
    assert found is kind
    assert said in message


def test_a_conflict_names_both_rules_with_their_places(tmp_path: Path) -> None:
    """Two rules for columns that join are an error with file, line and column of each, and the path between."""
    path = tmp_path / "rules.yaml"
    path.write_text(HOTEL_RULES.replace("{id: keep, price", "{guest_id: id.int, id: keep, price"))
    kind, message = refusal(load_rules(path), hotel())
    assert kind is FindingKind.CONFLICT
    assert "rules.yaml:12:35: public.reservations.guest_id: has the rule id.int" in message
    assert f"but public.guests.id ({path}:5:7) has keep" in message
    assert "the foreign key reservations_guest_id_fkey" in message


@pytest.mark.parametrize("misspelt", ["id", "guest_id"])
def test_a_misspelt_mask_is_one_error_where_it_stands(misspelt: str) -> None:
    """Whichever of the columns that join has it, it is no conflict, and is not told of the others."""
    of = catalog(
        table("public.s", "id int8 pk"),
        table("public.m", "guest_id int8"),
        foreign_keys=(foreign_key("public.m(guest_id)", "public.s(id)"),),
    )
    by = {"id": "id.int", "guest_id": "id.int"} | {misspelt: "id.itn"}
    (finding,) = check(decide(s={"id": by["id"]}, m={"guest_id": by["guest_id"]}), of)
    assert finding.kind is FindingKind.UNKNOWN_MASK
    assert finding.where.endswith(f".{misspelt}")
    assert finding.hint.startswith("Did you mean id.int")


def test_a_misspelt_parameter_is_no_conflict() -> None:
    """Where a mask is written for several columns, the one that has it wrong is told of, as it would be alone."""
    of = catalog(
        table("public.s", "email text pk"),
        table("public.m", "email text"),
        foreign_keys=(foreign_key("public.m(email)", "public.s(email)"),),
    )
    (finding,) = check(decide(s={"email": "email"}, m={"email": {"mask": "email", "preserve_fromat": True}}), of)
    assert finding.kind is FindingKind.PARAMETERS
    assert finding.where == "public.m.email"
    assert "preserve_fromat: is not known here" in finding.message


def test_a_misspelt_parameter_is_told_rather_than_that_it_is_missing() -> None:
    """What is not known says more than what is not there."""
    (finding,) = check(decide(s={"born": {"mask": "date.shift", "dasy": 3}}), catalog(table("public.s", "born date")))
    assert finding.message == "the mask date.shift: dasy: is not known here."
    assert finding.hint == "The parameters of date.shift are: days."


def test_a_reference_to_rows_that_are_not_copied_is_refused() -> None:
    """A foreign key to a table without rows would dangle, unless its column is null or its own rows stay away."""
    of = catalog(
        table("public.s", "id int8 pk"),
        table("public.m", "s_id int8"),
        foreign_keys=(foreign_key("public.m(s_id)", "public.s(id)"),),
    )
    assert refusal(decide(s=None, m={"s_id": "keep"}), of)[0] is FindingKind.DANGLING
    assert check(decide(s=None, m={"s_id": None}), of) == []
    assert check(decide(s=None, m=None), of) == []


def test_a_table_that_no_copy_brings_is_a_note() -> None:
    """A rule for an unlogged or foreign table has no effect, and check says so."""
    of = replace(one("a text"), left_out={TableName("public", "cache"): "unlogged"})
    (found,) = check(decide(t={"a": "keep"}, cache={}), of)
    assert (found.severity, found.kind) == (Severity.NOTE, FindingKind.LEFT_OUT)


def test_no_error_shows_a_parameters_value() -> None:
    """A constant's value stays out of findings: it may be anything."""
    rule = {"mask": "constant", "value": ["hunter2"]}
    for shape in ("a text", "a enum(x|y)"):
        assert "hunter2" not in refusal(decide(t={"a": rule}), one(shape))[1]


# ------------------------------------------------------------------------------------------------------ masking


def masked(shape: str, rule: object, values: list[bytes | None]) -> list[bytes | None]:
    plan = plan_of(compiled(decide(t={"a": rule}), one(shape)), "public.t")
    found: list[bytes | None] = plan.mask(batch(a=values), escaped=False).column(0).to_pylist()
    return found


def test_a_batch_may_hold_some_columns_in_any_order(hotel_rules: Rules) -> None:
    """The columns come out in the plan's order; those that did not come are missing, unknown ones are dropped."""
    plan = plan_of(compiled(hotel_rules, hotel()), "public.guests")
    out = plan.mask(batch(search=[b"x"], notes=[b"late"], stranger=[b"y"], id=[b"1"]), escaped=True)
    assert out.schema.names == ["id", "notes"]
    assert out.column("id").to_pylist() == [b"1"]


def test_batches_without_rows_or_columns_pass() -> None:
    """A batch of no rows, and one of no columns, keep their shape."""
    plan = plan_of(compiled(decide(t={"a": "email", "b": "keep"}), one("a text", "b text")), "public.t")
    empty = plan.mask(batch(a=[], b=[]), escaped=True)
    assert (empty.num_rows, empty.schema.names) == (0, ["a", "b"])
    bare = plan_of(compiled(decide(t={}), one()), "public.t")
    rows = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    assert bare.mask(rows, escaped=True).num_rows == 3


@settings(max_examples=60)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=12)), max_size=8), st.data())
def test_escaped_and_plain_batches_mask_alike(values: list[bytes | None], data: st.DataObject) -> None:
    """The mask of an escaped batch is the escaped mask of the plain one; kept columns pass as they came."""
    kept = data.draw(st.lists(st.one_of(st.none(), st.binary(max_size=6)), min_size=len(values), max_size=len(values)))
    plan = plan_of(compiled(decide(t={"a": "test.reversed", "b": "keep"}), one("a text", "b text")), "public.t")
    plain = batch(a=values, b=kept)
    escaped = pa.record_batch([escape(values) for values in plain.columns], names=plain.schema.names)
    expected = [escape(values) for values in plan.mask(plain, escaped=False).columns]
    assert plan.mask(escaped, escaped=True).columns == expected


def test_a_block_is_masked_as_its_rows_are() -> None:
    """Cut out, masked and filled in, or split, masked and joined: the block is the same. A column that a mask reads,
    and is kept, stays as it is."""
    masks: dict[str, Mask | RowMask] = {"b": Reversed(), "d": Beside()}
    plan = TablePlan(TableName("public", "t"), ("a", "b", "c", "d"), masks)
    block = b"1\tfirst\\nline\tkept\\\\\tx\n2\t\\N\t\\N\ty\n3\t\tc\t\\N\n"
    expected = join(plan.mask(split(block, plan.columns), escaped=True)).to_pybytes()
    assert memoryview(plan.mask_block(block, plan.columns)).tobytes() == expected
    assert [line.split(b"\t")[2] for line in expected.splitlines()] == [b"kept\\\\", b"\\N", b"c"]
    with pytest.raises(AssertionError, match="other columns"):
        plan.mask_block(block, ["a", "b", "c", "e"])


def test_char_n_is_masked_without_its_blanks() -> None:
    """The blanks that pad char(n) do not change what it masks to, and the output is padded as PostgreSQL prints it."""
    one_way, other = masked("a char(40)", "email", [b"anna@x.example" + b" " * 26, b"anna@x.example"])
    assert one_way == other
    assert one_way is not None
    assert len(one_way) == 40


def test_char_n_joins_with_varchar() -> None:
    """In one domain char(n) and varchar mask to the same text, apart from the blanks."""
    of = catalog(table("public.t", "a char(60)"), table("public.u", "a varchar(50)"))
    domains = {"d": {"mask": "email", "columns": ["public.t.a", "public.u.a"]}}
    tables: dict[str, object] = {"public.t": {}, "public.u": {}}
    plan = compiled(Rules.model_validate({"version": 1, "tables": tables, "domains": domains}), of)
    padded, plain = (
        plan_of(plan, name).mask(batch(a=[b"anna@x.example"]), escaped=False).column(0)[0].as_py()
        for name in ("public.t", "public.u")
    )
    assert padded == plain.ljust(60)


def test_arrays_are_masked_by_element() -> None:
    """A mask on an array column masks its elements as it would mask them alone; null takes the whole array."""
    alone = masked("a text", "email", [b"anna@x.example"])[0]
    assert alone is not None
    assert masked("a text array", "email", [b"{anna@x.example,NULL}", b"{}", None]) == [
        b"{" + alone + b",NULL}",
        b"{}",
        None,
    ]
    assert masked("a text array", None, [b"{a}"]) == [None]


def test_row_images_see_the_plan_lazily(hotel_rules: Rules) -> None:
    """A row image finds the masks of any table, of its own too, however the tables are ordered."""
    plan = compiled(hotel_rules, hotel())
    rows = batch(
        id=[b"1"],
        at=[b"2024-01-01"],
        table_name=[b"guests"],
        old_record=[None],
        record=[b'{"email": "anna@x.example"}'],
    )
    out = plan_of(plan, "public.logs").mask(rows, escaped=False)
    assert b"anna@x.example" not in out.column("record")[0].as_py()
    assert out.column("old_record").null_count == 1


def test_null_is_null_whether_it_is_written_or_taken_over() -> None:
    """Who writes it out, as a suggestion does, has nothing to copy again."""
    of = catalog(
        table("public.guests", "id int8 pk", "code text unique"),
        table("public.stays", "id int8 pk", "guest text"),
        foreign_keys=(foreign_key("public.stays(guest)", "public.guests(code)"),),
    )
    guests = {"id": "keep", "code": "null"}
    taken_over, written = (
        compiled(decide(guests=guests, stays={"id": "keep", **more}), of).identities for more in ({}, {"guest": "null"})
    )
    assert "guest" in taken_over["public.stays"]
    assert taken_over == written


def test_a_key_that_is_null_for_some_rows_refers_for_the_others() -> None:
    """So it cannot refer to a table of which no row is copied; one that is null for all rows can."""
    of = catalog(
        table("public.guests", "id int8 pk"),
        table("public.stays", "id int8 pk", "guest int8", "status text"),
        foreign_keys=(foreign_key("public.stays(guest)", "public.guests(id)"),),
    )
    for otherwise, kinds in ((None, {FindingKind.DANGLING}), ("keep", {FindingKind.DANGLING}), ("null", set())):
        rule = {"mask": "null", "when": "status = 'gone'"} | ({} if otherwise is None else {"otherwise": otherwise})
        own = decide(guests=None, stays={"id": "keep", "status": "keep", "guest": rule})
        assert {finding.kind for finding in check(own, of)} == kinds


def test_a_whole_key_is_null_where_its_columns_are_null_together() -> None:
    """MATCH FULL takes no reference of which one column is NULL and another is not."""
    of = catalog(
        table("public.guests", "a int8 pk", "b int8 pk"),
        table("public.stays", "id int8 pk", "a int8", "b int8"),
        foreign_keys=(replace(foreign_key("public.stays(a, b)", "public.guests(a, b)"), is_full=True),),
    )
    guests = {"a": "keep", "b": "keep"}
    kind, message = refusal(decide(guests=guests, stays={"id": "keep", "a": "keep", "b": "null"}), of)
    assert (kind, "MATCH FULL. Set null for a too." in message) == (FindingKind.DANGLING, True)
    assert compiled(decide(guests=guests, stays={"id": "keep", "a": "null", "b": "null"}), of).tables
