"""LiRA: is the target's confidence more like that of shadows that trained on the example, or of the others?

Any confidence will do that is larger for better answers: log-odds of the true class; of a regression the negative
squared error -(y - f)^2 as it is, which the Gaussians of the attack fit less well (``lit_privq.data.task``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import gammaln, log_ndtr, stdtr

from lit_privq.attacks.attack import Attack
from lit_privq.attacks.evidence import Evidence
from lit_privq.attacks.group import Array, Centre, Group, check_centre, mean_over_queries

_FLOOR = 1e-30  # added to every deviation, so that a group of equal values divides by something


class Variance(ABC):
    """How the spread of a group of shadows is estimated, and with which tails it is read."""

    from_inside: ClassVar[bool] = False  # whether both groups of the online attack take it from the IN values

    @property
    def min_shadows(self) -> int:
        """Least number of shadows in a group."""
        return 2

    @abstractmethod
    def variance(self, group: Group, centre: Centre) -> Array:
        """(targets or 1, examples or 1, queries or 1)."""

    def deviation(self, group: Group, centre: Centre) -> Array:
        """Standard deviation, above zero."""
        return np.sqrt(self.variance(group, centre)) + _FLOOR

    def log_density(self, distance: Array, deviation: Array, group: Group) -> Array:
        """Log-density at a distance from the centre."""
        standard = distance / deviation
        return np.asarray(-0.5 * standard * standard - (np.log(deviation) + 0.5 * np.log(2 * np.pi)))

    def tail_log_odds(self, standard: Array, group: Group) -> Array:
        """Log-odds of lying below, log P(Z < z) - log P(Z > z): keeps its digits far out on both sides."""
        log_tail = log_ndtr(-np.abs(standard))
        return np.asarray(np.sign(standard) * (np.log1p(-np.exp(log_tail)) - log_tail))


@dataclass(frozen=True)
class PerExample(Variance):
    """The variance of each example and query, as noisy as its shadows are few.

    Args:
        ddof: taken from the number of shadows by which the sum of squares is divided: 0 or 1 is usual.
    """

    ddof: int = 0

    def __post_init__(self) -> None:
        if self.ddof < 0:
            raise ValueError(f"ddof is taken from the number of shadows and must be at least 0; got {self.ddof}")

    @property
    def min_shadows(self) -> int:
        """One more than ``ddof``, or two."""
        return max(2, self.ddof + 1)

    def variance(self, group: Group, centre: Centre) -> Array:
        """(targets or 1, examples, queries)."""
        return group.squares / (group.size - self.ddof)


@dataclass(frozen=True)
class PooledSeparate(Variance):
    """One variance a group, of its values over all examples: contains the spread between examples."""

    def variance(self, group: Group, centre: Centre) -> Array:
        """(targets or 1, 1, 1)."""
        return group.pooled


@dataclass(frozen=True)
class Pooled(PooledSeparate):
    """As the public reference: online, the pooled variance of the IN values serves both groups."""

    from_inside: ClassVar[bool] = True


@dataclass(frozen=True)
class Residual(Variance):
    """One variance a group, of the distances to each example's own centre."""

    def variance(self, group: Group, centre: Centre) -> Array:
        """(targets or 1, 1, 1)."""
        return group.residual(centre)


@dataclass(frozen=True)
class Shrunk(Variance):
    """Each example's variance drawn towards the residual one, which counts as much as ``strength`` shadows.

    ``strength=0`` is per example (with ddof 1), infinity is :class:`Residual`.

    Args:
        strength: prior degrees of freedom, at least 0.
    """

    strength: float = 16.0

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise ValueError(f"strength counts shadows and must be at least 0; got {self.strength}")

    def variance(self, group: Group, centre: Centre) -> Array:
        """(targets or 1, examples, queries)."""
        if np.isinf(self.strength):
            return group.residual(centre)
        return self.shrink(group, group.residual(centre), group.squares)

    def shrink(self, group: Group, fixed: Array, squares: Array) -> Array:
        """Fixed value and centred sum of squares (or products) in one estimate."""
        return (self.strength * fixed + squares) / self._degrees(group)

    def _degrees(self, group: Group) -> Array:
        return np.asarray(self.strength + group.size - 1, np.float64)


