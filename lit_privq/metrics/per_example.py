"""True-positive rates where each example has its own threshold, set by the shadows that did not train on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from lit_privq.metrics.members import as_members

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PerExampleRates:
    """What an attack reaches when the false-positive rate is bounded for every single example.

    Pooled over examples, a bound of 1 % may hide examples that are accused in one model of five though they never
    trained it.

    Args:
        max_fpr: the bound, a fraction.
        tpr: (targets,) share of a target's members whose score exceeds their own threshold.
        fpr: (targets,) share of its non-members whose score does.
        reachable: share of the examples whose threshold is exceeded by some shadow that trained on them; where none
            does, the bound asks for more than the attack can show.
    """

    max_fpr: float
    tpr: Floats
    fpr: Floats
    reachable: float


@dataclass(frozen=True, eq=False)
class Accusations:
    """Who exceeds the thresholds that bound every single example's false-positive rate.

    Args:
        max_fpr: the bound, a fraction.
        accused: (targets, examples) bool.
        reachable: (examples,) bool, whether some shadow that trained on the example exceeds its threshold.
    """

    max_fpr: float
    accused: NDArray[np.bool_]
    reachable: NDArray[np.bool_]

    def rate(self, which: NDArray[np.bool_]) -> Floats:
        """Share of the chosen examples, (targets, examples) bool, that are accused, (targets,); NaN where none is."""
        count = which.sum(1)
        return np.asarray(np.where(count, (self.accused & which).sum(1) / np.maximum(count, 1), np.nan))


def per_example_rates(
    shadows: Floats,
    shadow_members: NDArray[np.bool_],
    targets: Floats,
    members: NDArray[np.bool_],
    max_fpr: Sequence[float],
    *,
    own: NDArray[np.intp] | None = None,
) -> list[PerExampleRates]:
    """Rates of all members and non-members, one entry for each bound; arguments and errors as of :func:`accusations`.

    >>> rng = np.random.default_rng(0)
    >>> inside = rng.random((40, 500)) < 0.5
    >>> scores = rng.normal(size=(40, 500)) + 2 * inside
    >>> (found,) = per_example_rates(scores[4:], inside[4:], scores[:4], inside[:4], [0.05])
    >>> print(found.tpr.mean().round(2), found.fpr.mean().round(2))
    0.55 0.05
    """
    members = as_members(members)
    return [
        PerExampleRates(each.max_fpr, each.rate(members), each.rate(~members), float(each.reachable.mean()))
        for each in accusations(shadows, shadow_members, targets, members, max_fpr, own=own)
    ]


def accusations(
    shadows: Floats,
    shadow_members: NDArray[np.bool_],
    targets: Floats,
    members: NDArray[np.bool_],
    max_fpr: Sequence[float],
    *,
    own: NDArray[np.intp] | None = None,
) -> Iterator[Accusations]:
    """Who is accused at thresholds that hold for each example alone, for one bound after the other.

    An example's threshold is the upper end of Student's one-sided prediction interval of the scores that shadows
    outside of its training show: mean + t(1 - bound, n - 1) * deviation * sqrt(1 + 1 / n).

    Args:
        shadows: (shadows, examples) scores of shadows, each attacked with the others.
        shadow_members: (shadows, examples) bool, or 0 and 1.
        targets: (targets, examples) scores of the targets.
        members: (targets, examples) bool, or 0 and 1.
        max_fpr: bounds on every example's false-positive rate, fractions in (0, 1).
        own: (targets,) each target's row among the shadows, left out of its own thresholds; None for held-out targets.

    Raises:
        ValueError: if a bound is out of range, or an example has fewer than two shadows that did not train on it.
    """
    bad = [bound for bound in max_fpr if not 0 < bound < 1]
    if bad:
        raise ValueError(f"max_fpr are fractions in (0, 1), 0.01 for 1 %; got {bad[0]}")
    shadow_members, members = as_members(shadow_members), as_members(members)
    outside = ~shadow_members
    count = outside.sum(0)
    if count.min() < 2 + (own is not None):
        raise ValueError(
            f"a threshold for each example needs two shadows that did not train on it; example {count.argmin()} has "
            f"{int(count.min())}"
        )
    mean = shadows.mean(0, where=outside)
    squares = np.square(shadows - mean).sum(0, where=outside)
    largest = shadows.max(0, where=shadow_members, initial=-np.inf)
    sizes, means, sums = (np.broadcast_to(each, targets.shape) for each in (count, mean, squares))
    if own is not None:  # without the target's own score, where it is in the group
        off, left = targets - mean, ~members
        sizes = count - left
        means = np.where(left, mean - off / sizes, mean)
        sums = np.where(left, np.maximum(squares - off * off * count / sizes, 0.0), squares)
    spread = np.sqrt(sums / (sizes - 1) * (1 + 1 / sizes))
    pooled = np.sqrt(squares / (count - 1) * (1 + 1 / count))
    degrees = np.arange(1, len(shadows) + 1) - 1.0
    for bound in max_fpr:
        reach = np.append(0.0, stdtrit(np.maximum(degrees, 1), 1 - bound))  # by the number of scores
        yield Accusations(bound, targets > means + reach[sizes] * spread, largest > mean + reach[count] * pooled)
