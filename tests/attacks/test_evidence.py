from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lit_privq.attacks import Attack, Observed, score_held_out, score_leave_one_out
from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array

Make = Callable[..., Observed]


class Spy(Attack):
    """Keeps the evidence that it is shown."""

    def __init__(self) -> None:
        self.seen: list[Evidence] = []

    def score(self, evidence: Evidence) -> Array:
        self.seen.append(evidence)
        return np.zeros(evidence.targets.shape[:2])


def test_a_leave_one_out_target_sees_as_many_shadows_of_its_own_examples_as_of_others(make: Make) -> None:
    spy = Spy()
    score_leave_one_out({"spy": spy}, make(9, 40, 1))  # nine models: groups of unequal size
    sizes = {(np.max(block.inside.size), np.max(block.outside.size)) for block in spy.seen}
    assert len(sizes) <= 4  # one pair for each pass of equal targets, never one for each example
    for block in spy.seen:
        assert isinstance(block.inside.size, int)
        assert isinstance(block.outside.size, int)


def test_a_leave_one_out_target_sees_neither_itself_nor_the_last_of_the_other_group() -> None:
    inside = np.arange(8) < 4
    values = np.array([1.0, 2.0, 3.0, 100.0, 10.0, 20.0, 30.0, 40.0])
    models = Observed(np.stack([values, values], axis=1), np.stack([inside, ~inside], axis=1))
    spy = Spy()
    score_leave_one_out({"spy": spy}, models, [3])
    (block,) = spy.seen
    assert block.targets[0, :, 0].tolist() == [100, 100]
    assert block.inside.mean[0, :, 0].tolist() == [2, 20]  # of 1, 2, 3 and of 10, 20, 30
    assert block.outside.mean[0, :, 0].tolist() == [20, 2]


def test_blocks_cover_every_example_once(make: Make) -> None:
    for block in (1, 7, 40, 1000):
        spy = Spy()
        models = make(8, 40, 2, spare=2)
        score_held_out({"spy": spy}, models.models(range(8)), models.models([8, 9]), block=block)
        rows = np.concatenate([np.arange(40)[evidence.rows] for evidence in spy.seen])
        np.testing.assert_array_equal(rows, np.arange(40))


def test_other_versions_are_seen_only_where_they_are_given(make: Make) -> None:
    spy, models = Spy(), make(8, 40, 2)
    score_held_out({"spy": spy}, models, models)
    assert len(spy.seen[0].versions) == 1
