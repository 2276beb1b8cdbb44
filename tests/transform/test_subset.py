"""Which tables take part in a subset, what their rows refer by, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from fix_catalog import catalog, foreign_key, table
from hypothesis import given
from hypothesis import strategies as st

from capture.model import Catalog, ColumnName, TableName
from transform.coverage import FindingKind, Severity
from transform.identity import differences
from transform.plan import check, examine
from transform.rules import Rules, load_rules
from transform.suggest import suggest

PAGE = (Path(__file__).parents[2] / "docs" / "subsets.md").read_text()


def production(*, key: str = "int8", other: str = "int8") -> Catalog:
    """Guests, their orders with items, reviews and a log; rooms that are referred to by nobody."""
    return catalog(
        table("public.guests", f"id {key} pk", "name text", "country text"),
        table("public.orders", "id int8 pk", f"guest {other}", "placed_on date"),
        table("public.items", "id int8 pk", "order_id int8", "amount int4"),
        table("public.reviews", "id int8 pk", f"guest {other}", "stars int4"),
        table("public.rooms", "id int8 pk", "kind text"),
        foreign_keys=(
            foreign_key("public.orders(guest)", "public.guests(id)"),
            foreign_key("public.items(order_id)", "public.orders(id)"),
            foreign_key("public.reviews(guest)", "public.guests(id)"),
        ),
    )


def rules(**rows: object) -> Rules:
    """Rules that keep all columns, with these choices of rows."""
    tables = {}
    for name, one in production().tables.items():
        own: dict[str, object] = {"columns": {each.name: "keep" for each in one.columns}}
        if name.name in rows:
            own["rows"] = rows[name.name]
        tables[str(name)] = own
    return Rules.model_validate({"version": 1, "tables": tables})


def errors(own: Rules, schema: Catalog) -> list[str]:
    """What is wrong."""
    found = [one for one in check(own, schema) if one.severity is Severity.ERROR]
    assert {one.kind for one in found} <= {FindingKind.SUBSET, FindingKind.CONFLICT}
    return [str(one) for one in found]


def test_the_example_of_the_page_fits(tmp_path: Path) -> None:
    """With a subset of all its tables."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    own = load_rules(path)
    named = production()
    named = replace(named, tables={name: one for name, one in named.tables.items() if name in own.tables})
    found = examine(own, named)
    assert [str(one) for one in found.findings if one.severity is not Severity.NOTE] == []
    assert found.plan.subset is not None
    assert found.plan.subset.tables.keys() == own.tables.keys()


def test_who_takes_part() -> None:
    """Who is referred to, who refers, and who asks; not a table that nothing hangs on."""
    own = rules(guests={"where": "country = 'DE'"}, rooms={"where": "kind = 'single'"})
    plan = examine(own, production()).plan
    assert plan.subset is not None
    parts = {str(name): (one.asks, one.is_whole) for name, one in plan.subset.tables.items()}
    assert parts == {
        "public.guests": (False, False),
        "public.orders": (False, True),
        "public.reviews": (False, True),
    }
    # Rows of these are told by the subset, those of the others by themselves.
    assert plan.tables[TableName("public", "guests")].chosen is None
    assert plan.tables[TableName("public", "rooms")].chosen is not None
    assert plan.takes_part(TableName("public", "orders"))
    assert not plan.takes_part(TableName("public", "rooms"))
    assert plan.subset.tables[TableName("public", "guests")].read == ("id", "country")


