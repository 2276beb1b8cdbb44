"""Rules or a key that change after a clone: what changed is named, and just that is copied again.

Each test ends with ``verify``, and with the oracle, which trusts nothing that the product says.
"""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.integration.conftest import Project

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CHANGED = {"public.guests", "public.participants", "public.devices", "public.page_views"}


def change_rules(project: Project) -> None:
    """Other rules for columns of guests, and for a domain that other tables share."""
    project.replace("rules.yaml", "last_name: {mask: name.last}", "last_name: {mask: redact}")
    project.replace("rules.yaml", "credit: keep", 'credit: {mask: "null"}')
    project.replace(
        "rules.yaml", "domains:\n  guest_email:\n    mask: email", "domains:\n  addresses:\n    mask: email"
    )


async def test_changed_tables_are_copied_again_while_the_stream_goes_on(copy: Project) -> None:
    """The stream follows all the time, and goes on by the new rules; other tables are not touched."""
    cloned = _versions(copy, "public.messages")
    stream = copy.start("stream", "--target", "test")
    async with copy.load(seed=51, truncates=False, sessions=2, pause=0.02):
        await stream.streams()
        change_rules(copy)
        await stream.says("rules changed")
        told = await copy.run("rules", "diff", "--target", "test", "--json")
        assert told.code == 1, str(told)
        by_table = {each["table"]: each["columns"] for each in told.json["tables"]}
        assert by_table.keys() >= CHANGED
        assert by_table["public.guests"] == {
            "credit": "masked now",
            "email": "masked otherwise",
            "last_name": "masked otherwise",
        }
        again = await copy.succeed("clone", "--resync", "--target", "test", "--json")
        assert again.json["tables"].keys() >= CHANGED - {"public.page_views"}
        assert stream.process.poll() is None, str(await stream.wait())
        await copy.target.comes_to("SELECT state FROM tezcat.progress", [("streaming",)])
        await asyncio.sleep(2)
    await stream.send(signal.SIGTERM)
    assert (await copy.succeed("rules", "diff", "--target", "test", "--json")).json["tables"] == []
    await copy.assert_exact()
    assert cloned & _versions(copy, "public.messages"), "messages were copied again"


async def test_changed_tables_are_copied_again_without_a_stream(copy: Project) -> None:
    """Where no stream runs, the copy is brought to where the tables were read; a second time there is nothing to do."""
    async with copy.load(seed=52):
        await asyncio.sleep(1)
    change_rules(copy)
    refused = await copy.run("stream", "--target", "test", "--until-caught-up")
    assert refused.code == 3, str(refused)
    assert "rules diff" in refused.err
    [status] = (await copy.succeed("status", "--json")).json
    assert set(status["changed_tables"]) >= CHANGED
    assert "rules diff --target test" in " ".join((await copy.succeed("status")).out.split())
    async with copy.load(seed=53, truncates=False):
        await copy.succeed("clone", "--resync", "--target", "test")
    again = await copy.succeed("clone", "--resync", "--target", "test", "--json")
    assert again.json["tables"] == {}
    assert copy.target.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'aside%'") == [(0,)]
    await copy.assert_exact()


async def test_another_epoch_of_the_key_masks_all_anew(copy: Project) -> None:
    """With another epoch every masked table is copied again, and no masked value stays what it was."""
    before = set(copy.target.execute("SELECT email FROM public.guests"))
    copy.replace("tezcat.yaml", "type: test", "type: test\n    epoch: 2")
    told = await copy.run("rules", "diff", "--target", "test", "--json")
    assert (told.code, told.json["same_key"]) == (1, False)
    await copy.succeed("clone", "--resync", "--target", "test")
    assert before.isdisjoint(copy.target.execute("SELECT email FROM public.guests"))
    await copy.assert_exact()


async def test_rows_that_are_not_copied_any_more_leave(copy: Project) -> None:
    """A table that is set to rows: none is emptied; one that is copied now is filled."""
    copy.replace(
        "rules.yaml", "  public.blackouts:\n    columns: {id: keep, period: keep}", "  public.blackouts: {rows: none}"
    )
    copy.replace(
        "rules.yaml",
        "public.sessions: {rows: none}",
        "public.sessions: {columns: {token: keep, guest_id: id.int, secret: redact}}",
    )
    refused = await copy.run("clone", "--resync", "--target", "test")
    assert refused.code == 4, str(refused)
    assert "no publication lists public.sessions" in refused.err
    await copy.prepare_production()
    await copy.succeed("clone", "--resync", "--target", "test")
    assert copy.target.execute("SELECT count(*) FROM public.blackouts") == [(0,)]
    await copy.assert_exact()


async def test_a_re_copy_that_was_killed_leaves_the_copy_as_it_was(copy: Project) -> None:
    """Killed at any moment it has changed nothing, or all; the stream by the old rules goes on until then."""
    original = copy.rules.read_text()
    for seconds in (1.5, 2.5, 3.5):
        change_rules(copy)
        command = copy.start("clone", "--resync", "--target", "test")
        await asyncio.sleep(seconds)
        await command.send(signal.SIGKILL)
        told = await copy.run("rules", "diff", "--target", "test", "--json")
        if told.code == 0:
            break
        copy.rules.write_text(original)
        await copy.assert_exact()
    if copy.rules.read_text() == original:
        change_rules(copy)
    await copy.succeed("clone", "--resync", "--target", "test")
    await copy.assert_exact()


def _versions(project: Project, table: str) -> set[tuple[str, str, str]]:
    """Where each row of the copy lies, and which transaction wrote it: one writes all where a table is copied again."""
    return set(project.target.execute(f"SELECT tableoid::text, ctid::text, xmin::text FROM {table}"))
