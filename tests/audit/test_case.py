from __future__ import annotations

import numpy as np

from lit_privq.artifacts.variant import Variant
from lit_privq.attacks import LiRAOnline, Observed, score_held_out, score_leave_one_out
from lit_privq.audit.case import Case

ATTACK = {"lira": LiRAOnline()}
VARIANT = Variant("nearest", 2, 2)


def models(count: int, seed: int) -> Observed:
    random = np.random.default_rng(seed)
    members = np.argsort(random.random((count, 50)), axis=0) < count // 2
    return Observed(random.normal(size=(count, 50)) + members, members)


def case(shadows: Observed, targets: Observed | None, own: list[int] | None, *calibration: list[int]) -> Case:
    index = np.arange(len(calibration))
    rows = None if own is None else np.array(own)
    return Case(
        "mine", "", VARIANT, "unaware", index, shadows, targets, rows, tuple(np.array(c, np.int64) for c in calibration)
    )


def test_held_out_targets_are_scored_with_all_shadows() -> None:
    shadows, targets = models(8, 0), models(2, 1)
    found = case(shadows, targets, None, [], [])
    np.testing.assert_array_equal(found.members, targets.members)
    expected = score_held_out(ATTACK, shadows, targets)["lira"]
    np.testing.assert_array_equal(found.scores(ATTACK)[0]["lira"], expected)


def test_shadows_that_are_targets_are_scored_with_the_others() -> None:
    shadows = models(8, 0)
    found = case(shadows, None, [1, 5], [], [])
    np.testing.assert_array_equal(found.members, shadows.members[[1, 5]])
    expected = score_leave_one_out(ATTACK, shadows, [1, 5])["lira"]
    np.testing.assert_array_equal(found.scores(ATTACK)[0]["lira"], expected)


def test_calibration_examples_are_marked_for_each_target() -> None:
    mask = case(models(8, 0), models(2, 1), None, [3, 7], []).calibrated_on
    assert mask.shape == (2, 50)
    assert [np.flatnonzero(row).tolist() for row in mask] == [[3, 7], []]
