"""Gradual rounding: weights near their points first, a few at a time, and the open ones make up for it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lit_privq.quantization.grid import Affine
from lit_privq.quantization.method import Quantized


def gradual_rounding(
    target: Tensor, gram: Tensor, affine: Affine, levels: Tensor, rounds: int, iterations: int
) -> Quantized:
    """Round the greedy order's way, every row its own, without an inverse per row.

    In each round every row sets the open weights that lie nearest to a point of its grid; weights that have left the
    grid by more than half a step go before all others, as in OBQ. Then the open weights descend to the least output
    error that the set ones allow, by conjugate gradients: products with one gram matrix, shared by all rows of a model.

    Args:
        target: (models, rows, columns), the weights to approach.
        gram: (models, columns, columns), positive definite.
        affine: scale and zero, (models, rows, 1) each.
        levels: (models,).
        rounds: in how many rounds all columns are set; more is better and slower.
        iterations: of conjugate gradients after each round.
    """
    scale, zero = affine
    wanted = target / scale + zero  # in units of codes, (models, rows, columns)
    last = (levels - 1).to(target).view(-1, 1, 1)
    weight, fixed = wanted, torch.zeros_like(wanted, dtype=torch.bool)
    for n_fixed in _schedule(target.shape[2], rounds):
        codes = weight.round().clamp_(min=0).minimum(last)
        error = (weight - codes).square_()
        turn = torch.where(error > 0.25, -error, error).masked_fill_(fixed, -torch.inf)
        fixed = turn <= turn.kthvalue(n_fixed, dim=2, keepdim=True).values
        weight = torch.where(fixed, codes, weight)
        if n_fixed < target.shape[2]:
            weight = _relaxed(weight, wanted, gram, ~fixed, iterations)
    return Quantized(weight, scale, zero, levels)


def _schedule(columns: int, rounds: int) -> Iterator[int]:
    """How many columns are set after each round; later rounds set fewer, when fewer are left to make up for them."""
    return (math.ceil(columns * (step / rounds) ** 0.7) for step in range(1, rounds + 1))


def _relaxed(weight: Tensor, wanted: Tensor, gram: Tensor, free: Tensor, iterations: int) -> Tensor:
    """Let the free weights descend to the least error: conjugate gradients, scaled by the gram's diagonal."""
    scaling = free / gram.diagonal(dim1=1, dim2=2).unsqueeze(1)  # zero where a weight is set
    residual = (wanted - weight) @ gram  # (models, rows, columns)
    direction = scaling * residual
    power = (residual * direction).sum(dim=2, keepdim=True)  # (models, rows, 1)
    least = torch.finfo(weight.dtype).tiny
    for _ in range(iterations):
        image = direction @ gram
        step = power / (direction * image).sum(dim=2, keepdim=True).clamp_min(least)
        weight = torch.addcmul(weight, step, direction)
        residual = torch.addcmul(residual, step, image, value=-1)
        scaled = scaling * residual
        before, power = power, (residual * scaled).sum(dim=2, keepdim=True)
        direction = torch.addcmul(scaled, power / before.clamp_min(least), direction)
    return weight
