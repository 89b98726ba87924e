from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from lit_privq.quantization.gram import gram
from lit_privq.quantization.layers import (
    Layer,
    columns,
    modules_of,
    n_groups,
    parameter_name,
    to_matrix,
    to_weight,
)

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
    "signal": (nn.Conv1d(4, 6, 3, padding=1, stride=2), (7, 4, 9)),
    "signal, grouped": (nn.Conv1d(4, 6, 3, dilation=2, padding="same", groups=2, padding_mode="circular"), (7, 4, 9)),
    "signal, 1": (nn.Conv1d(4, 6, 1, stride=2), (7, 4, 9)),
    "transposed": (nn.ConvTranspose2d(3, 5, 3), (7, 3, 4, 5)),
    "transposed, strided": (nn.ConvTranspose2d(3, 5, (3, 2), (2, 3), padding=1, output_padding=(1, 2)), (7, 3, 4, 5)),
    "transposed, cropped": (nn.ConvTranspose2d(3, 5, 2, 2, padding=2), (7, 3, 4, 5)),
    "transposed, grouped": (nn.ConvTranspose2d(4, 6, 3, dilation=2, groups=2), (7, 4, 4, 5)),
    "linear": (nn.Linear(6, 3), (9, 6)),
    "tokens": (nn.Linear(6, 3), (4, 5, 6)),
}


def linear_output(layer: Layer, inputs: Tensor) -> Tensor:
    """The layer's output without its bias, (groups, rows, positions), by torch's own forward."""
    with torch.no_grad():
        output = layer(inputs) - layer(torch.zeros_like(inputs))
    if isinstance(layer, nn.Linear):
        return cast(Tensor, output.flatten(0, -2).T[None])
    assert not isinstance(layer, nn.Embedding)
    return cast(Tensor, output.flatten(2).unflatten(1, (layer.groups, -1)).permute(1, 2, 0, 3).flatten(2))


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


def test_a_row_of_an_embedding_is_the_vector_of_a_token() -> None:
    layer = nn.Embedding(7, 3)
    matrix = to_matrix(layer, layer.weight.detach()[None])
    assert torch.equal(matrix[0], layer.weight)
    assert torch.equal(to_weight(layer, matrix)[0], layer.weight)
    assert torch.equal(columns(layer, torch.tensor([[2, 2], [0, 6]])), torch.eye(3)[None])  # whatever the tokens


def test_a_row_of_a_transposed_convolution_makes_one_output_channel() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2)
    matrix = to_matrix(layer, layer.weight.detach()[None])  # (groups, out / groups, columns)
    matrix[1, 2] = 0  # the last channel of the last group
    with torch.no_grad():
        layer.weight.copy_(to_weight(layer, matrix)[0])
        output = layer(torch.randn(2, 4, 5, 5)) - cast(Tensor, layer.bias).view(-1, 1, 1)
    assert [bool(channel.abs().sum() == 0) for channel in output.transpose(0, 1)] == [False] * 5 + [True]


def test_rows_of_all_groups_may_be_in_one_matrix() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2)
    matrix = to_matrix(layer, layer.weight.detach()[None])
    assert torch.equal(to_weight(layer, matrix.flatten(0, 1)[None])[0], layer.weight)


def test_the_input_projection_of_attention_is_a_layer_that_holds_the_attentions_parameter() -> None:
    net = nn.Sequential(nn.MultiheadAttention(4, 2))
    layer = cast(nn.Linear, modules_of(net)["0.in_proj"])
    assert layer.weight is net[0].in_proj_weight
    assert layer.bias is net[0].in_proj_bias
    assert parameter_name(net, "0.in_proj") == "0.in_proj_weight"
    assert parameter_name(net, "0.out_proj") == "0.out_proj.weight"
    assert "0.in_proj" not in modules_of(nn.Sequential(nn.MultiheadAttention(4, 2, kdim=3)))
