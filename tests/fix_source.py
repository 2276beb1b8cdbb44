"""Sources for tests of the production side.

``production`` is one database for all tests of a module, on each of the servers in turn; ``source`` is a guarded
connection to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from capture.source import SourceAddress, SourceConnection, connect
from tests.fix_postgres import Database, Server


def source_address(database: Database) -> SourceAddress:
    """The database as environment ``production``, read by the superuser."""
    return SourceAddress.parse(database.url)


@pytest.fixture(scope="module")
def production(server: Server, request: pytest.FixtureRequest) -> Iterator[Database]:
    database = Database(server, f"source_{request.module.__name__.rpartition('.')[2]}")
    server.execute(f"CREATE DATABASE {database.name}")
    yield database
    server.drop(database.name)


@pytest.fixture
async def source(production: Database) -> AsyncIterator[SourceConnection]:
    async with await connect(source_address(production), purpose="tests") as connection:
        yield connection
