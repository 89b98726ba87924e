"""Images of another data set made smaller, for studies on a small machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from lit_privq.data.pool import Pool, Source


@dataclass(frozen=True)
class Downsampled:
    """A data set whose images are made smaller: every pixel is the mean of a square of the original's.

    Half the height and width cost a convolution a quarter of the time. The pool's name says the new size, such as
    ``cifar100_16x16``; labels, slices, mean and standard deviation of the pixels stay.

    Args:
        source: the data set.
        factor: pixels of the original along each side of the square, at least 2; it divides height and width.

    Raises:
        ValueError: if the factor is too small or, on loading, the examples are no images that it divides.
    """

    source: Source
    factor: int = 2

    def __post_init__(self) -> None:
        if self.factor < 2:
            raise ValueError(f"factor must be at least 2; got {self.factor}, leave Downsampled out for 1")

    def load(self, root: Path, download: bool) -> Pool:
        """Read the data set and shrink its images."""
        pool = self.source.load(root, download)
        if pool.inputs.dtype != torch.uint8 or pool.inputs.dim() != 4:
            raise ValueError(
                f"Downsampled needs images, and examples of {pool.name} are {pool.inputs.dtype} "
                f"{tuple(pool.inputs.shape[1:])}; leave it out"
            )
        height, width = pool.inputs.shape[2:]
        if height % self.factor or width % self.factor:
            raise ValueError(
                f"factor must divide the images of {pool.name}, which are {height}x{width}; got {self.factor}"
            )
        return replace(
            pool,
            name=f"{pool.name}_{height // self.factor}x{width // self.factor}",
            inputs=self._smaller(pool.inputs),
            test_inputs=self._smaller(pool.test_inputs),
        )

    def _smaller(self, images: Tensor) -> Tensor:
        """(examples, channels, height, width) uint8, a few thousand at a time: as floats all would fill the memory."""
        shrunk = (functional.avg_pool2d(few.float(), self.factor) for few in images.split(5000))
        return torch.cat([few.round().to(torch.uint8) for few in shrunk])
