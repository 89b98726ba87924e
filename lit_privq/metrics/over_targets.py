"""Confidence intervals and tests for means over target models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from lit_privq.metrics.roc import Floats

_TINY = 1e-100  # in place of no spread at all


@dataclass(frozen=True)
class Estimate:
    """A mean over targets, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """A mean difference over targets, with its interval and a test of its being 0.

    Args:
        p: two-sided p-value of the value being 0: 1 less the level at which the interval would touch it.
    """

    p: float


@dataclass(frozen=True, eq=False)
class Noise:
    """How far each target's number would move on other examples.

    Args:
        middle: (targets,) what stands for the number: the median over other examples.
        deviation: (targets,) standard deviation over other examples.
    """

    middle: Floats
    deviation: Floats

    @classmethod
    def of(cls, replicates: Floats) -> Noise:
        """From numbers on other examples, (targets, resamples)."""
        return cls(np.median(replicates, axis=1), replicates.std(axis=1, ddof=1))


def mean_over_targets(shares: Floats, noise: Noise | None = None, *, level: float = 0.95) -> Estimate:
    """The mean of a metric between 0 and 1, such as a rate or an area, with an interval for other targets.

    Student's t on the targets' own values. Their spread already holds the noise of their examples, so nothing need be
    known of either, and the interval covers as often as it says, if it is wide with two targets. Where targets agree by
    luck, or because a rate moves in steps, it is no narrower than half of what the noise of the examples alone would
    give, and than all of it where their values are the same; all of it elsewhere would make it cover 98 or 99 times in
    100, where targets do not differ (benchmarks/coverage.py). Each target enters by the middle of its noise: rates at
    few false positives err to one side, and log-AUROCs are skewed, so that their own values would cover 85 to 93 times.
    The mean of the values always lies inside. One target says nothing of others and has no interval.

    Shares near 0 or 1 are skewed, and Student's t would cover 82 to 92 times where targets' rates differ by as much as
    their mean. Too few to show their own skewness, they are taken to be as skewed as a Beta distribution of their mean
    and spread, and Hall's transformation makes up for it: from three targets on; two are covered 92 to 94 times, and
    rates that differ by more than their mean, most targets having none, less often still.

    Args:
        shares: (targets,) the metric of each target.
        noise: of the targets' examples; None where it is unknown.
        level: of the interval.

    Returns:
        NaN where the shares are; an interval of NaN for a single target, and for targets and replicates that are all
        equal, which know nothing of the spread.

    Raises:
        ValueError: if the shapes disagree.

    Source: Hall, On the Removal of Skewness by Transformation, J. R. Statist. Soc. B 54 (1992).

    >>> found = mean_over_targets(np.array([0.01, 0.02, 0.06]))
    >>> round(found.value, 2), round(found.low, 2), round(found.high, 2)
    (0.03, 0.0, 0.15)
    """
    mean, (low, high) = float(shares.mean()), _ends(shares, noise, level, _beta_skewness)
    if low == high:
        return Estimate(mean, np.nan, np.nan)
    return Estimate(mean, float(np.clip(np.minimum(low, mean), 0, 1)), float(np.clip(np.maximum(high, mean), 0, 1)))


def difference_over_targets(changes: Floats, noise: Noise | None = None, *, level: float = 0.95) -> Difference:
    """The mean of differences on the same targets, with an interval for other targets and a p-value for its being 0.

    Student's t, as of :func:`mean_over_targets`; differences are taken to be symmetric. p is below 1 - level just where
    the interval leaves 0 out. A permutation test of the signs would need no normality, but six targets to reach
    p = 0.03.

    Args:
        changes: (targets,) the difference on each target.
        noise: of the targets' examples; None where it is unknown.
        level: of the interval.

    Returns:
        NaN where the changes are, and NaN but for the value for a single target.

    Raises:
        ValueError: if the shapes disagree.

    >>> difference_over_targets(np.array([0.5, 0.6, 0.7])).value
    0.6
    """
    mean, (low, high) = float(changes.mean()), _ends(changes, noise, level, lambda *_: 0.0)
    if np.isnan(low):
        return Difference(mean, np.nan, np.nan, np.nan)
    centre, error, least = _moments(changes, noise)
    off = abs(centre) / np.maximum((error, least), _TINY)
    p = 2 * max(stdtr(changes.size - 1, -off[0]), ndtr(-off[1])) if mean * centre > 0 else 1.0
    return Difference(mean, min(mean, low), max(mean, high), float(p))


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected so that even one false alarm among them is as rare as each says.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6.

    >>> holm([0.04, 0.01, 0.03])
    [0.06, 0.03, 0.06]
    """
    corrected, least = [0.0] * len(p), 0.0
    for place, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, p[index] * (len(p) - place)))
        corrected[index] = least
    return corrected


def _ends(
    values: Floats, noise: Noise | None, level: float, skewness_of: Callable[[float, float], float]
) -> tuple[float, float]:
    """The interval of either mean; ``skewness_of`` is that of the targets' values, by their mean and spread."""
    if noise is not None and not noise.middle.shape == noise.deviation.shape == values.shape:
        raise ValueError(f"values must be (targets,) as their noise is, {noise.middle.shape}; got {values.shape}")
    targets = values.size
    if targets == 1 or np.isnan(values).any():
        return np.nan, np.nan
    centre, error, own = _moments(values, noise)
    skewness = skewness_of(centre, error * np.sqrt(targets)) / np.sqrt(targets)
    beyond, least = float(stdtrit(targets - 1, (1 + level) / 2)), float(ndtri((1 + level) / 2)) * own
    below, above = (sign * _skewed(sign * beyond, skewness) * error for sign in (1, -1))
    if skewness > 0:  # far out the cubic bends back: the long tail is no shorter than Student's
        above = max(above, beyond * error)
    else:
        below = max(below, beyond * error)
    return centre - max(below, least), centre + max(above, least)


def _moments(values: Floats, noise: Noise | None) -> tuple[float, float, float]:
    """Mean of what stands for each target, its standard error, and half of what the examples alone would make it.

    All of that where the targets agree to the last example, and so show no spread of their own.
    """
    middles = values if noise is None else noise.middle
    own = 0.0 if noise is None else float(np.sqrt((noise.deviation**2).mean() / values.size))
    error = 0.0 if np.ptp(middles) == 0 else float(middles.std(ddof=1) / np.sqrt(values.size))
    return float(middles.mean()), error, own / 2 if error > 0 else own


def _beta_skewness(mean: float, spread: float) -> float:
    """Of the Beta distribution with this mean and standard deviation."""
    room = mean * (1 - mean) + spread**2
    return 2 * (1 - 2 * mean) * spread / room if room > 0 else 0.0


def _skewed(t: float, skewness: float) -> float:
    """What Hall's cubic takes to t, where (mean - truth) / error has this skewness: t itself for 0."""
    if abs(skewness) < 1e-6:
        return t
    return float(3 / skewness * (np.cbrt(1 + skewness * (t - skewness / 6)) - 1))
