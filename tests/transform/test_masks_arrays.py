"""Arrays are masked element by element."""

from __future__ import annotations

import math

import psycopg
import pyarrow as pa
import pytest
from fix_masks import AWKWARD_TEXTS, MANY_RUNS, column_of, mask_of, masked
from hypothesis import given
from hypothesis import strategies as st

from capture.model import ServerFailed
from tests.fix_postgres import Server
from transform import arraytext
from transform.arraytext import Shape
from transform.masks.arrays import ArrayMask
from transform.masks.base import Mask

ELEMENTS = st.sampled_from(AWKWARD_TEXTS) | st.sampled_from([b"NULL", b"null", b"{}", b'"', b"\\", b"a,b"])


class Spoil(Mask):
    """A mask whose output needs every kind of quoting."""

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return pa.array([value and b'"\\{,' + value for value in values.to_pylist()], pa.binary())


@st.composite
def arrays(draw: st.DrawFn) -> bytes | None:
    lengths = draw(st.none() | st.lists(st.integers(1, 3), max_size=3).map(tuple))
    if lengths is None:
        return None
    count = math.prod(lengths) if lengths else 0
    prefix = (
        draw(st.sampled_from([b"", b"".join(b"[0:%d]" % (length - 1) for length in lengths) + b"="]))
        if lengths
        else b""
    )
    return arraytext.write(Shape(prefix, lengths), draw(st.lists(ELEMENTS, min_size=count, max_size=count)))


@given(
    st.lists(arrays(), max_size=6), st.sampled_from([Spoil(), mask_of("text.lorem"), mask_of("null"), mask_of("keep")])
)
@MANY_RUNS
def test_every_element_is_masked_and_the_shape_stays(values: list[bytes | None], element: Mask) -> None:
    """An array of masked elements has the shape, the bounds and the NULLs that it had."""
    out = masked(ArrayMask(element), values)
    for value, array in zip(values, out, strict=True):
        if value is None or array is None:
            assert value is array
            continue
        (shape, elements), (shape_after, elements_after) = arraytext.parse(value), arraytext.parse(array)
        assert shape_after == shape
        assert elements_after == masked(element, elements)
        assert array == arraytext.write(shape_after, elements_after)


@given(
    st.lists(
        st.none() | st.lists(st.integers(0, 10**6), max_size=4).map(lambda n: f"{{{','.join(map(str, n))}}}".encode())
    )
)
@MANY_RUNS
def test_arrays_depend_on_the_value_only(values: list[bytes | None]) -> None:
    """An array masks alike alone, in a batch, in any order, also arrays of plain numbers."""
    wanted = [b"{1}", b"{9}"]
    mask = ArrayMask(mask_of("number.noise", column_of("int4")))
    column = pa.array([*values, *wanted], pa.binary())
    out = mask.apply(column).to_pylist()
    assert masked(mask, [*values, *wanted][::-1]) == out[::-1]
    assert [mask.apply(column[row : row + 1]).to_pylist()[0] for row in range(len(column))] == out
    assert mask.apply(column[1:]).to_pylist() == out[1:]


def test_boxes_are_parted_by_semicolons() -> None:
    """Their own text holds commas."""
    mask = ArrayMask(mask_of("constant", column_of("box"), value="(2,2),(1,1)"), arraytext.delimiter_of("box"))
    assert masked(mask, [b"{(1,1),(0,0);NULL}"]) == [b"{(2,2),(1,1);NULL}"]


def test_other_text_stops_the_run() -> None:
    """The value is not told."""
    with pytest.raises(ServerFailed) as caught:
        masked(ArrayMask(mask_of("keep")), [b"secret"])
    assert "secret" not in str(caught.value)


@pytest.mark.integration
def test_the_server_prints_what_the_mask_gives(server18: Server) -> None:
    """Masked arrays, cast to text[] and back, are the same text."""
    values: list[bytes | None] = [
        arraytext.write(shape, [value for value in AWKWARD_TEXTS if value is None or len(value) < 99][:count])
        for shape, count in [
            (Shape(b"", (12,)), 12),
            (Shape(b"", (3, 4)), 12),
            (Shape(b"[0:1]=", (2,)), 2),
            (Shape(b"", ()), 0),
        ]
    ]
    with psycopg.connect(server18.url()) as connection:
        for element in (Spoil(), mask_of("text.lorem"), mask_of("keep"), mask_of("null")):
            for array in masked(ArrayMask(element), values):
                assert array is not None
                assert connection.execute("SELECT %s::text[]::text", [array.decode()]).fetchone() == (array.decode(),)


def test_an_element_that_is_null_may_lie_over_bytes() -> None:
    """A mask may leave bytes below a NULL; the array has NULL there."""
    of_choice = masked(ArrayMask(mask_of("choice", values=["one"])), [b"{a,NULL}", b'{NULL,"b c"}'])
    assert of_choice == [b"{one,NULL}", b"{NULL,one}"]
