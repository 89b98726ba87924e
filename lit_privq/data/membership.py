"""Membership: which examples each model trains on and is calibrated on, as index arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]

_ROUNDS = 20  # matchings of the shuffle; after some ten the correlation between two models' masks no longer shrinks
_SHADOWS, _TARGETS, _CALIBRATION = range(3)  # one random stream each, so that none says anything about another


def half_membership(n_models: int, n_examples: int, seed: int) -> Bools:
    """Draw the shadow models' training sets: every example in half of them, half of the pool in every one.

    Starts from complementary pairs, which have both margins, and then lets random pairs of models trade the
    examples that exactly one of the two holds. A trade keeps both margins; many of them make the table close to
    uniform among all tables with these margins.

    Args:
        n_models: number of shadow models, even.
        n_examples: size of the pool; where it is odd, half of the models have one example more.
        seed: of the split, the same for a whole study.

    Returns:
        (n_models, n_examples) bool.

    Raises:
        ValueError: if ``n_models`` is odd or below 2, or ``n_examples`` below 2.

    Source: trades after Strona et al. 2014, "A fast and unbiased procedure to randomize ecological binary matrices".

    >>> members = half_membership(4, 6, seed=0)
    >>> members.sum(axis=0).tolist(), members.sum(axis=1).tolist()
    ([2, 2, 2, 2, 2, 2], [3, 3, 3, 3])
    """
    if n_models < 2 or n_models % 2:
        raise ValueError(
            f"n_shadows must be even, so that each example trains exactly half of the models; got {n_models}, "
            f"use {max(2, n_models - 1)} or {n_models + 1}"
        )
    if n_examples < 2:
        raise ValueError(f"a pool needs at least 2 examples to be halved; got {n_examples}")
    rng = np.random.default_rng([seed, _SHADOWS])
    members = np.zeros((n_models, n_examples), dtype=bool)
    for first in range(0, n_models, 2):
        members[first, rng.permutation(n_examples)[: n_examples // 2]] = True
        members[first + 1] = ~members[first]
    for _ in range(_ROUNDS if n_models > 2 else 0):
        for one, other in rng.permutation(n_models).reshape(-1, 2):
            _trade(members, one, other, rng)
    return members


def _trade(members: Bools, one: int, other: int, rng: np.random.Generator) -> None:
    """Redistribute the examples that exactly one of two models holds at random, keeping both counts."""
    tradable = np.flatnonzero(members[one] != members[other])
    count = int(members[one, tradable].sum())
    mine = rng.permutation(len(tradable)) < count
    members[one, tradable] = mine
    members[other, tradable] = ~mine


def target_membership(n_targets: int, n_examples: int, seed: int) -> Bools:
    """Draw held-out targets' training sets: each an independent half of the pool.

    Returns:
        (n_targets, n_examples) bool, every row with ``n_examples // 2`` members.

    >>> target_membership(2, 5, seed=0).sum(axis=1).tolist()
    [2, 2]
    """
    members = np.zeros((n_targets, n_examples), dtype=bool)
    for target in range(n_targets):
        rng = np.random.default_rng([seed, _TARGETS, target])
        members[target, rng.permutation(n_examples)[: n_examples // 2]] = True
    return members


def study_membership(n_shadows: int, n_targets: int, n_examples: int, seed: int) -> Bools:
    """Membership of all models of a study: shadows first, held-out targets after them.

    Returns:
        (n_shadows + n_targets, n_examples) bool.
    """
    shadows = half_membership(n_shadows, n_examples, seed)
    return np.concatenate([shadows, target_membership(n_targets, n_examples, seed)])


def calibration_indices(members: Bools, size: int, seed: int, model: int, draw: int = 0) -> Indices:
    """Choose a model's calibration set among its own members, the same for every method and precision.

    Args:
        members: (examples,) bool, the model's row.
        size: how many examples to choose.
        seed: of the split.
        model: the model's index in the study.
        draw: which of several sets, for repeats of a quantization.

    Returns:
        (size,) sorted indices into the pool.

    Raises:
        ValueError: if the model has fewer members than ``size``, or ``size`` is below 1.

    >>> calibration_indices(np.array([True, False, True, True]), 3, seed=0, model=0).tolist()
    [0, 2, 3]
    """
    own = np.flatnonzero(members)
    if not 1 <= size <= len(own):
        raise ValueError(
            f"calibration_size must lie between 1 and the model's {len(own)} training members; got {size}, "
            f"set data.calibration_size to {len(own)} or less"
        )
    rng = np.random.default_rng([seed, _CALIBRATION, model, *([draw] if draw else [])])
    return np.sort(rng.choice(own, size=size, replace=False)).astype(np.int64)


def parse_models(models: int | str, n_models: int) -> tuple[int, ...]:
    """Read the indices of the models that a command is about: ``3`` or a range ``0:16``.

    Raises:
        ValueError: if the text is neither, or an index lies outside the study.

    >>> parse_models("2:5", 8), parse_models(3, 8)
    ((2, 3, 4), (3,))
    """
    first, _, end = str(models).partition(":")
    try:
        chosen = tuple(range(int(first), int(end or int(first) + 1)))
    except ValueError:
        chosen = ()
    if not chosen or chosen[0] < 0 or chosen[-1] >= n_models:
        raise ValueError(
            f"model_index must be an index such as 3 or a range such as 0:16, within 0 to {n_models - 1} "
            f"(shadows, then targets); got {models!r}"
        )
    return chosen


def equal_batches(n_examples: int, batch_size: int, n_batches: int) -> Sequence[int]:
    """Sizes of the batches of an epoch: as equal as can be, none dropped and none left over.

    >>> equal_batches(10, 4, 3), equal_batches(9, 4, 3)
    ([4, 3, 3], [3, 3, 3])
    """
    assert n_examples <= n_batches * batch_size
    small, larger = divmod(n_examples, n_batches)
    return [small + 1] * larger + [small] * (n_batches - larger)
