"""Paths are read, and of several that name a place the most specific wins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.model import BadInput
from transform.jsonpath import Node, Step, compile_paths, parse_path

KEYS = ("a", "b", "c")


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$", ()),
        ("$.a.b", (Step(b"a"), Step(b"b"))),
        ("$.a[*].b", (Step(b"a"), Step(None, is_member=False), Step(b"b"))),
        ('$["odd key"]["\\""]', (Step(b"odd key"), Step(b'"'))),
        ("$['x'][*]", (Step(b"x"), Step(None, is_member=False))),
        ('$.*.ä..b..*..[*]..["c d"]', (
            Step(None), Step("ä".encode()), Step(b"b", descends=True), Step(None, descends=True),
            Step(None, is_member=False, descends=True), Step(b"c d", descends=True),
        )),
    ],
)  # fmt: skip
def test_paths_are_read(path: str, steps: tuple[Step, ...]) -> None:
    """A step is a key, a quoted key, any key, or all elements, from here or from any depth."""
    assert parse_path(path) == steps


def place(paths: list[str], steps: list[str | None]) -> str | None:
    """The path that names the place; None stands for an element."""
    node: Node | None = compile_paths(paths)
    for step in steps:
        if node is not None:
            node = node.elements if step is None else node.member(step.encode())
    return None if node is None or node.path is None else paths[node.path]


def fits(steps: tuple[Step, ...], way: tuple[str | None, ...]) -> bool:
    """Whether a path leads just there, by trying all that ``..`` may pass over."""
    if not steps:
        return not way
    step, rest = steps[0], steps[1:]
    return any(
        (way[skipped] is None) != step.is_member
        and (step.key is None or (way[skipped] or "").encode() == step.key)
        and fits(rest, way[skipped + 1 :])
        for skipped in range(len(way) if step.descends else min(len(way), 1))
    )


def rank(path: str) -> tuple[int, int, int]:
    """Fewer descents, then fewer wildcards, then more steps."""
    return path.count(".."), path.count(".*"), -len(parse_path(path))


STEPS = st.sampled_from([".a", ".b", ".*", "[*]", "..a", "..b", "..*", "..[*]"])
PATHS = st.lists(STEPS, max_size=3).map(lambda steps: "$" + "".join(steps))


@given(
    st.lists(PATHS, min_size=1, max_size=3, unique=True),
    st.lists(st.lists(st.sampled_from([*KEYS, None]), max_size=4), max_size=8),
)
def test_the_most_specific_path_names_a_place(paths: list[str], ways: list[list[str | None]]) -> None:
    """As trying each path by itself says; where two are equal, compiling refuses."""
    try:
        compile_paths(paths)
    except BadInput as error:
        assert "name the same place" in error.message  # noqa: PT017 - either may happen
        assert len({rank(path) for path in paths}) < len(paths)
        return
    for way in ways:
        fitting = sorted((path for path in paths if fits(parse_path(path), tuple(way))), key=rank)
        assert place(paths, way) == (fitting[0] if fitting else None)
        assert len(fitting) < 2 or rank(fitting[0]) < rank(fitting[1])


@pytest.mark.parametrize(("paths"), [["$.a.*", "$.*.b"], ["$.x..b", "$..a.b"], ["$..a..b", "$..b..b"]])
def test_paths_of_which_none_is_more_specific_are_refused(paths: list[str]) -> None:
    """Which of them holds would be a guess."""
    with pytest.raises(BadInput, match="neither is more specific"):
        compile_paths(paths)


def test_a_more_specific_path_settles_it() -> None:
    """Where a third path names the place that two others meet in, it wins."""
    assert place(["$.a.*", "$.*.b", "$.a.b"], ["a", "b"]) == "$.a.b"


def test_overlaps_without_end_are_refused() -> None:
    """No rules file takes all the memory."""
    with pytest.raises(BadInput, match="too many ways"):
        compile_paths(["$..a" + ".*" * 16])


@pytest.mark.parametrize("path", ["", "a", "$.", "$a", "$.a[0]", "$...a", "$..", "$.[*]", "$.a*", '$["a', "$.a b"])
def test_other_paths_are_refused(path: str) -> None:
    """Paths that are not understood are never ignored."""
    with pytest.raises(BadInput) as caught:
        parse_path(path)
    assert repr(path) in str(caught.value)


def test_the_root_knows_only_what_paths_say() -> None:
    """Without paths nothing is named."""
    root: Any = compile_paths([])
    assert (root.path, root.members, root.others, root.elements) == (None, {}, None, None)
