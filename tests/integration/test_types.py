"""Every type passes exactly, whichever way its values come: by the snapshot, by the stream, as old images, in verify.

``TYPES`` holds for each type the values that are hard to print or to read. Two tables have a column of each type and
one of its array: in one the rows have a key; in the other they are found by all their values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tests.fix_postgres import Database, Server
from tests.integration.conftest import MakeProject, psql
from tests.integration.scenes import cloned

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_BEFORE: Final = r"""
CREATE EXTENSION vector;
CREATE SCHEMA "Odd ""Types"".";
CREATE TYPE "Odd ""Types""."."Mood's, (x)" AS ENUM ('a,b', '"q"', E'back\\slash', 'ünï', ' lead', 'NULL', '{}', '(,)');
CREATE DOMAIN public.positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN public.very_positive AS public.positive CHECK (VALUE > 10);
CREATE DOMAIN public.tags AS text[] CHECK (cardinality(VALUE) < 9);
CREATE DOMAIN public.code AS char(5);
CREATE TYPE public.inner_pair AS (a integer, b text);
CREATE TYPE public.outer_pair AS ("the pair" public.inner_pair, pairs public.inner_pair[], small public.positive,
                                  mood "Odd ""Types""."."Mood's, (x)", labels public.tags);
CREATE DOMAIN public.checked_pair AS public.inner_pair CHECK ((VALUE).a > 0);
CREATE TYPE public.textrange AS RANGE (subtype = text, collation = "C", multirange_type_name = textranges);
CREATE TYPE public.floatrange AS RANGE (subtype = float8);
CREATE FUNCTION public."f x"(integer, text) RETURNS integer LANGUAGE sql RETURN 1;
CREATE TABLE public.plain (id integer PRIMARY KEY, word text);
"""

_HARD_TEXTS: Final = (
    r"''", r"' '", r"E'\\N'", r"E'\\.'", r"E'\n\\.\n'", r"E'tab\there'", r"E'\r\n'", r"E'\\'", r"E'\\\\'",
    r"E'\b\f\x0B'", r"E'\x01\x7f'", "'NULL'", "'null'", r"'{}'", r"""'{"a",NULL}'""", "'it''s \"quoted\"'",
    "'日本語🦜'", "E'\\ufeffbom'", "'trailing  '", "repeat('long ', 3000)",
)  # fmt: skip

TYPES: Final[dict[str, tuple[str, ...]]] = {
    "boolean": ("'t'", "'f'"),
    "smallint": ("'-32768'", "'32767'", "'0'"),
    "integer": ("'-2147483648'", "'2147483647'"),
    "bigint": ("'-9223372036854775808'", "'9223372036854775807'"),
    "numeric": ("'NaN'", "'Infinity'", "'-Infinity'", "'0'", "'-0.00'", "'1.10'", "'1e-1000'", "repeat('9', 500)",
                "'1e20000'"),
    "numeric(20,5)": ("'NaN'", "'0.00001'", "'-123456789012345.12345'"),
    "numeric(3,-2)": ("'99900'", "'-100'"),
    "real": ("'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "'0.1'", "'1e-45'", "'3.4028235e38'"),
    "double precision": ("'NaN'", "'-Infinity'", "'-0'", "'0.1'", "'5e-324'", "'1.7976931348623157e308'", "1/3.0"),
    "money": ("'12.34'", "'-0.01'", "'-92233720368547758.08'"),
    "text": _HARD_TEXTS,
    "varchar(20)": ("''", r"E'\\N'", "'trailing '", "'日本語🦜'"),
    "character(7)": ("'x'", "''", "'éé'", r"E'\\N'", "'  lead'"),
    "bpchar": ("'x  '", "''"),
    '"char"': ("'x'", r"E'\\'", "''", r"E'\\351'"),
    "name": ("repeat('n', 63)", "'Ünïcode'", "''"),
    "bytea": (r"'\x'", r"'\x00'", r"'\x5c4e5c2e0a09'", r"decode(repeat('00ff5c', 9000), 'hex')"),
    "date": ("'infinity'", "'-infinity'", "'0044-03-15 BC'", "'4713-01-01 BC'", "'5874897-12-31'", "'2024-02-29'"),
    "time": ("'24:00:00'", "'00:00:00.000001'"),
    "time(2)": ("'23:59:59.99'",),
    "timetz": ("'23:59:60+14'", "'00:00-15:59:59'"),
    "timestamp": ("'infinity'", "'-infinity'", "'4713-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'"),
    "timestamptz": ("'infinity'", "'-infinity'", "'0001-12-31 23:59:59.999999+00 BC'", "'1892-01-01 12:00+00'",
                    "'2024-03-31 02:30:00 Europe/Berlin'"),
    "timestamptz(0)": ("'2024-06-30 23:59:59+00'",),
    "interval": ("'1 year -2 days 00:00:03.5'", "'-1 mon +1 day -00:00:00.000001'", "'178000000 years'", "'0'"),
    "interval day to second(3)": ("'3 days 04:05:06.789'",),
    "uuid": ("'00000000-0000-0000-0000-000000000000'", "'FFFFFFFF-ffff-4fff-bfff-ffffffffffff'"),
    "json": (r"""'{"a":1,  "a" : 2}'""", r"""E'[1,\t"\\\\u00e9", "\\\\\\\\"]'""", "'1.0'", "'null'", "'\"\"'"),
    "jsonb": (r"""'{"b": [1.10, null], "a": "\t"}'""", "'1e400'", r"""'"\\N"'""", "'null'", "'{}'", "'\"日本\"'"),
    "jsonpath": ("'$.a[*] ? (@ > 1)'", """'lax $."key with \\"quotes\\""'"""),
    "tsvector": (r"""$$'a':1A,2B 'b\\c':3 'it''s'$$""", "''"),
    "tsquery": (r"""$$'a' & !('b' | 'c':*AB) <-> 'd''e'$$""",),
    "bit(5)": ("'10110'", "'00000'"),
    "varbit": ("''", "'1'", "repeat('10', 500)"),
    "varbit(9)": ("'101'",),
    "point": ("'(1e-300,-0)'", "'(NaN,Infinity)'"),
    "line": ("'{1,-1,0.1}'",),
    "lseg": ("'[(0,0),(1,0.1)]'",),
    "box": ("'(3,4),(1,2)'",),
    "path": ("'[(0,0),(1,1),(2,0)]'", "'((0,0),(1,1))'"),
    "polygon": ("'((0,0),(1,1),(2,0))'",),
    "circle": ("'<(0.1,-0.1),3>'",),
    "inet": ("'::1/128'", "'10.0.0.1/8'", "'10.0.0.1'", "'2001:db8::ffff:1.2.3.4/64'"),
    "cidr": ("'10.0.0.0/8'", "'2001:db8::/32'", "'::/0'"),
    "macaddr": ("'08:00:2b:01:02:03'",),
    "macaddr8": ("'08:00:2b:01:02:03:04:05'",),
    "oid": ("'0'", "'4294967295'"),
    "xid": ("'4294967295'",),
    "xid8": ("'18446744073709551615'",),
    "cid": ("'7'",),
    "tid": ("'(4294967295,65535)'",),
    "pg_lsn": ("'0/0'", "'FFFFFFFF/FFFFFFFF'"),
    "pg_snapshot": ("'10:20:10,14,15'",),
    "txid_snapshot": ("'10:20:'",),
    "int2vector": ("'1 2 -3'", "''"),
    "oidvector": ("'1 4294967295'",),
    "refcursor": ("'a cursor'",),
    "aclitem": ("'=r/postgres'", "'postgres=arwd*/postgres'"),
    "regclass": ("'public.plain'", "'pg_catalog.pg_class'", "'999999'", "'0'"),
    "regtype": ("""'"Odd ""Types"".".\"Mood''s, (x)\"[]'""", "'integer'"),
    "regproc": ("""'public."f x"'""", "'pg_catalog.now'"),
    "regprocedure": ("""'public."f x"(integer,text)'""",),
    "regoper": ("'pg_catalog.||/'",),
    "regoperator": ("'+(integer,integer)'",),
    "regrole": ("'postgres'", "'0'"),
    "regnamespace": ("""'"Odd ""Types""."'""",),
    "regcollation": ("""'"C"'""",),
    "regconfig": ("'simple'",),
    "regdictionary": ("'simple'",),
    "int4range": ("'empty'", "'(,)'", "'[1,5)'"),
    "int8range": ("'[-9223372036854775808,9223372036854775807)'",),
    "numrange": ("'[1.10,NaN]'", "'(-Infinity,0.00)'"),
    "daterange": ("'[infinity,]'", "'[0044-03-15 BC,2024-01-01)'"),
    "tsrange": ("'[-infinity,infinity]'",),
    "tstzrange": ("""'["2024-01-01 00:00:00+00",)'""",),
    "public.textrange": (r"""'["a,""b","c\\\\d"]'""", "'(\"\",z)'", "'empty'"),
    "public.floatrange": ("'[0.1,Infinity)'",),
    "int4multirange": ("'{}'", "'{[1,2),[5,)}'"),
    "nummultirange": ("'{[1.0,2.00),(5,]}'",),
    "tstzmultirange": ("""'{["2024-01-01 00:00:00+00",infinity)}'""",),
    "public.textranges": ("""'{["a b","c,d")}'""",),
    "public.positive": ("'1'", "'2147483647'"),
    "public.very_positive": ("'11'",),
    "public.code": ("'a'", "'  b'"),
    "public.tags": ("'{}'", r"""'{"a b",NULL,"NULL","","\"\\",日本}'""", "'[5:6]={x,y}'"),
    """"Odd ""Types"".".\"Mood's, (x)\"""": (
        "'a,b'", "'\"q\"'", r"E'back\\slash'", "'ünï'", "' lead'", "'NULL'", "'{}'", "'(,)'",
    ),
    "public.inner_pair": ("ROW(NULL, NULL)", "ROW(1, '')", r"ROW(-1, E'\\\"(,)\n')", "ROW(NULL, 'NULL')"),
    "public.outer_pair": (
        r"""ROW(ROW(1, E'x\\y\"'), ARRAY[ROW(2, 'z, {}')::public.inner_pair, NULL], 3, 'a,b', '[2:2]={q}')""",
        "ROW(NULL, '{}', NULL, NULL, NULL)",
    ),
    "public.checked_pair": ("ROW(1, '(')",),
    "public.plain": ("ROW(1, 'a row of a table')",),
    "vector(3)": ("'[1,2.5,-3e-05]'",),
    "halfvec": ("'[1,0.5]'",),
    "sparsevec": ("'{1:1,3:-2}/5'",),
}  # fmt: skip