@dataclass(frozen=True)
class ShrunkStudent(Shrunk):
    """:class:`Shrunk`, read with the Student tails that an estimated variance earns: strength + n - 1 degrees."""

    def log_density(self, distance: Array, deviation: Array, group: Group) -> Array:
        """Log-density of Student's t at a distance from the centre."""
        if np.isinf(self.strength):
            return super().log_density(distance, deviation, group)
        degrees = self._degrees(group)
        constant = gammaln((degrees + 1) / 2) - gammaln(degrees / 2) - 0.5 * np.log(degrees * np.pi)
        standard = distance / deviation
        return np.asarray(constant - np.log(deviation) - (degrees + 1) / 2 * np.log1p(standard * standard / degrees))

    def tail_log_odds(self, standard: Array, group: Group) -> Array:
        """Log-odds of lying below under Student's t; tails below the least float of full precision are all alike."""
        if np.isinf(self.strength):
            return super().tail_log_odds(standard, group)
        tail = np.maximum(stdtr(self._degrees(group), -np.abs(standard)), np.finfo(float).tiny)
        return np.asarray(np.sign(standard) * (np.log1p(-tail) - np.log(tail)))


@dataclass(frozen=True)
class LiRA(Attack):
    """What all forms of LiRA share: the centre and the spread of a group.

    Args:
        centre: of each group: the public reference takes the median, the paper the mean.
        variance: :class:`Residual` by default, the sound one of the fixed variances.

    Raises:
        ValueError: if the centre is neither of these.
    """

    centre: Centre = "median"
    variance: Variance = Residual()

    def __post_init__(self) -> None:
        check_centre(self.centre)

    @property
    def min_shadows(self) -> int:
        """As many as the variance needs."""
        return self.variance.min_shadows


@dataclass(frozen=True)
class LiRAOnline(LiRA):
    """log N(x; IN) - log N(x; OUT), averaged over queries.

    Args:
        centre: of each group: the public reference takes the median, the paper the mean.
        variance: :class:`Residual` by default, the sound one of the fixed variances.

    Source: Carlini et al. 2022, arXiv:2112.03570, algorithm 1.
    """

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        inside, outside = evidence.inside, evidence.outside
        in_deviation = self.variance.deviation(inside, self.centre)
        shared = self.variance.from_inside
        out_deviation = in_deviation if shared else self.variance.deviation(outside, self.centre)
        x = evidence.targets
        member = self.variance.log_density(x - inside.centre(self.centre), in_deviation, inside)
        other = self.variance.log_density(x - outside.centre(self.centre), out_deviation, outside)
        return mean_over_queries(member - other)


@dataclass(frozen=True)
class LiRAOffline(LiRA):
    """-log N(x; OUT), averaged over queries: what public implementations compute.

    Two-sided: an example that is unusually *un*confident counts as a member too. See :class:`LiRAOfflineOneSided`.

    Args:
        centre: as in :class:`LiRAOnline`.
        variance: as in :class:`LiRAOnline`.
    """

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        group = evidence.outside
        deviation = self.variance.deviation(group, self.centre)
        return -mean_over_queries(
            self.variance.log_density(evidence.targets - group.centre(self.centre), deviation, group)
        )


@dataclass(frozen=True)
class LiRAOfflineOneSided(LiRA):
    """How far the confidence lies above the OUT shadows: log-odds of the one-sided test, averaged over queries.

    With one query log Phi(z) - log Phi(-z) ranks exactly as the paper's probability Phi(z). Over several queries its
    mean does not rank exactly as the mean of log Phi(z), which eq. 4 can also be read to mean: log Phi saturates at 0,
    so that only queries below the OUT shadows would count, and 9 deviations above would be as good as 40. The odds
    weigh both sides alike and keep their digits on both.

    Args:
        centre: as in :class:`LiRAOnline`.
        variance: as in :class:`LiRAOnline`.

    Source: Carlini et al. 2022, arXiv:2112.03570, eq. 4.
    """

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        group = evidence.outside
        standard = (evidence.targets - group.centre(self.centre)) / self.variance.deviation(group, self.centre)
        return mean_over_queries(self.variance.tail_log_odds(standard, group))
