"""A layer's statistics made ready for a solver: dead inputs, damping, and the target under quantized inputs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lit_privq.quantization.method import LayerProblem, Quantized, check_finite

logger = logging.getLogger(__name__)

RAISES = 12
"""How often a damping that does not suffice is raised tenfold."""


@dataclass(frozen=True)
class Conditioned:
    """What a second-order solver works on, in the weight's type; columns sorted by their input's power, weakest first.

    Args:
        target: (models, rows, columns), the weights to approach in the metric of the gram matrix.
        gram: (models, columns, columns), damped, positive definite.
        cholesky: (models, columns, columns) float64, its lower triangular factor.
        order: (models, columns), the original place of each sorted column.
    """

    target: Tensor
    gram: Tensor
    cholesky: Tensor
    order: Tensor

    def inverse(self) -> Tensor:
        """Of the gram matrix, taken in float64."""
        return torch.cholesky_inverse(self.cholesky).to(self.target)

    def feedback(self) -> Tensor:
        """A of H = A D A^T, D diagonal: lower triangular with a diagonal of 1."""
        return (self.cholesky / self.cholesky.diagonal(dim1=1, dim2=2).unsqueeze(1)).to(self.target)

    def restore(self, quantized: Quantized) -> Quantized:
        """The codes back in the layer's own order of columns."""
        place = self.order.unsqueeze(1).expand_as(quantized.codes)
        return replace(quantized, codes=torch.empty_like(quantized.codes).scatter_(2, place, quantized.codes))


def condition(layer: LayerProblem, damping: float) -> Conditioned:
    """Damp the gram matrix until it is positive definite, and re-target the weights to it.

    Dead inputs get a diagonal of 1 and, as nothing speaks for any other value, weight 0. With `cross` the target
    is the weight that best reproduces the float output from the inputs the quantized layer really sees,
    (W C + damping W) H^-1: least squares, pulled to the float weight where the inputs do not decide.

    Args:
        layer: with its gram matrix.
        damping: added to the diagonal, as a fraction of its mean; raised tenfold, and logged, for models where
            this does not suffice.

    Raises:
        ValueError: if the layer has no gram matrix, or one that is not finite or not symmetric.
    """
    if layer.gram is None:
        raise ValueError(f"layer {layer.name}: this method needs a gram matrix; give the engine calibration data")
    check_finite(layer)
    power = layer.gram.diagonal(dim1=1, dim2=2)  # (models, columns)
    order = power.argsort(dim=1, stable=True)
    model = torch.arange(len(order), device=order.device).view(-1, 1, 1)
    gram = layer.gram[model, order.unsqueeze(2), order.unsqueeze(1)].double()
    weight = layer.weight.double().gather(2, order.unsqueeze(1).expand_as(layer.weight))

    diagonal = gram.diagonal(dim1=1, dim2=2)  # a view: (models, columns)
    dead = diagonal <= 0
    mean = diagonal.mean(dim=1, keepdim=True)  # (models, 1)
    mean = torch.where(mean > 0, mean, 1.0)
    diagonal += damping * mean
    diagonal.masked_fill_(dead, 1.0)
    weight = weight.masked_fill(dead.unsqueeze(1), 0.0)
    extra, cholesky = _factorise(layer.name, gram, damping * mean, 1e-6 * mean)
    if layer.cross is not None:
        cross = layer.cross.double().gather(2, order.unsqueeze(1).expand_as(layer.cross))
        wanted = layer.weight.double() @ cross + weight * (damping * mean + extra).unsqueeze(2)
        weight = torch.cholesky_solve(wanted.mT, cholesky).mT  # (models, rows, columns)
        weight = weight.masked_fill(dead.unsqueeze(1), 0.0)
    return Conditioned(weight.to(layer.weight), gram.to(layer.weight), cholesky, order)


def _factorise(name: str, gram: Tensor, damping: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """What had to be added to each diagonal, in place and beside the damping, (models, 1), and the Cholesky factor."""
    diagonal, extra = gram.diagonal(dim1=1, dim2=2), torch.zeros_like(damping)
    for _ in range(RAISES):
        cholesky, info = torch.linalg.cholesky_ex(gram)
        failed = (info != 0).unsqueeze(1)  # (models, 1)
        if not failed.any():
            return extra, cholesky
        logger.info("layer %s: the gram matrices of %d models are rank-deficient; damped more", name, int(failed.sum()))
        more = torch.where(failed, torch.maximum(9 * (damping + extra), least), 0.0)
        diagonal += more
        extra = extra + more
    raise ValueError(
        f"layer {name}: the gram matrix is not positive definite, whatever the damping; "
        "it must be symmetric, the sum of x x^T over calibration inputs"
    )
