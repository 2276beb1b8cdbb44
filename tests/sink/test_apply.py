"""What production did to its rows happens to the copy's exactly once, whole transactions at a time, or not at all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from capture.catalog import read_catalog
from capture.model import (
    Begins,
    Changes,
    ColumnName,
    Ends,
    Interrupted,
    Lsn,
    OldImage,
    Operation,
    ReplicaIdentity,
    Sequence,
    ServerFailed,
    Table,
    TableName,
    Truncation,
    Window,
)
from capture.source import connect as connect_source
from sink import apply as apply_module
from sink import load, progress, statements
from sink.apply import Applier
from sink.columns import read_converted_types
from sink.sequences import SequenceMarks
from sink.statements import TableShape
from sink.target import Connection
from tests.fix_copy import CLONED, CLONED_AT, OpenTarget, table_of
from tests.fix_postgres import Database
from tests.fix_source import source_address

INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE
COLUMNS = {"id": "bigint", "a": "text", "b": "text"}
KEYED = table_of("keyed", COLUMNS, key=("id",))
FULL = table_of("fully", COLUMNS, identity=ReplicaIdentity.FULL)
ALWAYS = table_of("always", {"id": "bigint", "n": "bigint", "a": "text"}, key=("id",), always=("n",))
BARE = table_of("bare", {})
LATER = Lsn(CLONED + 0x100)

Row = tuple[bytes | None, ...]
Begin = Callable[..., Awaitable[Applier]]


# ------------------------------------------------------------------------------------------------------- windows


@dataclass(frozen=True)
class Change:
    """One change of a table: images in its columns; a key image is NULL outside of the key."""

    table: Table
    operation: Operation
    new: Row | None = None
    old: Row | None = None
    old_is_full: bool = False
    unchanged: tuple[int, ...] = ()


def insert(table: Table, *new: bytes | None) -> Change:
    return Change(table, INSERT, new)


def update(table: Table, *new: bytes | None, old: Row | None = None, unchanged: tuple[int, ...] = ()) -> Change:
    return Change(table, UPDATE, new, old, table.replica_identity is ReplicaIdentity.FULL, unchanged)


def delete(table: Table, *old: bytes | None) -> Change:
    return Change(table, DELETE, None, old, table.replica_identity is ReplicaIdentity.FULL)


def batch(names: list[str], rows: list[Row]) -> pa.RecordBatch:
    if not names:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), type=pa.struct([])))
    columns = [pa.array([row[place] for row in rows], pa.binary()) for place in range(len(names))]
    return pa.RecordBatch.from_arrays(columns, names=names)


def changes_of(table: Table, placed: list[tuple[int, Change]]) -> Changes:
    """The changes of one table, as a window has them."""
    names = [column.name for column in table.copied_columns]
    kinds = [
        OldImage.NONE if one.old is None else OldImage.FULL if one.old_is_full else OldImage.KEY for _, one in placed
    ]
    kept = names if OldImage.FULL in kinds else [name for name in names if name in table.identity_columns]
    patterns = sorted({(), *(one.unchanged for _, one in placed)})
    old = [tuple(one.old[names.index(name)] for name in kept) for _, one in placed if one.old is not None]
    return Changes(
        order=np.array([place for place, _ in placed], np.int64),
        operations=np.array([one.operation for _, one in placed], np.uint8),
        old_kinds=np.array(kinds, np.uint8),
        unchanged=np.array([patterns.index(one.unchanged) for _, one in placed], np.int64),
        patterns=tuple(patterns),
        new=batch(names, [one.new for _, one in placed if one.new is not None]),
        old=batch(kept, old),
    )


def window(*items: Change | tuple[Table, ...]) -> Window:
    """A window of changes, and of truncations of tables."""
    placed: dict[TableName, list[tuple[int, Change]]] = {}
    truncations: list[Truncation] = []
    tables: dict[TableName, Table] = {}
    for place, item in enumerate(items):
        if isinstance(item, Change):
            placed.setdefault(item.table.name, []).append((place, item))
            tables[item.table.name] = item.table
        else:
            truncations.append(Truncation(place, tuple(table.name for table in item)))
    return Window(
        count=len(items),
        changes={name: changes_of(tables[name], of) for name, of in placed.items()},
        truncations=truncations,
        begins=Begins(),
        ends=Ends(),
        position=LATER,
        source_time=CLONED_AT,
    )


async def apply(applier: Applier, *items: Change | tuple[Table, ...]) -> None:
    """What happened, as one whole source transaction."""
    await applier.begin()
    await apply_open(applier, *items)
    await applier.commit(LATER, CLONED_AT)


async def apply_open(applier: Applier, *items: Change | tuple[Table, ...]) -> None:
    made = window(*items)
    await applier.apply(made, 0, made.count)
    await applier.settle()


# ------------------------------------------------------------------------------------------------------ fixtures


@pytest.fixture
def copy(marked: Database) -> Database:
    marked.execute(
        "CREATE TABLE public.keyed (id bigint PRIMARY KEY, a text, b text DEFAULT 'of the copy')",
        "CREATE TABLE public.fully (id bigint, a text, b text)",
        "CREATE TABLE public.always (id bigint PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY, a text)",
        "CREATE TABLE public.bare ()",
        "CREATE SEQUENCE public.ids",
        "INSERT INTO public.keyed VALUES (1, 'one', 'toast'), (2, 'two', 'toast')",
        "INSERT INTO public.fully VALUES (1, NULL, 'x'), (1, NULL, 'x'), (2, 'two', 'y')",
        "INSERT INTO public.always OVERRIDING SYSTEM VALUE VALUES (1, 11, 'one'), (2, 12, 'two')",
    )
    return marked


@pytest.fixture
def applier(copy: Database, open_target: OpenTarget) -> Begin:
    """Make appliers as a session does, each on a connection of its own; for tables that a test brings, too."""

    async def make(runner: str = "runner", *tables: Table, takes_over: bool = True) -> Applier:
        connection = await open_target(copy)
        await load.as_replica(connection)
        if takes_over:
            await progress.become_runner(connection, runner)
        converted = await read_converted_types(connection)
        shapes = {table.name: TableShape.of(table, converted) for table in (KEYED, FULL, ALWAYS, BARE, *tables)}
        ids = Sequence(TableName("public", "ids"), "bigint", 1, 1, 2**31, (ColumnName(KEYED.name, "id"),))
        marks = SequenceMarks((ids,), {}, {ColumnName(KEYED.name, "id")})
        [[now]] = copy.execute("SELECT applied_lsn::text FROM tezcat.progress")
        return Applier(connection, shapes, marks, applied_lsn=Lsn.parse(now), runner=runner)

    return make


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """By which statements changes were applied."""
    used: set[str] = set()

    def spy(module: Any, name: str) -> None:
        real = getattr(module, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            used.add(name)
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, wrapped)

    for name in ("insert", "update", "delete", "find", "replace", "insert_many", "update_many", "delete_many"):
        spy(statements, name)
    spy(apply_module, "copy_in")
    return used


async def tables_of(database: Database, *names: str) -> list[Table]:
    """Tables as production's catalog would have them."""
    async with await connect_source(source_address(database), purpose="tests") as source:
        read = await read_catalog(source)
    return [read.tables[TableName("public", name)] for name in names]


