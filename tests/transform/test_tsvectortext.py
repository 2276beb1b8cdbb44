"""Search vectors are what a server makes of the same text."""

from __future__ import annotations

import psycopg
import pytest
from fix_masks import MANY_RUNS, mask_of, masked
from hypothesis import given
from hypothesis import strategies as st

from tests.fix_postgres import Server
from transform import tsvectortext

EXACT = [
    "Foo-bar baz, (quux)! O'Neill's [redacted] -- a--b",
    "foo_bar 1foo foo1 a1-b2 foo-1 a-b-1 1-a 19b -1a",
    "2024-01-31 10:30 +49 30 1234567 (555) 123-4567 1,000 $5.00 50%",
    "a.b-c_d@mail.com x+y@z.de u@h @foo #tag a_b.com end.Start",
    "http://ex.com/a/b?x=1 ex.com:80/a ex.com/ foo.bar.baz/qux ftp://x",
    "/usr/local/a.txt a/b/c ./x ~/y and/or",
    "1.5 -1.5 1e5 1.5e-3 1.2.3 5. 100.200",
    "<b>hi</b> &amp; a<b",
    "0b7d4c2a-0b7d-4c2a-9e51-000000000001",
    "straße é-à a-é 李小龍",
    "a " * 400,
    "b " * 16_380 + "x y z x q w w",
    "x" * 2046 + " a " + "y" * 2047 + " b",
    "",
]
WORDS = st.text(st.sampled_from("abcxyzABCß0é12"), min_size=1, max_size=5).filter(lambda word: word[0] not in "012")
PIECES = WORDS | st.integers(0, 10**6).map(str) | st.lists(WORDS, min_size=2, max_size=3).map("-".join)
PLAIN = st.lists(st.tuples(PIECES, st.sampled_from([" ", ", ", "; ", "\n", "! ", " (", ") ", "? "]))).map(
    lambda pairs: "".join(piece + end for piece, end in pairs)
)


def printed(connection: psycopg.Connection[tuple[str]], text: str) -> str:
    (out,) = connection.execute("SELECT to_tsvector('simple', %s)::text", [text]).fetchone() or ("",)
    return out


def ours(text: str) -> str:
    return tsvectortext.write(tsvectortext.lexemes_in(text)).decode()


@pytest.mark.integration
@pytest.mark.parametrize("text", EXACT, ids=[text[:12] for text in EXACT])
def test_the_server_finds_the_same_lexemes(server18: Server, text: str) -> None:
    """Words, hyphens, numbers, addresses, and the limits of positions and lengths."""
    with psycopg.connect(server18.url()) as connection:
        assert ours(text) == printed(connection, text)


@pytest.mark.integration
def test_plain_text_is_exact(server18: Server) -> None:
    """Words, compounds and whole numbers, with punctuation between them."""

    @given(PLAIN)
    @MANY_RUNS
    def check(text: str) -> None:
        assert ours(text) == printed(connection, text)

    with psycopg.connect(server18.url()) as connection:
        check()


@pytest.mark.integration
@pytest.mark.parametrize("name", ["name.full", "email", "phone", "address.full", "text.lorem", "id.uuid"])
def test_what_masks_write_is_exact(server18: Server, name: str) -> None:
    """Sources of a search vector hold such texts."""
    texts = masked(mask_of(name), [b"number %d at https://example.com" % number for number in range(100)])
    with psycopg.connect(server18.url()) as connection:
        for text in texts:
            assert ours((text or b"").decode()) == printed(connection, (text or b"").decode())


@pytest.mark.integration
def test_any_text_gives_a_vector(server18: Server) -> None:
    """Where the server would find other lexemes, what we find is still what it prints, alone and concatenated."""

    @given(*[st.text(st.sampled_from("ab1 -./:@_<&;'\\+é") | st.characters(exclude_categories=["Cs"]))] * 2)
    @MANY_RUNS
    def check(one: str, other: str) -> None:
        vectors = [tsvectortext.lexemes_in(one, b"A"), tsvectortext.lexemes_in(other)]
        texts = [tsvectortext.write(vector).decode() for vector in vectors]
        both = tsvectortext.write(tsvectortext.concatenated(vectors)).decode()
        row = connection.execute("SELECT %s::tsvector::text, (%s::tsvector || %s::tsvector)::text", [both, *texts])
        assert row.fetchone() == (both, both)
        parts = tsvectortext.cut(both.encode())
        assert tsvectortext.join(parts[1::3], parts[2::3]).decode() == both
        assert tsvectortext.join(parts[1::3][::-1], parts[2::3][::-1]).decode() == both

    with psycopg.connect(server18.url()) as connection:
        check()


@pytest.mark.integration
@pytest.mark.parametrize("first", ["a b a", "b " * 16_380 + "x y z x q", "a " * 400, "", "a-b c"])
def test_vectors_are_concatenated_as_the_server_does(server18: Server, first: str) -> None:
    """Positions go on behind the last one, up to the limits."""
    with psycopg.connect(server18.url()) as connection:
        row = connection.execute(
            "SELECT (setweight(to_tsvector('simple', %s), 'A') || setweight(to_tsvector('simple', %s), 'B')"
            " || to_tsvector('simple', %s))::text",
            [first, "q x a", "a " * 300],
        )
        vectors = [
            tsvectortext.lexemes_in(first, b"A"), tsvectortext.lexemes_in("q x a", b"B"),
            tsvectortext.lexemes_in("a " * 300),
        ]  # fmt: skip
        assert row.fetchone() == (tsvectortext.write(tsvectortext.concatenated(vectors)).decode(),)


@pytest.mark.parametrize("text", [b"a", b"'a", b"'a':", b"'a':1'b'", b"'a'  'b'", b"'a':1x"])
def test_what_is_no_vector_is_refused(text: bytes) -> None:
    """Without a word of it."""
    with pytest.raises(ValueError, match=r"^not the text of a tsvector$"):
        tsvectortext.cut(text)
