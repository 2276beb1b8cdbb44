"""What the user wrote in tezcat.yaml; the only module that reads the environment.

``load_settings`` reads the file once and checks all of it. Relative paths in it are relative to its own folder. A
``database_url`` of the form ``env:NAME`` is looked up when that environment is asked for, so a command needs only the
variables of the environments that it touches. No ``repr`` shows a password. All errors are ``BadInput`` that names
file, line and column, save one: production as a target is ``Refused``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from capture.model import BadInput, Refused
from transform.document import Document, load, validate
from transform.keyring import read_key

_SLOT_NAME_MAX: Final = 63
_SIZE_UNITS: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_TIME_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class EnvironmentType(StrEnum):
    """What a database is for. Production is only ever a source, the others only targets."""

    PRODUCTION = "production"
    TEST = "test"
    TRAINING = "training"
    DEVELOPMENT = "development"


@dataclass(frozen=True, slots=True)
class Environment:
    """One database that the settings name, its ``database_url`` looked up. A new ``epoch`` gives a copy new keys."""

    name: str
    type: EnvironmentType
    database_url: SecretStr
    epoch: int = 1


# --------------------------------------------------------------------------------------------- the file's shape


def parse_size(value: object) -> int:
    """Bytes from ``64MiB``, ``1GB`` or a plain number. Raises ``ValueError``."""
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([A-Za-z]*)\s*", str(value))
    if match is None or isinstance(value, bool) or match[2].lower() not in _SIZE_UNITS:
        raise ValueError("a size is written as a number with a unit, like 64MiB")
    return int(float(match[1]) * _SIZE_UNITS[match[2].lower()])


def parse_duration(value: object) -> timedelta:
    """A time span from ``90s``, ``30m``, ``1h``, ``2d`` or a row of them, ``1h30m``. Raises ``ValueError``."""
    text = str(value).replace(" ", "")
    if not re.fullmatch(r"(?:\d{1,6}[smhd])+", text):
        raise ValueError("a time span is written as a number with s, m, h or d, like 1h")
    parts = re.findall(r"(\d+)([smhd])", text)
    return sum((timedelta(**{_TIME_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Snapshot(_Strict):
    """How the first copy is taken. ``chunk_bytes`` counts bytes of a table on disk; ``max_age`` bounds how long
    production's vacuum is held back by one snapshot."""

    workers: Annotated[int, Field(ge=1, le=64, strict=True)] = 2
    chunk_bytes: Annotated[int, Field(ge=8192), BeforeValidator(parse_size)] = 64 * 2**20
    max_age: Annotated[timedelta, Field(gt=timedelta()), BeforeValidator(parse_duration)] = timedelta(hours=1)


class _EnvironmentEntry(_Strict):
    type: EnvironmentType
    database_url: SecretStr
    epoch: Annotated[int, Field(ge=1, strict=True)] = 1

    @field_validator("database_url")
    @classmethod
    def _is_given(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if text.startswith("env:"):
            if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", text):
                raise ValueError("the name of a variable must follow env:, like env:PRODUCTION_URL")
        elif "://" not in text and "=" not in text:
            raise ValueError("write a connection string, postgresql://user@host:port/database, or env:NAME")
        return SecretStr(text)


_EnvironmentName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=63)]


class _File(_Strict):
    environments: Annotated[dict[_EnvironmentName, _EnvironmentEntry], Field(min_length=1)]
    publication: Annotated[str, Field(min_length=1, max_length=63)] = "tezcat"
    rules: Path = Path("rules.yaml")
    key: SecretStr
    state: Path = Path(".tezcat")
    snapshot: Snapshot = Snapshot()

    @field_validator("key")
    @classmethod
    def _is_reference(cls, value: SecretStr) -> SecretStr:
        kind, _, place = value.get_secret_value().partition(":")
        if kind not in ("file", "env", "command") or not place.strip():
            # The value is not shown: it may be the key itself.
            raise ValueError("name where the key is, file:PATH, env:NAME or command:...; it is never written here")
        return value

    @model_validator(mode="after")
    def _slots_differ(self) -> _File:
        slots: dict[str, str] = {}
        for name, entry in self.environments.items():
            if entry.type is EnvironmentType.PRODUCTION:
                continue
            other = slots.setdefault(_slot_name(name), name)
            if other != name:
                raise ValueError(
                    f"the environments {other} and {name} would share the slot {_slot_name(name)}; rename one"
                )
        return self


