"""Text put together from other columns of the row, as the copy will have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from capture.model import BadInput, Column
from transform.cmac import Prf, binary_buffers
from transform.encodings import NO_ENCODING
from transform.masks.base import (
    TEXT,
    Build,
    DerivedMask,
    Example,
    Group,
    MaskKind,
    Params,
    Uniqueness,
    register,
)
from transform.masks.choosing import base32, fixed_width, fold_case, join, room, scalar

# 65 bits of the value's own tag.
_TAG: Final = 13
_OWN: Final = "#"
_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[^{}]+")


def parse_template(template: str) -> list[tuple[str, str]]:
    """Its pieces in order: ("text", literal), or ("column", name), where # names the tag. Raises ``ValueError``."""
    pieces, position = [], 0
    while position < len(template):
        match = _PIECE.match(template, position)
        if match is None:
            raise ValueError("a column stands in braces, {first_name}; a brace itself is written twice")
        position = match.end()
        pieces.append(("column", match[1]) if match[1] else ("text", re.sub(r"([{}])\1", r"\1", match[0])))
    return pieces


class Template(DerivedMask):
    """Writes the pieces one after the other. A source that is NULL counts as empty.

    Text that has no room is cut; with a tag in it, the sources are left out instead. An empty value stays empty.
    """

    def __init__(
        self, prf: Prf, column: Column, pieces: list[tuple[str, str]], padded: frozenset[str], *, counts_bytes: bool
    ) -> None:
        self._prf = prf
        self._pieces = pieces
        self._room = room(column)
        self._counts_bytes = counts_bytes
        self._folded = column.base_type == "citext"
        self._padded = padded
        self.sources = tuple(dict.fromkeys(name for kind, name in pieces if kind == "column" and name != _OWN))
        self._is_tagged = ("column", _OWN) in pieces

    def derive(self, values: pa.BinaryArray, masked: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        tag: pa.BinaryArray | bytes = b""
        if self._is_tagged:
            tag = fixed_width(base32(self._prf.tags(fold_case(values) if self._folded else values), _TAG))
        made = self._fit(
            self._written(values, {name: self._text(name, masked[name]) for name in self.sources}, tag), tag
        )
        offsets, _ = binary_buffers(values)
        nulls = values.is_null().to_numpy(zero_copy_only=False)
        return pc.if_else(pa.array(np.diff(offsets) > 0, mask=nulls), made, scalar(b""))

    def _text(self, name: str, values: pa.BinaryArray) -> pa.BinaryArray:
        if name in self._padded:
            values = pc.ascii_rtrim(values.view(pa.string()), " ").view(pa.binary())
        return values.fill_null(scalar(b""))

    def _written(
        self, values: pa.BinaryArray, sources: Mapping[str, pa.BinaryArray | bytes], tag: pa.BinaryArray | bytes
    ) -> pa.BinaryArray:
        parts = [
            text.encode() if kind == "text" else tag if text == _OWN else sources[text] for kind, text in self._pieces
        ]
        written = join(*parts)
        # Of literals alone comes one text for all.
        return written if isinstance(written, pa.Array) else pa.repeat(written, len(values))

    def _fit(self, made: pa.BinaryArray, tag: pa.BinaryArray | bytes) -> pa.BinaryArray:
        if self._room is None:
            return made
        text = made.view(pa.string())
        too_long = pc.greater(pc.binary_length(text) if self._counts_bytes else pc.utf8_length(text), self._room)
        if not pc.any(too_long, min_count=0).as_py():
            return made
        if self._is_tagged:
            short = self._written(made, dict.fromkeys(self.sources, b""), tag)
        elif self._counts_bytes:
            cut = [value[: self._room].decode(errors="ignore").encode() for value in made.to_pylist()]
            short = pa.array(cut, type=pa.binary())
        else:
            short = pc.utf8_slice_codeunits(text, 0, self._room).view(pa.binary())
        return pc.if_else(too_long, short, made)


class TemplateParams(Params):
    """What is written."""

    template: str = Field(
        min_length=1,
        description="Text with columns of the same row in braces, such as {first_name}.{last_name}@example.com; {#} is "
        "a tag of 13 letters and digits of the value itself, which keeps values apart.",
    )

    @field_validator("template")
    @classmethod
    def _is_one(cls, template: str) -> str:
        parse_template(template)
        return template


def _build_template(params: TemplateParams, build: Build) -> DerivedMask:
    column, pieces = build.column, parse_template(params.template)
    if ("column", column.name) in pieces:
        raise BadInput("a template cannot hold the column that it is for; {#} stands for a tag of its value.")
    limit = room(column)
    if limit is not None and limit < _shortest(pieces):
        raise BadInput(
            f"the template's text alone has {_shortest(pieces)} bytes, and {column.type_name} holds {limit}."
        )
    padded = frozenset(name for name, shape in build.row.items() if shape.base_type == "bpchar")
    counts_bytes = column.base_type == "name" or build.encoding == NO_ENCODING
    return Template(build.prf, column, pieces, padded, counts_bytes=counts_bytes)


def _shortest(pieces: list[tuple[str, str]]) -> int:
    """The bytes of what the sources do not make."""
    return sum(len(text.encode()) if kind == "text" else _TAG * (text == _OWN) for kind, text in pieces)


def _template_uniqueness(params: TemplateParams, column: Column) -> Uniqueness:
    return Uniqueness.TAGGED if ("column", _OWN) in parse_template(params.template) else Uniqueness.LOSSY


register(
    MaskKind(
        name="text.template",
        group=Group.TEXT,
        summary="text put together from other columns, as the copy has them",
        # The server pads char(n), and what reads the row sees columns whole.
        types=TEXT - {"bpchar"},
        params=TemplateParams,
        build=_build_template,
        uniqueness=_template_uniqueness,
        examples=(
            Example(
                "grace@navy.mil",
                {"template": "{first_name}.{#}@example.com"},
                row={"first_name": "Anna"},
            ),
        ),
        notes="A column whose rule is keep goes into the text as production has it. Text that has no room is cut, or, "
        "with {#}, written without the other columns.",
    )
)
