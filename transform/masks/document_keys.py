"""Keys of documents that are data: objects that map a person's address to a balance, say.

Their keys are masked as a column's values are, but for those that a path of the rules leads through by name: they are
names of fields beside the data. A jsonb object keeps its members in the order of their keys, first by length, then byte
by byte, so its members are put in order anew.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import pyarrow as pa

from capture.model import ServerFailed
from transform import jsontext
from transform.jsonpath import Node, compile_paths
from transform.masks.base import Mask
from transform.masks.basic import Keep

_SEPARATOR: Final = b", "


@dataclass(slots=True)
class _Object:
    """An object whose keys are masked: of each member the piece that it begins with and that of its key; and the piece
    that the object ends with."""

    members: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    end: int = 0


# The piece of a key, and the names that are no keys of that object's data.
_Key: TypeAlias = tuple[int, Collection[bytes]]


class DocumentKeys:
    """Masks the keys of the objects at paths; those that these paths, or those of leaves (``named``), name stay. The
    masks keep values apart."""

    def __init__(self, masks: Mapping[str, Mask], *, is_jsonb: bool, named: Sequence[str] = ()) -> None:
        self._by_path = dict(masks)
        self._masks = list(masks.values())
        self._is_jsonb = is_jsonb
        self.root = compile_paths(list(masks))
        self._named = tuple(named)
        self._named_root = compile_paths(named)

    def __reduce__(self) -> tuple[object, ...]:
        # The root may hold itself, many times over.
        return _rebuild, (self._by_path, self._is_jsonb, self._named)

    def mask(self, documents: Sequence[bytes | None]) -> list[bytes | None]:
        """Documents with their keys masked; all else stays."""
        pieces: list[bytes] = []
        ends: list[int] = []
        objects: list[_Object] = []
        keys: dict[int, list[_Key]] = {number: [] for number in range(len(self._masks))}
        for document in documents:
            if document is not None:
                self._cut(document, pieces, objects, keys)
            ends.append(len(pieces))
        for number, places in keys.items():
            if places and type(self._masks[number]) is not Keep:
                texts = [jsontext.unquote(pieces[place]) for place, _ in places]
                masked_keys = mask_keys(self._masks[number], texts, [names for _, names in places])
                for (place, _), text in zip(places, masked_keys, strict=True):
                    pieces[place] = jsontext.quote(text)
        if self._is_jsonb:
            # Objects inside others end first, and are put in order first.
            for one in objects:
                _order(one, pieces)
        masked: list[bytes | None] = []
        start = 0
        for document, end in zip(documents, ends, strict=True):
            masked.append(None if document is None else b"".join(pieces[start:end]))
            start = end
        return masked

    def _cut(
        self, document: bytes, pieces: list[bytes], objects: list[_Object], keys: Mapping[int, list[_Key]]
    ) -> None:
        above: list[tuple[Node | None, Node | None, bool, _Object | None]] = []
        node: Node | None = None
        beside: Node | None = None
        in_object = False
        own: _Object | None = None
        position = 0
        for match in jsontext.TOKEN.finditer(document):
            lead, key, string, scalar, opening, closing = match.groups(b"")
            position = match.end()
            if closing:
                if own is not None and own.members:
                    own.end = len(pieces)
                    objects.append(own)
                pieces += lead, closing
                node, beside, in_object, own = above.pop()
                continue
            text = jsontext.unquote(key) if key and (node is not None or beside is not None) else b""
            if own is not None and key:
                assert node is not None
                assert node.path is not None
                before, _, after = lead.partition(key)
                own.members.append(len(pieces))
                own.keys.append(len(pieces) + 1)
                names = node.members if beside is None else ChainMap(node.members, beside.members)
                if text not in names:
                    keys[node.path].append((len(pieces) + 1, names))
                pieces += before, key, after
            else:
                pieces.append(lead)
            if opening:
                child = _below(node, text, in_object) if above else self.root
                child_beside = _below(beside, text, in_object) if above else self._named_root
                above.append((node, beside, in_object, own))
                node, beside, in_object = child, child_beside, opening == b"{"
                own = _Object() if in_object and child is not None and child.path is not None else None
            pieces.append(opening or string or scalar)
        pieces.append(document[position:])


def _rebuild(masks: Mapping[str, Mask], is_jsonb: bool, named: Sequence[str]) -> DocumentKeys:
    return DocumentKeys(masks, is_jsonb=is_jsonb, named=named)


def _below(node: Node | None, key: bytes, in_object: bool) -> Node | None:
    if node is None:
        return None
    return node.member(key) if in_object else node.elements


def mask_keys(mask: Mask, keys: Sequence[bytes], names: Sequence[Collection[bytes]]) -> list[bytes]:
    """These keys masked. One that becomes one of its ``names``, those that stay beside it, is masked again: so keys
    that are different stay so. Raises ``ServerFailed`` if the mask gives different keys the same one, as only a
    function of the user's own can, against its word: such a key may never leave the names."""
    masked = list(keys)
    rest = list(range(len(keys)))
    rounds = 0
    while rest:
        texts = mask.apply(pa.array([masked[number] for number in rest], pa.binary())).to_pylist()
        for number, text in zip(rest, texts, strict=True):
            masked[number] = text
        rest = [number for number in rest if masked[number] in names[number]]
        rounds += 1
        # A mask that keeps keys apart comes to each name once.
        if any(rounds > len(names[number]) for number in rest):
            raise not_kept_apart()
    return masked


def not_kept_apart() -> ServerFailed:
    """Two keys have become one, and what stands at one of them would be lost."""
    return ServerFailed(
        "the mask of a document's keys gives different ones the same.",
        hint="Use a mask that keeps values apart, or mend the function.",
    )


def _order(one: _Object, pieces: list[bytes]) -> None:
    """Put an object's members in jsonb's order. Raises ``ServerFailed`` if two keys have become one."""
    members: dict[bytes, bytes] = {}
    for begin, key, end in zip(one.members, one.keys, [*one.members[1:], one.end], strict=True):
        members[jsontext.unquote(pieces[key])] = b"".join(pieces[begin + 1 : end])
    if len(members) < len(one.members):
        raise not_kept_apart()
    ordered = sorted(members, key=lambda key: (len(key), key))
    first = one.members[0]
    pieces[first : one.end] = [_SEPARATOR.join(map(members.__getitem__, ordered)), *[b""] * (one.end - first - 1)]
