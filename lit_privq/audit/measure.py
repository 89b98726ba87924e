"""Scores into numbers, each with what its interval is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lit_privq.audit.case import Case
from lit_privq.audit.results import Row
from lit_privq.metrics import Roc, auc, bootstrap, interval, log_auroc, resample, roc, tpr_at_fpr
from lit_privq.metrics.roc import Floats


@dataclass(frozen=True, eq=False)
class Measured:
    """One metric of one attack on every target of a case.

    Args:
        estimates: (targets,); NaN where it cannot be measured.
        replicates: (targets, resamples) the same on resampled examples; None where resampling says nothing.
    """

    estimates: Floats
    replicates: Floats | None

    def __sub__(self, other: Measured) -> Measured:
        """The difference, target by target and resample by resample."""
        paired = self.replicates is not None and other.replicates is not None
        replicates = self.replicates - other.replicates if paired else None  # type: ignore[operator]
        return Measured(self.estimates - other.estimates, replicates)


Measures = Mapping[str, Mapping[str, Measured]]  # by attack, then by metric


def statistics(max_fpr: Sequence[float]) -> dict[str, Callable[[Roc], Floats]]:
    """The metrics of results.csv, by name."""
    rates = {f"tpr_at_{bound:g}": partial(tpr_at_fpr, max_fpr=bound) for bound in max_fpr}
    return {"auc": auc, "log_auroc": log_auroc, **rates}


def measure(
    case: Case, scores: Mapping[str, NDArray[np.float64]], max_fpr: Sequence[float], resamples: int, seed: int
) -> Measures:
    """Every metric of every attack; all attacks, attackers and precisions of a target share its resamples."""
    metrics = statistics(max_fpr)
    estimates: dict[str, dict[str, list[Floats]]] = {attack: {name: [] for name in metrics} for attack in scores}
    replicates: dict[str, dict[str, list[Floats]]] = {attack: {name: [] for name in metrics} for attack in scores}
    for row, (target, members) in enumerate(zip(case.index.tolist(), case.members, strict=True)):
        drawn = resample(members, resamples, seed + target) if resamples else None
        for attack, values in scores.items():
            curve = roc(values[row], members)
            for name, metric in metrics.items():
                estimates[attack][name].append(metric(curve))
            if drawn is not None:
                # A log-AUROC rests on a handful of extreme scores, which no resampling imitates.
                smooth = {name: metric for name, metric in metrics.items() if name != "log_auroc"}
                for name, values_of in bootstrap(values[row], drawn, smooth).items():
                    replicates[attack][name].append(values_of)
    return {
        attack: {
            name: Measured(np.array(values), np.stack(replicates[attack][name]) if replicates[attack][name] else None)
            for name, values in of_attack.items()
        }
        for attack, of_attack in estimates.items()
    }


def without(
    case: Case, scores: NDArray[np.float64], excluded: NDArray[np.bool_], metric: Callable[[Roc], Floats]
) -> float:
    """Mean over targets of a metric that leaves some examples of each out."""
    rows = zip(scores, case.members, ~excluded, strict=True)
    return float(np.mean([metric(roc(row[kept], members[kept])) for row, members, kept in rows]))


def rows(case: Case, measures: Measures) -> Iterator[Row]:
    """The rows of results.csv, each with its own interval where there is one."""
    for attack, metrics in measures.items():
        for place, target in enumerate(case.index.tolist()):
            for name, measured in metrics.items():
                ends = (np.nan, np.nan) if measured.replicates is None else interval(measured.replicates[place])
                yield Row(case.variant, target, case.attacker, attack, name, float(measured.estimates[place]), *ends)
