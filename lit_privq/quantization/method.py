"""The interface of a quantizer: the problems that it is given and the solutions that it returns, model axis first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from lit_privq.quantization.solution import Quantized


def levels_from_bits(bits: float) -> int:
    """Points of the grid at a precision: ``round(2 ** bits)``.

    Raises:
        ValueError: if ``bits`` is below 1 or above 8, as a code is stored in one byte.

    >>> [levels_from_bits(bits) for bits in (1, 1.58, 2, 4, 8)]
    [2, 3, 4, 16, 256]
    """
    if not 1 <= bits <= 8:
        raise ValueError(
            f"bits must lie between 1 and 8 (1, 1.58, 2, 4, 8 are usual), as a code is stored in one byte; got {bits}"
        )
    return round(2**bits)


@dataclass(frozen=True)
class LayerProblem:
    """One layer of F models as matrices; rows are output channels, columns are inputs times kernel.

    Args:
        name: the layer's name in the network, for errors and reports.
        weight: (models, rows, columns), full precision.
        levels: (models,) integer.
        gram: (models, columns, columns), H = 2/n sum x x^T over examples and output positions, of the inputs
            the quantized layer will see (the quantized prefix's, or the float network's where the method asks for
            these); None unless the method needs it.
        cross: (models, columns, columns), 2/n sum x_float x_quantized^T; None where inputs are the float network's.
    """

    name: str
    weight: Tensor
    levels: Tensor
    gram: Tensor | None = None
    cross: Tensor | None = None


@dataclass(frozen=True)
class UnitProblem:
    """What is quantized in one go: a layer, or a block of layers.

    Args:
        name: the unit's name in the network.
        layers: the layers inside, in the order they run.
        inputs: tensors (models, examples, ...) that enter the unit in the quantized network; empty unless the method
            needs activations.
        target: (models, examples, ...), what leaves the unit in the float network.
        forward: weights per layer (models, rows, columns) and a batch of inputs (models, batch, ...) -> output
            (models, batch, ...); differentiable, all models in one call.
        seeds: one per model, for methods that draw random numbers.
        start: another method's solution of the same layers, for methods that improve on one; see `HasStart`.
        importance: (models, ...) like the target without its examples, mean 1: how much each output matters to the
            network's prediction; None unless the method asks for it.
        channel_axis: of the target and of what `forward` returns: 2 behind a convolution, the last behind a
            linear layer.
    """

    name: str
    layers: Mapping[str, LayerProblem]
    inputs: tuple[Tensor, ...]
    target: Tensor
    forward: Callable[[Mapping[str, Tensor], tuple[Tensor, ...]], Tensor]
    seeds: tuple[int, ...]
    start: Mapping[str, Quantized] | None = None
    importance: Tensor | None = None
    channel_axis: int = 2


class Method(Protocol):
    """A quantizer that is run after training, or a pruning: a frozen dataclass whose fields are its options."""

    @property
    def needs_gram(self) -> bool:
        """Whether each `LayerProblem` must hold the gram matrix of the layer's inputs."""

    @property
    def needs_activations(self) -> bool:
        """Whether `UnitProblem` must hold the unit's inputs and its float output on the calibration images."""

    @property
    def unit(self) -> str:
        """Whether it solves one "layer" or one "block" at a time."""

    @property
    def inputs(self) -> str:
        """Whose activations feed gram and inputs: the "float" network's or the "quantized" prefix's."""

    # Any, as each method names its own kind of solution, and jsonargparse would want the very type that stands here.
    def solve(self, problem: UnitProblem) -> Any:  # noqa: ANN401
        """Quantize or prune every layer of the unit, for all models at once: a `Solution` by the layer's name."""


@runtime_checkable
class HasStart(Method, Protocol):
    """A method that may start from the solution of another, which the engine runs first, layer by layer."""

    @property
    def start(self) -> Method | None:
        """The method whose solution it starts from; None to start from its own grid."""


@runtime_checkable
class HasFisher(Method, Protocol):
    """A method that may ask for the Fisher importance of the outputs of each unit."""

    @property
    def fisher(self) -> bool:
        """Whether it asks for `UnitProblem.importance`."""


def check_method(method: Method) -> None:
    """Refuse an object that is not a method, before any work is done for it.

    Raises:
        ValueError: if it lacks a member of `Method`, or one of these has a value that the engine does not know.
    """
    missing = [
        name for name in ("needs_gram", "needs_activations", "unit", "inputs", "solve") if not hasattr(method, name)
    ]
    if missing:
        raise ValueError(
            f"a quantizer has needs_gram, needs_activations, unit, inputs and solve, as lit_privq.quantization.method "
            f"says; {type(method).__name__} lacks {', '.join(missing)}"
        )
    check_options((method.unit in ("layer", "block"), 'unit must be "layer" or "block"', repr(method.unit)))
    check_inputs(method.inputs)


def check_finite(problem: LayerProblem) -> None:
    """Refuse a layer whose weights or statistics hold NaN or infinity.

    Raises:
        ValueError: naming the layer, what is not finite, and the model.
    """
    for what, value in (("weight", problem.weight), ("gram matrix", problem.gram), ("cross matrix", problem.cross)):
        if value is None:
            continue
        bad = ~torch.isfinite(value).flatten(1).all(dim=1)  # (models,)
        if bad.any():
            model = int(bad.nonzero()[0, 0])
            raise ValueError(
                f"layer {problem.name}: the {what} of model {model} is not finite; "
                "check the checkpoint and the calibration images for NaN or overflow"
            )


def check_options(*rules: tuple[bool, str, object]) -> None:
    """Refuse the first option that breaks its rule, or is an infinite number.

    Args:
        rules: whether it holds, what must hold, and what was got.

    Raises:
        ValueError: with the rule that is broken.

    >>> check_options((2 >= 1, "ranges must be at least 1", 2))
    """
    for holds, must, got in rules:
        if not holds:
            raise ValueError(f"{must}; got {got}")
        if isinstance(got, float) and math.isinf(got):
            raise ValueError(f"{must}, and finite; got {got}")


def check_inputs(inputs: str) -> None:
    """Refuse other inputs than the float or the quantized network's.

    Raises:
        ValueError: naming both.
    """
    check_options((inputs in ("float", "quantized"), 'inputs must be "float" or "quantized"', repr(inputs)))
