"""A complete rules file, proposed from what a catalog and samples of its values show.

A column is judged by, in this order: the decision that the rules already hold, its comment (``@mask: NAME``), its
type, the words of its name, its comment's words, and patterns in its values. Foreign keys give a referencing column the
rule of the column that it refers to. What cannot be decided is ``todo``, which blocks a run. Each proposal carries its
evidence as counts; no value is ever shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import transform.masks  # noqa: F401 - registers the catalogue
from capture.model import Catalog, Column, ColumnName, Table
from transform.coverage import Finding, Severity
from transform.domains import Domain, unite
from transform.masks.base import DATE, INTEGER, JSON, MASKS, NUMBER, TEXT, Uniqueness
from transform.plan import check
from transform.rules import KEEP, NULL, TODO, ColumnRule, Rules
from transform.vocabulary import Category, by_comment, by_name, by_values, looks_personal, tokens

Written: TypeAlias = str | dict[str, Any]

# What a category of text becomes, best first; the first mask that may stand in the column is taken.
_TEXT_MASKS: Final[dict[Category, tuple[Written, ...]]] = {
    Category.EMAIL: ("email",),
    Category.FIRST_NAME: ("name.first", "id.uuid"),
    Category.LAST_NAME: ("name.last", "id.uuid"),
    Category.FULL_NAME: ("name.full", "id.uuid"),
    Category.USERNAME: ("id.uuid",),
    Category.PHONE: ("phone", {"mask": "phone", "preserve_format": True}),
    Category.STREET: ("address.street", "id.uuid"),
    Category.CITY: ("address.city", "id.uuid"),
    Category.POSTCODE: ("address.postcode",),
    Category.ADDRESS: ("address.full", "id.uuid"),
    Category.CARD: ("financial.card",),
    Category.IBAN: ("financial.iban",),
    Category.PERSONAL_NUMBER: ("redact", "id.uuid"),
    Category.SECRET: ("redact", "id.uuid"),
    Category.FREE_TEXT: ("text.lorem",),
    Category.SENSITIVE: (NULL, "redact"),
    Category.NETWORK: (NULL, "redact", "id.uuid"),
    Category.COMPANY: ("text.lorem",),
    Category.PICTURE: (NULL, "redact", "id.uuid"),
}
_PERSONAL_INTEGERS: Final = {Category.PHONE, Category.PERSONAL_NUMBER, Category.CARD, Category.SECRET}
_NOISE: Final[Written] = "number.noise"
_SHIFT: Final[Written] = {"mask": "date.shift", "days": 180}

# Types whose values say nothing of a person beyond what their row says.
_PLAIN_TYPES: Final = frozenset(
    """bool bit varbit interval time timetz oid xid xid8 cid pg_lsn regclass int4range int8range numrange daterange
    tsrange tstzrange int4multirange int8multirange nummultirange datemultirange tsmultirange tstzmultirange""".split()
)
_FEW_DISTINCT: Final = 25
_ENOUGH_SAMPLES: Final = 100
_CODE_LENGTH: Final = 10
# Two or three words with capitals, as people's names are written; rooms may be called so too, and a person decides.
_LIKE_A_PERSON: Final = re.compile(r"[^\W\d_]\.?[\w'.-]*(?: [^\W\d_][\w'.-]*){1,2}")

_HEADER: Final = """\
# Rules for every column: keep, null, a mask, or todo. A column that is undecided or todo blocks the run.
# The comments are the evidence, as counts over sampled values: `email: 998/1000`.
"""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rule as it is written, and why, in a few words without values."""

    rule: Written
    evidence: str = ""


def suggest(catalog: Catalog, samples: Mapping[ColumnName, Sequence[bytes]], existing: Rules | None) -> str:
    """The text of a rules file that decides every column of ``catalog`` or marks it ``todo``.

    ``samples`` holds values (text format, not escaped) of any of the columns. The decisions of ``existing`` stay as
    they are. Apart from what is ``todo``, and from mistakes of ``existing``, the result passes ``check``.
    """
    known = existing if existing is not None else Rules(version=1)
    found = _Suggester(catalog, samples, known).suggest()
    for finding in _refused(catalog, known, found):
        column = ColumnName.parse(finding.where)
        found[column] = Suggestion(TODO, f"{found[column].evidence}; {finding.kind} stands against it".lstrip("; "))
    return _write(catalog, known, found)


