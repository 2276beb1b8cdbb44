"""SQL expressions as functions: what a CHECK says of a row, with three truths, as far as its functions are known.

``compile_condition`` takes the tree of what ``pg_get_expr`` prints. Values are Python's: numbers, texts, dates and
times (UTC), and ``Opaque`` for what only equality and NULL are asked of. What is not known here raises ``Unknown``,
when it is compiled or when it is asked; nothing is guessed. What the server refuses to compute raises ``Fails``. The
present is a day long ago, so that the answer is the same on any day.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final, TypeAlias

from sqlglot import exp

from capture.model import Column
from transform import integers
from transform.integers import BY_TYPE, Fails, Integer, Sized, sized
from transform.masks.base import TEXT
from transform.patterns import Unknown, like, posix

Row: TypeAlias = Mapping[str, Any]
Evaluate: TypeAlias = Callable[[Row], Any]

TODAY: Final = date(2020, 1, 1)
_KEPT_AS_TEXT: Final = frozenset({"uuid"})
_NUMERIC_TYPES: Final = frozenset("SMALLINT INT BIGINT DECIMAL FLOAT DOUBLE".split())
_TEXT_TYPES: Final = frozenset({"TEXT", "VARCHAR"})
_TIME_TYPES: Final = frozenset({"TIMESTAMP", "TIMESTAMPTZ"})
_BEYOND: Final = "a date is beyond those that are known"
# Of these, values of one type are compared as they are.
_COMPARED: Final = frozenset({bool, int, Decimal, str, date, datetime})
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
# What versions of PostgreSQL read, and read differently: 1_000, 0x1f.
_ODD_NUMBER: Final = re.compile(r"[0-9a-f]_[0-9a-f]|^[+-]?0[xob]", re.IGNORECASE)
_SIZES: Final = {"SMALLINT": BY_TYPE["int2"], "INT": BY_TYPE["int4"], "BIGINT": BY_TYPE["int8"]}


class Folded(str):
    """A value of citext."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value of a type that is not computed with. ``is_exact`` tells that equal values are written alike."""

    text: str
    is_exact: bool


def read(value: bytes | None, shape: Column) -> Any:
    """A value in PostgreSQL's text format. Raises ``Unknown`` for one that Python cannot hold."""
    if value is None:
        return None
    text = value.decode()
    if shape.is_array or shape.kind != "b" or shape.base_type in _KEPT_AS_TEXT:
        return Opaque(text, is_exact=not shape.is_array and (shape.kind == "e" or shape.base_type in _KEPT_AS_TEXT))
    match shape.base_type:
        case "citext":
            return Folded(text)
        case "bpchar":
            return text.rstrip(" ")
        case "bool":
            return text == "t"
        case "date":
            return _as_date(text)
        case "timestamp" | "timestamptz":
            return _as_time(text)
        case name if name in TEXT:
            return text
        case name if name in BY_TYPE:
            number = _as_number(text)
            return BY_TYPE[name](number) if isinstance(number, int) else number
        case "numeric" | "float4" | "float8":
            return _as_number(text)
        case _:
            return Opaque(text, is_exact=False)


def compile_condition(tree: exp.Expression) -> Evaluate:
    """The expression as a function of a row's values by column. A CHECK is violated where it gives False or ``Fails``,
    and by nothing else: not by None. Raises ``Unknown``."""
    return _compile(tree)


# --------------------------------------------------------------------------------------------------- compiling


def _compile(node: exp.Expression) -> Evaluate:
    found = _KNOWN.get(type(node))
    if found is None:
        name = node.name if isinstance(node, exp.Anonymous) else node.key
        raise Unknown(f"{name} is not known")
    arguments, make = found
    strange = {name for name, value in node.args.items() if value and name not in arguments}
    if strange:
        raise Unknown(f"{node.key} is not known in this form")
    return make(node)


