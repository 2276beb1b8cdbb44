"""CHECK constraints, generated columns and what indexes compute, held against the masks of the columns that they read.

A copy's server checks and computes these of every row that is loaded or streamed, so a mask that makes what a
constraint forbids, or what nothing can be computed of, would stop the copy. Whether it does is tried: values that the
server takes are masked, under a key of the trial's own, and it must take them still. What a trial finds is an error,
and so is what cannot be tried because the expression says more than is known here, if it may fail; unless the rule
vouches for it: ``satisfies: [constraint, ...]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
from sqlglot import exp

from capture.model import Catalog, Column, ColumnName, ServerFailed, TableName, counted
from transform.claims import Claim, cannot_fail, claims_on, fits, may_fail, tree_of
from transform.conditions import Evaluate, compile_condition, read
from transform.coverage import Decision, Finding, FindingKind, Severity
from transform.integers import Fails
from transform.masks.ids import reach
from transform.patterns import Unknown, samples
from transform.probes import Hints, neighbours, probes
from transform.rules import NULL
from transform.sqltext import parse

_ROWS: Final = 400
# Fewer that satisfy a constraint tell nothing.
_LEAST_ROWS: Final = 20
_LEAST_VALUES: Final = 3
_INTEGER_PERMUTATION: Final = "id.int"
_HINT: Final = "Use keep or another mask; if you know that what it makes will pass, vouch for it: satisfies: [{name}]."


class Trial(Protocol):
    """A plan's masks, under a key of the trial's own."""

    def reads(self, column: ColumnName) -> tuple[str, ...] | None:
        """The other columns that the column's mask reads; None if the column is kept."""

    def mask(self, table: TableName, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Mask a batch of some of a table's columns."""


def hold_checks(catalog: Catalog, decisions: Mapping[ColumnName, Decision], trial: Trial) -> Iterator[Finding]:
    """What there is to say of the constraints that masked columns take part in."""
    claims: dict[ColumnName, set[str]] = {}
    for claim in claims_on(catalog):
        columns = [ColumnName(claim.table.name, name) for name in claim.names.values()]
        masked = [decisions[column] for column in columns if trial.reads(column) is not None]
        for decision in masked:
            claims.setdefault(decision.column, set()).add(claim.name)
        is_vouched_for = any(claim.name in decision.rule.satisfies for decision in masked)
        if masked and not is_vouched_for and not cannot_fail(claim):
            found = _try(claim, masked, trial)
            if found is not None:
                yield found
    yield from _misnamed(decisions, claims)


def _misnamed(decisions: Mapping[ColumnName, Decision], claims: Mapping[ColumnName, set[str]]) -> Iterator[Finding]:
    """What a rule vouches for and is nothing that reads a column of its domain."""
    for decision in decisions.values():
        if decision.rule.satisfies:
            known = {name for column in decision.domain.columns for name in claims.get(column, ())}
            for name in decision.rule.satisfies:
                if name not in known:
                    message = (
                        f"the rule satisfies {name}, and no CHECK constraint, generated column or index of that name "
                        "reads the masked column."
                    )
                    hint = f"What reads it: {', '.join(sorted(known)) or 'nothing'}."
                    where = str(decision.column)
                    yield Finding(Severity.ERROR, FindingKind.CHECK, where, message, hint, decision.at)


# ------------------------------------------------------------------------------------------------------ trying


def _try(claim: Claim, masked: list[Decision], trial: Trial) -> Finding | None:
    """What there is to say of a claim; of what is computed, only that it fails, or might."""
    decision = masked[0]
    where = str(decision.column)
    listed = list(dict.fromkeys(other.rule.mask for other in masked))
    masks = f"{'mask' if len(listed) == 1 else 'masks'} {' and '.join(listed)}"
    hint = _HINT.format(name=claim.name)
    holds = "holds of" if claim.is_condition else "can be computed of"
    try:
        found = _Trying(claim, masked, trial).found()
    except Unknown as unknown:
        names = frozenset(other.column.column for other in masked)
        if not may_fail(claim, names, nulls=any(other.rule.mask == NULL for other in masked)):
            return None
        message = f"whether {claim.what} {holds} what the {masks} would make cannot be told: {unknown}."
        return Finding(Severity.ERROR, FindingKind.CHECK, where, message, hint, decision.at)
    if found.failed or found.out_of_reach:
        one, many = ("satisfies", "satisfy") if claim.is_condition else ("suits", "suit")
        satisfied, they = (one, "it") if found.tried == 1 else (many, "they")
        message = (
            f"{found.failed} of {counted(found.tried, 'value')} that {satisfied} {claim.what} did not once {they} had "
            f"been given to the {masks}."
        )
        if not found.failed:
            message = f"the {masks} may make integers that do not {many} {claim.what}."
        if any(other.rule.mask == _INTEGER_PERMUTATION for other in masked):
            hint = f"Say which integers there are: range: [least, greatest]. {hint}"
        return Finding(Severity.ERROR, FindingKind.CHECK, where, message, hint, decision.at)
    if not claim.is_condition:
        return None
    were = "was" if found.tried == 1 else "were"
    message = f"{claim.what} held of all {counted(found.tried, 'value')} that {were} given to the {masks}."
    return Finding(Severity.NOTE, FindingKind.CHECK, where, message, at=decision.at)


@dataclass(frozen=True, slots=True)
class _Found:
    """How many rows were tried, of how many the claim no longer held once they were masked, and whether it does not
    hold of all that id.int may make."""

    tried: int
    failed: int
    out_of_reach: bool


class _Trying:
    """One claim and the masks of the columns that it reads."""

    def __init__(self, claim: Claim, masked: list[Decision], trial: Trial) -> None:
        self._claim = claim
        self._masked = {decision.column.column: decision for decision in masked}
        self._trial = trial
        self._unknown: Unknown | None = None
        table = claim.table
        self._shapes = {column.name: column for column in table.columns}
        generated = {name for name in claim.read if self._shapes[name].expression is not None}
        self._generated = {name: compile_condition(tree_of(self._shapes[name].expression or "")) for name in generated}
        about = {name for name, column in claim.names.items() if column in self._masked} | generated
        if claim.is_condition:
            self._holds = _parts_about(claim.expression, about, claim.names.keys() - about)
        else:
            self._holds = [fits(claim, compile_condition(tree_of(claim.expression)))]

    def found(self) -> _Found:
        """Try rows of which the claim holds. Raises ``Unknown``."""
        rows = self._rows()
        rows = rows.filter(pa.array(self._asked_of(rows, self._taken), pa.bool_()))
        rows, out = self._mask(rows)
        failed = self._asked_of(out, self._satisfied).count(False)
        out_of_reach = not all(self._satisfied(row) for row in self._reached(rows, out))
        if not failed and not out_of_reach:
            self._expect_enough(rows)
        return _Found(rows.num_rows, failed, out_of_reach)

    def _taken(self, row: dict[str, Any]) -> bool:
        """Whether a row may be one of production's. Of what cannot be told of one row, others tell more."""
        try:
            return self._satisfied(row)
        except Unknown as unknown:
            self._unknown = self._unknown or unknown
            return False

    def _expect_enough(self, rows: pa.RecordBatch) -> None:
        for name, decision in self._masked.items():
            values = rows.column(name).drop_null()
            needs_many = decision.rule.mask not in {NULL, "constant"}
            if len(values) < _LEAST_ROWS or (needs_many and len(values.unique()) < _LEAST_VALUES):
                raise self._unknown or Unknown("too few values that satisfy it are known")

    def _rows(self) -> pa.RecordBatch:
        """Rows of the columns that the constraint and the masks read."""
        names = list(dict.fromkeys(self._claim.names.values()))
        for name in names:
            # The masks may read others, whose masks may read others.
            names += [other for other in self._trial.reads(ColumnName(self._claim.table.name, name)) or ()
                      if other not in names]  # fmt: skip
        hints = _hints(self._claim)
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

    def _asked_of(self, rows: pa.RecordBatch, test: Callable[[dict[str, Any]], bool]) -> list[bool]:
        """What a test says of each row; rows that are alike are asked of once."""
        columns = [rows.column(column).to_pylist() for column in self._claim.names.values()]
        known: dict[tuple[bytes | None, ...], bool] = {}
        for values in zip(*columns, strict=True):
            if values not in known:
                known[values] = test(self._row(values))
        return [known[values] for values in zip(*columns, strict=True)]

    def _row(self, values: Iterable[bytes | None]) -> dict[str, Any]:
        names = self._claim.names.items()
        return {name: read(value, self._shapes[column]) for (name, column), value in zip(names, values, strict=True)}

    def _reached(self, rows: pa.RecordBatch, out: pa.RecordBatch) -> Iterator[dict[str, Any]]:
        """Rows with the ends of what id.int may make: one value of millions is seldom met by trying."""
        for name, column in self._claim.names.items():
            decision = self._masked.get(column)
            if decision is None or decision.rule.mask != _INTEGER_PERMUTATION:
                continue
            values = zip(*(out.column(other).to_pylist() for other in self._claim.names.values()), strict=True)
            for original, row in zip(rows.column(column).to_pylist(), values, strict=True):
                if original is None or not original.removeprefix(b"-").isdigit():
                    continue
                for end in reach(decision.rule.params, decision.domain.width, int(original)):
                    yield {**self._row(row), name: read(b"%d" % end, self._shapes[column])}

    def _satisfied(self, row: dict[str, Any]) -> bool:
        try:
            if self._generated:
                row = row | {name: compute(row) for name, compute in self._generated.items()}
            for part in self._holds:
                if part(row) is False:
                    return False
        except Fails:
            return False
        return True


def _parts_about(sql: str, masked: set[str], kept: set[str]) -> list[Evaluate]:
    """The parts of a conjunction that read more than what is kept; no mask changes the others."""
    waiting, parts = [tree_of(sql)], []
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


def _hints(claim: Claim) -> Hints:
    tree = parse(claim.expression)
    texts: list[str] = []
    room = None if claim.result is None else claim.result.max_length
    numbers: list[Decimal] = [] if room is None else [Decimal(room)]
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
