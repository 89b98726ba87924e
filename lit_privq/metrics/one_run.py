"""A lower bound on epsilon from a single trained model, every example of the pool being a canary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import bdtr, bdtrc, betaincinv, logit

from lit_privq.metrics.members import as_members
from lit_privq.metrics.roc import Floats

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the examples that are guessed, where nothing else is asked for
_LARGEST = 30.0  # epsilon; beyond it a wrong guess is rarer than one in 10^13


def one_run_epsilon(
    scores: Floats,
    members: NDArray[np.bool_],
    guesses: Sequence[int] | None = None,
    *,
    level: float = 0.95,
    delta: float = 0.0,
) -> float:
    """Largest epsilon that one model's examples refute, at least 0.

    The examples with the highest scores are guessed to be members, as many with the lowest not to be, and the rest is
    left open. If the training is (epsilon, delta) differentially private, and each example was a member with
    probability 1/2 independently of the others, the number of right guesses is hardly larger than a binomial one of
    probability e^epsilon / (1 + e^epsilon).

    The halves of a study have a fixed size, so that examples are not quite independent. With as many guesses of either
    kind this raises the variance of the number of right guesses by one part in the number of examples.

    Args:
        scores: (examples,) of one target that is no shadow, larger means more likely a member.
        members: (examples,) bool, or 0 and 1.
        guesses: numbers of guesses to try, each at a level that makes all of them hold at once; by default from 1 % of
            the examples to all of them. They must not be chosen by these scores.
        level: probability with which the bound holds.
        delta: of (epsilon, delta) differential privacy.

    Raises:
        ValueError: if shapes disagree, a number of guesses is not in [2, examples], or level or delta is out of range.

    Source: Steinke, Nasr & Jagielski 2023, Privacy Auditing with One (1) Training Run, arXiv:2305.08846, theorem 5.2.

    >>> members = np.arange(1000) < 500
    >>> round(one_run_epsilon(members * 1.0, members, guesses=[100]), 2)
    3.49
    """
    scores, members = np.asarray(scores, np.float64), as_members(members)
    if members.shape != scores.shape or scores.ndim != 1:
        raise ValueError(f"scores and members must be (examples,); got {scores.shape} and {members.shape}")
    if not 0 < level < 1 or not 0 <= delta < 1:
        raise ValueError(f"level must be in (0, 1) and delta in [0, 1); got level {level}, delta {delta}")
    sizes = sorted({max(2, int(share * scores.size)) for share in _SHARES} if guesses is None else set(guesses))
    if not sizes or sizes[0] < 2 or sizes[-1] > scores.size:
        raise ValueError(f"guesses must lie between 2 and the {scores.size} examples; got {sizes}")
    shuffled = np.random.default_rng(0).permutation(scores.size)  # arrays that list members first must not break ties
    order = shuffled[np.argsort(-scores[shuffled], kind="stable")]
    surprise = (1 - level) / len(sizes)
    return max(
        _refuted(2 * (size // 2), _right(members[order], size // 2), scores.size, surprise, delta) for size in sizes
    )


def p_value(right: int, guesses: int, examples: int, epsilon: float, delta: float = 0.0) -> float:
    """Probability of so many right guesses or more, at most, under (epsilon, delta) differential privacy.

    Args:
        right: right guesses.
        guesses: all guesses.
        examples: canaries, guessed or not.
        epsilon: of the privacy guarantee.
        delta: of the privacy guarantee.

    Source: Steinke, Nasr & Jagielski 2023, arXiv:2305.08846, theorem 5.2.

    >>> round(p_value(8, 10, 10, epsilon=0.0), 4)  # 8 heads or more in 10 fair throws
    0.0547
    """
    chance = 1 / (1 + np.exp(-epsilon))
    pure = float(bdtrc(right - 1, guesses, chance)) if right else 1.0
    if delta == 0 or right == 0:
        return min(1.0, pure)
    steps = np.arange(1, right + 1)
    below = bdtr(np.maximum(right - 1 - steps, 0), guesses, chance) * (steps < right)
    short = bdtr(right - 1, guesses, chance) - below  # v > X >= v - i
    return min(1.0, pure + 2 * examples * delta * float((short / steps).max()))


def _right(members: NDArray[np.bool_], each: int) -> int:
    """Right guesses among the first and the last so many, in the order of the scores."""
    return int(members[:each].sum()) + int((~members[members.size - each :]).sum())


def _refuted(guesses: int, right: int, examples: int, surprise: float, delta: float) -> float:
    """Largest epsilon under which so many right guesses are too surprising."""
    if delta == 0:  # as many right guesses as Clopper and Pearson's lower bound on a share would just allow
        share = float(betaincinv(right, guesses - right + 1, surprise)) if right else 0.0
        return min(_LARGEST, float(logit(share))) if share > 0.5 else 0.0

    def excess(epsilon: float) -> float:
        return p_value(right, guesses, examples, epsilon, delta) - surprise

    if excess(0.0) > 0:
        return 0.0
    return _LARGEST if excess(_LARGEST) <= 0 else float(brentq(excess, 0.0, _LARGEST, xtol=1e-6))
