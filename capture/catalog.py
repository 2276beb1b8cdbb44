"""Reading a database's catalog into ``capture.model``: tables, columns, keys, sequences, roles.

All statements run in the caller's transaction, so a catalog read in a snapshot fits the rows read in it. Schemas of
the system are left out, and so are objects that belong to an extension: ``CREATE EXTENSION`` brings those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from capture.model import (
    Catalog,
    Check,
    Column,
    ColumnName,
    Computed,
    ForeignKey,
    Index,
    ReplicaIdentity,
    Sequence,
    Table,
    TableName,
)
from capture.source import SourceConnection

_OURS: Final = """n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = c.oid AND e.classid = 'pg_class'::regclass
                  AND e.deptype = 'e')"""

_SERVER: Final = """SELECT s.system_identifier::text, current_database()::text,
  current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding
  FROM pg_control_system() s"""

# Rows as the planner estimates them: as dense as the last ANALYZE or VACUUM found, in as many pages as there are now.
# Without one, as after a restore, rows are taken to be of 128 bytes.
_TABLES: Final = f"""
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
       c.relreplident::text, c.relispartition, c.relrowsecurity,
       (s.pages * CASE WHEN c.relpages > 0 AND c.reltuples >= 0 THEN c.reltuples / c.relpages ELSE 64 END)::bigint,
       s.pages, coalesce(pg_table_size(c.oid), 0) AS bytes,
       obj_description(c.oid, 'pg_class'),
       CASE WHEN c.relispartition THEN pg_partition_root(c.oid)::oid::bigint END, pg_get_partkeydef(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
       LATERAL (SELECT coalesce(pg_relation_size(c.oid) / current_setting('block_size')::bigint, 0) AS pages) s
 WHERE c.relkind IN ('r', 'p', 'f') AND {_OURS}
 ORDER BY n.nspname, c.relname"""

# The identity columns of a table are those of its partitions too: since PostgreSQL 17 they say so themselves.
_COLUMNS: Final = f"""
SELECT a.attrelid::bigint, a.attname::text, a.attnum::int, a.atttypid::bigint, a.atttypmod,
       format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef, a.attgenerated::text,
       coalesce(r.attidentity, a.attidentity)::text AS identity,
       col_description(a.attrelid, a.attnum), pg_get_expr(d.adbin, d.adrelid), coalesce(l.collisdeterministic, true)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> ''
  LEFT JOIN pg_collation l ON l.oid = a.attcollation
  LEFT JOIN pg_attribute r
    ON c.relispartition AND r.attrelid = pg_partition_root(c.oid) AND r.attname = a.attname AND NOT r.attisdropped
 WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND {_OURS}
 ORDER BY a.attrelid, a.attnum"""

_TYPES: Final = """
SELECT t.oid::bigint, t.typname::text, t.typtype::text, t.typcategory::text, t.typelem::bigint,
       t.typbasetype::bigint, t.typtypmod, t.typlen::int, t.typnotnull
  FROM pg_type t"""

_ENUMS: Final = "SELECT e.enumtypid::bigint, e.enumlabel::text FROM pg_enum e ORDER BY e.enumtypid, e.enumsortorder"

_DOMAIN_CHECKS: Final = """
SELECT k.contypid::bigint, k.conname::text, pg_get_expr(k.conbin, 0) FROM pg_constraint k
 WHERE k.contype = 'c' AND k.contypid <> 0 ORDER BY k.contypid, k.conname"""

# NOT ENFORCED, since PostgreSQL 18, promises nothing.
_CHECKS: Final = f"""
SELECT k.conrelid::bigint, k.conname::text, pg_get_expr(k.conbin, k.conrelid), coalesce(k.conkey, '{{}}')::int[]
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'c' AND pg_get_constraintdef(k.oid) NOT LIKE '% NOT ENFORCED' AND {_OURS}
 ORDER BY k.conrelid, k.conname"""

# By to_jsonb, because PostgreSQL knows NULLS NOT DISTINCT only since 15.
_LABELS: Final = """
SELECT s.objoid::bigint, s.objsubid::int, s.label::text FROM pg_seclabel s
 WHERE s.classoid = 'pg_class'::regclass AND s.objsubid > 0 AND s.provider = 'anon'"""

_INDEXES: Final = f"""
SELECT i.indrelid::bigint, x.relname::text, i.indkey::text, i.indnkeyatts::int, i.indisprimary, i.indisunique,
       i.indisexclusion, i.indisreplident, i.indimmediate, pg_get_expr(i.indpred, i.indrelid) AS predicate,
       array(SELECT pg_get_indexdef(i.indexrelid, k, false) FROM generate_series(1, i.indnkeyatts::int) k
              WHERE i.indkey[k - 1] = 0 ORDER BY k) AS expressions,
       coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'true' AS nulls_not_distinct,
       array(SELECT o.oprname::text FROM pg_constraint e, unnest(e.conexclop) WITH ORDINALITY AS u(oid, place)
               JOIN pg_operator o ON o.oid = u.oid WHERE e.conindid = i.indexrelid AND e.contype <> 'f'
              ORDER BY u.place) AS operators,
       NOT EXISTS (SELECT FROM unnest(i.indcollation) AS u(oid) JOIN pg_collation l ON l.oid = u.oid
                    WHERE NOT l.collisdeterministic) AS deterministic
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class x ON x.oid = i.indexrelid
 WHERE (i.indisunique OR i.indisexclusion) AND i.indisready AND (i.indisvalid OR c.relkind = 'p') AND {_OURS}
 ORDER BY i.indrelid, x.relname"""

_COMPUTED: Final = f"""
SELECT i.indrelid::bigint, x.relname::text, pg_get_expr(i.indpred, i.indrelid) AS predicate,
       array(SELECT pg_get_indexdef(i.indexrelid, k, false) FROM generate_series(1, i.indnkeyatts::int) k
              WHERE i.indkey[k - 1] = 0 ORDER BY k) AS expressions
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class x ON x.oid = i.indexrelid
 WHERE (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) AND i.indisready AND (i.indisvalid OR c.relkind = 'p')
   AND {_OURS}
 ORDER BY i.indrelid, x.relname"""

_FOREIGN_KEYS: Final = f"""
SELECT k.conname::text, k.conrelid::bigint, k.conkey::int[], k.confrelid::bigint, k.confkey::int[],
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                  AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey),
       k.confmatchtype = 'f'
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0 AND {_OURS}
 ORDER BY k.conrelid, k.conname"""

_INHERITANCE: Final = """
SELECT h.inhrelid::bigint, h.inhparent::bigint FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
 WHERE NOT c.relispartition ORDER BY h.inhrelid, h.inhseqno"""

_SEQUENCES: Final = f"""
SELECT c.oid::bigint, n.nspname::text, c.relname::text, format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin,
       s.seqmax
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {_OURS} ORDER BY n.nspname, c.relname"""

# A column owns a sequence (serial, identity), or its default reads one.
_FEEDS: Final = """
SELECT d.objid::bigint, d.refobjid::bigint, d.refobjsubid::int FROM pg_depend d
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
   AND d.refobjsubid > 0
