"""Means over targets, how far targets lie apart, and when a difference may be called one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan, sqrt
from statistics import fmean, stdev

# Deviations a mean of few values must exceed for its 95 % interval (Student's t over sqrt n) to leave zero out;
# from seven values on one deviation is the stricter demand.
_DEVIATIONS_NEEDED = {
    2: 12.706 / sqrt(2),
    3: 4.303 / sqrt(3),
    4: 3.182 / sqrt(4),
    5: 2.776 / sqrt(5),
    6: 2.571 / sqrt(6),
}


@dataclass(frozen=True)
class Spread:
    """A mean over targets.

    Args:
        mean: in the metric's own unit; rates are fractions.
        deviation: sample standard deviation over targets; NaN for fewer than two.
        count: targets.
    """

    mean: float
    deviation: float
    count: int

    @property
    def clear(self) -> bool:
        """Whether the mean lies further from zero than its spread explains.

        It must exceed one standard deviation over targets and its 95 % interval must leave zero out; a single target
        never suffices.

        >>> Spread(0.3, 0.2, 4).clear, Spread(0.4, 0.2, 4).clear, Spread(0.4, float("nan"), 1).clear
        (False, True, False)
        """
        return self.count > 1 and abs(self.mean) > _DEVIATIONS_NEEDED.get(self.count, 1.0) * self.deviation


def spread(values: Mapping[int, float]) -> Spread:
    """Mean and standard deviation of values by target.

    >>> spread({10: 1.0, 11: 3.0})
    Spread(mean=2.0, deviation=1.4142135623730951, count=2)
    """
    numbers = list(values.values())
    return Spread(
        mean=fmean(numbers) if numbers else nan,
        deviation=stdev(numbers) if len(numbers) > 1 else nan,
        count=len(numbers),
    )


def paired(values: Mapping[int, float], reference: Mapping[int, float]) -> Spread:
    """The difference to a reference, taken target by target on the targets both have.

    >>> paired({1: 5.0, 2: 7.0, 3: 9.0}, {1: 4.0, 2: 6.0})
    Spread(mean=1.0, deviation=0.0, count=2)
    """
    return spread({target: value - reference[target] for target, value in values.items() if target in reference})
