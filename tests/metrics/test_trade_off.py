from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from lit_privq.metrics import Bonferroni, Fixed, Split, epsilon_lower_bound
from lit_privq.metrics.trade_off import TradeOff, trade_off

MEMBERS = np.arange(4000) < 2000


def gaussian(gap: float, seed: int) -> np.ndarray:
    """Scores of the best attack on a mechanism that is Gaussian-private with this mu, and no less."""
    return np.random.default_rng(seed).normal(size=MEMBERS.size) + gap * MEMBERS


@pytest.mark.parametrize("threshold", [Fixed(0.5), Split(), Bonferroni()], ids=repr)
@pytest.mark.parametrize("delta", [0.0, 1e-5, 0.1])
def test_the_curve_refutes_the_epsilon_that_its_points_refute(
    threshold: Fixed | Split | Bonferroni, delta: float
) -> None:
    scores = gaussian(1.5, 0)
    curve = trade_off(scores, MEMBERS, threshold)
    assert curve.epsilon(delta) == pytest.approx(epsilon_lower_bound(scores, MEMBERS, threshold, delta=delta))


def test_the_curve_of_pure_privacy_gives_its_epsilon_at_every_delta() -> None:
    epsilon, delta = 2.0, 0.05
    alpha = np.linspace(0, 1, 1001)
    line, mirrored = 1 - delta - np.exp(epsilon) * alpha, np.exp(-epsilon) * (1 - delta - alpha)
    curve = TradeOff(alpha, np.maximum(0, np.maximum(line, mirrored)))
    assert curve.epsilon(delta) == pytest.approx(epsilon)
    assert curve.epsilon() > epsilon


def test_mu_is_refuted_no_more_often_than_allowed_and_is_not_far_below() -> None:
    found = {
        "fixed": [trade_off(gaussian(1.2, seed), MEMBERS, Fixed(0.6)).mu for seed in range(200)],
        "bonferroni": [trade_off(gaussian(1.2, seed), MEMBERS, Bonferroni()).mu for seed in range(200)],
    }
    for bounds in found.values():
        assert np.mean(np.array(bounds) <= 1.2) >= 0.95 - 0.03  # two standard errors of 200 trials
    assert np.mean(found["fixed"]) > 1.0


def test_the_whole_curve_lies_above_the_true_one() -> None:
    rates = np.linspace(0.001, 0.999, 200)
    truth = ndtr(-ndtri(rates) - 1.0)
    above = [(trade_off(gaussian(1.0, seed), MEMBERS, Bonferroni()).at(rates) >= truth).all() for seed in range(100)]
    assert np.mean(above) >= 0.95 - 0.04  # two standard errors of 100 trials


def test_the_curve_is_convex_and_its_own_mirror_image() -> None:
    curve = trade_off(gaussian(2.0, 3), MEMBERS, Bonferroni())
    slopes = np.diff(curve.beta) / np.diff(curve.alpha)
    assert (np.diff(slopes) > 0).all()
    np.testing.assert_allclose(curve.alpha, curve.beta[::-1])


def test_noise_refutes_nothing() -> None:
    wrong = [trade_off(gaussian(0.0, seed), MEMBERS, Bonferroni()).mu > 0 for seed in range(100)]
    assert np.mean(wrong) <= 0.05 + 0.04


@pytest.mark.parametrize("delta", [-0.1, 1.0, float("nan")])
def test_a_delta_that_is_no_probability_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match=r"delta is a probability in \[0, 1\)"):
        TradeOff(np.array([0.0, 1.0]), np.array([1.0, 0.0])).epsilon(delta)
