"""``tezcat rules diff``: what the rules and the key of today would mask otherwise than the copy was, table by table."""

from __future__ import annotations

from dataclasses import dataclass

from capture.catalog import read_catalog
from capture.model import Catalog, TableName
from capture.source import identity
from control.copies import changes, check_copy, followed, no_copy
from control.project import Project, database_identity
from control.settings import Settings
from sink import progress, target
from sink.columns import read_columns
from sink.target import Standing
from transform.identity import TableDifference


@dataclass(frozen=True, slots=True)
class RulesDiff:
    """What a copy's tables would have otherwise. ``same_key`` is False when the key or its epoch changed, and all that
    is masked with it. ``rows`` and ``bytes`` are production's own estimates, by table."""

    target: str
    same_key: bool
    tables: list[TableDifference]
    rows: dict[TableName, int]
    bytes: dict[TableName, int]


async def diff(settings: Settings, target_name: str, *, accept_writable_role: bool) -> RulesDiff:
    """Hold today's rules against those that the copy was made by.

    Raises ``Refused`` where there is no whole copy of this production, or one that holds what the rules do not decide,
    ``Drifted`` where production's tables are no longer the copy's, ``BadInput`` for rules that do not fit.
    """
    project = Project.of(settings, target_name)
    async with await project.open_source("rules", accept_writable_role=accept_writable_role) as production:
        found = database_identity(await identity(production))
        catalog = await read_catalog(production)
    plan = project.plan(catalog, partial=True)
    connection = await target.connect(project.target_address, productions={found}, purpose="rules")
    async with connection, target.answering(project.target_address):
        if await target.standing(connection) is not Standing.OURS:
            raise no_copy(project)
        kept = await progress.read(connection)
        copied = await read_columns(connection)
    state = check_copy(project, kept, plan, found, without=frozenset(plan.tables))
    followed(project, catalog, plan, copied)
    tables = changes(state, plan)
    sizes = {each.table: _size(catalog, each.table) for each in tables}
    return RulesDiff(
        target=target_name,
        same_key=state.key_check == plan.key_check,
        tables=tables,
        rows={table: rows for table, (rows, _) in sizes.items()},
        bytes={table: size for table, (_, size) in sizes.items()},
    )


def _size(catalog: Catalog, name: TableName) -> tuple[int, int]:
    """Rows and bytes of a table and its partitions."""
    members = [table for table in catalog.tables.values() if name in (table.name, table.root) and table.kind == "r"]
    return sum(table.estimated_rows for table in members), sum(table.bytes for table in members)
