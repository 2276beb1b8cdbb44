"""What the rules mean for one schema: for every table, which columns are copied and how each is masked.

``compile_plan`` holds the rules against the catalog and fails closed; ``check`` tells everything there is to say and
raises nothing. A ``Plan`` is immutable, picklable, and shows no key in its ``repr``. It has a ``TablePlan`` for every
table and every partition; a partition's columns stand in its own order and share its root's masks.
"""

from __future__ import annotations

import contextlib
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

import pyarrow as pa

import transform.masks  # noqa: F401 - registers the catalogue
from capture.model import (
    BadInput,
    Catalog,
    Column,
    ColumnName,
    Problem,
    Sequence,
    ServerFailed,
    Table,
    TableName,
    quote_identifier,
)
from transform.binding import Binder
from transform.checks import hold_checks
from transform.copytext import Cut, Flags, escape, keep_rows, unescape
from transform.coverage import Coverage, Decision, Finding, FindingKind, Severity, cover, ordered
from transform.domains import root_of
from transform.identity import Identities, fingerprint, identities
from transform.keyring import KEY_BYTES, KeyRing
from transform.masks.base import AnyMask, DerivedMask, RowMask
from transform.masks.ids import sequence_floor
from transform.masks.image_fields import ImageMasks
from transform.masks.row_image import RowImage
from transform.predicates import Predicate, compile_predicate, hold_true
from transform.rules import Rules, SomeRows
from transform.subset import Subset, find_subset

_FINDINGS_SHOWN: Final = 20
_INTEGER_PERMUTATION: Final = "id.int"
# What a mask does to a constraint does not depend on the key, so that nothing is tried under the user's.
_TRIAL_KEYS: Final = KeyRing(bytes(KEY_BYTES), "trial")


class Undecided(Problem):
    """The rules leave columns undecided; nothing is copied until they are."""


