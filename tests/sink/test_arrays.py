"""The server reads an array as the column it was made of."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import pq

from sink.arrays import text_array
from sink.target import Connection
from tests.fix_copy import OpenTarget
from tests.fix_postgres import Database

Values = list[bytes | None]

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0")).map(str.encode)
values = st.none() | st.sampled_from([b"", b"NULL", b"null", b'"', b"\\", b"{}", b"{a,b}", b",", b" "]) | texts


@pytest.fixture
async def connection(shared: Database, open_target: OpenTarget) -> Connection:
    return await open_target(shared)


def read(connection: Connection, array: bytes) -> Values:
    """What the server takes out of an array, in order."""
    result = connection.pgconn.exec_params(
        b"SELECT value FROM unnest($1::text[]) WITH ORDINALITY AS given(value, place) ORDER BY place",
        [array],
        param_formats=[pq.Format.BINARY],
    )
    assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message.decode()
    return [result.get_value(place, 0) for place in range(result.ntuples)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(sent=st.lists(values, min_size=1, max_size=12), before=st.lists(values, max_size=3), after=st.lists(values))
async def test_values_pass_as_they_are(connection: Connection, sent: Values, before: Values, after: Values) -> None:
    """Any text, NULL, the empty string; also of a slice of a column."""
    whole = pa.array([*before, *sent, *after], pa.binary())
    assert read(connection, text_array(whole.slice(len(before), len(sent)))) == sent


async def test_values_without_a_null_pass_too(connection: Connection) -> None:
    """Arrow then keeps no bitmap."""
    sent: Values = [b"a", b"", b"bc" * 1000]
    assert read(connection, text_array(pa.array(sent, pa.binary()))) == sent
    assert read(connection, text_array(pa.array([None] * 3, pa.binary()))) == [None] * 3
    assert read(connection, text_array(pa.nulls(3, pa.binary()))) == [None] * 3


async def test_a_large_column_passes(connection: Connection) -> None:
    """More rows than a window is likely to hold, of all lengths, and one of megabytes."""
    draw = random.Random(3)
    sent: Values = [draw.choice([None, b"x" * draw.randrange(40)]) for _ in range(50_000)]
    sent[777] = b"\xc3\xa4" * (4 << 20)
    assert read(connection, text_array(pa.array(sent, pa.binary()))) == sent
    part = pa.array(sent, pa.binary()).take(pa.array([5, 777, 49_999]))
    assert read(connection, text_array(part)) == [sent[5], sent[777], sent[49_999]]
