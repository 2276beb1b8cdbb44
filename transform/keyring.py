"""Keys: a root key of 256 bits, one key per environment and epoch under it, one subkey per domain under that.

Every step is HKDF-SHA256 with a label of its own, so no two environments, epochs or domains share a key, and none
can be computed back from another. The root key is read from a file, an environment variable or a command; it is
never part of the rules, of a log, of an error or of a ``repr``.
"""

from __future__ import annotations

import re
import secrets
import shlex
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from capture.model import BadInput, counted
from transform.cmac import Prf

KEY_BYTES: Final = 32
COMMAND_SECONDS: Final = 30

_HEX: Final = re.compile(r"[0-9A-Fa-f]*")
_WRITTEN: Final = f"A key is {KEY_BYTES} bytes written as {2 * KEY_BYTES} hexadecimal digits."


def _made(path: Path) -> str:
    made = f"(umask 077; openssl rand -hex {KEY_BYTES} > {shlex.quote(str(path))})"
    return f"Copies go on only with the key that they were made with: put it there. For first copies, make one: {made}"


def generate_key() -> str:
    """A new root key, as it is written: 64 hexadecimal digits."""
    return secrets.token_hex(KEY_BYTES)


def read_key(source: str, environment_variables: Mapping[str, str], *, folder: Path = Path()) -> bytes:
    """The root key from ``file:PATH`` (relative to ``folder``), ``env:NAME`` or ``command:LINE``.

    The file may be readable by its owner only. The command runs without a shell and prints the key within 30
    seconds. Raises ``BadInput``, which never shows what was read.
    """
    kind, separator, rest = source.partition(":")
    rest = rest.strip()
    if separator and rest:
        match kind:
            case "file":
                return _parse(_read_file(folder / rest), f"the key file {folder / rest}")
            case "env":
                if rest not in environment_variables:
                    raise BadInput(f"the environment variable {rest}, which should hold the key, is not set.")
                return _parse(environment_variables[rest], f"the environment variable {rest}")
            case "command":
                return _parse(_run(rest), "the output of the key command")
    # The source itself stays out of the message: it may be the key, written where its source belongs.
    raise BadInput("the key's source is not understood.", hint="Write file:PATH, env:NAME or command:LINE.")


def _read_file(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise BadInput(
                f"the key file {path} has mode {mode:04o}: others than its owner can use it.",
                hint=f"Run: chmod 600 {shlex.quote(str(path))}",
            )
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise BadInput(f"there is no key file {path}.", hint=_made(path)) from None
    except OSError as error:
        raise BadInput(f"the key file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadInput(f"the key file {path} holds something else than a key.", hint=_WRITTEN) from None


def _run(line: str) -> str:
    try:
        arguments = shlex.split(line)
    except ValueError as error:
        raise BadInput(f"the key command cannot be split into words: {error}.") from None
    try:
        done = subprocess.run(arguments, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BadInput(f"the key command {arguments[0]} did not end within {COMMAND_SECONDS} seconds.") from None
    except OSError as error:
        raise BadInput(f"the key command {arguments[0]} cannot be run: {error.strerror}.") from None
    if done.returncode:
        raise BadInput(
            f"the key command {arguments[0]} failed with exit code {done.returncode}.",
            hint="Run it by hand to see why; its output is not shown here because it may hold the key.",
        )
    return done.stdout.decode("ascii", "replace")


def _parse(text: str, where: str) -> bytes:
    text = text.strip()
    if not _HEX.fullmatch(text):
        raise BadInput(f"{where} holds something else than hexadecimal digits.", hint=_WRITTEN)
    if len(text) != 2 * KEY_BYTES:
        wrong = "short" if len(text) < 2 * KEY_BYTES else "long"
        raise BadInput(f"the key in {where} is too {wrong}: {counted(len(text), 'hexadecimal digit')}.", hint=_WRITTEN)
    return bytes.fromhex(text)


def _derive(key: bytes, label: str, *parts: str, length: int = KEY_BYTES) -> bytes:
    # Each part carries its length, so that no two lists of parts read the same.
    info = b"".join(len(part).to_bytes(4, "big") + part for part in map(str.encode, ("tezcat 1", label, *parts)))
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(key)


class KeyRing:
    """The keys of one environment and epoch. It pickles; its ``repr`` shows no key.

    ``root`` is the root key of 32 bytes. A new ``epoch`` gives the same environment new keys.
    """

    __slots__ = ("_key", "environment", "epoch")

    def __init__(self, root: bytes, environment: str, epoch: int = 1) -> None:
        if len(root) != KEY_BYTES:
            raise ValueError(f"the root key has {len(root)} bytes instead of {KEY_BYTES}")
        self.environment = environment
        self.epoch = epoch
        self._key = _derive(root, "environment", environment, str(epoch))

    def __repr__(self) -> str:
        return f"KeyRing(environment={self.environment!r}, epoch={self.epoch})"

    def prf(self, domain: str) -> Prf:
        """The keyed function that masks the columns of a domain."""
        return Prf(_derive(self._key, "domain", domain))

    @property
    def check_value(self) -> str:
        """16 hexadecimal digits that tell this key from another and say nothing else about it."""
        return _derive(self._key, "check value", length=8).hex()
