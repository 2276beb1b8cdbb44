"""``tezcat rules suggest``, ``check`` and ``explain``: production's schema and samples in, rules or findings out."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from capture import source
from capture.catalog import read_catalog
from capture.model import BadInput, Catalog, ColumnName, Problem, counted
from capture.privileges import refuse_writable_role
from capture.source import SourceAddress, SourceConnection
from control import rules_file
from control.report import Report
from control.sampling import last_values, sample, sample_rows
from control.settings import Settings
from control.source_commands import production_address
from transform import explaining, plan
from transform import suggest as suggestion
from transform.coverage import Finding, Severity, ordered
from transform.explaining import Explanation
from transform.risks import Risks
from transform.rules import TODO, Rules, load_rules
from transform.suggest.comments import left_out

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Suggested:
    """A rules file that was written: how many columns each mask takes, which are still to be decided, and which
    comments of the file before it has not."""

    path: Path
    masks: dict[str, int]
    todo: list[ColumnName]
    comments_left_out: list[str]


async def suggest(
    settings: Settings, name: str | None, output: Path | None, *, accept_writable_role: bool, report: Report
) -> Suggested:
    """Write a complete rules file for a production database; decisions and comments of a file that is there are kept.

    Raises ``BadInput`` when that file cannot be read as rules, so that nothing a person wrote is lost.
    """
    path = output or settings.rules
    existing = rules_file.decided(path)
    address = production_address(settings, name)
    catalog = await _catalog(address, accept_writable_role=accept_writable_role)
    samples, overlaps = await sample(address, catalog, report)
    text = suggestion.suggest(catalog, samples, existing, overlaps)
    return _summary(path, rules_file.replace(path, text), existing)


async def check(
    settings: Settings, name: str | None, *, samples: bool, accept_writable_role: bool, report: Report
) -> list[Finding]:
    """All there is to say about the rules for a production database, the gravest first.

    With ``samples``, rules without errors are also judged on rows of production.
    """
    rules = load_rules(settings.rules)
    address = production_address(settings, name)
    catalog = await _catalog(address, accept_writable_role=accept_writable_role)
    examined = plan.examine(rules, catalog)
    if not samples or any(finding.severity is Severity.ERROR for finding in examined.findings):
        return examined.findings
    risks = Risks(examined, catalog)
    found = list(examined.findings)
    async with aclosing(sample_rows(address, catalog, report)) as tables:
        async for table, rows in tables:
            found += risks.judge(table, rows)
    planned = examined.plan
    fed = [each for each in catalog.sequences if any(planned.sequence_floor(fed) is not None for fed in each.feeds)]
    values = await last_values(address, fed, report)
    overtaken = (planned.overtaken(each, values[each.name]) for each in fed if each.name in values)
    found += [finding for finding in overtaken if finding is not None]
    return ordered([*found, *risks.of_all(settings.snapshot.workers)])


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation, and the epoch of each target's keys."""

    explanation: Explanation
    epochs: dict[str, int]


async def explain(settings: Settings, name: str | None, what: str, *, accept_writable_role: bool) -> Explained:
    """Why a column, table or declared domain is masked as it is. Raises ``BadInput`` if it is none of them."""
    rules = load_rules(settings.rules)
    catalog = await _catalog(production_address(settings, name), accept_writable_role=accept_writable_role)
    explanation = explaining.explain(rules, catalog, plan.check(rules, catalog), what)
    return Explained(explanation, {target: settings.epoch(target) for target in settings.targets})


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
    yield
    await connection.rollback()


def judge(findings: Sequence[Finding], *, strict: bool) -> BadInput | Problem | None:
    """The error that the findings amount to, with all of them that block a run; None when none does. If it is
    ``strict``, a risk is one too."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    undecided = [finding for finding in findings if finding.severity is Severity.UNDECIDED]
    if errors:
        return BadInput("\n  ".join(["the rules do not fit the database:", *map(str, [*errors, *undecided])]))
    if undecided:
        return Problem(
            "\n  ".join(["the rules leave columns undecided, and nothing undecided is copied:", *map(str, undecided)])
        )
    risks = sum(finding.severity is Severity.RISK for finding in findings)
    if strict and risks:
        return Problem(f"the rules leave {counted(risks, 'risk')}, and --strict allows none.")
    return None


def _summary(path: Path, rules: Rules, before: Rules | None) -> Suggested:
    decided = {
        ColumnName(table, column): rule.mask
        for table, decisions in rules.tables.items()
        for column, rule in decisions.columns.items()
    }
    todo = [column for column, mask in decided.items() if mask == TODO]
    # A declared domain may stand beside the rules of its columns.
    decided |= {column: domain.mask for domain in rules.domains.values() for column in domain.columns}
    masks = Counter(decided.values())
    old, new = before.document if before is not None else None, rules.document
    lost = left_out(old, new) if old is not None and new is not None else []
    return Suggested(path, dict(masks.most_common()), todo, lost)
