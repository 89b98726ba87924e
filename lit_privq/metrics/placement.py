"""Intervals of metrics that rest on a few extreme scores, from curves that the attack may have on other examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lit_privq.metrics.log_auroc import mean_log_aurocs, true_rates
from lit_privq.metrics.roc import Floats, Roc, tpr_at_fpr

# On a logarithmic axis the first non-members take up most of the width, so that each of them is followed by itself;
# further down, gaps that grow by a tenth lose nothing and save most of the gamma variables.
_SINGLE = 32  # non-members with a gap of their own, from the highest
_STEP = 1.1  # beyond them, one gap ends at so many times the non-members of the last

# Above the highest non-member the curve is not known. It is drawn as height * (rate / first) ** power with a power of
# slope ** U(0, _RISE), where the slope is that of the curve below, in logarithms of both rates. With powers drawn from
# the slope to 1, medians of the areas lay 0.3 to 0.7 of their spread below the truth, and means of ten targets were
# covered 56 to 94 times in 100; with a uniform power, loglog areas of Laplace scores 91 to 93 times. Now 92 to 96 and
# 93 to 97 times, on normal, Laplace, power and mixed scores (benchmarks/coverage.py).
_SLOPE = 7  # gaps below the highest non-member over which the slope is taken: one alone is mostly noise
_SLOPES = (0.01, 0.9)  # its bounds: at 0 and 1 every power of it would be the same
_RISE = 2.4


def redrawn_log_aurocs(curve: Roc, count: int = 1000, seed: int = 0) -> dict[str, Floats]:
    """Log-AUROCs of true curves that the attack may have, each averaged over sets of as many examples.

    Drawing the same examples again cannot show how far the highest non-member might lie, and that is what a log-AUROC
    rests on: such intervals cover 57 to 78 times in 100. On the axis of the true false-positive rate, however,
    non-members are uniform whatever the attack is. So true curves are drawn: the places of the given non-members as
    uniform order statistics, and the share of members in each gap between them as a gamma variable of their number;
    the mean areas of such curves are known exactly. Above the highest non-member, where nothing is known, there may be
    one member more, and the curve rises as a power of the rate, between that of random guessing, which is 1, and one
    well below that with which it goes on. Percentile intervals cover 93 to 97 times in 100 (benchmarks/coverage.py).

    Args:
        curve: a single one.
        count: of true curves.
        seed: of the drawing.

    Returns:
        (count,) by the names of the metrics, ``log_auroc`` and ``semilog_auroc``.

    Raises:
        ValueError: if count is below 2.

    >>> from lit_privq.metrics.roc import roc
    >>> guessing = roc(np.arange(2000.0), np.arange(2000) % 2 == 0)
    >>> {name: float(areas.mean().round(2)) for name, areas in redrawn_log_aurocs(guessing).items()}
    {'log_auroc': 0.47, 'semilog_auroc': 0.09}
    """
    _check(count)
    random, others = np.random.default_rng(seed), curve.n_others
    steps = np.concatenate([[0], _steps(others), [others + 1]])
    gaps = np.diff(steps) + np.zeros((count, 1))  # (count, gaps), in non-members
    members = np.diff(_members_above(curve)[steps]) + np.zeros((count, 1))
    members[:, 0] += random.integers(0, 2, count)
    places, shares = _gamma_shares(random, gaps), _gamma_shares(random, members)
    rates = true_rates(others)
    curves = np.stack([np.interp(rates, place, share) for place, share in zip(places, shares, strict=True)])
    first, height = places[:, 1:2], shares[:, 1:2]  # of the highest non-member, (count, 1)
    above = rates[rates < first.max()]  # where some curve is above its highest non-member, (fewer points,)
    rising = height * (above / first) ** _powers(random, places, shares)
    curves[:, : above.size] = np.where(above < first, rising, curves[:, : above.size])
    return mean_log_aurocs(curves, curve.n_members, others)


def redrawn_tpr(curve: Roc, max_fpr: float, count: int = 1000, seed: int = 0) -> Floats:
    """True-positive rates of the attack at the last threshold whose true false-positive rate is below a bound.

    How many non-members score above the place where the rate is the bound is binomial, whatever the attack is, and
    their neighbours' true rates are uniform order statistics; so many places on the curve are drawn, and the members
    above each. Percentile intervals cover 93 to 97 times in 100 even where the bound leaves one false positive; drawing
    the same examples again, 88 to 97 times (benchmarks/coverage.py).

    Where scores are tied, no threshold divides them: a place among tied non-members has only the members above the tie,
    as :func:`~lit_privq.metrics.tpr_at_fpr` has. The tie's true rates reach a random way into the gaps to its
    neighbours.

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
    place = (above + gap_above / (gap_above + gap_below)) / (others + 1)  # of the bound, as a share of all gaps
    tied = _tied_ranks(curve)
    shares = _share_above(curve, place) if tied is None else _share_above_ties(curve, place, tied, random)
    return random.binomial(curve.n_members, shares) / curve.n_members


