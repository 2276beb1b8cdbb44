"""Who decides what: every column that would be copied, with its rule, or a finding that says why there is none.

It fails closed. A column without a rule is undecided, a table that the rules do not name is undecided as a whole, and
undecided data is never copied. A rule for something that does not exist is an error, because its author meant
something else.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum

from pydantic import ValidationError

from capture.model import BadInput, Catalog, Column, ColumnName, Table, TableName, quote_identifier
from transform.document import in_words
from transform.domains import Domain, root_of, unite
from transform.masks.base import MASKS, MaskKind, Params, mask_kind
from transform.rules import KEEP, TODO, ColumnRule, Rules, TableRules
from transform.subjects import Subject, find_subjects

_COLUMNS_SHOWN = 8


class Severity(StrEnum):
    """ERROR: the rules are wrong. UNDECIDED: something is still to be decided. RISK: what the rules do may tell who
    somebody is. NOTE: worth knowing."""

    ERROR = "error"
    UNDECIDED = "undecided"
    RISK = "risk"
    NOTE = "note"


class FindingKind(StrEnum):
    """What a finding is about."""

    UNKNOWN_TABLE = "unknown-table"
    UNKNOWN_COLUMN = "unknown-column"
    PARTITION = "partition"
    LEFT_OUT = "left-out"
    GENERATED = "generated"
    UNDECIDED = "undecided"
    CONFLICT = "conflict"
    DANGLING = "dangling"
    INHERITED = "inherited"
    UNKNOWN_MASK = "unknown-mask"
    PARAMETERS = "parameters"
    CONDITION = "condition"
    TYPE = "type"
    NOT_NULL = "not-null"
    UNIQUE = "unique"
    SUBJECT = "subject"
    SUBSET = "subset"
    PARTITION_KEY = "partition-key"
    SEQUENCE = "sequence"
    CHECK = "check"
    FREQUENCY = "frequency"
    LINKABLE = "linkable"
    PERSONAL = "personal"
    UNKNOWN_LEAVES = "unknown-leaves"
    FAILING = "failing"
    IMPURE = "impure"
    UNSENT = "unsent"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about the rules: where in the schema, what, and what to do. ``at`` is ``file:line:column`` of
    the rule, or ''."""

    severity: Severity
    kind: FindingKind
    where: str
    message: str
    hint: str = ""
    at: str = ""

    def __str__(self) -> str:
        at = f"{self.at}: " if self.at else ""
        return f"{at}{self.where}: {self.message} {self.hint}".rstrip()


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The gravest first, and what whole rows tell after what columns do: there may be one of those for each table."""
    order = list(Severity)
    return sorted(findings, key=lambda one: (order.index(one.severity), one.kind is FindingKind.LINKABLE))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done to one column of a table that is no partition. ``subject`` is whom the row is about, where the mask
    follows it."""

    column: ColumnName
    shape: Column
    rule: ColumnRule
    domain: Domain
    at: str
    subject: Subject | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """The decided columns, and what there is to say. A column that is in neither needs no decision."""

    decisions: dict[ColumnName, Decision]
    findings: tuple[Finding, ...]


def cover(rules: Rules, catalog: Catalog) -> Coverage:
    """Hold the rules against the catalog."""
    domains = unite(rules, catalog)
    decisions: dict[ColumnName, Decision] = {}
    findings = [*_misnamed(rules, catalog), *_conflicts(domains.values()), *_references(rules, catalog)]
    subjects = find_subjects(rules, catalog, domains)
    for table in catalog.tables.values():
        if table.root is not None:
            continue
        own = rules.tables.get(table.name)
        if own is not None and own.rows == "none":
            continue
        decided, said = _cover_table(rules, table, own, domains)
        findings += said
        for column, decision in decided.items():
            kind = MASKS.get(decision.rule.mask)
            if kind is not None and kind.follows_subject and table.name in subjects:
                found, note = _subject_of(decision, subjects[table.name], decided)
                decided[column] = replace(decision, subject=found)
                findings += note
        decisions |= decided
    return Coverage(decisions, tuple(findings))


