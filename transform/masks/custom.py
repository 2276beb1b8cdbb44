"""A function of your own as a mask, held to what every mask promises.

The function gets the values of a column and a keyed helper, and gives as many values back::

    def initials(values: list[str | None], keyed: Keyed) -> list[str | None]: ...

It is imported by its name, ``package.module:function``, from the project's folder (that of the rules file) or from what
is installed, in every process that masks; other code is another mask (``transform.masks.own_code``). Values are text as
PostgreSQL prints it, those of citext in small letters; of bytea they are ``bytes``. What the rule says under ``params``
comes as keyword arguments. What the function gives is brought into the column's form and must fit.

It must be pure: what becomes of a value depends on the value and ``keyed`` only. That is tried when the mask is built,
and by ``check_purity`` with values of production; a function that looks at the day of the month or at Python's
``hash`` is not found out so. An error of the function stops the run and is told by its type only: its message may hold
a value.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import pyarrow as pa
from pydantic import Field, field_validator

from capture.model import BadInput, Column, ServerFailed
from transform.cmac import Prf
from transform.encodings import NO_ENCODING, codec_of
from transform.masks import literals, own_code
from transform.masks.base import ANY, TEXT, Build, Example, Group, Mask, MaskKind, Params, Uniqueness, register
from transform.masks.choosing import fold_case

Value: TypeAlias = str | bytes

_REFERENCE: Final = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
# Values that are like those of a type, to try a function with before any value of production is there.
_INTEGERS: Final = ["0", "1", "-7", "1234", "32000", "17"]
_DECIMALS: Final = ["0", "1.5", "-12.25", "1249.5"]
_DOCUMENTS: Final = ['{"a": 1, "b": [true, null]}', '"text"', "[]"]
_TEXTS: Final = ["Grace Hopper", "grace@navy.mil", "+49 30 901820", "a", "", "12345", "Ünal", "x y z", "AB-1234"]
_SAMPLES: Final[dict[str, list[str]]] = {
    **dict.fromkeys(("int2", "int4", "int8"), _INTEGERS),
    **dict.fromkeys(("numeric", "float4", "float8"), _DECIMALS),
    **dict.fromkeys(("json", "jsonb"), _DOCUMENTS),
    "date": ["1984-02-29", "2024-05-17", "infinity"],
    "timestamp": ["1984-02-29 00:00:00", "2024-05-17 10:11:12.5"],
    "timestamptz": ["1984-02-29 00:00:00+00", "2024-05-17 10:11:12.5+00"],
    "uuid": ["5f3c6a1e-0b7d-4c2a-9e51-7d8a90b1c2d3", "00000000-0000-0000-0000-000000000000"],
    "bool": ["t", "f"],
    "bytea": ["\\x", "\\x00ff", "\\x5f3c6a1e"],
}


class Keyed:
    """What a function may know beside the values. Its ``repr`` shows no key."""

    __slots__ = ("_prf",)

    def __init__(self, prf: Prf) -> None:
        self._prf = prf

    def __repr__(self) -> str:
        return "Keyed(...)"

    def tag(self, value: str | bytes) -> bytes:
        """16 bytes that depend on the value and the domain's key, and tell nothing of either."""
        return self._prf.tag(value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value)


class Custom(Mask):
    """Calls the function with a column's values. It pickles as the function's name, and unpickles only where the
    function's code is the same."""

    def __init__(
        self, prf: Prf, column: Column, reference: str, folder: Path | None, params: dict[str, Any], encoding: str
    ) -> None:
        self._made_of = prf, column, reference, folder, params, encoding
        self._keyed = Keyed(prf)
        self._column = column
        self._params = params
        self._codec = None if encoding == NO_ENCODING else codec_of(encoding)
        self._is_bytea = column.base_type == "bytea"
        self.reference = reference
        code = own_code.find(reference, folder)
        self._function = code.function
        self._digest = code.digest

    def __reduce__(self) -> tuple[Callable[..., Custom], tuple[Any, ...]]:
        return (_of_the_same_code, (self._digest, *self._made_of))

    def imported_anew(self) -> Custom:
        """The same with a module of its own, which remembers nothing of earlier calls."""
        anew = Custom(*self._made_of)
        module_name, _, name = self.reference.partition(":")
        spec = importlib.util.find_spec(module_name)
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            # A module that cannot be imported twice goes untried.
            with suppress(Exception):
                spec.loader.exec_module(module)
                anew._function = getattr(module, name)
        return anew

    def check_call(self) -> None:
        """Raises ``BadInput`` for a function that cannot be called as this calls it."""
        try:
            signature = inspect.signature(self._function)
        except ValueError:
            return  # one that is not written in Python need not tell
        try:
            signature.bind([], self._keyed, **self._params)
        except TypeError:
            name = self.reference.partition(":")[2]
            own = "".join(f", {each}" for each in self._params)
            raise BadInput(
                f"the function {self.reference} does not take what a mask gets.",
                hint=f"It begins with def {name}(values, keyed{own}), and gives a list of as many values.",
            ) from None

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        if self._column.base_type == "citext":
            values = fold_case(values)
        given = [None if value is None else self._read(value) for value in values.to_pylist()]
        made = self._call(given)
        if not isinstance(made, list) or len(made) != len(given):
            raise self._failed(f"gave no list of {len(given)} values for as many")
        written = [None if before is None else self._write(after) for before, after in zip(given, made, strict=True)]
        return pa.array(written, type=pa.binary())

    def _call(self, given: list[Value | None]) -> object:
        try:
            return self._function(list(given), self._keyed, **self._params)
        except Exception as error:
            kind = type(error).__name__
        # Raised out here, so that the function's error, whose text may hold a value, is no part of this one.
        raise self._failed(f"raised {kind}")

    def _read(self, value: bytes) -> Value:
        if self._is_bytea:
            return bytes.fromhex(value[2:].decode())
        return value.decode("utf-8", "surrogateescape")

    def _write(self, value: object) -> bytes | None:
        if value is None:
            if self._column.not_null:
                raise self._failed("gave NULL for a column that is NOT NULL")
            return None
        if self._is_bytea:
            if not isinstance(value, bytes):
                raise self._failed(f"gave a {type(value).__name__} where bytes belong")
            return b"\\x" + value.hex().encode()
        if not isinstance(value, str):
            raise self._failed(f"gave a {type(value).__name__} where a str belongs")
        written = self._canonical(value)
        if written is None:
            raise self._failed(f"gave a value that {self._column.type_name} does not hold")
        return written

    def _canonical(self, value: str) -> bytes | None:
        """The value in the column's form; None if the column cannot hold it."""
        if self._column.kind == "e" and value not in self._column.enum_labels:
            return None
        try:
            if self._codec is None and self._column.base_type in TEXT:
                return value.encode("utf-8", "surrogateescape")
            value.encode(self._codec or "ascii")
            return literals.canonical(value, self._column)
        except (BadInput, UnicodeError):
            return None

    def _failed(self, what: str) -> ServerFailed:
        return ServerFailed(f"the function {self.reference} {what}.", hint="Mend it, then run the command again.")


