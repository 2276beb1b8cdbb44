"""Why a column is masked as it is: the rule, its place, and what binds it; never a value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fix_catalog import HOTEL_RULES, catalog, hotel, table

from capture.model import BadInput, Catalog, Check, Index, TableName
from transform.explaining import Explanation, explain
from transform.plan import check
from transform.rules import Rules, load_rules

CANARY = "canary-7f3a"


@pytest.fixture
def hotel_rules(tmp_path: Path) -> Rules:
    return written(tmp_path, HOTEL_RULES)


def written(folder: Path, text: str) -> Rules:
    """Rules that know where they stand."""
    path = folder / "rules.yaml"
    path.write_text(text)
    return load_rules(path)


def explained(rules: Rules, of: Catalog, what: str) -> Explanation:
    """An explanation, which shows no constant."""
    found = explain(rules, of, check(rules, of), what)
    assert CANARY not in repr(found)
    return found


def test_a_column_tells_its_rule_and_where_it_stands(hotel_rules: Rules) -> None:
    """With its domain, what unites it, and what its unique index asks."""
    found = explained(hotel_rules, hotel(), "public.guests.email")
    assert (found.kind, found.status, found.rule) == ("column", "masked", "email")
    assert found.at.endswith("rules.yaml:6:7")
    assert (found.domain, found.taken_over_from) == ("public.guests.email", "")
    assert [name for name, _ in found.columns] == [
        "public.guests.email", "public.messages.sender", "public.participants.email",
    ]  # fmt: skip
    assert {link.reason for link in found.links} == {
        "the foreign key participants_email_fkey", "the foreign key messages_conversation_id_fkey",
    }  # fmt: skip
    assert "the unique index guests_email_key of public.guests" in found.unique
    assert "the primary key participants_pkey of public.participants" in found.unique
    assert found.promise == "tagged"
    assert f"written at {found.at}." in found.why[0]


def test_a_document_tells_what_happens_at_each_path(tmp_path: Path) -> None:
    """With the masks' names, and no constant; what is no rule is left to the check."""
    shown = "paths: {$.a: email, $.b: {mask: constant, value: canary-7f3a}, $.c: {value: 1}}, keys: {$.d: id.uuid}"
    rules = written(tmp_path, f"version: 1\ntables: {{public.t: {{columns: {{doc: {{mask: json, {shown}}}}}}}}}\n")
    found = explained(rules, catalog(table("public.t", "doc jsonb")), "public.t.doc")
    assert [told for told in found.why if " at $." in told] == [
        "What is at $.a: email.",
        "What is at $.b: constant with value.",
        "The keys at $.d: id.uuid.",
    ]


def test_an_hstore_tells_what_happens_to_its_keys(tmp_path: Path) -> None:
    """And to the values of those that the rule names."""
    shown = "{mask: hstore, keys: {tier: keep}, key_mask: email}"
    rules = written(tmp_path, f"version: 1\ntables: {{public.t: {{columns: {{doc: {shown}}}}}}}\n")
    found = explained(rules, catalog(table("public.t", "doc hstore")), "public.t.doc")
    assert {"What is at tier: keep.", "All other keys: email."} <= set(found.why)


def test_a_column_without_a_rule_tells_whose_it_takes_over(hotel_rules: Rules) -> None:
    """By way of another table, too."""
    found = explained(hotel_rules, hotel(), "public.messages.sender")
    assert found.taken_over_from == "public.guests.email"
    assert found.why[0].startswith("It has no rule of its own and takes over email from public.guests.email at ")


