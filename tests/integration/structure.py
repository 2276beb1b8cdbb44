"""Whether two databases have the same schema, object by object, as the server's own functions print it.

Left out on purpose: owners and grants (roles belong to a cluster), publications, the schema ``tezcat``, and what
PostgreSQL 18 counts as a constraint where 16 has a mere flag (NOT NULL, which the columns show anyway).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]

_OURS: Final = r"n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'tezcat')"
_NAME: Final = "quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
_OF_TABLE: Final = "JOIN pg_class c ON c.oid = x.{} JOIN pg_namespace n ON n.oid = c.relnamespace WHERE " + _OURS

# Each gives (name, definition).
_KINDS: Final[dict[str, str]] = {
    "schema": f"SELECT n.nspname, '' FROM pg_namespace n WHERE {_OURS}",
    "relation": f"""
        SELECT {_NAME}, concat_ws(' ', c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity,
               c.relforcerowsecurity, c.relispartition, c.relispopulated, c.reloptions,
               pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid), obj_description(c.oid, 'pg_class'))
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {_OURS} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'c', 'f')""",
    "column": f"""
        SELECT {_NAME} || '.' || quote_ident(a.attname), concat_ws(' ',
               row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod),
               a.attnotnull, a.attidentity, a.attgenerated, a.attstorage, a.attcompression,
               nullif(a.attcollation, t.typcollation)::regcollation, pg_get_expr(d.adbin, d.adrelid),
               a.attislocal, a.attinhcount, col_description(c.oid, a.attnum))
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE {_OURS} AND c.relkind IN ('r', 'p', 'v', 'm', 'c', 'f') AND a.attnum > 0 AND NOT a.attisdropped""",
    "index": f"""
        SELECT pg_get_indexdef(x.indexrelid), concat_ws(' ', x.indisvalid, x.indisreplident, x.indisprimary,
               x.indimmediate) FROM pg_index x {_OF_TABLE.format("indrelid")}""",
    "constraint": f"""
        SELECT {_NAME} || ' ' || x.conname, concat_ws(' ', pg_get_constraintdef(x.oid), x.convalidated)
          FROM pg_constraint x {_OF_TABLE.format("conrelid")} AND x.contype <> 'n'""",
    "trigger": f"""
        SELECT {_NAME} || ' ' || x.tgname, concat_ws(' ', pg_get_triggerdef(x.oid), x.tgenabled)
          FROM pg_trigger x {_OF_TABLE.format("tgrelid")} AND NOT x.tgisinternal""",
    "rule": f"""
        SELECT {_NAME} || ' ' || x.rulename, concat_ws(' ', pg_get_ruledef(x.oid), x.ev_enabled)
          FROM pg_rewrite x {_OF_TABLE.format("ev_class")} AND x.rulename <> '_RETURN'""",
    "policy": f"""
        SELECT {_NAME} || ' ' || x.polname, concat_ws(' ', x.polcmd, x.polpermissive,
               pg_get_expr(x.polqual, x.polrelid), pg_get_expr(x.polwithcheck, x.polrelid))
          FROM pg_policy x {_OF_TABLE.format("polrelid")}""",
    "inheritance": f"""
        SELECT {_NAME}, concat_ws(' ', x.inhparent::regclass, x.inhseqno)
          FROM pg_inherits x {_OF_TABLE.format("inhrelid")} AND c.relkind IN ('r', 'p')""",
    "view": f"""
        SELECT {_NAME}, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {_OURS} AND c.relkind IN ('v', 'm')""",
    "function": f"""
        SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid) || coalesce(obj_description(p.oid, 'pg_proc'), '')
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_OURS} AND p.prokind <> 'a'""",
    "type": f"""
        SELECT t.oid::regtype::text, concat_ws(' ', t.typtype, t.typnotnull, t.typdefault,
               format_type(t.typbasetype, t.typtypmod),
               (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
               (SELECT array_agg(conname || pg_get_constraintdef(oid) ORDER BY conname) FROM pg_constraint
                 WHERE contypid = t.oid AND contype <> 'n'))
          FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE {_OURS}""",
    "sequence": f"""
        SELECT {_NAME}, concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
               s.seqcycle, (SELECT concat_ws(' ', d.deptype, d.refobjid::regclass, a.attname) FROM pg_depend d
                              JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                             WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
          FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {_OURS}""",
    "statistics": f"""
        SELECT x.stxname, pg_get_statisticsobjdef(x.oid) FROM pg_statistic_ext x {_OF_TABLE.format("stxrelid")}""",
    "extension": "SELECT extname, '' FROM pg_extension",
}

# A sequence and a column that takes its values from it: owned, identity, or a default that names it.
_FEEDS: Final = f"""
SELECT s.oid::regclass::text, c.oid::regclass::text, quote_ident(a.attname)
  FROM pg_class s
  JOIN pg_depend d
    ON (d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype IN ('a', 'i'))
    OR (d.classid = 'pg_attrdef'::regclass AND d.refobjid = s.oid AND d.refclassid = 'pg_class'::regclass)
  LEFT JOIN pg_attrdef e ON d.classid = 'pg_attrdef'::regclass AND e.oid = d.objid
  JOIN pg_attribute a ON (a.attrelid, a.attnum) = (coalesce(e.adrelid, d.refobjid), coalesce(e.adnum, d.refobjsubid))
  JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE s.relkind = 'S' AND c.relkind IN ('r', 'p') AND {_OURS}
"""
_SEQUENCES: Final = f"""
SELECT c.oid::regclass::text, s.seqincrement, s.seqmax FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS}
"""


def differences_in_structure(source: Connection, target: Connection) -> Iterator[tuple[str, str]]:
    """What one database has and the other has not, or has otherwise: the thing's kind and name, and how it differs."""
    for kind, query in _KINDS.items():
        before, after = ({name: (name, text) for name, text in c.execute(query)} for c in (source, target))
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                here, there = (objects.get(name, (name, "absent"))[1] for objects in (before, after))
                yield f"{kind} {name}", f"{here} became {there}"


def sequences_behind(source: Connection, target: Connection) -> Iterator[tuple[str, str]]:
    """Sequences of the target whose next value a row has already, or that have none left; and sequences that feed no
    column and stand before production's."""
    feeds = target.execute(_FEEDS).fetchall()
    for sequence, table, column in feeds:
        row = target.execute(
            f"SELECT last_value + is_called::int - 1 AS last, (SELECT max({column}) FROM {table}) FROM {sequence}"
        ).fetchone()
        assert row is not None
        if row[1] is not None and row[0] < row[1]:
            yield sequence, f"stands at {row[0]}, and {table}.{column} reaches {row[1]}"
    for sequence, increment, maximum in target.execute(_SEQUENCES).fetchall():
        positions = [
            row[0]
            for c in (source, target)
            for row in c.execute(
                f"SELECT CASE WHEN is_called THEN last_value ELSE last_value - {increment} END FROM {sequence}"
            ).fetchall()
        ]
        if positions[1] + increment > maximum:
            yield sequence, "has no value left"
        if sequence not in {feed[0] for feed in feeds} and positions[1] < positions[0]:
            yield sequence, f"stands at {positions[1]}, production's at {positions[0]}"
