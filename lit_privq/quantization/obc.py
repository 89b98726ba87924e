"""Optimal brain quantization: rounds one weight at a time, the cheapest first, and compensates it in the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lit_privq.quantization.gram import condition
from lit_privq.quantization.grid import Affine, Grid, RangeSearch, round_to_grid
from lit_privq.quantization.method import LayerProblem, Quantized, UnitProblem, check_inputs, check_options

PENDING = 64  # rank-one terms that are subtracted from the inverses in one product; fastest of 16 to 256
INVERSE_ELEMENTS = 2**25  # of all inverses in memory at a time: 128 MiB in float32


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
    at_once = max(INVERSE_ELEMENTS // columns**2, 1)
    parts = zip(*(torch.split(x, at_once) for x in (model_of, *flat)), strict=True)
    codes = torch.cat([_Rows(w, inverse[m], s, z, v).solve() for m, w, s, z, v in parts])
    return Quantized(codes.view_as(weight), *affine, levels)


class _Rows:
    """Rows that are being rounded, each with its own inverse; finished columns are dropped when half of them are."""

    def __init__(self, weight: Tensor, inverse: Tensor, scale: Tensor, zero: Tensor, levels: Tensor) -> None:
        self.weight, self.inverse = weight.clone(), inverse  # (rows, columns), (rows, columns, columns)
        self.scale, self.zero, self.levels = scale, zero, levels  # (rows, 1), (rows, 1), (rows,)
        self.diagonal = inverse.diagonal(dim1=1, dim2=2).clone()
        self.columns = torch.arange(weight.shape[1], device=weight.device).expand_as(weight)
        self.row = torch.arange(len(weight), device=weight.device)
        self.bar = torch.zeros_like(weight)  # infinite at finished columns, to keep them from being picked
        self.codes = torch.empty_like(weight)

    def solve(self) -> Tensor:
        """Codes of all columns, (rows, columns); the inverses are updated once for every `PENDING` of them."""
        left = self.weight.shape[1]
        while left > 0:
            steps = min(PENDING, left)
            pending = self.weight.new_empty(len(self.weight), steps, self.weight.shape[1])  # (rows, terms, columns)
            for term in range(steps):
                self._set_one(pending, term)
            left -= steps
            self.inverse.baddbmm_(pending.mT, pending, alpha=-1)
            if 2 * left <= self.weight.shape[1]:
                self._drop_finished(left)
        return self.codes

    def _set_one(self, pending: Tensor, term: int) -> None:
        """Round one weight of every row, update the weights that are left, and note a rank-one term of the inverse."""
        codes = round_to_grid(
            self.weight.unsqueeze(1), self.scale.unsqueeze(1), self.zero.unsqueeze(1), self.levels
        ).squeeze(1)
        residual = self.weight - self.scale * (codes - self.zero)
        error = residual.square()
        cheapest = (error / self.diagonal + self.bar).argmin(dim=1, keepdim=True)  # (rows, 1)
        largest, outlier = (error - self.bar).max(dim=1, keepdim=True)
        pick = torch.where(largest > 0.25 * self.scale**2, outlier, cheapest)

        column = pick.squeeze(1)
        pivot = self.inverse[self.row, column].unsqueeze(1)  # (rows, 1, columns)
        if term:
            earlier = pending[:, :term]
            pivot = torch.baddbmm(pivot, earlier[self.row, :, column].unsqueeze(1), earlier, alpha=-1)
        pivot = pivot.squeeze(1)  # (rows, columns)
        corner = pivot.gather(1, pick).clamp_min(torch.finfo(pivot.dtype).tiny)
        self.weight.addcmul_(pivot, residual.gather(1, pick) / corner, value=-1)
        pivot = pivot / corner.sqrt()
        pending[:, term] = pivot
        self.diagonal.addcmul_(pivot, pivot, value=-1).clamp_(min=torch.finfo(pivot.dtype).tiny)
        self.codes.scatter_(1, self.columns.gather(1, pick), codes.gather(1, pick))
        self.bar.scatter_(1, pick, torch.inf)

    def _drop_finished(self, left: int) -> None:
        """Keep only the `left` columns that are not finished, in their order."""
        row = self.row.unsqueeze(1)
        open_ = self.bar.argsort(dim=1, stable=True)[:, :left]  # (rows, left)
        self.inverse = self.inverse[row.unsqueeze(2), open_.unsqueeze(2), open_.unsqueeze(1)]  # (rows, left, left)
        self.weight, self.diagonal, self.columns, self.bar = (
            x[row, open_] for x in (self.weight, self.diagonal, self.columns, self.bar)
        )
