"""Coordinate descent on codes, in the metric of the gram matrix: the most faithful quantizer here below 4 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lit_privq.quantization.gram import Conditioned, condition
from lit_privq.quantization.grid import (
    Affine,
    Free,
    Grid,
    Paper,
    Widened,
    output_error,
    quantize_to,
    refit,
)
from lit_privq.quantization.obc import greedy_rounding
from lit_privq.quantization.ordered import BLOCK, ordered_rounding
from lit_privq.quantization.problem import LayerProblem, Quantized, UnitProblem

GRIDS: tuple[Grid, ...] = (Paper(), Widened(Free(), 0.2), Widened(Free(by_output=True), -0.2))
"""The third of them is best at 1 bit, the second above; the first makes the result no worse than OBC's."""


@dataclass(frozen=True)
class Descent:
    """Re-target, round from several grids, then take turns between codes and codebook until no code moves.

    Every layer approaches the weights that best reproduce the float network's output from the quantized prefix's
    activations. On each grid the best of several roundings is the start; sweeps of coordinate descent set each code to
    the best one given all others, and the scale and offset are refitted in closed form between sweeps. No step
    raises the output error, and every channel keeps the best of its starts. No gradients, no random numbers.

    Args:
        grids: where to start from.
        greedy_columns: layers with at most this many columns also try OBC's greedy order as a start, at a cost of rows
            times columns^3; wider ones only ordered rounding, at a cost of rows times columns^2.
        sweeps: at most this many per start.
        damping: added to the gram's diagonal, as a fraction of its mean; part of the error that is minimised, so that
            the calibration inputs are not fitted beyond what they say.
        inputs: whose activations the gram matrix is of: the "float" network's, or the "quantized" prefix's.

    Related: GPTQ (arXiv:2210.17323), OBQ (arXiv:2208.11580), COMQ (arXiv:2403.07134), Qronos (arXiv:2505.11695), Beacon
        and PT2-LLM, each of which has some of these steps.
    """

    looks_at: ClassVar[str] = "gram"
    unit: ClassVar[str] = "layer"
    grids: tuple[Grid, ...] = GRIDS
    greedy_columns: int = 1152
    sweeps: int = 30
    damping: float = 1e-3
    inputs: Literal["float", "quantized"] = "quantized"

    def __post_init__(self) -> None:
        if not self.grids:
            raise ValueError("grids must name at least one grid to start from; got none")

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        return {name: self._solve_layer(layer) for name, layer in problem.layers.items()}

    def _solve_layer(self, layer: LayerProblem) -> Quantized:
        ready = condition(layer, self.damping)
        rounder = self._rounder(ready, layer.levels)
        ends = [
            descend(rounder(grid.fit(ready.target, layer.levels, ready.gram)), ready.target, ready.gram, self.sweeps)
            for grid in self.grids
        ]
        return ready.restore(reduce(lambda first, second: better(first, second, ready.target, ready.gram), ends))

    def _rounder(self, ready: Conditioned, levels: Tensor) -> Callable[[Affine], Quantized]:
        """The function that rounds on a grid: nearest, in order and, where affordable, greedily, whichever is best."""
        target, gram, feedback = ready.target, ready.gram, ready.feedback()
        inverse = ready.inverse() if target.shape[2] <= self.greedy_columns else None

        def rounded(affine: Affine) -> Quantized:
            ordered = ordered_rounding(target, feedback, affine, levels)
            start = better(quantize_to(target, affine, levels), ordered, target, gram)
            if inverse is None:
                return start
            return better(start, greedy_rounding(target, inverse, affine, levels), target, gram)

        return rounded


def descend(start: Quantized, target: Tensor, gram: Tensor, sweeps: int) -> Quantized:
    """Take turns between a sweep over the codes and the closed-form codebook, until no code moves.

    Args:
        start: any codes on any grid.
        target: (models, rows, columns), the weights to approach.
        gram: (models, columns, columns), positive diagonal.
        sweeps: at most this many.

    Returns:
        Codes and grid whose output error is at most the start's, in every channel.
    """
    quantized = refit(start, target, gram)
    for _ in range(sweeps):
        swept = sweep(quantized, target, gram)
        settled = torch.equal(swept.codes, quantized.codes)
        quantized = refit(swept, target, gram)
        if settled:
            break
    return better(start, quantized, target, gram)  # only rounding can make it worse


def sweep(quantized: Quantized, target: Tensor, gram: Tensor) -> Quantized:
    """Go over the columns once; each gets the code of least output error given all others."""
    affine = quantized.scale, quantized.zero
    weight, codes = quantized.weight(), quantized.codes.clone()
    gradient = (target - weight) @ gram  # (models, rows, columns)
    curvature = gram.diagonal(dim1=1, dim2=2).unsqueeze(1)  # (models, 1, columns)
    for first in range(0, weight.shape[2], BLOCK):
        block = slice(first, first + BLOCK)
        inner, slope = gram[:, block, block], gradient[:, :, block].clone()
        moves = torch.zeros_like(slope)
        for column in range(slope.shape[2]):
            here, there = slice(column, column + 1), slice(first + column, first + column + 1)
            before = weight[:, :, there]  # (models, rows, 1)
            best = quantize_to(before + slope[:, :, here] / curvature[:, :, there], affine, quantized.levels)
            move = best.weight() - before
            slope.addcmul_(move, inner[:, here], value=-1)
            moves[:, :, here], codes[:, :, there] = move, best.codes
        gradient.baddbmm_(moves, gram[:, block], alpha=-1)
    return replace(quantized, codes=codes)


def better(first: Quantized, second: Quantized, target: Tensor, gram: Tensor) -> Quantized:
    """Per channel, the second where its output error is less, else the first."""
    wins = output_error(target - second.weight(), gram) < output_error(target - first.weight(), gram)
    return Quantized(
        torch.where(wins, second.codes, first.codes),
        torch.where(wins, second.scale, first.scale),
        torch.where(wins, second.zero, first.zero),
        first.levels,
    )
