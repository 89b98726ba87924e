"""Data sets that torchvision reads: Fashion-MNIST, CIFAR-10, CIFAR-100."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_privq.data.pool import Pool, check_pool_size

_FASHION = [f"{half}-{kind}-ubyte" for half in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
_CIFAR10 = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"]
_CIFAR100 = ["train", "test", "meta"]


def _read(
    reader: Callable[..., Any], root: Path, folder: str, files: Sequence[str], download: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Read both halves of a torchvision data set as channels-first uint8, or say what is missing and where."""
    halves: list[Tensor] = []
    for train in (True, False):
        try:
            half = reader(root, train=train, download=download)
        except Exception as error:  # torchvision raises RuntimeError, OSError, EOFError, pickle's and zlib's errors
            place = (root / folder).absolute()
            absent = [name for name in files if not (place / name).is_file()]
            what = f"lacks {', '.join(absent)}" if absent else f"is damaged: one of {', '.join(files)}"
            raise FileNotFoundError(
                f"{reader.__name__} {what} in {place}; point data.root or LIT_PRIVQ_DATA at the folder that holds "
                f"{folder}, or pass --data.download true to fetch it"
            ) from error
        images = torch.as_tensor(np.asarray(half.data))
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        halves += [images.contiguous(), torch.as_tensor(np.asarray(half.targets), dtype=torch.int64)]
    images, labels, test_images, test_labels = halves
    return images, labels, test_images, test_labels


@dataclass(frozen=True)
class FashionMNIST:
    """Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 pixels in 10 classes, in ``root/FashionMNIST/raw``.

    Args:
        pool_size: use only the first examples of the training set, for runs on a small machine; None uses all.
    """

    pool_size: int | None = None

    def load(self, root: Path, download: bool) -> Pool:
        """Read it from torchvision's layout."""
        from torchvision.datasets import FashionMNIST as Reader

        images, labels, test_images, test_labels = _read(Reader, root, "FashionMNIST/raw", _FASHION, download)
        n = check_pool_size(self.pool_size, len(labels))
        return Pool("fashion_mnist", images[:n], labels[:n], test_images, test_labels, 10, (0.2860,), (0.3530,))


@dataclass(frozen=True)
class CIFAR10:
    """CIFAR-10: 50,000 + 10,000 colour images of 32x32 pixels in 10 classes, in ``root/cifar-10-batches-py``.

    Args:
        pool_size: use only the first examples of the training set, for runs on a small machine; None uses all.
    """

    pool_size: int | None = None

    def load(self, root: Path, download: bool) -> Pool:
        """Read it from torchvision's layout."""
        from torchvision.datasets import CIFAR10 as Reader

        images, labels, test_images, test_labels = _read(Reader, root, "cifar-10-batches-py", _CIFAR10, download)
        mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
        n = check_pool_size(self.pool_size, len(labels))
        return Pool("cifar10", images[:n], labels[:n], test_images, test_labels, 10, mean, std)


@dataclass(frozen=True)
class CIFAR100:
    """CIFAR-100: 50,000 + 10,000 colour images of 32x32 pixels in 100 classes, in ``root/cifar-100-python``.

    Args:
        pool_size: use only the first examples of the training set, for runs on a small machine; None uses all.
    """

    pool_size: int | None = None

    def load(self, root: Path, download: bool) -> Pool:
        """Read it from torchvision's layout."""
        from torchvision.datasets import CIFAR100 as Reader

        images, labels, test_images, test_labels = _read(Reader, root, "cifar-100-python", _CIFAR100, download)
        mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
        n = check_pool_size(self.pool_size, len(labels))
        return Pool("cifar100", images[:n], labels[:n], test_images, test_labels, 100, mean, std)
