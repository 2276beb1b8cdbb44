"""What a mask is: a pure function over one column's values, built once in the plan.

A ``Mask`` takes a ``pa.BinaryArray`` of PostgreSQL text values (unescaped) and returns one of the same length. A NULL
stays NULL. Equal inputs give equal outputs, whatever else is in the array, in whatever order, in any process. The
output is *canonical*: what PostgreSQL itself prints for that value in that column, so that ``verify`` can compare
bytes. A mask is picklable (workers get it) and its ``repr`` holds no key.

A ``RowMask`` also reads other columns of the same row, as production has them; a ``DerivedMask`` is made from other
columns as the copy will have them.

``MaskKind`` is a catalogue entry: what the rules name, and all that ``tezcat masks`` and docs/masks.md tell of it.
``MASKS`` holds them by name; each module of this package registers its own, and ``transform.masks`` imports them all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeAlias

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

DEFAULT_LOCALE: Final = "en_US"


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
    """A compiled mask that reads the row's other columns too: ``needs`` names them. The plan calls it only where all
    of them came, so the mask of a key may need nothing but the key."""

    needs: tuple[str, ...] = ()

    @abstractmethod
    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        """Mask a column; every sibling has the same length as ``values``."""


class DerivedMask(ABC):
    """A compiled mask that makes a column from others of the row once those are masked: ``sources`` names them. None
    of them is derived itself. A NULL stays NULL."""

    sources: tuple[str, ...] = ()

    @abstractmethod
    def derive(self, values: pa.BinaryArray, masked: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        """Make a column; every source has the same length as ``values``."""


AnyMask: TypeAlias = Mask | RowMask | DerivedMask


class Params(BaseModel):
    """A mask's parameters as the rules write them; unknown names are errors. Each field has a description, which is
    what users read about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoParams(Params):
    """For masks that take none."""


class Group(StrEnum):
    """Under which heading a mask is listed, in this order."""

    ANY = "for any column"
    PERSON = "people"
    CONTACT = "ways to reach a person"
    ADDRESS = "addresses and places"
    NETWORK = "network"
    IDS = "identifiers"
    FINANCIAL = "financial"
    DATES = "dates and times"
    NUMBERS = "numbers"
    TEXT = "text"
    DOCUMENTS = "documents"
    CUSTOM = "your own"


class Form(StrEnum):
    """Whether what a mask makes has the form of the original: length, case, separators, country, check digits."""

    KEPT = "kept"
    ASKED = "kept with preserve_format"
    NEW = "not kept"


@dataclass(frozen=True, slots=True)
class Example:
    """A value to show a mask by. ``params`` are the rule's, ``row`` the row's other columns that it reads. What comes
    out is computed when it is shown, with a key that everybody knows, so an example cannot be wrong."""

    value: str
    params: Mapping[str, Any] = field(default_factory=dict)
    type_name: str = "text"
    row: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Build:
    """All that a mask may know when it is built.

    ``prf`` is keyed for the column's domain. ``column`` is its shape (for an array, that of the element). ``width``
    is the narrowest integer width in bits among the domain's columns (id.int). ``nested`` builds a mask named inside
    this one's parameters (json paths), for a value of type text. ``tables`` gives a table's masks by column name, for
    row images; it is None outside a plan.

    ``row`` holds the shapes of all copied columns of the table by name, and ``rules`` the decided ones' masks by name
    with their parameters as written; both are empty where a mask stands inside another, which may not read the row.
    ``free`` names the columns of ``rules`` that other columns of the row may have a say in: those that no column
    elsewhere must be masked like (a foreign key, a declared domain), and that are neither unique nor arrays nor part of
    a key by which rows are found. ``keyed`` gives the keyed function of another domain.
    ``subject`` is the column that holds the key of the person whom the row is about, with the keyed function of that
    key's domain. ``locale`` is what the rules say for all columns, ``encoding`` production's, as PostgreSQL calls it.
    ``folder`` is the rules file's, where functions of the user's own are.
    """

    prf: Prf
    column: Column
    unique: bool = False
    width: int = 64
    nested: Callable[[str | dict[str, Any], str], Mask] | None = None
    tables: Any = None
    row: Mapping[str, Column] = field(default_factory=dict)
    rules: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    free: frozenset[str] = frozenset()
    keyed: Callable[[str], Prf] | None = None
    subject: tuple[str, Prf] | None = None
    locale: str = DEFAULT_LOCALE
    encoding: str = "UTF8"
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class MaskKind:
    """A catalogue entry. ``build`` gets the validated parameters; it raises ``BadInput`` when they cannot work for
    the column (no room in varchar(n), say), with a message that starts in lower case and names no table: the plan
    adds where. ``uniqueness`` may depend on the parameters and the column. ``notes`` is what a user should know beside
    the summary, in whole sentences: what stays, what is not promised. ``follows_subject`` tells that it is another mask
    where ``Build.subject`` is given."""

    name: str
    group: Group
    summary: str
    types: frozenset[str]
    params: type[Params]
    build: Callable[[Any, Build], AnyMask]
    uniqueness: Callable[[Any, Column], Uniqueness]
    examples: tuple[Example, ...]
    form: Form = Form.NEW
    notes: str = ""
    follows_subject: bool = False

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
