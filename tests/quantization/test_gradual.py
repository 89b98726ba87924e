from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lit_privq.quantization.gptq import gptq_rounding
from lit_privq.quantization.gradual import gradual_rounding
from lit_privq.quantization.gram import condition
from lit_privq.quantization.grid import RangeSearch, output_error, quantize_to
from lit_privq.quantization.method import LayerProblem
from lit_privq.quantization.obc import obq_rounding
from lit_privq.quantization.solution import Quantized

MakeLayer = Callable[..., LayerProblem]
ONE = torch.ones(1, 1, 1)


def test_uncorrelated_inputs_make_it_nearest_rounding(make_layer: MakeLayer) -> None:
    layer = make_layer()
    affine = RangeSearch().fit(layer.weight, layer.levels)
    found = gradual_rounding(layer.weight, torch.eye(24).expand(2, -1, -1), affine, layer.levels, 8, 4)
    assert torch.equal(found.codes, quantize_to(layer.weight, affine, layer.levels).codes)


def test_two_columns_by_hand() -> None:
    # The second weight, 0.1 from its point, is set first; the first, at 0.45, then wants 0.45 - 0.1 * 0.9 = 0.36.
    gram = torch.tensor([[[1.0, 0.9], [0.9, 1.0]]])
    found = gradual_rounding(torch.tensor([[[0.45, 0.9]]]), gram, (ONE, 0 * ONE), torch.tensor([3]), 4, 2)
    assert found.codes.tolist() == [[[0.0, 1.0]]]
    # With opposite inputs it wants 0.45 + 0.1 * 0.9 = 0.54.
    found = gradual_rounding(torch.tensor([[[0.45, 0.9]]]), gram * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]),
                             (ONE, 0 * ONE), torch.tensor([3]), 4, 2)  # fmt: skip
    assert found.codes.tolist() == [[[1.0, 1.0]]]


def test_outliers_go_first() -> None:
    # The second weight lies 1.6 above the highest point; the first, on the grid already, makes up for it all the same.
    gram = torch.tensor([[[1.0, 0.9], [0.9, 1.0]]])
    found = gradual_rounding(torch.tensor([[[0.0, 2.6]]]), gram, (ONE, 0 * ONE), torch.tensor([2]), 4, 2)
    assert found.codes.tolist() == [[[1.0, 1.0]]]


@pytest.mark.parametrize("levels", [2, 3, 4, 16])
def test_it_comes_close_to_the_greedy_order_and_beats_a_fixed_one(levels: int, make_layer: MakeLayer) -> None:
    layer = make_layer(rows=16, columns=90, levels=levels, examples=120)
    ready = condition(layer, 1e-3)
    affine = RangeSearch().fit(ready.target, layer.levels)

    def error(found: Quantized) -> float:
        return float(output_error(ready.target - found.weight(), ready.gram).sum())

    ours = error(gradual_rounding(ready.target, ready.gram, affine, layer.levels, 45, 8))
    assert ours < 1.25 * error(obq_rounding(ready.target, ready.inverse(), affine, layer.levels))
    assert ours < error(gptq_rounding(ready.target, ready.feedback(), affine, layer.levels))


def test_more_rounds_than_columns_are_no_harm(make_layer: MakeLayer) -> None:
    layer = make_layer(columns=5)
    ready = condition(layer, 1e-3)
    affine = RangeSearch().fit(ready.target, layer.levels)
    found = gradual_rounding(ready.target, ready.gram, affine, layer.levels, 32, 6)
    assert torch.equal(found.codes, found.codes.round())
    assert ((found.codes >= 0) & (found.codes < 4)).all()
