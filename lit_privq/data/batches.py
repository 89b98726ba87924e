"""Batches: which examples they hold, in which order, and how these are shifted, mirrored and normalised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lit_privq.data.membership import Bools, equal_batches

_SHIFT_SIGNS = ((0, 0), (-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


class BatchIndices(NamedTuple):
    """Which examples a batch holds and what happens to each; all tensors share their leading axes.

    Args:
        indices: (..., batch) int64, rows of the pool.
        shifts: (..., batch, 2) int64, pixels down and right, each in [-padding, padding].
        mirrored: (..., batch) bool.
    """

    indices: Tensor
    shifts: Tensor
    mirrored: Tensor


class BatchMaker:
    """Makes normalised float batches of one set on one device.

    Images are kept as padded uint8 on the model's device; a batch is gathered, shifted, mirrored and normalised in a
    few tensor operations, whatever its size and the number of models.

    Args:
        inputs: (examples, ...) as in `Pool`.
        labels: (examples,).
        mean: per channel; empty for inputs that are used as they are.
        std: per channel.
        padding: the largest shift, in pixels; black borders, as torchvision's RandomCrop has them.
        device: where the set is kept and batches are made.
    """

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        padding: int,
        device: torch.device,
    ) -> None:
        self.size = tuple(inputs.shape[-2:])
        self.padding = padding
        padded = functional.pad(inputs, [padding] * 4) if padding else inputs
        self.inputs = padded.to(device)
        self.labels = labels.to(device)
        self.scale = torch.tensor([1 / (255 * s) for s in std], device=device).view(-1, 1, 1)
        self.offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device).view(-1, 1, 1)

    def batch(self, chosen: BatchIndices) -> tuple[Tensor, Tensor]:
        """The examples of a batch, shifted, mirrored and normalised.

        Returns:
            inputs (..., batch, channels, height, width) float32 and labels (..., batch).
        """
        lead = chosen.indices.shape
        flat = chosen.indices.reshape(-1)
        inputs = self.inputs[flat]
        if self.padding:
            inputs = self._crop(inputs, chosen.shifts.reshape(-1, 2) + self.padding)
        if self.scale.numel():
            inputs = torch.where(chosen.mirrored.reshape(-1, 1, 1, 1), inputs.flip(-1), inputs)
            inputs = torch.addcmul(self.offset, inputs.float(), self.scale)
        return inputs.view(*lead, *inputs.shape[1:]), self.labels[flat].view(lead)

    def _crop(self, inputs: Tensor, corners: Tensor) -> Tensor:
        """The shifted window of each padded image."""
        height, width = self.size
        windows = inputs.unfold(2, height, 1).unfold(3, width, 1)  # (n, channels, tops, lefts, height, width)
        rows = torch.arange(len(inputs), device=inputs.device)
        return windows[rows, :, corners[:, 0], corners[:, 1]]  # (n, channels, height, width)


class FleetBatch(NamedTuple):
    """A batch of the models that have equally many examples in it.

    Args:
        models: positions in the fleet.
        inputs: (models, batch, ...).
        labels: (models, batch).
        present: (models, batch) bool; where a model has fewer examples than others in a batch of DP-SGD, it is False.
    """

    models: tuple[int, ...]
    inputs: Tensor
    labels: Tensor
    present: Tensor


class MemberBatches:
    """An epoch's training batches: a list with one entry per group of models that have equally many in the batch.

    With ``padded``, all models are one group, and where a model has fewer examples than others its indices are -1.

    Args:
        members: (models of the study, examples) bool.
        models: whose members are trained on.
        seed: of order and augmentation.
        batch_size: the largest batch.
        padding: largest shift in pixels.
        mirror: whether half of the images are mirrored.
        epoch: called for the number of the epoch, from which its order and augmentation are drawn.
        sampling: ``shuffled``: batches as equal as can be that go through all members; ``poisson``: every member is in
            every batch with probability `sample_rate`.
        padded: whether all models are one group.
    """

    def __init__(
        self,
        members: Bools,
        models: Sequence[int],
        seed: int,
        batch_size: int,
        padding: int,
        mirror: bool,
        epoch: Callable[[], int],
        sampling: Literal["shuffled", "poisson"] = "shuffled",
        padded: bool = False,
    ) -> None:
        self.members, self.models, self.seed, self.batch_size = members, models, seed, batch_size
        self.padding, self.mirror, self.epoch = padding, mirror, epoch
        self.sampling, self.padded = sampling, padded
        largest = -(-int(members.shape[1]) // 2)  # of any model, so that all take the same number of steps
        self.n_batches = -(-largest // batch_size)
        self.sample_rate = 1 / self.n_batches
        self.mean_size = largest / self.n_batches

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[list[tuple[tuple[int, ...], BatchIndices]]]:
        plans = [self._plan(model, self.epoch()) for model in self.models]
        for batch in range(self.n_batches):
            sizes = [len(plan[batch].indices) for plan in plans]
            if self.padded:
                whole = [_pad(plan[batch], max(sizes)) for plan in plans]
                yield [(tuple(range(len(plans))), _stack(whole))]
                continue
            yield [
                (same, _stack([plans[k][batch] for k in same]))
                for size in sorted(set(sizes), reverse=True)
                if (same := tuple(k for k, s in enumerate(sizes) if s == size))
            ]

    def _plan(self, model: int, epoch: int) -> list[BatchIndices]:
        """One model's epoch, drawn from (seed, model, epoch) alone."""
        rng = np.random.default_rng([self.seed, model, epoch])
        own = np.flatnonzero(self.members[model])
        if self.sampling == "poisson":
            drawn = [own[rng.random(len(own)) < self.sample_rate] for _ in range(self.n_batches)]
            own, sizes = np.concatenate(drawn), [len(batch) for batch in drawn]
        else:
            own, sizes = rng.permutation(own), list(equal_batches(len(own), self.batch_size, self.n_batches))
        shifts = rng.integers(-self.padding, self.padding + 1, size=(len(own), 2))
        mirrored = rng.random(len(own)) < (0.5 if self.mirror else 0.0)
        epoch_indices = BatchIndices(torch.from_numpy(own), torch.from_numpy(shifts), torch.from_numpy(mirrored))
        return [BatchIndices(*parts) for parts in zip(*(field.split(sizes) for field in epoch_indices), strict=True)]


