"""Many changes at once bring what they bring one by one, and only what must goes one by one."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from capture.model import (
    ReplicaIdentity,
    ServerFailed,
    Table,
)
from tests.fix_copy import CLONED_AT
from tests.fix_postgres import Database
from tests.sink.made_windows import (
    KEYED,
    LATER,
    Begin,
    Change,
    Row,
    apply,
    apply_open,
    delete,
    insert,
    rows,
    tables_of,
    update,
    window,
)


class Production:
    """A table that is changed at random; ``rows`` is what it holds after the changes that were taken from it."""

    def __init__(self, table: Table, seed: int, keys: int) -> None:
        self.table = table
        self.rows: dict[Row, Row] = {}
        self._draw = random.Random(seed)
        self._keys = keys
        self._width = len(table.copied_columns)
        names = [column.name for column in table.copied_columns]
        self._key = [names.index(name) for name in table.primary_key]
        self._is_full = table.replica_identity is ReplicaIdentity.FULL

    def change(self) -> Change:
        """One that is possible now."""
        draw = self._draw
        key = self._a_key()
        is_full = len(self.rows) > 0.8 * self._keys
        if key not in self.rows or (not is_full and draw.random() < 0.1):
            key = key if key not in self.rows else self._free_key()
            self.rows[key] = self._row(key)
            return insert(self.table, *self.rows[key])
        before = self.rows[key]
        image = before if self._is_full else self._key_image(before)
        match draw.choice(["update", "update", "update", "delete", "move"] if draw.random() < 0.5 else ["update"]):
            case "delete":
                del self.rows[key]
                return delete(self.table, *image)
            case "move" if not is_full and draw.random() < 0.1:
                to = self._free_key()
                del self.rows[key]
                self.rows[to] = self._row(to)
                return update(self.table, *self.rows[to], old=image)
        after = list(self._row(key))
        unchanged = tuple(place for place in range(self._width) if place not in self._key and draw.random() < 0.15)
        for place in unchanged:
            after[place] = before[place]
        self.rows[key] = tuple(after)
        sent = tuple(None if place in unchanged else value for place, value in enumerate(after))
        old = image if self._is_full or draw.random() < 0.1 else None
        return update(self.table, *sent, old=old, unchanged=unchanged)

    def _a_key(self) -> Row:
        number = self._draw.randrange(self._keys)
        return (
            (b"%d" % (number // 7), b"k%d" % (number % 7))[: len(self._key)]
            if len(self._key) > 1
            else (b"%d" % number,)
        )

    def _free_key(self) -> Row:
        while (key := self._a_key()) in self.rows:
            pass
        return key

    def _row(self, key: Row) -> Row:
        made: list[bytes | None] = [
            self._draw.choice([None, b"", b"x\ty", b"\\N", b"v%d" % self._draw.randrange(99)])
            for _ in range(self._width)
        ]
        for place, value in zip(self._key, key, strict=True):
            made[place] = value
        return tuple(made)

    def _key_image(self, row: Row) -> Row:
        return tuple(value if place in self._key else None for place, value in enumerate(row))


@pytest.mark.parametrize("keys", [40, 400, 4000])
@pytest.mark.parametrize("identity", [ReplicaIdentity.DEFAULT, ReplicaIdentity.FULL])
async def test_many_changes_bring_what_they_bring_one_by_one(
    copy: Database, applier: Begin, ways: set[str], identity: ReplicaIdentity, keys: int
) -> None:
    """Two tables at once, one with a key of two columns, in windows of all sizes that are cut anywhere."""
    copy.execute(
        "CREATE TABLE public.single (id bigint PRIMARY KEY, a text, b text)",
        "CREATE TABLE public.pairs (x text, n int, k text, y text, PRIMARY KEY (n, k))",
    )
    single, pairs = (replace(table, replica_identity=identity) for table in await tables_of(copy, "single", "pairs"))
    target = await applier("runner", single, pairs)
    productions = [Production(single, keys, keys), Production(pairs, keys + 1, keys)]
    draw = random.Random(keys)
    for size in (3000, 3, 15, 16, 40, 200, 700, 4000):
        made = window(*[draw.choice(productions).change() for _ in range(size)])
        edges = sorted({0, size, *(draw.randrange(size) for _ in range(draw.choice([0, 0, 2])))})
        await target.begin()
        for start, stop in pairwise(edges):
            await target.apply(made, start, stop)
        await target.commit(LATER, CLONED_AT)
    for production in productions:
        names = [column.name for column in production.table.copied_columns]
        wanted = [tuple(None if value is None else value.decode() for value in row) for row in production.rows.values()]
        as_text = ", ".join(f"{name}::text" for name in names)
        assert sorted(copy.execute(f"SELECT {as_text} FROM {production.table.name}"), key=repr) == sorted(
            wanted, key=repr
        )
    assert {"insert", "update", "delete"} <= ways
    if keys >= 400:
        assert {"insert_many", "update_many"} <= ways
    if keys == 4000:
        assert {"copy_in", "delete_many"} <= ways


async def test_only_what_must_goes_one_by_one(copy: Database, applier: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that changes now and then; and keys of several columns are not taken for each other."""
    copy.execute("CREATE TABLE public.pairs (n int, k text, a text, PRIMARY KEY (n, k))")
    [pairs] = await tables_of(copy, "pairs")
    target = await applier("runner", pairs)
    alone: list[int] = []
    real = target._one_by_one

    async def recorded(part: Any, places: Any) -> None:
        alone.append(len(places))
        await real(part, places)

    monkeypatch.setattr(target, "_one_by_one", recorded)
    keys = [key for n in range(1, 21) for key in ((b"%d" % n, b"%d1" % n), (b"%d1" % n, b"%d" % n))]
    keys += [(b"%d" % n, b"1%d" % n) for n in range(21, 41)]
    await apply(target, *[insert(pairs, *key, b"a") for key in keys])
    changed = [update(pairs, *key, b"b") for key in keys]
    moved = [
        update(pairs, b"100", b"x", b"c", old=(*keys[0], None)),
        update(pairs, *keys[0], b"c", old=(*keys[1], None)),
    ]
    named = [update(pairs, *key, b"d", old=(*key, None)) for key in keys[2:]]
    await apply(target, *changed, *moved, *named)
    assert alone == [1, 1]
    wanted = [
        ("100", "x", "c"),
        (*map(bytes.decode, keys[0]), "c"),
        *((*map(bytes.decode, key), "d") for key in keys[2:]),
    ]
    assert sorted(copy.execute("SELECT n::text, k, a FROM public.pairs")) == sorted(wanted)