# Arrays beside those that are made of each type's own values.
_ARRAYS: Final = {
    "integer[]": ("'{}'", "'[0:1]={1,2}'", "'[-2:-1][3:4]={{1,NULL},{3,4}}'"),
    "text[]": (r"""'{{"a","NULL"},{NULL,"\\\\"}}'""", r"""'{"{}","",","}'""", "'{{{{{{x}}}}}}'"),
}


def _types(database: Database) -> dict[str, tuple[str, ...]]:
    types = dict(TYPES)
    if database.server.version >= 17:
        types["interval"] += ("'infinity'", "'-infinity'")
    try:
        database.execute("SELECT '<a/>'::xml")
    except Exception:
        return types
    return types | {"xml": ("'<a b=\"&lt;\">é\n</a>'", "'text only'")}


def _expressions(database: Database) -> dict[str, tuple[str, ...]]:
    """For each column's type, the SQL of its values: the types themselves, then their arrays."""
    types = _types(database)
    arrays = {
        f"{name}[]": (
            *(f"ARRAY[NULL, {value}::{name}]" for value in values),
            f"ARRAY[ARRAY[{values[0]}::{name}]]",
        )
        for name, values in types.items()
    }
    for name, values in _ARRAYS.items():
        arrays[name] += values
    return types | arrays


