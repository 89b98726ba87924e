"""Ordered rounding: column after column, each makes up for the errors of those before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lit_privq.quantization.gram import condition
from lit_privq.quantization.grid import Affine, Grid, Paper, quantize_to, refit
from lit_privq.quantization.problem import LayerProblem, Quantized, UnitProblem

BLOCK = 32
"""Columns that are settled one by one before their errors reach the others in one product."""


@dataclass(frozen=True)
class Ordered:
    """GPTQ: one pass over the columns, those of the strongest inputs first.

    Args:
        grid: how scale and zero are chosen, before the first weight is rounded.
        refitted: whether scale and offset are fitted to the codes afterwards, by least squares of the output error.
        damping: added to the gram's diagonal, as a fraction of its mean.
        inputs: whose activations the gram matrix is of: the "float" network's, or the "quantized" prefix's, with the
            weights re-targeted to them.

    Source: Frantar et al. 2023, arXiv:2210.17323; in the form without an inverse of Chee et al. 2023,
        arXiv:2307.13304, which gives the same codes.
    """

    looks_at: ClassVar[str] = "gram"
    unit: ClassVar[str] = "layer"
    grid: Grid = field(default_factory=Paper)
    refitted: bool = False
    damping: float = 1e-2
    inputs: Literal["float", "quantized"] = "float"

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        return {name: self._solve_layer(layer) for name, layer in problem.layers.items()}

    def _solve_layer(self, layer: LayerProblem) -> Quantized:
        ready = condition(layer, self.damping)
        target, gram = ready.target.to(layer.weight), ready.gram.to(layer.weight)
        affine = self.grid.fit(target, layer.levels, gram)
        quantized = ordered_rounding(target, Feedback.of(ready.gram, layer.weight.dtype), affine, layer.levels)
        return refit(quantized, target, gram) if self.refitted else quantized


@dataclass(frozen=True)
class Feedback:
    """How errors of settled columns move the later ones.

    Args:
        order: (models, columns), the columns in the order they are settled: largest diagonal of the gram first.
        weights: (models, columns, columns) in that order, strictly upper triangular: A with
            H = (A + I) D (A + I)^T, D diagonal.
    """

    order: Tensor
    weights: Tensor

    @classmethod
    def of(cls, gram: Tensor, dtype: torch.dtype) -> Feedback:
        """Factorise (models, columns, columns) gram matrices, in their own precision."""
        order = gram.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
        backwards = order.flip(1)
        model = torch.arange(len(gram), device=gram.device).view(-1, 1, 1)
        lower = torch.linalg.cholesky(gram[model, backwards.unsqueeze(2), backwards.unsqueeze(1)])
        upper = lower.flip(1, 2)  # H = upper upper^T, in order
        weights = upper / upper.diagonal(dim1=1, dim2=2).unsqueeze(1)
        return cls(order, weights.triu(1).to(dtype))


def ordered_rounding(target: Tensor, feedback: Feedback, affine: Affine, levels: Tensor) -> Quantized:
    """Settle the columns in order, each at the grid point nearest to its weight plus what the errors before it ask.

    Args:
        target: (models, rows, columns).
        feedback: from the gram matrix.
        affine: scale and zero, (models, rows, 1) each.
        levels: (models,).
    """
    order = feedback.order.unsqueeze(1).expand_as(target)  # (models, rows, columns)
    sorted_target = target.gather(2, order)
    errors, codes = torch.zeros_like(target), torch.empty_like(target)
    for first in range(0, target.shape[2], BLOCK):
        block = slice(first, first + BLOCK)
        inner = feedback.weights[:, block, block]
        wanted = torch.baddbmm(
            sorted_target[:, :, block], errors[:, :, :first], feedback.weights[:, :first, block]
        )  # (models, rows, block)
        for column in range(wanted.shape[2]):
            here = slice(first + column, first + column + 1)
            settled = quantize_to(wanted[:, :, column : column + 1], affine, levels)
            error = sorted_target[:, :, here] - settled.weight()  # (models, rows, 1)
            wanted.addcmul_(error, inner[:, column : column + 1])
            errors[:, :, here], codes[:, :, here] = error, settled.codes
    return Quantized(torch.empty_like(codes).scatter_(2, order, codes), *affine, levels)
