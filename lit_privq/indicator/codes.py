"""Measures of integer codes: agreement between trainings, number of distinct codewords, distance from a flip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def first_seen(codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Which snapshots show a codeword for the first time.

    Args:
        codes: (runs, snapshots, weights), any type; equal bytes are equal codes.

    Returns:
        (runs, snapshots) bool; its sum over snapshots is the number of distinct codewords, C.

    >>> first_seen(np.array([[[0, 1], [0, 1], [1, 1]]])).tolist()
    [[True, False, True]]
    """
    return np.array([_first_seen(run) for run in np.ascontiguousarray(codes)])


def _first_seen(snapshots: NDArray[Any]) -> list[bool]:
    seen: set[bytes] = set()
    fresh = []
    for snapshot in snapshots:
        key = snapshot.tobytes()
        fresh.append(key not in seen)
        seen.add(key)
    return fresh


def code_agreement(codes: NDArray[Any]) -> float:
    """Probability that two trainings give a weight the same code, averaged over weights; 1 where no code ever changes.

    Args:
        codes: (runs, weights), one trained model a row.

    Raises:
        ValueError: for fewer than two runs.

    >>> code_agreement(np.array([[0, 1], [0, 2], [0, 1]]))
    0.6666666666666666
    """
    runs = len(codes)
    if runs < 2:
        raise ValueError(f"agreement compares trainings, so it needs at least 2 runs; got {runs}")
    ordered = np.sort(codes, axis=0)
    starts = np.concatenate([np.ones_like(ordered[:1], dtype=bool), ordered[1:] != ordered[:-1]])  # (runs, weights)
    place = np.arange(runs)[:, None]
    begin = np.maximum.accumulate(np.where(starts, place, 0), axis=0)  # where each value's block begins
    pairs = (place - begin).sum(axis=0)  # a value's j-th twin agrees with j - 1 before it
    return float(pairs.mean() / (runs * (runs - 1) / 2))


def flip_margin(positions: Array, levels: int, n: int, chances: Array | None = None) -> float:
    """How far trained weights stay from the cuts between codes, as a rate like r: higher is more private.

    For rounding after training a code flips where a weight crosses a cut. With m the distance of a weight's mean to the
    nearest cut and v its variance over trainings, -(1/n) log sum exp(-m^2 / (2 v)), the sum over weights.

    Args:
        positions: (runs, weights), w / step + zero: weights in units of codes, cuts at halves.
        levels: codes go from 0 to levels - 1.
        n: size of a training set.
        chances: (runs,) probabilities of the runs; equal where None.

    Source: ours; the indicator's Gaussian tail put at the rounding threshold.

    >>> flip_margin(np.array([[0.0], [0.2]]), levels=2, n=10).__round__(4)
    0.8
    """
    mean = np.average(positions, axis=0, weights=chances)
    variance = np.average((positions - mean) ** 2, axis=0, weights=chances)
    cut = np.clip(np.floor(mean), 0, levels - 2) + 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(mean == cut, 0.0, (mean - cut) ** 2 / (2 * variance))
    return float(-np.logaddexp.reduce(-rate) / n)
