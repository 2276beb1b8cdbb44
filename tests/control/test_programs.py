"""The pg_dump that fits a server is found, and no other is taken in its place."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from capture.model import BadInput
from control import embedded, programs
from control.programs import dump_program, run
from tests.waiting import eventually, is_running

MakeProgram = Callable[..., Path]


@pytest.fixture
def make_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeProgram]:
    """Make a pg_dump of a version, with TLS or without, in a folder of PATH; there are no others."""
    folders: list[str] = []

    def make(version: str, *, tls: bool = True) -> Path:
        path = tmp_path / f"{len(folders)}" / "pg_dump"
        path.parent.mkdir()
        complaint = "connection failed" if tls else "sslmode value invalid when SSL support is not compiled in"
        path.write_text(
            f"#!/bin/sh\n[ $1 = --version ] && echo 'pg_dump (PostgreSQL) {version}' && exit\n"
            f"echo '{complaint}' >&2\nexit 1\n"
        )
        path.chmod(0o755)
        folders.append(str(path.parent))
        monkeypatch.setenv("PATH", ":".join([*folders, "/usr/bin", "/bin"]))
        programs._candidates.cache_clear()
        return path

    monkeypatch.setattr(embedded, "binaries", lambda _: tmp_path / "none")
    yield make
    programs._candidates.cache_clear()


async def test_the_server_s_own_version_or_the_next_above_is_taken(make_program: MakeProgram) -> None:
    """An older one cannot read the server; a newer one than needed may write what an older target does not know."""
    made = {version: make_program(version) for version in ("99.4", "91.1 (Debian 91.1-1)", "94.0")}
    assert await dump_program(920003, tls=False) == made["94.0"]
    assert await dump_program(910000, tls=False) == made["91.1 (Debian 91.1-1)"]


async def test_no_program_of_the_version_is_bad_input(make_program: MakeProgram) -> None:
    """What to install is said."""
    make_program("91.0")
    with pytest.raises(BadInput, match=r"pg_dump of version 95 .*Install PostgreSQL 95's client programs"):
        await dump_program(950000, tls=False)


async def test_where_tls_is_needed_a_program_without_it_is_passed_over(make_program: MakeProgram) -> None:
    """For a newer one that has it, and where there is none it is said why those that are there do not do."""
    make_program("95.0", tls=False)
    with pytest.raises(BadInput, match=r"speaks TLS .*Install PostgreSQL 95's client programs"):
        await dump_program(950000, tls=True)
    newer = make_program("96.0")
    assert await dump_program(950000, tls=True) == newer
    assert await dump_program(950000, tls=False) != newer


async def test_how_a_program_ended_is_told() -> None:
    """Exit code, stdout and stderr; the variables that it is given join those that it inherits."""
    script = 'echo out; echo "$WORD $(test -n "$PATH" && echo too)" >&2; exit 3'
    assert await run(["/bin/sh", "-c", script], {"WORD": "here"}) == (3, "out\n", "here too\n")


async def test_a_program_does_not_outlive_a_cancelled_operation(tmp_path: Path) -> None:
    """It is killed before the cancellation goes on."""
    started = tmp_path / "started"
    task = asyncio.create_task(run(["/bin/sh", "-c", f"echo $$ > {started}; exec sleep 600"], {}))
    await eventually(lambda: started.exists() and bool(started.read_text().strip()), "the program has begun")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


@pytest.mark.parametrize("prepare", ["", "kill -STOP $$ &"], ids=["working", "halted"])
async def test_nor_do_its_own_processes(tmp_path: Path, prepare: str) -> None:
    """pg_restore has some, which go on without it and keep its output open; and who is halted is ended too."""
    started = tmp_path / "started"
    script = f"(trap '' TERM; sleep 600) & echo $$ $! > {started}; {prepare} wait"
    task = asyncio.create_task(run(["/bin/sh", "-c", script], {}))
    await eventually(lambda: started.exists() and bool(started.read_text().strip()), "the program has begun")
    async with asyncio.timeout(30):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    pids = [int(pid) for pid in started.read_text().split()]
    await eventually(lambda: not any(map(is_running, pids)), "all have ended")
