"""Gradients of single examples, layer by layer, from one forward and one backward pass over a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import functional_call, vjp, vmap
from torch.nn.grad import conv2d_weight


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

    A convolution's are the weight gradient of one convolution with as many groups as there are examples; other layers'
    come from `torch.func`, which runs the layer again.

    Args:
        layer: any module that takes examples one by one.
        inputs: (batch, ...), what it was given.
        outputs: (batch, ...), gradient of the loss with respect to what it answered.
    """
    parameters = _trained(layer)
    dtype = next(iter(parameters.values())).dtype  # below it under autocast
    inputs, outputs = inputs.to(dtype) if inputs.is_floating_point() else inputs, outputs.to(dtype)
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        gradients = {"weight": _convolution(layer, inputs, outputs)}
        if layer.bias is not None:
            gradients["bias"] = outputs.sum(dim=(2, 3)).view(len(outputs), *layer.bias.shape)
        return {name: gradients[name] for name in parameters}

    def one(x: Tensor, gradient: Tensor) -> dict[str, Tensor]:
        pull = vjp(lambda own: functional_call(layer, own, (x[None],)), parameters)[1]
        own: dict[str, Tensor] = pull(gradient[None])[0]
        return own

    return vmap(one)(inputs, outputs)


def _convolution(layer: nn.Conv2d, inputs: Tensor, outputs: Tensor) -> Tensor:
    """Per-example gradients of a convolution's weight; of a fleet's grouped one as well, (batch, F, out, in, h, w)."""
    batch, channels = inputs.shape[:2]
    weight = layer.weight.flatten(0, -4)  # (out, in, h, w), of a fleet (F * out, in, h, w)
    groups = batch * (channels // weight.shape[1])
    gradient: Tensor = conv2d_weight(
        inputs.reshape(1, batch * channels, *inputs.shape[2:]),
        [batch * len(weight), *weight.shape[1:]],
        outputs.reshape(1, batch * len(weight), *outputs.shape[2:]),
        layer.stride,
        layer.padding,
        layer.dilation,
        groups,
    )
    return gradient.view(batch, *layer.weight.shape)


def _trained(layer: nn.Module) -> dict[str, nn.Parameter]:
    """A module's own trainable parameters, without its children's."""
    return {name: value for name, value in layer.named_parameters(recurse=False) if value.requires_grad}