def _strict(function: Callable[..., Any], *names: str) -> tuple[frozenset[str], Callable[[Any], Evaluate]]:
    """A function of the named arguments that is NULL if one of them is."""

    def make(node: exp.Expression) -> Evaluate:
        parts = [_compile(node.args[name]) for name in names if node.args.get(name) is not None]

        def evaluate(row: Row) -> Any:
            values = [part(row) for part in parts]
            return None if None in values else function(*values)

        return evaluate

    return frozenset(names), make


def _column(node: exp.Column) -> Evaluate:
    name = node.name

    def evaluate(row: Row) -> Any:
        if name not in row:
            raise Unknown(f"{name} is not known")
        return row[name]

    return evaluate


def _literal(node: exp.Literal) -> Evaluate:
    value = node.this if node.is_string else _written(node.this)
    return lambda row: value


def _connector(*, decisive: bool) -> Callable[[Any], Evaluate]:
    """AND and OR, of which one value decides whatever the others are. A chain of them is one, however long."""

    def make(node: Any) -> Evaluate:
        parts = [_compile(part) for part in node.flatten()]

        def evaluate(row: Row) -> Any:
            is_known = True
            for part in parts:
                value = part(row)
                if value is decisive:
                    return decisive
                is_known = is_known and value is not None
            return not decisive if is_known else None

        return evaluate

    return make


def _is(node: exp.Is) -> Evaluate:
    tested, against = _compile(node.this), node.expression
    negate = bool(node.args.get("negate"))
    if not isinstance(against, exp.Null | exp.Boolean):
        raise Unknown("IS is not known in this form")
    expected = None if isinstance(against, exp.Null) else bool(against.this)
    return lambda row: (tested(row) is expected) != negate


def _distinct(node: exp.Binary, *, same: bool) -> Evaluate:
    left, right = _compile(node.this), _compile(node.expression)

    def evaluate(row: Row) -> bool:
        first, second = left(row), right(row)
        equal = first is second if first is None or second is None else _equal(first, second)
        return equal == same

    return evaluate


def _comparison(compare: Callable[[Any, Any], bool]) -> tuple[frozenset[str], Callable[[Any], Evaluate]]:
    """A comparison with a value, or with all or any of an array's."""

    def make(node: exp.Binary) -> Evaluate:
        left, other = _compile(node.this), node.expression.unnest()
        is_all = isinstance(other, exp.Anonymous) and other.name.upper() == "ALL"
        if not is_all and not isinstance(other, exp.Any):
            return _both(left, _compile(other), compare)
        array = (other.expressions[0] if is_all else other.this).unnest()
        while isinstance(array, exp.Cast):
            if array.to.this != exp.DataType.Type.ARRAY:
                raise Unknown("ANY is not known in this form")
            array = array.this.unnest()
        if not isinstance(array, exp.Array):
            raise Unknown("ANY is not known in this form")
        parts = [_both(left, _compile(item), compare) for item in array.expressions]
        return partial(_all_of if is_all else _any_of, parts)

    return frozenset({"this", "expression"}), make


def _both(left: Evaluate, right: Evaluate, compare: Callable[[Any, Any], bool]) -> Evaluate:
    def evaluate(row: Row) -> Any:
        first, second = left(row), right(row)
        return None if first is None or second is None else compare(first, second)

    return evaluate


def _any_of(parts: Sequence[Evaluate], row: Row) -> Any:
    found = [part(row) for part in parts]
    return True if True in found else (None if None in found else False)


def _all_of(parts: Sequence[Evaluate], row: Row) -> Any:
    found = [part(row) for part in parts]
    return False if False in found else (None if None in found else True)


def _matching(translate: Callable[..., Any], *, ignore_case: bool) -> Callable[[Any], Evaluate]:
    """LIKE and ~ with a pattern that is a literal."""

    def make(node: exp.Binary) -> Evaluate:
        written = node.expression.unnest()
        while isinstance(written, exp.Cast):
            written = written.this.unnest()
        if not isinstance(written, exp.Literal) or not written.is_string:
            raise Unknown("a pattern that is computed is not known")
        text = _compile(node.this)
        patterns = {case: translate(written.this, ignore_case=case) for case in {ignore_case, True}}
        negate = bool(node.args.get("negate"))

        def evaluate(row: Row) -> Any:
            value = text(row)
            if value is None:
                return None
            pattern = patterns[ignore_case or isinstance(value, Folded)]
            return (pattern.search(_text(value)) is not None) != negate

        return evaluate

    return make


