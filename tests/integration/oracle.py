"""Decides whether a copy is right, knowing nothing of how it was made.

``compare`` reads both databases whole and returns a ``Verdict``. It shares no code with the product: own reading, own
reading of the rules, own idea of a mask. That idea is: within a domain a mask is a function of the value, the same in
every table, in old and new row images and in array elements; where it promises so, no two values meet in one.

How rows are matched: the columns that are kept, all of them together, group the rows of a table in both databases. In
a group of one row the masked columns pair up, and the oracle learns from them which value became which. Groups of
several rows are then solved with what was learned. So a schema needs, in each table with masked columns, kept columns
that tell most rows apart; ``Verdict.unresolved`` counts the rows for which they did not.

The databases must be at rest: the workload over, the stream caught up.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import psycopg
import yaml

from tests.integration import formats
from tests.integration.structure import differences_in_structure, sequences_behind

Row: TypeAlias = tuple[str | None, ...]
Connection = psycopg.Connection[tuple[Any, ...]]

_INJECTIVE: Final = frozenset({"id.int", "id.uuid", "email"})
_DOCUMENTS: Final = frozenset({"json", "row_image"})
_SHOWN: Final = 5
_SETTINGS: Final = (
    "-c search_path= -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex "
    "-c extra_float_digits=1 -c default_transaction_isolation=repeatable\\ read -c row_security=off"
)


@dataclass(slots=True)
class Verdict:
    """``findings`` is empty when the copy is right; ``rows`` were compared, of which ``unresolved`` could be matched
    only as a group."""

    findings: list[str] = field(default_factory=list)
    rows: int = 0
    unresolved: int = 0

    def __str__(self) -> str:
        return f"{self.rows} rows, {self.unresolved} unresolved\n" + "\n".join(self.findings)


@dataclass(frozen=True, slots=True)
class Rule:
    """What the rules say of one column, and the name of its domain. ``position`` is that in the rows read."""

    column: str
    mask: str
    params: dict[str, Any]
    domain: str
    position: int
    is_array: bool
    type_name: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table or partitioned root: how to read it, and its columns by what happens to them. ``names`` are those of the
    columns read, or '' for what is read beside the table's own data."""

    name: str
    select: str
    kept: tuple[int, ...]
    masked: tuple[Rule, ...]
    names: tuple[str, ...]
    is_copied: bool

    @property
    def kept_names(self) -> frozenset[str]:
        """The kept columns that hold data of their own; what an image shows of generated ones is nobody's promise."""
        return frozenset(self.names[position] for position in self.kept if self.names[position])


def compare(source: str, target: str, rules: Path, *, canary: re.Pattern[str], folders: Sequence[Path] = ()) -> Verdict:
    """Judge the copy at ``target`` of ``source`` under ``rules``.

    ``canary`` matches what may be nowhere in the target, nor in any file under ``folders``.
    """
    with (
        psycopg.connect(source, options=_SETTINGS) as source_connection,
        psycopg.connect(target, options=_SETTINGS) as target_connection,
    ):
        return _Oracle(source_connection, target_connection, yaml.safe_load(rules.read_text())).judge(canary, folders)