def test_no_subset_without_references() -> None:
    """Conditions alone need none, and what is masked to NULL refers to nothing."""
    assert examine(rules(rooms={"where": "kind = 'single'"}), production()).plan.subset is None
    assert examine(rules(items={"where": "amount > 1"}), production()).plan.subset is None
    own = rules(guests={"where": "country = 'DE'"})
    for name in ("orders", "reviews"):
        column = ColumnName(TableName("public", name), "guest")
        own.tables[column.table].columns[column.column] = type(own.tables[column.table].columns["id"]).model_validate(
            "null"
        )
    assert examine(own, production()).plan.subset is None


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"orders": {"with": "public.gusts"}}, "there is no table public.gusts"),
        ({"orders": {"with": "public.guests"}}, "with names public.guests, of which all rows are copied"),
        ({"items": {"with": "public.guests"}, "guests": {"where": "id > 1"}}, "which no foreign key of this table"),
    ],
)
def test_what_nothing_can_come_with_is_refused(rows: dict[str, object], words: str) -> None:
    """With what to do."""
    (found,) = errors(rules(**rows), production())
    assert words in found


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ('{where: "nothing = 1", with: public.guests}', "4:12"),
        ('{where: "id > 1", with: public.rooms}', "4:29"),
        ("\n      where: id > 1\n      with: [public.guests, public.gusts]", "6:7"),
    ],
)
def test_a_mistake_in_a_choice_is_placed(tmp_path: Path, rows: str, place: str) -> None:
    """At what is wrong in it, not at its table."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        f"version: 1\ntables:\n  public.orders:\n    rows: {rows}\n"
        "    columns: {id: keep, guest: keep, placed_on: keep}\n"
        "  public.guests: {rows: {where: id > 1}, columns: {id: keep, name: keep, country: keep}}\n"
        "  public.items: {rows: none}\n  public.rooms: {columns: {id: keep, kind: keep}}\n"
        "  public.reviews: {rows: none}\n"
    )
    found = [one for one in check(load_rules(path), production()) if one.severity is Severity.ERROR]
    assert [one.at for one in found] == [f"{path}:{place}"]


@pytest.mark.parametrize(
    ("key", "other", "words"),
    [
        ("numeric", "numeric", "may be equal though they are written differently"),
        ("float8", "float8", "may be equal though they are written differently"),
        ("citext", "citext", "may be equal though they are written differently"),
        ("uuid", "text", "whose equal values are written differently"),
        ("int8", "numeric", "may be equal though they are written differently"),
    ],
)
def test_keys_that_texts_do_not_tell_apart_are_refused(key: str, other: str, words: str) -> None:
    """Nobody could say what refers to what."""
    found = errors(rules(guests={"where": "country = 'DE'"}), production(key=key, other=other))
    assert any(words in one for one in found), found


@pytest.mark.parametrize(("key", "other"), [("int4", "int8"), ("text", "varchar"), ("uuid", "uuid"), ("date", "date")])
def test_keys_that_texts_tell_apart_are_taken(key: str, other: str) -> None:
    """Whatever their width."""
    assert errors(rules(guests={"where": "country = 'DE'"}), production(key=key, other=other)) == []


def test_a_table_without_a_key_is_refused() -> None:
    """Its rows could not be found."""
    schema = production()
    orders = TableName("public", "orders")
    bare = replace(schema, tables={**schema.tables, orders: replace(schema.tables[orders], indexes=())})
    bare = replace(bare, foreign_keys=tuple(one for one in bare.foreign_keys if one.referenced_table != orders))
    (found,) = errors(rules(guests={"where": "country = 'DE'"}), bare)
    assert "public.orders" in found
    assert "no primary key" in found


def test_a_reference_to_one_partition_is_refused() -> None:
    """Its key is unique there, and may come again in another."""
    days = [("public.days", None), ("public.days_1", "public.days"), ("public.days_2", "public.days")]
    schema = catalog(
        *(table(name, "id int8 pk", "day date pk", root=root, kind="r" if root else "p") for name, root in days),
        table("public.stays", "id int8 pk", "day int8"),
        foreign_keys=(foreign_key("public.stays(day)", "public.days_1(id)"),),
    )
    keep = {"days": ["id", "day"], "stays": ["id", "day"]}
    tables = {f"public.{name}": {"columns": dict.fromkeys(names, "keep")} for name, names in keep.items()}
    assert errors(Rules.model_validate({"version": 1, "tables": tables}), schema) == []
    tables["public.days"]["rows"] = {"where": "id > 1"}
    (found,) = errors(Rules.model_validate({"version": 1, "tables": tables}), schema)
    assert "refers to public.days_1, which is a part of public.days" in found


def test_rows_that_are_looked_for_without_an_index_are_noted() -> None:
    """With the statement that makes one; a reference that no row comes with needs none."""
    schema = production()
    bare = replace(schema, foreign_keys=tuple(replace(one, is_indexed=False) for one in schema.foreign_keys))
    own = rules(guests={"where": "country = 'DE'"}, orders={"with": "public.guests"})
    (found,) = [one for one in check(own, bare) if one.kind is FindingKind.SUBSET]
    assert found.severity is Severity.NOTE
    assert found.hint == "In production: CREATE INDEX CONCURRENTLY ON public.orders (guest);"
    assert [one for one in check(own, schema) if one.kind is FindingKind.SUBSET] == []


@given(st.sampled_from(["country = 'DE'", "country = 'FR'"]), st.booleans())
def test_another_choice_is_another_subset_for_all(where: str, comes: bool) -> None:
    """Each table of it has other rows then; what takes no part has not."""
    before = examine(rules(guests={"where": "country = 'DE'"}), production()).plan
    now = examine(
        rules(guests={"where": where}, **({"orders": {"with": "public.guests"}} if comes else {})), production()
    ).plan
    found = {str(one.table) for one in differences(before.identities, now.identities, same_key=True) if one.rows}
    same = where == "country = 'DE'" and not comes
    assert found == (
        set() if same else {"public.guests", "public.orders", "public.reviews"} | ({"public.items"} if comes else set())
    )


def test_a_choice_is_kept_when_rules_are_suggested_again(tmp_path: Path) -> None:
    """A file that is written again chooses the same rows."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "version: 1\ntables:\n"
        "  public.guests: {rows: {where: \"country = 'DE'\"}, columns: {id: keep, name: name, country: keep}}\n"
        "  public.orders: {rows: {with: public.guests}, columns: {id: keep, guest: keep, placed_on: keep}}\n"
    )
    known = load_rules(path)
    path.write_text(suggest(production(), {}, known))
    assert {str(name): own.rows for name, own in load_rules(path).tables.items() if own.rows != "all"} == {
        str(name): own.rows for name, own in known.tables.items()
    }