def _cover_table(
    rules: Rules, table: Table, own: TableRules | None, domains: dict[ColumnName, Domain]
) -> tuple[dict[ColumnName, Decision], list[Finding]]:
    decisions: dict[ColumnName, Decision] = {}
    findings: list[Finding] = []
    undecided: list[str] = []
    for shape in table.copied_columns:
        column = ColumnName(table.name, shape.name)
        domain = domains[column]
        written = own.columns.get(shape.name) if own is not None else None
        declared = bool(rules.domains_of(column))
        # Linked by a foreign key alone, a column of a table that the rules do not name stays undecided.
        takes_over = written is None and column in domain.decided and (declared or own is not None)
        if domain.rule is not None and (takes_over or (written is not None and written.mask != TODO)):
            at = rules.at_column(column) if written is not None else domain.rule.at
            decisions[column] = Decision(column, shape, domain.rule.rule, domain, at)
            if takes_over and not declared:
                message = f"has no rule of its own and takes over {domain.rule.rule} from {domain.rule.written_for}."
                findings.append(Finding(Severity.NOTE, FindingKind.INHERITED, str(column), message, at=domain.rule.at))
        else:
            undecided.append(shape.name)
    if own is None and undecided:
        listed = ", ".join(map(quote_identifier, undecided[:_COLUMNS_SHOWN]))
        more = f" and {len(undecided) - _COLUMNS_SHOWN} more" if len(undecided) > _COLUMNS_SHOWN else ""
        message = f"the rules do not name this table; undecided are {listed}{more}."
        hint = "Add it, with rows: none if its rows are not to be copied."
        findings.append(Finding(Severity.UNDECIDED, FindingKind.UNDECIDED, str(table.name), message, hint))
    elif own is None and not table.copied_columns:
        message = "the rules do not name this table."
        findings.append(Finding(Severity.UNDECIDED, FindingKind.UNDECIDED, str(table.name), message))
    elif own is not None:
        findings += [_undecided(rules, own, ColumnName(table.name, name)) for name in undecided]
    return decisions, findings


def _subject_of(
    decision: Decision, subjects: Sequence[Subject], decided: Container[ColumnName]
) -> tuple[Subject | None, list[Finding]]:
    """Whom a column's mask follows; nobody, with a note, where it would not follow everywhere."""
    listed = ", ".join(quote_identifier(subject.column) for subject in subjects)
    hint = ""
    if len(subjects) > 1:
        reason = f"the row may be about the subject of {listed}"
        hint = "Say which with subject: at the table."
    elif decision.shape.is_array:
        reason = "it is an array"
    elif len(decision.domain.columns) > 1:
        other = next(column for column in decision.domain.columns if column != decision.column)
        reason = f"{other} must be masked alike"
    else:
        # An undecided subject is told as such, and blocks.
        is_there = ColumnName(decision.column.table, subjects[0].column) in decided
        return subjects[0] if is_there else None, []
    message = f"the mask {decision.rule.mask} goes by the value, not by the row's subject: {reason}."
    return None, [Finding(Severity.NOTE, FindingKind.SUBJECT, str(decision.column), message, hint, decision.at)]


def _undecided(rules: Rules, own: TableRules, column: ColumnName) -> Finding:
    message = "is still marked todo." if column.column in own.columns else "has no rule."
    hint = "Decide it: keep, null, or a mask."
    return Finding(Severity.UNDECIDED, FindingKind.UNDECIDED, str(column), message, hint, at=rules.at_column(column))


