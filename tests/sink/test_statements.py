"""Each statement does to a row of the copy what production did, and says how many rows it found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from capture.model import ReplicaIdentity, Table, TableName
from sink import statements
from sink.arrays import text_array
from sink.columns import read_converted_types
from sink.statements import TableShape
from tests.fix_copy import OpenTarget, table_of
from tests.fix_postgres import Database

FULL = ReplicaIdentity.FULL
# What a cast makes from text by a function of its own, in every database.
CONVERTED = frozenset({"name", "char", "regclass", "xml"})


async def touched(open_target: OpenTarget, database: Database, statement: str, *values: bytes | None) -> int:
    """Run a statement with text parameters; how many rows it touched."""
    connection = await open_target(database)
    result = connection.pgconn.exec_params(statement.encode(), values)
    assert not result.error_message, result.error_message.decode()
    return result.command_tuples or 0


def make(database: Database, table: Table, ddl: str, *rows: str) -> TableShape:
    """Make the table, with rows written as SQL values; its shape."""
    database.execute(f"CREATE TABLE {table.name} ({ddl})")
    for row in rows:
        database.execute(f"INSERT INTO {table.name} OVERRIDING SYSTEM VALUE VALUES {row}")
    return TableShape.of(table, CONVERTED)


def content(database: Database, shape: TableShape) -> list[tuple[Any, ...]]:
    return sorted(database.execute(f"SELECT * FROM {shape.table}"), key=repr)


async def test_insert_writes_every_column(shared: Database, open_target: OpenTarget) -> None:
    """Values come as text and are taken as the column's type; NULL is NULL; names are quoted."""
    table = table_of("Odd", {"select": "int8", 'a"b': "jsonb", "c": "text"}, key=("select",))
    shape = make(shared, table, '"select" bigint PRIMARY KEY, "a""b" jsonb, c text')
    assert await touched(open_target, shared, statements.insert(shape), b"7", b'{"a": 1}', None) == 1
    assert content(shared, shape) == [(7, {"a": 1}, None)]


async def test_insert_sets_an_identity_that_is_always_generated(shared: Database, open_target: OpenTarget) -> None:
    """The copy has production's value, not one of its own."""
    table = table_of("always_insert", {"id": "bigint", "a": "text"}, key=("id",), always=("id",))
    shape = make(shared, table, "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text")
    assert await touched(open_target, shared, statements.insert(shape), b"40", b"x") == 1
    assert content(shared, shape) == [(40, "x")]


async def test_a_table_without_columns_has_rows(shared: Database, open_target: OpenTarget) -> None:
    """PostgreSQL allows such tables, so they are copied."""
    shape = make(shared, table_of("nothing", {}), "")
    assert await touched(open_target, shared, statements.insert(shape)) == 1
    assert shared.execute("SELECT count(*) FROM public.nothing") == [(1,)]


async def test_update_and_delete_by_key(shared: Database, open_target: OpenTarget) -> None:
    """Only the named columns of the one row change, and the count tells whether it was there."""
    columns = {"a": "bigint", "b": "text", "c": "text", "d": "text"}
    table = table_of("keyed", columns, key=("a", "b"))
    shape = make(
        shared,
        table,
        "a bigint, b text, c text, d text, PRIMARY KEY (a, b)",
        "(1, 'x', 'old', 'd')",
        "(1, 'y', 'old', 'd')",
    )
    update = statements.update(shape, (2,))
    assert await touched(open_target, shared, update, b"new", b"1", b"x") == 1
    assert await touched(open_target, shared, update, b"new", b"9", b"x") == 0
    assert await touched(open_target, shared, statements.update(shape, (0, 1)), b"2", b"z", b"1", b"y") == 1
    assert content(shared, shape) == [(1, "x", "new", "d"), (2, "z", "old", "d")]
    assert await touched(open_target, shared, statements.delete(shape), b"1", b"x") == 1
    assert await touched(open_target, shared, statements.delete(shape), b"1", b"x") == 0
    assert content(shared, shape) == [(2, "z", "old", "d")]


async def test_find_changes_nothing_and_says_whether_the_row_is_there(
    shared: Database, open_target: OpenTarget
) -> None:
    """For an update that sent nothing new."""
    shape = make(shared, table_of("found", {"id": "bigint"}, key=("id",)), "id bigint PRIMARY KEY", "(1)")
    assert await touched(open_target, shared, statements.find(shape), b"1") == 1
    assert await touched(open_target, shared, statements.find(shape), b"2") == 0


