"""What a mask is: a pure function over one column's values, built once in the plan.

A ``Mask`` takes a ``pa.BinaryArray`` of PostgreSQL text values (unescaped) and returns one of the same length. A NULL
stays NULL. Equal inputs give equal outputs, whatever else is in the array, in whatever order, in any process. The
output is *canonical*: what PostgreSQL itself prints for that value in that column, so that ``verify`` can compare
bytes. A mask is picklable (workers get it) and its ``repr`` holds no key.

A ``RowMask`` also reads other columns of the same row (their original values).

``MaskKind`` is a catalogue entry: what the rules name. ``MASKS`` holds them by name; each module of this package
registers its own, and ``transform.masks`` imports them all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from capture.model import BadInput, Column
from transform.cmac import Prf

TEXT: Final = frozenset({"text", "varchar", "bpchar", "citext", "name"})
INTEGER: Final = frozenset({"int2", "int4", "int8"})
NUMBER: Final = INTEGER | {"numeric", "float4", "float8", "money"}
DATE: Final = frozenset({"date", "timestamp", "timestamptz"})
JSON: Final = frozenset({"json", "jsonb"})
ANY: Final = frozenset({"*"})


class Uniqueness(StrEnum):
    """What two different inputs may do: never meet, meet with negligible odds (a tag of 60 bits or more), or meet."""

    INJECTIVE = "injective"
    TAGGED = "tagged"
    LOSSY = "lossy"


class Mask(ABC):
    """A compiled mask of one column; see the module's contract."""

    @abstractmethod
    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        """Mask a column."""


class RowMask(ABC):
    """A compiled mask that reads the row's other columns too, by name; absent ones were not sent."""

    needs: tuple[str, ...] = ()

    @abstractmethod
    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        """Mask a column; every sibling has the same length as ``values``."""


class Params(BaseModel):
    """A mask's parameters as the rules write them; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoParams(Params):
    """For masks that take none."""


@dataclass(frozen=True, slots=True)
class Build:
    """All that a mask may know when it is built.

    ``prf`` is keyed for the column's domain. ``column`` is its shape (for an array, that of the element). ``width``
    is the narrowest integer width in bits among the domain's columns (id.int). ``nested`` builds a mask named inside
    this one's parameters (json paths), for a value of type text. ``table_masks`` gives a table's masks by column
    name, for row images; it is None outside a plan.
    """

    prf: Prf
    column: Column
    unique: bool = False
    width: int = 64
    nested: Callable[[str | dict[str, Any], str], Mask] | None = None
    tables: Any = None


@dataclass(frozen=True, slots=True)
class MaskKind:
    """A catalogue entry. ``build`` gets the validated parameters; it raises ``BadInput`` when they cannot work for
    the column (no room in varchar(n), say), with a message that starts in lower case and names no table: the plan
    adds where. ``uniqueness`` may depend on the parameters and the column."""

    name: str
    summary: str
    types: frozenset[str]
    params: type[Params]
    build: Callable[[Any, Build], Mask | RowMask]
    uniqueness: Callable[[Any, Column], Uniqueness]
    example: tuple[str, str] = ("", "")

    def accepts(self, base_type: str) -> bool:
        """Whether a column of this base type can take the mask."""
        return self.types == ANY or base_type in self.types


MASKS: Final[dict[str, MaskKind]] = {}


def register(kind: MaskKind) -> None:
    """Enter a mask into the catalogue."""
    if kind.name in MASKS:
        raise AssertionError(f"mask {kind.name} is registered twice")
    MASKS[kind.name] = kind


def mask_kind(name: str) -> MaskKind:
    """The catalogue entry of that name. Raises ``BadInput`` that suggests near names."""
    from difflib import get_close_matches

    if name in MASKS:
        return MASKS[name]
    near = get_close_matches(name, MASKS, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"The masks are: {', '.join(sorted(MASKS))}."
    raise BadInput(f"there is no mask named {name!r}.", hint=hint)


def lossy(params: Any, column: Column) -> Uniqueness:
    """For masks of which two inputs may meet in one output."""
    return Uniqueness.LOSSY


def injective(params: Any, column: Column) -> Uniqueness:
    """For masks that never map two inputs to one output."""
    return Uniqueness.INJECTIVE


def tagged(params: Any, column: Column) -> Uniqueness:
    """For masks whose output carries a tag of at least 60 bits of the keyed hash."""
    return Uniqueness.TAGGED
