from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lit_privq.models.small import small_resnet
from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.grid import Grid, Paper, Search2d, Widened
from lit_privq.quantization.method import Method, Quantized, looks
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer

DATA = torch.randn(1, 12, 1, 8, 8, generator=torch.Generator().manual_seed(9))


def first_layer(method: Method) -> Quantized:
    """Of a small network, quantized in whole."""
    torch.manual_seed(0)
    quantizer = NetworkQuantizer([small_resnet(num_classes=3, width=4).eval()], DATA, method, [2], [0])
    for _ in quantizer.units:
        quantizer.step()
    return quantizer.codes(0, 0)["conv1"]


def test_a_method_that_looks_at_both_is_given_both() -> None:
    both = AdaRound(grid=Paper(by_output=True))
    assert looks(both, at="gram")
    assert looks(both, at="activations")
    assert not looks(Nearest(), at="gram")
    assert not looks(Nearest(), at="activations")


def test_gram_matrices_are_collected_only_where_the_grid_or_the_loss_asks_for_them() -> None:
    chosen = Search2d(by_output=True)
    assert not looks(AdaRound(), at="gram")
    assert not looks(AdaRound(grid=chosen, start=Nearest()), at="gram")  # its grid is the start's
    assert not looks(AdaRound(grid=chosen, linear_target=True), at="activations")


@pytest.mark.parametrize(
    "method", [AdaRound(iterations=2, batch_size=4), BRECQ(iterations=2, batch_size=4)], ids=["adaround", "brecq"]
)
@pytest.mark.parametrize(
    "grid",
    [Paper(by_output=True), Search2d(ranges=8, by_output=True), Widened(Paper(by_output=True), 0.3)],
    ids=["paper", "search2d", "widened"],
)
def test_learned_rounding_takes_grids_that_are_chosen_by_output_error(method: AdaRound, grid: Grid) -> None:
    learned = first_layer(replace(method, grid=grid))
    wanted = first_layer(Nearest(grid=grid))  # the first layer's inputs are the images, for both
    torch.testing.assert_close(learned.scale, wanted.scale)
    torch.testing.assert_close(learned.zero, wanted.zero)