def _misnamed(rules: Rules, catalog: Catalog) -> Iterator[Finding]:
    """Tables and columns that the rules name and that cannot have rules."""
    if len(rules.tables) > 1 and rules.tables.keys().isdisjoint({*catalog.tables, *catalog.left_out}):
        message = f"the database has none of the {len(rules.tables):,} tables that the rules name."
        hint = "See whether they are the rules of another database."
        at = rules.at_table(next(iter(rules.tables)))
        yield Finding(Severity.ERROR, FindingKind.UNKNOWN_TABLE, catalog.database, message, hint, at)
        return
    for name, own in rules.tables.items():
        at = rules.at_table(name)
        misnamed = _misnamed_table(catalog, name, at)
        if misnamed is not None:
            yield misnamed
            continue
        if own.subject is not None:
            yield from _misnamed_subject(catalog, ColumnName(name, own.subject), rules.at_subject(name))
        for column, rule in own.columns.items():
            place = rules.at_column(ColumnName(name, column))
            yield from _misnamed_column(catalog, ColumnName(name, column), rule, place)
    for domain_name, domain in rules.domains.items():
        for member in domain.columns:
            at = rules.at_domain(domain_name, member)
            misnamed = _misnamed_table(catalog, member.table, at)
            if misnamed is not None:
                yield misnamed
            else:
                yield from _misnamed_column(catalog, member, domain, at)


def _misnamed_table(catalog: Catalog, name: TableName, at: str) -> Finding | None:
    if name in catalog.left_out:
        message = f"no copy brings this table's rows ({catalog.left_out[name]}); the rule has no effect."
        return Finding(Severity.NOTE, FindingKind.LEFT_OUT, str(name), message, at=at)
    if name not in catalog.tables:
        hint = near_table(name, catalog) or "Remove it, or check how the name is written."
        return Finding(Severity.ERROR, FindingKind.UNKNOWN_TABLE, str(name), "there is no such table.", hint, at)
    root = root_of(catalog, name)
    if root != name:
        message = f"is a partition; it follows the rules of {root}."
        return Finding(Severity.ERROR, FindingKind.PARTITION, str(name), message, f"Write the rule for {root}.", at)
    return None


def _misnamed_subject(catalog: Catalog, column: ColumnName, at: str) -> Iterator[Finding]:
    shape = _shape(catalog, column)
    if shape is None:
        yield _unknown_column(catalog, column, at)
    elif shape.generated or shape.is_array:
        message = f"is {'a generated column' if shape.generated else 'an array'}, which is no subject's key."
        hint = "Name the column that holds the key of the person whom the row is about."
        yield Finding(Severity.ERROR, FindingKind.SUBJECT, str(column), message, hint, at)


def _shape(catalog: Catalog, column: ColumnName) -> Column | None:
    return next((shape for shape in catalog.tables[column.table].columns if shape.name == column.column), None)


def _unknown_column(catalog: Catalog, column: ColumnName, at: str) -> Finding:
    names = (quote_identifier(shape.name) for shape in catalog.tables[column.table].columns)
    hint = _near(quote_identifier(column.column), names) or "Remove it, or check how the name is written."
    return Finding(Severity.ERROR, FindingKind.UNKNOWN_COLUMN, str(column), "there is no such column.", hint, at)


def _misnamed_column(catalog: Catalog, column: ColumnName, rule: ColumnRule, at: str) -> Iterator[Finding]:
    shape = _shape(catalog, column)
    if shape is None:
        yield _unknown_column(catalog, column, at)
    elif shape.generated and rule.mask != KEEP:
        message = "is a generated column: the copy computes it from the masked ones."
        yield Finding(Severity.ERROR, FindingKind.GENERATED, str(column), message, "Remove its rule.", at)


def near_table(name: TableName, catalog: Catalog) -> str:
    """Which table may be meant; the name of its schema makes none like another of that schema."""
    in_it = {other.name: other for other in catalog.tables if other.schema == name.schema}
    near = get_close_matches(_folded(name.name), [*map(_folded, in_it)], n=1, cutoff=0.6)
    if near:
        return f"Did you mean {next(other for own, other in in_it.items() if _folded(own) == near[0])}?"
    return _near(str(name), (str(other) for other in catalog.tables if other.schema != name.schema))


