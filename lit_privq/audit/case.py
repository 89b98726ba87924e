"""The targets of one variant, and the shadows of one attacker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.variant import Variant
from lit_privq.attacks import Attack, LiRAJoint, Observed, score_held_out, score_leave_one_out
from lit_privq.audit.holding import Holding


@dataclass(frozen=True, eq=False)
class Case:
    """Targets of one variant and the shadows that one attacker has.

    Args:
        dataset: name of the data set.
        net: name of the network, empty where it is unknown.
        variant: of the targets.
        attacker: ``unaware``, ``adaptive`` or ``paired``.
        index: (targets,) model indices, as in results.csv.
        shadows: models of the attacker.
        targets: models that are attacked; None: shadows, each attacked with the others.
        own: (targets,) each target's row among the shadows; None for held-out targets.
        calibration: per target the examples that calibrated it, members by construction.
        versions: shadows and targets of all that the attacker holds, by name, where that is more than the targets.
    """

    dataset: str
    net: str
    variant: Variant
    attacker: str
    index: NDArray[np.int64]
    shadows: Observed
    targets: Observed | None
    own: NDArray[np.intp] | None
    calibration: tuple[NDArray[np.int64], ...]
    versions: Mapping[str, tuple[Observed, Observed]] = field(default_factory=dict)

    @property
    def members(self) -> NDArray[np.bool_]:
        """(targets, examples)."""
        if self.targets is not None:
            return self.targets.members
        assert self.own is not None
        return self.shadows.members[self.own]

    @property
    def calibrated_on(self) -> NDArray[np.bool_]:
        """Which examples calibrated each target, (targets, examples)."""
        mask = np.zeros(self.members.shape, bool)
        for row, examples in zip(mask, self.calibration, strict=True):
            row[examples] = True
        return mask

    def scores(
        self, attacks: Mapping[str, Attack], *, equal_groups: bool = False
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, tuple[str, ...]]]:
        """Scores by attack, and which of the versions that the attacker holds each of them uses.

        Args:
            attacks: by name; joint ones where the attacker holds several versions.
            equal_groups: as in :func:`~lit_privq.attacks.score_held_out`.

        Returns:
            (targets, examples) scores, and the subsets that were used, ``parent`` or ``target + parent``; none where
            the attacker holds the targets alone.

        Raises:
            ValueError: if an attack on several versions is not joint.
        """
        if self.versions:
            return self._joint_scores(attacks)
        if self.own is not None:
            return score_leave_one_out(attacks, self.shadows, self.own, targets=self.targets), {}
        assert self.targets is not None
        return score_held_out(attacks, self.shadows, self.targets, equal_groups=equal_groups), {}

    def _joint_scores(
        self, attacks: Mapping[str, Attack]
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, tuple[str, ...]]]:
        holding, scores, used = Holding(self.versions, self.own), {}, {}
        for name, attack in attacks.items():
            if not isinstance(attack, LiRAJoint):
                raise ValueError(
                    f"who holds several versions of a model attacks with LiRAJoint; got {type(attack).__name__} as "
                    f"{name}, correct paired or family in the audit's config"
                )
            scores[name], chosen = holding.scores(attack)
            used[name] = tuple(dict.fromkeys(" + ".join(subset) for subset in chosen))
        return scores, used
