"""Attack on several versions of one model at once: Gaussians of as many dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array, Group, mean_over_queries
from lit_privq.attacks.lira import LiRA, Residual, Shrunk

_LEAST = 1e-9  # share of a variance that other versions leave unexplained; below it a version is a copy of them


@dataclass(frozen=True)
class LiRAJoint(LiRA):
    """log N(x; IN) - log N(x; OUT) of the confidences x of all versions of a model, averaged over queries.

    The versions may be the model and the parent from which it was derived, or several models derived from one. More
    versions mean more variances and covariances to estimate from the same shadows, so that the joint attack may find
    less than one version alone; who holds several can ignore some, and their strength is the maximum.

    Args:
        centre: of each group and version.
        variance: :class:`~lit_privq.attacks.lira.Residual` for one covariance matrix a group,
            :class:`~lit_privq.attacks.lira.Shrunk` for each example's own, drawn towards it.

    Raises:
        ValueError: if the variance is neither of these.

    Source: LiRA (Carlini et al. 2022) on several confidences; the attacker is ours.
    """

    form: ClassVar[str] = "LiRA online, joint"

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.variance) not in (Residual, Shrunk):
            raise ValueError(f"the joint attack takes Residual or Shrunk variances; got {type(self.variance).__name__}")

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        versions = evidence.versions
        if len(versions) < 2:
            raise ValueError("the joint attack needs another version of targets and shadows; give versions")
        return mean_over_queries(self._log_density(versions, True) - self._log_density(versions, False))

    def _log_density(self, versions: Sequence[Evidence], inside: bool) -> Array:
        """Log-density of a group's Gaussian, less a constant: each version given those before it.

        The covariance matrix is factorised as L D L^T, elementwise over examples, which needs no inverse.
        """
        groups = [version.inside if inside else version.outside for version in versions]
        total: Array = np.zeros(())
        rows: list[list[Array]] = []  # of L
        left: list[Array] = []  # D: what the versions before leave unexplained of a variance
        rest: list[Array] = []  # and of a distance from the centre
        for k, (version, group) in enumerate(zip(versions, groups, strict=True)):
            row: list[Array] = []
            for j in range(k):
                shared = self._covariance(versions[0], groups, j, k, inside)
                for i in range(j):
                    shared = shared - row[i] * rows[j][i] * left[i]
                row.append(shared / left[j])
            variance = self.variance.variance(group, self.centre) + np.finfo(float).tiny  # 0 / tiny, not 0 / 0
            unexplained, distance = variance, version.targets - group.centre(self.centre)
            for slope, part, before in zip(row, left, rest, strict=True):
                unexplained, distance = unexplained - slope * slope * part, distance - slope * before
            rows.append(row)
            left.append(np.maximum(unexplained, _LEAST * variance))
            rest.append(distance)
            density = -0.5 * (distance * distance / left[k] + np.log(left[k]))
            total = total + np.where(unexplained > _LEAST * variance, density, 0.0)  # a copy tells nothing more
        return total

    def _covariance(self, block: Evidence, groups: Sequence[Group], j: int, k: int, inside: bool) -> Array:
        """(targets or 1, examples or 1, queries or 1), estimated as the variances are."""
        assert isinstance(self.variance, Residual | Shrunk)
        fixed = block.trial.residual_covariance(j, k, inside, self.centre, self.variance.cap)
        if isinstance(self.variance, Shrunk) and np.isfinite(self.variance.strength):
            return self.variance.shrink(groups[j], fixed, groups[j].products(groups[k]))
        return fixed
