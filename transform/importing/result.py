"""What a conversion gives, and how it is written as a rules file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from capture.model import ColumnName, TableName
from transform.rules import TODO, Rules
from transform.suggest.comments import END, IMPORTED, Comments, read_comments
from transform.suggest.writing import flow, scalar

Written: TypeAlias = str | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unequal:
    """Something that has no equal here: where it stands, what it is, and what was done instead."""

    where: str
    what: str
    instead: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.instead}"


@dataclass(slots=True)
class Imported:
    """Rules by table and column, which rows a table keeps, and what has no equal."""

    columns: dict[TableName, dict[str, Written]] = field(default_factory=dict)
    rows: dict[TableName, Written] = field(default_factory=dict)
    unequal: list[Unequal] = field(default_factory=list)

    def decide(self, table: TableName, column: str, rule: Written | None, *, what: str) -> None:
        """Take a column's rule; a second one, or none, leaves it to a person."""
        known = self.columns.setdefault(table, {})
        where = f"{table}.{column}"
        if rule is None:
            self.unequal.append(Unequal(where, f"{what} has no equal", "it is todo"))
        elif column in known:
            self.unequal.append(Unequal(where, f"{what} follows another one on the same column", "it is todo"))
            rule = None
        known[column] = TODO if rule is None else rule

    def beside(self, existing: Rules | None) -> Imported:
        """What is left to take where a file's own decisions win."""
        tables = existing.tables.items() if existing is not None else ()
        decided = {
            f"{name}.{column}" for name, own in tables for column, rule in own.columns.items() if rule.mask != TODO
        }
        left = Imported(rows=self.rows)
        for table, columns in self.columns.items():
            left.columns[table] = {each: rule for each, rule in columns.items() if f"{table}.{each}" not in decided}
        left.unequal = [
            replace(one, instead="the file's own rule stays") if one.where in decided else one for one in self.unequal
        ]
        return left


def write(imported: Imported, existing: Rules | None) -> str:
    """A rules file. Decisions of ``existing`` win over what was imported, and its comments stay."""
    tables: dict[TableName, dict[str, Any]] = {}
    imported = imported.beside(existing)
    known = existing if existing is not None else Rules(version=1)
    for name, own in known.tables.items():
        settings = own.model_dump(mode="json", exclude={"columns"}, exclude_unset=True, by_alias=True)
        tables[name] = {**settings, "columns": {column: rule.written for column, rule in own.columns.items()}}
    for name in [*imported.columns, *imported.rows]:
        table = tables.setdefault(name, {"columns": {}})
        if name in imported.rows and "rows" not in table:
            table["rows"] = imported.rows[name]
        for column, rule in imported.columns.get(name, {}).items():
            table["columns"][column] = rule
    return "\n".join(_lines(known, tables, imported)) + "\n"


def _lines(known: Rules, tables: dict[TableName, dict[str, Any]], imported: Imported) -> Iterator[str]:
    comments = read_comments(known.document) if known.document is not None else Comments()
    yield IMPORTED
    yield from comments.around("version", "version: 1")
    for key, value in known.model_dump(exclude={"version", "tables", "domains"}, exclude_defaults=True).items():
        yield from comments.around(key, f"{scalar(key)}: {flow(value)}")
    if tables:
        yield from comments.around("tables", "tables:")
    for name, settings in sorted(tables.items()):
        yield from comments.around(name, f"  {scalar(str(name))}:")
        for key, value in settings.items():
            if key != "columns":
                yield f"    {key}: {flow(value)}"
        yield "    columns:" if settings["columns"] else "    columns: {}"
        for column, rule in settings["columns"].items():
            line = f"      {scalar(column)}: {'null' if rule == 'null' else flow(rule)}"
            yield from comments.around(ColumnName(name, column), line)
    if known.domains:
        yield from comments.around("domains", "domains:")
    for called, domain in known.domains.items():
        written = domain.written if isinstance(domain.written, dict) else {"mask": domain.written}
        line = f"  {scalar(called)}: {flow({**written, 'columns': [str(column) for column in domain.columns]})}"
        yield from comments.around(f"domains.{called}", line)
    yield from (at_end := comments.above.get(END, []))
    if imported.unequal:
        told = ["# What has no equal, and what was done instead:"]
        told += [f"#   {each}" for each in map(str, imported.unequal) if each.isprintable()]
        # Who imports a file again is told the same.
        yield from (line for line in told if line not in at_end)
