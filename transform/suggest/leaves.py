"""Documents (json, jsonb, hstore) leaf by leaf: which may stay, which have a mask, and which keys are data.

A path is proposed for a leaf that is in many of the documents and whose verdict is clear; all others stay unnamed, and
the mask scrambles those. Only keys that are written as identifiers are, and that come in many documents, stand in a
rules file: any other may be data itself.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from capture.model import Column
from transform import hstoretext
from transform.masks.base import MASKS
from transform.rules import KEEP, NULL, TODO
from transform.suggest.category import Category, held_by
from transform.suggest.choice import Written, candidates
from transform.suggest.judge import Call, Setting, Verdict, judge_number, judge_text, telling_hits
from transform.suggest.names import by_name
from transform.suggest.profile import Profile

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z_-]{0,38}\d?")
_MOST_KEYS: Final = 60
_MANY: Final = 0.05
_DEEPEST: Final = 8
_MOST_ELEMENTS: Final = 20
_MOST_LEAVES: Final = 50
_SHOWN: Final = 4
# Digits behind the point; a thousandth of a degree is a hundred metres.
_EXACT: Final = 3
_TEXT: Final = Column("leaf", 0, 25, -1, "text", "text")


@dataclass(slots=True)
class _Place:
    """What lies at one path of all documents."""

    objects: int = 0
    texts: list[bytes] = field(default_factory=list, repr=False)
    numbers: list[bytes] = field(default_factory=list, repr=False)
    flags: int = 0
    keys: Counter[str] = field(default_factory=Counter, repr=False)


def judge_document(name: str, values: Iterable[bytes], setting: Setting) -> tuple[Written, str]:
    """The rule for the json or jsonb column of that name, and the evidence."""
    places: dict[str, _Place] = defaultdict(_Place)
    documents = 0
    for value in values:
        try:
            document = json.loads(value)
        except (ValueError, RecursionError):
            continue
        documents += 1
        _walk(document, "$", places, 0)
    paths: dict[str, Written] = {}
    shown: list[str] = []
    for path, place in sorted(places.items()):
        if not _is_common(path, places, documents) or len(paths) == _MOST_LEAVES:
            continue
        rule, why = _judge_leaf(name, path, place, setting)
        if rule is not None:
            paths[path] = rule
            if why and rule != KEEP:
                shown.append(f"{path.removeprefix('$.')} {why}")
    written: dict[str, Any] = {"mask": "json", "paths": paths}
    keys: dict[str, str] = {}
    for path, place in sorted(places.items()):
        below_data = any(_are_data(places[parent], key) for parent, key in _parents(path))
        rule = None if below_data else _judge_keys(place, setting)
        if rule is not None:
            keys[path] = rule
            shown.append(f"keys of {path} are data")
    written |= {"keys": keys} if keys else {}
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return written, "; ".join(shown[:_SHOWN]) + more or "leaves that no path names are scrambled"


def judge_hstore(values: Iterable[bytes], setting: Setting) -> tuple[Written, str]:
    """The rule for an hstore column, and the evidence."""
    found: dict[str, list[bytes]] = defaultdict(list)
    rows = 0
    for value in values:
        rows += 1
        for name, text in hstoretext.parse(value):
            found[name.decode("utf-8", "replace")].append(text or b"")
    keys: dict[str, Written] = {}
    is_map = len(found) > _MOST_KEYS and all(len(texts) * 2 < rows for texts in found.values())
    if is_map or telling_hits(Profile.of(key.encode() for key in found)):
        return TODO, f"{len(found)} different keys in {rows} values look like data, and would stay"
    for key, texts in sorted(found.items()) if len(found) <= _MOST_KEYS else ():
        if _KEY.fullmatch(key) and len(texts) >= max(2, _MANY * rows):
            rule, _ = _rule(judge_text(key, Profile.of(texts), setting, by_name(key)))
            if rule is not None:
                keys[key] = rule
    return {"mask": "hstore", "keys": keys}, f"{len(keys)} keys decided; values of others are scrambled"


def _walk(value: Any, path: str, places: dict[str, _Place], depth: int) -> None:
    place = places[path]
    match value:
        case dict():
            place.objects += 1
            place.keys.update(value.keys())
            for key, inner in value.items():
                if depth < _DEEPEST and _KEY.fullmatch(key):
                    _walk(
                        inner, f"{path}.{key}" if re.fullmatch(r"\w+", key) else f'{path}["{key}"]', places, depth + 1
                    )
        case list():
            for inner in value[:_MOST_ELEMENTS]:
                _walk(inner, f"{path}[*]", places, depth + 1)
        case bool():
            place.flags += 1
        case str():
            place.texts.append(value.encode("utf-8", "replace"))
        case int() | float():
            place.numbers.append(str(value).encode())


def _are_data(place: _Place, key: str | None = None) -> bool:
    """Whether an object's keys differ from document to document; and not this one, which is in every other."""
    return len(place.keys) > _MOST_KEYS and (key is None or place.keys[key] * 2 < place.objects)


def _judge_keys(place: _Place, setting: Setting) -> str | None:
    """The mask of an object's keys; None where they are names, which stay. It keeps them apart."""
    profile = Profile.of(key.encode("utf-8", "replace") for key in place.keys.elements())
    if not (place.keys and all(_are_data(place, key) for key in place.keys)) and not telling_hits(profile):
        return None
    return "email" if judge_text("", profile, setting, None).what is Category.EMAIL else "id.uuid"


def _is_common(path: str, places: Mapping[str, _Place], documents: int) -> bool:
    place = places[path]
    count = len(place.texts) + len(place.numbers) + place.flags
    if count < max(2, _MANY * documents):
        return False
    return not any(_are_data(places[parent], key) for parent, key in _parents(path))


def _parents(path: str) -> Iterator[tuple[str, str]]:
    """The places above a path, each with the key that leads down from it."""
    while path != "$":
        above = re.sub(r'(\.\w+|\[\*\]|\["[^"]*"\])$', "", path)
        yield above, path.removeprefix(above).strip('.[]"')
        path = above


def _judge_leaf(column: str, path: str, place: _Place, setting: Setting) -> tuple[Written | None, str]:
    # What stands under no key, in a list of lists even, is called what the column is called.
    key = next(reversed(re.findall(r"[\w-]+", path)), column)
    if place.texts:
        # Of a leaf that is now a text, now a number, the text counts.
        profile = Profile.of(place.texts)
        return _rule(judge_text(key, profile, setting, by_name(key)))
    if place.numbers:
        if path.endswith("[*]") and _are_coordinates(place.numbers):
            return None, ""
        whole = all(value.lstrip(b"-").isdigit() for value in place.numbers)
        verdict = judge_number(key, Profile.of(place.numbers), setting, by_name(key, held_by("numeric")), whole=whole)
        return (KEEP, "") if verdict.what is Call.KEEP else (None, "")
    return (KEEP, "") if by_name(key) is not Category.SENSITIVE else (None, "")


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
