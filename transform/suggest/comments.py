"""The comments of a rules file, and what they stand at, so that the file that takes its place can have them too.

A comment on a line of its own is about what comes next; one behind a rule is about that rule, and so is one inside of
it. What the file tells about itself, tezcat's own words at its top and its end, is no comment of anybody's.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import yaml

from capture.model import ColumnName, TableName
from transform.document import Document, tokens
from transform.rules import read_own_column
from transform.suggest.category import Category

HEADER: Final = """\
# Rules for every column: keep, null, a mask, or todo. A column that is undecided or todo blocks the run.
# The comments are the evidence, as counts over sampled values: `email: 998/1000`.
"""
IMPORTED: Final = (
    "# Imported. Columns that are not named here are undecided; `tezcat rules suggest` proposes rules for them."
)
# What a file says of itself, at its top.
_OWN: Final = (*HEADER.splitlines(), IMPORTED)
GONE: Final = "# Rules left away, because no table that is copied has what they name:"

# What a comment may stand at: a column, a table, a key at the top, or a declared domain, as ``domains.NAME``.
Place: TypeAlias = ColumnName | TableName | str

_BEGINS: Final = re.compile(r"(?:^|(?<=[ \t]))#")
# What a suggestion says for itself, most of it counts.
_EVIDENCE: Final = re.compile(
    r"\d/\d|: \d+%$|\d distinct(?: in \d|$)|^# (?:as \S+\.\S+|no(?:t sampled| values)(?:; hidden to be safe)?|"
    rf"name: (?:{'|'.join(Category)})(?:, in a table of people)?|"
    r"a row of the table that the row names|words of the row's texts|leaves that no path names are scrambled|"
    r"SQL, or a row as text, in an audit trail|it describes a thing|of a thing)$"
)
END: Final = ""


@dataclass(frozen=True, slots=True)
class Comments:
    """By place: the lines above it, and what stands on its own line, each with its ``#``."""

    above: dict[Place, list[str]] = field(default_factory=lambda: defaultdict(list))
    beside: dict[Place, str] = field(default_factory=dict)

    def around(self, place: Place, line: str, evidence: str = "") -> Iterator[str]:
        """A place's line, with what stands above it, and with what ends it: new evidence, or else what stood there."""
        indent = line[: len(line) - len(line.lstrip())]
        yield from (indent + comment for comment in self.above.get(place, ()))
        comment = f"# {evidence}" if evidence else self.beside.get(place)
        yield f"{line}  {comment}" if comment else line


def read_comments(document: Document) -> Comments:
    """The comments of a file of rules."""
    found = Comments()
    lines = document.text.splitlines()
    written = _comments(document)
    places = _places(document.root)
    at: Place = END
    waiting: list[str] = []
    for number, line in enumerate(lines):
        start = written.get(number)
        comment = line[start:].rstrip() if start is not None else ""
        if comment == GONE:
            break
        if not line[:start].strip():
            waiting += [comment] if comment and comment not in _OWN else []
            continue
        at = places.get(number, at)
        found.above[at] += waiting
        waiting = []
        if comment and number in places and at not in found.beside:
            found.beside[at] = comment
        elif comment:
            found.above[at].append(comment)
    found.above[END] += waiting
    return found


def left_out(before: Document, after: Document) -> list[str]:
    """The comments of a file that the one in its place has not. Evidence that has changed is none of them."""
    old, new = _texts(before), _texts(after)
    gone = Counter(old) - Counter(new) - Counter(_OWN)
    end = old.index(GONE) if GONE in old else len(old)
    return [comment for comment in old[:end] if gone[comment] and not _EVIDENCE.search(comment)]


def _texts(document: Document) -> list[str]:
    lines = document.text.splitlines()
    return [lines[number][start:].rstrip() for number, start in _comments(document).items()]


def _comments(document: Document) -> dict[int, int]:
    """Where in which lines comments begin: at a ``#`` that is part of no scalar."""
    lines = document.text.splitlines()
    scalars: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for token in tokens(document):
        if isinstance(token, yaml.ScalarToken):
            start, end = token.start_mark, token.end_mark
            for line in range(start.line, end.line + 1):
                first = start.column if line == start.line else 0
                scalars[line].append((first, end.column if line == end.line else len(lines[line])))
    found = {}
    for number, line_text in enumerate(lines):
        for match in _BEGINS.finditer(line_text):
            if not any(first <= match.start() < last for first, last in scalars[number]):
                found[number] = match.start()
                break
    return found


def _places(root: yaml.MappingNode) -> dict[int, Place]:
    """What begins in which lines; of several in one line the outermost."""
    found: dict[int, Place] = {}
    for key, section in _entries(root):
        found.setdefault(key.start_mark.line, key.value)
        for name, own in _entries(section):
            if key.value == "tables":
                table = TableName.parse(name.value)
                found.setdefault(name.start_mark.line, table)
                for setting, value in _entries(own):
                    found.setdefault(setting.start_mark.line, table)
                    for column, _ in _entries(value) if setting.value == "columns" else ():
                        place = ColumnName(table, read_own_column(column.value))
                        found.setdefault(column.start_mark.line, place)
            elif key.value == "domains":
                found.setdefault(name.start_mark.line, f"domains.{name.value}")
    return found


def _entries(node: yaml.Node) -> Sequence[tuple[yaml.ScalarNode, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else ()
