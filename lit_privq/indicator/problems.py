"""Small problems whose membership security is computed exactly, to test the indicator's ranking of quantizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lit_privq.artifacts.atomic import atomic_write
from lit_privq.indicator.codes import flip_margin
from lit_privq.indicator.finite import TrainingSets, chernoff_rate
from lit_privq.indicator.gaps import bernstein_bound, indicator, indicator_lse, loss_gaps
from lit_privq.indicator.quantizers import Quantizer, compared_quantizers

Array = NDArray[np.float64]

_FEATURES = 3
_NAMES = ("sign", "ternary-50", "ternary-33", "absmean", "uniform-2", "uniform-3")  # at 90 % nothing is left of three


@dataclass(frozen=True)
class FiniteProblems:
    """Linear regressions in three dimensions whose examples take a few values only.

    Args:
        problems: how many are drawn.
        values: how many different examples there are.
        n: size of a training set; all of them are gone through.
        rates: how many ternary classifications the indicator is compared with the exact rate on.
        seed: of everything.
    """

    problems: int = 12
    values: int = 4
    n: int = 200
    rates: int = 3
    seed: int = 0


@dataclass(frozen=True, eq=False)
class FiniteTruth:
    """P problems, Q quantizers with public scales; every array (P, Q) but the last two.

    Args:
        quantizers: (Q,) names.
        n: size of a training set.
        r: the indicator of the codebook.
        r_lse: its companion over all competitors.
        r_reached: the indicator of the codewords that 50 random trainings round to, +inf where these are one.
        bernstein: lower bound on the security of empirical risk minimisation.
        margin: flip margin of rounding after training.
        risk: 1 - MIS of empirical risk minimisation over the codebook.
        rounding: 1 - MIS of rounding the least-squares solution.
        indicated: (problems,) the indicator of ternary classifications.
        exact: (problems,) their exact rate, the least Chernoff exponent of a competitor.
    """

    quantizers: tuple[str, ...]
    n: int
    r: Array
    r_lse: Array
    r_reached: Array
    bernstein: Array
    margin: Array
    risk: Array
    rounding: Array
    indicated: Array
    exact: Array

    def write(self, path: Path) -> None:
        """Store everything, whole or not at all."""
        arrays: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        with atomic_write(path) as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> FiniteTruth:
        """Read it back."""
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        arrays |= {"quantizers": tuple(map(str, arrays["quantizers"])), "n": int(arrays["n"])}
        return cls(**arrays)


def solve_problems(config: FiniteProblems) -> FiniteTruth:
    """Draw the problems and compute indicator and truth for each."""
    quantizers = {name: compared_quantizers()[name] for name in _NAMES}
    seeds = np.random.SeedSequence(config.seed).spawn(config.problems + config.rates)
    generators = [np.random.default_rng(seed) for seed in seeds]
    rows = [_regression(rng, config, quantizers) for rng in generators[: config.problems]]
    rates = np.array([ternary_rates(rng) for rng in generators[config.problems :]])  # (problems, 2)
    stacked = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return FiniteTruth(_NAMES, config.n, indicated=rates[:, 0], exact=rates[:, 1], **stacked)


def ternary_rates(rng: np.random.Generator, values: int = 500) -> tuple[float, float]:
    """The indicator and the exact rate of a logistic problem with the 27 ternary models in three dimensions."""
    inputs, truth = rng.normal(size=(values, _FEATURES)), rng.normal(size=_FEATURES)
    labels = np.where(rng.random(values) < 1 / (1 + np.exp(-inputs @ truth)), 1, -1)
    codebook = np.array(list(product((-1, 0, 1), repeat=_FEATURES)))
    losses = np.logaddexp(0, -labels * (codebook @ inputs.T))  # (codewords, values)
    gaps, probability = loss_gaps(losses), np.full(values, 1 / values)
    competitors = np.delete(losses, gaps.best, axis=0) - losses[gaps.best]
    return float(indicator(gaps)), min(chernoff_rate(gap, probability) for gap in competitors)


def _regression(
    rng: np.random.Generator, config: FiniteProblems, quantizers: Mapping[str, Quantizer]
) -> dict[str, list[float]]:
    """One problem, a value per quantizer."""
    inputs, truth = rng.normal(size=(config.values, _FEATURES)), rng.normal(size=_FEATURES)
    targets = inputs @ truth + 0.5 * rng.normal(size=config.values)
    sets = TrainingSets(config.n, rng.dirichlet(np.full(config.values, 5.0)))
    trained = least_squares(sets.counts / config.n, inputs, targets)  # (sets, features)
    best = least_squares(sets.probability[None], inputs, targets)[0]
    drawn = rng.choice(len(sets.counts), size=50, p=sets.chances / sets.chances.sum())  # (trainings,)
    rows = [_quantized(sets, inputs, targets, trained, best, drawn, quantizer) for quantizer in quantizers.values()]
    return {name: [row[name] for row in rows] for name in rows[0]}


def least_squares(weights: Array, inputs: Array, targets: Array, ridge: float = 1e-3) -> Array:
    """Minimise weighted squared error plus ``ridge`` times the squared norm; (sets, values) -> (sets, features)."""
    gram = np.einsum("sz,zi,zj->sij", weights, inputs, inputs, optimize=True) + ridge * np.eye(inputs.shape[1])
    moment = weights @ (inputs * targets[:, None])  # (sets, features)
    return np.linalg.solve(gram, moment[..., None])[..., 0]


def _quantized(
    sets: TrainingSets,
    inputs: Array,
    targets: Array,
    trained: Array,
    best: Array,
    drawn: NDArray[np.int64],
    quantizer: Quantizer,
) -> dict[str, float]:
    """Indicator and truth of one quantizer, its scale frozen at the population's solution."""
    frozen = quantizer.freeze(torch.from_numpy(best).view(1, 1, -1))
    place = np.arange(_FEATURES)[::-1]  # codewords are numbered as `product` lists them
    codebook = np.array(list(product(range(frozen.levels), repeat=_FEATURES)), dtype=np.float64)
    models = _apply(frozen.weights, codebook)  # (codewords, features)
    losses = (models @ inputs.T - targets) ** 2
    gaps = loss_gaps(losses, sets.probability)
    rounded = _apply(frozen.codes, trained).astype(np.int64) @ frozen.levels**place  # (sets,)
    reached = np.isin(np.arange(len(codebook)), rounded[drawn])
    return {
        "r": float(indicator(gaps)),
        "r_lse": float(indicator_lse(gaps, sets.n)),
        "r_reached": float(indicator(loss_gaps(losses, sets.probability, reached))),
        "bernstein": float(bernstein_bound(gaps, sets.n)),
        "margin": flip_margin(_apply(frozen.positions, trained), frozen.levels, sets.n, sets.chances),
        "risk": sets.advantage(sets.minimise(losses)),
        "rounding": sets.advantage(rounded),
    }


def _apply(function: Callable[[torch.Tensor], torch.Tensor], rows: Array) -> Array:
    """Call a map of one model and one row on many rows; (rows, columns) -> (rows, columns)."""
    return np.asarray(function(torch.from_numpy(rows)[None])[0])
