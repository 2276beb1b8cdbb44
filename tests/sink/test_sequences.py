"""A copy's own inserts never meet a row that the stream brought."""

from __future__ import annotations

import pyarrow as pa
import pytest

from capture.model import ColumnName, Sequence, TableName
from sink.sequences import SequenceMarks
from sink.target import Connection
from tests.fix_copy import OpenTarget
from tests.fix_postgres import Database

T, PART = TableName("public", "t"), TableName("public", 't "1"')
IDS = Sequence(TableName("public", "Ids"), "bigint", 1, 1, 2**63 - 1, (ColumnName(T, "id"),))
DOWN = Sequence(TableName("public", "down"), "bigint", -1, -1000, -1, (ColumnName(T, "id"),))
KEPT = {ColumnName(T, "id")}


def images(*values: bytes | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(values, pa.binary()), pa.array([b"\xff"] * len(values), pa.binary())], names=["id", "other"]
    )


def moves(marks: SequenceMarks) -> list[bytes]:
    return [parameter for _, parameters in marks.statements() for parameter in parameters]


def test_the_highest_value_moves_a_sequence_once() -> None:
    """Nothing is said again until a higher one comes."""
    marks = SequenceMarks((IDS,), {}, KEPT)
    marks.observe(T, images(b"7", b"40", None, b"9"))
    marks.observe(T, images(b"12"))
    assert moves(marks) == [b"40"]
    assert moves(marks) == []
    marks.observe(T, images(b"39", b"40"))
    assert moves(marks) == []
    marks.observe(T, images(b"41"))
    assert moves(marks) == [b"41"]


def test_a_sequence_that_counts_down_follows_the_lowest() -> None:
    """The direction is the sequence's; what lies outside of its bounds is not its own."""
    marks = SequenceMarks((DOWN,), {}, KEPT)
    marks.observe(T, images(b"-7", b"-40", b"-9"))
    assert moves(marks) == [b"-40"]
    marks.observe(T, images(b"-5000"))
    assert moves(marks) == []


def test_partitions_move_the_sequence_of_their_root() -> None:
    """Rows arrive under the partition's name."""
    marks = SequenceMarks((IDS,), {PART: T}, KEPT)
    marks.observe(PART, images(b"8"))
    marks.observe(T, images(b"6"))
    assert moves(marks) == [b"8"]


def test_what_several_columns_take_from_one_sequence_moves_it_together() -> None:
    """The one that came last is not the highest."""
    other = TableName("public", "other")
    shared = Sequence(IDS.name, "bigint", 1, 1, 1000, (ColumnName(T, "id"), ColumnName(other, "id")))
    marks = SequenceMarks((shared,), {PART: T}, {ColumnName(T, "id"), ColumnName(other, "id")})
    marks.observe(T, images(b"90"))
    marks.observe(other, images(b"50"))
    assert moves(marks) == [b"90"]
    marks.observe(other, images(b"80"))
    marks.observe(PART, images(b"70"))
    assert moves(marks) == []


def test_a_masked_column_moves_nothing() -> None:
    """Its values are made up; the sequence stands above them since the clone."""
    marks = SequenceMarks((IDS,), {}, set())
    marks.observe(T, images(b"8"))
    assert moves(marks) == []


@pytest.mark.parametrize("values", [(), (None,), (b"", b"x", b"1.5", b"12 ")])
def test_what_is_no_integer_moves_nothing(values: tuple[bytes | None, ...]) -> None:
    """A default may build a text around a sequence's value."""
    marks = SequenceMarks((IDS,), {}, KEPT)
    marks.observe(T, images(*values))
    assert moves(marks) == []


@pytest.fixture
async def connection(shared: Database, open_target: OpenTarget) -> Connection:
    shared.execute(
        'DROP SEQUENCE IF EXISTS public."Ids", public.down',
        'CREATE SEQUENCE public."Ids"',
        "CREATE SEQUENCE public.down INCREMENT -1 MINVALUE -1000",
    )
    return await open_target(shared)


async def next_value(connection: Connection, marks: SequenceMarks, name: str) -> int:
    for statement, parameters in marks.statements():
        result = connection.pgconn.exec_params(statement.encode(), list(parameters))
        assert not result.error_message, result.error_message
    return int((await (await connection.execute(f"SELECT nextval('{name}')".encode())).fetchall())[0][0])


async def test_a_sequence_only_ever_moves_ahead(connection: Connection) -> None:
    """The copy's own users may have taken values already; neither direction goes back."""
    marks = SequenceMarks((IDS, DOWN), {}, KEPT)
    marks.observe(T, images(b"1"))
    assert await next_value(connection, marks, 'public."Ids"') == 2
    await connection.execute("SELECT setval('public.\"Ids\"', 90)")
    marks.observe(T, images(b"40"))
    assert await next_value(connection, marks, 'public."Ids"') == 91
    marks.observe(T, images(b"-40"))
    assert await next_value(connection, marks, "public.down") == -41
    marks.observe(T, images(b"-20"))
    assert await next_value(connection, marks, "public.down") == -42
