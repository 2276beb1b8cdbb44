"""The plainest masks: keep, null, one constant for all, and a word that says that something was there."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from capture.model import Column
from transform.masks import literals
from transform.masks.base import (
    ANY,
    TEXT,
    Build,
    Mask,
    MaskKind,
    NoParams,
    Params,
    injective,
    lossy,
    register,
)
from transform.masks.choosing import room

_REDACTED: Final = "[redacted]"


class Keep(Mask):
    """Values as they are. A plan has no mask for a column that is kept; this one stands inside other masks."""

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return values


class Null(Mask):
    """NULL for every value."""

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return pa.nulls(len(values), pa.binary())


class Constant(Mask):
    """One value for all that are not NULL. Its ``repr`` does not show the value."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return pc.if_else(values.is_valid(), pa.scalar(self._value, pa.binary()), pa.scalar(None, pa.binary()))


class ConstantParams(Params):
    """``value`` is what every row gets, as SQL would take it."""

    value: literals.Literal


def _redacted(column: Column) -> bytes:
    if column.base_type == "bytea":
        return b"\\x"
    limit = room(column)
    word = _REDACTED[:limit]
    return (word.ljust(limit) if column.base_type == "bpchar" and limit is not None else word).encode()


def _build_keep(params: NoParams, build: Build) -> Mask:
    return Keep()


def _build_null(params: NoParams, build: Build) -> Mask:
    return Null()


def _build_constant(params: ConstantParams, build: Build) -> Mask:
    return Constant(literals.canonical(params.value, build.column))


def _build_redact(params: NoParams, build: Build) -> Mask:
    return Constant(_redacted(build.column))


register(
    MaskKind("keep", "the value as it is", ANY, NoParams, _build_keep, injective, ("Anna Keller", "Anna Keller")),
)
register(MaskKind("null", "NULL", ANY, NoParams, _build_null, lossy, ("Anna Keller", "NULL")))
register(
    MaskKind(
        "constant", "one value for all rows", ANY, ConstantParams, _build_constant, lossy, ("Anna Keller", "Jane Doe")
    )
)
register(
    MaskKind(
        "redact",
        "the same word for all, in bytea no bytes",
        TEXT | {"bytea"},
        NoParams,
        _build_redact,
        lossy,
        ("Anna Keller", "[redacted]"),
    )
)
