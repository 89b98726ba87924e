"""A lower bound on differential privacy's epsilon, from what an attack achieved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from lit_privq.metrics.members import as_members
from lit_privq.metrics.roc import Floats, Roc, roc


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a rate: covers it with at least this probability.

    Only for a threshold that was fixed before these trials were seen.

    Raises:
        ValueError: if successes are not in [0, trials], or the level is not in (0, 1).

    >>> low, high = clopper_pearson(0, 100)
    >>> low, round(high, 4)
    (0.0, 0.0362)
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"successes must lie between 0 and the number of trials; got {successes} of {trials}")
    if not 0 < level < 1:
        raise ValueError(f"level is a probability in (0, 1), 0.95 is usual; got {level}")
    alpha = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, alpha))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - alpha))
    return low, high


@dataclass(frozen=True)
class Point:
    """Counts of an attack at one threshold.

    Args:
        true_positives: members called members.
        members: how many there are.
        false_positives: non-members called members.
        others: how many non-members there are.
    """

    true_positives: int
    members: int
    false_positives: int
    others: int

    def epsilon(self, level: float = 0.95, delta: float = 0.0) -> float:
        """Lower bound on epsilon, at least 0, for a threshold fixed before these examples were seen.

        ln((TPR_low - delta) / FPR_high), or the mirrored rule ln((TNR_low - delta) / FNR_high) where that is larger;
        both rest on the same two one-sided bounds, each of which fails with probability (1 - level) / 2.

        Raises:
            ValueError: if delta is not in [0, 1), or a count is impossible.

        Source: Jagielski et al. 2020, arXiv:2006.07709; Nasr et al. 2021, arXiv:2101.04535.

        >>> round(Point(900, 1000, 100, 1000).epsilon(), 3), Point(10, 1000, 10, 1000).epsilon()
        (1.99, 0.0)
        """
        tpr = clopper_pearson(self.true_positives, self.members, level)[0]
        fpr = clopper_pearson(self.false_positives, self.others, level)[1]
        if not 0 <= delta < 1:
            raise ValueError(f"delta is a probability in [0, 1), 1e-5 is usual; got {delta}")
        rules = [(tpr - delta) / fpr, (1 - fpr - delta) / (1 - tpr)]
        return max([0.0, *(float(np.log(ratio)) for ratio in rules if ratio > 0)])


class ThresholdChoice(ABC):
    """How a threshold is chosen, which decides the level that a bound on epsilon needs at each point."""

    @abstractmethod
    def points(self, scores: Floats, members: NDArray[np.bool_], level: float) -> Iterator[tuple[Point, float]]:
        """Operating points to try, each with the level at which its rates are bounded."""


@dataclass(frozen=True)
class Fixed(ThresholdChoice):
    """A threshold fixed before the scores were seen, on shadow models for example.

    The caller must make sure of that: only a threshold that is itself one of the scores can be recognised here.

    Args:
        threshold: an example is called a member when its score reaches it.
    """

    threshold: float

    def points(self, scores: Floats, members: NDArray[np.bool_], level: float) -> Iterator[tuple[Point, float]]:
        """The one point.

        Raises:
            ValueError: if the threshold is one of the scores: then it was picked from them.
        """
        if (scores == self.threshold).any():
            raise ValueError(
                f"the threshold {self.threshold} is itself one of the scores, so it was picked from them and the bound "
                "would not hold; use Split, Bonferroni, or a threshold from shadow models"
            )
        yield operating_point_at(scores, members, self.threshold), level


@dataclass(frozen=True)
class Split(ThresholdChoice):
    """A threshold that is best on one half of the examples, judged on the other half.

    Args:
        seed: of the halving.
    """

    seed: int = 0

    def points(self, scores: Floats, members: NDArray[np.bool_], level: float) -> Iterator[tuple[Point, float]]:
        """The one point, on the second half."""
        first = np.random.default_rng(self.seed).permutation(scores.size) < scores.size // 2
        curve = roc(scores[first], members[first])
        bounds = [
            Point(int(tp), curve.n_members, int(fp), curve.n_others).epsilon(level)
            for tp, fp in zip(curve.true_positives[curve.hull], curve.false_positives[curve.hull], strict=True)
        ]
        threshold = curve.thresholds[curve.hull][int(np.argmax(bounds))]
        yield operating_point_at(scores[~first], members[~first], float(threshold)), level


@dataclass(frozen=True)
class Bonferroni(ThresholdChoice):
    """Every vertex of the ROC's convex hull, each bounded at a level at which all bounds hold at once."""

    def points(self, scores: Floats, members: NDArray[np.bool_], level: float) -> Iterator[tuple[Point, float]]:
        """All vertices but (0, 0) and (1, 1)."""
        return self.vertices(roc(scores, members), level)

    @staticmethod
    def vertices(curve: Roc, level: float) -> Iterator[tuple[Point, float]]:
        """The same of a ROC that is known."""
        inner = curve.hull[1:-1]
        for hits, misses in zip(
            curve.true_positives[inner].tolist(), curve.false_positives[inner].tolist(), strict=True
        ):
            yield Point(hits, curve.n_members, misses, curve.n_others), 1 - (1 - level) / len(inner)


def epsilon_lower_bound(
    scores: Floats, members: NDArray[np.bool_], threshold: ThresholdChoice, *, level: float = 0.95, delta: float = 0.0
) -> float:
    """Largest epsilon that the attack refutes, at least 0.

    Args:
        scores: (examples,), larger means more likely a member.
        members: (examples,) bool, or 0 and 1.
        threshold: how it is chosen: :class:`Fixed`, :class:`Split` or :class:`Bonferroni`. The best threshold of the
            scores themselves, without a correction for that choice, cannot be asked for.
        level: probability with which the bound holds.
        delta: of (epsilon, delta) differential privacy.

    Raises:
        ValueError: if the threshold is a bare number, or one picked from the scores; if delta is not in [0, 1).
    """
    if not 0 <= delta < 1:
        raise ValueError(f"delta is a probability in [0, 1), 1e-5 is usual; got {delta}")
    if not isinstance(threshold, ThresholdChoice):
        raise ValueError(
            f"say how the threshold was chosen: Fixed(...), Split() or Bonferroni(); got {threshold!r}, which may have "
            "been picked from the scores"
        )
    points = threshold.points(np.asarray(scores), as_members(members), level)
    return max((point.epsilon(at, delta) for point, at in points), default=0.0)


def operating_point_at(scores: Floats, members: NDArray[np.bool_], threshold: float) -> Point:
    """Counts of the attack at a threshold."""
    members = as_members(members)
    called = scores >= threshold
    inside, outside = int(members.sum()), int((~members).sum())
    return Point(int((called & members).sum()), inside, int((called & ~members).sum()), outside)
