"""Pruning by magnitude: the largest weights of a layer are kept, as many as a quantized layer's bytes can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor

from lit_privq.quantization.method import LayerProblem, UnitProblem, check_finite
from lit_privq.quantization.solution import Pruned
from lit_privq.quantization.storage import GAP_BITS, VALUE_BITS, most_kept, pruned_bits, quantized_bits


@dataclass(frozen=True)
class MagnitudePrune:
    """Set a layer's smallest weights to 0, until it takes no more bytes than the layer quantized to these bits.

    Every layer has the bytes that its own bits promise, so that maps of bits mean what they mean for quantizers. One
    threshold for all layers would compare weights whose size says nothing: a batch norm undoes the scale of the layer
    before it.

    Source: Han et al. 2015, arXiv:1506.02626, without retraining.
    """

    title: ClassVar[str] = "Magnitude pruning"
    needs_gram: ClassVar[bool] = False
    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    inputs: ClassVar[str] = "float"

    def solve(self, problem: UnitProblem) -> dict[str, Pruned]:
        """Prune every layer of the unit, for all models at once."""
        for layer in problem.layers.values():
            check_finite(layer)
        return {
            name: Pruned.keeping(layer.weight, largest(layer.weight.abs(), budget(layer)))
            for name, layer in problem.layers.items()
        }


def budget(layer: LayerProblem) -> list[Fraction]:
    """Bits that each model may spend on the layer: those of the quantized layer."""
    _, rows, columns = layer.weight.shape
    number_bits = 8 * layer.weight.element_size()
    return [quantized_bits(rows, columns, levels, number_bits) for levels in layer.levels.tolist()]


def largest(scores: Tensor, bits: Sequence[Fraction]) -> Tensor:
    """Mask of as many of each model's largest scores as so many bits can hold, (models, rows, columns).

    Of equal scores the first are kept.

    >>> largest(torch.tensor([[[3.0, 1.0], [2.0, 4.0]]]), [Fraction(36)]).tolist()
    [[[True, False], [False, True]]]
    """
    place = scores.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # (models, rows * columns)
    return torch.stack([_fitting(own, most) for own, most in zip(place, bits, strict=True)]).view_as(scores)


def _fitting(place: Tensor, bits: Fraction) -> Tensor:
    """Mask of the first places, as many as fit: fewer than could, where long gaps between them cost more."""
    count = most_kept(len(place), bits)
    while (over := pruned_bits((place < count).cpu().numpy()) - bits) > 0:
        count -= ceil(over / (VALUE_BITS + GAP_BITS))
    return place < count
