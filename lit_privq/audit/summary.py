"""What an audit concludes, collected case by case for metrics.json."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.measures import (
    Change,
    Family,
    Measures,
    OwnChange,
    PrivacyBounds,
    Rate,
    Reachable,
    ShadowThreshold,
    SliceGap,
    Standing,
    TargetMean,
    Used,
    compared,
)
from lit_privq.artifacts.results import ALL, NOT_CALIBRATION, POOL, SLICE, Key, Results
from lit_privq.artifacts.variant import Variant
from lit_privq.attacks import Attack, Observed, score_leave_one_out
from lit_privq.audit.case import Case
from lit_privq.audit.focus import bound_of, chance_of, conclude, worst_of
from lit_privq.audit.measure import Masks, Measure, Measurements, PerTarget
from lit_privq.audit.privacy import privacy_bounds
from lit_privq.metrics import (
    Estimate,
    Vulnerability,
    difference_over_targets,
    made_safe,
    mean_over_targets,
    operating_point,
    overlap,
    rank_correlation,
)
from lit_privq.metrics.roc import allowed_false_positives

_DRAWN = 2  # attacks, the first ones, whose trade-off curves are kept
_NAMED = 5  # of those that a note is about
_PRIORS = (0.5, 0.1, 0.01)
_UNBOUNDED = ("r2", "mae")  # everything else lies between 0 and 1
_THRESHOLD_SHADOWS = 64  # their non-members fix a threshold well enough; the scores of thousands would fill the memory


@dataclass
class Summary:
    """Collects what one audit says beyond results.csv, case by case; judges every comparison, once.

    Args:
        max_fpr: bounds on the false-positive rate.
        delta: of (epsilon, delta) differential privacy.
    """

    max_fpr: Sequence[float]
    delta: float = 0.0
    notes: list[str] = field(default_factory=list)
    _means: dict[Key, TargetMean] = field(default_factory=dict)
    _changes: dict[Key, Change] = field(default_factory=dict)
    _gaps: dict[Key, SliceGap] = field(default_factory=dict)
    _slices: dict[str, int] = field(default_factory=dict)
    _others: dict[str, int] = field(default_factory=dict)  # non-members of each slice
    _everybody: int = 0  # non-members of all examples
    _reachable: dict[Key, Reachable] = field(default_factory=dict)
    _thresholds: list[ShadowThreshold] = field(default_factory=list)
    _bounds: dict[Key, PrivacyBounds] = field(default_factory=dict)
    _used: dict[Key, Used] = field(default_factory=dict)
    _families: list[Family] = field(default_factory=list)
    _standing: dict[str, Standing] = field(default_factory=dict)
    _loose: dict[str, list[str]] = field(default_factory=dict)  # ties, by metric
    _full: dict[Key, PerTarget] = field(default_factory=dict)  # full precision, attacker left out

    def add(
        self,
        variant: Variant,
        attacker: str,
        index: Sequence[int],
        measured: Measurements,
        parents: Measurements | None = None,
    ) -> None:
        """Means over targets, and differences from the same targets before quantization, or by the first recipe.

        Args:
            variant: of the targets, its baseline before it.
            attacker: who attacked them.
            index: (targets,) model indices.
            measured: by attack and metric.
            parents: the same of the targets at full precision, on slices that only this variant has.
        """
        for attack, metrics in measured.items():
            for what, found in metrics.items():
                if what.slice != ALL and found.empty:
                    continue
                key = Key(variant, what.metric, attacker, attack, what.slice, what.against)
                self._add(key, index, found, chance_of(key.metric), (parents or {}).get(attack, {}).get(what))
                if key.slice == ALL or key.against == SLICE:
                    self._add_ties(key, found)
                if key.slice == NOT_CALIBRATION and key.against == POOL:
                    gap = _change(index, found - metrics[Measure(what.metric)], each=False)
                    self._gaps[key] = SliceGap(self._slices[key.slice], gap)

    def add_slices(self, case: Case, masks: Masks) -> None:
        """How many members, and non-members, each slice holds, before what is measured on it is added."""
        self._everybody = int((~case.members).sum(axis=1).min())
        for name, mask in masks.items():
            self._slices[name] = int((case.members & mask).sum(axis=1).min())
            self._others[name] = int((~case.members & mask).sum(axis=1).min())

    def add_used(self, case: Case, used: Mapping[str, tuple[str, ...]]) -> None:
        """Which versions each attack uses, of an attacker who holds several."""
        for attack, versions in used.items():
            self._used[Key(case.variant, "", case.attacker, attack)] = Used(versions)

    def add_family(self, case: Case, attack: str, used: tuple[str, ...], found: FamilyRates) -> None:
        """What the attacker of several precisions finds, beside the best of them and the parent."""
        alone = max(found.alone, key=lambda name: float(found.alone[name].estimates.mean()))
        rates = (found.together, found.alone[alone], found.parent)
        together, single, parent = (over_targets(found.metric, rate, chance_of(found.metric)) for rate in rates)
        change = _change(case.index.tolist(), found.outside_calibration)
        versions = tuple(case.versions)
        self._families.append(Family(versions, attack, used, alone, found.metric, together, single, parent, change))

    def add_reachable(self, case: Case, reachable: Mapping[str, Mapping[Measure, float]]) -> None:
        """The share of the examples at which bounds for each example alone can be reached, by attack."""
        for attack, shares in reachable.items():
            for what, share in shares.items():
                key = Key(case.variant, what.metric, case.attacker, attack, what.slice, what.against)
                self._reachable[key] = Reachable(share)

    def add_utility(
        self,
        variant: Variant,
        index: Sequence[int],
        measured: Mapping[Measure, PerTarget],
        guessing: Mapping[str, float],
    ) -> None:
        """What models are good for, and what random guessing is good for, by metric; the rest as for :meth:`add`."""
        for what, found in measured.items():
            self._add(Key(variant, what.metric, slice=what.slice), index, found, guessing.get(what.metric, nan))

    def _add(
        self, key: Key, index: Sequence[int], found: PerTarget, chance: float, parent: PerTarget | None = None
    ) -> None:
        self._means[key] = over_targets(key.metric, found, chance)
        variant, same = key.variant, key._replace(attacker="")
        if not variant.quantized:
            self._full[same] = found
        baseline = parent or self._full.get(same._replace(variant=variant.baseline))
        same_targets = baseline is not None and baseline.estimates.shape == found.estimates.shape
        if baseline is not None and same_targets and variant != variant.baseline:
            each = key.slice == ALL or len(index) == 1
            self._changes[key] = _change(index, found - baseline, each=each)

    def _add_ties(self, key: Key, found: PerTarget) -> None:
        """Keep what reaches less than half of its bound, as equal scores of non-members do."""
        bound = bound_of(key.metric)
        if bound is None or found.fpr is None or np.isnan(found.fpr).any():
            return
        reached = float(found.fpr.mean())
        if reached < bound / 2:
            of = "" if key.slice == ALL else f" among the {key.slice}"
            who = f"{key.attack} on {key.variant.name}{of} ({key.attacker}, {100 * reached:.3g} %)"
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

    def close_slices(self, leading: Collection[str]) -> None:
        """Say which slices were measured by the leading attacks alone, once all are known."""
        worst = worst_of(self._slices)
        if others := [name for name in self._slices if name != worst]:
            but = f": all but {worst}, which every attack has" if worst else ""
            self.notes.append(
                f"slices by {' and '.join(leading)} only, to save time{but} ({', '.join(others[:_NAMED])}"
                f"{' ...' * (len(others) > _NAMED)})"
            )

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

    def _empty_slices(self) -> Iterator[str]:
        """Which bounds are empty where a slice's own non-members set the threshold, though all of them would do."""
        for bound in self.max_fpr:
            least = int(1 / bound + 1e-9) + 1
            few = [f"{name} ({count})" for name, count in self._others.items() if 0 < count < least <= self._everybody]
            if few:
                more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
                yield (
                    f"tpr_at_{bound:g} at a threshold set by a slice's own non-members is empty where these are fewer "
                    f"than {least}: {', '.join(few[:_NAMED])}{more}"
                )

    def add_scores(
        self,
        case: Case,
        scores: Mapping[str, NDArray[np.float64]],
        shadows: ShadowScores,
        slices: Masks,
        sliced: Callable[[str, str], bool],
    ) -> None:
        """What needs the scores themselves.

        Args:
            case: what was attacked.
            scores: (targets, examples) by attack.
            shadows: the thresholds' source; attacks that are not among them get none.
            slices: (examples,) or (targets, examples) bool by name.
            sliced: of an attack and a slice, whether one is measured on the other.
        """
        for place, (attack, values) in enumerate(scores.items()):
            if attack in shadows.scores:
                self._add_operating_points(case, attack, values, shadows)
            measured = {name: mask for name, mask in slices.items() if sliced(attack, name)}
            found = privacy_bounds(case, values, self.delta, measured, drawn=place < _DRAWN)
            for (name, against), bounds in found.items():
                self._bounds[Key(case.variant, "epsilon", case.attacker, attack, name, against)] = bounds

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
            (*self.notes, *self._empty_slices(), *self._ties()),
            self._means,
            changes,
            self._gaps,
            self._slices,
            tuple(self._thresholds),
            self._bounds,
            self._reachable,
            self._used,
            tuple(self._families),
            self._standing,
        )


