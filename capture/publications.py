"""How production publishes each table, so that a change of it is noticed.

A stream of a publication that was dropped, or that lost a table, goes on without a word and without the rows. Being
dropped and made again leaves a gap as well, so the identity of the entries counts, not only their names.
"""

from __future__ import annotations

from typing import Final

from capture.model import Catalog
from capture.source import SourceConnection

_ENTRIES: Final = """
SELECT r.prrelid::bigint AS relation, p.oid::bigint AS publication, r.oid::bigint AS entry, p.pubinsert AS inserts,
       p.pubupdate AS updates, p.pubdelete AS deletes, p.pubtruncate AS truncates, p.pubviaroot AS via_root
  FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
 WHERE p.pubname IN (%s, %s) ORDER BY r.oid"""


async def published_as(connection: SourceConnection, publications: tuple[str, str], catalog: Catalog) -> dict[str, str]:
    """For each published table that holds rows, by name: a text that is another when it is published otherwise."""
    entries: dict[int, list[str]] = {}
    for row in await connection.fetch(_ENTRIES, publications):
        flags = (row.inserts, row.updates, row.deletes, row.truncates, row.via_root)
        text = f"{row.publication}/{row.entry}/{''.join('ny'[flag] for flag in flags)}"
        entries.setdefault(row.relation, []).append(text)
    published: dict[str, str] = {}
    for name, table in catalog.tables.items():
        if table.kind == "r":
            root = catalog.tables.get(table.root) if table.root is not None else None
            # A partition is published by its own entry, or by that of its root.
            listed = [*entries.get(table.oid, ()), *(entries.get(root.oid, ()) if root is not None else ())]
            if listed:
                published[str(name)] = " ".join(listed)
    return published
