"""Databases whose encoding is not UTF-8: their bytes pass exactly, or the clone refuses before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import psycopg
import pytest

from tests.fix_postgres import Database, Server
from tests.integration.conftest import MakeProject, Project, psql
from tests.integration.scenes import Rule, cloned, prepared

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MakeDatabase = Callable[..., Database]


def _in(encoding: str) -> str:
    return f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"


_LATIN: Final = """
SET client_encoding = 'UTF8';
CREATE TYPE public."Größe" AS ENUM ('klein', 'groß');
CREATE TABLE public."naïve" (
    id integer PRIMARY KEY, "prénom" text, courriel text UNIQUE, code text, padded char(10), fixed char(6),
    note text, "GRÖSSE" public."Größe", kept text, doc jsonb, words text[], raw bytea, constant text, small varchar(255)
);
COMMENT ON TABLE public."naïve" IS 'voilà';
CREATE TABLE public."toutes" (word text);
ALTER TABLE public."toutes" REPLICA IDENTITY FULL;
"""


def _people(first: int, last: int) -> str:
    return f"""
SET client_encoding = 'UTF8';
INSERT INTO public."naïve" SELECT n, 'Kan4r1e Zoë ' || n, 'Kan4r1e.é' || n || '@bücher.de', 'ÄB-' || n, 'ÿø' || n,
    'Ünï', 'Kan4r1e ça và ' || n, 'groß', 'gardé: ÀÿÐ½', '{{"nom": "Kan4r1e Noël", "thème": "été"}}',
    '{{"Kan4r1e É","è"}}', '\\xe9ff', 'secret', 'Kan4r1eé' FROM generate_series({first}, {last}) n;
-- Every character of LATIN1 but NUL.
INSERT INTO public."toutes" SELECT chr(n) FROM generate_series(1, 255) n
UNION ALL SELECT string_agg(chr(n), '') FROM generate_series(1, 255) n;
"""


_LATIN_MASKS: Final[dict[str, dict[str, Rule]]] = {
    'public."naïve"': {
        "prénom": "name.full",
        "courriel": "email",
        "code": "address.postcode",
        "padded": "address.postcode",
        "fixed": "name.first",
        "note": "text.lorem",
        "doc": {"mask": "json", "paths": {"$.nom": "name.full", "$.thème": "keep"}},
        "words": "name.full",
        "constant": {"mask": "constant", "value": "élidé"},
        "small": "text.lorem",
    }
}


@pytest.mark.parametrize("encoding", ["LATIN1", "UTF8"])
async def test_latin1_passes_exactly_into_itself_and_into_utf8(
    make_project: MakeProject, server18: Server, make_database: MakeDatabase, encoding: str
) -> None:
    """Rows, names and masks of a database in LATIN1, in a copy of that encoding or of UTF-8."""
    source, target = make_database(server18, _in("LATIN1")), make_database(server18, _in(encoding))
    copy = await cloned(make_project, source, target, _LATIN + _people(1, 5), _LATIN_MASKS)
    psql(source, _people(6, 8) + _people(100, 170))
    psql(
        source,
        """SET client_encoding = 'UTF8';
        UPDATE public."naïve" SET "prénom" = 'Kan4r1e Åsa', padded = 'ñ', id = -id WHERE id % 2 = 0;
        UPDATE public."toutes" SET word = word || 'é' WHERE word > 'ð';
        DELETE FROM public."toutes" WHERE word = 'ü';""",
    )
    await copy.assert_exact()


_IN_OTHERS: Final = {
    "LATIN2": "Żółć Łódź Kan4r1e ćma ß § 12",
    "WIN1252": "Šárka Œuvre Kan4r1e €12 § ß ž",
    "EUC_JP": "山田太郎 カタカナ ひらがな Kan4r1e ЖЯ αβ 々、。",
    "EUC_KR": "김철수 Kan4r1e 李 あア ㉠",
    "KOI8R": "Иван Ёлкин Kan4r1e ═ ёж",
}


@pytest.mark.parametrize("encoding", _IN_OTHERS)
async def test_text_that_keeps_its_form_stays_within_the_encoding(
    make_project: MakeProject, server18: Server, make_database: MakeDatabase, encoding: str
) -> None:
    """A copy in production's encoding holds whatever letters a mask makes of production's."""
    source, target = make_database(server18, _in(encoding)), make_database(server18, _in(encoding))
    made = f"""SET client_encoding = 'UTF8';
    CREATE TABLE public.t (id integer PRIMARY KEY, word text UNIQUE, doc json, token text);
    INSERT INTO public.t SELECT n, '{_IN_OTHERS[encoding]} ' || n, ('["{_IN_OTHERS[encoding]}' || n || '"]')::json,
        '{_IN_OTHERS[encoding]}{_IN_OTHERS[encoding]}' || n FROM generate_series(1, 300) n;"""
    masks: dict[str, dict[str, Rule]] = {
        "public.t": {"word": "text.scramble", "doc": {"mask": "json", "paths": {}}, "token": "id.secret"},
    }
    copy = await cloned(make_project, source, target, made, masks)
    psql(source, "UPDATE public.t SET word = word || 'x' WHERE id % 3 = 0; DELETE FROM public.t WHERE id > 290;")
    await copy.assert_exact()
    assert target.execute("SELECT 1 FROM public.t WHERE word LIKE '%Kan4r1e%'") == []


async def test_a_constant_that_the_encoding_lacks_is_found_by_the_rules_check(
    make_project: MakeProject, server18: Server, make_database: MakeDatabase
) -> None:
    """Exit code 2 that names the column, before anything is made."""
    source, target = make_database(server18, _in("LATIN1")), make_database(server18, _in("LATIN1"))
    masks: dict[str, dict[str, Rule]] = {'public."naïve"': {"note": {"mask": "constant", "value": "Łódź"}}}
    project = prepared(make_project, source, target, _LATIN, masks)
    await project.prepare_production()
    for command in (("rules", "check"), ("clone", "--source", "production", "--target", "test")):
        ended = await project.run(*command)
        assert ended.code in (1, 2), str(ended)
        assert 'public."naïve".note' in ended.out + ended.err
        assert "LATIN1" in ended.out + ended.err
    assert target.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'tezcat'") == []


_BYTES: Final = """
SET client_encoding = 'SQL_ASCII';
CREATE TABLE public.people (id integer PRIMARY KEY, who text, mail text UNIQUE, code text, padded char(9), note text,
                            kept text, doc json, short varchar(40));
