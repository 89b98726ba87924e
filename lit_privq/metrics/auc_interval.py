"""The interval of an area under the ROC in closed form, for any number of examples."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from lit_privq.metrics.roc import Roc, auc

_STEP = 1e-12  # from the area, where the search for the ends of its interval begins
_PRIOR = 10  # examples of the rarer kind that the parametric variance counts as; tuned by coverage at 1 to 600


def auc_interval(curve: Roc, level: float = 0.95) -> tuple[float, float]:
    """Interval of the area under a single curve on other examples.

    All areas whose own variance explains the distance to this one: the score interval of Newcombe (2006), method 5,
    with the variance of Hanley & McNeil. That variance assumes one form of the curve; as examples grow in number, its
    ratio to DeLong's, which assumes none, takes over. It covers 93 to 98 times in 100 where scores spread alike, from a
    single non-member on and at perfect separation, where resampling would give [1, 1]; with fewer than ten examples of
    one kind and a spread three times the other's, 78 to 100 times (benchmarks/coverage.py).

    Source: Newcombe 2006, Statistics in Medicine 25, 559-573; Hanley & McNeil 1982, Radiology 143; DeLong, DeLong &
    Clarke-Pearson 1988, Biometrics 44.

    >>> from lit_privq.metrics.roc import roc
    >>> low, high = auc_interval(roc(np.arange(70.0), np.arange(70) >= 20))
    >>> round(low, 3), high
    (0.93, 1.0)
    """
    area, reach = float(auc(curve)), float(ndtri((1 + level) / 2))
    scale = _scale(curve, area)

    def excess(candidate: float) -> float:
        return (candidate - area) ** 2 - reach**2 * scale * _parametric(curve, candidate)

    # An area of 0 or 1 is itself a root, since the variance vanishes there; the other root is wanted.
    low = 0.0 if area <= _STEP else float(brentq(excess, 0.0, area - _STEP))
    high = 1.0 if area >= 1 - _STEP else float(brentq(excess, area + _STEP, 1.0))
    return low, high


def delong_variance(curve: Roc) -> float:
    """Variance of the area under a single curve; NaN for a single member or non-member, which shows no spread.

    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44.
    """
    members, others = curve.n_members, curve.n_others
    if min(members, others) < 2:
        return float("nan")
    area, total = float(auc(curve)), 0.0
    kinds = (curve.true_positives, curve.fpr, 1 - area), (curve.false_positives, curve.tpr, area)
    for counts, rates, mean in kinds:  # members lie at false-positive rates, non-members at true-positive rates
        spread = np.diff(counts) @ ((rates[1:] + rates[:-1]) / 2 - mean) ** 2
        total += float(spread) / (counts[-1] * (counts[-1] - 1))
    return total


def _scale(curve: Roc, area: float) -> float:
    """What the parametric variance is multiplied with, near 1 for few examples."""
    own = delong_variance(curve)
    if not _STEP < area < 1 - _STEP or np.isnan(own):
        return 1.0
    least = min(curve.n_members, curve.n_others)
    weight = least / (least + _PRIOR)
    return 1 - weight + weight * own / _parametric(curve, area)


def _parametric(curve: Roc, area: float) -> float:
    """Variance of an area under the curve of two exponential distributions."""
    members, others = curve.n_members, curve.n_others
    half = (members + others) / 2 - 1
    spread = 1 + half * (1 - area) / (2 - area) + half * area / (1 + area)
    return area * (1 - area) * spread / (members * others)