def _rows(columns: dict[str, tuple[str, ...]], count: int, shift: int) -> str:
    """Rows of values: each column takes its own in turn, and now and then NULL."""
    rows = []
    for row in range(count):
        values = []
        for place, (name, choices) in enumerate(columns.items()):
            turn = (row + shift + place) % (len(choices) + 1)
            values.append("NULL" if turn == len(choices) else f"({choices[turn]})::{name}")
        rows.append(f"({row + 1000 * shift}, {', '.join(values)})")
    return ",\n".join(rows)


async def test_every_type_passes_exactly(
    make_project: MakeProject, server: Server, make_database: Callable[..., Database]
) -> None:
    """Each value of ``TYPES`` and its arrays: copied, inserted, updated, deleted, found by key and by all values."""
    production = make_database(server)
    columns = _expressions(production)
    listed = ", ".join(f"c{number} {name}" for number, name in enumerate(columns))
    most = max(map(len, columns.values())) + 1
    tables = "".join(
        f"CREATE TABLE public.{table} (id integer {key}, {listed});\n"
        f"INSERT INTO public.{table} VALUES {_rows(columns, most, 0)}, {_rows(columns, most, 1)};\n"
        for table, key in (("by_key", "PRIMARY KEY"), ("by_values", ""))
    )
    schema = f"{_BEFORE}{tables}ALTER TABLE public.by_values REPLICA IDENTITY FULL;"
    project = await cloned(make_project, production, make_database(server), schema)
    names = ", ".join(f"c{number}" for number in range(len(columns)))
    for table in ("by_key", "by_values"):
        psql(
            production,
            f"INSERT INTO public.{table} VALUES {_rows(columns, most, 2)};"
            # So many that they are applied by COPY.
            f"INSERT INTO public.{table} VALUES {_rows(columns, 60, 3)};"
            # Every column takes the value of the row after it; the first rows stay as the snapshot brought them.
            f"UPDATE public.{table} t SET ({names}) = (SELECT {names} FROM public.{table} s WHERE s.id = t.id + 1)"
            f" WHERE id BETWEEN 1000 AND {1000 + most - 2};"
            f"DELETE FROM public.{table} WHERE id > 1000 AND id % 5 = 3;"
            f"UPDATE public.{table} SET id = -id WHERE id > 1000 AND id % 4 = 1;",
        )
    await project.assert_exact()
