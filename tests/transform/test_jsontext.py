"""JSON is cut into tokens without being changed."""

from __future__ import annotations

import json

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
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


ODD_DOCUMENTS = [
    '{"bb":1,"a" : [ ], "\\u00e9": {"z":1.50,"y":-0.0}, "a":2}', "1E3", "-1.5e-3",
    ' [true,null , "\\u0041\\/"] ', '"\\u007f\\t"',
    '{"": {"": []}}', "[1.0, 100, -7]", '{"ab": 1, "é": 2, "z": 3}',
]  # fmt: skip


@pytest.mark.integration
@given(st.lists(WRITTEN, min_size=100, max_size=100))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_the_binary_form_is_what_the_server_prints(server18: Server, written: list[bytes]) -> None:
    """Keys in its order and once, its blanks, its numbers, its escapes."""
    documents = [*ODD_DOCUMENTS, *(one.decode() for one in written if b"\\u0000" not in one)]
    with psycopg.connect(server18.url()) as connection:
        printed = connection.execute("SELECT one::jsonb::text FROM unnest(%s::text[]) one", [documents]).fetchall()
    assert [jsontext.binary_form(one.encode()).decode() for one in documents] == [text for (text,) in printed]


def test_the_binary_form_has_no_limit_of_depth() -> None:
    """Nor has anything else that is done to documents."""
    deep = b"[" * 5000 + b"]" * 5000
    assert jsontext.binary_form(deep) == deep


@given(DOCUMENTS, st.data())
def test_a_document_that_was_cut_off_is_closed(document: object, data: st.DataObject) -> None:
    """Up to its last whole value, so it is one again; a whole one stays."""
    text = json.dumps({"a": document, "b": 12345}).encode()
    assert jsontext.closed(text) == text
    end = data.draw(st.integers(0, len(text)))
    part = jsontext.closed(text[:end])
    assert part == b"" or json.loads(part).keys() <= {"a", "b"}
    assert part.rstrip(b"]}") == text[: len(part.rstrip(b"]}"))]
    # Of a number that was cut off nobody knows what it was.
    assert not part or json.loads(part).get("b", 12345) == 12345
