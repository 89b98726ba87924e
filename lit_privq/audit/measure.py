"""Scores into numbers, each with what its interval is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.confidences import Dump
from lit_privq.artifacts.results import Result
from lit_privq.audit.case import Case
from lit_privq.metrics import (
    Roc,
    auc,
    best_balanced_accuracy,
    bootstrap,
    fpr_reached,
    interval,
    log_auroc,
    redrawn_log_aurocs,
    redrawn_tpr,
    resample,
    roc,
    semilog_auroc,
    tpr_at_fpr,
)
from lit_privq.metrics.roc import Floats

_RESAMPLED = {"auc": auc, "balanced_accuracy": best_balanced_accuracy}
_LEAST = 20  # members, and non-members, of every target; with ten of them resamples of an AUC cover 89 times in 100
_LOGARITHMIC = {"log_auroc": log_auroc, "semilog_auroc": semilog_auroc}


@dataclass(frozen=True, eq=False)
class PerTarget:
    """One metric of one attack on every target of a case.

    Args:
        estimates: (targets,); NaN where it cannot be measured.
        replicates: (targets, resamples) what it might be on other examples, for its interval; None where unknown.
        paired: (targets, resamples) the same on examples that attacks, attackers and precisions share, for
            differences; None where there are none.
        fpr: (targets,) the false-positive rate at which a true-positive rate is read; None of other metrics.
    """

    estimates: Floats
    replicates: Floats | None = None
    paired: Floats | None = None
    fpr: Floats | None = None

    def own_interval(self, place: int) -> tuple[float, float]:
        """The 95 % interval of one target, that of its examples; NaN where there are no replicates."""
        return (np.nan, np.nan) if self.replicates is None else interval(self.replicates[place])

    def shared_interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean of these targets, that of their examples; NaN where there are no replicates."""
        return (np.nan, np.nan) if self.replicates is None else interval(self.replicates.mean(axis=0))

    def __sub__(self, other: PerTarget) -> PerTarget:
        """The difference, target by target and resample by resample."""
        estimates = self.estimates - other.estimates
        if self.paired is None or other.paired is None:
            return PerTarget(estimates)
        change = self.paired - other.paired
        return PerTarget(estimates, change, change)


Measurements = Mapping[str, Mapping[str, PerTarget]]  # by attack, then by metric


def statistics(max_fpr: Sequence[float]) -> dict[str, Callable[[Roc], Floats]]:
    """The metrics of results.csv, by name."""
    return {**_RESAMPLED, **_LOGARITHMIC, **_rates(max_fpr)}


def _rates(max_fpr: Sequence[float]) -> dict[str, Callable[[Roc], Floats]]:
    """The true-positive rates among them."""
    return {_rate(bound): partial(tpr_at_fpr, max_fpr=bound) for bound in max_fpr}


def _rate(bound: float) -> str:
    """Name of a true-positive rate."""
    return f"tpr_at_{bound:g}"