def _coalesce(node: exp.Coalesce) -> Evaluate:
    parts = [_compile(part) for part in (node.this, *node.expressions)]
    return lambda row: next((value for part in parts if (value := part(row)) is not None), None)


def _case(node: exp.Case) -> Evaluate:
    branches = [(_compile(branch.this), _compile(branch.args["true"])) for branch in node.args["ifs"]]
    default = node.args.get("default")
    otherwise: Evaluate = _compile(default) if default is not None else lambda row: None
    return lambda row: next((then(row) for test, then in branches if test(row) is True), None) if any(
        test(row) is True for test, _ in branches
    ) else otherwise(row)  # fmt: skip


def _anonymous(node: exp.Anonymous) -> Evaluate:
    parts = [_compile(part) for part in node.expressions]
    match node.name.lower():
        case "num_nulls":
            return lambda row: sum(part(row) is None for part in parts)
        case "num_nonnulls":
            return lambda row: sum(part(row) is not None for part in parts)
        case name:
            raise Unknown(f"{name} is not known")


def _cast(node: exp.Cast) -> Evaluate:
    inner, to = _compile(node.this), node.to
    # Types that are names of objects, as regconfig, are none of sqlglot's.
    name = to.this.name if isinstance(to.this, exp.DataType.Type) else ""
    if to.expressions:
        raise Unknown(f"a cast to {to.sql('postgres')} is not known")
    if name in _TEXT_TYPES:
        convert: Callable[[Any], Any] = _to_text
    elif name == "BPCHAR":
        convert = _to_unpadded
    elif name in _NUMERIC_TYPES:
        convert = partial(_to_number, size=_SIZES.get(name))
    elif name == "DATE":
        convert = _to_date
    elif name in _TIME_TYPES:
        convert = _to_time
    elif name == "BOOLEAN":
        convert = _to_boolean
    elif to.sql("postgres").lower().endswith("citext"):
        convert = _to_folded
    else:
        # The server has read a literal already; whether it would read another text is not known.
        convert = partial(_to_opaque, kind=to.sql("postgres"), is_written=isinstance(node.this.unnest(), exp.Literal))

    def evaluate(row: Row) -> Any:
        value = inner(row)
        return None if value is None else convert(value)

    return evaluate


# -------------------------------------------------------------------------------------------------- values


def _as_number(text: str) -> int | Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise Unknown("a number is not written as one") from None
    if not number.is_finite():
        raise Unknown("NaN and the infinities are not known")
    return int(number) if number == number.to_integral_value() else number


def _written(text: str) -> int | Decimal:
    number = _as_number(text)
    return integers.smallest(number) if isinstance(number, int) and _WHOLE.fullmatch(text) else number


def _as_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Unknown(_BEYOND) from None


def _as_time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Unknown("a time is beyond those that are known") from None
    return found.replace(tzinfo=None)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unknown("a text is asked of what is none")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Unknown("a number is asked of what is none")
    return value


def _to_text(value: Any) -> str:
    match value:
        case str():
            return str(value)
        case Opaque(text, is_exact=True):
            return text
        case bool() | date():
            raise Unknown("how such a value is written as text is not known")
        case int():
            return str(value)
        case _:
            raise Unknown("how such a value is written as text is not known")


def _to_unpadded(value: Any) -> str:
    return _text(value).rstrip(" ")


def _to_number(value: Any, *, size: type[Sized] | None) -> Any:
    number = _written_number(value, whole=size is not None) if isinstance(value, str) else _number(value)
    if size is None:
        return int(number) if isinstance(number, Sized) else number
    if not isinstance(number, int):
        raise Unknown("rounding is not known")
    return sized(number, size)


