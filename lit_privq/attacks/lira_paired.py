"""Attack on a model whose parent, from which it was derived, the attacker holds too: two-dimensional Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array, Group, mean_over_queries
from lit_privq.attacks.lira import LiRA, Residual, Shrunk

_LEAST = 1e-9  # share of a variance that the parent leaves unexplained at least: a copy of it would divide by zero


@dataclass(frozen=True)
class Paired(LiRA):
    """log N((x, y); IN) - log N((x, y); OUT) of a model's confidence x and its parent's y, averaged over queries.

    Args:
        centre: of each group and coordinate.
        variance: :class:`~lit_privq.attacks.lira.Residual` for one covariance a group,
            :class:`~lit_privq.attacks.lira.Shrunk` for each example's own, drawn towards it.

    Raises:
        ValueError: if the variance is neither of these.

    Source: LiRA (Carlini et al. 2022) on two confidences; the attacker is ours.
    """

    form: ClassVar[str] = "LiRA online with the parent"

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.variance) not in (Residual, Shrunk):
            raise ValueError(
                f"the paired attack takes Residual or Shrunk variances; got {type(self.variance).__name__}"
            )

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        parent = evidence.parent
        inside = self._log_density(evidence, evidence.inside, parent, parent.inside, True)
        outside = self._log_density(evidence, evidence.outside, parent, parent.outside, False)
        return mean_over_queries(inside - outside)

    def _log_density(self, child: Evidence, group: Group, parent: Evidence, above: Group, inside: bool) -> Array:
        """Log-density of x, plus that of y given x, less a constant: a covariance matrix without its inverse."""
        x, y = child.targets - group.centre(self.centre), parent.targets - above.centre(self.centre)
        xx, yy = self.variance.variance(group, self.centre), self.variance.variance(above, self.centre)
        xy = self._covariance(child, group, above, inside)
        xx, yy = xx + np.finfo(float).tiny, yy + np.finfo(float).tiny  # equal confidences: 0 / tiny, not 0 / 0
        left = np.maximum(yy - xy * xy / xx, _LEAST * yy)
        rest = y - xy / xx * x
        return -0.5 * (x * x / xx + np.log(xx) + rest * rest / left + np.log(left))

    def _covariance(self, child: Evidence, group: Group, above: Group, inside: bool) -> Array:
        """(targets or 1, examples or 1, queries or 1), estimated as the variances are."""
        assert isinstance(self.variance, Residual | Shrunk)
        fixed = child.trial.residual_covariance(inside, self.centre, self.variance.cap)
        if isinstance(self.variance, Shrunk) and np.isfinite(self.variance.strength):
            return self.variance.shrink(group, fixed, group.products(above))
        return fixed