def rows(database: Database, table: Table) -> list[tuple[object, ...]]:
    return sorted(database.execute(f"SELECT * FROM {table.name}"), key=repr)


def applied(database: Database) -> Lsn:
    return Lsn.parse(database.execute("SELECT applied_lsn::text FROM tezcat.progress")[0][0])


# ------------------------------------------------------------------------------------------------------- changes


@pytest.mark.parametrize(
    ("count", "way"),
    [(3, "insert"), (15, "insert"), (16, "insert_many"), (499, "insert_many"), (500, "copy_in"), (2500, "copy_in")],
)
async def test_inserts_come_by_statement_or_by_copy(
    copy: Database, applier: Begin, ways: set[str], count: int, way: str
) -> None:
    """Few rows or many, the result is the same, whatever the text holds; NULL is NULL and no default steps in."""
    odd = [b"", None, b"\\N", b"tab\tnewline\nback\\slash", "\N{SNOWMAN}".encode(), b'{"a",NULL}']
    new = [(b"%d" % (number + 10), odd[number % 6], None) for number in range(count)]
    await apply(await applier(), *[insert(KEYED, *row) for row in new])
    expected = [(int(key or b""), None if a is None else a.decode(), None) for key, a, _ in new]
    assert rows(copy, KEYED) == sorted([*expected, (1, "one", "toast"), (2, "two", "toast")], key=repr)
    assert ways == {way}


