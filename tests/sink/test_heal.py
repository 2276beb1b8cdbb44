"""Rows are deleted by keys of any type, and no other row is."""

from __future__ import annotations

import pyarrow as pa
import pytest

from capture.model import Column, TableName
from sink.heal import delete_rows
from sink.target import fetch
from tests.fix_copy import OpenTarget
from tests.fix_postgres import Database


@pytest.mark.parametrize(
    ("type_name", "wanted", "kept"),
    [
        ("integer", ["1", "2"], ["3"]),
        ("character(4)", ["a   ", "b"], ["c"]),
        ("character varying(9)", ["a ", "100%"], ["a"]),
        ("numeric(6,2)", ["1.5"], ["1.51"]),
        ("boolean", ["t"], ["f"]),
        ("json", ['{"a": 1}'], ['{"a":1}']),
        ("double precision", ["NaN", "-0"], ["0"]),
        ("integer[]", ["{1,2}"], ["{2,1}"]),
    ],
)
async def test_the_rows_of_these_keys_are_gone(
    shared: Database, open_target: OpenTarget, type_name: str, wanted: list[str], kept: list[str]
) -> None:
    """Whatever the type, whether it has an equality or not; rows of children stay."""
    connection = await open_target(shared)
    shared.execute('DROP TABLE IF EXISTS public."k %s" CASCADE')
    name = TableName("public", "k %s")
    await fetch(connection, f'CREATE TABLE {name} ("key %" {type_name}, n int)')
    await fetch(connection, f"CREATE TABLE public.child () INHERITS ({name})")
    for value in (*wanted, *kept):
        await connection.execute(f"INSERT INTO {str(name).replace('%', '%%')} VALUES (%s, 1)".encode(), (value,))
    await connection.execute(b"INSERT INTO public.child VALUES (%s, 2)", (wanted[0],))
    column = Column("key %", 1, 0, -1, type_name, "")
    values = pa.array([value.encode() for value in (*wanted, wanted[0])], pa.binary())
    assert await delete_rows(connection, name, [column], [values]) == len(wanted)
    assert [row[0] for row in await fetch(connection, f"SELECT n FROM {name} ORDER BY n")] == [1] * len(kept) + [2]


async def test_a_key_of_two_columns_is_a_pair(shared: Database, open_target: OpenTarget) -> None:
    """Not each value by itself."""
    connection = await open_target(shared)
    await fetch(
        connection, "CREATE TABLE public.pairs AS SELECT a, b FROM generate_series(1, 3) a, generate_series(1, 3) b"
    )
    key = [Column(name, 1, 0, -1, "integer", "int4") for name in ("a", "b")]
    values = [pa.array(column, pa.binary()) for column in ([b"1", b"2"], [b"2", b"1"])]
    assert await delete_rows(connection, TableName("public", "pairs"), key, values) == 2
    assert await fetch(connection, "SELECT count(*) FROM public.pairs WHERE (a, b) IN ((1, 2), (2, 1))") == [(0,)]
