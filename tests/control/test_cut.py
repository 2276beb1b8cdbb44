"""A clone goes on where production has the same tables as when it began."""

from __future__ import annotations

from dataclasses import replace

from capture.model import Computed
from control.cut import fingerprint
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
