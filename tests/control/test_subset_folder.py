"""Folders for one use are removed, by whoever comes next if need be, and never another's."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from control.subset_folder import subset_folder

_HOLDING = "from control.subset_folder import subset_folder\nwith subset_folder() as folder: print(folder); input()"


@pytest.fixture(autouse=True)
def _of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_it_is_removed_with_what_is_in_it(tmp_path: Path) -> None:
    """Once the use has ended."""
    with subset_folder() as folder:
        (folder / "0").write_bytes(b"tags")
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """Not before it is dead, and nothing that is called otherwise."""
    (tmp_path / "tezcat-other").mkdir()
    with subprocess.Popen([sys.executable, "-c", _HOLDING], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        (theirs / "0").write_bytes(b"tags")
        with subset_folder():
            assert theirs.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert theirs.exists()
    with subset_folder() as ours:
        assert sorted(tmp_path.iterdir()) == sorted([ours, tmp_path / "tezcat-other"])
