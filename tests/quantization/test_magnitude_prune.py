from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from lit_privq.quantization.magnitude_prune import MagnitudePrune, budget, largest
from lit_privq.quantization.method import LayerProblem, UnitProblem
from lit_privq.quantization.solution import Pruned
from lit_privq.quantization.storage import pruned_bits

MakeLayer = Callable[..., LayerProblem]
MakeUnit = Callable[[LayerProblem], UnitProblem]


def test_the_largest_weights_stay_as_they_are_but_for_float16_and_the_others_become_0(
    make_layer: MakeLayer, make_unit: MakeUnit
) -> None:
    layer = make_layer(models=3, rows=8, columns=64, levels=[2, 3, 16])
    weight = MagnitudePrune().solve(make_unit(layer))["block.conv"].weight()
    for model in range(3):
        count = int((weight[model] != 0).sum())
        threshold = layer.weight[model].abs().flatten().sort(descending=True).values[count - 1]
        kept = layer.weight[model].abs() >= threshold
        assert torch.equal(weight[model] != 0, kept)
        assert torch.equal(weight[model][kept], layer.weight[model][kept].half().float())


def test_more_bits_keep_more_weights(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer(models=5, rows=8, columns=64, levels=[2, 3, 4, 16, 256])
    weight = MagnitudePrune().solve(make_unit(layer))["block.conv"].weight()
    counts = (weight != 0).flatten(1).sum(dim=1).tolist()
    assert counts == sorted(set(counts))
    assert counts[-1] <= 512 / 2  # of 16 bits each, beside a mask, in 8 bits a weight and those of the grid


def test_the_budget_by_hand(make_layer: MakeLayer) -> None:
    # 2 bits for each of 5,120 weights, and 64 for the scale and the zero of each of 10 rows.
    layer = make_layer(models=1, rows=10, columns=512, levels=4)
    assert budget(layer) == [10_880]


@pytest.mark.parametrize("bits_per_weight", [1, 1.6, 2, 2.8, 3, 4, 8])
@pytest.mark.parametrize("clustered", [False, True])
def test_what_is_kept_fits_its_bits_wherever_it_lies_and_nearly_fills_them(
    bits_per_weight: float, clustered: bool
) -> None:
    scores = torch.rand(1, 9, 1_000, generator=torch.Generator().manual_seed(0))
    scores[:, 4] += 1.0 if clustered else 0.0  # long gaps around one row
    bits = Fraction(bits_per_weight) * 9_000
    kept = largest(scores, [bits]).flatten().numpy()
    assert bits - 48 < pruned_bits(kept) <= bits


def test_of_equal_weights_the_first_are_kept() -> None:
    assert largest(torch.ones(1, 2, 2), [Fraction(16 * 3 + 4)]).tolist() == [[[True, True], [True, False]]]


def test_models_do_not_see_each_other(make_layer: MakeLayer, make_unit: MakeUnit) -> None:
    layer = make_layer(models=3, levels=[2, 4, 16])
    together = MagnitudePrune().solve(make_unit(layer))["block.conv"].weight()
    for model in range(3):
        part = slice(model, model + 1)
        alone = replace(layer, weight=layer.weight[part], levels=layer.levels[part], gram=None)
        assert torch.equal(MagnitudePrune().solve(make_unit(alone))["block.conv"].weight()[0], together[model])


def test_weights_that_are_not_numbers_are_refused_with_the_layers_name(
    make_layer: MakeLayer, make_unit: MakeUnit
) -> None:
    layer = make_layer()
    layer.weight[1, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"layer block\.conv: the weight of model 1 is not finite"):
        MagnitudePrune().solve(make_unit(layer))


def test_a_weight_beyond_float16_is_no_solution(make_layer: MakeLayer) -> None:
    layer = make_layer()
    assert Pruned.keeping(layer.weight, layer.weight > 0).is_valid(layer.weight, layer.levels)
    large = Pruned.keeping(1e6 * layer.weight, layer.weight > 0)
    assert not large.is_valid(layer.weight, layer.levels)