@pytest.mark.parametrize("count", [1, 20, 600])
async def test_rows_without_columns_are_rows(copy: Database, applier: Begin, count: int) -> None:
    """A table may have none."""
    made = window(*[insert(BARE)] * count)
    target = await applier()
    await target.begin()
    await target.apply(made, 0, count // 2)
    await target.apply(made, count // 2, count)
    await target.commit(LATER, CLONED_AT)
    assert copy.execute("SELECT count(*) FROM public.bare") == [(count,)]


async def test_an_update_leaves_alone_what_was_not_sent(copy: Database, applier: Begin) -> None:
    """An unchanged TOAST value is not NULL."""
    await apply(
        await applier(),
        update(KEYED, b"1", None, None, unchanged=(2,)),
        update(KEYED, b"2", b"new", None, unchanged=(2,)),
    )
    assert rows(copy, KEYED) == [(1, None, "toast"), (2, "new", "toast")]


async def test_an_update_of_the_key_finds_the_row_by_the_old_one(copy: Database, applier: Begin) -> None:
    """A key image is NULL outside of the key."""
    await apply(await applier(), update(KEYED, b"3", b"moved", None, old=(b"1", None, None), unchanged=(2,)))
    assert rows(copy, KEYED) == [(2, "two", "toast"), (3, "moved", "toast")]


async def test_a_delete_removes_the_row_of_its_key(copy: Database, applier: Begin) -> None:
    """By key image, or by a whole old row."""
    await apply(
        await applier(),
        delete(KEYED, b"1", None, None),
        replace(delete(KEYED, b"2", b"two", b"toast"), old_is_full=True),
    )
    assert rows(copy, KEYED) == []


@pytest.mark.parametrize("beside", [0, 20])
async def test_without_a_key_one_of_the_rows_that_are_alike_is_changed(
    copy: Database, applier: Begin, beside: int
) -> None:
    """REPLICA IDENTITY FULL: the old row says which, and NULL finds NULL; among few changes as among many."""
    target = await applier()
    alike = (b"1", None, b"x")
    more = [insert(FULL, b"9", None, b"z")] * beside
    others = [(9, None, "z")] * beside
    await apply(target, *more, update(FULL, b"1", b"new", b"x", old=alike))
    assert rows(copy, FULL) == sorted([(1, "new", "x"), (1, None, "x"), (2, "two", "y"), *others], key=repr)
    await apply(target, delete(FULL, *alike), *[delete(FULL, b"9", None, b"z")] * beside)
    assert rows(copy, FULL) == [(1, "new", "x"), (2, "two", "y")]


async def test_an_identity_beside_the_key_follows_production(copy: Database, applier: Begin) -> None:
    """Production may SET it to DEFAULT, and then no old image comes; no UPDATE of the copy could set it."""
    target = await applier()
    await apply(target, update(ALWAYS, b"1", b"77", b"new"))
    assert rows(copy, ALWAYS) == [(1, 77, "new"), (2, 12, "two")]
    made = [insert(ALWAYS, b"%d" % number, b"%d" % (number * 2), b"x") for number in range(100, 140)]
    changed = [update(ALWAYS, b"%d" % number, b"%d" % (number * 3), b"y") for number in range(100, 140)]
    await apply(target, *made, *changed, *[delete(ALWAYS, b"%d" % number, None, None) for number in range(101, 140)])
    assert rows(copy, ALWAYS) == [(1, 77, "new"), (100, 300, "y"), (2, 12, "two")]


async def test_an_identity_that_is_the_key_is_found_and_set(copy: Database, applier: Begin, ways: set[str]) -> None:
    """By statements over many rows too; a row of which it changes is made anew."""
    copy.execute("CREATE TABLE public.ident (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text)")
    [ident] = await tables_of(copy, "ident")
    target = await applier("runner", ident)
    keys = [b"%d" % number for number in range(50)]
    await apply(
        target,
        *[insert(ident, key, b"a") for key in keys],
        *[update(ident, key, b"b") for key in keys],
        *[delete(ident, key, None) for key in keys[:30]],
        update(ident, b"77", b"moved", old=(b"49", None)),
    )
    expected = [*((number, "b") for number in range(30, 49)), (77, "moved")]
    assert copy.execute("SELECT * FROM public.ident ORDER BY id") == expected
    assert {"insert_many", "update_many", "delete_many", "replace"} <= ways


@pytest.mark.parametrize("count", [1, 40])
async def test_an_update_that_changes_nothing_still_needs_its_row(copy: Database, applier: Begin, count: int) -> None:
    """All that could have changed was not sent; the row is looked for all the same."""
    copy.execute(f"INSERT INTO public.keyed SELECT n FROM generate_series(10, {9 + count}) n")
    target = await applier()
    same = [update(KEYED, b"%d" % (number + 10), None, None, unchanged=(1, 2)) for number in range(count)]
    await apply(target, *same)
    await target.begin()
    with pytest.raises(ServerFailed, match=r"update of public\.keyed touched 0 rows of the copy instead of 1"):
        await apply_open(target, *same, update(KEYED, b"9", None, None, unchanged=(1, 2)))


async def test_changes_of_one_transaction_come_in_order(copy: Database, applier: Begin) -> None:
    """A key that one row leaves may be taken by the next, and a row may come and go."""
    await apply(
        await applier(),
        update(KEYED, b"3", b"one", None, old=(b"1", None, None), unchanged=(2,)),
        update(KEYED, b"1", b"two", None, old=(b"2", None, None), unchanged=(2,)),
        insert(KEYED, b"4", b"brief", None),
        delete(KEYED, b"4", None, None),
    )
    assert rows(copy, KEYED) == [(1, "two", "toast"), (3, "one", "toast")]


@pytest.mark.parametrize("count", [1, 30, 600])
async def test_truncate_empties_what_came_before_it(copy: Database, applier: Begin, count: int) -> None:
    """Rows that came earlier in the same transaction go, later ones stay."""
    before = [insert(KEYED, b"%d" % (n + 1000), b"before", None) for n in range(count)]
    after = [insert(KEYED, b"%d" % n, None, None) for n in range(count)]
    await apply(await applier(), *before, (KEYED, FULL), *after, insert(FULL, b"5", None, None))
    assert copy.execute("SELECT count(*), count(a) FROM public.keyed") == [(count, 0)]
    assert rows(copy, FULL) == [(5, None, None)]


async def test_a_part_of_a_window_is_applied_for_itself(copy: Database, applier: Begin) -> None:
    """A source transaction that ends in the middle of a window commits without what follows it."""
    keys = [b"%d" % number for number in range(100, 200)]
    made = window(
        *[insert(KEYED, key, b"a", None) for key in keys],
        (FULL,),
        *[update(KEYED, key, b"b", None) for key in keys],
        *[delete(KEYED, key, None, None) for key in keys],
    )
    target = await applier()
    for start, stop, expected in ((0, 50, (50, 0)), (50, 100, (100, 0)), (100, 161, (100, 60)), (161, 300, (1, 1))):
        await target.begin()
        await target.apply(made, start, stop)
        await target.commit(LATER, CLONED_AT)
        assert copy.execute("SELECT count(*), count(*) FILTER (WHERE a = 'b') FROM keyed WHERE id > 2") == [expected]
        assert (rows(copy, FULL) == []) == (stop > 100)
    await apply(target)
    assert applied(copy) == LATER


async def test_sequences_stay_ahead_of_the_rows(copy: Database, applier: Begin) -> None:
    """Also after production has begun to count anew, and when the transaction holds nothing else."""
    target = await applier()
    await apply(target, insert(KEYED, b"40", None, None))
    assert copy.execute("SELECT nextval('public.ids')") == [(41,)]
    await apply(target, (KEYED,), insert(KEYED, b"1", None, None))
    assert copy.execute("SELECT nextval('public.ids')") == [(42,)]
    await apply(target, *[insert(KEYED, b"%d" % number, None, None) for number in range(500, 600)])
    assert copy.execute("SELECT nextval('public.ids')") == [(600,)]


async def test_triggers_and_foreign_keys_are_quiet(copy: Database, applier: Begin) -> None:
    """What they did in production comes as changes of its own."""
    copy.execute(
        "CREATE TABLE public.child (id bigint REFERENCES public.keyed ON DELETE CASCADE)",
        "INSERT INTO public.child VALUES (1)",
        "CREATE FUNCTION public.double() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.a = NEW.a || '!'; RETURN NEW; END $$",
        "CREATE TRIGGER double BEFORE INSERT OR UPDATE ON public.keyed FOR EACH ROW EXECUTE FUNCTION public.double()",
    )
    target = await applier()
    await apply(target, update(KEYED, b"2", b"new", None))
    await apply(target, delete(KEYED, b"1", None, None))
    assert rows(copy, KEYED) == [(2, "new", None)]
    many = [b"%d" % number for number in range(10, 50)]
    await apply(target, *[insert(KEYED, key, b"a", None) for key in many])
    await apply(target, *[update(KEYED, key, b"b", None) for key in many])
    assert copy.execute("SELECT DISTINCT a FROM public.keyed WHERE id >= 10") == [("b",)]
    assert copy.execute("SELECT id FROM public.child") == [(1,)]


# ---------------------------------------------------------------------------------------------- many changes at once


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


# ---------------------------------------------------------------------------------------------------------- types


TYPES: Mapping[str, list[bytes | None]] = {
    "character varying(5)[]": [b'{abcde,NULL,"a "}'],
    "bit(3)": [b"101"],
    "bit varying(5)": [b"", b"10101"],
    "numeric": [b"1.50", b"NaN", b"-Infinity", b"0.000"],
    "numeric(8,3)": [b"1.500", None],
    "double precision": [b"-0", b"1e+300", b"0.1"],
    "real": [b"0.1", b"NaN"],
    "timestamp with time zone": [b"2026-01-01 12:00:00.000001+00", b"infinity", b"0044-03-15 00:00:00+00 BC"],
    "timestamp(3) without time zone": [b"2026-01-01 12:00:00.123"],
    "date": [b"2026-01-01", b"-infinity"],
    "time with time zone": [b"12:00:00.5+02"],
    "interval": [b"1 day", b"24:00:00", b"-1 mons +00:00:01"],
    "interval day to second(2)": [b"1 day 00:00:01.25"],
    "jsonb": [b'{"a": 1.00, "b": null}', b"null"],
    "json": [b'{"a" :1}', None],
    "text[]": [b'{a,NULL,"NULL","","q\\"\\\\"}', b"{}"],
    "integer[]": [b"{{1,2},{3,4}}", b"[2:3]={1,2}"],
    "public.mood": [b"glad"],
    "public.mood[]": [b"{glad,sad}"],
    "public.short": [b"abc", b"", None],
    "public.small": [b"5"],
    "public.pair": [b'(1,"{""a"": 1}","x y")', b"(,,)"],
    "public.pair[]": [b'{"(1,,)"}'],
    "bytea": [b"\\x00ff5c", b"\\x"],
    "character(5)": [b"a    ", b"     "],
    "character varying(5)": [b"a", b"a    ", b""],
    "text": [b"", b"\\N", b"tab\t\nnl", b" "],
    "inet": [b"10.0.0.1/24", b"::1"],
    "cidr": [b"10.0.0.0/8"],
    "macaddr": [b"08:00:2b:01:02:03"],
    "uuid": [b"00000000-0000-0000-0000-000000000001"],
    "tsvector": [b"'a':1A 'b c':2"],
    "tsquery": [b"'a' & 'b'"],
    "money": [b"$1.00", b"-$2.50"],
    "point": [b"(1,2)"],
    "polygon": [b"((0,0),(1,1),(2,0))"],
    "boolean": [b"t", b"f"],
    "oid": [b"4294967295"],
    "pg_lsn": [b"16/B374D848"],
    "int4range": [b"[1,5)", b"empty"],
    "int4multirange": [b"{[1,2),[4,5)}"],
    "jsonpath": [b'$."a"[*]'],
    "public.vector(2)": [b"[1,2]"],
    "regproc": [b"now"],
}
# These have a conversion from text that does not read what their input reads, or that cuts.
READ_APART: Mapping[str, list[bytes | None]] = {
    "bit varying": [b"", b"10101"],
    "name": [b"abc", b""],
    '"char"': [b"a", b"\\303"],
    "regclass": [b"pg_class", None],
    "name[]": [b"{a,b}"],
    "character(5)[]": [b'{"a    ",NULL}'],
    "bit(3)[]": [b"{101,NULL}"],
    "public.label": [b"abc"],
}


@pytest.fixture
def typed(copy: Database) -> Database:
    copy.execute(
        "CREATE EXTENSION vector SCHEMA public",
        "CREATE TYPE public.mood AS ENUM ('glad', 'sad')",
        "CREATE TYPE public.pair AS (a int, b jsonb, c text)",
        "CREATE DOMAIN public.short AS varchar(3)",
        "CREATE DOMAIN public.small AS int CHECK (VALUE < 10)",
        "CREATE DOMAIN public.label AS name",
    )
    return copy


async def both(
    database: Database, applier: Begin, columns: Mapping[str, list[bytes | None]]
) -> tuple[Applier, Table, Table]:
    """Two tables with a column of each type, one to be changed by many at once, the other one by one."""
    ddl = ", ".join(f"c{number} {type_name}" for number, type_name in enumerate(columns))
    for name in ("many", "each"):
        database.execute(f"CREATE TABLE public.{name} (id bigint PRIMARY KEY, {ddl})")
    many, each = await tables_of(database, "many", "each")
    return await applier("runner", many, each), many, each


def content(database: Database, table: Table) -> list[tuple[object, ...]]:
    as_text = ", ".join(f"{column.name}::text" for column in table.copied_columns)
    return sorted(database.execute(f"SELECT {as_text} FROM {table.name}"))


@pytest.mark.parametrize("columns", [TYPES, READ_APART], ids=["read as text", "read apart"])
async def test_every_type_comes_the_same_in_many_as_in_one(
    typed: Database, applier: Begin, ways: set[str], columns: Mapping[str, list[bytes | None]]
) -> None:
    """An array of texts that is cast, and a parameter of the type itself, are the same row."""
    target, many, each = await both(typed, applier, columns)
    rows_of = [tuple(values[turn % len(values)] for values in columns.values()) for turn in range(40)]
    changed = [tuple(values[turn % len(values)] for values in columns.values()) for turn in range(1, 41)]
    for made in (
        lambda table: [insert(table, b"%d" % n, *row) for n, row in enumerate(rows_of)],
        lambda table: [update(table, b"%d" % n, *row) for n, row in enumerate(changed)],
    ):
        await apply(target, *made(many))
        for change in made(each):
            await apply(target, change)
        assert content(typed, many) == content(typed, each)
    assert len(content(typed, many)) == 40
    assert ("insert_many" in ways, "update_many" in ways) == ((True, True) if columns is TYPES else (False, False))
    assert ("copy_in" in ways) == (columns is READ_APART)


@pytest.mark.parametrize(
    ("type_name", "values"),
    [(type_name, values) for type_name, values in TYPES.items() if type_name in {
        "numeric", "timestamp with time zone", "date", "interval", "character(5)", "character varying(5)", "text",
        "inet", "uuid", "bytea", "bit(3)", "boolean", "public.mood", "public.short", "integer[]", "jsonb",
        "money",
    }],
)  # fmt: skip
async def test_a_key_of_any_type_finds_its_row(
    typed: Database, applier: Begin, ways: set[str], type_name: str, values: list[bytes | None]
) -> None:
    """Beside a number, so that there are many; the row is changed, moved and deleted."""
    typed.execute(f"CREATE TABLE public.found (n int, k {type_name}, a text, PRIMARY KEY (k, n))")
    [table] = await tables_of(typed, "found")
    target = await applier("runner", table)
    # Equal, though not the same, and no two rows can have them.
    values = [value for value in values if value not in (None, b"24:00:00")]
    keys = [(b"%d" % n, value) for n in range(20) for value in values]
    await apply(target, *[insert(table, *key, b"a") for key in keys], *[update(table, *key, b"b") for key in keys])
    assert typed.execute("SELECT a, count(*) FROM public.found GROUP BY 1") == [("b", len(keys))]
    await apply(target, *[delete(table, *key, None) for key in keys])
    assert typed.execute("SELECT count(*) FROM public.found") == [(0,)]
    assert {"insert_many", "update_many", "delete_many"} <= ways


TOO_LONG = {
    "character varying(3)": (b"abc", b"abcd"),
    "character(3)": (b"abc", b"abcd"),
    "public.short": (b"abc", b"abcd"),
    "character varying(3)[]": (b"{abc}", b"{abcd}"),
    "character(3)[]": (b"{abc}", b"{abcd}"),
    "bit(3)": (b"101", b"1011"),
    "bit varying(3)": (b"101", b"1011"),
    "numeric(3,1)": (b"10.5", b"100.5"),
    "public.small": (b"1", b"11"),
}


@pytest.mark.parametrize("type_name", TOO_LONG)
@pytest.mark.parametrize("operation", [INSERT, UPDATE], ids=str)
@pytest.mark.parametrize("count", [1, 20, 600])
async def test_a_value_that_is_too_long_is_an_error_in_one_as_in_many(
    typed: Database, applier: Begin, type_name: str, operation: Operation, count: int
) -> None:
    """It is never cut in silence, and never told."""
    good, bad = TOO_LONG[type_name]
    typed.execute(
        f"CREATE TABLE public.limited (id bigint PRIMARY KEY, a {type_name})",
        f"INSERT INTO public.limited SELECT n FROM generate_series(0, 599) n WHERE {operation is UPDATE}",
    )
    [table] = await tables_of(typed, "limited")
    target = await applier("runner", table)
    await target.begin()
    values = [good] * (count - 1) + [bad]
    with pytest.raises(ServerFailed, match=r"SQLSTATE 2\d{4}") as caught:
        await apply_open(target, *[Change(table, operation, (b"%d" % n, value)) for n, value in enumerate(values)])
    assert bad.decode() not in str(caught.value)


@pytest.mark.parametrize(
    ("type_name", "value", "conversion"),
    [
        ("integer[]", b"{1,2}", "SELECT '{666}'::int[]"),
        ("public.pair", b"(1,,x)", "SELECT ROW(666, NULL, $1)::public.pair"),
    ],
)
async def test_a_type_with_a_conversion_of_its_own_is_not_taken_as_text(
    typed: Database, applier: Begin, type_name: str, value: bytes, conversion: str
) -> None:
    """Somebody may have said how a text becomes an array, or one of their types; the type's input decides."""
    typed.execute(
        f"CREATE FUNCTION public.made(text) RETURNS {type_name} IMMUTABLE LANGUAGE sql AS $$ {conversion} $$",
        f"CREATE CAST (text AS {type_name}) WITH FUNCTION public.made(text)",
    )
    target, many, each = await both(typed, applier, {type_name: []})
    for table in (many, each):
        new = [insert(table, b"%d" % n, value) for n in range(20)]
        for changes in [new] if table is many else [[change] for change in new]:
            await apply(target, *changes)
    assert content(typed, many) == content(typed, each)


# ------------------------------------------------------------------------------------------------- exactly once


@pytest.mark.parametrize("count", [0, 30, 600])
@pytest.mark.parametrize("operation", [UPDATE, DELETE], ids=str)
async def test_a_change_without_its_row_stops_everything(
    copy: Database, applier: Begin, operation: Operation, count: int
) -> None:
    """The copy was changed by hand: nothing of the transaction is applied, and the position stays; alone or among
    many, the same words say it."""
    copy.execute(
        f"INSERT INTO public.keyed SELECT n FROM generate_series(10, {9 + count}) n",
        "DELETE FROM public.keyed WHERE id = 2",
    )
    before = rows(copy, KEYED)
    target = await applier()
    await target.begin()
    keys = [b"1", *(b"%d" % (number + 10) for number in range(count)), b"2"]
    with pytest.raises(ServerFailed) as caught:
        await apply_open(
            target,
            insert(KEYED, b"9999", b"canary", None),
            *[
                update(KEYED, key, b"canary", None) if operation is UPDATE else delete(KEYED, key, None, None)
                for key in keys
            ],
        )
    assert f"the {operation} of public.keyed touched 0 rows of the copy instead of 1" in caught.value.message
    assert "clone again" in caught.value.hint
    assert "canary" not in str(caught.value)
    assert target.is_open
    await target.rollback()
    assert rows(copy, KEYED) == before
    assert (applied(copy), target.applied_lsn) == (CLONED, CLONED)


@pytest.mark.parametrize("count", [1, 20])
async def test_a_change_that_no_key_identifies_is_refused(applier: Begin, count: int) -> None:
    """A table without replica identity cannot have sent it."""
    target = await applier()
    await target.begin()
    with pytest.raises(ServerFailed, match=r"delete of public\.bare, which has no replica identity"):
        await apply_open(target, *[replace(delete(BARE), old_is_full=True)] * count)


@pytest.mark.parametrize("count", [1, 60, 600])
async def test_a_row_that_stands_in_the_way_stops_everything(copy: Database, applier: Begin, count: int) -> None:
    """By COPY as by statement: table and constraint are named, the value is not, and nothing of the window is left."""
    copy.execute("INSERT INTO public.keyed VALUES (777000, 'by hand')")
    before = rows(copy, KEYED)
    target = await applier()
    await target.begin()
    with pytest.raises(ServerFailed, match=r"23505 at public\.keyed, constraint keyed_pkey") as caught:
        await apply_open(
            target,
            *[insert(KEYED, b"%d" % (777000 + number), b"canary", None) for number in reversed(range(count))],
            insert(FULL, b"9", None, None),
        )
    assert "canary" not in str(caught.value)
    assert "777000" not in str(caught.value)
    await target.rollback()
    assert rows(copy, KEYED) == before
    assert len(rows(copy, FULL)) == 3
    # The same runner can go on once the row is away.
    copy.execute("DELETE FROM public.keyed WHERE id = 777000")
    await apply(target, *[insert(KEYED, b"%d" % (777000 + number), None, None) for number in range(count)])
    assert len(rows(copy, KEYED)) == len(before) - 1 + count


async def test_many_source_transactions_share_one_of_the_target(copy: Database, applier: Begin) -> None:
    """Until it commits nobody sees any; then all, with the position of the last."""
    target = await applier()
    await target.begin()
    for number in (3, 4, 5):
        await apply_open(target, insert(KEYED, b"%d" % number, None, None))
    assert len(rows(copy, KEYED)) == 2
    await target.commit(LATER, CLONED_AT + timedelta(seconds=5))
    assert len(rows(copy, KEYED)) == 5
    [told] = copy.execute("SELECT applied_lsn::text, source_time FROM tezcat.progress")
    assert told == (str(LATER), CLONED_AT + timedelta(seconds=5))
    assert not target.is_open


async def test_a_runner_that_was_replaced_commits_nothing(copy: Database, applier: Begin) -> None:
    """It is fenced by name although the position is still its own."""
    first = await applier("first")
    await first.begin()
    await apply_open(first, insert(KEYED, b"3", None, None))
    await applier("second")
    with pytest.raises(ServerFailed, match="another runner has taken this copy over"):
        await first.commit(LATER, CLONED_AT)
    await first.rollback()
    assert len(rows(copy, KEYED)) == 2
    assert applied(copy) == CLONED


async def test_a_transaction_that_was_applied_is_not_applied_again(copy: Database, applier: Begin) -> None:
    """Two with one name and one position, as after a confusion of hosts: the second one's swap fails."""
    first = await applier("runner")
    second = await applier("runner", takes_over=False)
    await apply(first, insert(FULL, b"7", None, None))
    with pytest.raises(ServerFailed, match="another runner"):
        await apply(second, insert(FULL, b"7", None, None))
    await second.rollback()
    assert copy.execute("SELECT count(*) FROM public.fully WHERE id = 7") == [(1,)]


@pytest.mark.parametrize("count", [0, 1, 60, 600])
async def test_a_lost_connection_applies_nothing(copy: Database, applier: Begin, count: int) -> None:
    """The next session begins from the position that is in the copy, whatever was under way."""
    target = await applier()
    await target.begin()
    await apply_open(target, insert(KEYED, b"3", None, None))
    connection: Connection = target._connection
    copy.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")

    async def go_on() -> None:
        await apply_open(target, *[insert(KEYED, b"%d" % (number + 10), None, None) for number in range(count)])
        await target.commit(LATER, CLONED_AT)

    with pytest.raises(Interrupted):
        await go_on()
    assert len(rows(copy, KEYED)) == 2
    assert applied(copy) == CLONED


async def test_applied_is_told_from_durable(copy: Database, applier: Begin) -> None:
    """A commit is asynchronous; it counts as durable when the target has flushed it, and not before."""
    target = await applier()
    positions = [Lsn(CLONED + step) for step in (1, 2, 3)]
    seen = set()
    for position in positions:
        await target.begin()
        await apply_open(target, insert(FULL, b"7", None, None))
        await target.commit(position, CLONED_AT)
        assert target.applied_lsn == position
        assert CLONED <= target.durable_lsn <= position
        seen.add(target.durable_lsn)
    async with asyncio.timeout(10):
        while target.durable_lsn < positions[-1]:
            await target.check_durable()
            await asyncio.sleep(0.01)
    await target.begin()
    [[setting]] = await (await target._connection.execute("SHOW synchronous_commit")).fetchall()
    await target.rollback()
    assert setting == "off"
