"""What the commands print on stdout: a table or a sentence for people, one JSON document for scripts.

The JSON shapes are a contract; each function's first lines write it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from capture.model import counted
from control.console import amount_text, duration_text
from control.outcome import Terminal

if TYPE_CHECKING:  # imported for their types only, so that --help starts fast
    from capture.preflight import Check
    from control.clone import CloneResult
    from control.resync import ResyncResult
    from control.rules_commands import Suggested
    from control.rules_diff import RulesDiff
    from control.rules_import import ImportedRules
    from control.status import StreamStatus
    from control.stream import StreamProgress
    from control.verify import VerifyResult
    from transform.coverage import Finding

# So many changed columns of a table are named one by one.
_CHANGES_SHOWN = 8
# So many tables that rules have changed for are named in a copy's status.
_TABLES_NAMED = 5

_SEVERITY_STYLES = {"risk": "yellow", "note": "cyan"}
_CHECK_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def show_checks(terminal: Terminal, checks: Sequence[Check]) -> None:
    """One line per check, and under a finding what to do about it."""
    if terminal.as_json:
        terminal.result(
            [
                {"name": each.name, "status": str(each.status), "message": each.message, "remedy": each.remedy}
                for each in checks
            ]
        )
        return
    for each in checks:
        style = _CHECK_STYLES[str(each.status)]
        terminal.out.print(f"[{style}]{each.status!s:8}[/] {escape(each.name)}: {escape(each.message)}")
        if each.remedy:
            terminal.out.print(f"{'':8} {each.remedy}", markup=False)


def show_suggested(terminal: Terminal, suggested: Suggested) -> None:
    """How many columns each mask takes, and which are left to a person."""
    if terminal.as_json:
        terminal.result(
            {
                "path": str(suggested.path),
                "masks": suggested.masks,
                "todo": [str(column) for column in suggested.todo],
                "comments_left_out": suggested.comments_left_out,
            }
        )
        return
    table = _table("mask", ">columns")
    for mask, count in suggested.masks.items():
        table.add_row(f"[yellow]{mask}[/]" if mask == "todo" else escape(mask), f"{count:,}")
    terminal.out.print(table)
    terminal.out.print(f"Wrote {suggested.path}.", markup=False)
    if suggested.comments_left_out:
        terminal.out.print("Comments of the file before that stood at what this one has not:")
        for comment in suggested.comments_left_out:
            terminal.out.print(f"  {comment}", markup=False)
    if suggested.todo:
        terminal.out.print(f"[yellow]Decide these {len(suggested.todo)}; they block a clone until then:[/]")
        for column in suggested.todo:
            terminal.out.print(f"  {column}", markup=False)


def show_findings(terminal: Terminal, findings: Sequence[Finding]) -> None:
    """What there is to say about the rules. For people only risks and notes: what blocks a run is told as an error.
    Many findings have one hint, which stands once, below them."""
    if terminal.as_json:
        terminal.result(
            [
                {
                    "severity": str(each.severity),
                    "kind": str(each.kind),
                    "where": each.where,
                    "message": each.message,
                    "hint": each.hint,
                    "at": each.at.removesuffix(": "),
                }
                for each in findings
            ]
        )
        return
    counts = Counter(str(each.severity) for each in findings)
    for severity, style in _SEVERITY_STYLES.items():
        by_hint: dict[str, list[Finding]] = {}
        for each in findings:
            if each.severity == severity:
                by_hint.setdefault(each.hint, []).append(each)
        for hint, alike in by_hint.items():
            for each in alike:
                terminal.out.print(f"[{style}]{severity}:[/] {escape(str(replace(each, hint='')))}")
            if hint:
                terminal.out.print(f"  {hint}", markup=False, style="dim")
    if counts.total() == sum(counts[severity] for severity in _SEVERITY_STYLES):
        terminal.out.print("[green]Every column is decided, and every mask fits.[/]")
    if findings:
        named = [f"{number} {severity if severity == 'undecided' or number == 1 else severity + 's'}"
                 for severity, number in counts.items()]  # fmt: skip
        terminal.out.print(f"{', '.join(named)}.")


def show_clone(terminal: Terminal, result: CloneResult) -> None:
    """A finished copy and the next step."""
    if terminal.as_json:
        terminal.result(
            {
                "target": result.target,
                "source": result.source,
                "consistent_lsn": str(result.consistent_lsn),
                "tables": result.tables,
                "rows": result.rows,
                "bytes": result.bytes,
                "seconds": round(result.seconds, 3),
                "slot": result.slot,
                "left_out": {str(name): reason for name, reason in result.left_out.items()},
                "warnings": list(result.warnings),
            }
        )
        return
    terminal.out.print(
        f"[bold green]{escape(result.target)} is a masked copy of {escape(result.source)}[/] at "
        f"{result.consistent_lsn}: {counted(result.tables, 'table')}, {counted(result.rows, 'row')}, "
        f"{amount_text(result.bytes, 'bytes')} in {duration_text(result.seconds)}."
    )
    for name, reason in result.left_out.items():
        terminal.out.print(f"  left out {name}: {reason}", markup=False)
    for warning in result.warnings:
        terminal.out.print(f"  [yellow]{escape(warning)}[/]")
    if result.slot is not None:
        terminal.out.print(f"Keep it fresh: tezcat stream --target {result.target}", markup=False)


def show_imported(terminal: Terminal, imported: ImportedRules) -> None:
    """How much was converted, and what was not."""
    if terminal.as_json:
        terminal.result(
            {
                "path": str(imported.path),
                "decided": imported.decided,
                "todo": imported.todo,
                "unequal": [
                    {"where": each.where, "what": each.what, "instead": each.instead} for each in imported.unequal
                ],
            }
        )
        return
    if imported.unequal:
        table = _table("where", "without an equal", "instead")
        for each in imported.unequal:
            table.add_row(escape(each.where), escape(each.what), escape(each.instead))
        terminal.out.print(table)
    terminal.out.print(f"Wrote {imported.path}: {imported.decided} decided, {imported.todo} todo.", markup=False)
    terminal.out.print("What is not named there yet: tezcat rules suggest", markup=False)


def show_resync(terminal: Terminal, result: ResyncResult) -> None:
    """What was copied again."""
    if terminal.as_json:
        terminal.result(
            {
                "source": result.source,
                "target": result.target,
                "lsn": str(result.lsn),
                "tables": {str(name): rows for name, rows in result.tables.items()},
                "seconds": round(result.seconds, 3),
                "held_seconds": round(result.held_seconds, 3),
            }
        )
        return
    if not result.tables:
        terminal.out.print(f"[green]{escape(result.target)} follows these rules and this key already.[/]")
        return
    table = _table("table", ">rows")
    for name, rows in result.tables.items():
        table.add_row(escape(str(name)), f"{rows:,}")
    terminal.out.print(table)
    terminal.out.print(
        f"[bold green]Copied again, as of {result.lsn}[/], in {duration_text(result.seconds)}; the stream was held for "
        f"{duration_text(result.held_seconds)} of it."
    )


def show_rules_diff(terminal: Terminal, diff: RulesDiff) -> None:
    """What would have to be copied again."""
    if terminal.as_json:
        terminal.result(
            {
                "target": diff.target,
                "same_key": diff.same_key,
                "tables": [
                    {
                        "table": str(each.table),
                        "rows_changed": each.rows,
                        "columns": {name: str(change) for name, change in each.columns.items()},
                        "estimated_rows": diff.rows[each.table],
                        "bytes": diff.bytes[each.table],
                    }
                    for each in diff.tables
                ],
            }
        )
        return
    if not diff.tables:
        terminal.out.print(f"[green]{escape(diff.target)} was made by these rules and this key.[/]")
        return
    if not diff.same_key:
        terminal.out.print("[yellow]The key, or its epoch, has changed: all that is masked is masked otherwise.[/]")
    table = _table("table", "what changed", ">rows", ">size")
    for each in diff.tables:
        said = [f"{escape(name)}: {change}" for name, change in each.columns.items()]
        if each.rows:
            said.insert(0, "which rows are copied")
        shown = "\n".join(
            said[:_CHANGES_SHOWN] + ([f"and {len(said) - _CHANGES_SHOWN} more"] if len(said) > _CHANGES_SHOWN else [])
        )
        table.add_row(
            escape(str(each.table)), shown, f"{diff.rows[each.table]:,}", amount_text(diff.bytes[each.table], "bytes")
        )
    terminal.out.print(table)
    terminal.out.print(f"Copy these again: tezcat clone --resync --target {diff.target}", markup=False)


def show_stream(terminal: Terminal, target: str, progress: StreamProgress) -> None:
    """Where a stream ended."""
    if terminal.as_json:
        terminal.result(
            {
                "environment": target,
                "state": progress.state,
                "applied_lsn": _text(progress.applied_lsn),
                "consistent": progress.consistent,
                "transactions": progress.transactions,
                "changes": progress.changes,
                "lag_bytes": progress.lag_bytes,
                "lag_seconds": progress.lag_seconds,
            }
        )
        return
    terminal.out.print(
        f"{target} is at {_text(progress.applied_lsn) or 'no position yet'}: "
        f"{counted(progress.transactions, 'transaction')}, {counted(progress.changes, 'change')} applied.",
        markup=False,
    )


def show_status(terminal: Terminal, streams: Sequence[StreamStatus]) -> None:
    """Each copy with its stream."""
    if terminal.as_json:
        terminal.result(
            [
                {
                    "environment": each.environment,
                    "state": each.state,
                    "slot": each.slot,
                    "confirmed_flush_lsn": _text(each.confirmed_flush_lsn),
                    "applied_lsn": _text(each.applied_lsn),
                    "consistent": each.consistent,
                    "lag_bytes": each.lag_bytes,
                    "lag_seconds": each.lag_seconds,
                    "retained_wal_bytes": each.retained_wal_bytes,
                    "last_error": each.last_error,
                    "changed_tables": None if each.changed_tables is None else list(map(str, each.changed_tables)),
                }
                for each in streams
            ]
        )
        return
    table = _table("environment", "state", "applied", "consistent", "lag", "retained WAL")
    for each in streams:
        table.add_row(
            escape(each.environment),
            f"[bold red]{escape(each.state)}[/]" if each.last_error else escape(each.state),
            _text(each.applied_lsn) or "-",
            "[green]yes[/]" if each.consistent else "[yellow]no[/]",
            _lag(each.lag_bytes, each.lag_seconds),
            "-" if each.retained_wal_bytes is None else amount_text(each.retained_wal_bytes, "bytes"),
        )
    terminal.out.print(table)
    for each in streams:
        if each.last_error:
            terminal.out.print(f"[red]{escape(each.environment)}:[/] {escape(each.last_error)}")
        if each.changed_tables:
            more = len(each.changed_tables) - _TABLES_NAMED
            named = ", ".join(map(str, each.changed_tables[:_TABLES_NAMED])) + (f" and {more} more" if more > 0 else "")
            terminal.out.print(
                f"[yellow]{escape(each.environment)}:[/] by today's rules and key {escape(named)} would be masked "
                f"otherwise, or have other rows. See: tezcat rules diff --target {escape(each.environment)}"
            )


def show_verify(terminal: Terminal, result: VerifyResult) -> None:
    """Every table with what differs, and the verdict."""
    if terminal.as_json:
        terminal.result(
            {
                "lsn": str(result.lsn),
                "consistent": result.consistent,
                "equal": result.equal,
                "tables": [
                    {
                        "table": str(each.table),
                        "rows_source": each.rows_source,
                        "rows_target": each.rows_target,
                        "different": each.different,
                        "missing": each.missing,
                        "extra": each.extra,
                    }
                    for each in result.tables
                ],
            }
        )
        return
    table = _table("table", ">rows in source", ">rows in target", ">different", ">missing", ">extra")
    for each in result.tables:
        table.add_row(
            escape(str(each.table)),
            f"{each.rows_source:,}",
            f"{each.rows_target:,}",
            *(f"[bold red]{count:,}[/]" if count else "[green]0[/]" for count in _differences(each)),
        )
    terminal.out.print(table)
    for each in result.tables:
        for example in each.examples:
            terminal.out.print(f"  {each.table}: {example}", markup=False)
    rows = sum(each.rows_source for each in result.tables)
    found = sum(sum(_differences(each)) for each in result.tables)
    scope = f"{counted(len(result.tables), 'table')}, {counted(rows, 'row')} compared at {result.lsn}"
    if result.equal:
        terminal.out.print(f"[bold green]equal:[/] {scope}, 0 differences.")
    else:
        terminal.out.print(f"[bold red]not equal:[/] {scope}, {counted(found, 'difference')}.")


def stream_line(progress: StreamProgress, transactions_per_second: float) -> str:
    """One line about a running stream."""
    return (
        f"{progress.state}  applied {_text(progress.applied_lsn) or '-'}  "
        f"{transactions_per_second:,.0f} transactions/s  lag {_lag(progress.lag_bytes, progress.lag_seconds)}"
        f"{'' if progress.consistent else '  not consistent yet'}"
    )


def _differences(table: Any) -> tuple[int, int, int]:
    return (table.different, table.missing, table.extra)


def _lag(lag_bytes: int | None, lag_seconds: float | None) -> str:
    parts = [] if lag_bytes is None else [amount_text(lag_bytes, "bytes")]
    if lag_seconds is not None:
        parts.append(duration_text(lag_seconds))
    return ", ".join(parts) or "-"


def _text(value: object | None) -> str | None:
    return None if value is None else str(value)


def _table(*headers: str) -> Table:
    """A table of people's results; a header that begins with > is of a column of numbers."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in headers:
        table.add_column(header.lstrip(">"), justify="right" if header.startswith(">") else "left", overflow="fold")
    return table
