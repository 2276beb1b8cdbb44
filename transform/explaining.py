"""Why a column, a table or a declared domain is masked as it is: which rule, from where, and what binds it.

Names of masks, parameters, constraints and places are told, and conditions as their author wrote them; what a rule
writes into the copy (a constant, say) is not, nor is any value of production.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError

from capture.model import BadInput, Catalog, Column, ColumnName, Table, TableName, parse_identifiers, quote_identifier
from transform.claims import claims_of
from transform.coverage import Coverage, Decision, Finding, FindingKind, cover, near_table
from transform.domains import Domain, Link, links_of, root_of, unite
from transform.masks.base import MASKS, Uniqueness
from transform.rules import KEEP, TODO, ColumnRule, Rules, SomeRows
from transform.subjects import find_subjects
from transform.suggest.comments import read_comments
from transform.uniqueness import Uniques, domain_shape

_PROMISES: Final = {
    Uniqueness.INJECTIVE: "never gives two values the same one",
    Uniqueness.TAGGED: "gives two values the same one with odds of 2**60 against it",
    Uniqueness.LOSSY: "may give two values the same one",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is done and why. ``kind`` is column, table or domain; ``status`` is masked, kept, undecided, generated or
    not copied, and for a table or domain what is done to it as a whole. What does not apply is '', () or None.

    ``root`` is the table whose rules hold for a partition. ``taken_over_from`` is the column or domain that the rule
    was written for, where that is another. ``unique`` are the indexes that the column, or one that must be masked
    alike, is in, and ``promise`` is what the mask says of two values. ``columns`` says of a table's or domain's
    columns what becomes of them. ``why`` tells the same in sentences, in order.
    """

    what: str
    kind: str
    status: str
    why: tuple[str, ...]
    at: str = ""
    type: str = ""
    root: str = ""
    rule: str = ""
    when: str | None = None
    otherwise: str | None = None
    taken_over_from: str = ""
    domain: str = ""
    links: tuple[Link, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    unique: tuple[str, ...] = ()
    promise: str = ""
    checks: tuple[tuple[str, str], ...] = ()
    subject: str = ""
    findings: tuple[Finding, ...] = ()


def explain(rules: Rules, catalog: Catalog, findings: Iterable[Finding], what: str) -> Explanation:
    """Explain ``schema.table.column``, ``schema.table`` or a declared domain. ``findings`` are those of ``check``.

    Raises ``BadInput`` for what is none of them.
    """
    explainer = _Explainer(rules, catalog, tuple(findings))
    # A domain may be called as the column that its key comes from; that column's explanation tells of it.
    if what in rules.domains and what not in map(str, rules.domains[what].columns):
        return explainer.domain(what)
    try:
        parts = parse_identifiers(what)
    except ValueError as error:
        raise BadInput(f"{what}: {error}.") from None
    match parts:
        case (schema, table):
            return explainer.table(TableName(schema, table))
        case (schema, table, column):
            return explainer.column(ColumnName(TableName(schema, table), column))
        case _:
            meant = [str(table) for table in catalog.tables if table.name == what.strip('"')]
            domains = f"Declared domains are: {', '.join(sorted(rules.domains)) or 'none'}."
            hint = f"Did you mean {' or '.join(meant)}?" if meant else domains
            raise BadInput(f"{what} is no schema.table, no schema.table.column and no declared domain.", hint=hint)


class _Explainer:
    def __init__(self, rules: Rules, catalog: Catalog, findings: tuple[Finding, ...]) -> None:
        self._rules = rules
        self._catalog = catalog
        self._findings = findings
        self._coverage: Coverage = cover(rules, catalog)
        self._domains = unite(rules, catalog)
        self._uniques = Uniques(catalog)

    # ---------------------------------------------------------------------------------------------- tables

    def table(self, name: TableName) -> Explanation:
        table = self._table(name)
        if table is None:
            return Explanation(str(name), "table", "not copied", (self._left_out(name),))
        root = root_of(self._catalog, name)
        own = self._rules.tables.get(root)
        at = self._rules.at_table(root)
        why = self._of_partition(name, root)
        said = self._said(str(root))
        if own is not None and own.rows == "none":
            why.append(f"No row is copied: rows: none is written for {root}{_place(at)}; the copy's table stays empty.")
            return Explanation(str(name), "table", "no rows", tuple(why), at=at, root=_other(root, name), findings=said)
        columns = tuple((shape.name, self._status(ColumnName(root, shape.name), shape)) for shape in self._shapes(root))
        status, when = "all rows", None
        if own is None:
            status = "undecided"
            why.append("The rules do not name the table, so nothing of it is copied but what domains decide.")
        elif isinstance(own.rows, SomeRows):
            status, when = "some rows", own.rows.where
            if when is not None:
                why.append(f"Rows are copied where this is true{_place(at)}: {when}")
            if own.rows.with_:
                listed = " or ".join(map(str, own.rows.with_))
                why.append(f"Rows are copied that refer to a copied row of {listed}{_place(at)}.")
            if any(root_of(self._catalog, key.referenced_table) == root for key in self._catalog.foreign_keys):
                why.append("So are those that a copied row refers to.")
        else:
            why.append(f"All rows are copied; the table's rules are written{_place(at)}.")
        subject, told = self._subject_of(root)
        why += told
        why += [f"{finding.message} {finding.hint}".rstrip() for finding in said]
        return Explanation(
            str(name),
            "table",
            status,
            tuple(why),
            at=at,
            root=_other(root, name),
            when=when,
            columns=columns,
            subject=subject,
            findings=said,
        )

    def _subject_of(self, root: TableName) -> tuple[str, list[str]]:
        own = self._rules.tables.get(root)
        subjects = find_subjects(self._rules, self._catalog, self._domains).get(root, ())
        if not subjects:
            return "", []
        listed = ", ".join(quote_identifier(subject.column) for subject in subjects)
        if own is not None and own.subject is not None:
            return listed, [f"A row is about the person of {listed}{_place(self._rules.at_subject(root))}."]
        if len(subjects) > 1:
            return listed, [f"A row may be about the person of any of {listed}; nothing follows it until one is named."]
        return listed, [f"A row is about the person of {listed}: it refers to the subject of another table."]

    def _status(self, column: ColumnName, shape: Column) -> str:
        decision = self._coverage.decisions.get(column)
        if shape.generated:
            return "generated"
        if decision is None:
            return "undecided"
        return str(decision.rule)

    # --------------------------------------------------------------------------------------------- domains

    def domain(self, name: str) -> Explanation:
        rule = self._rules.domains[name]
        at = self._rules.at_domain(name)
        members = [column for column in rule.columns if column in self._domains]
        said = self._said(*map(str, rule.columns))
        why = [f"The domain {name} is declared{_place(at)}; its columns are masked alike, so that joins hold."]
        why.append(f"Its rule is {rule}.")
        if not members:
            why.append("None of its columns is copied.")
            return Explanation(name, "domain", "not copied", tuple(why), at=at, rule=str(rule), findings=said)
        domain = self._domains[members[0]]
        united, links = self._united(domain)
        why += united
        unique = self._named_indexes(domain)
        return Explanation(
            name,
            "domain",
            {KEEP: "kept", TODO: "undecided"}.get(rule.mask, "masked"),
            tuple(why),
            at=at,
            rule=str(rule),
            domain=domain.name,
            links=links,
            columns=tuple((str(column), self._status(column, self._shape(column))) for column in domain.columns),
            unique=unique,
            findings=said,
        )

    def _united(self, domain: Domain) -> tuple[list[str], tuple[Link, ...]]:
        links = tuple(links_of(self._rules, self._catalog, domain))
        why = [f"{link.source} and {link.target} are united by {link.reason}." for link in links]
        return why, links

    # --------------------------------------------------------------------------------------------- columns

    def column(self, name: ColumnName) -> Explanation:
        table = self._table(name.table)
        if table is None:
            return Explanation(str(name), "column", "not copied", (self._left_out(name.table),))
        root = root_of(self._catalog, name.table)
        column = ColumnName(root, name.column)
        if all(shape.name != name.column for shape in self._shapes(root)):
            known = [quote_identifier(shape.name) for shape in self._shapes(root)]
            raise BadInput(f"{name.table} has no column {quote_identifier(name.column)}.", hint=_near(name[1], known))
        shape = self._shape(column)
        why = self._of_partition(name.table, root)
        bare = Explanation(
            str(name), "column", "undecided", (), type=shape.type_name, root=_other(root, name.table),
            findings=self._said(str(column)),
        )  # fmt: skip
        own = self._rules.tables.get(root)
        if own is not None and own.rows == "none":
            at = self._rules.at_table(root)
            why.append(f"No row is copied: rows: none is written for {root}{_place(at)}.")
            return replace(bare, status="not copied", at=at, why=tuple(why))
        if shape.generated:
            why.append("It is a generated column: the copy computes it from columns that are masked.")
            return replace(bare, status="generated", why=tuple(why))
        decision = self._coverage.decisions.get(column)
        if decision is None:
            return self._undecided(bare, column, why)
        return self._decided(bare, decision, why)

    def _undecided(self, bare: Explanation, column: ColumnName, why: list[str]) -> Explanation:
        at = self._rules.at_column(column)
        domain = self._domains[column]
        if self._rules.rule(column) is not None:
            why.append(f"It is marked todo{_place(at)}, so nothing of it is copied.")
            why += self._beside(column)
        else:
            why.append("It has no rule, so nothing of it is copied.")
        united, links = self._united(domain)
        why += united
        unique = self._named_indexes(domain)
        if unique:
            why.append(f"Its mask will have to keep values apart: {', '.join(unique)}.")
        why.append("Decide it: keep, null, or a mask.")
        return replace(bare, why=tuple(why), at=at, domain=domain.name, links=links, unique=unique)

    def _decided(self, bare: Explanation, decision: Decision, why: list[str]) -> Explanation:
        rule, domain, column = decision.rule, decision.domain, decision.column
        placed = domain.rule
        assert placed is not None
        taken = placed.written_for if self._rules.rule(column) is None else ""
        if taken:
            why.append(f"It has no rule of its own and takes over {rule} from {taken}{_place(decision.at)}.")
        else:
            why.append(f"Its rule is {rule}, written{_place(decision.at)}.")
            why += self._beside(column)
        why.append(_done(rule))
        why += _inside(rule)
        if rule.when is not None:
            why.append(f"The mask is for rows where this is true or unknown: {rule.when}")
            why.append(f"Other rows get {rule.otherwise or KEEP}.")
        united, links = self._united(domain)
        if len(domain.columns) > 1:
            why.append(f"It must be masked like {', '.join(str(one) for one in domain.columns if one != column)}.")
        why += united
        if rule.mask != KEEP and not rule.empties:
            why.append(f"Its key is that of the domain {domain.name}.")
        unique = self._named_indexes(domain)
        promise = _promise(decision)
        if unique:
            why.append(f"Its values must stay apart for {', '.join(unique)}.")
        if promise:
            why.append(f"The mask {rule.mask} {_PROMISES[promise]} ({promise}).")
        checks = self._checks(decision, bare.findings)
        for what, told in checks:
            # A finding names the constraint by itself.
            why.append(f"T{told[1:]}" if told.startswith(f"the {what}") else f"The {what}: {told}")
        subject = ""
        if decision.subject is not None:
            subject = decision.subject.column
            why.append(f"It follows the row's subject, {quote_identifier(subject)}: all of a person's move alike.")
        why += [
            f"{finding.severity.capitalize()}: {finding.message} {finding.hint}".rstrip()
            for finding in bare.findings
            if finding.kind not in {FindingKind.CHECK, FindingKind.INHERITED}
        ]
        return replace(
            bare,
            status="kept" if rule.mask == KEEP else "masked",
            why=tuple(why),
            at=decision.at,
            rule=str(rule),
            when=rule.when,
            otherwise=None if rule.when is None else str(rule.otherwise or KEEP),
            taken_over_from=taken,
            domain=domain.name,
            links=links,
            columns=tuple((str(one), self._status(one, self._shape(one))) for one in domain.columns),
            unique=unique,
            promise="" if promise is None else str(promise),
            checks=checks,
            subject=subject,
        )

    def _named_indexes(self, domain: Domain) -> tuple[str, ...]:
        return tuple(f"{what} of {column.table}" for column in domain.columns for what in self._uniques.named(column))

    def _checks(self, decision: Decision, said: tuple[Finding, ...]) -> tuple[tuple[str, str], ...]:
        """What is known of each constraint, and of what else is computed where that may fail; a finding stands at the
        first masked column that is read."""
        found: list[tuple[str, str]] = []
        root = self._catalog.tables[decision.column.table]
        others = {str(ColumnName(root.name, shape.name)) for shape in root.columns}
        for claim in claims_of(self._catalog, decision.column):
            # As the messages write it, with what may follow a name.
            told = next(
                (
                    finding.message
                    for finding in self._findings
                    if finding.kind is FindingKind.CHECK
                    and finding.where in others
                    and f"{claim.what} " in f"{finding.message.removesuffix('.')} "
                ),
                "",
            )
            if claim.name in decision.rule.satisfies:
                told = "the rule vouches for it (satisfies)."
            elif not told and claim.is_condition:
                told = "no mask changes what it reads."
            if told:
                found.append((claim.what.removeprefix("the "), told))
        return tuple(found)

    # ---------------------------------------------------------------------------------------------- shared

    def _table(self, name: TableName) -> Table | None:
        """None for one that no copy brings. Raises ``BadInput``."""
        if name in self._catalog.left_out:
            return None
        if name not in self._catalog.tables:
            # ``guests.email`` reads as a table: it is a column whose schema was not written.
            columns = [ColumnName(other, name.name) for other in self._catalog.tables if other.name == name.schema]
            meant = [str(column) for column in columns if column in self._domains]
            hint = _near(str(name), meant) if meant else near_table(name, self._catalog) or _near(str(name), ())
            raise BadInput(f"production has no table {name}.", hint=hint)
        return self._catalog.tables[name]

    def _left_out(self, name: TableName) -> str:
        return f"No copy brings the rows of {name}: {self._catalog.left_out[name]}."

    def _shapes(self, root: TableName) -> tuple[Column, ...]:
        return self._catalog.tables[root].columns

    def _shape(self, column: ColumnName) -> Column:
        return self._catalog.tables[column.table].column(column.column)

    def _of_partition(self, name: TableName, root: TableName) -> list[str]:
        return [] if name == root else [f"{name} is a partition of {root}, whose rules hold for it."]

    def _beside(self, column: ColumnName) -> list[str]:
        """What stands beside its rule: a suggestion's evidence, or somebody's reason."""
        document = self._rules.document
        comment = read_comments(document).beside.get(column) if document is not None else None
        return [f"Beside it the file says: {comment.lstrip('# ')}"] if comment else []

    def _said(self, *where: str) -> tuple[Finding, ...]:
        return tuple(finding for finding in self._findings if finding.where in where)


def _done(rule: ColumnRule) -> str:
    if rule.mask == KEEP:
        return "It is copied as it is."
    kind = MASKS.get(rule.mask)
    return f"There is no mask named {rule.mask}." if kind is None else f"What it makes: {kind.summary}."


def _inside(rule: ColumnRule) -> list[str]:
    """What a rule does to the parts of a value that it names: the paths of a document, the keys of an hstore."""
    told = []
    is_hstore = rule.mask == "hstore"
    named: list[tuple[str, Any]] = []
    for part, what in (("paths", "What is at"), ("keys", "What is at" if is_hstore else "The keys at")):
        written = rule.params.get(part)
        named += [(f"{what} {place}", one) for place, one in written.items()] if isinstance(written, dict) else []
    if is_hstore and rule.params.get("key_mask") is not None:
        named.append(("All other keys", rule.params["key_mask"]))
    for place, written in named:
        try:
            told.append(f"{place}: {ColumnRule.model_validate(written)}.")
        except ValidationError:
            # The check says so.
            continue
    return told


def _promise(decision: Decision) -> Uniqueness | None:
    """What the mask says of two values; None for keep, and where its parameters are wrong."""
    kind = MASKS.get(decision.rule.mask)
    if kind is None or decision.rule.mask == KEEP:
        return None
    try:
        return kind.uniqueness(kind.params.model_validate(decision.rule.params), domain_shape(decision))
    except ValidationError:
        return None


def _place(at: str) -> str:
    return f" at {at}" if at else ""


def _other(root: TableName, name: TableName) -> str:
    return str(root) if root != name else ""


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else "Check how the name is written."
