from __future__ import annotations

import math

import numpy as np
import pytest

from lit_privq.metrics import Bonferroni, Fixed, Point, Split, clopper_pearson, epsilon_lower_bound


def test_clopper_pearson_has_its_closed_forms() -> None:
    assert clopper_pearson(0, 50)[1] == pytest.approx(1 - 0.025 ** (1 / 50))
    assert clopper_pearson(50, 50) == pytest.approx((0.025 ** (1 / 50), 1.0))
    low, high = clopper_pearson(30, 100)
    assert clopper_pearson(70, 100) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_clopper_pearson_covers_at_least_as_often_as_it_says(rate: float) -> None:
    total = 0.0
    for k in range(201):
        low, high = clopper_pearson(k, 200)
        log_chance = math.log(math.comb(200, k)) + k * math.log(rate) + (200 - k) * math.log(1 - rate)
        total += math.exp(log_chance) * (low <= rate <= high)
    assert 0.95 <= total < 0.99


def test_the_mirrored_rule_is_the_rule_with_the_sides_exchanged() -> None:
    found = Point(900, 1000, 500, 1000).epsilon()
    assert found == pytest.approx(Point(500, 1000, 100, 1000).epsilon())
    tpr_low, fpr_high = clopper_pearson(900, 1000)[0], clopper_pearson(500, 1000)[1]
    assert found == pytest.approx(math.log((1 - fpr_high) / (1 - tpr_low)))


def test_delta_is_taken_off() -> None:
    assert Point(900, 1000, 10, 1000).epsilon(delta=0.1) < Point(900, 1000, 10, 1000).epsilon()


def test_a_threshold_picked_from_the_scores_is_refused() -> None:
    scores = np.random.default_rng(0).normal(size=100)
    members = np.arange(100) < 50
    with pytest.raises(ValueError, match="is itself one of the scores"):
        epsilon_lower_bound(scores, members, Fixed(float(scores[3])))
    with pytest.raises(ValueError, match="say how the threshold was chosen"):
        epsilon_lower_bound(scores, members, 0.5)  # type: ignore[arg-type]


def test_randomised_response_is_bounded_by_its_own_epsilon() -> None:
    random = np.random.default_rng(1)
    epsilon = 1.5
    found: dict[str, list[float]] = {"fixed": [], "split": [], "bonferroni": []}
    for seed in range(200):
        members = np.arange(2000) < 1000
        truthful = random.random(2000) < math.exp(epsilon) / (1 + math.exp(epsilon))
        scores = (members == truthful) + 0.0
        found["fixed"].append(epsilon_lower_bound(scores, members, Fixed(0.5)))
        found["split"].append(epsilon_lower_bound(scores, members, Split(seed)))
        found["bonferroni"].append(epsilon_lower_bound(scores, members, Bonferroni()))
    for bounds in found.values():
        assert np.mean(np.array(bounds) <= epsilon) >= 0.95 - 0.03  # two standard errors of 200 trials
        assert np.mean(bounds) > 1  # and it says something


@pytest.mark.parametrize("threshold", [Split(), Bonferroni()])
def test_noise_refutes_nothing(threshold: Split | Bonferroni) -> None:
    random = np.random.default_rng(2)
    members = np.arange(1000) < 500
    wrong = [epsilon_lower_bound(random.normal(size=1000), members, threshold) > 0 for _ in range(200)]
    assert np.mean(wrong) <= 0.05 + 0.03


def test_bad_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="got 3 of 2"):
        clopper_pearson(3, 2)
    with pytest.raises(ValueError, match="level"):
        clopper_pearson(1, 2, 95)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_members_may_be_zero_and_one(kind: type) -> None:
    members = np.arange(400) < 200
    scores = np.random.default_rng(0).normal(size=400) + 2 * members
    for threshold in (Bonferroni(), Split(), Fixed(1.0)):
        expected = epsilon_lower_bound(scores, members, threshold)
        assert epsilon_lower_bound(scores, members.astype(kind), threshold) == expected  # ~1 is -2, an index
    with pytest.raises(ValueError, match="members must be boolean"):
        epsilon_lower_bound(scores, members.astype(int) * 3, Bonferroni())


def test_an_attack_that_finds_nothing_bounds_epsilon_by_zero() -> None:
    assert Point(0, 100, 100, 100).epsilon() == 0
    assert Point(50, 100, 50, 100).epsilon(delta=0.999) == 0
    assert epsilon_lower_bound(np.zeros(10), np.arange(10) < 5, Bonferroni()) == 0


@pytest.mark.parametrize("delta", [-1.0, 1.0, 2.0, math.nan])
def test_a_delta_that_is_no_probability_below_one_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match=r"delta is a probability in \[0, 1\)"):
        Point(90, 100, 10, 100).epsilon(delta=delta)
    with pytest.raises(ValueError, match=r"delta is a probability in \[0, 1\)"):
        epsilon_lower_bound(np.arange(10.0), np.arange(10) < 5, Bonferroni(), delta=delta)
