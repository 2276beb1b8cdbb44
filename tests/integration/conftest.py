"""A production with the workload's rows, an empty target, and a project folder in which the command line runs.

``production`` and ``target`` are fresh databases, on the servers that ``versions`` names. ``make_project`` writes
tezcat.yaml, the rules and a key for any two; ``project`` is the one for these two; ``copy`` is a project after the
DBA's part and a clone. Commands run as processes of their own, forked from one that has imported them; what they print
is kept in the project's folder, so that the search for canaries covers it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql

from tests.fix_postgres import Database, Server
from tests.integration import oracle, workload
from tests.integration.forked import Forked, nursery
from tests.integration.values import CANARY
from tests.waiting import eventually

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PASSWORD = "p@ss/word'of the\\reader"
_TEMPLATE = "workload_template"


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


@dataclass
class Running:
    """A command that was started."""

    process: Forked
    out: Path
    err: Path

    async def wait(self, seconds: float = 120) -> Ended:
        try:
            code = await asyncio.to_thread(self.process.wait, seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = await asyncio.to_thread(self.process.wait)
            pytest.fail(f"the command did not end in {seconds} s: {self.out.read_text()}{self.err.read_text()}")
        return Ended(code, self.out.read_text(), self.err.read_text())

    async def says(self, words: str) -> None:
        """Wait for what it writes to stderr."""
        await self.until(lambda: words in self.err.read_text(), f"it says {words!r}")

    async def streams(self) -> None:
        """Wait until it is a stream at work. The copy would say so of one that was killed, too."""
        await self.says("streaming  applied")

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something while it runs; fail at once when it ends."""

        def look() -> bool:
            assert self.process.poll() is None, f"the command ended: {self.err.read_text()}"
            # A server may be down.
            with contextlib.suppress(psycopg.OperationalError):
                return holds()
            return False

        try:
            await eventually(look, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.err.read_text()}") from None

    async def send(self, number: signal.Signals) -> Ended:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        return await self.wait()


