"""The rules file's text: the decisions that stand, the suggestions with their evidence, and what is gone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from capture.model import Catalog, ColumnName, Table, TableName
from transform.rules import NULL, Rules
from transform.suggest.choice import Written
from transform.suggest.comments import END, GONE, HEADER, Comments, read_comments


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rule as it is written, why, in a few words without values, and what else might stand, the best first;
    ``against`` is the kind of the finding that refused a better one."""

    rule: Written
    evidence: str = ""
    others: tuple[Written, ...] = ()
    against: str = ""


def write(
    catalog: Catalog,
    known: Rules,
    found: Mapping[ColumnName, Suggestion],
    subjects: Mapping[TableName, str],
    evidence: Mapping[str, str],
) -> str:
    """The whole file, with the comments of the one that ``known`` was read from, and the evidence of domains."""
    comments = read_comments(known.document) if known.document is not None else Comments()
    tables: list[str] = []
    for table in catalog.tables.values():
        if table.root is None:
            tables += _write_table(table, known, found, subjects.get(table.name), comments)
    domains: list[str] = []
    for name, domain in known.domains.items():
        columns = [str(column) for column in domain.columns if _exists(catalog, column)]
        if columns:
            written = domain.written if isinstance(domain.written, dict) else {"mask": domain.written}
            rule = {**written, "columns": columns}
            line = f"  {scalar(name)}: {flow(rule)}"
            domains += comments.around(f"domains.{name}", line, evidence.get(name, ""))
    lines = [HEADER.rstrip(), *comments.around("version", "version: 1")]
    for key, value in known.model_dump(exclude={"version", "tables", "domains"}, exclude_defaults=True).items():
        lines += comments.around(key, f"{scalar(key)}: {flow(value)}")
    lines += [*comments.around("tables", "tables:"), *tables] if tables else []
    lines += [*comments.around("domains", "domains:"), *domains] if domains else []
    lines += comments.above.get(END, ())
    gone = [f"#   {scalar(name)}" for name in _gone(catalog, known)]
    lines += [GONE, *gone] if gone else []
    return "\n".join(lines) + "\n"


def _write_table(
    table: Table,
    known: Rules,
    found: Mapping[ColumnName, Suggestion],
    subject: str | None,
    comments: Comments,
) -> Iterator[str]:
    own = known.tables.get(table.name)
    entries: list[str] = []
    for shape in table.columns:
        column = ColumnName(table.name, shape.name)
        suggestion = found.get(column)
        if suggestion is None:
            written = own.columns.get(shape.name) if own is not None else None
            if written is None:  # generated, or decided by a declared domain, or of a table without rows
                continue
            suggestion = Suggestion(written.written)
        rule, evidence = suggestion.rule, suggestion.evidence
        line = f"      {_key(shape.name)}: {NULL if rule == NULL else flow(rule)}"
        entries += comments.around(column, line, evidence if evidence.isprintable() else "")
    key = scalar(str(table.name))
    settings = own.model_dump(exclude={"columns"}, exclude_unset=True, by_alias=True) if own is not None else {}
    if subject is not None:
        settings["subject"] = subject
    if settings.get("rows") == "all":
        del settings["rows"]
    if not entries:
        yield from comments.around(table.name, f"  {key}: {flow(settings or {'rows': 'all'})}")
        return
    yield from comments.around(table.name, f"  {key}:")
    for name, value in settings.items():
        yield f"    {name}: {_key(value) if name == 'subject' else flow(value)}"
    yield "    columns:"
    yield from entries


def _key(name: str) -> str:
    """A column's name. One that starts with a double quote is read as SQL."""
    return scalar('"' + name.replace('"', '""') + '"' if name.startswith('"') else name)


def _exists(catalog: Catalog, column: ColumnName) -> bool:
    table = catalog.tables.get(column.table)
    return table is not None and table.root is None and any(shape.name == column.column for shape in table.columns)


def _gone(catalog: Catalog, known: Rules) -> Iterator[str]:
    for name, own in known.tables.items():
        if name not in catalog.tables or catalog.tables[name].root is not None:
            yield str(name)
            continue
        columns = (ColumnName(name, column) for column in own.columns)
        yield from (str(column) for column in columns if not _exists(catalog, column))
    for domain in known.domains.values():
        yield from (str(column) for column in domain.columns if not _exists(catalog, column))


_PLAIN_SCALAR: Final = re.compile(r"[A-Za-z_][\w.$ -]*(?<! )", re.ASCII)
_NOT_STRINGS: Final = frozenset(("null", "true", "false"))


def scalar(text: str) -> str:
    """A string as YAML: plain where it may be, else in single quotes, and with escapes only for control characters."""
    if _PLAIN_SCALAR.fullmatch(text) and text.lower() not in _NOT_STRINGS:
        return text
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else json.dumps(text)


def flow(value: Any) -> str:
    """A rule as YAML on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{scalar(key)}: {flow(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str():
            return scalar(value)
        case _:
            return json.dumps(value)