CREATE TABLE public.bytes (word text);
ALTER TABLE public.bytes REPLICA IDENTITY FULL;
"""
_BYTES_MASKS: Final[dict[str, dict[str, Rule]]] = {
    "public.people": {
        "who": "name.full",
        "mail": "email",
        "code": "address.postcode",
        "padded": "address.postcode",
        "note": "text.lorem",
        "doc": {"mask": "json", "paths": {"$.a": "name.full", "$.b": "keep"}},
        "short": "text.lorem",
    }
}


def _some_bytes(first: int, last: int) -> str:
    return rf"""
SET client_encoding = 'SQL_ASCII';
INSERT INTO public.people SELECT n, E'Kan4r1e Jos\xe9 ' || n, E'Kan4r1e\xff' || n || '@x.de', E'\xc4B-' || n,
    E'\xe9\xc3\xa9' || n, E'Kan4r1e \xe9\xff' || n, E'kept \xe9\xc3\xa9\x80', E'{{"a": "Kan4r1e \xe9", "b": "\xe9"}}',
    E'Kan4r1e\xe9' FROM generate_series({first}, {last}) n;
INSERT INTO public.bytes SELECT chr(n) FROM generate_series(1, 255) n
UNION ALL SELECT string_agg(chr(n), '') FROM generate_series(1, 255) n;
"""


def _rows(database: Database, select: str) -> list[bytes]:
    """What COPY prints, byte by byte."""
    with psycopg.connect(database.url) as connection, connection.cursor().copy(f"COPY ({select}) TO STDOUT") as copy:
        return b"".join(bytes(block) for block in copy).splitlines(keepends=True)


async def test_sql_ascii_passes_byte_by_byte(
    make_project: MakeProject, server18: Server, make_database: MakeDatabase
) -> None:
    """Bytes that are no UTF-8, kept and masked, in rows, keys and whole old rows."""
    source, target = make_database(server18, _in("SQL_ASCII")), make_database(server18, _in("SQL_ASCII"))
    copy = await cloned(make_project, source, target, _BYTES + _some_bytes(1, 5), _BYTES_MASKS)
    psql(source, _some_bytes(6, 8) + _some_bytes(100, 170))
    psql(
        source,
        r"""SET client_encoding = 'SQL_ASCII';
        UPDATE public.people SET who = E'Kan4r1e \xe5sa', padded = E'\xf1', id = -id WHERE id % 2 = 0;
        UPDATE public.bytes SET word = word || E'\xe9' WHERE word > E'\xf0';
        DELETE FROM public.bytes WHERE word = E'\xfc';""",
    )
    await _assert_equal(copy)
    for table, columns in (("people", "id, kept"), ("bytes", "word")):
        before, after = (_rows(each, f"SELECT {columns} FROM public.{table} ORDER BY 1") for each in (source, target))
        assert len(before) > 10
        assert before == after
    masked = b"".join(_rows(target, "SELECT * FROM public.people"))
    assert b"Kan4r1e" not in masked
    # Bytes beyond ASCII may be letters of any encoding, so those change, too.
    assert len({code[:1] for code in _rows(target, "SELECT code FROM public.people")}) > 10


async def _assert_equal(copy: Project) -> None:
    await copy.catch_up()
    verified = await copy.succeed("verify", "--target", "test", "--json")
    assert (verified.json["equal"], verified.json["consistent"]) == (True, True)


@pytest.mark.parametrize(("ours", "theirs"), [("SQL_ASCII", "UTF8"), ("UTF8", "LATIN1")])
async def test_a_target_that_cannot_hold_productions_text_is_refused(
    make_project: MakeProject, server18: Server, make_database: MakeDatabase, ours: str, theirs: str
) -> None:
    """Before anything is made on either side, and with the statement that makes a target which can."""
    source, target = make_database(server18, _in(ours)), make_database(server18, _in(theirs))
    project = prepared(make_project, source, target, "CREATE TABLE public.t (id integer PRIMARY KEY, word text);")
    await project.prepare_production()
    ended = await project.run("clone", "--source", "production", "--target", "test")
    assert ended.code == 3, str(ended)
    for word in (ours, theirs, f"ENCODING '{ours}'"):
        assert word in ended.err
    await source.comes_to("SELECT 1 FROM pg_replication_slots WHERE database = current_database()", [])
    assert target.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'tezcat'") == []
