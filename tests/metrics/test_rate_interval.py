from __future__ import annotations

import numpy as np
import pytest

from lit_privq.metrics import best_balanced_accuracy, roc
from lit_privq.metrics.rate_interval import balanced_accuracy_interval, difference_interval, rate_interval, wilson


@pytest.mark.parametrize(("rate", "trials"), [(0.0, 9), (0.1, 30), (0.5, 2), (1.0, 40)])
def test_wilsons_ends_are_the_rates_whose_noise_just_explains_the_distance(rate: float, trials: int) -> None:
    for end in wilson(rate, trials):
        if 0 < end < 1:
            assert abs(rate - end) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) / trials), rel=1e-6)


def test_a_rate_without_doubt_of_its_threshold_has_wilsons_interval() -> None:
    members = np.arange(1040) < 40
    scores = np.where(members, 2.0, np.linspace(0, 1, 1040))  # every threshold finds the first twenty-five, and no more
    scores[25:40] = -1.0
    assert rate_interval(roc(scores, members), 0.1) == pytest.approx(wilson(25 / 40, 40))


def test_doubt_of_the_threshold_widens_a_rates_interval_on_the_side_where_members_lie() -> None:
    members = np.arange(1040) < 40
    scores = np.where(members, 2.0, np.linspace(0, 1, 1040))
    scores[25:40] = 0.91  # found at a slightly higher false-positive rate
    low, high = rate_interval(roc(scores, members), 0.08)
    assert low == pytest.approx(wilson(25 / 40, 40)[0])
    assert high > wilson(25 / 40, 40)[1] + 0.1


def test_a_bound_below_one_false_positive_has_no_interval() -> None:
    assert np.isnan(rate_interval(roc(np.arange(40.0), np.arange(40) >= 20), 0.01)).all()


def test_an_interval_of_the_best_accuracy_holds_it_and_is_not_empty_at_perfect_separation() -> None:
    random, members = np.random.default_rng(0), np.arange(100) < 40
    for gap in (0.0, 1.0, 50.0):
        curve = roc(random.normal(size=100) + gap * members, members)
        low, high = balanced_accuracy_interval(curve)
        assert 0.5 <= low <= float((1 + curve.tpr - curve.fpr).max() / 2) <= high <= 1
        assert high - low > 0.02


@pytest.mark.parametrize(("inside", "others", "gap"), [(20, 20, 0.0), (20, 700, 0.0), (300, 300, 0.0), (20, 700, 2.0)])
def test_the_best_accuracy_of_as_many_other_examples_is_covered_as_often_as_promised(
    inside: int, others: int, gap: float
) -> None:
    random, members, trials = np.random.default_rng(0), np.arange(inside + others) < inside, 1500
    curves = [roc(random.normal(size=members.size) + gap * members, members) for _ in range(trials)]
    truth = np.mean([best_balanced_accuracy(curve) for curve in curves])
    ends = np.array([balanced_accuracy_interval(curve) for curve in curves])
    covered = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()
    error = np.sqrt(0.05 * 0.95 / trials)
    assert 0.93 - error < covered < 0.97 + error


def test_independent_intervals_combine_as_the_sides_of_a_right_angle() -> None:
    low, high = difference_interval(0.6, (0.5, 0.9), 0.4, (0.0, 0.5), 0.0)
    assert (low, high) == (pytest.approx(0.2 - np.hypot(0.1, 0.1)), pytest.approx(0.2 + np.hypot(0.3, 0.4)))


def test_numbers_that_move_together_differ_by_the_difference_of_their_noise() -> None:
    low, high = difference_interval(0.6, (0.5, 0.7), 0.4, (0.2, 0.6), 1.0)
    assert (low, high) == (pytest.approx(0.1), pytest.approx(0.3))


def test_rates_of_few_members_are_covered_as_often_as_promised() -> None:
    random, members, trials = np.random.default_rng(0), np.arange(590) < 90, 600
    truth = 0.2595  # of a gap of 1 at 5 %
    ends = np.array([rate_interval(roc(random.normal(size=590) + members, members), 0.05) for _ in range(trials)])
    covered = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()
    assert 0.93 - 2 * np.sqrt(0.05 * 0.95 / trials) < covered < 0.97 + 2 * np.sqrt(0.05 * 0.95 / trials)
