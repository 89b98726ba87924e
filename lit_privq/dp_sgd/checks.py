"""What must hold before a network is trained by DP-SGD."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from lit_privq.dp_sgd.per_example import per_example_gradients, watched

_NEEDS = "DP-SGD needs the gradient of each example"


def check_network(net: nn.Module, image_shape: Sequence[int]) -> None:
    """Refuse a network whose per-example gradients are not those of its examples alone.

    Args:
        net: copied, and tried on three random examples.
        image_shape: of one input.

    Raises:
        ValueError: naming the layer and what to put in its place.
    """
    for name, layer in net.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"{_NEEDS}, and batch norm mixes them; got {_layer(name, layer)}, set model.net.init_args.norm group, "
                "or put nn.GroupNorm in its place"
            )
    net = copy.deepcopy(net).double().eval()  # without dropout, which two passes would draw anew
    images = torch.randn(3, *image_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = [_gradients(net, image[None]) for image in images]
    if _difference(net, net.modules(), images, alone) is None:
        return
    for name, layer in net.named_modules():
        if (reason := _difference(net, [layer], images, alone)) is not None:
            raise ValueError(
                f"{_NEEDS}, and {_layer(name, layer)} gives none ({reason}); leave out model.dp_sgd, or build the "
                "network of nn.Conv2d, nn.Linear and nn.GroupNorm"
            )


def _gradients(net: nn.Module, images: Tensor) -> dict[nn.Parameter, Tensor]:
    """What autograd gives for a batch."""
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(_loss(net(images)), parameters, allow_unused=True)
    return {one: torch.zeros_like(one) if got is None else got for one, got in zip(parameters, found, strict=True)}


def _difference(
    net: nn.Module, layers: Iterable[nn.Module], images: Tensor, alone: Sequence[dict[nn.Parameter, Tensor]]
) -> str | None:
    """Why the gradients of these layers' own parameters are not those of each example alone; None where they are."""
    layers = list(layers)
    try:
        with watched(layers) as calls:
            loss = _loss(net(images))
        found = per_example_gradients(calls, loss) if calls else {}
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        return str(error).partition("\n")[0]
    for layer in layers:
        for name, parameter in layer.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            expected = torch.stack([one[parameter] for one in alone])  # (examples, ...)
            got = found.get(parameter, torch.zeros_like(expected))
            if got.shape != expected.shape or torch.dist(got, expected) > 1e-3 * expected.norm():
                return f"that of its {name} differs from the example's alone"
    return None


def _loss(answers: Tensor) -> Tensor:
    """A sum over examples, whose gradients differ between them."""
    return answers.square().sum()


def _layer(name: str, layer: nn.Module) -> str:
    """A layer by name and type."""
    return f"layer {name or 'at the top'} ({type(layer).__name__})"
