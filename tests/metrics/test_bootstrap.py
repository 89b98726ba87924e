from __future__ import annotations

import math
import sys
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from lit_privq.metrics import auc, bootstrap, interval, over_targets, redrawn_tpr, resample, roc, tpr_at_fpr
from lit_privq.metrics.roc import Floats

TPR = partial(tpr_at_fpr, max_fpr=0.05)


def simulated(random: np.random.Generator, size: int = 400, gap: float = 1.0) -> tuple[Floats, NDArray[np.bool_]]:
    members = np.arange(size) < size // 2
    return random.normal(size=size) + gap * members, members


def test_every_resample_draws_as_many_members_and_others_as_there_are() -> None:
    members = np.arange(700) < 300
    drawn = resample(members, 50, seed=1)
    assert (drawn.inside.sum(axis=1, dtype=int) == 300).all()
    assert (drawn.outside.sum(axis=1, dtype=int) == 400).all()


@pytest.mark.parametrize("size", [40, 1000])
def test_counts_are_those_of_drawing_with_replacement(size: int) -> None:
    drawn = resample(np.arange(2 * size) < size, 4000, seed=2).inside
    for count in range(5):
        chance = math.comb(size, count) * (1 / size) ** count * (1 - 1 / size) ** (size - count)
        share = (drawn == count).mean()
        assert share == pytest.approx(
            chance, abs=6 * math.sqrt(chance / drawn.size) + 3e-5
        )  # counts are good to 16 bits


def test_weights_give_what_the_resampled_examples_give() -> None:
    random = np.random.default_rng(3)
    scores, members = simulated(random)
    scores = np.round(scores, 1)  # ties
    drawn = resample(members, 20, seed=4)
    fast = bootstrap(scores, drawn, {"auc": auc, "tpr": TPR})
    for row, (inside, outside) in enumerate(zip(drawn.inside, drawn.outside, strict=True)):
        again = np.concatenate([np.repeat(scores[members], inside), np.repeat(scores[~members], outside)])
        curve = roc(again, np.arange(400) < 200)
        assert fast["auc"][row] == pytest.approx(float(auc(curve)))
        assert fast["tpr"][row] == pytest.approx(float(TPR(curve)))


def test_the_same_seed_pairs_two_attacks() -> None:
    scores, members = simulated(np.random.default_rng(5))
    drawn = resample(members, 200, seed=6)
    one, other = (bootstrap(values, drawn, {"auc": auc})["auc"] for values in (scores, scores**3))
    np.testing.assert_array_equal(one, other)  # the same order, the same resamples: no difference at all


def test_the_batch_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, members = simulated(np.random.default_rng(7))
    drawn = resample(members, 30)
    whole = bootstrap(scores, drawn, {"auc": auc})["auc"]
    monkeypatch.setattr(sys.modules["lit_privq.metrics.bootstrap"], "_BATCH", 1)  # the function hides its module
    np.testing.assert_array_equal(bootstrap(scores, drawn, {"auc": auc})["auc"], whole)


def test_a_rate_that_cannot_be_measured_has_no_interval() -> None:
    scores, members = simulated(np.random.default_rng(8))
    values = bootstrap(scores, resample(members, 5), {"tpr": partial(tpr_at_fpr, max_fpr=0.001)})["tpr"]
    assert np.isnan(interval(values)).all()


def covered(low: float, value: float, high: float) -> bool:
    return low <= value <= high


def test_intervals_of_one_target_cover_the_truth_19_times_in_20() -> None:
    random = np.random.default_rng(9)
    truths = {"auc": float(ndtr(1 / math.sqrt(2))), "tpr": float(1 - ndtr(ndtri(0.95) - 1))}
    hits = {"auc": 0, "tpr": 0}
    for seed in range(600):
        scores, members = simulated(random)
        for name, values in bootstrap(scores, resample(members, 200, seed), {"auc": auc, "tpr": TPR}).items():
            hits[name] += covered(interval(values)[0], truths[name], interval(values)[1])
    for count in hits.values():
        assert 0.93 - 0.02 < count / 600 < 0.97 + 0.02  # two standard errors of 600 trials


