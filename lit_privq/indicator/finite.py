"""Ground truth on data with few different values: exact membership advantage, by going through every training set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp

Array = NDArray[np.float64]

_BLOCK = 10_000  # training sets whose risks are in memory at once


@dataclass(frozen=True)
class TrainingSets:
    """All training sets of n examples drawn from a few values, as counts.

    Args:
        n: examples of a training set.
        probability: (values,), of drawing each value.

    Raises:
        ValueError: if the probabilities are not positive or do not add up to 1.

    >>> TrainingSets(2, np.array([0.5, 0.5])).counts.tolist()
    [[0, 2], [1, 1], [2, 0]]
    """

    n: int
    probability: Array

    def __post_init__(self) -> None:
        if (self.probability <= 0).any() or not math.isclose(self.probability.sum(), 1, abs_tol=1e-9):
            raise ValueError(f"probability must be positive and add up to 1; got {self.probability.tolist()}")

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(sets, values), how often each value occurs; one row for every different training set."""
        values = len(self.probability)
        places = combinations(range(self.n + values - 1), values - 1)  # stars and bars
        bars = np.fromiter(chain.from_iterable(places), dtype=np.int64).reshape(-1, values - 1)
        edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=-1)
        edges[:, -1] = self.n + values - 1
        return np.diff(edges, axis=1) - 1

    @cached_property
    def chances(self) -> Array:
        """(sets,), the multinomial probability of each."""
        logs = gammaln(self.n + 1) - gammaln(self.counts + 1).sum(axis=1) + self.counts @ np.log(self.probability)
        return np.asarray(np.exp(logs))

    def minimise(self, losses: Array) -> NDArray[np.int64]:
        """The codeword of least empirical risk for every training set; (codewords, values) losses -> (sets,)."""
        blocks = np.array_split(self.counts, 1 + len(self.counts) // _BLOCK)
        return np.concatenate([(block @ losses.T).argmin(axis=1) for block in blocks])

    def advantage(self, chosen: NDArray[np.int64]) -> float:
        """Delta_n = 1 - MIS_n of an algorithm: the total variation between (model, member) and (model, fresh example).

        By exchangeability it is 1/2 sum_{k, z} |Cov(1{model = k}, c(z) / n)|.

        Args:
            chosen: (sets,), the number of the codeword that each training set leads to, from 0.
        """
        away = self.counts / self.n - self.probability  # (sets, values)
        covariance = np.stack([np.bincount(chosen, self.chances * column) for column in away.T])  # (values, codewords)
        # A value's covariances add up to 0: the usual codeword's is had from the others, without cancellation.
        usual = np.bincount(chosen, self.chances).argmax()
        covariance[:, usual] = 0
        covariance[:, usual] = -covariance.sum(axis=1)
        return float(np.abs(covariance).sum() / 2)


def chernoff_rate(gap: Array, probability: Array) -> float:
    """The exact exponent of the chance that a mean of gaps is not positive: -min_t log E exp(-t gap).

    Args:
        gap: (values,), the excess loss of a codeword; its mean must be positive.
        probability: (values,).

    Returns:
        Per training example; +inf where no value has a gap of 0 or less.

    Raises:
        ValueError: if the mean gap is not positive.

    >>> round(chernoff_rate(np.array([1.0, -1.0]), np.array([0.75, 0.25])), 6)
    0.143841
    """
    if gap @ probability <= 0:
        raise ValueError(f"the mean gap must be positive, measure it from the best codeword; got {gap @ probability}")
    if gap.min() > 0:
        return math.inf
    if gap.min() == 0:
        return float(-np.log(probability[gap == 0].sum()))

    def slope(t: float) -> float:
        """The mean gap when training sets are tilted by exp(-t gap); it falls through 0 where the exponent is taken."""
        weight = np.log(probability) - t * gap
        return float(np.exp(weight - logsumexp(weight)) @ gap)

    upper = 1 / gap.max()
    while slope(upper) > 0:
        upper *= 2
    return -float(logsumexp(-brentq(slope, 0, upper) * gap, b=probability))
