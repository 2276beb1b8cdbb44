"""Paths into documents, and which of several names a place.

A path is ``$`` and steps below it: ``.key`` or ``["odd key"]`` for a member, ``.*`` for any member, ``[*]`` for all
elements of an array; ``..`` before a step means at any depth: ``..key``, ``..*``, ``..[*]``. A path names a place and
all that lies below it, as far as no other path names what is deeper.

Where several paths name the very same place, the one with fewer ``..`` wins, then the one with fewer ``.*``, then the
longer one. Two that are equal in all that are a mistake, found when they are compiled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from capture.model import BadInput

_STEP: Final = re.compile(
    r"""(\.\.|\.(?=[\w*])|(?=\[))"""
    r"""(?:([^\W\d][\w$-]*)|(\*)|(\[\*\])|\["((?:[^"\\]|\\.)*)"\]|\['((?:[^'\\]|\\.)*)'\])"""
)
_HINT: Final = 'A path is $ and steps below it: .key, ["odd key"], .* or [*]; ..key is a key at any depth.'
# Paths with many `..` and `.*` may need a place for each set of them that can meet.
_MOST_NODES: Final = 5000


class Step(NamedTuple):
    """One step of a path: to the member ``key`` (any, if None) or, if not ``is_member``, to all elements of an array;
    with ``descends`` from any depth."""

    key: bytes | None
    is_member: bool = True
    descends: bool = False


# A path by its number, and how many of its steps are done.
_Progress: TypeAlias = tuple[int, int]


@dataclass(slots=True, eq=False)
class Node:
    """A kind of place in documents. ``path`` is the number of the path that names it, None if none does. Below it lie
    ``members`` by key, ``others`` (any other member) and ``elements``; None where no path leads."""

    path: int | None = None
    members: dict[bytes, Node] = field(default_factory=dict)
    others: Node | None = None
    elements: Node | None = None

    def member(self, key: bytes) -> Node | None:
        """What lies at a key."""
        return self.members.get(key, self.others)


def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of a path from ``$``. Raises ``BadInput``."""
    steps: list[Step] = []
    position = 1
    while path.startswith("$") and position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            break
        before, name, _, elements, *quoted = step.groups()
        key = name
        for text in quoted:
            key = key if text is None else re.sub(r"\\(.)", r"\1", text)
        steps.append(Step(None if key is None else key.encode(), elements is None, before == ".."))
        position = step.end()
    if position != len(path) or not path.startswith("$"):
        raise BadInput(f"the path {path!r} cannot be read.", hint=_HINT)
    return tuple(steps)


def compile_paths(paths: Sequence[str]) -> Node:
    """The root of all documents, by these paths. Raises ``BadInput`` if a path cannot be read, or if two name the same
    place and neither is more specific."""
    return _Compiler(paths).root


class _Compiler:
    """Follows all paths at once: each set of progresses that can be met is one node."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._steps = [parse_path(path) for path in paths]
        seen: set[tuple[Step, ...]] = set()
        for path, steps in zip(paths, self._steps, strict=True):
            if steps in seen:
                raise BadInput(f"the path {path!r} is given twice, in two spellings.")
            seen.add(steps)
        self._nodes: dict[frozenset[_Progress], Node] = {}
        self._waiting: list[frozenset[_Progress]] = []
        root = self._node({(path, 0) for path in range(len(paths))})
        while self._waiting:
            self._lead_on(self._waiting.pop())
        self.root = root or Node()

    def _node(self, progresses: set[_Progress]) -> Node | None:
        if not progresses:
            return None
        key = frozenset(progresses)
        if key not in self._nodes:
            if len(self._nodes) == _MOST_NODES:
                raise BadInput("the paths overlap in too many ways.", hint="Write fewer of them with `..` and `.*`.")
            self._nodes[key] = Node(self._winner(key))
            self._waiting.append(key)
        return self._nodes[key]

    def _winner(self, progresses: frozenset[_Progress]) -> int | None:
        done = sorted((self._rank(path), path) for path, count in progresses if count == len(self._steps[path]))
        if len(done) > 1 and done[0][0] == done[1][0]:
            one, other = (self._paths[path] for _, path in done[:2])
            message = f"the paths {one!r} and {other!r} name the same place, and neither is more specific."
            raise BadInput(message, hint="Write one of them out, so that it has fewer `..` or `.*`.")
        return done[0][1] if done else None

    def _rank(self, path: int) -> tuple[int, int, int]:
        steps = self._steps[path]
        any_member = sum(step.is_member and step.key is None for step in steps)
        return sum(step.descends for step in steps), any_member, -len(steps)

    def _lead_on(self, progresses: frozenset[_Progress]) -> None:
        node = self._nodes[progresses]
        ahead = [self._steps[path][count] for path, count in progresses if count < len(self._steps[path])]
        for key in sorted({step.key for step in ahead if step.key is not None}):
            member = self._node(self._after(progresses, key, is_member=True))
            assert member is not None
            node.members[key] = member
        node.others = self._node(self._after(progresses, None, is_member=True))
        node.elements = self._node(self._after(progresses, None, is_member=False))

    def _after(self, progresses: frozenset[_Progress], key: bytes | None, *, is_member: bool) -> set[_Progress]:
        after: set[_Progress] = set()
        for path, count in progresses:
            if count == len(self._steps[path]):
                continue
            step = self._steps[path][count]
            if step.descends:
                after.add((path, count))
            if step.is_member == is_member and (step.key is None or step.key == key):
                after.add((path, count + 1))
        return after
