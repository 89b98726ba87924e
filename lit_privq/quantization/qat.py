"""Quantization-aware training: the grids that weights are rounded to while the network is trained, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NoReturn

import torch
from torch import Tensor, nn

from lit_privq.quantization.grid import Affine, Grid, RangeZeroSearch, quantize_to, refit
from lit_privq.quantization.layers import Layer, n_groups, to_matrix, to_weight
from lit_privq.quantization.method import UnitProblem, check_options
from lit_privq.quantization.solution import Quantized


@dataclass(frozen=True)
class QAT:
    """Train with rounded weights, by the recipe of the float model, on that model's own members.

    The forward pass takes the nearest points of each channel's grid, and their gradient goes to the float weights
    behind them as if nothing were rounded (straight-through). The grid starts as `grid` chooses it, and each step
    refits scale and offset to the weights by least squares, for the codes they have, as LQ-Nets does for its codebooks.

    Args:
        first_weights: ``trained``, from the float model's weights, or ``initial``, from those that it began with.
        epochs: with a cosine from `rate` times the recipe's learning rate to 0; None repeats the recipe's whole
            training, with its own schedule.
        rate: of learning, as a fraction of the recipe's.
        grid: how scale and zero are chosen at the start.

    Raises:
        ValueError: if an option is out of its range.

    Source: Bengio et al. 2013, arXiv:1308.3432 (straight-through); Jacob et al. 2018, arXiv:1712.05877 (training with
    rounded weights); Zhang et al. 2018, arXiv:1807.10029 (a codebook refitted at every step).
    """

    needs_gram: ClassVar[bool] = False
    needs_activations: ClassVar[bool] = False
    random: ClassVar[bool] = True  # the order of the data, and their augmentation
    unit: ClassVar[str] = "layer"
    inputs: ClassVar[str] = "float"
    first_weights: Literal["trained", "initial"] = "trained"
    epochs: int | None = 5
    rate: float = 0.1
    grid: Grid = field(default_factory=RangeZeroSearch)

    def __post_init__(self) -> None:
        check_options(
            (
                self.first_weights in ("trained", "initial"),
                'first_weights must be "trained" or "initial"',
                repr(self.first_weights),
            ),
            (self.epochs is None or self.epochs >= 1, "epochs must be at least 1, or none for all", self.epochs),
            (self.rate > 0, "rate must be above 0, such as 0.1", self.rate),
            (
                self.epochs is not None or self.rate == 1,
                "rate must be 1 where epochs is none, as the recipe's whole training is repeated",
                self.rate,
            ),
            (not self.grid.by_output, "grid must be chosen by weights alone, by_output false", self.grid),
        )

    @property
    def title(self) -> str:
        """Name in tables and figures."""
        return "Quantization-aware training" + (" from the start" if self.first_weights == "initial" else "")

    def solve(self, problem: UnitProblem) -> NoReturn:
        """There is nothing to solve unit by unit."""
        raise ValueError(
            "quantization-aware training needs the model's training data and labels, and here are calibration inputs "
            "alone; run fit with configs/ptq/qat.yaml, or choose a method such as Descent"
        )


@dataclass(frozen=True)
class OnGrids:
    """Nearest rounding on grids that are given, as a method for the engine.

    Args:
        grids: scale and zero of each layer by its name, (models, rows, 1) each; groups of a layer are models.
    """

    needs_gram: ClassVar[bool] = False
    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    inputs: ClassVar[str] = "float"
    grids: Mapping[str, Affine]

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        """Quantize every layer of the unit, for all models at once."""
        return {
            name: quantize_to(layer.weight, self.grids[name], layer.levels) for name, layer in problem.layers.items()
        }


class TrainedGrids(nn.Module):
    """The grids of F networks in training; its buffers are part of the training's state.

    Args:
        layers: to be quantized, by name.
        levels: of each layer, (F,); 0 where it stays float.
        weights: of each layer as training starts, (F, *shape).
        grid: how scale and zero are chosen at the start.
    """

    def __init__(
        self, layers: Mapping[str, Layer], levels: Mapping[str, Tensor], weights: Mapping[str, Tensor], grid: Grid
    ) -> None:
        super().__init__()
        self._layers = dict(layers)  # a plain dict: their parameters are no part of this module
        for position, (name, layer) in enumerate(layers.items()):
            own = levels[name].repeat_interleave(n_groups(layer))  # (F * groups,)
            scale, zero = grid.fit(to_matrix(layer, weights[name].detach()), own.where(own > 0, 2))
            for part, value in (("levels", own), ("scale", scale), ("zero", zero)):
                self.register_buffer(f"{part}{position}", value)

    def forward(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rounded weights of each layer, (F, *shape), on grids refitted to them; gradients pass straight through."""
        return {name: _straight_through(weights[name], self._round(name, weights[name].detach())) for name in weights}

    def affine(self, name: str) -> Affine:
        """Scale and zero of a layer, (F, groups, rows, 1) each."""
        groups = n_groups(self._layers[name])
        scale, zero = (self._buffer(part, name).unflatten(0, (-1, groups)) for part in ("scale", "zero"))
        return scale, zero

    @torch.no_grad()
    def _round(self, name: str, weight: Tensor) -> Tensor:
        layer, levels = self._layers[name], self._buffer("levels", name)
        own = levels.where(levels > 0, 2)
        matrix = to_matrix(layer, weight)  # (F * groups, rows, columns)
        scale, zero = self._buffer("scale", name), self._buffer("zero", name)
        fitted = refit(quantize_to(matrix, (scale, zero), own), matrix)
        scale.copy_(fitted.scale)
        zero.copy_(fitted.zero)
        rounded = quantize_to(matrix, (scale, zero), own).weight()
        return to_weight(layer, torch.where((levels > 0).view(-1, 1, 1), rounded, matrix))

    def _buffer(self, part: str, name: str) -> Tensor:
        return self.get_buffer(f"{part}{list(self._layers).index(name)}")


def _straight_through(weight: Tensor, rounded: Tensor) -> Tensor:
    """The rounded weight, whose gradient is the weight's.

    >>> weight = torch.tensor([0.3], requires_grad=True)
    >>> (2 * _straight_through(weight, weight.detach().round())).backward()
    >>> weight.grad
    tensor([2.])
    """
    return rounded + (weight - weight.detach())
