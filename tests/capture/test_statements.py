"""The allow-list passes what capture says to production, and nothing that could change it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.model import Refused
from capture.statements import check, check_replication

READING = [
    "SELECT 1",
    "SELECT a, b FROM ONLY s.t WHERE ctid >= '(0,0)'::tid AND ctid < '(10,0)'::tid",
    "COPY (SELECT a, \"B c\" FROM ONLY s.t WHERE ctid >= '(0,0)'::tid) TO STDOUT",
    "COPY (SELECT 1) TO STDOUT (FORMAT text)",
    "COPY (SELECT 1 WHERE 'a) TO STDOUT' <> '') TO STDOUT WITH (FORMAT text)",
    "WITH a AS (SELECT 1 AS b), c AS MATERIALIZED (SELECT b FROM a) SELECT * FROM c UNION ALL SELECT 2",
    "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a WHERE n < 5) SELECT n FROM a",
    "SELECT pg_catalog.pg_get_indexdef(i.indexrelid, k, true) FROM pg_catalog.pg_index AS i",
    "SELECT format_type(a.atttypid, a.atttypmod), c.oid::regclass::text FROM pg_attribute a, pg_class c",
    "SELECT * FROM unnest(ARRAY[1, 2]) WITH ORDINALITY AS k(name, n)",
    "SELECT f.* FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS f",
    "SELECT (aclexplode(c.relacl)).grantee FROM pg_class c",
    "SELECT count(*) FILTER (WHERE x) OVER (PARTITION BY y) FROM t TABLESAMPLE SYSTEM (1)",
    "SELECT CASE WHEN (a) THEN (b) ELSE (c) END, x::numeric(10, 2), CAST(y AS varchar(10)), a = ANY(%s), b = %(b)s",
    "SELECT EXISTS (SELECT FROM t WHERE x IN (1, 2)), ARRAY(SELECT 1), array_agg(a ORDER BY b) FROM t",
    "SELECT a OPERATOR(pg_catalog.=) b FROM t",
    "SELECT pg_export_snapshot(), pg_current_wal_lsn()",
    "SHOW wal_level",
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "begin isolation level repeatable read, read only",
    "START TRANSACTION READ ONLY",
    "SET TRANSACTION SNAPSHOT '00000003-0000001B-1'",
    "SET LOCAL statement_timeout = 0",
    "SET statement_timeout TO '5s'",
    "SET SESSION idle_session_timeout = 0",
    "COMMIT",
    "ROLLBACK;",
]

FORBIDDEN = [
    "",
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET a = 1",
    "DELETE FROM t",
    "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
    "TRUNCATE t",
    "DROP TABLE t",
    "CREATE TABLE t (a int)",
    "CREATE TABLE t AS SELECT 1",
    "ALTER TABLE t ADD a int",
    "GRANT SELECT ON t TO r",
    "VACUUM t",
    "ANALYZE t",
    "LOCK TABLE t",
    "DO $$ BEGIN END $$",
    "CALL p()",
    "EXPLAIN ANALYZE DELETE FROM t",
    "PREPARE x AS DELETE FROM t",
    "EXECUTE x",
    "LISTEN x",
    "NOTIFY x",
    "CHECKPOINT",
    "COPY t FROM STDIN",
    "COPY t TO STDOUT",
    "COPY (SELECT 1) TO PROGRAM 'rm'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "COPY (DELETE FROM t RETURNING *) TO STDOUT",
    "COPY (WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x) TO STDOUT",
    "COPY (SELECT 1) TO STDOUT; DELETE FROM t; COPY (SELECT 1) TO STDOUT",
    "COPY (SELECT nextval('s')) TO STDOUT",
    "SELECT 1; SELECT 2",
    "SELECT 1; DELETE FROM t",
    "SELECT a INTO x FROM t",
    "SELECT a FROM t FOR UPDATE",
    "SELECT a FROM t FOR SHARE",
    "SELECT a FROM t FOR NO KEY UPDATE",
    "SELECT a FROM (SELECT b FROM u FOR KEY SHARE) z",
    "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
    "SELECT (WITH d AS (INSERT INTO t VALUES (1) RETURNING a) SELECT a FROM d)",
    "SELECT 1 -- 2",
    "SELECT /* 1 /* 2 */ */ 3",
    "SELECT nextval('s')",
    "SELECT setval('s', 1)",
    "SELECT * FROM dblink('x', 'y')",
    "SELECT pg_sleep(1)",
    "SELECT pg_terminate_backend(1)",
    'SELECT "pg_terminate_backend"(1)',
    'SELECT pg_catalog."pg_terminate_backend"(1)',
    "SELECT pg_terminate_backend (1)",
    'SELECT U&"pg\\005fsleep"(1)',
    'SELECT "in"(1)',
    'SELECT "COUNT"(1)',
    "SELECT lo_import('x')",
    "SELECT lo_unlink(1)",
    "SELECT set_config('a', 'b', false)",
    "SELECT pg_drop_replication_slot('s')",
    "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
    "SELECT pg_logical_slot_get_changes('s', NULL, NULL)",
    "SELECT pg_logical_emit_message(true, 'a', 'b')",
    "SELECT pg_read_file('x')",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_notify('a', 'b')",
    "SELECT txid_current()",
    "SELECT query_to_xml('delete from t', true, true, '')",
    "SELECT a FROM t WHERE evil(a)",
    "SELECT a FROM t ORDER BY evil(a)",
    "SELECT a FROM evil(1) AS t",
    "SELECT a FROM t, LATERAL evil(t.a) AS u",
    "SELECT public.format_type(1, 2)",
    "SELECT public.lower('a')",
    "SELECT a OPERATOR(public.=) b FROM t",
    "BEGIN",
    "BEGIN READ WRITE",
    "BEGIN READ ONLY; DELETE FROM t",
    "SET TRANSACTION READ WRITE",
    "SET TRANSACTION SNAPSHOT ''; DELETE FROM t",
    "SET SESSION AUTHORIZATION postgres",
    "SET ROLE postgres",
    "SET search_path = public",
    "SET default_transaction_read_only = off",
    "SET statement_timeout = 0; DELETE FROM t",
    "RESET ALL",
    "SHOW wal_level; DELETE FROM t",
]


@pytest.mark.parametrize("sql", READING)
def test_reading_passes(sql: str) -> None:
    """What capture needs to say is let through."""
    check(sql)


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_all_else_is_refused(sql: str) -> None:
    """A statement that writes, locks, signals or hides another one never leaves."""
    with pytest.raises(Refused):
        check(sql)


@given(st.sampled_from([sql for sql in FORBIDDEN if sql]), st.sampled_from(["\n", "\t", "  ", " \r\n "]), st.booleans())
def test_neither_case_nor_blanks_get_around_it(sql: str, blank: str, upper: bool) -> None:
    """A refused statement stays refused in any spelling."""
    spelt = sql.replace(" ", blank)
    with pytest.raises(Refused):
        check(spelt.upper() if upper and '"' not in spelt else spelt)


@given(st.text(alphabet=st.sampled_from("ab'\\;$-/*() \n\"E"), max_size=12))
def test_nothing_can_be_hidden_in_a_literal(text: str) -> None:
    """However a literal is made up, what follows it is judged as code."""
    with pytest.raises(Refused):
        check(f"SELECT '{text}' WHERE pg_sleep(1) IS NULL")


def test_a_refusal_does_not_repeat_the_statement() -> None:
    """A literal of the statement never reaches the message."""
    with pytest.raises(Refused) as caught:
        check("DELETE FROM t WHERE a = 'canary'")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        "IDENTIFY_SYSTEM",
        'CREATE_REPLICATION_SLOT "tezcat_test" LOGICAL pgoutput EXPORT_SNAPSHOT',
        "CREATE_REPLICATION_SLOT tezcat_test TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export', TWO_PHASE)",
        "CREATE_REPLICATION_SLOT tezcat_test LOGICAL pgoutput",
        "START_REPLICATION SLOT tezcat_test LOGICAL 0/1A (proto_version '4', publication_names '\"tezcat\",\"b c\"')",
        "DROP_REPLICATION_SLOT tezcat_test",
        'DROP_REPLICATION_SLOT "tezcat_test" WAIT',
    ],
)
def test_replication_of_our_slots_passes(command: str) -> None:
    """Slots of ours are created, read and dropped."""
    check_replication(command)


@pytest.mark.parametrize(
    "command",
    [
        "DROP_REPLICATION_SLOT other",
        "DROP_REPLICATION_SLOT tezcat_test; DROP_REPLICATION_SLOT other",
        'DROP_REPLICATION_SLOT "tezcat_a"; DROP_REPLICATION_SLOT "other"',
        "CREATE_REPLICATION_SLOT other LOGICAL pgoutput",
        "CREATE_REPLICATION_SLOT tezcat_test PHYSICAL",
        "CREATE_REPLICATION_SLOT tezcat_test LOGICAL test_decoding",
        "START_REPLICATION SLOT other LOGICAL 0/0 (proto_version '1')",
        "START_REPLICATION SLOT tezcat_test PHYSICAL 0/0",
        "START_REPLICATION SLOT tezcat_test LOGICAL 0/0 (proto_version '1'); DELETE FROM t",
        "BASE_BACKUP",
        "SELECT 1",
    ],
)
def test_other_replication_commands_are_refused(command: str) -> None:
    """Nobody else's slot is touched, and no other command is sent."""
    with pytest.raises(Refused):
        check_replication(command)
