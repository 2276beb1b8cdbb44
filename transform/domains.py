"""Which columns must be masked alike, so that joins still hold.

Columns are united by foreign keys (composite ones pairwise), by inheritance, and by the domains that the rules declare.
A partition's columns are its root's. A domain has one rule, which a column without a rule of its own takes over
from the column that it refers to; two different rules in one domain are a conflict.

Two kinds of columns stay outside: those of tables whose rows are not copied, and a referencing column whose own rule is
``null``, because NULL refers to nothing.

A domain's name decides its key. It is the declared name; else the name of the column that the others refer to, so that
a new referencing table changes no mask.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from capture.model import Catalog, Column, ColumnName, TableName
from transform.masks.base import MASKS, TEXT
from transform.masks.choosing import room
from transform.masks.ids import integer_width
from transform.rules import TODO, ColumnRule, Rules


@dataclass(frozen=True, slots=True)
class Link:
    """Two columns that must be masked alike, and what says so; ``source`` refers to ``target``."""

    source: ColumnName
    target: ColumnName
    reason: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule, the column or declared domain that it was written for, and ``file:line:column`` or ''."""

    rule: ColumnRule
    written_for: str
    at: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two rules in one domain; ``path`` are the links from the first one's column to the second's."""

    column: ColumnName
    first: Placed
    second: Placed
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """Columns that share a mask. ``rule`` is None while none of them is decided.

    What fits all of them: ``width`` is that of the widest integers, in bits, and ``max_length`` a length in characters,
    in bytes where one of them is of the type name (``counts_bytes``). ``ignores_case`` tells that one is citext.
    ``decided`` are the columns that have the rule or refer to one that has; to be referred to decides nothing.
    """

    name: str
    columns: tuple[ColumnName, ...]
    rule: Placed | None
    width: int
    max_length: int | None
    counts_bytes: bool
    ignores_case: bool
    decided: frozenset[ColumnName]
    conflicts: tuple[Conflict, ...] = ()


def root_of(catalog: Catalog, table: TableName) -> TableName:
    """The table whose rules hold: the topmost partitioned table, or the table itself."""
    found = catalog.tables.get(table)
    return found.root if found is not None and found.root is not None else table


def unite(rules: Rules, catalog: Catalog) -> dict[ColumnName, Domain]:
    """The domain of every column of every table that is copied; for partitions stand their roots."""
    shapes = {
        ColumnName(name, column.name): column
        for name, table in catalog.tables.items()
        if table.root is None and not _without_rows(rules, name)
        for column in table.columns
    }
    neighbours: dict[ColumnName, list[tuple[ColumnName, Link]]] = defaultdict(list)
    for link in _links(rules, catalog):
        if link.source in shapes and link.target in shapes and link.source != link.target:
            neighbours[link.source].append((link.target, link))
            neighbours[link.target].append((link.source, link))
    domains: dict[ColumnName, Domain] = {}
    for column in shapes:
        if column not in domains:
            domain = _domain(rules, _reachable(neighbours, column), neighbours, shapes)
            domains.update(dict.fromkeys(domain.columns, domain))
    return domains


def _without_rows(rules: Rules, table: TableName) -> bool:
    return table in rules.tables and rules.tables[table].rows == "none"


def _links(rules: Rules, catalog: Catalog) -> Iterator[Link]:
    referenced = {link.target for link in _foreign_key_links(catalog) if link.target != link.source}
    for link in structural_links(catalog):
        own = rules.rule(link.source)
        if own is None or not own.empties or link.source in referenced:
            yield link
    for name, domain in rules.domains.items():
        first, *others = domain.columns
        for other in others:
            yield Link(other, first, f"the domain {name}")


def links_of(rules: Rules, catalog: Catalog, domain: Domain) -> list[Link]:
    """What unites a domain's columns."""
    members = set(domain.columns)
    return [link for link in _links(rules, catalog) if {link.source, link.target} <= members]


def structural_links(catalog: Catalog) -> list[Link]:
    """What foreign keys and inheritance link; for partitions stand their roots."""
    return [*_foreign_key_links(catalog), *_inheritance_links(catalog)]


def _foreign_key_links(catalog: Catalog) -> Iterator[Link]:
    for key in catalog.foreign_keys:
        source, target = root_of(catalog, key.table), root_of(catalog, key.referenced_table)
        for column, referenced in zip(key.columns, key.referenced_columns, strict=True):
            yield Link(ColumnName(source, column), ColumnName(target, referenced), f"the foreign key {key.name}")


