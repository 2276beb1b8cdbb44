"""Documents (json, jsonb, hstore) leaf by leaf: which may stay, which have a mask, and which keys are data.

A path is proposed for a leaf that is in many of the documents and whose verdict is clear; all others stay unnamed, and
the mask scrambles those. No key that may be data itself stands in a rules file: what lies below such keys is judged as
one, and has a path with a wildcard.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from capture.model import Column, counted
from transform.masks.base import MASKS
from transform.places import Keys, Place, read_documents, read_hstores
from transform.rules import KEEP, NULL, TODO
from transform.suggest.category import Category, held_by
from transform.suggest.choice import Written, candidates
from transform.suggest.judge import Call, Setting, Verdict, classified, judge_number, judge_text
from transform.suggest.keys import are_data, fields_beside, may_be_shown, profile_of
from transform.suggest.names import by_name
from transform.suggest.profile import Profile

_MANY: Final = 0.05
_MOST_LEAVES: Final = 50
_SHOWN: Final = 4
# Digits behind the point; a thousandth of a degree is a hundred metres.
_EXACT: Final = 3
# A path to what stands under keys that are data: whatever that is, no name says so.
_OF_DATA: Final = re.compile(r"\.\*(?:\[\*\])*$")
_TEXT: Final = Column("leaf", 0, 25, -1, "text", "text")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a path leads to: the places; the key that they stand under, or that of what they stand in; the mask of their
    keys, where they are data, and the names of fields beside those."""

    path: str
    key: str
    places: Sequence[Place]
    key_mask: str | None
    fields: Collection[bytes] = field(repr=False)


def judge_document(
    name: str, values: Iterable[bytes], setting: Setting, known: Collection[bytes] = ()
) -> tuple[Written, str]:
    """The rule for the json or jsonb column of that name, and the evidence; ``known`` holds values of masked
    columns."""
    root = read_documents(values)
    paths: dict[str, Written] = {}
    keys: dict[str, str] = {}
    shown: list[str] = []
    fields: list[str] = []
    for place in sorted(_places(name, [root], known), key=lambda one: one.path):
        if place.key_mask is not None:
            keys[place.path] = place.key_mask
            if any(each.is_deepest for each in place.places):
                keys |= {f"{place.path}{step}": place.key_mask for step in ("..*", "..[*]")}
            shown.append(f"keys of {place.path} are data")
        leaves = sum(each.leaves for each in place.places)
        if leaves < max(2, _MANY * root.times) or len(paths) == _MOST_LEAVES:
            continue
        rule, why = _judge_leaf(place.key, place.places, setting, in_list=place.path.endswith("[*]"))
        if rule is not None and (rule != KEEP or not _OF_DATA.search(place.path)):
            paths[place.path] = rule
            if why and rule != KEEP:
                shown.append(f"{place.path.removeprefix('$.')} {why}")
        fields += (place.path + step_to(key) for key in place.fields)
    # A field beside keys that are data keeps its name where a path leads through it.
    for path in sorted(fields):
        if not any(other == path or other.startswith((f"{path}.", f"{path}[")) for other in (*paths, *keys)):
            keys[path] = KEEP
    written: dict[str, Any] = {"mask": "json", "paths": paths}
    written |= {"keys": keys} if keys else {}
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return written, "; ".join(shown[:_SHOWN]) + more or "leaves that no path names are scrambled"


def judge_hstore(values: Iterable[bytes], setting: Setting, known: Collection[bytes] = ()) -> tuple[Written, str]:
    """The rule for an hstore column, and the evidence; ``known`` holds values of masked columns."""
    root = read_hstores(values)
    found = Keys.of([root])
    has_data = are_data(found, known)
    fields = fields_beside(found, known) if has_data else may_be_shown(found)
    keys: dict[str, Written] = {}
    for key in sorted(fields):
        place = root.members[key]
        if place.leaves >= max(2, _MANY * root.times):
            rule, _ = _judge_leaf(key.decode(), [place], setting, in_list=False)
            if rule is not None:
                keys[key.decode()] = rule
    written: dict[str, Any] = {"mask": "hstore"} | ({"keys": keys} if keys else {})
    if has_data:
        written["key_mask"] = _mask_of(found.without(fields))
        return written, "keys are data" + (f", but for {len(keys)}" if keys else "")
    return written, f"{counted(len(keys), 'key')} decided; values of others are scrambled"