class _Oracle:
    def __init__(self, source: Connection, target: Connection, rules: dict[str, Any]) -> None:
        self.source = source
        self.target = target
        self.verdict = Verdict()
        self.seen: Counter[str] = Counter()
        self.forward: dict[str, dict[str, str]] = defaultdict(dict)
        self.backward: dict[str, dict[str, str]] = defaultdict(dict)
        self.roots = dict(source.execute(_ROOTS).fetchall())
        self.foreign_keys = source.execute(_FOREIGN_KEYS).fetchall()
        self.domains = self._domains(rules)
        self.tables = {name: self._table(name, rule) for name, rule in rules["tables"].items()}

    def judge(self, canary: re.Pattern[str], folders: Sequence[Path]) -> Verdict:
        undecided = {name for [name] in self.source.execute(_TABLES).fetchall()} - set(self.tables)
        assert not undecided, f"the rules do not speak of {undecided}"
        for thing, difference in differences_in_structure(self.source, self.target):
            self.find(f"structure of {thing}", difference)
        images = []
        for table in self.tables.values():
            for pair in self._match(table):
                images.append((table, *pair)) if self._has_images(table) else self._check_row(table, *pair)
        # Images come last: values that no table holds any more are held by nothing but consistency.
        for table, before, after in images:
            self._check_row(table, before, after)
        self._check_joins()
        for sequence, complaint in sequences_behind(self.source, self.target):
            self.find(f"sequence {sequence}", complaint)
        self._check_canaries(canary, folders)
        for kind, count in self.seen.items():
            if count > _SHOWN:
                self.verdict.findings.append(f"{kind}: {count - _SHOWN} more")
        return self.verdict

    def find(self, kind: str, text: str) -> None:
        self.seen[kind] += 1
        if self.seen[kind] <= _SHOWN:
            self.verdict.findings.append(f"{kind}: {text}")

    # ------------------------------------------------------------------------------------------- what the rules say

    def _domains(self, rules: dict[str, Any]) -> dict[tuple[str, str], str]:
        """The representative of each column that shares its mask with others, by (table, column)."""
        parent: dict[tuple[str, str], tuple[str, str]] = {}

        def find(column: tuple[str, str]) -> tuple[str, str]:
            while column in parent:
                column = parent[column]
            return column

        def unite(one: tuple[str, str], other: tuple[str, str]) -> None:
            if find(one) != find(other):
                parent[find(one)] = find(other)

        for _, table, columns, referenced, referenced_columns in self.foreign_keys:
            for column, other in zip(columns, referenced_columns, strict=True):
                unite((self.roots[table], column), (self.roots[referenced], other))
        for domain in (rules.get("domains") or {}).values():
            first, *others = (self._split(column) for column in domain["columns"])
            for other in others:
                unite(other, first)
        return {column: ".".join(find(column)) for column in list(parent)}

    def _split(self, column: str) -> tuple[str, str]:
        row = self.source.execute(
            "SELECT quote_ident(p[1]) || '.' || quote_ident(p[2]), p[3] FROM parse_ident(%s) AS p", (column,)
        ).fetchone()
        assert row is not None
        return row

    def _table(self, name: str, rule: dict[str, Any]) -> Table:
        copied = rule.get("rows", "all") == "all"
        rules = rule.get("columns", {}) if copied else {}
        columns = self.source.execute(_COLUMNS, (name,)).fetchall()
        derived_from_masked = {
            column
            for column, _, _, _, inputs in columns
            if any(rules.get(other) != "keep" for other in inputs or () if other != column)
        }
        expressions, names, kept, masked = ["tableoid::pg_catalog.regclass"], [""], [0], []
        for column, quoted, type_name, is_array, inputs in columns:
            if column in derived_from_masked or not copied:
                continue
            written = rules.get(column, "keep" if inputs else None)
            assert written is not None, f"the rules do not speak of {name}.{column}"
            position = len(expressions)
            expressions.append(quoted)
            names.append("" if inputs else column)
            if written == "keep":
                kept.append(position)
                continue
            params = {"mask": written} if isinstance(written, str) else dict(written)
            if is_array:
                # The shape is kept, the elements are masked.
                expressions[position] = f"pg_catalog.to_json({quoted})"
                kept.append(len(expressions))
                expressions.append(f"pg_catalog.array_dims({quoted})")
                names.append("")
            domain = self.domains.get((name, column), f"{name}.{column}")
            masked.append(Rule(column, params.pop("mask"), params, domain, position, is_array, type_name))
        select = f"SELECT {', '.join(expressions)} FROM {name}"
        return Table(name, select, tuple(kept), tuple(masked), tuple(names), copied)

    @staticmethod
    def _has_images(table: Table) -> bool:
        return any(rule.mask == "row_image" for rule in table.masked)

    # ---------------------------------------------------------------------------------------------- matching rows

    def _match(self, table: Table) -> Iterator[tuple[Row, Row]]:
        """Pairs of a source row and the target row that came of it."""
        if not table.is_copied:
            if next(_read(self.target, table.select), None) is not None:
                self.find("rows", f"{table.name} is not to be copied, and has rows in the target")
            return
        groups: dict[Row, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
        for side, connection in enumerate((self.source, self.target)):
            for row in _read(connection, table.select):
                groups[tuple(row[position] for position in table.kept)][side].append(row)
        waiting = []
        for kept, (before, after) in groups.items():
            self.verdict.rows += len(before)
            if len(before) != len(after):
                self.find(
                    f"rows of {table.name}",
                    f"{len(before)} in the source, {len(after)} in the target with kept values {_short(kept)}",
                )
            elif len(before) == 1:
                yield before[0], after[0]
            elif table.masked:
                waiting.append((before, after))
        while waiting:
            before_round = sum(len(group[0]) for group in waiting)
            unsolved = []
            for group in waiting:
                yield from self._solve(table, *group)
                if group[0]:
                    unsolved.append(group)
            waiting = unsolved
            if sum(len(group[0]) for group in waiting) == before_round:
                break
        self.verdict.unresolved += sum(len(group[0]) for group in waiting)

    def _solve(self, table: Table, before: list[Row], after: list[Row]) -> list[tuple[Row, Row]]:
        """Of a group of rows that agree in all kept columns, take out the first kind whose counterpart is certain."""

        def masked(row: Row) -> Row:
            return tuple(row[rule.position] for rule in table.masked)

        old_kinds, new_kinds = Counter(map(masked, before)), Counter(map(masked, after))
        sizes = list(old_kinds.values())
        if sorted(sizes) != sorted(new_kinds.values()):
            found = f"equal rows, {sorted(sizes)} of a kind, became {sorted(new_kinds.values())} of a kind"
            self.find(f"rows of {table.name}", found)
            before.clear()
            return []
        for kind, count in old_kinds.items():
            counterpart = self._known(table, kind)
            if counterpart is None and sizes.count(count) == 1:
                # The only kind with so many rows.
                counterpart = next(other for other, number in new_kinds.items() if number == count)
            if counterpart is None:
                continue
            if new_kinds[counterpart] != count:
                self.find(f"rows of {table.name}", f"{count} rows like {_short(kind)} became {new_kinds[counterpart]}")
                before.clear()
                return []
            mine = [row for row in before if masked(row) == kind]
            theirs = [row for row in after if masked(row) == counterpart]
            before[:] = [row for row in before if masked(row) != kind]
            after[:] = [row for row in after if masked(row) != counterpart]
            return list(zip(mine, theirs, strict=True))
        return []

    def _known(self, table: Table, values: Row) -> Row | None:
        """What the masked values must have become, if all of them were seen before."""
        known: list[str | None] = []
        for rule, value in zip(table.masked, values, strict=True):
            learned = self.forward[rule.domain]
            if value is not None and (value not in learned or rule.is_array or rule.mask in _DOCUMENTS):
                return None
            known.append(None if value is None else learned[value])
        return tuple(known)

    # --------------------------------------------------------------------------------------------- checking values

    def _check_row(self, table: Table, before: Row, after: Row) -> None:
        for rule in table.masked:
            old, new = before[rule.position], after[rule.position]
            where = f"{table.name}.{rule.column}"
            if rule.is_array or rule.mask in _DOCUMENTS:
                old_document, new_document = _parse(old), _parse(new)
                if rule.mask == "row_image":
                    self._check_image(where, self._imaged(table, before), old_document, new_document)
                else:
                    self._check_value(where, rule, old_document, new_document)
            else:
                self._check_value(where, rule, old, new)

    def _check_value(self, where: str, rule: Rule, old: Any, new: Any) -> None:
        """One masked value: text, or parsed JSON for documents and arrays."""
        if rule.mask == "null":
            if new is not None:
                self.find(where, "is not NULL")
        elif (old is None) != (new is None):
            self.find(where, f"NULL on one side only: {_short(old)} became {_short(new)}")
        elif old is None:
            return
        elif rule.mask == "json":
            self._check_document(where, rule, old, new)
        elif isinstance(old, list):
            if not isinstance(new, list) or len(old) != len(new):
                self.find(where, f"another number of elements: {_short(old)} became {_short(new)}")
            else:
                for one, other in zip(old, new, strict=True):
                    self._check_value(where, rule, one, other)
        else:
            self._learn(where, rule, str(old), str(new))

    def _learn(self, where: str, rule: Rule, old: str, new: str) -> None:
        forward, backward = self.forward[rule.domain], self.backward[rule.domain]
        if forward.setdefault(old, new) != new:
            self.find(where, f"not a function: {_short(old)} became {_short(forward[old])} and {_short(new)}")
        if rule.mask in _INJECTIVE and backward.setdefault(new, old) != old:
            self.find(where, f"not injective: {_short(old)} and {_short(backward[new])} became {_short(new)}")
        if complaint := formats.complaint(rule.mask, rule.params, old, new):
            self.find(where, f"{complaint}: {_short(old)} became {_short(new)}")

    def _check_document(self, where: str, rule: Rule, old: Any, new: Any) -> None:
        for path, written in rule.params["paths"].items():
            mask = written if isinstance(written, str) else written["mask"]
            before, after = _at_path(old, path), _at_path(new, path)
            if mask == "keep" or before is _ABSENT or after is _ABSENT:
                if before != after:
                    self.find(f"{where} {path}", f"{_short(before)} became {_short(after)}")
            elif isinstance(before, str) or before is None:
                inner = Rule(path, mask, {}, f"{rule.domain} {path}", 0, is_array=False, type_name="text")
                self._check_value(f"{where} {path}", inner, before, after)

    def _imaged(self, table: Table, row: Row) -> Table | None:
        """The table that a row of an audit table speaks of, if the rules know it."""
        of = dict(zip(table.names, row, strict=True))
        named = self.source.execute(
            "SELECT quote_ident(%s) || '.' || quote_ident(%s)", (of["table_schema"], of["table_name"])
        ).fetchone()
        assert named is not None
        return self.tables.get(self.roots.get(named[0], ""))

    def _check_image(self, where: str, table: Table | None, old: Any, new: Any) -> None:
        """A row in an audit trail: its values are those that the rules of its table would make."""
        if (old is None) != (new is None):
            self.find(where, f"NULL on one side only: {_short(old)} became {_short(new)}")
        if table is None or not isinstance(old, dict):
            return  # no rules to check by; the canaries in it still must be gone
        if not isinstance(new, dict):
            self.find(where, f"an image of {table.name} is no longer an object")
            return
        for column in table.kept_names & old.keys():
            if column not in new or old[column] != new[column]:
                self.find(f"{where} {column}", f"{_short(old[column])} became {_short(new.get(column, 'nothing'))}")
        for rule in table.masked:
            if rule.column in old and rule.column not in new:
                self.find(f"{where} {rule.column}", "is gone from the image")
            elif rule.column in old:
                before, after = (_as_text(image[rule.column], rule.type_name) for image in (old, new))
                self._check_value(f"{where} {rule.column}", rule, before, after)

    # ---------------------------------------------------------------------------------------------- joins and leaks

    def _check_joins(self) -> None:
        joins = [
            (name, table, columns, referenced, others)
            for name, table, columns, referenced, others in self.foreign_keys
            if self.tables[self.roots[table]].is_copied and self.tables[self.roots[referenced]].is_copied
        ]
        by_domain = defaultdict(list)
        for table in self.tables.values():
            for rule in table.masked:
                if not rule.is_array and rule.mask in _INJECTIVE:
                    by_domain[rule.domain].append((table.name, rule.column))
        for domain, ((first_table, first_column), *others) in by_domain.items():
            joins += [(f"domain {domain}", first_table, [first_column], name, [column]) for name, column in others]
        for name, table, columns, referenced, others in joins:
            pairs = " AND ".join(
                f"a.{_identifier(one)}::text = b.{_identifier(other)}::text"
                for one, other in zip(columns, others, strict=True)
            )
            counts = "count(*), count(b.*), count(DISTINCT (b.tableoid, b.ctid))"
            statement = f"SELECT {counts} FROM {table} a LEFT JOIN {referenced} b ON {pairs}"
            before, after = self.source.execute(statement).fetchone(), self.target.execute(statement).fetchone()
            if before != after:
                self.find("joins", f"{name} of {table} to {referenced}: {before} became {after}")

    def _check_canaries(self, canary: re.Pattern[str], folders: Iterable[Path]) -> None:
        for [name] in self.target.execute(_STORED).fetchall():
            for [text] in _read(self.target, f"SELECT t::text FROM ONLY {name} t"):
                if text is not None and (match := canary.search(text)):
                    self.find("canary", f"in {name}: {_short(text[max(0, match.start() - 60) : match.end() + 20])}")
        in_bytes = re.compile(canary.pattern.encode(), canary.flags & re.IGNORECASE)
        for folder in folders:
            for path in folder.rglob("*"):
                if path.is_file() and in_bytes.search(path.read_bytes()):
                    self.find("canary", f"in the file {path}")


# ---------------------------------------------------------------------------------------------------- reading


def _read(connection: Connection, select: str) -> Iterator[Row]:
    """The rows, every value as the server prints it into COPY text."""
    with connection.cursor().copy(f"COPY ({select}) TO STDOUT") as copy:
        yield from copy.rows()


class _Number(str):
    """A number in JSON, as it is written."""

    __slots__ = ()


_ABSENT: Final = object()


def _parse(text: str | None) -> Any:
    return None if text is None else json.loads(text, parse_float=_Number, parse_int=_Number)


def _at_path(document: Any, path: str) -> Any:
    for name in path.removeprefix("$.").split("."):
        if not isinstance(document, dict) or name not in document:
            return _ABSENT
        document = document[name]
    return document


def _as_text(value: Any, type_name: str) -> Any:
    """A value of a row image as COPY would print it; lists and objects stay what they are."""
    if isinstance(value, str) and not isinstance(value, _Number) and type_name.startswith("timestamp"):
        return re.sub(r"\+00:00( BC)?$", r"+00\1", value.replace("T", " "))
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)})"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_NAME: Final = "quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
_OURS: Final = r"n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_TABLES: Final = f"""
SELECT {_NAME} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {_OURS} AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
"""
_STORED: Final = f"""
SELECT {_NAME} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {_OURS} AND c.relkind IN ('r', 'm')
"""
_ROOTS: Final = f"""
SELECT {_NAME}, coalesce((SELECT quote_ident(rn.nspname) || '.' || quote_ident(r.relname)
                            FROM pg_class r JOIN pg_namespace rn ON rn.oid = r.relnamespace
                           WHERE r.oid = pg_partition_root(c.oid)), {_NAME})
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS} AND c.relkind IN ('r', 'p')
"""
_FOREIGN_KEYS: Final = f"""
SELECT k.conname, {_NAME},
       (SELECT array_agg(attname::text ORDER BY i) FROM unnest(k.conkey) WITH ORDINALITY AS u (num, i)
          JOIN pg_attribute ON attrelid = k.conrelid AND attnum = num),
       (SELECT quote_ident(rn.nspname) || '.' || quote_ident(r.relname)
          FROM pg_class r JOIN pg_namespace rn ON rn.oid = r.relnamespace WHERE r.oid = k.confrelid),
       (SELECT array_agg(attname::text ORDER BY i) FROM unnest(k.confkey) WITH ORDINALITY AS u (num, i)
          JOIN pg_attribute ON attrelid = k.confrelid AND attnum = num)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0
"""
# The last column is null for a plain column, and names the inputs of a generated one.
_COLUMNS: Final = """
SELECT a.attname::text, quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), t.typelem <> 0 AND t.typlen = -1,
       CASE WHEN a.attgenerated <> '' THEN
           (SELECT array_agg(i.attname::text) FROM pg_attrdef e
              JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
                              AND d.refclassid = 'pg_class'::regclass AND d.refobjid = e.adrelid AND d.refobjsubid > 0
              JOIN pg_attribute i ON i.attrelid = e.adrelid AND i.attnum = d.refobjsubid
             WHERE e.adrelid = a.attrelid AND e.adnum = a.attnum) END
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