def _refused(catalog: Catalog, known: Rules, found: Mapping[ColumnName, Suggestion]) -> Iterator[Finding]:
    """Errors of suggested rules: a mask that needs more room than the column has, say."""
    columns = set(map(str, found))
    for finding in check(_rules(known, found), catalog):
        if finding.severity is Severity.ERROR and finding.where in columns:
            yield finding


def _rules(known: Rules, found: Mapping[ColumnName, Suggestion]) -> Rules:
    tables = {name: {"rows": own.rows, "columns": dict(own.columns)} for name, own in known.tables.items()}
    for column, suggestion in found.items():
        table: Any = tables.setdefault(column.table, {"rows": "all", "columns": {}})
        table["columns"][column.column] = ColumnRule.model_validate(suggestion.rule)
    content = {"version": 1, "tables": {str(name): own for name, own in tables.items()}, "domains": known.domains}
    return Rules.model_validate(content)


class _Suggester:
    def __init__(self, catalog: Catalog, samples: Mapping[ColumnName, Sequence[bytes]], known: Rules) -> None:
        self._catalog = catalog
        self._samples = samples
        self._known = known
        self._declared = {column for domain in known.domains.values() for column in domain.columns}
        self._unique = {
            ColumnName(table.root or name, column)
            for name, table in catalog.tables.items()
            for index in table.indexes
            for column in index.columns
        }
        self._domains = unite(known, catalog)

    def suggest(self) -> dict[ColumnName, Suggestion]:
        """A suggestion for each column that the existing rules leave open."""
        found: dict[ColumnName, Suggestion] = {}
        # A referencing column takes over what its domain's first column, the one referred to, got.
        by_domain: dict[int, Suggestion] = {}
        columns = list(self._open_columns())
        columns.sort(key=lambda item: str(item[0]) != self._domains[item[0]].name)
        for column, table, shape in columns:
            domain = self._domains[column]
            if domain.rule is not None:
                found[column] = Suggestion(_as_written(domain.rule.rule), f"as {domain.rule.written_for}")
            elif id(domain) in by_domain:
                found[column] = Suggestion(by_domain[id(domain)].rule, f"as {domain.name}")
            else:
                found[column] = self._judge(column, table, shape, domain)
                by_domain[id(domain)] = found[column]
        return found

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

    # ---------------------------------------------------------------------------------------------- judging

    def _judge(self, column: ColumnName, table: Table, shape: Column, domain: Domain) -> Suggestion:
        asked = re.search(r"@mask:\s*([\w.]+)", shape.comment or "")
        if asked is not None:
            return Suggestion(asked[1] if asked[1] in MASKS or asked[1] == KEEP else TODO, "by its comment")
        if shape.kind == "e" or shape.base_type in _PLAIN_TYPES:
            return Suggestion(KEEP)
        is_key = len(domain.columns) > 1 or column.column in table.primary_key
        category = by_name(shape.name) or by_comment(shape.comment or "")
        base_type = shape.base_type if shape.kind == "b" else ""
        if base_type in JSON:
            return self._judge_document(table, shape)
        if base_type == "uuid":
            return (
                self._first(column, ("id.uuid",), f"name: {category}")
                if category is Category.SECRET
                else Suggestion(KEEP)
            )
        if base_type in DATE:
            return Suggestion(_SHIFT, f"name: {category}") if category is Category.BIRTH else Suggestion(KEEP)
        if base_type in NUMBER:
            return self._judge_number(column, base_type, category, is_key)
        if base_type in TEXT:
            return self._judge_text(column, shape, category, is_key)
        # Types that no mask knows, such as inet, point, bytea and tsvector, may hold anything.
        return self._first(column, (NULL, "redact"), shape.type_name)

    def _judge_document(self, table: Table, shape: Column) -> Suggestion:
        words = set(tokens(shape.name))
        names = {other.name for other in table.columns}
        image = words & {"old", "new", "record", "row", "image", "before", "after"}
        if image and words <= _IMAGE_WORDS and "table_name" in names:
            return Suggestion("row_image", "a row of the table that the row names")
        return Suggestion({"mask": "json", "paths": {}}, "every leaf is scrambled; list paths to keep")

    def _judge_number(self, column: ColumnName, base_type: str, category: Category | None, is_key: bool) -> Suggestion:
        of_person = category is Category.MEASURE and looks_personal(column.table.name)
        if (category in {Category.INCOME, Category.BIRTH} or of_person) and not is_key:
            return self._first(column, (_NOISE,), f"name: {category}")
        if base_type in INTEGER and category in _PERSONAL_INTEGERS:
            return self._first(column, ("id.int",), f"name: {category}")
        return Suggestion(KEEP)

    def _judge_text(self, column: ColumnName, shape: Column, category: Category | None, is_key: bool) -> Suggestion:
        values = [value for value in self._samples.get(column, ()) if value]
        hits = {} if shape.is_array else by_values(values)
        shown = ", ".join(f"{hit}: {count}/{len(values)}" for hit, count in hits.items())
        best = max(hits, key=lambda hit: hits[hit], default=None)
        if best is not None and hits[best] * 10 >= 6 * len(values):
            # Values outweigh a name: a column called contact may hold addresses of either kind.
            return self._first(column, _TEXT_MASKS[best], shown)
        if category in _TEXT_MASKS:
            return self._first(column, _TEXT_MASKS[category], shown or f"name: {category}")
        if hits:
            return Suggestion(TODO, shown)
        return self._judge_unmarked(column, shape, category, is_key, values)

    def _judge_unmarked(
        self, column: ColumnName, shape: Column, category: Category | None, is_key: bool, values: list[bytes]
    ) -> Suggestion:
        """Text that no pattern and no telling name marks as personal."""
        distinct = len(set(values))
        counted = f"{distinct} distinct in {len(values)}" if values else "no values sampled"
        of_people = looks_personal(column.table.name)
        if distinct <= _FEW_DISTINCT and len(values) >= _ENOUGH_SAMPLES:
            return Suggestion(KEEP, counted)
        # In a table of people, what differs from row to row may tell them apart, whatever it is called.
        if category is Category.PLAIN and not (of_people and distinct * 2 > len(values)):
            return Suggestion(KEEP, counted if values else "")
        if category is Category.NAME and not of_people and not _like_people(values):
            return Suggestion(KEEP, "a name, in a table that seems not to be of people")
        if category is Category.NAME and len(tokens(shape.name)) == 1:
            return self._first(column, _TEXT_MASKS[Category.FULL_NAME], f"name: {category}")
        if is_key and (shape.max_length or _CODE_LENGTH + 1) <= _CODE_LENGTH:
            return Suggestion(KEEP, f"a key of {shape.max_length} characters")
        sentences = sum(value.count(b" ") >= 5 for value in values)
        if sentences * 2 > len(values) and not is_key:
            return self._first(column, _TEXT_MASKS[Category.FREE_TEXT], f"sentences: {sentences}/{len(values)}")
        return Suggestion(TODO, counted)

    def _first(self, column: ColumnName, candidates: Iterable[Written], evidence: str) -> Suggestion:
        """The first mask that accepts the column's type and, in a unique column, keeps values apart."""
        for written in candidates:
            if self._stands(column, ColumnRule.model_validate(written)):
                return Suggestion(written, evidence)
        return Suggestion(TODO, evidence)

    def _stands(self, column: ColumnName, rule: ColumnRule) -> bool:
        shapes = [self._catalog.tables[other.table].column(other.column) for other in self._domains[column].columns]
        if rule.mask not in MASKS:
            return False
        kind = MASKS[rule.mask]
        if rule.mask == NULL:
            return not any(shape.not_null for shape in shapes)
        unique = any(other in self._unique for other in self._domains[column].columns)
        params = kind.params.model_validate(rule.params)
        return all(
            kind.accepts(shape.base_type) and not (unique and kind.uniqueness(params, shape) is Uniqueness.LOSSY)
            for shape in shapes
        )