def _places(name: str, root: Sequence[Place], known: Collection[bytes]) -> Iterator[_Found]:
    """All places that may have a path."""
    waiting = [("$", name, root)]
    while waiting:
        path, called, places = waiting.pop()
        found = Keys.of(places)
        has_data = are_data(found, known)
        fields = fields_beside(found, known) if has_data else may_be_shown(found)
        if has_data and any(place.is_deepest for place in places):
            fields = set()  # they would be those of one level only
        others = found.without(fields)
        below = [place for those in others.members.values() for place in those]
        if (has_data and not fields) or _lead_to_data(below, known):
            # Keys that may stand in no rules file, and what is below them, are reached by a wildcard only.
            below = [place for those in found.members.values() for place in those]
            yield _Found(path, called, places, _mask_of(found), ())
            waiting.append((f"{path}.*", called, below))
        else:
            beside = fields if has_data else ()
            yield _Found(path, called, places, _mask_of(others) if has_data else None, beside)
            waiting += ((path + step_to(key), key.decode(), found.members[key]) for key in fields)
        elements = [place.elements for place in places if place.elements is not None]
        if elements:
            waiting.append((f"{path}[*]", called, elements))


def step_to(key: bytes) -> str:
    """The step of a path that leads to a member."""
    text = key.decode()
    return f".{text}" if re.fullmatch(r"[^\W\d]\w*", text) else f"[{json.dumps(text, ensure_ascii=False)}]"


def _lead_to_data(places: Sequence[Place], known: Collection[bytes]) -> bool:
    """Whether the keys of an object at one of these places, or anywhere below, are data."""
    waiting = [places]
    while waiting:
        those = waiting.pop()
        found = Keys.of(those)
        if are_data(found, known):
            return True
        waiting += found.members.values()
        elements = [place.elements for place in those if place.elements is not None]
        waiting += [elements] if elements else []
    return False


def _mask_of(keys: Keys) -> str:
    """The mask of keys that are data; it keeps them apart."""
    return "email" if classified(profile_of(keys)) is Category.EMAIL else "id.uuid"


def _judge_leaf(key: str, places: Sequence[Place], setting: Setting, *, in_list: bool) -> tuple[Written | None, str]:
    texts = [text for place in places for text in place.texts]
    numbers = [number for place in places for number in place.numbers]
    if texts:
        rule, why = _rule(judge_text(key, Profile.of(texts), setting, by_name(key)))
    else:
        rule, why = KEEP, ""
    if numbers and rule == KEEP:
        if in_list and _are_coordinates(numbers):
            return None, ""
        whole = all(value.lstrip(b"-").isdigit() for value in numbers)
        verdict = judge_number(key, Profile.of(numbers), setting, by_name(key, held_by("numeric")), whole=whole)
        rule = KEEP if verdict.what is Call.KEEP else None
    if any(place.flags for place in places) and by_name(key) is Category.SENSITIVE:
        rule = None
    # What a path keeps it keeps with all that lies below.
    return (rule, why) if rule != KEEP or all(place.is_leaf for place in places) else (None, "")


def _are_coordinates(numbers: list[bytes]) -> bool:
    """Whether numbers of a list are as exact as places on a map are; no key tells them apart there."""
    exact = sum(len(number.partition(b".")[2]) >= _EXACT for number in numbers)
    return exact * 2 > len(numbers)


def _rule(verdict: Verdict) -> tuple[Written | None, str]:
    """The rule inside a document; None leaves the leaf unnamed."""
    if verdict.what is Call.KEEP:
        return KEEP, verdict.why
    if isinstance(verdict.what, Call):
        return None, verdict.why
    for written in candidates(verdict.what, _TEXT):
        name = written if isinstance(written, str) else written["mask"]
        if name == TODO:
            break
        if name in MASKS and name != NULL and MASKS[name].accepts("text"):
            return written, verdict.why
    return None, verdict.why
