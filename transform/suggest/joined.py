"""Columns that are joined by their values alone, an address in ``messages`` and in ``guests``: one mask, one domain."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from capture.model import Catalog, ColumnName, counted
from transform.domains import Domain, unite
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
    masks |= {column: _rule(suggestion) for column, suggestion in found.items()}
    masked = [column for column, rule in masks.items() if joins(catalog, column, rule)]
    result = dict(found)
    for column, (other, common, count) in overlaps.held_by(kept, masked).items():
        written, domain = masks[other].written, united[column]
        if stands(written, domain, catalog, unique):
            others = found[other].others if other in found else ()
            better = Suggestion(written, f"values of {other}: {common}/{count}", others)
            result |= {each: better for each in domain.columns if each in found and found[each].rule == KEEP}
    return result


def agree(
    found: Mapping[ColumnName, Suggestion],
    judged: Iterable[ColumnName],
    catalog: Catalog,
    known: Rules,
    unique: set[ColumnName],
    overlaps: Overlaps,
) -> dict[ColumnName, Suggestion]:
    """The same suggestions, but that columns of ``judged`` get the mask that the rules gave to a column with the same
    values, where it stands in them: another one, as good by itself, would not join."""
    united = unite(known, catalog)
    sources = _decided(known, united)
    result = dict(found)
    waiting = [column for column in judged if joins(catalog, column, _rule(found[column]))]
    # What shares its values with one that agrees by now has to agree, too.
    while waiting:
        agreed: dict[ColumnName, Suggestion] = {}
        for column, shared in overlaps.sharing(waiting, sources).items():
            own = result[column]
            if column in agreed or any(sources[each.other].identity == _rule(own).identity for each in shared):
                continue
            for each in shared:
                rule = sources[each.other]
                # Whose constraints the file vouches for is another column.
                written = rule.model_copy(update={"satisfies": ()}).written
                if joins(catalog, each.other, rule) and stands(written, united[column], catalog, unique):
                    why = f"values of {each.other}: {each.common}/{each.count}"
                    better = Suggestion(written, why, (own.rule, *own.others))
                    alike = (other for other in united[column].columns if other in found)
                    agreed |= {other: better for other in alike if result[other].rule == own.rule}
                    break
        result |= agreed
        sources |= {column: _rule(suggestion) for column, suggestion in agreed.items()}
        waiting = [column for column in waiting if column not in agreed] if agreed else []
    return result


def tell_apart(
    found: Mapping[ColumnName, Suggestion], catalog: Catalog, known: Rules, rules: Rules, overlaps: Overlaps
) -> dict[ColumnName, Suggestion]:
    """The same suggestions; where ``rules``, which are all of them, do not mask a column like one with the same values
    that was decided before, its evidence says so."""
    before, after = unite(known, catalog), unite(rules, catalog)
    decided = _decided(known, before)
    masked = [
        column
        for column, suggestion in found.items()
        if before[column].rule is None and joins(catalog, column, _rule(suggestion))
    ]
    result = dict(found)
    for column, shared in overlaps.sharing(masked, decided).items():
        apart = [each for each in shared if after[each.other] is not after[column]]
        if apart:
            first, more = apart[0], len(apart) - 1
            others = f" and of {counted(more, 'more column')}" if more else ""
            told = (
                f"not joined: {first.common}/{first.count} are values of {first.other} ({decided[first.other]}){others}"
            )
            result[column] = replace(found[column], evidence=f"{found[column].evidence}; {told}".removeprefix("; "))
    return result


def _decided(known: Rules, united: Mapping[ColumnName, Domain]) -> dict[ColumnName, ColumnRule]:
    """The columns that the rules decide, each with its own rule or its declared domain's."""
    rules: dict[ColumnName, ColumnRule] = {}
    for column in united:
        for rule in (known.rule(column), *(known.domains[name] for name in known.domains_of(column))):
            if rule is not None and rule.mask != TODO:
                rules[column] = rule
    return rules


def _rule(suggestion: Suggestion) -> ColumnRule:
    return ColumnRule.model_validate(suggestion.rule)


def joins(catalog: Catalog, column: ColumnName, rule: ColumnRule) -> bool:
    """Whether values that this rule masked are the same wherever they come from, and differ where they differed."""
    shape = catalog.tables[column.table].column(column.column)
    if rule.mask == KEEP or rule.mask not in MASKS or rule.when is not None:
        return False
    if shape.is_array or shape.base_type not in {*TEXT, "uuid"}:
        return False
    kind = MASKS[rule.mask]
    if "group" in kind.params.model_fields:
        return False  # to agree with the rest of its address matters more
    try:
        params = kind.params.model_validate(rule.params)
    except ValidationError:
        return False  # the check tells of it
    return kind.uniqueness(params, shape) is not Uniqueness.LOSSY


class Joined:
    """Finds columns that are joined by their values, if one of them was not decided before: what a file decided for
    all of them stays as it is. Where masks are lossy nothing joins, and what is kept does so by itself."""

    def __init__(
        self, catalog: Catalog, known: Rules, found: Mapping[ColumnName, Suggestion], overlaps: Overlaps
    ) -> None:
        self._catalog = catalog
        self._known = known
        self._found = found
        self._overlaps = overlaps
        self._united = unite(known, catalog)

    def domains(self) -> dict[str, JoinedDomain]:
        """The domains by name."""
        domains: dict[str, JoinedDomain] = {}
        for columns in self._by_rule().values():
            for group in self._overlaps.groups(columns):
                if self._found.keys().isdisjoint(group.columns):
                    continue
                declared = {name for column in group.columns for name in self._known.domains_of(column)}
                if len(declared) == 1:
                    (name,) = declared
                    before = self._known.domains[name]
                    rule = before.model_copy(update={"columns": tuple({}.fromkeys((*before.columns, *group.columns)))})
                elif not declared:
                    new = next(column for column in group.columns if column in self._found)
                    rule = DomainRule.model_validate(
                        {**_as_mapping(self._found[new].rule), "columns": [*map(str, group.columns)]}
                    )
                    name = self._name(rule, domains)
                else:
                    continue
                domains[name] = JoinedDomain(rule, group)
        return domains

    def _by_rule(self) -> dict[str, list[ColumnName]]:
        """Columns that may be joined, by the rule that each has; those that foreign keys unite stand as one."""
        rules = _decided(self._known, self._united)
        rules |= {column: _rule(suggestion) for column, suggestion in self._found.items()}
        columns: dict[str, list[ColumnName]] = defaultdict(list)
        for column, rule in rules.items():
            is_first = str(column) == self._united[column].name and not self._known.domains_of(column)
            if is_first and joins(self._catalog, column, rule):
                columns[rule.identity].append(column)
        for domain in self._known.domains.values():
            columns[domain.identity] += [column for column in domain.columns if column in self._united]
        return columns

    def _name(self, rule: DomainRule, domains: Mapping[str, JoinedDomain]) -> str:
        """What the domain's key comes from: where a column was decided before, what its key has come from, so that it
        is masked as it was; else a word of the mask."""
        before = (self._united[column] for column in rule.columns)
        kept = (domain.name for domain in before if domain.rule is not None)
        word = rule.mask.rpartition(".")[2]
        names = itertools.chain(kept, [word], (f"{word}_{number}" for number in itertools.count(2)))
        return next(name for name in names if name not in self._known.domains and name not in domains)


def _as_mapping(rule: Written) -> dict[str, Any]:
    return rule if isinstance(rule, dict) else {"mask": rule}
