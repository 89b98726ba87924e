"""GPTQ: rounds column after column, and compensates each error in the columns that are left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lit_privq.quantization.gram import condition
from lit_privq.quantization.grid import Affine, Grid, RangeSearch, quantize_to, refit
from lit_privq.quantization.method import LayerProblem, UnitProblem, check_inputs, check_options
from lit_privq.quantization.solution import Quantized

BLOCK = 32  # columns that are rounded one by one before their errors reach the others in one product


@dataclass(frozen=True)
class GPTQ:
    """GPTQ with its columns ordered by activation: one pass, those of the strongest inputs first.

    The public code goes through the columns in the layer's own order unless asked for this one (``--act-order``),
    which is the only one here.

    Args:
        grid: how scale and zero are chosen, before the first weight is rounded.
        refitted: whether scale and offset are fitted to the codes afterwards, by least squares of the output error.
        damping: added to the gram's diagonal, as a fraction of its mean.
        inputs: whose activations the gram matrix is of: the "float" network's, or the "quantized" prefix's, with the
            weights re-targeted to them.

    Raises:
        ValueError: if an option is out of its range.

    Source: Frantar et al. 2023, arXiv:2210.17323; in the form without an inverse of Chee et al. 2023,
        arXiv:2307.13304, which gives the same codes.
    """

    needs_gram: ClassVar[bool] = True
    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    grid: Grid = field(default_factory=RangeSearch)
    refitted: bool = False
    damping: float = 1e-2
    inputs: Literal["float", "quantized"] = "float"

    def __post_init__(self) -> None:
        check_inputs(self.inputs)
        check_options((self.damping >= 0, "damping must be at least 0, such as 0.01", self.damping))

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        return {name: self._solve_layer(layer) for name, layer in problem.layers.items()}

    def _solve_layer(self, layer: LayerProblem) -> Quantized:
        ready = condition(layer, self.damping)
        affine = self.grid.fit(ready.target, layer.levels, ready.gram)
        quantized = gptq_rounding(ready.target, ready.feedback(), affine, layer.levels)
        return ready.restore(refit(quantized, ready.target, ready.gram) if self.refitted else quantized)


def gptq_rounding(target: Tensor, feedback: Tensor, affine: Affine, levels: Tensor) -> Quantized:
    """Round the columns from last to first, each weight after the errors of later columns have been fed back to it.

    With H = A D A^T the output error is the sum over columns of D (e A)^2, e = target - weight: the term of a column
    depends on itself and on the columns after it, and rounding makes it as small as it can be.

    Args:
        target: (models, rows, columns).
        feedback: (models, columns, columns), A: lower triangular with a diagonal of 1.
        affine: scale and zero, (models, rows, 1) each.
        levels: (models,).
    """
    errors, codes = torch.zeros_like(target), torch.empty_like(target)
    for end in range(target.shape[2], 0, -BLOCK):
        block, later = slice(max(end - BLOCK, 0), end), slice(end, None)
        wanted = torch.baddbmm(target[:, :, block], errors[:, :, later], feedback[:, later, block])
        inner = feedback[:, block, block]
        for column in reversed(range(wanted.shape[2])):
            here, there = slice(column, column + 1), slice(block.start + column, block.start + column + 1)
            settled = quantize_to(wanted[:, :, here], affine, levels)
            error = target[:, :, there] - settled.weight()  # (models, rows, 1)
            wanted.addcmul_(error, inner[:, here])
            errors[:, :, there], codes[:, :, there] = error, settled.codes
    return Quantized(codes, *affine, levels)
