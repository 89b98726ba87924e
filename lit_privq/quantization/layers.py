"""A convolution or a linear layer as a matrix: rows are output channels, columns are inputs times kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer: TypeAlias = nn.Conv2d | nn.Linear

_BLOCK = 2**24  # numbers in one unfolded block of inputs; larger blocks are not faster, only larger


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


def gram(layer: Layer, inputs: Tensor) -> Tensor:
    """Second moments of the inputs of a layer, 2/n sum x x^T over examples and output positions.

    Products of a block of examples are taken in the inputs' own precision and summed in float64, so that the order of
    the examples does not matter beyond rounding. Half of E gram E^T is the squared output error per position.

    Args:
        layer: a convolution or linear layer.
        inputs: of one model, (examples, ...).

    Returns:
        (groups, columns, columns) float64.

    Raises:
        ValueError: if there is no example.

    >>> import torch
    >>> gram(nn.Linear(2, 1), torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
    tensor([[[2., 2.],
             [2., 4.]]], dtype=torch.float64)
    """
    return gram_and_cross(layer, inputs, inputs[None])[0]


def gram_and_cross(layer: Layer, floats: Tensor, quantized: Tensor) -> tuple[Tensor, Tensor]:
    """Second moments of a layer's inputs in the quantized copies of one network, and with those of the network itself.

    Args:
        layer: a convolution or linear layer.
        floats: inputs in the float network, (examples, ...).
        quantized: inputs in its copies, (precisions, examples, ...).

    Returns:
        2/n sum x_quantized x_quantized^T and 2/n sum x_float x_quantized^T, both (precisions * groups, columns,
        columns) float64.

    Raises:
        ValueError: if there is no example.
    """
    if not floats.numel():
        raise ValueError(f"a gram matrix needs at least one calibration example; got inputs {list(floats.shape)}")
    sums: list[Tensor] = []  # gram and cross of the first copy, of the second, ...
    positions = 0
    for rows in _blocks(layer, floats):
        theirs = columns(layer, floats[rows])  # (groups, columns, positions)
        own = [columns(layer, inputs[rows]) for inputs in quantized]
        products = [product for one in own for product in ((one @ one.mT).double(), (theirs @ one.mT).double())]
        sums = [total + product for total, product in zip(sums, products, strict=True)] if sums else products
        positions += theirs.shape[-1]
    return torch.cat(sums[::2]) * (2 / positions), torch.cat(sums[1::2]) * (2 / positions)


def _blocks(layer: Layer, inputs: Tensor) -> Iterator[slice]:
    """Slices of examples whose unfolded inputs stay within the block size."""
    kernel = layer.kernel_size[0] * layer.kernel_size[1] if isinstance(layer, nn.Conv2d) else 1
    size = max(1, _BLOCK // max(1, inputs[0].numel() * kernel))
    return (slice(start, start + size) for start in range(0, len(inputs), size))


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
