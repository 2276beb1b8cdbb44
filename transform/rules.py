"""The rules file: what the user decides for every column, as written, before any schema is known.

A column's rule is a mask's name (``keep``, ``todo`` and ``null`` among them) or ``{mask: NAME, ...parameters}``. Table
names, and the columns under ``domains:``, are written as SQL writes them. The keys of ``columns:`` are plain names; one
that starts with a double quote is read as SQL too. Whether names and masks exist is ``transform.plan``'s question.

``Rules`` keeps the file's places, so that later findings can name file, line and column.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    field_serializer,
    field_validator,
    model_validator,
)

from capture.model import ColumnName, TableName, parse_identifiers
from transform.document import Document, load, validate
from transform.masks.base import DEFAULT_LOCALE
from transform.masks.locales import LOCALES

# Part of every fingerprint. It changes when the same rules would mask a value differently than before.
MASKS_VERSION: Final = 4

KEEP: Final = "keep"
TODO: Final = "todo"
NULL: Final = "null"


def _read_table(text: Any) -> TableName:
    if not isinstance(text, str):
        raise ValueError("a table is written as schema.table")
    return TableName.parse(text)


def _read_column(text: Any) -> ColumnName:
    if not isinstance(text, str):
        raise ValueError("a column is written as schema.table.column")
    return ColumnName.parse(text)


def read_own_column(text: Any) -> str:
    """The name of a column as a key of ``columns`` writes it."""
    if not isinstance(text, str) or not text.startswith('"'):
        return str(text)
    names = parse_identifiers(text)
    if len(names) != 1:
        raise ValueError("a key of columns is the name of one column")
    return names[0]


class ColumnRule(BaseModel):
    """What happens to one column: the mask's name, and its parameters as they stand in the file. ``satisfies`` names
    the CHECK constraints that its author vouches for; see ``transform.checks``.

    With ``when``, an SQL condition on the row as production has it, the mask is for rows of which that is not surely
    false; the others get ``otherwise``, or stay as they are.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    _form: ClassVar[str] = "a column's rule is a mask's name or {mask: NAME, ...}"

    mask: str
    satisfies: tuple[str, ...] = ()
    when: str | None = None
    otherwise: ColumnRule | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_short_forms(cls, written: Any) -> Any:
        # An unquoted null is YAML's null, and means the mask of that name.
        if written is None or isinstance(written, str):
            return {"mask": written or NULL}
        if not isinstance(written, dict) or "mask" not in written:
            raise ValueError(cls._form)
        return {**written, **{key: NULL for key in ("mask", "otherwise") if written.get(key, NULL) is None}}

    @model_validator(mode="after")
    def _otherwise_needs_when(self) -> Self:
        if self.otherwise is not None and self.when is None:
            raise ValueError("otherwise is for a rule with a condition; add when")
        if self.when is not None and self.mask in (KEEP, TODO):
            raise ValueError(f"{self.mask} takes no condition; write the mask, and when it is to be applied")
        if self.otherwise is not None and (self.otherwise.when is not None or self.otherwise.mask == TODO):
            raise ValueError("otherwise is a mask without a condition")
        return self

    @property
    def params(self) -> dict[str, Any]:
        """The mask's parameters, not validated yet."""
        return dict(self.model_extra or {})

    @property
    def identity(self) -> str:
        """Equal for two rules that mask alike."""
        otherwise = None if self.otherwise is None else self.otherwise.identity
        return json.dumps([self.mask, self.params, self.when, otherwise], sort_keys=True)

    @property
    def empties(self) -> bool:
        """Whether it makes every value NULL, and not only those of some rows."""
        return self.mask == NULL and (self.when is None or (self.otherwise is not None and self.otherwise.mask == NULL))

    @property
    def written(self) -> str | dict[str, Any]:
        """The rule as a file holds it."""
        more: dict[str, Any] = dict(self.params)
        if self.satisfies:
            more["satisfies"] = list(self.satisfies)
        if self.when is not None:
            more["when"] = self.when
        if self.otherwise is not None:
            more["otherwise"] = self.otherwise.written
        return {"mask": self.mask, **more} if more else self.mask

    def __str__(self) -> str:
        # Parameters may hold values (constant), so only their names are shown.
        named = f"{self.mask} with {', '.join(sorted(self.params))}" if self.params else self.mask
        return f"{named} under a condition" if self.when is not None else named


