"""Tables of every shape and name pass exactly; what no copy brings is left out, and said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tests.fix_postgres import Database, Server
from tests.integration.conftest import MakeProject, psql
from tests.integration.scenes import Rule, cloned, prepared, rules_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MakeDatabase = Callable[..., Database]

_LONG: Final = "n" * 60 + "é"
_ODD_TABLE: Final = '''"Sch.ema ""x"""."Ta.ble ""y"" $1 %s {}"'''
_ODD_COLUMNS: Final = (
    '"a.b"', '"c""d"', '"select"', '" "', '"%s {} $1"', '"naïve 🦜"', r'"back\slash\N"', '"tab\tnew\nline"', "\"it's\"",
    f'"{_LONG}"', '"UPPER"', '"upper"', '"--"', '"日本"', '"/*"', '"a,b"', '"[0]"', '"tableoid2"', "oid",
    '"null"', '"~"',
)  # fmt: skip
_NAMES: Final = f'''
CREATE SCHEMA "Sch.ema ""x""";
CREATE SCHEMA "select";
CREATE TYPE "select"."Enum ""type""" AS ENUM ('Ünï "x"', '');
CREATE TABLE {_ODD_TABLE} ("Id" integer PRIMARY KEY, "e" "select"."Enum ""type""", who text,
    {", ".join(f"{name} text" for name in _ODD_COLUMNS)});
