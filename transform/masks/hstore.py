"""hstore: values chosen by their keys, and keys that are data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

import pyarrow as pa
from pydantic import Field

from capture.model import ServerFailed
from transform import hstoretext
from transform.cmac import Prf
from transform.masks.base import Build, Example, Form, Group, Mask, MaskKind, Params, lossy, register
from transform.masks.basic import Keep
from transform.masks.document_keys import mask_keys, not_kept_apart
from transform.masks.documents import build_key_mask, build_nested, build_unnamed, put_back, scramble_texts

_NULL: Final = b"NULL"
# What is done with a value: the number of its key's mask, or one of these.
_UNNAMED: Final = -1
_STAYS: Final = -2
# How many pieces of an hstore stand behind its last value.
_AFTER_VALUES: Final = 1


class Hstore(Mask):
    """Masks the values of the keys in ``masks``, and all others by ``unnamed``; without it those are scrambled, with
    their length and the classes of their characters kept. NULL stays, and so do keys that ``masks`` names; others
    are masked by ``of_keys``, if it is given, which keeps them apart."""

    def __init__(
        self,
        prf: Prf,
        encoding: str,
        masks: Mapping[bytes, Mask],
        unnamed: Mask | None,
        of_keys: Mask | None = None,
    ) -> None:
        self._prf = prf
        self._encoding = encoding
        self._masks = list(masks.values())
        self._unnamed = unnamed
        self.of_keys = of_keys
        self._actions = {
            key: _STAYS if type(mask) is Keep else number for number, (key, mask) in enumerate(masks.items())
        }
        self._other = _STAYS if type(unnamed) is Keep else _UNNAMED

    @property
    def named(self) -> Collection[bytes]:
        """The keys that the rules name, which stay."""
        return self._actions.keys()

    def keeps(self, key: bytes) -> bool:
        """Whether values of a key stay as they are."""
        return self._actions.get(key, self._other) == _STAYS

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        # Values of a column have much the same keys: what is to be done with theirs is found once.
        known: dict[tuple[bytes, ...], list[int]] = {}
        cut: list[list[bytes] | None] = []
        tokens: list[bytes] = []
        actions: list[int] = []
        try:
            for value in values.to_pylist():
                parts = None if value is None else hstoretext.cut(value)
                cut.append(parts)
                if parts is None:
                    continue
                leads = tuple(parts[1::3])
                found = known.get(leads)
                if found is None:
                    keys = hstoretext.keys_of(leads)
                    found = known[leads] = [self._actions.get(key, self._other) for key in keys]
                actions += found
                tokens += parts[2::3]
        except ValueError:
            raise ServerFailed("a value of an hstore column is not the text of an hstore.") from None
        self._mask(tokens, actions)
        if self.of_keys is not None:
            self._mask_keys(self.of_keys, cut, tokens)
        return pa.array(put_back(cut, tokens, _AFTER_VALUES), pa.binary())

    def _mask_keys(self, mask: Mask, cut: list[list[bytes] | None], tokens: list[bytes]) -> None:
        """Replace the keys, and put the pairs, whose values are ``tokens``, in hstore's order anew."""
        keys = [key for pieces in cut if pieces is not None for key in hstoretext.keys_of(pieces[1::3])]
        rows = [row for row, key in enumerate(keys) if key not in self._actions]
        names = [self._actions] * len(rows)
        for row, key in zip(rows, mask_keys(mask, [keys[row] for row in rows], names), strict=True):
            keys[row] = key
        start = 0
        for pieces in cut:
            if pieces is not None:
                end = start + (len(pieces) - _AFTER_VALUES) // 3
                if len(set(keys[start:end])) < end - start:
                    raise not_kept_apart()
                pairs = sorted(zip(keys[start:end], tokens[start:end], strict=True), key=_by_key)
                pieces[1::3] = hstoretext.leads_of([key for key, _ in pairs])
                tokens[start:end] = [token for _, token in pairs]
                start = end

    def _mask(self, tokens: list[bytes], actions: list[int]) -> None:
        rows: dict[int, list[int]] = defaultdict(list)
        for row, (action, token) in enumerate(zip(actions, tokens, strict=True)):
            if action != _STAYS and token != _NULL:
                rows[action].append(row)
        for action, those in rows.items():
            mask = self._unnamed if action == _UNNAMED else self._masks[action]
            found = [tokens[row] for row in those]
            if mask is None:
                # Neither quotes nor what is escaped move, so they may stay where they are.
                made = scramble_texts(self._prf, pa.array(found, pa.binary()), self._encoding)
            else:
                texts = mask.apply(pa.array(map(hstoretext.unquote, found), pa.binary())).to_pylist()
                made = [_NULL if text is None else hstoretext.quote(text) for text in texts]
            for row, token in zip(those, made, strict=True):
                tokens[row] = token


def _by_key(pair: tuple[bytes, bytes]) -> tuple[int, bytes]:
    return len(pair[0]), pair[0]


class HstoreParams(Params):
    """What happens to which value."""

    keys: dict[str, str | dict[str, Any] | None] = Field(
        default_factory=dict, description="A mask, or keep, for the value of a key."
    )
    key_mask: str | dict[str, Any] | None = Field(
        default=None, description="A mask for keys that `keys` does not name, where they are data: `key_mask: email`."
    )
    unnamed: Literal["scramble", "keep", "redact", "null"] | None = Field(
        default="scramble", description="What happens to values of other keys: scramble, keep, redact or null."
    )


def _build_hstore(params: HstoreParams, build: Build) -> Mask:
    masks = {
        key.encode(): build_nested(rule, build, f"key {key}", f"the key {key!r}") for key, rule in params.keys.items()
    }
    of_keys = None if params.key_mask is None else build_key_mask(params.key_mask, build, "keys", "keys")
    return Hstore(build.prf, build.encoding, masks, build_unnamed(params.unnamed), of_keys)


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
        notes="Keys stay unless `key_mask` masks them; those that `keys` names stay always.",
    )
)
