"""Columns that are joined by their values alone, an address in ``messages`` and in ``guests``: one mask, one domain."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from capture.model import Catalog, ColumnName
from transform.domains import unite
from transform.masks.base import MASKS, TEXT, Uniqueness
from transform.rules import KEEP, TODO, ColumnRule, DomainRule, Rules
from transform.suggest.choice import Written, stands
from transform.suggest.overlaps import Group, Overlaps
from transform.suggest.writing import Suggestion


@dataclass(frozen=True, slots=True)
class JoinedDomain:
    """A domain that is proposed, or one of the rules with more columns, and why."""

    rule: DomainRule
    group: Group

    @property
    def evidence(self) -> str:
        """How many different values others of the group have, of how many, in the order of the rule's columns."""
        found = (self.group.columns.get(column) for column in self.rule.columns)
        shares = (f"{counts[0]}/{counts[1]}" if counts is not None else "declared" for counts in found)
        return f"values in common: {', '.join(shares)}"


def follow(
    found: Mapping[ColumnName, Suggestion],
    kept: Iterable[ColumnName],
    catalog: Catalog,
    known: Rules,
    unique: set[ColumnName],
    overlaps: Overlaps,
) -> dict[ColumnName, Suggestion]:
    """The same suggestions, but that columns of ``kept`` take over the mask of a column whose values they hold: what is
    hidden there would be seen here, and would not join."""
    united = unite(known, catalog)
    masks = {column: rule for column in united if (rule := known.rule(column)) is not None}
    masks |= {column: ColumnRule.model_validate(suggestion.rule) for column, suggestion in found.items()}
    masked = [column for column, rule in masks.items() if joins(catalog, column, rule)]
    result = dict(found)
    for column, (other, common, count) in overlaps.held_by(kept, masked).items():
        written, domain = masks[other].written, united[column]
        if stands(written, domain, catalog, unique):
            others = found[other].others if other in found else ()
            better = Suggestion(written, f"values of {other}: {common}/{count}", others)
            result |= {each: better for each in domain.columns if each in found and found[each].rule == KEEP}
    return result


def joins(catalog: Catalog, column: ColumnName, rule: ColumnRule) -> bool:
    """Whether values that this rule masked are the same wherever they come from, and differ where they differed."""
    shape = catalog.tables[column.table].column(column.column)
    if rule.mask in {KEEP, TODO} or shape.is_array or shape.base_type not in {*TEXT, "uuid"}:
        return False
    kind = MASKS[rule.mask]
    if "group" in kind.params.model_fields:
        return False  # to agree with the rest of its address matters more
    return kind.uniqueness(kind.params.model_validate(rule.params), shape) is not Uniqueness.LOSSY


class Joined:
    """Finds columns that are joined by their values. Where masks are lossy nothing joins, and what is kept does so by
    itself."""

    def __init__(
        self, catalog: Catalog, known: Rules, found: Mapping[ColumnName, Suggestion], overlaps: Overlaps
    ) -> None:
        self._catalog = catalog
        self._known = known
        self._found = found
        self._overlaps = overlaps

    def domains(self) -> dict[str, JoinedDomain]:
        """The domains by name."""
        domains: dict[str, JoinedDomain] = {}
        for columns in self._by_rule().values():
            for group in self._overlaps.groups(columns):
                new = [column for column in group.columns if column in self._found]
                declared = {name for column in group.columns for name in self._known.domains_of(column)}
                if len(declared) == 1 and new:
                    (name,) = declared
                    before = self._known.domains[name]
                    rule = before.model_copy(update={"columns": (*before.columns, *new)})
                elif not declared:
                    rule = DomainRule.model_validate(
                        {**_as_mapping(self._found[new[0]].rule), "columns": [*map(str, new)]}
                    )
                    name = self._name(rule, domains)
                else:
                    continue
                domains[name] = JoinedDomain(rule, group)
        return domains

    def _by_rule(self) -> dict[str, list[ColumnName]]:
        """Columns that may be joined, by the rule that each has; those that foreign keys unite stand as one."""
        united = unite(self._known, self._catalog)
        columns: dict[str, list[ColumnName]] = defaultdict(list)
        for column, suggestion in self._found.items():
            rule = ColumnRule.model_validate(suggestion.rule)
            if str(column) == united[column].name and joins(self._catalog, column, rule):
                columns[rule.identity].append(column)
        for domain in self._known.domains.values():
            columns[domain.identity] += [column for column in domain.columns if column in united]
        return columns

    def _name(self, rule: DomainRule, domains: Mapping[str, JoinedDomain]) -> str:
        word = rule.mask.rpartition(".")[2]
        names = itertools.chain([word], (f"{word}_{number}" for number in itertools.count(2)))
        return next(name for name in names if name not in self._known.domains and name not in domains)


def _as_mapping(rule: Written) -> dict[str, Any]:
    return rule if isinstance(rule, dict) else {"mask": rule}
