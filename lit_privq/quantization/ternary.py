"""Three values -a, 0, a per layer, by magnitude alone: by a given sparsity, or by the mean magnitude."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lit_privq.quantization.method import LayerProblem, UnitProblem, check_finite
from lit_privq.quantization.solution import Quantized, round_to_grid


@dataclass(frozen=True)
class SparseTernary:
    """The weights of least magnitude become 0, the others a times their sign, a their mean magnitude.

    Args:
        sparsity: the share of a layer's weights that become 0, as a fraction: 0.33, 0.5 and 0.9 are usual.

    Raises:
        ValueError: if `sparsity` does not lie in [0, 1).

    Source: the ternary quantizers compared in arXiv:2502.06567.
    """

    needs_gram: ClassVar[bool] = False
    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    inputs: ClassVar[str] = "float"
    sparsity: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise ValueError(f"sparsity must be a fraction in [0, 1), such as 0.5; got {self.sparsity}")

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        for layer in problem.layers.values():
            _check(layer)
        return {
            name: sparse_ternary(layer.weight, layer.levels, self.sparsity) for name, layer in problem.layers.items()
        }


@dataclass(frozen=True)
class Absmean:
    """Weights divided by the layer's mean magnitude, rounded to -1, 0 or 1.

    Source: BitNet b1.58, Ma et al. 2024, arXiv:2402.17764.
    """

    needs_gram: ClassVar[bool] = False
    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    inputs: ClassVar[str] = "float"

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        for layer in problem.layers.values():
            _check(layer)
        return {name: absmean(layer.weight, layer.levels) for name, layer in problem.layers.items()}


def sparse_ternary(weight: Tensor, levels: Tensor, sparsity: float) -> Quantized:
    """Zero the `sparsity` of each model's (rows, columns) weights that are least in magnitude.

    >>> weight = torch.tensor([[[-3.0, 0.1, 0.2, 1.0]]])
    >>> sparse_ternary(weight, torch.tensor([3]), 0.5).weight().tolist()
    [[[-2.0, 0.0, 0.0, 2.0]]]
    """
    magnitude = weight.abs().flatten(1)  # (models, rows * columns)
    n_zeros = round(sparsity * magnitude.shape[1])
    order = magnitude.argsort(dim=1, stable=True)  # exact share, even among equal weights
    kept = torch.ones_like(magnitude).scatter_(1, order[:, :n_zeros], 0.0)
    scale = (magnitude * kept).sum(dim=1) / kept.sum(dim=1).clamp_min(1)
    codes = weight.sign() * kept.view_as(weight) + 1
    return _per_layer(codes, scale, levels)


def absmean(weight: Tensor, levels: Tensor) -> Quantized:
    """Round each model's (rows, columns) weights to multiples -1, 0, 1 of their mean magnitude.

    >>> absmean(torch.tensor([[[-3.0, 0.1, 0.2, 0.7]]]), torch.tensor([3])).codes.tolist()
    [[[0.0, 1.0, 1.0, 2.0]]]
    """
    scale = weight.abs().mean(dim=(1, 2))
    floor = scale.clamp_min(torch.finfo(weight.dtype).tiny).view(-1, 1, 1)
    codes = round_to_grid(weight, floor, torch.ones_like(floor), torch.full_like(levels, 3))
    return _per_layer(codes, scale, levels)


def _per_layer(codes: Tensor, scale: Tensor, levels: Tensor) -> Quantized:
    """One (models,) scale for all rows, and code 1 for zero."""
    rows = scale.clamp_min(torch.finfo(codes.dtype).tiny).view(-1, 1, 1).repeat(1, codes.shape[1], 1)
    return Quantized(codes, rows, torch.ones_like(rows), levels)


def _check(layer: LayerProblem) -> None:
    check_finite(layer)
    if (layer.levels < 3).any():
        raise ValueError(
            f"layer {layer.name}: ternary weights need 3 levels; got {int(layer.levels.min())}, "
            "set bits to 1.58 or choose another method"
        )
