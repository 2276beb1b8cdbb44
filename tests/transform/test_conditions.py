"""What a CHECK says of a row is what PostgreSQL says of it, or it is not known."""

from __future__ import annotations

import psycopg
import pytest
from fix_catalog import column
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.model import Column
from tests.fix_postgres import Server
from transform.conditions import compile_condition, read
from transform.integers import Fails
from transform.patterns import Unknown, like, posix, samples
from transform.sqltext import parse

SHAPES = {
    "i": column("i", "int4"),
    "n": column("n", "numeric"),
    "t": column("t", "text"),
    "c": column("c", "char(8)"),
    "d": column("d", "date"),
    "e": column("e", "date"),
    "s": column("s", "timestamptz"),
    "b": column("b", "bool"),
    "u": column("u", "uuid"),
    "m": column("m", "enum(sad|glad)"),
}
TYPES = "i int, n numeric, t text, c char(8), d date, e date, s timestamptz, b bool, u uuid, m mood"
CONDITIONS = [
    "i > 0",
    "i BETWEEN 1 AND 99",
    "n >= 0 AND n <= 100.5",
    "i % 2 = 0",
    "-i < 5",
    "i + 1 > n",
    "i * 2 <> 4",
    "abs(i) < 9",
    "i IN (1, 2, 3)",
    "i NOT IN (1, NULL)",
    "i <> ALL (ARRAY[1, 2])",
    "t = ANY (ARRAY['a', 'b'])",
    "t IN ('a', 'B')",
    "t IS NOT NULL",
    "t IS NULL OR i IS NOT NULL",
    "(t IS NULL) <> (i IS NULL)",
    "num_nonnulls(t, i) = 1",
    "num_nulls(t, i, n) < 2",
    "i IS DISTINCT FROM n",
    "i IS NOT DISTINCT FROM n",
    "b",
    "NOT b",
    "b IS TRUE",
    "b IS NOT FALSE",
    "b IS NOT TRUE OR i > 1",
    "length(t) <= 3",
    "char_length(c) = 2",
    "length(btrim(t)) > 0",
    "trim(t) <> ''",
    "t <> ''",
    "lower(t) = t",
    "upper(t) = t",
    "t LIKE 'a%'",
    "t NOT LIKE '%b_'",
    "t ILIKE 'A%'",
    "t LIKE 'a\\%'",
    "t ~ '^[a-z]+$'",
    "t !~ '[[:digit:]]'",
    "t ~* '^A'",
    "t !~* 'B$'",
    "t ~ '^[^@[:space:]]+@[^@[:space:]]+\\.[^@[:space:]]+$'",
    "t ~ '^(a|b){2,3}$'",
    "t ~ '\\d'",
    "c = 'a'",
    "c::text = 'a'",
    "left(t, 1) = 'a'",
    "right(t, 1) = 'a'",
    "right(t, 0) = ''",
    "right(t, -1) = 'b'",
    "substring(t, 2) = 'b'",
    "substr(t, 0, 2) = 'a'",
    "substring(t, i::int, 1) <> 'a'",
    "t || 'x' = 'ax'",
    "coalesce(t, 'a') = 'a'",
    "coalesce(i, 0) >= 0",
    "CASE WHEN b THEN i > 0 ELSE t IS NOT NULL END",
    "CASE WHEN b THEN i > 0 END",
    "d <= e",
    "d > '2020-01-01'",
    "e - d >= 2",
    "d + 2 < e",
    "s > '2020-01-01'::timestamptz",
    "s::date = d",
    "d < s",
    "m = 'sad'",
    "m IN ('sad', 'glad')",
    "m::text = 'sad'",
    "m <> 'glad' OR i > 0",
    "u = '5f3c6a1e-0b7d-4c2a-9e51-7d8a90b1c2d3'",
    "starts_with(t, 'a')",
    "t > ''",
    "i::numeric > 0.5",
    "(i > 1) = b",
    "NOT (i > 1 AND n > 1)",
    "n = 1.0",
    "n::int = 2",
]
VALUES = {
    "i": st.integers(-3, 12) | st.just(99),
    "n": st.sampled_from(["0", "1", "1.00", "2", "-1.5", "100.5", "100.51"]),
    "t": st.sampled_from(
        ["", " ", "a", "b", "B", "ab", "aB", "abb", "a%", "a1", "ax", "A", "x@y.z", "x@y", "abc", "a\nb"]
    ),
    "c": st.sampled_from(["a", "ab", "", "abcdefgh"]),
    "d": st.sampled_from(["2019-12-31", "2020-01-01", "2020-01-02", "2020-01-04"]),
    "e": st.sampled_from(["2019-12-31", "2020-01-01", "2020-01-04"]),
    "s": st.sampled_from(["2019-12-31 23:00:00+00", "2020-01-01 00:00:00+00", "2020-01-02 05:06:07.5+00"]),
    "b": st.booleans(),
    "u": st.sampled_from(["5f3c6a1e-0b7d-4c2a-9e51-7d8a90b1c2d3", "00000000-0000-4000-8000-000000000000"]),
    "m": st.sampled_from(["sad", "glad"]),
}
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), min_size=20)


