"""The area under the ROC where it matters for privacy: with a logarithmic axis of false positives."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lit_privq.metrics.roc import Floats, Roc, trapezoid

FLOOR = 1e-5  # the false-positive rate at which the axis begins
_DECADES = 5  # -log10(FLOOR)


def log_auroc(curve: Roc) -> Floats:
    """Area under the ROC with both axes logarithmic ("loglog"), as a share of the whole square.

    With e = 1e-5: the integral of log10(TPR + e) + 5 over log10(FPR + e), by trapezoids between the ROC's points,
    divided by 25. A perfect attack reaches 1, a coin 0.5.

    >>> from lit_privq.metrics.roc import roc
    >>> round(float(log_auroc(roc(np.array([1.0, 1.0]), np.array([True, False])))), 4)
    0.5
    """
    height = _log_rates(curve.n_members)[curve.true_positives] + _DECADES
    return trapezoid(height, _log_rates(curve.n_others)[curve.false_positives]) / _DECADES**2


def semilog_auroc(curve: Roc) -> Floats:
    """Area under the ROC with a logarithmic axis of false positives only ("semilog"), from 1e-5 to 1.

    The integral of TPR over ln FPR, exact for the straight lines between the ROC's points, divided by ln 1e5. A perfect
    attack reaches 1, a coin (1 - 1e-5) / ln 1e5 = 0.087.

    >>> from lit_privq.metrics.roc import roc
    >>> round(float(semilog_auroc(roc(np.array([1.0, 1.0]), np.array([True, False])))), 4)
    0.0869
    """
    left, right, low, high = curve.fpr[..., :-1], curve.fpr[..., 1:], curve.tpr[..., :-1], curve.tpr[..., 1:]
    slope = np.divide(high - low, right - left, out=np.zeros_like(low), where=right > left)
    start, stop = np.maximum(left, FLOOR), np.maximum(right, FLOOR)
    area = (low - slope * left) * np.log(stop / start) + slope * (stop - start)
    return np.asarray(area.sum(-1) / -np.log(FLOOR))


@lru_cache(maxsize=8)
def _log_rates(count: int) -> NDArray[np.float64]:
    """log10(k / count + e) for k = 0 .. count; a bootstrap asks for the same counts a thousand times."""
    return np.log10(np.arange(count + 1) / count + FLOOR)
