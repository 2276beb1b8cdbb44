"""Values of every type come the same in many changes at once as in one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from capture.model import (
    Operation,
    ServerFailed,
    Table,
)
from sink.apply import Applier
from tests.fix_postgres import Database
from tests.sink.made_windows import (
    INSERT,
    UPDATE,
    Begin,
    Change,
    apply,
    apply_open,
    delete,
    insert,
    tables_of,
    update,
)

TYPES: Mapping[str, list[bytes | None]] = {
    "character varying(5)[]": [b'{abcde,NULL,"a "}'],
    "bit(3)": [b"101"],
    "bit varying(5)": [b"", b"10101"],
    "numeric": [b"1.50", b"NaN", b"-Infinity", b"0.000"],
    "numeric(8,3)": [b"1.500", None],
    "double precision": [b"-0", b"1e+300", b"0.1"],
    "real": [b"0.1", b"NaN"],
    "timestamp with time zone": [b"2026-01-01 12:00:00.000001+00", b"infinity", b"0044-03-15 00:00:00+00 BC"],
    "timestamp(3) without time zone": [b"2026-01-01 12:00:00.123"],
    "date": [b"2026-01-01", b"-infinity"],
    "time with time zone": [b"12:00:00.5+02"],
    "interval": [b"1 day", b"24:00:00", b"-1 mons +00:00:01"],
    "interval day to second(2)": [b"1 day 00:00:01.25"],
    "jsonb": [b'{"a": 1.00, "b": null}', b"null"],
    "json": [b'{"a" :1}', None],
    "text[]": [b'{a,NULL,"NULL","","q\\"\\\\"}', b"{}"],
    "integer[]": [b"{{1,2},{3,4}}", b"[2:3]={1,2}"],
    "public.mood": [b"glad"],
    "public.mood[]": [b"{glad,sad}"],
    "public.short": [b"abc", b"", None],
    "public.small": [b"5"],
    "public.pair": [b'(1,"{""a"": 1}","x y")', b"(,,)"],
    "public.pair[]": [b'{"(1,,)"}'],
    "bytea": [b"\\x00ff5c", b"\\x"],
    "character(5)": [b"a    ", b"     "],
    "character varying(5)": [b"a", b"a    ", b""],
    "text": [b"", b"\\N", b"tab\t\nnl", b" "],
    "inet": [b"10.0.0.1/24", b"::1"],
    "cidr": [b"10.0.0.0/8"],
    "macaddr": [b"08:00:2b:01:02:03"],
    "uuid": [b"00000000-0000-0000-0000-000000000001"],
    "tsvector": [b"'a':1A 'b c':2"],
    "tsquery": [b"'a' & 'b'"],
    "money": [b"$1.00", b"-$2.50"],
    "point": [b"(1,2)"],
    "polygon": [b"((0,0),(1,1),(2,0))"],
    "boolean": [b"t", b"f"],
    "oid": [b"4294967295"],
    "pg_lsn": [b"16/B374D848"],
    "int4range": [b"[1,5)", b"empty"],
    "int4multirange": [b"{[1,2),[4,5)}"],
    "jsonpath": [b'$."a"[*]'],
    "public.vector(2)": [b"[1,2]"],
    "regproc": [b"now"],
}
# These have a conversion from text that does not read what their input reads, or that cuts.
READ_APART: Mapping[str, list[bytes | None]] = {
    "bit varying": [b"", b"10101"],
    "name": [b"abc", b""],
    '"char"': [b"a", b"\\303"],
    "regclass": [b"pg_class", None],
    "name[]": [b"{a,b}"],
    "character(5)[]": [b'{"a    ",NULL}'],
    "bit(3)[]": [b"{101,NULL}"],
    "public.label": [b"abc"],
}


@pytest.fixture
def typed(copy: Database) -> Database:
    copy.execute(
        "CREATE EXTENSION vector SCHEMA public",
        "CREATE TYPE public.mood AS ENUM ('glad', 'sad')",
        "CREATE TYPE public.pair AS (a int, b jsonb, c text)",
        "CREATE DOMAIN public.short AS varchar(3)",
        "CREATE DOMAIN public.small AS int CHECK (VALUE < 10)",
        "CREATE DOMAIN public.label AS name",
    )
    return copy


async def both(
    database: Database, applier: Begin, columns: Mapping[str, list[bytes | None]]
) -> tuple[Applier, Table, Table]:
    """Two tables with a column of each type, one to be changed by many at once, the other one by one."""
    ddl = ", ".join(f"c{number} {type_name}" for number, type_name in enumerate(columns))
    for name in ("many", "each"):
        database.execute(f"CREATE TABLE public.{name} (id bigint PRIMARY KEY, {ddl})")
    many, each = await tables_of(database, "many", "each")
    return await applier("runner", many, each), many, each


def content(database: Database, table: Table) -> list[tuple[object, ...]]:
    as_text = ", ".join(f"{column.name}::text" for column in table.copied_columns)
    return sorted(database.execute(f"SELECT {as_text} FROM {table.name}"))


@pytest.mark.parametrize("columns", [TYPES, READ_APART], ids=["read as text", "read apart"])
async def test_every_type_comes_the_same_in_many_as_in_one(
    typed: Database, applier: Begin, ways: set[str], columns: Mapping[str, list[bytes | None]]
) -> None:
    """An array of texts that is cast, and a parameter of the type itself, are the same row."""
    target, many, each = await both(typed, applier, columns)
    rows_of = [tuple(values[turn % len(values)] for values in columns.values()) for turn in range(40)]
    changed = [tuple(values[turn % len(values)] for values in columns.values()) for turn in range(1, 41)]
    for made in (
        lambda table: [insert(table, b"%d" % n, *row) for n, row in enumerate(rows_of)],
        lambda table: [update(table, b"%d" % n, *row) for n, row in enumerate(changed)],
    ):
        await apply(target, *made(many))
        for change in made(each):
            await apply(target, change)
        assert content(typed, many) == content(typed, each)
    assert len(content(typed, many)) == 40
    assert ("insert_many" in ways, "update_many" in ways) == ((True, True) if columns is TYPES else (False, False))
    assert ("copy_in" in ways) == (columns is READ_APART)


@pytest.mark.parametrize(
    ("type_name", "values"),
    [(type_name, values) for type_name, values in TYPES.items() if type_name in {
        "numeric", "timestamp with time zone", "date", "interval", "character(5)", "character varying(5)", "text",
        "inet", "uuid", "bytea", "bit(3)", "boolean", "public.mood", "public.short", "integer[]", "jsonb",
        "money",
    }],
)  # fmt: skip
async def test_a_key_of_any_type_finds_its_row(
    typed: Database, applier: Begin, ways: set[str], type_name: str, values: list[bytes | None]
) -> None:
    """Beside a number, so that there are many; the row is changed, moved and deleted."""
    typed.execute(f"CREATE TABLE public.found (n int, k {type_name}, a text, PRIMARY KEY (k, n))")
    [table] = await tables_of(typed, "found")
    target = await applier("runner", table)
    # Equal, though not the same, and no two rows can have them.
    values = [value for value in values if value not in (None, b"24:00:00")]
    keys = [(b"%d" % n, value) for n in range(20) for value in values]
    await apply(target, *[insert(table, *key, b"a") for key in keys], *[update(table, *key, b"b") for key in keys])
    assert typed.execute("SELECT a, count(*) FROM public.found GROUP BY 1") == [("b", len(keys))]
    await apply(target, *[delete(table, *key, None) for key in keys])
    assert typed.execute("SELECT count(*) FROM public.found") == [(0,)]
    assert {"insert_many", "update_many", "delete_many"} <= ways


TOO_LONG = {
    "character varying(3)": (b"abc", b"abcd"),
    "character(3)": (b"abc", b"abcd"),
    "public.short": (b"abc", b"abcd"),
    "character varying(3)[]": (b"{abc}", b"{abcd}"),
    "character(3)[]": (b"{abc}", b"{abcd}"),
    "bit(3)": (b"101", b"1011"),
    "bit varying(3)": (b"101", b"1011"),
    "numeric(3,1)": (b"10.5", b"100.5"),
    "public.small": (b"1", b"11"),
}


@pytest.mark.parametrize("type_name", TOO_LONG)
@pytest.mark.parametrize("operation", [INSERT, UPDATE], ids=str)
@pytest.mark.parametrize("count", [1, 20, 600])
async def test_a_value_that_is_too_long_is_an_error_in_one_as_in_many(
    typed: Database, applier: Begin, type_name: str, operation: Operation, count: int
) -> None:
    """It is never cut in silence, and never told."""
    good, bad = TOO_LONG[type_name]
    typed.execute(
        f"CREATE TABLE public.limited (id bigint PRIMARY KEY, a {type_name})",
        f"INSERT INTO public.limited SELECT n FROM generate_series(0, 599) n WHERE {operation is UPDATE}",
    )
    [table] = await tables_of(typed, "limited")
    target = await applier("runner", table)
    await target.begin()
    values = [good] * (count - 1) + [bad]
    with pytest.raises(ServerFailed, match=r"SQLSTATE 2\d{4}") as caught:
        await apply_open(target, *[Change(table, operation, (b"%d" % n, value)) for n, value in enumerate(values)])
    assert bad.decode() not in str(caught.value)


@pytest.mark.parametrize(
    ("type_name", "value", "conversion"),
    [
        ("integer[]", b"{1,2}", "SELECT '{666}'::int[]"),
        ("public.pair", b"(1,,x)", "SELECT ROW(666, NULL, $1)::public.pair"),
    ],
)
async def test_a_type_with_a_conversion_of_its_own_is_not_taken_as_text(
    typed: Database, applier: Begin, type_name: str, value: bytes, conversion: str
) -> None:
    """Somebody may have said how a text becomes an array, or one of their types; the type's input decides."""
    typed.execute(
        f"CREATE FUNCTION public.made(text) RETURNS {type_name} IMMUTABLE LANGUAGE sql AS $$ {conversion} $$",
        f"CREATE CAST (text AS {type_name}) WITH FUNCTION public.made(text)",
    )
    target, many, each = await both(typed, applier, {type_name: []})
    for table in (many, each):
        new = [insert(table, b"%d" % n, value) for n in range(20)]
        for changes in [new] if table is many else [[change] for change in new]:
            await apply(target, *changes)
    assert content(typed, many) == content(typed, each)