def measure(
    case: Case,
    scores: Mapping[str, NDArray[np.float64]],
    max_fpr: Sequence[float],
    resamples: int,
    seed: int,
    before: Callable[[int], None] = lambda _: None,
) -> Measurements:
    """Every metric of every attack; all attacks, attackers and precisions of a target share its resamples.

    ``before`` is called with the number of each target before it is measured, which may take seconds. There are no
    intervals where a target has fewer than 20 members or non-members.

    Log-AUROCs and true-positive rates rest on a handful of extreme scores that no resampling imitates: their own
    intervals come from ``redrawn_log_aurocs`` and ``redrawn_tpr``. The best balanced accuracy is picked on the examples
    and again on each resample, which lifts these: they are brought down to it. So its interval is of what the best
    threshold on as many other examples would show, which is above 0.5 even for guessing.
    """
    metrics = statistics(max_fpr)
    enough = min(case.members.sum(axis=1).min(), (~case.members).sum(axis=1).min()) >= _LEAST
    reached = {attack: {_rate(bound): np.empty(len(case.index)) for bound in max_fpr} for attack in scores}
    estimates = {attack: _empty(metrics) for attack in scores}
    replicates, paired = ({attack: _empty(metrics) for attack in scores} for _ in range(2))
    for row, (target, members) in enumerate(zip(case.index.tolist(), case.members, strict=True)):
        before(row)
        drawn = resample(members, resamples, seed + target) if resamples and enough else None
        for attack, values in scores.items():
            curve = roc(values[row], members)
            for name, metric in metrics.items():
                estimates[attack][name].append(metric(curve))
            for bound in max_fpr:
                reached[attack][_rate(bound)][row] = fpr_reached(curve, bound)
            if drawn is not None:
                shared = bootstrap(values[row], drawn, {**_RESAMPLED, **_rates(max_fpr)})
                for name, found in shared.items():
                    paired[attack][name].append(found)
                best = shared["balanced_accuracy"]
                lifted = best.mean() - best_balanced_accuracy(curve)
                own = shared | {"balanced_accuracy": np.clip(best - lifted, 0.5, 1.0)}
                for name, found in (own | _redrawn(curve, max_fpr, resamples, seed + target)).items():
                    replicates[attack][name].append(found)
    return {
        attack: {
            name: PerTarget(
                np.array(of_attack[name]),
                _stacked(replicates[attack][name]),
                _stacked(paired[attack][name]),
                reached[attack].get(name),
            )
            for name in metrics
        }
        for attack, of_attack in estimates.items()
    }


def _redrawn(curve: Roc, max_fpr: Sequence[float], count: int, seed: int) -> dict[str, Floats]:
    """What resampling cannot imitate."""
    areas = redrawn_log_aurocs(curve, count, seed)
    return areas | {_rate(bound): redrawn_tpr(curve, bound, count, seed) for bound in max_fpr}


def _empty(metrics: Iterable[str]) -> dict[str, list[Floats]]:
    """A list for each metric."""
    return {name: [] for name in metrics}


def _stacked(values: Sequence[Floats]) -> Floats | None:
    """(targets, resamples), None where there are none."""
    return np.stack(values) if values else None


def utility(dumps: Sequence[Dump], resamples: int, seed: int) -> dict[str, PerTarget]:
    """What each target is good for on the test set, by metric; all variants of a target share its resamples.

    Args:
        dumps: of the targets.
        resamples: of the test set; 0 draws none. Only accuracy and R² have them.
        seed: of the resampling.
    """
    found = {metric: np.array([dump.utility[metric] for dump in dumps]) for metric in dumps[0].utility}
    if not found or not resamples:
        return {metric: PerTarget(values) for metric, values in found.items()}
    drawn = np.stack([_redrawn_mean(dump.test_correct, resamples, seed + dump.meta["index"]) for dump in dumps])
    return {
        metric: PerTarget(values) if metric == "mae" else PerTarget(values, drawn, drawn)
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


def _redrawn_mean(values: NDArray[np.bool_] | NDArray[np.float32], count: int, seed: int) -> Floats:
    """The mean in resamples of the values, (count,)."""
    index = np.random.default_rng(seed).integers(values.size, size=(count, values.size))
    return np.asarray(values[index].mean(axis=1, dtype=np.float64))


def without(
    case: Case, scores: NDArray[np.float64], excluded: NDArray[np.bool_], metric: Callable[[Roc], Floats]
) -> Floats:
    """A metric of each target that leaves some of its examples out, (targets,)."""
    rows = zip(scores, case.members, ~excluded, strict=True)
    return np.array([metric(roc(row[kept], members[kept])) for row, members, kept in rows])


def rows(case: Case, measured: Measurements) -> Iterator[Result]:
    """The rows of results.csv, each with its own interval where there is one."""
    for attack, metrics in measured.items():
        for place, target in enumerate(case.index.tolist()):
            for name, found in metrics.items():
                key = case.dataset, case.net, case.variant, target, case.attacker, attack, name
                fpr = np.nan if found.fpr is None else float(found.fpr[place])
                yield Result(*key, float(found.estimates[place]), *found.own_interval(place), fpr)
