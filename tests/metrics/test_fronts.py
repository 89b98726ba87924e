from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit

from lit_privq.metrics import from_front, front, leakage_at

Floats = NDArray[np.float64]
ACCURACY, LEAKAGE = np.array([0.8, 0.9, 0.95]), np.array([0.01, 0.03, 0.09])


def same(values: Floats, targets: int = 4) -> Floats:
    return np.repeat(values[..., None], targets, axis=-1)


def test_a_front_is_linear_in_log_odds_between_neighbours_and_exact_at_them() -> None:
    assert leakage_at(ACCURACY, np.tile(ACCURACY, (3, 1)), np.tile(LEAKAGE, (3, 1))) == pytest.approx(LEAKAGE)
    middle = float(expit((logit(0.8) + logit(0.9)) / 2))
    assert leakage_at(np.array(middle), ACCURACY, LEAKAGE) == pytest.approx(0.02)
    assert middle != pytest.approx(0.85, abs=1e-3)


def test_the_order_of_a_fronts_models_does_not_matter() -> None:
    mixed = np.array([2, 0, 1])
    at = np.array(0.93)
    assert leakage_at(at, ACCURACY[mixed], LEAKAGE[mixed]) == leakage_at(at, ACCURACY, LEAKAGE)


def test_models_that_are_dominated_or_equal_to_another_are_not_on_the_front() -> None:
    accuracy = np.array([0.9, 0.95, 0.94, 0.8, 0.9, 0.8])
    leakage = np.array([0.03, 0.09, 0.10, 0.03, 0.03, 0.01])
    assert front(accuracy, leakage).tolist() == [5, 0, 1]
    assert front(np.full(3, 0.9), np.array([0.3, 0.1, 0.2])).tolist() == [1]


def test_along_a_front_leakage_rises_with_accuracy_whatever_the_models() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        accuracy, leakage = random.random(8).round(1), random.random(8).round(1)
        kept = front(accuracy, leakage)
        assert (np.diff(accuracy[kept]) > 0).all()
        assert (np.diff(leakage[kept]) > 0).all()
        for one in set(range(8)) - set(kept.tolist()):
            assert ((accuracy[kept] >= accuracy[one]) & (leakage[kept] <= leakage[one])).any()


def test_a_model_on_the_front_does_not_differ_from_it_and_one_above_it_by_its_height() -> None:
    there = float(leakage_at(np.array(0.93), ACCURACY, LEAKAGE))
    found = from_front(same(np.array(0.93)), same(np.array(there + 0.02)), same(ACCURACY), same(LEAKAGE))
    assert (found.place, found.leakage) == ("inside", pytest.approx(there))
    assert found.change.value == pytest.approx(0.02)
    assert np.isnan(found.change.low), "targets that do not differ know nothing of the spread"


@pytest.mark.parametrize(("accuracy", "place"), [(0.79, "below"), (0.951, "above"), (0.8, "inside"), (0.95, "inside")])
def test_outside_of_a_fronts_range_nothing_is_compared(accuracy: float, place: str) -> None:
    found = from_front(same(np.array(accuracy)), same(np.array(0.05)), same(ACCURACY), same(LEAKAGE))
    assert found.place == place
    assert np.isnan(found.change.value) == (place != "inside")


def test_a_front_of_one_point_is_not_extrapolated() -> None:
    found = from_front(same(np.array(0.8)), same(np.array(0.05)), same(ACCURACY[:1]), same(LEAKAGE[:1]))
    assert found.place == "one point"
    assert np.isnan([found.leakage, found.change.value, found.change.p]).all()


def test_noise_that_a_target_shares_with_the_front_falls_out_of_the_difference() -> None:
    shared = np.random.default_rng(1).normal(0, 0.02, 6)
    own = np.random.default_rng(2).normal(0, 1e-4, 6)
    found = from_front(np.full(6, 0.9), 0.05 + shared + own, same(ACCURACY, 6), same(LEAKAGE, 6) + shared)
    assert found.change.high - found.change.low < 0.001


def test_one_target_has_a_value_and_no_interval() -> None:
    found = from_front(np.array([0.9]), np.array([0.05]), ACCURACY[:, None], LEAKAGE[:, None])
    assert found.change.value == pytest.approx(0.02)
    assert np.isnan([found.change.low, found.change.high, found.change.p]).all()


def test_accuracies_of_one_and_zero_are_taken() -> None:
    ends = np.array([[0.0], [1.0]]), np.array([[0.0], [0.2]])
    assert from_front(np.array([0.5]), np.array([0.1]), *ends).leakage == pytest.approx(0.1)


@pytest.mark.parametrize("targets", [4, 10])
@pytest.mark.parametrize("at", [0.8, 0.85, 0.93])
def test_intervals_cover_the_difference_19_times_in_20(targets: int, at: float) -> None:
    random = np.random.default_rng(3)
    truth = 0.04 - float(leakage_at(np.array(at), ACCURACY, LEAKAGE))
    covered = []
    for seed in range(500):
        shared = random.normal(0, 0.01, targets)  # of a target, whatever was done to it
        accuracy = at + random.normal(0, 0.004, targets)
        leakage = 0.04 + shared + random.normal(0, 0.006, targets)
        accuracies = ACCURACY[:, None] + random.normal(0, 0.004, (3, targets))
        leakages = LEAKAGE[:, None] + shared + random.normal(0, 0.006, (3, targets))
        found = from_front(accuracy, leakage, accuracies, leakages, resamples=300, seed=seed)
        if found.place == "inside":
            covered.append(found.change.low <= truth <= found.change.high)
    assert len(covered) > 200, "at the front's end, 0.8, every second study lies outside"
    assert 0.92 < np.mean(covered) < 0.99  # a binomial of 250 has a standard error of 0.014


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a front is \(models, targets\) accuracies"):
        from_front(np.full(3, 0.9), np.full(3, 0.1), same(ACCURACY), same(LEAKAGE))
