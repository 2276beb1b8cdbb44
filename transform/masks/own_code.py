"""Functions of the user's own, as their modules are written now.

A module is imported again when its file, or that of a module from the project's folder which it imports, says something
else than when it was imported: a stream outlives many an edit. ``Code.digest`` tells two states of a function's code
apart, in copies' identities and between processes. What is installed, other than the module itself, is no part of it,
and stays in a process as it was when it was imported.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias

from capture.model import BadInput

Function: TypeAlias = Callable[..., list[Any]]

_CUSTOM: Final = "custom"
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
_OURS: Final = frozenset({"capture", "transform", "sink", "control"})


@dataclass(frozen=True, slots=True)
class Code:
    """A function, and 64 hexadecimal digits that tell its code from another."""

    function: Function
    digest: str


@dataclass(frozen=True, slots=True)
class _Imported:
    module: ModuleType = field(repr=False)
    files: dict[str, Path]  # of the project's folder, by the names of the modules; these are imported anew
    digests: dict[str, str]
    digest: str


_imported: Final[dict[tuple[str, Path | None], _Imported]] = {}


def find(reference: str, folder: Path | None) -> Code:
    """The function that ``package.module:function`` names, from ``folder`` or from what is installed.

    Raises ``BadInput`` if it is not there.
    """
    module_name, _, name = reference.partition(":")
    hint = f"It is looked for in {folder or 'the current folder'} and among what is installed."
    known = _imported.get((module_name, folder))
    try:
        if known is None or known.digests != _read(known.files):
            known = _imported[module_name, folder] = _import(module_name, folder)
    except Exception as error:
        raise BadInput(f"the module {module_name} cannot be imported: {type(error).__name__}.", hint=hint) from None
    found = getattr(known.module, name, None)
    if not callable(found):
        raise BadInput(f"the module {module_name} has no function {name}.", hint=hint)
    return Code(found, known.digest)


def digests(rule: Any, folder: Path | None) -> list[str]:
    """The digests of the functions that a rule as written names, also inside its parameters, as they were found last;
    none for one that was not found."""
    names = dict.fromkeys(reference.partition(":")[0] for reference in _named_in(rule))
    return [known.digest for name in names if (known := _imported.get((name, folder))) is not None]


def files() -> set[Path]:
    """The files of all code that was found so far."""
    return {path for imported in _imported.values() for path in imported.files.values()}


def _import(module_name: str, folder: Path | None) -> _Imported:
    if folder is not None and str(folder) not in sys.path:
        # At the end: no file of a project may stand for a module that others import.
        sys.path.append(str(folder))
    for imported in _imported.values():
        for name in imported.files:
            sys.modules.pop(name, None)
    importlib.invalidate_caches()
    before = set(sys.modules)
    writes_none, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # which tells an edit by seconds and size only
    try:
        module = importlib.import_module(module_name)
    finally:
        sys.dont_write_bytecode = writes_none
    files = dict(_files({module_name, *(set(sys.modules) - before)}, folder))
    digests = _read(files)
    made_of = digests
    if module_name not in files and module.__file__ is not None:
        made_of = digests | _read({module_name: Path(module.__file__)})
    digest = hashlib.sha256(repr(sorted(made_of.items())).encode()).hexdigest()
    return _Imported(module, files, digests, digest)


def _files(names: set[str], folder: Path | None) -> Iterator[tuple[str, Path]]:
    for name in names:
        file = getattr(sys.modules.get(name), "__file__", None)
        is_ours = name.partition(".")[0] in _OURS
        if file is not None and folder is not None and not is_ours and _is_of(Path(file), folder):
            yield name, Path(file)


def _is_of(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder) and _INSTALLED.isdisjoint(path.relative_to(folder).parts)


def _read(found: dict[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


def _named_in(rule: Any) -> Iterator[str]:
    match rule:
        case dict():
            if rule.get("mask") == _CUSTOM and isinstance(rule.get("function"), str):
                yield rule["function"]
            for value in rule.values():
                yield from _named_in(value)
        case list():
            for value in rule:
                yield from _named_in(value)
