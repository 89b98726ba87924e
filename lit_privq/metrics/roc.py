"""The ROC on sorted scores, and the metrics read off it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.metrics.members import as_members

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Roc:
    """True and false positives of every threshold, from above all scores to below them; or of many such curves.

    Args:
        true_positives: (..., points) members called members.
        false_positives: (..., points) non-members called members.
        thresholds: (points,) decreasing: an example is called a member when its score reaches it; first infinity.
    """

    true_positives: NDArray[np.integer[Any]]
    false_positives: NDArray[np.integer[Any]]
    thresholds: Floats

    @property
    def n_members(self) -> int:
        """How many members there are; the same in all curves."""
        return int(self.true_positives[..., -1].flat[0])

    @property
    def n_others(self) -> int:
        """How many non-members there are; the same in all curves."""
        return int(self.false_positives[..., -1].flat[0])

    @property
    def tpr(self) -> Floats:
        """(..., points) true-positive rate."""
        return self.true_positives / self.n_members

    @property
    def fpr(self) -> Floats:
        """(..., points) false-positive rate."""
        return self.false_positives / self.n_others

    def members_above(self, others: float) -> float:
        """True positives of a single curve at so many false positives, between counts on a straight line.

        >>> roc(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, False, True, False])).members_above(0.5)
        1.5
        """
        below = int(np.searchsorted(self.false_positives, max(0.0, others), "right")) - 1
        if below == self.false_positives.size - 1:
            return float(self.true_positives[below])
        above = int(np.searchsorted(self.false_positives, self.false_positives[below + 1], "right")) - 1
        ends = [(int(self.false_positives[each]), int(self.true_positives[each])) for each in (below, above)]
        (x, y), (next_x, next_y) = ends
        return y + (max(0.0, others) - x) / (next_x - x) * (next_y - y)

    @property
    def corners(self) -> NDArray[np.intp]:
        """Points where a single curve turns: the rest lie on the straight lines between these."""
        up, right = np.diff(self.true_positives), np.diff(self.false_positives)
        turn = (up[1:] * right[:-1] != up[:-1] * right[1:]) | ((up[1:] > 0) & (right[1:] > 0))
        return np.flatnonzero(np.concatenate([[True], turn, [True]]))

    @property
    def hull(self) -> NDArray[np.intp]:
        """Vertices of a single curve's upper convex hull, from (0, 0) to (1, 1).

        A point on or below the line between its neighbours is no vertex; where none is left, the rest are.
        """
        kept = self.corners
        while True:
            x, y = self.false_positives[kept], self.true_positives[kept]
            above = (y[1:-1] - y[:-2]) * (x[2:] - x[:-2]) > (y[2:] - y[:-2]) * (x[1:-1] - x[:-2])
            if above.all():
                return kept
            kept = kept[np.concatenate([[True], above, [True]])]


@dataclass(frozen=True, eq=False)
class Ranked:
    """The ROC of one target, and where on it each example is first called a member.

    Args:
        curve: of all examples.
        step: (examples,) the first point of the curve whose threshold the example's score reaches.
        members: (examples,) bool.
    """

    curve: Roc
    step: NDArray[np.intp]
    members: NDArray[np.bool_]

    def part(self, inside: NDArray[np.intp], outside: NDArray[np.intp] | None = None) -> Roc:
        """The ROC of some members before all non-members, or before some of them.

        Only the steps of these examples are looked at, so that a small part costs little.

        Args:
            inside: (members,) numbers of examples, at least one.
            outside: (non-members,) numbers of examples, at least one; None for all.

        >>> seen = ranked(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, False, True, False]))
        >>> seen.part(np.array([2])).tpr.tolist(), seen.part(np.array([0]), np.array([3])).fpr.tolist()
        ([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0])
        """
        if outside is not None:
            order = np.sort(np.concatenate([2 * self.step[inside] + 1, 2 * self.step[outside]]))  # 1 marks a member
            ends = np.flatnonzero(np.append(np.diff(order >> 1), 1))  # the last example of each step
            hits = np.cumsum(order & 1)[ends]
            points = np.append(0, order[ends] >> 1)
            return Roc(np.append(0, hits), np.append(0, ends + 1 - hits), self.curve.thresholds[points])
        steps = np.sort(self.step[inside])
        ends = np.flatnonzero(np.append(np.diff(steps), 1))
        turns = np.stack([steps[ends] - 1, steps[ends]], axis=1).ravel()  # between these the curve is horizontal
        hits = np.stack([np.append(0, ends[:-1] + 1), ends + 1], axis=1).ravel()
        points = np.concatenate([[0], turns, [self.curve.thresholds.size - 1]])
        new = np.append(True, points[1:] > points[:-1])
        hits = np.concatenate([[0], hits, [steps.size]])
        return Roc(hits[new], self.curve.false_positives[points[new]], self.curve.thresholds[points[new]])


def ranked(scores: Floats, members: NDArray[np.bool_]) -> Ranked:
    """The ROC of one target and the examples' places on it; arguments and errors as for :func:`roc`."""
    scores, members = np.asarray(scores), as_members(members)
    if members.shape != scores.shape or scores.ndim != 1 or scores.dtype.kind not in "biuf":
        raise ValueError(
            f"scores must be real numbers, (examples,) as members are; got {scores.dtype} {scores.shape} and members "
            f"{members.shape}"
        )
    if (bad := np.flatnonzero(np.isnan(scores))).size:
        raise ValueError(f"scores must not be NaN; {bad.size} of {scores.size} are, the first at example {bad[0]}")
    if members.all() or not members.any():
        raise ValueError(f"a ROC needs members and non-members; got {members.sum()} members of {members.size} examples")
    order = np.argsort(scores, kind="stable")[::-1]  # without a minus sign, which wraps unsigned and int8 scores
    ordered = scores[order]
    ends = np.append(ordered[1:] != ordered[:-1], True)  # the last of each run of equal scores
    last = np.flatnonzero(ends)
    hits = np.cumsum(members[order])[last]
    step = np.empty(scores.size, np.intp)
    step[order] = np.cumsum(np.append(True, ends[:-1]))
    curve = Roc(
        np.concatenate([[0], hits]), np.concatenate([[0], last + 1 - hits]), np.concatenate([[np.inf], ordered[last]])
    )
    return Ranked(curve, step, members)


