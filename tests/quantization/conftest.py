from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lit_privq.quantization.method import LayerProblem, UnitProblem

MakeLayer = Callable[..., LayerProblem]


def layer_problem(
    models: int = 2,
    rows: int = 6,
    columns: int = 24,
    levels: int | list[int] = 4,
    seed: int = 0,
    examples: int | None = None,
    dtype: torch.dtype = torch.float32,
    shifted: bool = False,
) -> LayerProblem:
    """Weights of several sizes per row and the gram matrix of rectified, correlated inputs.

    With `shifted` the gram matrix is of perturbed inputs, and `cross` ties them to the unperturbed ones.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n_examples = examples or 4 * columns
    mixing = torch.eye(columns, dtype=torch.float64) + 0.7 * normal(models, columns, columns) / columns**0.5
    inputs = (normal(models, n_examples, columns) @ mixing).relu()  # (models, examples, columns)
    weight = normal(models, rows, columns) * (0.2 + torch.rand(models, rows, 1, generator=generator))
    seen = (inputs + 0.2 * normal(*inputs.shape)).relu() if shifted else inputs
    return LayerProblem(
        name="block.conv",
        weight=weight.to(dtype),
        levels=torch.as_tensor(levels).expand(models).clone(),
        gram=2 / n_examples * seen.mT @ seen,
        cross=2 / n_examples * inputs.mT @ seen if shifted else None,
    )


def unit_of(layer: LayerProblem) -> UnitProblem:
    """A unit of one layer, for methods that look at no activations."""
    return UnitProblem(
        "block", {layer.name: layer}, (), torch.empty(0), lambda weights, inputs: inputs[0], (0,) * len(layer.weight)
    )


@pytest.fixture
def make_layer() -> MakeLayer:
    return layer_problem


@pytest.fixture
def make_unit() -> Callable[[LayerProblem], UnitProblem]:
    return unit_of
