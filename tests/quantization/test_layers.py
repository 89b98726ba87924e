from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from lit_privq.quantization.gram import gram
from lit_privq.quantization.layers import Layer, columns, n_groups, to_matrix, to_weight

LAYERS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "3x3": (nn.Conv2d(3, 5, 3, padding=1), (7, 3, 6, 5)),
    "strided": (nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), (7, 4, 7, 7)),
    "dilated": (nn.Conv2d(2, 3, 3, dilation=2, padding=2), (5, 2, 8, 8)),
    "oblong": (nn.Conv2d(2, 3, (1, 3), padding=(0, 1), stride=(2, 1)), (5, 2, 5, 6)),
    "same": (nn.Conv2d(2, 3, (3, 5), padding="same", dilation=2), (5, 2, 5, 6)),
    "valid": (nn.Conv2d(2, 3, 3, padding="valid"), (5, 2, 5, 6)),
    "reflected": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (5, 2, 5, 6)),
    "1x1": (nn.Conv2d(4, 6, 1, stride=2, padding=1), (7, 4, 5, 5)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (7, 4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), (7, 4, 5, 5)),
    "linear": (nn.Linear(6, 3), (9, 6)),
    "tokens": (nn.Linear(6, 3), (4, 5, 6)),
}


def linear_output(layer: Layer, inputs: Tensor) -> Tensor:
    """The layer's output without its bias, (groups, rows, positions), by torch's own forward."""
    with torch.no_grad():
        output = layer(inputs) - layer(torch.zeros_like(inputs))
    if isinstance(layer, nn.Linear):
        return cast(Tensor, output.flatten(0, -2).T[None])
    return cast(Tensor, output.unflatten(1, (layer.groups, -1)).permute(1, 2, 0, 3, 4).flatten(2))


@pytest.mark.parametrize("name", LAYERS)
def test_matrix_times_columns_is_what_the_layer_computes(name: str) -> None:
    layer, shape = LAYERS[name]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    matrix = to_matrix(layer, layer.weight.detach()[None])  # (groups, rows, columns)
    assert len(matrix) == n_groups(layer)
    torch.testing.assert_close(matrix @ columns(layer, inputs), linear_output(layer, inputs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_half_the_quadratic_form_of_gram_is_the_mean_squared_output(name: str) -> None:
    layer, shape = LAYERS[name]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    matrix = to_matrix(layer, layer.weight.detach()[None]).double()
    moments = gram(layer, inputs)
    assert moments.dtype == torch.float64
    expected = linear_output(layer, inputs).double().square().mean(dim=2).sum()
    torch.testing.assert_close((matrix @ moments * matrix).sum() / 2, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_a_weight_comes_back_from_its_matrix(name: str) -> None:
    layer, _ = LAYERS[name]
    weights = torch.stack([layer.weight.detach(), 2 * layer.weight.detach()])  # (models, ...)
    assert torch.equal(to_weight(layer, to_matrix(layer, weights)), weights)
