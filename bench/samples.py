"""``python -m bench.samples --folder DIR [NAME ...]``: sample databases, from nothing to a verified copy, by no hand.

Each folder in DIR is a database: its SQL files, in the order of their names, with what they copy beside them. It is
loaded into an embedded server; then follow ``rules suggest``, ``rules check``, ``clone``, ``stream`` until it is caught
up, and ``verify``, with the rules exactly as they were suggested. Errors of loading are counted, not fatal: some
samples come without all of their files.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.servers import Servers, binary, execute, fetch, two_servers
from transform.rules import TODO, load_rules

_STEPS: Final = (
    ("rules", "suggest"),
    ("rules", "check"),
    ("clone", "--source", "production", "--target", "test"),
    ("stream", "--target", "test", "--until-caught-up"),
    ("verify", "--target", "test"),
)
_SECONDS: Final = 600
_TABLES: Final = """SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition
  AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"""


def _load(url: str, folder: Path) -> int:
    """Run a folder's SQL files; how many errors there were."""
    errors = 0
    for path in sorted(folder.glob("*.sql")):
        command = [binary("psql"), "-Xq", "-d", url, "-f", path.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS)
        errors += done.stderr.count("ERROR:")
    # What the DBA is told to do: dumps of old servers let everybody write here.
    execute(url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    return errors


def _run(servers: Servers, folder: Path, keep: Path | None) -> list[str]:
    """One line of the report."""
    errors = 0

    def load(url: str) -> None:
        nonlocal errors
        errors = _load(url, folder)

    servers.renew_production(rules="version: 1\n", load=load)
    servers.rules.unlink()
    servers.renew_copies()
    tables = fetch(servers.production, _TABLES)[0][0]
    outcome = "equal"
    for step in _STEPS:
        done = servers.try_tezcat(*step)
        # Columns that are left open make suggest fail too; the check says which.
        if done.returncode != 0 and (step != ("rules", "suggest") or not servers.rules.exists()):
            said = " ".join((done.stderr or done.stdout).split())
            outcome = f"{' '.join(step[:2])}: {said[:600]}"
            break
    masks: Counter[str] = Counter()
    if servers.rules.exists():
        tables_of_rules = load_rules(servers.rules).tables
        masks.update(rule.mask for own in tables_of_rules.values() for rule in own.columns.values())
    if keep is not None and servers.rules.exists():
        (keep / f"{folder.name}.yaml").write_text(servers.rules.read_text(encoding="utf-8"), encoding="utf-8")
    kept, todo = masks.pop("keep", 0), masks.pop(TODO, 0)
    if not tables:
        outcome = "nothing was loaded"
    return [
        folder.name,
        str(tables),
        str(errors),
        str(kept),
        str(masks.total()),
        str(todo),
        re.sub(r"\s+", " ", outcome),
    ]


def main() -> int:
    """Print the report; the exit code tells whether all copies were equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="holds a folder for each database")
    parser.add_argument("--keep", type=Path, help="where to leave the suggested rules")
    parser.add_argument("names", nargs="*", help="only these")
    arguments = parser.parse_args()
    folders = sorted(path for path in arguments.folder.iterdir() if path.is_dir())
    table = Table("sample", "tables", "load errors", "kept", "masked", "todo", "outcome")
    all_equal = True
    with two_servers() as servers:
        for folder in folders:
            if arguments.names and folder.name not in arguments.names:
                continue
            row = _run(servers, folder, arguments.keep)
            all_equal = all_equal and row[-1] == "equal"
            table.add_row(*row)
    Console(width=160, highlight=False).print(table)
    return 0 if all_equal else 1


if __name__ == "__main__":
    sys.exit(main())
