"""What a compiled predicate is made of: operands, which give a column, and tests, which give true, false or unknown.

All are immutable and picklable. An operand's column is in the form that its kind is compared in (``values``).
"""

from __future__ import annotations

import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import Column
from transform.predicates.values import Comparable, Kind, Rows, as_decimals, as_floats, kind_of

_ARROW_TYPES: Final = {Kind.BOOL: pa.bool_(), Kind.FLOAT: pa.float64(), Kind.TEXT: pa.binary()}


class Operand(ABC):
    """Something that has a value in each row."""

    kind: Kind

    @abstractmethod
    def evaluate(self, rows: Rows) -> Comparable:
        """Its values."""


class Test(ABC):
    """Something that is true, false or unknown of each row."""

    @abstractmethod
    def evaluate(self, rows: Rows) -> pa.BooleanArray:
        """Which; null is unknown."""


@dataclass(frozen=True)
class Value(Operand):
    """A column's value."""

    shape: Column

    @property
    def kind(self) -> Kind:  # type: ignore[override]  # an attribute elsewhere
        return kind_of(self.shape)

    def evaluate(self, rows: Rows) -> Comparable:
        return rows.column(self.shape)


@dataclass(frozen=True)
class Constant(Operand):
    """One value for all rows, in the form that it is compared in; None is NULL. Its ``repr`` does not show it."""

    kind: Kind
    value: Any

    def __repr__(self) -> str:
        return f"Constant({self.kind})"

    def evaluate(self, rows: Rows) -> Comparable:
        if self.kind is Kind.DECIMAL:
            return [self.value] * rows.count
        return pa.array([self.value] * rows.count, _ARROW_TYPES.get(self.kind, pa.int64()))


@dataclass(frozen=True)
class Length(Operand):
    """How many characters a text has."""

    text: Value
    kind: Kind = Kind.INTEGER

    def evaluate(self, rows: Rows) -> Comparable:
        return pc.cast(pc.utf8_length(rows.values[self.text.shape.name].view(pa.string())), pa.int64())


@dataclass(frozen=True)
class Compare(Test):
    """Two operands of kinds that can be compared, by =, <>, <, <=, > or >=."""

    sign: str
    left: Operand
    right: Operand

    def evaluate(self, rows: Rows) -> pa.BooleanArray:
        left, right = self.left.evaluate(rows), self.right.evaluate(rows)
        kinds = {self.left.kind, self.right.kind}
        if Kind.FLOAT in kinds:
            return _compare_floats(self.sign, as_floats(left), as_floats(right))
        if Kind.DECIMAL in kinds:
            compare = _PYTHON[self.sign]
            pairs = zip(as_decimals(left), as_decimals(right), strict=True)
            return pa.array([None if a is None or b is None else compare(a, b) for a, b in pairs], pa.bool_())
        return _ARROW[self.sign](left, right)


_PYTHON: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ARROW: Final[dict[str, Callable[[Any, Any], pa.BooleanArray]]] = {
    "=": pc.equal, "<>": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip
_NEGATED: Final = {"<>": "=", "<=": ">", ">=": "<"}


def _compare_floats(sign: str, left: pa.DoubleArray, right: pa.DoubleArray) -> pa.BooleanArray:
    """NaN is equal to itself and greater than all else."""
    if sign in _NEGATED:
        return pc.invert(_compare_floats(_NEGATED[sign], left, right))
    if sign == ">":
        return _compare_floats("<", right, left)
    a, b = (side.to_numpy(zero_copy_only=False) for side in (left, right))
    a_nan, b_nan = np.isnan(a), np.isnan(b)
    found = (a == b) | (a_nan & b_nan) if sign == "=" else (a < b) | (b_nan & ~a_nan)
    # Nulls came as NaN.
    unknown = pc.or_(left.is_null(), right.is_null()).to_numpy(zero_copy_only=False)
    return pa.array(found, pa.bool_(), mask=unknown)


@dataclass(frozen=True)
class Like(Test):
    """A text against a pattern; ``folds`` compares ASCII letters whatever their case. Its ``repr`` shows no pattern."""

    text: Value
    pattern: str
    folds: bool

    def __repr__(self) -> str:
        return "Like()"

    def evaluate(self, rows: Rows) -> pa.BooleanArray:
        text = rows.values[self.text.shape.name].view(pa.string())
        return pc.match_substring_regex(pc.ascii_lower(text) if self.folds else text, self.pattern)


def like_pattern(pattern: str, escape: str, *, folds: bool) -> str:
    """A LIKE pattern as a regular expression of RE2. Raises ``ValueError`` where it ends in its escape."""
    out, position = [], 0
    while position < len(pattern):
        sign = pattern[position]
        if escape and sign == escape:
            position += 1
            if position == len(pattern):
                raise ValueError("a LIKE pattern must not end with its escape character")
            out.append(re.escape(pattern[position]))
        else:
            out.append({"%": ".*", "_": "."}.get(sign) or re.escape(sign))
        position += 1
    text = "".join(out)
    return rf"(?s)\A{text.lower() if folds else text}\z"


@dataclass(frozen=True)
class IsNull(Test):
    """Whether a column is NULL, of any type."""

    column: str

    def evaluate(self, rows: Rows) -> pa.BooleanArray:
        return rows.values[self.column].is_null()


@dataclass(frozen=True)
class IsTruth(Test):
    """Whether a test is surely this: true, false, or unknown (None)."""

    test: Test
    truth: bool | None

    def evaluate(self, rows: Rows) -> pa.BooleanArray:
        found = self.test.evaluate(rows)
        if self.truth is None:
            return found.is_null()
        return (found if self.truth else pc.invert(found)).fill_null(False)


@dataclass(frozen=True)
class Distinct(Test):
    """IS DISTINCT FROM: <> in which NULL is a value like others."""

    left: Operand
    right: Operand

    def evaluate(self, rows: Rows) -> pa.BooleanArray:
        left, right = (_nulls(side.evaluate(rows)) for side in (self.left, self.right))
        differ = Compare("<>", self.left, self.right).evaluate(rows)
        return pc.if_else(pc.or_(left, right), pc.xor(left, right), differ)


def _nulls(values: Comparable) -> pa.BooleanArray:
    return pa.array([each is None for each in values], pa.bool_()) if isinstance(values, list) else values.is_null()


@dataclass(frozen=True)
class Truth(Test):
    """A boolean column, or a boolean that is written."""

    operand: Operand

    def evaluate(self, rows: Rows) -> pa.BooleanArray:
        found = self.operand.evaluate(rows)
        assert isinstance(found, pa.Array)
        return found


@dataclass(frozen=True)
class Not(Test):
    """What is not so."""

    test: Test

    def evaluate(self, rows: Rows) -> pa.BooleanArray:
        return pc.invert(self.test.evaluate(rows))


@dataclass(frozen=True)
class All(Test):
    """AND."""

    tests: tuple[Test, ...]

    def evaluate(self, rows: Rows) -> pa.BooleanArray:
        found, *others = (test.evaluate(rows) for test in self.tests)
        for other in others:
            found = pc.and_kleene(found, other)
        return found


@dataclass(frozen=True)
class Any_(Test):  # noqa: N801  # Any is typing's
    """OR."""

    tests: tuple[Test, ...]

    def evaluate(self, rows: Rows) -> pa.BooleanArray:
        found, *others = (test.evaluate(rows) for test in self.tests)
        for other in others:
            found = pc.or_kleene(found, other)
        return found
