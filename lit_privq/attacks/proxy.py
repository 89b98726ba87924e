"""Offline attack that borrows the members' side from other examples of the same class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array, mean_over_queries
from lit_privq.attacks.lira import LiRA, log_normal_density


@dataclass(frozen=True)
class LiRAOfflineProxy(LiRA):
    """log N(x; members of the class) - log N(x; OUT), averaged over queries.

    Offline, no shadow trained on the example itself. How members look is taken from the other examples of its class in
    the training sets of the shadows: their mean and variance, over examples and shadows. Needs labels.

    Args:
        centre: of the OUT group.
        variance: of the OUT group.

    Source: class-level proxies of PMIA, arXiv:2511.04716.
    """

    form: ClassVar[str] = "LiRA offline, class proxies"
    needs_labels: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        mean, variance = evidence.proxies
        member = log_normal_density(evidence.targets - mean, np.sqrt(variance))
        group = evidence.outside
        deviation = self.variance.deviation(group, self.centre)
        other = self.variance.log_density(evidence.targets - group.centre(self.centre), deviation, group)
        return mean_over_queries(member - other)