@pytest.fixture(scope="module")
def printed(server18: Server) -> list[str]:
    """The conditions as the server prints them."""
    with psycopg.connect(server18.url(), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA conditions; SET search_path TO conditions")
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
        connection.execute(f"CREATE TABLE all_types ({TYPES})")
        for number, condition in enumerate(CONDITIONS):
            connection.execute(f"ALTER TABLE all_types ADD CONSTRAINT c{number:03} CHECK ({condition})".encode())
        found = connection.execute(
            "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname ~ '^c\\d{3}$' ORDER BY conname"
        ).fetchall()
        connection.execute("DROP SCHEMA conditions CASCADE")
    return [row[0] for row in found]


@settings(max_examples=5, deadline=None)
@given(rows=ROWS)
def test_a_condition_says_what_the_server_says(
    server18: Server, printed: list[str], rows: list[dict[str, object]]
) -> None:
    """True, false and NULL alike, of rows with and without values; the server is the oracle."""
    assert len(printed) == len(CONDITIONS)
    with psycopg.connect(server18.url()) as connection:
        connection.execute("CREATE TYPE pg_temp.mood AS ENUM ('sad', 'glad'); SET timezone TO UTC")
        connection.execute(f"CREATE TEMPORARY TABLE probe (row int, {TYPES.replace('mood', 'pg_temp.mood')})")
        for number, row in enumerate(rows):
            names, marks = ", ".join(row), ", ".join(f"%({name})s" for name in row)
            connection.execute(f"INSERT INTO probe (row, {names}) VALUES ({number}, {marks})".encode(), row)
        names = list(SHAPES)
        listed = ", ".join("rpad(c, 8)" if name == "c" else f"{name}::text" for name in names)
        texts = connection.execute(f"SELECT {listed} FROM probe ORDER BY row".encode()).fetchall()
        for condition in printed:
            sql = condition.replace("conditions.", "pg_temp.").replace("::mood", "::pg_temp.mood")
            expected = [found for (found,) in connection.execute(f"SELECT {sql} FROM probe ORDER BY row".encode())]
            tree = parse(condition)
            assert tree is not None
            says = compile_condition(tree)
            for row, answer in zip(texts, expected, strict=True):
                values = {name: read(_bytes(name, text), SHAPES[name]) for name, text in zip(names, row, strict=True)}
                try:
                    assert says(values) is answer, (condition, values)
                except Unknown:
                    # Only where it must not guess.
                    assert condition == "((n)::integer = 2)"


def _bytes(name: str, text: str | None) -> bytes | None:
    if text is None:
        return None
    return (text[:1] if name == "b" else text).encode()


@pytest.mark.parametrize(
    "condition",
    [
        "public.f(t)",
        "t SIMILAR TO 'a'",
        "t < 'b'",
        "array_length(t, 1) > 1",
        "t ~ ('^' || i)",
        "t ~ '\\mx'",
        "t ~ '(?q)x'",
        "t::varchar(3) = 'a'",
        "date_trunc('day', s) = s",
        "i / 2 = 1",
        "d + '1 day'::interval < s",
        "substring(t, '^.') = 'x'",
        "s = 'infinity'::timestamptz",
        "t ~ '[[:foo:]]'",
        "stranger > 1",
        "t > i",
        "to_tsvector('simple'::regconfig, t) IS NULL",
        "t::uuid IS NULL",
    ],
)
def test_what_is_not_known_is_not_guessed(condition: str) -> None:
    """Neither functions of a user's, nor what depends on a collation, nor what Python means otherwise."""
    tree = parse(condition)
    assert tree is not None
    row = {"t": "abc", "i": 3, "d": read(b"2020-01-01", SHAPES["d"]), "s": read(b"2020-01-01 00:00:00+00", SHAPES["s"])}
    with pytest.raises(Unknown):
        compile_condition(tree)(row)


@pytest.mark.parametrize("kind", ["smallint", "integer", "bigint", "numeric"])
@pytest.mark.parametrize("text", ["12", " -7 ", "+3", "1.50", ".5", "1e3", "", "x", "Ab-12", "40000", "3000000000"])
def test_what_the_server_refuses_fails(server18: Server, kind: str, text: str) -> None:
    """A text that is no number of a type, and only that; the server is the oracle."""
    tree = parse(f"(t)::{kind}")
    assert tree is not None
    try:
        expected = server18.execute(f"SELECT '{text}'::text::{kind}::numeric")[0][0]
    except psycopg.DataError:
        with pytest.raises(Fails):
            compile_condition(tree)({"t": text})
    else:
        assert compile_condition(tree)({"t": text}) == expected


@pytest.mark.parametrize("value", [0, 1, 300, -32768, 32767, -2147483648, 2147483647, -(2**63), 2**63 - 1])
@pytest.mark.parametrize(
    "expression",
    [
        "v + 1",
        "v - 1",
        "v * 100",
        "v * v",
        "-v",
        "abs(v)",
        "v % 7",
        "v + v * 2",
        "v + 3000000000",
        "v * 1.0",
        "v::numeric * 9",
    ],
)
def test_integers_have_a_size(server18: Server, expression: str, value: int) -> None:
    """Of what has no room in the larger of two integers' types nothing is computed; the server is the oracle."""
    for kind, shape in (("smallint", "int2"), ("integer", "int4"), ("bigint", "int8"), ("numeric", "numeric")):
        with psycopg.connect(server18.url()) as connection:
            try:
                connection.execute(f"CREATE TEMPORARY TABLE x AS SELECT ({value})::{kind} AS v".encode())
            except psycopg.DataError:
                continue
            connection.execute(f"CREATE TEMPORARY VIEW y AS SELECT {expression} AS e FROM x".encode())
            definition = connection.execute("SELECT pg_get_viewdef('y'::regclass)").fetchone()
            assert definition is not None
            tree = parse(definition[0].partition("SELECT ")[2].partition(" AS e")[0])
            assert tree is not None
            row = {"v": read(str(value).encode(), column("v", shape))}
            try:
                expected = connection.execute("SELECT e FROM y").fetchone()
            except psycopg.DataError:
                with pytest.raises(Fails):
                    compile_condition(tree)(row)
            else:
                assert (compile_condition(tree)(row),) == expected, (kind, definition)


def test_a_remainder_of_nothing_fails() -> None:
    """The server ends a statement that divides by zero."""
    tree = parse("(i % j) = 1")
    assert tree is not None
    with pytest.raises(Fails):
        compile_condition(tree)({"i": 3, "j": 0})


def test_citext_is_compared_without_case() -> None:
    """By equality, by LIKE and by regular expressions; as text it tells case."""
    shape = Column("x", 1, 0, -1, "citext", "citext")
    row = {"x": read(b"Anna", shape)}
    for condition, expected in (
        ("(x = 'anna'::citext)", True),
        ("(x ~ '^[a-z]+$'::citext)", True),
        ("((x)::text ~ '^[a-z]+$'::text)", False),
        ("(x ~~ 'AN%'::citext)", True),
        ("((x)::text = 'anna'::text)", False),
    ):
        tree = parse(condition)
        assert tree is not None
        assert compile_condition(tree)(row) is expected


PATTERNS = [
    r"^[A-Z]{2}-\d{4}$",
    r"^\+?[0-9 ()-]{7,20}$",
    r"^(abc|de?f)+x*$",
    r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
    r"a.c",
    r"\.\-\/",
    r"^[[:alpha:]_][[:alnum:]_]*$",
    r"^(?:x{3}|y{2,}z{1,2})$",
    r"^[]a]$",
    r"^[a&&b~|]+$",
    r"^\S+\s\w\W\D$",
    r"^#[0-9a-fA-F]{6}$",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_samples_match_for_the_server_too(server18: Server, pattern: str) -> None:
    """And texts that Python says do not match do not match there."""
    found = samples(pattern, is_like=False)
    assert len(found) >= 1
    others = [text[::-1] + extra for text in [*found, "", "A", "a\nb"] for extra in ("", "$", "\n")]
    with psycopg.connect(server18.url()) as connection:
        for text in [*found, *others]:
            (answer,) = connection.execute("SELECT %s ~ %s", (text, pattern)).fetchone() or (None,)
            assert (posix(pattern, ignore_case=False).search(text) is not None) == answer, text


def test_samples_of_like() -> None:
    """Wildcards stand for letters, and an escaped one for itself."""
    found = samples(r"a\%_%", is_like=True)
    assert len(found) > 5
    assert all(text.startswith("a%") and len(text) >= 3 for text in found)
    assert like(r"a\%_%", ignore_case=False).search("a%") is None