UNION
SELECT d.refobjid::bigint, f.adrelid::bigint, f.adnum::int FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
 WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass"""

_ROLES: Final = """
SELECT DISTINCT r.rolname::text FROM pg_roles r JOIN (
  SELECT x.grantee FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) x
   WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  UNION SELECT x.grantee FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
   JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(a.attacl) x
   WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  UNION SELECT x.grantee FROM pg_namespace n, aclexplode(n.nspacl) x
   WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  UNION SELECT x.grantee FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(p.proacl) x
   WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  UNION SELECT x.grantee FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace, aclexplode(t.typacl) x
   WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  UNION SELECT x.grantee FROM pg_default_acl d, aclexplode(d.defaclacl) x
  UNION SELECT d.defaclrole FROM pg_default_acl d
  UNION SELECT unnest(p.polroles) FROM pg_policy p
  UNION SELECT x.grantee FROM pg_foreign_server s, aclexplode(s.srvacl) x
  UNION SELECT x.grantee FROM pg_foreign_data_wrapper w, aclexplode(w.fdwacl) x
  UNION SELECT u.umuser FROM pg_user_mappings u
) g ON g.grantee = r.oid
ORDER BY 1"""

_LEFT_OUT: Final = {
    "f": "a foreign table: its rows live on another server",
    "u": "an unlogged table: its changes are in no WAL",
    "t": "a temporary table",
}


async def read_catalog(connection: SourceConnection) -> Catalog:
    """Read the catalog. Raises ``ServerFailed``."""
    server = (await connection.fetch(_SERVER))[0]
    domain_checks = await connection.fetch(_DOMAIN_CHECKS)
    types = _Types(await connection.fetch(_TYPES), await connection.fetch(_ENUMS), domain_checks)
    columns: dict[int, list[Column]] = {}
    labels = {(oid, attnum): label for oid, attnum, label in await connection.fetch(_LABELS)}
    for oid, *fields in await connection.fetch(_COLUMNS):
        column = types.column(*fields)
        columns.setdefault(oid, []).append(replace(column, anon_label=labels.get((oid, column.attnum))))
    rows = await connection.fetch(_TABLES)
    names = {row[0]: TableName(row[1], row[2]) for row in rows}
    indexes = _indexes(await connection.fetch(_INDEXES), columns)
    checks = _checks(await connection.fetch(_CHECKS), columns)
    computed: dict[int, list[Computed]] = {}
    for oid, name, predicate, expressions in await connection.fetch(_COMPUTED):
        written = [*expressions, predicate] if predicate is not None else expressions
        computed.setdefault(oid, []).extend(Computed(name, expression) for expression in written)
    parents: dict[int, list[TableName]] = {}
    for child, parent in await connection.fetch(_INHERITANCE):
        if parent in names:
            parents.setdefault(child, []).append(names[parent])
    tables: dict[TableName, Table] = {}
    left_out: dict[TableName, str] = {}
    for oid, _, _, kind, persistence, identity, _, row_security, estimated, pages, size, comment, root, divided in rows:
        reason = _LEFT_OUT.get("f" if kind == "f" else persistence)
        if reason is not None:
            left_out[names[oid]] = reason
            continue
        tables[names[oid]] = Table(
            oid=oid,
            name=names[oid],
            kind=kind,
            columns=tuple(columns.get(oid, ())),
            replica_identity=ReplicaIdentity(identity),
            indexes=tuple(indexes.get(oid, ())),
            root=names[root] if root is not None else None,
            inherits=tuple(parents.get(oid, ())),
            pages=pages,
            bytes=size,
            estimated_rows=estimated,
            row_security=row_security,
            comment=comment,
            checks=tuple(checks.get(oid, ())),
            partition_key=divided,
            computed=tuple(computed.get(oid, ())),
        )
    return Catalog(
        system_identifier=server[0],
        database=server[1],
        server_version=server[2],
        encoding=server[3],
        tables=tables,
        foreign_keys=tuple(_foreign_keys(await connection.fetch(_FOREIGN_KEYS), names, columns)),
        sequences=tuple(_sequences(await connection.fetch(_SEQUENCES), await connection.fetch(_FEEDS), names, columns)),
        left_out=left_out,
        roles=tuple(row[0] for row in await connection.fetch(_ROLES)),
    )


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    kind: str
    category: str
    element: int
    base: int
    typmod: int
    length: int
    not_null: bool

    @property
    def is_true_array(self) -> bool:
        return self.category == "A" and self.element != 0 and self.length == -1


class _Types:
    """Resolves domains to their base and arrays to their element."""

    def __init__(self, rows: Iterable[Any], enums: Iterable[Any], checks: Iterable[Any]) -> None:
        self._types = {oid: _Type(*fields) for oid, *fields in rows}
        self._labels: dict[int, tuple[str, ...]] = {}
        for oid, label in enums:
            self._labels[oid] = (*self._labels.get(oid, ()), label)
        self._checks: dict[int, tuple[Check, ...]] = {}
        for oid, name, expression in checks:
            self._checks[oid] = (*self._checks.get(oid, ()), Check(name, expression))

    def _domains(self, oid: int, *, of_elements: bool) -> list[int]:
        """The domains over a type; with ``of_elements`` also those under an array."""
        found = []
        while True:
            described = self._types[oid]
            if described.kind == "d":
                found.append(oid)
                oid = described.base
            elif of_elements and described.is_true_array:
                oid = described.element
            else:
                return found

    def _base(self, oid: int, typmod: int) -> tuple[int, int]:
        """Under all domains: the base type, and its modifier."""
        described = self._types[oid]
        while described.kind == "d":
            oid, typmod = described.base, described.typmod
            described = self._types[oid]
        return oid, typmod

    def column(
        self,
        name: str,
        attnum: int,
        oid: int,
        typmod: int,
        type_name: str,
        not_null: bool,
        has_default: bool,
        generated: str,
        identity: str,
        comment: str | None,
        expression: str | None,
        deterministic: bool,
    ) -> Column:
        base_oid, base_typmod = self._base(oid, typmod)
        is_array = self._types[base_oid].is_true_array
        if is_array:
            base_oid, base_typmod = self._base(self._types[base_oid].element, base_typmod)
        base = self._types[base_oid]
        return Column(
            name=name,
            attnum=attnum,
            type_oid=oid,
            typmod=typmod,
            type_name=type_name,
            base_type=base.name,
            kind=base.kind,
            is_array=is_array,
            max_length=base_typmod - 4 if base.name in ("varchar", "bpchar") and base_typmod >= 4 else None,
            # The scale is the lower 11 bits of the modifier, signed since PostgreSQL 15.
            scale=((base_typmod - 4 & 0x7FF) ^ 0x400) - 0x400 if base.name == "numeric" and base_typmod >= 4 else None,
            not_null=not_null or any(self._types[domain].not_null for domain in self._domains(oid, of_elements=False)),
            has_default=has_default or bool(identity),
            generated=generated,
            identity=identity,
            enum_labels=self._labels.get(base_oid, ()),
            comment=comment,
            expression=expression,
            checks=tuple(
                check for domain in self._domains(oid, of_elements=True) for check in self._checks.get(domain, ())
            ),
            deterministic=deterministic,
        )


def _column_names(columns: dict[int, list[Column]], oid: int, attnums: Iterable[int]) -> tuple[str, ...]:
    by_number = {column.attnum: column.name for column in columns.get(oid, ())}
    return tuple(by_number[attnum] for attnum in attnums if attnum in by_number)


def _indexes(rows: Iterable[Any], columns: dict[int, list[Column]]) -> dict[int, list[Index]]:
    found: dict[int, list[Index]] = {}
    for oid, name, keys, count, *flags, predicate, expressions, nulls_not_distinct, operators, deterministic in rows:
        primary, unique, exclusion, identity, immediate = flags
        attnums = [int(text) for text in keys.split()][:count]
        # An expression's number is 0: they come last.
        by_key = sorted(zip(attnums, operators, strict=False), key=lambda pair: pair[0] == 0)
        found.setdefault(oid, []).append(
            Index(
                name=name,
                columns=_column_names(columns, oid, attnums),
                is_primary=primary,
                is_unique=unique,
                is_exclusion=exclusion,
                is_replica_identity=identity,
                is_immediate=immediate,
                expressions=tuple(expressions),
                predicate=predicate,
                operators=tuple(operator for _, operator in by_key),
                nulls_distinct=not nulls_not_distinct,
                deterministic=deterministic,
            )
        )
    return found


def _checks(rows: Iterable[Any], columns: dict[int, list[Column]]) -> dict[int, list[Check]]:
    found: dict[int, list[Check]] = {}
    for oid, name, expression, attnums in rows:
        # 0 stands for the whole row.
        read = [column.attnum for column in columns.get(oid, ())] if 0 in attnums else attnums
        found.setdefault(oid, []).append(Check(name, expression, _column_names(columns, oid, read)))
    return found


def _foreign_keys(
    rows: Iterable[Any], names: dict[int, TableName], columns: dict[int, list[Column]]
) -> Iterable[ForeignKey]:
    for name, oid, attnums, referenced, referenced_attnums, is_indexed, is_full in rows:
        if oid in names and referenced in names:
            yield ForeignKey(
                name,
                names[oid],
                _column_names(columns, oid, attnums),
                names[referenced],
                _column_names(columns, referenced, referenced_attnums),
                is_indexed,
                is_full,
            )


def _sequences(
    rows: Iterable[Any], feeds: Iterable[Any], names: dict[int, TableName], columns: dict[int, list[Column]]
) -> Iterable[Sequence]:
    fed: dict[int, list[ColumnName]] = {}
    for sequence, oid, attnum in feeds:
        column = _column_names(columns, oid, (attnum,))
        if oid in names and column:
            fed.setdefault(sequence, []).append(ColumnName(names[oid], column[0]))
    for oid, schema, name, type_name, increment, minimum, maximum in rows:
        yield Sequence(TableName(schema, name), type_name, increment, minimum, maximum, tuple(sorted(fed.get(oid, ()))))
