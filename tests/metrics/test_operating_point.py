from __future__ import annotations

import math

import numpy as np
import pytest

from lit_privq.metrics import operating_point, predictive_value, shadow_threshold


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
