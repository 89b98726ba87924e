"""How much each output of a unit matters to the network's prediction: the diagonal of its Fisher information."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_privq.quantization.graph import Graph, Piece
from lit_privq.quantization.layers import modules_of


def output_importance(
    graph: Graph, pieces: Sequence[Piece], net: nn.Module, images: Tensor, seed: int, batch_size: int
) -> dict[str, Tensor]:
    """Mean squared gradient of the log-likelihood at every unit's output, over its own mean.

    Labels are drawn from the network's own prediction, so that the expectation is the Fisher information and none of
    the data's labels is looked at. A network with one output predicts a value: the mean of a Gaussian, whose
    information is the squared gradient of the value itself. One forward and one backward pass serve all units.

    Args:
        graph: of the network.
        pieces: all that runs, in order, up to the logits.
        net: one network in eval mode.
        images: (examples, channels, height, width).
        seed: for the drawn labels.
        batch_size: images in one pass.

    Returns:
        By name of the unit, the shape of its output without examples; mean 1.

    Raises:
        ValueError: if the network's output is not finite, or has more axes than (examples, classes).

    Source: the Fisher weighting of Li et al. 2021, arXiv:2102.05426, section 3.3; normalised here, as a loss whose
    weights are some 1e-4 small (or, in the public code, all close to 1) is another loss or none.
    """
    units = [piece for piece in pieces if piece.layers]
    generator = torch.Generator().manual_seed(seed)
    totals = [torch.zeros((), device=images.device, dtype=torch.float64) for _ in units]
    for batch in images.split(batch_size):
        for position, gradient in enumerate(_gradients(graph, pieces, net, batch, generator)):
            totals[position] = totals[position] + gradient.double().square().sum(dim=0)
    return {
        unit.name: (total / total.mean().clamp_min(1e-300)).to(images.dtype)
        for unit, total in zip(units, totals, strict=True)
    }


@torch.enable_grad()
def _gradients(
    graph: Graph, pieces: Sequence[Piece], net: nn.Module, images: Tensor, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Gradient of each image's log-likelihood at the output of each unit, (examples, ...)."""
    modules, values = modules_of(net), {graph.image: images}
    outputs = []
    for piece in pieces:
        value = piece.run(graph.modules, piece.state(modules), [values[node] for node in piece.inputs])
        if piece.layers:
            value = value if value.requires_grad else value.requires_grad_()
            outputs.append(value)
        values[piece.output] = value
    logits = values[graph.output]  # (examples, classes)
    if not logits.isfinite().all():
        raise ValueError(
            "the network's output on its calibration images is not finite, so no importance can be drawn from it; "
            "check the checkpoint, its batch-norm statistics included, for NaN or overflow"
        )
    if logits.ndim == 1:
        logits = logits.unsqueeze(1)  # a value per example
    if logits.ndim > 2:
        raise ValueError(
            "Fisher importance needs outputs (examples, classes), of which a label can be drawn; "
            f"got {list(logits.shape)}, choose fisher: false"
        )
    if logits.shape[1] == 1:
        return torch.autograd.grad(logits.sum(), outputs)
    labels = torch.multinomial(logits.detach().softmax(dim=1).cpu(), 1, generator=generator).squeeze(1)
    return torch.autograd.grad(F.cross_entropy(logits, labels.to(logits.device), reduction="sum"), outputs)
