"""Columns that join are one domain: one rule, one key, and a conflict when two rules disagree."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fix_catalog import catalog, foreign_key, hotel, table

from capture.model import Catalog, ColumnName, TableName
from transform.domains import Domain, unite
from transform.rules import Rules


def rules(domains: dict[str, object] | None = None, **tables: dict[str, object]) -> Rules:
    """Rules for tables of the schema public."""
    columns = {f"public.{name}": {"columns": columns} for name, columns in tables.items()}
    return Rules.model_validate({"version": 1, "tables": columns, "domains": domains or {}})


def domain_of(column: str, of: Catalog, by: Rules | None = None) -> Domain:
    return unite(by or rules(), of)[ColumnName.parse(column)]


def members(column: str, of: Catalog, by: Rules | None = None) -> list[str]:
    return [str(member) for member in domain_of(column, of, by).columns]


def test_a_foreign_key_unites_pairwise() -> None:
    """Each column of a composite foreign key joins the one that it refers to, and no other; chains join all."""
    assert members("public.messages.sender", hotel()) == [
        "public.guests.email",
        "public.messages.sender",
        "public.participants.email",
    ]
    assert members("public.messages.conversation_id", hotel()) == [
        "public.messages.conversation_id",
        "public.participants.conversation_id",
    ]
    assert members("public.guests.phone", hotel()) == ["public.guests.phone"]


def test_the_name_is_the_column_referred_to() -> None:
    """A domain is named for its root column, so that a referencing table that is added later changes no key."""
    before = catalog(table("public.z", "id int8 pk"))
    after = catalog(
        table("public.z", "id int8 pk"),
        table("public.a", "z_id int8"),
        foreign_keys=(foreign_key("public.a(z_id)", "public.z(id)"),),
    )
    assert domain_of("public.z.id", before).name == "public.z.id"
    assert domain_of("public.a.z_id", after).name == "public.z.id"


def test_a_cycle_has_a_stable_name() -> None:
    """Tables that refer to each other's keys have the smallest name, in whatever order they are read."""
    tables = (table("public.b", "id int8 pk"), table("public.a", "id int8 pk"))
    keys = (foreign_key("public.a(id)", "public.b(id)"), foreign_key("public.b(id)", "public.a(id)"))
    names = {
        domain_of("public.b.id", catalog(*some, foreign_keys=links)).name
        for some, links in ((tables, keys), (tables[::-1], keys[::-1]))
    }
    assert names == {"public.a.id"}


def test_a_reference_to_itself_changes_nothing() -> None:
    """A table that refers to its own key is named for the key."""
    of = catalog(
        table("public.staff", "id int8 pk", "boss int8"),
        foreign_keys=(foreign_key("public.staff(boss)", "public.staff(id)"),),
    )
    assert domain_of("public.staff.boss", of).name == "public.staff.id"


def test_a_declared_domain_gives_name_and_rule() -> None:
    """Columns listed under domains: share their mask and the domain's name, without a foreign key."""
    of = catalog(table("public.a", "x text"), table("public.b", "y text"))
    by = rules({"person": {"mask": "email", "columns": ["public.a.x", "public.b.y"]}})
    domain = domain_of("public.b.y", of, by)
    assert (domain.name, domain.rule.rule.mask if domain.rule else None) == ("person", "email")
    assert members("public.a.x", of, by) == ["public.a.x", "public.b.y"]


def test_inheritance_unites_columns_of_the_same_name() -> None:
    """A child's inherited columns are its parent's; its own stand alone."""
    child = replace(table("public.child", "x text", "y text"), inherits=(TableName("public", "parent"),))
    of = catalog(table("public.parent", "x text"), child)
    assert domain_of("public.child.x", of).name == "public.parent.x"
    assert members("public.child.y", of) == ["public.child.y"]


def test_partitions_stand_for_their_root() -> None:
    """A foreign key of or to a partition links its root."""
    of = catalog(
        table("public.log", "id int8 pk", kind="p"),
        table("public.log_1", "id int8 pk", root="public.log"),
        table("public.line", "log_id int8"),
        foreign_keys=(foreign_key("public.line(log_id)", "public.log_1(id)"),),
    )
    assert members("public.line.log_id", of) == ["public.line.log_id", "public.log.id"]
    assert ColumnName.parse("public.log_1.id") not in unite(rules(), of)


def test_one_rule_serves_the_whole_domain() -> None:
    """A rule at any column is the domain's, and the same rule twice is no conflict."""
    by = rules(guests={"email": "email"}, messages={"sender": {"mask": "email"}})
    domain = domain_of("public.participants.email", hotel(), by)
    assert domain.rule is not None
    assert domain.rule.rule.mask == "email"
    assert domain.conflicts == ()


def test_a_conflict_names_both_rules_and_the_path() -> None:
    """Two rules in one domain are reported with the chain of foreign keys between their columns."""
    by = rules(guests={"email": "email"}, messages={"sender": "keep"})
    (conflict,) = domain_of("public.guests.email", hotel(), by).conflicts
    assert (conflict.first.written_for, conflict.first.rule.mask) == ("public.guests.email", "email")
    assert (conflict.second.written_for, conflict.second.rule.mask) == ("public.messages.sender", "keep")
    assert conflict.path == (
        "the foreign key participants_email_fkey (public.participants.email to public.guests.email)",
        "the foreign key messages_conversation_id_fkey (public.messages.sender to public.participants.email)",
    )


