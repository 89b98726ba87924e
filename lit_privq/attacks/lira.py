"""LiRA: likelihood ratio of a target's confidence under Gaussians fitted to shadows with and without the example.

Any confidence can be attacked that is larger for better answers: log-odds of the true class, or of a regression the
negative squared error -(y - f)^2 as it is, which Gaussians fit less well (``lit_privq.data.task``).
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

_FLOOR = 1e-30  # added to every deviation, as in the reference: equal confidences would divide by zero
_CAP = (
    25.0  # Gaussian groups do not reach it (chi-squared over its degrees, P < 1e-6); one bad example in 1000 adds 2.6 %
)


def log_normal_density(distance: Array, deviation: Array) -> Array:
    """Log-density of a Gaussian at a distance from its centre."""
    standard = distance / deviation
    return np.asarray(-0.5 * standard * standard - (np.log(deviation) + 0.5 * np.log(2 * np.pi)))


class Variance(ABC):
    """Estimator of the spread of a group of shadows, and the distribution that it enters."""

    from_inside: ClassVar[bool] = False  # whether both groups of the online attack take it from the IN values
    title: ClassVar[str] = ""  # what it adds to the title of an attack

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
        return log_normal_density(distance, deviation)

    def tail_log_odds(self, standard: Array, group: Group) -> Array:
        """Log-odds of lying below, log P(Z < z) - log P(Z > z): keeps its digits far out on both sides."""
        log_tail = log_ndtr(-np.abs(standard))
        return np.asarray(np.sign(standard) * (np.log1p(-np.exp(log_tail)) - log_tail))


@dataclass(frozen=True)
class PerExample(Variance):
    """A variance for each example and query: no bias, but noisy where shadows are few.

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
    """One variance for each group, of its values over all examples: contains the spread between examples.

    Not robust: a single absurd confidence can make up most of it. :class:`Residual` is.
    """

    title: ClassVar[str] = "pooled variance"

    def variance(self, group: Group, centre: Centre) -> Array:
        """(targets or 1, 1, 1)."""
        return group.pooled


@dataclass(frozen=True)
class Pooled(PooledSeparate):
    """As the public reference: online, the pooled variance of the IN values serves both groups."""

    title: ClassVar[str] = "pooled variance of the reference"
    from_inside: ClassVar[bool] = True


@dataclass(frozen=True)
class Residual(Variance):
    """One variance for each group, of the distances to each example's own centre.

    Robust: no example enters with more than ``cap`` times the mean (:func:`~lit_privq.attacks.group.capped_mean`), so
    that one absurd confidence, or one degenerate example, cannot make up the variance of all. Where no example exceeds
    that bound it is the plain mean to the last bit: on Gaussian confidences, where its efficiency therefore is 1, and
    on all rows of the digits demo. Where examples' own variances are log-normal with a deviation of 1.5, one in 500 is
    bounded and the variance is 3 % lower.

    Args:
        cap: how many times the mean an example's own mean square may count, above 1; infinity for the plain mean.
    """

    title: ClassVar[str] = "fixed variance"
    cap: float = _CAP

    def __post_init__(self) -> None:
        _check_cap(self.cap)

    def variance(self, group: Group, centre: Centre) -> Array:
        """(targets or 1, 1, 1)."""
        return group.residual(centre, self.cap)


@dataclass(frozen=True)
class Shrunk(Variance):
    """Each example's variance drawn towards the residual one, which counts as much as ``strength`` shadows.

    (strength * residual + Q) / (strength + n - 1) for n shadows whose centred sum of squares is Q. ``strength=0`` is
    per example (with ddof 1), infinity is :class:`Residual`.

    Args:
        strength: prior degrees of freedom, at least 0.
        cap: of the residual variance, as in :class:`Residual`.
    """

    title: ClassVar[str] = "shrunk variance"
    strength: float = 16.0
    cap: float = _CAP

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise ValueError(f"strength counts shadows and must be at least 0; got {self.strength}")
        _check_cap(self.cap)

    def variance(self, group: Group, centre: Centre) -> Array:
        """(targets or 1, examples, queries)."""
        fixed = group.residual(centre, self.cap)
        return fixed if np.isinf(self.strength) else self.shrink(group, fixed, group.squares)

    def shrink(self, group: Group, fixed: Array, squares: Array) -> Array:
        """Fixed value and centred sum of squares (or products) in one estimate."""
        return (self.strength * fixed + squares) / self._degrees(group)

    def _degrees(self, group: Group) -> Array:
        return np.asarray(self.strength + group.size - 1, np.float64)


@dataclass(frozen=True)
class ShrunkStudent(Shrunk):
    """:class:`Shrunk` with a Student distribution of strength + n - 1 degrees in the place of the Gaussian.

    The predictive distribution where a variance is itself estimated from that many degrees of freedom.
    """

    title: ClassVar[str] = "Student"

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


