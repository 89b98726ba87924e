"""The area under the ROC where it matters for privacy: with a logarithmic axis of false positives."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from lit_privq.metrics.roc import Floats, Roc, trapezoid

FLOOR = 1e-5  # the false-positive rate at which the axis begins
_DECADES = 5  # -log10(FLOOR)
_FEW = 100  # expected counts below are averaged count by count, as far as three times as many; above, to second order


def log_auroc(curve: Roc) -> Floats:
    """Area under the ROC with both axes logarithmic ("loglog"), as a share of the whole square.

    With e = 1e-5: the integral of log10(TPR + e) + 5 over log10(FPR + e), by trapezoids between the ROC's points,
    divided by 25. A perfect attack reaches 1, random guessing 0.5.

    >>> from lit_privq.metrics.roc import roc
    >>> round(float(log_auroc(roc(np.array([1.0, 1.0]), np.array([True, False])))), 4)
    0.5
    """
    height = _log_rates(curve.n_members)[curve.true_positives] + _DECADES
    return trapezoid(height, _log_rates(curve.n_others)[curve.false_positives]) / _DECADES**2


def semilog_auroc(curve: Roc) -> Floats:
    """Area under the ROC with a logarithmic axis of false positives only ("semilog"), from 1e-5 to 1.

    The integral of TPR over ln FPR, exact for the straight lines between the ROC's points, divided by ln 1e5. A perfect
    attack reaches 1, random guessing (1 - 1e-5) / ln 1e5 = 0.087.

    >>> from lit_privq.metrics.roc import roc
    >>> round(float(semilog_auroc(roc(np.array([1.0, 1.0]), np.array([True, False])))), 4)
    0.0869
    """
    left, right, low, high = curve.fpr[..., :-1], curve.fpr[..., 1:], curve.tpr[..., :-1], curve.tpr[..., 1:]
    slope = np.divide(high - low, right - left, out=np.zeros_like(low), where=right > left)
    start, stop = np.maximum(left, FLOOR), np.maximum(right, FLOOR)
    area = (low - slope * left) * np.log(stop / start) + slope * (stop - start)
    return np.asarray(area.sum(-1) / -np.log(FLOOR))


def true_rates(n_others: int) -> NDArray[np.float64]:
    """The true false-positive rates at which ``mean_log_aurocs`` wants a curve, (points,) from 0 to 1."""
    return np.concatenate([[0.0], np.geomspace(1e-3 / n_others, 1.0, 400)])


def mean_log_aurocs(tpr: Floats, n_members: int, n_others: int) -> dict[str, Floats]:
    """Mean areas over all sets of so many examples, of attacks whose true curves are known.

    Among n non-members the highest k lie above a true rate u with the chance that a binomial count B(n, u) is at least
    k, and so many members above a true-positive rate. So the mean of the empirical area is itself an area, with the
    mean of log10(B / n + e) in place of a rate's logarithm on either axis. It depends on the number of examples, as
    the empirical area does: the highest non-member hides what lies below 1 / n.

    Args:
        tpr: (..., points) true-positive rates at the false-positive rates of ``true_rates``.
        n_members: members of each set.
        n_others: non-members of each set.

    Returns:
        (...) by the names of the two functions above.

    >>> guessing = mean_log_aurocs(true_rates(1000), 1000, 1000)
    >>> {name: round(float(area), 2) for name, area in guessing.items()}
    {'log_auroc': 0.5, 'semilog_auroc': 0.09}
    """
    height = np.interp(tpr, true_rates(n_members), _mean_log(_raised, n_members)) - np.log(FLOOR)
    return {
        "log_auroc": trapezoid(height, _mean_log(_raised, n_others)) / np.log(FLOOR) ** 2,
        "semilog_auroc": trapezoid(tpr, _mean_log(_clipped, n_others)) / -np.log(FLOOR),
    }


@lru_cache(maxsize=8)
def _log_rates(count: int) -> NDArray[np.float64]:
    """log10(k / count + e) for k = 0 .. count; a bootstrap asks for the same counts a thousand times."""
    return np.log10(np.arange(count + 1) / count + FLOOR)


def _raised(rate: Floats) -> Floats:
    """The logarithm of the loglog area, ln(rate + e)."""
    return np.asarray(np.log(rate + FLOOR))


def _clipped(rate: Floats) -> Floats:
    """The logarithm of the semilog area, ln(max(rate, e))."""
    return np.asarray(np.log(np.maximum(rate, FLOOR)))


@lru_cache(maxsize=32)
def _mean_log(log: Callable[[Floats], Floats], count: int) -> Floats:
    """Mean of log(B / count) for binomial B, at each of the true rates, (points,)."""
    rates, counts = true_rates(count), np.arange(min(count, 3 * _FEW) + 1)
    few = rates * count < _FEW
    steps = np.diff(log(counts / count))
    at_least = bdtrc(counts[:-1], count, rates[few, None])  # (rates, counts) chances of more than 0, 1, ...
    means = log(rates)
    means[few] = log(np.zeros(1)) + at_least @ steps
    means[~few] -= (1 - rates[~few]) / (2 * count * rates[~few])
    return means
