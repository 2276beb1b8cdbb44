"""In a plan, an image holds what the masked row itself holds, whatever the masks of its columns read."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pyarrow as pa
import pytest
from fix_catalog import catalog, table

from capture.model import TableName
from transform.keyring import KeyRing
from transform.plan import Plan, compile_plan
from transform.rules import Rules

GUESTS, TRAIL = TableName("public", "guests"), TableName("audit", "trail")
CATALOG = catalog(
    table("public.guests", "id int8 pk", "name text", "born_on date", "mail text", "prefs jsonb", "search tsvector"),
    table("audit.trail", "id int8 pk", "of_schema text", "of_table text", "old jsonb", "new hstore"),
)
RULES: dict[str, Any] = {
    "version": 1,
    "tables": {
        "public.guests": {
            "subject": "id",
            "columns": {
                "id": "id.int",
                "name": "name.full",
                "born_on": {"mask": "date.shift", "days": 90},
                "mail": "email",
                "prefs": {"mask": "json", "paths": {"$..mail": "email", "$.tier": "keep"}},
                "search": {"mask": "tsvector", "from": ["name"]},
            },
        },
        "audit.trail": {
            "columns": {
                "id": "keep",
                "of_schema": "keep",
                "of_table": "keep",
                "old": {"mask": "row_image", "schema_column": "of_schema", "table_column": "of_table"},
                "new": {"mask": "row_image", "schema_column": "of_schema", "table_column": "of_table"},
            }
        },
    },
}
ROW: dict[str, str | None] = {
    "id": "7",
    "name": "Grace Hopper",
    "born_on": "1906-12-09",
    "mail": "grace@navy.mil",
    "prefs": '{"by": {"mail": "ada@x.org"}, "tier": "gold", "notes": ["secret"]}',
    "search": "'grace':1 'hopper':2",
}


def masked(plan: Plan, name: TableName, row: dict[str, str | None]) -> dict[str, str | None]:
    arrays = [pa.array([None if value is None else value.encode()], pa.binary()) for value in row.values()]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(row))
    out = pickle.loads(pickle.dumps(plan)).tables[name].mask(batch, escaped=False)
    values = (column[0].as_py() for column in out.columns)
    return {key: None if value is None else value.decode() for key, value in zip(out.schema.names, values, strict=True)}


@pytest.mark.parametrize("missing", [(), ("born_on",), ("prefs", "mail")])
def test_an_image_in_a_plan_is_the_masked_row(missing: tuple[str, ...]) -> None:
    """Also where columns are shifted with their subject, made from others, or documents."""
    plan = compile_plan(Rules.model_validate(RULES), CATALOG, KeyRing(bytes(32), "test"))
    row = {key: None if key in missing else value for key, value in ROW.items()}
    expected = masked(plan, GUESTS, row)
    image = {key: json.loads(value) if key in {"id", "prefs"} and value else value for key, value in row.items()}
    pairs = sorted(row.items(), key=lambda pair: (len(pair[0]), pair[0]))

    def quoted(text: str | None) -> str:
        return "NULL" if text is None else json.dumps(text)

    trail = {
        "id": "1", "of_schema": "public", "of_table": "guests", "old": json.dumps(image),
        "new": ", ".join(f'"{key}"=>{quoted(value)}' for key, value in pairs),
    }  # fmt: skip
    out = masked(plan, TRAIL, trail)
    after = json.loads(out["old"] or "")
    assert {
        key: json.dumps(value) if key == "prefs" and value else None if value is None else str(value)
        for key, value in after.items()
    } == expected
    expected_pairs = sorted(expected.items(), key=lambda pair: (len(pair[0]), pair[0]))
    assert out["new"] == ", ".join(f'"{key}"=>{quoted(value)}' for key, value in expected_pairs)
    assert "grace" not in (expected["search"] or "")
