"""The process that workers are forked by.

It has imported what they need and nothing else: there is no connection, no key and no thread of ours that could leak
into them, they start in no time, and they share the memory that the imports take. Importing takes it a second; who
starts it first and then imports and connects gets that second for nothing. It ends with the process that started it.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from typing import Final

CONTEXT: Final = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["control.workers"])


def start() -> None:
    """Start it and do not wait for it; without this the first worker does."""
    forkserver.ensure_running()
