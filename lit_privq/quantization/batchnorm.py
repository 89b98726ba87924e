"""Batch-norm tuning and bias correction: what is mended after the weights are on their grids, weights kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, fx, nn

from lit_privq.quantization.graph import Graph, Piece
from lit_privq.quantization.layers import Layer


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
        images: calibration images, (examples, channels, height, width).
        seed: for the order of the images, and for the augmentation.
        n_batches: how many batches are drawn; images come again, in a new order, when all have been.
        batch_size: images per batch.
        augment: batch and generator -> batch, as in training; None leaves the images alone.
        momentum: None averages all batches, which is the least noisy; 0.1 (the layers' usual value) weighs late batches
            more, as public codes do.

    Raises:
        ValueError: if there is no image, or a batch would hold a single one.

    Source: the tuning that follows OBC in Frantar & Alistarh 2022, arXiv:2208.11580.
    """
    if min(len(images), batch_size) < 2:
        raise ValueError(
            f"batch-norm tuning needs batches of at least 2 images; got {len(images)} images in batches of {batch_size}"
        )
    generator = torch.Generator(images.device).manual_seed(seed)
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = momentum
        norm.train()
    for _ in range(n_batches if norms else 0):
        batch = images[_draw(len(images), batch_size, generator)]
        net(batch if augment is None else augment(batch, generator))
    for norm, before in zip(norms, momenta, strict=True):
        norm.momentum = before
        norm.eval()


def _draw(n_images: int, size: int, generator: torch.Generator) -> Tensor:
    """A batch without replacement."""
    return torch.randperm(n_images, generator=generator, device=generator.device)[:size]


@torch.no_grad()
def correct_bias(net: nn.Module, quantized: nn.Module, images: Tensor) -> list[str]:
    """Shift biases so that the mean output of every channel is the float network's again, in place, layer by layer.

    Each layer's shift is measured with all layers before it corrected already, in one walk over both networks. A layer
    without bias hands its shift to the running mean of the batch norm behind it.

    Args:
        net: the float network, in eval mode.
        quantized: its quantized copy, whose biases and running means are changed.
        images: calibration images, (examples, channels, height, width).

    Returns:
        Names of layers that have neither a bias nor a batch norm, so that they keep their shift.

    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.2, with measured means.
    """
    graph = Graph(net, images[:1])
    own, theirs = dict(quantized.named_modules()), dict(net.named_modules())
    values = [{graph.image: images}, {graph.image: images}]
    kept = []
    for piece in graph.pieces("layer"):
        if piece.layers:
            (name,) = piece.layers
            shift = _mean(graph, piece, name, own, values[0]) - _mean(graph, piece, name, theirs, values[1])
            if not _shift(own, name, piece, shift):
                kept.append(name)
        for modules, known in zip((own, theirs), values, strict=True):
            known[piece.output] = piece.run(modules, {}, [known[node] for node in piece.inputs])
    return kept


def _mean(
    graph: Graph, piece: Piece, name: str, modules: dict[str, nn.Module], values: dict[fx.Node, Tensor]
) -> Tensor:
    """Mean of each output channel of a layer, (channels,)."""
    before = graph.before(piece, name)
    output = modules[name](before.run(modules, {}, [values[node] for node in before.inputs]))
    axis = 1 if isinstance(modules[name], nn.Conv2d) else -1
    return cast(Tensor, output.movedim(axis, 0).flatten(1).double().mean(dim=1))


def _shift(modules: dict[str, nn.Module], name: str, piece: Piece, shift: Tensor) -> bool:
    """Take the shift out of the layer's bias or the running mean behind it; False where there is neither."""
    layer = cast(Layer, modules[name])
    if layer.bias is not None:
        layer.bias -= shift.to(layer.bias.dtype)
        return True
    node = next(node for node in piece.nodes if node.target == name)
    behind = [user for user in node.users if user in piece.nodes and user.op == "call_module"]
    norm = modules[str(behind[0].target)] if behind else None
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_mean is None:
        return False
    norm.running_mean += shift.to(norm.running_mean.dtype)
    return True
