"""Batch-norm tuning and bias correction: what is corrected after quantization, while weights stay."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, fx, nn

from lit_privq.quantization.graph import Graph, Piece
from lit_privq.quantization.layers import modules_of

BatchNorm: TypeAlias = nn.modules.batchnorm._BatchNorm


def tunable(net: nn.Module) -> list[BatchNorm]:
    """Batch norms that keep running statistics."""
    return [module for module in net.modules() if isinstance(module, BatchNorm) and module.track_running_stats]


@torch.no_grad()
def tune_batch_norm(
    net: nn.Module,
    images: Tensor,
    seed: int,
    n_batches: int = 100,
    batch_size: int = 128,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    momentum: float | None = None,
) -> None:
    """Estimate the running statistics of all batch norms anew, in place, from batches of calibration images.

    Only batch norms are in training mode meanwhile; weights, and modules such as dropout, keep still.

    Args:
        net: a quantized network in eval mode.
        images: calibration images, (examples, channels, height, width), or whatever `augment` makes images of.
        seed: for the order of the images, and for the augmentation.
        n_batches: how many batches are drawn; images come again, in a new order, when all have been.
        batch_size: the largest batch; batches are as equal as can be.
        augment: batch and generator -> batch, as in training; None leaves the images alone. The generator is on the
            CPU, so that the draws do not depend on the device.
        momentum: None averages all batches, which is the least noisy; 0.1, the layers' usual value, weighs late batches
            more, as the original does.

    Raises:
        ValueError: if there is no image, or a batch would hold a single one.

    Source: the tuning that follows OBC in Frantar & Alistarh 2022, arXiv:2208.11580 (postproc.py of the public code).
    """
    n_parts = -(-len(images) // max(batch_size, 1))
    if batch_size < 2 or len(images) < 2 * max(n_parts, 1):
        raise ValueError(
            "batch-norm tuning needs batches of at least 2 images; "
            f"got {len(images)} images in batches of {batch_size}, calibrate on more"
        )
    generator, norms = torch.Generator().manual_seed(seed), tunable(net)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = momentum
        norm.train()
    for drawn in itertools.islice(_batches(len(images), n_parts, generator), n_batches if norms else 0):
        batch = images[drawn.to(images.device)]
        net(batch if augment is None else augment(batch, generator))
    for norm, before in zip(norms, momenta, strict=True):
        norm.momentum = before
        norm.eval()


def _batches(n_images: int, n_parts: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of batches without end: one permutation after the other, each in so many parts."""
    while True:
        yield from torch.randperm(n_images, generator=generator).tensor_split(n_parts)


@torch.no_grad()
def correct_bias(
    net: nn.Module,
    quantized: nn.Module,
    images: Tensor,
    batch_size: int = 256,
    is_float: Callable[[str], bool] = lambda name: False,
) -> list[str]:
    """Shift biases so that the mean output of every channel is the float network's again, in place, layer by layer.

    Each layer's shift is measured with all layers before it corrected already, in one walk over both networks. A layer
    without bias hands its shift to the running mean of the batch norm behind it.

    Args:
        net: the float network, in eval mode.
        quantized: its quantized copy, whose biases and running means are changed.
        images: calibration images, (examples, channels, height, width).
        batch_size: images that run through a layer together; bounds memory.
        is_float: whether the weight of a name was left in float; such layers are not corrected.

    Returns:
        Names of layers that have neither a bias nor a batch norm of their own, so that they keep their shift.

    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.2, with measured means.
    """
    graph = Graph(net, images[:4], is_float)
    own, theirs = _Walk(quantized, graph, images, batch_size), _Walk(net, graph, images, batch_size)
    kept, pieces = list[str](), graph.pieces("layer")
    for position, piece in enumerate(pieces):
        if piece.layers:
            (name,) = piece.layers
            before, target = graph.before(piece, name), _own_mean(graph, own.modules, name)
            if target is None:
                kept.append(name)
            else:
                mean, sign = target
                mean += sign * (own.mean(before, name) - theirs.mean(before, name)).to(mean.dtype)
        needed = {node for later in pieces[position + 1 :] for node in later.inputs}
        for walk in (own, theirs):
            walk.advance(piece, needed)
    return kept


class _Walk:
    """One network on its way through the graph: the values of the nodes that will be read again."""

    def __init__(self, net: nn.Module, graph: Graph, images: Tensor, batch_size: int) -> None:
        self.modules, self._graph, self._batch_size = modules_of(net), graph, batch_size
        self._values = {graph.image: images}

    def mean(self, before: Piece, name: str) -> Tensor:
        """Mean of each output channel of a layer, (channels,) float64."""
        layer = self.modules[name]
        axis = -1 if isinstance(layer, (nn.Linear, nn.Embedding)) else 1
        total, count = torch.zeros(()), 0
        for part in self._run(before):
            output = layer(part).movedim(axis, 0).flatten(1)  # (channels, examples * positions)
            total, count = total + output.sum(dim=1, dtype=torch.float64), count + output.shape[1]
        return total / count

    def advance(self, piece: Piece, needed: set[fx.Node]) -> None:
        """Run a piece, and drop the values that nothing will read again."""
        self._values[piece.output] = torch.cat(list(self._run(piece)))
        self._values = {node: value for node, value in self._values.items() if node in needed}

    def _run(self, piece: Piece) -> Iterator[Tensor]:
        """Outputs of a piece, a batch at a time."""
        inputs = [self._values[node].split(self._batch_size) for node in piece.inputs]
        state = piece.state(self.modules)
        return (piece.run(self._graph.modules, state, batch) for batch in zip(*inputs, strict=True))


def _own_mean(graph: Graph, modules: Mapping[str, nn.Module], name: str) -> tuple[Tensor, int] | None:
    """What takes a layer's shift, and with which sign: its bias, else the running mean of the batch norm behind it.

    What two layers share would be moved by the shift of each, so it is left alone: None, as where there is neither.
    """
    bias = getattr(modules[name], "bias", None)
    if bias is not None:
        owners = [other for other in modules.values() if getattr(other, "bias", None) is bias]
        return (bias, -1) if len(owners) == 1 else None
    node = next(node for node, layer in graph.layers.items() if layer == name)
    behind = list(node.users)
    norm = modules.get(str(behind[0].target)) if len(behind) == 1 and behind[0].op == "call_module" else None
    runs = sum(modules.get(str(other.target)) is norm for other in graph.nodes if other.op == "call_module")
    if not isinstance(norm, BatchNorm) or norm.running_mean is None or runs != 1:
        return None
    return norm.running_mean, 1
