"""Search vectors: made anew from the masked texts that they were made from, or scrambled lexeme by lexeme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import pyarrow as pa
from pydantic import ConfigDict, Field, model_validator

from capture.model import BadInput, ServerFailed, quote_identifier
from transform import tsvectortext
from transform.cmac import Prf
from transform.masks.base import (
    TEXT,
    AnyMask,
    Build,
    DerivedMask,
    Example,
    Group,
    Mask,
    MaskKind,
    Params,
    lossy,
    register,
)
from transform.masks.documents import scramble_texts

_NO_WEIGHT: Final = "D"


class SearchVector(DerivedMask):
    """What ``to_tsvector('simple', ...)`` makes of the masked sources, one after the other, each with its weight; a
    source that is NULL adds nothing."""

    def __init__(self, sources: tuple[str, ...], weights: Mapping[str, str]) -> None:
        self.sources = sources
        self._weights = {name: weights.get(name, _NO_WEIGHT).replace(_NO_WEIGHT, "").encode() for name in sources}

    def derive(self, values: pa.BinaryArray, masked: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        columns = [masked[name].to_pylist() for name in self.sources]
        weights = list(self._weights.values())
        vectors: list[bytes | None] = []
        for row, valid in enumerate(values.is_valid().to_pylist()):
            if not valid:
                vectors.append(None)
                continue
            parts = (
                tsvectortext.lexemes_in(column[row].decode(errors="replace"), weight)
                for column, weight in zip(columns, weights, strict=True)
                if column[row] is not None
            )
            vectors.append(tsvectortext.write(tsvectortext.concatenated(parts)))
        return pa.array(vectors, pa.binary())


class ScrambledVector(Mask):
    """Each lexeme becomes another of the same length and classes of characters, alike wherever it stands; positions
    and weights stay."""

    def __init__(self, prf: Prf, encoding: str) -> None:
        self._prf = prf
        self._encoding = encoding

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        vectors = [None if value is None else _cut(value) for value in values.to_pylist()]
        # Quotes and backslashes do not move, so lexemes may stay as they are written.
        lexemes = [lexeme for vector in vectors if vector is not None for lexeme in vector[1::3]]
        scrambled = scramble_texts(self._prf, pa.array(lexemes, pa.binary()), self._encoding)
        masked: list[bytes | None] = []
        start = 0
        for vector in vectors:
            if vector is None:
                masked.append(None)
                continue
            end = start + len(vector) // 3
            masked.append(tsvectortext.join(scrambled[start:end], vector[2::3]))
            start = end
        return pa.array(masked, pa.binary())


def _cut(value: bytes) -> list[bytes]:
    try:
        return tsvectortext.cut(value)
    except ValueError:
        raise ServerFailed("a value of a tsvector column is not the text of a tsvector.") from None


class SearchVectorParams(Params):
    """What the vector is made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[str, ...] = Field(
        default=(),
        alias="from",
        description="The text columns that it is made from, in order; without, its lexemes are scrambled.",
    )
    config: Literal["simple"] = Field(
        default="simple", description="The text search configuration; only simple, which neither stems nor leaves out."
    )
    weights: dict[str, Literal["A", "B", "C", "D"]] = Field(
        default_factory=dict, description="The weight of a column's lexemes: A, B, C or D, which is the default."
    )

    @model_validator(mode="after")
    def _weighs_sources(self) -> SearchVectorParams:
        others = sorted(self.weights.keys() - set(self.sources))
        if others:
            raise ValueError(f"weights names {others[0]}, which is not in from")
        return self


def _build_search_vector(params: SearchVectorParams, build: Build) -> AnyMask:
    if not params.sources:
        return ScrambledVector(build.prf, build.encoding)
    for name in params.sources:
        shape = build.row.get(name)
        if shape is None:
            raise BadInput(f"a search vector is made from {quote_identifier(name)}, which is no decided column.")
        if shape.is_array or shape.base_type not in TEXT:
            raise BadInput(f"a search vector is made from {quote_identifier(name)}, which is not text.")
    return SearchVector(params.sources, params.weights)


register(
    MaskKind(
        name="tsvector",
        group=Group.DOCUMENTS,
        summary="a search vector, made anew from masked columns",
        types=frozenset({"tsvector"}),
        params=SearchVectorParams,
        build=_build_search_vector,
        uniqueness=lossy,
        examples=(
            Example("'grace':1 'hopper':2", {}, "tsvector"),
            Example(
                "'grace':1 'hopper':2",
                {"from": ["name"], "weights": {"name": "A"}},
                "tsvector",
                {"name": "Anna Keller"},
            ),
        ),
        notes="Lexemes are those of the configuration simple. With another one, or where texts hold what is half a "
        "word and half an address, the copy's own trigger may make other lexemes of the same text.",
    )
)
