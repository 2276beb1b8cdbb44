"""Row images: an audit trail's old and new rows, masked by the rules of the tables that they are rows of.

An image is an object from column to value, as ``to_jsonb(row)`` gives it, or an hstore, as ``hstore(row)`` does. Each
value is masked as its table's own column is, so that the image holds the very values that the copy of the table holds;
what a mask reads of the row, it reads of the image. What no rule can be found for is scrambled: values of unknown
columns, values that their column's mask cannot read or that miss what it reads, images within images, whole images of
unknown tables, and documents that are no images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa
from pydantic import Field, field_validator

from capture.model import BadInput, ServerFailed, TableName, quote_identifier
from transform import hstoretext, jsontext
from transform.cmac import Prf
from transform.masks.base import JSON, Build, Example, Form, Group, Mask, MaskKind, Params, RowMask, lossy, register
from transform.masks.digits import CharactersMask
from transform.masks.document_keys import DocumentKeys
from transform.masks.documents import Documents
from transform.masks.image_fields import ImageFields, ImageTables, Row
from transform.masks.image_values import HSTORE

# The columns that say whose image a row holds, as supa_audit and audit-trigger name them.
_NAMED_BY: Final = (("table_schema", "table_name"), ("schema_name", "table_name"))


class _Batch:
    """The images of one batch, cut into pieces that stay and values that are masked by column."""

    def __init__(self, tables: ImageTables | None, unknown: Mask, values: Mask, image_type: str) -> None:
        self._tables = tables
        self._unknown_mask = unknown
        self._values_mask = values
        self._image_type = image_type
        self._fields: dict[TableName, ImageFields | None] = {}
        self._pieces: list[bytes] = []
        self._ends: list[int] = []
        self._unknown: list[int] = []
        self._scrambled: list[int] = []

    def add(self, image: bytes | None, table: TableName | None) -> None:
        """Cut the next image."""
        if image is not None:
            fields = None if table is None else self._fields_of(table)
            if fields is None or image.lstrip()[:1] != b"{":
                self._unknown.append(len(self._pieces))
                self._pieces.append(image)
            else:
                self._cut(image, fields)
        self._ends.append(len(self._pieces))

    def _cut(self, image: bytes, fields: ImageFields) -> None:
        pieces = jsontext.leaves_in(image)
        found = fields.flat(tuple(pieces[1:-4:3]), pieces[-3])
        if found is None:
            values, end = jsontext.values_in(image)
            pieces = [b""]
            for lead, _, token in values:
                pieces += lead, token, b""
            pieces += end, b"", b""
            found = [(key, fields.field_of(key)) for _, key, _ in values]
        first = len(self._pieces) + 2
        tokens = pieces[2:-4:3]
        self._pieces += pieces
        places = range(first, first + 3 * len(tokens), 3)
        row: Row = {}
        if fields.read_rows:
            row = {key: (place, token) for (key, _), place, token in zip(found, places, tokens, strict=True)}
        for (_, field), place, token in zip(found, places, tokens, strict=True):
            if field is True or token == b"null":
                continue
            if field is False:
                self._scrambled.append(place)
            else:
                field.add(place, token, row)

    def _fields_of(self, table: TableName) -> ImageFields | None:
        if table not in self._fields:
            masks = None if self._tables is None else self._tables.image_masks(table)
            self._fields[table] = None if masks is None else ImageFields(masks, self._image_type)
        return self._fields[table]

    def _scramble(self, mask: Mask, places: list[int]) -> None:
        scrambled = mask.apply(pa.array([self._pieces[place] for place in places], pa.binary()))
        for place, document in zip(places, scrambled.to_pylist(), strict=True):
            self._pieces[place] = document

    def masked(self) -> list[bytes | None]:
        """All images, masked; a NULL is an image without pieces."""
        known = [fields for fields in self._fields.values() if fields is not None]
        for fields in known:
            self._scrambled += fields.fill(self._pieces)
        self._scramble(self._unknown_mask, self._unknown)
        self._scramble(self._values_mask, self._scrambled)
        # These are made from what now stands in the image.
        self._scramble(self._values_mask, [place for fields in known for place in fields.derive(self._pieces)])
        out: list[bytes | None] = []
        start = 0
        for end in self._ends:
            out.append(b"".join(self._pieces[start:end]) if end > start else None)
            start = end
        return out


class RowImage(RowMask):
    """Masks images of one table, or of the tables that two columns of the same row name; without one for the schema
    they are in the schema public."""

    def __init__(
        self,
        prf: Prf,
        tables: ImageTables | None,
        table: TableName | None,
        named_by: tuple[str | None, str | None],
        *,
        base_type: str,
        encoding: str,
    ) -> None:
        self._tables = tables
        self._table = table
        self._schema_column, self._table_column = named_by
        self._base_type = base_type
        # What no rule decides may have keys that are data. Those of an image are its table's columns.
        keys = CharactersMask(prf, encoding)
        below = {"$..*": keys, "$..[*]": keys}
        is_jsonb = base_type == "jsonb"
        self._unknown = Documents(prf, encoding, keys=DocumentKeys(below, is_jsonb=is_jsonb))
        self._values = Documents(prf, encoding, keys=DocumentKeys({"$": keys, **below}, is_jsonb=is_jsonb))
        self.needs = () if table is not None else tuple(name for name in named_by if name is not None)

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        images: list[bytes | None] = values.to_pylist()
        if self._base_type == HSTORE:
            images = [None if image is None else _as_object(image) for image in images]
        batch = _Batch(self._tables, self._unknown, self._values, self._base_type)
        for image, table in zip(images, self._named(len(images), siblings), strict=True):
            batch.add(image, table)
        masked = batch.masked()
        if self._base_type == HSTORE:
            masked = [None if image is None else _as_hstore(image) for image in masked]
        return pa.array(masked, pa.binary())

    def _named(self, count: int, siblings: Mapping[str, pa.BinaryArray]) -> list[TableName | None]:
        if self._table is not None:
            return [self._table] * count
        if self._table_column is None or self._table_column not in siblings:
            return [None] * count
        names = siblings[self._table_column].to_pylist()
        schemas: list[bytes | None] = [b"public"] * count
        if self._schema_column is not None and self._schema_column in siblings:
            schemas = siblings[self._schema_column].to_pylist()
        return [
            None
            if schema is None or name is None
            else TableName(schema.decode(errors="replace"), name.decode(errors="replace"))
            for schema, name in zip(schemas, names, strict=True)
        ]


def _as_object(image: bytes) -> bytes:
    """An hstore as a JSON object of strings."""
    try:
        pairs = hstoretext.parse(image)
    except ValueError:
        raise ServerFailed("a value of an hstore column is not the text of an hstore.") from None
    members = (jsontext.quote(key) + b": " + (b"null" if text is None else jsontext.quote(text)) for key, text in pairs)
    return b"{%s}" % b", ".join(members)


def _as_hstore(image: bytes) -> bytes:
    values, _ = jsontext.values_in(image)
    return hstoretext.write((key, None if token == b"null" else jsontext.unquote(token)) for _, key, token in values)


class RowImageParams(Params):
    """Whose rows the images are."""

    table: str | None = Field(default=None, description="The table; without it, two columns of each row say.")
    schema_column: str | None = Field(
        default=None,
        description="The column that holds the table's schema; `table_schema` or `schema_name` if left out.",
    )
    table_column: str | None = Field(
        default=None, description="The column that holds the table's name; `table_name` if left out."
    )

    @field_validator("table")
    @classmethod
    def _is_a_table(cls, table: str | None) -> str | None:
        if table is not None:
            TableName.parse(table)
        return table


def _named_by(params: RowImageParams, build: Build) -> tuple[str | None, str | None]:
    for column in (params.schema_column, params.table_column):
        if column is not None and build.row and column not in build.row:
            raise BadInput(f"there is no decided column {quote_identifier(column)} that could name an image's table.")
    names = next((pair for pair in _NAMED_BY if set(pair) <= build.row.keys()), (None, None))
    table = params.table_column or ("table_name" if "table_name" in build.row else None)
    if params.table is None and table is None:
        raise BadInput(
            "nothing says whose rows the images are.",
            hint="Name the table, or the columns that hold it: table, or schema_column and table_column.",
        )
    return params.schema_column or names[0], table


def _build_row_image(params: RowImageParams, build: Build) -> RowMask:
    table = None if params.table is None else TableName.parse(params.table)
    if table is not None and build.tables is not None and not build.tables.knows(table):
        raise BadInput(
            f"production has no table {table}.", hint="Check its name; rows of a table that is gone are masked by json."
        )
    named_by = (None, None) if table is not None else _named_by(params, build)
    return RowImage(build.prf, build.tables, table, named_by, base_type=build.column.base_type, encoding=build.encoding)


register(
    MaskKind(
        name="row_image",
        group=Group.DOCUMENTS,
        summary="rows of other tables, masked by the rules of those tables",
        types=JSON | {HSTORE},
        params=RowImageParams,
        build=_build_row_image,
        uniqueness=lossy,
        form=Form.KEPT,
        examples=(Example('{"id": 7, "email": "grace@navy.mil"}', {"table": "public.guests"}, "jsonb"),),
        notes="Values of columns that the rules do not decide, and images of tables that are not copied, are "
        "scrambled, with the keys of the documents in them.",
    )
)
