"""Leakage at equal accuracy: the front of a rival's models, and how far another model lies from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, stdtr, stdtrit

from lit_privq.metrics.over_targets import Difference
from lit_privq.metrics.roc import Floats

Place = Literal["inside", "below", "above", "one point"]
"""Where an accuracy lies on a front: within its range, below or above it; a single point has no range."""

_LEAST = 1e-6  # accuracies of 0 and 1 have no log-odds
_NONE = 1e-12  # a spread that is rounding alone


@dataclass(frozen=True)
class FromFront:
    """A model beside a front at the model's own accuracy.

    Args:
        place: of the model's accuracy on the front.
        leakage: of the front at that accuracy; NaN outside of its range.
        change: the model's leakage less the front's; NaN outside of its range.
    """

    place: Place
    leakage: float
    change: Difference


def front(accuracy: Floats, leakage: Floats) -> NDArray[np.intp]:
    """The models that no other one dominates, by accuracy: along them more accuracy always costs more leakage.

    A model is dominated by one of at least its accuracy and at most its leakage; of equal ones the first stays.

    Args:
        accuracy: (models,) fractions.
        leakage: (models,) in any unit.

    Returns:
        Indices of the models.

    >>> front(np.array([0.9, 0.8, 0.85, 0.9]), np.array([0.05, 0.02, 0.06, 0.05])).tolist()
    [1, 0]
    """
    kept: list[int] = []
    for index in np.lexsort((leakage, -accuracy)).tolist():  # the most accurate first, of equal ones the least leaking
        if not kept or leakage[index] < leakage[kept[-1]]:
            kept.append(index)
    return np.array(kept[::-1], np.intp)


def leakage_at(at: Floats, accuracy: Floats, leakage: Floats) -> Floats:
    """Leakage of fronts at given accuracies, linear between neighbours in log-odds of accuracy.

    Args:
        at: (...,) fractions; beyond a front's range its end segment goes on, for its own length at most:
            means over resampled targets come to lie there.
        accuracy: (..., models) of each front, two at least, in any order.
        leakage: (..., models) likewise.

    Returns:
        (...,)

    >>> float(leakage_at(np.array(0.5), np.array([0.2, 0.8]), np.array([0.1, 0.3])).round(3))
    0.2
    """
    order = np.argsort(accuracy, axis=-1, kind="stable")
    place, odds = (
        _log_odds(at)[..., None],
        _log_odds(np.take_along_axis(accuracy, order, -1)),
    )  # (..., 1), (..., models)
    height = np.take_along_axis(leakage, order, -1)
    left = ((odds <= place).sum(axis=-1, keepdims=True) - 1).clip(0, odds.shape[-1] - 2)  # (..., 1)
    (low, high), (start, end) = (
        (np.take_along_axis(values, left, -1), np.take_along_axis(values, left + 1, -1)) for values in (odds, height)
    )
    gap = high - low
    share = np.divide(place - low, gap, out=np.zeros_like(gap), where=gap > 0).clip(-1, 2)
    return np.asarray((start + share * (end - start))[..., 0])


def from_front(
    accuracy: Floats,
    leakage: Floats,
    front_accuracy: Floats,
    front_leakage: Floats,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> FromFront:
    """How far a model's leakage lies from a front at the model's own mean accuracy, with an interval for other targets.

    Targets are drawn again with replacement, the same for the model and the front. Their standard deviation, made up
    for the few targets, gives Student's t: percentiles of so few would cover 80 to 90 times in 100. What is on the
    front is decided once, on the means over all targets.

    Args:
        accuracy: (targets,) of the model.
        leakage: (targets,) of the model.
        front_accuracy: (models, targets) of those on the front, as :func:`front` gives them.
        front_leakage: (models, targets) likewise.
        resamples: of the targets.
        seed: of the drawing.
        level: of the interval.

    Returns:
        Interval and p-value are NaN for one target, and where targets do not differ.

    Raises:
        ValueError: if there is no model on the front, or the shapes disagree.

    >>> ends = np.array([[0.8, 0.8], [0.9, 0.9]]), np.array([[0.02, 0.02], [0.06, 0.06]])
    >>> from_front(np.array([0.95, 0.95]), np.array([0.05, 0.05]), *ends).place
    'above'
    """
    shape = np.shape(front_accuracy)
    if (
        len(shape) != 2
        or not shape[0]
        or np.shape(front_leakage) != shape
        or not (np.shape(accuracy) == np.shape(leakage) == shape[1:])
    ):
        raise ValueError(
            "a front is (models, targets) accuracies and as many leakages, and the model beside it has (targets,) of "
            f"each; got {shape}, {np.shape(front_leakage)}, {np.shape(accuracy)} and {np.shape(leakage)}"
        )
    own, means = float(accuracy.mean()), front_accuracy.mean(axis=1)
    place = _place(own, means)
    if place != "inside":
        return FromFront(place, np.nan, Difference(np.nan, np.nan, np.nan, np.nan))
    there = float(leakage_at(np.array(own), means, front_leakage.mean(axis=1)))
    value, targets = float(leakage.mean()) - there, shape[1]
    draws = np.random.default_rng(seed).multinomial(targets, np.full(targets, 1 / targets), resamples) / targets
    fronts = leakage_at(draws @ accuracy, draws @ front_accuracy.T, draws @ front_leakage.T)  # (resamples,)
    if targets == 1 or not (spread := float((draws @ leakage - fronts).std(ddof=1))) > _NONE:
        return FromFront(place, there, Difference(value, np.nan, np.nan, np.nan))
    error = spread * math.sqrt(targets / (targets - 1))
    reach = float(stdtrit(targets - 1, (1 + level) / 2)) * error
    p = 2 * float(stdtr(targets - 1, -abs(value) / error))
    return FromFront(place, there, Difference(value, value - reach, value + reach, p))


def _place(own: float, accuracies: Floats) -> Place:
    if accuracies.size == 1:
        return "one point"
    return "below" if own < accuracies.min() else "above" if own > accuracies.max() else "inside"


def _log_odds(accuracy: Floats) -> Floats:
    return np.asarray(logit(np.clip(accuracy, _LEAST, 1 - _LEAST)))
