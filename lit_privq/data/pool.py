"""A data set in memory, and how its examples are shifted, mirrored and normalised in batches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from lit_privq.models.task import Classification, Regression, Task


@dataclass(frozen=True)
class Pool:
    """A data set in memory: the pool that is split between models, and the test set that none trains on.

    Args:
        name: of the data set, as it appears in results.
        inputs: (examples, channels, height, width) uint8 images, or (examples, features) floats.
        labels: (examples,) int64 class indices, or float32 values of a regression.
        test_inputs: (test examples, ...) like ``inputs``.
        test_labels: (test examples,) like ``labels``.
        n_classes: number of classes; 0 for a regression.
        mean: per channel, in units of pixel / 255; empty leaves inputs as they are.
        std: per channel, likewise.

    Raises:
        ValueError: if labels and ``n_classes`` disagree on what the labels are, or values are NaN or infinite.
    """

    name: str
    inputs: Tensor
    labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    n_classes: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for what, labels in (("labels", self.labels), ("test_labels", self.test_labels)):
            if self.n_classes and labels.is_floating_point():
                raise ValueError(
                    f"{what} of {self.n_classes} classes must be integers; those of {self.name} are {labels.dtype}: "
                    "set n_classes to 0 where they are values"
                )
            if not self.n_classes and labels.dtype != torch.float32:
                raise ValueError(
                    f"{what} of a regression must be float32; those of {self.name} are {labels.dtype}: convert them, "
                    "or set n_classes where they are classes"
                )
            bad = (~labels.isfinite()).nonzero()
            if len(bad):
                raise ValueError(
                    f"{what} must be finite; {len(bad)} of {len(labels)} of {self.name} are NaN or infinite, the first "
                    f"is example {int(bad[0])}; leave these examples out"
                )

    @cached_property
    def task(self) -> Task:
        """What models of these labels are for.

        Raises:
            ValueError: if the values of the test set are all the same.
        """
        if self.n_classes:
            return Classification(self.n_classes)
        variance = float(self.test_labels.double().var(correction=0))
        if variance == 0:
            raise ValueError(f"R squared needs different values in the test set; all of {self.name} are the same")
        return Regression(variance)

    def fingerprint(self) -> str:
        """A short hash of every input and label, so that dumps of different data are told apart."""
        digest = hashlib.blake2b(digest_size=8)
        for part in (self.inputs, self.labels, self.test_inputs, self.test_labels):
            digest.update(repr((tuple(part.shape), str(part.dtype))).encode())
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()


class Source(Protocol):
    """Where a data set comes from: a frozen dataclass with one method."""

    def load(self, root: Path, download: bool) -> Pool:
        """Read the data set from below ``root``; fetch it first where ``download`` is set and that is possible."""


class Picks(NamedTuple):
    """Which examples a batch holds and what happens to each; all tensors share their leading axes.

    Args:
        indices: (..., batch) int64, rows of the pool.
        shifts: (..., batch, 2) int64, pixels down and right, each in [-padding, padding].
        mirrored: (..., batch) bool.
    """

    indices: Tensor
    shifts: Tensor
    mirrored: Tensor


class Sampler:
    """Examples of one set on one device: picks in, normalised float batches out.

    Images wait as padded uint8 beside the model; a batch is gathered, shifted, mirrored and normalised in a
    handful of tensor operations, whatever its size and however many models it serves.

    Args:
        inputs: (examples, ...) as in `Pool`.
        labels: (examples,).
        mean: per channel; empty for inputs that are used as they are.
        std: per channel.
        padding: the largest shift, in pixels; black borders, as torchvision's RandomCrop has them.
        device: where the set waits and batches are made.
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

    def batch(self, picks: Picks) -> tuple[Tensor, Tensor]:
        """Make a batch.

        Returns:
            inputs (..., batch, channels, height, width) float32 and labels (..., batch).
        """
        lead = picks.indices.shape
        flat = picks.indices.reshape(-1)
        inputs = self.inputs[flat]
        if self.padding:
            inputs = self._crop(inputs, picks.shifts.reshape(-1, 2) + self.padding)
        if self.scale.numel():
            inputs = torch.where(picks.mirrored.reshape(-1, 1, 1, 1), inputs.flip(-1), inputs)
            inputs = torch.addcmul(self.offset, inputs.float(), self.scale)
        return inputs.view(*lead, *inputs.shape[1:]), self.labels[flat].view(lead)

    def _crop(self, inputs: Tensor, corners: Tensor) -> Tensor:
        """Cut each image's window out of its padded form."""
        height, width = self.size
        windows = inputs.unfold(2, height, 1).unfold(3, width, 1)  # (n, channels, tops, lefts, height, width)
        rows = torch.arange(len(inputs), device=inputs.device)
        return windows[rows, :, corners[:, 0], corners[:, 1]]  # (n, channels, height, width)
