"""``tezcat source sql`` and ``source check``: which production is meant, and what ``capture`` says about it."""

from __future__ import annotations

from capture import dba
from capture.model import ServerFailed, TableName
from capture.preflight import Check, Status, preflight
from capture.source import SourceAddress
from control.settings import Settings
from transform.rules import load_rules


async def dba_sql(settings: Settings, name: str | None) -> str:
    """The SQL for production's DBA; never executed here."""
    return await dba.dba_sql(
        production_address(settings, name), publication=settings.publication, unpublished=_unpublished(settings)
    )


async def check(settings: Settings, name: str | None) -> list[Check]:
    """One line per check of production, from the outside in. Raises ``ServerFailed`` when it cannot be reached."""
    checks = await preflight(
        production_address(settings, name), publication=settings.publication, unpublished=_unpublished(settings)
    )
    first = checks[0]
    if first.name == "connection" and first.status is Status.PROBLEM:
        # Nothing was checked, so there is nothing to list.
        raise ServerFailed(first.message, hint=first.remedy)
    return checks


def _unpublished(settings: Settings) -> frozenset[TableName]:
    """The tables whose rows the rules leave in production. The DBA may come before the rules do: then none."""
    if not settings.rules.exists():
        return frozenset()
    return frozenset(name for name, table in load_rules(settings.rules).tables.items() if table.rows == "none")


def production_address(settings: Settings, name: str | None) -> SourceAddress:
    """Where the named production is, or the only one there is. Raises ``BadInput``."""
    production = settings.production(name or settings.only_production())
    return SourceAddress.parse(production.database_url.get_secret_value(), name=production.name)
