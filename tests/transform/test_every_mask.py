"""What holds for every mask of the catalogue, over every type that it accepts, on a real server.

The cases come from the catalogue itself, so a mask that is added is tried here without anybody thinking of it.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from fix_masks import column_of

from capture.catalog import read_catalog
from capture.model import Catalog, ServerFailed, TableName
from capture.source import connect
from tests.fix_postgres import Database, Server
from tests.fix_source import source_address
from tests.transform import mask_cases
from tests.transform.mask_cases import SETTINGS, Case
from transform.coverage import Severity
from transform.keyring import KeyRing
from transform.masks.base import ANY, MASKS, Build, Form, Mask, Uniqueness
from transform.plan import Plan, check, compile_plan

pytestmark = pytest.mark.integration

ROWS = 120
MANY = 1_000_000
CASES = mask_cases.cases()
KEYS = KeyRing(bytes(range(32)), "every mask")
# What these are for; other text they replace by a tag.
_OWN_FORM = {
    "id.uuid": r"[0-9a-f-]{36}",
    "network.ip": r"(?:(?:0|[1-9]\d?)\.){3}(?:0|[1-9]\d?)",
    "network.mac": r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}",
}
# Only the ends of these are to be seen.
_HIDDEN = {"text.partial"}
# Numbers between the separators may have more digits or fewer.
_OTHER_LENGTH = {"network.ip"}


@dataclass(frozen=True)
class Tried:
    """The cases that the plan accepts, and what their columns hold, as COPY text; the others with the reason."""

    database: Database
    plan: Plan
    accepted: list[Case]
    refused: dict[Case, str]
    blocks: dict[Case, bytes]


@pytest.fixture(scope="module")
def tried(server18: Server) -> Iterator[Tried]:
    database = Database(server18, "every_mask")
    server18.execute("CREATE DATABASE every_mask")
    mask_cases.make_tables(database.url, CASES, ROWS)
    with psycopg.connect(database.url) as connection:
        for case in CASES:
            connection.execute(f"CREATE TABLE {case.table}_copy (LIKE {case.table} INCLUDING ALL)".encode())
    catalog = asyncio.run(_catalog(database))
    refused = {}
    for case in CASES:
        errors = [
            each
            for each in check(mask_cases.rules_of([case]), mask_cases.only(catalog, [case]))
            if each.severity is Severity.ERROR
        ]
        if errors:
            refused[case] = str(errors[0])
    accepted = [case for case in CASES if case not in refused]
    plan = compile_plan(mask_cases.rules_of(accepted), mask_cases.only(catalog, accepted), KEYS)
    with psycopg.connect(database.url, options=SETTINGS) as connection:
        blocks = {case: _copy_out(connection, case.table, plan) for case in accepted}
    blocks = {case: _without_refused(plan, case, block) for case, block in blocks.items()}
    yield Tried(database, plan, accepted, refused, blocks)
    server18.execute("DROP DATABASE every_mask WITH (FORCE)")


async def _catalog(database: Database) -> Catalog:
    async with await connect(source_address(database), purpose="tests") as connection:
        return await read_catalog(connection)


def _without_refused(plan: Plan, case: Case, block: bytes) -> bytes:
    """The rows that the mask takes: where a column has no room for a tag, it stops at what it cannot mask as meant."""
    table = plan.tables[TableName("public", case.table)]

    def is_taken(rows: bytes) -> bool:
        try:
            table.mask_block(rows, table.columns)
        except ServerFailed:
            return False
        return True

    if is_taken(block):
        return block
    taken = [row for row in block.splitlines(keepends=True) if is_taken(row)]
    assert taken, str(case)
    return b"".join(taken)


def _columns(plan: Plan, table: str) -> tuple[str, ...]:
    return plan.tables[TableName("public", table)].columns


def _copy_out(connection: psycopg.Connection[Any], table: str, plan: Plan) -> bytes:
    columns = ", ".join(_columns(plan, table.removesuffix("_copy")))
    with connection.cursor().copy(f"COPY (SELECT {columns} FROM {table} ORDER BY id) TO STDOUT") as copy:
        return b"".join(bytes(part) for part in copy)


def _masked(tried: Tried, case: Case, block: bytes) -> bytes:
    table = tried.plan.tables[TableName("public", case.table)]
    return bytes(table.mask_block(block, table.columns))


def test_every_mask_is_accepted_somewhere(tried: Tried) -> None:
    """The catalogue has no mask that can stand nowhere, and the plan says why where one cannot."""
    missing = {name for name in MASKS if not name.startswith("test.")} - {case.mask for case in tried.accepted}
    # These are of types that only extensions bring.
    missing = {name for name in missing if MASKS[name].types & (mask_cases.TYPES.keys() | ANY)}
    assert not missing, {str(case): why for case, why in tried.refused.items() if case.mask in missing}


def test_what_masks_make_is_what_the_server_prints(tried: Tried) -> None:
    """A masked block loads into a column of the type, and reads back as the very same bytes."""
    wrong = []
    with psycopg.connect(tried.database.url, options=SETTINGS, autocommit=True) as connection:
        for case in tried.accepted:
            masked = _masked(tried, case, tried.blocks[case])
            columns = ", ".join(_columns(tried.plan, case.table))
            try:
                with connection.cursor().copy(f"COPY {case.table}_copy ({columns}) FROM STDIN") as copy:
                    copy.write(masked)
            except psycopg.Error as error:
                wrong.append(f"{case}: {error}")
                continue
            if (back := _copy_out(connection, f"{case.table}_copy", tried.plan)) != masked:
                differing = [
                    pair for pair in zip(masked.splitlines(), back.splitlines(), strict=True) if pair[0] != pair[1]
                ]
                wrong.append(f"{case}: {differing[0]}")
    assert not wrong, "\n".join(wrong)


def test_a_row_masks_alike_wherever_it_stands(tried: Tried) -> None:
    """Alone, in any order, in any batch, a second time: the same bytes."""
    for case in tried.accepted:
        block = tried.blocks[case]
        rows = block.splitlines(keepends=True)
        masked = _masked(tried, case, block).splitlines(keepends=True)
        assert len(masked) == len(rows), str(case)
        assert _masked(tried, case, b"".join(rows[::-1])).splitlines(keepends=True) == masked[::-1], str(case)
        halves = _masked(tried, case, b"".join(rows[:50])) + _masked(tried, case, b"".join(rows[50:]))
        assert halves == b"".join(masked), str(case)
        assert [_masked(tried, case, row) for row in rows[::10]] == masked[::10], str(case)


def test_only_the_masked_column_changes(tried: Tried) -> None:
    """NULL stays NULL, a value stays a value, and the row's other columns stay as they are."""
    for case in tried.accepted:
        place = _columns(tried.plan, case.table).index("v")
        rows = zip(tried.blocks[case].splitlines(), _masked(tried, case, tried.blocks[case]).splitlines(), strict=True)
        for before, after in ((old.split(b"\t"), new.split(b"\t")) for old, new in rows):
            assert before[:place] + before[place + 1 :] == after[:place] + after[place + 1 :], str(case)
            if case.mask != "null":
                assert (before[place] == b"\\N") == (after[place] == b"\\N"), str(case)


