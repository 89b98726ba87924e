"""The attack that needs no shadow models: one threshold on the confidence."""

from __future__ import annotations

from dataclasses import dataclass

from lit_privq.attacks.attack import Attack
from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array, mean_over_queries


@dataclass(frozen=True)
class Threshold(Attack):
    """The confidence itself, averaged over queries; one threshold for all examples.

    Source: Yeom et al. 2018, arXiv:1709.01604, on the scaled logit.
    """

    @property
    def title(self) -> str:
        """``Global threshold``."""
        return "Global threshold"

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        return mean_over_queries(evidence.targets)