@dataclass(frozen=True, slots=True, eq=False)
class TablePlan:
    """How one table is copied. ``columns`` are those that are, in attnum order; ``masks`` holds the masked ones.
    With ``rows`` none the table stays empty in the copy; with ``chosen`` it has the rows of which that is true. Which
    rows a table has that takes part in the plan's subset is not told here."""

    table: TableName
    columns: tuple[str, ...]
    masks: Mapping[str, AnyMask]
    rows: Literal["all", "none"] = "all"
    chosen: Predicate | None = None

    @property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """The columns whose masks read others of the row, and which."""
        return {name: read for name, mask in self.masks.items() if (read := _read_by(mask))}

    @property
    def masked_columns(self) -> tuple[str, ...]:
        """The columns that have a mask, in order."""
        return tuple(name for name in self.columns if name in self.masks)

    def mask_block(self, block: bytes, columns: abc.Sequence[str]) -> bytes | pa.Buffer:
        """Mask a block of COPY text whose rows hold these columns, which must be those of the plan.

        Raises ``ServerFailed`` if its rows hold another number of values.
        """
        if tuple(columns) != self.columns:
            raise AssertionError(f"a block of {self.table} holds other columns than the plan")
        if self.chosen is not None:
            read = Cut(block, self.columns, self.chosen.columns).batch
            block = keep_rows(block, self.is_chosen(read, escaped=True))
        if not self.masks:
            return block
        read = {name for mask in self.masks.values() for name in _read_by(mask)}
        cut = Cut(block, self.columns, [name for name in self.columns if name in self.masks or name in read])
        return cut.filled(self.mask(cut.batch, escaped=True).columns)

    def is_chosen(self, batch: pa.RecordBatch, *, escaped: bool) -> Flags:
        """Which rows are copied, of a batch of columns as for ``mask``; it must hold those that the condition reads."""
        return hold_true(self.chosen, batch, escaped=escaped)

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

        masked: dict[str, pa.BinaryArray] = {}
        derived: list[str] = []
        for name in names:
            mask = self.masks.get(name)
            if mask is None:
                continue
            self._expect(batch, name, _read_by(mask))
            if isinstance(mask, DerivedMask):
                derived.append(name)
                continue
            with self._naming(name):
                if isinstance(mask, RowMask):
                    masked[name] = mask.apply_rows(original(name), {need: original(need) for need in mask.needs})
                else:
                    masked[name] = mask.apply(original(name))
        for name in derived:
            mask = self.masks[name]
            assert isinstance(mask, DerivedMask)
            sources = {source: masked[source] if source in masked else original(source) for source in mask.sources}
            with self._naming(name):
                masked[name] = mask.derive(original(name), sources)
        columns = [
            (escape(masked[name]) if escaped else masked[name]) if name in masked else batch.column(name)
            for name in names
        ]
        return pa.RecordBatch.from_arrays(columns, names=names)

    @contextlib.contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Masks do not know where they stand; what one fails at is said with its column."""
        try:
            yield
        except ServerFailed as error:
            raise ServerFailed(f"{ColumnName(self.table, name)}: {error.message}", hint=error.hint) from None

    def _expect(self, batch: pa.RecordBatch, name: str, read: abc.Sequence[str]) -> None:
        missing = [other for other in read if batch.schema.get_field_index(other) < 0]
        if missing:
            raise ServerFailed(
                f"{ColumnName(self.table, name)} came without {', '.join(map(quote_identifier, missing))}, "
                "which its mask reads.",
                hint="Give the table, if none of its columns is generated, REPLICA IDENTITY FULL in production, then "
                "clone again.",
            )


def _read_by(mask: AnyMask) -> tuple[str, ...]:
    """The other columns of the row that a mask reads."""
    match mask:
        case RowMask():
            return mask.needs
        case DerivedMask():
            return mask.sources
        case _:
            return ()


class TableImages:
    """Finds the masks for a row image when a row names its table. It looks when it is asked, so that tables may hold
    images of each other and of themselves."""

    def __init__(self, plans: Mapping[TableName, TablePlan], columns: Mapping[TableName, tuple[Column, ...]]) -> None:
        self._plans = plans
        self._columns = columns

    def knows(self, table: TableName) -> bool:
        """Whether production has the table."""
        return table in self._columns

    def image_masks(self, table: TableName) -> ImageMasks | None:
        """The masks (None for keep) and shapes of a table's columns by name; None if none of its rows are copied.

        Left out are the generated columns, and images within images: an image shows nothing of them.
        """
        plan = self._plans.get(table)
        if plan is None or plan.rows == "none":
            return None
        found: dict[str, tuple[AnyMask | None, Column]] = {}
        for column in self._columns[table]:
            mask = plan.masks.get(column.name)
            if column.name in plan.columns and not isinstance(mask, RowImage):
                found[column.name] = (mask, column)
        return found


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Plan:
    """The plans of all tables and partitions.

    ``identities`` tell where two plans mask alike, but for the key, whose ``key_check`` is apart. ``floors`` are the
    least values that a copy's sequence may give out, by columns of root tables; ask ``sequence_floor``. ``subset`` is
    None where each row's table alone tells whether it is copied.
    """

    tables: dict[TableName, TablePlan]
    identities: Identities
    key_check: str
    roots: dict[TableName, TableName]
    floors: dict[ColumnName, int]
    subset: Subset | None = None

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that tell whether two plans mask alike, whatever the key."""
        return fingerprint(self.identities)

    def __repr__(self) -> str:
        return f"Plan({len(self.tables)} tables, fingerprint={self.fingerprint[:12]})"

    def root(self, table: TableName) -> TableName:
        """The table that a partition belongs to; any other is its own."""
        return self.roots.get(table, table)

    def takes_part(self, table: TableName) -> bool:
        """Whether the table, or that which it is a partition of, takes part in the subset."""
        return self.subset is not None and self.root(table) in self.subset.tables

    def sequence_floor(self, column: ColumnName) -> int | None:
        """The value at or above which the copy's own sequence cannot meet a masked id; None if ids are kept."""
        return self.floors.get(ColumnName(self.root(column.table), column.column))

    def start(self, sequence: Sequence) -> int | None:
        """The last value that a copy's sequence is to have given out, so that what it gives is no masked id; None where
        it goes on from production's."""
        floors = [floor for fed in sequence.feeds if (floor := self.sequence_floor(fed)) is not None]
        return max(floors) if floors and sequence.increment > 0 else None

    def overtaken(self, sequence: Sequence, last: int | None) -> Finding | None:
        """That a copy's own ids may meet masked ones, now that production's sequence has come to ``last``."""
        start = self.start(sequence)
        if start is not None and last is not None and last > start:
            message = f"it has come to {last}, and a copy's own ids begin above {start}, so they may meet masked ones."
            hint = f"Say that ids go twice as far: range: [{sequence.minimum}, {2 * last}] or more."
            if 2 * last > sequence.maximum:
                hint = "Ids of a wider type would leave room."
        elif sequence.increment < 0 and any(self.sequence_floor(fed) is not None for fed in sequence.feeds):
            message = "it counts down, so a copy's own ids may meet masked ones."
            hint = ""
        else:
            return None
        return Finding(Severity.NOTE, FindingKind.SEQUENCE, str(sequence.name), message, hint)


