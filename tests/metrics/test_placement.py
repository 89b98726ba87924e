from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from lit_privq.metrics import auc, interval, log_auroc, redrawn, redrawn_tpr, roc, semilog_auroc, tpr_at_fpr
from lit_privq.metrics.roc import Roc


def simulated(seed: int, size: int = 600, gap: float = 1.0) -> Roc:
    members = np.arange(size) < size // 2
    return roc(np.random.default_rng(seed).normal(size=size) + gap * members, members)


def test_redrawn_curves_rise_from_nothing_to_everything() -> None:
    curves = redrawn(simulated(0), 50)
    for counts, total in ((curves.true_positives, 300), (curves.false_positives, 300)):
        assert (np.diff(counts, axis=1) >= 0).all()
        assert (counts[:, 0] == 0).all()
        assert (counts[:, -1] == total).all()


def test_they_lie_about_the_given_curve() -> None:
    curve = simulated(1, 4000)
    assert auc(redrawn(curve, 400)).mean() == pytest.approx(float(auc(curve)), abs=0.005)
    assert semilog_auroc(redrawn(curve, 400)).mean() == pytest.approx(float(semilog_auroc(curve)), abs=0.005)


def test_the_area_varies_as_hanley_and_mcneil_say() -> None:
    curve = simulated(2, 800)
    a = float(auc(curve))
    first, second = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + 399 * (first - a * a) + 399 * (second - a * a)) / 400**2
    assert auc(redrawn(curve, 1000)).std() == pytest.approx(np.sqrt(variance), rel=0.15)  # theirs is an approximation


def test_ties_and_the_order_of_examples_do_no_harm() -> None:
    members = np.arange(200) < 100
    scores = np.round(np.random.default_rng(3).normal(size=200) + members)
    turn = np.random.default_rng(4).permutation(200)
    one, other = (redrawn(roc(scores[order], members[order]), 20, 5) for order in (np.arange(200), turn))
    np.testing.assert_array_equal(one.true_positives, other.true_positives)


@pytest.mark.parametrize("others", [1, 2, 31, 32, 33, 34, 40])
def test_any_number_of_non_members_will_do(others: int) -> None:
    members = np.arange(others + 20) < 20
    curves = redrawn(roc(np.random.default_rng(6).normal(size=others + 20), members), 5)
    assert (curves.false_positives[:, -1] == others).all()
    assert np.isfinite(log_auroc(curves)).all()


def test_intervals_of_a_log_auroc_cover_the_mean_over_other_examples() -> None:
    metrics = (log_auroc, semilog_auroc)
    truths = [np.mean([metric(simulated(seed)) for seed in range(10_000, 11_000)]) for metric in metrics]
    hits = np.zeros(2)
    for seed in range(300):
        curves = redrawn(simulated(seed), 200, seed)
        for place, metric in enumerate(metrics):
            low, high = interval(metric(curves))
            hits[place] += low <= truths[place] <= high
    assert (hits / 300 > 0.93 - 0.03).all()  # two standard errors of 300 trials; the first is nearer to 98 %


@pytest.mark.parametrize("gap", [0.0, 1.0, 2.0])
def test_intervals_of_a_rate_cover_it_even_where_one_false_positive_is_left(gap: float) -> None:
    truth, hits = 1 - ndtr(ndtri(0.99) - gap), 0
    for seed in range(1000):
        low, high = interval(redrawn_tpr(simulated(seed, 400, gap), 0.01, 200, seed))
        hits += low <= truth <= high
    assert 0.93 - 0.014 < hits / 1000 < 0.97 + 0.014  # two standard errors


def test_a_rate_lies_in_its_own_interval() -> None:
    for seed in range(50):
        curve = simulated(seed, 400)
        low, high = interval(redrawn_tpr(curve, 0.01, 200, seed))
        assert low <= tpr_at_fpr(curve, 0.01) <= high


@pytest.mark.parametrize("bound", [0.004, 0.005, 0.5, 1.0])
def test_every_bound_has_a_rate_or_none(bound: float) -> None:
    found, curve = redrawn_tpr(simulated(8, 400), bound, 20), simulated(8, 400)
    assert np.isnan(found).all() == np.isnan(tpr_at_fpr(curve, bound))
    assert bound < 1 or (found == 1).all()


@pytest.mark.parametrize("draw", [redrawn, lambda curve, count: redrawn_tpr(curve, 0.1, count)])
def test_a_single_curve_is_no_interval(draw: Callable[[Roc, int], object]) -> None:
    with pytest.raises(ValueError, match="at least 2 curves"):
        draw(simulated(7), 1)
