import math
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from lit_privq.indicator.finite import TrainingSets, chernoff_rate
from lit_privq.indicator.gaps import bernstein_bound, indicator, loss_gaps

Array = NDArray[np.float64]


def ternary_problem(seed: int, values: int = 4) -> tuple[Array, Array]:
    """Losses (27, values) of all ternary linear models in three dimensions, and the chance of each value."""
    rng = np.random.default_rng(seed)
    inputs, labels = rng.normal(size=(values, 3)), rng.choice([-1, 1], size=values)
    codebook = np.array(list(product((-1, 0, 1), repeat=3)))
    losses = np.log1p(np.exp(-labels * (codebook @ inputs.T)))
    return losses, rng.dirichlet(np.full(values, 5.0))


def advantage_by_listing(losses: Array, probability: Array, n: int) -> float:
    """The slow obvious twin: every ordered training set, and the two joint laws written out."""
    members: dict[tuple[int, int], float] = {}
    models: dict[int, float] = {}
    for sample in product(range(len(probability)), repeat=n):
        chance = float(probability[list(sample)].prod())
        counts = np.bincount(sample, minlength=len(probability))
        chosen = int((counts @ losses.T).argmin())
        members[chosen, sample[0]] = members.get((chosen, sample[0]), 0) + chance
        models[chosen] = models.get(chosen, 0) + chance
    keys = product(models, range(len(probability)))
    return float(sum(abs(members.get((k, z), 0) - models[k] * probability[z]) for k, z in keys) / 2)


def test_training_sets_are_all_there_once() -> None:
    sets = TrainingSets(5, np.array([0.2, 0.3, 0.5]))
    assert len(np.unique(sets.counts, axis=0)) == len(sets.counts) == math.comb(7, 2)
    assert (sets.counts.sum(axis=1) == 5).all()
    assert sets.chances.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(4))
def test_advantage_equals_listing_all_samples(seed: int) -> None:
    losses, probability = ternary_problem(seed, values=3)
    sets = TrainingSets(6, probability)
    assert sets.advantage(sets.minimise(losses)) == pytest.approx(
        advantage_by_listing(losses, probability, 6), abs=1e-12
    )


def test_an_algorithm_that_ignores_its_data_gives_nothing_away() -> None:
    sets = TrainingSets(10, np.array([0.5, 0.5]))
    assert sets.advantage(np.zeros(len(sets.counts), dtype=np.int64)) == 0


def test_publishing_the_only_example_gives_all_away() -> None:
    sets = TrainingSets(1, np.full(100, 0.01))
    # a guess at the example is still right once in a hundred
    assert sets.advantage(np.arange(100)) == pytest.approx(0.99)


def test_a_small_advantage_keeps_its_digits() -> None:
    probability, n = np.array([0.9, 0.1]), 30
    sets = TrainingSets(n, probability)
    chosen = (sets.counts[:, 1] == n).astype(np.int64)  # another model for one training set in 1e30
    covariance = 0.1**n * 0.9  # of that model with the second value; both models and both values make four such terms
    assert sets.advantage(chosen) == pytest.approx(2 * covariance, rel=1e-9)


def test_probabilities_must_add_up() -> None:
    with pytest.raises(ValueError, match="probability must be positive"):
        TrainingSets(3, np.array([0.5, 0.6]))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n", [10, 60, 120])
def test_bernsteins_bound_lies_below_brute_force(seed: int, n: int) -> None:
    losses, probability = ternary_problem(seed, values=3)
    sets = TrainingSets(n, probability)
    security = 1 - sets.advantage(sets.minimise(losses))
    assert bernstein_bound(loss_gaps(losses, probability), n) <= security + 1e-12


def test_the_exact_rate_of_a_fair_bet_with_an_edge() -> None:
    # gap +1 or -1: the exponent is the Chernoff information -log(2 sqrt(p q))
    assert chernoff_rate(np.array([1.0, -1.0]), np.array([0.7, 0.3])) == pytest.approx(-math.log(2 * math.sqrt(0.21)))


def test_the_exact_rate_of_a_gaussian_gap_is_the_indicators() -> None:
    gap = np.linspace(-8, 8, 4001) * 0.8 + 0.3
    density = np.exp(-(np.linspace(-8, 8, 4001) ** 2) / 2)
    probability = density / density.sum()
    r = indicator(loss_gaps(np.stack([np.zeros_like(gap), gap]), probability))
    assert chernoff_rate(gap, probability) == pytest.approx(float(r), rel=1e-6)  # the tails beyond 8 sigma


def test_a_gap_that_is_never_negative_decays_as_its_zeros_recur() -> None:
    assert chernoff_rate(np.array([0.0, 1.0]), np.array([0.25, 0.75])) == pytest.approx(math.log(4))
    assert chernoff_rate(np.array([0.5, 1.0]), np.array([0.25, 0.75])) == math.inf


def test_the_exact_rate_needs_a_positive_mean() -> None:
    with pytest.raises(ValueError, match="mean gap must be positive"):
        chernoff_rate(np.array([1.0, -1.0]), np.array([0.3, 0.7]))


def test_the_advantage_falls_at_the_exact_rate() -> None:
    losses, probability = np.array([[0.0, 0.0], [1.0, -1.0]]), np.array([0.7, 0.3])
    sets = [TrainingSets(n, probability) for n in (1001, 2001)]
    logs = [math.log(s.advantage(s.minimise(losses))) for s in sets]
    rate = chernoff_rate(losses[1], probability)
    # the polynomial factor between n = 1001 and 2001 is about (1/2)^(3/2)
    assert logs[0] - logs[1] == pytest.approx(1000 * rate + 1.5 * math.log(2001 / 1001), rel=0.01)
