"""CHECK constraints, of tables and of domains, held against the masks of the columns that they read.

A copy's server checks every row that is loaded or streamed, so a mask that makes what a constraint forbids would stop
the copy. Whether it does is tried: values that satisfy the constraint are masked, under a key of the trial's own, and
must satisfy it still. What a trial finds, and what cannot be tried because the constraint says more than is known here,
is an error, unless the rule vouches for it: ``satisfies: [constraint, ...]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
from sqlglot import exp

from capture.model import Catalog, Check, Column, ColumnName, ServerFailed, Table, TableName
from transform.conditions import Evaluate, compile_condition, read
from transform.coverage import Decision, Finding, FindingKind, Severity
from transform.domains import root_of
from transform.masks.ids import reach
from transform.patterns import Unknown, samples
from transform.probes import Hints, neighbours, probes
from transform.rules import NULL
from transform.sqltext import mentions, parse

_ROWS: Final = 400
# Fewer that satisfy a constraint tell nothing.
_LEAST_ROWS: Final = 20
_LEAST_VALUES: Final = 3
_ITSELF: Final = "VALUE"
_INTEGER_PERMUTATION: Final = "id.int"
_HINT: Final = "Use keep or another mask; if production holds no such values, vouch for it: satisfies: [{name}]."


class Trial(Protocol):
    """A plan's masks, under a key of the trial's own."""

    def reads(self, column: ColumnName) -> tuple[str, ...] | None:
        """The other columns that the column's mask reads; None if the column is kept."""

    def mask(self, table: TableName, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Mask a batch of some of a table's columns."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A constraint on a root table's rows. ``names`` are what it calls the columns that it reads, and what they are."""

    table: Table
    check: Check
    names: dict[str, str]


def hold_checks(catalog: Catalog, decisions: Mapping[ColumnName, Decision], trial: Trial) -> Iterator[Finding]:
    """What there is to say of the constraints that masked columns take part in."""
    claims: dict[ColumnName, set[str]] = {}
    for claim in _claims(catalog):
        columns = [ColumnName(claim.table.name, name) for name in claim.names.values()]
        masked = [decisions[column] for column in columns if trial.reads(column) is not None]
        for decision in masked:
            claims.setdefault(decision.column, set()).add(claim.check.name)
        if masked and not any(claim.check.name in decision.rule.satisfies for decision in masked):
            yield _try(claim, masked, trial)
    yield from _misnamed(decisions, claims)


def constraints_on(catalog: Catalog, column: ColumnName) -> list[str]:
    """The names of the constraints that read a column of a table that is no partition."""
    return [
        claim.check.name
        for claim in _claims(catalog)
        if claim.table.name == column.table and column.column in claim.names.values()
    ]


def _misnamed(decisions: Mapping[ColumnName, Decision], claims: Mapping[ColumnName, set[str]]) -> Iterator[Finding]:
    """Constraints that a rule vouches for and that are none of its domain's."""
    for decision in decisions.values():
        if decision.rule.satisfies:
            known = {name for column in decision.domain.columns for name in claims.get(column, ())}
            for name in decision.rule.satisfies:
                if name not in known:
                    message = (
                        f"the rule satisfies {name}, and no CHECK constraint of that name reads the masked column."
                    )
                    hint = f"Its constraints are: {', '.join(sorted(known)) or 'none'}."
                    where = str(decision.column)
                    yield Finding(Severity.ERROR, FindingKind.CHECK, where, message, hint, decision.at)


def _claims(catalog: Catalog) -> Iterator[_Claim]:
    """Those of partitions count for their root, and those that they only inherit count once."""
    seen: set[tuple[TableName, str, str]] = set()
    for table in catalog.tables.values():
        root = catalog.tables.get(root_of(catalog, table.name), table)
        for check in table.checks:
            key = (root.name, check.name, check.expression)
            if key not in seen:
                seen.add(key)
                names = _sources(root, check.columns)
                yield _Claim(root, check, names)
        if table.root is None:
            for column in table.columns:
                for check in column.checks:
                    yield _Claim(table, check, {_ITSELF: column.name})


def _sources(table: Table, columns: tuple[str, ...]) -> dict[str, str]:
    """The columns with data of their own that a constraint reads, also by way of generated ones."""
    found: dict[str, str] = {}
    for shape in table.columns:
        if shape.name in columns:
            expression = shape.expression
            read_by = [shape] if expression is None else [
                source for source in table.columns if mentions(expression, source.name) and not source.generated
            ]  # fmt: skip
            found |= {source.name: source.name for source in read_by}
    return found


# ------------------------------------------------------------------------------------------------------ trying


def _try(claim: _Claim, masked: list[Decision], trial: Trial) -> Finding:
    name, decision = claim.check.name, masked[0]
    where = str(decision.column)
    what = f"the check constraint {name}"
    listed = list(dict.fromkeys(other.rule.mask for other in masked))
    masks = f"{'mask' if len(listed) == 1 else 'masks'} {' and '.join(listed)}"
    hint = _HINT.format(name=name)
    try:
        tried, violated = _Trying(claim, masked, trial).counts()
    except Unknown as unknown:
        message = f"whether {what} holds of what the {masks} would make cannot be told: {unknown}."
        return Finding(Severity.ERROR, FindingKind.CHECK, where, message, hint, decision.at)
    if violated:
        message = f"{violated} of {tried} values that satisfy {what} did not once they had been given to the {masks}."
        if any(other.rule.mask == _INTEGER_PERMUTATION for other in masked):
            hint = f"Say which integers there are: range: [least, greatest]. {hint}"
        return Finding(Severity.ERROR, FindingKind.CHECK, where, message, hint, decision.at)
    message = f"{what} held of all {tried} values that were given to the {masks}."
    return Finding(Severity.NOTE, FindingKind.CHECK, where, message, at=decision.at)


class _Trying:
    """One constraint and the masks of the columns that it reads."""

    def __init__(self, claim: _Claim, masked: list[Decision], trial: Trial) -> None:
        self._claim = claim
        self._masked = {decision.column.column: decision for decision in masked}
        self._trial = trial
        table = claim.table
        self._shapes = {column.name: column for column in table.columns}
        generated = {name for name in claim.check.columns if self._shapes[name].expression is not None}
        self._generated = {name: compile_condition(_tree(self._shapes[name].expression or "")) for name in generated}
        about = {name for name, column in claim.names.items() if column in self._masked} | generated
        self._holds = _parts_about(claim.check.expression, about, claim.names.keys() - about)

    def counts(self) -> tuple[int, int]:
        """How many rows that satisfy the constraint were tried, and how many no longer did. Raises ``Unknown``."""
        rows = self._rows()
        before = [self._satisfied(row) for row in self._values(rows)]
        rows = rows.filter(pa.array(before, pa.bool_()))
        rows, out = self._mask(rows)
        failing = sum(not self._satisfied(row) for row in self._values(out))
        failing += sum(not self._satisfied(row) for row in self._reached(rows, out))
        if not failing:
            self._expect_enough(rows)
        return rows.num_rows, min(failing, rows.num_rows)

    def _expect_enough(self, rows: pa.RecordBatch) -> None:
        for name, decision in self._masked.items():
            values = rows.column(name).drop_null()
            needs_many = decision.rule.mask not in {NULL, "constant"}
            if len(values) < _LEAST_ROWS or (needs_many and len(values.unique()) < _LEAST_VALUES):
                raise Unknown("too few values that satisfy it are known")

    def _rows(self) -> pa.RecordBatch:
        """Rows of the columns that the constraint and the masks read."""
        names = list(dict.fromkeys(self._claim.names.values()))
        for name in names:
            # The masks may read others, whose masks may read others.
            names += [other for other in self._trial.reads(ColumnName(self._claim.table.name, name)) or ()
                      if other not in names]  # fmt: skip
        hints = _hints(self._claim.check.expression)
        rng = np.random.default_rng(len(names))
        columns = {name: _drawn(self._shapes[name], hints, rng) for name in names}
        self._bring_near(columns, rng)
        return pa.record_batch([pa.array(values, pa.binary()) for values in columns.values()], names=names)

    def _bring_near(self, columns: dict[str, list[bytes | None]], rng: np.random.Generator) -> None:
        """Make every other row's values of one type neighbours, to put to the test what compares two columns."""
        first: dict[str, str] = {}
        for name, values in columns.items():
            shape = self._shapes[name]
            leader = columns[first.setdefault(shape.base_type, name)]
            for row in range(0, _ROWS, 2) if leader is not values and not shape.is_array else ():
                value = leader[row]
                near = neighbours(value, shape) if value is not None and values[row] is not None else []
                if near:
                    values[row] = near[int(rng.integers(len(near)))]

    def _mask(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The rows that the masks take, and what they make of them."""
        try:
            return rows, self._trial.mask(self._claim.table.name, rows)
        except ServerFailed:
            # A value that a mask does not take stops a copy by itself, and violates nothing.
            pairs = [pair for row in range(rows.num_rows) if (pair := self._mask_one(rows[row : row + 1])) is not None]
        if not pairs:
            raise Unknown("no value is known that the mask takes") from None
        taken, out = (pa.Table.from_batches(some).combine_chunks().to_batches()[0] for some in zip(*pairs, strict=True))
        return taken, out

    def _mask_one(self, row: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch] | None:
        try:
            return row, self._trial.mask(self._claim.table.name, row)
        except ServerFailed:
            return None

    def _values(self, rows: pa.RecordBatch) -> Iterator[dict[str, Any]]:
        columns = {
            name: [read(value, self._shapes[column]) for value in rows.column(column).to_pylist()]
            for name, column in self._claim.names.items()
        }
        for row in range(rows.num_rows):
            yield {name: values[row] for name, values in columns.items()}

    def _reached(self, rows: pa.RecordBatch, out: pa.RecordBatch) -> Iterator[dict[str, Any]]:
        """Rows with the ends of what id.int may make: one value of millions is seldom met by trying."""
        for name, column in self._claim.names.items():
            decision = self._masked.get(column)
            if decision is None or decision.rule.mask != _INTEGER_PERMUTATION:
                continue
            for original, row in zip(rows.column(column).to_pylist(), self._values(out), strict=True):
                if original is None or not original.removeprefix(b"-").isdigit():
                    continue
                for end in reach(decision.rule.params, decision.domain.width, int(original)):
                    yield {**row, name: read(b"%d" % end, self._shapes[column])}

    def _satisfied(self, row: dict[str, Any]) -> bool:
        whole = row | {name: compute(row) for name, compute in self._generated.items()}
        return not any(part(whole) is False for part in self._holds)


def _tree(sql: str) -> exp.Expression:
    tree = parse(sql)
    if tree is None:
        raise Unknown("it cannot be parsed")
    return tree


def _parts_about(sql: str, masked: set[str], kept: set[str]) -> list[Evaluate]:
    """The parts of a conjunction that read more than what is kept; no mask changes the others."""
    waiting, parts = [_tree(sql)], []
    while waiting:
        node = waiting.pop().unnest()
        if isinstance(node, exp.And):
            waiting += [node.this, node.expression]
            continue
        columns = {column.name for column in node.find_all(exp.Column)}
        if columns & masked or not columns <= kept:
            assert isinstance(node, exp.Expression)
            parts.append(compile_condition(node))
    return parts


def _drawn(shape: Column, hints: Hints, rng: np.random.Generator) -> list[bytes | None]:
    """A column of values, half of them near what the constraint speaks of, and some NULL."""
    near, spread = probes(shape, hints)
    pools = [pool for pool in (near, spread) if pool]
    if not pools:
        return [None] * _ROWS
    # Each pool through before any of it again, in an order of the column's own.
    orders = [rng.permutation(len(pool)).tolist() for pool in pools]
    drawn: list[bytes | None] = []
    for row in rng.permutation(_ROWS).tolist():
        which, turn = row % len(pools), row // len(pools)
        drawn.append(pools[which][orders[which][turn % len(orders[which])]])
    if shape.not_null:
        return drawn
    return [None if chance < 0.2 else value for value, chance in zip(drawn, rng.random(_ROWS).tolist(), strict=True)]


def _hints(sql: str) -> Hints:
    tree = parse(sql)
    texts: list[str] = []
    numbers: list[Decimal] = []
    for node in tree.walk() if tree is not None else ():
        if isinstance(node, exp.Like | exp.ILike | exp.RegexpLike | exp.RegexpILike):
            is_like = isinstance(node, exp.Like | exp.ILike)
            texts += [
                text for found in node.expression.find_all(exp.Literal) for text in samples(found.this, is_like=is_like)
            ]
        elif isinstance(node, exp.Literal):
            texts += [node.this] if node.is_string else []
            try:
                numbers.append(Decimal(node.this))
            except InvalidOperation:
                continue
    return Hints(tuple(texts), tuple(number for number in numbers if number.is_finite()))
