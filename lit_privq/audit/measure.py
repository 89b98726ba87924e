"""Scores into numbers, each with its interval and with what its noise is made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

from lit_privq.artifacts.confidences import Dump
from lit_privq.artifacts.results import ALL, POOL, SLICE, Result
from lit_privq.audit.case import Case
from lit_privq.metrics import (
    Influence,
    Noise,
    Ranked,
    Roc,
    auc,
    auc_influence,
    auc_interval,
    balanced_accuracy_influence,
    best_balanced_accuracy,
    fpr_reached,
    interval,
    log_auroc,
    per_example_rates,
    ranked,
    redrawn_log_aurocs,
    redrawn_tpr,
    semilog_auroc,
    slope_at,
    tpr_at_fpr,
    tpr_influence,
)
from lit_privq.metrics.roc import Floats, allowed_false_positives

_REACH = float(ndtri(0.975))
_LEAST = 20  # members, and non-members; with fewer only the area has an interval that covers as often as it says

Ends = tuple[float, float]
NOWHERE: Ends = (float("nan"), float("nan"))


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
        if not self.influences or not other.influences:
            return PerTarget(estimates)
        moved = [one - two for one, two in zip(self.influences, other.influences, strict=True)]
        deviation = np.array([each.deviation for each in moved])
        if np.isnan(deviation).any():
            return PerTarget(estimates)
        ends = zip((estimates - _REACH * deviation).tolist(), (estimates + _REACH * deviation).tolist(), strict=True)
        return PerTarget(estimates, tuple(ends), Noise(estimates, deviation))


Measurements = Mapping[str, Mapping[Measure, PerTarget]]  # by attack


def statistics(max_fpr: Sequence[float]) -> dict[str, Callable[[Roc], Floats]]:
    """The metrics of results.csv that are read off a ROC, by name."""
    rates = {rate_name(bound): partial(tpr_at_fpr, max_fpr=bound) for bound in max_fpr}
    areas = {"log_auroc": log_auroc, "semilog_auroc": semilog_auroc}
    return {"auc": auc, "balanced_accuracy": best_balanced_accuracy, **areas, **rates}


def rate_name(bound: float) -> str:
    """Name of a true-positive rate in results.csv."""
    return f"tpr_at_{bound:g}"


def measure(
    case: Case,
    scores: Mapping[str, NDArray[np.float64]],
    max_fpr: Sequence[float],
    curves: int,
    seed: int,
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
    sliced: Collection[str] | None = None,
    before: Callable[[int], None] = lambda _: None,
) -> Measurements:
    """Every metric of every attack, for all members and for those of each slice.

    Areas, best accuracies and paired differences have closed forms. Log-AUROCs and true-positive rates rest on a
    handful of extreme scores: the intervals of all members come from ``redrawn_log_aurocs`` and ``redrawn_tpr``, those
    of a slice's rates, whose few members make up most of the noise, from counts (see :func:`rate_interval`).

    Args:
        case: what was attacked.
        scores: (targets, examples) by attack.
        max_fpr: bounds on the false-positive rate.
        curves: how many to draw for each of the former intervals; 0 leaves out all intervals.
        seed: of the drawing.
        slices: (examples,) or (targets, examples) bool by name.
        sliced: the attacks that are measured on the slices; None for all.
        before: called with the number of each target before it is measured.
    """
    masks = {name: np.broadcast_to(mask, case.members.shape) for name, mask in (slices or {}).items()}
    found: dict[str, dict[Measure, dict[int, _One]]] = {attack: {} for attack in scores}
    for row, (target, members) in enumerate(zip(case.index.tolist(), case.members, strict=True)):
        before(row)
        for attack, values in scores.items():
            seen = ranked(values[row], members)
            whole = _whole(seen, max_fpr, curves, seed + target)
            for name, mask in masks.items() if sliced is None or attack in sliced else ():
                whole |= _part(seen, name, mask[row], max_fpr, curves > 0)
            for key, one in whole.items():
                found[attack].setdefault(key, {})[row] = one
    empty, targets = _One(np.nan), range(len(case.index))  # a small slice has no non-members of its own in some targets
    return {
        attack: {key: _joined([ones.get(row, empty) for row in targets]) for key, ones in each.items()}
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
    area, best = auc_influence(seen), balanced_accuracy_influence(seen)
    accuracy = values["balanced_accuracy"]
    around = (max(0.5, accuracy - _REACH * best.deviation), min(1.0, accuracy + _REACH * best.deviation))
    around = around if best.deviation > 0 else NOWHERE
    closed = {"auc": (area, auc_interval(seen.curve)), "balanced_accuracy": (best, around)}
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
    seen: Ranked, name: str, mask: NDArray[np.bool_], max_fpr: Sequence[float], intervals: bool
) -> dict[Measure, _One]:
    """All metrics of a slice's members, before all non-members and, where they are others, before the slice's own."""
    inside, outside = int((seen.members & mask).sum()), int((~seen.members & mask).sum())
    if not inside:
        return {Measure(metric, name): _One(float("nan")) for metric in statistics(max_fpr)}
    curves = {POOL: seen.part(mask)}
    if 0 < outside < seen.curve.n_others:
        curves[SLICE] = seen.part(mask, own_others=True)
    found = {}
    for against, curve in curves.items():
        own: dict[str, Ends] = {}
        if intervals:
            own = {"auc": auc_interval(curve)} | {rate_name(b): rate_interval(curve, b) for b in max_fpr}
        for metric, one in _read(curve, max_fpr, seen.curve if against == POOL else curve).items():
            found[Measure(metric, name, against)] = one._replace(ends=own.get(metric, NOWHERE))
    return found


def rate_interval(curve: Roc, max_fpr: float) -> Ends:
    """95 % interval of a true-positive rate at a bound on the false-positive rate, on other examples.

    Clopper and Pearson's, on as many members as would give the noise of both kinds of examples: fewer than there are,
    where accused non-members move the threshold on a steep part of the curve. NaN where the rate is.
    """
    rate, allowed = float(tpr_at_fpr(curve, max_fpr)), allowed_false_positives(curve.n_others, max_fpr)
    if np.isnan(rate):
        return NOWHERE
    share = allowed / curve.n_others
    own = max(rate * (1 - rate), 1 / curve.n_members) / curve.n_members
    moved = slope_at(curve, allowed) ** 2 * share * (1 - share) / curve.n_others
    trials = curve.n_members * own / (own + moved)
    hits = rate * trials
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, 0.025))
    high = 1.0 if hits >= trials else float(betaincinv(hits + 1, trials - hits, 0.975))
    return low, high


def per_example_measures(
    case: Case,
    scores: Mapping[str, NDArray[np.float64]],
    shadows: Mapping[str, NDArray[np.float64]],
    members: NDArray[np.bool_],
    max_fpr: Sequence[float],
) -> tuple[Measurements, dict[str, dict[Measure, float]]]:
    """True-positive rates at thresholds of each example's own, of the attacks whose scores of shadows are known.

    Args:
        case: what was attacked.
        scores: (targets, examples) by attack.
        shadows: (shadows, examples) by attack; the scores themselves where the targets are shadows.
        members: (shadows, examples) bool.
        max_fpr: bounds on the false-positive rate.

    Returns:
        The rates, and the share of the examples at which each bound can be reached, both by attack; nothing where an
        example has fewer than two shadows that did not train on it.
    """
    own = None if case.own is None else np.arange(len(case.index))
    if not len(members) or (~members).sum(axis=0).min() < 2 + (own is not None):
        return {}, {}
    bounds = [bound for bound in max_fpr if bound < 1]
    rates: dict[str, dict[Measure, PerTarget]] = {}
    reachable: dict[str, dict[Measure, float]] = {}
    for attack in scores.keys() & shadows.keys():
        found = per_example_rates(shadows[attack], members, scores[attack], case.members, bounds, own=own)
        keys = [Measure(f"tpr_per_example_at_{one.max_fpr:g}") for one in found]
        rates[attack] = {key: PerTarget(one.tpr, fpr=one.fpr) for key, one in zip(keys, found, strict=True)}
        reachable[attack] = {key: one.reachable for key, one in zip(keys, found, strict=True)}
    return rates, reachable


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
    """The rows of results.csv, each with its own interval where there is one."""
    for attack, metrics in measured.items():
        for place, target in enumerate(case.index.tolist()):
            for key, found in metrics.items():
                what = case.dataset, case.net, case.variant, target, case.attacker, attack, key.metric
                value, (low, high) = float(found.estimates[place]), found.own_interval(place)
                fpr = np.nan if found.fpr is None else float(found.fpr[place])
                yield Result(*what, value, low, high, fpr, key.slice, key.against)
