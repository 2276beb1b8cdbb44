"""A complete rules file, proposed from what a catalog and samples of its values show.

A column is decided by, in this order: the decision that the rules already hold, its comment (``@mask: NAME``), its
label for PostgreSQL Anonymizer, and a judgement on its type, its name, its comment's words and its values. Foreign keys
give a referencing column the rule of the column that it refers to. What cannot be decided is ``todo``, which blocks a
run. Columns that get one mask and hold values of each other are proposed as a domain, so that joins hold between them.
Each proposal carries its evidence as counts; no value is ever shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import ValidationError

import transform.masks  # noqa: F401 - registers the catalogue
from capture.model import Catalog, Column, ColumnName, Table, TableName
from transform.anon_labels import says_masked, translate
from transform.arraytext import delimiter_of, parse
from transform.coverage import Finding, Severity
from transform.domains import Domain, unite
from transform.masks.base import DATE, INTEGER, JSON, MASKS, NUMBER, TEXT
from transform.masks.documents import is_document
from transform.plan import check
from transform.rules import KEEP, NULL, TODO, ColumnRule, Rules
from transform.suggest.addresses import group_addresses, locate_addresses
from transform.suggest.category import NEUTRAL, Category, held_by
from transform.suggest.choice import Written, candidates, declared, formed, stands
from transform.suggest.dictionaries import tells
from transform.suggest.joined import Joined, JoinedDomain, agree, follow, tell_apart
from transform.suggest.judge import (
    TELLING,
    Call,
    Setting,
    Verdict,
    classified,
    judge_date,
    judge_number,
    judge_text,
)
from transform.suggest.leaves import judge_document, judge_hstore
from transform.suggest.locales import given_in, locale_of_all, written_in
from transform.suggest.names import by_comment, by_name, lists_people, lists_things, tokens
from transform.suggest.overlaps import Overlaps
from transform.suggest.profile import MOST, Profile
from transform.suggest.writing import Suggestion, write
from transform.tsvectortext import cut, lexemes_in

__all__ = ["suggest"]

# Types whose values say nothing of a person beyond what their row says.
_PLAIN_TYPES: Final = frozenset(
    """bit varbit interval time timetz oid xid xid8 cid pg_lsn regclass int4range int8range numrange daterange
    tsrange tstzrange int4multirange int8multirange nummultirange datemultirange tsmultirange tstzmultirange""".split()
)
# What a table's columns are called where it lists people.
_OF_PEOPLE: Final = frozenset(
    {
        Category.FIRST_NAME,
        Category.LAST_NAME,
        Category.BIRTH,
        Category.EMAIL,
        Category.USERNAME,
        Category.GENDER,
        Category.PERSONAL_NUMBER,
    }
)
_NAMES: Final = (Category.FIRST_NAME, Category.LAST_NAME, Category.FULL_NAME)
_IMAGE_WORDS: Final = frozenset("old new record row image data values before after json jsonb changed fields".split())
_PAY: Final = frozenset(
    """pay payroll payslip payslips paystub salary salaries wage wages compensation garnishment garnishments
    remuneration lohn gehalt gehaelter lohnabrechnung gehaltsabrechnung nomina nominas sueldo sueldos
    salarios paie bulletin salaires holerite folha pagamento stipendi busta paga loon loonstrook wynagrodzenia bordro
    maas lon vyplata mzda mzdy""".split()
)
_PAID: Final = frozenset(
    """rate amount value gross net total tax ytd base deduction deductions withholding brutto netto betrag bruto neto
    brut net liquido importe montant valor valore importo bedrag kwota belopp tutar castka""".split()
)
# The share of a text's words that are in a vector made from it: some are left out, and some are cut to their stems.
_IN_VECTORS: Final = 0.25
_SQL_WORDS: Final = frozenset("client query statement sql".split())


def suggest(
    catalog: Catalog,
    samples: Mapping[ColumnName, Sequence[bytes]],
    existing: Rules | None,
    overlaps: Overlaps | None = None,
) -> str:
    """The text of a rules file that decides every column of ``catalog`` or marks it ``todo``.

    ``samples`` holds values (text format, not escaped) of any of the columns; one that it does not name was not
    sampled. ``overlaps`` knows which columns hold values of others; without it no domain is proposed. The decisions of
    ``existing`` stay as they are. Apart from what is ``todo``, and from mistakes of ``existing``, the result passes
    ``check``.
    """
    known = existing if existing is not None else Rules(version=1)
    suggester = _Suggester(catalog, samples, known)
    judged = suggester.suggest()
    if overlaps is not None:
        judged = agree(judged, suggester.by_judgement(judged), catalog, known, suggester.unique, overlaps)
        judged = follow(judged, suggester.kept(judged), catalog, known, suggester.unique, overlaps)
    found = written_in(locate_addresses(group_addresses(judged), catalog, samples), unite(known, catalog), samples)
    subjects = _subjects(catalog, known, found)
    if existing is None:
        known = known.model_copy(update={"locale": locale_of_all(samples)})
    while refused := _refused(catalog, known, found, subjects):
        proposed = dict(found)
        for column, finding in refused.items():
            # A domain that another of its columns has moved on already waits for the next check.
            if found[column] is proposed[column]:
                suggester.retract(column, finding, found)
    evidence: dict[str, str] = {}
    if overlaps is not None:
        joined = Joined(catalog, known, found, overlaps).domains()
        while joined and (told := _stand_against(catalog, known, found, subjects, joined)):
            left = {name: one for name, one in joined.items() if told.isdisjoint(one.rule.columns)}
            joined = left if len(left) < len(joined) else {}
        found = tell_apart(found, catalog, known, _rules(_with_domains(known, joined), found, subjects), overlaps)
        known = _with_domains(known, joined)
        evidence = {name: one.evidence for name, one in joined.items()}
    return write(catalog, known, found, subjects, evidence)


def _refused(
    catalog: Catalog, known: Rules, found: Mapping[ColumnName, Suggestion], subjects: Mapping[TableName, str]
) -> dict[ColumnName, Finding]:
    """Errors of suggested rules: a mask that needs more room than the column has, say."""
    refused: dict[ColumnName, Finding] = {}
    by_name = {str(column): column for column in found}
    for finding in check(_rules(known, found, subjects), catalog):
        column = by_name.get(finding.where)
        if finding.severity is Severity.ERROR and column is not None and found[column].rule != TODO:
            refused[column] = finding
    return refused


def _rules(known: Rules, found: Mapping[ColumnName, Suggestion], subjects: Mapping[TableName, str]) -> Rules:
    tables: dict[TableName, dict[str, Any]] = {
        name: {**own.model_dump(exclude={"columns"}, exclude_unset=True, by_alias=True), "columns": dict(own.columns)}
        for name, own in known.tables.items()
    }
    for column, suggestion in found.items():
        table = tables.setdefault(column.table, {"columns": {}})
        table["columns"][column.column] = ColumnRule.model_validate(suggestion.rule)
    for name, subject in subjects.items():
        tables.setdefault(name, {"columns": {}})["subject"] = subject
    return known.decided_anew(tables)


def _with_domains(known: Rules, joined: Mapping[str, JoinedDomain]) -> Rules:
    more = {name: one.rule for name, one in joined.items()}
    # Rules that are copied keep the places of the file that they were read from.
    return known.model_copy(update={"domains": known.domains | more})


def _stand_against(
    catalog: Catalog,
    known: Rules,
    found: Mapping[ColumnName, Suggestion],
    subjects: Mapping[TableName, str],
    joined: Mapping[str, JoinedDomain],
) -> set[ColumnName]:
    """The columns of proposed domains of which the check says that they cannot be masked alike."""
    rules = _rules(_with_domains(known, joined), found, subjects)
    united = unite(rules, catalog)
    errors = {finding.where for finding in check(rules, catalog) if finding.severity is Severity.ERROR}
    return {
        column
        for one in joined.values()
        for column in one.rule.columns
        if column in united and not errors.isdisjoint(map(str, united[column].columns))
    }


def _subjects(catalog: Catalog, known: Rules, found: Mapping[ColumnName, Suggestion]) -> dict[TableName, str]:
    """The keys of tables of people whose dates are shifted, so that all dates of a person are shifted alike."""
    subjects: dict[TableName, str] = {}
    referred = {key.referenced_table for key in catalog.foreign_keys}
    for name, table in catalog.tables.items():
        own = known.tables.get(name)
        key = table.primary_key
        if table.root is not None or own is not None or len(key) != 1 or not lists_people(name.name):
            continue
        refers = any(foreign.table == name and foreign.columns == key for foreign in catalog.foreign_keys)
        shifted = any(
            "date.shift" in str(suggestion.rule) for column, suggestion in found.items() if column.table == name
        )
        if shifted and not refers and (name in referred or len(table.columns) > 1):
            subjects[name] = key[0]
    return subjects


@dataclass(slots=True)
class _Surroundings:
    """What the tables are, by their names, their columns and their foreign keys."""

    of_people: set[TableName]
    about_people: set[TableName]
    of_things: set[TableName]


def _surroundings(catalog: Catalog, samples: Mapping[ColumnName, Sequence[bytes]]) -> _Surroundings:
    roots = [table for table in catalog.tables.values() if table.root is None]
    people = {table.name for table in roots if _tells_of_people(table)}
    about = {
        table.name
        for table in roots
        if not lists_things(table.name.name)
        and (table.name in people or _speaks_of_somebody(table) or _shows_somebody(table, samples))
    }
    showing = {
        table.name for table in roots if lists_things(table.name.name) and _shows_somebody(table, samples, times=3)
    }
    about |= showing
    things = {table.name for table in roots if lists_things(table.name.name) and table.name not in people | showing}
    # A row that refers to somebody's row is about that person, too, over however many tables.
    somebodys = {name for name in people | about if not lists_things(name.name)}
    while more := {
        key.table for key in catalog.foreign_keys if key.referenced_table in somebodys and key.table not in about
    }:
        about |= more
        somebodys |= more - things
    return _Surroundings(people, about, things)


def _shows_somebody(table: Table, samples: Mapping[ColumnName, Sequence[bytes]], times: int = 1) -> bool:
    """Whether the values of so many columns are what people alone have, whatever language its names are in. A thing may
    have two: who made it, and an address."""
    texts = (shape for shape in table.copied_columns if shape.base_type in TEXT)
    found = (_profile(samples, ColumnName(table.name, shape.name), shape) for shape in texts)
    showing = (
        not profile.is_few
        and (classified(profile) is Category.EMAIL or any(profile.names[each] >= MOST for each in _NAMES))
        for profile in found
    )
    return sum(showing) >= times


def _tells_of_people(table: Table) -> bool:
    if lists_people(table.name.name):
        return True
    telling = {by_name(shape.name) for shape in table.columns if shape.base_type not in {"bool", *INTEGER}} & _OF_PEOPLE
    # One address in a table of orders makes it no list of people; a first name does.
    return bool(telling & {Category.FIRST_NAME, Category.LAST_NAME}) or len(telling) > 1


def _speaks_of_somebody(table: Table) -> bool:
    """Whose address it is may be told by a table that refers to this one."""
    somebody = {Category.FULL_NAME, Category.STREET, Category.ADDRESS}
    return any(by_name(shape.name) in somebody for shape in table.columns if shape.base_type in TEXT)


class _Suggester:
    def __init__(self, catalog: Catalog, samples: Mapping[ColumnName, Sequence[bytes]], known: Rules) -> None:
        self._catalog = catalog
        self._samples = samples
        self._known = known
        self._declared = {column for domain in known.domains.values() for column in domain.columns}
        self.unique = {
            ColumnName(table.root or name, column)
            for name, table in catalog.tables.items()
            for index in table.indexes
            for column in index.columns
        }
        self._domains = unite(known, catalog)
        self._around = _surroundings(catalog, samples)
        self._hidden: frozenset[bytes] | None = None
        self._with_documents = {
            ColumnName(name, shape.name)
            for name, table in catalog.tables.items()
            for shape in table.copied_columns
            if _holds_documents(shape, samples.get(ColumnName(name, shape.name), ()))
        }

    def suggest(self) -> dict[ColumnName, Suggestion]:
        """A suggestion for each column that the existing rules leave open."""
        found: dict[ColumnName, Suggestion] = {}
        # A referencing column takes over what its domain's first column, the one referred to, got.
        by_domain: dict[int, Suggestion] = {}
        columns = list(self._open_columns())
        columns.sort(
            key=lambda item: (
                str(item[0]) != self._domains[item[0]].name,
                # Judged by what was found of others.
                item[2].base_type in {*JSON, "hstore", "tsvector"} or item[0] in self._with_documents,
                item[2].base_type == "tsvector",
            )
        )
        for column, table, shape in columns:
            domain = self._domains[column]
            if domain.rule is not None:
                found[column] = Suggestion(domain.rule.rule.written, f"as {domain.rule.written_for}")
            elif id(domain) in by_domain:
                first = by_domain[id(domain)]
                found[column] = replace(first, evidence=f"as {domain.name}")
            else:
                found[column] = by_domain[id(domain)] = self._decide(column, table, shape, domain, found)
        return found

    def by_judgement(self, found: Mapping[ColumnName, Suggestion]) -> list[ColumnName]:
        """What nobody's word decides, nor that on a column that must be masked alike."""
        return [
            column
            for column in found
            if self._domains[column].rule is None
            and not any(
                self._asked(self._catalog.tables[other.table].column(other.column))
                for other in self._domains[column].columns
            )
        ]

    def kept(self, found: Mapping[ColumnName, Suggestion]) -> list[ColumnName]:
        """Texts that the judgement, and nobody's word, would keep, but those of lists of things."""
        return [
            column
            for column, suggestion in found.items()
            if suggestion.rule == KEEP
            and column.table not in self._around.of_things
            and (shape := self._catalog.tables[column.table].column(column.column)).base_type in TEXT
            and self._asked(shape) is None
        ]

    def retract(self, column: ColumnName, finding: Finding, found: dict[ColumnName, Suggestion]) -> None:
        """Replace in ``found`` a suggestion that the check refused by the next best, for its whole domain: what is
        masked alike has one rule, whichever of its columns the check spoke of."""
        refused, domain = found[column], self._domains[column]
        others = refused.others
        while others and not stands(others[0], domain, self._catalog, self.unique):
            others = others[1:]
        if others and others[0] != TODO:
            better = Suggestion(others[0], refused.evidence, others[1:], refused.against or finding.kind)
        else:
            against = refused.against or finding.kind
            better = Suggestion(TODO, f"{refused.evidence}; no mask for it fits: {against}".removeprefix("; "))
        found.update(
            (other, better) for other in domain.columns if other in found and found[other].rule == refused.rule
        )

    def _open_columns(self) -> Iterator[tuple[ColumnName, Table, Column]]:
        for name, table in self._catalog.tables.items():
            own = self._known.tables.get(name)
            if table.root is not None or (own is not None and own.rows == "none"):
                continue
            for shape in table.copied_columns:
                column = ColumnName(name, shape.name)
                written = own.columns.get(shape.name) if own is not None else None
                if (written is None or written.mask == TODO) and column not in self._declared:
                    yield column, table, shape

    # ---------------------------------------------------------------------------------------------- deciding

    def _decide(
        self, column: ColumnName, table: Table, shape: Column, domain: Domain, found: Mapping[ColumnName, Suggestion]
    ) -> Suggestion:
        shapes = [shape, *(self._catalog.tables[other.table].column(other.column) for other in domain.columns)]
        asked = next((asked for each in shapes if (asked := self._asked(each)) is not None), None)
        if asked is not None:
            return asked
        judged = self._judged(column, table, shape, domain, found)
        if judged.rule == KEEP and any(says_masked(each.anon_label or "") for each in shapes):
            return Suggestion(TODO, "its label for anon masks it, by what has no equal")
        return judged

    def _judged(
        self, column: ColumnName, table: Table, shape: Column, domain: Domain, found: Mapping[ColumnName, Suggestion]
    ) -> Suggestion:
        setting = self._setting(column, table, shape, domain)
        profile = _profile(self._samples, column, shape)
        base = shape.base_type if shape.kind == "b" else ""
        if base == "tsvector":
            return self._search(column, table, shape, found)
        in_text = column in self._with_documents and not _in_audit_trail(table, shape)
        if base in JSON or base == "hstore" or in_text:
            return self._document(column, table, shape, setting, found)
        verdict = self._judge(column, shape, profile, setting, domain)
        constrained = declared(shape, (*table.checks, *shape.checks))
        if base in TEXT and constrained is not None and isinstance(verdict.what, Call):
            return Suggestion(KEEP, "a constraint lists its values")
        if verdict.what is Call.KEEP:
            return Suggestion(KEEP, verdict.why)
        if verdict.what is Call.TODO:
            return Suggestion(TODO, verdict.why)
        category = verdict.what if isinstance(verdict.what, Category) else None
        best, *others = candidates(category, shape)
        if best == "gender" and profile.tells is Category.GENDER:
            # Each is a word for a gender; that the copy has these, and no others, is what programs count on.
            best = {"mask": "gender", "words": sorted({text.strip() for text in profile.counts} - {""})}
        if best == "id.national" and (locales := given_in(profile)):
            others = [best, *others]
            best = {"mask": "id.national", "locale": locales[0] if len(locales) == 1 else locales}
        by_constraint = (constrained,) if constrained is not None and category is not None else ()
        in_form = formed(shape, (*table.checks, *shape.checks)) if base in TEXT else ()
        # Of a number that rows are known by, the copy goes on counting; the permutation leaves room for that.
        counted = ("id.int",) if setting.is_key and shape.kind == "b" and base in INTEGER else ()
        return self._best(column, (*by_constraint, *counted, best, *in_form, *others), verdict.why)

    def _asked(self, shape: Column) -> Suggestion | None:
        """What a comment or a label asks for."""
        asked = re.search(r"@mask:\s*([\w.]+)", shape.comment or "")
        if asked is not None:
            if asked[1] not in {*MASKS, KEEP, NULL}:
                return Suggestion(TODO, "its comment names no mask that there is")
            return Suggestion(asked[1], "by its comment")
        label = shape.anon_label
        rule = translate(label) if label is not None else None
        if rule is None:
            return None
        try:
            name = ColumnRule.model_validate(rule)
            MASKS[name.mask].params.model_validate(name.params)
        except (KeyError, ValidationError):
            return None
        return Suggestion(rule, "by its label for anon")

    def _setting(self, column: ColumnName, table: Table, shape: Column, domain: Domain) -> Setting:
        name = column.table
        return Setting(
            of_people=name in self._around.of_people,
            of_things=name in self._around.of_things,
            about_people=name in self._around.about_people,
            is_key=len(domain.columns) > 1 or column.column in table.primary_key,
            max_length=shape.max_length,
        )

    def _category(self, column: ColumnName, shape: Column, domain: Domain, setting: Setting) -> Category | None:
        """What the names of the domain's columns say, its first one's first, else the comment."""
        among = held_by(shape.base_type) if shape.kind == "b" else None
        own = by_name(shape.name, among)
        of_pay = bool(set(tokens(column.table.name)) & _PAY)
        is_amount = shape.base_type in NUMBER - INTEGER and own in {None, Category.PLAIN}
        if of_pay and (is_amount or set(tokens(shape.name)) & _PAID):
            return Category.INCOME
        if own is None and not setting.is_key:
            own = by_comment(shape.comment or "")
        if own is not None and own not in NEUTRAL:
            return own
        # A reference to an account or to somebody is often called after it, whatever its key is.
        nothing = {None, *NEUTRAL} | ({Category.ACCOUNT, Category.PERSON} if setting.is_key else set())
        others = (by_name(other.column, among) for other in domain.columns)
        return next((other for other in others if other not in nothing), own)

    def _judge(self, column: ColumnName, shape: Column, profile: Profile, setting: Setting, domain: Domain) -> Verdict:
        category = self._category(column, shape, domain, setting)
        if shape.kind == "e" and setting.personal:
            telling = category if category in TELLING else tells(shape.enum_labels)
            if telling is not None:
                return Verdict(telling, f"name: {telling}" if telling is category else "words of people")
        if shape.kind in {"e", "r", "m"} or shape.base_type in _PLAIN_TYPES:
            return Verdict(Call.KEEP)
        name = column.column
        base = shape.base_type if shape.kind == "b" else ""
        if base in TEXT:
            if _in_audit_trail(self._catalog.tables[column.table], shape):
                return Verdict(Category.QUERY, "SQL, or a row as text, in an audit trail")
            return judge_text(name, profile, setting, Category.FREE_TEXT if category is Category.QUERY else category)
        if base in NUMBER:
            return judge_number(name, profile, setting, category, whole=base in INTEGER)
        if base in DATE:
            return judge_date(name, profile, setting, category)
        match base:
            case "bool":
                is_telling = category is Category.SENSITIVE and setting.personal
                return Verdict(Category.SENSITIVE, f"name: {category}") if is_telling else Verdict(Call.KEEP)
            case "uuid":
                return Verdict(category, f"name: {category}") if category is Category.SECRET else Verdict(Call.KEEP)
            case "":
                # A composite type: what it holds is seen in its text only.
                is_plain = not profile.hits and not setting.personal and category in {None, *NEUTRAL}
                return Verdict(Call.KEEP, str(profile)) if is_plain else _HIDDEN
            case "vector" | "halfvec" | "sparsevec" if setting.of_things and not setting.personal:
                return Verdict(Call.KEEP, "it describes a thing")
            case _:
                # Types that may hold anything: inet, point, bytea, xml; a vector may be a face.
                return Verdict(Call.SAFE, shape.type_name)

    def _document(
        self,
        column: ColumnName,
        table: Table,
        shape: Column,
        setting: Setting,
        found: Mapping[ColumnName, Suggestion],
    ) -> Suggestion:
        words = set(tokens(shape.name))
        names = {other.name for other in table.columns}
        image = words & {"old", "new", "record", "row", "image", "before", "after", "changed"}
        values: Iterable[bytes] = self._samples.get(column, ())
        if shape.is_array:
            values = [element for value in values for element in _elements(value, shape.base_type)]
        if shape.base_type in TEXT:
            values = filter(is_document, values)
        if self._hidden is None:
            self._hidden = frozenset(self._masked_values(found))
        is_hstore = shape.base_type == "hstore"
        if is_hstore:
            rule, why = judge_hstore(values, setting, self._hidden)
        else:
            rule, why = judge_document(shape.name, values, setting, self._hidden)
        scrambled: Written = {"mask": "hstore", "keys": {}} if is_hstore else {"mask": "json", "paths": {}}
        others = (rule, scrambled, *candidates(None, shape))
        if image and words <= _IMAGE_WORDS and "table_name" in names:
            return self._best(column, ("row_image", *others), "a row of the table that the row names")
        return self._best(column, others, why)

    def _masked_values(self, found: Mapping[ColumnName, Suggestion]) -> Iterator[bytes]:
        """Values of columns that are masked, and tell rows apart: they are data wherever they are met again."""
        for column, values in self._samples.items():
            table = self._catalog.tables.get(column.table)
            shape = table.column(column.column) if table is not None else None
            rule = found[column].rule if column in found else self._written(column)
            is_text = shape is not None and not shape.is_array and shape.base_type in {*TEXT, "uuid"}
            if is_text and rule not in (None, KEEP) and not Profile.of(values).is_few:
                yield from values

    def _search(
        self, column: ColumnName, table: Table, shape: Column, found: Mapping[ColumnName, Suggestion]
    ) -> Suggestion:
        """A tsvector holds the words of the row's texts: it may stay if all of them do."""
        texts = [
            ColumnName(table.name, other.name)
            for other in table.copied_columns
            if other.base_type in TEXT or other.base_type in JSON
        ]
        rules = [found[text].rule if text in found else self._written(text) for text in texts]
        if texts and all(rule == KEEP for rule in rules):
            return Suggestion(KEEP, "every text of the row is kept")
        from_texts = {"mask": "tsvector", "from": [text.column for text in self._read_by(column, texts)]}
        return self._best(column, (from_texts, "tsvector", *candidates(None, shape)), "words of the row's texts")

    def _read_by(self, search: ColumnName, texts: list[ColumnName]) -> list[ColumnName]:
        """Those of a row's texts whose words the sampled vectors hold; all, where that tells nothing."""
        held = {lexeme for value in self._samples.get(search, ()) for lexeme in cut(value)[1::3]}
        found = []
        for text in texts:
            values = self._samples.get(text, ())
            words = {word for value in values for word in lexemes_in(value.decode("utf-8", "replace"))}
            if len(words & held) >= _IN_VECTORS * max(1, len(words)):
                found.append(text)
        return found or texts

    def _written(self, column: ColumnName) -> Written | None:
        rule = self._known.rule(column)
        return rule.mask if rule is not None else None

    def _best(self, column: ColumnName, rules: Iterable[Written], why: str) -> Suggestion:
        """The first rule that can stand in the column, with those after it."""
        others = tuple(rules)
        domain = self._domains[column]
        while others and not stands(others[0], domain, self._catalog, self.unique):
            others = others[1:]
        return Suggestion(others[0], why, others[1:]) if others else Suggestion(TODO, why)


