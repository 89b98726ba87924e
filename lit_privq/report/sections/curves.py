"""The mean ROC curve over targets, for drawing; the numbers of the tables come from results.csv."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_privq.report.inputs import Scores


@dataclass(frozen=True)
class Curve:
    """True-positive rate over false-positive rate, averaged over targets at equal false-positive rates.

    Args:
        fpr: (points,) from one non-member to all of them, evenly on a log axis.
        mean: (points,) mean true-positive rate.
        deviation: (points,) standard deviation over targets, 0 for a single one.
    """

    fpr: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def mean_curve(scores: Scores, points: int = 120) -> Curve:
    """Average the targets' curves.

    >>> certain = Scores(np.array([0]), np.array([[True, False, True, False]]), np.array([[3.0, 0.0, 2.0, 1.0]]))
    >>> mean_curve(certain).mean.min()
    np.float64(1.0)
    """
    fewest = int((~scores.members).sum(axis=1).min())
    fpr = np.geomspace(1 / fewest, 1.0, points)
    curves = np.stack(
        [_curve(row[inside], row[~inside], fpr) for row, inside in zip(scores.scores, scores.members, strict=True)]
    )  # (targets, points)
    spread = curves.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros_like(fpr)
    return Curve(fpr, curves.mean(axis=0), spread)


def _curve(members: NDArray[np.float64], others: NDArray[np.float64], fpr: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of members above the score that as many non-members exceed as each rate allows, (points,)."""
    allowed = np.floor(fpr * others.size + 1e-9).astype(np.int64)
    falling = np.append(np.sort(others)[::-1], -np.inf)
    below = np.searchsorted(np.sort(members), falling[allowed], side="right")
    return np.asarray(1 - below / members.size, dtype=np.float64)
