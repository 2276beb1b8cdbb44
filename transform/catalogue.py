"""What users are told of each mask: from the catalogue alone, so that ``tezcat masks`` and docs/masks.md cannot differ
from what the masks do. Examples are masked when they are shown, by a plan, with a key that everybody knows."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

import transform.masks  # noqa: F401 - registers the catalogue
from capture.model import Catalog, Column, Index, Table, TableName
from transform.keyring import KEY_BYTES, KeyRing
from transform.masks.base import ANY, MASKS, TEXT, Example, Group, MaskKind, Uniqueness
from transform.plan import compile_plan
from transform.rules import Rules

_KEYS: Final = KeyRing(bytes(KEY_BYTES), "example")
_SHOWN: Final = TableName("public", "shown")
_GUESTS: Final = TableName("public", "guests")
_VALUE: Final = "value"
_BASE_TYPES: Final = {"integer": "int4", "bigint": "int8"}
_APART: Final = {
    Uniqueness.INJECTIVE: "two values never become one",
    Uniqueness.TAGGED: "two values do not become one: a keyed tag of 60 bits or more tells them apart",
    Uniqueness.LOSSY: "two values may become one, so it is not for unique columns",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as users write it. ``default`` is None where it must be given."""

    name: str
    type_text: str
    default: str | None
    description: str


@dataclass(frozen=True, slots=True)
class ShownExample:
    """A rule, a value and the row's other columns that it reads, and what becomes of the value (NULL as such)."""

    rule: str
    type_name: str
    row: dict[str, str]
    value: str
    masked: str


@dataclass(frozen=True, slots=True)
class Described:
    """All that is told of a mask. ``apart`` are the promises about two values, by what they hold for."""

    name: str
    group: Group
    summary: str
    types: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    apart: dict[str, Uniqueness]
    form: str
    notes: str
    examples: tuple[ShownExample, ...]

    @property
    def uniqueness(self) -> str:
        """The promises in a word or two, for a table."""
        return " or ".join(dict.fromkeys(map(str, self.apart.values())))


def all_masks() -> list[MaskKind]:
    """The catalogue in the order in which it is listed."""
    order = list(Group)
    return sorted(MASKS.values(), key=lambda kind: (order.index(kind.group), kind.name))


def describe(kind: MaskKind) -> Described:
    """All that is told of a mask, its examples masked."""
    return Described(
        name=kind.name,
        group=kind.group,
        summary=kind.summary,
        types=types_text(kind),
        parameters=tuple(_parameter(name, field) for name, field in kind.params.model_fields.items()),
        apart=_apart(kind),
        form=str(kind.form),
        notes=kind.notes,
        examples=tuple(_shown(kind.name, example) for example in kind.examples),
    )


def types_text(kind: MaskKind) -> tuple[str, ...]:
    """The types that it accepts, as users name them."""
    if kind.types == ANY:
        return ("any type",)
    has_text = kind.types >= TEXT
    return (*(["text"] if has_text else []), *sorted(kind.types - (TEXT if has_text else frozenset())))


# ------------------------------------------------------------------------------------------------------ parameters


def _parameter(name: str, field: FieldInfo) -> Parameter:
    default = None if field.is_required() else _written(field.get_default(call_default_factory=True))
    return Parameter(field.alias or name, _type_text(field.annotation), default, field.description or "")