def test_the_rule_that_differs_is_the_conflict() -> None:
    """One place that was changed alone is told once, though others refer to it; a declared domain's rule is one place,
    whichever columns it has."""
    by = rules(guests={"email": "keep"}, participants={"email": "email"}, messages={"sender": "email"})
    (conflict,) = domain_of("public.guests.email", hotel(), by).conflicts
    assert conflict.second.written_for == "public.guests.email"
    declared = {"people": {"mask": "redact", "columns": ["public.guests.email", "public.messages.sender"]}}
    by = rules(declared, guests={"email": "email"}, messages={"sender": "email"})
    (conflict,) = domain_of("public.guests.email", hotel(), by).conflicts
    assert conflict.second.written_for == "the domain people"


def test_parameters_make_a_conflict_too() -> None:
    """The same mask with other parameters is another rule."""
    by = rules(guests={"email": {"mask": "email", "domain": "a.test"}}, participants={"email": "email"})
    assert len(domain_of("public.guests.email", hotel(), by).conflicts) == 1


def test_null_leaves_the_domain_at_a_referencing_end() -> None:
    """NULL refers to nothing, so a referencing column may be null whatever the other end is; a key may not."""
    by = rules(guests={"id": "keep"}, reservations={"guest_id": None})
    assert members("public.guests.id", hotel(), by) == ["public.guests.id"]
    by = rules(guests={"email": "email"}, participants={"email": None})
    assert len(domain_of("public.guests.email", hotel(), by).conflicts) == 1


def test_null_of_some_rows_leaves_no_domain() -> None:
    """The other rows refer to something, so a key with a condition is masked like the one that it refers to, or not
    at all."""
    condition = {"mask": "null", "when": "status = 'gone'"}
    for rule in (condition, {**condition, "otherwise": "id.int"}):
        by = rules(guests={"id": "id.int"}, reservations={"guest_id": rule})
        assert len(domain_of("public.guests.id", hotel(), by).conflicts) == 1
    by = rules(guests={"id": "id.int"}, reservations={"guest_id": {**condition, "otherwise": None}})
    assert members("public.guests.id", hotel(), by) == ["public.guests.id"]


def test_a_table_that_others_inherit_from_may_refer_to_nothing() -> None:
    """What inherits the column refers to no row by it."""
    child = replace(table("public.late", "guest_id int4"), inherits=(TableName("public", "reservations"),))
    of = hotel()
    of = replace(of, tables={**of.tables, child.name: child})
    by = rules(guests={"id": "id.int"}, reservations={"guest_id": "null"}, late={})
    assert members("public.guests.id", of, by) == ["public.guests.id"]
    domain = domain_of("public.late.guest_id", of, by)
    assert domain.rule is not None
    assert (domain.rule.rule.mask, domain.conflicts) == ("null", ())


def test_todo_is_no_rule() -> None:
    """A column marked todo neither gives its domain a rule nor contradicts one."""
    by = rules(guests={"email": "todo"}, participants={"email": "email"})
    domain = domain_of("public.guests.email", hotel(), by)
    assert domain.rule is not None
    assert (domain.rule.rule.mask, domain.conflicts) == ("email", ())


@pytest.mark.parametrize(
    ("types", "width", "length"),
    [
        (("int8", "int4"), 32, None),
        (("int2", "int8"), 16, None),
        (("text", "varchar(20)"), 64, 20),
        (("uuid",), 64, None),
    ],
)
def test_a_domain_has_room_for_what_fits_all(types: tuple[str, ...], width: int, length: int | None) -> None:
    """The narrowest integer type and the shortest length count, so that all columns can show the same value."""
    tables = [table(f"public.t{number}", f"x {name}") for number, name in enumerate(types)]
    listed = [f"public.t{number}.x" for number in range(len(types))]
    domain = domain_of("public.t0.x", catalog(*tables), rules({"d": {"mask": "keep", "columns": listed}}))
    assert domain.max_length == length
    assert domain.width <= width


def test_tables_without_rows_link_nothing() -> None:
    """A table whose rows are not copied has no part in any domain."""
    by = Rules.model_validate({"version": 1, "tables": {"public.participants": {"rows": "none"}}})
    assert members("public.guests.email", hotel(), by) == ["public.guests.email"]


def test_a_conflict_may_lead_over_links_of_every_kind() -> None:
    """Inheritance, a partition's foreign key, a column of a composite key, a declared domain: each told as itself."""
    child = replace(table("public.child", "x text"), inherits=(TableName("public", "parent"),))
    of = catalog(
        table("public.parent", "x text"),
        child,
        table("public.log", "day date", "who text", kind="p"),
        table("public.log_1", "day date", "who text", root="public.log"),
        table("public.line", "no int8", "who text"),
        table("public.far", "y varchar(9)"),
        foreign_keys=(
            foreign_key("public.log_1(who)", "public.child(x)"),
            foreign_key("public.line(no, who)", "public.log(day, who)"),
        ),
    )
    declared = {"d": {"mask": "todo", "columns": ["public.line.who", "public.far.y"]}}
    by = rules(declared, parent={"x": "email"}, far={"y": "keep"})
    (conflict,) = domain_of("public.far.y", of, by).conflicts
    assert {conflict.first.rule.mask, conflict.second.rule.mask} == {"email", "keep"}
    assert set(conflict.path) == {
        "inheritance (public.child.x to public.parent.x)",
        "the foreign key log_1_who_fkey (public.log.who to public.child.x)",
        "the foreign key line_no_fkey (public.line.who to public.log.who)",
        "the domain d (public.far.y to public.line.who)",
    }
    assert domain_of("public.far.y", of, by).max_length == 9
