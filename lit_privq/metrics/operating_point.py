"""Attack performance at a threshold chosen on shadow models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_privq.metrics.epsilon import Point, clopper_pearson, operating_point_at
from lit_privq.metrics.members import as_members
from lit_privq.metrics.over_targets import mean_over_targets
from lit_privq.metrics.roc import Floats, allowed_false_positives


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold from shadow models, and the counts it gives on targets.

    Args:
        threshold: from the shadows.
        max_fpr: the false-positive rate that was aimed at.
        points: what it did to each target.
    """

    threshold: float
    max_fpr: float
    points: tuple[Point, ...]

    @property
    def fpr(self) -> float:
        """The false-positive rate really reached, over all targets."""
        return sum(point.false_positives for point in self.points) / sum(point.others for point in self.points)

    @property
    def tpr(self) -> float:
        """The true-positive rate really reached, over all targets."""
        return sum(point.true_positives for point in self.points) / sum(point.members for point in self.points)

    def fpr_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Of this threshold's rate on other targets; see :func:`rate_over_targets`."""
        return rate_over_targets([(point.false_positives, point.others) for point in self.points], level)

    def tpr_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Of this threshold's rate on other targets; see :func:`rate_over_targets`."""
        return rate_over_targets([(point.true_positives, point.members) for point in self.points], level)

    def precision(self, prior: float) -> float:
        """Share of those called members that are, if members are this share of all; NaN if nobody is called.

        >>> OperatingPoint(0.0, 0.01, (Point(100, 1000, 10, 1000),)).precision(0.5).__round__(3)
        0.909
        """
        return predictive_value(self.tpr, self.fpr, prior)

    def precision_interval(self, prior: float, level: float = 0.95) -> tuple[float, float]:
        """Interval of the precision from those of both rates, each at a level that lets both hold at once.

        Without a single false positive the precision itself is 1, which says little.

        >>> [round(end, 2) for end in OperatingPoint(0.0, 0.01, (Point(10, 1000, 0, 1000),)).precision_interval(0.5)]
        [0.5, 1.0]
        """
        both = (1 + level) / 2
        (least, most), (few, many) = self.tpr_interval(both), self.fpr_interval(both)
        return predictive_value(least, many, prior), predictive_value(most, few, prior)


def rate_over_targets(counts: Sequence[tuple[int, int]], level: float = 0.95) -> tuple[float, float]:
    """Interval of a rate at a threshold that was fixed beforehand.

    One target: Clopper-Pearson, of its examples. Several: their spread, by :func:`mean_over_targets`, since what moves
    a model's confidences moves all of its examples; but no narrower than Clopper-Pearson of all examples together.
    Of two targets whose rates differ by as much as their mean it may be too narrow.

    Args:
        counts: successes and trials of each target.
        level: of the interval.

    >>> [round(end, 3) for end in rate_over_targets([(10, 1000)])]
    [0.005, 0.018]
    >>> [round(end, 3) for end in rate_over_targets([(5, 1000), (10, 1000), (30, 1000)])]
    [0.0, 0.073]
    """
    successes, trials = np.array(counts).T
    low, high = clopper_pearson(int(successes.sum()), int(trials.sum()), level)
    if len(counts) == 1:
        return low, high
    spread = mean_over_targets(successes / trials, level=level)
    return min(low, spread.low), max(high, spread.high)


def predictive_value(tpr: float, fpr: float, prior: float) -> float:
    """Share of those called members that are, if members are this share of all; NaN if nobody is called.

    Raises:
        ValueError: if the prior is no probability.

    >>> round(predictive_value(0.1, 0.001, 0.01), 3)
    0.503
    """
    if not 0 <= prior <= 1:
        raise ValueError(f"the prior is the share of members, in [0, 1]; got {prior}")
    called = prior * tpr + (1 - prior) * fpr
    return prior * tpr / called if called > 0 else float("nan")


def shadow_threshold(scores: Floats, members: NDArray[np.bool_], max_fpr: float) -> float:
    """The lowest threshold at which the false-positive rate on the shadows is below the bound.

    Args:
        scores: (shadows, examples), each shadow attacked with the others.
        members: (shadows, examples) bool, or 0 and 1.
        max_fpr: the bound, a fraction.

    Raises:
        ValueError: if the bound means fewer than one false positive on all shadows together.
    """
    others = np.sort(scores[~as_members(members)])[::-1]
    allowed = allowed_false_positives(others.size, max_fpr)
    if allowed < 1:
        raise ValueError(
            f"max_fpr must leave room for a false positive among the shadows' {others.size} non-members; got {max_fpr}"
        )
    return float(np.nextafter(others[allowed], np.inf))


def operating_point(
    shadow_scores: Floats,
    shadow_members: NDArray[np.bool_],
    scores: Floats,
    members: NDArray[np.bool_],
    max_fpr: float,
) -> OperatingPoint:
    """Choose the threshold on shadows, and count on targets.

    Args:
        shadow_scores: (shadows, examples), each shadow attacked with the others.
        shadow_members: (shadows, examples) bool, or 0 and 1.
        scores: (targets, examples).
        members: (targets, examples) bool, or 0 and 1.
        max_fpr: the false-positive rate aimed at, a fraction.

    Raises:
        ValueError: as :func:`shadow_threshold`.
    """
    threshold = shadow_threshold(shadow_scores, shadow_members, max_fpr)
    targets = zip(scores, members, strict=True)
    return OperatingPoint(threshold, max_fpr, tuple(operating_point_at(*target, threshold) for target in targets))
