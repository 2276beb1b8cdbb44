"""Which rows a subset has, told by the plainest means: production's rows in dictionaries, and a fixpoint over sets.

It shares nothing with what it judges: conditions are decided by the server, foreign keys are read from its catalog.
Tables have a column ``n`` that is kept and tells their rows apart on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fix_postgres import Database

_KEYS = """
SELECT k.conrelid::regclass::text, k.confrelid::regclass::text,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(num, place)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY place),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(num, place)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY place)
  FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0"""


@dataclass(frozen=True)
class Rows:
    """What the rules say of one table's rows: none, all, or a choice."""

    where: str | None = None
    comes_with: tuple[str, ...] = ()
    is_whole: bool = False
    is_empty: bool = False


@dataclass(frozen=True)
class Judged:
    """By table, the numbers of the rows that the copy must have, and of those that are only needed."""

    members: dict[str, set[int]]
    pulled: dict[str, set[int]]


def judge(production: Database, rules: Mapping[str, Rows]) -> Judged:
    """The least set of rows that fits the rules."""
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    true: dict[str, set[int]] = {}
    for table, own in rules.items():
        names = [name for (name,) in production.execute(
            f"SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 "
            "AND NOT attisdropped ORDER BY attnum"
        )]  # fmt: skip
        found = production.execute(f"SELECT ({own.where or 'true'}) IS TRUE, t.* FROM {table} t")
        rows[table] = {row["n"]: row for _, *values in found for row in [dict(zip(names, values, strict=True))]}
        true[table] = {dict(zip(names, values, strict=True))["n"] for is_true, *values in found if is_true}
    parents: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for table, other, columns, referenced in production.execute(_KEYS):
        if rules[table].is_empty:
            continue
        by_value = {tuple(row[name] for name in referenced): n for n, row in rows[other].items()}
        for n, row in rows[table].items():
            at = by_value.get(tuple(row[name] for name in columns))
            if None not in [row[name] for name in columns] and at is not None:
                parents.setdefault((table, n), set()).add((other, at))
    members: set[tuple[str, int]] = set()

    def is_chosen(table: str, n: int) -> bool:
        own = rules[table]
        if own.is_whole or own.is_empty:
            return own.is_whole
        comes = {each for each in parents.get((table, n), ()) if each[0] in own.comes_with}
        return n in true[table] and (not own.comes_with or bool(comes & members))

    while True:
        chosen = {(table, n) for table in rows for n in rows[table] if is_chosen(table, n)}
        needed = {each for member in members for each in parents.get(member, ()) if not rules[each[0]].is_empty}
        if chosen | needed <= members:
            break
        members |= chosen | needed
    return Judged(
        {table: {n for name, n in members if name == table} for table in rules},
        {table: {n for name, n in members - chosen if name == table} for table in rules},
    )
