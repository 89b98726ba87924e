"""metrics.json: means with intervals, paired differences, strongest attackers, operating points, epsilon, examples."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.variant import Variant
from lit_privq.attacks import Attack, Observed, leave_one_out
from lit_privq.audit.case import Case
from lit_privq.audit.measure import Measures, statistics, without
from lit_privq.metrics import (
    Bonferroni,
    Vulnerability,
    difference_over_targets,
    epsilon_lower_bound,
    made_safe,
    mean_over_targets,
    operating_point,
    overlap,
    rank_correlation,
)
from lit_privq.metrics.roc import allowed_false_positives

_PRIORS = (0.5, 0.1, 0.01)
_THRESHOLD_SHADOWS = 64  # their non-members fix a threshold well enough; the scores of thousands would fill the memory


@dataclass
class Summary:
    """Collects what one audit says beyond results.csv, case by case.

    Args:
        max_fpr: bounds on the false-positive rate.
    """

    max_fpr: Sequence[float]
    means: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    without_calibration: list[dict[str, Any]] = field(default_factory=list)
    operating_points: list[dict[str, Any]] = field(default_factory=list)
    epsilon: list[dict[str, Any]] = field(default_factory=list)
    vulnerability: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _full: dict[tuple[str, str], Any] = field(default_factory=dict)

    def add(self, case: Case, measures: Measures) -> None:
        """Means over targets, and differences from the same targets at full precision."""
        self._note(case)
        for attack, metrics in measures.items():
            for metric, measured in metrics.items():
                labels = {**_labels(case.variant, case.attacker), "attack": attack, "metric": metric}
                found = mean_over_targets(measured.estimates, measured.replicates)
                self.means.append({**labels, "mean": found.value, "low": found.low, "high": found.high})
                if case.variant.method == "none":
                    self._full[attack, metric] = measured
                elif (attack, metric) in self._full:
                    change = measured - self._full[attack, metric]
                    changed = difference_over_targets(change.estimates, change.replicates)
                    self.differences.append({**labels, **asdict(changed)})

    def add_attacks(self, wanted: Collection[str], run: Mapping[str, Attack], shadows: Observed) -> None:
        """Say which attacks were not run, and from what those run that compare probabilities of classes."""
        if left_out := [name for name in wanted if name not in run]:
            self.notes.append(
                f"the labels are values, and attacks see the negative squared error; {', '.join(left_out)} left out, "
                "which compare probabilities of classes"
            )
        compare = [name for name, attack in run.items() if attack.needs_classes]
        if compare and shadows.logits is None and not shadows.values:
            self.notes.append(f"{', '.join(compare)} from confidences alone: softmax at temperature 1")

    def add_thresholds(self, attacks: Sequence[str]) -> None:
        """Say which attacks got thresholds from shadows."""
        self.notes.append(
            f"thresholds from shadows, and what they reach: of {' and '.join(attacks)} only, to save time"
            if attacks
            else "no thresholds from shadows: these are themselves the targets"
        )

    def _note(self, case: Case) -> None:
        """Say once what a reader would stumble over."""
        others = int((~case.members).sum(axis=1).min())
        empty = [f"tpr_at_{bound:g}" for bound in self.max_fpr if allowed_false_positives(others, bound) < 1]
        note = f"empty: {', '.join(empty)}; {others} non-members leave no room for one false positive there"
        if empty and note not in self.notes:
            self.notes.append(note)

    def add_scores(
        self,
        case: Case,
        scores: Mapping[str, NDArray[np.float64]],
        calibrated: NDArray[np.bool_],
        shadows: ShadowScores,
    ) -> None:
        """What needs the scores themselves.

        Args:
            case: what was attacked.
            scores: (targets, examples) by attack.
            calibrated: (targets, examples), which examples calibrated each target.
            shadows: the thresholds' source; attacks that are not among them get none.
        """
        for attack, values in scores.items():
            labels = {**_labels(case.variant, case.attacker), "attack": attack}
            if calibrated.any():
                self._add_without_calibration(labels, case, values, calibrated)
            if attack in shadows.scores:
                self._add_operating_points(labels, case, values, shadows.scores[attack], shadows.members)
            pairs = zip(values, case.members, strict=True)
            bounds = [epsilon_lower_bound(row, members, Bonferroni()) for row, members in pairs]
            self.epsilon.append({**labels, "targets": case.index.tolist(), "lower_bounds": bounds})

    def _add_without_calibration(
        self, labels: dict[str, Any], case: Case, scores: NDArray[np.float64], calibrated: NDArray[np.bool_]
    ) -> None:
        left = int((case.members & ~calibrated).sum(axis=1).min())
        for metric, function in statistics(self.max_fpr).items():
            values = without(case, scores, calibrated, function)
            whole = without(case, scores, np.zeros_like(calibrated), function)
            change = asdict(difference_over_targets(values - whole))
            mean = {"metric": metric, "mean": float(values.mean()), "members_left": left, "change": change}
            self.without_calibration.append({**labels, **mean})

    def _add_operating_points(
        self,
        labels: dict[str, Any],
        case: Case,
        values: NDArray[np.float64],
        shadows: NDArray[np.float64],
        members: NDArray[np.bool_],
    ) -> None:
        for bound in self.max_fpr:
            if allowed_false_positives(int((~members).sum()), bound) < 1:
                continue
            point = operating_point(shadows, members, values, case.members, bound)
            self.operating_points.append(
                {
                    **labels,
                    "max_fpr": bound,
                    "threshold": point.threshold,
                    "fpr": point.fpr,
                    "fpr_interval": point.fpr_interval(),
                    "tpr": point.tpr,
                    "tpr_interval": point.tpr_interval(),
                    "precision": {f"{prior:g}": point.precision(prior) for prior in _PRIORS},
                    "precision_interval": {f"{prior:g}": point.precision_interval(prior) for prior in _PRIORS},
                }
            )

    def add_vulnerability(self, variant: Variant, full: Vulnerability, own: Vulnerability) -> None:
        """Which examples still stand out at this precision."""
        safe = made_safe(full, own)
        self.vulnerability.append(
            {
                "variant": variant.name,
                "overlap_top_5_percent": overlap(full, own),
                "rank_correlation": rank_correlation(full, own),
                "standing_out": int((own.separation > 1).sum()),
                "standing_out_at_full_precision": int((full.separation > 1).sum()),
                "made_safe": len(safe),
                "made_safe_first": safe[:20].tolist(),
                "degenerate": int(own.degenerate.sum()),
                "examples": own.degenerate.size,
            }
        )

    def maximum(self) -> Iterator[dict[str, Any]]:
        """The strongest attacker of each variant, by attack and metric."""
        best: dict[tuple[str, str, str], dict[str, Any]] = {}
        for mean in self.means:
            key = (mean["variant"], mean["attack"], mean["metric"])
            if not math.isnan(mean["mean"]) and (key not in best or mean["mean"] > best[key]["mean"]):
                best[key] = mean
        yield from best.values()

    def content(self) -> dict[str, Any]:
        """Everything, NaN as null."""
        names = ("notes", "means", "differences", "without_calibration", "operating_points", "epsilon", "vulnerability")
        content: dict[str, Any] = _plain({name: getattr(self, name) for name in names})
        return {**content, "maximum": _plain(list(self.maximum()))}


@dataclass(frozen=True, eq=False)
class ShadowScores:
    """Shadows attacked with the other shadows: where an attacker's threshold comes from.

    Args:
        scores: (shadows, examples) by attack.
        members: (shadows, examples).
    """

    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    members: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))


def shadow_scores(attacks: Mapping[str, Attack], shadows: Observed) -> ShadowScores:
    """Scores of some shadows, by those of the attacks that the shadows suffice for."""
    least = min(shadows.members.sum(0).min(), (~shadows.members).sum(0).min()) - 1
    possible = {name: attack for name, attack in attacks.items() if attack.min_shadows <= least}
    models = len(shadows.members)
    some = np.linspace(0, models - 1, min(models, _THRESHOLD_SHADOWS)).round().astype(np.intp)
    return ShadowScores(leave_one_out(possible, shadows, some), shadows.members[some])


def _labels(variant: Variant, attacker: str) -> dict[str, Any]:
    keys = {"variant": variant.name, "method": variant.method, "bits": variant.bits, "last_bits": variant.last_bits}
    return {**keys, "attacker": attacker}


def _plain(value: Any) -> Any:  # noqa: ANN401 - a JSON tree
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