CREATE TABLE "select"."table" ("user" text, "order" integer, "group" text, PRIMARY KEY ("order", "user"));
CREATE TABLE "select"."{_LONG}" ("{_LONG}" integer PRIMARY KEY, word text);
CREATE TABLE "select"."日本 語" (id serial PRIMARY KEY, "列" text) PARTITION BY RANGE (id);
CREATE TABLE "select"."日本 語 (1)" PARTITION OF "select"."日本 語" DEFAULT;
INSERT INTO {_ODD_TABLE} VALUES (1, '', 'Kan4r1e', {", ".join(f"'{n}'" for n in range(len(_ODD_COLUMNS)))});
INSERT INTO "select"."table" VALUES ('a', 1, 'Kan4r1e'), ('b', 1, NULL);
INSERT INTO "select"."{_LONG}" VALUES (1, 'x'), (2, '');
INSERT INTO "select"."日本 語" ("列") VALUES ('語'), (NULL);
'''
_NAMES_LATER: Final = f'''
UPDATE {_ODD_TABLE} SET "c""d" = 'new', "tab\tnew\nline" = NULL, "--" = '', who = 'Kan4r1e 2', "Id" = 2;
INSERT INTO {_ODD_TABLE} ("Id", "%s {{}} $1") VALUES (3, '%s $1'), (4, NULL);
DELETE FROM {_ODD_TABLE} WHERE "Id" = 4;
UPDATE "select"."table" SET "user" = 'c', "group" = 'Kan4r1e 3' WHERE "user" = 'b';
UPDATE "select"."{_LONG}" SET "{_LONG}" = 3, word = 'y' WHERE word = '';
UPDATE "select"."日本 語" SET "列" = '';
'''
_WIDE: Final = [f"c{n} {('text', 'integer', 'boolean')[n % 3]}" for n in range(1, 1000)]
_WIDEST: Final = [f"c{n} smallint" for n in range(1, 1600)]


def _fill(table: str, columns: list[str], rows: str) -> str:
    kinds = {"text": "'t' || (n % {0} % 97)", "integer": "n * {0}", "boolean": "n % {0} % 2 = 0", "smallint": "n % {0}"}
    values = ", ".join(kinds[column.split()[1]].format(place) for place, column in enumerate(columns, 2))
    return f"INSERT INTO public.{table} SELECT n, {values} FROM generate_series({rows}) n;\n"


_WIDE_TABLES: Final = f"""
CREATE TABLE public.wide (id integer PRIMARY KEY, {", ".join(_WIDE)});
CREATE TABLE public.wide_whole (id integer, {", ".join(_WIDE)});
ALTER TABLE public.wide_whole REPLICA IDENTITY FULL;
CREATE TABLE public.widest (id integer PRIMARY KEY, {", ".join(_WIDEST)});
{_fill("wide", _WIDE, "1, 20")}{_fill("wide_whole", _WIDE, "1, 20")}{_fill("widest", _WIDEST, "1, 20")}
"""
_WIDE_LATER: Final = f"""
{_fill("wide", _WIDE, "21, 25")}{_fill("wide_whole", _WIDE, "21, 90")}{_fill("widest", _WIDEST, "21, 90")}
UPDATE public.wide SET c998 = NOT c998, c1 = NULL, c3 = '' WHERE id % 3 = 0;
UPDATE public.wide_whole SET c998 = NULL, c3 = '' WHERE id % 3 = 0;
UPDATE public.widest SET c1599 = -1, id = -id WHERE id % 3 = 0;
DELETE FROM public.wide WHERE id % 5 = 1;
DELETE FROM public.wide_whole WHERE id % 5 = 1;
DELETE FROM public.widest WHERE id % 5 = 1;
"""
_SHAPES: Final = r"""
CREATE TABLE public.zero ();
INSERT INTO public.zero SELECT FROM generate_series(1, 3);
CREATE TABLE public.computed (always integer GENERATED ALWAYS AS (1 + 1) STORED);
INSERT INTO public.computed SELECT FROM generate_series(1, 2);
-- One column, of empty strings and of what COPY's format has a meaning for.
CREATE TABLE public.one (word text);
ALTER TABLE public.one REPLICA IDENTITY FULL;
CREATE TABLE public.one_key (word text PRIMARY KEY);
INSERT INTO public.one VALUES (''), (''), (NULL), (NULL), (E'\\N'), (E'\\.'), (E'\\'), (E'\n'), (E'\r'), (E'\t');
INSERT INTO public.one_key SELECT DISTINCT word FROM public.one WHERE word IS NOT NULL;
-- Columns that are gone, at every place, and one that came later and is in no old row.
CREATE TABLE public.dropped (gone1 text DEFAULT 'Kan4r1e', id integer PRIMARY KEY, gone2 text, word text, gone3 text);
INSERT INTO public.dropped VALUES ('Kan4r1e', 1, 'x', 'one', 'y');
ALTER TABLE public.dropped DROP COLUMN gone1, DROP COLUMN gone2, DROP COLUMN gone3;
ALTER TABLE public.dropped ADD COLUMN later text DEFAULT 'default', ADD COLUMN nulls integer;
INSERT INTO public.dropped VALUES (2, 'two', 'given', NULL);
CREATE TABLE public.all_dropped (a integer, b integer);
INSERT INTO public.all_dropped VALUES (1, 2);
ALTER TABLE public.all_dropped DROP COLUMN a, DROP COLUMN b;
-- Generated columns first, last, and of a masked value; both kinds of identity.
CREATE TABLE public.made (
    double integer GENERATED ALWAYS AS (n * 2) STORED,
    id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    n      integer,
    other  integer GENERATED BY DEFAULT AS IDENTITY,
    who    text,
    hello  text GENERATED ALWAYS AS ('hello ' || who) STORED
);
INSERT INTO public.made (n, who) VALUES (1, 'Kan4r1e'), (NULL, NULL);
-- Inheritance: rows at every level, columns in another order, two parents.
CREATE TABLE public.parent (id integer PRIMARY KEY, who text, kept text);
CREATE TABLE public.child (extra text, PRIMARY KEY (id)) INHERITS (public.parent);
CREATE TABLE public.side (note text, id integer);
CREATE TABLE public.grandchild (more integer, PRIMARY KEY (id)) INHERITS (public.child, public.side);
CREATE TABLE public.adopted (kept text, id integer NOT NULL PRIMARY KEY, who text);
ALTER TABLE public.adopted INHERIT public.parent;
INSERT INTO public.parent VALUES (1, 'Kan4r1e', 'in the parent');
INSERT INTO public.child VALUES (2, 'Kan4r1e', 'in the child', 'x');
INSERT INTO public.grandchild VALUES (3, 'Kan4r1e', 'in the grandchild', 'x', 'note', 7);
INSERT INTO public.adopted VALUES ('in the adopted', 4, 'Kan4r1e');
INSERT INTO public.side VALUES ('alone', 5);
"""
_VIRTUAL: Final = """
CREATE TABLE public.virtual (id integer PRIMARY KEY, n integer, double integer GENERATED ALWAYS AS (n * 2) VIRTUAL,
                             who text, hello text GENERATED ALWAYS AS ('hello ' || who));
INSERT INTO public.virtual VALUES (1, 1, DEFAULT, 'Kan4r1e');
"""
_SHAPES_LATER: Final = r"""
INSERT INTO public.zero SELECT FROM generate_series(1, 2);
INSERT INTO public.zero SELECT FROM generate_series(1, 60);
INSERT INTO public.computed SELECT FROM generate_series(1, 3);
INSERT INTO public.one VALUES (''), (NULL), (E'\\N'), (E'\n\\.\n');
INSERT INTO public.one SELECT '' FROM generate_series(1, 60);
UPDATE public.one SET word = '' WHERE ctid = (SELECT min(ctid) FROM public.one WHERE word IS NULL);
UPDATE public.one SET word = NULL WHERE ctid = (SELECT min(ctid) FROM public.one WHERE word = '');
UPDATE public.one SET word = word || 'x' WHERE word = E'\\.';
DELETE FROM public.one WHERE word = E'\\N' OR ctid = (SELECT max(ctid) FROM public.one WHERE word IS NULL);
UPDATE public.one_key SET word = E'\\N\\' WHERE word = '';
DELETE FROM public.one_key WHERE word = E'\t';
INSERT INTO public.one_key VALUES (''), (E'\t\t');
UPDATE public.dropped SET word = 'changed';
INSERT INTO public.dropped VALUES (3, NULL, '', 0);
INSERT INTO public.all_dropped DEFAULT VALUES;
UPDATE public.made SET n = 5, who = 'Kan4r1e 2', id = DEFAULT WHERE n = 1;
UPDATE public.made SET other = DEFAULT;
INSERT INTO public.made (id, n, who) OVERRIDING SYSTEM VALUE VALUES (100, 7, 'Kan4r1e 3');
UPDATE public.parent SET who = 'Kan4r1e of ' || id, id = id + 10;
DELETE FROM ONLY public.parent;
INSERT INTO public.parent VALUES (1, NULL, 'again');
TRUNCATE ONLY public.child;
INSERT INTO public.child VALUES (2, 'Kan4r1e', 'again', NULL);
"""
_VIRTUAL_LATER: Final = """
UPDATE public.virtual SET n = 2, who = 'Kan4r1e 2', id = 2;
INSERT INTO public.virtual (id) SELECT generate_series(3, 70);
DELETE FROM public.virtual WHERE id = 3;
"""
_MASKS: Final[dict[str, dict[str, Rule]]] = {
    _ODD_TABLE: {"who": "name.full"},
    '"select"."table"': {"group": "name.first"},
    "public.made": {"who": "name.full"},
    # A child's own rules are its parent's.
    **{f"public.{table}": {"who": "name.full"} for table in ("parent", "child", "grandchild", "adopted")},
}


async def test_every_shape_and_name_passes_exactly(
    make_project: MakeProject, server: Server, make_database: MakeDatabase
) -> None:
    """Names that need quotes of every kind; one column and none; dropped, generated and identity columns, virtual ones
    where the server has them; inheritance."""
    schema, later, masks = _NAMES + _SHAPES, _NAMES_LATER + _SHAPES_LATER, dict(_MASKS)
    if server.version >= 18:
        schema, later = schema + _VIRTUAL, later + _VIRTUAL_LATER
        masks["public.virtual"] = {"who": "name.full"}
    copy = await cloned(make_project, make_database(server), make_database(server), schema, masks)
    psql(copy.source, later)
    await copy.catch_up()
    verified = await copy.succeed("verify", "--target", "test", "--json")
    assert verified.json["equal"] is True
    # pg_dump gives a child its parents' columns first, whatever their order was; the oracle names one parent of two.
    excused = ("structure of column public.adopted.", "structure of inheritance public.grandchild")
    findings = [finding for finding in copy.judge().findings if not finding.startswith(excused)]
    assert findings == []


async def test_tables_of_a_thousand_columns_and_more_pass_exactly(
    make_project: MakeProject, server18: Server, make_database: MakeDatabase
) -> None:
    """1,000 columns, found by key and by all their values, and 1,600, which is the most that PostgreSQL has."""
    copy = await cloned(make_project, make_database(server18), make_database(server18), _WIDE_TABLES)
    psql(copy.source, _WIDE_LATER)
    await copy.assert_exact()


_IDENTITY_OF_PARTITIONS: Final = """
CREATE TABLE public.stays (id int GENERATED ALWAYS AS IDENTITY, word text, room int) PARTITION BY HASH (room);
CREATE TABLE public.stays_1 PARTITION OF public.stays FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.stays_2 PARTITION OF public.stays FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE public.stays_1 REPLICA IDENTITY FULL;
ALTER TABLE public.stays_2 REPLICA IDENTITY FULL;
INSERT INTO public.stays (word, room) SELECT 'word', n FROM generate_series(1, 20) n;
"""


async def test_an_identity_column_of_partitions_on_the_newer_server_alone(
    make_project: MakeProject, server16: Server, server18: Server, make_database: MakeDatabase
) -> None:
    """Rows come and are updated where only the target's PostgreSQL forbids to set the partitions' column."""
    copy = await cloned(make_project, make_database(server16), make_database(server18), _IDENTITY_OF_PARTITIONS)
    psql(
        copy.source,
        "INSERT INTO public.stays (word, room) SELECT 'new', n FROM generate_series(21, 40) n;"
        "UPDATE public.stays SET word = 'longer' WHERE room % 3 = 0; UPDATE public.stays SET room = 41 WHERE room = 7;"
        "DELETE FROM public.stays WHERE room % 5 = 0; UPDATE public.stays SET id = DEFAULT WHERE room = 8;",
    )
    await copy.catch_up()
    verified = await copy.succeed("verify", "--target", "test", "--json")
    assert verified.json["equal"] is True


_LEFT_OUT: Final = """
CREATE TABLE public.logged (id integer PRIMARY KEY, part text);
CREATE UNLOGGED TABLE public."Un logged" (id integer PRIMARY KEY, word text);
CREATE TABLE public.parts (id integer) PARTITION BY LIST (id);
CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES IN (1);
CREATE UNLOGGED TABLE public.parts_2 PARTITION OF public.parts FOR VALUES IN (2);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE public."For eign" (id integer, word text) SERVER nowhere;
INSERT INTO public.logged VALUES (1, 'here');
INSERT INTO public."Un logged" VALUES (1, 'Kan4r1e');
INSERT INTO public.parts VALUES (1), (2);
SELECT lo_from_bytea(0, 'Kan4r1e');
"""


async def test_what_no_copy_brings_is_left_out_and_said(
    make_project: MakeProject, server18: Server, make_database: MakeDatabase
) -> None:
    """Unlogged and foreign tables come without rows, temporary ones and large objects not at all; both commands that
    look at production name them."""
    copy = prepared(make_project, make_database(server18), make_database(server18), _LEFT_OUT)
    await copy.prepare_production()
    checked = await copy.succeed("source", "check", "--environment", "production")
    result = await copy.succeed("clone", "--source", "production", "--target", "test", "--json")
    # A temporary table is its session's own.
    psql(
        copy.source,
        """
        CREATE TEMPORARY TABLE passing (id integer PRIMARY KEY, word text);
        INSERT INTO passing VALUES (1, 'Kan4r1e');
        UPDATE passing SET id = 2;
        INSERT INTO public."Un logged" VALUES (2, 'Kan4r1e');
        TRUNCATE public."Un logged";
        INSERT INTO public.parts VALUES (1), (2);
        INSERT INTO public.logged VALUES (2, 'too');
        SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
        """,
    )
    said = checked.out + checked.err
    for words in ('public."Un logged"', "public.parts_2", 'public."For eign"', "1 large objects"):
        assert words in " ".join(said.split()), words
        assert words in " ".join(result.err.split()), words
    left_out = result.json["left_out"]
    assert left_out.keys() == {'public."Un logged"', "public.parts_2", 'public."For eign"'}
    await copy.catch_up()
    verified = await copy.succeed("verify", "--target", "test", "--json")
    assert verified.json["equal"] is True
    rows = {
        table: copy.target.execute(f"SELECT count(*) FROM {table}")[0][0]
        for table in ("public.logged", 'public."Un logged"', "public.parts", "public.parts_2")
    }
    assert rows == {"public.logged": 2, 'public."Un logged"': 0, "public.parts": 2, "public.parts_2": 0}
    assert copy.target.execute("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]
    assert copy.target.execute("SELECT relname FROM pg_class WHERE relname = 'passing'") == []
    assert copy.target.execute("SELECT relkind FROM pg_class WHERE relname = 'For eign'") == [("f",)]


_EVENT_TRIGGERS: Final = """
CREATE TABLE public.told (id serial PRIMARY KEY, what text);
CREATE FUNCTION public.tell() RETURNS event_trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.told (what) VALUES (tg_tag); END $$;
CREATE TABLE public.days (id integer PRIMARY KEY, who text) PARTITION BY RANGE (id);
CREATE TABLE public.days_1 PARTITION OF public.days FOR VALUES FROM (1) TO (100);
CREATE TABLE public.days_2 PARTITION OF public.days DEFAULT;
CREATE TABLE public.guests (id integer PRIMARY KEY REFERENCES public.days, who text);
CREATE TRIGGER always BEFORE UPDATE ON public.guests FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
ALTER TABLE public.guests ENABLE ALWAYS TRIGGER always;
CREATE MATERIALIZED VIEW public.counted AS SELECT count(*) FROM public.days;
INSERT INTO public.days SELECT n, 'Kan4r1e' FROM generate_series(1, 200) n;
INSERT INTO public.guests SELECT n, 'Kan4r1e' FROM generate_series(1, 200) n;
CREATE EVENT TRIGGER tells ON ddl_command_end EXECUTE FUNCTION public.tell();
CREATE EVENT TRIGGER always_tells ON ddl_command_start EXECUTE FUNCTION public.tell();
ALTER EVENT TRIGGER always_tells ENABLE ALWAYS;
"""


async def test_event_triggers_are_told_nothing_of_what_is_made_in_a_copy(
    make_project: MakeProject, server: Server, make_database: MakeDatabase
) -> None:
    """Neither by a clone nor by a re-copy: one that keeps a log of what it is told would make rows of its own."""
    masks: dict[str, dict[str, Rule]] = {"public.days": {"who": "name.full"}, "public.guests": {"who": "name.full"}}
    copy = await cloned(make_project, make_database(server), make_database(server), _EVENT_TRIGGERS, masks)
    masks["public.guests"] = {"who": "redact"}
    copy.rules.write_text(rules_for(copy.source, masks))
    await copy.succeed("clone", "--resync", "--target", "test")
    psql(copy.source, "CREATE INDEX ON public.guests (who)")
    await copy.catch_up()
    told = "SELECT * FROM public.told ORDER BY id"
    assert copy.target.execute(told) == copy.source.execute(told)
    verified = await copy.succeed("verify", "--target", "test", "--json")
    assert verified.json["equal"] is True
