"""What must hold before a clone makes anything anywhere: the target is ours to replace, the slot's name is free,
production is ready to be read."""

from __future__ import annotations

from capture.model import Catalog, Refused, ServerFailed
from capture.preflight import Status, preflight
from capture.replication import ReplicationSession
from capture.slots import drop_slot_if_there, slot_state
from capture.source import SourceConnection
from control.project import Project
from control.report import Report
from sink import progress, target
from sink.target import Connection, Standing
from transform.plan import Plan


async def reason_to_ask(connection: Connection, project: Project) -> str | None:
    """Why the clone asks for the environment's name first. Raises ``Refused`` for a database that is not ours."""
    match await target.standing(connection):
        case Standing.EMPTY:
            return None
        case Standing.FOREIGN:
            raise Refused(
                f"environment {project.target_address.label} holds tables and bears no mark of tezcat: "
                "it may be somebody's work.",
                hint="Name an empty database, or empty this one yourself.",
            )
        case Standing.OURS:
            try:
                found = await progress.read(connection)
            except progress.OtherLayout:
                return f"environment {project.target.name} holds a copy that another version of tezcat made."
            if found is None or found.consistent_lsn is None:
                return None
            return f"environment {project.target.name} holds a finished copy of {found.source}, which a clone replaces."


async def replace_slot(
    project: Project,
    production: SourceConnection,
    connection: Connection,
    session: ReplicationSession,
    confirm: str | None,
) -> None:
    """Drop the slot of this target's last copy. Raises ``Refused`` for one that another copy may need."""
    ours = await target.standing(connection) is Standing.OURS
    if not ours and confirm != project.target.name and await slot_state(production, project.slot) is not None:
        raise Refused(
            f"production has a slot {project.slot} already, and environment {project.target_address.label} is empty: "
            "the slot may belong to another copy, whose environment has the same name.",
            hint=f"Rename this environment; or, if nobody needs the slot, --confirm {project.target.name} replaces it.",
        )
    await drop_slot_if_there(production, session, project.slot)


def refuse_older_target(project: Project, catalog: Catalog, connection: Connection) -> None:
    """Raise ``ServerFailed`` for a target of an older version than production."""
    theirs = connection.info.server_version // 10000
    ours = catalog.server_version // 10000
    if theirs < ours:
        raise ServerFailed(
            f"environment {project.target_address.label} runs PostgreSQL {theirs}, production PostgreSQL {ours}: "
            "an older server may not take a newer one's schema.",
            hint=f"Use a target of version {ours} or later.",
        )


async def refuse_unready(
    project: Project, plan: Plan, *, accept_writable_role: bool, once: bool, report: Report
) -> None:
    """Hold production against the same checks as ``source check``, before anything is made there."""
    checks = await preflight(
        project.source_address,
        publication=project.settings.publication,
        unpublished=[name for name, table in plan.tables.items() if table.rows == "none"],
    )
    # Without a stream no publication is needed; a writable role was judged, and accepted, when it connected.
    passed = {"publication", "published tables", "replica identity"} if once else set()
    if accept_writable_role:
        passed.add("role")
    judged = [check for check in checks if check.name not in passed]
    problems = [check for check in judged if check.status is Status.PROBLEM]
    if problems:
        raise ServerFailed(
            f"{project.source_address.label} is not ready: {' '.join(check.message for check in problems)}",
            hint=" ".join(dict.fromkeys(check.remedy for check in problems)),
        )
    for check in judged:
        if check.status is Status.WARNING:
            report.warn(f"{check.message} {check.remedy}".rstrip())
