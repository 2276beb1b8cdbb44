"""A clone goes on where production has the same tables as when it began; no snapshot lives longer than it may."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from capture.model import Computed, ServerFailed
from control.cut import fingerprint, no_longer_than
from tests.fix_catalog import catalog, foreign_key, table

GUESTS, STAYS = table("public.guests", "id int8 pk"), table("public.stays", "id int8 pk", "guest int8")
KEY = foreign_key("public.stays(guest)", "public.guests(id)")


def test_an_index_that_helps_to_find_rows_makes_no_other_tables() -> None:
    """Nor does a table that grew; a foreign key that is gone does."""
    before = catalog(GUESTS, STAYS, foreign_keys=(KEY,))
    computing = replace(GUESTS, pages=7, computed=(Computed("guests_expr_idx", "(id % 7)"),))
    later = catalog(computing, STAYS, foreign_keys=(replace(KEY, is_indexed=False),))
    assert fingerprint(later) == fingerprint(before)
    assert fingerprint(catalog(GUESTS, STAYS)) != fingerprint(before)


async def test_what_takes_longer_than_a_snapshot_may_live_is_given_up() -> None:
    """Whatever it waits for; the age counts from when the snapshot was taken."""
    with pytest.raises(ServerFailed, match=r"snapshot\.max_age \(1:00:00\).* nothing was read"):
        async with no_longer_than(timedelta(hours=1), time.monotonic() - 3599.99, "nothing was read"):
            await asyncio.sleep(60)


async def test_another_timeout_is_not_the_snapshots() -> None:
    """What waits inside may have a limit of its own."""
    with pytest.raises(TimeoutError):
        async with no_longer_than(timedelta(hours=1), time.monotonic(), "nothing was read"), asyncio.timeout(0):
            await asyncio.sleep(60)
