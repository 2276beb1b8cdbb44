"""A cut: production at one LSN, in a snapshot that others can adopt, and what its catalog said there."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from capture.catalog import read_catalog
from capture.model import Catalog, Interrupted, Lsn, Table, TableName, within
from capture.publications import published_as
from capture.replication import ReplicationSession, Slot
from capture.snapshot import read_files
from capture.source import SourceConnection
from capture.statements import SLOT_PREFIX
from capture.unfollowed import unfollowed_changes
from control.project import Project

# A slot's snapshot waits for production's open transactions, and a running stream may wait with it.
_SLOT_PATIENCE: Final = timedelta(seconds=120)
# In the last part of a snapshot's life what reads it may end, but nothing begins.
_LAST: Final = 0.25


@dataclass(frozen=True, slots=True)
class Cut:
    """Every transaction that commits before ``lsn`` is in ``snapshot``, no other. The snapshot lives as long as the
    session that made it, which is this cut's own.

    ``time`` is production's clock, ``files`` the tables' files; ``published`` and ``unfollowed`` are as
    ``tezcat.progress`` keeps them. ``taken`` is on the monotonic clock, in seconds.
    """

    lsn: Lsn
    snapshot: str
    time: datetime
    catalog: Catalog
    files: dict[TableName, int]
    published: dict[str, str]
    unfollowed: dict[str, int]
    taken: float
    session: ReplicationSession

    @classmethod
    async def take(
        cls,
        project: Project,
        production: SourceConnection,
        session: ReplicationSession,
        slot: str,
        *,
        temporary: bool,
    ) -> Cut:
        """Make a slot, and with it a cut. The session is the cut's from then on. Raises ``ServerFailed``."""
        made = await session.create_slot(slot, temporary=temporary)
        taken = time.monotonic()
        await production.begin(snapshot=made.snapshot)
        catalog = await read_catalog(production)
        files = await read_files(production)
        clock = await production.fetch("SELECT transaction_timestamp()")
        await production.rollback()
        return cls(
            lsn=made.consistent_point,
            snapshot=made.snapshot,
            time=clock[0][0],
            catalog=catalog,
            files=files,
            published=await published_as(production, project.publications, catalog),
            unfollowed=await unfollowed_changes(production, project.publications),
            taken=taken,
            session=session,
        )

    def remaining(self, max_age: timedelta) -> float:
        """How many seconds the snapshot may yet live; 0 or less when it is too old."""
        return self.taken + max_age.total_seconds() - time.monotonic()

    def is_old(self, max_age: timedelta) -> bool:
        """Whether nothing should begin any more that reads the snapshot."""
        return self.remaining(max_age) < _LAST * max_age.total_seconds()

    async def close(self) -> None:
        """Let production forget the snapshot."""
        await self.session.close()

    @contextlib.asynccontextmanager
    async def closed_when_old(self, max_age: timedelta) -> AsyncIterator[None]:
        """Production forgets the snapshot in time, though the block, which does not read it, takes longer."""

        async def close() -> None:
            await asyncio.sleep(self.remaining(max_age))
            await self.close()

        closing = asyncio.create_task(close())
        try:
            yield
        finally:
            closing.cancel()


@contextlib.asynccontextmanager
async def no_longer_than(max_age: timedelta, taken: float, given_up: str) -> AsyncIterator[None]:
    """What needs a snapshot that was ``taken`` then (on the monotonic clock, in seconds), for no longer than production
    may bear it, whatever it waits for. Raises ``Interrupted``, which says what was ``given_up``."""
    late = Interrupted(
        f"the snapshot grew older than snapshot.max_age ({max_age}), and production comes first: {given_up}.",
        hint="Raise snapshot.max_age or snapshot.workers, or do it when production is quieter and the stream has "
        "caught up.",
    )
    async with within(taken + max_age.total_seconds() - time.monotonic(), late):
        yield


def fingerprint(catalog: Catalog) -> str:
    """Tells whether two catalogs have the same tables, columns, keys and sequences, the very same ones and not only
    ones of the same name; 64 hex digits. An index that only helps to find rows is no part of it."""
    tables = [repr(_shape(table)) for _, table in sorted(catalog.tables.items())]
    keys = tuple(replace(key, is_indexed=True) for key in catalog.foreign_keys)
    rest = repr((keys, catalog.sequences))
    return hashlib.sha256("\n".join([*tables, rest]).encode()).hexdigest()


def _shape(table: Table) -> Table:
    columns = tuple(replace(column, comment=None) for column in table.columns)
    return replace(table, columns=columns, computed=(), pages=0, bytes=0, estimated_rows=0, comment=None)


class KeptWaiting(Interrupted):
    """Production has had a transaction open for so long that there is no snapshot at a known LSN yet."""


async def temporary_slot(session: ReplicationSession, purpose: str) -> Slot:
    """A slot that lives as long as its session. Raises ``ServerFailed`` when production keeps it waiting for long."""
    async with patience(purpose, _SLOT_PATIENCE):
        return await session.create_slot(_name(purpose), temporary=True)


async def temporary_cut(
    project: Project, production: SourceConnection, session: ReplicationSession, purpose: str
) -> tuple[Cut, str]:
    """A cut, and the slot that made it, which live as long as the session, which is the cut's. Raises ``ServerFailed``
    when production keeps it waiting for long."""
    slot = _name(purpose)
    async with patience(purpose, _SLOT_PATIENCE):
        return await Cut.take(project, production, session, slot, temporary=True), slot


def _name(purpose: str) -> str:
    return f"{SLOT_PREFIX}{purpose}_{secrets.token_hex(4)}"


@contextlib.asynccontextmanager
async def patience(purpose: str, longest: timedelta) -> AsyncIterator[None]:
    """Wait for a slot, for so long at the most. Raises ``KeptWaiting``."""
    seconds = longest.total_seconds()
    late = KeptWaiting(
        f"production has had a transaction open for more than {seconds:.0f} seconds, and a snapshot at a known LSN "
        "waits for it.",
        hint=f"See pg_stat_activity for the oldest xact_start; {purpose} again when it has ended.",
    )
    async with within(seconds, late):
        yield
