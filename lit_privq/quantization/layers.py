"""Layers that can be quantized, each as a matrix: rows are output channels, columns are inputs times kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def is_layer(module: nn.Module) -> TypeGuard[Layer]:
    """Whether a module is of a kind that can be quantized, or of a subclass of one."""
    return isinstance(module, KINDS)


def modules_of(net: nn.Module) -> dict[str, nn.Module]:
    """All modules by name, and the input projection of each `nn.MultiheadAttention` as a linear layer ``name.in_proj``.

    The projection of queries, keys and values is one parameter of the attention; the linear layer made here holds that
    very parameter, so that what is written to it is written to the attention. A module under two names has the first.
    """
    modules = dict(net.named_modules())
    for name, module in list(modules.items()):
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            modules[f"{name}.in_proj".lstrip(".")] = _input_projection(module)
    return modules


def _input_projection(attention: nn.MultiheadAttention) -> nn.Linear:
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta").eval()
    linear.weight = weight
    if bias is not None:
        linear.bias = bias
    return linear


def parameter_name(net: nn.Module, layer: str) -> str:
    """The name of a layer's weight in the network's state: ``layer.weight``, but of attention's input projection."""
    weight = modules_of(net)[layer].weight
    return next(name for name, parameter in net.named_parameters() if parameter is weight)


def last_layer(net: nn.Module) -> str:
    """Name of a network's last quantizable layer, in the order of its modules; empty if it has none.

    >>> last_layer(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), nn.Softmax()))
    '2'
    """
    return next((name for name, module in reversed([*net.named_modules()]) if is_layer(module)), "")


def n_groups(layer: Layer) -> int:
    """Into how many independent matrices the layer falls: the groups of a convolution, 1 for other layers."""
    return 1 if isinstance(layer, (nn.Linear, nn.Embedding)) else layer.groups