def _type_text(annotation: Any) -> str:
    """An annotation in the words of a rules file."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(map(str, inside))
    if origin is typing.Annotated:
        return _type_text(inside[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type_text(one) for one in inside if one is not types.NoneType))
    if origin in (list, tuple):
        return "list"
    if origin is dict or annotation is dict:
        return "mapping"
    return _WORDS.get(annotation, "text" if isinstance(annotation, type) and issubclass(annotation, str) else "mapping")


_WORDS: Final[dict[Any, str]] = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any"}


def _written(value: Any) -> str:
    """A value as YAML on one line; nothing for what is empty."""
    if value is None or value in ((), [], {}):
        return ""
    plain = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("...\n").strip()


# ---------------------------------------------------------------------------------------------------------- promises


def _apart(kind: MaskKind) -> dict[str, Uniqueness]:
    """By the types that it holds for; with preserve_format apart where that makes a difference."""
    params = dict(kind.examples[0].params) if kind.examples else {}
    found = _by_type(kind, params)
    if "preserve_format" in kind.params.model_fields:
        other = _by_type(kind, {**params, "preserve_format": True})
        if other != found:
            found |= {f"{types}, with preserve_format": promise for types, promise in other.items()}
    return found


def _by_type(kind: MaskKind, params: Mapping[str, Any]) -> dict[str, Uniqueness]:
    try:
        validated = kind.params.model_validate(params)
    except ValidationError:
        return {}
    bases = {"text"} if kind.types == ANY else {"text" if base in TEXT else base for base in kind.types}
    promises: dict[Uniqueness, list[str]] = {}
    for base in sorted(bases):
        promises.setdefault(kind.uniqueness(validated, _column(_VALUE, base)), []).append(base)
    if len(promises) == 1:
        return {"any type" if kind.types == ANY else "all its types": next(iter(promises))}
    return {", ".join(named): promise for promise, named in promises.items()}


# ---------------------------------------------------------------------------------------------------------- examples


def _shown(name: str, example: Example) -> ShownExample:
    rule = {"mask": name, **example.params} if example.params else name
    return ShownExample(
        rule=_written(rule),
        type_name=example.type_name,
        row=dict(example.row),
        value=example.value,
        masked=_masked(rule, example),
    )


def _masked(rule: str | dict[str, Any], example: Example) -> str:
    """What a plan makes of the example's value. Its other columns are masked by a list; an image is one of a guest."""
    columns = {_VALUE: rule, **dict.fromkeys(example.row, "name.first")}
    of_guests = {"id": "id.int", "email": "email", "name": "name"}
    rules = {str(_SHOWN): {"columns": columns}, str(_GUESTS): {"columns": of_guests}}
    base = _BASE_TYPES.get(example.type_name, example.type_name)
    shown = _table(_SHOWN, _column(_VALUE, base), *(_column(other, "text") for other in example.row))
    guests = _table(_GUESTS, _column("id", "int8"), _column("email", "text"), _column("name", "text"))
    catalog = Catalog(
        system_identifier="", database="", server_version=0, encoding="UTF8", tables={_SHOWN: shown, _GUESTS: guests}
    )
    plan = compile_plan(Rules.model_validate({"version": 1, "tables": rules}), catalog, _KEYS)
    values = {_VALUE: example.value, **example.row}
    row = pa.record_batch([pa.array([text.encode()], pa.binary()) for text in values.values()], names=list(values))
    masked = plan.tables[_SHOWN].mask(row, escaped=False).column(_VALUE)[0].as_py()
    return "NULL" if masked is None else masked.decode()


def _column(name: str, base_type: str) -> Column:
    return Column(name, 1, 0, -1, base_type, base_type)


def _table(name: TableName, *columns: Column) -> Table:
    first = columns[0].name
    indexes = (Index(f"{name.name}_pkey", (first,), is_primary=True),) if name == _GUESTS else ()
    return Table(oid=0, name=name, kind="r", columns=columns, indexes=indexes)


# ---------------------------------------------------------------------------------------------------------- the page


def markdown() -> str:
    """docs/masks.md: a table of all, then each by itself."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# The masks"
    yield ""
    yield "Written by `tezcat masks --markdown` from the catalogue itself. The examples are masked with a key that"
    yield "everybody knows; yours gives other values. A column's rule is a mask's name, or `{mask: NAME, parameters}`."
    described = [describe(kind) for kind in all_masks()]
    for group in Group:
        members = [each for each in described if each.group is group]
        if not members:
            continue
        yield from (
            "",
            f"## {group[:1].upper()}{group[1:]}",
            "",
            "| mask | what it gives | types | keeps values apart | form |",
        )
        yield "| --- | --- | --- | --- | --- |"
        for each in members:
            link = f"[`{each.name}`](#{_anchor(each.name)})"
            yield f"| {link} | {_cell(each.summary)} | {', '.join(each.types)} | {each.uniqueness} | {each.form} |"
        for each in members:
            yield from ("", f"### {each.name}", "", *_section(each))


def _section(each: Described) -> Iterator[str]:
    yield f"{each.summary[:1].upper()}{each.summary[1:]}."
    yield ""
    for held, promise in each.apart.items():
        yield f"- {held}: {promise}; {_APART[promise]}."
    if each.notes:
        yield from ("", each.notes)
    if each.parameters:
        yield from ("", "| parameter | type | default | |", "| --- | --- | --- | --- |")
        for one in each.parameters:
            default = "must be given" if one.default is None else f"`{one.default}`" if one.default else ""
            yield f"| `{one.name}` | {one.type_text} | {default} | {_cell(one.description)} |"
    yield from ("", "| rule | value | becomes |", "| --- | --- | --- |")
    for shown in each.examples:
        beside = "".join(f", beside `{name}` {_code(text)}" for name, text in shown.row.items())
        yield f"| {_code(shown.rule)} | {_code(shown.value)}{beside} | {_code(shown.masked)} |"


def _anchor(name: str) -> str:
    return name.replace(".", "").lower()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""
