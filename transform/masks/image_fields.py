"""The values of one table's columns in all row images of a batch, masked by that table's masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import pyarrow as pa

from capture.model import Column, ServerFailed, TableName
from transform import jsontext
from transform.masks.base import AnyMask, DerivedMask, RowMask
from transform.masks.image_values import ImageColumn

# A table's columns by name: their masks, None for keep, and their shapes.
ImageMasks: TypeAlias = Mapping[str, tuple[AnyMask | None, Column]]
# One image: of each column where its value stands among the pieces, and the value as it came.
Row: TypeAlias = Mapping[bytes, tuple[int, bytes]]


class ImageTables(Protocol):
    """Answers for all tables of a plan; ``Build.tables`` is one."""

    def knows(self, table: TableName) -> bool:
        """Whether production has the table."""

    def image_masks(self, table: TableName) -> ImageMasks | None:
        """Masks and shapes of a table's columns by name. None if the table is unknown or none of its rows are copied.
        A column that is left out is scrambled."""


class Field:
    """The values of one column: where they belong, their tokens, their texts, and what of the row their mask reads.
    They are taken on first, and put back all at once."""

    def __init__(self, mask: AnyMask, columns: Mapping[str, ImageColumn], name: str) -> None:
        self._mask = mask
        self._columns = columns
        self._column = columns[name]
        self._places: list[int] = []
        self._tokens: list[bytes] = []
        self._rows: list[Row] = []
        self._texts: list[bytes] = []
        read = mask.needs if isinstance(mask, RowMask) else mask.sources if isinstance(mask, DerivedMask) else ()
        self._read: dict[str, list[bytes | None]] = {other: [] for other in read}
        self._read_at: dict[str, list[int]] = {other: [] for other in read}

    @property
    def reads(self) -> bool:
        """Whether the mask looks at the row."""
        return bool(self._read)

    def add(self, place: int, token: bytes, row: Row) -> None:
        """Take a value on; ``row`` is looked at if the mask does."""
        self._places.append(place)
        self._tokens.append(token)
        if self._read:
            self._rows.append(row)

    def fill(self, pieces: list[bytes]) -> list[int]:
        """Put the masked values into their places; gives those of values that are like nothing in the column, that the
        mask cannot read, or whose image lacks what it reads."""
        left = self._read_values()
        if isinstance(self._mask, DerivedMask):
            for name, places in self._read_at.items():
                tokens = [pieces[place] for place in places]
                self._read[name] = [None if one == b"null" else self._columns[name].to_text(one) for one in tokens]
        try:
            masked = self._masked(slice(None))
        except (ServerFailed, ValueError):
            return left + self._fill_each(pieces)
        self._put(pieces, self._places, masked, self._tokens)
        return left

    def _read_values(self) -> list[int]:
        """Read what was taken on, and give the places of what cannot be read, which is let go."""
        texts = list(map(self._column.to_text, self._tokens))
        if not self._read and None not in texts:
            self._texts = [text for text in texts if text is not None]
            return []
        values = list(zip(self._places, self._tokens, texts, self._rows or [{}] * len(texts), strict=True))
        self._places, self._tokens = [], []
        left: list[int] = []
        for place, token, text, row in values:
            siblings = {other: self._sibling(other, row) for other in self._read}
            if text is None or None in siblings.values():
                left.append(place)
                continue
            self._places.append(place)
            self._tokens.append(token)
            self._texts.append(text)
            for other, found in siblings.items():
                assert found is not None
                self._read_at[other].append(found[0])
                self._read[other].append(found[1])
        return left

    def _sibling(self, name: str, row: Row) -> tuple[int, bytes | None] | None:
        """Where a value of the row stands, and its text (None for NULL); None if there is none that can be read."""
        if name.encode() not in row or name not in self._columns:
            return None
        place, token = row[name.encode()]
        text = None if token == b"null" else self._columns[name].to_text(token)
        return None if text is None and token != b"null" else (place, text)

    def _fill_each(self, pieces: list[bytes]) -> list[int]:
        """An image may be older than its column's type, and hold what the mask has never seen."""
        left: list[int] = []
        for number, place in enumerate(self._places):
            one = slice(number, number + 1)
            try:
                masked = self._masked(one)
            except (ServerFailed, ValueError):
                left.append(place)
            else:
                self._put(pieces, [place], masked, self._tokens[one])
        return left

    def _masked(self, rows: slice) -> list[bytes | None]:
        values = pa.array(self._texts[rows], pa.binary())
        read = {name: pa.array(texts[rows], pa.binary()) for name, texts in self._read.items()}
        match self._mask:
            case RowMask():
                out = self._mask.apply_rows(values, read)
            case DerivedMask():
                out = self._mask.derive(values, read)
            case _:
                out = self._mask.apply(values)
        masked: list[bytes | None] = out.to_pylist()
        return masked

    def _put(
        self, pieces: list[bytes], places: Sequence[int], masked: Sequence[bytes | None], tokens: Sequence[bytes]
    ) -> None:
        for place, text, token in zip(places, masked, tokens, strict=True):
            pieces[place] = self._column.to_json(text, token)


class ImageFields:
    """The columns of one table, in images of one type."""

    def __init__(self, masks: ImageMasks, image_type: str) -> None:
        columns = {name: ImageColumn(column, image_type) for name, (_, column) in masks.items()}
        self._kept = {name.encode() for name, (mask, _) in masks.items() if mask is None}
        self._fields: dict[bytes, Field] = {}
        self._derived: list[Field] = []
        for name, (mask, _) in masks.items():
            if mask is not None:
                field = self._fields[name.encode()] = Field(mask, columns, name)
                if isinstance(mask, DerivedMask):
                    self._derived.append(field)
        self.read_rows = any(field.reads for field in self._fields.values())
        self._flat: dict[tuple[bytes, ...], list[tuple[bytes, Field | bool]] | None] = {}

    def field_of(self, key: bytes) -> Field | bool:
        """What takes on the values of the column ``key`` other than null; True where they stay as they are, False where
        they are to be scrambled."""
        return self._fields.get(key) or key in self._kept

    def flat(self, leads: tuple[bytes, ...], end: bytes) -> list[tuple[bytes, Field | bool]] | None:
        """The keys of an object's values and their fields, by what stands before its leaves and behind the last one;
        None if some of its values are not leaves."""
        if leads not in self._flat:
            keys = jsontext.keys_of(leads)
            self._flat[leads] = None if keys is None else [(key, self.field_of(key)) for key in keys]
        return self._flat[leads] if jsontext.is_end(end) else None

    def fill(self, pieces: list[bytes]) -> list[int]:
        """Put the values that are masked by themselves or by others of the original row into their places; gives the
        places of those that are to be scrambled."""
        others = (field for field in self._fields.values() if field not in self._derived)
        return [place for field in others for place in field.fill(pieces)]

    def derive(self, pieces: list[bytes]) -> list[int]:
        """The same for the values that are made from masked ones."""
        return [place for field in self._derived for place in field.fill(pieces)]
