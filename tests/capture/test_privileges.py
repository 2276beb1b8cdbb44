"""The audit finds every way in which the role could change production, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from capture.model import Refused
from capture.privileges import Finding, audit, refuse_writable_role
from capture.source import SourceAddress, connect
from tests.fix_postgres import Database


@pytest.fixture
def roles(database: Database) -> Iterator[tuple[str, str]]:
    """A reader and a group, on a database with two tables, a view and a sequence."""
    reader, group = f"{database.name}_reader", f"{database.name}_group"
    database.execute(
        f"CREATE ROLE {reader} LOGIN REPLICATION",
        f"CREATE ROLE {group}",
        "CREATE SCHEMA hotel",
        "CREATE TABLE hotel.guests (id serial PRIMARY KEY, name text)",
        'CREATE TABLE hotel."Odd Table" (id int)',
        "CREATE VIEW hotel.names AS SELECT name FROM hotel.guests",
        f"GRANT USAGE ON SCHEMA hotel TO {reader}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA hotel TO {reader}",
        f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA hotel TO {reader}",
    )
    yield reader, group
    database.execute(f"DROP OWNED BY {reader}, {group} CASCADE", f"DROP ROLE {reader}, {group}")


async def findings(database: Database, role: str) -> dict[str, Finding]:
    async with await connect(SourceAddress.parse(database.url_as(role, tcp=False)), purpose="test") as connection:
        return {finding.name: finding for finding in await audit(connection)}


async def test_a_role_that_only_reads_has_no_findings(database: Database, roles: tuple[str, str]) -> None:
    """CONNECT, USAGE, SELECT and REPLICATION are all that is needed, and are no finding."""
    assert await findings(database, roles[0]) == {}


@pytest.mark.parametrize(
    ("statement", "name", "said"),
    [
        ("GRANT INSERT ON hotel.guests TO {reader}", "tables", "may change hotel.guests."),
        ("GRANT UPDATE (name) ON hotel.guests TO {reader}", "tables", "may change hotel.guests."),
        ("GRANT TRUNCATE ON hotel.guests TO {reader}", "tables", "may change hotel.guests."),
        ("GRANT TRIGGER ON hotel.guests TO {reader}", "tables", "may change hotel.guests."),
        ("GRANT REFERENCES ON hotel.guests TO {reader}", "tables", "may change hotel.guests."),
        ('GRANT DELETE ON hotel."Odd Table" TO PUBLIC', "tables", 'may change hotel."Odd Table".'),
        ("GRANT UPDATE ON hotel.names TO {reader}", "tables", "may change hotel.names."),
        ("GRANT INSERT ON hotel.guests TO {group}; GRANT {group} TO {reader}", "tables", "may change hotel.guests."),
        (
            "GRANT INSERT ON hotel.guests TO {group}; ALTER ROLE {reader} NOINHERIT; GRANT {group} TO {reader}",
            "tables",
            "may change hotel.guests.",
        ),
        ("GRANT USAGE ON SEQUENCE hotel.guests_id_seq TO {reader}", "sequences", "may advance hotel.guests_id_seq."),
        ("GRANT UPDATE ON SEQUENCE hotel.guests_id_seq TO PUBLIC", "sequences", "may advance hotel.guests_id_seq."),
        ("GRANT CREATE ON SCHEMA hotel TO {reader}", "schemas", "may create objects in schema hotel."),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "schemas", "as everybody may (the default before PostgreSQL 15)"),
        ("GRANT CREATE ON DATABASE {database} TO {reader}", "database", "may create schemas in database {database}."),
        ("ALTER TABLE hotel.guests OWNER TO {reader}", "ownership", ", table hotel.guests."),
        ("ALTER SCHEMA hotel OWNER TO {reader}", "ownership", "owns schema hotel"),
        ("CREATE FUNCTION hotel.f() RETURNS int RETURN 1; ALTER FUNCTION hotel.f() OWNER TO {reader}", "ownership",
         "owns function hotel.f()"),
        ("ALTER ROLE {reader} CREATEROLE", "createrole", "has CREATEROLE as {reader}."),
        ("ALTER ROLE {group} CREATEDB; GRANT {group} TO {reader}", "createdb", "has CREATEDB as {group}."),
        ("GRANT pg_write_all_data TO {reader}", "membership", "is a member of pg_write_all_data."),
        ("GRANT pg_execute_server_program TO {group}; GRANT {group} TO {reader}", "membership",
         "is a member of pg_execute_server_program."),
        ("GRANT pg_signal_backend TO {reader}", "membership", "is a member of pg_signal_backend."),
        ("ALTER ROLE {reader} SUPERUSER", "superuser", "is, or can become, a superuser."),
        ("ALTER ROLE {group} SUPERUSER; GRANT {group} TO {reader}", "superuser", "is, or can become, a superuser."),
    ],
)  # fmt: skip
async def test_each_power_to_change_production_is_found(
    database: Database, roles: tuple[str, str], statement: str, name: str, said: str
) -> None:
    """Granted to the role, to PUBLIC or to a group, inherited or not: it is found and named."""
    names = {"reader": roles[0], "group": roles[1], "database": database.name}
    database.execute(*statement.format(**names).split("; "))
    found = await findings(database, roles[0])
    assert said.format(**names) in found[name].message
    assert found[name].remedy


async def test_ownership_of_the_database_is_found(database: Database, roles: tuple[str, str]) -> None:
    """The owner of a database can do anything in it."""
    database.execute(f"ALTER DATABASE {database.name} OWNER TO {roles[0]}")
    try:
        assert f"database {database.name}" in (await findings(database, roles[0]))["ownership"].message
    finally:
        database.execute(f"ALTER DATABASE {database.name} OWNER TO postgres")


@pytest.mark.parametrize("server", [18], indirect=True, ids=["pg18"])
async def test_maintenance_rights_are_found(database: Database, roles: tuple[str, str]) -> None:
    """MAINTAIN, since PostgreSQL 17, locks and rewrites tables."""
    database.execute(f"GRANT MAINTAIN ON hotel.guests TO {roles[0]}")
    assert "tables" in await findings(database, roles[0])


async def test_many_tables_are_counted_not_listed(database: Database, roles: tuple[str, str]) -> None:
    """Three names and a count are enough to act on."""
    database.execute(*(f"CREATE TABLE hotel.t{number} (a int)" for number in range(5)),
                     f"GRANT INSERT ON ALL TABLES IN SCHEMA hotel TO {roles[0]}")  # fmt: skip
    message = (await findings(database, roles[0]))["tables"].message
    assert message.endswith('may change hotel."Odd Table", hotel.guests, hotel.names and 5 more.')


async def test_a_writable_role_is_refused_unless_accepted(database: Database, roles: tuple[str, str]) -> None:
    """The refusal says what was found and how to go on; acceptance returns it for the audit trail."""
    database.execute(f"GRANT INSERT ON hotel.guests TO {roles[0]}")
    place = SourceAddress.parse(database.url_as(roles[0], tcp=False))
    async with await connect(place, purpose="test") as connection:
        with pytest.raises(Refused, match=r"may change hotel\.guests.* REVOKE .*--accept-writable-role"):
            await refuse_writable_role(connection, accept=False)
        accepted = await refuse_writable_role(connection, accept=True)
    assert [finding.name for finding in accepted] == ["tables"]