@pytest.mark.parametrize("kind", ["UNIQUE", "UNIQUE DEFERRABLE INITIALLY DEFERRED"])
async def test_a_unique_value_may_move_between_rows(copy: Database, applier: Begin, ways: set[str], kind: str) -> None:
    """What came before in the same transaction stays; what is done at once is given up, and done in order."""
    copy.execute(f"CREATE TABLE public.unique (id bigint PRIMARY KEY, a text {kind}, b text)")
    [table] = await tables_of(copy, "unique")
    target = await applier("runner", table)
    await apply(target, *[insert(table, b"%d" % n, b"u%d" % n, b"old") for n in range(60)])
    ways.clear()
    await target.begin()
    await apply_open(target, *[insert(KEYED, b"%d" % n, b"earlier", None) for n in range(100, 150)])
    rotated = [update(table, b"0", b"aside", b"new")]
    rotated += [update(table, b"%d" % n, b"u%d" % (n - 1), b"new") for n in range(1, 60)]
    rotated += [update(table, b"0", b"u59", b"new")]
    # A value that a new row takes over from one that lives on, and one that it gives away again.
    rotated += [
        update(table, b"7", b"free", b"new"),
        insert(table, b"100", b"u6", b"born"),
        update(table, b"100", b"own", b"born"),
        update(table, b"7", b"u6", b"new"),
    ]
    await apply_open(target, *rotated)
    await apply_open(target, *[insert(KEYED, b"%d" % n, b"later", None) for n in range(200, 250)])
    await target.commit(LATER, CLONED_AT)
    wanted = [(n, f"u{(n - 1) % 60}", "new") for n in range(60)]
    assert copy.execute("SELECT * FROM public.unique ORDER BY id") == [*wanted, (100, "own", "born")]
    assert copy.execute("SELECT a, count(*) FROM public.keyed WHERE id >= 100 GROUP BY 1 ORDER BY 1") == [
        ("earlier", 50),
        ("later", 50),
    ]
    assert {"update_many", "update"} <= ways


