"""What every solver on weights and gram matrices must do, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from lit_privq.quantization.descent import Descent
from lit_privq.quantization.gptq import GPTQ
from lit_privq.quantization.grid import RangeZeroSearch, output_error
from lit_privq.quantization.method import LayerProblem, Method, UnitProblem
from lit_privq.quantization.nearest import Nearest
from lit_privq.quantization.obc import OBC
from lit_privq.quantization.sign import BWN, Sign
from lit_privq.quantization.solution import Quantized
from lit_privq.quantization.ternary import Absmean, SparseTernary

MakeLayer = Callable[..., LayerProblem]
MakeUnit = Callable[[LayerProblem], UnitProblem]
Solve = Callable[[Method, LayerProblem], Quantized]

LEVELS: dict[str, tuple[Method, list[int]]] = {
    "nearest": (Nearest(), [2, 3, 4, 256]),
    "nearest by output": (Nearest(grid=RangeZeroSearch(by_output=True), refitted=True), [2, 3, 4, 256]),
    "sign": (Sign(), [2, 2, 2, 2]),
    "bwn": (BWN(), [2, 2, 2, 2]),
    "ternary": (SparseTernary(0.5), [3, 3, 4, 3]),
    "absmean": (Absmean(), [3, 3, 4, 3]),
    "obc": (OBC(), [2, 3, 4, 256]),
    "gptq": (GPTQ(), [2, 3, 4, 256]),
    "descent": (Descent(), [2, 3, 4, 256]),
}
every_method = pytest.mark.parametrize(("method", "levels"), LEVELS.values(), ids=LEVELS.keys())
every_second_order_method = pytest.mark.parametrize("method", [OBC(), GPTQ(), Descent()], ids=repr)


@pytest.fixture
def solve(make_unit: MakeUnit) -> Solve:
    return lambda method, layer: method.solve(make_unit(layer))[layer.name]


def assert_equal(first: Quantized, second: Quantized) -> None:
    assert torch.equal(first.codes, second.codes)
    assert torch.equal(first.scale, second.scale)
    assert torch.equal(first.zero, second.zero)


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_channels_hold_at_most_their_levels(
    method: Method, levels: list[int], dtype: torch.dtype, make_layer: MakeLayer, solve: Solve
) -> None:
    layer = make_layer(models=4, columns=40, levels=levels, dtype=dtype)
    quantized = solve(method, layer)
    assert quantized.codes.dtype == quantized.scale.dtype == quantized.zero.dtype == dtype
    assert quantized.codes.shape == layer.weight.shape
    assert quantized.scale.shape == quantized.zero.shape == (4, 6, 1)
    assert (quantized.scale > 0).all()
    assert torch.equal(quantized.codes, quantized.codes.round())
    assert (quantized.codes >= 0).all()
    for model, most in enumerate(levels):
        assert quantized.codes[model].max() < most
        assert max(len(row.unique()) for row in quantized.weight()[model]) <= most


@every_method
def test_it_is_deterministic_and_leaves_its_input_alone(
    method: Method, levels: list[int], make_layer: MakeLayer, solve: Solve
) -> None:
    layer, untouched = (make_layer(models=4, levels=levels, shifted=True) for _ in range(2))
    assert_equal(solve(method, layer), solve(method, layer))
    assert torch.equal(layer.weight, untouched.weight)
    assert layer.gram is not None
    assert untouched.gram is not None
    assert torch.equal(layer.gram, untouched.gram)


@every_method
def test_models_in_a_batch_do_not_see_each_other(
    method: Method, levels: list[int], make_layer: MakeLayer, solve: Solve
) -> None:
    layer = make_layer(models=4, columns=40, levels=levels, dtype=torch.float64)
    together = solve(method, layer)
    assert layer.gram is not None
    for model in range(4):
        part = slice(model, model + 1)
        alone = solve(
            method, replace(layer, weight=layer.weight[part], levels=layer.levels[part], gram=layer.gram[part])
        )
        assert torch.equal(alone.codes, together.codes[part])
        torch.testing.assert_close((alone.scale, alone.zero), (together.scale[part], together.zero[part]))


@every_method
def test_permuted_rows_give_permuted_codes(
    method: Method, levels: list[int], make_layer: MakeLayer, solve: Solve
) -> None:
    layer = make_layer(models=4, levels=levels, dtype=torch.float64)
    order = [4, 0, 5, 2, 1, 3]
    assert torch.equal(
        solve(method, replace(layer, weight=layer.weight[:, order])).codes, solve(method, layer).codes[:, order]
    )


@every_method
def test_float32_agrees_with_float64(method: Method, levels: list[int], make_layer: MakeLayer, solve: Solve) -> None:
    single, double = (
        solve(method, make_layer(models=4, levels=levels, dtype=dtype)) for dtype in (torch.float32, torch.float64)
    )
    # Rounding at ties may go either way, and may then move a channel's other codes.
    assert (single.codes == double.codes).float().mean() > 0.97


@every_method
def test_weights_that_are_not_numbers_are_refused_with_the_layers_name(
    method: Method, levels: list[int], make_layer: MakeLayer, solve: Solve
) -> None:
    layer = make_layer(models=4, levels=levels)
    layer.weight[2, 1, 3] = torch.nan
    with pytest.raises(ValueError, match=r"layer block\.conv: the weight of model 2 is not finite"):
        solve(method, layer)


@every_second_order_method
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gram_that_is_not_finite_is_refused_with_the_layers_name(
    method: Method, value: float, make_layer: MakeLayer, solve: Solve
) -> None:
    layer = make_layer()
    assert layer.gram is not None
    layer.gram[1, 0, 0] = value
    with pytest.raises(ValueError, match=r"layer block\.conv: the gram matrix of model 1 is not finite"):
        solve(method, layer)


@every_second_order_method
def test_rank_deficient_inputs_with_dead_ones_are_solved(method: Method, make_layer: MakeLayer, solve: Solve) -> None:
    layer = make_layer(rows=8, columns=60, examples=20, levels=[3, 16])
    assert layer.gram is not None
    layer.gram[:, 5], layer.gram[:, :, 5] = 0, 0
    quantized, nearest = solve(method, layer), solve(Nearest(), layer)
    errors = [output_error(layer.weight - q.weight(), layer.gram.float()).sum() for q in (quantized, nearest)]
    assert errors[0] < 0.5 * errors[1]
