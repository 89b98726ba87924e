"""The greedy walk of Optimal Brain Compression: settles one weight of every row at a time, and compensates it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

PENDING = 64  # rank-one terms that are subtracted from the inverses in one product; fastest of 16 to 256
INVERSE_ELEMENTS = 2**25  # of all inverses in memory at a time: 128 MiB in float32
GPU_SHARE = 64  # one element for so many bytes of a GPU: a sixteenth of its memory in float32


def rows_at_once(columns: int, device: torch.device) -> int:
    """How many rows of so many columns are walked through together.

    A GPU takes as many as its memory holds: a step of a few rows of a wide layer is over sooner than its kernels start.
    """
    elements = INVERSE_ELEMENTS
    if device.type == "cuda":
        elements = max(torch.cuda.get_device_properties(device).total_memory // GPU_SHARE, elements)
    return max(elements // columns**2, 1)


class GreedyRows(ABC):
    """Rows of a layer, each with its own inverse; finished columns are dropped when half of them are.

    Args:
        weight: (rows, columns).
        inverse: (rows, columns, columns), H^-1, symmetric positive definite; written to.

    Source: ExactOBS, Frantar & Alistarh 2022, arXiv:2208.11580, section 4; the waiting rank-one terms are ours.
    """

    def __init__(self, weight: Tensor, inverse: Tensor) -> None:
        self.weight, self.inverse = weight.clone(), inverse
        self.diagonal = inverse.diagonal(dim1=1, dim2=2).clone()
        self.columns = torch.arange(weight.shape[1], device=weight.device).expand_as(weight)  # their original places
        self.row = torch.arange(len(weight), device=weight.device)
        self.bar = torch.zeros_like(weight)  # infinite at finished columns, to keep them from being picked

    @abstractmethod
    def choose(self) -> tuple[Tensor, Tensor]:
        """The next column of every row among those that are left, and by how much its weight falls, (rows, 1) each."""

    def run(self) -> None:
        """Settle all columns; the inverses are updated once for every `PENDING` of them."""
        left = self.weight.shape[1]
        while left > 0:
            steps = min(PENDING, left)
            pending = self.weight.new_empty(len(self.weight), steps, self.weight.shape[1])  # (rows, terms, columns)
            for term in range(steps):
                self._settle_one(pending, term)
            left -= steps
            self.inverse.baddbmm_(pending.mT, pending, alpha=-1)
            if 2 * left <= self.weight.shape[1]:
                self._drop_finished(left)

    def _settle_one(self, pending: Tensor, term: int) -> None:
        """Settle one weight of every row, update the weights that are left, and note a rank-one term of the inverse."""
        pick, fall = self.choose()
        column = pick.squeeze(1)
        pivot = self.inverse[self.row, column].unsqueeze(1)  # (rows, 1, columns)
        if term:
            earlier = pending[:, :term]
            pivot = torch.baddbmm(pivot, earlier[self.row, :, column].unsqueeze(1), earlier, alpha=-1)
        pivot = pivot.squeeze(1)  # (rows, columns)
        corner = pivot.gather(1, pick).clamp_min(torch.finfo(pivot.dtype).tiny)
        self.weight.addcmul_(pivot, fall / corner, value=-1)
        pivot = pivot / corner.sqrt()
        pending[:, term] = pivot
        self.diagonal.addcmul_(pivot, pivot, value=-1).clamp_(min=torch.finfo(pivot.dtype).tiny)
        self.bar.scatter_(1, pick, torch.inf)

    def _drop_finished(self, left: int) -> None:
        """Keep only the `left` columns that are not finished, in their order."""
        row = self.row.unsqueeze(1)
        open_ = self.bar.argsort(dim=1, stable=True)[:, :left]  # (rows, left)
        self.inverse = self.inverse[row.unsqueeze(2), open_.unsqueeze(2), open_.unsqueeze(1)]  # (rows, left, left)
        self.weight, self.diagonal, self.columns, self.bar = (
            x[row, open_] for x in (self.weight, self.diagonal, self.columns, self.bar)
        )
