from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lit_privq.api import quantize
from lit_privq.artifacts.codes import restore_weights, stored_weight, with_weights, without_weights
from lit_privq.quantization.magnitude_prune import MagnitudePrune
from lit_privq.quantization.nearest import Nearest


def quantized() -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """A state and its quantized layers."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ConvTranspose2d(4, 6, 2, groups=2), nn.Flatten(), nn.Linear(294, 3)
    ).eval()
    small = quantize(net, torch.randn(6, 1, 8, 8), Nearest(), {"*": 2, "3": 8})
    return small.net.state_dict(), small.layers()


def test_weights_follow_from_codes_bit_for_bit() -> None:
    state, layers = quantized()
    short = without_weights(state, layers)
    assert set(short) == {"0.bias", "1.bias", "3.bias"}
    again = with_weights(short, layers)
    assert again.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in again.items())


def test_codes_take_one_byte() -> None:
    _, layers = quantized()
    assert {layer["codes"].dtype for layer in layers.values()} == {torch.uint8}
    assert layers["3"]["codes"].max() > 127  # all of the byte


def test_a_weight_that_left_its_grid_is_not_dropped() -> None:
    state, layers = quantized()
    state["0.weight"][0, 0, 0, 0] += 1e-3
    with pytest.raises(ValueError, match="layer 0: its weight is not the one that is stored for it"):
        without_weights(state, layers)


def test_a_weight_that_is_there_is_kept() -> None:
    state, layers = quantized()
    moved = {**state, "0.weight": state["0.weight"] + 1}
    assert torch.equal(with_weights(moved, layers)["0.weight"], moved["0.weight"])


def test_a_checkpoint_in_full_precision_is_left_alone() -> None:
    checkpoint: dict[str, Any] = {"state_dict": {"net.weight": torch.ones(1)}}
    restore_weights(checkpoint)
    assert checkpoint == {"state_dict": {"net.weight": torch.ones(1)}}


def test_the_weight_of_a_transposed_convolution_comes_back_in_its_own_shape() -> None:
    state, layers = quantized()
    assert stored_weight(layers["1"]).shape == (4, 3, 2, 2)
    assert torch.equal(stored_weight(layers["1"]), state["1.weight"])


def test_weights_follow_from_the_values_that_pruning_keeps_bit_for_bit() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ConvTranspose2d(4, 6, 2, groups=2), nn.Flatten(), nn.Linear(294, 3)
    ).eval()
    small = quantize(net, torch.randn(6, 1, 8, 8), MagnitudePrune(), {"*": 2, "3": 8})
    state, layers = small.net.state_dict(), small.layers()
    assert all(len(layer["values"]) == int(layer["kept"].sum()) < layer["kept"].numel() for layer in layers.values())
    again = with_weights(without_weights(state, layers), layers)
    assert all(torch.equal(value, state[name]) for name, value in again.items())
