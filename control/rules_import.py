"""``tezcat rules import``: another tool's decisions as a rules file, with a list of what has no equal."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from capture.model import BadInput
from control import rules_file
from transform.document import load
from transform.importing import Imported, Unequal, from_greenmask, from_labels, write
from transform.rules import TODO

_STDIN: Final = Path("-")
_STDIN_FILE: Final = Path("/dev/stdin")


class Tool(StrEnum):
    """Where rules come from."""

    GREENMASK = "greenmask"
    ANON = "anon"


@dataclass(frozen=True, slots=True)
class ImportedRules:
    """A rules file that was written: how many columns were decided, how many are to be, and what has no equal."""

    path: Path
    decided: int
    todo: int
    unequal: list[Unequal]


def import_rules(file: Path, tool: Tool, output: Path) -> ImportedRules:
    """Convert ``file`` and write ``output``, whose own decisions win if it is there. Raises ``BadInput``."""
    existing = rules_file.decided(output)
    if tool is Tool.GREENMASK:
        imported = from_greenmask(load(_STDIN_FILE if file == _STDIN else file))
    else:
        imported = from_labels(_text(file))
    rules_file.replace(output, write(imported, existing))
    return _summary(output, imported.beside(existing))


def _text(file: Path) -> str:
    if file == _STDIN:
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"the file {file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadInput(f"the file {file} is no text in UTF-8.") from None


def _summary(output: Path, imported: Imported) -> ImportedRules:
    rules = [rule for columns in imported.columns.values() for rule in columns.values()]
    todo = sum(rule == TODO for rule in rules)
    return ImportedRules(output, len(rules) - todo, todo, imported.unequal)
