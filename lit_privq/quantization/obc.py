"""Optimal brain quantization: rounds one weight at a time, the cheapest first, and compensates it in the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lit_privq.quantization.gram import condition
from lit_privq.quantization.greedy import GreedyRows, rows_at_once
from lit_privq.quantization.grid import Affine, Grid, RangeSearch
from lit_privq.quantization.method import LayerProblem, UnitProblem, check_inputs, check_options
from lit_privq.quantization.solution import Quantized, round_to_grid


@dataclass(frozen=True)
class OBC:
    """Greedy second-order rounding of every row by itself (the paper calls it OBQ).

    The original solves every layer with the float network's statistics and tunes the batch norms afterwards; it has
    no damping, and adds 1 to the diagonal of a gram matrix that is rank-deficient.

    Args:
        grid: how scale and zero are chosen, before the first weight is rounded.
        damping: added to the gram's diagonal, as a fraction of its mean.
        inputs: whose activations the gram matrix is of: the "float" network's, as in the original, or the
            "quantized" prefix's, with the weights re-targeted to them.

    Raises:
        ValueError: if an option is out of its range.

    Source: Frantar & Alistarh 2022, arXiv:2208.11580.
    """

    needs_gram: ClassVar[bool] = True
    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    grid: Grid = field(default_factory=RangeSearch)
    damping: float = 1e-3
    inputs: Literal["float", "quantized"] = "float"

    def __post_init__(self) -> None:
        check_inputs(self.inputs)
        check_options((self.damping >= 0, "damping must be at least 0, such as 0.001", self.damping))

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        return {name: self._solve_layer(layer) for name, layer in problem.layers.items()}

    def _solve_layer(self, layer: LayerProblem) -> Quantized:
        ready = condition(layer, self.damping)
        affine = self.grid.fit(ready.target, layer.levels, ready.gram)
        return ready.restore(obq_rounding(ready.target, ready.inverse(), affine, layer.levels))


def obq_rounding(weight: Tensor, inverse: Tensor, affine: Affine, levels: Tensor) -> Quantized:
    """Round in the greedy order: least (w - q)^2 / diag(H^-1) first, but outliers before all others.

    As long as a weight lies more than half a step outside the grid, the one with the largest error is rounded first:
    later it can only cost more. Without this rule of the public code, 2-bit error of a real layer is .100, not .0014.

    Args:
        weight: (models, rows, columns).
        inverse: (models, columns, columns), H^-1, symmetric positive definite.
        affine: scale and zero, (models, rows, 1) each.
        levels: (models,).
    """
    models, rows, columns = weight.shape
    model_of = torch.arange(models, device=weight.device).repeat_interleave(rows)  # (models * rows,)
    flat = (*(x.flatten(0, 1) for x in (weight, *affine)), levels.to(weight.device)[model_of])
    parts = zip(*(torch.split(x, rows_at_once(columns, weight.device)) for x in (model_of, *flat)), strict=True)
    codes = torch.cat([_RoundedRows(w, inverse[m], s, z, v).solve() for m, w, s, z, v in parts])
    return Quantized(codes.view_as(weight), *affine, levels)


class _RoundedRows(GreedyRows):
    """Rows that are being rounded, each on a grid of its own."""

    def __init__(self, weight: Tensor, inverse: Tensor, scale: Tensor, zero: Tensor, levels: Tensor) -> None:
        super().__init__(weight, inverse)
        self.scale, self.zero, self.levels = scale, zero, levels  # (rows, 1), (rows, 1), (rows,)
        self.codes = torch.empty_like(weight)

    def solve(self) -> Tensor:
        """Codes of all columns, (rows, columns)."""
        self.run()
        return self.codes

    def choose(self) -> tuple[Tensor, Tensor]:
        """The cheapest, or the outlier of largest error; its rounding is noted."""
        codes = round_to_grid(
            self.weight.unsqueeze(1), self.scale.unsqueeze(1), self.zero.unsqueeze(1), self.levels
        ).squeeze(1)
        residual = self.weight - self.scale * (codes - self.zero)
        error = residual.square()
        cheapest = (error / self.diagonal + self.bar).argmin(dim=1, keepdim=True)  # (rows, 1)
        largest, outlier = (error - self.bar).max(dim=1, keepdim=True)
        pick = torch.where(largest > 0.25 * self.scale**2, outlier, cheapest)
        self.codes.scatter_(1, self.columns.gather(1, pick), codes.gather(1, pick))
        return pick, residual.gather(1, pick)
