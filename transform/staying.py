"""What documents of a sample hold that their rules leave as it is, or do not name: by path, and never a value.

Where keys are data, by the rules or by how they look, all count as one: ``.*``. So do keys that may be data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from transform.jsonpath import Node
from transform.masks.documents import Documents
from transform.masks.hstore import Hstore
from transform.places import Keys, Place, read_documents, read_hstores
from transform.suggest.keys import are_data, fields_beside, may_be_shown
from transform.suggest.leaves import step_to


@dataclass(frozen=True, slots=True, eq=False)
class Staying:
    """At one path: how many leaves no path of the rules names, null aside; the texts that stay as they are; and the
    keys that do, without those that the rules name."""

    path: str
    unnamed: int = 0
    texts: Sequence[bytes] = field(default=(), repr=False)
    keys: Keys = field(default_factory=lambda: Keys.of([]), repr=False)


class _Seen(NamedTuple):
    """A place, with what the rules say of it: the node of the leaves' paths and that of the keys', and whether they
    name it, or keep it."""

    place: Place
    node: Node | None
    of_keys: Node | None
    is_named: bool
    is_kept: bool


def staying(mask: Documents, documents: Iterable[bytes]) -> Iterator[Staying]:
    """All places of these documents, by path."""
    root = read_documents(documents)
    of_keys = None if mask.keys is None else mask.keys.root
    waiting = [("$", [_seen(mask, root, mask.root, of_keys, None)])]
    while waiting:
        path, seen = waiting.pop()
        keys = Keys.of([one.place for one in seen])
        stay = keys.without({key for one in seen for key in one.place.members if _is_decided(mask, one, key)})
        yield Staying(
            path,
            sum(one.place.leaves for one in seen if not one.is_named),
            [text for one in seen if one.is_kept for text in one.place.texts],
            stay,
        )
        shown = {key for one in seen for node in (one.node, one.of_keys) if node is not None for key in node.members}
        if not any(one.of_keys is not None and one.of_keys.path is not None for one in seen):
            shown |= fields_beside(keys) if are_data(keys) else may_be_shown(keys)
        below: dict[str, list[_Seen]] = {}
        for one in seen:
            for key, place in one.place.members.items():
                step = step_to(key) if key in shown else ".*"
                node = None if one.node is None else one.node.member(key)
                key_node = None if one.of_keys is None else one.of_keys.member(key)
                below.setdefault(step, []).append(_seen(mask, place, node, key_node, one))
            if one.place.elements is not None:
                node = None if one.node is None else one.node.elements
                key_node = None if one.of_keys is None else one.of_keys.elements
                below.setdefault("[*]", []).append(_seen(mask, one.place.elements, node, key_node, one))
        waiting += ((path + step, those) for step, those in below.items())


def staying_pairs(mask: Hstore, values: Iterable[bytes]) -> Iterator[Staying]:
    """The same of an hstore's values by their keys, and of the keys, whose path is ``$``."""
    root = read_hstores(values)
    keys = Keys.of([root])
    stay = keys.without(keys.counts.keys() if mask.of_keys is not None else mask.named)
    yield Staying("$", keys=stay)
    kept: dict[str, list[bytes]] = {}
    for key, place in root.members.items():
        if mask.keeps(key):
            kept.setdefault(step_to(key).removeprefix(".") if key in mask.named else "others", []).extend(place.texts)
    yield from (Staying(path, texts=texts) for path, texts in kept.items())


def _seen(mask: Documents, place: Place, node: Node | None, of_keys: Node | None, above: _Seen | None) -> _Seen:
    if node is not None and node.path is not None:
        return _Seen(place, node, of_keys, is_named=True, is_kept=mask.keeps(node.path))
    if above is not None:
        return _Seen(place, node, of_keys, above.is_named, above.is_kept)
    return _Seen(place, node, of_keys, is_named=False, is_kept=mask.keeps(None))


def _is_decided(mask: Documents, seen: _Seen, key: bytes) -> bool:
    """Whether the rules say what becomes of a key."""
    if seen.of_keys is not None and (seen.of_keys.path is not None or key in seen.of_keys.members):
        return True
    return seen.node is not None and key in seen.node.members
