"""Array text is read and written as PostgreSQL does."""

from __future__ import annotations

import math

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fix_postgres import Server
from transform import arraytext
from transform.arraytext import Shape

ELEMENTS = st.one_of(
    st.none(),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6).map(str.encode),
    st.lists(st.sampled_from([b'"', b"\\", b"{", b"}", b",", b";", b" ", b"\n", b"a"]), max_size=4).map(b"".join),
    st.sampled_from([b"", b"NULL", b"null", b"nulls", b"[0:1]={}"]),
)
SHAPES = st.lists(st.integers(1, 3), min_size=1, max_size=3).flatmap(
    lambda lengths: st.sampled_from(
        [Shape(b"", tuple(lengths)), Shape(b"".join(b"[0:%d]" % (n - 1) for n in lengths) + b"=", tuple(lengths))]
    )
)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Shape, list[bytes | None]]:
    shape = draw(SHAPES)
    count = math.prod(shape.lengths)
    return shape, draw(st.lists(ELEMENTS, min_size=count, max_size=count))


@given(arrays(), st.sampled_from([b",", b";"]))
@example((Shape(b"", ()), []), b",")
@example((Shape(b"", (1,)), [b"\n"]), b",")
def test_what_is_written_reads_back(array: tuple[Shape, list[bytes | None]], delimiter: bytes) -> None:
    """Shape, bounds and every element survive, whatever bytes they hold."""
    assert arraytext.parse(arraytext.write(*array, delimiter), delimiter) == array


@pytest.mark.parametrize(
    ("text", "shape", "elements"),
    [
        (b"{}", Shape(b"", ()), []),
        (b"{1,NULL,3}", Shape(b"", (3,)), [b"1", None, b"3"]),
        (b'{"NULL",""}', Shape(b"", (2,)), [b"NULL", b""]),
        (b"[0:1]={a,b}", Shape(b"[0:1]=", (2,)), [b"a", b"b"]),
        (b"[-1:0][2:2]={{a},{NULL}}", Shape(b"[-1:0][2:2]=", (2, 1)), [b"a", None]),
        (b'{{"a,b","c\\"d\\\\"},{x,"{}"}}', Shape(b"", (2, 2)), [b"a,b", b'c"d\\', b"x", b"{}"]),
    ],
)
def test_examples(text: bytes, shape: Shape, elements: list[bytes | None]) -> None:
    """What array_out writes is read as it is meant, and written back the same."""
    assert arraytext.parse(text) == (shape, elements)
    assert arraytext.write(shape, elements) == text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"secret",
        b"{secret}}",
        b'{"secret}',
        b"{{a},b}",
        b"{{a}{b}}x",
        b"{a,{b}}",
        b"{{a},{{b}}}",
        b"{{}",
        b"{{a,b},{c}}",
    ],
)
def test_other_text_is_refused_without_quoting_it(text: bytes) -> None:
    """What is no array raises, and the error does not hold the value."""
    with pytest.raises(ValueError, match="not the text of an array") as caught:
        arraytext.parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.integration
def test_the_text_is_what_the_server_prints(server18: Server) -> None:
    """Quoting, nesting, bounds and NULL are those of array_out."""
    values: list[bytes | None] = [
        b"a", b"", b"NULL", b"nUlL", b"nulls", None, b"a b", b" ", b"\t", b"\n", b"\v", b"\f", b"\r", b"a,b", b"a;b",
        b"{", b"}", b'"', b"\\", b"'", "ä\u00a0\u2003".encode(), b"[0:1]=", b"1e5", b"\x01", b"x\\\"y", b"(", b"=",
    ]  # fmt: skip
    shapes = [Shape(b"", (27,)), Shape(b"[0:26]=", (27,)), Shape(b"", (3, 9)), Shape(b"[5:7][1:3][-1:1]=", (3, 3, 3))]
    assert len(values) == 27
    with psycopg.connect(server18.url()) as connection:
        for shape in shapes:
            text = arraytext.write(shape, values)
            printed = connection.execute("SELECT (%s::text)::text[]::text", [text.decode()]).fetchone()
            assert printed == (text.decode(),)
        boxes = arraytext.write(Shape(b"", (2,)), [b"(1,1),(0,0)", None], arraytext.delimiter_of("box"))
        assert connection.execute("SELECT (%s::text)::box[]::text", [boxes.decode()]).fetchone() == (boxes.decode(),)
