"""What the rules mean for one schema: for every table, which columns are copied and how each is masked.

``compile_plan`` holds the rules against the catalog and fails closed; ``check`` tells everything there is to say and
raises nothing. A ``Plan`` is immutable, picklable, and shows no key in its ``repr``. It has a ``TablePlan`` for every
table and every partition; a partition's columns stand in its own order and share its root's masks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

import transform.masks  # noqa: F401 - registers the catalogue
from capture.model import BadInput, Catalog, Column, ColumnName, Problem, Table, TableName
from transform.binding import Binder
from transform.copytext import Cut, escape, unescape
from transform.coverage import Coverage, Finding, Severity, cover
from transform.domains import root_of
from transform.keyring import KEY_BYTES, KeyRing
from transform.masks import words
from transform.masks.base import Mask, RowMask
from transform.masks.ids import lower_half
from transform.rules import KEEP, MASKS_VERSION, Rules

_FINDINGS_SHOWN: Final = 20
_INTEGER_PERMUTATION: Final = "id.int"


class Undecided(Problem):
    """The rules leave columns undecided; nothing is copied until they are."""


@dataclass(frozen=True, slots=True, eq=False)
class TablePlan:
    """How one table is copied. ``columns`` are those that are, in attnum order; ``masks`` holds the masked ones.
    With ``rows`` none the table stays empty in the copy."""

    table: TableName
    columns: tuple[str, ...]
    masks: Mapping[str, Mask | RowMask]
    rows: Literal["all", "none"] = "all"

    @property
    def is_raw(self) -> bool:
        """Whether every column is kept, so that blocks may pass as they come."""
        return not self.masks

    @property
    def masked_columns(self) -> tuple[str, ...]:
        """The columns that have a mask, in order."""
        return tuple(name for name in self.columns if name in self.masks)

    def mask_block(self, block: bytes, columns: Sequence[str]) -> bytes | pa.Buffer:
        """Mask a block of COPY text whose rows hold these columns, which must be those of the plan.

        Raises ``ServerFailed`` if its rows hold another number of values.
        """
        if tuple(columns) != self.columns:
            raise AssertionError(f"a block of {self.table} holds other columns than the plan")
        if self.is_raw:
            return block
        read = {need for mask in self.masks.values() if isinstance(mask, RowMask) for need in mask.needs}
        cut = Cut(block, self.columns, [name for name in self.columns if name in self.masks or name in read])
        return cut.filled(self.mask(cut.batch, escaped=True).columns)

    def mask(self, batch: pa.RecordBatch, *, escaped: bool) -> pa.RecordBatch:
        """Mask a batch of binary columns, named as the table's; ``escaped`` says that they hold COPY text.

        The batch may hold some of the columns only (an old image, say). The result holds those of the plan that came,
        in the plan's order, and no other: what the plan does not know does not pass.
        """
        names = [name for name in self.columns if batch.schema.get_field_index(name) >= 0]
        if not names:
            return batch.select([])  # keeps the number of rows

        def original(name: str) -> pa.BinaryArray:
            return unescape(batch.column(name)) if escaped else batch.column(name)

        columns = []
        for name in names:
            mask = self.masks.get(name)
            if mask is None:
                columns.append(batch.column(name))
                continue
            if isinstance(mask, RowMask):
                siblings = {need: original(need) for need in mask.needs if batch.schema.get_field_index(need) >= 0}
                masked = mask.apply_rows(original(name), siblings)
            else:
                masked = mask.apply(original(name))
            columns.append(escape(masked) if escaped else masked)
        return pa.RecordBatch.from_arrays(columns, names=names)


class TableImages:
    """Finds the masks for a row image when a row names its table. It looks when it is asked, so that tables may hold
    images of each other and of themselves."""

    def __init__(self, plans: Mapping[TableName, TablePlan], columns: Mapping[TableName, tuple[Column, ...]]) -> None:
        self._plans = plans
        self._columns = columns

    def image_masks(self, table: TableName) -> Mapping[str, tuple[Mask | None, Column]] | None:
        """The masks (None for keep) and shapes of a table's columns by name; None if none of its rows are copied.

        Left out are the generated columns and those whose mask needs its whole row: an image shows nothing of them.
        """
        plan = self._plans.get(table)
        if plan is None or plan.rows == "none":
            return None
        found: dict[str, tuple[Mask | None, Column]] = {}
        for column in self._columns[table]:
            mask = plan.masks.get(column.name)
            if column.name in plan.columns and not isinstance(mask, RowMask):
                found[column.name] = (mask, column)
        return found


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Plan:
    """The plans of all tables and partitions.

    ``fingerprint`` (64 hex digits) tells whether two plans mask alike: it covers which columns are masked, by what and
    under which domain, but not the key, whose ``key_check`` is apart. ``floors`` are the least values that a copy's
    sequence may give out, by columns of root tables; ask ``sequence_floor``.
    """

    tables: dict[TableName, TablePlan]
    fingerprint: str
    key_check: str
    roots: dict[TableName, TableName]
    floors: dict[ColumnName, int]

    def __repr__(self) -> str:
        return f"Plan({len(self.tables)} tables, fingerprint={self.fingerprint[:12]})"

    def sequence_floor(self, column: ColumnName) -> int | None:
        """The value at or above which the copy's own sequence cannot meet a masked id; None if ids are kept."""
        return self.floors.get(ColumnName(self.roots.get(column.table, column.table), column.column))