def test_another_process_masks_alike(tried: Tried, tmp_path: Path) -> None:
    """Nothing hangs on the process: not on its hashes of strings, not on what it masked before."""
    path = tmp_path / "cases"
    path.write_bytes(pickle.dumps((tried.plan, {case.table: block for case, block in tried.blocks.items()})))
    program = (
        "import hashlib, pickle, sys; from capture.model import TableName\n"
        "plan, blocks = pickle.loads(open(sys.argv[1], 'rb').read())\n"
        "for name, block in sorted(blocks.items()):\n"
        "    table = plan.tables[TableName('public', name)]\n"
        "    print(name, hashlib.sha256(bytes(table.mask_block(block, table.columns))).hexdigest())\n"
    )
    root = Path(__file__).parent.parent.parent
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False, cwd=root,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    there = dict(line.split() for line in ended.stdout.splitlines())
    for case in tried.accepted:
        here = hashlib.sha256(_masked(tried, case, tried.blocks[case])).hexdigest()
        assert there[case.table] == here, str(case)


def test_the_form_is_kept_where_the_catalogue_says_so(tried: Tried) -> None:
    """A text keeps its length, and its separators stay where they are."""
    for case in tried.accepted:
        kind = MASKS[case.mask]
        asked = kind.form is Form.ASKED and case.params.get("preserve_format") is True and case.mask == "phone"
        if case.type_name not in {"text", "varchar"} or case.mask == "keep" or not (kind.form is Form.KEPT or asked):
            continue
        for before, after in _pairs(tried, case):
            if not re.fullmatch(_OWN_FORM.get(case.mask, r"(?s:.*)"), before):
                continue
            assert len(before) == len(after) or case.mask in _OTHER_LENGTH, (str(case), before, after)
            separators = [[sign for sign in text if sign in " -./:+"] for text in (before, after)]
            assert separators[0] == separators[1] or case.mask in _HIDDEN, (str(case), before, after)