def _check(count: int) -> None:
    if count < 2:
        raise ValueError(f"an interval needs at least 2 curves, hundreds are usual; got {count}")


def _steps(others: int) -> NDArray[np.int64]:
    """Which non-members are followed, counted from the highest."""
    coarse = np.geomspace(_SINGLE, others, 2 + int(np.log(max(1.0, others / _SINGLE)) / np.log(_STEP)))
    return np.unique(
        np.concatenate([np.arange(1, min(_SINGLE, others) + 1), coarse[coarse <= others].astype(np.int64)])
    )


def _powers(random: np.random.Generator, places: Floats, shares: Floats) -> Floats:
    """How the curves may rise above the highest non-member, (count, 1); places and shares are (count, gaps + 1)."""
    later = min(1 + _SLOPE, places.shape[1] - 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # no members above: no slope
        slope = np.log(shares[:, later] / shares[:, 1]) / np.log(places[:, later] / places[:, 1])
    return np.asarray((np.clip(np.nan_to_num(slope), *_SLOPES) ** random.uniform(0, _RISE, slope.size))[:, None])


def _gamma_shares(random: np.random.Generator, parts: Floats) -> Floats:
    """Running shares of gamma variables with these means, (count, parts + 1) from 0 to 1."""
    sums = np.cumsum(random.standard_gamma(np.pad(parts, ((0, 0), (1, 0)))), axis=1)
    return np.asarray(sums / sums[:, -1:])


def _members_above(curve: Roc) -> Floats:
    """Members that score above each non-member, from the highest; 0 before and all behind: (non-members + 2,)."""
    middle = np.arange(curve.n_others) + 0.5  # a tie counts half, as in the trapezoids of an area
    counts = np.interp(middle, curve.false_positives, curve.true_positives)
    return np.concatenate([[0.0], counts, [curve.n_members]])


def _share_above(curve: Roc, rates: Floats) -> Floats:
    """Share of the members above a true false-positive rate, as smooth as the curve allows."""
    known, others = _members_above(curve) / curve.n_members, curve.n_others
    place = rates * (others + 1)
    left = np.minimum(place.astype(np.int64), others)
    within = place - left
    within = np.where(left == 0, np.sqrt(within), within)  # above the highest non-member curves start steeply
    return np.asarray(known[left] + within * (known[left + 1] - known[left]))


def _tied_ranks(curve: Roc) -> NDArray[np.bool_] | None:
    """Which non-members, from the highest, share a score with another example, (non-members,); None if none does."""
    up, right = np.diff(curve.true_positives), np.diff(curve.false_positives)
    tied = (right > 1) | ((right > 0) & (up > 0))  # (distinct scores,)
    return np.repeat(tied, right) if tied.any() else None


def _share_above_ties(curve: Roc, rates: Floats, tied: NDArray[np.bool_], random: np.random.Generator) -> Floats:
    """As ``_share_above`` where scores are tied: inside of a tie, the share of the members above it.

    Each gap between neighbouring non-members is cut at two random places: a tie that begins or ends at the gap takes
    the part on its side, the middle belongs to neither.
    """
    members, others = curve.n_members, curve.n_others
    right = np.diff(curve.false_positives)
    strictly = np.repeat(curve.true_positives[:-1], right)  # members above each non-member, (non-members,)
    at_least = np.repeat(curve.true_positives[1:], right)  # and those tied with it
    strictly, at_least = (np.concatenate([[0], each, [members]]) for each in (strictly, at_least))
    tied = np.concatenate([[False], tied, [False]])
    score = np.concatenate([[0], np.repeat(np.arange(1, right.size + 1), right), [right.size + 1]])
    place = rates * (others + 1)
    left = np.minimum(place.astype(np.int64), others)
    within = place - left
    first, last = np.sort(random.random((2, rates.size)), axis=0)
    smooth = np.where(left == 0, np.sqrt(within), within)  # as for scores without ties
    between = at_least[left] + smooth * (strictly[left + 1] - at_least[left])
    same = score[left] == score[left + 1]
    found = np.where(tied[left + 1] & (within > last), strictly[left + 1], between)
    return np.asarray(np.where(tied[left] & (same | (within < first)), strictly[left], found) / members)