def _written_number(text: str, *, whole: bool) -> int | Decimal:
    written = text.strip()
    if not written.isascii() or _ODD_NUMBER.search(written):
        raise Unknown("a number is written in a way that is not known")
    try:
        Decimal(written)
    except InvalidOperation:
        raise Fails from None
    if whole and not _WHOLE.fullmatch(written):
        raise Fails
    return _as_number(written)


def _to_date(value: Any) -> date:
    match value:
        case str():
            return _as_date(value)
        case datetime():
            return value.date()
        case date():
            return value
        case _:
            raise Unknown("a date is asked of what is none")


def _to_time(value: Any) -> datetime:
    match value:
        case str():
            return _as_time(value)
        case datetime():
            return value
        case date():
            return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - all times here are UTC
        case _:
            raise Unknown("a time is asked of what is none")


def _to_boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value not in {"t", "f", "true", "false"}:
        raise Unknown("a truth is asked of what is none")
    return bool(value[0] == "t")


def _to_folded(value: Any) -> Folded:
    return Folded(_text(value))


def _to_opaque(value: Any, *, kind: str, is_written: bool) -> Opaque:
    if isinstance(value, Opaque):
        return value
    if not isinstance(value, str) or not is_written:
        raise Unknown(f"a cast to {kind} is not known")
    return Opaque(value, is_exact=True)


def _pair(first: Any, second: Any) -> tuple[Any, Any]:
    """Two values that can be compared, made of one type."""
    if type(first) is type(second) and type(first) in _COMPARED:
        return first, second
    if isinstance(first, Folded) or isinstance(second, Folded):
        return _text(first).lower(), _text(second).lower()
    if isinstance(first, Opaque) and isinstance(second, Opaque):
        if first.is_exact and second.is_exact:
            return first.text, second.text
        raise Unknown("such values are not compared")
    if isinstance(first, datetime) != isinstance(second, datetime):
        return _to_time(first), _to_time(second)
    kinds = [next((kind for kind in (bool, int | Decimal, str, date) if isinstance(value, kind)), None)
             for value in (first, second)]  # fmt: skip
    if kinds[0] is None or kinds[0] != kinds[1]:
        raise Unknown("such values are not compared")
    return first, second


def _equal(first: Any, second: Any) -> bool:
    left, right = _pair(first, second)
    return bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(first: Any, second: Any) -> bool:
        left, right = _pair(first, second)
        if isinstance(left, str) and (isinstance(first, Opaque) or (left and right)):
            raise Unknown("the order of texts depends on the collation")
        return bool(compare(left, right))

    return ordered


def _add(first: Any, second: Any) -> Any:
    if isinstance(first, date) and not isinstance(first, datetime):
        return _moved(first, _number(second))
    return integers.add(_number(first), _number(second))


def _subtract(first: Any, second: Any) -> Any:
    if isinstance(first, date) and not isinstance(first, datetime):
        if isinstance(second, date) and not isinstance(second, datetime):
            return Integer((first - second).days)
        return _moved(first, -_number(second))
    return integers.subtract(_number(first), _number(second))


def _moved(day: date, days: int) -> date:
    try:
        return day + timedelta(days)
    except OverflowError:
        raise Unknown(_BEYOND) from None


def _remainder(first: Any, second: Any) -> Any:
    if not _number(second):
        raise Fails
    try:
        return integers.remainder(_number(first), second)
    except InvalidOperation:
        raise Unknown("the rest of so long a number is not known") from None


def _length(text: Any) -> int:
    return Integer(len(_text(text)))


def _trim(node: exp.Trim) -> Evaluate:
    side = {"": "strip", "BOTH": "strip", "LEADING": "lstrip", "TRAILING": "rstrip"}[node.text("position").upper()]
    trim: Callable[[str, str], str] = getattr(str, side)
    text = _compile(node.this)

    def evaluate(row: Row) -> Any:
        value = text(row)
        return None if value is None else trim(_text(value), " ")

    return evaluate


def _left(text: Any, count: Any) -> str:
    return _text(text)[: _number(count)]


def _right(text: Any, count: Any) -> str:
    number = _number(count)
    return _text(text)[-number:] if number else ""


