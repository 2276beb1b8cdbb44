"""Servers, networks, roles and folders that are not as they should be: one paragraph, and nothing half-done.

Files, rules, keys and targets that a user got wrong are in test_errors.py.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fix_postgres import Database
from tests.integration import impostors
from tests.integration.conftest import PASSWORD, MakeProject, Project
from tests.integration.explained import CHECK, CLONE, assert_explained

pytestmark = pytest.mark.integration
_SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
FOLLOW = ("stream", "--target", "test", "--until-caught-up")


@pytest.fixture
def project(make_project: MakeProject, prepared: Database, target: Database) -> Project:
    return make_project(prepared, target)


@pytest.fixture
async def copy(make_project: MakeProject, production: Database, target: Database) -> Project:
    project = make_project(production, target)
    await project.prepare_production()
    await project.succeed(*CLONE)
    return project


async def assert_nothing_was_made(project: Project) -> None:
    """No slot in production, no table and no mark in the target."""
    await project.source.comes_to(_SLOTS, [])
    assert project.target.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
    assert project.target.execute("SELECT nspname FROM pg_namespace WHERE nspname = 'tezcat'") == []


def lead(project: Project, side: str, port: int, options: str = "", host: str = "127.0.0.1") -> None:
    """Have the URL of ``production`` or of the ``target`` lead to another place, with other options."""
    if side == "production":
        server, url = project.source.server, project.source.url_as(project.role, PASSWORD)
        project.environment["PRODUCTION_URL"] = url.replace(f"127.0.0.1:{server.port}", f"{host}:{port}") + options
    else:
        server, url = project.target.server, project.target.url
        lead_target(project, url.replace(f"127.0.0.1:{server.port}", f"{host}:{port}") + options)


def lead_target(project: Project, url: str) -> None:
    """Have the target's URL be another."""
    project.replace("tezcat.yaml", project.target.url, url)


# --------------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize("command", [CHECK, CLONE], ids=["check", "clone"])
async def test_host_without_an_address(project: Project, command: tuple[str, ...]) -> None:
    """A name that resolves to nothing."""
    lead(project, "production", 5432, host="nowhere.invalid")
    assert_explained(await project.run(*command), 4, "nowhere.invalid", "cannot be resolved", "database_url")


@pytest.mark.parametrize("side", ["production", "target"])
async def test_address_that_does_not_answer(project: Project, side: str) -> None:
    """Somebody listens and says nothing; connect_timeout bounds the wait."""
    async with impostors.listening(impostors.silent) as port:
        lead(project, side, port, "?connect_timeout=2")
        words = ("nothing answers", "firewall") if side == "production" else ("cannot be reached", "server runs")
        assert_explained(await project.run(*CLONE), 4, f"127.0.0.1:{port}", *words)


@pytest.mark.parametrize("side", ["production", "target"])
async def test_address_that_hangs_up(project: Project, side: str) -> None:
    """Somebody takes connections and ends them: no PostgreSQL, or not one that is well."""
    async with impostors.listening(impostors.hanging_up) as port:
        lead(project, side, port)
        assert_explained(await project.run(*CLONE), 4, f"127.0.0.1:{port}", "hangs up")


async def test_target_that_cannot_be_reached(project: Project) -> None:
    """The target's own address is named, and what to look at."""
    lead_target(project, "postgresql://postgres@127.0.0.1:1/copy")
    assert_explained(await project.run(*CLONE), 4, "environment test", "127.0.0.1:1", "cannot be reached")


async def test_target_without_an_address(project: Project) -> None:
    """A name that resolves to nothing is told apart from a server that is down."""
    lead_target(project, "postgresql://postgres@nowhere.invalid/copy")
    assert_explained(await project.run(*CLONE), 4, "environment test", "nowhere.invalid", "cannot be resolved")


# ----------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> impostors.Authority:
    return impostors.authority(tmp_path_factory.mktemp("trusted") / "authority")


