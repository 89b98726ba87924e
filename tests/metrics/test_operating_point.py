from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from lit_privq.metrics import clopper_pearson, operating_point, predictive_value, shadow_threshold
from lit_privq.metrics.operating_point import rate_over_targets


def test_the_threshold_lets_fewer_shadows_through_than_the_bound() -> None:
    random = np.random.default_rng(0)
    scores, members = random.normal(size=(4, 500)), random.random((4, 500)) < 0.5
    threshold = shadow_threshold(scores, members, 0.01)
    count = (scores[~members] >= threshold).sum()
    assert count == math.ceil(0.01 * (~members).sum()) - 1


def test_ties_at_the_threshold_do_not_let_more_through() -> None:
    scores = np.repeat([3.0, 2.0, 1.0], [5, 50, 45])[None]
    assert shadow_threshold(scores, np.zeros((1, 100), bool), 0.2) > 2


def test_a_threshold_from_shadows_reaches_another_rate_on_other_targets() -> None:
    random = np.random.default_rng(1)
    members = random.random((5, 4000)) < 0.5
    shadows, targets = random.normal(size=(5, 4000)), random.normal(0.5, size=(5, 4000))
    found = operating_point(shadows, members, targets + members, members, 0.01)
    assert found.fpr > 0.02  # half a deviation too confident: more false positives than aimed at
    assert found.fpr_interval()[0] < found.fpr < found.fpr_interval()[1]
    assert found.tpr > found.fpr
    assert found.precision(0.5) == pytest.approx(found.tpr / (found.tpr + found.fpr))


def test_precision_falls_with_the_prior() -> None:
    assert predictive_value(0.1, 0.001, 0.5) > predictive_value(0.1, 0.001, 0.01) > predictive_value(0.1, 0.001, 0)
    assert math.isnan(predictive_value(0, 0, 0.5))
    with pytest.raises(ValueError, match="prior"):
        predictive_value(0.1, 0.1, 50)


def test_a_bound_below_one_false_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="room for a false positive"):
        shadow_threshold(np.zeros((1, 10)), np.zeros((1, 10), bool), 0.01)


def test_one_target_has_the_exact_interval_of_its_examples() -> None:
    assert rate_over_targets([(7, 300)], 0.9) == clopper_pearson(7, 300, 0.9)


def test_targets_that_differ_widen_the_interval_and_those_that_agree_leave_it_exact() -> None:
    exact = clopper_pearson(40, 4000)
    assert rate_over_targets([(10, 1000)] * 4) == exact
    low, high = rate_over_targets([(1, 1000), (2, 1000), (5, 1000), (32, 1000)])
    assert low < exact[0]
    assert high > exact[1]


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_the_interval_of_a_rate_covers_that_of_other_targets(shift: float) -> None:
    random, hits = np.random.default_rng(2), 0
    for _ in range(1000):
        raised = shift * random.normal(size=5)  # one target's confidences all move together
        counts = [(int((random.normal(size=500) + by > 2).sum()), 500) for by in raised]
        low, high = rate_over_targets(counts)
        hits += low <= 1 - ndtr(2 / np.sqrt(1 + shift**2)) <= high
    assert hits / 1000 > 0.93 - 0.016  # two standard errors