class DomainRule(ColumnRule):
    """One mask and one key for columns that must still join."""

    _form: ClassVar[str] = "a domain is {mask: NAME, columns: [schema.table.column, ...]}"

    columns: tuple[Annotated[ColumnName, PlainValidator(_read_column)], ...]

    @field_validator("when")
    @classmethod
    def _refuse_condition(cls, when: str | None) -> str | None:
        if when is not None:
            raise ValueError("a domain's columns are masked alike in all rows, so it takes no condition")
        return when

    @field_validator("columns", mode="before")
    @classmethod
    def _refuse_no_columns(cls, written: Any) -> Any:
        if not written or not isinstance(written, list | tuple):
            raise ValueError("list the domain's columns: [schema.table.column, ...]")
        return written


class SomeRows(BaseModel):
    """The rows of a table for which an SQL condition on production's own values is true, and that refer to a copied row
    of one of the tables that ``with`` names; see ``transform.subset``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    where: str | None = None
    with_: tuple[Annotated[TableName, PlainValidator(_read_table)], ...] = Field(default=(), alias="with")

    @field_validator("with_", mode="before")
    @classmethod
    def _accept_one_table(cls, written: Any) -> Any:
        if not written or not isinstance(written, str | list | tuple):
            raise ValueError("with names tables: schema.table, or a list of them")
        return [written] if isinstance(written, str) else written

    @field_serializer("with_")
    def _as_written(self, tables: tuple[TableName, ...]) -> list[str]:
        return list(map(str, tables))

    @model_validator(mode="after")
    def _needs_a_choice(self) -> Self:
        if self.where is None and not self.with_:
            raise ValueError("say which rows: {where: SQL condition}, {with: table}, or both")
        return self

    def __repr__(self) -> str:
        # A condition may hold values.
        return "SomeRows()"


class TableRules(BaseModel):
    """The decisions for one table, or for a partitioned table and all its partitions. ``subject`` is the column that
    holds the key of the person whom a row is about; see ``transform.subjects``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: Literal["all", "none"] | SomeRows = "all"
    subject: Annotated[str, PlainValidator(read_own_column)] | None = None
    columns: dict[Annotated[str, PlainValidator(read_own_column)], ColumnRule] = {}

    @model_validator(mode="before")
    @classmethod
    def _tell_columns_apart(cls, written: Any) -> Any:
        if isinstance(written, cls):
            return written
        # One rule for a whole table, and columns right below it, are what one would write first.
        if isinstance(written, dict) and (
            not written or any(get_close_matches(key, cls.model_fields) for key in written)
        ):
            return written
        raise ValueError("a table has rows, subject and columns, and the rule of each column stands below columns")

    @field_validator("rows", mode="before")
    @classmethod
    def _read_rows(cls, written: Any) -> Any:
        if written not in ("all", "none") and not isinstance(written, dict | SomeRows):
            raise ValueError("rows are all, none, or {where: SQL condition, with: tables}")
        return SomeRows.model_validate(written) if isinstance(written, dict) else written

    @field_validator("columns", mode="before")
    @classmethod
    def _refuse_repeated_columns(cls, written: Any) -> Any:
        return _without_repetitions(written, read_own_column)


