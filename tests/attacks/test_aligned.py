from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.attacks import Attack, LiRAOnline, LiRAOnlineAligned, Observed, score_held_out, score_leave_one_out
from lit_privq.metrics import auc, roc

Make = Callable[..., Observed]
ATTACKS: dict[str, Attack] = {"plain": LiRAOnline(), "aligned": LiRAOnlineAligned()}


def moved(models: Observed, factor: float, offset: float) -> Observed:
    """The same models, surer or less sure of every answer."""
    return Observed(factor * np.asarray(models.confidence, float) + offset, models.members)


def area(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> float:
    return float(np.mean([auc(roc(row, own)) for row, own in zip(scores, members, strict=True)]))


@pytest.mark.parametrize(("factor", "offset"), [(0.2, 0.0), (3.0, -5.0), (1.0, 40.0)])
def test_how_sure_a_target_is_of_everything_changes_nothing(make: Make, factor: float, offset: float) -> None:
    models = make(8, 40, spare=2)
    shadows, targets = models.models(range(8)), models.models([8, 9])
    found, again = (score_held_out(ATTACKS, shadows, each) for each in (targets, moved(targets, factor, offset)))
    np.testing.assert_allclose(again["aligned"], found["aligned"], rtol=1e-6, atol=1e-6)
    assert np.abs(again["plain"] - found["plain"]).max() > 1


def test_it_finds_what_lira_takes_for_examples_that_were_not_learned(make: Make) -> None:
    models = make(16, 2000, 1, gap=4.0, spare=8)
    shadows, targets = models.models(range(16)), moved(models.models(range(16, 24)), 0.3, -1.0)
    found = score_held_out(ATTACKS, shadows, targets)
    assert area(found["aligned"], targets.members) > area(found["plain"], targets.members) + 0.05


def test_a_shadow_that_is_a_target_is_no_measure_of_itself(make: Make) -> None:
    models = make(8, 40)
    quieter = np.array(models.confidence)
    quieter[3] *= 0.1
    found, again = (
        score_leave_one_out(ATTACKS, each, [3], targets=models.models([3]))["aligned"]
        for each in (models, Observed(quieter, models.members))
    )
    np.testing.assert_allclose(again, found, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("answer", [2.5, 0.1])
def test_a_target_that_gives_one_answer_to_all_is_only_shifted(make: Make, answer: float) -> None:
    models = make(8, 40, spare=1)
    targets = (Observed(np.full((1, 40, 2), each), models.members[8:]) for each in (answer, 0.0))
    found, other = (score_held_out(ATTACKS, models.models(range(8)), target)["aligned"] for target in targets)
    np.testing.assert_allclose(found, other, rtol=1e-9, atol=1e-9)


def test_one_absurd_confidence_does_not_move_the_others(make: Make) -> None:
    models = make(8, 400, spare=1)
    values = np.array(models.confidence[8:])
    values[:, 0] = 1e4
    target = Observed(values, models.members[8:])
    found, again = (
        score_held_out(ATTACKS, models.models(range(8)), each)["aligned"][:, 1:]
        for each in (models.models([8]), target)
    )
    np.testing.assert_allclose(again, found, atol=0.2)
