"""What must hold before a copy may be followed or compared: same production, same key, same rules, same columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from capture.model import (
    Catalog,
    DatabaseIdentity,
    Drifted,
    Refused,
    ReplicaIdentity,
    ServerFailed,
    Table,
    TableName,
    quote_identifier,
)
from control.project import Project
from sink.columns import CopyColumn
from sink.progress import Progress
from transform.identity import TableDifference, differences
from transform.plan import Plan


def clone_again(project: Project) -> str:
    """What to do where nothing else helps."""
    return f"Clone again: tezcat clone --source {project.source.name} --target {project.target.name}."


def copy_again(project: Project) -> str:
    """What to do when rules or the key have changed."""
    return (
        f"To see what it comes to: tezcat rules diff --target {project.target.name}. To copy those tables again: "
        f"tezcat clone --resync --source {project.source.name} --target {project.target.name}."
    )


def go_on(project: Project) -> str:
    """What to do with a clone that is not finished."""
    return (
        f"To go on: tezcat clone --source {project.source.name} --target {project.target.name}. "
        f"To give it up, as production's DBA: SELECT pg_drop_replication_slot('{project.slot}');"
    )


def no_copy(project: Project) -> Refused:
    """There is no whole copy in the target."""
    return Refused(
        f"environment {project.target_address.label} holds no finished copy.",
        hint=f"Make one: tezcat clone --source {project.source.name} --target {project.target.name}.",
    )


def changes(state: Progress, plan: Plan) -> list[TableDifference]:
    """What the plan does otherwise than the one that the copy was made by."""
    found = differences(state.rules, plan.identities, same_key=state.key_check == plan.key_check)
    # Rules for what production no longer has change nothing; where no row is copied, no column is kept or masked.
    return [
        replace(each, columns={}) if plan.tables[each.table].rows == "none" else each
        for each in found
        if each.table in plan.tables
    ]


def check_copy(
    project: Project,
    state: Progress | None,
    plan: Plan,
    production: DatabaseIdentity,
    *,
    without: frozenset[TableName] = frozenset(),
) -> Progress:
    """The progress row of a whole copy that this production, these rules and this key made; the tables of ``without``
    may have been made otherwise. Raises ``Refused``."""
    if state is None or state.consistent_lsn is None:
        raise no_copy(project)
    if state.production != production:
        raise Refused(
            f"the copy in {project.target.name} was made from another database (system identifier "
            f"{state.system_identifier}, database {state.database}) than {project.source.name} is now.",
            hint=clone_again(project),
        )
    if without.issuperset(each.table for each in changes(state, plan)):
        return state
    if state.key_check != plan.key_check:
        raise Refused(
            f"the copy in {project.target.name} was masked with another key: new rows would not join with old ones.",
            hint=f"Give back the key that it was cloned with. {copy_again(project)}",
        )
    raise Refused(
        f"the rules have changed since {project.target.name} was cloned: old and new rows would be masked differently.",
        hint=f"Give back those rules. {copy_again(project)}",
    )


def check_published(
    project: Project,
    catalog: Catalog,
    plan: Plan,
    state: Progress,
    now: dict[str, str],
    *,
    without: frozenset[TableName] = frozenset(),
) -> None:
    """Production publishes each table that is followed, but for those of ``without``, as it did when the copy was made.
    Raises ``Drifted``.

    Otherwise changes may have been left out of the stream, which says nothing of that.
    """
    for name, table in catalog.tables.items():
        if table.kind != "r" or plan.tables[name].rows == "none" or name in without:
            continue
        if now.get(str(name)) != state.published.get(str(name)):
            raise Drifted(
                f"production no longer publishes {name} as it did when the copy was made (a publication or the table "
                "was dropped, altered, or made again), so changes of it may be lost to the copy.",
                hint=f"Run the SQL of tezcat source sql again. {clone_again(project)}",
            )


def refuse_unknown_rows(catalog: Catalog, plan: Plan) -> None:
    """Raise ``ServerFailed`` where a stream could not tell whether a changed row was among those that are copied."""
    unknown = [
        name
        for name, table in catalog.tables.items()
        if table.kind == "r"
        and name in plan.tables
        and (chosen := plan.tables[name].chosen) is not None
        and table.replica_identity is not ReplicaIdentity.FULL
        and not set(chosen.columns) <= set(table.identity_columns)
    ]
    unkeyed = [
        name
        for name, table in catalog.tables.items()
        if plan.subset is not None
        and table.kind == "r"
        and plan.takes_part(name)
        and not _tells_key(table, plan.subset.tables[plan.root(name)].key)
    ]
    if unkeyed:
        raise ServerFailed(
            f"which rows of {', '.join(map(str, unkeyed))} are copied hangs on other tables, and production does not "
            "send the primary key with updates and deletes.",
            hint="Have the DBA set their replica identity to the default or, where no column is generated, to FULL, or "
            "clone with --once, without a stream.",
        )
    if unknown:
        # PostgreSQL 18 would refuse every update of a table that is published with such an identity.
        computed = [name for name in unknown if any(column.generated for column in catalog.tables[name].columns)]
        hints = []
        if alter := [f"ALTER TABLE {name} REPLICA IDENTITY FULL;" for name in unknown if name not in computed]:
            hints.append(f"Have the DBA run: {' '.join(alter)}")
        if computed:
            named = ", ".join(map(str, computed))
            hints.append(f"Let the condition of {named} read its key alone: generated columns rule out FULL.")
        raise ServerFailed(
            f"which rows of {', '.join(map(str, unknown))} are copied hangs on columns that production does not send "
            "with updates and deletes.",
            hint=" ".join([*hints, "Or clone with --once, without a stream."]),
        )


def _tells_key(table: Table, key: tuple[str, ...]) -> bool:
    """Whether every update that changes the key, and every delete, sends it."""
    return table.replica_identity is ReplicaIdentity.FULL or set(key) <= set(table.identity_columns)


def followed(
    project: Project, catalog: Catalog, plan: Plan, copy: dict[TableName, dict[str, CopyColumn]]
) -> tuple[Catalog, list[str]]:
    """Production's catalog without what nobody has decided since the clone, and a sentence for each thing left out.

    Raises ``Refused`` where the rules do not decide any more what the copy holds, and ``Drifted`` where the copy's
    tables or columns are not those of production.
    """
    tables: dict[TableName, Table] = {}
    left_out: list[str] = []
    for name, table in catalog.tables.items():
        table_plan = plan.tables.get(name)
        if table_plan is None and name in copy:
            raise _given_up(project, str(name), "set rows: none to have it emptied")
        if table_plan is None:
            left_out.append(f"production has a new table {name}, which the rules do not decide; it is left out.")
            continue
        if name not in copy:
            raise Drifted(f"the copy lacks the table {name}, which production has.", hint=clone_again(project))
        if table_plan.rows == "none":
            tables[name] = table
            continue
        for column in table.copied_columns:
            if column.name in table_plan.columns:
                continue
            what = f"{name}.{quote_identifier(column.name)}"
            if column.name in copy[name]:
                raise _given_up(project, what, "redact it")
            left_out.append(f"production has a new column {what}, which the rules do not decide; it is left out.")
        columns = tuple(column for column in table.columns if column.generated or column.name in table_plan.columns)
        tables[name] = replace(table, columns=columns)
        for what in _drifted(tables[name], copy[name]):
            raise Drifted(what, hint=clone_again(project))
    return replace(catalog, tables=tables), left_out


def _given_up(project: Project, what: str, instead: str) -> Refused:
    return Refused(
        f"the rules decide {what} no more, and the copy in {project.target.name} holds it: it would grow stale.",
        hint=f"Decide it again in {project.settings.rules}, or {instead}.",
    )


def _drifted(table: Table, copy: dict[str, CopyColumn]) -> Iterator[str]:
    expected = {column.name: column for column in table.copied_columns}
    for name, column in expected.items():
        if name not in copy:
            yield f"the copy lacks the column {table.name}.{quote_identifier(name)}, which production has."
        elif copy[name].type_name != column.type_name:
            yield f"the column {table.name}.{quote_identifier(name)} has another type in production now."
    for name, held in copy.items():
        if name not in expected and not held.is_generated:
            yield f"the column {table.name}.{quote_identifier(name)} is gone or renamed in production."
