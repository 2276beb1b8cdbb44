"""A copy in which every mask of the catalogue stands over every type that it accepts, under a random load.

The oracle knows nothing of masks. It holds that a copy has just production's rows, that what is kept is equal, that
equal values became equal ones whether the snapshot or the stream brought them, that NULL stayed NULL, and that values
which no two rows could share by chance are not production's. ``verify`` compares byte by byte. One table of each mask
is copied in part: its rows come with those of another table.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
import yaml

from capture.catalog import read_catalog
from capture.model import ServerFailed, TableName
from capture.source import connect
from tests.fix_postgres import Database, Server
from tests.fix_source import source_address
from tests.integration.conftest import Project
from tests.transform import mask_cases
from tests.transform.mask_cases import SETTINGS, Case
from transform.coverage import Severity
from transform.keyring import KeyRing
from transform.masks.base import Mask
from transform.plan import Plan, check, compile_plan

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROWS = 60
# Values come again and again, so that the snapshot and the stream both bring them.
POOL = 40
KEPT = {"keep", "constant"}
# So long a value is no other's by chance.
TELLING = 12


@pytest.fixture
def production(server18: Server, make_database: Callable[..., Database]) -> Database:
    """An empty one."""
    return make_database(server18)


async def test_every_mask_is_exact_under_load(project: Project) -> None:
    """Cloned, streamed, killed and streamed on, every mask gives in the stream what it gave in the snapshot."""
    cases = mask_cases.cases()
    mask_cases.make_tables(project.source.url, cases, ROWS)
    cases, reading = await _accepted(project.source, cases)
    assert len({case.mask for case in cases}) > 20
    for case in mask_cases.cases():
        if case.number not in {each.number for each in cases}:
            project.source.execute(f"DROP TABLE {case.table}")
    in_part = {case.table for case in {case.mask: case for case in reversed(cases)}.values()}
    _divide(project.source, in_part)
    rules = mask_cases.written_rules(cases)
    rules["tables"]["public.parts"] = {"rows": {"where": "is_in"}, "columns": {"id": "keep", "is_in": "keep"}}
    for table in in_part:
        rules["tables"][f"public.{table}"]["rows"] = {"with": "public.parts"}
        rules["tables"][f"public.{table}"]["columns"]["part"] = "keep"
    project.rules.write_text(yaml.safe_dump(rules, sort_keys=False))
    await project.prepare_production()
    async with _load(project.source, cases, seed=1):
        await project.succeed("clone", "--source", "production", "--target", "test")
        stream = project.start("stream", "--target", "test")
        await stream.streams()
        await asyncio.sleep(3)
        await stream.send(signal.SIGKILL)
        stream = project.start("stream", "--target", "test")
        await stream.streams()
        await asyncio.sleep(3)
    ended = await stream.send(signal.SIGTERM)
    assert ended.code == 0, str(ended)
    await project.catch_up()
    wrong = _compare(project.source, project.target, cases, reading, in_part)
    assert not wrong, "\n".join(wrong)
    verified = await project.run("verify", "--target", "test", "--json")
    assert verified.code == 0, str(verified)
    assert verified.json["equal"] is True


def _divide(database: Database, tables: set[str]) -> None:
    """Give each row of these tables a part of twenty, of which half are copied."""
    database.execute(
        "CREATE TABLE parts (id int PRIMARY KEY, is_in bool)",
        "INSERT INTO parts SELECT n, n % 2 = 0 FROM generate_series(0, 19) n",
        *(
            f"ALTER TABLE {table} ADD part int DEFAULT floor(random() * 20)::int REFERENCES parts"
            for table in sorted(tables)
        ),
    )


async def _accepted(database: Database, cases: list[Case]) -> tuple[list[Case], set[str]]:
    """The cases that the plan takes, and whose mask stops at none of the values; the masks among them that read the
    rest of the row."""
    async with await connect(source_address(database), purpose="tests") as connection:
        catalog = await read_catalog(connection)
    fitting = []
    for case in cases:
        findings = check(mask_cases.rules_of([case]), mask_cases.only(catalog, [case]))
        if not any(each.severity is Severity.ERROR for each in findings):
            fitting.append(case)
    plan = compile_plan(mask_cases.rules_of(fitting), mask_cases.only(catalog, fitting), KeyRing(bytes(32), "tests"))
    with psycopg.connect(database.url, options=SETTINGS) as reader:
        taken = [case for case in fitting if _takes_all(reader, plan, case)]
    reading = {
        case.table
        for case in taken
        for mask in plan.tables[TableName("public", case.table)].masks.values()
        if not isinstance(mask, Mask)
    }
    return taken, reading


def _takes_all(connection: psycopg.Connection[Any], plan: Plan, case: Case) -> bool:
    table = plan.tables[TableName("public", case.table)]
    everything = mask_cases.values(case.type_name, POOL, seed=1)
    connection.cursor().executemany(
        mask_cases.insert_statement(case).encode(),
        [
            (ROWS + n, value, *rest.values())
            for n, (value, rest) in enumerate(zip(everything, mask_cases.beside(POOL), strict=True))
        ],
    )
    with connection.cursor().copy(f"COPY {case.table} ({', '.join(table.columns)}) TO STDOUT".encode()) as copy:
        block = b"".join(bytes(part) for part in copy)
    connection.rollback()
    try:
        table.mask_block(block, table.columns)
    except ServerFailed:
        return False
    return True


@contextlib.asynccontextmanager
async def _load(database: Database, cases: list[Case], seed: int) -> AsyncIterator[None]:
    """Rows of all tables are inserted, updated and deleted for the length of a block."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(_session(database, cases, seed * 10 + number, stop)) for number in range(2)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def _session(database: Database, cases: list[Case], seed: int, stop: asyncio.Event) -> None:
    rng = random.Random(seed)
    pools = {case.table: mask_cases.values(case.type_name, POOL, seed=1) for case in cases}
    rows = [tuple(rest.values()) for rest in mask_cases.beside(POOL)]
    number = seed * 1_000_000
    async with await psycopg.AsyncConnection.connect(database.url, options=SETTINGS, autocommit=True) as connection:
        while not stop.is_set():
            async with connection.transaction():
                for _ in range(rng.randrange(1, 20)):
                    case = rng.choice(cases)
                    value, rest = rng.choice(pools[case.table]), rng.choice(rows)
                    chosen = f"(SELECT id FROM {case.table} ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED)"
                    match rng.randrange(4):
                        case 0 | 1:
                            number += 1
                            await connection.execute(mask_cases.insert_statement(case).encode(), (number, value, *rest))
                        case 2:
                            changed = f"UPDATE {case.table} SET v = %s::text::{case.type_name} WHERE id = {chosen}"
                            await connection.execute(changed.encode(), (value,))
                        case _:
                            await connection.execute(f"DELETE FROM {case.table} WHERE id = {chosen}".encode())
                if rng.randrange(100) == 0:
                    await connection.execute("UPDATE parts SET is_in = NOT is_in WHERE id = %s", (rng.randrange(20),))
            await asyncio.sleep(0.005)


