"""``tezcat init``: the first tezcat.yaml and its key file. Neither is ever overwritten.

A URL that holds a password does not go into the file: the file names a variable, and the next steps say to set it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg
import typer
from psycopg.conninfo import conninfo_to_dict

from capture.model import BadInput
from control.outcome import Terminal
from control.settings import EnvironmentType, load_settings
from transform.keyring import generate_key

_TARGET_TYPES = tuple(each.value for each in EnvironmentType if each is not EnvironmentType.PRODUCTION)
_KEY_FILE = "tezcat.key"

_TEMPLATE = """\
# Settings of tezcat. Relative paths are relative to this file.
environments:
  # type: production is only ever read; test, training and development are copies.
  # database_url: a connection string, or env:NAME to read it from a variable.
{environments}
publication: tezcat                # made by the DBA: tezcat source sql
rules: rules.yaml                  # what happens to every column: tezcat rules suggest
key: file:{key}               # or env:NAME, or command:...; whoever has it can mask as this project does
state: .tezcat                     # the schema archive while a clone runs
snapshot: {{workers: 2, chunk_bytes: 64MiB, max_age: 1h}}
"""

_NEXT_STEPS = """\
Wrote {config} and {key} (keep the key out of version control, and a copy of it in a safe place).

Next:
{exports}  tezcat source sql > source.sql     # for the DBA: role, grants, publication
  tezcat source check                # is production ready?
  tezcat rules suggest               # writes rules.yaml; decide its todo
  tezcat clone --target {target}
  tezcat stream --target {target}"""


@dataclass(frozen=True, slots=True)
class Target:
    """A copy that the user names. The ``repr`` shows no URL."""

    name: str
    type: str
    url: str

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.type!r})"


@dataclass(frozen=True, slots=True)
class Answers:
    """What the file is made of. The ``repr`` shows no URL."""

    production_url: str
    targets: tuple[Target, ...]

    def __repr__(self) -> str:
        return f"Answers({self.targets!r})"

    @classmethod
    def parse(cls, production_url: str | None, targets: Iterable[str]) -> Self | None:
        """The answers that the flags give; None when there are no flags. Raises ``BadInput`` for half of them."""
        given = tuple(_parse_target(text) for text in targets)
        if production_url is None and not given:
            return None
        if production_url is None or not given:
            raise BadInput("init needs both --production-url and at least one --target, or neither to be asked.")
        return cls(_checked_url(production_url, "--production-url"), given)


@dataclass(frozen=True, slots=True)
class Written:
    """The files that were made, and what to do then."""

    config: Path
    key: Path
    next_steps: str


def ask(terminal: Terminal) -> Answers:
    """Ask at the terminal. Raises ``BadInput`` when there is nobody to ask."""
    if not sys.stdin.isatty():
        raise BadInput(
            "there is no terminal to ask at.",
            hint="Give the answers as flags: --production-url URL --target NAME=TYPE=URL.",
        )
    terminal.err.print("A URL is written as postgresql://user@host:port/database, or env:NAME for a variable.")
    production = typer.prompt("URL of production", default="env:PRODUCTION_URL", err=True)
    name = typer.prompt("Name of the first copy", default="test", err=True)
    default_type = name if name in _TARGET_TYPES else _TARGET_TYPES[0]
    kind = typer.prompt(f"Its type ({', '.join(_TARGET_TYPES)})", default=default_type, err=True)
    url = typer.prompt("Its URL", default=f"env:{_variable_name(name)}", err=True)
    return Answers(_checked_url(production, "the URL of production"), (_parse_target(f"{name}={kind}={url}"),))


def write(config: Path, answers: Answers) -> Written:
    """Make both files. Raises ``BadInput`` when either is there already, or the folder cannot be written."""
    key = config.parent / _KEY_FILE
    for path in (config, key):
        if path.exists() or path.is_symlink():
            raise BadInput(f"{path} is there already, and init overwrites nothing.", hint="Move it away first.")
    variables: list[str] = []
    entries = [_entry("production", EnvironmentType.PRODUCTION.value, answers.production_url, variables)]
    entries += [_entry(target.name, target.type, target.url, variables) for target in answers.targets]
    _create(key, generate_key() + "\n", mode=0o600)
    try:
        _create(config, _TEMPLATE.format(environments="\n".join(entries), key=_KEY_FILE), mode=0o644)
        load_settings(config)
    except BaseException:
        config.unlink(missing_ok=True)
        key.unlink()
        raise
    exports = "".join(
        f"  export {name}=...{'':{max(1, 24 - len(name))}}# the URL with its password\n" for name in variables
    )
    steps = _NEXT_STEPS.format(config=config, key=key, exports=exports, target=answers.targets[0].name)
    return Written(config, key, steps)


def _parse_target(text: str) -> Target:
    name, _, rest = text.partition("=")
    kind, _, url = rest.partition("=")
    if not (name and url):
        raise BadInput("--target is written as NAME=TYPE=URL, like test=test=postgresql://tezcat@localhost:5433/test.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) or name == "production":
        raise BadInput(f"{name} cannot be a copy's name: it has letters, digits, - and _, and is not production.")
    if kind not in _TARGET_TYPES:
        raise BadInput(f"the type of {name} must be one of {', '.join(_TARGET_TYPES)}.")
    return Target(name, kind, _checked_url(url, f"the URL of {name}"))


def _checked_url(url: str, what: str) -> str:
    url = url.strip()
    if not url.startswith("env:"):
        _parameters(url, what)
    return url


def _parameters(url: str, what: str) -> dict[str, object]:
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        # The driver's message quotes the URL, password and all.
        hint = "Write it as postgresql://user@host:port/database, or env:NAME."
        raise BadInput(f"{what} is not a PostgreSQL connection string.", hint=hint) from None


def _entry(name: str, kind: str, url: str, variables: list[str]) -> str:
    """One line of the file; a URL with a password is replaced by a variable, which joins ``variables``."""
    if not url.startswith("env:") and "password" in _parameters(url, f"the URL of {name}"):
        url = f"env:{_variable_name(name)}"
    if url.startswith("env:"):
        variables.append(url.removeprefix("env:"))
    key = name if name.isalpha() else json.dumps(name)
    return f"  {key}: {{type: {kind}, database_url: {json.dumps(url)}}}"


def _variable_name(name: str) -> str:
    return re.sub(r"\W", "_", name).upper() + "_URL"


def _create(path: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