@pytest.fixture(scope="module")
def misnamed(tmp_path_factory: pytest.TempPathFactory) -> impostors.Authority:
    return impostors.authority(tmp_path_factory.mktemp("misnamed") / "authority", "db.example.com")


@pytest.mark.parametrize("side", ["production", "target"])
async def test_tls_that_is_not_offered(project: Project, side: str) -> None:
    """TLS is demanded and the server has none."""
    database = project.source if side == "production" else project.target
    lead(project, side, database.server.port, "?sslmode=require")
    assert_explained(await project.run(*CLONE), 4, side.replace("target", "test"), "TLS", "sslmode")


@pytest.mark.parametrize("side", ["production", "target"])
async def test_certificate_of_an_unknown_authority(
    project: Project, side: str, trusted: impostors.Authority, misnamed: impostors.Authority
) -> None:
    """The certificate is not taken, and the message says how to name its authority."""
    options = f"?sslmode=verify-full&sslrootcert={misnamed.certificate}"
    server = (project.source if side == "production" else project.target).server
    async with impostors.listening(impostors.with_tls(server, trusted.context)) as port:
        lead(project, side, port, options)
        ended = await project.run(*CLONE)
    assert_explained(ended, 4, side.replace("target", "test"), "certificate", "sslrootcert")


async def test_certificate_for_another_host(project: Project, misnamed: impostors.Authority) -> None:
    """A certificate that bears another name is not taken."""
    async with impostors.listening(impostors.with_tls(project.source.server, misnamed.context)) as port:
        lead(project, "production", port, f"?sslmode=verify-full&sslrootcert={misnamed.certificate}")
        assert_explained(await project.run(*CLONE), 4, "production", "certificate", "the name")


async def test_certificate_file_that_is_not_there(project: Project, trusted: impostors.Authority) -> None:
    """verify-full without any authority to verify by."""
    async with impostors.listening(impostors.with_tls(project.source.server, trusted.context)) as port:
        lead(project, "production", port, "?sslmode=verify-full&sslrootcert=/nowhere/root.crt")
        assert_explained(await project.run(*CLONE), 4, "certificate", "sslrootcert")


async def test_stream_over_tls(
    copy: Project, trusted: impostors.Authority, database_rows: Callable[[Project], list[tuple[object, ...]]]
) -> None:
    """With TLS that is verified, on both sides, a copy is followed and compared."""
    source, target = copy.source.server, copy.target.server
    options = f"?sslmode=verify-full&sslrootcert={trusted.certificate}"
    copy.source.execute("INSERT INTO public.one_column VALUES ('over TLS')")
    async with (
        impostors.listening(impostors.with_tls(source, trusted.context)) as source_port,
        impostors.listening(impostors.with_tls(target, trusted.context)) as target_port,
    ):
        lead(copy, "production", source_port, options)
        lead(copy, "target", target_port, options)
        await copy.succeed(*CHECK)
        await copy.succeed(*FOLLOW)
        await copy.succeed("verify", "--target", "test")
    assert ("over TLS",) in database_rows(copy)


async def test_programs_without_tls(project: Project, trusted: impostors.Authority) -> None:
    """Where only the programs that come with tezcat are there, which speak no TLS, a clone says which are needed."""
    project.environment["PATH"] = "/nowhere"
    async with impostors.listening(impostors.with_tls(project.source.server, trusted.context)) as port:
        lead(project, "production", port, f"?sslmode=verify-full&sslrootcert={trusted.certificate}")
        assert_explained(await project.run(*CLONE), 2, "pg_dump", "TLS", "Install PostgreSQL 18")
    await assert_nothing_was_made(project)


@pytest.fixture
def database_rows() -> Callable[[Project], list[tuple[object, ...]]]:
    return lambda project: project.target.execute("SELECT word FROM public.one_column")


# ------------------------------------------------------------------------------------------- what answers there