def _compare(source: Database, target: Database, cases: list[Case], reading: set[str], in_part: set[str]) -> list[str]:
    wrong: list[str] = []
    with (
        psycopg.connect(source.url, options=SETTINGS) as production,
        psycopg.connect(target.url, options=SETTINGS) as copy,
    ):
        for case in cases:
            statement = (
                f"SELECT id, v::text, {', '.join(f'{name}::text' for name in mask_cases.BESIDE)} FROM {case.table}"
            )
            chosen = " WHERE part IN (SELECT id FROM parts WHERE is_in)" if case.table in in_part else ""
            before, after = (
                {row[0]: row[1:] for row in connection.execute(query.encode())}
                for connection, query in ((production, statement + chosen), (copy, statement))
            )
            if before.keys() != after.keys():
                wrong.append(f"{case}: {len(before.keys() ^ after.keys())} rows are on one side only")
                continue
            wrong += [f"{case}: {what}" for what in _differences(case, before, after, reads_row=case.table in reading)]
    return wrong


def _differences(case: Case, before: dict[int, Any], after: dict[int, Any], *, reads_row: bool) -> set[str]:
    found = set()
    images: dict[Any, set[Any]] = defaultdict(set)
    for key, (value, *rest) in before.items():
        masked, *kept = after[key]
        if rest != kept:
            found.add("a kept column differs")
        if (value is None) != (masked is None) and case.mask != "null":
            found.add("NULL and a value stand for each other")
        images[(value, *rest) if reads_row else value].add(masked)
        if case.mask not in KEPT and value == masked and _is_telling(case, value):
            found.add("a value is production's")
    if any(len(masked) > 1 for masked in images.values()):
        found.add("equal values became different ones")
    return found


def _is_telling(case: Case, value: str | None) -> bool:
    """Whether a value stays itself by no chance: a long text does, while a number may lie in its own band."""
    is_text = case.type_name in {"text", "varchar", "varchar(60)", "char(40)"}
    return is_text and value is not None and sum(sign.isalnum() for sign in value) >= TELLING
