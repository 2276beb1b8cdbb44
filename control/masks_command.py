"""``tezcat masks``: the catalogue as a table, one mask explained, or the page of the manual."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Group as Lines
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from control.outcome import Terminal
from transform import catalogue
from transform.catalogue import Described
from transform.masks.base import Group, mask_kind

_STYLES = {"injective": "green", "tagged": "green", "lossy": "yellow"}


def show(terminal: Terminal, name: str | None, *, as_markdown: bool) -> None:
    """Print the page, one mask, or all. Raises ``BadInput`` for a name that no mask has."""
    if as_markdown:
        terminal.out.out(catalogue.markdown(), end="", highlight=False)
        return
    if name is not None:
        _show_one(terminal, catalogue.describe(mask_kind(name)))
        return
    described = [catalogue.describe(kind) for kind in catalogue.all_masks()]
    if terminal.as_json:
        terminal.result([_as_json(each) for each in described])
        return
    for group in Group:
        members = [each for each in described if each.group is group]
        if members:
            terminal.out.print(_table(group, members))
    terminal.out.print("More of one: tezcat masks NAME", markup=False)


def _table(group: Group, members: list[Described]) -> Table:
    columns = ("mask", "what it gives", "types", "keeps apart", "form")
    table = Table(*columns, title=group, title_justify="left", expand=True)
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.overflow = "fold"
    for each in members:
        apart = " or ".join(f"[{_STYLES[word]}]{word}[/]" for word in each.uniqueness.split(" or ") if word)
        table.add_row(f"[bold]{each.name}[/]", escape(each.summary), ", ".join(each.types), apart, each.form)
    return table


def _show_one(terminal: Terminal, each: Described) -> None:
    if terminal.as_json:
        terminal.result(_as_json(each))
        return
    out = terminal.out
    out.print(f"[bold]{each.name}[/]: {escape(each.summary)}")
    out.print(f"  for {', '.join(each.types)}; form {each.form}")
    for held, promise in each.apart.items():
        out.print(f"  {held}: [{_STYLES[promise]}]{promise}[/]")
    if each.notes:
        out.print(Padding(Text(each.notes), (1, 2, 0, 2)), soft_wrap=False)
    if each.parameters:
        parameters = Table("parameter", "type", "default", "", title="parameters", title_justify="left")
        for one in each.parameters:
            default = "[yellow]must be given[/]" if one.default is None else escape(one.default)
            parameters.add_row(one.name, one.type_text, default, escape(one.description))
        out.print(Padding(parameters, (1, 2, 0, 2)))
    examples = Table(title="examples, with a key that everybody knows", title_justify="left")
    for heading in ("rule", "value", "becomes"):
        examples.add_column(heading, overflow="fold")
    for shown in each.examples:
        beside = [f"[dim]{escape(name)}: {escape(text)}[/]" for name, text in shown.row.items()]
        examples.add_row(escape(shown.rule), Lines(escape(shown.value), *beside), f"[green]{escape(shown.masked)}[/]")
    out.print(Padding(examples, (1, 2, 1, 2)))
    out.print("In the rules:", markup=False)
    out.print(f"  column: {each.examples[0].rule}", markup=False)


def _as_json(each: Described) -> dict[str, object]:
    return {
        "name": each.name,
        "group": str(each.group),
        "summary": each.summary,
        "types": list(each.types),
        "keeps_apart": {held: str(promise) for held, promise in each.apart.items()},
        "form": each.form,
        "notes": each.notes,
        "parameters": [asdict(one) for one in each.parameters],
        "examples": [asdict(shown) for shown in each.examples],
    }
