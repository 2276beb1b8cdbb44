"""What the plan accepts, a server takes: random tables with constraints, random rules, masked rows loaded again."""

from __future__ import annotations

import random
from collections.abc import Callable

import psycopg
import pyarrow as pa
import pytest

from capture.catalog import read_catalog
from capture.model import BadInput, Catalog, TableName
from capture.source import SourceConnection
from tests.fix_postgres import Database
from transform.coverage import Severity
from transform.keyring import KeyRing
from transform.plan import Plan, check, compile_plan
from transform.rules import Rules

ROWS = 100
SCHEMAS = 8
T = TableName("public", "t")
SHIFT = {"mask": "date.shift", "days": 20}
RANGED = {"mask": "id.int", "range": [1, 5000]}
TEXT_RULES: list[object] = [
    "keep", None, "email", "name.full", "text.lorem", "redact", "financial.iban",
    {"mask": "phone", "preserve_format": True},
    {"mask": "constant", "value": "AB-0001"},
    {"mask": "address.postcode", "preserve_format": True}, "id.int", "id.uuid",
    "username", "text.scramble", "id.secret", "financial.account", "network.ip",
]  # fmt: skip
NUMBER_RULES: list[object] = ["keep", None, "id.int", RANGED, {"mask": "number.noise", "ratio": 0.1},
                              {"mask": "constant", "value": 7}]  # fmt: skip
DATE_RULES: list[object] = ["keep", None, SHIFT, SHIFT, {"mask": "date.truncate", "to": "month"}]

# A column's type, how its values come about, and the masks to choose from.
COLUMNS: dict[str, tuple[str, Callable[[random.Random], object], list[object]]] = {
    "id": ("int4 NOT NULL", lambda rng: rng.randint(1, 4000), ["keep", "id.int", RANGED, "id.int"]),
    "email": ("text", lambda rng: f"{rng.choice('ABcd')}{rng.randint(1, 900)}@x{rng.choice('.y')}.org", TEXT_RULES),
    "mail": ("mail", lambda rng: f"m{rng.randint(1, 900)}@x.org", TEXT_RULES),
    "name": ("varchar(30) NOT NULL", lambda rng: rng.choice(["Ann", "ann", "X"]) * rng.randint(1, 3), TEXT_RULES),
    "code": ("text", lambda rng: f"{rng.choice('AB')}{rng.choice('XY')}-{rng.randint(1000, 9999)}", TEXT_RULES),
    "n": ("int8", lambda rng: rng.randint(1, 4999), NUMBER_RULES),
    "price": ("numeric(8,2)", lambda rng: rng.randint(0, 100_000) / 100, ["keep", None, {"mask": "number.noise"}]),
    "starts": ("date", lambda rng: f"2024-{rng.randint(1, 6):02}-{rng.randint(1, 28)}", DATE_RULES),
    "ends": ("date", lambda rng: f"2024-{rng.randint(4, 12):02}-{rng.randint(1, 28)}", DATE_RULES),
    "status": ("status", lambda rng: rng.choice(["new", "done"]), [None, {"mask": "constant", "value": "new"}]),
    "span": ("int4range", lambda rng: f"[{(low := rng.randint(1, 9000))},{low + rng.randint(1, 9)})", ["keep", None]),
    "u": ("uuid", lambda rng: f"{rng.randrange(2**32):08x}-0b7d-7c2a-9e51-7d8a90b1c2d3", [None, "id.uuid", "id.uuid"]),
}  # fmt: skip
CONSTRAINTS = [
    "CHECK (email ~ '^[^@[:space:]]+@[^@]+$')", "CHECK (length(email) < 30)", "CHECK (lower(email) = email OR n > 0)",
    "CHECK (name <> '')", "CHECK (length(btrim(name)) > 0)", "CHECK (code ~ '^[A-Z]{2}-[0-9]{4}$')",
    "CHECK (n > 0)", "CHECK (n BETWEEN 1 AND 5000)", "CHECK (price >= 0 AND price <= 1000)", "CHECK (starts <= ends)",
    "CHECK (id > 0)",
    "CHECK (num_nonnulls(email, code) >= 1)", "CHECK (status <> 'new' OR starts IS NOT NULL)",
    "CHECK (price < 5000 - n)", "CHECK (span IS NULL OR NOT isempty(span))", "CHECK (days >= 0)",
    "CHECK (starts > '2023-12-31')",
    "UNIQUE (email)", "UNIQUE NULLS NOT DISTINCT (code)", "UNIQUE (name, n)", "UNIQUE (status, code, price)",
    "UNIQUE NULLS NOT DISTINCT (starts, ends, n)", "UNIQUE (initial, n)", "UNIQUE (u)", "PRIMARY KEY (id)",
    "EXCLUDE USING gist (span WITH &&)", "EXCLUDE (n WITH =, (lower(code)) WITH =)",
    "EXCLUDE (n WITH =) WHERE (price > 9)",
]  # fmt: skip
INDEXES = [
    "(lower(email))", "(upper(code))", "((n)) WHERE status = 'new'", "(name) WHERE code IS NOT NULL",
    "(left(email, 4), id)",
    "(coalesce(code, 'none'))", "(md5(email))", "((email || code))", "(u, lower(name))", "((n::text))",
    "(date_part('month', starts), id)",
]  # fmt: skip


