"""Ways of making F networks one module: one after the other, with grouped layers, or by torch.func.vmap."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from lit_privq.artifacts.state import mapped
from lit_privq.fleet.checks import CannotStack, check_alike, check_equal, check_repeatable, tensors_of, traced
from lit_privq.fleet.stack import Stack, Way

Stacking = Literal["auto", "grouped", "vmap", "alone"]


def join(
    nets: Sequence[nn.Module],
    stacking: Stacking,
    image_shape: Sequence[int],
    ways: Sequence[Way] = ("grouped", "vmap"),
) -> Stack:
    """Stack networks as asked for, or, for ``auto``, in the first of these ways that supports them, else alone.

    Raises:
        CannotStack: if the way asked for does not fit these networks.
    """
    if stacking != "auto":
        return stack(nets, stacking, image_shape)
    joined, refused = first_fit(nets, image_shape, ways)
    for reason in refused:
        rank_zero_info(reason)
    return joined


def first_fit(
    nets: Sequence[nn.Module], image_shape: Sequence[int], ways: Sequence[Way] = ("grouped", "vmap")
) -> tuple[Stack, list[str]]:
    """Networks in the first way of stacking that supports them, and a reason for each way that does not."""
    refused: list[str] = []
    for way in ways if len(nets) > 1 else ():
        try:
            return stack(nets, way, image_shape), refused
        except CannotStack as reason:
            refused.append(f"not {way}: {reason}")
    return stack(nets, "alone", image_shape), refused


def stack(nets: Sequence[nn.Module], how: Way, image_shape: Sequence[int]) -> Stack:
    """Join networks into one module and check on a random batch that each still computes what it did alone.

    The networks themselves are copied and left as they are. Memory format, device, dtype, training mode and
    frozen parameters carry over.

    Args:
        nets: F networks of one architecture, with their own weights.
        how: "grouped" (one network with F times the channels), "vmap" (``torch.func``) or "alone" (a loop).
        image_shape: shape of one input, such as (3, 32, 32); only for the check, in evaluation and in training mode.

    Raises:
        CannotStack: if the networks differ in architecture, draw random numbers, or hold a layer that this way of
            stacking does not support.

    >>> joined = stack([nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(4, 2)], "grouped", image_shape=(4,))
    >>> joined(torch.zeros(3, 5, 4)).shape
    torch.Size([3, 5, 2])
    """
    if not nets:
        raise ValueError("a stack needs at least one network; got none")
    check_alike(nets)
    ways: dict[Way, type[Stack]] = {kind.way: kind for kind in (AloneStack, GroupedStack, VmapStack)}
    stacked = ways[how](nets)
    if len(nets) > 1:
        check_repeatable(nets[0], image_shape)
    if how != "alone":
        few = nets[:3]  # what is connected wrongly differs for three already; more would only cost time
        check_equal(stacked if len(few) == len(nets) else ways[how](few), few, image_shape)
    return stacked


class AloneStack(Stack):
    """The networks one after the other: for F = 1, and where nothing else pays."""

    way = "alone"

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__(nets)
        self.nets = nn.ModuleList(copy.deepcopy(net) for net in nets)

    @property
    def parts(self) -> Sequence[nn.Module]:
        """Each network."""
        return list(self.nets)

    def state_dict_of(self, model: int) -> dict[str, Tensor]:
        """An ordinary state_dict of one network, detached and copied."""
        return mapped(self.nets[model].state_dict(), torch.clone)

    def joined(self, name: str) -> Tensor:
        """A parameter of all networks, (F, ...), through which gradients flow."""
        return torch.stack([net.get_parameter(name) for net in self.nets])

    def _run(self, images: Tensor, replaced: Mapping[str, Tensor]) -> Tensor:
        return self._run_some(images, list(range(self.size)), replaced)

    def _run_some(self, images: Tensor, models: list[int], replaced: Mapping[str, Tensor]) -> Tensor:
        own = [{name: value[model] for name, value in replaced.items()} for model in models]
        return torch.stack(
            [
                functional_call(self.nets[model], state, (batch,))
                for model, state, batch in zip(models, own, images, strict=True)
            ]
        )


class JoinedStack(Stack):
    """One network, `net`, whose parameters and buffers are those of all networks, (F, ...) each."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__(nets)
        self.net = copy.deepcopy(nets[0])
        for name, module in self.net.named_modules():
            twins = [net.get_submodule(name) for net in nets]
            for key, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
                joined = _join([twin.get_parameter(key) for twin in twins])  # (F, ...)
                setattr(module, key, nn.Parameter(joined, requires_grad=parameter.requires_grad))
            for key, _ in module.named_buffers(recurse=False, remove_duplicate=False):
                setattr(module, key, _join([twin.get_buffer(key) for twin in twins]))  # (F, ...)

    @property
    def parts(self) -> Sequence[nn.Module]:
        """The joined network."""
        return [self.net]

    def state_dict_of(self, model: int) -> dict[str, Tensor]:
        """An ordinary state_dict of one network, detached and copied."""
        return mapped(self.net.state_dict(), lambda value: value[model].clone())

    def joined(self, name: str) -> Tensor:
        """A parameter of all networks, (F, ...), through which gradients flow."""
        return self.net.get_parameter(name)

    def _run(self, images: Tensor, replaced: Mapping[str, Tensor]) -> Tensor:
        return self._call({**dict(tensors_of(self.net)), **replaced}, images)

    def _run_some(self, images: Tensor, models: list[int], replaced: Mapping[str, Tensor]) -> Tensor:
        whole = {**dict(tensors_of(self.net)), **replaced}
        state = {name: value[models] for name, value in whole.items()}  # (len(models), ...) each
        logits = self._call(state, images)
        for name, buffer in self.net.named_buffers():  # batch norm has written into the copies
            buffer[models] = state[name]
        return logits

    @abstractmethod
    def _call(self, state: dict[str, Tensor], images: Tensor) -> Tensor:
        """`net` with these parameters and buffers, which are written to in place."""


