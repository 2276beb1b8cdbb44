"""The oracle finds what is wrong with a copy: every kind of damage, put into a right one on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tests.fix_postgres import Database
from tests.integration import oracle
from tests.integration.conftest import Project, psql
from tests.integration.values import CANARY

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# What is done to the copy, and the beginning of the finding that it must lead to.
_ROWS: Final = {
    "UPDATE public.specimens SET num = num + 1 WHERE id = (SELECT min(id) FROM public.specimens WHERE num = num + 0)":
        "rows of public.specimens",
    "UPDATE public.one_column SET word = word || ' ' WHERE word = (SELECT max(word) FROM public.one_column)":
        "rows of public.one_column",
    "DELETE FROM public.page_views WHERE n = (SELECT min(n) FROM public.page_views)": "rows of public.page_views",
    "INSERT INTO public.nothing VALUES (1, 'x')": "rows of public.nothing",
    "UPDATE public.door_events SET person = 'X' "
    "WHERE ctid = (SELECT min(ctid) FROM public.door_events WHERE kind = '3')":
        "rows of public.door_events",
    "UPDATE public.documents SET body = NULL WHERE n = (SELECT min(n) FROM public.documents WHERE body <> '')":
        "public.documents.body: NULL on one side only",
    "INSERT INTO public.sessions (secret) VALUES ('x')": "rows: public.sessions is not to be copied",
}  # fmt: skip
_VALUES: Final = {
    # Consistency: within a table's column, between tables, in images.
    "UPDATE public.participants SET email = 'someone@example.com' WHERE seat = 1":
        "public.participants.email: not a function",
    "UPDATE public.messages SET sender = 4 WHERE id = (SELECT min(id) FROM public.messages WHERE sender IS NOT NULL)":
        "public.messages.sender: not ",
    "UPDATE public.audit_logs SET new_row = jsonb_set(new_row, '{email}', '\"x@example.com\"') "
    "WHERE id = (SELECT min(id) FROM public.audit_logs WHERE table_name = 'guests' AND operation = 'INSERT')":
        "public.audit_logs.new_row email: not a function",
    "UPDATE public.audit_logs SET new_row = new_row - 'code' "
    "WHERE id = (SELECT min(id) FROM public.audit_logs WHERE table_name = 'reservations' AND operation = 'INSERT')":
        "public.audit_logs.new_row code",
    "UPDATE public.audit_logs SET old_row = jsonb_set(old_row, '{body}', '\"x\"') WHERE id = (SELECT min(id) "
    "FROM public.audit_logs WHERE table_name LIKE 'messages%' AND length(old_row->>'body') > 1)":
        "public.audit_logs.old_row body: ",
    # Shape.
    "UPDATE public.guests SET email = 'x@somewhere.org' WHERE seq = (SELECT min(seq) FROM public.guests)":
        "public.guests.email: not an address of a reserved",
    "UPDATE public.guests SET card = regexp_replace(card, '[0-4]$', '9') WHERE card ~ '[0-4]$'":
        "public.guests.card: the check digit",
    "UPDATE public.guests SET iban = left(iban, -1) || (right(iban, 1)::int + 1) % 10":
        "public.guests.iban: the check digits",
    "UPDATE public.guests SET notes = notes || 'x' WHERE notes <> ''": "public.guests.notes: another length",
    "UPDATE public.guests SET born_on = born_on + 1000 WHERE isfinite(born_on)": "public.guests.born_on: ",
    "UPDATE public.guests SET religion = 'x'": "public.guests.religion: is not NULL",
    "UPDATE public.guests SET password_hash = 'x'": "public.guests.password_hash: ",
    "UPDATE public.guests SET aliases = aliases || 'x'::text WHERE aliases[1] IS NOT NULL": "rows of public.guests",
    "UPDATE public.guests SET preferences = jsonb_set(preferences, '{theme}', '1') "
    "WHERE preferences->>'theme' = 'dark'":
        "public.guests.preferences $.theme: ",
    "UPDATE public.guests SET preferences = jsonb_set(preferences, '{balance}', "
    "to_jsonb((preferences->'balance')::float8)) WHERE (preferences->>'balance') LIKE '1234%'":
        "public.guests.preferences $.balance: ",
    # Leaks, wherever they are.
    "UPDATE public.rooms SET label = 'kAn4R1E' WHERE rank = 1": "canary: in public.rooms",
    "UPDATE public.documents SET scan = scan || 'Kan4r1e'::bytea": "canary: in public.documents",
    "CREATE TABLE tezcat.trace AS SELECT '+49 (987) 654-321' AS phone": "canary: in tezcat.trace",
}  # fmt: skip
_STRUCTURE: Final = {
    "DROP INDEX public.guests_by_name": "structure of index CREATE INDEX guests_by_name",
    "ALTER TABLE public.guests DISABLE TRIGGER audit": "structure of trigger public.guests audit",
    "DROP VIEW public.guest_overview": "structure of relation public.guest_overview",
    "DROP POLICY only_recent ON public.conversations": "structure of policy public.conversations only_recent",
    "ALTER TABLE public.conversations DISABLE ROW LEVEL SECURITY": "structure of relation public.conversations",
    "ALTER TABLE public.reactions DROP CONSTRAINT reactions_conversation_id_guest_id_fkey":
        "structure of constraint public.reactions",
    "ALTER TYPE public.reservation_status ADD VALUE 'extra'": "structure of type public.reservation_status",
    "ALTER TABLE public.devices REPLICA IDENTITY DEFAULT": "structure of relation public.devices",
    "ALTER TABLE public.page_views ALTER path TYPE varchar": "structure of column public.page_views.path",
    "ALTER TABLE public.documents ALTER body SET STORAGE MAIN": "structure of column public.documents.body",
    "COMMENT ON TABLE public.guests IS NULL": "structure of relation public.guests",
    "DROP PROCEDURE public.tidy": "structure of function public.tidy()",
    "DROP RULE no_rename ON public.nothing": "structure of rule public.nothing no_rename",
    "DROP STATISTICS public.guests_where": "structure of statistics guests_where",
    "ALTER TABLE public.messages DETACH PARTITION public.messages_2024":
        "structure of inheritance public.messages_2024",
    "ALTER SEQUENCE public.invoice_numbers CYCLE": "structure of sequence public.invoice_numbers",
    "SELECT setval('public.message_ids', 1)": "sequence public.message_ids: stands at",
    "SELECT setval('public.guests_id_seq', 1)": "sequence public.guests_id_seq: stands at",
}  # fmt: skip


@pytest.fixture
async def judged(copy: Project, make_database: Callable[..., Database]) -> Callable[[str], list[str]]:
    """Gives the findings in a copy of the copy, after SQL was run there."""
    copy.source.execute("INSERT INTO public.door_events (kind, person) SELECT '3', 'Ada' FROM generate_series(1, 3)")
    await copy.assert_exact()

    def judge(damage: str) -> list[str]:
        damaged = make_database(copy.target.server, f"TEMPLATE {copy.target.name}")
        psql(damaged, f"SET session_replication_role = replica;\n{damage}")
        verdict = oracle.compare(copy.source.url, damaged.url, copy.rules, canary=CANARY, folders=[copy.folder])
        return verdict.findings

    return judge


async def test_finds_every_damage(judged: Callable[[str], list[str]]) -> None:
    """Each damage is found, where it is and by name; many at a time, because reading both databases takes a while."""
    for damages in (_ROWS, _VALUES, _STRUCTURE):
        findings = judged(";\n".join(damages))
        for damage, expected in damages.items():
            assert any(expected in finding for finding in findings), f"{damage}\n" + "\n".join(findings)


async def test_finds_a_canary_in_a_file(copy: Project) -> None:
    """Whatever the commands wrote is searched, byte by byte."""
    (copy.folder / ".tezcat").mkdir(exist_ok=True)
    (copy.folder / ".tezcat" / "spill").write_bytes(b"\x00\x01kan4r1e\xff")
    assert [finding for finding in copy.judge().findings if finding.startswith("canary: in the file")]
