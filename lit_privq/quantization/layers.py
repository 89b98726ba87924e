"""A convolution or a linear layer as a matrix: rows are output channels, columns are inputs times kernel."""

from __future__ import annotations

from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

Layer: TypeAlias = nn.Conv2d | nn.Linear


def n_groups(layer: Layer) -> int:
    """Into how many independent matrices the layer falls: the groups of a convolution, 1 for a linear layer."""
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def to_matrix(layer: Layer, weight: Tensor) -> Tensor:
    """Weights of F models as matrices; the groups of a convolution become further models.

    Args:
        layer: says how many groups there are.
        weight: (models, out, in / groups, height, width) or (models, out, in).

    Returns:
        (models * groups, rows, columns), a view where possible.

    >>> import torch
    >>> to_matrix(nn.Conv2d(4, 6, 3, groups=2), torch.zeros(5, 6, 2, 3, 3)).shape
    torch.Size([10, 3, 18])
    """
    groups = n_groups(layer)
    return weight.reshape(weight.shape[0] * groups, weight.shape[1] // groups, -1)


def to_weight(layer: Layer, matrix: Tensor) -> Tensor:
    """The inverse of `to_matrix`: (models * groups, rows, columns) -> (models, *shape of the layer's weight)."""
    return matrix.reshape(-1, *layer.weight.shape)


def columns(layer: Layer, inputs: Tensor) -> Tensor:
    """What the rows of the layer's matrix are multiplied with, one column per output position.

    Args:
        layer: whose stride, padding, dilation and groups are used.
        inputs: (examples, channels, height, width), or (..., features) for a linear layer.

    Returns:
        (groups, columns, examples * positions).
    """
    if isinstance(layer, nn.Linear):
        return inputs.flatten(0, -2).T[None]  # (1, features, examples)
    patches = _patches(layer, inputs)  # (examples, channels * kernel, positions)
    patches = patches.view(len(patches), layer.groups, -1, patches.shape[2])  # (examples, groups, columns, positions)
    return patches.permute(1, 2, 0, 3).flatten(2)  # (groups, columns, examples * positions)


def _patches(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """(examples, channels * kernel, positions); a 1x1 convolution needs no copy of its inputs per kernel position."""
    padding = _padding(layer)
    if any(padding):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        inputs = F.pad(inputs, padding, mode=mode)
    if layer.kernel_size == (1, 1):
        return inputs[:, :, :: layer.stride[0], :: layer.stride[1]].flatten(2)
    return F.unfold(inputs, layer.kernel_size, dilation=layer.dilation, stride=layer.stride)


def _padding(layer: nn.Conv2d) -> list[int]:
    """Left, right, top, bottom."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    if layer.padding == "same":
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2]
    height, width = layer.padding[0], layer.padding[1]
    return [int(width), int(width), int(height), int(height)]
