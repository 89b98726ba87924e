"""A battery: simulated studies with few targets, and how often a leak is told apart from random guessing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from lit_privq.artifacts.measures import TargetMean
from lit_privq.artifacts.variant import FULL_PRECISION
from lit_privq.attacks import LiRAOnline, Observed, Residual, score_held_out
from lit_privq.audit.case import Case
from lit_privq.audit.measure import Measure, measure
from lit_privq.audit.summary import over_targets

STUDIES = 12


def leakage(targets: int, gap: float, seed: int) -> tuple[TargetMean, TargetMean]:
    """TPR at 1 % FPR and AUC of a study of 14 shadows and 400 examples, members more confident by the gap."""
    random = np.random.default_rng(seed)
    shadows = np.argsort(random.random((14, 400)), axis=0) < 7
    members = np.vstack([shadows, random.random((targets, 400)) < 0.5])
    confidence = random.normal(2, 2, 400) + gap * members + random.normal(0, 1, members.shape)
    models = Observed(confidence[..., None].astype(np.float32), members)
    made, attacked = models.models(range(14)), models.models(range(14, 14 + targets))
    scores = score_held_out({"lira": LiRAOnline(variance=Residual())}, made, attacked)
    case = Case("", "", FULL_PRECISION, "unaware", np.arange(targets), made, attacked, None, ())
    found = measure(case, scores, [0.01], 100, seed)["lira"]
    return over_targets("tpr_at_0.01", found[Measure("tpr_at_0.01")], 0.01), over_targets(
        "auc", found[Measure("auc")], 0.5
    )


def told(studies: Iterable[tuple[TargetMean, TargetMean]]) -> tuple[int, int]:
    """In how many the rate shows a leak for other targets; and in how many the rate, the AUC or these targets do."""
    found = list(studies)
    rate = sum(rate.verdict == "higher" for rate, _ in found)
    return rate, sum("higher" in (rate.verdict, area.verdict, rate.these) for rate, area in found)


@pytest.mark.parametrize(("targets", "rate", "any_of_three"), [(2, 0, 8), (3, 3, 11), (4, 9, 11)])
def test_a_clear_leak_is_told_even_with_few_targets(targets: int, rate: int, any_of_three: int) -> None:
    """Of 40 studies, a rule that looked at the rate alone told 5, 13 and 21."""
    found = told(leakage(targets, 1.0, seed) for seed in range(STUDIES))
    assert found[0] >= rate
    assert found[1] >= any_of_three


def test_no_leak_is_seldom_called_one() -> None:
    found = told(leakage(3, 0.0, seed) for seed in range(2 * STUDIES))
    assert found[0] <= 3  # 1 in 40; more than 3 of 24 once in 500 times
    assert found[1] <= 5  # three chances of 1 in 40; more than 5 of 24 once in 150 times at most
