"""``tezcat source sql`` and ``source check``: which production is meant, and what ``capture`` says about it."""

from __future__ import annotations

from capture import dba
from capture.model import ServerFailed
from capture.preflight import Check, Status, preflight
from capture.source import SourceAddress
from control.settings import Settings


async def dba_sql(settings: Settings, name: str | None) -> str:
    """The SQL for production's DBA; never executed here."""
    return await dba.dba_sql(production_address(settings, name), publication=settings.publication)


async def check(settings: Settings, name: str | None) -> list[Check]:
    """One line per check of production, from the outside in. Raises ``ServerFailed`` when it cannot be reached."""
    checks = await preflight(production_address(settings, name), publication=settings.publication)
    first = checks[0]
    if first.name == "connection" and first.status is Status.PROBLEM:
        # Nothing was checked, so there is nothing to list.
        raise ServerFailed(first.message, hint=first.remedy)
    return checks


def production_address(settings: Settings, name: str | None) -> SourceAddress:
    """Where the named production is, or the only one there is. Raises ``BadInput``."""
    production = settings.production(name or settings.only_production())
    return SourceAddress.parse(production.database_url.get_secret_value(), name=production.name)