def to_matrix(layer: Layer, weight: Tensor) -> Tensor:
    """Weights of F models as matrices; the groups of a convolution become further models.

    An output channel (a row) is an output feature of a linear layer, an output channel of a convolution, and the vector
    of one token of an embedding.

    Args:
        layer: says of which kind it is and how many groups there are.
        weight: (models, *shape of the layer's weight).

    Returns:
        (models * groups, rows, columns), a view where possible.

    >>> import torch
    >>> to_matrix(nn.Conv2d(4, 6, 3, groups=2), torch.zeros(5, 6, 2, 3, 3)).shape
    torch.Size([10, 3, 18])
    >>> to_matrix(nn.ConvTranspose2d(4, 6, 3, groups=2), torch.zeros(5, 4, 3, 3, 3)).shape
    torch.Size([10, 3, 18])
    """
    groups = n_groups(layer)
    grouped = weight.reshape(weight.shape[0] * groups, weight.shape[1] // groups, *weight.shape[2:])
    if isinstance(layer, nn.ConvTranspose2d):  # (models * groups, in / groups, out / groups, height, width)
        grouped = grouped.transpose(1, 2)
    return grouped.flatten(2)


def to_weight(layer: Layer, matrix: Tensor) -> Tensor:
    """The inverse of `to_matrix`: (models * groups, rows, columns) -> (models, *shape of the layer's weight).

    The rows of all groups may also be in one matrix, (models, groups * rows, columns), as checkpoints keep them.
    """
    return from_rows(matrix, layer.weight.shape, layer.groups if isinstance(layer, nn.ConvTranspose2d) else 0)


def from_rows(matrix: Tensor, shape: Sequence[int], transposed_groups: int = 0) -> Tensor:
    """Weights (models, *shape) from matrices, for readers of files that have no layer at hand.

    Args:
        matrix: (models * groups, rows, columns) or (models, groups * rows, columns).
        shape: of the layer's weight.
        transposed_groups: of a transposed convolution, whose weight has its inputs first; 0 for other layers.
    """
    if transposed_groups:
        inputs, outputs, *kernel = shape  # in, out / groups, height, width
        grouped = matrix.reshape(-1, outputs, inputs // transposed_groups, *kernel)  # (models * groups, outputs, ...)
        matrix = grouped.transpose(1, 2)
    return matrix.reshape(-1, *shape)


def channel_axis(layer: Layer, output: Tensor) -> int:
    """Axis of the channels in what leaves a unit, (models, examples, ...).

    They come last behind a linear layer or an embedding, and first behind a convolution; where the sizes say otherwise,
    as behind a permutation, the sizes decide.

    Args:
        layer: the last one of the unit.
        output: of the unit.

    >>> import torch
    >>> channel_axis(nn.Linear(4, 6), torch.zeros(1, 2, 5, 6))
    3
    >>> channel_axis(nn.Conv1d(4, 6, 3), torch.zeros(1, 2, 6, 5))
    2
    """
    first, last = 2, output.ndim - 1
    if isinstance(layer, nn.Embedding):
        channels, axes = layer.embedding_dim, (last, first)
    elif isinstance(layer, nn.Linear):
        channels, axes = layer.out_features, (last, first)
    else:
        channels, axes = layer.out_channels, (first, last)
    return next((axis for axis in axes if output.shape[axis] == channels), axes[0])


def columns(layer: Layer, inputs: Tensor) -> Tensor:
    """What the rows of the layer's matrix are multiplied with, one column per output position.

    Of an embedding every weight is an output of its own, whatever the tokens: its columns are those of the identity.

    Args:
        layer: whose stride, padding, dilation and groups are used.
        inputs: (examples, channels, height, width), (examples, channels, length) for a Conv1d, (..., features) for a
            linear layer, (...) token indices for an embedding.

    Returns:
        (groups, columns, examples * positions).
    """
    if isinstance(layer, nn.Embedding):
        return torch.eye(layer.embedding_dim, dtype=layer.weight.dtype, device=layer.weight.device)[None]
    if isinstance(layer, nn.Linear):
        return inputs.flatten(0, -2).T[None]  # (1, features, examples)
    patches = _transposed_patches(layer, inputs) if isinstance(layer, nn.ConvTranspose2d) else _patches(layer, inputs)
    patches = patches.view(len(patches), layer.groups, -1, patches.shape[2])  # (examples, groups, columns, positions)
    return patches.permute(1, 2, 0, 3).flatten(2)  # (groups, columns, examples * positions)


def unfolding(layer: Layer) -> int:
    """How many numbers `columns` makes of one number of the inputs, at most."""
    if isinstance(layer, (nn.Linear, nn.Embedding)):
        return 1
    return math.prod(layer.kernel_size) * (math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else 1)


def _patches(layer: nn.Conv1d | nn.Conv2d, inputs: Tensor) -> Tensor:
    """(examples, channels * kernel, positions); a 1x1 convolution needs no copy of its inputs per kernel position."""
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    padding = _padding(layer)
    if isinstance(layer, nn.Conv1d):  # one of height 1
        inputs = inputs.unsqueeze(2)  # (examples, channels, 1, length)
        kernel, stride, dilation, padding = (1, *kernel), (1, *stride), (1, *dilation), [*padding, 0, 0]
    if any(padding):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        inputs = F.pad(inputs, padding, mode=mode)
    if math.prod(kernel) == 1:
        return inputs[:, :, :: stride[0], :: stride[1]].flatten(2)
    return F.unfold(inputs, kernel, dilation=dilation, stride=stride)


def _transposed_patches(layer: nn.ConvTranspose2d, inputs: Tensor) -> Tensor:
    """(examples, channels * kernel, positions): a convolution with the mirrored kernel over inputs that are spread out.

    Source: Dumoulin & Visin 2016, arXiv:1603.07285, section 4.
    """
    height, width = inputs.shape[2:]
    (down, right), kernel, dilation = layer.stride, layer.kernel_size, layer.dilation
    spread = inputs.new_zeros(*inputs.shape[:2], (height - 1) * down + 1, (width - 1) * right + 1)
    spread[:, :, ::down, ::right] = inputs
    padding = []  # left, right, top, bottom; may be negative, which crops
    for axis in (1, 0):
        assert not isinstance(layer.padding, str)
        before = dilation[axis] * (kernel[axis] - 1) - int(layer.padding[axis])
        padding += [before, before + layer.output_padding[axis]]
    patches = F.unfold(F.pad(spread, padding), kernel, dilation=dilation)
    mirrored: Tensor = patches.unflatten(1, (-1, *kernel)).flip(2, 3)  # (examples, channels, *kernel, positions)
    return mirrored.flatten(1, 3)


def _padding(layer: nn.Conv1d | nn.Conv2d) -> list[int]:
    """Before and after along each axis, the last axis first, as `F.pad` takes it."""
    if layer.padding == "valid":
        return [0] * 2 * len(layer.kernel_size)
    if layer.padding == "same":
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [side for both in reversed(total) for side in (both // 2, both - both // 2)]
    assert not isinstance(layer.padding, str)
    return [side for side in reversed(layer.padding) for _ in range(2)]
