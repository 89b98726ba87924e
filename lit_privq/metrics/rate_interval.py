"""Intervals of true-positive rates and of paired differences, in closed form."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, ndtri

from lit_privq.metrics.roc import Roc, tpr_at_fpr

Ends = tuple[float, float]
NOWHERE: Ends = (float("nan"), float("nan"))
_PICKED = 0.46  # of the reach of a threshold fixed beforehand; tuned by coverage of attacks that guess


def wilson(rate: float, trials: int, level: float = 0.95) -> Ends:
    """Interval of a rate: all rates whose own noise explains the distance to this one.

    Clopper and Pearson's covers at least as often as it says, this one about as often; on either side of it where few
    successes, or few failures, are expected and counts move in steps.

    Source: Wilson 1927, J. Am. Statist. Assoc. 22; Brown, Cai & DasGupta 2001, Statistical Science 16, 101-133.

    >>> [round(end, 3) for end in wilson(0.0, 20)], [round(end, 3) for end in wilson(0.5, 100)]
    ([0.0, 0.161], [0.404, 0.596])
    """
    reach = float(ndtri((1 + level) / 2)) ** 2 / trials
    centre = (rate + reach / 2) / (1 + reach)
    half = np.sqrt(reach * (rate * (1 - rate) + reach / 4)) / (1 + reach)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def rate_interval(curve: Roc, max_fpr: float, level: float = 0.95) -> Ends:
    """Interval of a true-positive rate at a bound on the false-positive rate, on other examples.

    Two independent things make it uncertain: which members there are, and how many non-members happen to score above
    the place where the true false-positive rate is the bound, a binomial number. Wilson's interval of the rate and the
    rates that are read at the ends of that number's interval are combined by the square root of their summed squares,
    on each side by itself. Covers 93 to 98 times in 100 from 20 members on and with a single false positive, 96 to 99
    times where less than one member, or all but one, is expected to be found (benchmarks/coverage.py).

    Args:
        curve: a single one.
        max_fpr: the bound, a fraction.
        level: of the interval.

    Returns:
        NaN where the rate is.

    Source: Newcombe 1998, Statistics in Medicine 17, 873-890; Zou & Donner 2008, Statistics in Medicine 27, 1693-1702.

    >>> from lit_privq.metrics.roc import roc
    >>> [round(end, 2) for end in rate_interval(roc(np.arange(200.0), np.arange(200) % 2 == 0), 0.1)]
    [0.03, 0.19]
    """
    rate, others = float(tpr_at_fpr(curve, max_fpr)), curve.n_others
    if np.isnan(rate):
        return NOWHERE
    low, high = wilson(rate, curve.n_members, level)
    expected, tails = max_fpr * others, np.array([1 - level, 1 + level]) / 2
    above = others * betaincinv(expected + 0.5, others - expected + 0.5, tails)  # non-members, Jeffreys' interval
    least, most = (curve.members_above(count - 0.5) / curve.n_members for count in above.tolist())
    return (
        max(0.0, rate - float(np.hypot(rate - low, max(0.0, rate - least)))),
        min(1.0, rate + float(np.hypot(high - rate, max(0.0, most - rate)))),
    )


def balanced_accuracy_interval(curve: Roc, level: float = 0.95) -> Ends:
    """Interval of the mean over other sets of as many examples of the best balanced accuracy.

    That mean depends on how many there are, as the threshold is picked on them: an attack that guesses reaches 0.57
    with 20 members. Newcombe's interval of the difference of the two rates at the best threshold, where a small move
    changes nothing; each side takes a quarter of the other, since either rate may be the one that luck raised. The best
    of many thresholds may be an extreme one, whose rates hardly vary, and lie elsewhere on other examples. So no side
    is shorter than a bit less than half of what it would be where both errors are equally frequent, which follows from
    the spread of the one-sided Kolmogorov-Smirnov statistic. Covers 93 to 97 times in 100, more often where nearly all
    members are told apart (benchmarks/coverage.py).

    Source: Newcombe 1998, Statistics in Medicine 17, 873-890, method 10.

    >>> from lit_privq.metrics.roc import roc
    >>> [round(end, 3) for end in balanced_accuracy_interval(roc(np.arange(100.0), np.arange(100) >= 50))]
    [0.962, 1.0]
    """
    best = int((curve.tpr - curve.fpr).argmax())
    tpr, fpr = float(curve.tpr[best]), float(curve.fpr[best])
    (least, most), (few, many) = wilson(tpr, curve.n_members, level), wilson(fpr, curve.n_others, level)
    down, up = np.hypot(tpr - least, many - fpr), np.hypot(most - tpr, fpr - few)
    gap, reach = tpr - fpr, float(ndtri((1 + level) / 2)) / 2
    spread = np.sqrt(max(0.0, 1 - gap**2) * (1 / curve.n_members + 1 / curve.n_others))
    below, above = (
        max(float(side), _PICKED * reach * spread) for side in (0.75 * down + 0.25 * up, 0.75 * up + 0.25 * down)
    )
    return max(0.5, (1 + gap - below) / 2), min(1.0, (1 + gap + above) / 2)


def difference_interval(one: float, ends: Ends, other: float, others_ends: Ends, correlation: float) -> Ends:
    """Interval of the difference of two numbers on the same examples, from the interval of each.

    Each end is as far from the difference as the two ends that lie on its side are from their numbers, by the law of
    cosines. So it is as skewed as they are: with one or two false positives a normal interval covers 84 to 92 times.

    Args:
        one: the first number.
        ends: its interval.
        other: the second number, which is taken off.
        others_ends: its interval.
        correlation: of the two numbers over other examples.

    Source: Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10; Zou & Donner 2008, as above.

    >>> [round(end, 3) for end in difference_interval(0.5, (0.2, 0.8), 0.5, (0.1, 0.9), 0.0)]
    [-0.5, 0.5]
    """
    down, up = one - ends[0], ends[1] - one
    others_down, others_up = other - others_ends[0], others_ends[1] - other
    below = down**2 + others_up**2 - 2 * correlation * down * others_up
    above = up**2 + others_down**2 - 2 * correlation * up * others_down
    return one - other - float(np.sqrt(max(0.0, below))), one - other + float(np.sqrt(max(0.0, above)))
