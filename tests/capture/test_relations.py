"""A relation says where rows go and which of their columns; drift stops the stream before a value goes astray."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from capture.model import Drifted, Relation, RelationColumn, ReplicaIdentity, Table, TableName
from capture.pgoutput import ProtocolViolation
from capture.relations import Announced, RelationCache
from tests.fix_catalog import catalog, column, table

GUESTS = replace(table("public.guests", "id int8 pk", "name text", "notes text"), oid=1)
SESSIONS = replace(table("public.sessions", "id int8 pk", "token text"), oid=3)
ROOT = replace(table("public.logs", "id int8 pk", kind="p"), oid=4)
PART = replace(table("public.logs_1", "id int8 pk", root="public.logs"), oid=5)
PAIRS = replace(table("public.pairs", "a int8 pk", "b int8 pk"), oid=6)
CATALOG = catalog(GUESTS, SESSIONS, ROOT, PART, PAIRS)


def announced(of: Table, **changes: Any) -> Relation:
    """The Relation message of a table as the catalog has it."""
    keys = of.primary_key if of.replica_identity is ReplicaIdentity.DEFAULT else [one.name for one in of.columns]
    columns = [RelationColumn(one.name, one.type_oid, one.typmod, one.name in keys) for one in of.copied_columns]
    return replace(Relation(of.oid, of.name, of.replica_identity, tuple(columns)), **changes)


def drifted(**changes: Any) -> Relation:
    return announced(GUESTS, **changes)


ID, NAME, NOTES = announced(GUESTS).columns
EXTRA = RelationColumn("Extra", 25, -1, False)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def relations(told: list[str]) -> RelationCache:
    return RelationCache(CATALOG, frozenset({SESSIONS.name}), told.append)


def test_a_relation_is_mapped_to_the_copys_columns(relations: RelationCache, told: list[str]) -> None:
    """In the catalog's order, whatever order they arrive in."""
    relations.announce(announced(GUESTS))
    assert relations[1] == Announced(GUESTS.name, ("id", "name", "notes"), ("id",), 3, (0, 1, 2), False)
    relations.announce(drifted(columns=(EXTRA, NOTES, ID, NAME)))
    assert relations[1] == Announced(GUESTS.name, ("id", "name", "notes"), ("id",), 4, (2, 3, 1), False)
    assert relations[1].key_positions == (2,)


@pytest.mark.parametrize(
    ("relation", "says"),
    [
        (drifted(table=TableName("public", "new")), "public.new, which was not there"),
        (drifted(oid=77), "public.guests is another table"),
        (drifted(columns=(ID, NAME)), "column notes of public.guests is gone or renamed"),
        (drifted(columns=(ID, NAME, NOTES._replace(name="Notes"))), "column notes of public.guests is gone"),
        (drifted(columns=(ID, NAME._replace(type_oid=1043), NOTES)), "column name of public.guests has another type"),
        (drifted(columns=(ID, NAME._replace(typmod=44), NOTES)), "column name of public.guests has another type"),
        (
            drifted(columns=(ID._replace(is_key=False), NAME._replace(is_key=True), NOTES)),
            "identified by other columns",
        ),
        (
            announced(PAIRS, columns=(RelationColumn("a", 0, -1, True), RelationColumn("b", 0, -1, False))),
            "public.pairs were identified by other columns",
        ),
        (
            drifted(columns=(ID, NAME, NOTES, RelationColumn("Code", 25, -1, True))),
            'the new column "Code" of public.guests identifies',
        ),
    ],
)
def test_drift_stops_the_stream(relations: RelationCache, relation: Relation, says: str) -> None:
    """The copy has no place for what comes, or nobody has decided it; what to do is told."""
    with pytest.raises(Drifted, match=says) as caught:
        relations.announce(relation)
    assert "clone again" in caught.value.hint.lower()
    with pytest.raises(ProtocolViolation):
        relations[relation.oid]


def test_a_new_column_is_left_out_and_told_once(relations: RelationCache, told: list[str]) -> None:
    """Nobody has decided how to mask it; the others go on."""
    for _ in range(2):
        relations.announce(drifted(columns=(EXTRA, NOTES, ID, NAME)))
    [said] = told
    assert 'public.guests."Extra"' in said
    relations.announce(drifted(columns=(EXTRA, EXTRA._replace(name="other"), NOTES, ID, NAME)))
    assert len(told) == 2


@pytest.mark.parametrize("identity", [ReplicaIdentity.FULL, ReplicaIdentity.NOTHING])
def test_another_replica_identity_that_still_names_the_key_is_no_drift(
    relations: RelationCache, identity: ReplicaIdentity
) -> None:
    """FULL sends more than is needed; with NOTHING there are inserts only. The copy's key stays what it is."""
    keys = identity is ReplicaIdentity.FULL
    columns = tuple(one._replace(is_key=keys) for one in (ID, NAME, NOTES))
    relations.announce(drifted(replica_identity=identity, columns=columns))
    assert relations[1].key == ("id",)


def test_a_generated_column_is_not_taken_for_a_new_one(told: list[str]) -> None:
    """A publication may send it; the copy makes its own."""
    made = replace(GUESTS, columns=(*GUESTS.columns, replace(column("search", "text", "generated"), attnum=4)))
    relations = RelationCache(catalog(made), frozenset(), told.append)
    relations.announce(drifted(columns=(ID, RelationColumn("search", 25, -1, False), NAME, NOTES)))
    assert (relations[1].width, relations[1].projection) == (4, (0, 2, 3))
    assert told == []


def test_the_drift_of_a_table_that_is_left_out_is_nobodys_matter(relations: RelationCache, told: list[str]) -> None:
    """Its rows are not copied."""
    relations.announce(announced(SESSIONS, oid=33, columns=(RelationColumn("new", 25, -1, True),)))
    assert relations[33].is_dropped
    assert told == []


def test_a_truncation_names_the_tables_that_hold_rows(relations: RelationCache) -> None:
    """A partitioned table is announced beside its partitions; what is left out is not there to be emptied."""
    for one in (ROOT, PART, GUESTS, SESSIONS):
        relations.announce(announced(one))
    assert relations.truncated((4, 5, 3, 1)) == (PART.name, GUESTS.name)
    assert relations.truncated((4, 3)) == ()


def test_what_was_not_announced_is_a_violation(relations: RelationCache) -> None:
    """A change, or a truncation among others."""
    relations.announce(announced(GUESTS))
    with pytest.raises(ProtocolViolation):
        relations[99]
    with pytest.raises(ProtocolViolation):
        relations.truncated((1, 99))