_IMAGE_WORDS: Final = frozenset("old new record row image data values before after json jsonb".split())


def _like_people(values: Sequence[bytes]) -> bool:
    """Whether a tenth of the values could be people's names."""
    texts = [value.decode("utf-8", "replace") for value in values]
    alike = sum(text.istitle() and _LIKE_A_PERSON.fullmatch(text) is not None for text in texts)
    return alike * 10 > len(texts)


def _as_written(rule: ColumnRule) -> Written:
    return {"mask": rule.mask, **rule.params} if rule.params else rule.mask


# -------------------------------------------------------------------------------------------------- writing


def _write(catalog: Catalog, known: Rules, found: Mapping[ColumnName, Suggestion]) -> str:
    tables: list[str] = []
    for table in catalog.tables.values():
        if table.root is None:
            tables += _write_table(table, known, found)
    domains = []
    for name, domain in known.domains.items():
        columns = [str(column) for column in domain.columns if _exists(catalog, column)]
        if columns:
            domains.append(f"  {_scalar(name)}: {_flow({'mask': domain.mask, **domain.params, 'columns': columns})}")
    gone = [f"#   {_scalar(name)}" for name in _gone(catalog, known)]
    lines = [_HEADER + "version: 1"]
    lines += ["tables:", *tables] if tables else []
    lines += ["domains:", *domains] if domains else []
    lines += ["# Rules left away, because no table that is copied has what they name:", *gone] if gone else []
    return "\n".join(lines) + "\n"