@pytest.mark.parametrize("command", [CHECK, CLONE, ("rules", "check")], ids=["check", "clone", "rules"])
async def test_server_that_is_too_old(project: Project, command: tuple[str, ...]) -> None:
    """Its version and the oldest that will do are named."""
    async with impostors.listening(impostors.answering("12.9", pid=42, told_pid=42)) as port:
        lead(project, "production", port)
        assert_explained(await project.run(*command), {1, 4}, "PostgreSQL 12.9 is too old", "13")


@pytest.mark.parametrize("command", [CHECK, CLONE], ids=["check", "clone"])
@pytest.mark.parametrize("parameter", ["options", "replication"])
async def test_pooler_that_refuses_a_parameter(project: Project, command: tuple[str, ...], parameter: str) -> None:
    """It is called a pooler, and the server's own address is asked for."""
    stranger = impostors.in_front_of(project.source.server, drops=parameter)
    async with impostors.listening(stranger) as port:
        lead(project, "production", port)
        assert_explained(await project.run(*command), {1, 4}, "pooler", "server's own address")
    await assert_nothing_was_made(project)


async def test_pooler_that_makes_up_process_ids(project: Project) -> None:
    """One that lets everything pass is known by the process id that is not the server's."""
    async with impostors.listening(impostors.answering("18.0", pid=42, told_pid=43)) as port:
        lead(project, "production", port)
        assert_explained(await project.run(*CLONE), 4, "pooler", "server's own address")


# ---------------------------------------------------------------------------------------------- the target's user


@pytest.fixture
def plain_user(project: Project) -> Iterator[str]:
    """A user of the target who may connect and nothing else."""
    name = f"plain_{project.target.name}"
    project.target.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'plain'")
    yield name
    project.target.execute(f"DROP OWNED BY {name} CASCADE", f"REASSIGN OWNED BY {name} TO postgres")
    project.target.execute(f"ALTER DATABASE {project.target.name} OWNER TO postgres", f"DROP ROLE {name}")


async def test_target_s_user_without_rights(project: Project, plain_user: str) -> None:
    """Before anything is made it is said what the user lacks, and the SQL that gives it."""
    lead_target(project, project.target.url_as(plain_user, "plain"))
    ended = await project.run(*CLONE)
    assert_explained(
        ended, 4, "environment test", f"ALTER DATABASE {project.target.name} OWNER TO {plain_user}",
        "session_replication_role",
    )  # fmt: skip
    await assert_nothing_was_made(project)


async def test_owner_that_may_not_quiet_triggers(project: Project, plain_user: str) -> None:
    """An owner of the database lacks one right more."""
    project.target.execute(f"ALTER DATABASE {project.target.name} OWNER TO {plain_user}")
    lead_target(project, project.target.url_as(plain_user, "plain"))
    ended = await project.run(*CLONE)
    assert_explained(ended, 4, f"GRANT SET ON PARAMETER session_replication_role TO {plain_user}")
    assert "OWNER TO" not in ended.err
    await assert_nothing_was_made(project)


# --------------------------------------------------------------------------------------- tables and publications


def no_identity(project: Project) -> str:
    """A table without replica identity that production publishes inserts of."""
    [(name,)] = project.source.execute(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_publication_tables"
        " WHERE pubname = 'tezcat_insert_only' ORDER BY 1 LIMIT 1"
    )
    return str(name)


async def test_update_that_no_stream_brings(copy: Project) -> None:
    """A table without replica identity was updated: the stream stops rather than leave the copy behind unnoticed."""
    table = no_identity(copy)
    [(column,)] = copy.source.execute(
        f"SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum = 1"
    )
    copy.source.execute(f"UPDATE {table} SET {column} = {column}")
    assert_explained(await copy.run(*FOLLOW), 4, table, "replica identity", "primary key", "tezcat clone")


