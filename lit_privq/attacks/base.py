"""BASE: how much likelier is the true class under the target than under the average model?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lit_privq.attacks.attack import Attack
from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array, mean_over_queries
from lit_privq.attacks.rmia import likelihood, log_likelihood


@dataclass(frozen=True)
class Base(Attack):
    """log p(x | target) - log mean p(x | shadow), averaged over queries; IN and OUT shadows count alike.

    Source: Lassila et al. 2025, "BASE".
    """

    needs_classes: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        mean = (evidence.inside.mean_of(likelihood) + evidence.outside.mean_of(likelihood)) / 2
        return mean_over_queries(log_likelihood(evidence.targets) - np.log(mean))
