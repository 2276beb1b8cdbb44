"""A column's rule bound to a compiled mask, or findings that say why it cannot be.

The mask gets what its whole domain has room for (the narrowest integer type, the smallest length), so that all columns
of the domain show the same values. What the column's own type adds is wrapped around it: elements of arrays one by one,
and the blanks of char(n) taken off before and put back after.

Values are UTF-8 here, whatever the databases hold, but for a production in SQL_ASCII, whose bytes come as they are and
mean nothing beyond ASCII. What the rules themselves write must be text that production's encoding has.
"""

from __future__ import annotations

import codecs
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from capture.model import BadInput, Catalog, Column, ColumnName, Index
from transform.arraytext import delimiter_of
from transform.cmac import Prf
from transform.coverage import Decision, Finding, FindingKind, Severity
from transform.document import in_words
from transform.domains import root_of
from transform.keyring import KeyRing
from transform.masks.arrays import ArrayMask
from transform.masks.base import ANY, MASKS, Build, Mask, MaskKind, Params, RowMask, Uniqueness, mask_kind
from transform.rules import KEEP, NULL, ColumnRule

_NO_ENCODING: Final = "SQL_ASCII"
# Where Python's name is not PostgreSQL's, beside WIN1252 and the like.
_CODECS: Final = {"EUC_CN": "gb2312", "KOI8R": "koi8_r", "KOI8U": "koi8_u", _NO_ENCODING: "ascii"}


class BlankPaddedMask(Mask):
    """A mask of char(n): ``inner`` sees no trailing blanks, and its output is padded to ``length`` characters (bytes,
    where ``counts_bytes``), which is what PostgreSQL prints. ``length`` is None for bpchar without a limit, which is
    not padded."""

    def __init__(self, inner: Mask, length: int | None, *, counts_bytes: bool = False) -> None:
        self._inner = inner
        self._length = length
        self._counts_bytes = counts_bytes

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        stripped = pc.ascii_rtrim(values.view(pa.string()), " ").view(pa.binary())
        masked = self._inner.apply(stripped)
        if self._length is None:
            return masked
        if self._counts_bytes:
            return pc.ascii_rpad(masked.view(pa.string()), self._length, " ").view(pa.binary())
        return pc.utf8_rpad(masked.cast(pa.string()), self._length, " ").view(pa.binary())


class Binder:
    """Binds the decisions for one catalog. ``images`` answers row images; see ``transform.masks.row_image``."""

    def __init__(self, catalog: Catalog, keyring: KeyRing, images: object) -> None:
        self.findings: list[Finding] = []
        self._keyring = keyring
        self._images = images
        self._encoding = catalog.encoding
        self._prfs: dict[str, Prf] = {}
        self._indexes = _indexes_by_column(catalog)

    def bind(self, decision: Decision) -> Mask | RowMask | None:
        """The column's mask; None for keep, and where a finding was made."""
        try:
            kind = mask_kind(decision.rule.mask)
            params = _params(kind, decision.rule)
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
        if len(self.findings) == known:
            self._check_indexes(decision, kind, params)
        if len(self.findings) > known:
            return None
        try:
            return self._build(decision, kind, params)
        except BadInput as error:
            self._refuse(decision, FindingKind.PARAMETERS, error)
            return None

    def _refuse(self, decision: Decision, kind: FindingKind, error: BadInput) -> None:
        where = str(decision.column)
        self.findings.append(Finding(Severity.ERROR, kind, where, error.message, error.hint, decision.at))

    # -------------------------------------------------------------------------------------------- building

    def _build(self, decision: Decision, kind: MaskKind, params: Params) -> Mask | RowMask:
        shape, name = decision.shape, decision.domain.name
        if name not in self._prfs:
            self._prfs[name] = self._keyring.prf(name)
        # A mask's own padding would be to the domain's length, not to the column's; see BlankPaddedMask.
        padded = shape.base_type == "bpchar"
        unique = any(column in self._indexes for column in decision.domain.columns)

        def nested(rule: str | dict[str, Any], place: str) -> Mask:
            return self._build_nested(decision, rule, place)

        build = Build(
            prf=self._prfs[name],
            column=replace(_domain_shape(decision), base_type="varchar") if padded else _domain_shape(decision),
            unique=unique,
            width=decision.domain.width,
            nested=nested,
            tables=self._images,
        )
        mask = kind.build(params, build)
        # NULL for the whole array, not for each of its elements.
        whole = decision.rule.mask == NULL
        if isinstance(mask, RowMask):
            if shape.is_array:
                raise BadInput(f"the mask {kind.name} works on a single value, and the column is an array.")
            return mask
        if padded and not whole:
            mask = BlankPaddedMask(mask, shape.max_length, counts_bytes=self._encoding == _NO_ENCODING)
        return ArrayMask(mask, delimiter_of(shape.base_type)) if shape.is_array and not whole else mask

    def _build_nested(self, decision: Decision, rule: str | dict[str, Any], place: str) -> Mask:
        try:
            inner = ColumnRule.model_validate(rule)
        except ValidationError as error:
            raise BadInput(f"{in_words(error.errors()[0])}.") from None
        kind = mask_kind(inner.mask)
        params = _params(kind, inner)
        text = Column(decision.shape.name, 0, 25, -1, "text", "text")
        if not kind.accepts(text.base_type):
            raise BadInput(f"the mask {kind.name} does not work on text.")
        prf = self._keyring.prf(f"{decision.domain.name} {place}")
        mask = kind.build(params, Build(prf=prf, column=text))
        if isinstance(mask, RowMask):
            raise BadInput(f"the mask {kind.name} works on whole columns only.")
        return mask

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

    def _check_encoding(self, decision: Decision) -> None:
        try:
            "".join(_texts(decision.rule.params)).encode(_codec(self._encoding))
        except UnicodeEncodeError:
            message = f"the mask {decision.rule.mask} is given characters that production's encoding lacks."
            has = "ASCII" if self._encoding == _NO_ENCODING else self._encoding
            error = BadInput(message, hint=f"The encoding is {self._encoding}: write it in characters of {has}.")
            self._refuse(decision, FindingKind.PARAMETERS, error)

    def _check_indexes(self, decision: Decision, kind: MaskKind, params: Params) -> None:
        name, nulls = decision.column.column, decision.rule.mask == NULL
        is_lossy = kind.uniqueness(params, _domain_shape(decision)) is Uniqueness.LOSSY
        for index in self._indexes.get(decision.column, ()):
            what = f"the {_kind_of(index)} {index.name}"
            in_key = name in index.columns and not nulls
            computed = index.expressions is not None and _mentions(index.expressions, name)
            if is_lossy and (in_key or computed):
                part = "what is computed from it is" if computed else "the column is"
                message = f"the mask {kind.name} may give two values the same one, and {part} in {what}."
                hint = _keeping_apart(decision)
            elif index.predicate is not None and _mentions(_without_null_tests(index.predicate, name, nulls), name):
                message = f"{what} holds only rows chosen by the column's value, which the mask {kind.name} changes."
                hint = "Use keep."
            else:
                continue
            self._refuse(decision, FindingKind.UNIQUE, BadInput(message, hint=hint))


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


