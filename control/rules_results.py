"""What the commands about rules print beside lists: explanations, and previews, which show values.

The JSON shapes are a contract, as in ``control.results``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from capture.model import counted
from control.outcome import Terminal

if TYPE_CHECKING:  # imported for their types only, so that --help starts fast
    from control.rules_commands import Explained
    from control.rules_preview import Preview, PreviewColumn

# Of a value, at the most and at the least.
_WIDEST = 32
_NARROWEST = 8
_GAP = 2
_CHANGED = "bold green"
_UNDECIDED = "not copied: undecided"
_STYLES = {"masked": "green", "kept": "yellow", "undecided": "bold red"}


def show_explained(terminal: Terminal, explained: Explained) -> None:
    """The reasons, in order; as JSON also each by itself."""
    found = explained.explanation
    if terminal.as_json:
        terminal.result(
            {
                "what": found.what,
                "kind": found.kind,
                "status": found.status,
                "type": found.type,
                "root": found.root,
                "rule": found.rule,
                "at": found.at,
                "when": found.when,
                "otherwise": found.otherwise,
                "taken_over_from": found.taken_over_from,
                "domain": found.domain,
                "links": [
                    {"source": str(link.source), "target": str(link.target), "reason": link.reason}
                    for link in found.links
                ],
                "columns": dict(found.columns),
                "unique": list(found.unique),
                "promise": found.promise,
                "checks": dict(found.checks),
                "subject": found.subject,
                "keys": explained.epochs,
                "why": list(found.why),
            }
        )
        return
    style = _STYLES.get(found.status, "cyan")
    type_name = f" {escape(found.type)}" if found.type else ""
    terminal.out.print(f"[bold]{escape(found.what)}[/]{type_name}: [{style}]{escape(found.status)}[/]")
    for number, reason in enumerate(found.why, 1):
        terminal.out.print(f"{number:3}. {escape(reason)}")
    if found.status == "masked":
        keys = ", ".join(f"{target} (epoch {epoch})" for target, epoch in explained.epochs.items())
        terminal.out.print(f"Each target has keys of its own: {keys}.", markup=False)
    if len(found.columns) > 1:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("column", overflow="fold")
        table.add_column("rule", overflow="fold")
        for name, rule in found.columns:
            table.add_row(escape(name), f"[{_STYLES['undecided']}]{rule}[/]" if rule == "undecided" else escape(rule))
        terminal.out.print(table)


def show_preview(terminal: Terminal, preview: Preview) -> None:
    """Original beside masked: a table where all columns have room beside each other, else record by record. Values of
    columns that were asked for are shown whole, over several lines where they are long."""
    out = terminal.out
    count = counted(preview.rows, "row")
    out.print(
        f"[bold]{escape(str(preview.table))}[/] as {escape(preview.target)} would have it: {count}. "
        f"[{_CHANGED}]This[/] is masked."
    )
    if not preview.rows:
        return
    widest = sys.maxsize if preview.whole else _WIDEST
    if sum(_width(column, widest) for column in preview.columns) <= out.width:
        out.print(_beside(preview.columns, widest), soft_wrap=False)
        return
    for row in range(preview.rows):
        out.print(f"[dim]row {row + 1}[/]")
        out.print(_record(preview.columns, row, out.width, whole=preview.whole), soft_wrap=False)


def _width(column: PreviewColumn, widest: int) -> int:
    """What the column needs in a table, with its gaps; a kept one is shown once."""
    shown = [column.original] if column.rule == "keep" else [column.original, column.masked or []]
    heads = [column.name, column.rule or _UNDECIDED]
    return sum(
        _GAP + max(cell_len(head), *(min(cell_len(_readable(value)), widest) for value in [*values, b""]))
        for head, values in zip(heads, shown, strict=False)
    )


def _beside(columns: Sequence[PreviewColumn], widest: int) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))
    cells: list[list[Text]] = []
    for column in columns:
        table.add_column(Text(column.name), no_wrap=True)
        cells.append([_cell(value, widest) for value in column.original])
        if column.rule == "keep":
            continue
        table.add_column(Text(column.rule or _UNDECIDED, "cyan"), no_wrap=True)
        cells.append([_masked(column, row, widest) for row in range(len(column.original))])
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table


def _record(columns: Sequence[PreviewColumn], row: int, width: int, *, whole: bool) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    names = min(max(cell_len(column.name) for column in columns), _WIDEST)
    rules = min(max(len(column.rule or _UNDECIDED) for column in columns), _WIDEST)
    room = max(_NARROWEST, (width - names - rules - 4 * _GAP) // 2)
    for its_width in (names, rules, room, room):
        table.add_column(width=its_width, overflow="fold")
    length = sys.maxsize if whole else room
    for column in columns:
        table.add_row(
            Text(_shortened(column.name, names)),
            Text(_shortened(column.rule or _UNDECIDED, rules), "cyan"),
            _cell(column.original[row], length),
            _masked(column, row, length),
        )
    return table


def _masked(column: PreviewColumn, row: int, width: int) -> Text:
    if column.masked is None:
        return Text()
    value = column.masked[row]
    return _cell(value, width, _CHANGED if value != column.original[row] else "")


def _cell(value: bytes | None, width: int, style: str = "") -> Text:
    return Text(_shortened(_readable(value), width), style or ("dim" if value is None else ""))


def _readable(value: bytes | None) -> str:
    """A value on one line. What is no printable character, and might steer the terminal, is written out."""
    if value is None:
        return "NULL"
    text = value.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )  # fmt: skip


def _shortened(text: str, width: int) -> str:
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"
