"""No class of ours shows a value of a row in its ``repr``, which finds its way into logs and tracebacks."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pyarrow as pa

import capture
import control
import sink
import transform
from transform.places import Keys, Place
from transform.predicates.values import Rows

# What could be made of a row: bytes, columns, and what is called a value or a key of one.
_OF_ROWS = re.compile(r"\bbytes\b|\bpa\.|\bValue\b|\bTupleData\b|\bKey\b|\bComparable\b|\bCounter\[")
# These show what the rules say, columns, tags, or how an array is written.
_HARMLESS = {
    "transform.arraytext.Shape.prefix",
    "transform.jsonpath.Node.members",
    "transform.jsonpath.Step.key",
    "transform.predicates.nodes.Length.text",
    "control.digests.NameJob.wanted",
}


def _classes() -> Iterator[type]:
    for package in (capture, transform, sink, control):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                found = vars(importlib.import_module(module.name)).values()
                yield from (each for each in found if inspect.isclass(each) and each.__module__ == module.name)


def _shown(kind: type) -> dict[str, str]:
    """The fields that the ``repr`` that Python makes of a class shows, and their types."""
    if dataclasses.is_dataclass(kind):
        is_made = hasattr(kind.__repr__, "__wrapped__")
        return {field.name: str(field.type) for field in dataclasses.fields(kind) if field.repr} if is_made else {}
    if issubclass(kind, tuple) and hasattr(kind, "_fields") and kind.__repr__.__module__ != kind.__module__:
        return {name: str(shape) for name, shape in kind.__annotations__.items()}
    return {}


def test_what_holds_rows_does_not_show_them() -> None:
    """A field that can hold a value is left out of the ``repr``."""
    kinds = list(_classes())
    assert len(kinds) > 200
    assert {
        place
        for kind in kinds
        for name, shape in _shown(kind).items()
        if _OF_ROWS.search(shape) and (place := f"{kind.__module__}.{kind.__qualname__}.{name}") not in _HARMLESS
    } == set()


def test_rows_and_leaves_show_nothing() -> None:
    """Of a batch that a condition is asked about, and of what a sample of documents holds."""
    rows = Rows({"name": pa.array([b"canary"])}, 1)
    rows._read["name"] = pa.array(["canary"])
    place = Place(texts=[b"canary"], numbers=[b"4711"])
    place.member(b"canary")
    assert "canary" not in repr(rows) + repr(place) + repr(Keys.of([place]))
    assert "4711" not in repr(place)
