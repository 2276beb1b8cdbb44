"""What unique indexes and exclusion constraints ask of masks: that rows which production could keep apart can be kept
apart in the copy.

An index's keys are columns, or expressions over them; a generated column counts as what computes it. A key is safe if
what it makes of different masked values differs wherever it made different things of the originals.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from capture.model import BadInput, Catalog, Column, ColumnName, Index, Table, TableName
from transform.coverage import Decision
from transform.domains import root_of
from transform.masks.base import ANY, MASKS, TEXT, MaskKind, Params, Uniqueness
from transform.masks.ids import permutes_to
from transform.rules import KEEP, NULL
from transform.sqltext import Reading, chooses, fillings, mentions, reading

_EQUALITY: Final = "="
# Whether two values are equal is all that they ask.
_OF_EQUALITY: Final = frozenset({_EQUALITY, "<>"})
_CITEXT: Final = "citext"
_INTEGER_PERMUTATION: Final = "id.int"
_CANONICAL: Final = re.compile(r"0|-?[1-9][0-9]*")


class Uniques:
    """The unique and exclusion indexes that each column takes part in, also by expression or predicate; those of
    partitions count for their root."""

    def __init__(self, catalog: Catalog) -> None:
        self._found: dict[ColumnName, list[_Keys]] = defaultdict(list)
        self._of_tables: dict[TableName, list[_Keys]] = defaultdict(list)
        for table in catalog.tables.values():
            for index in table.indexes:
                keys = _Keys(table, index)
                # A partitioned table's index may be there without holding yet.
                if table.root is None and table.kind == "r":
                    self._of_tables[table.name].append(keys)
                for shape in table.columns:
                    if keys.mention(shape.name):
                        known = self._found[ColumnName(root_of(catalog, table.name), shape.name)]
                        # A partition's part of its root's index says nothing new.
                        if all(keys.definition != other.definition for other in known):
                            known.append(keys)

    def __contains__(self, column: object) -> bool:
        return column in self._found

    def named(self, column: ColumnName) -> tuple[str, ...]:
        """The indexes that the column takes part in, as ``the unique index NAME``."""
        return tuple(keys.what for keys in self._found.get(column, ()))

    def objections(self, decision: Decision, kind: MaskKind, params: Params) -> Iterator[BadInput]:
        """Why the mask could bring two rows into conflict, one for each index at the most."""
        indexes = self._found.get(decision.column, ())
        for keys in indexes:
            # Rows that another index keeps apart without this column cannot meet by it.
            if any(other.settles(keys, decision.column.column) for other in self._of_tables[decision.column.table]):
                continue
            if decision.rule.mask == NULL:
                objection = keys.object_to_null(decision.column.column)
            else:
                objection = keys.object_to(decision, kind, params, indexes)
            if objection is not None:
                yield objection


class _Keys:
    """One index: what it compares, and how."""

    def __init__(self, table: Table, index: Index) -> None:
        computed = {shape.name: shape.expression for shape in table.columns if shape.expression is not None}
        columns = [(name, computed.get(name)) for name in index.columns]
        keys = [*columns, *((None, expression) for expression in index.expressions)]
        operators = index.operators or (_EQUALITY,) * len(keys)
        self._columns: dict[str, str] = {}
        self._expressions: list[tuple[str, str]] = []
        for (name, expression), operator in zip(keys, operators, strict=True):
            if expression is not None:
                self._expressions.append((expression, operator))
            elif name is not None:
                self._columns[name] = operator
        self._filled = all(table.column(name).not_null for name in self._columns)
        self._predicate = index.predicate
        self._is_immediate = index.is_immediate
        self._deterministic = index.deterministic
        self._nulls_distinct = index.nulls_distinct or index.is_exclusion
        self.what = f"the {_kind_of(index)} {index.name}"
        self.definition = (index.columns, index.expressions, index.predicate, index.operators, index.nulls_distinct)

    def mention(self, column: str) -> bool:
        """Whether the index reads the column."""
        return (
            column in self._columns
            or any(mentions(expression, column) for expression, _ in self._expressions)
            or (self._predicate is not None and mentions(self._predicate, column))
        )

    def settles(self, other: _Keys, column: str) -> bool:
        """Whether no two rows are equal in what the other index compares by equality, whatever the column holds: they
        would be so in part of it, which is this index's."""
        return (
            self is not other
            and column not in self._columns
            and self._predicate is None
            and not self._expressions
            and self._columns.keys() <= other._columns.keys()
            and set(self._columns.values()) | set(other._columns.values()) == {_EQUALITY}
            and all(operator == _EQUALITY for _, operator in other._expressions)
            and (other._nulls_distinct or self._filled or not self._nulls_distinct)
            and (other._deterministic or not self._deterministic)
            and (self._is_immediate or not other._is_immediate)
        )

    def folds(self, column: str) -> bool:
        """Whether no two rows of the table can differ by no more than the column's case."""
        return (
            self._predicate is None
            and not self._columns
            and self._deterministic
            and [reading(expression, column) for expression, _ in self._expressions] == [Reading.FOLDED]
        )

    def object_to_null(self, column: str) -> BadInput | None:
        """NULL is equal to nothing, unless the index says so or makes a value of it."""
        nulls_meet = not self._nulls_distinct and (column in self._columns or self._computing(column))
        filled = any(
            reading(expression, column) in {Reading.FILLED, Reading.UNKNOWN} for expression in self._computing(column)
        )
        if nulls_meet or filled:
            how = "compares what is computed from it" if filled else "holds one NULL like another (NULLS NOT DISTINCT)"
            return BadInput(f"{self.what} {how}, so that rows without a value would meet.", hint="Use keep.")
        return self._object_to_choice(column, NULL)

    def object_to(
        self, decision: Decision, kind: MaskKind, params: Params, indexes: list[_Keys] | tuple[()]
    ) -> BadInput | None:
        """A mask that gives values."""
        column, shape = decision.column.column, domain_shape(decision)
        uniqueness = kind.uniqueness(params, shape)
        computing = self._computing(column)
        if uniqueness is Uniqueness.LOSSY and (column in self._columns or computing):
            part = "what is computed from it is" if computing else "the column is"
            message = f"the mask {decision.rule} may give two values the same one, and {part} in {self.what}."
            return BadInput(message, hint=_keeping_apart(shape, Uniqueness.INJECTIVE))
        operators = [self._columns[column]] if column in self._columns else []
        operators += [operator for expression, operator in self._expressions if expression in computing]
        if not _OF_EQUALITY.issuperset(operators):
            other = next(operator for operator in operators if operator not in _OF_EQUALITY)
            message = f"{self.what} compares it by {other}, and the mask {kind.name} keeps no more than equality."
            return BadInput(message, hint="Use keep or null.")
        readings = {reading(expression, column) for expression in computing}
        if Reading.UNKNOWN in readings:
            message = f"{self.what} compares what is computed from it, which the mask {kind.name} may make equal."
            return BadInput(message, hint="Use keep or null.")
        if Reading.FILLED in readings and _may_give_filling(decision, kind, uniqueness, computing):
            message = f"{self.what} gives NULL a value, and the mask {kind.name} may give another the same."
            hint = "Use keep, or say which integers there are, without that one: range: [least, greatest]."
            return BadInput(message, hint=hint if kind.name == _INTEGER_PERMUTATION else "Use keep.")
        collates = not self._deterministic or (column in self._columns and not decision.shape.deterministic)
        if (collates or readings & {Reading.FOLDED, Reading.FILLED}) and _may_differ_by_case(shape, uniqueness):
            message = f"the mask {decision.rule} may give two values that {self.what} holds equal, such as by case."
            return BadInput(message, hint=_keeping_apart(shape, Uniqueness.TAGGED))
        tells_case = (column in self._columns and decision.shape.base_type != _CITEXT) or Reading.EXACT in readings
        if shape.base_type == _CITEXT and tells_case and not any(keys.folds(column) for keys in indexes):
            message = f"{self.what} tells case, and the column or one that must be masked alike ignores it (citext)."
            return BadInput(message, hint="Use keep, or add a unique index over lower(...) in production.")
        return self._object_to_choice(column, kind.name)

    def _computing(self, column: str) -> list[str]:
        return [expression for expression, _ in self._expressions if mentions(expression, column)]

    def _object_to_choice(self, column: str, mask: str) -> BadInput | None:
        if self._predicate is None:
            return None
        if not chooses(self._predicate, column, nulls=mask == NULL):
            return None
        message = f"{self.what} holds only rows chosen by the column's value, which the mask {mask} changes."
        return BadInput(message, hint=f"Use {KEEP}.")


