"""What SQL text of the catalog says of a column: whether it reads it, and how.

The text is what ``pg_get_expr`` prints of indexes, constraints and generated columns. Where it cannot be told, the
answer is the one that refuses more.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

_DIALECT: Final = "postgres"
_TEXT_TYPES: Final = frozenset({exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR})


class Reading(StrEnum):
    """What an expression does to a column's value: it keeps different values apart; it holds some texts equal, by case
    or by blanks; the same, and gives a value for NULL; anything."""

    EXACT = "exact"
    FOLDED = "folded"
    FILLED = "filled"
    UNKNOWN = "unknown"


@lru_cache(maxsize=4096)
def parse(sql: str) -> exp.Expression | None:
    """The tree of an expression; None for what cannot be parsed."""
    try:
        found = sqlglot.parse_one(sql, dialect=_DIALECT)
    except SqlglotError:
        return None
    return found if isinstance(found, exp.Expression) else None


@lru_cache(maxsize=4096)
def _words(sql: str) -> frozenset[str] | None:
    try:
        tokens = sqlglot.tokenize(sql, dialect=_DIALECT)
    except SqlglotError:
        return None
    # The name of a type, after ::, and a text are no column's.
    pairs = zip([None, *tokens], tokens, strict=False)
    return frozenset(
        token.text
        for before, token in pairs
        if token.token_type is not TokenType.STRING
        and not (before is not None and before.token_type is TokenType.DCOLON)
    )


def mentions(sql: str, column: str) -> bool:
    """Whether SQL text may speak of a column: its name stands there as a word of the statement's own."""
    words = _words(sql)
    if words is None:
        return re.search(rf"(?<![\w$]){re.escape(column)}(?![\w$])", sql) is not None
    return column in words


def reading(sql: str, column: str) -> Reading:
    """How an expression that mentions a column reads it."""
    node, found = parse(sql), Reading.EXACT
    while node is not None:
        match node:
            case exp.Column() if node.name == column:
                return found
            case exp.Paren() | exp.MD5():
                pass
            case exp.Lower() | exp.Upper():
                found = max(found, Reading.FOLDED, key=_ORDER.index)
            case exp.Trim() if node.expression is None:
                found = max(found, Reading.FOLDED, key=_ORDER.index)
            case exp.Cast() if node.to.this in _TEXT_TYPES and not node.to.expressions:
                pass
            case exp.Cast() if node.to.sql(_DIALECT).lower().endswith("citext"):
                found = max(found, Reading.FOLDED, key=_ORDER.index)
            case exp.Coalesce() if all(isinstance(other.unnest(), exp.Cast | exp.Literal) and not _columns(other)
                                       for other in node.expressions):  # fmt: skip
                found = Reading.FILLED
            case _:
                return Reading.UNKNOWN
        node = node.this
    return Reading.UNKNOWN


def fillings(sql: str) -> tuple[str, ...] | None:
    """The values that an expression gives for NULL, as they are written; None if one of them is computed."""
    tree = parse(sql)
    found: list[str] = []
    for node in tree.find_all(exp.Coalesce) if tree is not None else ():
        for other in node.expressions:
            written = other.unnest()
            while isinstance(written, exp.Cast):
                written = written.this.unnest()
            if not isinstance(written, exp.Literal):
                return None
            found.append(written.this)
    return tuple(found)


def chooses(predicate: str, column: str, *, nulls: bool) -> bool:
    """Whether masked values of a column may choose rows by a predicate that original ones do not: not where it only
    asks whether the value is NULL, since a value masks to a value. Where all become NULL (``nulls``) it must choose
    those that have one, and hold of no more rows than before."""
    if not nulls:
        return mentions(_without_null_tests(predicate, column), column)
    tree = parse(predicate)
    if tree is None:
        return mentions(predicate, column)
    waiting = [tree.unnest()]
    while waiting:
        node = waiting.pop().unnest()
        if isinstance(node, exp.And | exp.Or):
            waiting += [node.this, node.expression]
        elif not _asks_for_value(node, column) and mentions(node.sql(_DIALECT), column):
            return True
    return False


def _asks_for_value(node: exp.Expr, column: str) -> bool:
    """Whether it is ``column IS NOT NULL``."""
    test = node.this.unnest() if isinstance(node, exp.Not) else node
    is_negated = isinstance(node, exp.Not) != bool(test.args.get("negate"))
    if not isinstance(test, exp.Is) or not isinstance(test.expression, exp.Null) or not is_negated:
        return False
    asked = test.this.unnest()
    return isinstance(asked, exp.Column) and asked.name == column


def _without_null_tests(predicate: str, column: str) -> str:
    test = r"IS\s+(?:NOT\s+)?NULL"
    return re.sub(rf'(?<![\w$"])"?{re.escape(column)}"?\s+{test}', "", predicate, flags=re.IGNORECASE)


_ORDER: Final = list(Reading)


def _columns(node: exp.Expression) -> bool:
    return node.find(exp.Column) is not None
