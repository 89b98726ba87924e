"""scikit-learn's handwritten digits: 1797 grey images of 8x8 pixels, installed with the library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lit_privq.data.pool import Pool


@dataclass(frozen=True)
class Digits:
    """The embedded digits, the data of the demo and of the tests; nothing is read from ``root``.

    Args:
        pool_size: examples that are split between models; the others are the test set.
    """

    pool_size: int = 1200

    def load(self, root: Path, download: bool) -> Pool:
        """Read the digits in an order that mixes writers and classes, the same every time."""
        from sklearn.datasets import load_digits  # here: its import takes a second

        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        images = torch.from_numpy((digits.images[order, None] * 15).astype(np.uint8))  # 0..16 -> 0..240
        labels = torch.from_numpy(digits.target[order].astype(np.int64))
        if not 2 <= self.pool_size < len(labels):
            raise ValueError(f"pool_size must lie between 2 and {len(labels) - 1}; got {self.pool_size}")
        n = self.pool_size
        return Pool("digits", images[:n], labels[:n], images[n:], labels[n:], 10, mean=(0.287,), std=(0.353,))
