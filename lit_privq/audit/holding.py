"""Attackers who hold several versions of one model, and use those together that tell most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lit_privq.attacks import Attack, LiRAJoint, LiRAOnline, Observed, score_held_out, score_leave_one_out
from lit_privq.metrics import roc, semilog_auroc

Versions = Mapping[str, tuple[Observed, Observed]]  # shadows and targets by name
Subset = tuple[str, ...]

_CHOOSERS = 32  # shadows by which a subset is chosen at most


@dataclass(frozen=True, eq=False)
class Holding:
    """Versions of the same models: a model and its parent, or the same model at several precisions.

    Such an attacker can ignore what does not help, so that their strength is that of the best subset. It is chosen on
    other models than those it is reported on, and needs no correction for the choice: on the attacker's own shadows,
    each attacked with the others, or, where the targets are themselves the shadows, for each half of the targets on the
    other half.

    Args:
        versions: shadows and targets of each version, by name; the models are the same and in the same order.
        own: (targets,) each target's row among the shadows; None for held-out targets.
    """

    versions: Versions
    own: NDArray[np.intp] | None

    @property
    def subsets(self) -> Iterator[Subset]:
        """Everything an attacker may use, single versions first."""
        for size in range(1, len(self.versions) + 1):
            yield from combinations(self.versions, size)

    def scores(self, attack: LiRAJoint) -> tuple[NDArray[np.float64], tuple[Subset, ...]]:
        """Scores of the best subset, (targets, examples), and which it was for each target."""
        members = next(iter(self.versions.values()))[1].members
        found = {subset: self._targets(attack, subset) for subset in self.subsets}
        if self.own is None:
            best = self._best_on_shadows(attack)
            return found[best], (best,) * len(members)
        quality = {subset: _quality(each, members) for subset, each in found.items()}
        parity = np.arange(len(members)) % 2
        halves = [max(quality, key=lambda one: quality[one][parity != half].sum()) for half in (0, 1)]
        chosen = tuple(halves[half] for half in parity.tolist())
        return np.stack([found[subset][row] for row, subset in enumerate(chosen)]), chosen

    def _targets(self, attack: LiRAJoint, subset: Subset) -> NDArray[np.float64]:
        (shadows, targets), *others = (self.versions[name] for name in subset)
        name, attacks = _fitting(attack, subset)
        if self.own is None:
            return score_held_out(attacks, shadows, targets, versions=others)[name]
        return score_leave_one_out(attacks, shadows, self.own, targets=targets, versions=list(others))[name]

    def _best_on_shadows(self, attack: LiRAJoint) -> Subset:
        models = len(next(iter(self.versions.values()))[0].members)
        some = np.unique(np.linspace(0, models - 1, min(models, _CHOOSERS)).round().astype(np.intp))
        quality: dict[Subset, float] = {}
        for subset in self.subsets:
            shadows, *others = (self.versions[name][0] for name in subset)
            versions: Sequence[tuple[Observed, Observed | None]] = [(other, other.models(some)) for other in others]
            name, attacks = _fitting(attack, subset)
            scores = score_leave_one_out(attacks, shadows, some, targets=shadows.models(some), versions=versions)[name]
            quality[subset] = float(_quality(scores, shadows.members[some]).mean())
        return max(quality, key=lambda subset: quality[subset])


def _fitting(attack: LiRAJoint, subset: Subset) -> tuple[str, dict[str, Attack]]:
    """The attack on a subset by name, for messages: of a single version the same in one dimension."""
    name = f"the attack on {' + '.join(subset)}"
    return name, {name: attack if len(subset) > 1 else LiRAOnline(attack.centre, attack.variance)}


def _quality(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How well members are told at few false positives, (targets,): an area, which is steadier than a rate."""
    return np.array([float(semilog_auroc(roc(*pair))) for pair in zip(scores, members, strict=True)])
