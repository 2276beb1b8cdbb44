"""What the settings lead to: addresses, the key, the rules, the plan, PostgreSQL's own programs.

Every operation starts here, so that an environment is opened, and production identified, in one way only.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from capture import source
from capture.dba import publication_names
from capture.model import BadInput, Catalog, DatabaseIdentity
from capture.privileges import refuse_writable_role
from capture.source import SourceAddress, SourceConnection, SourceIdentity
from control import embedded
from control.settings import Environment, Settings, process_environment
from sink.target import TargetAddress
from transform.keyring import KeyRing
from transform.plan import Plan, compile_plan
from transform.rules import load_rules

_EMBEDDED_VERSIONS: Final = (16, 18)


@dataclass(frozen=True, slots=True)
class Project:
    """The settings and one target, looked up and checked, nothing connected yet."""

    settings: Settings
    source: Environment
    target: Environment

    @classmethod
    def of(cls, settings: Settings, target: str, source: str | None = None) -> Project:
        """Look both environments up; ``source`` may be left out when there is one production only."""
        # The target first: that production is no target is said before anything else about it.
        copy = settings.target(target)
        return cls(settings, source=settings.production(source or settings.only_production()), target=copy)

    @property
    def source_address(self) -> SourceAddress:
        """Where production is."""
        return SourceAddress.parse(self.source.database_url.get_secret_value(), name=self.source.name)

    @property
    def target_address(self) -> TargetAddress:
        """Where the copy is."""
        return TargetAddress.parse(self.target.database_url.get_secret_value(), name=self.target.name)

    @property
    def slot(self) -> str:
        """The slot that feeds the target."""
        return self.settings.slot_name(self.target.name)

    @property
    def publications(self) -> tuple[str, str]:
        """The publication, and the one for tables whose updates cannot be published."""
        return publication_names(self.settings.publication)

    def keyring(self) -> KeyRing:
        """The target environment's keys. Raises ``BadInput``."""
        return KeyRing(self.settings.root_key(), self.target.name)

    def plan(self, catalog: Catalog, *, partial: bool = False) -> Plan:
        """The rules compiled for a catalog; with ``partial``, without what they do not decide.

        Raises ``BadInput`` or ``Undecided``.
        """
        return compile_plan(load_rules(self.settings.rules), catalog, self.keyring(), partial=partial)

    async def open_source(self, purpose: str, *, accept_writable_role: bool) -> SourceConnection:
        """A guarded connection whose role was audited. Raises ``Refused`` when the role could write."""
        connection = await source.connect(self.source_address, purpose=purpose)
        try:
            await refuse_writable_role(connection, accept=accept_writable_role)
        except BaseException:
            await connection.close()
            raise
        return connection


def database_identity(identity: SourceIdentity) -> DatabaseIdentity:
    """What the target guard compares."""
    return DatabaseIdentity(identity.system_identifier, identity.database)


async def program(name: str, server_version: int) -> Path:
    """``pg_dump`` or ``pg_restore`` for a server: of its own major version or the next above that is here.

    A newer one than needed may write settings that an older target does not know. Raises ``BadInput``.
    """
    wanted = server_version // 10000
    found = {major: path for path in _candidates(name) if (major := await _major(path)) is not None}
    fitting = sorted(major for major in found if major >= wanted)
    if not fitting:
        raise BadInput(
            f"no {name} of version {wanted} or later is here, which a server of version {wanted} needs.",
            hint=f"Install PostgreSQL {wanted}'s client programs.",
        )
    return found[fitting[0]]


@lru_cache
def _candidates(name: str) -> tuple[Path, ...]:
    places = [Path(folder) / name for folder in os.get_exec_path()]
    places += [embedded.binaries(version) / name for version in _EMBEDDED_VERSIONS]
    return tuple(dict.fromkeys(place.absolute() for place in places if shutil.which(str(place))))


async def _major(path: Path) -> int | None:
    process = await asyncio.create_subprocess_exec(
        str(path),
        "--version",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=process_environment(),
    )
    output, _ = await process.communicate()
    match = re.search(rb"\(PostgreSQL\) (\d+)", output)
    return int(match[1]) if match and process.returncode == 0 else None