class Rules(BaseModel):
    """A whole rules file. ``locale`` is that of all masks whose rule names none. ``at_table``,
    ``at_rows``, ``at_column`` and ``at_domain`` give ``file:line:column``, or '' for rules that were not read from a
    file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    locale: str = DEFAULT_LOCALE
    tables: dict[Annotated[TableName, PlainValidator(_read_table)], TableRules] = {}
    domains: dict[str, DomainRule] = {}

    _document: Document | None = PrivateAttr(default=None)
    _folder: Path | None = PrivateAttr(default=None)
    _keys: dict[TableName, str] = PrivateAttr(default_factory=dict)
    _declared: dict[ColumnName, list[str]] = PrivateAttr(default_factory=dict)
    _places: dict[ColumnName, str] = PrivateAttr(default_factory=dict)

    @field_validator("locale")
    @classmethod
    def _is_known(cls, written: str) -> str:
        if written not in LOCALES:
            raise ValueError(f"there is no locale of that name; they are {', '.join(LOCALES)}")
        return written

    @field_validator("tables", mode="before")
    @classmethod
    def _refuse_repeated_tables(cls, written: Any) -> Any:
        return _without_repetitions(written, _read_table)

    @field_validator("domains", mode="before")
    @classmethod
    def _accept_no_domains(cls, written: Any) -> Any:
        return {} if written is None else written

    def model_post_init(self, context: Any) -> None:
        """Index the declared domains by column."""
        super().model_post_init(context)
        for name, domain in self.domains.items():
            for column in dict.fromkeys(domain.columns):
                self._declared.setdefault(column, []).append(name)

    @property
    def document(self) -> Document | None:
        """The file; None for rules that were not read from one."""
        return self._document

    @property
    def folder(self) -> Path | None:
        """Where the file is, and functions of the user's own; None for rules that were not read from one."""
        return self._folder

    def decided_anew(self, tables: Mapping[TableName, Any]) -> Rules:
        """The same but for the tables. No file holds these rules, so they have no places; what they name is looked for
        in the same folder."""
        content = self.model_dump(exclude={"tables", "domains"}, exclude_defaults=True)
        content |= {"version": 1, "tables": {str(name): own for name, own in tables.items()}, "domains": self.domains}
        rules = Rules.model_validate(content)
        rules._folder = self._folder  # noqa: SLF001 - another of the same kind
        return rules

    def rule(self, column: ColumnName) -> ColumnRule | None:
        """The rule written at the column itself."""
        table = self.tables.get(column.table)
        return table.columns.get(column.column) if table is not None else None

    def domains_of(self, column: ColumnName) -> Sequence[str]:
        """The names of the declared domains that list the column."""
        return self._declared.get(column, ())

    def fingerprint(self) -> str:
        """A hash of what the rules say, whatever their order and spelling; 64 hex digits."""
        content = {
            "masks_version": MASKS_VERSION,
            "locale": self.locale,
            "tables": {
                str(name): [
                    table.model_dump(mode="json", include={"rows", "subject"}),
                    {column: rule.identity for column, rule in table.columns.items()},
                ]
                for name, table in self.tables.items()
            },
            "domains": {
                name: [rule.identity, sorted(map(str, set(rule.columns)))] for name, rule in self.domains.items()
            },
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def at_table(self, table: TableName) -> str:
        """Where the table is written."""
        return self._at("tables", self._keys.get(table))

    def at_rows(self, table: TableName, part: str) -> str:
        """Where the choice of the table's rows is written: its ``where``, or its ``with``."""
        return self._at("tables", self._keys.get(table), "rows", part)

    def at_subject(self, table: TableName) -> str:
        """Where the table's subject is written."""
        return self._at("tables", self._keys.get(table), "subject")

    def at_column(self, column: ColumnName) -> str:
        """Where the column's rule is written; if it has none, where its table is."""
        # It is asked for several times, of each of a schema's thousands of columns.
        place = self._places.get(column)
        if place is None:
            place = self._places[column] = self._find_column(column)
        return place

    def _find_column(self, column: ColumnName) -> str:
        key = self._keys.get(column.table)
        if key is None or self._document is None or self.rule(column) is None:
            return self.at_table(column.table)
        written = self._document.data["tables"][key]["columns"]
        own = next(spelled for spelled in written if read_own_column(spelled) == column.column)
        return self._at("tables", key, "columns", own)

    def at_domain(self, name: str, column: ColumnName | None = None) -> str:
        """Where a declared domain is written, or a column in its list."""
        columns = self.domains[name].columns
        return self._at("domains", name, *(("columns", columns.index(column)) if column in columns else ()))

    def _at(self, *place: str | int | None) -> str:
        if self._document is None:
            return ""
        return self._document.at([part for part in place if part is not None])


def load_rules(path: Path) -> Rules:
    """Read a rules file. Raises ``BadInput`` with the places of what is wrong."""
    document = load(path, made_by="tezcat rules suggest")
    rules = validate(document, Rules)
    rules._document = document  # noqa: SLF001 - only the loader knows the places
    rules._folder = path.parent.absolute()  # noqa: SLF001 - as above
    keys = document.data.get("tables") or {}
    rules._keys = {_read_table(key): key for key in keys}  # noqa: SLF001 - as above
    return rules


def _without_repetitions(written: Any, read: Callable[[Any], object]) -> Any:
    """The mapping as it stands, {} for an empty section. Raises ``ValueError`` if two keys mean the same name."""
    if not isinstance(written, dict):
        return {} if written is None else written
    seen: dict[object, str] = {}
    for key in written:
        try:
            name = read(key)
        except ValueError:
            continue  # told by the key's own validation
        if name in seen:
            raise ValueError(f"{seen[name]} and {key} are the same name")
        seen[name] = key
    return written
