"""What the settings lead to: addresses, the key, the rules, the plan, the state folder.

Every operation starts here, so that an environment is opened, and production identified, in one way only.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from capture import source
from capture.dba import publication_names
from capture.model import BadInput, Catalog, DatabaseIdentity
from capture.privileges import refuse_writable_role
from capture.source import SourceAddress, SourceConnection, SourceIdentity
from control.settings import Environment, Settings, load_settings
from sink.target import TargetAddress
from transform.keyring import KeyRing
from transform.masks import own_code
from transform.plan import Plan, compile_plan
from transform.rules import Rules, load_rules

# Bytes; a schema takes more, but a disk without even this is full.
_LEAST_ROOM = 1 << 16


@dataclass(frozen=True, slots=True)
class Masking:
    """Rules and keys: what the files said when they were read."""

    rules: Rules = field(repr=False)
    keys: KeyRing

    def plan(self, catalog: Catalog, *, partial: bool = False) -> Plan:
        """Both compiled for a catalog; with ``partial``, without what the rules do not decide.

        Raises ``BadInput`` or ``Undecided``.
        """
        return compile_plan(self.rules, catalog, self.keys, partial=partial)


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
        return KeyRing(self.settings.root_key(), self.target.name, self.target.epoch)

    def masking(self) -> Masking:
        """The rules and the keys, read now. Raises ``BadInput``."""
        return Masking(load_rules(self.settings.rules), self.keyring())

    def plan(self, catalog: Catalog, *, partial: bool = False) -> Plan:
        """What the files say now, compiled for a catalog; see ``Masking``."""
        return self.masking().plan(catalog, partial=partial)

    def reread(self) -> Project:
        """The same environments by what the settings file says now. Raises ``BadInput`` and ``Refused``."""
        return Project.of(load_settings(self.settings.path), self.target.name, self.source.name)

    def written(self) -> dict[Path, int]:
        """When the files were written last that say how values are masked, in nanoseconds; without those that are not
        there."""
        found: dict[Path, int] = {}
        for path in (self.settings.path, self.settings.rules, self.settings.key_file, *own_code.files()):
            if path is not None:
                with contextlib.suppress(OSError):
                    found[path] = path.stat().st_mtime_ns
        return found

    def check_state_folder(self) -> None:
        """Make the folder for what a command keeps in files, if need be. Raises ``BadInput`` when nothing can be
        written there."""
        folder = self.settings.state
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(_LEAST_ROOM))
        except OSError as error:
            raise BadInput(
                f"the state folder {folder} cannot be written: {error.strerror}.",
                hint=f"Make it writable, with room, or name another in {self.settings.path}: state: PATH.",
            ) from None

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
