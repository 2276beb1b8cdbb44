"""Whom a table's rows are about, as the rules tell and foreign keys carry on.

``subject:`` at a table names the column that holds the key of the person whom a row is about: the table of persons
names its own key. A table without it has what refers, by a foreign key, to such a column of another table, also by way
of several tables; of a composite key the one column counts. A table that inherits has its parent's. If that is more
than one column, the rules must say which.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from capture.model import Catalog, ColumnName, TableName
from transform.domains import Domain, structural_links
from transform.rules import Rules


@dataclass(frozen=True, slots=True)
class Subject:
    """The column of a table that holds its subject's key, and the domain of the key where it is at home."""

    column: str
    domain: str


def find_subjects(
    rules: Rules, catalog: Catalog, domains: Mapping[ColumnName, Domain]
) -> dict[TableName, tuple[Subject, ...]]:
    """All that each table's rows may be about; tables of no subject are left out, and for partitions stand their
    roots."""
    named = [ColumnName(table, own.subject) for table, own in rules.tables.items() if own.subject is not None]
    explicit = {column.table for column in named}
    referring: dict[ColumnName, list[ColumnName]] = defaultdict(list)
    for link in structural_links(catalog) if named else ():
        if link.source.table not in explicit:
            referring[link.target].append(link.source)
    at_home = {column: domains[column].name if column in domains else str(column) for column in named}
    waiting = deque(sorted(named))
    while waiting:
        column = waiting.popleft()
        for other in sorted(referring[column]):
            if other not in at_home:
                at_home[other] = at_home[column]
                waiting.append(other)
    found: dict[TableName, tuple[Subject, ...]] = defaultdict(tuple)
    for column in sorted(at_home):
        found[column.table] += (Subject(column.column, at_home[column]),)
    return dict(found)
