"""The plainest masks: keep, null, one constant for all, and a word that says that something was there."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from capture.model import Column
from transform.masks import literals
from transform.masks.base import (
    ANY,
    TEXT,
    Build,
    Example,
    Form,
    Group,
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
    """The value."""

    value: literals.Literal = Field(description="What every row gets, as SQL would take it.")


def redacted(column: Column) -> bytes:
    """The word, or as much of it as the column holds; no bytes in bytea."""
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
    return Constant(redacted(build.column))


register(
    MaskKind(
        name="keep",
        group=Group.ANY,
        summary="the value as it is",
        types=ANY,
        params=NoParams,
        build=_build_keep,
        uniqueness=injective,
        form=Form.KEPT,
        examples=(Example("confirmed"),),
        notes="For what says nothing of a person. Whoever reads the copy reads production's value.",
    )
)
register(
    MaskKind(
        name="null",
        group=Group.ANY,
        summary="NULL",
        types=ANY,
        params=NoParams,
        build=_build_null,
        uniqueness=lossy,
        examples=(Example("Anna Keller"),),
        notes="Not for a column that is NOT NULL. A foreign key that is NULL refers to nothing.",
    )
)
register(
    MaskKind(
        name="constant",
        group=Group.ANY,
        summary="one value for all rows",
        types=ANY,
        params=ConstantParams,
        build=_build_constant,
        uniqueness=lossy,
        examples=(Example("Anna Keller", {"value": "Jane Doe"}),),
        notes=f"NULL stays NULL. {literals.NOTE}",
    )
)
register(
    MaskKind(
        name="redact",
        group=Group.TEXT,
        summary="the same word for all, in bytea no bytes",
        types=TEXT | {"bytea"},
        params=NoParams,
        build=_build_redact,
        uniqueness=lossy,
        examples=(Example("Anna Keller"),),
        notes="NULL stays NULL, so it still shows who has a value.",
    )
)