def test_columns_that_are_not_masked_are_explained_too(tmp_path: Path) -> None:
    """Kept, marked todo, without a rule, generated, of a table whose rows stay, of a partition."""
    text = HOTEL_RULES.replace("phone: {mask: phone, preserve_format: true}", "phone: todo").replace(
        "      notes: {mask: text.lorem}\n", ""
    )
    rules = written(tmp_path, text)
    status = {
        "public.guests.mood": ("kept", "copied as it is"),
        "public.guests.phone": ("undecided", "marked todo"),
        "public.guests.notes": ("undecided", "has no rule"),
        "public.guests.search": ("generated", "the copy computes it"),
        "public.sessions.token": ("not copied", "rows: none"),
        "public.logs_1.record": ("masked", "is a partition of public.logs"),
    }
    for what, (expected, word) in status.items():
        found = explained(rules, hotel(), what)
        assert found.status == expected, what
        assert any(word in reason for reason in found.why), (what, found.why)
    assert explained(rules, hotel(), "public.logs_1.record").root == "public.logs"


def test_a_condition_is_shown_as_written_and_a_constant_is_not(tmp_path: Path) -> None:
    """What a rule writes into the copy stays in the rules file."""
    rules = written(
        tmp_path,
        "version: 1\ntables:\n  public.t:\n    columns:\n      id: keep\n      country: keep\n"
        f"      name: {{mask: constant, value: {CANARY}, when: \"country = 'DE'\", otherwise: redact}}\n",
    )
    found = explained(rules, catalog(table("public.t", "id int8 pk", "country text", "name text")), "public.t.name")
    assert (found.rule, found.when, found.otherwise) == (
        "constant with value under a condition", "country = 'DE'", "redact",
    )  # fmt: skip
    assert "The mask is for rows where this is true or unknown: country = 'DE'" in found.why


def test_constraints_and_their_trials_are_told(tmp_path: Path) -> None:
    """One that a mask was held against, one that is vouched for, one that reads what is kept."""
    base = table("public.t", "id int8 pk", "a text", "b text", "c text")
    checks = (
        Check("a_short", "length(a) < 500", ("a",)),
        Check("b_odd", "is_odd(b)", ("b",)),
        Check("c_set", "c IN ('x', 'y')", ("c",)),
    )
    of = catalog(replace(base, checks=checks))
    rules = written(
        tmp_path,
        "version: 1\ntables:\n  public.t:\n    columns:\n      id: keep\n      a: text.lorem\n"
        "      b: {mask: text.lorem, satisfies: [b_odd]}\n      c: keep\n",
    )
    told = {name: dict(explained(rules, of, f"public.t.{name}").checks) for name in "abc"}
    assert "held of all" in told["a"]["check constraint a_short"]
    why = explained(rules, of, "public.t.a").why
    assert sum(each.startswith("The check constraint a_short held of all") for each in why) == 1
    assert told["b"] == {"check constraint b_odd": "the rule vouches for it (satisfies)."}
    assert told["c"] == {"check constraint c_set": "no mask changes what it reads."}


def test_subjects_are_told(tmp_path: Path) -> None:
    """Of a table, and of a date that follows."""
    text = HOTEL_RULES.replace("  public.guests:\n", "  public.guests:\n    subject: id\n").replace(
        "created_at: keep", "created_at: {mask: date.shift, days: 3}"
    ).replace("{columns: {id: keep, price", "{columns: {id: keep, guest_id: keep, price")  # fmt: skip
    rules = written(tmp_path, text)
    assert explained(rules, hotel(), "public.reservations.created_at").subject == "guest_id"
    assert explained(rules, hotel(), "public.reservations").subject == "guest_id"
    assert any("about the person of id at " in reason for reason in explained(rules, hotel(), "public.guests").why)


def test_tables_are_explained(hotel_rules: Rules) -> None:
    """What becomes of each column, and whether rows are copied."""
    guests = explained(hotel_rules, hotel(), "public.guests")
    assert (guests.kind, guests.status) == ("table", "all rows")
    assert dict(guests.columns)["phone"] == "phone with preserve_format"
    assert dict(guests.columns)["search"] == "generated"
    assert explained(hotel_rules, hotel(), "public.sessions").status == "no rows"
    assert explained(hotel_rules, hotel(), "public.logs_1").root == "public.logs"
    undecided = explained(Rules(version=1), hotel(), "public.guests")
    assert undecided.status == "undecided"
    some = Rules.model_validate(
        {"version": 1, "tables": {"public.guests": {"rows": {"where": "id < 9"}, "columns": {"id": "keep"}}}}
    )
    assert explained(some, hotel(), "public.guests").when == "id < 9"


