"""A folder for the files of one use of a snapshot, under the system's temporary directory; see ``membership``.

It is removed when the use ends. Where the process is killed instead, it stays, and nobody holds its lock any more: the
system drops that with the process. So whoever makes the next one removes those that nobody holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# No other folder of this or of any other program is called so.
_PREFIX: Final = "tezcat-subset-"


@contextlib.contextmanager
def subset_folder() -> Iterator[Path]:
    """An empty folder, held for the length of the block."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _held(left):  # somebody's, or gone meanwhile
            shutil.rmtree(left, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            with contextlib.suppress(BlockingIOError, FileNotFoundError):  # somebody took it for one that was left
                held = stack.enter_context(_held(folder))
                if os.path.samestat(folder.stat(), os.fstat(held)):
                    break
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[int]:
    """Hold a folder's lock. Raises ``OSError`` where somebody else holds it, or it is another user's, or no folder."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(opened).st_uid != os.geteuid():
            raise PermissionError
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield opened
    finally:
        os.close(opened)