class VmapStack(JoinedStack):
    """For most networks: `torch.func.vmap` over parameters, buffers and images.

    Contiguous throughout: batching rules are missing for some layers in channels_last (torch warns and loops), and
    where there are rules it was no faster.
    """

    way = "vmap"

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__([copy.deepcopy(net).to(memory_format=torch.contiguous_format) for net in nets])

    def _call(self, state: dict[str, Tensor], images: Tensor) -> Tensor:
        logits: Tensor = vmap(self._one)(state, images.contiguous())
        return logits

    def _one(self, state: dict[str, Tensor], images: Tensor) -> Tensor:
        logits: Tensor = functional_call(self.net, state, (images,))
        return logits


class GroupedStack(JoinedStack):
    """One network with F times the channels, (batch, F * channels, ...) all the way; its convolutions have F groups.

    Layers without parameters stay as they are; networks that join or permute channels are not supported.

    Raises:
        CannotStack: if a layer with parameters has no grouped twin.
    """

    way = "grouped"

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        for name, module in nets[0].named_modules():
            _check_twin(name, module)
        super().__init__(nets)
        self.channels_last = any(map(_is_channels_last, nets[0].parameters()))
        for module in self.net.modules():
            if type(module) in _TWINS:
                module.__class__ = _TWINS[type(module)]

    def part_of_first(self, activation: Tensor) -> Tensor | None:
        """Model 0's part of a layer's input or output."""
        return activation.chunk(self.size, dim=1)[0]

    def _run(self, images: Tensor, replaced: Mapping[str, Tensor]) -> Tensor:
        if replaced:
            return super()._run(images, replaced)
        return _part(self.net(self._enter(images)), self.size)

    def _call(self, state: dict[str, Tensor], images: Tensor) -> Tensor:
        return _part(functional_call(self.net, state, (self._enter(images),)), len(images))

    def _enter(self, images: Tensor) -> Tensor:
        """(batch, F * channels, ...) in the memory format of the networks."""
        if not (self.channels_last and images.dim() == 5):
            return _merge(images)
        rows = images.permute(1, 3, 4, 0, 2).contiguous()  # (batch, height, width, F, channels)
        return rows.flatten(3).permute(0, 3, 1, 2)  # (batch, F * channels, height, width)