def over_targets(metric: str, found: PerTarget, chance: float) -> TargetMean:
    """A mean over targets beside random guessing."""
    if metric in _UNBOUNDED:
        over = Estimate(*astuple(difference_over_targets(found.estimates, found.noise))[:3])
    else:
        over = mean_over_targets(found.estimates, found.noise)
    targets = found.estimates.size
    own = [compared(*found.own_interval(place), chance) for place in range(targets)]
    verdict = compared(over.low, over.high, chance)
    these = compared(*found.shared_interval(), chance)
    return TargetMean(over.value, over.low, over.high, chance, verdict, targets, own.count("higher"), these)


def _change(index: Sequence[int], found: PerTarget, *, each: bool = True) -> Change:
    """A difference over targets as the only test, and perhaps target by target."""
    over = difference_over_targets(found.estimates, found.noise)
    alone = compared(over.low, over.high)
    own = tuple(
        OwnChange(target, float(found.estimates[place]), *ends, compared(*ends))
        for place, target in enumerate(index if each else ())
        for ends in [found.own_interval(place)]
    )
    return Change(over.value, over.low, over.high, over.p, float("nan"), alone, alone, own)


@dataclass(frozen=True, eq=False)
class FamilyRates:
    """One metric of the attackers who hold all precisions of each target, each alone, or the parent.

    Args:
        metric: name.
        together: with all precisions.
        alone: with each, by name.
        parent: with the full-precision parent.
        outside_calibration: of ``together`` less ``parent``, without the calibration examples.
    """

    metric: str
    together: PerTarget
    alone: Mapping[str, PerTarget]
    parent: PerTarget
    outside_calibration: PerTarget


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
