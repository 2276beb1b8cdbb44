"""Where keys come from, and how they are kept apart."""

from __future__ import annotations

import pickle
import shlex
import sys
from pathlib import Path

import pytest

from capture.model import BadInput
from transform.keyring import KeyRing, generate_key, read_key

HEX = "00112233445566778899aabbccddeeff" * 2
ROOT = bytes.fromhex(HEX)


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "tezcat.key"
    path.write_text(text)
    path.chmod(mode)
    return path


def command(code: str) -> str:
    return f"command:{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


def test_every_source_gives_the_same_key(tmp_path: Path) -> None:
    """A file, a variable and a command can hold the key, with blanks around it."""
    path = key_file(tmp_path, f"  {HEX.upper()}\n")
    assert read_key(f"file:{path}", {}) == ROOT
    assert read_key("file:tezcat.key", {}, folder=tmp_path) == ROOT
    assert read_key("env:TEZCAT_KEY", {"TEZCAT_KEY": HEX}) == ROOT
    assert read_key(command(f"print('{HEX}')"), {}) == ROOT


def test_a_generated_key_can_be_read() -> None:
    """Two generated keys differ and are valid."""
    first, second = generate_key(), generate_key()
    assert first != second
    assert len(read_key("env:K", {"K": first})) == 32


@pytest.mark.parametrize(
    ("text", "words"),
    [(HEX[:-2], "too short"), (HEX + "00", "too long"), ("", "too short"), ("q" * 64, "hexadecimal"), ("é", "key")],
)
def test_a_wrong_key_is_refused_without_being_shown(tmp_path: Path, text: str, words: str) -> None:
    """The error says what is wrong and keeps the text to itself."""
    path = key_file(tmp_path, text)
    with pytest.raises(BadInput, match=words) as caught:
        read_key(f"file:{path}", {})
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """The error says which command repairs the mode."""
    with pytest.raises(BadInput, match="chmod 600"):
        read_key(f"file:{key_file(tmp_path, HEX, mode)}", {})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("file:/nowhere/tezcat.key", r"no key file .* openssl rand -hex 32 > /nowhere/tezcat.key"),
        ("file:/", "mode|cannot be read"),
        ("env:MISSING", "MISSING"),
        ("command:/nowhere/vault", "cannot be run"),
        ("command:'unbalanced", "split"),
        (command("import sys; print('hidden'); sys.exit(3)"), "exit code 3"),
        (HEX, "file:PATH"),
        ("file:", "file:PATH"),
    ],
)
def test_an_unusable_source_is_named(source: str, words: str) -> None:
    """Every failure to read a key is the user's to repair, and shows nothing of the key."""
    with pytest.raises(BadInput, match=words) as caught:
        read_key(source, {})
    assert "hidden" not in str(caught.value)
    assert HEX not in str(caught.value)


def test_environments_epochs_and_domains_are_apart() -> None:
    """No two of them hash a value alike."""
    rings = [KeyRing(ROOT, "test"), KeyRing(ROOT, "training"), KeyRing(ROOT, "test", 2), KeyRing(ROOT[::-1], "test")]
    tags = {ring.prf(domain).tag(b"value") for ring in rings for domain in ("a", "b", "")}
    assert len(tags) == 12
    assert len({ring.check_value for ring in rings}) == 4


def test_keys_never_change() -> None:
    """A copy masked by an earlier release is still masked by the same key."""
    ring = KeyRing(ROOT, "test")
    assert ring.check_value == "86a5cc829e5fc41b"
    assert ring.prf("public.guests.email").tag(b"anna@example.com").hex() == "45b1432541cfaa6a3e1ee32327af405b"


def test_a_ring_travels_but_does_not_show() -> None:
    """A pickled ring gives the same keys; its repr and its check value give none."""
    ring = KeyRing(ROOT, "test")
    copy = pickle.loads(pickle.dumps(ring))
    assert copy.prf("d").tag(b"x") == ring.prf("d").tag(b"x")
    assert repr(ring) == "KeyRing(environment='test', epoch=1)"


def test_a_root_key_of_another_size_is_a_mistake() -> None:
    """A ring is never built on a short key."""
    with pytest.raises(ValueError, match="31 bytes"):
        KeyRing(ROOT[1:], "test")
