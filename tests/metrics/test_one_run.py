from __future__ import annotations

import math

import numpy as np
import pytest

from lit_privq.metrics.one_run import one_run_epsilon, p_value


def responses(epsilon: float, members: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Randomized response: each membership told truthfully with probability e^epsilon / (1 + e^epsilon)."""
    truthful = rng.random(members.size) < 1 / (1 + math.exp(-epsilon))
    return np.where(truthful, members, ~members) + 1e-9 * rng.normal(size=members.size)


def halves(size: int, rng: np.random.Generator) -> np.ndarray:
    """A half of fixed size, as the targets of a study have it."""
    return rng.permutation(size) < size // 2


def independent_halves(size: int, rng: np.random.Generator) -> np.ndarray:
    """Independent draws, as the theorem asks for."""
    return rng.random(size) < 0.5


@pytest.mark.parametrize("draw", [halves, independent_halves])
@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
def test_the_true_epsilon_is_refuted_no_more_often_than_allowed(draw, epsilon: float) -> None:  # noqa: ANN001
    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        members = draw(1000, rng)
        found.append(one_run_epsilon(responses(epsilon, members, rng), members))
    assert np.mean(np.array(found) <= epsilon) >= 0.95 - 0.025  # two standard errors of 300 trials
    assert np.mean(found) > 0.75 * epsilon - 0.1  # and it says something


def test_the_p_value_is_the_sum_of_the_formula() -> None:
    def chance(k: int, q: float) -> float:
        return math.comb(30, k) * q**k * (1 - q) ** (30 - k)

    right, epsilon, delta, examples = 26, 0.7, 1e-3, 100
    q = 1 / (1 + math.exp(-epsilon))
    pure = sum(chance(k, q) for k in range(right, 31))
    extra = max(sum(chance(right - j, q) for j in range(1, i + 1)) / i for i in range(1, right + 1))
    assert p_value(right, 30, examples, epsilon, delta) == pytest.approx(pure + 2 * examples * delta * extra)


def test_without_an_error_the_bound_has_its_closed_form() -> None:
    members = np.arange(400) < 200
    chance = 0.05 ** (1 / 100)  # 100 right guesses of 100 have probability chance ** 100
    assert one_run_epsilon(members * 1.0, members, [100]) == pytest.approx(math.log(chance / (1 - chance)), abs=1e-5)


def test_a_larger_delta_refutes_less() -> None:
    members = np.arange(400) < 200
    bounds = [one_run_epsilon(members * 1.0, members, [100], delta=delta) for delta in (0.0, 1e-5, 1e-3, 0.1)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > bounds[2] > bounds[3] == 0.0  # 400 examples at delta 0.1 may all be given away


def test_equal_scores_refute_nothing_though_members_come_first() -> None:
    assert one_run_epsilon(np.zeros(1000), np.arange(1000) < 500) == 0.0


@pytest.mark.parametrize("guesses", [[1], [401], []])
def test_numbers_of_guesses_out_of_range_are_refused(guesses: list[int]) -> None:
    members = np.arange(400) < 200
    with pytest.raises(ValueError, match="guesses must lie between 2 and the 400 examples"):
        one_run_epsilon(members * 1.0, members, guesses)


@pytest.mark.parametrize("delta", [-1e-9, 1.0, float("nan")])
def test_a_delta_that_is_no_probability_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match=r"delta in \[0, 1\)"):
        one_run_epsilon(np.zeros(4), np.array([True, False, True, False]), delta=delta)
