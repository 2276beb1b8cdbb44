"""Ids that a copy makes itself do not meet those that production's rows take there."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
import yaml

from tests.fix_postgres import Database, Server
from tests.integration.conftest import Project

pytestmark = pytest.mark.integration

CHECK = ("rules", "check")
CLONE = ("clone", "--source", "production", "--target", "test")


@pytest.fixture
def production(server18: Server, make_database: Callable[..., Database]) -> Database:
    made = make_database(server18)
    made.execute(
        "CREATE TABLE far (id serial PRIMARY KEY)",
        "CREATE TABLE near (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, far_id int REFERENCES far)",
        "INSERT INTO far SELECT FROM generate_series(1, 150)",
        "INSERT INTO near (far_id) SELECT id FROM far",
    )
    return made


async def test_a_copy_makes_ids_of_its_own(project: Project) -> None:
    """It does so while production's rows come in; a sequence for which that is no longer true is told, by its name."""
    columns: dict[str, dict[str, object]] = {
        "public.far": {"id": {"mask": "id.int", "range": [1, 200]}},
        "public.near": {"id": "id.int"},
    }
    rules = {"version": 1, "tables": {name: {"columns": own} for name, own in columns.items()}}
    project.rules.write_text(yaml.safe_dump(rules))
    await project.prepare_production()
    for command in (CHECK, CLONE):
        told = await project.succeed(*command)
        assert "public.far_id_seq: it has come to 150" in (told.out + told.err).replace("\n", " ")
        assert "near_id_seq" not in told.out + told.err
    with psycopg.connect(project.target.url, autocommit=True) as copy:
        copy.execute("INSERT INTO near SELECT FROM generate_series(1, 100)")
        project.source.execute("INSERT INTO near (far_id) SELECT 1 FROM generate_series(1, 100)")
        await project.catch_up()
        copy.execute("INSERT INTO near SELECT FROM generate_series(1, 100)")
    assert project.target.execute("SELECT count(*), count(far_id) FROM near") == [(450, 250)]