def compile_plan(rules: Rules, catalog: Catalog, keyring: KeyRing, *, partial: bool = False) -> Plan:
    """The plan for a schema. With ``partial``, undecided columns and tables are left out of it, and so of the copy.

    Raises ``BadInput`` that lists what is wrong with the rules, and ``Undecided`` if they decide too little.
    """
    plan, _, findings = _compile(rules, catalog, keyring)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    undecided = [finding for finding in findings if finding.severity is Severity.UNDECIDED]
    if errors:
        raise BadInput(_listed("the rules do not fit the database", errors + undecided))
    if undecided and not partial:
        hint = "`tezcat rules suggest` proposes rules for them." if len(undecided) > 1 else ""
        raise Undecided(_listed("the rules leave columns undecided; nothing undecided is copied", undecided), hint=hint)
    return plan


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Examined:
    """Rules held against a catalog: a plan of what can be masked as they say, under a key that everybody knows, the
    decided columns, and all there is to say."""

    plan: Plan
    decisions: Mapping[ColumnName, Decision]
    findings: list[Finding]


def examine(rules: Rules, catalog: Catalog) -> Examined:
    """Hold the rules against a catalog; the findings are in the order of their severity."""
    # Whether a rule can be bound does not depend on the key.
    plan, coverage, findings = _compile(rules, catalog, KeyRing(bytes(KEY_BYTES), "check"))
    return Examined(plan, coverage.decisions, ordered(findings))


def check(rules: Rules, catalog: Catalog) -> list[Finding]:
    """All there is to say about the rules: errors first, then what is undecided, then notes."""
    return examine(rules, catalog).findings


