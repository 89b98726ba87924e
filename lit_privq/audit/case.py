"""The targets of one variant, and the shadows of one attacker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_privq.artifacts.variant import Variant
from lit_privq.attacks import Attack, Observed, score_held_out, score_leave_one_out


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
        parents: the full-precision shadows and targets, for the paired attacker.
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
    parents: tuple[Observed, Observed | None] | None = None

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

    def scores(self, attacks: Mapping[str, Attack], *, equal_groups: bool = False) -> dict[str, NDArray[np.float64]]:
        """(targets, examples) by attack; ``equal_groups`` as in :func:`~lit_privq.attacks.score_held_out`."""
        if self.own is not None:
            return score_leave_one_out(attacks, self.shadows, self.own, targets=self.targets, parents=self.parents)
        assert self.targets is not None
        parents = None
        if self.parents is not None:
            shadows, targets = self.parents
            assert targets is not None
            parents = shadows, targets
        return score_held_out(attacks, self.shadows, self.targets, parents=parents, equal_groups=equal_groups)
