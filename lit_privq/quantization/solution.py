"""Solutions of a layer: codes on the grids of its channels, or the few weights that pruning keeps; model axis first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


def round_to_grid(weight: Tensor, scale: Tensor, zero: Tensor, levels: Tensor) -> Tensor:
    """Codes of the nearest grid points: clamp(round(w / scale) + zero, 0, levels - 1), for any real zero.

    A fraction of the zero is added before rounding and its integer part after it, so that integer zeros break ties as
    the formula says (to even multiples of the scale) and fractional ones still give the nearest point.

    Args:
        weight: (models, rows, columns).
        scale: (models, rows, 1), > 0.
        zero: (models, rows, 1), in units of codes.
        levels: (models,).

    Returns:
        (models, rows, columns) integers in [0, levels), in the weight's floating type.

    >>> weight, one = torch.tensor([[[-0.9, 0.1, 0.6, 9.0]]]), torch.ones(1, 1, 1)
    >>> round_to_grid(weight, one, one, torch.tensor([3])).tolist()
    [[[0.0, 1.0, 2.0, 2.0]]]
    >>> round_to_grid(weight, one, 0.5 * one, torch.tensor([2])).tolist()
    [[[0.0, 1.0, 1.0, 1.0]]]
    """
    whole = zero.floor()
    codes = torch.round(weight / scale + (zero - whole)) + whole
    return codes.clamp_(min=0).minimum((levels - 1).to(weight).view(-1, 1, 1))


@dataclass(frozen=True)
class Solution(ABC):
    """What determines a layer's weights in F models: codes on a grid, or the few weights that pruning keeps.

    Its fields are tensors whose first axis is the model; those of matrices are (models, rows, ...).
    """

    @abstractmethod
    def weight(self) -> Tensor:
        """The weights, (models, rows, columns)."""

    @abstractmethod
    def is_valid(self, weight: Tensor, levels: Tensor) -> bool:
        """Whether it has the shape of these (models, rows, columns) weights, keeps to its form, and is finite."""

    @abstractmethod
    def moved(self, weight: Tensor) -> tuple[int, int]:
        """How many of (models, rows, columns) weights were clipped, and how many are not what they are nearest to."""

    @abstractmethod
    def compact(self) -> Self:
        """The same in the smallest types, on the CPU, for keeping."""

    @abstractmethod
    def expanded(self, dtype: torch.dtype) -> Self:
        """The inverse of `compact`, in the type of the layer's weight."""

    def entries(self, chosen: slice) -> Self:
        """Those of some models."""
        return self._each(lambda value: value[chosen])

    def without_groups(self, groups: int) -> Self:
        """Rows of all groups of a layer in one matrix: (models * groups, rows, ...) -> (models, groups * rows, ...)."""
        return self._each(
            lambda value: value.reshape(len(value) // groups, -1, value.shape[2]) if value.ndim > 1 else value[::groups]
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, **{field.name: change(getattr(self, field.name)) for field in fields(self)})


@dataclass(frozen=True)
class Quantized(Solution):
    """A layer of F models on its grids: weight = scale * (codes - zero).

    Args:
        codes: (models, rows, columns) integers in [0, levels), stored as the weight's floating type.
        scale: (models, rows, 1), > 0.
        zero: (models, rows, 1), in units of codes; need not be an integer.
        levels: (models,) integer, how many codes each model may use.
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor
    levels: Tensor

    def weight(self) -> Tensor:
        """The weights on the grid, (models, rows, columns)."""
        return self.scale * (self.codes - self.zero)

    def is_valid(self, weight: Tensor, levels: Tensor) -> bool:
        """Whether every code lies on its grid, every scale is positive and every weight finite."""
        if self.codes.shape != weight.shape:
            return False
        last = (levels - 1).view(-1, 1, 1)
        on_grid = ((self.codes >= 0) & (self.codes <= last) & (self.codes == self.codes.round())).all()
        return bool(on_grid and self.weight().isfinite().all() and (self.scale > 0).all())

    def moved(self, weight: Tensor) -> tuple[int, int]:
        """Weights more than half a step outside the grid, and codes that are not the nearest."""
        wanted, last = weight / self.scale + self.zero, (self.levels - 1).view(-1, 1, 1)
        nearest = round_to_grid(weight, self.scale, self.zero, self.levels)
        return int(((wanted < -0.5) | (wanted > last + 0.5)).sum()), int((self.codes != nearest).sum())

    def compact(self) -> Quantized:
        """Codes in one byte each, on the CPU."""
        return replace(self, codes=self.codes.to(torch.uint8))._each(lambda value: value.cpu())

    def expanded(self, dtype: torch.dtype) -> Quantized:
        """Codes in the type of the layer's weight."""
        return replace(self, codes=self.codes.to(dtype))


@dataclass(frozen=True)
class Pruned(Solution):
    """A layer of F models most of whose weights are 0.

    Args:
        values: (models, rows, columns), the weights, each a number that float16 holds, as this is how they are stored.
    """

    values: Tensor

    @classmethod
    def keeping(cls, weight: Tensor, kept: Tensor) -> Pruned:
        """Of (models, rows, columns) weights those where a mask of this shape is true, rounded to float16.

        >>> Pruned.keeping(torch.tensor([[[0.1, -2.0]]]), torch.tensor([[[False, True]]])).weight().tolist()
        [[[0.0, -2.0]]]
        """
        return cls(torch.where(kept, weight, 0.0).half().to(weight))

    def weight(self) -> Tensor:
        """The weights, (models, rows, columns)."""
        return self.values

    def is_valid(self, weight: Tensor, levels: Tensor) -> bool:
        """Whether every weight is a finite number of float16."""
        stored = self.values.half().to(self.values)
        return self.values.shape == weight.shape and bool(self.values.isfinite().all()) and stored.equal(self.values)

    def moved(self, weight: Tensor) -> tuple[int, int]:
        """None is clipped; weights are counted of which magnitude alone would have kept the other."""
        kept = self.values.flatten(1) != 0  # (models, rows * columns)
        order = weight.abs().flatten(1).argsort(dim=1, descending=True, stable=True)
        place = order.argsort(dim=1)  # of each weight, by magnitude
        return 0, int((kept != (place < kept.sum(dim=1, keepdim=True))).sum())

    def compact(self) -> Pruned:
        """In two bytes each, on the CPU."""
        return Pruned(self.values.half().cpu())

    def expanded(self, dtype: torch.dtype) -> Pruned:
        """In the type of the layer's weight."""
        return Pruned(self.values.to(dtype))
