"""What production did to its rows happens to the copy's exactly once, whole transactions at a time, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pyarrow as pa
import pytest

from capture.model import (
    ColumnName,
    Lsn,
    Operation,
    ReplicaIdentity,
    Run,
    Sequence,
    ServerFailed,
    Table,
    TableName,
    Truncation,
)
from sink import load, progress
from sink.apply import Applier, Images
from sink.sequences import SequenceMarks
from sink.statements import TableShape
from sink.target import Connection
from tests.fix_copy import CLONED, CLONED_AT, OpenTarget, table_of
from tests.fix_postgres import Database

INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE
COLUMNS = {"id": "bigint", "a": "text", "b": "text"}
KEYED = table_of("keyed", COLUMNS, key=("id",))
FULL = table_of("fully", COLUMNS, identity=ReplicaIdentity.FULL)
ALWAYS = table_of("always", {"id": "bigint", "n": "bigint", "a": "text"}, key=("id",), always=("n",))
BARE = table_of("bare", {})
LATER = Lsn(CLONED + 0x100)

Row = tuple[bytes | None, ...]
Begin = Callable[..., Awaitable[Applier]]


def images(table: Table, *rows: Row) -> Images:
    names = [column.name for column in table.copied_columns]
    if not names:
        return Images(pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), type=pa.struct([]))))
    columns = [pa.array([row[place] for row in rows], pa.binary()) for place in range(len(names))]
    return Images(pa.RecordBatch.from_arrays(columns, names=names))


def run_of(
    table: Table,
    operation: Operation,
    count: int,
    *,
    old: bool = False,
    old_is_full: bool = False,
    unchanged: tuple[int, ...] = (),
) -> Run:
    new_start = -1 if operation is DELETE else 0
    return Run(table.name, operation, new_start, 0 if old else -1, old_is_full, unchanged, count)


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
    """Make appliers as a session does, each on a connection of its own."""

    async def make(runner: str = "runner", *, takes_over: bool = True) -> Applier:
        connection = await open_target(copy)
        await load.as_replica(connection)
        if takes_over:
            await progress.become_runner(connection, runner)
        shapes = {table.name: TableShape.of(table) for table in (KEYED, FULL, ALWAYS, BARE)}
        ids = Sequence(TableName("public", "ids"), "bigint", 1, 1, 2**31, (ColumnName(KEYED.name, "id"),))
        marks = SequenceMarks((ids,), {}, {ColumnName(KEYED.name, "id")})
        return Applier(connection, shapes, marks, applied_lsn=CLONED, runner=runner)

    return make


def rows(database: Database, table: Table) -> list[tuple[object, ...]]:
    return sorted(database.execute(f"SELECT * FROM {table.name}"), key=repr)


def applied(database: Database) -> Lsn:
    return Lsn.parse(database.execute("SELECT applied_lsn::text FROM tezcat.progress")[0][0])


async def apply(applier: Applier, run: Run, new: Images | None = None, old: Images | None = None) -> None:
    """One run as a whole source transaction."""
    await applier.begin()
    await applier.run(run, new, old)
    await applier.commit(LATER, CLONED_AT)


async def apply_run(applier: Applier, run: Run, new: Images) -> None:
    await applier.run(run, new, None)
    await applier.flush()


# ------------------------------------------------------------------------------------------------------- changes


@pytest.mark.parametrize("count", [3, 49, 50, 2500])
async def test_inserts_come_by_statement_or_by_copy(copy: Database, applier: Begin, count: int) -> None:
    """Few rows or many, the result is the same, whatever the text holds; NULL is NULL and no default steps in."""
    odd = [b"", None, b"\\N", b"tab\tnewline\nback\\slash", "\N{SNOWMAN}".encode()]
    new = [(b"%d" % (number + 10), odd[number % 5], None) for number in range(count)]
    await apply(await applier(), run_of(KEYED, INSERT, count), images(KEYED, *new))
    expected = [(int(key or b""), None if a is None else a.decode(), None) for key, a, _ in new]
    assert rows(copy, KEYED) == sorted([*expected, (1, "one", "toast"), (2, "two", "toast")], key=repr)


@pytest.mark.parametrize("count", [1, 60])
async def test_rows_without_columns_are_rows(copy: Database, applier: Begin, count: int) -> None:
    """A table may have none."""
    await apply(await applier(), run_of(BARE, INSERT, count), images(BARE, *[()] * count))
    assert copy.execute("SELECT count(*) FROM public.bare") == [(count,)]


async def test_an_update_leaves_alone_what_was_not_sent(copy: Database, applier: Begin) -> None:
    """An unchanged TOAST value is not NULL."""
    new = images(KEYED, (b"1", None, None), (b"2", b"new", None))
    await apply(await applier(), run_of(KEYED, UPDATE, 2, unchanged=(2,)), new)
    assert rows(copy, KEYED) == [(1, None, "toast"), (2, "new", "toast")]


async def test_an_update_of_the_key_finds_the_row_by_the_old_one(copy: Database, applier: Begin) -> None:
    """A key image is NULL outside of the key."""
    new, old = images(KEYED, (b"3", b"moved", None)), images(KEYED, (b"1", None, None))
    await apply(await applier(), run_of(KEYED, UPDATE, 1, old=True, unchanged=(2,)), new, old)
    assert rows(copy, KEYED) == [(2, "two", "toast"), (3, "moved", "toast")]


async def test_a_delete_removes_the_row_of_its_key(copy: Database, applier: Begin) -> None:
    """By key image, or by a whole old row."""
    old = images(KEYED, (b"1", None, None), (b"2", b"two", b"toast"))
    await apply(await applier(), run_of(KEYED, DELETE, 2, old=True), None, old)
    assert rows(copy, KEYED) == []


async def test_without_a_key_one_of_the_rows_that_are_alike_is_changed(copy: Database, applier: Begin) -> None:
    """REPLICA IDENTITY FULL: the old row says which, and NULL finds NULL."""
    target = await applier()
    alike, new = images(FULL, (b"1", None, b"x")), images(FULL, (b"1", b"new", b"x"))
    await apply(target, run_of(FULL, UPDATE, 1, old=True, old_is_full=True), new, alike)
    assert rows(copy, FULL) == [(1, "new", "x"), (1, None, "x"), (2, "two", "y")]
    await apply(target, run_of(FULL, DELETE, 1, old=True, old_is_full=True), None, alike)
    assert rows(copy, FULL) == [(1, "new", "x"), (2, "two", "y")]


async def test_an_identity_beside_the_key_follows_production(copy: Database, applier: Begin) -> None:
    """Production may SET it to DEFAULT, and then no old image comes; no UPDATE of the copy could set it."""
    await apply(await applier(), run_of(ALWAYS, UPDATE, 1), images(ALWAYS, (b"1", b"77", b"new")))
    assert rows(copy, ALWAYS) == [(1, 77, "new"), (2, 12, "two")]


async def test_an_update_that_changes_nothing_still_needs_its_row(copy: Database, applier: Begin) -> None:
    """All that could have changed was not sent; the row is looked for all the same."""
    target = await applier()
    run = run_of(KEYED, UPDATE, 1, unchanged=(1, 2))
    await apply(target, run, images(KEYED, (b"1", None, None)))
    with pytest.raises(ServerFailed, match=r"update of public\.keyed touched 0 rows"):
        await apply(target, run, images(KEYED, (b"9", None, None)))


async def test_changes_of_one_transaction_come_in_order(copy: Database, applier: Begin) -> None:
    """A key that one row leaves may be taken by the next, and a row may come and go."""
    target = await applier()
    new = images(KEYED, (b"3", b"one", None), (b"1", b"two", None), (b"4", b"brief", None))
    old = images(KEYED, (b"1", None, None), (b"2", None, None), (b"4", None, None))
    await target.begin()
    await target.run(Run(KEYED.name, UPDATE, 0, 0, False, (2,), 2), new, old)
    await target.run(Run(KEYED.name, INSERT, 2, -1, False, (), 1), new, old)
    await target.run(Run(KEYED.name, DELETE, -1, 2, False, (), 1), new, old)
    await target.commit(LATER, CLONED_AT)
    assert rows(copy, KEYED) == [(1, "two", "toast"), (3, "one", "toast")]


async def test_truncate_empties_what_came_before_it(copy: Database, applier: Begin) -> None:
    """Rows that came earlier in the same transaction go, later ones stay."""
    target = await applier()
    await target.begin()
    await target.run(run_of(KEYED, INSERT, 1), images(KEYED, (b"8", b"before", None)), None)
    await target.truncate(Truncation((KEYED.name, FULL.name)))
    await target.run(run_of(KEYED, INSERT, 60), images(KEYED, *[(b"%d" % n, None, None) for n in range(60)]), None)
    await target.commit(LATER, CLONED_AT)
    assert copy.execute("SELECT count(*), count(a) FROM public.keyed") == [(60, 0)]
    assert rows(copy, FULL) == []


async def test_sequences_stay_ahead_of_the_rows(copy: Database, applier: Begin) -> None:
    """Also after production has begun to count anew, and when the transaction holds nothing else."""
    target = await applier()
    new = images(KEYED, (b"40", None, None))
    target.observe({KEYED.name: new})
    await apply(target, run_of(KEYED, INSERT, 1), new)
    assert copy.execute("SELECT nextval('public.ids')") == [(41,)]
    await target.begin()
    await target.truncate(Truncation((KEYED.name,)))
    again = images(KEYED, (b"1", None, None))
    target.observe({KEYED.name: again})
    await target.run(run_of(KEYED, INSERT, 1), again, None)
    await target.commit(LATER, CLONED_AT)
    assert copy.execute("SELECT nextval('public.ids')") == [(42,)]


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
    await apply(target, run_of(KEYED, UPDATE, 1), images(KEYED, (b"2", b"new", None)))
    await apply(target, run_of(KEYED, DELETE, 1, old=True), None, images(KEYED, (b"1", None, None)))
    assert rows(copy, KEYED) == [(2, "new", None)]
    assert copy.execute("SELECT id FROM public.child") == [(1,)]


# ------------------------------------------------------------------------------------------------- exactly once


async def test_a_change_without_its_row_stops_everything(copy: Database, applier: Begin) -> None:
    """The copy was changed by hand: nothing of the transaction is applied, and the position stays."""
    copy.execute("DELETE FROM public.keyed WHERE id = 2")
    target = await applier()
    await target.begin()
    await target.run(run_of(KEYED, UPDATE, 1), images(KEYED, (b"1", b"canary", None)), None)
    await target.run(run_of(KEYED, UPDATE, 1), images(KEYED, (b"2", b"canary", None)), None)
    with pytest.raises(
        ServerFailed, match=r"update of public\.keyed touched 0 rows of the copy instead of 1"
    ) as caught:
        await target.commit(LATER, CLONED_AT)
    assert "canary" not in str(caught.value)
    assert target.is_open
    await target.rollback()
    assert rows(copy, KEYED) == [(1, "one", "toast")]
    assert (applied(copy), target.applied_lsn) == (CLONED, CLONED)


async def test_a_change_that_no_key_identifies_is_refused(applier: Begin) -> None:
    """A table without replica identity cannot have sent it."""
    target = await applier()
    await target.begin()
    with pytest.raises(ServerFailed, match=r"delete of public\.bare, which has no replica identity"):
        await target.run(run_of(BARE, DELETE, 1, old=True), None, images(BARE, ()))


async def test_a_row_that_stands_in_the_way_stops_everything(copy: Database, applier: Begin) -> None:
    """By COPY as by statement, and without the value."""
    for count in (1, 60):
        target = await applier()
        await target.begin()
        new = images(KEYED, *[(b"1", b"canary", None)] * count)
        with pytest.raises(ServerFailed, match=r"23505 at public\.keyed, constraint keyed_pkey") as caught:
            await apply_run(target, run_of(KEYED, INSERT, count), new)
        assert "canary" not in str(caught.value)
        await target.rollback()
    assert rows(copy, KEYED) == [(1, "one", "toast"), (2, "two", "toast")]


async def test_many_source_transactions_share_one_of_the_target(copy: Database, applier: Begin) -> None:
    """Until it commits nobody sees any; then all, with the position of the last."""
    target = await applier()
    await target.begin()
    for number in (3, 4, 5):
        await target.run(run_of(KEYED, INSERT, 1), images(KEYED, (b"%d" % number, None, None)), None)
    await target.flush()
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
    await first.run(run_of(KEYED, INSERT, 1), images(KEYED, (b"3", None, None)), None)
    await first.flush()
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
    await apply(first, run_of(FULL, INSERT, 1), images(FULL, (b"7", None, None)))
    with pytest.raises(ServerFailed, match="another runner"):
        await apply(second, run_of(FULL, INSERT, 1), images(FULL, (b"7", None, None)))
    await second.rollback()
    assert copy.execute("SELECT count(*) FROM public.fully WHERE id = 7") == [(1,)]


async def test_a_lost_connection_applies_nothing(copy: Database, applier: Begin, open_target: OpenTarget) -> None:
    """The next session begins from the position that is in the copy."""
    target = await applier()
    await target.begin()
    await target.run(run_of(KEYED, INSERT, 1), images(KEYED, (b"3", None, None)), None)
    await target.flush()
    connection: Connection = target._connection
    copy.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")
    with pytest.raises(ServerFailed):
        await target.commit(LATER, CLONED_AT)
    assert len(rows(copy, KEYED)) == 2
    assert applied(copy) == CLONED


async def test_applied_is_told_from_durable(copy: Database, applier: Begin) -> None:
    """A commit is asynchronous; it counts as durable when the target has flushed it, and not before."""
    target = await applier()
    positions = [Lsn(CLONED + step) for step in (1, 2, 3)]
    seen = set()
    for position in positions:
        await target.begin()
        await target.run(run_of(FULL, INSERT, 1), images(FULL, (b"7", None, None)), None)
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
