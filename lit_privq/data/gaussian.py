"""Gaussian modes: labelled clusters of known distribution in any number of dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lit_privq.data.pool import Pool


@dataclass(frozen=True)
class GaussianModes:
    """Points around k centres in R^d with unit noise; nothing is read from ``root``.

    Centres are drawn from a normal distribution, ``separation`` apart (root mean square). Mode m has class m modulo
    ``n_classes``: with fewer classes than modes a class has several clusters.

    Args:
        modes: number of centres.
        dimension: of the points.
        n_classes: None for a class per mode.
        separation: distance between centres, in standard deviations of the noise.
        pool_size: points that are split between models.
        test_size: points that none trains on.
        seed: of centres and points.

    Raises:
        ValueError: if there are fewer than two classes, or more classes than modes.
    """

    modes: int = 4
    dimension: int = 128
    n_classes: int | None = None
    separation: float = 4.0
    pool_size: int = 1000
    test_size: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.classes <= self.modes:
            raise ValueError(f"n_classes must lie between 2 and the {self.modes} modes; got {self.classes}")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.modes if self.n_classes is None else self.n_classes

    def load(self, root: Path, download: bool) -> Pool:
        """Draw the points, the same for the same arguments; modes are as equally frequent as can be."""
        rng = np.random.default_rng(self.seed)
        centres = rng.normal(size=(self.modes, self.dimension)) * self.separation / np.sqrt(2 * self.dimension)
        size = self.pool_size + self.test_size
        mode = rng.permutation(np.arange(size) % self.modes)
        points = centres[mode] + rng.normal(size=(size, self.dimension))
        inputs, labels = torch.from_numpy(points.astype(np.float32)), torch.from_numpy(mode % self.classes)
        n = self.pool_size
        return Pool(f"gaussian-{self.modes}", inputs[:n], labels[:n], inputs[n:], labels[n:], self.classes)