def _write_table(table: Table, known: Rules, found: Mapping[ColumnName, Suggestion]) -> Iterator[str]:
    own = known.tables.get(table.name)
    entries = []
    for shape in table.columns:
        suggestion = found.get(ColumnName(table.name, shape.name))
        if suggestion is None:
            written = own.columns.get(shape.name) if own is not None else None
            if written is None:  # generated, or decided by a declared domain, or of a table without rows
                continue
            suggestion = Suggestion(_as_written(written))
        rule, evidence = suggestion.rule, suggestion.evidence
        # A key that starts with a double quote is read as SQL.
        name = '"' + shape.name.replace('"', '""') + '"' if shape.name.startswith('"') else shape.name
        comment = f"  # {evidence}" if evidence and evidence.isprintable() else ""
        entries.append(f"      {_scalar(name)}: {NULL if rule == NULL else _flow(rule)}{comment}")
    key = _scalar(str(table.name))
    rows = own.rows if own is not None else "all"
    if not entries:
        yield f"  {key}: {{rows: {rows}}}"
        return
    yield f"  {key}:"
    if rows != "all":
        yield f"    rows: {rows}"
    yield "    columns:"
    yield from entries


def _exists(catalog: Catalog, column: ColumnName) -> bool:
    table = catalog.tables.get(column.table)
    return table is not None and table.root is None and any(shape.name == column.column for shape in table.columns)


def _gone(catalog: Catalog, known: Rules) -> Iterator[str]:
    for name, own in known.tables.items():
        if name not in catalog.tables or catalog.tables[name].root is not None:
            yield str(name)
            continue
        columns = (ColumnName(name, column) for column in own.columns)
        yield from (str(column) for column in columns if not _exists(catalog, column))
    for domain in known.domains.values():
        yield from (str(column) for column in domain.columns if not _exists(catalog, column))


_PLAIN_SCALAR: Final = re.compile(r"[A-Za-z_][\w.$ -]*(?<! )", re.ASCII)
_NOT_STRINGS: Final = frozenset(("null", "true", "false"))


def _scalar(text: str) -> str:
    """A string as YAML: plain where it may be, else in single quotes, and with escapes only for control characters."""
    if _PLAIN_SCALAR.fullmatch(text) and text.lower() not in _NOT_STRINGS:
        return text
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else json.dumps(text)


def _flow(value: Any) -> str:
    """A rule as YAML on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case str():
            return _scalar(value)
        case _:
            return json.dumps(value)
