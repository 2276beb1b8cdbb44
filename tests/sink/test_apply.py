"""What production did to its rows happens to the copy's exactly once, whole transactions at a time, or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from capture.model import (
    Interrupted,
    Lsn,
    Operation,
    ServerFailed,
)
from sink.target import Connection
from tests.fix_copy import CLONED, CLONED_AT
from tests.fix_postgres import Database
from tests.sink.made_windows import (
    ALWAYS,
    BARE,
    DELETE,
    FULL,
    KEYED,
    LATER,
    UPDATE,
    Begin,
    applied,
    apply,
    apply_open,
    delete,
    insert,
    rows,
    tables_of,
    update,
    window,
)

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
    copy.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 60000)")

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
    async with asyncio.timeout(60):
        while target.durable_lsn < positions[-1]:
            await target.check_durable()
            await asyncio.sleep(0.01)
    await target.begin()
    [[setting]] = await (await target._connection.execute("SHOW synchronous_commit")).fetchall()
    await target.rollback()
    assert setting == "off"
