"""AdaRound: learn for every weight whether it is rounded up or down, by gradient descent on the unit's output error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from lit_privq.quantization.grid import Grid, RangeSearch
from lit_privq.quantization.method import LayerProblem, Method, UnitProblem, check_finite, check_inputs, check_options
from lit_privq.quantization.solution import Quantized

Loss: TypeAlias = Callable[[Mapping[str, Tensor]], Tensor]
"""Weights per layer -> a loss per model (or per model and group), summed before it is differentiated."""

# The sigmoid is stretched to this range and clamped to [0, 1], so that it reaches both ends with a gradient on the way
# (Louizos et al. 2018, arXiv:1712.01312).
_LOW, _HIGH = -0.1, 1.1
_CHECKS = 20  # of the hard-rounded loss, on the way from another method's solution


def rectified_sigmoid(alpha: Tensor) -> Tensor:
    """h(a) = clamp(1.2 sigmoid(a) - 0.1, 0, 1).

    >>> rectified_sigmoid(torch.tensor([-9.0, 0.0, 9.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return (torch.sigmoid(alpha) * (_HIGH - _LOW) + _LOW).clamp(0, 1)


def inverse_rectified_sigmoid(step: Tensor) -> Tensor:
    """The a with h(a) = step, for steps in [0, 1].

    >>> rectified_sigmoid(inverse_rectified_sigmoid(torch.tensor([0.0, 0.25, 1.0])))
    tensor([0.0000, 0.2500, 1.0000])
    """
    return torch.logit((step - _LOW) / (_HIGH - _LOW))


@dataclass(frozen=True)
class Schedule:
    """The exponent b of the rounding term: none during the warm-up, then falling linearly.

    Args:
        iterations: how many there are.
        warmup: share of them without the rounding term.
        first: exponent at the end of the warm-up; high, so that only nearly decided weights are pushed.
        last: exponent at the end.
    """

    iterations: int
    warmup: float
    first: float
    last: float

    def exponent(self, iteration: int) -> float | None:
        """Of iteration 1, 2, ..., iterations; None during the warm-up.

        >>> schedule = Schedule(iterations=100, warmup=0.2, first=20, last=2)
        >>> [schedule.exponent(iteration) for iteration in (1, 19, 20, 60, 100)]
        [None, None, 20.0, 11.0, 2.0]
        """
        start = self.warmup * self.iterations
        if iteration < start:
            return None
        left = 1 - (iteration - start) / max(self.iterations - start, 1)
        return self.last + (self.first - self.last) * max(left, 0.0)


@dataclass(frozen=True)
class Rounding:
    """Codes that are learned: a base plus a step of at most one, relaxed to real numbers.

    Args:
        base: the grid, and codes that may still lie outside [0, levels).
        down: 0 where the step goes from 0 to 1 (down or up from a float weight), 1 where it goes from -1 to 1.
    """

    base: Quantized
    down: int

    def step(self, alpha: Tensor) -> Tensor:
        """The relaxed step, in [-down, 1]."""
        return (1 + self.down) * rectified_sigmoid(alpha) - self.down

    def weight(self, alpha: Tensor) -> Tensor:
        """The relaxed weight. A clipped one does not depend on alpha, so it gets no gradient."""
        return self._clipped(self.step(alpha)).weight()

    def indecision(self, alpha: Tensor, exponent: float) -> Tensor:
        """Sum of 1 - |2 s - 1|^b over all steps s: 0 when all are whole."""
        return (1 - (2 * self.step(alpha).abs() - 1).abs().pow(exponent)).sum()

    def hard(self, alpha: Tensor) -> Quantized:
        """The codes at the nearest whole step; up where it is one half."""
        return self._clipped((self.step(alpha.detach()) + 0.5).floor())

    def _clipped(self, step: Tensor) -> Quantized:
        last = (self.base.levels - 1).to(step).view(-1, 1, 1)
        return replace(self.base, codes=(self.base.codes + step).clamp(min=torch.zeros_like(last), max=last))


def from_weight(layer: LayerProblem, grid: Grid) -> tuple[Rounding, Tensor]:
    """Round down or up, starting so that the relaxed weight is the float weight unless that is clipped."""
    scale, zero = grid.fit(layer.weight, layer.levels, layer.gram)
    wanted = layer.weight / scale + zero
    rounding = Rounding(Quantized(wanted.floor(), scale, zero, layer.levels), down=0)
    return rounding, inverse_rectified_sigmoid(wanted - wanted.floor())


def from_solution(solution: Quantized) -> tuple[Rounding, Tensor]:
    """Move each code by at most one, starting with no move."""
    return Rounding(solution, down=1), torch.zeros_like(solution.codes)


@dataclass(frozen=True)
class AdaRound:
    """Learned rounding, one layer at a time.

    The loss is the squared error of the unit's output, summed over channels and averaged over examples and positions,
    plus `rounding_weight` times the indecision of all its weights. The defaults are the published ones. They need
    their 20,000 iterations: a few hundred at lr 1e-3 hardly move any weight across one half, so that the result hardly
    differs from nearest rounding. Raise `lr` with fewer `iterations`, and look at the share of flipped codes in the
    report: 4,000 iterations at 3e-2 reach the error of the published schedule (`configs/ptq/adaround_short.yaml`).

    Args:
        grid: how scale and zero are chosen; they then stay.
        iterations: steps of Adam.
        lr: its learning rate, on the variable behind the sigmoid.
        batch_size: calibration images per iteration, drawn without replacement, anew each time.
        rounding_weight: of the rounding term.
        warmup: share of the iterations without it.
        first_exponent: of the rounding term, after the warm-up.
        last_exponent: of the rounding term, at the end.
        linear_target: whether the error is taken before norm and activation, where it is a quadratic form of
            the weights: its cost then depends neither on resolution nor on the number of calibration images, all of
            which count in each iteration; `batch_size` is not used then.
        inputs: whose activations enter the unit; the target is always the float network's output.
        start: a method to start from: its codes then move by at most one, and the best hard-rounded solution is kept,
            of the start's and of some twenty on the way.
        patience: with a start, after how many iterations behind the warm-up without a better hard-rounded solution a
            model stops; None goes through all iterations. No shipped config sets it: on the block of
            `benchmarks/learned.py` (digits, seed 0), BRECQ from `Descent` with 4,000 iterations at lr 1e-2 first
            doubles the error, and falls below the start's between iterations 3,000 and 3,400; patience 1,000 ends at
            2,000 and loses the whole gain of 9 and 10 % at 2 and 1.58 bits.

    Raises:
        ValueError: if an option is out of its range, or there is patience without a start.

    Source: Nagel et al. 2020, arXiv:2004.10568, with the settings of the public code of BRECQ, arXiv:2102.05426.
    """

    grid: Grid = field(default_factory=lambda: RangeSearch(contain_zero=False))
    iterations: int = 20_000
    lr: float = 1e-3
    batch_size: int = 32
    rounding_weight: float = 0.01
    warmup: float = 0.2
    first_exponent: float = 20.0
    last_exponent: float = 2.0
    linear_target: bool = False
    inputs: Literal["float", "quantized"] = "quantized"
    start: Method | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        check_inputs(self.inputs)
        check_options(
            (self.iterations >= 1, "iterations must be at least 1, such as 4000", self.iterations),
            (self.lr > 0, "lr must be above 0, such as 0.001", self.lr),
            (self.batch_size >= 1, "batch_size must be at least 1, such as 32", self.batch_size),
            (self.rounding_weight >= 0, "rounding_weight must be at least 0, such as 0.01", self.rounding_weight),
            (0 <= self.warmup < 1, "warmup must be a fraction in [0, 1), such as 0.2", self.warmup),
            (self.first_exponent > 0, "first_exponent must be above 0, such as 20", self.first_exponent),
            (self.last_exponent > 0, "last_exponent must be above 0, such as 2", self.last_exponent),
            (self.patience is None or self.patience >= 1, "patience must be at least 1, or none", self.patience),
            (
                self.patience is None or self.start is not None,
                "patience needs a start, without which the last solution is returned; leave it out or set start",
                f"patience {self.patience}",
            ),
        )

    @property
    def unit(self) -> str:
        """One layer at a time."""
        return "layer"

    @property
    def needs_gram(self) -> bool:
        """For a linear target, and for a grid that is chosen by output error; with a start, the grid is the start's."""
        return self.linear_target or (self.start is None and self.grid.by_output)

    @property
    def needs_activations(self) -> bool:
        """Unless the target is linear, where gram matrices suffice."""
        return not self.linear_target

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        for layer in problem.layers.values():
            check_finite(layer)
        pairs = {name: self._relaxed(layer, problem.start) for name, layer in problem.layers.items()}
        roundings = {name: rounding for name, (rounding, _) in pairs.items()}
        alphas = {name: alpha.detach().clone().requires_grad_() for name, (_, alpha) in pairs.items()}
        if self.linear_target:
            return self._optimise(roundings, alphas, GramLoss(problem), GramLoss(problem).exact)
        return self._optimise(roundings, alphas, BatchLoss(problem, self.batch_size), BatchLoss(problem, 256).exact)

    def _relaxed(self, layer: LayerProblem, start: Mapping[str, Quantized] | None) -> tuple[Rounding, Tensor]:
        return from_weight(layer, self.grid) if start is None else from_solution(start[layer.name])

    @torch.enable_grad()
    def _optimise(
        self, roundings: Mapping[str, Rounding], alphas: Mapping[str, Tensor], loss: Loss, exact: Loss
    ) -> dict[str, Quantized]:
        """Gradient descent; returns the last solution, as published, or with a start the best."""
        schedule = Schedule(self.iterations, self.warmup, self.first_exponent, self.last_exponent)
        optimizer = torch.optim.Adam(list(alphas.values()), lr=self.lr)
        warmup = self.warmup * self.iterations
        best = BestRounding(roundings, alphas, exact, self.patience, warmup) if self.start is not None else None
        for iteration in range(1, self.iterations + 1):
            optimizer.zero_grad()
            total = loss({name: rounding.weight(alphas[name]) for name, rounding in roundings.items()}).sum()
            exponent = schedule.exponent(iteration)
            if exponent is not None:
                undecided = [rounding.indecision(alphas[name], exponent) for name, rounding in roundings.items()]
                total = total + self.rounding_weight * torch.stack(undecided).sum()
            total.backward()
            optimizer.step()
            if (
                best is not None
                and iteration % max(self.iterations // _CHECKS, 1) == 0
                and best.look(alphas, iteration)
            ):
                break
        return best.codes if best is not None else {name: one.hard(alphas[name]) for name, one in roundings.items()}


class BestRounding:
    """The hard-rounded solution of least loss seen so far, for each model (or group) on its own.

    Args:
        roundings: of each layer.
        alphas: where they start.
        loss: of given weights on all calibration data, (models,) or (models * groups,).
        patience: after how many iterations without a better solution a model stops; None for never.
        warmup: iterations that do not count, as roundings are not decided before.
    """

    def __init__(
        self,
        roundings: Mapping[str, Rounding],
        alphas: Mapping[str, Tensor],
        loss: Loss,
        patience: int | None,
        warmup: float,
    ) -> None:
        self._roundings, self._loss, self._patience = roundings, loss, math.inf if patience is None else patience
        self.codes = {name: rounding.hard(alphas[name]) for name, rounding in roundings.items()}
        self.losses = self._score(self.codes)
        self._since = torch.full_like(self.losses, warmup)  # iteration from which patience counts
        self._warmup = warmup

    @torch.no_grad()
    def look(self, alphas: Mapping[str, Tensor], iteration: int) -> bool:
        """Keep the solutions that are better now; whether all models have stopped."""
        codes = {name: rounding.hard(alphas[name]) for name, rounding in self._roundings.items()}
        losses = self._score(codes)
        better = (losses < self.losses) & (iteration - self._since <= self._patience)
        self.losses = torch.where(better, losses, self.losses)
        self._since = self._since.masked_fill(better, max(iteration, self._warmup))
        for name, one in codes.items():
            entries = better.repeat_interleave(len(one.codes) // len(better)).view(-1, 1, 1)  # groups share a model
            self.codes[name] = replace(one, codes=torch.where(entries, one.codes, self.codes[name].codes))
        return bool((iteration - self._since > self._patience).all())

    def _score(self, codes: Mapping[str, Quantized]) -> Tensor:
        with torch.no_grad():
            return self._loss({name: one.weight() for name, one in codes.items()})


class GramLoss:
    """Squared error of a layer's linear output per position, tr(E H E^T) / 2 up to a constant.

    Where float and quantized inputs differ, the error is that of W_hat x_quantized against W x_float.
    """

    def __init__(self, problem: UnitProblem) -> None:
        (self._layer,) = problem.layers.values()
        gram, cross = self._layer.gram, self._layer.cross
        if gram is None:
            raise ValueError(f"layer {self._layer.name}: a linear target needs a gram matrix")
        self._gram = gram
        self._image = self._layer.weight @ (gram if cross is None else cross)  # (models, rows, columns)

    def __call__(self, weights: Mapping[str, Tensor]) -> Tensor:
        """A number per model (or group) with the gradient of the loss; linear in the weights, it costs one product."""
        weight = weights[self._layer.name]
        with torch.no_grad():
            gradient = weight @ self._gram - self._image
        return (weight * gradient).sum(dim=(1, 2))

    def exact(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The loss itself, (models * groups,)."""
        weight = weights[self._layer.name]
        return (weight * (weight @ self._gram / 2 - self._image)).sum(dim=(1, 2))


class BatchLoss:
    """Squared error of the unit's output on a fresh batch, summed over channels, mean over examples and positions."""

    def __init__(self, problem: UnitProblem, batch_size: int) -> None:
        self._problem, self._batch_size = problem, batch_size
        self._generators = [torch.Generator().manual_seed(seed) for seed in problem.seeds]
        self._models = torch.arange(len(problem.seeds), device=problem.target.device).unsqueeze(1)  # (models, 1)

    def __call__(self, weights: Mapping[str, Tensor]) -> Tensor:
        """On a batch of each model's own, (models,)."""
        n_examples = self._problem.target.shape[1]
        drawn = [torch.randperm(n_examples, generator=one)[: self._batch_size] for one in self._generators]
        return self._on(weights, torch.stack(drawn).to(self._models.device))

    def exact(self, weights: Mapping[str, Tensor]) -> Tensor:
        """On all examples, (models,)."""
        n_examples = self._problem.target.shape[1]
        parts = torch.arange(n_examples, device=self._models.device).split(self._batch_size)
        total = torch.stack([self._on(weights, part.expand(len(self._models), -1)) * len(part) for part in parts])
        return total.sum(dim=0) / n_examples

    def _on(self, weights: Mapping[str, Tensor], examples: Tensor) -> Tensor:
        """On (models, batch) examples."""
        inputs = tuple(value[self._models, examples] for value in self._problem.inputs)
        error = self._problem.forward(weights, inputs) - self._problem.target[self._models, examples]
        squares = error.square()  # (models, batch, channels, ...) or (models, batch, ..., channels)
        if self._problem.importance is not None:
            squares = squares * self._problem.importance.unsqueeze(1)
        return squares.sum(dim=self._problem.channel_axis).flatten(1).mean(dim=1)
