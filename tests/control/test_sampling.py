"""Samples of production's values, as ``rules suggest`` sees them."""

from __future__ import annotations

import json

import pytest

from capture.catalog import read_catalog
from capture.model import Catalog, ColumnName
from capture.source import SourceAddress, connect
from control.report import QuietReport
from control.sampling import SAMPLE_ROWS, sample
from tests.fix_postgres import Database

pytestmark = pytest.mark.integration


class _Warnings(QuietReport):
    """Collects what is warned of."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


async def _catalog(address: SourceAddress) -> Catalog:
    async with await connect(address, purpose="test") as connection:
        return await read_catalog(connection)


@pytest.mark.parametrize("statistics", ["ANALYZE", "SELECT 'none, as after a restore'"])
async def test_large_and_small_tables_are_sampled(database: Database, statistics: str) -> None:
    """A thousand rows from all over a large table, all rows of a small one, and of a partitioned one as a whole."""
    database.execute(
        "CREATE TABLE large WITH (autovacuum_enabled = off) AS"
        " SELECT n, 'x' || n AS word FROM generate_series(1, 60000) n",
        "CREATE TABLE small AS SELECT n FROM generate_series(1, 7) n",
        "CREATE TABLE whole (n int, part int) PARTITION BY LIST (part)",
        "CREATE TABLE whole_1 PARTITION OF whole FOR VALUES IN (1)",
        "CREATE TABLE whole_2 PARTITION OF whole FOR VALUES IN (2)",
        "INSERT INTO whole SELECT n, n % 2 + 1 FROM generate_series(1, 9000) n",
        statistics,
    )
    address = SourceAddress.parse(database.url)
    samples, _ = await sample(address, await _catalog(address), QuietReport())

    numbers = [int(value) for value in samples[ColumnName.parse("public.large.n")]]
    assert len(numbers) == SAMPLE_ROWS
    assert min(numbers) < 20_000
    assert max(numbers) > 40_000
    assert sorted(samples[ColumnName.parse("public.small.n")]) == [b"%d" % n for n in range(1, 8)]
    assert set(samples[ColumnName.parse("public.whole.part")]) == {b"1", b"2"}
    assert not any(column.table.name.startswith("whole_") for column in samples)


async def test_values_are_the_text_form_unescaped(database: Database) -> None:
    """Of every type; NULLs are left out, and so is what is wide and makes no sense if it is cut off."""
    database.execute(
        """CREATE TABLE "Odd Name" ("a column" text, tags text[], document jsonb, raw bytea)""",
        r"""INSERT INTO "Odd Name" VALUES (E'tab\there \\ line\nend', '{"a b",c}', '{"k": [1, null]}', '\x00ff')""",
        """INSERT INTO "Odd Name" VALUES (NULL, NULL, NULL, NULL)""",
        """INSERT INTO "Odd Name" (tags) SELECT array_agg(md5(n::text))
          FROM generate_series(1, 10000) n""",
    )
    address = SourceAddress.parse(database.url)
    samples, _ = await sample(address, await _catalog(address), QuietReport())
    found = {column.column: values for column, values in samples.items()}
    assert found == {
        "a column": [b"tab\there \\ line\nend"],
        "tags": [b'{"a b",c}'],
        "document": [b'{"k": [1, null]}'],
        "raw": [b"\\x00ff"],
    }


async def test_what_is_wide_is_cut_off(database: Database) -> None:
    """Texts, and documents at a whole value: also those that are small as they are stored; some of those that are wide
    where all are."""
    database.execute(
        "CREATE TABLE wide (body text, document jsonb, raw json, packed jsonb, mixed jsonb, blob bytea, word json)",
        "CREATE FUNCTION noise(n int) RETURNS jsonb LANGUAGE sql AS $$"
        "SELECT jsonb_agg(jsonb_build_object('mail', md5(i::text) || '@x.example')) FROM generate_series(1, n) i $$",
        "INSERT INTO wide SELECT string_agg(md5(n::text), ' '), noise(9000), noise(9000)::json, (SELECT"
        " jsonb_agg('packed'::text) FROM generate_series(1, 50000)),"
        " CASE WHEN r = 1 THEN noise(2) ELSE noise(9000) END,"
        " decode(string_agg(md5(n::text), ''), 'hex'),"
        " to_json(string_agg(md5(n::text), '')) FROM generate_series(1, 9000) n, generate_series(1, 30) r"
        " GROUP BY r",
    )
    address = SourceAddress.parse(database.url)
    samples, _ = await sample(address, await _catalog(address), QuietReport())
    found = {column.column: values for column, values in samples.items()}
    assert {name: len(values) for name, values in found.items()} == {
        "body": 30, "document": 20, "raw": 20, "packed": 30, "mixed": 1, "blob": 30, "word": 0,
    }  # fmt: skip
    assert {len(value) for value in found["body"]} == {8192}
    assert all(60_000 < len(value) < 66_000 for name in ("document", "raw", "packed") for value in found[name])
    (first, *_) = found["document"]
    assert json.loads(first)[0].keys() == {"mail"}


async def test_wide_documents_that_take_too_long_are_left_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column of those is judged by its name; all else of the table is sampled, and so are the tables after it."""
    database.execute(
        "CREATE TABLE a_wide (document jsonb, word text)",
        "INSERT INTO a_wide SELECT jsonb_agg(md5(n::text)), 'word' FROM generate_series(1, 9000) n",
        "CREATE TABLE b_narrow AS SELECT 'other' AS word",
    )
    monkeypatch.setattr("control.sampling._WIDEST_DOCUMENT_BYTES", "(1 / 0)")
    address = SourceAddress.parse(database.url)
    warnings = _Warnings()
    samples, _ = await sample(address, await _catalog(address), warnings)
    assert [text.split(" were not sampled. ")[0] for text in warnings.texts] == ["wide documents of public.a_wide"]
    assert samples == {
        ColumnName.parse("public.a_wide.document"): [],
        ColumnName.parse("public.a_wide.word"): [b"word"],
        ColumnName.parse("public.b_narrow.word"): [b"other"],
    }