def _of_the_same_code(digest: str, *made_of: Any) -> Custom:
    made = Custom(*made_of)
    if made._digest != digest:  # noqa: SLF001 - this is how it unpickles
        raise ServerFailed(
            f"the code of the function {made.reference} was changed while it was at work.",
            hint="Run the command again.",
        )
    return made


def check_purity(mask: Custom, samples: Sequence[bytes | None]) -> None:
    """Try a function with values in one batch, again, in reverse, in other batches, and as another process would.

    Raises ``BadInput`` that names the function, and no value, if it gives anything else at any of those times, and
    ``ServerFailed`` if it fails.
    """

    def masked(values: Sequence[bytes | None], by: Custom = mask) -> list[bytes | None]:
        out: list[bytes | None] = by.apply(pa.array(values, type=pa.binary())).to_pylist()
        return out

    expected = masked(samples)
    ways: dict[str, Callable[[], list[bytes | None]]] = {
        "called again": lambda: masked(samples),
        "with the values in another order": lambda: masked(samples[::-1])[::-1],
        "with one value at a time": lambda: [one for value in samples for one in masked([value])],
        "in another process": lambda: masked(samples[::-1], mask.imported_anew())[::-1],
        "with the values in other batches": lambda: [*masked(samples[:3]), *masked(samples[3:])],
    }
    for how, again in ways.items():
        if again() != expected:
            raise BadInput(
                f"the function {mask.reference} gives other results {how}.",
                hint="What becomes of a value may depend on that value only: not on others, on a clock or on chance.",
            )


def _samples(column: Column) -> list[bytes | None]:
    texts = list(column.enum_labels) or _SAMPLES.get(column.base_type, _TEXTS)
    return [None, *(text.encode() for text in texts), None, texts[0].encode()]


class CustomParams(Params):
    """The function, and what is said of it."""

    function: str = Field(
        description="Where it is, as package.module:function, in the project's folder or among what is installed."
    )
    types: list[str] | None = Field(
        default=None, description="The types that it is for, as pg_type names them: text, varchar, int8. Without, any."
    )
    params: dict[str, Any] = Field(default={}, description="What it gets as keyword arguments.")
    unique: Literal["injective", "tagged", "lossy"] = Field(
        default="lossy",
        description="What two values may do: never meet (injective), meet with odds of 2**60 against it (tagged), or "
        "meet (lossy). A unique column takes your word for it.",
    )

    @field_validator("function")
    @classmethod
    def _names_a_function(cls, written: str) -> str:
        if re.fullmatch(_REFERENCE, written) is None:
            raise ValueError("it is written as package.module:function")
        return written


def _build_custom(params: CustomParams, build: Build) -> Mask:
    column = build.column
    if params.types is not None and column.base_type not in params.types:
        raise BadInput(
            f"the function {params.function} is for {', '.join(params.types)}, and the column is {column.base_type}."
        )
    mask = Custom(build.prf, column, params.function, build.folder, params.params, build.encoding)
    mask.check_call()
    # What it does wrong with NULLs alone, it does wrong in any column.
    try:
        mask.apply(pa.nulls(0 if column.not_null else 2, pa.binary()))
    except ServerFailed as error:
        raise BadInput(f"{error.message.removesuffix('.')}, when all values are NULL.", hint=error.hint) from None
    # It may well fail for values that are not its column's; those of production will tell.
    with suppress(ServerFailed):
        check_purity(mask, _samples(column))
    return mask


def _custom_uniqueness(params: CustomParams, column: Column) -> Uniqueness:
    return Uniqueness(params.unique)


register(
    MaskKind(
        name="custom",
        group=Group.CUSTOM,
        summary="what a Python function of yours makes",
        types=ANY,
        params=CustomParams,
        build=_build_custom,
        uniqueness=_custom_uniqueness,
        examples=(Example("Grace Hopper", {"function": "transform.masks.initials:initials"}),),
        notes="The function, def mask(values, keyed), gets a list of values, None among them, and an object whose "
        "tag(value) gives 16 keyed bytes; it gives a list of the same length. It must be pure, which is tried and "
        "cannot be proved. Copies know when its module was changed, or one beside the rules file that it imports. When "
        "something else does that it uses, a file of words or a package, change something under params too, such as a "
        "version.",
    )
)
