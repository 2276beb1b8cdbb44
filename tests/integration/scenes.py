"""Small projects with a schema of their own, for tests of one kind of thing.

``cloned`` is the way from SQL to a copy: it makes the schema in production, writes rules that keep every column but
those that ``masks`` names, does the DBA's part, and clones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import psycopg
import yaml

from tests.fix_postgres import Database
from tests.integration.conftest import MakeProject, Project, psql

Rule = str | dict[str, Any]

_COLUMNS: Final = r"""
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'tezcat')
 ORDER BY 1, a.attnum"""


def rules_for(database: Database, masks: Mapping[str, Mapping[str, Rule]] = {}) -> str:
    """Rules that keep every column of every table, but for ``masks``: table, as SQL writes it, to column to rule."""
    tables: dict[str, dict[str, Rule]] = {}
    # In SQL_ASCII too, names are UTF-8.
    with psycopg.connect(database.url, client_encoding="UTF8") as connection:
        found = connection.execute(_COLUMNS).fetchall()
    for table, column in found:
        columns = tables.setdefault(table, {})
        if column is not None:
            columns[column] = masks.get(table, {}).get(column, "keep")
    assert tables.keys() >= masks.keys()
    return yaml.safe_dump(
        {"version": 1, "tables": {table: {"columns": columns} for table, columns in tables.items()}},
        allow_unicode=True,
        sort_keys=False,
        width=1000,
    )


def prepared(
    make_project: MakeProject,
    source: Database,
    target: Database,
    schema: str,
    masks: Mapping[str, Mapping[str, Rule]] = {},
) -> Project:
    """A project with this schema and these rules, complete but for the DBA's part."""
    psql(source, schema)
    project = make_project(source, target)
    project.rules.write_text(rules_for(source, masks))
    return project


async def cloned(
    make_project: MakeProject,
    source: Database,
    target: Database,
    schema: str,
    masks: Mapping[str, Mapping[str, Rule]] = {},
) -> Project:
    """The same, after the DBA's part and a clone."""
    project = prepared(make_project, source, target, schema, masks)
    await project.prepare_production()
    await project.succeed("clone", "--source", "production", "--target", "test")
    return project
