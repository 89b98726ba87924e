"""What must hold before networks are stacked, and the check that a stack computes what its networks did."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TypeVar

import torch
from torch import Tensor, nn

from lit_privq.fleet.stack import Stack

Module = TypeVar("Module", bound=nn.Module)
Passed = tuple[str, str, Tensor]  # layer, "input" or "output", what passed


class CannotStack(ValueError):
    """These networks do not stack this way; the message names the layer and the other ways."""


def check_alike(nets: Sequence[nn.Module]) -> None:
    """Refuse networks of different architecture, device or dtype, and networks that share parameters inside."""
    first = _described(nets[0])
    for model, net in enumerate(nets):
        for ours, other in zip_longest(first, _described(net), fillvalue="nothing"):
            if ours != other:
                found = f"where model 0 has {ours}, model {model} has {other}"
                raise CannotStack(f"networks of a stack must be alike; {found}: train it apart")
    names = {name for name, _ in nets[0].named_parameters()}
    for name, _ in nets[0].named_parameters(remove_duplicate=False):
        if name not in names:
            raise CannotStack(f"layers of a stacked network must not share parameters; {name} is shared: train alone")


def check_repeatable(net: nn.Module, image_shape: Sequence[int]) -> None:
    """Refuse a network that draws random numbers in training: in a stack it would draw others than alone."""
    net = _copy(net).train()
    images = _random_images(net, 1, image_shape)[0]  # (batch, ...)
    with torch.no_grad(), torch.random.fork_rng(_cuda(images)):
        with traced(net) as once:
            net(images)
        with traced(net) as again:
            net(images)
    for (name, _, first), (_, _, second) in zip(once, again, strict=True):
        if not _close(first, second, tolerance=1e-6):  # the same sums, perhaps on other threads
            raise CannotStack(
                f"{_layer(net, name)} draws random numbers in training, which no stack repeats: train alone"
            )


@torch.no_grad()
def check_equal(stacked: Stack, nets: Sequence[nn.Module], image_shape: Sequence[int]) -> None:
    """Refuse a stack whose outputs or running statistics on a random batch, in either mode, are not its networks'."""
    for training in (True, False):
        joined = _copy(stacked).train(training)
        alone = [_copy(net).train(training) for net in nets]
        images = _random_images(alone[0], len(nets), image_shape)  # (F, batch, ...)
        expected = torch.stack([net(batch) for net, batch in zip(alone, images, strict=True)])
        try:
            agree = _close(joined(images), expected) and all(
                _close(value, theirs[name])  # running statistics
                for theirs, net in zip(map(joined.state_dict_of, range(len(nets))), alone, strict=True)
                for name, value in net.state_dict().items()
            )
            reason = "answers differ"
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            agree, reason = False, str(error).partition("\n")[0]
        if not agree:
            raise CannotStack(
                f"in {type(stacked).__name__} the networks no longer do what they do alone, first noticed at "
                f"{_first_difference(joined, alone[0], images)} ({reason}): stack another way or train alone"
            )


@contextlib.contextmanager
def traced(net: nn.Module) -> Iterator[list[Passed]]:
    """Collect inputs and outputs of the layers (modules without children), in the order they run."""
    passed: list[Passed] = []

    def note(name: str, place: str, value: object) -> None:
        if isinstance(value, Tensor):
            passed.append((name, place, value))

    handles = []
    for name, layer in net.named_modules():
        if not any(layer.children()):
            handles += [
                layer.register_forward_pre_hook(
                    lambda _, args, named, name=name: note(name, "input", next(iter((*args, *named.values())), None)),
                    with_kwargs=True,
                ),
                layer.register_forward_hook(lambda _, args, output, name=name: note(name, "output", output)),
            ]
    try:
        yield passed
    finally:
        for handle in handles:
            handle.remove()


def tensors_of(net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name."""
    yield from net.named_parameters()
    yield from net.named_buffers()


def _described(net: nn.Module) -> list[str]:
    """What must agree between the networks of a stack, one line each."""
    tensors = [
        f"{name} {tuple(value.shape)} {value.dtype} {value.device} {'trained' if value.requires_grad else 'fixed'}"
        for name, value in tensors_of(net)
    ]
    return tensors + [line.strip() for line in repr(net).splitlines()]


def _first_difference(joined: Stack, net: nn.Module, images: Tensor) -> str:
    """The first layer whose input or output differs from model 0's alone, or after which the stack fails."""
    with traced(net) as alone:
        net(images[0])
    inside = joined.get_submodule("net")
    with traced(inside) as together, contextlib.suppress(Exception):
        joined(images)
    for (name, place, value), (_, _, activation) in zip(alone, together, strict=False):
        part = joined.part_of_first(activation)
        if part is not None and not _close(part, value):
            return f"the {place} of {_layer(net, name)}"
    name, place, _ = together[-1]
    return f"the {place} of {_layer(net, name)}"


def _layer(net: nn.Module, name: str) -> str:
    """A layer by name and type."""
    return f"layer {name or 'at the top'} ({type(net.get_submodule(name)).__name__})"


def _copy(net: Module) -> Module:
    """A copy for the checks: float64 on a GPU, whose float32 may be TF32; float32 on a CPU, where it is fast."""
    on_gpu = any(parameter.is_cuda for parameter in net.parameters())
    return copy.deepcopy(net).to(torch.float64 if on_gpu else torch.float32)


def _random_images(net: nn.Module, size: int, image_shape: Sequence[int]) -> Tensor:
    """(size, 8, ...), the same each time; batch norm over fewer than 8 can turn rounding into large differences."""
    images = torch.randn(size, 8, *image_shape, generator=torch.Generator().manual_seed(0))
    return images.to(next(net.parameters(), images))  # device and dtype


def _cuda(tensor: Tensor) -> list[torch.device]:
    """The devices whose generator a forward pass may advance."""
    return [tensor.device] if tensor.is_cuda else []


def _close(a: Tensor, b: Tensor, tolerance: float = 1e-2) -> bool:
    """Equal but for rounding; wrong wiring gives differences as large as the values themselves."""
    return a.shape == b.shape and bool(torch.dist(a.double(), b.double()) <= tolerance * b.double().norm())