async def test_only_the_table_itself_is_changed(shared: Database, open_target: OpenTarget) -> None:
    """A child by inheritance has rows of its own, which the stream names on their own."""
    shape = make(shared, table_of("parent", {"id": "bigint", "a": "text"}, key=("id",)), "id bigint, a text")
    shared.execute("CREATE TABLE public.child () INHERITS (public.parent)", "INSERT INTO public.child VALUES (1, 'c')")
    assert await touched(open_target, shared, statements.update(shape, (1,)), b"x", b"1") == 0
    assert await touched(open_target, shared, statements.delete(shape), b"1") == 0
    await touched(open_target, shared, statements.truncate([shape.table]))
    assert shared.execute("SELECT * FROM public.child") == [(1, "c")]


# --------------------------------------------------------------------------------------- without a unique key


async def test_of_rows_that_are_alike_one_is_changed(shared: Database, open_target: OpenTarget) -> None:
    """With REPLICA IDENTITY FULL and no key a change is about one row, whichever; NULL finds NULL."""
    table = table_of("alike", {"a": "bigint", "b": "text"}, identity=FULL)
    shape = make(shared, table, "a bigint, b text", *["(1, NULL)"] * 3, "(2, 'x')")
    assert await touched(open_target, shared, statements.update(shape, (1,)), b"new", b"1", None) == 1
    assert content(shared, shape) == [(1, "new"), (1, None), (1, None), (2, "x")]
    assert await touched(open_target, shared, statements.delete(shape), b"1", None) == 1
    assert await touched(open_target, shared, statements.delete(shape), b"3", None) == 0
    assert content(shared, shape) == [(1, "new"), (1, None), (2, "x")]


# Two values each that are not the same although PostgreSQL may call them equal, or knows no equality at all.
ONE_OF_TWO = {
    "numeric": ("1.0", "1.00"),
    "double precision": ("0", "-0"),
    "interval": ("1 day", "24:00:00"),
    "jsonb": ('{"a": 1.0}', '{"a": 1.00}'),
    "json": ('{"a":1}', '{"a": 1}'),
    "json[]": ('{"{\\"a\\":1}"}', '{"{\\"a\\": 1}"}'),
    "jsonpath": ("$.a", "$.b"),
    "point": ("(1,2)", "(2,1)"),
    "polygon": ("((0,0),(1,1))", "((0,0),(1,2))"),
    "box": ("(1,1),(0,0)", "(2,2),(0,0)"),
    "circle": ("<(0,0),1>", "<(0,0),2>"),
    "path": ("((0,0),(1,1))", "[(0,0),(1,1)]"),
    "line": ("{1,2,3}", "{1,2,4}"),
    "lseg": ("[(0,0),(1,1)]", "[(0,0),(1,2)]"),
    "boolean": ("t", "f"),
    "character(5)": ("a", "b"),
    "character varying(5)": ("a", "a "),
    "name": ("a", "b"),
    '"char"': ("a", "b"),
    "text[]": ("{a,NULL}", '{a,"NULL"}'),
    "bytea": ("\\x00ff", "\\x00fe"),
    "inet": ("10.0.0.1", "10.0.0.1/24"),
    "cidr": ("10.0.0.0/8", "10.0.0.0/16"),
    "money": ("$1.00", "$2.00"),
    "bit(3)": ("101", "100"),
    "timestamp with time zone": ("2026-01-01 00:00:00+00", "2026-01-01 00:00:00.000001+00"),
    "numrange": ("[1.0,2)", "[1.00,2)"),
    "tsvector": ("'a':1", "'a':1A"),
    "uuid": ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"),
    "regclass": ("pg_class", "pg_type"),
    "public.mood": ("glad", "sad"),
    "public.pair": ('(1,"{""a"":1}")', '(1,"{""a"": 1}")'),
    "public.short": ("a", "b"),
    "public.vector(2)": ("[1,2]", "[1,3]"),
}


@pytest.fixture(scope="module")
def types(shared: Database) -> Database:
    shared.execute(
        "CREATE EXTENSION vector",
        "CREATE TYPE public.mood AS ENUM ('glad', 'sad')",
        "CREATE TYPE public.pair AS (a int, b json)",
        "CREATE DOMAIN public.short AS varchar(3)",
    )
    return shared


