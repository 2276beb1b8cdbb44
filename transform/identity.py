"""What a copy was made by, table by table, as hashes: enough to tell what has to be copied again when rules change.

A column's hash covers its mask, its parameters, the code of functions that these name, its domain with what the domain
has room for, the same of the columns that its mask reads, and production's encoding; the locale of all rules where the
mask speaks one. A row image's covers all columns of all tables, since any of them may stand in it. The key is no part
of it: ``KeyRing.check_value`` tells keys apart.
Columns that are kept, and tables without anything to say, have no hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from capture.model import ColumnName, TableName
from transform.coverage import Coverage, Decision
from transform.masks import own_code, words
from transform.masks.locales import LOCALES
from transform.masks.localised import may_speak, named_in
from transform.rules import KEEP, MASKS_VERSION, NULL, Rules
from transform.subset import Subset

# By table as SQL writes it: the rows' hash under "", the masked columns' under their names.
Identities: TypeAlias = dict[str, dict[str, str]]

ROWS: Final = ""
_SHORT: Final = 16
_READ_OTHER_TABLES: Final = "row_image"


class Change(StrEnum):
    """What the rules do now that they did not do, or did otherwise, when a copy was made."""

    ROWS = "other rows"
    MASKED = "masked now"
    KEPT = "kept now"
    OTHERWISE = "masked otherwise"


@dataclass(frozen=True, slots=True)
class TableDifference:
    """What is otherwise in one table. ``columns`` tells of each column that is; with another key all that are masked
    are masked otherwise."""

    table: TableName
    rows: bool
    columns: dict[str, Change]


def identities(
    rules: Rules,
    coverage: Coverage,
    read: Mapping[ColumnName, Sequence[str]],
    encoding: str,
    subset: Subset | None,
) -> Identities:
    """The hashes of a plan. ``read`` are the columns of the same row that columns' masks read. Which rows a table of a
    subset has hangs on all of it."""

    def content(decision: Decision) -> list[object]:
        others = [ColumnName(decision.column.table, name) for name in read.get(decision.column, ())]
        row = [coverage.decisions[other] for other in others if other in coverage.decisions]
        return [encoding, *_content(rules, decision, row), [_fitted(rules, other) for other in row]]

    found: Identities = {}
    for name, own in rules.tables.items():
        if own.rows != "all":
            found[str(name)] = {ROWS: _hash(own.model_dump(mode="json", include={"rows"}))}
    if subset is not None:
        found |= {str(name): {ROWS: _hash(subset.identity)} for name in subset.tables}
    images: list[Decision] = []
    for decision in _masked(coverage):
        if decision.rule.mask == _READ_OTHER_TABLES:
            images.append(decision)
        else:
            _entry(found, decision)[decision.column.column] = _hash(content(decision))
    all_others = _hash(found)
    for decision in images:
        _entry(found, decision)[decision.column.column] = _hash([content(decision), all_others])
    return found


def fingerprint(found: Identities) -> str:
    """One hash over all, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def differences(before: Mapping[str, Mapping[str, str]], now: Identities, *, same_key: bool) -> list[TableDifference]:
    """What has changed since ``before``, by table; without ``same_key`` all masked columns have."""
    found = []
    for table in sorted(before.keys() | now.keys()):
        old, new = before.get(table, {}), now.get(table, {})
        columns: dict[str, Change] = {}
        for column in sorted((old.keys() | new.keys()) - {ROWS}):
            if column not in old:
                columns[column] = Change.MASKED
            elif column not in new:
                columns[column] = Change.KEPT
            elif old[column] != new[column] or not same_key:
                columns[column] = Change.OTHERWISE
        rows = old.get(ROWS) != new.get(ROWS)
        if rows or columns:
            found.append(TableDifference(TableName.parse(table), rows, columns))
    return found


def _masked(coverage: Coverage) -> list[Decision]:
    return [decision for _, decision in sorted(coverage.decisions.items()) if decision.rule.mask != KEEP]


def _entry(found: Identities, decision: Decision) -> dict[str, str]:
    return found.setdefault(str(decision.column.table), {})


def _content(rules: Rules, decision: Decision, row: Sequence[Decision]) -> list[object]:
    written = [each.rule.written for each in (decision, *row)]
    spoken = {rules.locale, *named_in(written)} if may_speak(written) else set()
    known = words.fingerprint(tuple(sorted(spoken & LOCALES.keys())))
    subject = decision.subject
    followed = () if subject is None else (subject.column, subject.domain)
    own = rules.locale if spoken else None
    return [MASKS_VERSION, known, own, *_fitted(rules, decision), *followed]


def _fitted(rules: Rules, decision: Decision) -> list[object]:
    rule, domain = decision.rule, decision.domain
    if rule.empties:
        # Whether it is written or taken over, what is NULL is linked with nothing.
        return [NULL]
    code = own_code.digests(rule.written, rules.folder)
    room = domain.max_length, domain.counts_bytes
    return [rule.identity, code, domain.name, domain.width, *room, domain.ignores_case]


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_SHORT]
