"""Curves that the same attack might have drawn on other examples, for numbers that rest on a few extreme scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lit_privq.metrics.roc import Floats, Roc, tpr_at_fpr

_SINGLE = 32  # of the highest non-members each has its own step
_STEP = 1.1  # beyond, the false positives of one step are so many times those of the last


def redrawn(curve: Roc, count: int = 1000, seed: int = 0) -> Roc:
    """Curves of other members and non-members from the same populations, for the interval of a log-AUROC.

    Drawing the same examples again cannot show how far the highest non-member might lie, and that is what a log-AUROC
    rests on: such intervals cover 57 to 78 times in 100. On the axis of the true false-positive rate, however,
    non-members are uniform whatever the attack is. So non-members are drawn as uniform order statistics, and members
    from where they lie between the given non-members: evenly in each gap; above the highest non-member, where nothing
    is known, so that the curve rises as the square root (between a coin's straight line and a perfect attack's step).
    Percentile intervals cover 94 to 99 times in 100, a coin's loglog area among 300 non-members 91
    (benchmarks/coverage.py).

    Args:
        curve: a single one.
        count: of curves.
        seed: of the drawing.

    Returns:
        (count, points) curves; far from the axis a point stands for a tenth more non-members than the last.

    Raises:
        ValueError: if count is below 2.

    >>> from lit_privq.metrics.roc import roc
    >>> redrawn(roc(np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, True, False, False])), 3).tpr[:, -1]
    array([1., 1., 1.])
    """
    _check(count)
    random = np.random.default_rng(seed)
    steps = _steps(curve.n_others)
    gaps = random.standard_gamma(np.diff(steps, prepend=0, append=curve.n_others + 1), (count, steps.size + 1))
    rates = np.cumsum(gaps, axis=1)
    rates = rates[:, :-1] / rates[:, -1:]  # (count, steps) true false-positive rates of the non-members
    above = np.diff(_members_above(curve, rates), prepend=0.0, append=1.0)  # (count, steps + 1) shares
    hits = np.cumsum(random.multinomial(curve.n_members, above), axis=1)  # the last is all of them
    single = int((steps <= _SINGLE).sum())
    before = np.zeros((count, 1), hits.dtype)
    doubled = np.repeat(hits[:, :single], 2, axis=1)  # up at k - 1 false positives, then right to k
    true = np.concatenate([before, doubled, hits[:, single:]], axis=1)
    level = np.column_stack([steps[:single] - 1, steps[:single]]).ravel()
    false = np.concatenate([[0], level, steps[single:], [curve.n_others]])
    return Roc(true, np.broadcast_to(false, true.shape), np.full(false.size, np.nan))


def redrawn_tpr(curve: Roc, max_fpr: float, count: int = 1000, seed: int = 0) -> Floats:
    """True-positive rates that the attack might have where its true false-positive rate is the bound.

    How many non-members score above that threshold is binomial, whatever the attack is, and their neighbours' true
    rates are uniform order statistics; so many places on the curve are drawn, and the members above each. Percentile
    intervals cover 93 to 97 times in 100 even where the bound leaves one false positive; drawing the same examples
    again, 88 to 97 times (benchmarks/coverage.py).

    Args:
        curve: a single one.
        max_fpr: the bound, a fraction.
        count: of rates.
        seed: of the drawing.

    Returns:
        (count,) fractions; NaN where ``tpr_at_fpr`` is.

    Raises:
        ValueError: if count is below 2, or the bound is not in (0, 1].
    """
    _check(count)
    if np.isnan(tpr_at_fpr(curve, max_fpr)):
        return np.full(count, np.nan)
    random, others = np.random.default_rng(seed), curve.n_others
    above = random.binomial(others, max_fpr, count)  # non-members
    spare, spare_below = random.random((2, count))
    gap_above = max_fpr * (1 - spare ** (1 / np.maximum(above, 1)))  # to the true rate of the last of these
    gap_above = np.where(above == 0, max_fpr, gap_above)
    gap_below = (1 - max_fpr) * (1 - spare_below ** (1 / np.maximum(others - above, 1)))  # and of the next
    gap_below = np.where(above == others, 1 - max_fpr, gap_below)
    within = gap_above / (gap_above + gap_below)
    shares = _members_above(curve, (above + within) / (others + 1))
    return random.binomial(curve.n_members, shares) / curve.n_members


def _check(count: int) -> None:
    if count < 2:
        raise ValueError(f"an interval needs at least 2 curves, 1000 are usual; got {count}")


def _steps(others: int) -> NDArray[np.int64]:
    """Which non-members are followed, counted from the highest."""
    coarse = np.geomspace(_SINGLE, others, 2 + int(np.log(max(1.0, others / _SINGLE)) / np.log(_STEP)))
    return np.unique(
        np.concatenate([np.arange(1, min(_SINGLE, others) + 1), coarse[coarse <= others].astype(np.int64)])
    )


def _members_above(curve: Roc, rates: Floats) -> Floats:
    """Share of the members above a true false-positive rate, as smooth as the curve allows."""
    others = curve.n_others
    middle = np.arange(others) + 0.5  # a run to the right is met once, a tie half way
    known = np.interp(middle, curve.false_positives, curve.true_positives) / curve.n_members
    known = np.concatenate([[0.0], known, [1.0]])
    place = rates * (others + 1)
    left = np.minimum(place.astype(np.int64), others)
    within = place - left
    within = np.where(left == 0, np.sqrt(within), within)
    return np.asarray(known[left] + within * (known[left + 1] - known[left]))
