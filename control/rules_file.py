"""The rules file as commands write it: decisions that are there are read first, and it is replaced as a whole."""

from __future__ import annotations

from pathlib import Path

from capture.model import BadInput
from transform.rules import Rules, load_rules


def decided(path: Path) -> Rules | None:
    """The rules that a file holds before it is written anew; None where there is none, or an empty one.

    Raises ``BadInput`` for one that cannot be read as rules, so that nothing a person wrote is lost, and for a path
    that cannot be written: what is found out at the end of long work is found out late.
    """
    if not path.absolute().parent.is_dir():
        raise BadInput(f"there is no folder {path.parent} to write {path.name} into.", hint="Make it, or name another.")
    if path.is_dir():
        raise BadInput(f"{path} is a folder.", hint="Name the file to write.")
    if not path.exists() or not path.stat().st_size:
        return None
    return load_rules(path)


def replace(path: Path, text: str) -> Rules:
    """Write a rules file as a whole or not at all, and read it back. Raises ``BadInput``."""
    unfinished = path.with_name(path.name + ".new")
    try:
        unfinished.write_text(text, encoding="utf-8")
        # What was written must be a rules file.
        load_rules(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise BadInput(f"the file {path} cannot be written: {error.strerror}.") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return load_rules(path)