async def test_a_table_that_may_not_be_read_is_left_out(database: Database) -> None:
    """It is warned of, and the others are sampled."""
    role = f"reader_{database.name}"
    database.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'p'",
        "CREATE TABLE a_closed AS SELECT 1 AS n",
        "CREATE TABLE open AS SELECT 2 AS n",
        f"GRANT SELECT ON open TO {role}",
    )
    try:
        catalog = await _catalog(SourceAddress.parse(database.url))
        warnings = _Warnings()
        samples, _ = await sample(SourceAddress.parse(database.url_as(role, "p")), catalog, warnings)
        assert samples == {ColumnName.parse("public.open.n"): [b"2"]}
        assert len(warnings.texts) == 1
        assert warnings.texts[0].startswith("public.a_closed was not sampled.")
    finally:
        database.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_what_is_long_or_rare_is_sampled_too(database: Database) -> None:
    """Beyond the thousand rows: one long text and one that comes once, among thousands that repeat."""
    database.execute(
        "CREATE TABLE words (word text)",
        "INSERT INTO words SELECT 'w' || n % 3 FROM generate_series(1, 5000) n",
        "INSERT INTO words VALUES ('rare'), (repeat('long ', 100))",
        "INSERT INTO words SELECT 'w' || n % 3 FROM generate_series(1, 3000) n",
        "ANALYZE",
    )
    address = SourceAddress.parse(database.url)
    samples, _ = await sample(address, await _catalog(address), QuietReport())
    values = samples[ColumnName.parse("public.words.word")]
    assert {b"rare", b"long " * 100} <= set(values)
    assert SAMPLE_ROWS <= len(values) <= SAMPLE_ROWS + 100


async def test_what_columns_share_is_told_of_all_rows_that_were_read(database: Database) -> None:
    """Also of those that are not sampled; twice the same where nothing changed."""
    database.execute(
        "CREATE TABLE people AS SELECT n, 'person' || n AS called FROM generate_series(1, 9000) n",
        "CREATE TABLE letters AS SELECT 'person' || n * 9 AS sender, n FROM generate_series(1, 1000) n",
        "CREATE TABLE large AS SELECT n, 'x' || n AS word FROM generate_series(1, 60000) n",
        "ANALYZE",
    )
    address = SourceAddress.parse(database.url)
    catalog = await _catalog(address)
    samples, overlaps = await sample(address, catalog, QuietReport())
    called, sender = (ColumnName.parse(f"public.{name}") for name in ("people.called", "letters.sender"))
    (group,) = overlaps.groups([called, sender, ColumnName.parse("public.large.word")])
    assert group.columns == {called: (1000, 9000), sender: (1000, 1000)}
    assert (await sample(address, catalog, QuietReport()))[0] == samples


@pytest.mark.parametrize("hidden", ["4111 1111 1111 1111", "DE89370400440532013000", "g@x.example", "078-05-1120"])
async def test_what_has_the_marks_of_a_person_is_sampled_too(database: Database, hidden: str) -> None:
    """One number or address among thousands of texts that are all different, and most of them longer."""
    database.execute(
        "CREATE TABLE words (word text)",
        "INSERT INTO words SELECT 'a text that is quite long ' || n FROM generate_series(1, 4321) n",
        f"INSERT INTO words VALUES ('see {hidden}')",
        "INSERT INTO words SELECT 'a text that is quite long ' || n FROM generate_series(5000, 8000) n",
        "ANALYZE",
    )
    address = SourceAddress.parse(database.url)
    samples, _ = await sample(address, await _catalog(address), QuietReport())
    assert f"see {hidden}".encode() in samples[ColumnName.parse("public.words.word")]


async def test_marked_values_are_sampled_however_often_they_come(database: Database) -> None:
    """Of forty addresses among ten thousand notes, each of which comes five times, all are seen."""
    database.execute(
        "CREATE TABLE notes AS SELECT CASE WHEN n % 50 = 7 THEN 'mail user' || n / 50 % 40 || '@example.com'"
        " ELSE 'a note about a room, and a longer one ' || n END AS note FROM generate_series(1, 10000) n",
        "ANALYZE",
    )
    address = SourceAddress.parse(database.url)
    samples, _ = await sample(address, await _catalog(address), QuietReport())
    marked = {value for value in samples[ColumnName.parse("public.notes.note")] if b"@" in value}
    assert marked == {b"mail user%d@example.com" % number for number in range(40)}
