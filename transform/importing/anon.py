"""Labels of PostgreSQL Anonymizer in SQL text: ``SECURITY LABEL FOR anon ON COLUMN t.name IS 'MASKED WITH ...'``."""

from __future__ import annotations

import re
from typing import Final

from capture.model import BadInput, ColumnName, TableName, parse_identifiers
from transform.anon_labels import translate
from transform.importing.result import Imported, Unequal
from transform.masks.base import MASKS
from transform.rules import KEEP

_NAME: Final = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_LABEL: Final = re.compile(
    rf"""--[^\n]* | /\*.*?\*/
       | SECURITY \s+ LABEL \s+ (?:FOR \s+ (?P<provider>{_NAME}) \s+)? ON \s+ (?P<kind>[A-Z]+(?:\s+VIEW)?) \s+
         (?P<object>{_NAME}(?:\s*\.\s*{_NAME})*) \s+ IS \s+
         (?: NULL | E?'(?P<quoted>(?:[^'\\]|''|\\.)*)' | \$(?P<tag>\w*)\$(?P<dollars>.*?)\$(?P=tag)\$ )
       | (?P<unread>SECURITY \s+ LABEL \s)
       | '(?:[^']|'')*' | \$(?P<other>\w*)\$.*?\$(?P=other)\$""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_FUNCTION: Final = re.compile(r"WITH\s+FUNCTION\s+([\w.]+)\s*\(", re.IGNORECASE)
# The rows of a dump that holds data; they may say anything.
_ROWS: Final = re.compile(r"^COPY [^\n]* FROM stdin[^\n]*;\n.*?^\\\.$", re.MULTILINE | re.DOTALL | re.IGNORECASE)


def from_labels(text: str) -> Imported:
    """The rules that the labels in a dump or a script mean. Raises ``BadInput`` when there are none."""
    imported = Imported()
    # Of rows that are left out, the ends of their lines stay, which are counted.
    text = _ROWS.sub(lambda rows: "\n" * rows[0].count("\n"), text)
    # Comments and other texts are found only to be passed over: a label in them is none.
    found = [match for match in _LABEL.finditer(text) if match["kind"] or match["unread"]]
    if not found:
        raise BadInput("there is no SECURITY LABEL in this text.", hint="Dump the schema with pg_dump --schema-only.")
    of_columns: dict[ColumnName, str] = {}
    for match in found:
        if match["unread"]:
            line = text.count("\n", 0, match.start()) + 1
            imported.unequal.append(Unequal(f"line {line}", "a label that cannot be read", "nothing was taken from it"))
            continue
        label = match["dollars"] if match["dollars"] is not None else (match["quoted"] or "").replace("''", "'")
        kind = re.sub(r"\s+", " ", match["kind"]).upper()
        named = re.sub(r"\s*\.\s*", ".", match["object"])
        if kind != "COLUMN":
            if label:
                imported.unequal.append(Unequal(f"{kind.lower()} {named}", "a label", "nothing was taken from it"))
            continue
        # As the server has it, the last label counts, and NULL takes it away.
        of_columns[_column(named)] = label
    for column, label in of_columns.items():
        if not label:
            continue
        rule = translate(label)
        if rule is not None and (rule if isinstance(rule, str) else rule["mask"]) not in {*MASKS, KEEP}:
            rule = None
        called = _FUNCTION.search(label)
        imported.decide(column.table, column.column, rule, what=f"{called[1]}()" if called is not None else "its label")
    return imported


def _column(named: str) -> ColumnName:
    try:
        parts = parse_identifiers(named)
    except ValueError:
        parts = ()
    if len(parts) == 2:
        parts = ("public", *parts)
    if len(parts) != 3:
        raise BadInput(f"the label on {named} names no column of a table.")
    return ColumnName(TableName(parts[0], parts[1]), parts[2])
