"""What an audit concludes, collected case by case for metrics.json."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.measures import (
    Change,
    EpsilonBounds,
    Measures,
    OwnChange,
    Rate,
    ShadowThreshold,
    Standing,
    TargetMean,
    WithoutCalibration,
    compared,
)
from lit_privq.artifacts.results import Key, Results
from lit_privq.artifacts.variant import Variant
from lit_privq.attacks import Attack, Observed, score_leave_one_out
from lit_privq.audit.case import Case
from lit_privq.audit.focus import chance_of, conclude
from lit_privq.audit.measure import Measurements, PerTarget, statistics, without
from lit_privq.metrics import (
    Bonferroni,
    Estimate,
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

_NAMED = 5  # of those that a note is about
_PRIORS = (0.5, 0.1, 0.01)
_UNBOUNDED = ("r2", "mae")  # everything else lies between 0 and 1
_THRESHOLD_SHADOWS = 64  # their non-members fix a threshold well enough; the scores of thousands would fill the memory


@dataclass
class Summary:
    """Collects what one audit says beyond results.csv, case by case; judges every comparison, once.

    Args:
        max_fpr: bounds on the false-positive rate.
    """

    max_fpr: Sequence[float]
    notes: list[str] = field(default_factory=list)
    _means: dict[Key, TargetMean] = field(default_factory=dict)
    _changes: dict[Key, Change] = field(default_factory=dict)
    _without: dict[Key, WithoutCalibration] = field(default_factory=dict)
    _thresholds: list[ShadowThreshold] = field(default_factory=list)
    _epsilon: dict[Key, EpsilonBounds] = field(default_factory=dict)
    _standing: dict[str, Standing] = field(default_factory=dict)
    _loose: dict[str, list[str]] = field(default_factory=dict)  # ties, by metric
    _full: dict[tuple[str, str], PerTarget] = field(default_factory=dict)  # full precision, by metric and attack

    def add(self, variant: Variant, attacker: str, index: Sequence[int], measured: Measurements) -> None:
        """Means over targets, and differences from the same targets at full precision.

        Args:
            variant: of the targets, full precision before all others.
            attacker: who attacked them.
            index: (targets,) model indices.
            measured: by attack and metric.
        """
        for attack, metrics in measured.items():
            for metric, found in metrics.items():
                self._add(Key(variant, metric, attacker, attack), index, found, chance_of(metric))
                self._add_ties(Key(variant, metric, attacker, attack), found)

    def add_utility(
        self, variant: Variant, index: Sequence[int], measured: Mapping[str, PerTarget], guessing: Mapping[str, float]
    ) -> None:
        """What models are good for, and what random guessing is good for, by metric; the rest as for :meth:`add`."""
        for metric, found in measured.items():
            self._add(Key(variant, metric), index, found, guessing.get(metric, nan))

    def _add(self, key: Key, index: Sequence[int], found: PerTarget, chance: float) -> None:
        self._means[key] = over_targets(key.metric, found, chance)
        if not key.variant.quantized:
            self._full[key.metric, key.attack] = found
        elif (full := self._full.get((key.metric, key.attack))) is not None:
            self._changes[key] = _change(index, found - full)

    def _add_ties(self, key: Key, found: PerTarget) -> None:
        """Keep what reaches less than half of its bound, as equal scores of non-members do."""
        if found.fpr is None or np.isnan(found.fpr).any():
            return
        reached, bound = float(found.fpr.mean()), float(key.metric.removeprefix("tpr_at_"))
        if reached < bound / 2:
            who = f"{key.attack} on {key.variant.name} ({key.attacker}, {100 * reached:.3g} %)"
            self._loose.setdefault(key.metric, []).append(who)

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

    def close_thresholds(self, wanted: Collection[str]) -> None:
        """Say which attacks got thresholds from shadows, once all scores are added; none are wanted leaving one out."""
        made = list(dict.fromkeys(threshold.attack for threshold in self._thresholds))
        if made:
            note = f"thresholds from shadows, and what they reach: of {' and '.join(made)} only, to save time"
        elif wanted:
            note = (
                f"no thresholds from shadows: too few shadows for {' and '.join(wanted)} on each other, or no bound "
                "that leaves room for a false positive among their non-members"
            )
        else:
            note = "no thresholds from shadows: these are themselves the targets"
        self.notes.append(note)

    def add_empty(self, case: Case) -> None:
        """Say once which bounds on the false-positive rate leave no room for a false positive."""
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
        targets = tuple(case.index.tolist())
        for attack, values in scores.items():
            if calibrated.any():
                self._add_without_calibration(case, attack, values, calibrated)
            if attack in shadows.scores:
                self._add_operating_points(case, attack, values, shadows)
            pairs = zip(values, case.members, strict=True)
            bounds = tuple(float(epsilon_lower_bound(row, members, Bonferroni())) for row, members in pairs)
            self._epsilon[Key(case.variant, "epsilon", case.attacker, attack)] = EpsilonBounds(
                targets, bounds, sum(bound > 0 for bound in bounds)
            )

    def _add_without_calibration(
        self, case: Case, attack: str, scores: NDArray[np.float64], calibrated: NDArray[np.bool_]
    ) -> None:
        left = int((case.members & ~calibrated).sum(axis=1).min())
        for metric, function in statistics(self.max_fpr).items():
            values = without(case, scores, calibrated, function)
            whole = without(case, scores, np.zeros_like(calibrated), function)
            change = _change(case.index.tolist(), PerTarget(values - whole))
            key = Key(case.variant, metric, case.attacker, attack)
            self._without[key] = WithoutCalibration(float(values.mean()), left, change)

    def _add_operating_points(
        self, case: Case, attack: str, scores: NDArray[np.float64], shadows: ShadowScores
    ) -> None:
        for bound in self.max_fpr:
            if allowed_false_positives(int((~shadows.members).sum()), bound) < 1:
                continue
            point = operating_point(shadows.scores[attack], shadows.members, scores, case.members, bound)
            precision = {prior: Rate(point.precision(prior), *point.precision_interval(prior)) for prior in _PRIORS}
            fpr, tpr = Rate(point.fpr, *point.fpr_interval()), Rate(point.tpr, *point.tpr_interval())
            self._thresholds.append(
                ShadowThreshold(case.variant, case.attacker, attack, bound, point.threshold, fpr, tpr, precision)
            )

    def add_vulnerability(self, variant: Variant, full: Vulnerability, own: Vulnerability) -> None:
        """Which examples still stand out at this precision."""
        safe = made_safe(full, own)
        self._standing[variant.name] = Standing(
            standing_out=int((own.separation > 1).sum()),
            before=int((full.separation > 1).sum()),
            made_safe=len(safe),
            safe_first=tuple(safe[:20].tolist()),
            overlap=overlap(full, own),
            rank_correlation=rank_correlation(full, own),
            degenerate=int(own.degenerate.sum()),
            examples=own.degenerate.size,
        )

    def _ties(self) -> Iterator[str]:
        """A note for each bound that equal scores keep some attacks far below."""
        for metric, who in self._loose.items():
            more = f" and {len(who) - _NAMED} more" if len(who) > _NAMED else ""
            yield (
                f"{metric}: equal scores leave no threshold near the bound, and the FPR reached is below "
                f"half of it for {', '.join(who[:_NAMED])}{more}; results.csv has it in the column fpr"
            )

    def measures(self, audit: Mapping[str, Any], results: Results, titles: Mapping[str, str]) -> Measures:
        """Everything, with the focus of the audit and the tests in it counted together.

        Args:
            audit: what was run, for the record.
            results: the same audit's results.csv.
            titles: of the attacks, by name.
        """
        focus, changes = conclude(self._means, self._changes, results.variants)
        return Measures(
            dict(audit),
            focus,
            dict(titles),
            (*self.notes, *self._ties()),
            self._means,
            changes,
            self._without,
            tuple(self._thresholds),
            self._epsilon,
            self._standing,
        )


def over_targets(metric: str, found: PerTarget, chance: float) -> TargetMean:
    """A mean over targets beside random guessing."""
    if metric in _UNBOUNDED:
        over = Estimate(*astuple(difference_over_targets(found.estimates, found.replicates))[:3])
    else:
        over = mean_over_targets(found.estimates, found.replicates)
    targets = found.estimates.size
    own = [compared(*found.own_interval(place), chance) for place in range(targets)]
    verdict = compared(over.low, over.high, chance)
    these = compared(*found.shared_interval(), chance)
    return TargetMean(over.value, over.low, over.high, chance, verdict, targets, own.count("higher"), these)


def _change(index: Sequence[int], found: PerTarget) -> Change:
    """A difference over targets as the only test, and target by target."""
    over = difference_over_targets(found.estimates, found.replicates)
    alone = compared(over.low, over.high)
    each = tuple(
        OwnChange(target, float(found.estimates[place]), *ends, compared(*ends))
        for place, target in enumerate(index)
        for ends in [found.own_interval(place)]
    )
    return Change(over.value, over.low, over.high, over.p, float("nan"), alone, alone, each)


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
    return ShadowScores(score_leave_one_out(possible, shadows, some), shadows.members[some])