_HIDDEN: Final = Verdict(Call.SAFE, "a composite type")


def _holds_documents(shape: Column, values: Sequence[bytes]) -> bool:
    """Whether most texts of a column are documents; where its length is limited, the mask json does not stand."""
    is_text = shape.base_type in {"text", "varchar"} and shape.max_length is None and not shape.is_array
    return is_text and sum(map(is_document, values)) >= max(1, MOST * len(values))


def _in_audit_trail(table: Table, shape: Column) -> bool:
    """Whether text of a table whose rows are about rows of others is a statement with its literals, or a whole row."""
    words = set(tokens(shape.name))
    names = {other.name for other in table.columns}
    of_rows = "table_name" in names and bool(names & {"op", "action", "operation", "tg_op"})
    return of_rows and bool(words) and (words <= _SQL_WORDS or words in ({"original", "data"}, {"new", "data"}))


def _profile(samples: Mapping[ColumnName, Sequence[bytes]], column: ColumnName, shape: Column) -> Profile:
    """The profile of a column's values, or of their elements. It is not kept: a schema has thousands of columns."""
    values = samples.get(column)
    if shape.is_array and values is not None:
        values = [element for value in values for element in _elements(value, shape.base_type)]
    return Profile.of(values)


def _elements(value: bytes, base_type: str) -> list[bytes]:
    """The elements of an array's text, without NULLs."""
    _, elements = parse(value, delimiter_of(base_type))
    return [element for element in elements if element]
