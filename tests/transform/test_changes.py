"""Masking changes: what an update does not send is not taken for NULL."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pyarrow as pa
import pytest

from capture.model import Changes, OldImage, Operation, ReplicaIdentity, Table
from tests import fix_catalog
from tests.fix_copy import table_of
from tests.sink.made_windows import changes_of, delete, insert, update
from transform.changes import Unsent, mask_changes
from transform.masks.base import Mask, RowMask
from transform.plan import TablePlan
from transform.predicates import Predicate, compile_predicate

COLUMNS = {"id": "bigint", "a": "text", "b": "text", "c": "text"}
FULL = table_of("fully", COLUMNS, identity=ReplicaIdentity.FULL)
KEYED = table_of("keyed", COLUMNS, key=("id",))


class Joined(RowMask):
    """``a`` and ``b`` of the row beside each other."""

    needs = ("b",)

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        pairs = zip(values.to_pylist(), siblings["b"].to_pylist(), strict=True)
        return pa.array([None if one is None else one + b"/" + (two or b"-") for one, two in pairs], pa.binary())


class Shouted(Mask):
    """Capitals."""

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        return pa.array([None if value is None else value.upper() for value in values.to_pylist()], pa.binary())


def plan(table: Table, **masks: Mask | RowMask) -> TablePlan:
    return TablePlan(table.name, tuple(COLUMNS), masks)


def test_a_hole_is_filled_from_the_row_before() -> None:
    """With REPLICA IDENTITY FULL the value is known: the mask reads it, and the column is set."""
    before = (b"1", b"x", b"y", b"z")
    changes = changes_of(FULL, [(0, update(FULL, b"1", b"new", None, None, old=before, unchanged=(2, 3)))])
    masked = mask_changes(plan(FULL, a=Joined(), c=Shouted()), changes)
    assert masked.new.column("a").to_pylist() == [b"new/y"]
    assert masked.patterns[masked.unchanged[0]] == (2, 3)


def test_a_mask_is_made_anew_when_what_it_reads_has_changed() -> None:
    """The column itself was not sent, and has to be set all the same."""
    before = (b"1", b"large", b"y", b"z")
    changes = changes_of(FULL, [(0, update(FULL, b"1", None, b"other", b"z", old=before, unchanged=(1,)))])
    masked = mask_changes(plan(FULL, a=Joined()), changes)
    assert masked.new.column("a").to_pylist() == [b"large/other"]
    assert masked.patterns[masked.unchanged[0]] == ()


@pytest.mark.parametrize("unchanged", [(1,), (2,), (1, 2), (1, 3)])
def test_what_nobody_can_know_is_refused(unchanged: tuple[int, ...]) -> None:
    """Without the row before, neither the mask of the column nor that it need not be made anew is known."""
    row = tuple(None if place in unchanged else b"1" for place in range(4))
    changes = changes_of(
        KEYED, [(0, insert(KEYED, b"0", b"a", b"b", b"c")), (1, update(KEYED, *row, unchanged=unchanged))]
    )
    with pytest.raises(Unsent, match=r"REPLICA IDENTITY FULL"):
        mask_changes(plan(KEYED, a=Joined()), changes)


def test_other_holes_do_not_matter() -> None:
    """A mask of the value alone leaves the copy's value where it is."""
    changes = changes_of(KEYED, [(0, update(KEYED, b"1", b"a", b"b", None, unchanged=(3,)))])
    masked = mask_changes(plan(KEYED, a=Joined(), c=Shouted()), changes)
    assert masked.new.column("a").to_pylist() == [b"a/b"]
    assert masked.patterns[masked.unchanged[0]] == (3,)


def test_many_changes_are_masked_as_if_each_came_alone() -> None:
    """The rows of a window, sent whole and in part, old and new, end as masked rows would."""
    rng = random.Random(3)
    table_plan = plan(FULL, a=Joined(), b=Shouted())
    rows = {number: tuple(rng.choice([None, b"v%d" % rng.randrange(9)]) for _ in range(3)) for number in range(40)}
    expected = dict(rows)
    placed = []
    for order in range(200):
        number = rng.randrange(40)
        before = expected.get(number)
        if before is None:
            after = tuple(b"v%d" % rng.randrange(9) for _ in range(3))
            placed.append((order, insert(FULL, b"%d" % number, *after)))
            expected[number] = after
        elif rng.random() < 0.2:
            placed.append((order, delete(FULL, b"%d" % number, *before)))
            del expected[number]
        else:
            kept = tuple(place for place in range(3) if rng.random() < 0.4 and before[place] is not None)
            after = tuple(before[place] if place in kept else b"w%d" % rng.randrange(9) for place in range(3))
            sent = tuple(None if place in kept else value for place, value in enumerate(after))
            old = (b"%d" % number, *before)
            placed.append((order, update(FULL, b"%d" % number, *sent, old=old, unchanged=tuple(p + 1 for p in kept))))
            expected[number] = after
    changes = changes_of(FULL, placed)
    copy = {number: _masked(row) for number, row in rows.items()}
    _apply(copy, mask_changes(table_plan, changes))
    assert copy == {number: _masked(row) for number, row in expected.items()}