def _substring(text: Any, start: Any, length: Any = None) -> str:
    begin, whole = _number(start), _text(text)
    if length is None:
        return whole[max(begin - 1, 0) :]
    if _number(length) < 0:
        raise Fails
    return whole[max(begin - 1, 0) : max(begin - 1 + length, 0)]


def _lower(text: Any) -> str:
    return _text(text).lower()


def _upper(text: Any) -> str:
    return _text(text).upper()


def _join(first: Any, second: Any) -> str:
    return _text(first) + _text(second)


def _starts(text: Any, start: Any) -> bool:
    return _text(text).startswith(_text(start))


def _not(value: Any) -> bool:
    return not _to_boolean(value)


_PLAIN: Final = frozenset({"this"})
_KNOWN: Final[dict[type[exp.Expression], tuple[frozenset[str], Callable[[Any], Evaluate]]]] = {
    exp.Paren: (_PLAIN, lambda node: _compile(node.this)),
    exp.Column: (_PLAIN, _column),
    exp.Literal: (frozenset({"this", "is_string"}), _literal),
    exp.Boolean: (_PLAIN, lambda node: lambda row: bool(node.this)),
    exp.Null: (_PLAIN, lambda node: lambda row: None),
    exp.CurrentDate: (frozenset(), lambda node: lambda row: TODAY),
    exp.CurrentTimestamp: (frozenset(), lambda node: lambda row: _to_time(TODAY)),
    exp.And: (frozenset({"this", "expression"}), _connector(decisive=False)),
    exp.Or: (frozenset({"this", "expression"}), _connector(decisive=True)),
    exp.Not: _strict(_not, "this"),
    exp.Is: (frozenset({"this", "expression", "negate"}), _is),
    exp.NullSafeEQ: (frozenset({"this", "expression"}), partial(_distinct, same=True)),
    exp.NullSafeNEQ: (frozenset({"this", "expression"}), partial(_distinct, same=False)),
    exp.EQ: _comparison(_equal),
    exp.NEQ: _comparison(lambda first, second: not _equal(first, second)),
    exp.LT: _comparison(_ordered(operator.lt)),
    exp.LTE: _comparison(_ordered(operator.le)),
    exp.GT: _comparison(_ordered(operator.gt)),
    exp.GTE: _comparison(_ordered(operator.ge)),
    exp.Like: (frozenset({"this", "expression", "negate"}), _matching(like, ignore_case=False)),
    exp.ILike: (frozenset({"this", "expression", "negate"}), _matching(like, ignore_case=True)),
    exp.RegexpLike: (frozenset({"this", "expression"}), _matching(posix, ignore_case=False)),
    exp.RegexpILike: (frozenset({"this", "expression"}), _matching(posix, ignore_case=True)),
    exp.Coalesce: (frozenset({"this", "expressions"}), _coalesce),
    exp.Case: (frozenset({"ifs", "default"}), _case),
    exp.Anonymous: (frozenset({"this", "expressions"}), _anonymous),
    exp.Cast: (frozenset({"this", "to"}), _cast),
    exp.Neg: _strict(lambda value: integers.negate(_number(value)), "this"),
    exp.Abs: _strict(lambda value: integers.absolute(_number(value)), "this"),
    exp.Add: _strict(_add, "this", "expression"),
    exp.Sub: _strict(_subtract, "this", "expression"),
    exp.Mul: _strict(lambda first, second: integers.multiply(_number(first), _number(second)), "this", "expression"),
    exp.Mod: _strict(_remainder, "this", "expression"),
    exp.Length: _strict(_length, "this"),
    exp.Lower: _strict(_lower, "this"),
    exp.Upper: _strict(_upper, "this"),
    exp.Trim: (frozenset({"this", "position"}), _trim),
    exp.Left: _strict(_left, "this", "expression"),
    exp.Right: _strict(_right, "this", "expression"),
    exp.Substring: _strict(_substring, "this", "start", "length"),
    exp.DPipe: (frozenset({"this", "expression", "safe"}), _strict(_join, "this", "expression")[1]),
    exp.StartsWith: _strict(_starts, "this", "expression"),
}
