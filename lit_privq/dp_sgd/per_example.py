"""Gradients of single examples, layer by layer, from one forward and one backward pass over a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import functional_call, vjp, vmap
from torch.nn import functional
from torch.nn.grad import conv2d_weight

_GROUPS = 64  # of one convolution
_PATCHES = 100  # numbers of a weight for each place of its output, from which on patches are faster (benchmarks/dp.py)


class LayerCall(NamedTuple):
    """A layer's call: what went in, (batch, ...), and where in the graph it came out."""

    layer: nn.Module
    inputs: Tensor
    output: GradientEdge


@contextlib.contextmanager
def watched(modules: Iterable[nn.Module]) -> Iterator[list[LayerCall]]:
    """Collect the calls of those modules that hold trainable parameters themselves."""
    calls: list[LayerCall] = []

    def note(layer: nn.Module, args: Sequence[Tensor], named: Mapping[str, Tensor], output: Tensor) -> None:
        inputs = next(iter((*args, *named.values())))
        calls.append(
            LayerCall(layer, inputs.detach(), get_gradient_edge(output))
        )  # an edge stays if output is overwritten

    handles = [layer.register_forward_hook(note, with_kwargs=True) for layer in modules if _trained(layer)]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def per_example_gradients(calls: Sequence[LayerCall], loss: Tensor) -> dict[nn.Parameter, Tensor]:
    """Gradient of each example's own loss with respect to each parameter.

    The backward pass stops at the layers' outputs, so it takes no gradient of the weights over the whole batch.

    Args:
        calls: of a forward pass, as `watched` collected them.
        loss: sum of the examples' losses, scalar.

    Returns:
        (batch, *parameter.shape) each; parameters that the loss does not depend on are left out, and so are all where
        the batch is empty.
    """
    gradients: dict[nn.Parameter, Tensor] = {}
    outputs = torch.autograd.grad(loss, [call.output for call in calls], allow_unused=True)
    for call, output in zip(calls, outputs, strict=True):
        if output is None or not len(output):
            continue
        for name, gradient in layer_gradients(call.layer, call.inputs, output).items():
            parameter = call.layer.get_parameter(name)
            gradients[parameter] = gradients[parameter] + gradient if parameter in gradients else gradient
    return gradients


def layer_gradients(layer: nn.Module, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
    """Per-example gradients of a layer's own parameters, (batch, *parameter.shape) each.

    Args:
        layer: any module that takes examples one by one.
        inputs: (batch, ...), what it was given.
        outputs: (batch, ...), gradient of the loss with respect to what it answered.
    """
    parameters = _trained(layer)
    dtype = next(iter(parameters.values())).dtype  # below it under autocast
    inputs, outputs = inputs.to(dtype) if inputs.is_floating_point() else inputs, outputs.to(dtype)
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        gradients = _convolution(layer, inputs, outputs)
    elif isinstance(layer, nn.GroupNorm):
        gradients = _group_norm(layer, inputs, outputs)
    else:
        gradients = _any_layer(layer, inputs, outputs)
    return {name: gradients[name].view(len(inputs), *own.shape) for name, own in parameters.items()}


def _any_layer(layer: nn.Module, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
    """By torch.func, which runs the layer once more."""
    parameters = _trained(layer)

    def one(x: Tensor, gradient: Tensor) -> dict[str, Tensor]:
        pull = vjp(lambda own: functional_call(layer, own, (x[None],)), parameters)[1]
        own: dict[str, Tensor] = pull(gradient[None])[0]
        return own

    return vmap(one)(inputs, outputs)


def _group_norm(layer: nn.GroupNorm, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
    """Sums over places, (batch, channels)."""
    groups = layer.num_groups * (inputs.shape[1] // layer.num_channels)  # of a fleet, F times as many
    normed = functional.group_norm(inputs, groups, eps=layer.eps)
    shape = (*inputs.shape[:2], -1)
    return {"weight": (normed * outputs).reshape(shape).sum(dim=2), "bias": outputs.reshape(shape).sum(dim=2)}


def _convolution(layer: nn.Conv2d, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
    """Products of patches and gradients where a weight has far more numbers than places, else grouped convolutions."""
    weight = layer.weight.flatten(0, -4)  # (out, in, h, w), of a fleet (F * out, in, h, w)
    groups = inputs.shape[1] // weight.shape[1]  # of one example
    many = weight.numel() // groups > _PATCHES * outputs[0, 0].numel()
    found = (_by_patches if many else _by_groups)(layer, inputs, outputs, weight, groups)
    return {"weight": found, "bias": outputs.sum(dim=(2, 3))}


def _by_patches(layer: nn.Conv2d, inputs: Tensor, outputs: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Every patch of the input times the gradient at its place, (batch * groups, out, in * h * w)."""
    padding = cast(tuple[int, ...], layer.padding)
    patches = functional.unfold(inputs, weight.shape[2:], layer.dilation, padding, layer.stride)
    patches = patches.view(len(inputs) * groups, -1, patches.shape[2])  # (batch * groups, in * h * w, places)
    return outputs.reshape(len(patches), -1, patches.shape[2]) @ patches.mT


def _by_groups(layer: nn.Conv2d, inputs: Tensor, outputs: Tensor, weight: Tensor, groups: int) -> Tensor:
    """The weight gradient of a convolution with as many groups as there are examples, of a fleet times models.

    A few examples at a time: more groups than these no longer fit into a core's cache, and take twice as long.
    """
    gradients = []
    for x, gradient in zip(*(part.split(max(1, _GROUPS // groups)) for part in (inputs, outputs)), strict=True):
        gradients.append(
            conv2d_weight(
                x.reshape(1, -1, *x.shape[2:]),
                [len(x) * len(weight), *weight.shape[1:]],
                gradient.reshape(1, -1, *gradient.shape[2:]),
                layer.stride,
                layer.padding,
                layer.dilation,
                len(x) * groups,
            )
        )
    return torch.cat(gradients) if len(gradients) > 1 else gradients[0]  # of one it would be a copy


def _trained(layer: nn.Module) -> dict[str, nn.Parameter]:
    """A module's own trainable parameters, without its children's."""
    return {name: value for name, value in layer.named_parameters(recurse=False) if value.requires_grad}