async def test_a_window_that_was_given_up_many_times_leaves_the_transaction_usable(
    copy: Database, applier: Begin
) -> None:
    """A long transaction may swap values in every window."""
    copy.execute("CREATE TABLE public.swaps (id bigint PRIMARY KEY, a text UNIQUE)")
    [table] = await tables_of(copy, "swaps")
    target = await applier("runner", table)
    await apply(target, *[insert(table, b"%d" % n, b"u%d" % n) for n in range(20)])
    await target.begin()
    for turn in range(30):
        shift = turn + 1
        await apply_open(
            target,
            *[update(table, b"%d" % n, b"aside%d" % n) for n in range(20)],
            *[update(table, b"%d" % n, b"u%d" % ((n + shift) % 20)) for n in range(20)],
        )
        swapped = [update(table, b"0", b"aside")]
        swapped += [update(table, b"%d" % n, b"u%d" % ((n + shift - 1) % 20)) for n in range(1, 20)]
        swapped += [update(table, b"0", b"u%d" % ((shift - 1) % 20))]
        await apply_open(target, *swapped)
    await target.commit(LATER, CLONED_AT)
    assert rows(copy, table) == sorted([(n, f"u{(n + 29) % 20}") for n in range(20)], key=repr)


async def test_what_came_before_a_window_that_is_given_up_is_never_lost(copy: Database, applier: Begin) -> None:
    """Neither that of an earlier window, nor that of one which was given up itself."""
    copy.execute("CREATE TABLE public.swaps (id bigint PRIMARY KEY, a text UNIQUE)")
    [table] = await tables_of(copy, "swaps")
    target = await applier("runner", table)
    await apply(target, *[insert(table, b"%d" % n, b"u%d" % n) for n in range(20)])
    swap = [update(table, b"0", b"aside"), *[update(table, b"%d" % n, b"u%d" % (n - 1)) for n in range(1, 20)]]
    await target.begin()
    await apply_open(target, *swap, update(table, b"0", b"u19"))
    with pytest.raises(ServerFailed, match=r"update of public\.keyed touched 0 rows of the copy instead of 1"):
        await apply_open(target, *[update(KEYED, b"%d" % n, b"x", None) for n in range(1, 30)])
    await target.rollback()
    await target.begin()
    await apply_open(target, *swap, update(table, b"0", b"u19"))
    await apply_open(target, *[insert(KEYED, b"%d" % n, b"x", None) for n in range(100, 120)])
    await target.commit(LATER, CLONED_AT)
    assert rows(copy, table) == sorted([(n, f"u{(n - 1) % 20}") for n in range(20)], key=repr)
    assert len(rows(copy, KEYED)) == 22


async def test_a_value_moves_among_changes_of_which_no_operation_has_many(copy: Database, applier: Begin) -> None:
    """Enough changes for a level, too few of each operation for a statement: their own order is all that is right."""
    copy.execute("CREATE TABLE public.swaps (id bigint PRIMARY KEY, a text UNIQUE)")
    [table] = await tables_of(copy, "swaps")
    target = await applier("runner", table)
    await apply(target, *[insert(table, b"%d" % n, b"u%d" % n) for n in range(10)])
    await apply(
        target,
        *[update(table, b"%d" % n, b"aside%d" % n) for n in range(6)],
        *[insert(table, b"%d" % n, b"u%d" % (n - 10)) for n in range(10, 16)],
        *[delete(table, b"%d" % n, None) for n in range(6, 10)],
    )
    assert rows(copy, table) == sorted(
        [*((n, f"aside{n}") for n in range(6)), *((n, f"u{n - 10}") for n in range(10, 16))], key=repr
    )
    # The other way round: an insert takes what a later level gives up, were they told apart.
    await apply(
        target,
        *[update(table, b"%d" % n, b"once%d" % n) for n in range(6)],
        *[update(table, b"%d" % n, b"twice%d" % n) for n in range(6)],
        *[insert(table, b"%d" % n, b"once%d" % (n - 20)) for n in range(20, 26)],
        *[delete(table, b"%d" % n, None) for n in range(10, 16)],
    )
    assert len(rows(copy, table)) == 12


async def test_equal_keys_that_are_written_differently_are_one_row(copy: Database, applier: Begin) -> None:
    """1.0 and 1.00 are not the same, but PostgreSQL holds one of them at a time."""
    copy.execute("CREATE TABLE public.scaled (k numeric PRIMARY KEY, a text)")
    [table] = await tables_of(copy, "scaled")
    target = await applier("runner", table)
    many = range(20)
    await apply(
        target,
        *[insert(table, b"%d.0" % n, b"a") for n in many],
        *[update(table, b"%d.0" % n, b"b") for n in many],
        *[delete(table, b"%d.0" % n, None) for n in many],
        *[insert(table, b"%d.00" % n, b"c") for n in many],
        *[update(table, b"%d.00" % n, b"d") for n in many],
        *[update(table, b"%d.000" % n, b"e", old=(b"%d.00" % n, None)) for n in range(2)],
    )
    wanted = [(f"{n}.000", "e") if n < 2 else (f"{n}.00", "d") for n in many]
    assert sorted(copy.execute("SELECT k::text, a FROM public.scaled")) == sorted(wanted)
