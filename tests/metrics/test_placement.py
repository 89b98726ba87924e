from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from lit_privq.metrics import (
    interval,
    log_auroc,
    mean_log_aurocs,
    redrawn_log_aurocs,
    redrawn_tpr,
    roc,
    semilog_auroc,
    tpr_at_fpr,
)
from lit_privq.metrics.log_auroc import true_rates
from lit_privq.metrics.placement import _share_above, _share_above_ties, _tied_ranks
from lit_privq.metrics.roc import Roc


def simulated(seed: int, size: int = 600, gap: float = 1.0) -> Roc:
    members = np.arange(size) < size // 2
    return roc(np.random.default_rng(seed).normal(size=size) + gap * members, members)


METRICS = {"log_auroc": log_auroc, "semilog_auroc": semilog_auroc}


def binormal(others: int, gap: float) -> NDArray[np.float64]:
    """The true curve of ``simulated``, at the rates that its mean areas are taken from."""
    return np.asarray(1 - ndtr(ndtri(1 - true_rates(others)) - gap))


@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0])
def test_the_mean_area_of_a_true_curve_is_the_mean_over_sets_of_examples(gap: float) -> None:
    found = mean_log_aurocs(binormal(300, gap), 300, 300)
    for name, metric in METRICS.items():
        areas = [metric(simulated(seed, 600, gap)) for seed in range(1000)]
        assert found[name] == pytest.approx(np.mean(areas), abs=3 * np.std(areas) / np.sqrt(1000))


def test_mean_areas_of_a_perfect_attack_and_of_none_are_those_of_single_sets() -> None:
    found = mean_log_aurocs(np.stack([np.ones(401), np.zeros(401)]), 50, 60)
    for name, metric in METRICS.items():
        perfect, none = (metric(roc(sign * (np.arange(110) < 50.0), np.arange(110) < 50)) for sign in (1.0, -1.0))
        np.testing.assert_allclose(found[name], [perfect, none], atol=1e-6)


def test_ties_and_the_order_of_examples_do_no_harm() -> None:
    members = np.arange(200) < 100
    scores = np.round(np.random.default_rng(3).normal(size=200) + members)
    turn = np.random.default_rng(4).permutation(200)
    one, other = (redrawn_log_aurocs(roc(scores[order], members[order]), 20, 5) for order in (np.arange(200), turn))
    np.testing.assert_array_equal(one["log_auroc"], other["log_auroc"])


@pytest.mark.parametrize("others", [1, 2, 7, 8, 9, 31, 32, 33, 34, 40])
@pytest.mark.parametrize("gap", [-np.inf, 0.0, np.inf])
def test_any_number_of_non_members_and_any_attack_will_do(others: int, gap: float) -> None:
    members = np.arange(others + 20) < 20
    scores = np.random.default_rng(6).normal(size=others + 20) + np.where(members, gap, 0.0)
    for areas in redrawn_log_aurocs(roc(scores, members), 50).values():
        assert ((areas >= 0) & (areas < 1 + 1e-5)).all()  # of a perfect attack log10(1 + e) is above 0


@pytest.mark.parametrize("gap", [0.0, 1.0, 2.0])
def test_intervals_of_a_log_auroc_cover_the_mean_over_other_examples(gap: float) -> None:
    truths = mean_log_aurocs(binormal(500, gap), 500, 500)
    hits = dict.fromkeys(METRICS, 0)
    for seed in range(600):
        for name, areas in redrawn_log_aurocs(simulated(seed, 1000, gap), 200, seed).items():
            low, high = interval(areas)
            hits[name] += low <= truths[name] <= high
    assert all(0.93 - 0.02 < count / 600 < 0.97 + 0.02 for count in hits.values())  # two standard errors


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


def coarse(seed: int, size: int, step: float, most: float) -> Roc:
    """Of scores that are rounded and capped, as few-bit networks make them."""
    members = np.arange(size) < size // 2
    scores = np.random.default_rng(seed).normal(size=size) + members
    return roc(np.minimum(np.round(scores / step) * step, most), members)


@pytest.mark.parametrize("bound", [0.05, 0.1, 0.2])
@pytest.mark.parametrize(("step", "most"), [(1.0, 2.0), (0.5, 1.5), (0.25, 9.0)])
def test_intervals_of_tied_scores_cover_the_rate_of_the_last_threshold_below_the_bound(
    step: float, most: float, bound: float
) -> None:
    edges = np.minimum(np.arange(-8, 8, step), most) - step / 2
    reached = np.array([1 - ndtr(edges), 1 - ndtr(edges - 1)])
    truth, hits = reached[1, reached[0] < bound].max(initial=0), 0
    for seed in range(300):
        curve = coarse(seed, 400, step, most)
        low, high = np.quantile(redrawn_tpr(curve, bound, 200, seed), [0.025, 0.975])
        assert low <= tpr_at_fpr(curve, bound) <= high  # one statistic
        hits += low - 1e-9 <= truth <= high + 1e-9
    assert hits / 300 > 0.93 - 0.025  # two standard errors


@pytest.mark.parametrize("tied", [19, 20, 21])
def test_one_more_tied_non_member_moves_the_point_within_the_interval(tied: int) -> None:
    members = np.arange(800) < 400
    scores = np.random.default_rng(0).random(800)
    scores[np.r_[:30, 400 : 400 + tied]] = 2.0  # 30 members and so many non-members share the highest score
    curve = roc(scores, members)
    low, high = interval(redrawn_tpr(curve, 0.05, 1000))
    assert float(tpr_at_fpr(curve, 0.05)) == (30 / 400 if tied < 20 else 0.0)
    assert low <= float(tpr_at_fpr(curve, 0.05)) <= high
    assert (low, high) == pytest.approx((0.0, 0.1), abs=0.03)  # either threshold may be the last below the bound


def test_scores_without_ties_are_drawn_as_if_there_could_be_none() -> None:
    curve = simulated(9, 400)
    assert _tied_ranks(curve) is None
    place = np.linspace(0.001, 0.999, 50)
    never = np.zeros(200, bool)
    expected = _share_above(curve, place)
    found = _share_above_ties(curve, place, never, np.random.default_rng(0))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("bound", [0.004, 0.005, 0.5, 1.0])
def test_every_bound_has_a_rate_or_none(bound: float) -> None:
    found, curve = redrawn_tpr(simulated(8, 400), bound, 20), simulated(8, 400)
    assert np.isnan(found).all() == np.isnan(tpr_at_fpr(curve, bound))
    assert bound < 1 or (found == 1).all()


@pytest.mark.parametrize("draw", [redrawn_log_aurocs, lambda curve, count: redrawn_tpr(curve, 0.1, count)])
def test_a_single_curve_is_no_interval(draw: Callable[[Roc, int], object]) -> None:
    with pytest.raises(ValueError, match="at least 2 curves"):
        draw(simulated(7), 1)
