"""What lies where in a column's documents: a tree of places, read token by token.

A place is what a path leads to in all documents at once. Documents are read as masks read them, so that no member is
lost that stands twice, and no document is too deep or holds too large a number. Places hold raw values: they are for
the judgement of samples, and none of it is kept or shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from transform import hstoretext, jsontext

# Of larger samples, the first documents are read: so many brackets and leaves.
_MOST_TOKENS: Final = 500_000
# What lies deeper counts as lying there.
_DEEPEST: Final = 64
_BOOLEANS: Final = frozenset((b"true", b"false"))


@dataclass(slots=True, eq=False)
class Place:
    """``times`` says how many values lay here, ``objects`` how many of them were objects. ``is_deepest`` tells that
    what lies below counts as lying here."""

    times: int = 0
    objects: int = 0
    texts: list[bytes] = field(default_factory=list, repr=False)
    numbers: list[bytes] = field(default_factory=list, repr=False)
    flags: int = 0
    members: dict[bytes, Place] = field(default_factory=dict, repr=False)
    elements: Place | None = field(default=None, repr=False)
    is_deepest: bool = False

    @property
    def leaves(self) -> int:
        """How many of the values were leaves other than null."""
        return len(self.texts) + len(self.numbers) + self.flags

    @property
    def is_leaf(self) -> bool:
        """Whether no value was an object or array, not even an empty one: others of those may hold something."""
        return not self.objects and self.elements is None

    @property
    def kinds(self) -> frozenset[str]:
        """What kinds of values lay here, null aside."""
        seen = {"text": self.texts, "number": self.numbers, "flag": self.flags, "object": self.objects}
        return frozenset(kind for kind, any_of_it in (*seen.items(), ("array", self.elements)) if any_of_it)

    def member(self, key: bytes) -> Place:
        """The place at a key, where one more value lies now."""
        place = self.members.get(key)
        if place is None:
            place = self.members[key] = Place()
        place.times += 1
        return place


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """The keys of the objects at one or several places: how often each came, in how many objects, over what."""

    counts: Counter[bytes] = field(repr=False)
    objects: int
    members: dict[bytes, list[Place]] = field(repr=False)

    @classmethod
    def of(cls, places: Sequence[Place]) -> Keys:
        """All keys of these places together."""
        members: dict[bytes, list[Place]] = {}
        for place in places:
            for key, member in place.members.items():
                members.setdefault(key, []).append(member)
        counts = Counter({key: sum(member.times for member in those) for key, those in members.items()})
        return cls(counts, sum(place.objects for place in places), members)

    def without(self, fields: Collection[bytes]) -> Keys:
        """The others."""
        members = {key: those for key, those in self.members.items() if key not in fields}
        return Keys(Counter({key: self.counts[key] for key in members}), self.objects, members)


def read_documents(documents: Iterable[bytes]) -> Place:
    """The root of these json or jsonb documents, in the form in which PostgreSQL prints them."""
    root = Place()
    left = _MOST_TOKENS
    for document in documents:
        if left < 0:
            break
        root.times += 1
        above: list[tuple[Place, bool]] = []
        place, in_object = root, False
        for _, key, string, scalar, opening, closing in jsontext.TOKEN.findall(document):
            left -= 1
            if closing:
                place, in_object = above.pop()
                continue
            if not above:
                child = root
            elif in_object:
                child = place.member(jsontext.unquote(key))
            else:
                assert place.elements is not None
                child = place.elements
                child.times += 1
            if above and place.is_deepest:
                child = place
            if opening == b"[" and child.elements is None:
                child.elements = Place()
            if opening:
                child.objects += opening == b"{"
                child.is_deepest = len(above) >= _DEEPEST
                above.append((place, in_object))
                place, in_object = child, opening == b"{"
            elif string:
                child.texts.append(jsontext.unquote(string))
            elif scalar in _BOOLEANS:
                child.flags += 1
            elif scalar != b"null":
                child.numbers.append(scalar)
    return root


def read_hstores(values: Iterable[bytes]) -> Place:
    """The root of these values of hstore. Raises ``ValueError``, without the value, if one is none."""
    root = Place()
    for value in values:
        root.times += 1
        root.objects += 1
        for key, text in hstoretext.parse(value):
            place = root.member(key)
            if text is not None:
                place.texts.append(text)
    return root
