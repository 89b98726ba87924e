"""Coordinate descent on codes, by the gram matrix: the least output error of all methods here below 4 bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lit_privq.quantization.gptq import BLOCK
from lit_privq.quantization.gradual import gradual_rounding
from lit_privq.quantization.gram import Conditioned, condition
from lit_privq.quantization.grid import (
    AlternatingFit,
    Grid,
    RangeSearch,
    Widened,
    output_error,
    quantize_to,
    refit,
)
from lit_privq.quantization.method import LayerProblem, UnitProblem, check_inputs, check_options
from lit_privq.quantization.obc import obq_rounding
from lit_privq.quantization.solution import Quantized

ITERATIONS = 16  # of conjugate gradients after each round of gradual rounding; 6 give up to 10 % more error
PARTNERS = 8  # columns that are tried together with each column; 32 give 1 % less error
TOLERANCE = 1e-6  # least gain of a pair, as a fraction of what one step of the code costs; less is rounding
SMALL = 128  # columns up to which OBQ's order is cheap beside gradual rounding
GRIDS: tuple[Grid, ...] = (AlternatingFit(), Widened(AlternatingFit(), 0.3))
"""Grids that `Descent` starts from: the first is best at 4 bits and for weights on a grid, the second below."""


@dataclass(frozen=True)
class Descent:
    """Gradual rounding on several grids, then coordinate descent on the codes, with the grid refitted in between.

    Every layer approaches the weights that best reproduce the float network's output from the quantized prefix's
    activations. From gradual rounding on each grid, sweeps of coordinate descent set each code to the best one given
    all others, and scale and zero are refitted in closed form between sweeps, until no code moves. The best start of
    every channel is then improved by pairs: a code moves by one, and another one to its best value given that. No step
    raises the output error. There are no gradients and no random numbers. On a CPU a model's codes are the same alone
    and in a fleet; on a GPU batched sums may round otherwise.

    Layers of few columns, where a single code matters much, also start from OBQ's greedy order on each grid, with all
    their levels and with one level fewer; by construction their error is no larger than that of OBQ or of nearest
    rounding on the published grid. For wider layers tests find the same, but it is not guaranteed: at 256 levels OBQ
    was once 3 % better on 136 columns.

    Args:
        grids: where to start from; None for `GRIDS`, and on small layers the published grid too.
        rounds: of gradual rounding, whose cost is grids times rounds times 17 products of the weights and the gram
            matrix; this is most of the time where layers are wide.
        sweeps: at most this many per grid.
        pair_sweeps: how often pairs of codes are swept.
        damping: added to the gram's diagonal, as a fraction of its mean; part of the error that is minimised, which
            keeps the codes from fitting the calibration images alone.
        inputs: whose activations the gram matrix is of: the "float" network's, or the "quantized" prefix's.

    Raises:
        ValueError: if an option is out of its range.

    Related: GPTQ (arXiv:2210.17323), OBQ (arXiv:2208.11580), COMQ (arXiv:2403.07134), Qronos (arXiv:2505.11695), Beacon
        and PT2-LLM, each of which has some of these steps.
    """

    needs_gram: ClassVar[bool] = True
    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    grids: tuple[Grid, ...] | None = None
    rounds: int = 32
    sweeps: int = 30
    pair_sweeps: int = 3
    damping: float = 1e-3
    inputs: Literal["float", "quantized"] = "quantized"

    def __post_init__(self) -> None:
        check_inputs(self.inputs)
        check_options(
            (self.grids != (), "grids must name at least one grid to start from", "none"),
            (self.rounds >= 1, "rounds must be at least 1, such as 32", self.rounds),
            (self.sweeps >= 1, "sweeps must be at least 1, such as 30", self.sweeps),
            (self.pair_sweeps >= 0, "pair_sweeps must be at least 0, such as 3", self.pair_sweeps),
            (self.damping >= 0, "damping must be at least 0, such as 0.001", self.damping),
        )

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        return {name: self._solve_layer(layer) for name, layer in problem.layers.items()}

    def _solve_layer(self, layer: LayerProblem) -> Quantized:
        ready = condition(layer, self.damping)
        start = self._starts(ready, layer.levels)
        n_starts = start.codes.shape[1] // ready.target.shape[1]
        target = ready.target.repeat(1, n_starts, 1)  # all starts' rows share the gram matrix
        found = best_start(descend(start, target, ready.gram, self.sweeps), target, ready.gram, n_starts)
        for _ in range(self.pair_sweeps):
            moved = refit(pair_sweep(found, ready.target, ready.gram), ready.target, ready.gram)
            found = better(found, descend(moved, ready.target, ready.gram, 2), ready.target, ready.gram)
        return ready.restore(found)

    def _starts(self, ready: Conditioned, levels: Tensor) -> Quantized:
        """Codes on every grid, one start after the other: (models, starts * rows, columns)."""
        small = ready.target.shape[2] <= SMALL
        grids = self.grids or (*GRIDS, *((RangeSearch(),) if small else ()))
        fits = [grid.fit(ready.target, levels, ready.gram) for grid in grids]
        scale, zero = _stacked(fits)
        target = ready.target.repeat(1, len(grids), 1)
        nearest = quantize_to(target, (scale, zero), levels)
        rounded = gradual_rounding(target, ready.gram, (scale, zero), levels, self.rounds, ITERATIONS)
        gradual = better(nearest, rounded, target, ready.gram)
        if not small:
            return gradual
        greedy, inverse, fewer = [gradual], ready.inverse(), (levels - 1).clamp(min=2)
        for grid, fit in zip(grids, fits, strict=True):
            for affine, count in ((fit, levels), (grid.fit(ready.target, fewer, ready.gram), fewer)):
                greedy.append(obq_rounding(ready.target, inverse, affine, count))
        codes, scale, zero = _stacked([(one.codes, one.scale, one.zero) for one in greedy])
        return Quantized(codes, scale, zero, levels)


def _stacked(starts: Iterable[tuple[Tensor, ...]]) -> Iterator[Tensor]:
    """Tensors of all starts joined along the rows, each (models, starts * rows, ...)."""
    return (torch.cat(parts, dim=1) for parts in zip(*starts, strict=True))


def descend(start: Quantized, target: Tensor, gram: Tensor, sweeps: int) -> Quantized:
    """Alternate sweeps over the codes with the closed-form grid, until no code moves.

    Args:
        start: any codes on any grid.
        target: (models, rows, columns), the weights to approach.
        gram: (models, columns, columns), positive diagonal.
        sweeps: at most this many.

    Returns:
        Codes and grid whose output error is at most the start's, in every channel.
    """
    quantized = refit(start, target, gram)
    active = torch.ones(len(target), 1, 1, dtype=torch.bool, device=target.device)  # (models, 1, 1)
    for _ in range(sweeps):
        swept = sweep(quantized, target, gram)
        moved = (swept.codes != quantized.codes).flatten(1).any(dim=1).view(-1, 1, 1)
        # A model that has settled stays: another refit of the same codes moves the grid by rounding, and then codes,
        # so that a model's result would depend on how long the others of its fleet take.
        quantized = chosen(active, refit(swept, target, gram), quantized)
        active = active & moved
        if not active.any():
            break
    return better(start, quantized, target, gram)  # only rounding can make it worse


def sweep(quantized: Quantized, target: Tensor, gram: Tensor) -> Quantized:
    """Go over the columns once; each gets the code of least output error given all others."""
    codes, gradient, last = _in_codes(quantized, target, gram)
    steps = 1 / gram.diagonal(dim1=1, dim2=2).unsqueeze(1)  # (models, 1, columns)
    # Columns of a block see each other's moves at once; all others get them in one product, as in GPTQ's lazy batches.
    for first in range(0, codes.shape[2], BLOCK):
        block = slice(first, first + BLOCK)
        inner, slope, moves = gram[:, block, block], gradient[:, :, block].clone(), torch.zeros_like(codes[:, :, block])
        for column in range(slope.shape[2]):
            here, there = slice(column, column + 1), slice(first + column, first + column + 1)
            before = codes[:, :, there]  # (models, rows, 1)
            after = torch.addcmul(before, slope[:, :, here], steps[:, :, there]).round_().clamp_(min=0).minimum(last)
            move = after - before
            slope.addcmul_(move, inner[:, here], value=-1)
            moves[:, :, here], codes[:, :, there] = move, after
        gradient.baddbmm_(moves, gram[:, block], alpha=-1)
    return replace(quantized, codes=codes)


def pair_sweep(quantized: Quantized, target: Tensor, gram: Tensor) -> Quantized:
    """Go over the columns once; a code moves by one where that lowers the error together with a change of another code.

    Only the `PARTNERS` columns whose inputs correlate most with a column's own are tried with it.
    """
    if target.shape[2] == 1:
        return quantized
    codes, gradient, last = _in_codes(quantized, target, gram)
    partners, power = _partners(gram), gram.diagonal(dim1=1, dim2=2)  # (models, columns, partners), (models, columns)
    shared, theirs = gram.gather(2, partners), power.unsqueeze(1).expand_as(gram).gather(2, partners)
    ways, last = torch.tensor([[-1.0], [1.0]]).to(codes), last.unsqueeze(3)  # (ways, 1), (models, 1, 1, 1)
    for column in range(codes.shape[2]):
        chosen = partners[:, column].unsqueeze(1).expand(-1, codes.shape[1], -1)  # (models, rows, partners)
        before, curvature = codes.gather(2, chosen).unsqueeze(2), theirs[:, column, None, None]
        slope = gradient.gather(2, chosen).unsqueeze(2) - ways * shared[:, column, None, None]
        answer = (before + slope / curvature).round_().clamp_(min=0).minimum(last) - before
        own = ways * (2 * gradient[:, :, column, None, None] - ways * power[:, column, None, None, None])
        moved = codes[:, :, column, None, None] + ways  # (models, rows, ways, 1)
        own = own.masked_fill((moved < 0) | (moved > last), -torch.inf)
        gain, best = (own + answer * (2 * slope - answer * curvature)).flatten(2).max(dim=2)  # (models, rows)
        model, row = (gain > TOLERANCE * power[:, column, None]).nonzero(as_tuple=True)  # (moves,)
        best = best[model, row]
        other, push = partners[model, column, best % partners.shape[2]], ways[best // partners.shape[2], 0]
        pull = answer.flatten(2)[model, row, best]
        codes[model, row, column] += push
        codes[model, row, other] += pull
        gradient[model, row] -= push.unsqueeze(1) * gram[model, column] + pull.unsqueeze(1) * gram[model, other]
    return replace(quantized, codes=codes)


def _partners(gram: Tensor) -> Tensor:
    """Columns whose inputs correlate most with each column's own, (models, columns, partners)."""
    power = gram.diagonal(dim1=1, dim2=2)  # (models, columns)
    correlation = gram.square() / power.unsqueeze(1) / power.unsqueeze(2)
    correlation.diagonal(dim1=1, dim2=2).fill_(-1.0)
    partners: Tensor = correlation.topk(min(PARTNERS, gram.shape[1] - 1), dim=2).indices
    return partners


