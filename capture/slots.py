"""What production knows of our replication slots."""

from __future__ import annotations

from dataclasses import dataclass

from capture.model import Lsn, Refused, ServerFailed
from capture.replication import ReplicationSession
from capture.source import SourceConnection

_SLOT = """
SELECT s.active_pid, s.confirmed_flush_lsn::text, s.restart_lsn::text, s.wal_status, s.plugin::text,
       s.database::text, current_database()::text,
       pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint, pg_current_wal_lsn()::text
  FROM pg_replication_slots s WHERE s.slot_name = %s"""


@dataclass(frozen=True, slots=True)
class SlotState:
    """A slot as production shows it. ``retained_wal_bytes`` is what production keeps for it; ``is_lost`` says that
    WAL it still needed is gone; ``current_lsn`` is where production writes."""

    active_pid: int | None
    confirmed_flush_lsn: Lsn | None
    is_lost: bool
    retained_wal_bytes: int
    current_lsn: Lsn


async def slot_state(connection: SourceConnection, name: str) -> SlotState | None:
    """The slot, or None where there is none. Raises ``ServerFailed``, also for a slot of that name that is not ours."""
    rows = await connection.fetch(_SLOT, (name,))
    if not rows:
        return None
    active_pid, confirmed, restart, status, plugin, database, ours, retained, current = rows[0]
    if plugin != "pgoutput" or database != ours:
        # Slots belong to the whole server: the project of another database may have named one alike.
        whose = f"of database {database}" if database is not None else "for physical replication"
        raise ServerFailed(
            f"production has a slot named {name} that is not this copy's: it is one {whose} (plugin {plugin}).",
            hint="Rename the target environment, which names the slot.",
        )
    return SlotState(
        active_pid=active_pid,
        confirmed_flush_lsn=Lsn.parse(confirmed) if confirmed is not None else None,
        is_lost=status == "lost" or restart is None,
        retained_wal_bytes=max(retained or 0, 0),
        current_lsn=Lsn.parse(current),
    )


async def drop_slot_if_there(connection: SourceConnection, session: ReplicationSession, name: str) -> None:
    """Drop the slot of an earlier copy. Raises ``Refused`` while somebody reads it."""
    state = await slot_state(connection, name)
    if state is None:
        return
    if state.active_pid is not None:
        raise Refused(
            f"the slot {name} is in use at production (pid {state.active_pid}).",
            hint="Stop the stream that reads it, then clone again.",
        )
    await session.drop_slot(name)