async def test_table_published_with_updates_but_without_identity(
    make_project: MakeProject, production: Database, target: Database
) -> None:
    """Such a table makes production's own updates fail: both commands say so before anything is made."""
    project = make_project(production, target)
    await project.prepare_production()
    table = no_identity(project)
    project.source.execute(f"ALTER PUBLICATION tezcat ADD TABLE {table}")
    assert_explained(await project.run(*CHECK), 1, table, "replica identity")
    assert_explained(await project.run(*CLONE), 4, table, "replica identity")
    await assert_nothing_was_made(project)


@pytest.mark.parametrize("command", [FOLLOW, ("verify", "--target", "test"), CLONE], ids=["stream", "verify", "clone"])
async def test_copy_of_another_version(copy: Project, command: tuple[str, ...]) -> None:
    """A copy whose progress has another form is not touched; a clone asks first."""
    copy.target.execute("UPDATE tezcat.progress SET layout = 99")
    assert_explained(await copy.run(*command), 3, "another version of tezcat")
    assert copy.target.execute("SELECT layout FROM tezcat.progress") == [(99,)]


# -------------------------------------------------------------------------------------------------------- folders


@pytest.fixture
def small_folder(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount small file systems; only root may."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"mount{len(mounted)}"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


async def test_state_folder_that_is_read_only(project: Project, small_folder: Callable[[str], Path]) -> None:
    """It is named, before anything is made."""
    folder = small_folder("ro")
    project.replace("tezcat.yaml", "state: .tezcat", f"state: {folder}/state")
    assert_explained(await project.run(*CLONE), 2, str(folder), "state")
    await assert_nothing_was_made(project)


async def test_state_folder_that_is_a_file(project: Project) -> None:
    """The same for a path where no folder can be."""
    project.replace("tezcat.yaml", "state: .tezcat", "state: rules.yaml")
    assert_explained(await project.run(*CLONE), 2, "rules.yaml", "state")
    await assert_nothing_was_made(project)


async def test_state_folder_without_room(project: Project, small_folder: Callable[[str], Path]) -> None:
    """The disk is full: it is said where, and production keeps no slot."""
    folder = small_folder("size=4k")
    project.replace("tezcat.yaml", "state: .tezcat", f"state: {folder}/state")
    (folder / "filler").write_bytes(b"x" * 4096)
    assert_explained(await project.run(*CLONE), {2, 4}, str(folder), "No space left")
    await project.source.comes_to(_SLOTS, [])


# -------------------------------------------------------------------------------------------------------- settings


async def test_variable_of_the_key_that_is_not_set(project: Project) -> None:
    """key: env:NAME without such a variable."""
    project.replace("tezcat.yaml", "key: file:tezcat.key", "key: env:TEZCAT_KEY")
    assert_explained(await project.run(*CLONE), 2, "TEZCAT_KEY")


async def test_variable_of_the_target_that_is_not_set(project: Project) -> None:
    """database_url: env:NAME without such a variable."""
    lead_target(project, "env:TEST_URL")
    assert_explained(await project.run(*CLONE), 2, "TEST_URL", "tezcat.yaml", "export")


@pytest.mark.parametrize("name", ["tezcat.yaml", "rules.yaml"])
async def test_file_that_is_no_text(project: Project, name: str) -> None:
    """Bytes that are not UTF-8."""
    (project.folder / name).write_bytes(b"version: 1\nx: \xff\xfe\n")
    assert_explained(await project.run("rules", "check"), 2, name, "UTF-8")


@pytest.mark.parametrize("name", ["tezcat.yaml", "rules.yaml", "tezcat.key"])
async def test_file_that_is_a_folder(project: Project, name: str) -> None:
    """A folder where a file should be."""
    (project.folder / name).unlink()
    (project.folder / name).mkdir()
    assert_explained(await project.run(*CLONE), 2, name)


async def test_output_that_nobody_reads(project: Project) -> None:
    """A reader that leaves early (head) is no error of ours."""
    command = f"{sys.executable} -m control source sql | head -c 1"

    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command, shell=True, capture_output=True, check=False, cwd=project.folder, env=project.environment
        )

    assert (await asyncio.to_thread(run)).stderr == b""