def _near(name: str, names: Iterable[str]) -> str:
    by_folded = {_folded(other): other for other in names}
    near = get_close_matches(_folded(name), by_folded, n=1, cutoff=0.6)
    return f"Did you mean {by_folded[near[0]]}?" if near else ""


def _folded(name: str) -> str:
    """A name without what is most often wrong with one: case and quotes."""
    return name.lower().replace('"', "")


def read_params(kind: MaskKind, rule: ColumnRule) -> Params:
    """The parameters that a rule gives a mask. Raises ``BadInput`` for what it does not take."""
    try:
        return kind.params.model_validate(rule.params)
    except ValidationError as error:
        findings = error.errors(include_url=False, include_input=False)
        # A misspelt parameter is missing, too.
        finding = next((each for each in findings if each["type"] == "extra_forbidden"), findings[0])
        name = ".".join(map(str, finding["loc"]))
        known = ", ".join(kind.params.model_fields)
        hint = f"The parameters of {kind.name} are: {known}." if known else f"{kind.name} takes no parameters."
        raise BadInput(f"the mask {kind.name}: {f'{name}: ' if name else ''}{in_words(finding)}.", hint=hint) from None


def _conflicts(domains: Iterable[Domain]) -> Iterator[Finding]:
    for domain in {id(domain): domain for domain in domains}.values():
        for conflict in domain.conflicts:
            first, second = conflict.first, conflict.second
            where = str(conflict.column)
            try:
                read_params(mask_kind(second.rule.mask), second.rule)
            except BadInput as error:  # a misspelt name, told where it stands
                kind = FindingKind.PARAMETERS if second.rule.mask in MASKS else FindingKind.UNKNOWN_MASK
                yield Finding(Severity.ERROR, kind, where, error.message, error.hint, second.at)
                continue
            own = "has the rule" if second.written_for == str(conflict.column) else f"gets from {second.written_for}"
            other = f"{first.written_for} ({first.at})" if first.at else first.written_for
            united = f"; they are united by {', then '.join(conflict.path)}" if conflict.path else ""
            message = f"{own} {second.rule}, but {other} has {first.rule}{united}."
            hint = "Give both the same rule, or joins over them would break."
            yield Finding(Severity.ERROR, FindingKind.CONFLICT, where, message, hint, second.at)


def _references(rules: Rules, catalog: Catalog) -> Iterator[Finding]:
    """Foreign keys that would refer to rows that are not copied, or to nothing by some of their columns only."""
    without_rows = {name for name, own in rules.tables.items() if own.rows == "none"}
    for key in catalog.foreign_keys:
        table, referenced = root_of(catalog, key.table), root_of(catalog, key.referenced_table)
        if table in without_rows or key.table != table:
            continue
        written = rules.tables[table].columns if table in rules.tables else {}
        emptied = [name for name in key.columns if name in written and written[name].empties]
        others = ", ".join(quote_identifier(name) for name in key.columns if name not in emptied)
        if emptied and others and key.is_full:
            message = f"null cannot be its rule alone: the foreign key {key.name} is MATCH FULL."
            where = ColumnName(table, emptied[0])
            hint = f"Set null for {others} too."
            yield Finding(Severity.ERROR, FindingKind.DANGLING, str(where), message, hint, rules.at_column(where))
        if referenced not in without_rows or emptied:
            continue
        message = f"the foreign key {key.name} refers to {referenced}, whose rows are not copied."
        hint = f"Set rows: none here too, or null for {', '.join(map(quote_identifier, key.columns))}."
        at = rules.at_table(referenced)
        yield Finding(Severity.ERROR, FindingKind.DANGLING, str(table), message, hint, at)
