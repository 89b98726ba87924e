from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lit_privq.quantization.gptq import GPTQ, gptq_rounding
from lit_privq.quantization.gram import condition
from lit_privq.quantization.grid import RangeSearch, output_error, quantize_to
from lit_privq.quantization.method import LayerProblem, UnitProblem

MakeLayer = Callable[..., LayerProblem]
MakeUnit = Callable[[LayerProblem], UnitProblem]


def twin(weight: Tensor, gram: Tensor, scale: Tensor, zero: Tensor, levels: int) -> Tensor:
    """GPTQ as it is told: from the last column down, set one and let those not yet set make up for it, exactly."""
    weight, codes = weight.clone(), torch.empty_like(weight)
    for last in reversed(range(weight.shape[1])):
        inverse = torch.linalg.inv(gram[: last + 1, : last + 1])
        codes[:, last : last + 1] = (torch.round(weight[:, last : last + 1] / scale) + zero).clamp(0, levels - 1)
        residual = weight[:, last] - (scale * (codes[:, last : last + 1] - zero)).squeeze(1)
        weight[:, : last + 1] -= residual[:, None] * inverse[last] / inverse[last, last]
    return codes


@pytest.mark.parametrize("levels", [2, 3, 16])
@pytest.mark.parametrize("columns", [5, 32, 75])  # below, at and above a block
def test_codes_are_those_of_the_slow_obvious_twin(columns: int, levels: int, make_layer: MakeLayer) -> None:
    layer = make_layer(models=1, columns=columns, levels=levels, dtype=torch.float64)
    ready = condition(layer, 0.01)
    affine = RangeSearch().fit(ready.target, layer.levels)
    found = gptq_rounding(ready.target, ready.feedback(), affine, layer.levels)
    assert torch.equal(found.codes[0], twin(ready.target[0], ready.gram[0], affine[0][0], affine[1][0], levels))


def test_one_column_is_rounded_to_nearest() -> None:
    layer = LayerProblem("fc", torch.tensor([[[0.3], [2.0]]]), torch.tensor([4]), torch.ones(1, 1, 1))
    ready = condition(layer, 0.0)
    affine = RangeSearch().fit(layer.weight, layer.levels)
    found = gptq_rounding(ready.target, ready.feedback(), affine, layer.levels)
    assert torch.equal(found.codes, quantize_to(layer.weight, affine, layer.levels).codes)


def test_two_columns_by_hand() -> None:
    # H = A D A^T with A = [[1, 0], [1, 1]]: the last weight goes down by 0.4, so the first is asked for 0.4 more.
    one, feedback = torch.ones(1, 1, 1), torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    found = gptq_rounding(torch.tensor([[[0.3, 0.4]]]), feedback, (one, 0 * one), torch.tensor([4]))
    assert found.codes.tolist() == [[[1.0, 0.0]]]


def test_the_strongest_input_is_settled_first_wherever_it_stands(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer(models=1, rows=16, dtype=torch.float64)
    assert layer.gram is not None
    order = layer.gram[0].diagonal().argsort()
    solved = GPTQ().solve(make_unit(layer))[layer.name]
    unmoved = solved.codes == quantize_to(layer.weight, (solved.scale, solved.zero), layer.levels).codes
    assert order[-1] not in (0, len(order) - 1)  # neither first nor last in the layer's own order
    assert unmoved[0, :, order[-1]].all()  # no error came before
    assert not unmoved[0, :, order[0]].all()


@pytest.mark.parametrize("levels", [3, 4, 16])
def test_it_beats_nearest_rounding_on_the_same_grid(levels: int, make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer(rows=16, columns=48, levels=levels)
    assert layer.gram is not None
    nearest = quantize_to(layer.weight, RangeSearch().fit(layer.weight, layer.levels), layer.levels)
    solved = GPTQ().solve(make_unit(layer))[layer.name]
    errors = [output_error(layer.weight - q.weight(), layer.gram.float()).sum() for q in (solved, nearest)]
    assert errors[0] < 0.8 * errors[1]


def test_refitting_lowers_the_error(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer()
    assert layer.gram is not None
    plain, refitted = (GPTQ(refitted=choice).solve(make_unit(layer))[layer.name] for choice in (False, True))
    assert torch.equal(plain.codes, refitted.codes)
    errors = [output_error(layer.weight - q.weight(), layer.gram.float()).sum() for q in (refitted, plain)]
    assert errors[0] < errors[1]
