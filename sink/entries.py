"""The entries of a schema's second half: indexes, constraints, triggers and the like, as pg_restore numbers them.

pg_restore makes each entry of an archive in a transaction of its own, so an entry is there or it is not. When the
making was cut off, what takes long to make is looked for in the target's catalog and left out when it is there. What
takes no time and nothing depends on (triggers, rules, policies) is dropped, to be made again; the rest may be said
twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from capture.model import RunProgram, ServerFailed
from sink.restore import Section
from sink.target import Connection, fetch


class Entry(NamedTuple):
    """An entry of an archive as pg_restore names it: of a table's part the name is ``table part``. An object that
    stands outside of schemas has ``-`` for one."""

    number: int
    kind: str
    schema: str
    name: str


class Stage(NamedTuple):
    """Entries that may be made at the same time; or ``alone``, one after the other in one connection."""

    entries: list[Entry]
    alone: bool


_ATTACH: Final = "INDEX ATTACH"
# What needs a partitioned index that is valid, what is said of that, and what fires whenever something is made.
_LAST: Final = frozenset({"FK CONSTRAINT", "COMMENT", "EVENT TRIGGER"})

_BEGINNING: Final = re.compile(r"^-- TOC entry \d+ \(class \d+ OID \d+\)$", re.MULTILINE)
_HEADING: Final = re.compile(
    r"^-- TOC entry (?P<number>\d+) \(class .*?\)$(?:\n-- Dependencies: .*$)?"
    r"\n-- Name: (?P<name>.*); Type: (?P<kind>[A-Z ]+); Schema: (?P<schema>.*); Owner: .*$",
    re.MULTILINE,
)

_OURS: Final = "nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema', 'tezcat')"
# An entry is told in one line, whatever its names are.
_THERE: Final = f"""
SELECT kind, translate(nspname, E'\n\r', '  '), translate(name, E'\n\r', '  ') FROM pg_namespace n JOIN (
  SELECT 'INDEX', relnamespace, relname::text FROM pg_class WHERE relkind IN ('i', 'I')
  UNION ALL SELECT 'INDEX ATTACH', relnamespace, relname FROM pg_class WHERE relkind IN ('i', 'I') AND relispartition
  UNION ALL SELECT CASE contype WHEN 'f' THEN 'FK CONSTRAINT' WHEN 'c' THEN 'CHECK CONSTRAINT' ELSE 'CONSTRAINT' END,
                   connamespace, coalesce(relname, typname) || ' ' || conname
    FROM pg_constraint k LEFT JOIN pg_class c ON c.oid = conrelid LEFT JOIN pg_type t ON t.oid = contypid
  UNION ALL SELECT 'STATISTICS', stxnamespace, stxname FROM pg_statistic_ext
  UNION ALL SELECT 'MATERIALIZED VIEW', relnamespace, relname FROM pg_class WHERE relkind = 'm'
  UNION ALL SELECT CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, pronamespace,
                   proname || '(' || oidvectortypes(proargtypes) || ')' FROM pg_proc
) AS e(kind, namespace, name) ON e.namespace = n.oid WHERE {_OURS}"""

# Event triggers first, or they would fire for the others.
_TO_DROP: Final = f"""
SELECT format('DROP EVENT TRIGGER %I', evtname) FROM pg_event_trigger
UNION ALL SELECT format('DROP %s %I ON %I.%I', kind, name, nspname, relname) FROM pg_namespace n JOIN pg_class c
    ON c.relnamespace = n.oid JOIN (
  SELECT 'TRIGGER', tgrelid, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0
  UNION ALL SELECT 'RULE', ev_class, rulename FROM pg_rewrite WHERE rulename <> '_RETURN'
  UNION ALL SELECT 'POLICY', polrelid, polname FROM pg_policy
) AS e(kind, relation, name) ON e.relation = c.oid WHERE {_OURS}"""


async def list_entries(binary: Path, archive: Path, run: RunProgram) -> list[Entry]:
    """What is to be made after the rows, in the archive's order. Raises ``ServerFailed``."""
    # It is verbose to number the entries.
    command = [str(binary), f"--section={Section.AFTER_ROWS}", "--verbose", "--file=-", str(archive)]
    ended = await run(command, {})
    if ended.exit_code:
        raise ServerFailed("the schema's archive cannot be read.", hint="Clone again.")
    entries = [
        Entry(int(found["number"]), found["kind"], found["schema"], found["name"])
        for found in _HEADING.finditer(ended.output)
    ]
    # What is not in the list is not made, and nobody would miss it.
    if len(entries) != len(_BEGINNING.findall(ended.output)):
        raise ServerFailed(
            "pg_restore tells the entries of the schema's archive in a way that is not known.",
            hint="Use the client programs of a PostgreSQL version that tezcat supports.",
        )
    return entries


async def remaining(connection: Connection, entries: Sequence[Entry]) -> list[Entry]:
    """Those of the entries that are to be made yet. Drops what is cheap to make."""
    for (statement,) in await fetch(connection, _TO_DROP):
        await fetch(connection, statement)
    there = set(await fetch(connection, _THERE))
    return [entry for entry in entries if entry[1:] not in there]


def stages(entries: Sequence[Entry]) -> list[Stage]:
    """The entries in the order in which they can be made by several connections.

    Two that attach indexes of partitions at the same time may each miss what the other does. PostgreSQL then leaves the
    partitioned index invalid, and says nothing.
    """
    attached = [entry for entry in entries if entry.kind == _ATTACH]
    if not attached:
        return [Stage(list(entries), alone=False)]
    first = [entry for entry in entries if entry.kind != _ATTACH and entry.kind not in _LAST]
    last = [entry for entry in entries if entry.kind in _LAST]
    return [Stage(first, alone=False), Stage(attached, alone=True), Stage(last, alone=False)]
