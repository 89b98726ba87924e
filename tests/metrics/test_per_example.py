from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtr, stdtrit

from lit_privq.metrics.per_example import PerExampleRates, per_example_rates

SHADOWS, TARGETS, EXAMPLES = 20, 10, 4000


def rates(gap: float, bound: float, offsets: float = 0.0, spread: float = 0.0, seed: int = 0) -> PerExampleRates:
    """Normal scores with a gap between members and others, in examples of different level and scale."""
    rng = np.random.default_rng(seed)
    members = rng.random((SHADOWS + TARGETS, EXAMPLES)) < 0.5
    level, scale = offsets * rng.normal(size=EXAMPLES), np.exp(spread * rng.normal(size=EXAMPLES))
    scores = level + scale * (rng.normal(size=members.shape) + gap * members)
    (found,) = per_example_rates(scores[TARGETS:], members[TARGETS:], scores[:TARGETS], members[:TARGETS], [bound])
    return found


@pytest.mark.parametrize("bound", [0.2, 0.05, 0.01])
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_the_bound_is_the_rate_of_false_accusations(bound: float, spread: float) -> None:
    found = rates(1.0, bound, offsets=5.0, spread=spread)
    trials = TARGETS * EXAMPLES / 2
    assert found.fpr.mean() == pytest.approx(bound, abs=4 * (bound / trials) ** 0.5)  # four standard errors


def test_noise_is_accused_as_often_as_the_bound_allows() -> None:
    found = rates(0.0, 0.05)
    assert found.tpr.mean() == pytest.approx(found.fpr.mean(), abs=0.008)


def test_level_and_scale_of_an_example_change_nothing() -> None:
    assert rates(2.0, 0.05).tpr.mean() == pytest.approx(rates(2.0, 0.05, offsets=9.0, spread=2.0).tpr.mean(), abs=1e-9)


def test_a_slow_twin_finds_the_same() -> None:
    rng = np.random.default_rng(3)
    inside = rng.random((9, 50)) < 0.5
    inside[1:3], inside[3:5] = True, False  # two shadows of each kind at least
    scores = rng.normal(size=(9, 50)) + inside
    (found,) = per_example_rates(scores[1:], inside[1:], scores[:1], inside[:1], [0.1])
    right, reached = [], []
    for j in range(50):
        out = scores[1:, j][~inside[1:, j]]
        threshold = out.mean() + stdtrit(len(out) - 1, 0.9) * out.std(ddof=1) * (1 + 1 / len(out)) ** 0.5
        reached.append((scores[1:, j][inside[1:, j]] > threshold).any())
        if inside[0, j]:
            standard = (scores[0, j] - out.mean()) / (out.std(ddof=1) * (1 + 1 / len(out)) ** 0.5)
            right.append(1 - stdtr(len(out) - 1, standard) < 0.1)
    assert found.tpr[0] == pytest.approx(np.mean(right))
    assert found.reachable == pytest.approx(np.mean(reached))


def test_targets_that_are_shadows_are_left_out_of_their_own_thresholds() -> None:
    rng = np.random.default_rng(6)
    members = np.argsort(rng.random((9, 60)), axis=0) < 4
    scores = rng.normal(size=(9, 60)) + members
    (found,) = per_example_rates(scores, members, scores, members, [0.1], own=np.arange(9))
    for target in range(9):
        others = np.arange(9) != target
        (alone,) = per_example_rates(scores[others], members[others], scores[[target]], members[[target]], [0.1])
        assert found.tpr[target] == pytest.approx(alone.tpr[0])
        assert found.fpr[target] == pytest.approx(alone.fpr[0])


def test_a_bound_that_no_shadow_reaches_is_told() -> None:
    assert rates(0.5, 1e-6).reachable < 0.01
    assert rates(50.0, 0.01).reachable == 1.0


def test_an_example_that_all_shadows_trained_on_is_named() -> None:
    inside = np.zeros((4, 3), bool)
    inside[:, 1] = True
    with pytest.raises(ValueError, match="example 1 has 0"):
        per_example_rates(np.zeros((4, 3)), inside, np.zeros((1, 3)), inside[:1], [0.1])


@pytest.mark.parametrize("bound", [0.0, 1.0, float("nan")])
def test_a_bound_out_of_range_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match=r"max_fpr are fractions in \(0, 1\)"):
        rates(1.0, bound)
