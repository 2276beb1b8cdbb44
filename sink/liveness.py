"""Noticing that a connection to a target is dead though nothing says so.

A peer that vanished without a word leaves a connection that looks alive. TCP's own timeouts notice that, but not where
a proxy between goes on answering for a server that it no longer reaches. From here a lost statement looks like a long
one, or like one that waits for a lock. The server can tell: over another connection it says whether ours is at work,
or waits for us as we wait for it.
"""

from __future__ import annotations

import asyncio
import os
import socket

import psycopg
import structlog
from psycopg.pq import TransactionStatus

from sink.target import Connection, TargetAddress

log = structlog.get_logger()

# How often a connection is looked at while its patience runs.
_LOOKS = 6


async def watch(connection: Connection, address: TargetAddress) -> None:
    """Break ``connection`` when its server neither works for us nor answers; whoever waits for it then gets an error.

    Ends when it has done so; otherwise it is cancelled by its owner.
    """
    looks = 0
    while True:
        await asyncio.sleep(address.patience / _LOOKS)
        waits = connection.info.transaction_status is TransactionStatus.ACTIVE
        looks = looks + 1 if waits else 0
        if looks >= _LOOKS:
            if await _is_dead(connection.info.backend_pid, address):
                log.warning("target silent", seconds=round(address.patience))
                _break(connection)
                return
            looks = 0


async def _is_dead(pid: int, address: TargetAddress) -> bool:
    """Whether the server has nothing to do for the session ``pid``, or is out of reach altogether."""
    try:
        async with (
            asyncio.timeout(address.patience),
            await psycopg.AsyncConnection.connect(
                address.conninfo, autocommit=True, application_name="tezcat probe"
            ) as probe,
        ):
            cursor = await probe.execute(
                """SELECT EXISTS (SELECT FROM pg_stat_get_activity(%s) WHERE wait_event_type IS DISTINCT FROM 'Client'
                   OR state_change > now() - %s * interval '1 second')""",
                (pid, address.patience),
            )
            row = await cursor.fetchone()
            return row is not None and not row[0]
    except (psycopg.errors.ConnectionTimeout, TimeoutError):
        return True
    except psycopg.Error:
        # It answers, if only to say that it takes no more connections.
        return False


def _break(connection: Connection) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