class _GroupedConv2d(nn.Conv2d):
    """F convolutions, weight (F, out, in, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.flatten(0, 1)  # (F * out, in, height, width)
        bias = None if self.bias is None else self.bias.flatten()  # (F * out,)
        groups = self.groups * len(self.weight)
        return functional.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, groups)


class _GroupedLinear(nn.Linear):
    """F linear layers, weight (F, out, in), as a batched matrix product."""

    def forward(self, x: Tensor) -> Tensor:
        x, weight = _part(x, len(self.weight)), self.weight.mT  # (F, batch, in), (F, in, out)
        bias = None if self.bias is None else self.bias.unsqueeze(1)  # (F, 1, out)
        return _merge(torch.bmm(x, weight) if bias is None else torch.baddbmm(bias, x, weight))


class _GroupedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """F batch norms with their own statistics."""

    def forward(self, x: Tensor) -> Tensor:
        own = self.training or self.running_mean is None
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        mean, var, weight, bias = (
            None if value is None else value.flatten()  # (F * channels,), a view: statistics are written in place
            for value in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        return functional.batch_norm(x, mean, var, weight, bias, own, self.momentum or 0.0, self.eps)


class _GroupedGroupNorm(nn.GroupNorm):
    """F group norms."""

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (None if value is None else value.flatten() for value in (self.weight, self.bias))
        groups = self.num_groups * (x.shape[1] // self.num_channels)
        return functional.group_norm(x, groups, weight, bias, self.eps)


_TWINS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: _GroupedConv2d,
    nn.Linear: _GroupedLinear,
    nn.BatchNorm1d: _GroupedBatchNorm,
    nn.BatchNorm2d: _GroupedBatchNorm,
    nn.GroupNorm: _GroupedGroupNorm,
}


def _is_channels_last(weight: Tensor) -> bool:
    """Whether a weight lies in channels_last, and not contiguous as well."""
    return weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def _merge(x: Tensor) -> Tensor:
    """(F, batch, channels, ...) -> (batch, F * channels, ...)."""
    return x.transpose(0, 1).flatten(1, 2)


def _part(x: Tensor, size: int) -> Tensor:
    """(batch, F * channels, ...) -> (F, batch, channels, ...)."""
    return x.reshape(len(x), size, -1, *x.shape[2:]).transpose(0, 1)


def _join(tensors: Sequence[Tensor]) -> Tensor:
    """(F, ...), each with the strides it had (channels_last stays)."""
    first = tensors[0]
    strides = (first.numel(), *first.stride())
    joined = torch.empty_strided((len(tensors), *first.shape), strides, dtype=first.dtype, device=first.device)
    for row, tensor in zip(joined, tensors, strict=True):
        row.copy_(tensor.detach())
    return joined


def _check_twin(name: str, module: nn.Module) -> None:
    """Refuse a layer that has parameters or buffers but no grouped twin."""
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    plain = getattr(module, "padding_mode", "zeros") == "zeros" and getattr(module, "momentum", 0.0) is not None
    if own and not (type(module) in _TWINS and plain):
        raise CannotStack(f"layer {name or 'at the top'} ({module}) has no grouped twin; use vmap")


def stack_bytes(net: nn.Module, images_shape: Sequence[int], training: bool = True) -> int:
    """Roughly what one more network adds to the memory of a stack.

    In training: weights, gradients and momentum, and every layer's output kept for the backward pass. In evaluation:
    weights, and four times the largest output. Runs on the meta device; ``net`` is not touched.

    Args:
        net: the network.
        images_shape: (batch, ...) of one network.
        training: whether gradients are taken.

    >>> stack_bytes(nn.Linear(1000, 10), images_shape=(8, 1000))
    152440
    """
    meta_net = copy.deepcopy(net).to("meta").train(training)
    weights = sum(_bytes(value) for _, value in tensors_of(net))
    dtype = next((parameter.dtype for parameter in net.parameters()), torch.float32)
    images = torch.empty(tuple(images_shape), dtype=dtype, device="meta")
    with torch.no_grad(), traced(meta_net) as passed:
        meta_net(images)
    outputs = [_bytes(value) for _, place, value in passed if place == "output"]
    if not training:
        return weights + 4 * max(outputs, default=0)
    return 3 * weights + sum(outputs) + _bytes(images)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