def _codec(encoding: str) -> str:
    """Python's name of a server's encoding; ASCII where it has none, which every encoding holds."""
    try:
        return codecs.lookup(_CODECS.get(encoding, encoding.replace("WIN", "cp"))).name
    except LookupError:
        return "ascii"


def _params(kind: MaskKind, rule: ColumnRule) -> Params:
    try:
        return kind.params.model_validate(rule.params)
    except ValidationError as error:
        finding = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, finding["loc"]))
        known = ", ".join(kind.params.model_fields) or "none"
        hint = f"The parameters of {kind.name} are: {known}."
        raise BadInput(f"the mask {kind.name}: {f'{name}: ' if name else ''}{in_words(finding)}.", hint=hint) from None


def _domain_shape(decision: Decision) -> Column:
    """The column's element as the mask is to see it: with what all columns of the domain have room for."""
    shape, domain = decision.shape, decision.domain
    base_type = "citext" if domain.ignores_case and shape.base_type in {"text", "varchar"} else shape.base_type
    return replace(shape, is_array=False, max_length=domain.max_length, base_type=base_type)


def _indexes_by_column(catalog: Catalog) -> dict[ColumnName, list[Index]]:
    """The unique indexes that each column takes part in, also by expression or predicate; those of partitions count
    for their root."""
    found: dict[ColumnName, list[Index]] = defaultdict(list)
    for table in catalog.tables.values():
        for index in table.indexes:
            for shape in table.columns:
                taking_part = shape.name in index.columns or any(
                    text is not None and _mentions(text, shape.name) for text in (index.expressions, index.predicate)
                )
                known = found[ColumnName(root_of(catalog, table.name), shape.name)] if taking_part else None
                # A partition's part of its root's index says nothing new.
                if known is not None and all(_definition(index) != _definition(other) for other in known):
                    known.append(index)
    return dict(found)


def _definition(index: Index) -> tuple[object, ...]:
    return index.columns, index.expressions, index.predicate, index.is_exclusion


def _kind_of(index: Index) -> str:
    if index.is_primary:
        return "primary key"
    return "exclusion constraint" if index.is_exclusion else "unique index"


def _mentions(expression: str, column: str) -> bool:
    """Whether SQL text may speak of a column: its name stands there as a word."""
    return re.search(rf"(?<![\w$]){re.escape(column)}(?![\w$])", expression) is not None


def _without_null_tests(predicate: str, column: str, nulls: bool) -> str:
    """The predicate less what the mask leaves true: a value masks to a value, and NULL to NULL. The mask null
    (``nulls``) only leaves out rows by it."""
    test = r"IS\s+NOT\s+NULL" if nulls else r"IS\s+(?:NOT\s+)?NULL"
    return re.sub(rf'\(?"?{re.escape(column)}"?\)?\s+{test}', "", predicate, flags=re.IGNORECASE)


def _keeping_apart(decision: Decision) -> str:
    """A hint that lists the masks that may stand in a unique column of this type."""
    shape, names = _domain_shape(decision), [KEEP]
    for kind in MASKS.values():
        try:
            params = kind.params()
        except ValidationError:  # it has required parameters; the user knows whether they apply
            continue
        fits = shape.kind == "b" and kind.types != ANY and kind.accepts(shape.base_type)
        if fits and kind.uniqueness(params, shape) is not Uniqueness.LOSSY:
            names.append(kind.name)
    return f"Masks that keep values of this type apart: {', '.join(sorted(names))}."
