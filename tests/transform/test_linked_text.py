"""Text of one domain masks alike whatever the types of its columns, so that joins over it hold."""

from __future__ import annotations

from itertools import permutations

import pyarrow as pa
import pytest
from fix_catalog import catalog, table

from capture.model import ServerFailed, TableName
from transform.coverage import Severity
from transform.keyring import KeyRing
from transform.masks.base import MASKS
from transform.plan import TablePlan, check, compile_plan
from transform.rules import Rules

TYPES = ["text", "varchar(12)", "varchar(30)", "char(20)", "name", "citext"]
ROOM = {"varchar(12)": 12, "varchar(30)": 30, "char(20)": 20, "name": 63}
VALUES = ["anna", "anna@x.org", "ab-1234", "o'neil", "zoë", "", "10.0.0.1", "x y  z", "12", "+49 30 1234"]
PARAMETERS = {"id.pattern": {"pattern": "[a-z]{2}-[0-9]{4}"}}
# Those that need more than a text to work on.
OTHERS = {"keep", "null", "constant", "choice", "custom", "template", "row_image", "json", "hstore", "tsvector"}


@pytest.mark.parametrize(
    "mask", sorted(name for name, kind in MASKS.items() if kind.accepts("text") and name not in OTHERS)
)
def test_text_masks_alike_in_every_type(mask: str) -> None:
    """With what the narrowest has room for, in bytes where one is of the type name, without the blanks of char(n)."""
    key = KeyRing(bytes(32), "test")
    tables: dict[str, object] = {"public.t": {}, "public.u": {}}
    for one, other in permutations(TYPES, 2):
        rule: dict[str, object] = {"mask": mask, **PARAMETERS.get(mask, {}), "columns": ["public.t.a", "public.u.b"]}
        of = catalog(table("public.t", f"a {one}"), table("public.u", f"b {other}"))
        rules = Rules.model_validate({"version": 1, "tables": tables, "domains": {"d": rule}})
        if any(finding.severity is Severity.ERROR for finding in check(rules, of)):
            continue
        plan = compile_plan(rules, of, key)
        for value in VALUES:
            masked = [
                _masked(plan.tables[TableName("public", name)], column, value, kind)
                for name, column, kind in (("t", "a", one), ("u", "b", other))
            ]
            assert masked[0] == masked[1], (one, other, value)
            assert masked[0] is None or len(masked[0]) <= min(ROOM.get(kind, 200) for kind in (one, other))


def _masked(plan: TablePlan, column: str, value: str, kind: str) -> str | None:
    """Without blanks at its end and without case; None where the mask does not take the value."""
    padded = value.ljust(20) if kind == "char(20)" else value
    try:
        batch = plan.mask(pa.record_batch([pa.array([padded.encode()], pa.binary())], names=[column]), escaped=False)
    except ServerFailed:
        return None
    (found,) = batch.column(0).to_pylist()
    return str(found.decode()).rstrip(" ").lower()