@pytest.mark.parametrize("type_name", ONE_OF_TWO)
async def test_rows_are_told_apart_by_what_they_print(types: Database, open_target: OpenTarget, type_name: str) -> None:
    """Equal is not the same: the one of two rows that production deleted goes, and the other stays."""
    one, other = ONE_OF_TWO[type_name]
    connection = await open_target(types)
    await connection.execute("DROP TABLE IF EXISTS public.typed")
    await connection.execute(f"CREATE TABLE public.typed (a {type_name})".encode())
    shape = TableShape.of(table_of("typed", {"a": type_name}, identity=FULL), CONVERTED)
    for value in (other, one, None):
        await touched(open_target, types, statements.insert(shape), None if value is None else value.encode())
    assert await touched(open_target, types, statements.delete(shape), one.encode()) == 1
    assert await touched(open_target, types, statements.delete(shape), one.encode()) == 0
    assert await touched(open_target, types, statements.delete(shape), None) == 1
    [left] = (await (await connection.execute("SELECT count(*) FROM public.typed")).fetchall())[0]
    assert left == 1
    assert await touched(open_target, types, statements.delete(shape), other.encode()) == 1


async def test_a_key_that_is_checked_late_is_not_taken_for_unique(shared: Database, open_target: OpenTarget) -> None:
    """With FULL and a deferrable key two rows may share it between two changes; the whole row tells them apart."""
    columns = {"id": "bigint", "a": "text"}
    table = table_of("late", columns, key=("id",), identity=FULL, is_immediate=False)
    shape = make(shared, table, "id bigint PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a text", "(1, 'x')", "(2, 'y')")
    connection = await open_target(shared)
    async with connection.transaction():
        for before, after in ((b"1x", b"2x"), (b"2y", b"3y")):
            values = [after[:1], after[1:], before[:1], before[1:]]
            result = connection.pgconn.exec_params(statements.update(shape, (0, 1)).encode(), values)
            assert result.command_tuples == 1
    assert content(shared, shape) == [(2, "x"), (3, "y")]
    immediate = TableShape.of(table_of("late", columns, key=("id",), identity=FULL), CONVERTED)
    assert immediate.key == (0,)
    assert immediate.key_is_unique


# --------------------------------------------------------------------------------- identities that are always made


async def test_an_update_of_an_identity_makes_the_row_anew(types: Database, open_target: OpenTarget) -> None:
    """No UPDATE may set it; what was not sent is taken over from the old row, whatever its type."""
    columns = {
        "id": "bigint", "a": "text", "m": "public.mood", "s": "public.short", "v": "character varying(3)",
        "j": "json", "n": "numeric(5,2)", "t": "text[]",
    }  # fmt: skip
    table = table_of("always_update", columns, key=("id",), always=("id",))
    strings = {"a": "text", "v": "varchar", "s": "varchar"}
    table = with_base_types(table, strings)
    ddl = ", ".join(f"{name} {type_name}" for name, type_name in columns.items() if name != "id")
    shape = make(
        types,
        table,
        f"id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, g text GENERATED ALWAYS AS (a || '!') STORED, {ddl}",
    )
    insert = statements.insert(shape)
    old = (b"1", b"kept", b"glad", b"s", b"v", b"{}", b"1.50", b"{a}")
    await touched(open_target, types, insert, *old)
    every = tuple(range(len(columns)))
    new = (b"2", b"sent", b"sad", b"t", b"w", b"[]", b"2.50", b"{b}")
    some = statements.replace(shape, (0, 2))
    assert await touched(open_target, types, some, b"5", b"sad", b"1") == 1
    assert await touched(open_target, types, some, b"6", b"sad", b"1") == 0
    assert await touched(open_target, types, statements.replace(shape, every), *new, b"5") == 1
    [row] = types.execute("SELECT id, a, g, m, s, v, j, n::text, t FROM public.always_update")
    assert row == (2, "sent", "sent!", "sad", "t", "w", [], "2.50", ["b"])


def with_base_types(table: Table, base_types: dict[str, str]) -> Table:
    columns = tuple(
        replace(column, base_type=base_types.get(column.name, column.base_type)) for column in table.columns
    )
    return replace(table, columns=columns)


