"""The values of one table's columns in all row images of a batch, masked by that table's masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import pyarrow as pa

from capture.model import Column, ServerFailed, TableName
from transform.masks.base import AnyMask, DerivedMask, RowMask
from transform.masks.image_values import ImageColumn

# A table's columns by name: their masks, None for keep, and their shapes.
ImageMasks: TypeAlias = Mapping[str, tuple[AnyMask | None, Column]]
# One image: of each column where its value stands among the pieces, and the value as it came.
Row: TypeAlias = Mapping[bytes, tuple[int, bytes]]


class ImageTables(Protocol):
    """Answers for all tables of a plan; ``Build.tables`` is one."""

    def image_masks(self, table: TableName) -> ImageMasks | None:
        """Masks and shapes of a table's columns by name. None if the table is unknown or none of its rows are copied.
        A column that is left out is scrambled."""


class _Field:
    """The values of one column: where they belong, their tokens, their texts, and what of the row their mask reads."""

    def __init__(self, mask: AnyMask, columns: Mapping[str, ImageColumn], name: str) -> None:
        self._mask = mask
        self._columns = columns
        self._column = columns[name]
        self._places: list[int] = []
        self._tokens: list[bytes] = []
        self._texts: list[bytes] = []
        read = mask.needs if isinstance(mask, RowMask) else mask.sources if isinstance(mask, DerivedMask) else ()
        self._read: dict[str, list[bytes | None]] = {other: [] for other in read}
        self._read_at: dict[str, list[int]] = {other: [] for other in read}

    def add(self, place: int, token: bytes, row: Row) -> bool:
        """Take a value on; False if the column can hold nothing like it, or if the image lacks what the mask reads."""
        text = self._column.to_text(token)
        siblings = {other: self._sibling(other, row) for other in self._read}
        if text is None or None in siblings.values():
            return False
        self._places.append(place)
        self._tokens.append(token)
        self._texts.append(text)
        for other, found in siblings.items():
            assert found is not None
            self._read_at[other].append(found[0])
            self._read[other].append(found[1])
        return True

    def _sibling(self, name: str, row: Row) -> tuple[int, bytes | None] | None:
        """Where a value of the row stands, and its text (None for NULL); None if there is none that can be read."""
        if name.encode() not in row or name not in self._columns:
            return None
        place, token = row[name.encode()]
        text = None if token == b"null" else self._columns[name].to_text(token)
        return None if text is None and token != b"null" else (place, text)

    def fill(self, pieces: list[bytes]) -> list[int]:
        """Put the masked values into their places; gives those whose values the mask cannot read."""
        if isinstance(self._mask, DerivedMask):
            for name, places in self._read_at.items():
                tokens = [pieces[place] for place in places]
                self._read[name] = [None if one == b"null" else self._columns[name].to_text(one) for one in tokens]
        try:
            masked = self._masked(slice(None))
        except (ServerFailed, ValueError):
            return self._fill_each(pieces)
        self._put(pieces, self._places, masked, self._tokens)
        return []

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
    """The columns of one table. Values are taken from images first, and put back all at once."""

    def __init__(self, masks: ImageMasks, *, as_text: bool) -> None:
        columns = {name: ImageColumn(column, as_text=as_text) for name, (_, column) in masks.items()}
        self._kept = {name.encode() for name, (mask, _) in masks.items() if mask is None}
        self._fields: dict[bytes, _Field] = {}
        self._derived: dict[bytes, _Field] = {}
        for name, (mask, _) in masks.items():
            if mask is not None:
                fields = self._derived if isinstance(mask, DerivedMask) else self._fields
                fields[name.encode()] = _Field(mask, columns, name)

    def take(self, key: bytes, place: int, token: bytes, row: Row) -> bool:
        """Take on a value other than null of the column ``key``; False if it is to be scrambled."""
        field = self._fields.get(key) or self._derived.get(key)
        return key in self._kept if field is None else field.add(place, token, row)

    def fill(self, pieces: list[bytes]) -> list[int]:
        """Put the values that are masked by themselves or by others of the original row into their places; gives the
        places of those that are to be scrambled."""
        return [place for field in self._fields.values() for place in field.fill(pieces)]

    def derive(self, pieces: list[bytes]) -> list[int]:
        """The same for the values that are made from masked ones."""
        return [place for field in self._derived.values() for place in field.fill(pieces)]
