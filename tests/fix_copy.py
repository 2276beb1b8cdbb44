"""Copies for tests of the target side, on server 18.

``shared`` is one database for all tests of a module, which make tables of their own in it; ``empty`` is a fresh one
for one test. ``marked`` is the shared one, emptied, with tezcat's mark: a finished copy as of ``CLONED``.
``open_target`` opens guarded connections to a database and closes them when the test ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from capture.model import Column, DatabaseIdentity, Index, Lsn, ReplicaIdentity, Table, TableName
from sink import progress
from sink.progress import Progress
from sink.target import Connection, TargetAddress, connect
from tests.fix_postgres import Database, Server

CLONED = Lsn.parse("1/1000")
CLONED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PRODUCTION = DatabaseIdentity("7", "production")
FIRST_PROGRESS = Progress(
    environment="test",
    source="production",
    system_identifier=PRODUCTION.system_identifier,
    database=PRODUCTION.database,
    timeline=1,
    slot="tezcat_test",
    rules_fingerprint="f" * 64,
    rules={},
    key_check="k",
    state="cloning",
    consistent_lsn=None,
    applied_lsn=None,
    source_time=None,
    published={},
    unfollowed={},
    runner=None,
    last_error=None,
)

OpenTarget = Callable[..., Awaitable[Connection]]


def target_address(database: Database) -> TargetAddress:
    """The database as the target of environment ``test``."""
    return TargetAddress.parse(database.url, name="test")


@pytest.fixture(scope="module")
def shared(server18: Server, request: pytest.FixtureRequest) -> Iterator[Database]:
    database = Database(server18, f"shared_{request.module.__name__.rpartition('.')[2]}")
    server18.execute(f"CREATE DATABASE {database.name}")
    yield database
    server18.drop(database.name)


@pytest.fixture
def empty(server18: Server, make_database: Callable[..., Database]) -> Database:
    return make_database(server18)


@pytest.fixture
async def open_target() -> AsyncIterator[OpenTarget]:
    opened: list[Connection] = []

    async def open_one(database: Database, purpose: str = "tests") -> Connection:
        opened.append(await connect(target_address(database), productions=(), purpose=purpose))
        return opened[-1]

    yield open_one
    for connection in opened:
        await connection.close()


@pytest.fixture
async def marked(shared: Database, open_target: OpenTarget) -> Database:
    shared.execute("DROP SCHEMA IF EXISTS tezcat, public CASCADE", "CREATE SCHEMA public")
    connection = await open_target(shared)
    await progress.install(connection)
    await progress.begin_clone(connection, FIRST_PROGRESS)
    await progress.finish_clone(connection, CLONED, CLONED_AT)
    return shared


def table_of(
    name: str,
    columns: dict[str, str],
    *,
    key: tuple[str, ...] = (),
    identity: ReplicaIdentity = ReplicaIdentity.DEFAULT,
    always: tuple[str, ...] = (),
    **index: Any,
) -> Table:
    """A table of the catalog as the target side needs it; ``always`` names GENERATED ALWAYS AS IDENTITY columns."""
    shapes = tuple(
        Column(column, number, 0, -1, type_name, type_name, identity="a" if column in always else "")
        for number, (column, type_name) in enumerate(columns.items(), 1)
    )
    indexes = (Index(f"{name}_pkey", key, is_primary=True, **index),) if key else ()
    return Table(1, TableName("public", name), "r", shapes, replica_identity=identity, indexes=indexes)
