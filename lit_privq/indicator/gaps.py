"""Loss gaps of a finite codebook, and the indicator with its companions: how fast training settles on one codeword.

Definitions are those of arXiv:2502.06567 as docs/indicator.md restates them. Axes: (..., codewords, examples).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Gaps:
    """Excess loss of every codeword over the best one.

    What is not a competitor (the best codeword itself, its duplicates, and what was left out) is NaN.

    Args:
        best: (...,) index of the codeword with the least expected loss.
        mean: (..., codewords), delta_k >= 0, in units of the loss.
        variance: (..., codewords), sigma_k squared.
        reach: (..., codewords), b_k: the largest distance of an example's gap from its mean.
    """

    best: NDArray[np.int64]
    mean: Array
    variance: Array
    reach: Array

    @property
    def rates(self) -> Array:
        """delta_k^2 / (2 sigma_k^2), (..., codewords); +inf where there is no competitor."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.isnan(self.mean), np.inf, self.mean**2 / (2 * self.variance))

    @property
    def lambdas(self) -> Array:
        """(delta_2 / delta_k)^2 sigma_k^2, (..., codewords), delta_2 the least gap; NaN without a competitor."""
        least = np.where(np.isnan(self.mean), np.inf, self.mean).min(axis=-1, keepdims=True)  # (..., 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(self.mean == least, 1.0, least / self.mean)
        return np.where(np.isnan(self.mean), np.nan, ratio**2 * self.variance)


def loss_gaps(
    losses: NDArray[np.floating[Any]], weights: Array | None = None, kept: NDArray[np.bool_] | None = None
) -> Gaps:
    """Measure every codeword's gaps to the best.

    Args:
        losses: (..., codewords, examples), float32 or float64; differences are taken in float64.
        weights: (examples,) probabilities of the examples; equal where None.
        kept: (..., codewords) bool, the codewords that count; all where None.

    Raises:
        ValueError: if a loss is not finite, or no codeword is kept somewhere.

    >>> gaps = loss_gaps(np.array([[0.0, 1.0], [1.0, 1.0]]))
    >>> gaps.best.tolist(), gaps.mean.tolist(), gaps.variance.tolist()
    (0, [nan, 0.5], [nan, 0.25])
    """
    if not np.isfinite(losses).all():
        raise ValueError("losses must be finite; some are NaN or infinite, lower the learning rate or check the inputs")
    weights = np.full(losses.shape[-1], 1 / losses.shape[-1]) if weights is None else weights
    kept = np.ones(losses.shape[:-1], dtype=bool) if kept is None else kept
    if not kept.any(axis=-1).all():
        raise ValueError("at least one codeword must be kept in every run; some run has none")
    expected = np.where(kept, losses.astype(np.float64) @ weights, np.inf)  # (..., codewords)
    best = expected.argmin(axis=-1)
    first = np.take_along_axis(losses, best[..., None, None], axis=-2)  # (..., 1, examples)
    gaps = losses.astype(np.float64) - first
    competes = kept & (gaps != 0).any(axis=-1)
    mean = gaps @ weights
    away = gaps - mean[..., None]
    variance, reach = away**2 @ weights, np.abs(away).max(axis=-1)
    mean = mean.clip(min=0)  # rounding of two sums that are equal
    return Gaps(best, *(np.where(competes, value, np.nan) for value in (mean, variance, reach)))


def indicator(gaps: Gaps) -> Array:
    """The indicator r = min_k delta_k^2 / (2 sigma_k^2) = delta_2^2 / (2 max_k lambda_k), (...,).

    Higher is more private. A rate per training example, not a probability: MIS_n >= 1 - exp(-n r (1 + o(1))).
    +inf without competitors.

    Source: Aubinais et al., arXiv:2502.06567, the quantity they call r_Q^n.

    >>> float(indicator(loss_gaps(np.array([[0.0, 1.0], [1.0, 1.0]]))))
    0.5
    """
    return np.asarray(gaps.rates.min(axis=-1))


def indicator_lse(gaps: Gaps, n: int) -> Array:
    """All competitors count: r_lse = -(1/n) log sum_k exp(-n delta_k^2 / (2 sigma_k^2)), (...,).

    Args:
        gaps: of the codebook.
        n: size of a training set.
    """
    return np.asarray(-np.logaddexp.reduce(-n * gaps.rates, axis=-1) / n)


def bernstein_bound(gaps: Gaps, n: int) -> Array:
    """A lower bound on MIS_n for every n, (...,): 1 - 2 sum_k exp(-n delta_k^2 / (2 sigma_k^2 + 2 b_k delta_k / 3)).

    Holds for empirical risk minimisation over the codebook where the gaps are the population's. 0 where the sum
    says nothing.

    Source: Bernstein's inequality for each competitor, and a union over them.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = gaps.mean**2 / (2 * gaps.variance + 2 * gaps.reach * gaps.mean / 3)
    total = np.exp(-n * np.where(np.isnan(gaps.mean), np.inf, exponent)).sum(axis=-1)
    return np.asarray(np.clip(1 - 2 * total, 0, 1))
