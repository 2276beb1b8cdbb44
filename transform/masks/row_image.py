"""Row images: an audit trail's old and new rows, masked by the rules of the tables that they are rows of.

An image is an object from column to value, as ``to_jsonb(row)`` gives it. Each value is masked as its table's own
column is, so that the image holds the very values that the copy of the table holds. What no rule can be found for is
scrambled: values of unknown columns, whole images of unknown tables, and documents that are no images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import pyarrow as pa
from pydantic import field_validator

from capture.model import Column, TableName
from transform import jsontext
from transform.cmac import Prf
from transform.masks.base import JSON, Build, Mask, MaskKind, Params, RowMask, lossy, register
from transform.masks.documents import Documents, Node
from transform.masks.image_values import ImageColumn

_SCHEMA: Final = "table_schema"
_TABLE: Final = "table_name"


class ImageTables(Protocol):
    """Answers for all tables of a plan; ``Build.tables`` is one."""

    def image_masks(self, table: TableName) -> Mapping[str, tuple[Mask | None, Column]] | None:
        """Masks (None for keep) and shapes of a table's columns by name. None if the table is unknown or none of its
        rows are copied. A column that is left out is scrambled."""


class _Field:
    """The values of one column in all images of a batch: their tokens, their text, and where they belong."""

    def __init__(self, mask: Mask, column: Column) -> None:
        self._mask = mask
        self._column = ImageColumn(column)
        self._places: list[int] = []
        self._tokens: list[bytes] = []
        self._texts: list[bytes] = []

    def add(self, place: int, token: bytes) -> bool:
        """Take a value on; False if the column can hold nothing like it."""
        text = self._column.to_text(token)
        if text is None:
            return False
        self._places.append(place)
        self._tokens.append(token)
        self._texts.append(text)
        return True

    def fill(self, pieces: list[bytes]) -> None:
        """Put the masked values into their places."""
        masked = self._mask.apply(pa.array(self._texts, pa.binary())).to_pylist()
        for place, token, text in zip(self._places, self._tokens, masked, strict=True):
            pieces[place] = self._column.to_json(text, token)


class _Batch:
    """The images of one batch, cut into pieces that stay and values that are masked by column."""

    def __init__(self, tables: ImageTables | None, rest: Mask) -> None:
        self._tables = tables
        self._rest = rest
        self._fields: dict[TableName, dict[bytes, _Field | None] | None] = {}
        self._pieces: list[bytes] = []
        self._ends: list[int] = []
        self._scrambled: list[int] = []

    def add(self, image: bytes | None, table: TableName | None) -> None:
        """Cut the next image."""
        if image is not None:
            fields = None if table is None else self._fields_of(table)
            if fields is None or image.lstrip()[:1] != b"{":
                self._scrambled.append(len(self._pieces))
                self._pieces.append(image)
            else:
                self._cut(image, fields)
        self._ends.append(len(self._pieces))

    def _cut(self, image: bytes, fields: Mapping[bytes, _Field | None]) -> None:
        add = self._pieces.append
        values, end = jsontext.values_in(image)
        for lead, key, token in values:
            add(lead)
            if token != b"null":
                field = fields.get(key)
                kept = field is None and key in fields
                if not kept and (field is None or not field.add(len(self._pieces), token)):
                    self._scrambled.append(len(self._pieces))
            add(token)
        add(end)

    def _fields_of(self, table: TableName) -> dict[bytes, _Field | None] | None:
        """The table's columns by name; None for those that are kept."""
        if table not in self._fields:
            masks = None if self._tables is None else self._tables.image_masks(table)
            self._fields[table] = (
                None
                if masks is None
                else {
                    name.encode(): None if mask is None else _Field(mask, column)
                    for name, (mask, column) in masks.items()
                }
            )
        return self._fields[table]

    def masked(self, images: list[bytes | None]) -> pa.BinaryArray:
        """All images, masked."""
        for fields in self._fields.values():
            for field in (fields or {}).values():
                if field is not None:
                    field.fill(self._pieces)
        scrambled = self._rest.apply(pa.array([self._pieces[place] for place in self._scrambled], pa.binary()))
        for place, document in zip(self._scrambled, scrambled.to_pylist(), strict=True):
            self._pieces[place] = document
        out: list[bytes | None] = []
        start = 0
        for image, end in zip(images, self._ends, strict=True):
            out.append(None if image is None else b"".join(self._pieces[start:end]))
            start = end
        return pa.array(out, pa.binary())


class RowImage(RowMask):
    """Masks images of one table, or of the tables that ``table_schema`` and ``table_name`` of the same row name;
    without a column ``table_schema`` they are in the schema public."""

    def __init__(self, prf: Prf, tables: ImageTables | None, table: TableName | None) -> None:
        self._tables = tables
        self._table = table
        self._rest = Documents(prf, Node())
        self.needs = () if table is not None else (_SCHEMA, _TABLE)

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        images = values.to_pylist()
        batch = _Batch(self._tables, self._rest)
        for image, table in zip(images, self._named(len(images), siblings), strict=True):
            batch.add(image, table)
        return batch.masked(images)

    def _named(self, count: int, siblings: Mapping[str, pa.BinaryArray]) -> list[TableName | None]:
        if self._table is not None:
            return [self._table] * count
        if _TABLE not in siblings:
            return [None] * count
        names = siblings[_TABLE].to_pylist()
        schemas = siblings[_SCHEMA].to_pylist() if _SCHEMA in siblings else [b"public"] * count
        return [
            None
            if schema is None or name is None
            else TableName(schema.decode(errors="replace"), name.decode(errors="replace"))
            for schema, name in zip(schemas, names, strict=True)
        ]


class RowImageParams(Params):
    """``table`` is whose rows the images are; without it, each row's ``table_schema`` and ``table_name`` say."""

    table: str | None = None

    @field_validator("table")
    @classmethod
    def _is_a_table(cls, table: str | None) -> str | None:
        if table is not None:
            TableName.parse(table)
        return table


def _build_row_image(params: RowImageParams, build: Build) -> RowMask:
    table = None if params.table is None else TableName.parse(params.table)
    return RowImage(build.prf, build.tables, table)


register(
    MaskKind(
        "row_image",
        "rows of other tables, masked by the rules of those tables",
        JSON,
        RowImageParams,
        _build_row_image,
        lossy,
        ('{"id": 7, "email": "grace@navy.mil"}', '{"id": 7, "email": "anna.keller.k3v9x2m8q1tza@example.com"}'),
    )
)
