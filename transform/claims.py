"""What a copy's server demands of every row, by expressions: CHECK constraints of tables and of domains, generated
columns, whose value must be computed and fit, and what indexes compute.

Those of partitions count for their root.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlglot import exp

from capture.model import Catalog, Column, ColumnName, Table, TableName
from transform.conditions import Evaluate, compile_condition
from transform.domains import root_of
from transform.integers import BY_TYPE
from transform.masks.base import INTEGER, JSON, TEXT
from transform.patterns import Unknown
from transform.sqltext import mentions, parse

ITSELF: Final = "VALUE"
_TEXT_TYPES: Final = frozenset({"TEXT", "VARCHAR", "CHAR", "BPCHAR", "NCHAR", "NAME"})
_CITEXT: Final = "citext"


@dataclass(frozen=True, slots=True)
class Claim:
    """One demand on a root table's rows.

    ``names`` are what the expression calls the columns with data of their own that it reads, also by way of generated
    ones, and what they are; ``read`` are the columns that it names. ``what`` is the demand in words, with its name
    last. A constraint (``is_condition``) must not be false; what else is computed must be computable, and be a value of
    ``result`` where there is such a column.
    """

    table: Table
    name: str
    what: str
    expression: str
    names: Mapping[str, str]
    read: tuple[str, ...] = ()
    is_condition: bool = True
    result: Column | None = None


def claims_on(catalog: Catalog) -> Iterator[Claim]:
    """All demands; those that partitions only inherit count once."""
    seen: set[tuple[TableName, str, str]] = set()
    for table in catalog.tables.values():
        root = catalog.tables.get(root_of(catalog, table.name), table)
        for claim in (*_constraints(root, table), *_generated(root, table), *_indexed(root, table)):
            # A partition's index has a name of its own.
            key = (root.name, claim.name if claim.is_condition or claim.result else "", claim.expression)
            if key not in seen:
                seen.add(key)
                yield claim
        for column in table.copied_columns if table.root is None else ():
            for check in column.checks:
                what = f"the check constraint {check.name}"
                yield Claim(table, check.name, what, check.expression, {ITSELF: column.name})


def claims_of(catalog: Catalog, column: ColumnName) -> list[Claim]:
    """The demands that read a column of a table that is no partition."""
    return [
        claim
        for claim in claims_on(catalog)
        if claim.table.name == column.table and column.column in claim.names.values()
    ]


def _constraints(root: Table, table: Table) -> Iterator[Claim]:
    for check in table.checks:
        names = _sources(root, check.columns)
        yield Claim(root, check.name, f"the check constraint {check.name}", check.expression, names, check.columns)


def _generated(root: Table, table: Table) -> Iterator[Claim]:
    for column in table.columns:
        if column.expression is not None:
            names = _sources(root, (column.name,))
            what = f"the generated column {column.name}"
            yield Claim(root, column.name, what, column.expression, names, is_condition=False, result=column)


def _indexed(root: Table, table: Table) -> Iterator[Claim]:
    for computed in table.computed:
        read = tuple(shape.name for shape in root.columns if mentions(computed.expression, shape.name))
        names = _sources(root, read)
        what = f"the index {computed.index}"
        yield Claim(root, computed.index, what, computed.expression, names, read, is_condition=False)


def _sources(table: Table, columns: tuple[str, ...]) -> dict[str, str]:
    """The columns with data of their own that an expression reads, also by way of generated ones."""
    found: dict[str, str] = {}
    for shape in table.columns:
        if shape.name in columns:
            expression = shape.expression
            read_by = [shape] if expression is None else [
                source for source in table.columns if mentions(expression, source.name) and not source.generated
            ]  # fmt: skip
            found |= {source.name: source.name for source in read_by}
    return found


# --------------------------------------------------------------------------------------------------- what fits


def fits(claim: Claim, compute: Evaluate) -> Evaluate:
    """Whether what is computed is a value of the column that takes it, if there is one. Raises ``Unknown``."""
    shape = claim.result
    limits = [compile_condition(tree_of(check.expression)) for check in shape.checks] if shape is not None else []

    def fit(row: Any) -> bool:
        value = compute(row)
        return shape is None or (_holds(value, shape) and not any(limit({ITSELF: value}) is False for limit in limits))

    return fit


def _holds(value: Any, shape: Column) -> bool:
    if value is None:
        return not shape.not_null
    if isinstance(value, str):
        return shape.max_length is None or len(value.rstrip(" ")) <= shape.max_length
    if shape.base_type in INTEGER and isinstance(value, int):
        bits = BY_TYPE[shape.base_type].bits
        return bool(-(2**bits) <= value < 2**bits)
    if shape.base_type == "numeric" and shape.typmod >= 4 and isinstance(value, int | Decimal):
        most = 10 ** ((shape.typmod - 4 >> 16) - (shape.scale or 0))
        return bool(-most < value < most)
    return True


def cannot_fail(claim: Claim) -> bool:
    """Whether a demand is met by whatever values there are: what is computed without a division, without reckoning with
    integers, which have a size, and without reading anything as a value of another type but text, where nothing takes
    it or what takes it has no limits."""
    if claim.is_condition or not (claim.result is None or _takes_anything(claim.result)):
        return False
    names = {*claim.read, *claim.names.values()}
    shapes = [shape for shape in claim.table.columns if shape.name in names]
    trees = list(map(parse, (claim.expression, *(shape.expression for shape in shapes if shape.expression))))
    may_grow = any(shape.base_type in INTEGER for shape in shapes)
    return all(
        tree is not None
        and not _casts(tree)
        and not _divisors(tree)
        and not (may_grow and tree.find(exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Abs))
        for tree in trees
    )


def _takes_anything(shape: Column) -> bool:
    has_room = shape.max_length is None and shape.base_type not in INTEGER | {"numeric"}
    return has_room and not shape.not_null and not shape.checks


def may_fail(claim: Claim, masked: frozenset[str], *, nulls: bool) -> bool:
    """Whether a demand of which it is not known what it computes could fail of other values of the ``masked`` columns:
    a constraint; a result that the column need not hold, or NULL (``nulls``: a mask makes some); what reads a text as
    a value of another type; a division."""
    if claim.is_condition:
        return True
    result = claim.result
    if result is not None and (result.max_length is not None or result.checks or (nulls and result.not_null)):
        return True
    tree = parse(claim.expression)
    if tree is None:
        return True
    texts = {
        shape.name
        for shape in claim.table.columns
        if shape.name in masked and (shape.base_type in TEXT | JSON or shape.is_array)
    }
    return any(_reads(node, texts) for node in _casts(tree)) or any(_reads(node, masked) for node in _divisors(tree))


def _casts(tree: exp.Expression) -> list[exp.Expr]:
    """What is read as a value of another type than text."""
    return [node.this for node in tree.find_all(exp.Cast) if not _is_text(node.to)]


def _divisors(tree: exp.Expression) -> list[exp.Expr]:
    return [node.expression for node in tree.find_all(exp.Div, exp.IntDiv, exp.Mod)]


def _is_text(to: exp.Expr) -> bool:
    if isinstance(to, exp.DataType) and isinstance(to.this, exp.DataType.Type) and to.this.name in _TEXT_TYPES:
        return True
    return to.sql("postgres").lower().endswith(_CITEXT)


def _reads(node: exp.Expr, columns: Container[str]) -> bool:
    return any(column.name in columns for column in node.find_all(exp.Column))


def tree_of(sql: str) -> exp.Expression:
    """The expression, parsed. Raises ``Unknown``."""
    tree = parse(sql)
    if tree is None:
        raise Unknown("it cannot be parsed")
    return tree
