"""The allow-list of what may be said to production.

``check`` passes reading statements only, ``check_replication`` the four replication commands, on slots of ours.
Both raise ``Refused`` for everything else, whatever the role would be allowed to do: this is the first of three
nets, before the read-only session and the role's privileges.

A query is parsed by sqlglot: its structure must be SELECTs and nothing else, at every depth, and each word that
stands before an opening parenthesis must be syntax or a function of the list. The list names functions of
``pg_catalog`` that read; sessions have only ``pg_catalog`` on their search path, so a bare name cannot be anyone
else's. Comments are refused, because a parser and a server that disagree about where one ends see two statements.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError

from capture.model import Refused

SLOT_PREFIX: Final = "tezcat_"

_FUNCTIONS: Final = frozenset(
    """
    acldefault aclexplode col_description current_database current_schema current_schemas current_setting format_type
    has_any_column_privilege has_column_privilege has_database_privilege has_function_privilege
    has_schema_privilege has_sequence_privilege has_table_privilege has_type_privilege inet_server_addr
    inet_server_port obj_description pg_backend_pid pg_column_size pg_control_checkpoint pg_control_system
    pg_current_snapshot pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_database_size
    pg_describe_object pg_encoding_to_char pg_export_snapshot pg_get_constraintdef pg_get_expr
    pg_get_function_arguments pg_get_function_identity_arguments pg_get_function_result pg_get_functiondef
    pg_get_indexdef pg_get_partition_constraintdef pg_get_partkeydef pg_get_publication_tables
    pg_get_replica_identity_index pg_get_ruledef pg_get_serial_sequence pg_get_statisticsobjdef pg_get_triggerdef
    pg_get_userbyid pg_get_viewdef pg_has_role pg_identify_object pg_index_column_has_property pg_indexes_size
    pg_is_in_recovery pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_options_to_table pg_partition_ancestors
    pg_partition_root pg_partition_tree pg_postmaster_start_time pg_relation_filenode pg_relation_size
    pg_sequence_last_value pg_size_pretty pg_snapshot_xmax pg_snapshot_xmin pg_table_is_visible pg_table_size
    pg_total_relation_size pg_type_is_visible pg_typeof pg_wal_lsn_diff row_security_active shobj_description
    to_regclass to_regnamespace to_regrole to_regtype version

    array_agg avg bool_and bool_or count json_agg jsonb_agg json_object_agg jsonb_object_agg max min string_agg sum
    dense_rank first_value lag last_value lead ntile rank row_number

    abs age array_length array_lower array_position array_positions array_remove array_to_json array_to_string
    array_upper btrim cardinality ceil ceiling char_length clock_timestamp coalesce concat concat_ws convert_from
    convert_to date_part date_trunc decode div encode extract floor format generate_series generate_subscripts
    greatest initcap isfinite json_array_elements json_array_elements_text json_array_length json_build_array
    json_build_object json_each json_each_text json_extract_path json_extract_path_text json_object_keys json_typeof
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each
    jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_object_keys jsonb_path_exists jsonb_typeof
    least left length lower lpad ltrim make_date make_interval make_timestamptz md5 mod now nullif octet_length
    overlay position quote_ident quote_literal quote_nullable regexp_matches regexp_replace regexp_split_to_array
    repeat replace reverse right round row_to_json rpad rtrim sha256 sign split_part sqrt starts_with
    statement_timestamp string_to_array strpos substr substring to_char to_date to_hex to_json to_jsonb to_number
    to_timestamp transaction_timestamp translate trim trunc unnest upper width_bucket
    """.split()
)

# Words that may stand before a parenthesis without being a call.
_SYNTAX: Final = frozenset(
    """
    all and any array as asymmetric bernoulli between by case cast cross distinct else except exists filter from full
    group having ilike in inner intersect is join lateral like limit materialized not offset on operator or over
    repeatable row select similar some symmetric system then to tuple union using values when where with within
    """.split()
)

_SESSION: Final = re.compile(
    r"""
    SHOW \s+ [a-z_.]+
    | (BEGIN | START \s+ TRANSACTION)
      (\s+ ISOLATION \s+ LEVEL \s+ (REPEATABLE \s+ READ | READ \s+ COMMITTED | SERIALIZABLE) ,?)? \s+ READ \s+ ONLY
    | SET \s+ TRANSACTION \s+ SNAPSHOT \s+ '[0-9A-Fa-f-]+'
    | SET \s+ ((LOCAL | SESSION) \s+)?
      (statement_timeout | lock_timeout | transaction_timeout | idle_session_timeout
       | idle_in_transaction_session_timeout) \s* (= | \s TO \s) \s* ([0-9]+ | '[0-9]+ \s* (ms|s|min|h)?')
    | COMMIT | ROLLBACK
    """,
    re.IGNORECASE | re.VERBOSE,
)

_COPY: Final = re.compile(
    r"COPY\s*\((?P<query>.*)\)\s*TO\s+STDOUT(\s+(WITH\s*)?\(\s*FORMAT\s+text\s*\))?", re.IGNORECASE | re.DOTALL
)

_SLOT: Final = rf"""("{SLOT_PREFIX}[a-z0-9_]+"|{SLOT_PREFIX}[a-z0-9_]+)"""
_REPLICATION: Final = re.compile(
    rf"""
    IDENTIFY_SYSTEM
    | CREATE_REPLICATION_SLOT \s+ {_SLOT} (\s+ TEMPORARY)? \s+ LOGICAL \s+ "?pgoutput"?
      (\s+ (EXPORT_SNAPSHOT | NOEXPORT_SNAPSHOT | USE_SNAPSHOT | TWO_PHASE) | \s* \( [a-z_\s,'0-9]* \))?
    | START_REPLICATION \s+ SLOT \s+ {_SLOT} \s+ LOGICAL \s+ [0-9A-F]+/[0-9A-F]+ \s* \( (?:[^'";]|'[^';]*'|"[^";]*")* \)
    | DROP_REPLICATION_SLOT \s+ {_SLOT} (\s+ WAIT)?
    """,
    re.IGNORECASE | re.VERBOSE,
)


def check_replication(command: str) -> None:
    """Pass a command of the replication protocol that touches no slot but ours. Raises ``Refused``."""
    if not _REPLICATION.fullmatch(command.strip()):
        raise Refused(
            "a replication command that is not on the allow-list was stopped before it reached production.",
            hint=f"Only slots whose names begin with {SLOT_PREFIX} are created, read or dropped.",
        )


@lru_cache(maxsize=1024)
def check(sql: str) -> None:
    """Pass one statement that only reads, or that ends or begins a reading transaction. Raises ``Refused``."""
    statement = sql.strip().removesuffix(";").rstrip()
    if _SESSION.fullmatch(statement):
        return
    copy = _COPY.fullmatch(statement)
    _check_query(copy["query"] if copy else statement)


def _check_query(sql: str) -> None:
    try:
        tokens = sqlglot.tokenize(sql, dialect="postgres")
        trees = sqlglot.parse(sql, dialect="postgres")
    except SqlglotError:
        raise _refused("it cannot be parsed") from None
    if len(trees) != 1:
        raise _refused("it is not one single statement")
    if not isinstance(trees[0], exp.Query):
        raise _refused("it is not a SELECT")
    _check_tokens(tokens)
    _check_structure(trees[0])


def _check_tokens(tokens: list[Token]) -> None:
    for before, token, after in zip([None, *tokens[:-1]], tokens, [*tokens[1:], None], strict=True):
        if token.comments:
            raise _refused("it holds a comment")
        if token.token_type is TokenType.SEMICOLON:
            raise _refused("it is not one single statement")
        if after is None or after.token_type is not TokenType.L_PAREN:
            continue
        # A type's modifier, as in ::numeric(10, 2), or an alias's columns, as in AS k(name, position).
        if before is not None and before.token_type in {TokenType.DCOLON, TokenType.ALIAS}:
            continue
        quoted = token.token_type is TokenType.IDENTIFIER
        word = token.text if quoted else token.text.lower().split(" ")[-1]
        if (quoted or _is_word(word)) and word not in _FUNCTIONS and (quoted or word not in _SYNTAX):
            raise _refused(f"it calls {word}, which is not on the list of functions that only read")


def _is_word(text: str) -> bool:
    return text[:1].isalpha() or text[:1] == "_"


def _check_structure(query: exp.Query) -> None:
    for node in query.walk():
        match node:
            case exp.DML() | exp.DDL() | exp.Command():
                raise _refused("it does more than SELECT")
            case exp.Into():
                raise _refused("SELECT INTO makes a table")
            case exp.Lock():
                raise _refused("FOR UPDATE and FOR SHARE lock rows")
            case exp.CTE() if not isinstance(node.this, exp.Query):
                raise _refused("it does more than SELECT")
            case exp.Dot(expression=exp.Func()) if node.this.name.lower() != "pg_catalog":
                raise _refused("it calls a function that is not PostgreSQL's own")
            case exp.Operator() if not node.args["operator"].lower().startswith("pg_catalog."):
                raise _refused("it calls an operator that is not PostgreSQL's own")


def _refused(reason: str) -> Refused:
    return Refused(
        f"a statement was stopped before it reached production: {reason}.",
        hint="Only statements that are parsed as reading are sent to production.",
    )
