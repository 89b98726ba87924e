"""RMIA and BASE: likelihood of the true class under the target, relative to that under reference models.

RMIA compares each example's ratio with the ratios of the other examples; BASE takes it as it is.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from lit_privq.attacks.attack import Attack
from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array, mean_over_queries

_LOWEST = -700.0  # nats; below it the probability of the true class would underflow to 0


def likelihood(confidence: Array) -> Array:
    """Probability of the true class, above 0."""
    return np.asarray(expit(np.maximum(confidence, _LOWEST)))


def log_likelihood(confidence: Array) -> Array:
    """Its logarithm, exact where the probability itself rounds to 1."""
    return np.asarray(log_expit(np.maximum(confidence, _LOWEST)))


def mean_likelihood(evidence: Evidence) -> Array:
    """Mean probability over all shadows, IN and OUT, (targets or 1, examples, queries)."""
    groups = evidence.inside, evidence.outside
    total = sum(group.size * group.mean_of(likelihood) for group in groups)
    return np.asarray(total / sum(group.size for group in groups))


def population_share(
    log_ratio: Array, population: Array, *, gamma: float = 1.0, own: NDArray[np.bool_] | None = None
) -> Array:
    """Share of a population that each example's likelihood ratio exceeds by a factor gamma.

    An empirical distribution function: one sort of the population stands for the matrix of all pairs.

    Args:
        log_ratio: (examples,) log p(x | target) / p(x).
        population: (others,) the same of the population.
        gamma: the factor, above 0.
        own: (examples,) whether an example is itself in the population, and is left out of its own share.

    Returns:
        (examples,) in [0, 1].

    >>> population_share(np.log([4.0, 1.0]), np.log([1.0, 2.0, 4.0]), own=np.array([True, True]))
    array([1., 0.])
    """
    bound = log_ratio - np.log(gamma)
    below = np.searchsorted(np.sort(population), bound, side="left")
    if own is None:
        return np.asarray(below / len(population))
    return np.asarray((below - (own & (bound > log_ratio))) / (len(population) - own))


@dataclass(frozen=True)
class _RMIA(Attack):
    """Base of both forms.

    Args:
        gamma: by which factor an example must exceed another one, above 0.
        temperature: of the softmax; None is 2 where logits were stored and 1 where only confidences were.
    """

    form: ClassVar[str] = "RMIA"
    needs_classes: ClassVar[bool] = True
    gamma: float = 1.0
    temperature: float | None = None

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(f"gamma is a factor above 0, 1 is usual; got {self.gamma}")
        if self.temperature is not None and not 0 < self.temperature < np.inf:
            raise ValueError(
                f"temperature divides logits and must be finite and above 0, 2 is usual; got {self.temperature}; "
                "leave it out for the usual one"
            )

    @property
    def title(self) -> str:
        """Form, and the options that are not the usual ones."""
        gamma = "" if self.gamma == 1 else f"gamma {self.gamma:g}"
        temperature = "" if self.temperature is None else f"temperature {self.temperature:g}"
        return ", ".join(filter(None, (self.form, gamma, temperature)))

    def score(self, evidence: Evidence) -> Array:
        """Log-ratio p(x | target) / p(x), averaged over queries, (targets, examples)."""
        usual = 2.0 if evidence.has_logits else 1.0
        evidence = evidence.at(usual if self.temperature is None else self.temperature)
        return mean_over_queries(log_likelihood(evidence.targets) - np.log(self.marginal(evidence)))

    def finish(self, scores: Array) -> Array:
        """Share of the other examples that each one exceeds, (targets, examples)."""
        own = np.ones(scores.shape[1], bool)
        return np.stack([population_share(row, row, gamma=self.gamma, own=own) for row in scores])

    @abstractmethod
    def marginal(self, evidence: Evidence) -> Array:
        """Estimate of p(x), the true class's probability for a model of which nothing is known."""


@dataclass(frozen=True)
class RMIAOnline(_RMIA):
    """Share of the other examples z with [p(x | target) / p(x)] / [p(z | target) / p(z)] above gamma.

    p(x) is the mean over all reference models, IN and OUT: where more of them trained on x than did not, these weigh
    more; in a half-membership split both halves weigh alike. Several queries enter as the mean of their log-ratios.

    Args:
        gamma: by which factor an example must exceed another one, above 0.
        temperature: of the softmax; None is 2 where logits were stored and 1 where only confidences were.

    Source: Zarifzadeh et al. 2024, arXiv:2312.03262.
    """

    form: ClassVar[str] = "RMIA online"

    def marginal(self, evidence: Evidence) -> Array:
        """(targets or 1, examples, queries)."""
        return mean_likelihood(evidence)


@dataclass(frozen=True)
class RMIAOffline(_RMIA):
    """As :class:`RMIAOnline` without shadows that trained on x: p(x) = (1 + a)/2 mean over OUT + (1 - a)/2.

    Args:
        gamma: by which factor an example must exceed another one, above 0.
        temperature: of the softmax; None is 2 where logits were stored and 1 where only confidences were.
        a: how much of a probability stays when the example was not trained on, in [0, 1]. Tune it on shadows only.
    """

    form: ClassVar[str] = "RMIA offline"
    a: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.a <= 1:
            raise ValueError(f"a is a share and must lie in [0, 1], 0.3 is usual; got {self.a}")

    def marginal(self, evidence: Evidence) -> Array:
        """(targets or 1, examples, queries)."""
        return ((1 + self.a) * evidence.outside.mean_of(likelihood) + (1 - self.a)) / 2


@dataclass(frozen=True)
class BASE(Attack):
    """log p(x | target) - log mean p(x | shadow), averaged over queries; the mean is over all shadows, IN and OUT.

    Source: Lassila et al. 2025, "BASE".
    """

    needs_classes: ClassVar[bool] = True

    @property
    def title(self) -> str:
        """``BASE``."""
        return "BASE"

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        return mean_over_queries(log_likelihood(evidence.targets) - np.log(mean_likelihood(evidence)))
