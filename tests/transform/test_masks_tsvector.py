"""Search vectors say nothing but what the masked texts say."""

from __future__ import annotations

from typing import Any

import psycopg
import pyarrow as pa
import pytest
from fix_masks import MANY_RUNS, column_of, mask_of, masked
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capture.model import BadInput, ServerFailed
from tests.fix_postgres import Server
from transform import tsvectortext
from transform.cmac import Prf
from transform.masks.base import Build, DerivedMask, mask_kind

ROW = {"title": column_of(), "body": column_of("varchar"), "n": column_of("int4"), "tags": column_of(is_array=True)}
TEXTS = st.none() | st.text(st.sampled_from("abcAB12 ,ß!"), max_size=20)


def vector(**params: Any) -> DerivedMask:
    """The mask as the plan would build it."""
    kind = mask_kind("tsvector")
    build = Build(Prf(bytes(32)), column_of("tsvector"), row=ROW)
    mask = kind.build(kind.params.model_validate(params), build)
    assert isinstance(mask, DerivedMask)
    return mask


def derived(mask: DerivedMask, values: list[bytes | None], **sources: list[str | None]) -> list[bytes | None]:
    arrays = {
        name: pa.array([None if text is None else text.encode() for text in texts], pa.binary())
        for name, texts in sources.items()
    }
    out: list[bytes | None] = mask.derive(pa.array(values, pa.binary()), arrays).to_pylist()
    return out


def test_a_vector_is_made_from_the_masked_texts() -> None:
    """Each source has its weight, NULL adds nothing, and a NULL stays NULL."""
    mask = vector(**{"from": ["title", "body"], "weights": {"title": "A", "body": "D"}})
    assert mask.sources == ("title", "body")
    out = derived(
        mask,
        [b"'secret':1", None, b"", b"'x':1"],
        title=["Anna Keller", "x", None, None],
        body=["met Anna.", "y", "Only", None],
    )
    assert out == [b"'anna':1A,4 'keller':2A 'met':3", None, b"'only':1", b""]


@pytest.mark.integration
def test_the_copy_would_make_the_same(server18: Server) -> None:
    """As a trigger's expression does from the same texts."""

    @given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3))
    @MANY_RUNS
    def check(rows: list[tuple[str | None, str | None]]) -> None:
        titles, bodies = (list(column) for column in zip(*rows, strict=True))
        mask = vector(**{"from": ["title", "body"], "weights": {"title": "A"}})
        out = derived(mask, [b""] * len(rows), title=titles, body=bodies)
        for (title, body), text in zip(rows, out, strict=True):
            row = connection.execute(
                "SELECT (setweight(to_tsvector('simple', coalesce(%s, '')), 'A')"
                " || to_tsvector('simple', coalesce(%s, '')))::text",
                [title, body],
            )
            assert row.fetchone() == ((text or b"").decode(),)

    with psycopg.connect(server18.url()) as connection:
        check()


@pytest.mark.parametrize(
    ("sources", "match"), [(["nothing"], "no decided column"), (["n"], "not text"), (["title", "tags"], "not text")]
)
def test_other_sources_are_refused(sources: list[str], match: str) -> None:
    """A vector is made from text."""
    with pytest.raises(BadInput, match=match):
        vector(**{"from": sources})


@pytest.mark.parametrize(
    "params",
    [{"from": ["title"], "weights": {"body": "A"}}, {"config": "english"}, {"from": ["n"], "weights": {"n": "E"}}],
)
def test_other_parameters_are_refused(params: dict[str, Any]) -> None:
    """Weights are A to D, of sources; words are stemmed by the server only."""
    with pytest.raises(ValidationError):
        mask_kind("tsvector").params.model_validate(params)


@given(st.lists(st.none() | st.text(st.sampled_from("ab12 -'\\ß")).map(lambda text: tsvectortext.write(
    {word.encode(): [(1, b""), (3, b"B")] for word in text.split()})), max_size=5))  # fmt: skip
@MANY_RUNS
def test_scrambled_vectors_keep_their_form(values: list[bytes | None]) -> None:
    """A lexeme is scrambled alike wherever it stands; no two meet, and the vector is in order."""
    out = assert_function_of_the_vector(values)
    for before, after in zip(values, out, strict=True):
        if before is not None:
            assert after is not None
            old, new = read(before), read(after)
            assert sorted(map(len, old)) == sorted(map(len, new))
            assert len(set(new)) == len(old)
            assert new == sorted(new)
            assert after.count(b":1,3B") == before.count(b":1,3B") == len(new)


def read(vector: bytes) -> list[bytes]:
    """The lexemes of which each has the places 1,3B."""
    written = vector.removesuffix(b":1,3B").split(b":1,3B ") if vector else []
    return [lexeme[1:-1].replace(b"''", b"'").replace(b"\\\\", b"\\") for lexeme in written]


def assert_function_of_the_vector(values: list[bytes | None]) -> list[bytes | None]:
    mask = mask_of("tsvector", column_of("tsvector"))
    out = masked(mask, values)
    assert masked(mask, values[::-1]) == out[::-1]
    assert [masked(mask, [value])[0] for value in values] == out
    return out


def test_scrambling_hides_the_words() -> None:
    """And what is no vector stops the run without a word of it."""
    mask = mask_of("tsvector", column_of("tsvector"))
    (out, same) = masked(mask, [b"'grace':1 'hopper':2A", b"'hopper':7"])
    assert b"grace" not in (out or b"")
    assert b"hopper" not in (out or b"")
    assert (same or b"").removesuffix(b":7") in (out or b"")
    with pytest.raises(ServerFailed, match="is not the text of a tsvector"):
        masked(mask, [b"secret"])
