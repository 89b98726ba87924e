from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from lit_privq.models.small import small_resnet
from lit_privq.quantization.adaround import AdaRound
from lit_privq.quantization.brecq import BRECQ
from lit_privq.quantization.grid import Grid, RangeSearch, RangeZeroSearch, Widened
from lit_privq.quantization.method import Method, UnitProblem
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.network import NetworkQuantizer
from lit_privq.quantization.solution import Quantized

DATA = torch.randn(1, 12, 1, 8, 8, generator=torch.Generator().manual_seed(9))


def first_layer(method: Method) -> Quantized:
    """Of a small network, quantized in whole."""
    torch.manual_seed(0)
    quantizer = NetworkQuantizer([small_resnet(num_classes=3, width=4).eval()], DATA, method, [2], [0])
    for _ in quantizer.units:
        quantizer.step()
    return quantizer.codes(0, 0)["conv1"]


def test_a_method_may_need_gram_matrices_and_activations() -> None:
    both = AdaRound(grid=RangeSearch(by_output=True))
    assert both.needs_gram
    assert both.needs_activations
    assert not Nearest().needs_gram
    assert not Nearest().needs_activations


@dataclass(frozen=True)
class Typo:
    """A method whose author wrote `need_gram`."""

    need_gram: bool = True
    needs_activations: bool = False
    unit: str = "layer"
    inputs: str = "float"

    def solve(self, problem: UnitProblem) -> dict[str, Quantized]:
        return Nearest().solve(problem)


@dataclass(frozen=True)
class Whole(Typo):
    """The same without the typo."""

    needs_gram: bool = True


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Typo(), "a quantizer has needs_gram, .*; Typo lacks needs_gram"),
        (object(), "object lacks needs_gram, needs_activations, unit, inputs, solve"),
        (Whole(unit="blocks"), 'unit must be "layer" or "block"; got \'blocks\''),
        (Whole(inputs="quantised"), 'inputs must be "float" or "quantized"; got \'quantised\''),
    ],
    ids=["a typo", "no method", "unit", "inputs"],
)
def test_a_misspelt_method_is_refused_before_any_work(method: Method, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkQuantizer([], DATA, method, [2], [])


def test_gram_matrices_are_collected_only_where_the_grid_or_the_loss_asks_for_them() -> None:
    chosen = RangeZeroSearch(by_output=True)
    assert not AdaRound().needs_gram
    assert not AdaRound(grid=chosen, start=Nearest()).needs_gram  # its grid is the start's
    assert not AdaRound(grid=chosen, linear_target=True).needs_activations


@pytest.mark.parametrize(
    "method", [AdaRound(iterations=2, batch_size=4), BRECQ(iterations=2, batch_size=4)], ids=["adaround", "brecq"]
)
@pytest.mark.parametrize(
    "grid",
    [RangeSearch(by_output=True), RangeZeroSearch(ranges=8, by_output=True), Widened(RangeSearch(by_output=True), 0.3)],
    ids=["paper", "search2d", "widened"],
)
def test_learned_rounding_takes_grids_that_are_chosen_by_output_error(method: AdaRound, grid: Grid) -> None:
    learned = first_layer(replace(method, grid=grid))
    wanted = first_layer(Nearest(grid=grid))  # the first layer's inputs are the images, for both
    torch.testing.assert_close(learned.scale, wanted.scale)
    torch.testing.assert_close(learned.zero, wanted.zero)
