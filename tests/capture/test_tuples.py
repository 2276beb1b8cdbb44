"""Cutting many rows at once gives what the decoder gives for each, or says that it cannot."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.model import UNCHANGED, Value
from capture.pgoutput import ProtocolViolation, _tuple_data
from capture.tuples import Fields, Irregular, Rows, cut_rows
from tests.capture.pgoutput_encoder import int16, int32, tuple_data

Row = tuple[Value, ...]

PADDING = bytes(8)

values = st.none() | st.just(UNCHANGED) | st.binary(max_size=9) | st.sampled_from([b"", b"n", b"x" * 300])
tables = st.integers(0, 5).flatmap(lambda width: st.lists(st.tuples(*[values] * width), min_size=1, max_size=6))
gaps = st.binary(max_size=5)


def laid_out(images: list[bytes], gap: bytes = b"") -> tuple[bytes, list[int], list[int]]:
    """A block of images with something between them; where each starts, and where its message ends."""
    ends = list(accumulate(len(gap) + len(image) for image in images))
    starts = [end - len(image) for end, image in zip(ends, images, strict=True)]
    return b"".join(gap + image for image in images), starts, ends


def cut(data: bytes, starts: list[int], limits: list[int], width: int, wanted: list[int] | None = None) -> Rows:
    return cut_rows(Fields(data + PADDING), np.array(starts, np.int64), np.array(limits, np.int64), width, wanted)


def in_rows(rows: Rows, count: int) -> list[Row]:
    """The rows that were cut, with what was not sent."""
    columns = [column.to_pylist() for column in rows.columns if column is not None]
    read: list[Row] = [tuple(row) for row in zip(*columns, strict=True)] if columns else [()] * count
    if rows.unchanged is None:
        return read
    assert not any(
        value is not None for row, lacks in zip(read, rows.unchanged, strict=True) for value in np.array(row)[lacks]
    )
    return [
        tuple(UNCHANGED if lacking else value for value, lacking in zip(row, lacks, strict=True))
        for row, lacks in zip(read, rows.unchanged.tolist(), strict=True)
    ]


@given(tables, gaps)
def test_rows_come_as_they_were_sent(sent: list[Row], gap: bytes) -> None:
    """Values, NULL and what was not sent are told apart, whatever lies between the rows."""
    data, starts, ends = laid_out([tuple_data(row) for row in sent], gap)
    rows = cut(data, starts, ends, len(sent[0]))
    assert in_rows(rows, len(sent)) == sent
    assert rows.ends.tolist() == ends
    assert (rows.unchanged is not None) == any(UNCHANGED in row for row in sent)


@given(tables, st.data())
def test_only_the_columns_that_are_wanted_are_built(sent: list[Row], data: st.DataObject) -> None:
    """The others are passed over."""
    width = len(sent[0])
    wanted = data.draw(st.lists(st.integers(0, max(width - 1, 0)), unique=True))
    rows = cut(*laid_out([tuple_data(row) for row in sent]), width, wanted)
    for position, column in enumerate(rows.columns):
        assert (column is not None) == (position in wanted)
        if column is not None:
            assert column.to_pylist() == [None if row[position] is UNCHANGED else row[position] for row in sent]


@pytest.mark.parametrize("width", [0, 3])
def test_no_rows_give_columns_without_values(width: int) -> None:
    """A table that only loses rows has no new images."""
    rows = cut(b"anything", [], [], width)
    assert [column.to_pylist() for column in rows.columns if column is not None] == [[]] * width
    assert rows.ends.tolist() == []


@pytest.mark.parametrize(
    "image",
    [
        int16(2) + b"t" + int32(2) + b"ab",
        int16(2) + b"t" + int32(2) + b"abn" + b"n",
        int16(3) + b"nnn",
        int16(1) + b"n",
        b"\xff\xfenn",
        int16(2) + b"nt" + int32(1),
        int16(2) + b"nt" + int32(100) + b"x",
        int16(2) + b"nt" + int32(-1) + b"x",
        int16(2) + b"nt" + int32(2**31 - 1) + b"x",
        int16(2) + b"nb" + int32(1) + b"x",
        int16(2) + b"nX",
        int16(2) + b"n",
        int16(2),
        b"\0",
    ],
    ids=lambda image: image.hex(),
)
@pytest.mark.parametrize("before", [0, 1])
def test_what_is_not_a_row_of_that_width_is_irregular(image: bytes, before: int) -> None:
    """Truncated, too long, of another width, binary, unknown: among good rows as alone, also where what follows would
    complete it."""
    good = tuple_data((b"1", None))
    images = [good] * before + [image] + [good] * 2
    data, starts, ends = laid_out(images)
    try:
        rows = cut(data, starts, ends, 2)
    except Irregular:
        return
    # A row may end before its message; it is the caller's to see that.
    assert rows.ends.tolist() != ends
    assert _tuple_data(image, 0)[1] < len(image)


@given(tables, st.data())
def test_whatever_the_bytes_are_nothing_is_read_wrong(sent: list[Row], data: st.DataObject) -> None:
    """Bytes that were changed are irregular, or mean what they mean to the decoder."""
    block, starts, ends = laid_out([tuple_data(row) for row in sent])
    changed = bytearray(block)
    for _ in range(data.draw(st.integers(1, 3))):
        if changed:
            place = data.draw(st.integers(0, len(changed) - 1))
            changed[place] = data.draw(st.sampled_from(b"tnub\0\1\2\xff") | st.integers(0, 255))
    try:
        rows = cut(bytes(changed), starts, ends, len(sent[0]))
    except Irregular:
        return
    decoded = [_tuple_data(bytes(changed[:end]), start) for start, end in zip(starts, ends, strict=True)]
    assert in_rows(rows, len(sent)) == [row for row, _ in decoded]
    assert rows.ends.tolist() == [end for _, end in decoded]


@given(st.binary(min_size=1, max_size=60), st.integers(0, 4), st.data())
def test_garbage_is_read_as_the_decoder_reads_it_or_not_at_all(garbage: bytes, width: int, data: st.DataObject) -> None:
    """Wherever rows are said to be."""
    edges = data.draw(st.lists(st.integers(0, len(garbage)), min_size=2, max_size=8).map(sorted))
    starts, limits = edges[0:-1:2], edges[1::2]
    try:
        rows = cut(garbage, starts, limits, width)
    except Irregular:
        return
    for number, (start, limit) in enumerate(zip(starts, limits, strict=True)):
        try:
            row, end = _tuple_data(garbage[:limit], start)
        except ProtocolViolation:
            pytest.fail("the decoder refuses what was cut")
        assert in_rows(rows, len(starts))[number] == row
        assert rows.ends[number] == end


def test_numbers_are_read_where_they_stand() -> None:
    """Big-endian, at any place, up to the end of the data."""
    data = bytes(range(1, 21))
    fields = Fields(data + PADDING)
    at = np.arange(len(data) - 7)
    assert fields.uint16(at).tolist() == [int.from_bytes(data[place : place + 2]) for place in at]
    assert fields.uint32(at).tolist() == [int.from_bytes(data[place : place + 4]) for place in at]
    assert fields.int64(at).tolist() == [int.from_bytes(data[place : place + 8]) for place in at]
    assert fields.int64(np.array([len(data)])).tolist() == [0]
    assert fields.uint32(np.array([len(data) + 4])).tolist() == [0]
    high = Fields(b"\xff" * 8 + PADDING)
    zero = np.array([0])
    assert (high.uint16(zero)[0], high.uint32(zero)[0], high.int64(zero)[0]) == (2**16 - 1, 2**32 - 1, -1)


def test_rows_are_kept_out_of_a_repr() -> None:
    """What was cut does not reach a log by that way."""
    data, starts, ends = laid_out([tuple_data((b"canary", UNCHANGED))])
    assert "canary" not in repr(cut(data, starts, ends, 2))
