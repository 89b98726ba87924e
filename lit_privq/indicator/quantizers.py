"""The compared quantizers as maps with a frozen, public scale: weights in, integer codes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_privq.quantization.grid import MinMax, RangeZeroSearch
from lit_privq.quantization.method import LayerProblem, Method, UnitProblem, levels_from_bits
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.sign import BWN
from lit_privq.quantization.solution import Quantized, round_to_grid
from lit_privq.quantization.ternary import Absmean, SparseTernary


@dataclass(frozen=True)
class FrozenMap:
    """Rounding to a fixed grid, which does not depend on the weights that are rounded.

    Codes are cut where multiples of ``step`` are, and stand for multiples of ``scale``; the two differ for a ternary
    map with a dead zone of its own.

    Args:
        step: (models, rows, 1), > 0.
        scale: (models, rows, 1), > 0.
        zero: (models, rows, 1), in units of codes.
        levels: codes go from 0 to levels - 1.
    """

    step: Tensor
    scale: Tensor
    zero: Tensor
    levels: int

    def codes(self, weight: Tensor) -> Tensor:
        """Integers in [0, levels) of (models, rows, columns) weights, in their floating type."""
        return round_to_grid(weight, self.step, self.zero, torch.full((len(weight),), self.levels))

    def weights(self, codes: Tensor) -> Tensor:
        """What the codes stand for, (models, rows, columns)."""
        return self.scale * (codes - self.zero)

    def positions(self, weight: Tensor) -> Tensor:
        """Weights in units of codes, before they are rounded, (models, rows, columns)."""
        return weight / self.step + self.zero


@dataclass(frozen=True)
class Quantizer:
    """A method at a precision.

    Args:
        method: one that looks at nothing but weights.
        bits: its precision.
    """

    method: Method
    bits: float

    def freeze(self, weight: Tensor) -> FrozenMap:
        """Choose the grid by these weights, (models, rows, columns), and keep it.

        >>> frozen = Quantizer(SparseTernary(0.5), bits=1.58).freeze(torch.tensor([[[-3.0, 0.1, 0.3, 1.0]]]))
        >>> frozen.codes(torch.tensor([[[-0.7, -0.6, 0.6, 0.7]]])).tolist()
        [[[0.0, 1.0, 1.0, 2.0]]]
        """
        if self.method.needs_gram or self.method.needs_activations:
            raise ValueError(
                f"the indicator freezes a grid by weights alone, and {type(self.method).__name__} needs calibration "
                "data; use a method such as Nearest, BWN or SparseTernary"
            )
        levels = levels_from_bits(self.bits)
        layer = LayerProblem("head", weight, torch.full((len(weight),), levels))
        unit = UnitProblem("head", {"head": layer}, (), torch.empty(0), _no_forward, tuple(range(len(weight))))
        chosen = self.method.solve(unit)["head"]
        if not isinstance(chosen, Quantized):
            raise ValueError(f"the indicator freezes grids, and {type(self.method).__name__} has none; use Nearest")
        sparse = isinstance(self.method, SparseTernary)
        step = 2 * _threshold(weight, chosen.codes != 1) if sparse else chosen.scale  # codes of ternary: 0, 1, 2
        return FrozenMap(step, chosen.scale, chosen.zero, levels)


def compared_quantizers() -> Mapping[str, Quantizer]:
    """The quantizers of arXiv:2502.06567, the coarsest first; uniform grids minimise the squared error.

    "uniform-2-max" spans the whole range of the weights instead, which at 2 bits wastes most of it.

    >>> list(compared_quantizers())[:3]
    ['sign', 'ternary-90', 'ternary-50']
    """
    ternary = {f"ternary-{share}": Quantizer(SparseTernary(share / 100), 1.58) for share in (90, 50, 33)}
    uniform = {f"uniform-{bits}": Quantizer(Nearest(grid=RangeZeroSearch()), bits) for bits in (2, 3, 4, 6, 8)}
    return {
        "sign": Quantizer(BWN(), 1),
        **ternary,
        "absmean": Quantizer(Absmean(), 1.58),
        "uniform-2-max": Quantizer(Nearest(grid=MinMax()), 2),
        **uniform,
    }


def _threshold(weight: Tensor, kept: Tensor) -> Tensor:
    """Halfway between the largest magnitude that became zero and the least that did not, (models, rows, 1)."""
    magnitude = weight.abs()
    zeroed = magnitude.masked_fill(kept, 0).amax(dim=(1, 2))
    least = magnitude.masked_fill(~kept, torch.inf).amin(dim=(1, 2))
    threshold = ((zeroed + least) / 2).clamp(min=torch.finfo(weight.dtype).tiny)
    return threshold.view(-1, 1, 1).expand(-1, weight.shape[1], 1)


def _no_forward(weights: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    raise AssertionError("a method that looks at nothing does not run the layer")