@pytest.mark.parametrize(
    ("type_name", "base_type", "is_array", "good", "bad"),
    [
        ("character varying(3)", "varchar", False, b"abc", b"abcd"),
        ("character varying(3)[]", "varchar", True, b"{abc}", b"{abcd}"),
        ("bit(3)", "bit", False, b"101", b"1011"),
        ("bit varying(3)", "varbit", False, b"101", b"1011"),
    ],
)
async def test_a_value_that_is_too_long_is_an_error_when_a_row_is_made_anew(
    shared: Database,
    open_target: OpenTarget,
    type_name: str,
    base_type: str,
    is_array: bool,
    good: bytes,
    bad: bytes,
) -> None:
    """A cast would cut it in silence."""
    table = table_of("too_long", {"id": "bigint", "v": type_name}, key=("id",), always=("id",))
    column = replace(table.columns[1], base_type=base_type, is_array=is_array, typmod=3)
    table = replace(table, columns=(table.columns[0], column))
    shared.execute("DROP TABLE IF EXISTS public.too_long")
    ddl = f"id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v {type_name}"
    shape = make(shared, table, ddl, f"(1, '{good.decode()}')")
    connection = await open_target(shared)
    result = connection.pgconn.exec_params(statements.replace(shape, (0, 1)).encode(), [b"2", bad, b"1"])
    assert str(result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)).startswith("b'22")


# ---------------------------------------------------------------------------------------------------- many rows


async def many(open_target: OpenTarget, database: Database, statement: str, *columns: list[bytes | None]) -> int:
    """Run a statement over columns of values; how many rows it touched."""
    connection = await open_target(database)
    arrays = [text_array(pa.array(column, pa.binary())) for column in columns]
    result = connection.pgconn.exec_params(
        statement.encode(), arrays, param_formats=[psycopg.pq.Format.BINARY] * len(arrays)
    )
    assert not result.error_message, result.error_message.decode()
    return result.command_tuples or 0


async def test_many_rows_are_inserted_updated_and_deleted(shared: Database, open_target: OpenTarget) -> None:
    """By a key of two columns; the count tells how many were there; names are quoted, NULL is NULL."""
    table = table_of("Many", {"select": "bigint", 'k"': "text", "v": "text", "w": "jsonb"}, key=("select", 'k"'))
    shape = make(shared, table, '"select" bigint, "k""" text, v text, w jsonb, PRIMARY KEY ("select", "k""")')
    assert shape.takes_many
    insert_many, delete_many = statements.insert_many(shape), statements.delete_many(shape)
    columns = [b"1", b"1", b"2"], [b"a", b"b", b"a"], [b"x", None, b""], [b"{}", None, b"[1]"]
    assert await many(open_target, shared, insert_many, *columns) == 3
    assert content(shared, shape) == [(1, "a", "x", {}), (1, "b", None, None), (2, "a", "", [1])]
    update_many = statements.update_many(shape, (2,))
    assert await many(open_target, shared, update_many, [None, b"new"], [b"1", b"2"], [b"a", b"a"]) == 2
    assert await many(open_target, shared, update_many, [b"y", b"z"], [b"1", b"9"], [b"b", b"a"]) == 1
    assert content(shared, shape) == [(1, "a", None, {}), (1, "b", "y", None), (2, "a", "new", [1])]
    assert await many(open_target, shared, delete_many, [b"1", b"9"], [b"b", b"b"]) == 1
    assert content(shared, shape) == [(1, "a", None, {}), (2, "a", "new", [1])]


async def test_many_rows_of_the_table_itself_are_changed(shared: Database, open_target: OpenTarget) -> None:
    """A child by inheritance has rows of its own."""
    table = table_of("parents", {"id": "bigint", "a": "text"}, key=("id",))
    shape = make(shared, table, "id bigint PRIMARY KEY, a text", "(1, 'p')")
    shared.execute("CREATE TABLE public.kids () INHERITS (public.parents)", "INSERT INTO public.kids VALUES (2, 'c')")
    assert await many(open_target, shared, statements.update_many(shape, (1,)), [b"x", b"x"], [b"1", b"2"]) == 1
    assert await many(open_target, shared, statements.delete_many(shape), [b"1", b"2"]) == 1
    assert shared.execute("SELECT * FROM public.parents") == [(2, "c")]


@pytest.mark.parametrize(
    ("options", "takes"),
    [
        ({"key": ("id",)}, True),
        ({"key": ("id",), "always": ("id",)}, True),
        ({"key": ("id",), "always": ("n",)}, False),
        ({"key": ("id",), "identity": FULL}, True),
        ({"key": ("id",), "identity": FULL, "is_immediate": False}, False),
        ({"identity": FULL}, False),
        ({"key": ("id",), "identity": ReplicaIdentity.NOTHING}, False),
        ({}, False),
    ],
    ids=str,
)
def test_many_rows_need_a_key_and_columns_that_can_be_set(options: dict[str, Any], takes: bool) -> None:
    """Otherwise their changes go one by one."""
    assert TableShape.of(table_of("t", {"id": "bigint", "n": "bigint"}, **options), CONVERTED).takes_many is takes


