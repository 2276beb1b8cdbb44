"""Whatever changes places, what comes out is the same."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.model import Operation
from sink import levels
from sink.levels import FEW, Step, steps

INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE

Model = dict[int, int]


class Sequence:
    """Changes that are valid in their order, made at random. ``keys`` say which row each is about; a change of a key
    goes from ``keys`` to ``moves_to``."""

    def __init__(self, seed: int, count: int, rows: int, move_share: float) -> None:
        draw = random.Random(seed)
        self.start: Model = {key: -1 for key in range(rows) if draw.random() < 0.5}
        self.operations: list[Operation] = []
        self.keys: list[int] = []
        self.moves_to: list[int | None] = []
        held = set(self.start)
        for _ in range(count):
            key = draw.randrange(rows)
            to: int | None = None
            if key not in held:
                operation = INSERT
                held.add(key)
            elif draw.random() < move_share and len(held) < rows:
                operation, to = UPDATE, draw.choice(sorted(set(range(rows)) - held))
                held = held - {key} | {to}
            elif draw.random() < 0.6:
                operation = UPDATE
            else:
                operation = DELETE
                held.remove(key)
            self.operations.append(operation)
            self.keys.append(key)
            self.moves_to.append(to)

    def steps(self) -> list[Step]:
        moves = np.array([to is not None for to in self.moves_to], np.bool_)
        return steps(np.array(self.operations, np.uint8), np.array(self.keys, np.int64), moves)

    def apply(self, model: Model, place: int) -> None:
        """One change; its row holds then which change it was."""
        key, to = self.keys[place], self.moves_to[place]
        match self.operations[place]:
            case Operation.INSERT:
                assert key not in model, "the row is there already"
                model[key] = place
            case Operation.UPDATE:
                del model[key]
                assert to is None or to not in model, "the row is there already"
                model[key if to is None else to] = place
            case Operation.DELETE:
                del model[key]


sequences = st.builds(
    Sequence, st.integers(0, 2**32), st.integers(0, 120), st.integers(1, 80), st.sampled_from([0.0, 0.0, 0.03, 0.3])
)


@given(sequences, st.sampled_from([1, 2, 4, FEW]))
def test_steps_bring_the_same_as_the_changes_in_order(sequence: Sequence, few: int) -> None:
    """Every change happens once, every row ends as the last change of it left it, and none is missed on the way."""
    count = len(sequence.operations)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "FEW", few)
        taken = sequence.steps()
    assert sorted(place for step in taken for place in step.places.tolist()) == list(range(count))
    in_order, in_steps = dict(sequence.start), dict(sequence.start)
    for place in range(count):
        sequence.apply(in_order, place)
    for step in taken:
        for place in step.places.tolist():
            sequence.apply(in_steps, place)
    assert in_steps == in_order


@given(sequences, st.sampled_from([1, 2, 4, FEW]))
def test_what_is_done_at_once_is_of_different_rows(sequence: Sequence, few: int) -> None:
    """All of one operation, in ascending order, enough to be worth it, and no change of a key among them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "FEW", few)
        taken = sequence.steps()
    for step in taken:
        places = step.places.tolist()
        assert places == sorted(places)
        if step.operation is None:
            continue
        assert len(places) >= few
        assert {sequence.operations[place] for place in places} == {step.operation}
        assert len({sequence.keys[place] for place in places}) == len(places)
        assert all(sequence.moves_to[place] is None for place in places)


@given(sequences, st.sampled_from([1, 2, 4, FEW]))
def test_where_nothing_is_done_at_once_nothing_changes_its_place(sequence: Sequence, few: int) -> None:
    """The order of the changes is then the only one that is known to be right, and it is tried first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "FEW", few)
        taken = sequence.steps()
    if all(step.operation is None for step in taken):
        [step] = taken
        assert step.places.tolist() == list(range(len(sequence.operations)))


@given(sequences, st.sampled_from([1, 2, 4, FEW]))
def test_nothing_passes_a_change_of_a_key(sequence: Sequence, few: int) -> None:
    """What came before it is done before it, what came after it after it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "FEW", few)
        done = [place for step in sequence.steps() for place in step.places.tolist()]
    for moment, place in enumerate(done):
        if sequence.moves_to[place] is not None:
            assert sorted(done[:moment]) == list(range(place))


def test_different_rows_are_done_in_one_step() -> None:
    """However their changes alternate: deletes before updates before inserts, so that a value may move on."""
    count = 3 * FEW
    taken = steps(np.tile([INSERT, UPDATE, DELETE], FEW).astype(np.uint8), np.arange(count), np.zeros(count, bool))
    assert [step.operation for step in taken] == [DELETE, UPDATE, INSERT]
    assert [step.places[0] for step in taken] == [2, 1, 0]


def test_changes_of_the_same_rows_are_done_in_turn() -> None:
    """Each level holds the next change of every row; a level of few ends it, in order."""
    keys = [*range(20), *range(20), *range(5), *range(5)]
    operations = np.full(len(keys), UPDATE, np.uint8)
    taken = steps(operations, np.array(keys), np.zeros(len(keys), bool))
    assert [(step.operation, step.places.tolist()) for step in taken] == [
        (UPDATE, list(range(20))),
        (UPDATE, list(range(20, 40))),
        (None, list(range(40, 50))),
    ]


@pytest.mark.parametrize("count", [0, 1, FEW - 1])
def test_few_changes_are_one_step_in_order(count: int) -> None:
    """They are not worth more."""
    [step] = steps(np.full(count, INSERT, np.uint8), np.arange(count), np.zeros(count, bool))
    assert step.operation is None
    assert step.places.tolist() == list(range(count))


def test_where_keys_change_often_order_is_all_there_is() -> None:
    """A step between each two would be worse than none."""
    alone = np.zeros(100, bool)
    alone[::4] = True
    [step] = steps(np.full(100, UPDATE, np.uint8), np.arange(100), alone)
    assert step.operation is None
    assert step.places.tolist() == list(range(100))