class CalibrationBatch:
    """One batch of unshifted examples: (models, calibration_size) indices."""

    def __init__(self, indices: Tensor) -> None:
        self.indices = indices

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[BatchIndices]:
        zeros = torch.zeros(*self.indices.shape, 2, dtype=torch.int64)
        yield BatchIndices(self.indices, zeros, zeros[..., 0].bool())


class OrderedBatches:
    """The examples of a set in index order, query after query.

    Args:
        n_examples: size of the set.
        batch_size: examples per batch.
        views: the queries, each (shift down, shift right, mirrored).
    """

    def __init__(self, n_examples: int, batch_size: int, views: list[tuple[int, int, bool]]) -> None:
        self.n_examples, self.batch_size, self.views = n_examples, batch_size, views

    def __len__(self) -> int:
        return len(self.views) * -(-self.n_examples // self.batch_size)

    def __iter__(self) -> Iterator[BatchIndices]:
        for down, right, mirrored in self.views:
            for indices in torch.arange(self.n_examples).split(self.batch_size):
                shifts = torch.tensor([down, right]).expand(len(indices), 2)
                yield BatchIndices(indices, shifts, torch.full((len(indices),), mirrored))


def query_views(n_queries: int, padding: int, mirror: bool) -> list[tuple[int, int, bool]]:
    """The first queries of: plain, mirrored, then both again at each of the eight shifts by ``padding`` pixels.

    Raises:
        ValueError: if there are not that many different ones.

    Source: Carlini et al. 2022 query an image and its mirror image at nine shifts, 18 in all.

    >>> query_views(3, padding=4, mirror=True)
    [(0, 0, False), (0, 0, True), (-4, -4, False)]
    """
    signs = _SHIFT_SIGNS if padding else _SHIFT_SIGNS[:1]
    views = [(padding * y, padding * x, flip) for y, x in signs for flip in ((False, True) if mirror else (False,))]
    if not 1 <= n_queries <= len(views):
        raise ValueError(
            f"n_queries must lie between 1 and {len(views)} with padding {padding} and mirror {mirror}; got {n_queries}"
        )
    return views[:n_queries]


def _pad(batch: BatchIndices, size: int) -> BatchIndices:
    """A batch made up to a size with examples that are none, index -1."""
    missing = size - len(batch.indices)
    return BatchIndices(
        functional.pad(batch.indices, (0, missing), value=-1),
        functional.pad(batch.shifts, (0, 0, 0, missing)),
        functional.pad(batch.mirrored, (0, missing)),
    )


def _stack(batches: list[BatchIndices]) -> BatchIndices:
    """Batch indices of several models as one, with a leading model axis."""
    return BatchIndices(*(torch.stack(fields) for fields in zip(*batches, strict=True)))
