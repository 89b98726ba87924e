"""A data set in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from lit_privq.data.task import Classification, Regression, Task


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
        slices: named sets of pool examples that an audit reports by themselves, each (examples,) bool.

    Raises:
        ValueError: if labels and ``n_classes`` disagree on what the labels are, values are NaN or infinite, or a slice
            has another length or holds no example.
    """

    name: str
    inputs: Tensor
    labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    n_classes: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    slices: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, mask in self.slices.items():
            if mask.dtype != torch.bool or mask.shape != self.labels.shape:
                raise ValueError(
                    f"slice {name} of {self.name} must be {tuple(self.labels.shape)} bool; got {tuple(mask.shape)} "
                    f"{mask.dtype}"
                )
            if not mask.any():
                raise ValueError(f"slice {name} of {self.name} holds no example; leave it out")
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
