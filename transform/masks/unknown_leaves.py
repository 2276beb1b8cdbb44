"""Which leaves of documents no path of the rules names: how many, by path, and never a value; and which keys stay.

Keys may be data as well. Where an object, over all documents, has many different keys that lead to such leaves, or any
key that does not look like a name, or keys that the rules call data, they all count as one: ``.*``. Null is no leaf.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from transform import jsontext
from transform.jsonpath import Node
from transform.masks.documents import Documents

# An object with more keys than that is a map.
_MOST_KEYS: Final = 25
_NAME: Final = re.compile(r"[^\W\d][\w$-]{0,39}")
_DIGITS: Final = 4

# The step to any member, and that to an element.
_ANY: Final = ".*"
_ELEMENT: Final = "[*]"


class _Seen:
    """What was seen at one kind of place."""

    def __init__(self) -> None:
        self.count = 0
        self.keys: list[bytes] = []
        self.below: dict[str, _Seen] = {}
        self._is_map = False

    def at(self, steps: Iterable[str]) -> _Seen:
        """The place that the steps lead to."""
        place = self
        for step in steps:
            place = place.step(step)
        return place

    def paths(self) -> Iterator[tuple[str, _Seen]]:
        """This place, as the root, and all below, once all was seen."""
        waiting = [("$", self)]
        while waiting:
            path, seen = waiting.pop()
            yield path, seen
            waiting += ((path + step, below) for step, below in seen.below.items())

    def step(self, step: str) -> _Seen:
        """The place below."""
        if step != _ELEMENT:
            if self._is_map:
                step = _ANY
            elif step == _ANY or (step not in self.below and len(self.below) > _MOST_KEYS):
                self._merge()
                step = _ANY
        return self.below.setdefault(step, _Seen())

    def _merge(self) -> None:
        self._is_map = True
        members = [self.below.pop(step) for step in list(self.below) if step != _ELEMENT]
        merged = self.below.setdefault(_ANY, _Seen())
        for member in members:
            merged.add(member)

    def add(self, other: _Seen) -> None:
        """Take on what was seen at another."""
        self.count += other.count
        self.keys += other.keys
        for step, below in other.below.items():
            self.step(step).add(below)


def unknown_leaves(mask: Documents, documents: Iterable[bytes]) -> Counter[str]:
    """How many leaves of these documents the rules of ``mask`` do not name, by path."""
    root = _Seen()
    for document in documents:
        for steps in _unnamed(mask, document):
            root.at(steps).count += 1
    return Counter({path: seen.count for path, seen in root.paths() if seen.count})


def staying_keys(mask: Documents, documents: Iterable[bytes]) -> dict[str, list[bytes]]:
    """The keys that the rules of ``mask`` do not call data, by the path of their object. They are raw values."""
    root = _Seen()
    for document in documents:
        for steps, key in _staying(mask, document):
            root.at(steps).keys.append(key)
    return {path: seen.keys for path, seen in root.paths() if seen.keys}


def _staying(mask: Documents, document: bytes) -> Iterator[tuple[Sequence[str], bytes]]:
    """Each such key, and the steps to its object."""
    # Of each object or array: the steps to it, what the rules say of its keys, whether it is an object.
    above: list[tuple[tuple[str, ...], Node | None, bool]] = []
    for _, key, _, _, opening, closing in jsontext.TOKEN.findall(document):
        if closing:
            above.pop()
            continue
        steps: tuple[str, ...] = ()
        of_keys = None if mask.keys is None else mask.keys.root
        if above:
            steps, node, in_object = above[-1]
            text = jsontext.unquote(key) if in_object else b""
            is_data = node is not None and node.path is not None
            if in_object and not is_data:
                yield steps, text
            steps = (*steps, _written(text, is_data) if in_object else _ELEMENT)
            of_keys = _below(node, text, in_object)
        if opening:
            above.append((steps, of_keys, opening == b"{"))


def _unnamed(mask: Documents, document: bytes) -> Iterable[Sequence[str]]:
    """The steps to each leaf that no path names."""
    keys_root = None if mask.keys is None else mask.keys.root
    # Of each object or array: what the rules say of it, whether they name it, whether they say that its keys are data.
    above: list[tuple[Node | None, bool, Node | None, bool]] = []
    node: Node | None = None
    of_keys: Node | None = None
    is_named = in_object = False
    steps: list[str] = []
    for _, key, _, scalar, opening, closing in jsontext.TOKEN.findall(document):
        if closing:
            node, is_named, of_keys, in_object = above.pop()
            if above:
                steps.pop()
            continue
        child: Node | None = mask.root
        child_keys = keys_root
        if above:
            text = jsontext.unquote(key) if in_object else b""
            child, child_keys = _below(node, text, in_object), _below(of_keys, text, in_object)
            is_data = of_keys is not None and of_keys.path is not None
            steps.append(_written(text, is_data) if in_object else _ELEMENT)
        named = is_named or (child is not None and child.path is not None)
        if opening:
            above.append((node, is_named, of_keys, in_object))
            node, is_named, of_keys, in_object = child, named, child_keys, opening == b"{"
            continue
        if not named and scalar != b"null":
            yield tuple(steps)
        if above:
            steps.pop()


def _below(node: Node | None, key: bytes, in_object: bool) -> Node | None:
    if node is None:
        return None
    return node.member(key) if in_object else node.elements


def _written(key: bytes, is_data: bool) -> str:
    text = key.decode("utf-8", "replace")
    is_name = _NAME.fullmatch(text) is not None and sum(map(str.isdigit, text)) < _DIGITS
    return f".{text}" if is_name and not is_data else _ANY
