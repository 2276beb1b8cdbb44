"""A column's rule bound to a compiled mask, or findings that say why it cannot be.

The mask gets what its whole domain has room for (the narrowest integer type, the smallest length), so that all columns
of the domain show the same values. What the column's own type adds is wrapped around it: elements of arrays one by one,
and the blanks of char(n) taken off before and put back after.

Values are UTF-8 here, whatever the databases hold, but for a production in SQL_ASCII, whose bytes come as they are and
mean nothing beyond ASCII. What the rules themselves write must be text that production's encoding has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from capture.model import BadInput, Catalog, Column, ColumnName, Sequence, TableName, quote_identifier
from transform.arraytext import delimiter_of
from transform.cmac import Prf
from transform.conditional import ConditionalMask
from transform.coverage import Decision, Finding, FindingKind, Severity, read_params
from transform.document import in_words
from transform.domains import Domain, root_of
from transform.encodings import NO_ENCODING, codec_of
from transform.keyring import KeyRing
from transform.masks.arrays import ArrayMask
from transform.masks.base import (
    ANY,
    INTEGER,
    MASKS,
    TEXT,
    AnyMask,
    Build,
    DerivedMask,
    Mask,
    MaskKind,
    Params,
    RowMask,
    mask_kind,
)
from transform.masks.ids import sequence_floor
from transform.predicates import Predicate, compile_predicate
from transform.rules import KEEP, NULL, ColumnRule
from transform.sqltext import mentions
from transform.uniqueness import Uniques, domain_shape

# Masks whose output does not depend on how the value is written.
_TAKING_ANY_VALUE: Final = frozenset({KEEP, NULL, "constant"})
_INTEGER_PERMUTATION: Final = "id.int"
_COMPUTED: Final = "what other columns make them"


class BlankPaddedMask(Mask):
    """A mask of char(n): ``inner`` sees no trailing blanks, and its output is padded to ``length`` characters (bytes,
    where ``counts_bytes``), which is what PostgreSQL prints. ``length`` is None for bpchar without a limit, which is
    not padded."""

    def __init__(self, inner: Mask, length: int | None, *, counts_bytes: bool = False) -> None:
        self.inner = inner
        self._length = length
        self._counts_bytes = counts_bytes

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return _padded(self.inner.apply(_stripped(values)), self._length, self._counts_bytes)


class BlankPaddedRowMask(RowMask):
    """The same for a mask that reads the row; other columns come to ``inner`` as they are."""

    def __init__(self, inner: RowMask, length: int | None, *, counts_bytes: bool = False) -> None:
        self.needs = inner.needs
        self._inner = inner
        self._length = length
        self._counts_bytes = counts_bytes

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        return _padded(self._inner.apply_rows(_stripped(values), siblings), self._length, self._counts_bytes)


def _stripped(values: pa.BinaryArray) -> pa.BinaryArray:
    return pc.ascii_rtrim(values.view(pa.string()), " ").view(pa.binary())


def _padded(values: pa.BinaryArray, length: int | None, counts_bytes: bool) -> pa.BinaryArray:
    if length is None:
        return values
    if counts_bytes:
        return pc.ascii_rpad(values.view(pa.string()), length, " ").view(pa.binary())
    return pc.utf8_rpad(values.cast(pa.string()), length, " ").view(pa.binary())


class Binder:
    """Binds the decisions for one catalog, of which ``decisions`` are all. What is in ``findings`` cannot stand, and
    ``notes`` say what may be amiss. ``images`` answers row images; see ``transform.masks.row_image``. ``locale`` and
    ``folder`` are the rules' own."""

    def __init__(
        self,
        catalog: Catalog,
        keyring: KeyRing,
        images: object,
        decisions: Mapping[ColumnName, Decision],
        *,
        locale: str,
        folder: Path | None = None,
    ) -> None:
        self.findings: list[Finding] = []
        self.notes: list[Finding] = []
        self._catalog = catalog
        self._locale = locale
        self._folder = folder
        self._rows: dict[TableName, dict[str, Decision]] = defaultdict(dict)
        for column, decision in decisions.items():
            self._rows[column.table][column.column] = decision
        self._keyring = keyring
        self._images = images
        self._encoding = catalog.encoding
        self._prfs: dict[str, Prf] = {}
        self._uniques = Uniques(catalog)
        self._divided: dict[TableName, list[str]] = defaultdict(list)
        for table in catalog.tables.values():
            if table.partition_key is not None:
                self._divided[root_of(catalog, table.name)].append(table.partition_key)
        # A partition may demand what its root does not.
        self._filled_parts = {
            ColumnName(table.root, shape.name): table.name
            for table in catalog.tables.values()
            for shape in table.columns
            if table.root is not None and shape.not_null
        }
        self._written: dict[str, dict[str, ColumnName]] = {}
        self._sequences: dict[ColumnName, list[Sequence]] = defaultdict(list)
        for sequence in catalog.sequences:
            for fed in sequence.feeds:
                self._sequences[ColumnName(root_of(catalog, fed.table), fed.column)].append(sequence)
        self._free_columns: dict[TableName, frozenset[str]] = {}

    def bind(self, decision: Decision) -> AnyMask | None:
        """The column's mask; None for keep, and where a finding was made."""
        known = len(self.findings)
        mask = self._bind_mask(decision)
        if decision.rule.when is None:
            return mask
        otherwise = decision.rule.otherwise
        other = None if otherwise is None else self._bind_mask(replace(decision, rule=otherwise))
        try:
            condition = self._condition(decision, decision.rule.when)
            if isinstance(mask, DerivedMask) or isinstance(other, DerivedMask):
                derived = decision.rule.mask if isinstance(mask, DerivedMask) else otherwise
                raise BadInput(f"the mask {derived} is made from masked columns and takes no condition.")
        except BadInput as error:
            self._refuse(decision, FindingKind.CONDITION, error)
            return None
        if len(self.findings) > known or mask is None:
            return None
        return ConditionalMask(condition, mask, other)

    def _condition(self, decision: Decision, written: str) -> Predicate:
        shapes = {name: other.shape for name, other in self._rows[decision.column.table].items()}
        condition = compile_predicate(written, shapes)
        if decision.column in self._uniques:
            raise BadInput(
                "some of its values would be masked and others not, and the column is in a unique index.",
                hint="Mask all of them.",
            )
        self._check_reads(decision, "its condition", condition.columns, hint="Leave the condition away.")
        return condition

    def _bind_mask(self, decision: Decision) -> AnyMask | None:
        try:
            kind = mask_kind(decision.rule.mask)
            params = read_params(kind, decision.rule)
        except BadInput as error:
            is_known = decision.rule.mask in MASKS
            self._refuse(decision, FindingKind.PARAMETERS if is_known else FindingKind.UNKNOWN_MASK, error)
            return None
        if decision.rule.mask == KEEP:
            return None
        known = len(self.findings)
        self._check_type(decision, kind)
        self._check_encoding(decision)
        if decision.rule.mask == NULL and decision.shape.not_null:
            self._refuse(decision, FindingKind.NOT_NULL, BadInput("null cannot be the rule of a NOT NULL column."))
        elif decision.rule.mask == NULL and decision.column in self._filled_parts:
            part = self._filled_parts[decision.column]
            message = f"null cannot be its rule: the column is NOT NULL in the partition {part}."
            self._refuse(decision, FindingKind.NOT_NULL, BadInput(message))
        if len(self.findings) == known:
            self._check_keys(decision, kind, params)
        if len(self.findings) > known:
            return None
        try:
            return self._build(decision, kind, params)
        except BadInput as error:
            self._refuse(decision, FindingKind.PARAMETERS, error)
            return None

    def check_sources(self, masks: Mapping[ColumnName, AnyMask | None]) -> None:
        """Refuse what is made from a column that is made from others itself, once all are bound."""
        for table, row in self._rows.items():
            for name, decision in row.items():
                mask = masks[ColumnName(table, name)]
                for source in mask.sources if isinstance(mask, DerivedMask) else ():
                    if isinstance(masks.get(ColumnName(table, source)), DerivedMask):
                        message = (
                            f"the mask {decision.rule.mask} reads {quote_identifier(source)}, which is made from other "
                            "columns too."
                        )
                        self._refuse(decision, FindingKind.PARAMETERS, BadInput(message))

    def _refuse(self, decision: Decision, kind: FindingKind, error: BadInput) -> None:
        where = str(decision.column)
        self.findings.append(Finding(Severity.ERROR, kind, where, error.message, error.hint, decision.at))

    # -------------------------------------------------------------------------------------------- building

    def _keyed(self, domain: str) -> Prf:
        if domain not in self._prfs:
            self._prfs[domain] = self._keyring.prf(domain)
        return self._prfs[domain]

    def _subject(self, decision: Decision) -> tuple[str, Prf] | None:
        subject = decision.subject
        return None if subject is None else (subject.column, self._keyed(f"subject of {subject.domain}"))

    def _build(self, decision: Decision, kind: MaskKind, params: Params) -> AnyMask:
        shape = decision.shape
        row = self._rows[decision.column.table]
        padded = shape.base_type == "bpchar"
        seen = domain_shape(decision)
        if seen.base_type == "bpchar":
            # A mask's own padding would be to the domain's length, not to the column's; see BlankPaddedMask.
            seen = replace(seen, base_type="varchar")
        unique = any(column in self._uniques for column in decision.domain.columns)

        def nested(rule: str | dict[str, Any], place: str) -> Mask:
            return self._build_nested(decision, rule, place)

        build = Build(
            prf=self._keyed(decision.domain.name),
            column=seen,
            unique=unique,
            width=decision.domain.width,
            nested=nested,
            tables=self._images,
            row={name: other.shape for name, other in row.items()},
            rules={name: (other.rule.mask, other.rule.params) for name, other in row.items()},
            free=self._free(decision.column.table),
            keyed=self._keyed,
            subject=self._subject(decision),
            locale=self._locale,
            encoding=self._encoding,
            folder=self._folder,
        )
        mask = kind.build(params, build)
        # NULL for the whole array, not for each of its elements.
        whole = decision.rule.mask == NULL
        if isinstance(mask, RowMask | DerivedMask):
            self._check_row_mask(decision, kind, mask.needs if isinstance(mask, RowMask) else mask.sources)
            if padded and isinstance(mask, RowMask):
                return BlankPaddedRowMask(mask, shape.max_length, counts_bytes=self._encoding == NO_ENCODING)
            return mask
        if padded and not whole:
            mask = BlankPaddedMask(mask, shape.max_length, counts_bytes=self._encoding == NO_ENCODING)
        return ArrayMask(mask, delimiter_of(shape.base_type)) if shape.is_array and not whole else mask

    def _free(self, table: TableName) -> frozenset[str]:
        """The columns whose mask may be decided by others of the row; see ``Build``."""
        if table not in self._free_columns:
            row = self._rows[table]
            identity = self._catalog.tables[table].identity_columns
            found = set(identity) < set(row)
            self._free_columns[table] = frozenset(
                name
                for name, other in row.items()
                if not other.shape.is_array
                and len(other.domain.columns) == 1
                and other.column not in self._uniques
                and not (found and name in identity)
            )
        return self._free_columns[table]

    def _build_nested(self, decision: Decision, rule: str | dict[str, Any], place: str) -> Mask:
        try:
            inner = ColumnRule.model_validate(rule)
        except ValidationError as error:
            raise BadInput(f"{in_words(error.errors()[0])}.") from None
        if inner.satisfies:
            raise BadInput("only a whole column's rule can say satisfies.")
        if inner.when is not None:
            raise BadInput("a condition reads the row, so it is for whole columns only.")
        kind = mask_kind(inner.mask)
        params = read_params(kind, inner)
        text = Column(decision.shape.name, 0, 25, -1, "text", "text")
        if not kind.accepts(text.base_type):
            raise BadInput(f"the mask {kind.name} does not work on text.")
        prf = self._keyring.prf(f"{decision.domain.name} {place}")
        mask = kind.build(
            params, Build(prf=prf, column=text, locale=self._locale, encoding=self._encoding, folder=self._folder)
        )
        if isinstance(mask, RowMask | DerivedMask):
            raise BadInput(f"the mask {kind.name} works on whole columns only.")
        return mask

    def _check_row_mask(self, decision: Decision, kind: MaskKind, read: tuple[str, ...]) -> None:
        """Whether what the mask reads comes wherever the column comes, and means the same there."""
        if decision.shape.is_array:
            raise BadInput(f"the mask {kind.name} works on a single value, and the column is an array.")
        self._check_reads(
            decision, f"the mask {kind.name}", read, hint="Choose a mask that reads nothing but the value."
        )

    def _check_reads(self, decision: Decision, what: str, read: tuple[str, ...], *, hint: str) -> None:
        listed = ", ".join(map(quote_identifier, read))
        if read and len(decision.domain.columns) > 1:
            other = next(column for column in decision.domain.columns if column != decision.column)
            raise BadInput(f"{what} reads {listed} of the same row, and {other} must be masked alike.", hint=hint)
        unknown = [name for name in read if name not in self._rows[decision.column.table]]
        if unknown:
            raise BadInput(f"{what} reads {quote_identifier(unknown[0])}, which is no decided column of the table.")
        table = self._catalog.tables[decision.column.table]
        identity = table.identity_columns
        if decision.column.column in identity and not set(read) <= set(identity):
            raise BadInput(
                f"{what} reads {listed}, and rows are found by this column, which may come alone.", hint=hint
            )

    # -------------------------------------------------------------------------------------------- checking

    def _check_type(self, decision: Decision, kind: MaskKind) -> None:
        shape = decision.shape
        # An enum, composite or range is named by its user; only masks of any type know what to do with it.
        accepted = kind.accepts(shape.base_type) if shape.kind == "b" else kind.types == ANY
        if not accepted:
            works_on = ", ".join(sorted(kind.types))
            fits = sorted(name for name, other in MASKS.items() if other.accepts(shape.base_type) and shape.kind == "b")
            hint = f"Masks for this type: {', '.join({KEEP: None, NULL: None} | dict.fromkeys(fits))}."
            message = f"the mask {kind.name} works on {works_on}, and the column is {shape.type_name}."
            self._refuse(decision, FindingKind.TYPE, BadInput(message, hint=hint))
        elif shape.kind == "e" and decision.rule.mask == "constant":
            value = decision.rule.params.get("value")
            if str(value) not in shape.enum_labels:
                message = f"the constant is no label of the enum {shape.type_name}."
                hint = f"Its labels are: {', '.join(shape.enum_labels)}."
                self._refuse(decision, FindingKind.TYPE, BadInput(message, hint=hint))

    def _check_keys(self, decision: Decision, kind: MaskKind, params: Params) -> None:
        for objection in self._uniques.objections(decision, kind, params):
            self._refuse(decision, FindingKind.UNIQUE, objection)
        for divided in self._divided[decision.column.table]:
            if mentions(divided, decision.column.column):
                message = (
                    f"rows are divided into partitions by it ({divided}), and a masked row would be in a wrong one."
                )
                self._refuse(decision, FindingKind.PARTITION_KEY, BadInput(message, hint="Use keep."))
        if kind.name in _TAKING_ANY_VALUE:
            return
        own = _written_as(decision.shape)
        for other, column in self._written_in(decision.domain).items():
            if other != own and (own is not None or other == _COMPUTED):
                message = (
                    f"its values are written as {own or 'text'}, and those of {column}, which must be masked alike, "
                )
                message += f"as {other}."
                self._refuse(decision, FindingKind.TYPE, BadInput(message, hint="Use keep for both, or unlink them."))
                break
        if not decision.shape.deterministic and len(decision.domain.columns) > 1:
            other_column = next(column for column in decision.domain.columns if column != decision.column)
            message = f"its collation holds different texts equal, which would no longer meet those of {other_column}."
            self._refuse(decision, FindingKind.TYPE, BadInput(message, hint="Use keep."))
        if kind.name == _INTEGER_PERMUTATION:
            self._check_sequences(decision)
        elif decision.column in self._uniques and (fed := self._sequences[decision.column]):
            message = f"the mask {kind.name} may give an id that the copy's own sequence {fed[0].name} gives, too."
            hint = f"Under {_INTEGER_PERMUTATION} the copy's own ids begin above all masked ones."
            self.notes.append(
                Finding(Severity.NOTE, FindingKind.SEQUENCE, str(decision.column), message, hint, decision.at)
            )

    def _written_in(self, domain: Domain) -> dict[str, ColumnName]:
        """The ways in which a domain's columns write their values, each with one that does."""
        if domain.name not in self._written:
            found = self._written[domain.name] = {}
            for column in domain.columns:
                written = _written_as(self._catalog.tables[column.table].column(column.column))
                if written is not None:
                    found.setdefault(written, column)
        return self._written[domain.name]

    def _check_sequences(self, decision: Decision) -> None:
        try:
            floor = sequence_floor(decision.rule.params, decision.domain.width)
        except ValidationError:
            return  # told as a parameter
        for sequence in self._sequences[decision.column]:
            if sequence.increment > 0 and sequence.maximum <= floor:
                message = f"the sequence {sequence.name} ends at {sequence.maximum}, "
                message += f"and a copy's own ids begin above {floor}."
                hint = f"Say how far ids go: range: [{sequence.minimum}, {sequence.maximum}]."
                self._refuse(decision, FindingKind.PARAMETERS, BadInput(message, hint=hint))

    def _check_encoding(self, decision: Decision) -> None:
        try:
            "".join(_texts(decision.rule.params)).encode(codec_of(self._encoding))
        except UnicodeEncodeError:
            message = f"the mask {decision.rule.mask} is given characters that production's encoding lacks."
            has = "ASCII" if self._encoding == NO_ENCODING else self._encoding
            error = BadInput(message, hint=f"The encoding is {self._encoding}: write it in characters of {has}.")
            self._refuse(decision, FindingKind.PARAMETERS, error)


def _texts(params: Any) -> Iterator[str]:
    """Every text among a rule's parameters."""
    match params:
        case str():
            yield params
        case dict():
            for key, value in params.items():
                yield from _texts(key)
                yield from _texts(value)
        case list():
            for value in params:
                yield from _texts(value)


def _written_as(shape: Column) -> str | None:
    """How a type writes its values, in words; None for text, which may hold any. What two types of one way write
    differently (1 and 1.00) is no integer."""
    if shape.generated:
        return _COMPUTED
    if shape.is_array:
        return f"arrays of {shape.base_type}"
    if shape.base_type in TEXT:
        return None
    if shape.base_type in INTEGER or (shape.base_type == "numeric" and not shape.scale):
        return "integers"
    return shape.base_type
