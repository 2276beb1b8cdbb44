"""Values of 100 MB pass exactly, by the snapshot and by the stream, in memory of a few such values."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import psutil
import pytest

from tests.fix_postgres import Database, Server
from tests.integration.conftest import MakeProject, Project
from tests.integration.scenes import prepared

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# A text of 100 MB, with all that COPY escapes, and a bytea of as many bytes, which is printed as twice as many.
_TEXT: Final = r"repeat(E'{} \\ tab\t line\n cr\r \\. é {}', 3700000)"
_BYTES: Final = "decode(repeat('00ff5c0a09{:02x}', 16666667), 'hex')"
_SCHEMA: Final = f"""
CREATE TABLE public.large (id integer PRIMARY KEY, n integer, body text, raw bytea);
ALTER TABLE public.large ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL;
INSERT INTO public.large VALUES (1, 0, {_TEXT.format(1, 1)}, NULL), (2, 0, '', {_BYTES.format(2)});
"""
_STATE: Final = "SELECT id, n, length(body), md5(body), length(raw), md5(raw) FROM public.large ORDER BY id"


# The largest row is a text and a bytea, which is printed as twice as many bytes: 300 MB. Two workers may each hold it
# a few times over, and a driver's buffers double when they grow; but no command holds it once for each step.
_MOST_BYTES: Final = 10 * 300 * 1000 * 1000


async def _within_memory(copy: Project, *arguments: str) -> None:
    """Run a command that must succeed, in at most ``_MOST_BYTES`` for all of its processes together."""
    command = copy.start(*arguments)
    root, peak = psutil.Process(command.process.pid), 0
    while command.process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            peak = max(peak, sum(process.memory_info().rss for process in (root, *root.children(recursive=True))))
        await asyncio.sleep(0.02)
    ended = await command.wait()
    assert ended.code == 0, str(ended)
    assert peak <= _MOST_BYTES, f"{arguments[0]} took {peak} bytes"


async def test_values_of_100_mb_pass_exactly(
    make_project: MakeProject, server18: Server, make_database: Callable[..., Database]
) -> None:
    """Text and bytea: copied, inserted, updated, left unchanged by an update, moved to another key, deleted."""
    production, target = make_database(server18), make_database(server18)
    copy = prepared(make_project, production, target, _SCHEMA)
    await copy.prepare_production()
    await _within_memory(copy, "clone", "--source", "production", "--target", "test")
    assert target.execute(_STATE) == production.execute(_STATE)
    production.execute(
        f"INSERT INTO public.large VALUES (4, 0, {_TEXT.format(4, 4)}, {_BYTES.format(4)})",
        "UPDATE public.large SET n = 1 WHERE id = 1",
        "UPDATE public.large SET id = 5 WHERE id = 4",
        "DELETE FROM public.large WHERE id = 2",
    )
    await _within_memory(copy, "stream", "--target", "test", "--until-caught-up")
    assert target.execute(_STATE) == production.execute(_STATE)
    await _within_memory(copy, "verify", "--target", "test")
