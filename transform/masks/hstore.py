"""hstore: values chosen by their keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from capture.model import ServerFailed
from transform import hstoretext
from transform.cmac import Prf
from transform.masks.base import Build, Example, Form, Group, Mask, MaskKind, Params, lossy, register
from transform.masks.documents import build_nested, build_unnamed, scramble_texts


class Hstore(Mask):
    """Masks the values of the keys in ``masks``, and all others by ``unnamed``; without it those are scrambled, with
    their length and the classes of their characters kept. Keys stay, and so does NULL."""

    def __init__(self, prf: Prf, encoding: str, masks: Mapping[bytes, Mask], unnamed: Mask | None) -> None:
        self._prf = prf
        self._encoding = encoding
        self._masks = dict(masks)
        self._unnamed = unnamed

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        rows = [None if value is None else _parse(value) for value in values.to_pylist()]
        # For each mask (None scrambles), where the values that it gets stand.
        places: dict[Mask | None, list[tuple[list[hstoretext.Pair], int]]] = defaultdict(list)
        for pairs in rows:
            for number, (key, text) in enumerate(pairs or ()):
                if text is not None:
                    places[self._masks.get(key, self._unnamed)].append((pairs or [], number))
        for mask, found in places.items():
            texts = pa.array([pairs[number][1] for pairs, number in found], pa.binary())
            masked = scramble_texts(self._prf, texts, self._encoding) if mask is None else mask.apply(texts).to_pylist()
            for (pairs, number), text in zip(found, masked, strict=True):
                pairs[number] = pairs[number][0], text
        return pa.array([None if pairs is None else hstoretext.write(pairs) for pairs in rows], pa.binary())


def _parse(value: bytes) -> list[hstoretext.Pair]:
    try:
        return hstoretext.parse(value)
    except ValueError:
        raise ServerFailed("a value of an hstore column is not the text of an hstore.") from None


class HstoreParams(Params):
    """What happens to which value."""

    keys: dict[str, str | dict[str, Any] | None] = Field(
        default_factory=dict, description="A mask, or keep, for the value of a key."
    )
    unnamed: Literal["scramble", "keep", "redact", "null"] | None = Field(
        default="scramble", description="What happens to values of other keys: scramble, keep, redact or null."
    )


def _build_hstore(params: HstoreParams, build: Build) -> Mask:
    masks = {
        key.encode(): build_nested(rule, build, f"key {key}", f"the key {key!r}") for key, rule in params.keys.items()
    }
    return Hstore(build.prf, build.encoding, masks, build_unnamed(params.unnamed))


register(
    MaskKind(
        name="hstore",
        group=Group.DOCUMENTS,
        summary="hstore by key, with every value that no key names scrambled",
        types=frozenset({"hstore"}),
        params=HstoreParams,
        build=_build_hstore,
        uniqueness=lossy,
        form=Form.KEPT,
        examples=(Example('"mail"=>"grace@navy.mil", "tier"=>"gold"', {"keys": {"tier": "keep"}}, "hstore"),),
        notes="Keys stay.",
    )
)
