"""The batch codec: COPY text in is COPY text out, whatever bytes the values hold."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from capture.model import ServerFailed
from transform import copytext

# Any bytes that PostgreSQL can hold in a text value, with those that COPY cares about made likely.
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=30).map(lambda value: value.replace(b"\0", b"")),
    st.lists(st.sampled_from([b"\\", b"\n", b"\t", b"\r", b"\b", b"\f", b"\v", b"N", b".", b"n", b"x41", b'"'])).map(
        b"".join
    ),
    st.sampled_from([b"", b"\\N", b"\\.", b"\\", b"\xef\xbb\xbf", b"\xef\xbb\xbfa"]),
)
ESCAPES = {92: b"\\\\", 8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r"}


def written(value: bytes | None) -> bytes:
    """One value as PostgreSQL's COPY TO writes it, the slow and plain way."""
    return b"\\N" if value is None else b"".join(ESCAPES.get(byte, bytes([byte])) for byte in value)


@st.composite
def tables(draw: st.DrawFn) -> list[list[bytes | None]]:
    width = draw(st.integers(0, 4))
    return draw(st.lists(st.lists(VALUES, min_size=width, max_size=width), max_size=8))


def block_of(rows: list[list[bytes | None]]) -> bytes:
    return b"".join(b"\t".join(map(written, row)) + b"\n" for row in rows)


def names(rows: list[list[bytes | None]]) -> list[str]:
    return [f"column {i}" for i in range(len(rows[0]))] if rows else ["a", "b"]


@given(tables())
@example([[b""], [b""], [None]])
@example([[], [], []])
@example([[b"\xef\xbb\xbf", None]])
def test_a_block_survives_split_and_join(rows: list[list[bytes | None]]) -> None:
    """join(split(block)) is the block, and the columns between hold its values escaped."""
    block = block_of(rows)
    batch = copytext.split(block, names(rows))
    assert batch.num_rows == len(rows)
    assert batch.schema.names == names(rows)
    for position, column in enumerate(batch.columns):
        assert column.type == pa.binary()
        assert column.to_pylist() == [None if row[position] is None else written(row[position]) for row in rows]
        assert copytext.unescape(column).to_pylist() == [row[position] for row in rows]
    assert copytext.join(batch).to_pybytes() == block


@given(tables(), st.data())
def test_a_slice_of_a_batch_joins_to_its_own_rows(rows: list[list[bytes | None]], data: st.DataObject) -> None:
    """Arrays with an offset give just their rows."""
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    batch = copytext.split(block_of(rows), names(rows)).slice(start, stop - start)
    assert copytext.join(batch).to_pybytes() == block_of(rows[start:stop])


@given(st.lists(VALUES), st.data())
def test_escape_writes_what_copy_writes_and_unescape_undoes_it(values: list[bytes | None], data: st.DataObject) -> None:
    """escape agrees with the plain definition; unescape is its inverse; slices and NULLs included."""
    start = data.draw(st.integers(0, len(values)))
    array = pa.array(values, pa.binary()).slice(start)
    escaped = copytext.escape(array)
    assert escaped.to_pylist() == [None if value is None else written(value) for value in values[start:]]
    escaped.validate(full=True)
    assert copytext.unescape(escaped).equals(array)


def test_values_without_special_bytes_are_not_copied() -> None:
    """The common case costs one look at the data."""
    array = pa.array([b"plain", None, b"\xc3\xa4"], pa.binary())
    assert copytext.escape(array) is array
    assert copytext.unescape(array) is array


def test_a_backslash_before_any_other_character_is_that_character() -> None:
    """What PostgreSQL reads, though it never writes it."""
    assert copytext.unescape(pa.array([b"\\a\\.\\\\n", b"\\\\\\n"], pa.binary())).to_pylist() == [b"a.\\n", b"\\\n"]


@pytest.mark.parametrize("block_type", [bytes, memoryview, pa.py_buffer])
def test_any_buffer_can_be_split(block_type: type) -> None:
    """Blocks come as bytes, memoryviews or Arrow buffers."""
    assert copytext.split(block_type(b"a\tb\n"), ["x", "y"]).to_pylist() == [{"x": b"a", "y": b"b"}]


def test_wide_rows_and_long_values_pass() -> None:
    """1,600 columns, PostgreSQL's limit, and a value of 100 MB."""
    wide = b"\t".join(b"%d" % number for number in range(1600)) + b"\n"
    assert copytext.join(copytext.split(wide * 3, [str(i) for i in range(1600)])).to_pybytes() == wide * 3
    long = b"\\N\t" + b"x" * 100_000_000 + b"\nb\t\n"
    batch = copytext.split(long, ["a", "b"])
    assert batch.num_rows == 2
    assert copytext.join(batch).to_pybytes() == long


def test_rows_beyond_what_one_array_can_hold_are_joined_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit of int32 offsets the batch is halved until the pieces fit."""
    block = b"".join(b"%d\t%s\t\\N\n" % (i, b"y" * random.Random(i).randrange(50)) for i in range(500))
    batch = copytext.split(block, ["a", "b", "c"])
    monkeypatch.setattr(copytext, "_MOST_BYTES", 100)
    assert copytext.join(batch).to_pybytes() == block


@pytest.mark.parametrize("block", [b"secret\n", b"a\tb\tsecret\n", b"a\tb\n\nsecret\tb\n"])
def test_rows_of_another_width_are_refused_without_quoting_them(block: bytes) -> None:
    """The error, and what it was raised from, holds nothing of the row."""
    with pytest.raises(ServerFailed) as caught:
        copytext.split(block, ["a", "b"])
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@given(tables(), st.data())
def test_columns_cut_out_are_filled_in_again(rows: list[list[bytes | None]], data: st.DataObject) -> None:
    """A block with other values in some of its columns is what COPY would write of the changed rows."""
    columns = names(rows) if rows and rows[0] else ["a", "b"]
    rows = [row for row in rows if row]
    wanted = [name for name in columns if data.draw(st.booleans())]
    cut = copytext.Cut(block_of(rows), columns, wanted[::-1])
    assert cut.batch.schema.names == wanted
    changed = [list(row) for row in rows]
    filling = []
    for name in wanted:
        place = columns.index(name)
        assert cut.batch.column(name).to_pylist() == [
            None if row[place] is None else written(row[place]) for row in rows
        ]
        values = data.draw(st.lists(VALUES, min_size=len(rows) + 1, max_size=len(rows) + 1))
        filling.append(copytext.escape(pa.array(values, pa.binary()))[1:])
        for row, value in zip(changed, values[1:], strict=True):
            row[place] = value
    assert cut.filled(filling).to_pybytes() == block_of(changed)


def test_more_than_one_array_can_hold_is_filled_in_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit of int32 offsets the block is put together with wider ones."""
    monkeypatch.setattr(copytext, "_MOST_BYTES", 10)
    cut = copytext.Cut(b"a\tb\nc\t\\N\n", ["x", "y"], ["y"])
    assert cut.filled([pa.array([None, b"long enough"], pa.binary())]).to_pybytes() == b"a\t\\N\nc\tlong enough\n"