def domain_shape(decision: Decision) -> Column:
    """The column's element as the mask is to see it: with what all columns of the domain have room for."""
    shape, domain = decision.shape, decision.domain
    base_type = shape.base_type
    if base_type in TEXT and (domain.ignores_case or domain.counts_bytes):
        base_type = _CITEXT if domain.ignores_case else "name"
    return replace(shape, is_array=False, max_length=domain.max_length, base_type=base_type)


def _kind_of(index: Index) -> str:
    if index.is_primary:
        return "primary key"
    return "exclusion constraint" if index.is_exclusion else "unique index"


def _may_differ_by_case(shape: Column, uniqueness: Uniqueness) -> bool:
    """Whether two masked texts may differ by no more than case, accents or blanks: a tag tells more than they do, a
    permutation of characters need not. For citext a mask promises to keep apart what citext does."""
    return shape.base_type in TEXT and shape.base_type != _CITEXT and uniqueness is not Uniqueness.TAGGED


def _may_give_filling(decision: Decision, kind: MaskKind, uniqueness: Uniqueness, computing: list[str]) -> bool:
    """Whether the mask may make the value that an expression gives for NULL. A tag does not, by its odds, and neither
    do the bits of a UUID; integers lie close together. Permuted text is refused for its case already."""
    if kind.name != _INTEGER_PERMUTATION:
        return uniqueness is Uniqueness.INJECTIVE and decision.shape.base_type not in TEXT | {"uuid"}
    for expression in computing:
        written = fillings(expression)
        if written is None:
            return True
        if any(
            _CANONICAL.fullmatch(text) and permutes_to(decision.rule.params, decision.domain.width, int(text))
            for text in written
        ):
            return True
    return False


def _keeping_apart(shape: Column, least: Uniqueness) -> str:
    """A hint that lists the masks that may stand in a unique column of this type."""
    names = [KEEP]
    for kind in MASKS.values():
        try:
            params = kind.params()
        except ValidationError:  # it has required parameters; the user knows whether they apply
            continue
        if shape.kind != "b" or kind.types == ANY or not kind.accepts(shape.base_type):
            continue
        uniqueness = kind.uniqueness(params, shape)
        if uniqueness is Uniqueness.TAGGED or uniqueness is least:
            names.append(kind.name)
    return f"Masks that keep values of this type apart: {', '.join(sorted(names))}."