@pytest.mark.parametrize("between", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("targets", [2, 4, 10])
def test_intervals_over_targets_cover_the_truth_19_times_in_20(targets: int, between: float) -> None:
    random = np.random.default_rng(10)
    hits = 0
    for _ in range(600):
        estimates = random.normal(0, math.hypot(between, 1), targets)
        replicates = estimates[:, None] + random.normal(size=(targets, 200))
        found = over_targets(estimates, replicates)
        hits += covered(found.low, 0, found.high)
    assert 0.93 - 0.02 < hits / 600 < 0.97 + 0.02


def test_p_values_of_no_difference_are_uniform() -> None:
    random = np.random.default_rng(11)
    p = [over_targets(random.normal(size=6)).p for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.025)
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)


def test_a_clear_difference_has_a_small_p_value_and_an_interval_beside_zero() -> None:
    found = over_targets(np.array([1.0, 1.1, 0.9, 1.05]))
    assert found.p < 0.02
    assert 0 < found.low < found.value < found.high


def test_without_replicates_the_interval_is_the_usual_t_interval() -> None:
    found = over_targets(np.array([0.0, 1.0, 2.0, 3.0]))
    half = 3.182 * math.sqrt(5 / 3 / 4)  # t(0.975, 3 degrees) s / sqrt(4)
    assert (found.low, found.high) == pytest.approx((1.5 - half, 1.5 + half), abs=1e-3)  # the table's three digits


def test_targets_that_agree_by_luck_keep_half_the_noise_of_their_examples() -> None:
    replicates = 0.5 + np.random.default_rng(13).normal(0, 0.1, size=(4, 4000))
    found = over_targets(np.full(4, 0.5), replicates)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.1 / math.sqrt(4) / 2, rel=0.05)
    assert over_targets(np.full(4, 0.5)).high == 0.5


def test_the_p_value_is_where_the_interval_touches_zero() -> None:
    random = np.random.default_rng(14)
    for targets in (2, 3, 5, 8):
        estimates = random.normal(0.7, 1.0, targets)
        for replicates in (None, estimates[:, None] + random.normal(size=(targets, 200))):
            p = over_targets(estimates, replicates).p
            found = over_targets(estimates, replicates, level=1 - p)
            assert min(abs(found.low), abs(found.high)) == pytest.approx(0, abs=1e-9)


def test_no_difference_at_all_is_no_surprise() -> None:
    assert over_targets(np.zeros(4), np.zeros((4, 10))).p == 1
    assert over_targets(np.zeros(1), np.zeros((1, 10))).p == 1


def test_one_target_has_the_interval_of_its_examples_or_none() -> None:
    replicates = np.random.default_rng(12).normal(0.7, 0.01, size=(1, 1000))
    found = over_targets(np.array([0.7]), replicates)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.01, rel=0.1)
    assert math.isnan(over_targets(np.array([0.7])).low)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 resamples"):
        resample(np.array([True, False]), 1)
    with pytest.raises(ValueError, match="members and non-members"):
        resample(np.array([True, True]))
    with pytest.raises(ValueError, match="estimates must be"):
        over_targets(np.zeros(3), np.zeros((2, 10)))


def test_targets_enter_by_what_they_might_be_and_their_mean_stays_inside() -> None:
    random = np.random.default_rng(0)
    estimates, replicates = random.normal(size=6), random.normal(2, 0.1, size=(6, 200))  # all estimates too low
    found = over_targets(estimates, replicates)
    assert found.low == found.value == estimates.mean()
    assert 2 < found.high < 2.2


def test_rates_at_few_false_positives_are_covered_over_targets() -> None:
    members, hits = np.arange(400) < 200, 0
    truth = 1 - ndtr(ndtri(0.99) - 1)
    for random in np.random.default_rng(1).spawn(400):
        curves = [roc(random.normal(size=400) + members, members) for _ in range(6)]
        replicates = np.stack([redrawn_tpr(curve, 0.01, 100, seed) for seed, curve in enumerate(curves)])
        found = over_targets(np.array([tpr_at_fpr(curve, 0.01) for curve in curves]), replicates)
        hits += found.low <= truth <= found.high
    assert 0.93 - 0.022 < hits / 400 < 0.97 + 0.022  # two standard errors