def _inheritance_links(catalog: Catalog) -> Iterator[Link]:
    for name, table in catalog.tables.items():
        if table.root is not None:
            continue
        for parent in table.inherits:
            inherited = {column.name for column in catalog.tables[parent].columns} if parent in catalog.tables else ()
            for column in table.columns:
                if column.name in inherited:
                    yield Link(ColumnName(name, column.name), ColumnName(parent, column.name), "inheritance")


def _reachable(neighbours: dict[ColumnName, list[tuple[ColumnName, Link]]], start: ColumnName) -> list[ColumnName]:
    seen, waiting = {start}, deque([start])
    while waiting:
        for other, _ in neighbours.get(waiting.popleft(), ()):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return sorted(seen)


def _domain(
    rules: Rules,
    columns: list[ColumnName],
    neighbours: dict[ColumnName, list[tuple[ColumnName, Link]]],
    shapes: dict[ColumnName, Column],
) -> Domain:
    placed = [(column, rule) for column in columns for rule in _placed_rules(rules, column)]
    # An order of its own for the rules: what there is, and what most say, comes first, so that the one that was
    # changed alone is told; then, where the links lead, the rule of the column that is referred to.
    name = _name(rules, columns, neighbours)
    often = Counter(rule.rule.identity for _, rule in placed)
    placed.sort(key=lambda item: (item[1].rule.mask not in MASKS, -often[item[1].rule.identity], str(item[0]) != name))
    conflicts: dict[str, Conflict] = {}
    for column, rule in placed[1:]:
        first_column, first = placed[0]
        # A declared domain's rule counts for each of its columns, and is wrong once.
        if rule.rule.identity != first.rule.identity and rule.written_for not in conflicts:
            conflicts[rule.written_for] = Conflict(column, first, rule, _path(neighbours, first_column, column))
    return Domain(
        name=name,
        columns=tuple(columns),
        rule=placed[0][1] if placed else None,
        width=min((bits for column in columns if (bits := integer_width(shapes[column]))), default=64),
        max_length=min((n for column in columns if (n := _room(shapes[column])) is not None), default=None),
        counts_bytes=any(shapes[column].base_type == "name" for column in columns),
        ignores_case=any(shapes[column].base_type == "citext" for column in columns),
        decided=_referring(neighbours, {column for column, _ in placed}),
        conflicts=tuple(conflicts.values()),
    )


def _room(shape: Column) -> int | None:
    return room(shape) if shape.base_type in TEXT else shape.max_length


def _referring(
    neighbours: dict[ColumnName, list[tuple[ColumnName, Link]]], columns: set[ColumnName]
) -> frozenset[ColumnName]:
    """These columns and all that refer to them, also by way of others."""
    seen, waiting = set(columns), deque(columns)
    while waiting:
        column = waiting.popleft()
        for _, link in neighbours.get(column, ()):
            if link.target == column and link.source not in seen:
                seen.add(link.source)
                waiting.append(link.source)
    return frozenset(seen)


def _placed_rules(rules: Rules, column: ColumnName) -> Iterator[Placed]:
    own = rules.rule(column)
    if own is not None and own.mask != TODO:
        yield Placed(own, str(column), rules.at_column(column))
    for name in rules.domains_of(column):
        if rules.domains[name].mask != TODO:
            yield Placed(rules.domains[name], f"the domain {name}", rules.at_domain(name, column))


def _name(rules: Rules, columns: list[ColumnName], neighbours: dict[ColumnName, list[tuple[ColumnName, Link]]]) -> str:
    members = set(columns)
    declared = {name for column in columns for name in rules.domains_of(column)}
    if declared:
        return min(declared)
    referring = {link.source for column in columns for _, link in neighbours.get(column, ())}
    # In a cycle every column refers to another; then any stable choice will do.
    return str(min(members - referring, default=min(members)))


def _path(
    neighbours: dict[ColumnName, list[tuple[ColumnName, Link]]], start: ColumnName, end: ColumnName
) -> tuple[str, ...]:
    """The shortest chain of links between two columns of a domain, each in words."""
    came_by: dict[ColumnName, tuple[ColumnName, Link]] = {}
    waiting = deque([start])
    while waiting and end not in came_by:
        column = waiting.popleft()
        for other, link in neighbours.get(column, ()):
            if other != start and other not in came_by:
                came_by[other] = (column, link)
                waiting.append(other)
    steps: list[str] = []
    while end != start:
        before, link = came_by[end]
        steps.append(f"{link.reason} ({link.source} to {link.target})")
        end = before
    return tuple(reversed(steps))