@pytest.mark.parametrize("base_type", ["text", "xml", "name", "char", "regclass"])
@pytest.mark.parametrize("is_array", [False, True])
def test_what_text_is_converted_to_is_not_read_as_text(base_type: str, is_array: bool) -> None:
    """A cast would not read what the type's own input reads; nor would it in an array of them, or under a domain."""
    table = table_of("t", {"id": "bigint", "a": "domain"}, key=("id",))
    column = replace(table.columns[1], base_type=base_type, is_array=is_array)
    shape = TableShape.of(replace(table, columns=(table.columns[0], column)), CONVERTED)
    assert shape.is_read_as_text is shape.takes_many is (base_type == "text")


@pytest.mark.parametrize(
    ("base_type", "is_array", "cast", "key_cast"),
    [
        ("varchar", False, "", '::pg_catalog."varchar"'),
        ("bpchar", False, "", '::pg_catalog."bpchar"'),
        ("bpchar", True, '::pg_catalog."bpchar"[]', '::pg_catalog."bpchar"[]'),
        ("bit", False, '::pg_catalog."bit"', '::pg_catalog."bit"'),
        ("varbit", True, '::pg_catalog."varbit"[]', '::pg_catalog."varbit"[]'),
        ("numeric", False, "::any(3)", "::any(3)"),
    ],
)
def test_no_cast_cuts_a_value_that_is_too_long(base_type: str, is_array: bool, cast: str, key_cast: str) -> None:
    """The length is the assignment's matter, which makes an error of it; a number's precision is one in a cast too."""
    table = table_of("t", {"id": "bigint", "a": "any(3)"}, key=("id",))
    column = replace(table.columns[1], base_type=base_type, is_array=is_array, typmod=3)
    shape = TableShape.of(replace(table, columns=(table.columns[0], column)), CONVERTED)
    assert (shape.casts[1], shape.key_casts[1]) == (cast, key_cast)


async def test_the_types_that_text_is_converted_to_are_found(shared: Database, open_target: OpenTarget) -> None:
    """The server's own, and what the database adds; not what is only relabelled or read by its input."""
    shared.execute(
        "CREATE TYPE public.made AS (a int)",
        "CREATE FUNCTION public.make(text) RETURNS public.made LANGUAGE sql AS $$ SELECT ROW(1)::public.made $$",
        "CREATE CAST (text AS public.made) WITH FUNCTION public.make(text)",
    )
    found = await read_converted_types(await open_target(shared))
    assert found >= CONVERTED | {"made"}
    assert not found & {"varchar", "bpchar", "int4", "jsonb", "date", "uuid", "bytea"}


# ----------------------------------------------------------------------------------------------------- truncate


async def test_truncate_empties_several_tables_and_what_refers_to_them(
    shared: Database, open_target: OpenTarget
) -> None:
    """A table whose rows are left out may refer to one that production could truncate."""
    shared.execute(
        "CREATE TABLE public.one (id bigint PRIMARY KEY)",
        "CREATE TABLE public.two (id bigint REFERENCES public.one)",
        'CREATE TABLE public."Three" (id bigint)',
        "INSERT INTO public.one VALUES (1)",
        "INSERT INTO public.two VALUES (1)",
        'INSERT INTO public."Three" VALUES (1)',
    )
    await touched(open_target, shared, statements.truncate([TableName("public", "one"), TableName("public", "Three")]))
    left = shared.execute('SELECT 1 FROM public.one UNION SELECT 2 FROM public.two UNION SELECT 3 FROM public."Three"')
    assert left == []


async def test_truncate_does_not_restart_sequences(shared: Database, open_target: OpenTarget) -> None:
    """The next id that the copy's own user gets must not meet one that comes from production later."""
    shared.execute("CREATE TABLE public.numbered (id serial)", "SELECT setval('public.numbered_id_seq', 40)")
    await touched(open_target, shared, statements.truncate([TableName("public", "numbered")]))
    assert shared.execute("SELECT nextval('public.numbered_id_seq')") == [(41,)]


def test_statements_are_made_once(shared: Database) -> None:
    """The same shape of change gives the same text, by which the server's prepared statement is found."""
    shape = TableShape.of(table_of("same", {"id": "bigint", "a": "text"}, key=("id",)), CONVERTED)
    again = TableShape.of(table_of("same", {"id": "bigint", "a": "text"}, key=("id",)), CONVERTED)
    assert statements.update(shape, (1,)) is statements.update(again, (1,))
    assert statements.update(shape, (0, 1)) != statements.update(shape, (1,))