# --------------------------------------------------------------------------------------------------- the settings


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run. Paths are absolute; none of them is known to exist."""

    path: Path
    publication: str
    rules: Path
    state: Path
    snapshot: Snapshot
    _document: Document = field(repr=False)
    _environments: dict[str, _EnvironmentEntry] = field(repr=False)
    _key: SecretStr = field(repr=False)

    @property
    def productions(self) -> tuple[str, ...]:
        """The names of the environments of type production, as the file orders them."""
        return tuple(name for name, entry in self._environments.items() if entry.type is EnvironmentType.PRODUCTION)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of all other environments, as the file orders them."""
        return tuple(name for name, entry in self._environments.items() if entry.type is not EnvironmentType.PRODUCTION)

    def environment(self, name: str) -> Environment:
        """The environment of that name. Raises ``BadInput`` when there is none, or its variable is not set."""
        entry = self._environments.get(name)
        if entry is None:
            known = ", ".join(self._environments)
            raise BadInput(f"{self.path} has no environment named {name}.", hint=f"It has: {known}.")
        url = entry.database_url.get_secret_value()
        if url.startswith("env:"):
            url = self._variable(url.removeprefix("env:"), ("environments", name, "database_url"))
        return Environment(name, entry.type, SecretStr(url), entry.epoch)

    def production(self, name: str) -> Environment:
        """The environment to read from. Raises ``BadInput`` when it is not of type production."""
        found = self.environment(name)
        if found.type is not EnvironmentType.PRODUCTION:
            known = ", ".join(self.productions) or "none in this file"
            raise BadInput(
                f"environment {name} is of type {found.type}, and only one of type production can be a source.",
                hint=f"Of type production: {known}.",
            )
        return found

    def only_production(self) -> str:
        """The name of the one production environment. Raises ``BadInput`` unless there is exactly one."""
        match self.productions:
            case (name,):
                return name
            case ():
                raise BadInput(f"{self.path} has no environment of type production.")
            case names:
                raise BadInput(f"there are several production environments: {', '.join(names)}.", hint="Name one.")

    def target(self, name: str) -> Environment:
        """The environment to write to. Raises ``Refused`` when it is of type production."""
        entry = self._environments.get(name)
        if entry is not None and entry.type is EnvironmentType.PRODUCTION:
            raise Refused(
                f"environment {name} is of type production, and production is never written to.",
                hint=f"Name a target: {', '.join(self.targets) or 'there is none in this file'}.",
            )
        return self.environment(name)

    def only_target(self) -> str:
        """The name of the one target. Raises ``BadInput`` unless there is exactly one."""
        match self.targets:
            case (name,):
                return name
            case ():
                raise BadInput(f"{self.path} has no environment that could be a copy.")
            case names:
                raise BadInput(f"there are several targets: {', '.join(names)}.", hint="Name one with --target.")

    def epoch(self, name: str) -> int:
        """The epoch of a target's keys, whether its ``database_url`` is known or not."""
        return self._environments[name].epoch

    def slot_name(self, target: str) -> str:
        """The replication slot that feeds this target; every target of one file has its own."""
        return _slot_name(target)

    def root_key(self) -> bytes:
        """The root key, 32 bytes, read anew from where ``key`` says it is. Raises ``BadInput``."""
        return read_key(self._key.get_secret_value(), os.environ, folder=self.path.resolve().parent)

    @property
    def key_file(self) -> Path | None:
        """The file that holds the root key; None where it is not in one."""
        kind, _, place = self._key.get_secret_value().partition(":")
        return self.path.resolve().parent / place.strip() if kind == "file" else None

    def _variable(self, name: str, place: tuple[str, ...]) -> str:
        value = os.environ.get(name, "").strip()
        if not value:
            raise BadInput(
                f"{self._document.at(place)}: the environment variable {name} is not set.",
                hint=f"Set it in the shell that runs tezcat: export {name}=...",
            )
        return value


def load_settings(path: Path) -> Settings:
    """Read tezcat.yaml. Raises ``BadInput`` when it is missing, malformed or wrong."""
    document = load(path, made_by="tezcat init")
    content = validate(document, _File)
    folder = path.resolve().parent
    return Settings(
        path=path,
        publication=content.publication,
        rules=folder / content.rules,
        state=folder / content.state,
        snapshot=content.snapshot,
        _document=document,
        _environments=content.environments,
        _key=content.key,
    )


def process_environment() -> dict[str, str]:
    """What programs that tezcat starts (``pg_dump``, servers of the demo) inherit."""
    return dict(os.environ)


def _slot_name(target: str) -> str:
    return ("tezcat_" + re.sub(r"[^a-z0-9_]", "_", target.lower()))[:_SLOT_NAME_MAX]
