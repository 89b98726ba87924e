"""Where runs differ: variance components of a balanced nested design, with intervals in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, f

from lit_privq.metrics.over_targets import Estimate
from lit_privq.metrics.roc import Floats

_NOT_MEASURED = Estimate(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class VarianceComponents:
    """Variances of a number that was measured on targets, each quantized on several draws with several seeds.

    Args:
        training: between targets.
        calibration: between draws of the calibration examples of one target.
        seed: between seeds on one draw.
    """

    training: Estimate
    calibration: Estimate
    seed: Estimate


def variance_components(values: Floats, *, level: float = 0.95) -> VarianceComponents:
    """Variance components of targets, draws within targets, and seeds within draws, by the method of moments.

    A component is never below 0. Its interval is exact for the seeds, and for differences of mean squares that of
    Ting et al., which covers at least nearly as often as it says for normal effects.

    Args:
        values: (targets, draws, seeds), all different runs.
        level: of the intervals.

    Returns:
        In the square of the values' unit; NaN where there is one target, draw or seed too few to know.

    Raises:
        ValueError: if the shape is another, or a value is not finite.

    Source: Ting, Burdick, Graybill, Jeyaratnam and Lu, Confidence intervals on linear combinations of variance
    components that are unrestricted in sign, J. Stat. Comput. Simul. 35 (1990).

    >>> found = variance_components(np.array([[[0.0, 2.0], [4.0, 6.0]], [[10.0, 12.0], [14.0, 16.0]]]))
    >>> [float(one.value) for one in (found.seed, found.calibration, found.training)]
    [2.0, 7.0, 46.0]
    """
    if values.ndim != 3 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"values must be finite, (targets, draws, seeds); got shape {values.shape}")
    targets, draws, seeds = values.shape
    by_draw = values.mean(axis=2)  # (targets, draws)
    by_target = by_draw.mean(axis=1)  # (targets,)
    within = ((values - by_draw[..., None]) ** 2).sum(), targets * draws * (seeds - 1)
    between_draws = seeds * ((by_draw - by_target[:, None]) ** 2).sum(), targets * (draws - 1)
    between_targets = draws * seeds * ((by_target - by_target.mean()) ** 2).sum(), targets - 1
    below = next((each for each in (between_draws, within) if each[1]), None)  # what a target's own runs differ by
    return VarianceComponents(
        _component(between_targets, below, draws * seeds, level),
        _component(between_draws, within if within[1] else None, seeds, level) if within[1] else _NOT_MEASURED,
        _component(within, None, 1, level),
    )


Squares = tuple[float, int]  # a sum of squares and its degrees of freedom


def _component(upper: Squares, lower: Squares | None, runs: int, level: float) -> Estimate:
    """(mean square less the one below it) / runs, not below 0."""
    if not upper[1]:
        return _NOT_MEASURED
    first, n1 = upper[0] / upper[1], upper[1]
    tail = (1 - level) / 2
    if lower is None:
        ends = [upper[0] / float(chi2.ppf(q, n1)) / runs for q in (1 - tail, tail)]
        return Estimate(first / runs, *ends)
    second, n2 = lower[0] / lower[1], lower[1]
    low, high = _difference(first, n1, second, n2, tail)
    return Estimate(*(max(0.0, end) / runs for end in (first - second, low, high)))


def _difference(first: float, n1: int, second: float, n2: int, tail: float) -> tuple[float, float]:
    """The interval of the difference of two mean squares' expectations."""

    def over_infinity(q: float, n: int) -> float:
        return float(chi2.ppf(q, n)) / n

    g1, g2 = (1 - 1 / over_infinity(1 - tail, n) for n in (n1, n2))
    h1, h2 = (1 / over_infinity(tail, n) - 1 for n in (n1, n2))
    above, below = (float(f.ppf(q, n1, n2)) for q in (1 - tail, tail))
    g12 = ((above - 1) ** 2 - g1**2 * above**2 - h2**2) / above
    h12 = ((1 - below) ** 2 - h1**2 * below**2 - g2**2) / below
    down = g1**2 * first**2 + h2**2 * second**2 + g12 * first * second
    up = h1**2 * first**2 + g2**2 * second**2 + h12 * first * second
    return first - second - math.sqrt(max(0.0, down)), first - second + math.sqrt(max(0.0, up))