def statements(rng: random.Random) -> list[str]:
    """A table with some of all that."""
    columns = [f"{name} {kind}" for name, (kind, _, _) in COLUMNS.items()]
    columns.append("days int GENERATED ALWAYS AS (ends - starts) STORED")
    columns.append("initial text GENERATED ALWAYS AS (left(name, 1)) STORED")
    constraints = rng.sample(CONSTRAINTS, 7)
    indexes = [f"CREATE UNIQUE INDEX i{number} ON t {index}" for number, index in enumerate(rng.sample(INDEXES, 3))]
    return [f"CREATE TABLE t ({', '.join([*columns, *constraints])})", *indexes]


def filled(database: Database, rng: random.Random) -> int:
    """Rows that the constraints let in; how many there are."""
    names = list(COLUMNS)
    insert = f"INSERT INTO t ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) ON CONFLICT DO NOTHING"
    with psycopg.connect(database.url, autocommit=True) as connection:
        for _ in range(ROWS):
            row = [
                None if rng.random() < 0.07 and "NOT NULL" not in kind else make(rng)
                for kind, make, _ in COLUMNS.values()
            ]
            try:
                connection.execute(insert.encode(), row)
            except psycopg.errors.IntegrityError:
                continue
        found = connection.execute("SELECT count(*) FROM t").fetchone()
    return 0 if found is None else int(found[0])


def accepted(rng: random.Random, of: Catalog) -> Rules:
    """Random rules, with keep wherever the plan objects."""
    columns = {name: rng.choice(rules) for name, (_, _, rules) in COLUMNS.items()}
    while True:
        rules = Rules.model_validate({"version": 1, "tables": {"public.t": {"columns": columns, "subject": "id"}}})
        refused = [finding for finding in check(rules, of) if finding.severity is not Severity.NOTE]
        if not refused:
            return rules
        with pytest.raises(BadInput):
            compile_plan(rules, of, KeyRing(bytes(32), "test"))
        for finding in refused:
            columns[finding.where.rsplit(".", 1)[1]] = "keep"


def load(database: Database, plan: Plan, of: Catalog) -> None:
    """Mask the table's rows and load them into one like it."""
    found = plan.tables[T]
    listed = ", ".join(found.columns)
    with psycopg.connect(database.url) as connection:
        connection.execute("SET session_replication_role = replica")
        rows = connection.execute(
            f"SELECT {', '.join(f'{name}::text' for name in found.columns)} FROM t".encode()
        ).fetchall()
        arrays = [
            pa.array([None if value is None else value.encode() for value in values], pa.binary())
            for values in zip(*rows, strict=True)
        ]
        masked = found.mask(pa.record_batch(arrays, names=list(found.columns)), escaped=False)
        connection.execute("CREATE TABLE copy (LIKE t INCLUDING ALL)")
        marks = ", ".join(f"(%s::text)::{of.tables[T].column(name).type_name}" for name in found.columns)
        texts = [None if values is None else [value.decode() if value is not None else None for value in values]
                 for values in zip(*(column.to_pylist() for column in masked.columns), strict=True)]  # fmt: skip
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO copy ({listed}) VALUES ({marks})".encode(), texts)
        connection.execute("DROP TABLE copy")


@pytest.mark.parametrize("seed", range(SCHEMAS))
async def test_what_the_plan_accepts_loads(production: Database, source: SourceConnection, seed: int) -> None:
    """No constraint of any kind is violated by rows that masks were let at, under several keys."""
    rng = random.Random(seed)
    production.execute(
        "DROP TABLE IF EXISTS t", "DROP DOMAIN IF EXISTS mail", "DROP TYPE IF EXISTS status",
        "CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%_@_%')", "CREATE TYPE status AS ENUM ('new', 'done')",
        *statements(rng),
    )  # fmt: skip
    assert filled(production, rng) >= 5
    catalog = await read_catalog(source)
    masked = 0
    for attempt in range(6):
        rules = accepted(rng, catalog)
        plan = compile_plan(rules, catalog, KeyRing(bytes([attempt] * 32), "test"))
        load(production, plan, catalog)
        masked += len(plan.tables[T].masks)
    assert masked > 6
