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


_ORDER: Final = list(Reading)


def _columns(node: exp.Expression) -> bool:
    return node.find(exp.Column) is not None
