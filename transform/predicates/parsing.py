"""From SQL to a predicate: sqlglot parses; a part whose meaning is known exactly is taken, any other refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final
from uuid import UUID

import numpy as np
import pyarrow as pa
import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from capture.model import BadInput, Column, ServerFailed, quote_identifier
from transform.copytext import Flags, unescape
from transform.masks import literals
from transform.predicates.nodes import (
    All,
    Any_,
    Compare,
    Constant,
    Distinct,
    IsNull,
    IsTruth,
    Length,
    Like,
    Not,
    Operand,
    Test,
    Truth,
    Value,
    like_pattern,
)
from transform.predicates.values import NUMBERS, Kind, Rows, decimal, moment, read

_SIGNS: Final[dict[type[exp.Expr], str]] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_SUPPORTED: Final = (
    "Supported are AND, OR, NOT, comparisons, IN, BETWEEN, IS [NOT] NULL, TRUE or FALSE, IS [NOT] DISTINCT FROM, LIKE, "
    "ILIKE and length(), of columns and of values that are written."
)
_UNDECIDED: Final = "Check how its name is written, and decide it; a generated column has no rule, and cannot be read."
_INT8: Final = 2**63
_ORDINARY_NUMBER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NAME_BYTES: Final = 63
# After a time of the day; elsewhere a sign is a date's.
_OFFSET: Final = re.compile(r"(:\d\d(?:\.\d+)?)([+-])(0\d|1[0-5])(?::?([0-5]\d))?(?= BC$|$)", re.ASCII)
_FARTHEST: Final = 2**63 - 2
_MINUTE: Final = 60_000_000
# Without quotes these are no columns, whatever the table has: they tell about the session.
_OF_THE_SESSION: Final = frozenset(
    "current_catalog current_date current_role current_schema current_time current_timestamp current_user localtime "
    "localtimestamp session_user system_user user".split()
)


@dataclass(frozen=True, slots=True, repr=False)
class Predicate:
    """A compiled condition. ``columns`` are those that it reads; ``sql`` is how it was written, perhaps with values."""

    sql: str
    columns: tuple[str, ...]
    test: Test

    def __repr__(self) -> str:
        return f"Predicate({', '.join(self.columns)})"

    def evaluate(self, values: Mapping[str, pa.BinaryArray], count: int) -> pa.BooleanArray:
        """Whether it is true, false or unknown (null) of ``count`` rows; ``values`` holds its columns as text."""
        found = self.test.evaluate(Rows(values, count))
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def hold_true(condition: Predicate | None, batch: pa.RecordBatch, *, escaped: bool) -> Flags:
    """Of which rows of a batch the condition is true; of all where there is none. ``escaped`` says that the batch holds
    COPY text; it must have the columns that the condition reads."""
    if condition is None:
        return np.ones(batch.num_rows, dtype=np.bool_)
    columns = {name: batch.column(name) for name in condition.columns}
    values = {name: unescape(column) if escaped else column for name, column in columns.items()}
    found: Flags = condition.evaluate(values, batch.num_rows).fill_null(False).to_numpy(zero_copy_only=False)
    return found


def compile_predicate(sql: str, columns: Mapping[str, Column]) -> Predicate:
    """The condition on a row of these columns. Raises ``BadInput``, which shows no value that is written there."""
    try:
        tree = sqlglot.parse_one(f"SELECT 1 WHERE {sql}", read="postgres")
        tokens = sqlglot.tokenize(sql, read="postgres")
    except (SqlglotError, RecursionError):
        raise BadInput("the condition is not an SQL expression.", hint=_SUPPORTED) from None
    where = tree.args.get("where")
    is_divided = any(token.token_type is TokenType.SEMICOLON or token.comments for token in tokens)
    if not isinstance(tree, exp.Select) or where is None or _has_more(tree) or is_divided:
        raise BadInput("the condition must be one SQL expression, without comments.", hint=_SUPPORTED)
    parser = _Parser(columns)
    try:
        test = parser.test(where.this)
    except RecursionError:
        raise BadInput("the condition is nested too deeply.") from None
    return Predicate(sql, tuple(parser.read), test)


def _has_more(tree: exp.Expr) -> bool:
    """Whether anything follows the condition: GROUP BY, LIMIT, UNION."""
    return any(value for name, value in tree.args.items() if name not in {"where", "expressions", "kind"})


class _Parser:
    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self.read: dict[str, None] = {}

    # ---------------------------------------------------------------------------------------------- tests

    def test(self, node: exp.Expr) -> Test:
        found = self._test(node)
        return Not(found) if node.args.get("negate") else found

    def _test(self, node: exp.Expr) -> Test:
        _refuse_more(node)
        match node:
            case exp.Paren():
                return self.test(node.this)
            case exp.And():
                return All((self.test(node.left), self.test(node.right)))
            case exp.Or():
                return Any_((self.test(node.left), self.test(node.right)))
            case exp.Not():
                return Not(self.test(node.this))
            case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                return self._compare(_SIGNS[type(node)], node.left, node.right)
            case exp.NullSafeNEQ():
                return Distinct(*self._pair("<>", node.left, node.right))
            case exp.NullSafeEQ():
                return Not(Distinct(*self._pair("=", node.left, node.right)))
            case exp.In():
                return self._in(node)
            case exp.Between():
                low = self._compare(">=", node.this, node.args["low"])
                return All((low, self._compare("<=", node.this, node.args["high"])))
            case exp.Is():
                return self._is(node)
            case exp.Like() | exp.ILike() | exp.Escape():
                return self._like(node)
            case exp.Column() | exp.Boolean():
                operand = self._operand(node)
                if operand.kind is not Kind.BOOL:
                    raise BadInput(f"the column {self._named(node)} is no boolean, so it is no condition by itself.")
                return Truth(operand)
        raise _unsupported(node)

    def _compare(self, sign: str, left: exp.Expr, right: exp.Expr) -> Test:
        return Compare(sign, *self._pair(sign, left, right))

    def _in(self, node: exp.In) -> Test:
        if node.args.get("query") or node.args.get("unnest") or not node.expressions:
            raise BadInput("IN needs a list of values that are written.", hint=_SUPPORTED)
        subject = _bare(node.this)
        single = isinstance(subject, exp.Column) and self._column(subject).base_type == "float4"
        if single and len(node.expressions) > 1 and any(map(_is_number, node.expressions)):
            raise BadInput("numbers in a list for IN are rounded to real first.", hint="Write them in quotes.")
        tests = tuple(self._compare("=", node.this, each) for each in node.expressions)
        return tests[0] if len(tests) == 1 else Any_(tests)

    def _is(self, node: exp.Is) -> Test:
        what = node.expression
        subject = _bare(node.this)
        if isinstance(what, exp.Null):
            if isinstance(subject, exp.Column):
                shape = self._column(subject)
                if shape.kind == "c" and not shape.is_array:
                    raise BadInput(f"IS NULL asks about each field of {shape.type_name}.", hint=_SUPPORTED)
                return IsNull(shape.name)
            return IsTruth(self.test(node.this), None)
        if isinstance(what, exp.Boolean):
            return IsTruth(self.test(node.this), bool(what.this))
        raise _unsupported(node)

    def _like(self, node: exp.Expr) -> Test:
        outer = node
        escape = "\\"
        if isinstance(node, exp.Escape):
            escape, node = self._written(node.expression), node.this
            if len(escape) > 1:
                raise BadInput("the ESCAPE of LIKE must be one character, or none.")
        if not isinstance(node, exp.Like | exp.ILike):
            raise _unsupported(node)
        _refuse_more(node)
        shape = self._text_column(node.this, "LIKE")
        _refuse_collation(shape)
        if shape.base_type == "bpchar":
            raise BadInput(f"LIKE on {shape.type_name} depends on the blanks that pad it.", hint="Compare with =.")
        folds = isinstance(node, exp.ILike) or shape.base_type == "citext"
        pattern = self._written(node.expression)
        if folds and not pattern.isascii():
            raise BadInput("ILIKE with letters beyond ASCII depends on the database's locale.", hint="Use LIKE.")
        try:
            found = Like(Value(shape), like_pattern(pattern, escape, folds=folds), folds)
            # Where an ESCAPE stands around it, it is negated itself.
            return Not(found) if outer is not node and node.args.get("negate") else found
        except ValueError as error:
            raise BadInput(f"{error}.") from None

    # ------------------------------------------------------------------------------------------- operands

    def _pair(self, sign: str, left: exp.Expr, right: exp.Expr) -> tuple[Operand, Operand]:
        """Two operands that can be compared. What is written takes the type of what it is compared with."""
        sides = [self._operand(side) if not _is_written(side) else None for side in (left, right)]
        if sides[0] is None and sides[1] is None:
            raise BadInput("a condition compares a column with something.", hint=_SUPPORTED)
        one = sides[0] if sides[0] is not None else self._literal(left, sides[1])
        two = sides[1] if sides[1] is not None else self._literal(right, sides[0])
        for side in (one, two):
            if side.kind is Kind.NONE:
                raise BadInput("a column of this type cannot be compared, only tested for NULL.", hint=_SUPPORTED)
        if one.kind is not two.kind and not {one.kind, two.kind} <= NUMBERS:
            message = f"values of different types are compared: {one.kind} and {two.kind}."
            raise BadInput(message, hint="Compare values of one type.")
        if one.kind is Kind.LABEL and len({_type_of(side) for side in (one, two)} - {None}) > 1:
            raise BadInput("labels of different enums are compared.")
        if one.kind is Kind.TEXT:
            self._check_texts(sign, one, two)
        return one, two

    def _check_texts(self, sign: str, one: Operand, two: Operand) -> None:
        for side in (one, two):
            if isinstance(side, Value):
                _refuse_collation(side.shape)
        types = {_type_of(side) for side in (one, two)} - {None}
        if len(types) > 1 and types & {"citext", "bpchar", "uuid"}:
            raise BadInput("texts of different types are compared.", hint="Compare columns of one type.")
        if sign not in ("=", "<>") and "uuid" not in types:
            raise BadInput("the order of texts depends on the database's collation.", hint="Compare with =, or LIKE.")

    def _operand(self, node: exp.Expr) -> Operand:
        node = _bare(node)
        _refuse_more(node)
        match node:
            case exp.Column():
                return Value(self._column(node))
            case exp.Boolean():
                return Constant(Kind.BOOL, bool(node.this))
            case exp.Length():
                shape = self._text_column(node.this, "length()")
                if shape.base_type in {"bpchar", "citext"}:
                    raise BadInput(f"length() of {shape.type_name} is not supported.", hint=_SUPPORTED)
                return Length(Value(shape))
        raise _unsupported(node)

    def _literal(self, node: exp.Expr, beside: Operand | None) -> Operand:
        """A value that is written, in the type of the operand that it is compared with."""
        assert beside is not None
        node = _bare(node)
        if isinstance(node, exp.Cast):
            node = self._cast(node, beside)
            if beside.kind in NUMBERS and _is_number(node):
                # What the cast would round has no form of the type, and is refused.
                assert isinstance(beside, Value), "nothing else is cast to"
                return Constant(beside.kind, _read_literal(str(node.this), beside.shape))
        if isinstance(node, exp.Null):
            return Constant(beside.kind, None)
        if isinstance(node, exp.Boolean):
            return Constant(Kind.BOOL, bool(node.this))
        negative = isinstance(node, exp.Neg)
        number = _bare(node.this) if negative else node
        if isinstance(number, exp.Literal) and not number.is_string:
            return _number(f"-{number.this}" if negative else str(number.this))
        text = self._written(node)
        if isinstance(beside, Length):
            return _number(text.strip())
        assert isinstance(beside, Value), "a constant is compared with a column"
        return Constant(beside.kind, _read_literal(text, beside.shape))

    def _cast(self, node: exp.Cast, beside: Operand) -> exp.Expr:
        """What is cast, where the cast is to the type that it would take anyway."""
        named = node.to.sql("postgres").lower()
        shape = beside.shape if isinstance(beside, Value) else None
        known = {shape.type_name.lower(), shape.base_type} if shape is not None else set()
        if named not in known | _ALIASES.get(shape.base_type if shape is not None else "", frozenset()):
            raise BadInput(f"a value is cast to {named}, which is not the type of what it is compared with.")
        inner: exp.Expr = _bare(node.this)
        return inner

    def _written(self, node: exp.Expr) -> str:
        node = _bare(node)
        if isinstance(node, exp.Literal) and node.is_string:
            return str(node.this)
        raise _unsupported(node)

    def _text_column(self, node: exp.Expr, what: str) -> Column:
        bare = _bare(node)
        shape = self._column(bare) if isinstance(bare, exp.Column) else None
        if shape is None or Value(shape).kind is not Kind.TEXT or shape.base_type == "uuid":
            raise BadInput(f"{what} needs a column of text.", hint=_SUPPORTED)
        return shape

    def _column(self, node: exp.Column) -> Column:
        if node.table:
            raise BadInput("a condition reads columns of its own table, without the table's name.")
        name = self._named(node)
        if name in _OF_THE_SESSION and not node.this.args.get("quoted"):
            hint = f'The column is written "{name}", with its quotes.' if name in self._columns else _SUPPORTED
            raise BadInput(f"{name} is no column: it tells about the session.", hint=hint)
        if name not in self._columns:
            near = get_close_matches(name, self._columns, n=1, cutoff=0.6)
            hint = f"Did you mean {quote_identifier(near[0])}?" if near else _UNDECIDED
            if node.this.args.get("quoted"):
                hint = f"A written value is in single quotes. {hint}"
            raise BadInput(
                f"the condition reads {quote_identifier(name)}, which is no column of the table that has a rule.",
                hint=hint,
            )
        self.read[name] = None
        return self._columns[name]

    @staticmethod
    def _named(node: exp.Expr) -> str:
        identifier = node.this
        quoted = isinstance(identifier, exp.Identifier) and identifier.args.get("quoted")
        return str(node.name) if quoted else str(node.name).lower()


_ALIASES: Final[dict[str, frozenset[str]]] = {
    "int2": frozenset({"smallint"}),
    "int4": frozenset({"int", "integer"}),
    "int8": frozenset({"bigint"}),
    "float4": frozenset({"real"}),
    "float8": frozenset({"double precision"}),
    "bool": frozenset({"boolean"}),
    "numeric": frozenset({"decimal", "numeric"}),
    "varchar": frozenset({"text", "varchar"}),
    "text": frozenset({"varchar"}),
    "timestamptz": frozenset({"timestamptz", "timestamp with time zone"}),
    "timestamp": frozenset({"timestamp without time zone"}),
}


# What the parts of an expression may hold; anything else is a form that is not known here.
_PARTS: Final = frozenset("this expression expressions low high negate quoted is_string to query unnest table".split())


def _refuse_more(node: exp.Expr) -> None:
    if any(value for name, value in node.args.items() if name not in _PARTS):
        raise _unsupported(node)


def _is_number(node: exp.Expr) -> bool:
    """Whether it is a number that is written without quotes."""
    bare = _bare(node)
    inner = _bare(bare.this) if isinstance(bare, exp.Neg) else bare
    return isinstance(inner, exp.Literal) and not inner.is_string


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _is_written(node: exp.Expr) -> bool:
    node = _bare(node)
    if isinstance(node, exp.Cast | exp.Neg):
        node = _bare(node.this)
    return isinstance(node, exp.Literal | exp.Null | exp.Boolean)


def _refuse_collation(shape: Column) -> None:
    if not shape.deterministic:
        message = f"{quote_identifier(shape.name)} has a collation that takes different texts as equal."
        raise BadInput(message, hint="Such a column is only tested for NULL.")


def _type_of(operand: Operand) -> str | None:
    """The type that decides how texts and labels are compared."""
    if not isinstance(operand, Value):
        return None
    shape = operand.shape
    if shape.kind == "e":
        return shape.type_name
    return shape.base_type if shape.base_type in {"citext", "bpchar", "uuid"} else "text"


def _number(text: str) -> Constant:
    if _ORDINARY_NUMBER.fullmatch(text) and -_INT8 <= int(text) < _INT8:
        return Constant(Kind.INTEGER, int(text))
    try:
        return Constant(Kind.DECIMAL, decimal(text))
    except ArithmeticError:
        raise BadInput("a number is written in a way that cannot be read.") from None


def _read_literal(text: str, shape: Column) -> Any:
    """A written text as a value of a column's type, in the form that it is compared in. Raises ``BadInput``."""
    kind = Value(shape).kind
    if kind is Kind.LABEL and text not in shape.enum_labels:
        hint = f"Its labels are: {', '.join(shape.enum_labels)}."
        raise BadInput(f"the condition names no label of the enum {shape.type_name}.", hint=hint)
    if kind is Kind.NONE:
        raise BadInput("a column of this type cannot be compared, only tested for NULL.", hint=_SUPPORTED)
    if shape.base_type == "citext" and not text.isascii():
        raise BadInput("citext with letters beyond ASCII depends on the database's locale.", hint="Use LIKE on text.")
    hint = "Write it as PostgreSQL prints it; dates and times in ISO, and in UTC where they name no other offset."
    wrong = BadInput(f"the condition holds no value of the type {shape.type_name}.", hint=hint)
    try:
        if kind is Kind.MOMENT:
            return _moment(text.strip(), shape)
        if shape.base_type == "uuid":
            return str(UUID(text)).encode()
        if kind is Kind.TEXT:
            # Longer than the column, it is equal to nothing there; but a name would be cut.
            canonical = text.encode()
            if shape.base_type == "name" and len(canonical) > _NAME_BYTES:
                raise wrong
        else:
            canonical = literals.canonical(text, shape) if kind is not Kind.DECIMAL else text.strip().encode()
        found = read(pa.array([canonical], pa.binary()), shape)
    except (ValueError, ArithmeticError, BadInput, ServerFailed, pa.ArrowInvalid):
        raise wrong from None
    return found[0] if isinstance(found, list) else found[0].as_py()


