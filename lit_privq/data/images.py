"""What sources of images share: arrays and files as tensors of one size, class labels, and channel statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from lit_privq.data.pool import Pool

_CHANNELS = (1, 3)


def make_pool(
    name: str, inputs: Tensor, labels: Tensor, test_inputs: Tensor, test_labels: Tensor, n_classes: int
) -> Pool:
    """A pool whose images are normalised by its own mean and deviation.

    Both are taken over members and non-members alike, the same for every model, so they tell nothing about who trained
    on what. The arguments are those of `Pool`.
    """
    mean, std = channel_statistics(inputs) if inputs.dtype == torch.uint8 else ((), ())
    return Pool(name, inputs, labels, test_inputs, test_labels, n_classes, mean, std)


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images (examples, channels, ...), in units of pixel / 255.

    >>> channel_statistics(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    ((0.5,), (0.5,))
    """
    statistics = []
    for channel in images.unbind(1):
        counts = torch.bincount(channel.flatten().int(), minlength=256).double()  # exact, whatever the order of sums
        levels = torch.arange(256, dtype=torch.float64) / 255
        mean = (counts * levels).sum() / counts.sum()
        variance = (counts * (levels - mean).square()).sum() / counts.sum()
        # A channel that never changes is left at 0; any deviation does for it.
        statistics.append((float(mean), float(variance.sqrt()) or 1.0))
    means, deviations = zip(*statistics, strict=True)
    return means, deviations


def class_count(name: str, labels: Tensor) -> int:
    """Number of classes of integer labels; 0 for float labels, which are values.

    Raises:
        ValueError: if classes are not counted from 0.
    """
    if labels.is_floating_point():
        return 0
    if int(labels.min()):
        raise ValueError(
            f"classes are counted from 0; the smallest label of {name} is {int(labels.min())}: subtract it from all"
        )
    return int(labels.max()) + 1


def as_labels(name: str, labels: Any) -> Tensor:  # noqa: ANN401  # whatever an array can be made of
    """Labels as (examples,) int64 classes, or float32 values.

    Raises:
        ValueError: if there is more than one number for an example.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"labels must be one number for each example; those of {name} are {array.shape} {array.dtype}: of one-hot "
            "rows take the argmax"
        )
    return torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else np.int64))


def as_inputs(name: str, array: NDArray[Any]) -> Tensor:
    """Images as (examples, channels, height, width) uint8, or features as (examples, ...) float32.

    Args:
        name: of the data set, for messages.
        array: uint8 images (examples, height, width), with one or three channels before or after these two axes, or
            floats of any shape.

    Raises:
        ValueError: if it is neither.
    """
    if array.dtype.kind == "f" and array.ndim > 1:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    shape = array.shape
    if array.dtype == np.uint8 and array.ndim == 3:
        array = array[:, None]
    elif array.dtype == np.uint8 and array.ndim == 4 and shape[1] not in _CHANNELS and shape[3] in _CHANNELS:
        array = array.transpose(0, 3, 1, 2)
    elif array.dtype != np.uint8 or array.ndim != 4 or shape[1] not in _CHANNELS:
        raise ValueError(
            f"inputs must be uint8 images, grey or of three channels, or float features; those of {name} are {shape} "
            f"{array.dtype}"
        )
    return torch.from_numpy(np.ascontiguousarray(array))


def fitted(image: Image.Image, size: Sequence[int] | None, grey: bool) -> NDArray[np.uint8]:
    """An image as (height, width, 3) or, grey, (height, width), scaled and cut at its centre to a size.

    Args:
        image: of any mode and size.
        size: (height, width); None keeps the image's own.
        grey: whether colours are dropped.
    """
    image = image.convert("L" if grey else "RGB")
    if size is not None:
        height, width = size
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)