@dataclass
class Project:
    """A folder with tezcat.yaml, where the commands run."""

    folder: Path
    source: Database
    target: Database
    role: str
    environment: dict[str, str]
    running: list[Running] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def rules(self) -> Path:
        return self.folder / "rules.yaml"

    def start(self, *arguments: str) -> Running:
        """Start ``tezcat`` with these arguments."""
        name = self.folder / "output" / f"{next(self._numbers):02d} {arguments[0]}"
        out, err = name.with_suffix(".out"), name.with_suffix(".err")
        process = nursery().start(arguments, folder=self.folder, environment=self.environment, out=out, err=err)
        self.running.append(Running(process, out, err))
        return self.running[-1]

    async def run(self, *arguments: str) -> Ended:
        """Run ``tezcat`` with these arguments to its end."""
        return await self.start(*arguments).wait()

    async def succeed(self, *arguments: str) -> Ended:
        """The same, and it must succeed."""
        ended = await self.run(*arguments)
        assert ended.code == 0, f"tezcat {' '.join(arguments)}: {ended}"
        return ended

    async def caught_up(self, stream: Running) -> None:
        """Wait until a stream has applied all up to where production is now."""
        [[position]] = self.source.execute("SELECT pg_current_wal_insert_lsn()::text")
        applied = f"SELECT applied_lsn >= '{position}' FROM tezcat.progress"
        await stream.until(lambda: self.target.execute(applied) == [(True,)], f"all up to {position} is applied")

    async def prepare_production(self) -> None:
        """What the DBA does with what ``tezcat source sql`` prints."""
        printed = await self.succeed("source", "sql", "--environment", "production")
        psql(self.source, printed.out)
        with psycopg.connect(self.source.url) as connection:
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(self.role), sql.Literal(PASSWORD))
            )

    def kill(self) -> None:
        """Kill whatever still runs."""
        for command in self.running:
            command.process.kill()
            command.process.wait()

    def replace(self, name: str, old: str, new: str) -> None:
        """Change one place in one of the folder's files."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))

    async def catch_up(self) -> None:
        """Stream up to where production is now."""
        await self.succeed("stream", "--target", "test", "--until-caught-up")

    @contextlib.asynccontextmanager
    async def load(self, seed: int, **options: Any) -> AsyncIterator[None]:
        """Let the workload run on production for the length of a block."""
        stop = asyncio.Event()
        task = asyncio.create_task(workload.run(self.source.url, seed, stop=stop, **options))
        try:
            yield
        finally:
            stop.set()
            await task

    def judge(self) -> oracle.Verdict:
        """Ask the oracle about the copy as it is, and about all that the commands have written."""
        return oracle.compare(self.source.url, self.target.url, self.rules, canary=CANARY, folders=[self.folder])

    async def assert_exact(self) -> None:
        """The stream catches up, ``verify`` finds the copy equal, and the oracle too."""
        await self.catch_up()
        verified = await self.run("verify", "--target", "test", "--json")
        verdict = self.judge()
        assert not verdict.findings, str(verdict)
        assert verdict.unresolved < verdict.rows / 50, str(verdict)
        assert verified.code == 0, str(verified)
        assert verified.json["equal"] is True
        assert verified.json["consistent"] is True


MakeProject = Callable[[Database, Database], Project]


def psql(database: Database, statements: str) -> None:
    """Run SQL as the DBA does, with psql, up to the first error."""
    command = [database.server.programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.url, "-f", "-"]
    ended = subprocess.run(command, input=statements, text=True, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="session")
def filled() -> Callable[[Server], str]:
    """Give a server's template database with the workload's schema and first rows, made when first asked for."""

    def template(server: Server) -> str:
        # Tests of other folders ask too, with a fixture of their own.
        if not server.execute(f"SELECT 1 FROM pg_database WHERE datname = '{_TEMPLATE}'"):
            server.execute(f"CREATE DATABASE {_TEMPLATE}")
            database = Database(server, _TEMPLATE)
            psql(database, (HERE / "schema.sql").read_text())
            asyncio.run(workload.fill(database.url, seed=1))
        return f"TEMPLATE {_TEMPLATE}"

    return template


@pytest.fixture
def versions() -> tuple[int, int]:
    """The versions of source and target; a test may override it by parametrising."""
    return (18, 18)


@pytest.fixture
def production(
    versions: tuple[int, int],
    request: pytest.FixtureRequest,
    filled: Callable[[Server], str],
    make_database: Callable[..., Database],
) -> Database:
    server = request.getfixturevalue(f"server{versions[0]}")
    return make_database(server, filled(server))


@pytest.fixture
def target(
    versions: tuple[int, int], request: pytest.FixtureRequest, make_database: Callable[..., Database]
) -> Database:
    return make_database(request.getfixturevalue(f"server{versions[1]}"))


def make_folder(folder: Path, source: Database, target: Database) -> Project:
    """A project folder for two databases, complete but for what the DBA does."""
    (folder / "output").mkdir(parents=True)
    role = f"reader_{source.name}"
    settings = {
        "environments": {
            "production": {"type": "production", "database_url": "env:PRODUCTION_URL"},
            "test": {"type": "test", "database_url": target.url},
        },
        "publication": "tezcat",
        "rules": "rules.yaml",
        "key": "file:tezcat.key",
        "state": ".tezcat",
        "snapshot": {"workers": 2, "chunk_bytes": "256KiB", "max_age": "1h"},
    }
    (folder / "tezcat.yaml").write_text(yaml.safe_dump(settings))
    shutil.copy(HERE / "rules.yaml", folder)
    key = folder / "tezcat.key"
    key.touch(0o600)
    key.write_text("5e" * 32 + "\n")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment = inherited | {"PRODUCTION_URL": source.url_as(role, PASSWORD), "PYTHONPATH": str(ROOT)}
    return Project(folder, source, target, role, environment)


@pytest.fixture
def make_project(tmp_path: Path, make_database: Callable[..., Database]) -> Iterator[MakeProject]:
    """Make project folders; whatever still runs in one when the test ends is killed, before its databases go."""
    made: list[Project] = []

    def make(source: Database, target: Database) -> Project:
        made.append(make_folder(tmp_path / f"project{len(made)}", source, target))
        return made[-1]

    yield make
    for project in made:
        project.kill()


@pytest.fixture
def project(make_project: MakeProject, production: Database, target: Database) -> Project:
    return make_project(production, target)


@pytest.fixture(scope="session")
def prepared(
    server18: Server, filled: Callable[[Server], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A production that the DBA has prepared; tests that change nothing in it share it."""
    database = Database(server18, "prepared")
    server18.execute(f"CREATE DATABASE prepared {filled(server18)}")
    project = make_folder(tmp_path_factory.mktemp("prepared") / "project", database, database)
    asyncio.run(project.prepare_production())
    yield database
    server18.drop("prepared")


@pytest.fixture(autouse=True)
def _leave_no_slot(request: pytest.FixtureRequest) -> Iterator[None]:
    """A clone that fails may leave its slot in ``prepared``, where it stands in the way of other databases' clones."""
    yield
    if "prepared" in request.fixturenames:
        request.getfixturevalue("server18").drop_slots("prepared")


@pytest.fixture
async def copy(project: Project) -> Project:
    await project.prepare_production()
    await project.succeed("clone", "--source", "production", "--target", "test")
    return project
