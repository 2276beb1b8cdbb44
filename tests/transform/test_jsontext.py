"""JSON is cut into tokens without being changed."""

from __future__ import annotations

import json

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fix_postgres import Server
from transform import jsontext

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=15,
)
WRITTEN = st.tuples(DOCUMENTS, st.sampled_from([None, 1]), st.booleans()).map(
    lambda one: json.dumps(one[0], indent=one[1], ensure_ascii=one[2]).encode()
)


@given(WRITTEN)
def test_tokens_together_are_the_document(document: bytes) -> None:
    """Nothing is lost between tokens, however the document is written."""
    pieces = jsontext.TOKEN.findall(document)
    assert (
        b"".join(lead + string + scalar + opening + closing for lead, _, string, scalar, opening, closing in pieces)
        == document
    )


@given(
    st.lists(DOCUMENTS, max_size=4) | st.dictionaries(TEXTS, DOCUMENTS, max_size=4),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_values_in_are_those_that_a_parser_finds(document: object, indent: int | None, ascii_only: bool) -> None:
    """Keys and values agree with Python's parser, and all pieces together are the document."""
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode() + b" "
    values, end = jsontext.values_in(text)
    assert b"".join(lead + value for lead, _, value in values) + end == text
    assert [json.loads(value) for _, _, value in values] == list(
        document.values() if isinstance(document, dict) else document
    )
    if isinstance(document, dict):
        assert [key.decode() for _, key, _ in values] == list(document)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quoting_is_undone_by_unquoting(text: str) -> None:
    """A string survives, and any JSON parser reads it."""
    token = jsontext.quote(text.encode())
    assert jsontext.unquote(token).decode() == text
    assert json.loads(token) == text
    assert jsontext.unquote(json.dumps(text).encode()).decode() == text


def test_what_is_no_text_is_still_read() -> None:
    """Lone surrogates, which json allows, and bytes of another encoding do not stop a run."""
    assert jsontext.unquote(b'"a\\ud800b"') == b"a?b"
    assert jsontext.unquote(b'"\xe4\\n"') == b"?\n"
    assert jsontext.unquote(b'"\xe4"') == b"\xe4"


@pytest.mark.parametrize("text", ["0", "-1", "10.50", "-0.5"])
def test_numbers(text: str) -> None:
    """What jsonb prints is a number."""
    assert jsontext.is_number(text.encode())


@pytest.mark.parametrize("text", ["", "01", "-0", "-0.00", "1e5", "1.", ".5", "NaN", "+1", "1 ", "1\n"])
def test_what_jsonb_would_print_otherwise_is_no_number(text: str) -> None:
    """jsonb has no exponents, no leading zeros and no negative zero."""
    assert not jsontext.is_number(text.encode())


@pytest.mark.integration
def test_strings_are_quoted_as_the_server_quotes_them(server18: Server) -> None:
    """Every character below 256 and some beyond."""
    text = "".join(map(chr, range(1, 256))) + "\u2028李😀"
    with psycopg.connect(server18.url()) as connection:
        assert connection.execute("SELECT to_jsonb(%s::text)::text", [text]).fetchone() == (
            jsontext.quote(text.encode()).decode(),
        )
