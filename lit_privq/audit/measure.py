"""Scores into numbers, each with what its interval is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lit_privq.audit.case import Case
from lit_privq.audit.results import Row
from lit_privq.metrics import (
    Roc,
    auc,
    bootstrap,
    interval,
    log_auroc,
    redrawn,
    resample,
    roc,
    semilog_auroc,
    tpr_at_fpr,
)
from lit_privq.metrics.roc import Floats

_LOGARITHMIC = {"log_auroc": log_auroc, "semilog_auroc": semilog_auroc}


@dataclass(frozen=True, eq=False)
class Measured:
    """One metric of one attack on every target of a case.

    Args:
        estimates: (targets,); NaN where it cannot be measured.
        replicates: (targets, resamples) the same on other examples; None where there are none.
        shared: whether attacks, attackers and precisions share these examples, so that differences can be taken.
    """

    estimates: Floats
    replicates: Floats | None
    shared: bool = True

    def __sub__(self, other: Measured) -> Measured:
        """The difference, target by target and resample by resample."""
        estimates = self.estimates - other.estimates
        if self.replicates is None or other.replicates is None or not (self.shared and other.shared):
            return Measured(estimates, None)
        return Measured(estimates, self.replicates - other.replicates)


Measures = Mapping[str, Mapping[str, Measured]]  # by attack, then by metric


def statistics(max_fpr: Sequence[float]) -> dict[str, Callable[[Roc], Floats]]:
    """The metrics of results.csv, by name."""
    rates = {f"tpr_at_{bound:g}": partial(tpr_at_fpr, max_fpr=bound) for bound in max_fpr}
    return {"auc": auc, **_LOGARITHMIC, **rates}


def measure(
    case: Case, scores: Mapping[str, NDArray[np.float64]], max_fpr: Sequence[float], resamples: int, seed: int
) -> Measures:
    """Every metric of every attack; all attacks, attackers and precisions of a target share its resamples.

    Not so a log-AUROC, which rests on a handful of extreme scores that no resampling imitates: see ``redrawn``.
    """
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
                others = redrawn(curve, max(2, resamples // 4), seed + target)  # rough enough for so few
                smooth = {name: metric for name, metric in metrics.items() if name not in _LOGARITHMIC}
                found = bootstrap(values[row], drawn, smooth)
                found |= {name: metric(others) for name, metric in _LOGARITHMIC.items()}
                for name, values_of in found.items():
                    replicates[attack][name].append(values_of)
    return {
        attack: {
            name: Measured(
                np.array(values),
                np.stack(replicates[attack][name]) if replicates[attack][name] else None,
                name not in _LOGARITHMIC,
            )
            for name, values in of_attack.items()
        }
        for attack, of_attack in estimates.items()
    }


def without(
    case: Case, scores: NDArray[np.float64], excluded: NDArray[np.bool_], metric: Callable[[Roc], Floats]
) -> Floats:
    """A metric of each target that leaves some of its examples out, (targets,)."""
    rows = zip(scores, case.members, ~excluded, strict=True)
    return np.array([metric(roc(row[kept], members[kept])) for row, members, kept in rows])


def rows(case: Case, measures: Measures) -> Iterator[Row]:
    """The rows of results.csv, each with its own interval where there is one."""
    for attack, metrics in measures.items():
        for place, target in enumerate(case.index.tolist()):
            for name, measured in metrics.items():
                ends = (np.nan, np.nan) if measured.replicates is None else interval(measured.replicates[place])
                yield Row(case.variant, target, case.attacker, attack, name, float(measured.estimates[place]), *ends)
