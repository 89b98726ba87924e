"""The trade-off between an attack's two errors, and what it refutes: (epsilon, delta), Gaussian and f-DP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

from lit_privq.metrics.epsilon import Bonferroni, Point, ThresholdChoice
from lit_privq.metrics.members import as_members
from lit_privq.metrics.roc import Floats, Roc


@dataclass(frozen=True, eq=False)
class TradeOff:
    """Upper bound on the trade-off function f of the training algorithm: every f above it is refuted.

    Where the false-positive rate is alpha, no test of one example's membership can have a false-negative rate below
    f(alpha). An attack that was seen to reach (alpha, beta) therefore refutes every f with f(alpha) > beta.

    Args:
        alpha: (points,) false-positive rates, increasing from 0 to 1.
        beta: (points,) false-negative rates, decreasing from 1 to 0; convex, with straight lines between the points.

    Source: Dong, Roth & Su 2022, Gaussian Differential Privacy, arXiv:1905.02383.
    """

    alpha: Floats
    beta: Floats

    def at(self, alpha: Floats) -> Floats:
        """The bound at other false-positive rates, (...) in [0, 1]."""
        return np.asarray(np.interp(alpha, self.alpha, self.beta))

    def epsilon(self, delta: float = 0.0) -> float:
        """Largest epsilon of (epsilon, delta) differential privacy that is refuted, at least 0.

        Raises:
            ValueError: if delta is not in [0, 1).

        >>> curve = TradeOff(np.array([0, 0.1, 1]), np.array([1, 0.1, 0]))
        >>> round(curve.epsilon(), 3), round(curve.epsilon(delta=0.1), 3)
        (2.197, 2.079)
        """
        if not 0 <= delta < 1:
            raise ValueError(f"delta is a probability in [0, 1), 1e-5 is usual; got {delta}")
        known = self.alpha > 0
        ratio = (1 - delta - self.beta[known]) / self.alpha[known]
        return float(np.log(max(1.0, ratio.max(initial=0.0))))

    @property
    def mu(self) -> float:
        """Largest mu of Gaussian differential privacy that is refuted, at least 0: telling N(0, 1) from N(mu, 1).

        >>> from scipy.special import ndtr
        >>> alpha = ndtr(np.array([-np.inf, -2.0, -0.5, np.inf]))
        >>> round(TradeOff(alpha, ndtr(-ndtri(alpha) - 1.5)).mu, 3)
        1.5
        """
        inner = (self.alpha > 0) & (self.alpha < 1) & (self.beta > 0) & (self.beta < 1)
        return float((ndtri(1 - self.beta[inner]) - ndtri(self.alpha[inner])).max(initial=0.0))


def trade_off(
    scores: Floats, members: NDArray[np.bool_], threshold: ThresholdChoice, *, level: float = 0.95
) -> TradeOff:
    """What an attack proves of the trade-off function, with this probability at all false-positive rates at once.

    Each operating point gives two one-sided Clopper-Pearson bounds; a test and its mirror image are equally possible,
    since membership may be called either way, so that the curve is symmetric about its diagonal.

    Args:
        scores: (examples,), larger means more likely a member.
        members: (examples,) bool, or 0 and 1.
        threshold: how it is chosen, as for :func:`~lit_privq.metrics.epsilon_lower_bound`: with ``Fixed`` and ``Split``
            the curve has one corner and its mirror image, with ``Bonferroni`` as many as the ROC's hull.
        level: probability with which the whole curve holds.

    >>> from lit_privq.metrics.epsilon import Fixed
    >>> scores = np.repeat([1.0, 0.0, 1.0, 0.0], [90, 10, 10, 90])
    >>> round(trade_off(scores, np.arange(200) < 100, Fixed(0.5)).mu, 2)
    1.86
    """
    return _refuted(threshold.points(np.asarray(scores), as_members(members), level))


def trade_off_of(curve: Roc, *, level: float = 0.95) -> TradeOff:
    """The same from a ROC that is known, with :class:`~lit_privq.metrics.Bonferroni`'s choice of thresholds."""
    return _refuted(Bonferroni.vertices(curve, level))


def _refuted(points: Iterable[tuple[Point, float]]) -> TradeOff:
    """The curve through the bounds that operating points give, each at its own level."""
    counts = np.array(
        [(each.true_positives, each.members, each.false_positives, each.others, (1 - at) / 2) for each, at in points]
    )
    if not counts.size:
        return TradeOff(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    hits, members, misses, others, tail = counts.T
    beta = 1 - np.where(hits > 0, betaincinv(np.maximum(hits, 1), members - hits + 1, tail), 0.0)
    alpha = np.where(misses < others, betaincinv(misses + 1, np.maximum(others - misses, 1), 1 - tail), 1.0)
    mirrored = np.stack([np.concatenate([alpha, beta]), np.concatenate([beta, alpha])], axis=1)
    corners = sorted([(0.0, 1.0), (1.0, 0.0), *map(tuple, mirrored.tolist())])
    alpha, beta = np.array(_lower_hull(corners)).T
    return TradeOff(alpha, beta)


def _lower_hull(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Vertices of the lower convex hull, from left to right."""
    kept: list[tuple[float, float]] = []
    for x, y in corners:
        while len(kept) > 1:
            (ax, ay), (bx, by) = kept[-2:]
            if (by - ay) * (x - ax) < (y - ay) * (bx - ax):
                break
            kept.pop()
        kept.append((x, y))
    return kept
