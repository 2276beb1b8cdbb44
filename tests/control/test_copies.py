"""What a copy has otherwise than today's rules say is told in words that are true of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fix_catalog import catalog, table

from capture.model import TableName
from control.copies import changes
from transform.keyring import KeyRing
from transform.plan import Plan, compile_plan
from transform.rules import Rules


def test_columns_of_a_table_that_stays_empty_now_are_not_called_kept() -> None:
    """No value of it is in the copy, whatever the rules said of them before."""

    def plan(**own: Any) -> Plan:
        rules = Rules.model_validate({"version": 1, "tables": {"public.sessions": own}})
        return compile_plan(rules, catalog(table("public.sessions", "token text")), KeyRing(bytes(32), "test"))

    before, now = plan(columns={"token": "id.secret"}), plan(rows="none", columns={"token": "id.secret"})
    state: Any = SimpleNamespace(rules=before.identities, key_check=before.key_check)
    (found,) = changes(state, now)
    assert (found.table, found.rows, found.columns) == (TableName("public", "sessions"), True, {})