def _check_cap(cap: float) -> None:
    if not cap > 1:
        raise ValueError(f"cap is a multiple of the mean above 1, {_CAP:g} is usual and infinity is no cap; got {cap}")


@dataclass(frozen=True)
class LiRA(Attack):
    """Base of all forms of LiRA: the centre and the spread of a group.

    Args:
        centre: of each group: the public reference takes the median, the paper the mean.
        variance: :class:`Residual` by default, the fixed variance that leaves out the spread between examples.

    Raises:
        ValueError: if the centre is neither of these.
    """

    form: ClassVar[str] = "LiRA"
    centre: Centre = "median"
    variance: Variance = Residual()

    def __post_init__(self) -> None:
        check_centre(self.centre)

    @property
    def min_shadows(self) -> int:
        """As many as the variance needs."""
        return self.variance.min_shadows

    @property
    def title(self) -> str:
        """Form, variance and, where it is not the median, the centre."""
        return ", ".join(filter(None, (self.form, self.variance.title, "mean centre" * (self.centre == "mean"))))


@dataclass(frozen=True)
class LiRAOnline(LiRA):
    """log N(x; IN) - log N(x; OUT), averaged over queries.

    Args:
        centre: of each group: the public reference takes the median, the paper the mean.
        variance: :class:`Residual` by default, the fixed variance that leaves out the spread between examples.

    Source: Carlini et al. 2022, arXiv:2112.03570, algorithm 1.
    """

    form: ClassVar[str] = "LiRA online"

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        inside, outside = evidence.inside, evidence.outside
        in_deviation = self.variance.deviation(inside, self.centre)
        shared = self.variance.from_inside
        out_deviation = in_deviation if shared else self.variance.deviation(outside, self.centre)
        x = self.seen(evidence)
        member = self.variance.log_density(x - inside.centre(self.centre), in_deviation, inside)
        other = self.variance.log_density(x - outside.centre(self.centre), out_deviation, outside)
        return mean_over_queries(member - other)

    def seen(self, evidence: Evidence) -> Array:
        """The targets' confidences as the attack takes them, (targets, examples, queries)."""
        return evidence.targets


@dataclass(frozen=True)
class LiRAOnlineAligned(LiRAOnline):
    """LiRA online on confidences that are shifted and stretched until each target's look like its shadows'.

    Shadows in full precision take the lower confidence of a quantized model for not having trained on an example. Over
    the whole pool, of which every model trained on about half, confidences should lie alike: each target gets the
    median and the interquartile range that its shadows have on average. No shadow need be quantized for it.

    Args:
        centre: as in :class:`LiRAOnline`.
        variance: as in :class:`LiRAOnline`.

    Source: ours; ``benchmarks/confidence_scale.py`` measures what it finds beside other attackers.
    """

    form: ClassVar[str] = "LiRA online, aligned"

    def seen(self, evidence: Evidence) -> Array:
        """The targets' confidences, shifted and stretched, (targets, examples, queries)."""
        return evidence.aligned


@dataclass(frozen=True)
class LiRAOffline(LiRA):
    """-log N(x; OUT), averaged over queries: what public implementations compute.

    Two-sided: an example that is unusually unconfident counts as a member too. See :class:`LiRAOfflineOneSided`.

    Args:
        centre: as in :class:`LiRAOnline`.
        variance: as in :class:`LiRAOnline`.
    """

    form: ClassVar[str] = "LiRA offline"

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        group = evidence.outside
        deviation = self.variance.deviation(group, self.centre)
        return -mean_over_queries(
            self.variance.log_density(evidence.targets - group.centre(self.centre), deviation, group)
        )


@dataclass(frozen=True)
class LiRAOfflineOneSided(LiRA):
    """Log-odds of the one-sided test that the confidence lies above the OUT shadows, averaged over queries.

    With one query log Phi(z) - log Phi(-z) ranks exactly as the paper's probability Phi(z). Over several queries its
    mean does not rank exactly as the mean of log Phi(z), which eq. 4 can also be read to mean: log Phi saturates at 0,
    so that only queries below the OUT shadows would count, and 9 deviations above would be as good as 40. The odds
    weigh both sides alike and keep their digits on both.

    Args:
        centre: as in :class:`LiRAOnline`.
        variance: as in :class:`LiRAOnline`.

    Source: Carlini et al. 2022, arXiv:2112.03570, eq. 4.
    """

    form: ClassVar[str] = "LiRA offline, one-sided"

    def score(self, evidence: Evidence) -> Array:
        """(targets, examples), in nats."""
        group = evidence.outside
        standard = (evidence.targets - group.centre(self.centre)) / self.variance.deviation(group, self.centre)
        return mean_over_queries(self.variance.tail_log_odds(standard, group))
