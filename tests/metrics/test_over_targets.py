from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import beta

from lit_privq.metrics import Noise, difference_over_targets, holm, mean_over_targets, redrawn_tpr, roc, tpr_at_fpr
from lit_privq.metrics.over_targets import _beta_skewness, _skewed


@pytest.mark.parametrize("between", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("targets", [2, 4, 10])
def test_intervals_over_targets_cover_the_truth_19_times_in_20(targets: int, between: float) -> None:
    random = np.random.default_rng(10)
    hits = 0
    for _ in range(600):
        estimates = random.normal(0, math.hypot(between, 1), targets)
        replicates = estimates[:, None] + random.normal(size=(targets, 200))
        found = difference_over_targets(estimates, Noise.of(replicates))
        hits += found.low <= 0 <= found.high
    assert 0.93 - 0.02 < hits / 600 < 0.97 + 0.02


def test_p_values_of_no_difference_are_uniform() -> None:
    random = np.random.default_rng(11)
    p = [difference_over_targets(random.normal(size=6)).p for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.025)
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)


def test_a_clear_difference_has_a_small_p_value_and_an_interval_beside_zero() -> None:
    found = difference_over_targets(np.array([1.0, 1.1, 0.9, 1.05]))
    assert found.p < 0.02
    assert 0 < found.low < found.value < found.high


def test_without_noise_the_interval_is_the_usual_t_interval() -> None:
    found = difference_over_targets(np.array([0.0, 1.0, 2.0, 3.0]))
    half = 3.182 * math.sqrt(5 / 3 / 4)  # t(0.975, 3 degrees) s / sqrt(4)
    assert (found.low, found.high) == pytest.approx((1.5 - half, 1.5 + half), abs=1e-3)  # the table's three digits


def test_targets_that_agree_by_luck_keep_half_the_noise_of_their_examples() -> None:
    replicates = 0.5 + np.random.default_rng(13).normal(0, 0.1, size=(4, 4000))
    found = difference_over_targets(np.full(4, 0.5), Noise.of(replicates))
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.1 / math.sqrt(4) / 2, rel=0.05)
    assert difference_over_targets(np.full(4, 0.5)).high == 0.5


def test_the_p_value_is_where_the_interval_touches_zero() -> None:
    random = np.random.default_rng(14)
    for targets in (2, 3, 5, 8):
        estimates = random.normal(0.7, 1.0, targets)
        for noise in (None, Noise.of(estimates[:, None] + random.normal(size=(targets, 200)))):
            p = difference_over_targets(estimates, noise).p
            found = difference_over_targets(estimates, noise, level=1 - p)
            assert min(abs(found.low), abs(found.high)) == pytest.approx(0, abs=1e-9)


def test_no_difference_at_all_is_no_surprise() -> None:
    assert difference_over_targets(np.zeros(4), Noise.of(np.zeros((4, 10)))).p == 1


def test_one_target_has_no_interval_for_other_targets() -> None:
    for noise in (Noise(np.array([0.7]), np.array([0.01])), None):
        for over_targets in (mean_over_targets, difference_over_targets):
            found = over_targets(np.array([0.7]), noise)
            assert found.value == 0.7
            assert np.isnan([found.low, found.high]).all()
        assert math.isnan(difference_over_targets(np.array([0.7]), noise).p)


def test_a_p_value_is_small_just_where_the_interval_leaves_zero_out() -> None:
    random = np.random.default_rng(16)
    for _ in range(500):  # also where mean and replicates lie on either side of zero
        changes, replicates = random.normal(0, 0.1, 3), random.normal(0.2, 0.1, (3, 20))
        found = difference_over_targets(changes, Noise.of(replicates))
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_holm_is_bonferroni_for_the_smallest_and_never_falls() -> None:
    p = [0.2, 0.001, 0.03, 0.04]
    corrected = holm(p)
    assert corrected[1] == 4 * 0.001
    ordered = [value for _, value in sorted(zip(p, corrected, strict=True))]
    assert ordered == sorted(ordered)
    assert max(holm([0.9, 0.8])) == 1
    assert holm([]) == []


def test_a_target_without_a_value_leaves_no_mean_and_no_interval() -> None:
    replicates = np.array([[0.1, 0.2, 0.3], [np.nan] * 3])
    for over_targets in (mean_over_targets, difference_over_targets):
        for noise in (None, Noise.of(replicates)):
            found = over_targets(np.array([0.2, np.nan]), noise)
            assert np.isnan([found.value, found.low, found.high]).all()


