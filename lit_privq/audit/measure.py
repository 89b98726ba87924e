"""Scores into numbers, each with its interval and with what its noise is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lit_privq.artifacts.confidences import Dump
from lit_privq.artifacts.results import ALL, POOL, SLICE, Result
from lit_privq.audit.case import Case
from lit_privq.metrics import (
    Influence,
    Noise,
    Ranked,
    Roc,
    accusations,
    auc,
    auc_influence,
    auc_interval,
    balanced_accuracy_influence,
    balanced_accuracy_interval,
    best_balanced_accuracy,
    difference_interval,
    fpr_reached,
    interval,
    log_auroc,
    ranked,
    rate_interval,
    redrawn_log_aurocs,
    redrawn_tpr,
    semilog_auroc,
    tpr_at_fpr,
    tpr_influence,
    wilson,
)
from lit_privq.metrics.rate_interval import NOWHERE, Ends
from lit_privq.metrics.roc import Floats, allowed_false_positives

_REACH = float(ndtri(0.975))
_LEAST = 20  # members, and non-members; with fewer only the area has an interval that covers as often as it says


class Measure(NamedTuple):
    """What is measured of an attack.

    Args:
        metric: name in results.csv.
        slice: the members that count.
        against: ``pool`` where all non-members stand against them, ``slice`` where those of the slice do.
    """

    metric: str
    slice: str = ALL
    against: str = POOL


@dataclass(frozen=True, eq=False)
class PerTarget:
    """One metric of one attack on every target of a case.

    Args:
        estimates: (targets,); NaN where it cannot be measured.
        intervals: each target's own 95 % interval, that of its examples; NaN where there is none.
        noise: of the examples of each target; None where it is unknown.
        influences: of each target's examples, for differences on the same examples; empty where unknown.
        fpr: (targets,) the false-positive rate at which a true-positive rate is read; None of other metrics.
    """

    estimates: Floats
    intervals: tuple[Ends, ...] = ()
    noise: Noise | None = None
    influences: tuple[Influence, ...] = ()
    fpr: Floats | None = None

    @property
    def empty(self) -> bool:
        """Whether no target has a value, as where a bound leaves a slice's own non-members no false positive."""
        return bool(np.isnan(self.estimates).all())

    def own_interval(self, place: int) -> Ends:
        """The 95 % interval of one target."""
        return self.intervals[place] if self.intervals else NOWHERE

    def shared_interval(self) -> Ends:
        """The 95 % interval of the mean of these targets, that of their examples; NaN where their noise is unknown."""
        if self.noise is None:
            return NOWHERE
        centre, reach = float(self.noise.middle.mean()), _REACH * float(np.sqrt((self.noise.deviation**2).sum()))
        return centre - reach / self.estimates.size, centre + reach / self.estimates.size

    def __sub__(self, other: PerTarget) -> PerTarget:
        """The difference, target by target and example by example."""
        estimates = self.estimates - other.estimates
        shapes = [[one.inside.size, one.outside.size] for side in (self, other) for one in side.influences]
        if not self.influences or not other.influences or shapes[: len(shapes) // 2] != shapes[len(shapes) // 2 :]:
            return PerTarget(estimates, noise=self._unpaired(other, estimates))
        moved = [one - two for one, two in zip(self.influences, other.influences, strict=True)]
        deviation = np.array([each.deviation for each in moved])
        if np.isnan(deviation).any():
            return PerTarget(estimates)
        ends = tuple(self._moved(other, row, each) for row, each in enumerate(deviation.tolist()))
        return PerTarget(estimates, ends, Noise(estimates, deviation))

    def _unpaired(self, other: PerTarget, estimates: Floats) -> Noise | None:
        """Noise of differences as if the examples were others, for targets that agree and so know of no spread."""
        if self.noise is None or other.noise is None or np.ptp(estimates) > 0:
            return None
        return Noise(estimates, np.hypot(self.noise.deviation, other.noise.deviation))

    def _moved(self, other: PerTarget, row: int, deviation: float) -> Ends:
        """The interval of one target's difference: as skewed as the two intervals, where there are two."""
        value = float(self.estimates[row] - other.estimates[row])
        sides = self._side(row), other._side(row)
        spreads = self.influences[row].deviation, other.influences[row].deviation
        known = all(0 < spread < np.inf for spread in spreads) and not np.isnan([side[1] for side in sides]).any()
        if not known:
            return value - _REACH * deviation, value + _REACH * deviation
        shared = (spreads[0] ** 2 + spreads[1] ** 2 - deviation**2) / (2 * spreads[0] * spreads[1])
        low, high = difference_interval(*sides[0], *sides[1], float(np.clip(shared, -1, 1)))
        return min(low, value), max(high, value)

    def _side(self, row: int) -> tuple[float, Ends]:
        """What stands for one target's number, and its interval."""
        middle = self.estimates if self.noise is None else self.noise.middle
        return float(middle[row]), self.own_interval(row)


Measurements = Mapping[str, Mapping[Measure, PerTarget]]  # by attack
Masks = Mapping[str, NDArray[np.bool_]]  # by slice, (examples,) or (targets, examples)


def statistics(max_fpr: Sequence[float]) -> dict[str, Callable[[Roc], Floats]]:
    """The metrics of results.csv that are read off a ROC, by name."""
    rates = {rate_name(bound): partial(tpr_at_fpr, max_fpr=bound) for bound in max_fpr}
    areas = {"log_auroc": log_auroc, "semilog_auroc": semilog_auroc}
    return {"auc": auc, "balanced_accuracy": best_balanced_accuracy, **areas, **rates}


def rate_name(bound: float) -> str:
    """Name of a true-positive rate in results.csv."""
    return f"tpr_at_{bound:g}"


def per_example_name(bound: float) -> str:
    """Name of a true-positive rate at thresholds of each example's own in results.csv."""
    return f"tpr_per_example_at_{bound:g}"


def measure(
    case: Case,
    scores: Mapping[str, NDArray[np.float64]],
    max_fpr: Sequence[float],
    curves: int,
    seed: int,
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
    sliced: Callable[[str, str], bool] = lambda attack, name: True,
    before: Callable[[int], None] = lambda _: None,
) -> Measurements:
    """Every metric of every attack, for all members and for those of each slice.

    Areas, best accuracies, rates of slices and paired differences have closed forms. Log-AUROCs and true-positive rates
    rest on a handful of extreme scores: the intervals of all members come from ``redrawn_log_aurocs`` and
    ``redrawn_tpr``. A slice's log-AUROCs get one of their own only where there is no other target to compare with.

    Args:
        case: what was attacked.
        scores: (targets, examples) by attack.
        max_fpr: bounds on the false-positive rate.
        curves: how many to draw for each of the former intervals; 0 leaves out all intervals.
        seed: of the drawing.
        slices: (examples,) or (targets, examples) bool by name.
        sliced: of an attack and a slice, whether one is measured on the other.
        before: called with the number of each target before it is measured.
    """
    found: dict[str, dict[Measure, dict[int, _One]]] = {attack: {} for attack in scores}
    for row, (target, members) in enumerate(zip(case.index.tolist(), case.members, strict=True)):
        before(row)
        parts = parts_of(slices or {}, row, members)
        for attack, values in scores.items():
            seen = ranked(values[row], members)
            ones = _whole(seen, max_fpr, curves, seed + target)
            for part in parts:
                if sliced(attack, part.name):
                    ones |= _part(seen, part, max_fpr, curves, seed + target, alone=len(case.index) == 1)
            for key, one in ones.items():
                found[attack].setdefault(key, {})[row] = one
    return _by_attack(found, len(case.index))


def measure_slices(
    case: Case, scores: NDArray[np.float64], max_fpr: Sequence[float], curves: int, seed: int, slices: Masks
) -> dict[Measure, PerTarget]:
    """The same of one attack, for slices alone.

    Args:
        case: what was attacked.
        scores: (targets, examples).
        max_fpr: bounds on the false-positive rate.
        curves: as in :func:`measure`.
        seed: of the drawing.
        slices: (examples,) or (targets, examples) bool by name.
    """
    found: dict[Measure, dict[int, _One]] = {}
    for row, (target, members) in enumerate(zip(case.index.tolist(), case.members, strict=True)):
        seen = ranked(scores[row], members)
        for part in parts_of(slices, row, members):
            ones = _part(seen, part, max_fpr, curves, seed + target, alone=len(case.index) == 1)
            for key, one in ones.items():
                found.setdefault(key, {})[row] = one
    return _by_attack({"": found}, len(case.index))[""]


@dataclass(frozen=True, eq=False)
class Part:
    """A slice of one target.

    Args:
        name: of the slice.
        inside: (members,) numbers of its examples that the target trained on.
        outside: (non-members,) numbers of the others; empty where these are all non-members of the target, too.
    """

    name: str
    inside: NDArray[np.intp]
    outside: NDArray[np.intp]


def parts_of(slices: Masks, row: int, members: NDArray[np.bool_]) -> list[Part]:
    """The slices of one target, by its row in masks that are (targets, examples), and its members (examples,)."""
    found = []
    for name, mask in slices.items():
        own = mask if mask.ndim == 1 else mask[row]
        inside, outside = np.flatnonzero(own & members), np.flatnonzero(own & ~members)
        everybody = outside.size == members.size - int(members.sum())
        found.append(Part(name, inside, outside[:0] if everybody else outside))
    return found


def _by_attack(
    found: Mapping[str, Mapping[Measure, Mapping[int, _One]]], targets: int
) -> dict[str, dict[Measure, PerTarget]]:
    """Joined over targets; a small slice has no non-members of its own in some of them."""
    empty = _One(np.nan)
    return {
        attack: {key: _joined([ones.get(row, empty) for row in range(targets)]) for key, ones in each.items()}
        for attack, each in found.items()
    }


class _One(NamedTuple):
    """One metric of one target: value, interval, middle and deviation of its noise, influence of its examples."""

    value: float
    ends: Ends = NOWHERE
    middle: float = float("nan")
    deviation: float = float("nan")
    influence: Influence | None = None
    fpr: float = float("nan")


def _joined(ones: Sequence[_One]) -> PerTarget:
    """One metric on all targets."""
    middle, deviation = (np.array([getattr(one, name) for one in ones]) for name in ("middle", "deviation"))
    noise = None if np.isnan(middle).any() or np.isnan(deviation).any() else Noise(middle, deviation)
    influences = tuple(one.influence for one in ones if one.influence is not None)
    fpr = np.array([one.fpr for one in ones])
    return PerTarget(
        np.array([one.value for one in ones]),
        tuple(one.ends for one in ones),
        noise,
        influences if len(influences) == len(ones) else (),
        None if np.isnan(fpr).all() else fpr,
    )


def _whole(seen: Ranked, max_fpr: Sequence[float], curves: int, seed: int) -> dict[Measure, _One]:
    """All metrics of all members."""
    found = {Measure(name): one for name, one in _read(seen.curve, max_fpr, seen.curve).items()}
    values = {key.metric: one.value for key, one in found.items()}
    if not curves:
        return found
    found[Measure("auc")] = found[Measure("auc")]._replace(ends=auc_interval(seen.curve))
    if min(seen.curve.n_members, seen.curve.n_others) < _LEAST:
        return found
    closed = {
        "auc": (auc_influence(seen), auc_interval(seen.curve)),
        "balanced_accuracy": (balanced_accuracy_influence(seen), balanced_accuracy_interval(seen.curve)),
    }
    for name, (influence, ends) in closed.items():
        found[Measure(name)] = _One(values[name], ends, values[name], influence.deviation, influence)
    for name, replicates in redrawn_log_aurocs(seen.curve, curves, seed).items():
        found[Measure(name)] = _redrawn(values[name], replicates)
    for bound in max_fpr:
        name = rate_name(bound)
        one = _redrawn(values[name], redrawn_tpr(seen.curve, bound, curves, seed))
        found[Measure(name)] = one._replace(influence=tpr_influence(seen, bound), fpr=found[Measure(name)].fpr)
    return found


def _read(curve: Roc, max_fpr: Sequence[float], others: Roc) -> dict[str, _One]:
    """What is read off one curve, by metric; ``others`` has all steps of the same non-members, who set thresholds."""
    found = {name: _One(float(metric(curve))) for name, metric in statistics(max_fpr).items()}
    reached = {rate_name(bound): float(fpr_reached(others, bound)) for bound in max_fpr}
    return {name: one._replace(fpr=reached.get(name, np.nan)) for name, one in found.items()}


def _redrawn(value: float, replicates: Floats) -> _One:
    return _One(value, interval(replicates), float(np.median(replicates)), float(replicates.std(ddof=1)))


def _part(
    seen: Ranked, part: Part, max_fpr: Sequence[float], curves: int, seed: int, *, alone: bool
) -> dict[Measure, _One]:
    """All metrics of a slice's members, before all non-members and, where they are others, before the slice's own.

    ``alone`` is the only target, whose own change stands in the place of a change of other targets.
    """
    if not part.inside.size:
        return {Measure(metric, part.name): _One(float("nan")) for metric in statistics(max_fpr)}
    ways = {POOL: seen.part(part.inside)}
    if part.outside.size:
        ways[SLICE] = seen.part(part.inside, part.outside)
    found: dict[Measure, _One] = {}
    for against, curve in ways.items():
        ones = _read(curve, max_fpr, seen.curve if against == POOL else curve)
        if curves:
            ends = _part_intervals(curve, max_fpr, curves, seed, alone=alone)
            ones = {name: _within(one, ends[name]) if name in ends else one for name, one in ones.items()}
        if curves and alone:
            scores = seen.curve.thresholds[seen.step[part.inside]]
            for name, influence in _member_influences(curve, scores, max_fpr).items():
                ones[name] = ones[name]._replace(influence=influence)
        found |= {Measure(name, part.name, against): one for name, one in ones.items()}
    return found


def _within(one: _One, ends: Ends) -> _One:
    """A number with its interval, and with the noise that gives so wide a one."""
    return one._replace(ends=ends, middle=one.value, deviation=(ends[1] - ends[0]) / (2 * _REACH))


def _part_intervals(curve: Roc, max_fpr: Sequence[float], curves: int, seed: int, *, alone: bool) -> dict[str, Ends]:
    ends = {"auc": auc_interval(curve)} | {rate_name(bound): rate_interval(curve, bound) for bound in max_fpr}
    if min(curve.n_members, curve.n_others) >= _LEAST:
        ends["balanced_accuracy"] = balanced_accuracy_interval(curve)
        drawn = redrawn_log_aurocs(curve, curves, seed) if alone else {}
        ends |= {name: interval(replicates) for name, replicates in drawn.items()}
    return ends


def _member_influences(curve: Roc, scores: Floats, max_fpr: Sequence[float]) -> dict[str, Influence]:
    """Of the members of a slice, (members,) by their scores; they are so few that its non-members weigh little."""
    step = np.searchsorted(-curve.thresholds, -scores)
    fpr = (curve.fpr[step] + curve.fpr[step - 1]) / 2
    best = int((curve.tpr - curve.fpr).argmax())
    bounds = {bound: allowed_false_positives(curve.n_others, bound) for bound in max_fpr}
    called = {
        rate_name(bound): step < np.searchsorted(curve.false_positives, allowed, "right")
        for bound, allowed in bounds.items()
    }
    values = {"auc": -fpr, "balanced_accuracy": (step <= best) / 2, **called}
    return {name: Influence(each.astype(np.float32), np.zeros(2, np.float32)) for name, each in values.items()}


def per_example_measures(
    case: Case,
    scores: Mapping[str, NDArray[np.float64]],
    shadows: Mapping[str, NDArray[np.float64]],
    members: NDArray[np.bool_],
    max_fpr: Sequence[float],
    slices: Masks | None = None,
) -> tuple[Measurements, dict[str, dict[Measure, float]]]:
    """True-positive rates at thresholds of each example's own, of the attacks whose scores of shadows are known.

    Nobody's non-members set these thresholds, so that there is one rule for a slice, ``pool``.

    Args:
        case: what was attacked.
        scores: (targets, examples) by attack.
        shadows: (shadows, examples) by attack; the scores themselves where the targets are shadows.
        members: (shadows, examples) bool.
        max_fpr: bounds on the false-positive rate.
        slices: as in :func:`measure`.

    Returns:
        The rates, and the share of the examples at which each bound can be reached, both by attack; nothing where an
        example has fewer than two shadows that did not train on it.
    """
    own = None if case.own is None else np.arange(len(case.index))
    if not len(members) or (~members).sum(axis=0).min() < 2 + (own is not None):
        return {}, {}
    bounds = [bound for bound in max_fpr if bound < 1]
    everybody = {ALL: np.ones(case.members.shape[1], bool), **(slices or {})}
    masks = {name: np.broadcast_to(mask, case.members.shape) for name, mask in everybody.items()}
    rates: dict[str, dict[Measure, PerTarget]] = {}
    reachable: dict[str, dict[Measure, float]] = {}
    for attack in scores.keys() & shadows.keys():
        rates[attack], reachable[attack] = {}, {}
        for found in accusations(shadows[attack], members, scores[attack], case.members, bounds, own=own):
            for name, mask in masks.items():
                key = Measure(per_example_name(found.max_fpr), name)
                tpr, fpr = (found.rate(mask & which) for which in (case.members, ~case.members))
                rates[attack][key] = _binomial(tpr, (mask & case.members).sum(axis=1), fpr)
                reachable[attack][key] = float((found.reachable & mask).sum() / mask.sum())
    return rates, reachable


def _binomial(rates: Floats, members: NDArray[np.intp], fpr: Floats) -> PerTarget:
    """Rates of so many members at thresholds that their scores had no part in, all (targets,)."""
    ends = [
        wilson(rate, count) if count else NOWHERE for rate, count in zip(rates.tolist(), members.tolist(), strict=True)
    ]
    deviation = np.array([(high - low) / (2 * _REACH) for low, high in ends])
    noise = None if np.isnan(deviation).any() else Noise(rates, deviation)
    return PerTarget(rates, tuple(ends), noise, fpr=fpr)


def utility(dumps: Sequence[Dump]) -> dict[Measure, PerTarget]:
    """What each target is good for on the test set, by metric.

    Args:
        dumps: of the targets. Only accuracy and R², means over the test set, have intervals.
    """
    found = {metric: np.array([dump.utility[metric] for dump in dumps]) for metric in dumps[0].utility}
    return {
        Measure(metric): PerTarget(values)
        if metric == "mae"
        else _mean_of(values, [dump.test_correct for dump in dumps])
        for metric, values in found.items()
    }


def utility_of_guessing(dumps: Sequence[Dump]) -> dict[str, float]:
    """What a model that ignores its input is good for, by metric: it answers the most frequent label, or the mean one.

    Args:
        dumps: of models for one task.
    """
    if "accuracy" not in dumps[0].utility:
        return {"r2": 0.0}
    _, counts = np.unique(dumps[0].labels, return_counts=True)
    return {"accuracy": float(counts.max() / counts.sum())}


def utility_by_class(dumps: Sequence[Dump]) -> dict[Measure, PerTarget]:
    """Accuracy of each target on each class of the test set; nothing where its labels were not kept.

    Args:
        dumps: of the targets.
    """
    labels = dumps[0].test_labels
    if labels is None or dumps[0].values:
        return {}
    found = {}
    for label in np.unique(labels):
        values = [dump.test_correct[labels == label] for dump in dumps]
        means = np.array([float(one.mean(dtype=np.float64)) for one in values])
        found[Measure("accuracy", f"class_{label}")] = _mean_of(means, values)
    return found


def _mean_of(means: Floats, values: Sequence[NDArray[np.bool_] | NDArray[np.float32]]) -> PerTarget:
    """Means of values, (targets,), with what the values say of their noise."""
    influences = tuple(Influence(one.astype(np.float32), np.zeros(2, np.float32)) for one in values)
    deviation = np.array([each.deviation for each in influences])
    ends = zip((means - _REACH * deviation).tolist(), (means + _REACH * deviation).tolist(), strict=True)
    return PerTarget(means, tuple(ends), Noise(means, deviation), influences)


def rows(case: Case, measured: Measurements) -> Iterator[Result]:
    """The rows of results.csv, each with its own interval where there is one; none of a slice without any value."""
    for attack, metrics in measured.items():
        told = {key: found for key, found in metrics.items() if key.slice == ALL or not found.empty}
        for place, target in enumerate(case.index.tolist()):
            for key, found in told.items():
                what = case.dataset, case.net, case.variant, target, case.attacker, attack, key.metric
                value, (low, high) = float(found.estimates[place]), found.own_interval(place)
                fpr = np.nan if found.fpr is None else float(found.fpr[place])
                yield Result(*what, value, low, high, fpr, key.slice, key.against)