def _moment(text: str, shape: Column) -> int:
    if shape.base_type == "date" and not re.fullmatch(r"-?infinity|\d{4,7}-\d\d-\d\d( BC)?", text):
        raise ValueError("a date has no time")
    plain, offset = text, 0
    if plain.endswith("Z"):
        plain = plain[:-1] + "+00"
    zone = _OFFSET.search(plain)
    if zone is not None:
        if shape.base_type != "timestamptz":
            raise ValueError("this type has no time zone")
        plain = plain[: zone.end(1)] + plain[zone.end() :]
        offset = (int(zone[3]) * 60 + int(zone[4] or 0)) * (-1 if zone[2] == "-" else 1)
    if plain[10:11] == "T":
        plain = plain.replace("T", " ", 1)
    if len(plain) == len("2024-01-31 10:00"):
        plain += ":00"
    found = moment(plain.encode())
    if offset and abs(found) >= _FARTHEST:
        raise ValueError("this is beyond all times")
    return found - offset * _MINUTE


def _unsupported(node: exp.Expr) -> BadInput:
    # The name of a node may be a value that is written in it; a function's own is not.
    name = node.name if isinstance(node, exp.Anonymous) else type(node).__name__.lower()
    what = f"the function {name}()" if isinstance(node, exp.Func) else name.upper()
    return BadInput(f"{what} is not supported in a condition.", hint=_SUPPORTED)