def test_the_noise_of_other_targets_is_refused() -> None:
    for over_targets in (mean_over_targets, difference_over_targets):
        with pytest.raises(ValueError, match="values must be"):
            over_targets(np.zeros(3), Noise.of(np.zeros((2, 10))))


def test_targets_enter_by_what_they_might_be_and_their_mean_stays_inside() -> None:
    random = np.random.default_rng(0)
    for over_targets in (mean_over_targets, difference_over_targets):
        shares, replicates = random.uniform(0, 0.1, 6), random.normal(0.5, 0.01, size=(6, 200))  # all shares too low
        found = over_targets(shares, Noise.of(replicates))
        assert found.low == found.value == shares.mean()
        assert 0.5 < found.high < 0.52


def test_rates_at_few_false_positives_are_covered_over_targets() -> None:
    members, hits = np.arange(400) < 200, 0
    truth = 1 - ndtr(ndtri(0.99) - 1)
    for random in np.random.default_rng(1).spawn(400):
        curves = [roc(random.normal(size=400) + members, members) for _ in range(6)]
        replicates = np.stack([redrawn_tpr(curve, 0.01, 100, seed) for seed, curve in enumerate(curves)])
        found = mean_over_targets(np.array([tpr_at_fpr(curve, 0.01) for curve in curves]), Noise.of(replicates))
        hits += found.low <= truth <= found.high
    assert 0.93 - 0.022 < hits / 400 < 0.97 + 0.022  # two standard errors


@pytest.mark.parametrize(("targets", "least"), [(2, 0.92), (3, 0.93), (4, 0.93), (10, 0.93)])  # two are too few
def test_rates_that_differ_by_as_much_as_their_mean_are_covered(targets: int, least: float) -> None:
    random = np.random.default_rng(15)
    shares = random.beta(0.9, 9, size=(2000, targets))  # mean 0.09, spread 0.09; Student's t covers 0.89 to 0.91
    found = [mean_over_targets(each) for each in shares]
    hits = np.mean([one.low <= 0.9 / 9.9 <= one.high for one in found])
    assert least - 0.01 < hits < 0.97 + 0.01  # two standard errors


@pytest.mark.parametrize("level", [0.9, 0.95, 0.975, 0.99])
def test_the_long_tail_is_no_shorter_than_students(level: float) -> None:
    for shares in (np.array([0.0, 0.03]), np.array([0.01, 0.02, 0.06])):
        skewed, plain = mean_over_targets(shares, level=level), difference_over_targets(shares, level=level)
        assert skewed.high >= plain.high - 1e-12


def test_a_replicate_without_a_value_is_not_hidden() -> None:
    found = mean_over_targets(np.array([0.2, 0.3]), Noise.of(np.array([[0.1, 0.2], [np.nan, 0.1]])))
    assert np.isnan([found.low, found.high]).all()


def test_rates_near_one_are_skewed_the_other_way() -> None:
    low = mean_over_targets(np.array([0.01, 0.02, 0.06]))
    high = mean_over_targets(np.array([0.99, 0.98, 0.94]))
    assert (high.low, high.value, high.high) == pytest.approx((1 - low.high, 1 - low.value, 1 - low.low))
    assert low.high - low.value > low.value - low.low


def test_shares_that_are_symmetric_have_the_usual_t_interval() -> None:
    found = mean_over_targets(np.array([0.4, 0.5, 0.6]))
    half = 4.303 * 0.1 / math.sqrt(3)  # t(0.975, 2 degrees)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-4)


@pytest.mark.parametrize("replicates", [None, True])
def test_shares_without_any_spread_have_no_interval(replicates: bool | None) -> None:
    for share in (0.0, 0.3, 1.0):  # perfect separation of each target, for one: [1, 1] would claim all others
        found = mean_over_targets(np.full(4, share), Noise(np.full(4, share), np.zeros(4)) if replicates else None)
        assert found.value == pytest.approx(share)
        assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("shape", [(0.9, 9), (3, 3), (20, 1)])
def test_the_skewness_is_that_of_the_beta_distribution(shape: tuple[float, float]) -> None:
    mean, variance, skewness = beta.stats(*shape, moments="mvs")
    assert _beta_skewness(float(mean), math.sqrt(variance)) == pytest.approx(float(skewness))


@pytest.mark.parametrize("skewness", [0.01, 0.5, -0.7])
def test_halls_cubic_is_undone(skewness: float) -> None:
    for t in (-4.0, -1.0, 0.3, 5.0):
        x = _skewed(t, skewness)
        cubic = x + skewness * x**2 / 3 + skewness**2 * x**3 / 27 + skewness / 6  # Hall 1992
        assert cubic == pytest.approx(t)