def test_declared_domains_are_explained(tmp_path: Path) -> None:
    """With all that is united by them."""
    rules = written(
        tmp_path,
        HOTEL_RULES.replace("      phone: {mask: phone, preserve_format: true}\n", "")
        + "domains:\n  numbers: {mask: phone, columns: [public.guests.phone]}\n",
    )
    found = explained(rules, hotel(), "numbers")
    assert (found.kind, found.status, found.columns) == ("domain", "masked", (("public.guests.phone", "phone"),))
    assert explained(rules, hotel(), "public.guests.phone").taken_over_from == "the domain numbers"


def test_a_domain_that_is_called_as_its_column_hides_no_column(tmp_path: Path) -> None:
    """The column is explained, and that a domain is declared for it."""
    rules = written(
        tmp_path,
        "version: 1\ntables: {public.guests: {columns: {phone: phone}}}\n"
        "domains: {public.guests.phone: {mask: phone, columns: [public.guests.phone, public.messages.sender]}}\n",
    )
    found = explained(rules, hotel(), "public.guests.phone")
    assert (found.kind, found.domain) == ("column", "public.guests.phone")
    assert "united by the domain public.guests.phone" in " ".join(found.why)


def test_what_is_not_there_is_told_with_what_is_near(hotel_rules: Rules) -> None:
    """A table, a column, a domain, a word that is no name, and a table that no copy brings."""
    for what, words in {
        "public.gests": "Did you mean public.guests?",
        "public.guests.emial": "Did you mean email?",
        "guests.email": "Did you mean public.guests.email?",
        "guests": "Did you mean public.guests?",
        "numbers": "no declared domain",
        "a b": "double quotes",
    }.items():
        with pytest.raises(BadInput, match=words):
            explained(hotel_rules, hotel(), what)
    without = replace(hotel(), left_out={TableName("public", "scratch"): "unlogged"})
    assert explained(hotel_rules, without, "public.scratch.a").status == "not copied"


def test_an_index_over_the_column_counts_by_expression_too(tmp_path: Path) -> None:
    """As it does for the check."""
    of = catalog(table("public.t", "id int8 pk", "a text", indexes=(Index("t_lower", (), expressions=("lower(a)",)),)))
    rules = written(tmp_path, "version: 1\ntables: {public.t: {columns: {id: keep, a: email}}}\n")
    assert explained(rules, of, "public.t.a").unique == ("the unique index t_lower of public.t",)


def test_null_needs_no_key(tmp_path: Path) -> None:
    """Nothing is said of one where every value becomes NULL."""
    rules = written(tmp_path, "version: 1\ntables: {public.t: {columns: {a: null, b: text.lorem}}}\n")
    of = catalog(table("public.t", "a text", "b text"))
    told = {name: " ".join(explained(rules, of, f"public.t.{name}").why) for name in "ab"}
    assert ("Its key" in told["a"], "Its key" in told["b"]) == (False, True)


def test_what_stands_beside_a_rule_is_told(tmp_path: Path) -> None:
    """Evidence of a suggestion, or the reason of whoever decided it."""
    lines = "a: keep  # agreed with the works council", "b: todo  # email: 3/9", "c: keep"
    text = "version: 1\ntables:\n  public.t:\n    columns:\n" + "".join(f"      {line}\n" for line in lines)
    rules, of = written(tmp_path, text), catalog(table("public.t", "a text", "b text", "c text"))
    told = {name: explain(rules, of, check(rules, of), f"public.t.{name}").why for name in "abc"}
    assert "Beside it the file says: agreed with the works council" in told["a"]
    assert "Beside it the file says: email: 3/9" in told["b"]
    assert not any("Beside it" in reason for reason in told["c"])
