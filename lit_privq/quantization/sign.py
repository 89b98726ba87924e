"""One bit per weight: its sign, alone (the paper's baseline that fails) or times the channel's mean magnitude (BWN)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lit_privq.quantization.method import LayerProblem, UnitProblem, check_finite
from lit_privq.quantization.solution import Quantized


@dataclass(frozen=True)
class Sign:
    """Weights become -1 or +1, whatever their size was: the one-bit baseline that destroys a network."""

    needs_gram: ClassVar[bool] = False
    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    inputs: ClassVar[str] = "float"

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        return {name: _solve(layer, torch.ones_like(layer.weight[..., :1])) for name, layer in problem.layers.items()}


@dataclass(frozen=True)
class BWN:
    """Binary weights -a and +a, a the mean magnitude of the channel: the least squared error of two opposite values.

    Source: the Binary-Weight-Networks of Rastegari et al. 2016, arXiv:1603.05279.
    """

    needs_gram: ClassVar[bool] = False
    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    inputs: ClassVar[str] = "float"

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        return {
            name: _solve(layer, layer.weight.abs().mean(dim=2, keepdim=True)) for name, layer in problem.layers.items()
        }


def sign(weight: Tensor, magnitude: Tensor, levels: Tensor) -> Quantized:
    """Codes 0 and 1 for -magnitude and +magnitude; 0 counts as positive.

    Args:
        weight: (models, rows, columns).
        magnitude: (models, rows, 1).
        levels: (models,).

    >>> sign(torch.tensor([[[-3.0, 0.2]]]), torch.ones(1, 1, 1), torch.tensor([2])).weight().tolist()
    [[[-1.0, 1.0]]]
    """
    scale = 2 * magnitude.clamp_min(torch.finfo(weight.dtype).tiny)
    return Quantized((weight >= 0).to(weight), scale, torch.full_like(scale, 0.5), levels)


def _solve(layer: LayerProblem, magnitude: Tensor) -> Quantized:
    check_finite(layer)
    if (layer.levels != 2).any():
        raise ValueError(
            f"layer {layer.name}: a sign has 2 levels; got {sorted(set(layer.levels.tolist()))}, set bits to 1 "
            "or choose another method"
        )
    return sign(layer.weight, magnitude, layer.levels)