@pytest.mark.parametrize("condition", ["b = 'v1' OR b = 'v2'", "a IS NULL", "a = b", "id < 20"])
def test_rows_enter_and_leave_as_the_condition_says(condition: str) -> None:
    """Applied to a copy of the chosen rows, the chosen changes make it the chosen rows again; each is applied to a row
    that is there, or makes one that is not."""
    rng = random.Random(7)
    table_plan = TablePlan(FULL.name, tuple(COLUMNS), {}, chosen=_condition(condition))
    values = [None, b"v1", b"v2", b"v3"]
    rows = {number: (b"%d" % number, *(rng.choice(values) for _ in range(3))) for number in range(40)}
    copy = {row[0]: row for row in _chosen(table_plan, list(rows.values()))}
    placed = []
    for order in range(300):
        number = rng.randrange(50)
        before = rows.get(number)
        after = (b"%d" % number, *(rng.choice(values) for _ in range(3)))
        if before is None:
            placed.append((order, insert(FULL, *after)))
        elif rng.random() < 0.2:
            placed.append((order, delete(FULL, *before)))
            del rows[number]
            continue
        else:
            kept = tuple(place for place in (1, 2, 3) if rng.random() < 0.3 and before[place] is not None)
            after = tuple(before[place] if place in kept else value for place, value in enumerate(after))
            sent = tuple(None if place in kept else value for place, value in enumerate(after))
            placed.append((order, update(FULL, *sent, old=before, unchanged=kept)))
        rows[number] = after
    changes = mask_changes(table_plan, changes_of(FULL, placed))
    news, olds = iter(changes.new.to_pylist()), iter(changes.old.to_pylist())
    for operation, old_kind, code in zip(changes.operations, changes.old_kinds, changes.unchanged, strict=True):
        old = tuple(next(olds).values()) if old_kind != OldImage.NONE else None
        new = tuple(next(news).values()) if operation != Operation.DELETE else None
        if operation == Operation.INSERT:
            assert new is not None
            assert new[0] not in copy
            copy[new[0]] = new
            continue
        assert old is not None
        assert copy.pop(old[0]) == old
        if new is not None:
            pattern = changes.patterns[code]
            copy[new[0]] = tuple(old[place] if place in pattern else value for place, value in enumerate(new))
    assert copy == {row[0]: row for row in _chosen(table_plan, list(rows.values()))}


def _condition(condition: str) -> Predicate:
    shapes = {name: fix_catalog.column(name, "bigint" if name == "id" else "text") for name in COLUMNS}
    return compile_predicate(condition, shapes)


def _chosen(table_plan: TablePlan, rows: list[tuple[bytes | None, ...]]) -> list[tuple[bytes | None, ...]]:
    columns = [pa.array(column, pa.binary()) for column in zip(*rows, strict=True)]
    flags = table_plan.is_chosen(pa.record_batch(columns, names=list(COLUMNS)), escaped=False)
    return [row for row, flag in zip(rows, flags, strict=True) if flag]


def test_without_the_row_before_nobody_knows_whether_it_was_chosen() -> None:
    """An update without its old image is refused, unless the condition reads nothing but the key."""
    gone = delete(KEYED, b"7", b"x", b"y", b"z")
    changes = changes_of(KEYED, [(0, update(KEYED, b"1", b"x", b"y", b"z")), (1, gone)])
    by_value = TablePlan(KEYED.name, tuple(COLUMNS), {}, chosen=_condition("a = 'x'"))
    with pytest.raises(Unsent, match="REPLICA IDENTITY FULL"):
        mask_changes(by_value, changes)
    by_key = TablePlan(KEYED.name, tuple(COLUMNS), {}, chosen=_condition("id < 5"))
    assert mask_changes(by_key, changes).operations.tolist() == [Operation.UPDATE]


def test_blocks_keep_the_chosen_rows() -> None:
    """Rows of COPY text pass whole, or not at all."""
    chosen = TablePlan(KEYED.name, tuple(COLUMNS), {}, chosen=_condition("a = 'x' OR b IS NULL"))
    block = b"1\tx\ty\tz\n2\tq\t\\N\tz\\n\n3\tq\ty\tz\n"
    assert bytes(chosen.mask_block(block, list(COLUMNS))) == b"1\tx\ty\tz\n2\tq\t\\N\tz\\n\n"
    assert bytes(chosen.mask_block(b"3\tq\ty\tz\n", list(COLUMNS))) == b""
    assert bytes(chosen.mask_block(b"", list(COLUMNS))) == b""


def _masked(row: tuple[bytes | None, ...]) -> list[bytes | None]:
    a, b, c = row
    return [None if a is None else a + b"/" + (b or b"-"), None if b is None else b.upper(), c]


def _apply(copy: dict[int, list[bytes | None]], changes: Changes) -> None:
    """What an applier does: an update leaves alone what its pattern names."""
    news = iter(changes.new.to_pylist())
    olds = iter(changes.old.to_pylist())
    for operation, old_kind, code in zip(changes.operations, changes.old_kinds, changes.unchanged, strict=True):
        old = next(olds) if old_kind != OldImage.NONE else None
        if operation == Operation.DELETE:
            assert old is not None
            assert copy.pop(int(old["id"])) == [old["a"], old["b"], old["c"]]
            continue
        new = next(news)
        row = copy.setdefault(int(new["id"]), [None, None, None])
        for place, name in enumerate("abc"):
            if place + 1 not in changes.patterns[code]:
                row[place] = new[name]
