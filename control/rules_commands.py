"""``tezcat rules suggest`` and ``rules check``: production's schema and samples in, a rules file or findings out."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from capture import source
from capture.catalog import read_catalog
from capture.model import BadInput, Catalog, ColumnName, Problem
from capture.privileges import refuse_writable_role
from capture.source import SourceAddress, SourceConnection
from control.report import Report
from control.sampling import sample
from control.settings import Settings
from control.source_commands import production_address
from transform import plan
from transform import suggest as suggestion
from transform.coverage import Finding, Severity
from transform.rules import TODO, Rules, load_rules

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Suggested:
    """A rules file that was written: how many columns each mask takes, and which are still to be decided."""

    path: Path
    masks: dict[str, int]
    todo: list[ColumnName]


async def suggest(
    settings: Settings, name: str | None, output: Path | None, *, accept_writable_role: bool, report: Report
) -> Suggested:
    """Write a complete rules file for a production database; decisions of a file that is there are kept.

    Raises ``BadInput`` when that file cannot be read as rules, so that nothing a person wrote is lost.
    """
    path = output or settings.rules
    existing = load_rules(path) if path.exists() else None
    address = production_address(settings, name)
    catalog = await _catalog(address, accept_writable_role=accept_writable_role)
    samples = await sample(address, catalog, report)
    text = suggestion.suggest(catalog, samples, existing)
    _replace(path, text)
    return _summary(path, load_rules(path))


async def check(settings: Settings, name: str | None, *, accept_writable_role: bool) -> list[Finding]:
    """All there is to say about the rules for a production database, the gravest first."""
    rules = load_rules(settings.rules)
    catalog = await _catalog(production_address(settings, name), accept_writable_role=accept_writable_role)
    return plan.check(rules, catalog)


async def _catalog(address: SourceAddress, *, accept_writable_role: bool) -> Catalog:
    async with await source.connect(address, purpose="rules") as connection:
        for power in await refuse_writable_role(connection, accept=accept_writable_role):
            log.warning("writable role accepted", environment=address.name, power=power.name)
        async with _snapshot(connection):
            return await read_catalog(connection)


@asynccontextmanager
async def _snapshot(connection: SourceConnection) -> AsyncIterator[None]:
    """One consistent view for several statements."""
    await connection.begin()
    try:
        yield
    finally:
        await connection.rollback()


def judge(findings: Sequence[Finding]) -> BadInput | Problem | None:
    """The error that the findings amount to, with all of them that block a run; None when none does."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    undecided = [finding for finding in findings if finding.severity is Severity.UNDECIDED]
    if errors:
        return BadInput("\n  ".join(["the rules do not fit the database:", *map(str, [*errors, *undecided])]))
    if undecided:
        return Problem(
            "\n  ".join(["the rules leave columns undecided, and nothing undecided is copied:", *map(str, undecided)])
        )
    return None


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _summary(path: Path, rules: Rules) -> Suggested:
    masks: Counter[str] = Counter()
    todo: list[ColumnName] = []
    for table, decisions in rules.tables.items():
        for column, rule in decisions.columns.items():
            masks[rule.mask] += 1
            if rule.mask == TODO:
                todo.append(ColumnName(table, column))
    for domain in rules.domains.values():
        masks[domain.mask] += len(domain.columns)
    return Suggested(path, dict(masks.most_common()), todo)
