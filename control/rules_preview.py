"""``tezcat rules preview``: a few rows of production beside what the copy would have instead.

These are real values, so they go to the terminal of the person who asked and nowhere else: the command refuses to
write anywhere but to a terminal, there is no JSON of it, no ``repr`` shows it, and that it happened is all that is
logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import structlog

from capture.catalog import read_catalog
from capture.model import BadInput, Catalog, ColumnName, TableName, quote_identifier
from control.project import Project
from control.sampling import SAMPLE_ROWS, few_rows
from control.settings import Settings
from transform.coverage import cover, near_table
from transform.domains import root_of
from transform.plan import TablePlan, compile_plan
from transform.rules import load_rules

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PreviewColumn:
    """A column's values as production has them, and as the copy would; ``masked`` is None where it would have none.
    ``rule`` is what decides, '' for a column that is undecided."""

    name: str
    rule: str
    original: list[bytes | None] = field(repr=False)
    masked: list[bytes | None] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Preview:
    """Some rows of a table, by column; ``whole`` are the values of columns that were asked for."""

    table: TableName
    target: str
    rows: int
    columns: tuple[PreviewColumn, ...]
    whole: bool


async def preview(
    settings: Settings,
    source: str | None,
    target: str | None,
    table: TableName,
    *,
    limit: int,
    columns: Sequence[str],
    accept_writable_role: bool,
) -> Preview:
    """Read ``limit`` rows and mask them with the target's own plan and key. Without ``columns``, all are given.

    Raises ``BadInput`` for rules that do not fit and for names that do not exist.
    """
    project = Project.of(settings, target or settings.only_target(), source)
    rules = load_rules(settings.rules)
    async with await project.open_source("rules", accept_writable_role=accept_writable_role) as production:
        catalog = await read_catalog(production)
    shown = _columns(catalog, table, columns)
    plan = compile_plan(rules, catalog, project.keyring(), partial=True).tables.get(table)
    if plan is None:
        # Everything of it is undecided.
        plan = TablePlan(table, (), {})
    if plan.rows == "none":
        raise BadInput(f"no row of {table} is copied: its rules say rows: none.")
    wanted = limit if plan.chosen is None else max(limit, SAMPLE_ROWS)
    rows = await few_rows(project.source_address, catalog, catalog.tables[table], wanted)
    rows = rows.filter(pa.array(plan.is_chosen(rows, escaped=False)))[:limit]
    masked = plan.mask(rows, escaped=False)
    decisions = cover(rules, catalog).decisions
    root = root_of(catalog, table)
    found = []
    for name in shown:
        decision = decisions.get(ColumnName(root, name))
        one = PreviewColumn(name, "", rows.column(name).to_pylist(), None)
        if decision is not None and name in plan.columns:
            one = replace(one, rule=str(decision.rule), masked=masked.column(name).to_pylist())
        found.append(one)
    log.info("rows were previewed", table=str(table), rows=rows.num_rows)
    return Preview(table, project.target.name, rows.num_rows, tuple(found), whole=bool(columns))


def _columns(catalog: Catalog, table: TableName, columns: Sequence[str]) -> list[str]:
    """The columns to show, in the order asked for, else in the table's."""
    shape = catalog.tables.get(table)
    if shape is None:
        hint = near_table(table, catalog) or "Write it as schema.table."
        raise BadInput(f"production has no table {table} that is copied.", hint=hint)
    known = [column.name for column in shape.copied_columns]
    for name in columns:
        if name not in known:
            hint = f"Its columns are: {', '.join(map(quote_identifier, known))}."
            raise BadInput(f"{table} has no column {quote_identifier(name)} with data of its own.", hint=hint)
    return list(dict.fromkeys(columns)) or known
