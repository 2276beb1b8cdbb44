"""Changes that no stream brings: updates and deletes of tables without a replica identity.

Publishing them would make them fail in production, so such tables publish inserts and truncates only. What happens to
their rows otherwise is seen in production's statistics alone; a copy that goes on regardless would silently differ.
"""

from __future__ import annotations

from typing import Final

from capture.model import TableName
from capture.source import SourceConnection

_CHANGES: Final = """
SELECT s.schemaname::text AS schema, s.relname::text AS name, s.n_tup_upd + s.n_tup_del AS changes
  FROM pg_stat_user_tables s
 WHERE EXISTS (SELECT 1 FROM pg_publication_tables p
                WHERE p.pubname = %s AND p.schemaname = s.schemaname AND p.tablename = s.relname)
   AND NOT EXISTS (SELECT 1 FROM pg_publication_tables p
                    WHERE p.pubname = %s AND p.schemaname = s.schemaname AND p.tablename = s.relname)"""


async def unfollowed_changes(connection: SourceConnection, publications: tuple[str, str]) -> dict[str, int]:
    """How many updates and deletes production counts for each table that publishes inserts only, by its name."""
    whole, insert_only = publications
    rows = await connection.fetch(_CHANGES, (insert_only, whole))
    return {str(TableName(row.schema, row.name)): row.changes for row in rows}
