"""Optimal brain compression, its pruning half: prunes one weight at a time, the cheapest first, and compensates it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lit_privq.quantization.gram import Conditioned, condition
from lit_privq.quantization.greedy import GreedyRows, rows_at_once
from lit_privq.quantization.magnitude_prune import budget, largest
from lit_privq.quantization.method import LayerProblem, UnitProblem, check_inputs, check_options
from lit_privq.quantization.solution import Pruned


@dataclass(frozen=True)
class OBCPrune:
    """Greedy second-order pruning of every row by itself, and of the least losses among all rows of the layer.

    A layer keeps as many weights as the bytes of the layer quantized to these bits can hold: the original's uniform
    budget, without its search for unequal sparsities of layers. The original has no damping, and adds 1 to the diagonal
    of a gram matrix that is rank-deficient. Kept weights are solved for at the end, which gives what its steps would
    give without rounding, and needs no memory for the states on the way.

    Args:
        damping: added to the gram's diagonal, as a fraction of its mean.
        inputs: whose activations the gram matrix is of: the "float" network's, as in the original, or the "quantized"
            (here pruned) prefix's, with the weights re-targeted to them.

    Raises:
        ValueError: if an option is out of its range.

    Source: Frantar & Alistarh 2022, arXiv:2208.11580, sections 4 and A.1 (the public code's ``unstr``).
    """

    title: ClassVar[str] = "OBC pruning"
    needs_gram: ClassVar[bool] = True
    needs_activations: ClassVar[bool] = False
    unit: ClassVar[str] = "layer"
    damping: float = 1e-3
    inputs: Literal["float", "quantized"] = "float"

    def __post_init__(self) -> None:
        check_inputs(self.inputs)
        check_options((self.damping >= 0, "damping must be at least 0, such as 0.001", self.damping))

    def solve(self, problem: UnitProblem) -> dict[str, Pruned]:
        """Prune every layer of the unit, for all models at once."""
        return {name: self._solve_layer(layer) for name, layer in problem.layers.items()}

    def _solve_layer(self, layer: LayerProblem) -> Pruned:
        ready = condition(layer, self.damping)
        kept = largest(pruning_losses(ready), budget(layer))
        weight = least_squares(ready.target, ready.gram, kept)
        return Pruned.keeping(ready.restored(weight), ready.restored(kept))


def pruning_losses(ready: Conditioned) -> Tensor:
    """What each weight costs as it is pruned, w^2 / diag(H^-1), when its row prunes the cheapest first.

    A loss may be less than the one before it. The losses of a row are sorted, so that the least of the layer are those
    of the weights that each row prunes first, as many of each row as in the original.

    Returns:
        (models, rows, columns).
    """
    models, _, columns = ready.target.shape
    inverse = ready.inverse()
    losses: list[Tensor] = []
    for model in range(models):
        if model and _same_problem(ready, model):  # another precision of the same network
            losses.append(losses[-1])
            continue
        parts = ready.target[model].split(rows_at_once(columns, inverse.device))
        walked = [_PrunedRows(part, inverse[model].repeat(len(part), 1, 1)).solve() for part in parts]
        losses.append(torch.cat(walked))
    return torch.stack(losses)


def _same_problem(ready: Conditioned, model: int) -> bool:
    """Whether a model's weights and statistics are those of the model before it."""
    return all(torch.equal(values[model], values[model - 1]) for values in (ready.target, ready.gram))


class _PrunedRows(GreedyRows):
    """Rows that are being pruned."""

    def __init__(self, weight: Tensor, inverse: Tensor) -> None:
        super().__init__(weight, inverse)
        self.order, self.losses = list[Tensor](), list[Tensor]()  # of each step, (rows, 1)

    def solve(self) -> Tensor:
        """Loss of each column, (rows, columns): the least of the row to the one pruned first, and so on."""
        self.run()
        order, losses = torch.cat(self.order, dim=1), torch.cat(self.losses, dim=1)  # (rows, steps)
        return torch.empty_like(losses).scatter_(1, order, losses.sort(dim=1).values)

    def choose(self) -> tuple[Tensor, Tensor]:
        """The cheapest, whose weight falls to 0."""
        loss, pick = (self.weight.square() / self.diagonal + self.bar).min(dim=1, keepdim=True)  # (rows, 1) each
        self.losses.append(loss)
        self.order.append(self.columns.gather(1, pick))
        return pick, self.weight.gather(1, pick)


def least_squares(target: Tensor, gram: Tensor, kept: Tensor) -> Tensor:
    """Weights of least output error among those that are 0 outside a mask, solved in float64.

    Args:
        target: (models, rows, columns), the weights to approach.
        gram: (models, columns, columns), positive definite.
        kept: (models, rows, columns) bool.

    >>> target, gram = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[2.0, 1.0], [1.0, 1.0]]])
    >>> least_squares(target, gram, torch.tensor([[[True, False]]])).tolist()
    [[[1.5, 0.0]]]
    """
    weight = torch.zeros_like(target)
    for model, (metric, mask) in enumerate(zip(gram.double(), kept, strict=True)):
        wanted = target[model].double() @ metric  # (rows, columns)
        most = int(mask.sum(dim=1).max())
        at_once = rows_at_once(max(most, 1), target.device)
        for rows in torch.arange(len(mask), device=mask.device).split(at_once):
            place = mask[rows].to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]  # (rows, most)
            own = mask[rows].gather(1, place)  # the others only fill up the matrix
            inner = metric[place.unsqueeze(2), place.unsqueeze(1)] * (own.unsqueeze(2) & own.unsqueeze(1))
            inner.diagonal(dim1=1, dim2=2)[~own] = 1.0
            right = (wanted[rows].gather(1, place) * own).unsqueeze(2)
            solved = torch.cholesky_solve(right, torch.linalg.cholesky(inner)).squeeze(2)  # (rows, most)
            weight[model, rows] = torch.zeros_like(wanted[rows]).scatter_(1, place, solved).to(weight)
    return weight
