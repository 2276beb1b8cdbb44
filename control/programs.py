"""PostgreSQL's own programs: which ``pg_dump`` is used for a server, and how a program is run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from capture.model import BadInput, ProgramEnd
from control import embedded
from control.settings import process_environment

_EMBEDDED_VERSIONS: Final = (16, 18)
# How long a program that is to end may take to do so by itself.
_END_SECONDS: Final = 2.0
# A connection to nowhere: a program that knows no TLS complains of that before it looks for the socket.
_TLS_TO_NOWHERE: Final = "--dbname=host=/nowhere sslmode=require"


async def dump_program(server_version: int, *, tls: bool) -> Path:
    """The ``pg_dump`` for a server: of its own major version or the next above that is here, and one that speaks TLS
    if that is needed. Its ``pg_restore`` lies beside it.

    A newer one than needed may write settings that an older target does not know. Raises ``BadInput``.
    """
    wanted = server_version // 10000
    hint = f"Install PostgreSQL {wanted}'s client programs."
    paths = _candidates()
    majors = await asyncio.gather(*map(_major, paths))
    versions = {path: major for path, major in zip(paths, majors, strict=True) if major is not None}
    fitting = sorted((path for path, major in versions.items() if major >= wanted), key=lambda path: versions[path])
    for path in fitting:
        if not tls or await _speaks_tls(path):
            return path
    if fitting:
        raise BadInput(
            f"no pg_dump of version {wanted} or later that speaks TLS is here, and a server is reached by TLS; the "
            "programs that come with tezcat do not speak it.",
            hint=hint,
        )
    raise BadInput(
        f"no pg_dump of version {wanted} or later is here, which a server of version {wanted} needs.", hint=hint
    )


async def run(command: list[str], variables: Mapping[str, str]) -> ProgramEnd:
    """Run a program to its end, with these variables beside our own; see ``RunProgram``."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**process_environment(), **variables},
        # Processes of its own are of its group, and not of ours.
        start_new_session=True,
    )
    try:
        output, complaint = await process.communicate()
    except asyncio.CancelledError:
        await _end(process)
        raise
    return ProgramEnd(process.returncode or 0, output.decode("utf-8", "replace"), complaint.decode("utf-8", "replace"))


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program and its processes: pg_restore's would go on without it, and we wait for all who hold its output."""
    try:
        # It then cancels what the servers do for it.
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
    finally:
        # Who is halted does not hear the other.
        _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@lru_cache
def _candidates() -> tuple[Path, ...]:
    places = [Path(folder) / "pg_dump" for folder in os.get_exec_path()]
    places += [embedded.binaries(version) / "pg_dump" for version in _EMBEDDED_VERSIONS]
    return tuple(dict.fromkeys(place.absolute() for place in places if shutil.which(str(place))))


async def _major(path: Path) -> int | None:
    ended = await run([str(path), "--version"], {})
    match = re.search(r"\(PostgreSQL\) (\d+)", ended.output)
    return int(match[1]) if match and not ended.exit_code else None


async def _speaks_tls(path: Path) -> bool:
    ended = await run([str(path), _TLS_TO_NOWHERE], {})
    return "SSL support is not compiled in" not in ended.complaint