def compile_plan(rules: Rules, catalog: Catalog, keyring: KeyRing, *, partial: bool = False) -> Plan:
    """The plan for a schema. With ``partial``, undecided columns and tables are left out of it, and so of the copy.

    Raises ``BadInput`` that lists what is wrong with the rules, and ``Undecided`` if they decide too little.
    """
    plan, findings = _compile(rules, catalog, keyring)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    undecided = [finding for finding in findings if finding.severity is Severity.UNDECIDED]
    if errors:
        raise BadInput(_listed("the rules do not fit the database", errors + undecided))
    if undecided and not partial:
        hint = "`tezcat rules suggest` proposes rules for them." if len(undecided) > 1 else ""
        raise Undecided(_listed("the rules leave columns undecided; nothing undecided is copied", undecided), hint=hint)
    return plan


def check(rules: Rules, catalog: Catalog) -> list[Finding]:
    """All there is to say about the rules: errors first, then what is undecided, then notes."""
    # Whether a rule can be bound does not depend on the key.
    _, findings = _compile(rules, catalog, KeyRing(bytes(KEY_BYTES), "check"))
    order = list(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def _compile(rules: Rules, catalog: Catalog, keyring: KeyRing) -> tuple[Plan, list[Finding]]:
    coverage = cover(rules, catalog)
    plans: dict[TableName, TablePlan] = {}
    images = TableImages(plans, {name: table.copied_columns for name, table in catalog.tables.items()})
    binder = Binder(catalog, keyring, images)
    masks = {column: binder.bind(decision) for column, decision in coverage.decisions.items()}
    for name, table in catalog.tables.items():
        planned = _table_plan(rules, catalog, table, masks)
        if planned is not None:
            plans[name] = planned
    decisions = coverage.decisions.values()
    plan = Plan(
        tables=plans,
        fingerprint=_fingerprint(rules, coverage),
        key_check=keyring.check_value,
        roots={name: table.root for name, table in catalog.tables.items() if table.root is not None},
        floors={
            decision.column: lower_half(decision.domain.width)
            for decision in decisions
            if decision.rule.mask == _INTEGER_PERMUTATION
        },
    )
    return plan, [*coverage.findings, *binder.findings]


def _table_plan(
    rules: Rules, catalog: Catalog, table: Table, masks: Mapping[ColumnName, Mask | RowMask | None]
) -> TablePlan | None:
    """None if the table is undecided as a whole."""
    root = root_of(catalog, table.name)
    own = rules.tables.get(root)
    if own is not None and own.rows == "none":
        return TablePlan(table.name, tuple(column.name for column in table.copied_columns), {}, "none")
    columns = [column.name for column in table.copied_columns if ColumnName(root, column.name) in masks]
    if own is None and not columns:
        return None
    found = {name: mask for name in columns if (mask := masks[ColumnName(root, name)]) is not None}
    return TablePlan(table.name, tuple(columns), found)


def _fingerprint(rules: Rules, coverage: Coverage) -> str:
    without_rows = sorted(str(name) for name, own in rules.tables.items() if own.rows == "none")
    masked = []
    for column, decision in sorted(coverage.decisions.items()):
        if decision.rule.mask != KEEP:
            domain = decision.domain
            fitted = [domain.width, domain.max_length, domain.ignores_case]
            masked.append([str(column), decision.rule.identity, domain.name, *fitted])
    return hashlib.sha256(json.dumps([MASKS_VERSION, words.fingerprint(), without_rows, masked]).encode()).hexdigest()


def _listed(what: str, findings: Iterable[Finding]) -> str:
    lines = [str(finding) for finding in findings]
    if len(lines) == 1:
        return lines[0]
    more = [f"and {len(lines) - _FINDINGS_SHOWN} more."] if len(lines) > _FINDINGS_SHOWN else []
    shown = "".join(f"\n  {line}" for line in [*lines[:_FINDINGS_SHOWN], *more])
    return f"{what} ({len(lines)} findings):{shown}"
