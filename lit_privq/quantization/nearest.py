"""Round every weight to the nearest point of its channel's grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from lit_privq.quantization.grid import Grid, RangeSearch, quantize_to, refit
from lit_privq.quantization.method import UnitProblem, check_finite, check_inputs
from lit_privq.quantization.solution import Quantized


@dataclass(frozen=True)
class Nearest:
    """Nearest rounding.

    Args:
        grid: how scale and zero are chosen.
        refitted: whether scale and offset are fitted to the codes afterwards, by least squares (of the output error
            where the grid is chosen by it, else of the weight error).
        inputs: whose activations feed a grid that is chosen by output error.

    Raises:
        ValueError: if an option is out of its range.
    """

    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    grid: Grid = field(default_factory=RangeSearch)
    refitted: bool = False
    inputs: Literal["float", "quantized"] = "float"

    def __post_init__(self) -> None:
        check_inputs(self.inputs)

    @property
    def needs_gram(self) -> bool:
        """Only where the grid is chosen by output error."""
        return self.grid.by_output

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        for layer in problem.layers.values():
            check_finite(layer)
        return {
            name: nearest(layer.weight, layer.levels, self.grid, layer.gram, self.refitted)
            for name, layer in problem.layers.items()
        }


def nearest(
    weight: Tensor, levels: Tensor, grid: Grid, gram: Tensor | None = None, refitted: bool = False
) -> Quantized:
    """Round (models, rows, columns) weights on the grids that `grid` chooses.

    >>> import torch
    >>> nearest(torch.tensor([[[-1.0, 0.1, 1.0]]]), torch.tensor([3]), RangeSearch()).codes.tolist()
    [[[0.0, 1.0, 2.0]]]
    """
    metric = gram.to(weight) if grid.by_output and gram is not None else None
    quantized = quantize_to(weight, grid.fit(weight, levels, metric), levels)
    return refit(quantized, weight, metric) if refitted else quantized