def _pairs(tried: Tried, case: Case) -> Iterator[tuple[str, str]]:
    place = _columns(tried.plan, case.table).index("v")
    rows = zip(tried.blocks[case].splitlines(), _masked(tried, case, tried.blocks[case]).splitlines(), strict=True)
    for before, after in ((old.split(b"\t")[place], new.split(b"\t")[place]) for old, new in rows):
        if before != b"\\N":
            yield _unescaped(before), _unescaped(after)


def _unescaped(value: bytes) -> str:
    names = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}
    return re.sub(r"(?s)\\(.)", lambda found: names.get(found[1], found[1]), value.decode())


def _claims() -> Iterator[tuple[str, str]]:
    for name, kind in sorted(MASKS.items()):
        if name.startswith("test.") or name in {"keep", "custom"}:
            continue
        for base in sorted(kind.types & mask_cases.TYPES.keys() - {"varchar", "bpchar", "name"}):
            if kind.uniqueness(kind.params.model_validate(_params(name, base)), column_of(base)) is Uniqueness.LOSSY:
                continue
            yield name, base


def _params(name: str, base: str) -> dict[str, Any]:
    return mask_cases.PARAMS.get(name, [{}])[0] | (
        {"preserve_format": True} if name == "phone" and base == "text" else {}
    )


def _values_for(claim: tuple[str, str]) -> str:
    """What kind of values to try it on, as ``mask_cases.DISTINCT`` names them."""
    name, base = claim
    return name if base == "text" and name in mask_cases.DISTINCT else base


@functools.lru_cache(maxsize=1)
def _different_values(kind: str) -> pa.BinaryArray:
    return pa.array(mask_cases.DISTINCT[kind](MANY), pa.binary()).unique()


@pytest.mark.slow
# Those of the same values one after the other, for they take longer to write than to mask.
@pytest.mark.parametrize(("name", "base"), sorted(_claims(), key=_values_for))
def test_no_two_of_a_million_values_meet_where_the_catalogue_says_so(name: str, base: str) -> None:
    """What is injective or tagged keeps a million different values apart."""
    kind = MASKS[name]
    width = {"int2": 16, "int4": 32}.get(base, 64)
    build = Build(KEYS.prf(name), column_of(base), unique=True, width=width)
    mask = kind.build(kind.params.model_validate(_params(name, base)), build)
    assert isinstance(mask, Mask)
    values = _different_values(_values_for((name, base)))
    blocks = [mask.apply(values.slice(start, 50_000)) for start in range(0, len(values), 50_000)]
    assert pc.count_distinct(pa.chunked_array(blocks)).as_py() == len(values)
