"""BASE: how much likelier is the true class under the target than under the average model?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lit_privq.attacks.attack import Attack
from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array, mean_over_queries
from lit_privq.attacks.rmia import log_likelihood, mean_likelihood


@dataclass(frozen=True)
class Base(Attack):
    """log p(x | target) - log mean p(x | shadow), averaged over queries; the mean is over all shadows, IN and OUT.

    Source: Lassila et al. 2025, "BASE".
    """

    needs_classes: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        return mean_over_queries(log_likelihood(evidence.targets) - np.log(mean_likelihood(evidence)))