def best_start(quantized: Quantized, target: Tensor, gram: Tensor, starts: int) -> Quantized:
    """Each row's start of least output error: (models, starts * rows, columns) -> (models, rows, columns)."""
    error = output_error(target - quantized.weight(), gram).unflatten(1, (starts, -1))  # (models, starts, rows, 1)
    best = error.argmin(dim=1, keepdim=True)  # (models, 1, rows, 1)

    def own(values: Tensor) -> Tensor:
        parts = values.unflatten(1, (starts, -1))  # (models, starts, rows, ...)
        picked: Tensor = parts.gather(1, best.expand(-1, -1, -1, values.shape[2])).squeeze(1)
        return picked

    return replace(quantized, codes=own(quantized.codes), scale=own(quantized.scale), zero=own(quantized.zero))


def _in_codes(quantized: Quantized, target: Tensor, gram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A copy of the codes, minus half the error's gradient by them, both (models, rows, columns), and the last code."""
    wanted = target / quantized.scale + quantized.zero
    last = (quantized.levels - 1).to(target).view(-1, 1, 1)
    return quantized.codes.clone(), (wanted - quantized.codes) @ gram, last


def better(first: Quantized, second: Quantized, target: Tensor, gram: Tensor) -> Quantized:
    """The second where its output error is less, channel by channel, and else the first."""
    wins = output_error(target - second.weight(), gram) < output_error(target - first.weight(), gram)
    return chosen(wins, second, first)


def chosen(wins: Tensor, first: Quantized, second: Quantized) -> Quantized:
    """The first where `wins`, (models, rows or 1, 1), and else the second."""
    return replace(
        second,
        codes=torch.where(wins, first.codes, second.codes),
        scale=torch.where(wins, first.scale, second.scale),
        zero=torch.where(wins, first.zero, second.zero),
    )