def roc(scores: Floats, members: NDArray[np.bool_]) -> Roc:
    """The ROC of one target; equal scores form one step, so that their order does not matter.

    Args:
        scores: (examples,) numbers or booleans, larger means more likely a member; infinity is a score, NaN is none.
        members: (examples,) bool, or 0 and 1.

    Raises:
        ValueError: if scores are no real numbers or NaN, or there are no members or no non-members.

    >>> curve = roc(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, False, True, False]))
    >>> curve.tpr.tolist(), curve.fpr.tolist()
    ([0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0])
    """
    return ranked(scores, members).curve


def auc(curve: Roc) -> Floats:
    """Area under the ROC: the chance that a member scores above a non-member, ties counted half; (...).

    >>> float(auc(roc(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, False, True, False]))))
    0.875
    """
    return trapezoid(curve.true_positives, curve.false_positives) / (curve.n_members * curve.n_others)


def best_balanced_accuracy(curve: Roc) -> Floats:
    """Largest mean of true-positive and true-negative rate over all thresholds, (...).

    >>> float(best_balanced_accuracy(roc(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, False, True, False]))))
    0.75
    """
    return np.asarray((1 + curve.tpr - curve.fpr).max(-1) / 2)


def allowed_false_positives(n_others: int, max_fpr: float, *, inclusive: bool = False) -> int:
    """False positives that a bound on the rate allows: fewer than ``max_fpr * n_others``, or up to it if inclusive.

    >>> allowed_false_positives(1000, 0.01), allowed_false_positives(1000, 0.01, inclusive=True)
    (9, 10)
    """
    bound = max_fpr * n_others
    nearest = round(bound)
    if abs(bound - nearest) < 1e-9 * max(1, nearest):  # 0.001 * 3000 is no integer in binary
        return nearest if inclusive else nearest - 1
    return int(bound)


def tpr_at_fpr(curve: Roc, max_fpr: float, *, inclusive: bool = False) -> Floats:
    """True-positive rate at the last point of the ROC with a false-positive rate below the bound; no interpolation.

    Args:
        curve: the ROC.
        max_fpr: a fraction, 0.001 is 0.1 %.
        inclusive: whether the bound itself may be reached (the public reference stays strictly below).

    Returns:
        (...) fraction; NaN when the bound leaves no room for even one false positive, where the rate would say nothing.
        Where scores are tied, that point may lie far below the bound: see :func:`fpr_reached`.

    Raises:
        ValueError: if the bound is not in (0, 1].

    >>> curve = roc(np.arange(200.0), np.arange(200) >= 50)
    >>> float(tpr_at_fpr(curve, 0.1)), float(tpr_at_fpr(curve, 0.001))
    (1.0, nan)
    """
    return _at_bound(curve, curve.true_positives, max_fpr, inclusive) / curve.n_members


def fpr_reached(curve: Roc, max_fpr: float, *, inclusive: bool = False) -> Floats:
    """False-positive rate of the point at which :func:`tpr_at_fpr` reads the true-positive rate.

    Args:
        curve: the ROC.
        max_fpr: a fraction.
        inclusive: as of :func:`tpr_at_fpr`.

    Returns:
        (...) fraction; NaN where the true-positive rate is.

    >>> tied = roc(np.repeat([2.0, 1.0], 50), np.arange(100) % 2 == 0)  # 25 non-members share the highest score
    >>> float(tpr_at_fpr(tied, 0.1)), float(fpr_reached(tied, 0.1)), float(fpr_reached(tied, 0.6))
    (0.0, 0.0, 0.5)
    """
    return _at_bound(curve, curve.false_positives, max_fpr, inclusive) / curve.n_others


def _at_bound(curve: Roc, counts: NDArray[np.integer[Any]], max_fpr: float, inclusive: bool) -> Floats:
    """Counts at the last point of the ROC that the bound allows, (...); NaN where it allows no false positive."""
    if not 0 < max_fpr <= 1:
        raise ValueError(f"max_fpr is a fraction in (0, 1], 0.001 for 0.1 %; got {max_fpr}")
    allowed = allowed_false_positives(curve.n_others, max_fpr, inclusive=inclusive)
    if allowed < 1:
        return np.full(counts.shape[:-1], np.nan)
    if curve.false_positives.ndim == 1:
        return np.asarray(counts[np.searchsorted(curve.false_positives, allowed, "right") - 1], np.float64)
    point = (curve.false_positives <= allowed).sum(-1, keepdims=True) - 1
    return np.asarray(np.take_along_axis(counts, point, -1)[..., 0], np.float64)


def trapezoid(height: NDArray[Any], along: NDArray[Any]) -> Floats:
    """Area under straight lines between points, (...)."""
    width = np.diff(along).astype(np.float64)
    return np.asarray(
        (np.einsum("...p,...p->...", width, height[..., 1:]) + np.einsum("...p,...p->...", width, height[..., :-1])) / 2
    )
