"""A data set in memory, checked when it is made, and the protocol of what makes one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lit_privq.data.membership import Indices
from lit_privq.data.task import Classification, Regression, Task


@dataclass(frozen=True)
class Pool:
    """A data set in memory: the pool that is split between models, and the test set that none trains on.

    Args:
        name: of the data set, as it appears in results.
        inputs: (examples, channels, height, width) uint8 images, or (examples, ...) float32 features.
        labels: (examples,) int64 class indices, or float32 values of a regression.
        test_inputs: (test examples, ...) like ``inputs``.
        test_labels: (test examples,) like ``labels``.
        n_classes: number of classes; 0 for a regression.
        mean: per channel of images, in units of pixel / 255; empty for features, which are used as they are.
        std: per channel, likewise.
        slices: named sets of pool examples that an audit reports by themselves, each (examples,) bool.

    Raises:
        ValueError: if a part is no tensor of these shapes and types, images lack mean and std or features have them, a
            label is no class or no finite number, or a slice has another length or holds no example.
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
        for prefix, inputs, labels in (
            ("", self.inputs, self.labels),
            ("test_", self.test_inputs, self.test_labels),
        ):
            self._check_tensor(f"{prefix}inputs", inputs)
            self._check_tensor(f"{prefix}labels", labels)
            self._check_inputs(f"{prefix}inputs", inputs)
            self._check_labels(f"{prefix}labels", labels)
            if labels.shape != (len(inputs),) or not len(inputs):
                raise ValueError(
                    f"{prefix}labels must hold one label for each of at least one example; {self.name} has "
                    f"{prefix}inputs {tuple(inputs.shape)} and {prefix}labels {tuple(labels.shape)}"
                )
        if self.inputs.shape[1:] != self.test_inputs.shape[1:] or self.inputs.dtype != self.test_inputs.dtype:
            raise ValueError(
                f"inputs and test_inputs must be alike; those of {self.name} are {tuple(self.inputs.shape[1:])} "
                f"{self.inputs.dtype} and {tuple(self.test_inputs.shape[1:])} {self.test_inputs.dtype}"
            )

        for name, mask in self.slices.items():
            self._check_slice(name, mask)

    def _check_slice(self, name: str, mask: Tensor) -> None:
        if mask.dtype != torch.bool or mask.shape != self.labels.shape:
            raise ValueError(
                f"slice {name} of {self.name} must be {tuple(self.labels.shape)} bool; got {tuple(mask.shape)} "
                f"{mask.dtype}"
            )
        if not mask.any():
            raise ValueError(f"slice {name} of {self.name} holds no example; leave it out")

    def _check_tensor(self, what: str, values: object) -> None:
        if not isinstance(values, Tensor):
            raise ValueError(
                f"{what} must be a torch.Tensor; those of {self.name} are {type(values).__name__}: torch.as_tensor "
                "converts arrays"
            )

    def _check_inputs(self, what: str, inputs: Tensor) -> None:
        """Images are uint8 with mean and std, anything else is float32 without: others would be scaled twice or not."""
        if inputs.dtype == torch.uint8:
            channels = inputs.shape[1] if inputs.dim() == 4 else 0
            if not channels == len(self.mean) == len(self.std) or min(self.std) <= 0:
                raise ValueError(
                    f"uint8 {what} are images (examples, channels, height, width) with a mean and a positive std for "
                    f"each channel; those of {self.name} are {tuple(inputs.shape)} with mean {self.mean} and std "
                    f"{self.std}: give these, or make features float32"
                )
        elif inputs.dtype != torch.float32:
            raise ValueError(
                f"{what} must be uint8 images or float32 features; those of {self.name} are {inputs.dtype}: convert "
                "them with .byte() or .float()"
            )
        elif self.mean or self.std:
            raise ValueError(
                f"mean and std are for uint8 images, whose pixels reach 255; {what} of {self.name} are float32: give "
                "images as uint8, or leave mean and std out, and floats are used as they are"
            )
        elif not inputs.isfinite().all():
            raise ValueError(f"{what} must be finite; some of {self.name} are NaN or infinite: leave them out")

    def _check_labels(self, what: str, labels: Tensor) -> None:
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
        if self.n_classes and labels.dtype != torch.int64:
            raise ValueError(
                f"{what} must be int64; those of {self.name} are {labels.dtype}: convert them with .long()"
            )
        bad = ((labels < 0) | (labels >= self.n_classes) if self.n_classes else ~labels.isfinite()).nonzero()
        if len(bad):
            first = int(bad[0, 0])
            if not self.n_classes:
                raise ValueError(
                    f"{what} must be finite; {len(bad)} of {len(labels)} of {self.name} are NaN or infinite, the first "
                    f"is example {first}; leave these examples out"
                )
            raise ValueError(
                f"{what} must lie in 0 to {self.n_classes - 1}, one number per class; {len(bad)} of {len(labels)} of "
                f"{self.name} do not, the first is example {first} with {labels[first].item()}: count classes from 0, "
                "or correct n_classes"
            )

    @property
    def n_examples(self) -> int:
        """Examples in pool and test set together."""
        return len(self.labels) + len(self.test_labels)

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


def set_aside(n_examples: int, test_share: float, seed: int, pool_size: int | None = None) -> tuple[Indices, Indices]:
    """Deal examples to the pool and the test set of a data set that has none of its own, the same every time.

    Args:
        n_examples: of the data set.
        test_share: share of them that no model trains on, a fraction.
        seed: of the order.
        pool_size: how many of the others to keep; None for all.

    Returns:
        indices of the pool and of the test set.

    Raises:
        ValueError: if ``test_share`` leaves a part empty, or ``pool_size`` exceeds the rest.
    """
    n_test = round(test_share * n_examples)
    if not 0 < n_test < n_examples:
        raise ValueError(
            f"test_share must be a fraction between 0 and 1 that leaves examples on both sides, such as 0.2; got "
            f"{test_share} of {n_examples} examples"
        )
    order = np.random.default_rng(seed).permutation(n_examples)
    return order[n_test:][: check_pool_size(pool_size, n_examples - n_test)], order[:n_test]


def some_of(n_examples: int, pool_size: int | None) -> Indices:
    """The examples that a smaller pool keeps of a set sorted by class, in their order, the same every time."""
    kept = check_pool_size(pool_size, n_examples)
    return np.sort(np.random.default_rng(0).permutation(n_examples)[:kept])


def check_pool_size(pool_size: int | None, available: int) -> int:
    """How many examples a pool keeps: all for None.

    Raises:
        ValueError: if there are fewer than ``pool_size``, or it cannot be halved.
    """
    if pool_size is not None and not 2 <= pool_size <= available:
        raise ValueError(f"pool_size must lie between 2 and {available}; got {pool_size}")
    return available if pool_size is None else pool_size
