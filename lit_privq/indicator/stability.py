"""Rank stability: how many runs a ranking of quantizers needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Stability:
    """Rankings from subsets of the runs, compared with the ranking from all.

    Args:
        order: (quantizers,), indices of the given quantizers in the ranking from all runs, the least private first.
        sizes: runs in a subset.
        spearman: (sizes, subsets), to the ranking from all runs.
        shares: (sizes, quantizers, ranks), the share of subsets that put a quantizer at a rank, the least private
            first; quantizers in the given order.
    """

    order: NDArray[np.int64]
    sizes: tuple[int, ...]
    spearman: Array
    shares: Array


def spearman(one: Array, other: Array) -> float:
    """Rank correlation with ties at their mean rank; infinities rank last (first). NaN where one side is constant.

    >>> spearman(np.array([1.0, 2.0, np.inf]), np.array([0.1, 0.2, 0.9])).__round__(6)
    1.0
    """
    ranks = np.stack([_ranks(one), _ranks(other)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norm = np.sqrt((ranks**2).sum(axis=1).prod())
    return float(ranks.prod(axis=0).sum() / norm) if norm else float("nan")


def _ranks(values: Array) -> Array:
    """Ranks from 1, ties at their mean rank; scipy.stats takes a second to import, and reports do not need it."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[place])


def rank_stability(values: Array, sizes: Sequence[int], n_subsets: int = 100, seed: int = 0) -> Stability:
    """Rank quantizers by their median over random subsets of the runs.

    Args:
        values: (quantizers, runs), the indicator; +inf where a run has no competitor.
        sizes: runs in a subset, each at most the number of runs.
        n_subsets: subsets per size, drawn without replacement inside a subset.
        seed: of the subsets.

    Raises:
        ValueError: if a size is not between 1 and the number of runs.
    """
    quantizers, runs = values.shape
    if not all(1 <= size <= runs for size in sizes):
        raise ValueError(f"sizes must lie between 1 and the {runs} runs; got {list(sizes)}")
    rng = np.random.default_rng(seed)
    final = np.median(values, axis=1)
    correlation = np.empty((len(sizes), n_subsets))
    shares = np.zeros((len(sizes), quantizers, quantizers))
    for row, size in enumerate(sizes):
        for subset in range(n_subsets):
            chosen = rng.permutation(runs)[:size]
            medians = np.median(values[:, chosen], axis=1)
            correlation[row, subset] = spearman(medians, final)
            shares[row, medians.argsort(kind="stable"), np.arange(quantizers)] += 1 / n_subsets
    return Stability(final.argsort(kind="stable"), tuple(sizes), correlation, shares)