def _compile(rules: Rules, catalog: Catalog, keyring: KeyRing) -> tuple[Plan, Coverage, list[Finding]]:
    coverage = cover(rules, catalog)
    plans: dict[TableName, TablePlan] = {}
    images = TableImages(plans, {name: table.copied_columns for name, table in catalog.tables.items()})
    binder = Binder(catalog, keyring, images, coverage.decisions, locale=rules.locale, folder=rules.folder)
    masks = {column: binder.bind(decision) for column, decision in coverage.decisions.items()}
    binder.check_sources(masks)
    conditions, misread = _conditions(rules, coverage)
    subset, misasked = find_subset(rules, catalog, conditions)
    chosen = {name: test for name, test in conditions.items() if subset is None or name not in subset.tables}
    for name, table in catalog.tables.items():
        planned = _table_plan(rules, catalog, table, masks)
        if planned is not None:
            plans[name] = replace(planned, chosen=chosen.get(root_of(catalog, name)))
    trial_binder = partial(
        Binder, catalog, _TRIAL_KEYS, images, coverage.decisions, locale=rules.locale, folder=rules.folder
    )
    trial = _Trial(trial_binder, coverage.decisions, masks)
    checked = list(hold_checks(catalog, coverage.decisions, trial))
    decisions = coverage.decisions.values()
    read = {column: _read_by(mask) for column, mask in masks.items() if mask is not None}
    plan = Plan(
        tables=plans,
        identities=identities(rules, coverage, read, catalog.encoding, subset),
        key_check=keyring.check_value,
        roots={name: table.root for name, table in catalog.tables.items() if table.root is not None},
        floors={
            decision.column: sequence_floor(decision.rule.params, decision.domain.width)
            for decision in decisions
            if decision.rule.mask == _INTEGER_PERMUTATION and masks[decision.column] is not None
        },
        subset=subset,
    )
    return plan, coverage, [*coverage.findings, *misread, *misasked, *binder.findings, *binder.notes, *checked]


def _conditions(rules: Rules, coverage: Coverage) -> tuple[dict[TableName, Predicate], list[Finding]]:
    """The conditions by which rows are chosen, by root table, and what is wrong with others."""
    found: dict[TableName, Predicate] = {}
    findings: list[Finding] = []
    for name, own in rules.tables.items():
        if isinstance(own.rows, SomeRows) and own.rows.where is not None:
            row = [decision for column, decision in coverage.decisions.items() if column.table == name]
            try:
                found[name] = compile_predicate(own.rows.where, {each.shape.name: each.shape for each in row})
            except BadInput as error:
                message = f"rows: {error.message}"
                at = rules.at_rows(name, "where")
                findings.append(Finding(Severity.ERROR, FindingKind.CONDITION, str(name), message, error.hint, at))
    return found, findings


class _Trial:
    """The plan's masks under a key that everybody knows; see ``transform.checks``."""

    def __init__(
        self,
        make_binder: Callable[[], Binder],
        decisions: Mapping[ColumnName, Decision],
        masks: Mapping[ColumnName, AnyMask | None],
    ) -> None:
        self._make_binder = make_binder
        self._binder: Binder | None = None
        self._decisions = decisions
        self._masks = masks
        self._bound: dict[ColumnName, AnyMask | None] = {}

    def reads(self, column: ColumnName) -> tuple[str, ...] | None:
        mask = self._masks.get(column)
        return None if mask is None else _read_by(mask)

    def mask(self, table: TableName, batch: pa.RecordBatch) -> pa.RecordBatch:
        names = tuple(batch.schema.names)
        found = {name: mask for name in names if (mask := self._mask(ColumnName(table, name))) is not None}
        return TablePlan(table, names, found).mask(batch, escaped=False)

    def _mask(self, column: ColumnName) -> AnyMask | None:
        if self._masks.get(column) is None:
            return None
        if column not in self._bound:
            # Most schemas ask for none, or late.
            self._binder = self._binder or self._make_binder()
            self._bound[column] = self._binder.bind(self._decisions[column])
        return self._bound[column]


def _table_plan(
    rules: Rules, catalog: Catalog, table: Table, masks: Mapping[ColumnName, AnyMask | None]
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


def _listed(what: str, findings: Iterable[Finding]) -> str:
    lines = [str(finding) for finding in findings]
    if len(lines) == 1:
        return lines[0]
    more = [f"and {len(lines) - _FINDINGS_SHOWN} more."] if len(lines) > _FINDINGS_SHOWN else []
    shown = "".join(f"\n  {line}" for line in [*lines[:_FINDINGS_SHOWN], *more])
    return f"{what} ({len(lines)} findings):{shown}"
