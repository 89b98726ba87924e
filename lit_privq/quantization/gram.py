"""Second moments of a layer's inputs, made ready for a solver: dead inputs, damping, re-targeted weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lit_privq.quantization.layers import Layer, columns, unfolding
from lit_privq.quantization.method import LayerProblem, check_finite
from lit_privq.quantization.solution import Quantized

logger = logging.getLogger(__name__)

RAISES = 12  # how often a damping that does not suffice is raised tenfold
_BLOCK = 2**24  # numbers in one unfolded block of inputs; larger blocks are not faster, only larger


def gram(layer: Layer, inputs: Tensor) -> Tensor:
    """Second moments of the inputs of a layer, 2/n sum x x^T over examples and output positions.

    Products of a block of examples are taken in the inputs' own precision and summed in float64, so that the order of
    the examples does not matter beyond rounding. Half of E gram E^T is the squared output error per position.

    Args:
        layer: a layer that can be quantized.
        inputs: of one model, (examples, ...).

    Returns:
        (groups, columns, columns) float64.

    Raises:
        ValueError: if there is no example.

    >>> gram(torch.nn.Linear(2, 1), torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
    tensor([[[2., 2.],
             [2., 4.]]], dtype=torch.float64)
    """
    return gram_and_cross(layer, inputs, inputs[None])[0]


def gram_and_cross(layer: Layer, floats: Tensor, quantized: Tensor) -> tuple[Tensor, Tensor]:
    """Second moments of a layer's inputs in the quantized copies of one network, and with those of the network itself.

    Args:
        layer: a layer that can be quantized.
        floats: inputs in the float network, (examples, ...).
        quantized: inputs in its copies, (precisions, examples, ...).

    Returns:
        2/n sum x_quantized x_quantized^T and 2/n sum x_float x_quantized^T, both (precisions * groups, columns,
        columns) float64.

    Raises:
        ValueError: if there is no example.
    """
    if not floats.numel():
        raise ValueError(f"a gram matrix needs at least one calibration example; got inputs {list(floats.shape)}")
    sums: list[Tensor] = []  # gram and cross of the first copy, of the second, ...
    positions = 0
    for rows in _blocks(layer, floats):
        theirs = columns(layer, floats[rows])  # (groups, columns, positions)
        own = [columns(layer, inputs[rows]) for inputs in quantized]
        products = [product for one in own for product in ((one @ one.mT).double(), (theirs @ one.mT).double())]
        sums = [total + product for total, product in zip(sums, products, strict=True)] if sums else products
        positions += theirs.shape[-1]
    return torch.cat(sums[::2]) * (2 / positions), torch.cat(sums[1::2]) * (2 / positions)


def _blocks(layer: Layer, inputs: Tensor) -> Iterator[slice]:
    """Slices of examples whose unfolded inputs stay within the block size."""
    size = max(1, _BLOCK // max(1, inputs[0].numel() * unfolding(layer)))
    return (slice(start, start + size) for start in range(0, len(inputs), size))


@dataclass(frozen=True)
class Conditioned:
    """Damped second moments and the weights to approach, in the weight's type, for a second-order solver.

    Columns are sorted by the power of their input, weakest first: GPTQ rounds from the last column to the first, and
    the strongest inputs first is its act-order.

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
        """Inverse of the gram matrix, (models, columns, columns), computed in float64."""
        return torch.cholesky_inverse(self.cholesky).to(self.target)

    def feedback(self) -> Tensor:
        """A of H = A D A^T with D diagonal: (models, columns, columns), lower triangular with a diagonal of 1."""
        return (self.cholesky / self.cholesky.diagonal(dim1=1, dim2=2).unsqueeze(1)).to(self.target)

    def restore(self, quantized: Quantized) -> Quantized:
        """The codes with their columns in the layer's own order."""
        return replace(quantized, codes=self.restored(quantized.codes))

    def restored(self, matrix: Tensor) -> Tensor:
        """(models, rows, columns) with their columns in the layer's own order."""
        return torch.empty_like(matrix).scatter_(2, self.order.unsqueeze(1).expand_as(matrix), matrix)


def condition(layer: LayerProblem, damping: float) -> Conditioned:
    """Damp the gram matrix until it is positive definite, and re-target the weights to it.

    Inputs that are always 0 (dead) get a diagonal of 1 and weight 0, as no weight changes the output there. With
    `cross` the target is the weight that best reproduces the float output from the inputs of the quantized layer,
    (W C + damping W) H^-1: least squares, with the float weight in the directions that the inputs do not determine.

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
    # In float64: in float32 the factorisation of a nearly singular matrix depends on the device.
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
    """Cholesky factors, with diagonals raised in place where needed; by how much beside the damping, (models, 1)."""
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
