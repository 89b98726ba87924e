"""A layer's statistics made ready for a solver: dead inputs, damping, and the target under quantized inputs."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_privq.quantization.problem import LayerProblem, check_finite

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conditioned:
    """What a second-order solver works on, in float64.

    Args:
        target: (models, rows, columns), the weights to approach in the metric of the gram matrix.
        gram: (models, columns, columns), damped, positive definite.
        cholesky: (models, columns, columns), its lower triangular factor.
        dead: (models, 1, columns), inputs that were 0 throughout calibration.
    """

    target: Tensor
    gram: Tensor
    cholesky: Tensor
    dead: Tensor


def condition(problem: LayerProblem, damping: float) -> Conditioned:
    """Damp the gram matrix until it is positive definite, and re-target the weights to it.

    Dead inputs get a diagonal of 1 and, as nothing speaks for any other value, weight 0. With `cross` the target
    is the weight that best reproduces the float output from the inputs the quantized layer really sees,
    (W C + damping W) H^-1: least squares, pulled to the float weight where the inputs do not decide.

    Args:
        problem: a layer with its gram matrix.
        damping: added to the diagonal, as a fraction of its mean; raised tenfold, and logged, for models where
            this does not suffice.

    Raises:
        ValueError: if the layer has no gram matrix, or one that is not finite.
    """
    if problem.gram is None:
        raise ValueError(f"layer {problem.name}: this method needs a gram matrix; give the engine calibration data")
    check_finite(problem)
    weight, gram = problem.weight.double(), problem.gram.double().clone()
    diagonal = gram.diagonal(dim1=1, dim2=2)  # a view: (models, columns)
    dead = diagonal <= 0
    mean = diagonal.mean(dim=1, keepdim=True)
    mean = torch.where(mean > 0, mean, 1.0)
    if damping > 0:
        diagonal += damping * mean
    diagonal.masked_fill_(dead, 1.0)
    dead = dead.unsqueeze(1)  # (models, 1, columns)
    weight = weight.masked_fill(dead, 0.0)
    extra, cholesky = _factorise(problem.name, gram, damping * mean)
    if problem.cross is None:
        return Conditioned(weight, gram, cholesky, dead)
    wanted = weight @ problem.cross.double() + weight * (damping * mean + extra).unsqueeze(2)
    target = torch.cholesky_solve(wanted.mT, cholesky).mT  # (models, rows, columns)
    return Conditioned(target.masked_fill(dead, 0.0), gram, cholesky, dead)


def _factorise(name: str, gram: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """What had to be added to each diagonal in place, (models, 1), and the Cholesky factor."""
    diagonal = gram.diagonal(dim1=1, dim2=2)
    step = added.clamp_min(1e-6 * float(diagonal.mean()))
    extra = torch.zeros_like(added)
    for _ in range(12):
        cholesky, info = torch.linalg.cholesky_ex(gram)
        failed = (info != 0).unsqueeze(1)  # (models, 1)
        if not failed.any():
            return extra, cholesky
        more = torch.where(failed, 9 * step, 0.0)
        diagonal += more
        extra += more
        step = torch.where(failed, 10 * step, step)
        logger.info("layer %s: the gram matrix of %d models is rank-deficient; damped more", name, int(failed.sum()))
    raise ValueError(f"layer {name}: the gram matrix cannot be made positive definite; is it symmetric?")
