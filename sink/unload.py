"""Reading a copy's rows back, for verify: blocks of COPY text."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import psycopg

from sink.target import Connection, failure

_BLOCK_BYTES = 2 << 20


async def copy_out(connection: Connection, statement: str) -> AsyncGenerator[bytes, None]:
    """Run ``COPY (...) TO STDOUT``; yield blocks of whole rows. Raises ``ServerFailed``."""
    try:
        async with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            rows: list[bytes] = []
            size = 0
            async for row in copy:
                rows.append(bytes(row))
                size += len(row)
                if size >= _BLOCK_BYTES:
                    yield b"".join(rows)
                    rows, size = [], 0
            if rows:
                yield b"".join(rows)
    except psycopg.Error as error:
        raise failure(error) from None
